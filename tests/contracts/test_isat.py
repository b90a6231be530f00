"""`isat` beside a real Open vSwitch: adopt, ask, explain, compile, release."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.pipeline import TABLE_IDS
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_for_start, wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

ROOT = Path(__file__).parents[2]
PORT = "6653"  # free: the namespace is ours alone
H1, H2 = "02:00:00:00:00:01", "02:00:00:00:00:02"


class Lab:
    """br0 with two hosts, and a controller that is started by `isat run`."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        self.socket = str(ovs.directory / "isat.sock")
        ovs.add_bridge("br0")
        ovs.add_host("h1", "br0", "10.0.0.1/24", H1, ofport=1)
        ovs.add_host("h2", "br0", "10.0.0.2/24", H2, ofport=2)
        words = ("run", "--socket", self.socket, "--ofp-tcp-listen-port", PORT)
        isat = (sys.executable, "-m", "controller.cli")
        place = {"PYTHONPATH": str(ROOT)}
        process = ovs.start(*isat, *words, log="isat.log", environment=place)
        wait_for_start(process, self.answers, why="the controller")

    def isat(self, *words: str, check: bool = True) -> str:
        return self.call(*words, check=check).stdout

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        isat = (sys.executable, "-m", "controller.cli")
        inside = ("env", f"PYTHONPATH={ROOT}", f"ISAT_SOCKET={self.socket}", *isat)
        return self.ovs.run(*inside, *words, check=check)

    def json(self, *words: str) -> Any:
        return json.loads(self.isat(*words, "--json"))

    def answers(self) -> bool:
        return self.call("status", check=False).returncode == 0

    def both_are_answered(self) -> bool:
        known = {row["ip"] for row in self.json("hosts") if row["answered"]}
        return {"10.0.0.1", "10.0.0.2"} <= known

    def settled(self) -> bool:
        """The switch is connected, and holds as many flows as it was told."""
        dump = self.ovs.ofctl("dump-flows", "br0")
        told = [switch["flows"] for switch in self.json("status")["switches"]]
        return told == [dump.count("cookie=0x15a7")]

    def compiles_to_what_is_held(self) -> bool:
        """The saved view.  Link-local addresses may come between the two (RFC 4862)."""
        view, flows = self.ovs.directory / "view.json", self.ovs.directory / "br0.flows"
        self.isat("view", "--save", str(view))
        flows.write_text(self.isat("flows", "--view", str(view), "--datapath", "br0"))
        compared = ("ovs-ofctl", "-OOpenFlow13", "diff-flows", "br0", str(flows))
        return self.ovs.run(*compared, check=False).returncode == 0


@pytest.fixture
def lab(ovs: PrivateOvs) -> Iterator[Lab]:
    yield Lab(ovs)


def test_a_bridge_is_adopted_explained_compiled_and_released(lab: Lab) -> None:
    changes = lab.json("adopt", "br0")["changes"]
    assert "fail_mode: standalone (the default) -> secure" in changes
    assert "was adopted before" in lab.isat("adopt", "br0")

    wait_until(lab.both_are_answered, within=30, why="two hosts")
    hosts = {row["ip"]: row for row in lab.json("hosts")}  # fe80::/64 comes later
    h1, h2 = hosts["10.0.0.1"], hosts["10.0.0.2"]
    assert (h1["lladdr"], h1["origin"], h1["port"]) == (H1, "kernel", "h1")
    assert h2["host"].endswith("-h2")
    assert {row["port"]: row["leads_to"] for row in lab.json("ports")}["h1"] == (
        f"{h1['host']} eth0"
    )
    wait_until(lab.settled, within=10, why="all flows")

    lab.ovs.ofctl("add-flow", "br0", "cookie=0x7,table=9,priority=5,ip,actions=drop")
    rows = lab.json("explain", "br0")
    assert [row["flow"] for row in rows if row["whose"] == "foreign"] == [
        "priority=5,ip actions=drop"
    ]
    assert {row["whose"] for row in rows} == {"isat", "foreign"}
    [answer] = [row for row in rows if f"10.0.0.2: it is at {H2}" in row["says"]]
    assert any(h2["host"] in reason for reason in answer["because"])

    head = f"table {TABLE_IDS['arp']} arp"
    assert head in lab.isat("explain", "br0", "--table", "arp")
    piped = (
        f"ovs-ofctl dump-flows br0 | {sys.executable} -m controller.cli explain br0 -"
    )
    place = (f"PYTHONPATH={ROOT}", f"ISAT_SOCKET={lab.socket}")
    assert "foreign" in lab.ovs.run("env", *place, "sh", "-c", piped).stdout

    lab.ovs.ofctl("del-flows", "br0", "cookie=0x7/-1")
    wait_until(lab.compiles_to_what_is_held, within=10, why="no difference")

    assert "fail_mode: secure -> standalone" in lab.isat("release", "br0")


def test_what_cannot_be_done_is_said_in_a_line(lab: Lab) -> None:
    lab.ovs.vsctl("set-controller", "br0", "tcp:192.0.2.1:6653")

    taken = lab.call("adopt", "br0", check=False)
    absent = lab.call("adopt", "br9", check=False)
    unknown = lab.call("explain", "br9", check=False)

    for done in (taken, absent, unknown):
        assert done.returncode == 1
        assert done.stderr.startswith("isat: ")
        assert "Traceback" not in done.stderr
    assert "tcp:192.0.2.1:6653" in taken.stderr
    assert "'br9'" in absent.stderr
    assert "no switch 'br9'" in unknown.stderr
