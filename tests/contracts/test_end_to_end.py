"""The whole controller on a real switch: what the kernel tells, what is heard, what
survives, and what cannot harm it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from controller import cli
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

ROOT = Path(__file__).parents[2]
H1, H2, TAP = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:07"
ASK_SWITCH = {"explain"}
SOON = 20.0  # seconds: beyond, something is broken, not slow
TOLD = re.compile(r"n_packets=(\d+).*(?:CONTROLLER|controller\()")
FLOW = re.compile(r"cookie=(0x15a7\w+), duration=([\d.]+)s")

# Frames of a stranger that are no ARP, or teach nothing; sent from a host's eth0.
NONSENSE = """
import socket
m, s = bytes.fromhex, socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
eth = m("ffffffffffff" "020000000099" "0806")
head, sha = m("0001080006040001"), m("020000000099")
tail = m("0a000063" "000000000000" "0a000001")
for arp in (
    m("0006080006040001") + sha + tail,  # another kind of network
    m("0001080008040001") + sha + tail,  # addresses of eight octets
    (head + sha + tail)[:20],  # cut off
    b"",
    head + m("010000000099") + tail,  # a group as sender
    head + sha + m("7f000001") + tail[4:],  # loopback
    head + sha + m("ffffffff") + tail[4:],  # broadcast
    head + m("020000000098") + tail,  # somebody else's sender
    m("0001080006040009") + sha + tail,  # InARP
):
    s.send(eth + arp)
"""


class Controller:
    """`ryu-manager controller/app.py` in the namespace of an Open vSwitch.

    flags     more of them
    niceness  nice(1)
    """

    def __init__(
        self, ovs: PrivateOvs, config: str, *flags: str, niceness: int = 0
    ) -> None:
        self.ovs, self._flags = ovs, flags
        self._nice = ("nice", "-n", str(niceness))
        self.socket = str(ovs.directory / "isat.sock")
        self.config = ovs.directory / "isat.yaml"
        self.config.write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        manager = str(Path(sys.executable).parent / "ryu-manager")
        own = ("--isat-config", str(self.config), "--isat-socket", self.socket)
        flags = (*own, *self._flags)
        application = str(ROOT / "controller/app.py")
        self.process = self.ovs.start(
            *self._nice, manager, *flags, application, log="isat.log"
        )
        wait_until(lambda: self.isat("status") is not None, within=SOON, why="isat")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def isat(self, *words: str) -> Any:
        """What `isat ... --json` says; None if it cannot be reached.

        In this process, as it is asked again and again until something is so; but for
        what asks the switch, too.
        """
        if words[0] in ASK_SWITCH:
            command = (sys.executable, "-m", "controller.cli", *words, "--json")
            place = ("env", f"PYTHONPATH={ROOT}", f"ISAT_SOCKET={self.socket}")
            done = self.ovs.run(*place, *command, check=False)
            return json.loads(done.stdout) if done.returncode == 0 else None
        said, complaint = StringIO(), StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            redirect_stdout(said),
            redirect_stderr(complaint),
        ):
            patch.setenv("ISAT_SOCKET", self.socket)
            status = cli.main([*words, "--json"])
        return json.loads(said.getvalue()) if status == 0 else None

    def answered(self, version: int = 4) -> dict[str, str]:
        """Address to hardware address, of all that the switches answer for."""
        rows = [row for row in self.isat("hosts") or [] if row["answered"]]
        told = {row["ip"]: row["lladdr"] for row in rows}
        return {ip: m for ip, m in told.items() if ip_address(ip).version == version}


def dump(ovs: PrivateOvs, bridge: str = "br0") -> str:
    return ovs.ofctl("-OOpenFlow13", "dump-flows", bridge)


def packet_ins(ovs: PrivateOvs, bridge: str = "br0") -> int:
    """Packets that met a flow which tells the controller."""
    return sum(map(int, TOLD.findall(dump(ovs, bridge))))


def ages(ovs: PrivateOvs, bridge: str = "br0") -> dict[str, float]:
    """Seconds that each flow of ours has existed for, by cookie."""
    return {cookie: float(age) for cookie, age in FLOW.findall(dump(ovs, bridge))}


def answers_for(ovs: PrivateOvs, ip: str) -> bool:
    """The switch itself answers: a flow that makes a reply of a question."""
    question = re.compile(rf"arp_tpa={re.escape(ip)},arp_op=1 actions=move")
    return question.search(dump(ovs)) is not None


def pings(ovs: PrivateOvs, host: Host, ip: str, *options: str) -> bool:
    command = ("ping", *options, "-c3", "-i0.2", "-W2", ip)
    return ovs.run_in(host.namespace, *command, check=False).returncode == 0


class Lab:
    """br0, adopted, with two hosts that the kernel shows."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        ovs.add_bridge("br0")
        self.h1 = ovs.add_host("h1", "br0", "10.0.0.1/24", H1, ofport=1)
        self.h2 = ovs.add_host("h2", "br0", "10.0.0.2/24", H2, ofport=2)
        self.controller = Controller(
            ovs, f"bridges: {{br0: {{}}}}\nsources: {{ovsdb: '{ovs.remote}'}}\n"
        )
        self.controller.start()
        wait_until(lambda: answers_for(ovs, "10.0.0.2"), within=SOON, why="answers")
        both = {"fe80::ff:fe00:1": H1, "fe80::ff:fe00:2": H2}
        wait_until(
            lambda: self.controller.answered(6) == both,
            within=SOON,
            why="duplicate address detection, which takes the kernels a second",
        )

    def hold_tap(self) -> subprocess.Popen[bytes]:
        """A host that is a process behind tap0: only its packets tell of it."""
        self.ovs.run("ip", "tuntap", "add", "tap0", "mode", "tap")
        self.ovs.vsctl(
            *("add-port", "br0", "tap0", "--", "set", "interface", "tap0"),
            "ofport_request=7",
        )
        taphost = str(ROOT / "topologies/taphost.py")
        return self.ovs.start(sys.executable, taphost, "tap0", "10.0.0.7", TAP)


@pytest.fixture
def lab(ovs: PrivateOvs) -> Iterator[Lab]:
    yield Lab(ovs)


def test_hosts_are_answered_for_before_they_speak_and_nothing_is_ever_news(
    lab: Lab,
) -> None:
    assert lab.controller.answered() == {"10.0.0.1": H1, "10.0.0.2": H2}
    assert pings(lab.ovs, lab.h1, "10.0.0.2")
    lab.ovs.run_in(lab.h1.namespace, "ip", "neigh", "flush", "all")
    assert pings(lab.ovs, lab.h1, "10.0.0.2")
    assert packet_ins(lab.ovs) == 0


def test_an_answer_lives_and_dies_with_the_kernels_facts(lab: Lab) -> None:
    inside = lab.h2.namespace

    def address(verb: str, ip: str) -> None:
        lab.ovs.run_in(inside, "ip", "addr", verb, f"{ip}/24", "dev", "eth0")

    address("add", "10.0.0.22")
    wait_until(lambda: answers_for(lab.ovs, "10.0.0.22"), within=SOON, why="added")
    address("del", "10.0.0.22")
    wait_until(lambda: not answers_for(lab.ovs, "10.0.0.22"), within=SOON, why="gone")
    lab.ovs.run_in(inside, "ip", "link", "set", "eth0", "down")
    wait_until(lambda: not answers_for(lab.ovs, "10.0.0.2"), within=SOON, why="down")
    lab.ovs.run_in(inside, "ip", "link", "set", "eth0", "up")
    wait_until(lambda: answers_for(lab.ovs, "10.0.0.2"), within=SOON, why="up")
    lab.ovs.run("ip", "link", "del", lab.h2.port)
    wait_until(lambda: not answers_for(lab.ovs, "10.0.0.2"), within=SOON, why="deleted")
    assert answers_for(lab.ovs, "10.0.0.1")


def test_a_heard_host_survives_restarts_and_dies_with_its_process(lab: Lab) -> None:
    holder = lab.hold_tap()
    wait_until(lambda: answers_for(lab.ovs, "10.0.0.7"), within=SOON, why="announced")
    assert pings(lab.ovs, lab.h1, "10.0.0.7")

    before = ages(lab.ovs)
    lab.controller.kill()
    lab.ovs.run_in(lab.h1.namespace, "ip", "neigh", "flush", "all")
    assert pings(lab.ovs, lab.h1, "10.0.0.7")
    assert pings(lab.ovs, lab.h1, "10.0.0.2")
    lab.controller.start()
    everybody = {"10.0.0.1": H1, "10.0.0.2": H2, "10.0.0.7": TAP}
    wait_until(lambda: lab.controller.answered() == everybody, within=SOON, why="all")
    after = ages(lab.ovs)
    assert after.keys() == before.keys()
    assert all(after[cookie] > before[cookie] for cookie in before)
    counters = lab.controller.isat("status")["counters"]
    assert not {"flows added", "flows deleted"} & counters.keys()  # none was changed

    holder.kill()
    wait_until(lambda: not answers_for(lab.ovs, "10.0.0.7"), within=SOON, why="dead")
    assert "10.0.0.7" not in lab.controller.answered()


def test_foreign_flows_stay_and_flows_of_ours_come_back(lab: Lab) -> None:
    for flow in (
        "cookie=0x1,table=0,priority=1,icmp,actions=drop",
        "table=50,actions=",
    ):
        lab.ovs.ofctl("-OOpenFlow13", "add-flow", "br0", flow)
    ours = ages(lab.ovs).keys()
    lost = next(
        cookie
        for cookie, line in ((FLOW.search(x), x) for x in dump(lab.ovs).splitlines())
        if cookie and "arp_tpa=10.0.0.2,arp_op=1 actions=move" in line
    )[1]
    lab.ovs.ofctl("-OOpenFlow13", "del-flows", "br0", f"cookie={lost}/-1")
    assert not answers_for(lab.ovs, "10.0.0.2")
    wait_until(lambda: answers_for(lab.ovs, "10.0.0.2"), within=SOON, why="the audit")
    assert ages(lab.ovs).keys() == ours
    assert "cookie=0x1," in dump(lab.ovs) and "table=50," in dump(lab.ovs)


def test_probes_are_answered_for_others_and_never_for_oneself(lab: Lab) -> None:
    def probe(host: Host, ip: str) -> int:
        command = ("arping", "-D", "-q", "-c2", "-w3", "-I", "eth0", ip)
        return lab.ovs.run_in(host.namespace, *command, check=False).returncode

    assert probe(lab.h1, "10.0.0.2") == 1  # iputils: a reply came, so it is taken
    assert probe(lab.h1, "10.0.0.1") == 0
    assert probe(lab.h1, "10.0.0.99") == 0


def test_ipv6_is_forwarded(lab: Lab) -> None:
    for host, ip in ((lab.h1, "fd00::1/64"), (lab.h2, "fd00::2/64")):
        words = ("ip", "addr", "add", ip, "dev", "eth0", "nodad")
        lab.ovs.run_in(host.namespace, *words)
    assert pings(lab.ovs, lab.h1, "fd00::2", "-6")


def test_nonsense_teaches_nothing_and_harms_nobody(lab: Lab) -> None:
    known = lab.controller.answered()
    lab.ovs.run_in(lab.h1.namespace, sys.executable, "-c", NONSENSE)
    wait_until(
        lambda: "FrameIgnored" in lab.controller.isat("status")["counters"],
        within=SOON,
        why="the frame with somebody else's sender",
    )
    assert lab.controller.answered() == known
    assert pings(lab.ovs, lab.h1, "10.0.0.2")


def test_without_ovsdb_and_netlink_switches_are_served_by_plain_learning(
    ovs: PrivateOvs,
) -> None:
    """As it is for switches of another host: two of them, and a cable unknown to us."""
    for bridge in ("br0", "br1"):
        ovs.add_bridge(bridge, "fail_mode=secure")
    h1 = ovs.add_host("h1", "br0", "10.0.0.1/24", H1, ofport=1)
    ovs.add_host("h2", "br1", "10.0.0.2/24", H2, ofport=1)
    ovs.run("ip", "link", "add", "x0", "type", "veth", "peer", "name", "x1")
    for bridge, end in (("br0", "x0"), ("br1", "x1")):
        ovs.run("ip", "link", "set", end, "up")
        ovs.vsctl("add-port", bridge, end)
    controller = Controller(ovs, "sources: {netlink: false, ovsdb: false}\n")
    controller.start()
    for bridge in ("br0", "br1"):
        ovs.vsctl("set-controller", bridge, "tcp:127.0.0.1:6653")
    wait_until(lambda: len(ages(ovs)) > 20, within=SOON, why="the pipeline")
    wait_until(lambda: pings(ovs, h1, "10.0.0.2"), within=SOON, why="learning")

    wait_until(lambda: answers_for(ovs, "10.0.0.2"), within=SOON, why="the answer")
    assert controller.answered() == {"10.0.0.1": H1, "10.0.0.2": H2}
    assert controller.isat("status")["sources"] == {"netlink": "off", "ovsdb": "off"}
