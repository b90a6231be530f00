"""The OpenStack way on a real Open vSwitch: tap - qbr - qvb = qvo - br-int - patch -
br-ex - veth, followed by the real mirror."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.test_end_to_end import (
    H1,
    ROOT,
    SOON,
    TAP,
    Controller,
    dump,
    pings,
)
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

GUEST = "52:54:00:00:00:07"
SILENT = """
import fcntl, os, signal, struct, sys
tap = os.open("/dev/net/tun", os.O_RDWR)
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
flags = IFF_TAP | IFF_NO_PI
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH14x", sys.argv[1].encode(), flags))
signal.pause()
"""
BRIDGE = "02:00:00:00:00:b0"  # of the Linux bridge, which has an address, too


class Lab:
    """A machine behind tap7, and a namespace behind br-ex."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        for bridge in ("br-int", "br-ex"):
            ovs.add_bridge(bridge)
        self.patch("br-int", "to-ex", "to-int")
        self.patch("br-ex", "to-int", "to-ex")
        self.h1 = ovs.add_host("h1", "br-ex", "10.0.0.1/24", H1)
        self.add_linux_bridge()
        sources = f"sources: {{ovsdb: '{ovs.remote}'}}\n"
        bridges = "bridges: {br-int: {}, br-ex: {}}\n"
        self.controller = Controller(ovs, bridges + sources)
        self.controller.start()

    def patch(self, bridge: str, name: str, peer: str) -> None:
        options = ("type=patch", f"options:peer={peer}")
        self.ovs.vsctl(
            "add-port", bridge, name, "--", "set", "interface", name, *options
        )

    def add_linux_bridge(self) -> None:
        self.ip("link", "add", "qbr7", "address", BRIDGE, "type", "bridge")
        self.ip("link", "add", "qvb7", "type", "veth", "peer", "name", "qvo7")
        self.ip("tuntap", "add", "tap7", "mode", "tap")
        for port in ("qvb7", "tap7"):
            self.ip("link", "set", port, "master", "qbr7")
        for name in ("qbr7", "qvb7", "qvo7", "tap7"):
            self.ip("link", "set", name, "up")
        self.ip("addr", "add", "10.0.0.70/24", "dev", "qbr7")
        self.ovs.vsctl("add-port", "br-int", "qvo7")

    def add_tunnel(self) -> None:
        """A vxlan port of br-int whose other end is a device beside h1."""
        options = ("remote_ip=192.0.2.2", "local_ip=192.0.2.1", "key=7")
        self.ovs.vsctl(
            *("add-port", "br-int", "vx7", "--", "set", "interface", "vx7"),
            *("type=vxlan", *(f"options:{option}" for option in options)),
        )
        far = ("remote", "192.0.2.1", "local", "192.0.2.2", "dstport", "4789")
        inside = ("ip", "link", "add", "vxlan7", "type", "vxlan", "id", "7", *far)
        self.ovs.run_in(self.h1.namespace, *inside)
        self.ovs.run_in(self.h1.namespace, "ip", "link", "set", "vxlan7", "up")

    def ip(self, *words: str) -> None:
        self.ovs.run("ip", *words)

    def hold_tap(self) -> subprocess.Popen[bytes]:
        program = str(ROOT / "topologies/taphost.py")
        return self.ovs.start(sys.executable, program, "tap7", "10.0.0.7", TAP)

    def hold_tap_as_qemu(self) -> subprocess.Popen[bytes]:
        """A machine that says nothing, by the command line of a QEMU."""
        backend = ("-netdev", "tap,ifname=tap7,id=n0")
        card = ("-device", f"virtio-net-pci,netdev=n0,mac={GUEST}")
        return self.ovs.start(sys.executable, "-c", SILENT, "tap7", *backend, *card)

    def host_at(self, lladdr: str) -> Any:
        rows = self.controller.isat("hosts") or []
        return next((row for row in rows if row["lladdr"] == lladdr), None)

    def answered(self, ip: str) -> bool:
        """Does br-ex itself answer for it?"""
        question = rf"arp_tpa={re.escape(ip)},arp_op=1 actions=move"
        return re.search(question, dump(self.ovs, "br-ex")) is not None

    def path(self, one: str, other: str) -> Any:
        """What `isat path --json` prints, also when the way is cut."""
        place = ("env", f"PYTHONPATH={ROOT}", f"ISAT_SOCKET={self.controller.socket}")
        words = (sys.executable, "-m", "controller.cli", "path", one, other, "--json")
        return json.loads(self.ovs.run(*place, *words, check=False).stdout or "{}")

    def leads_to(self, port: str) -> str:
        rows = self.controller.isat("ports") or []
        return next((str(r["leads_to"]) for r in rows if r["port"] == port), "")


@pytest.fixture
def lab(ovs: PrivateOvs) -> Iterator[Lab]:
    yield Lab(ovs)


def test_the_way_to_a_machine_behind_a_linux_bridge_is_followed_and_dies_with_it(
    lab: Lab,
) -> None:
    wait_until(lambda: lab.answered("10.0.0.70"), within=SOON, why="qbr7 itself")
    assert lab.leads_to("qvo7") == "nobody by way of qbr7"

    holder = lab.hold_tap()
    wait_until(lambda: lab.answered("10.0.0.7"), within=SOON, why="the machine")
    assert pings(lab.ovs, lab.h1, "10.0.0.7")
    wait_until(
        lambda: lab.leads_to("qvo7").startswith("tap7 of python"),
        within=SOON,
        why="the name of the process",
    )
    assert lab.leads_to("qvo7").endswith(f"[{holder.pid}] by way of qbr7")
    host = f"{lab.h1.namespace}:eth0"
    found = lab.path("tap7", host)
    assert found["problem"] == ""
    assert [hop["interface"] for hop in found["hops"]] == [
        *("tap7", "qbr7", "qvb7", "qvo7", "br-int", "to-ex"),
        *("to-int", "br-ex", "h1", "eth0"),
    ]

    holder.kill()
    wait_until(lambda: not lab.answered("10.0.0.7"), within=SOON, why="its end")
    assert "10.0.0.7" not in lab.controller.answered()
    assert lab.answered("10.0.0.70")
    wait_until(
        lambda: (
            lab.path("tap7", host)["problem"]
            == "the way ends at tap7, nobody holds the tap"
        ),
        within=SOON,
        why="the cut",
    )
    assert lab.leads_to("qvo7") == "nobody by way of qbr7"


def test_a_machine_whose_address_its_process_tells_is_known_before_it_speaks(
    lab: Lab,
) -> None:
    holder = lab.hold_tap_as_qemu()
    wait_until(lambda: lab.host_at(GUEST), within=SOON, why="the guest")
    guest = lab.host_at(GUEST)
    assert (guest["port"], guest["origin"], guest["ip"]) == ("qvo7", "kernel", None)
    assert guest["host"].endswith(f"[{holder.pid}]")
    way = f"dl_dst={GUEST} actions=output"
    wait_until(lambda: way in dump(lab.ovs, "br-ex"), within=SOON, why="the way to it")

    holder.kill()
    wait_until(lambda: lab.host_at(GUEST) is None, within=SOON, why="its end")
    wait_until(lambda: way not in dump(lab.ovs, "br-ex"), within=SOON, why="no way")


def test_a_tunnel_is_followed_to_a_device_that_names_the_other_end(lab: Lab) -> None:
    lab.add_tunnel()
    far = f"{lab.h1.namespace}:vxlan7"
    wait_until(
        lambda: lab.path("qvo7", far).get("problem") == "",
        within=SOON,
        why="both ends",
    )
    hops = lab.path("qvo7", far)["hops"]
    assert [hop["interface"] for hop in hops] == ["qvo7", "br-int", "vx7", "vxlan7"]
    assert hops[2]["then"] == "is a tunnel, key 7, to vxlan7"


def test_a_neighbor_table_is_shown_and_never_answered_for(lab: Lab) -> None:
    """A row that somebody writes by hand, about somebody whom nobody has seen."""
    row = ("10.0.0.99", "lladdr", "02:00:00:00:00:99", "dev", "eth0")
    lab.ovs.run_in(lab.h1.namespace, "ip", "neigh", "add", *row)

    def shown() -> Any:
        rows = lab.controller.isat("hosts") or []
        return next((row for row in rows if row["ip"] == "10.0.0.99"), None)

    wait_until(shown, within=SOON, why="the row")
    assert shown()["origin"] == "neighbor"
    assert shown()["told_by"] == [f"{lab.h1.namespace} eth0"]
    assert not lab.answered("10.0.0.99")
