"""Hosts that are only heard, on a real switch: the dead are answered for no longer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contracts.test_end_to_end import (
    SOON,
    Controller,
    answers_for,
    packet_ins,
    pings,
)
from tests.support import frames
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

pytestmark = [pytest.mark.root, pytest.mark.ovs]

MORTAL, MORTAL_IP = "02:00:00:00:00:99", "10.0.0.99"
LIVING = ("10.0.0.1", "10.0.0.2")
PATIENTLY = 120.0  # seconds: the configured time, on a machine that has others to serve


@dataclass
class Lab:
    """Two Linux hosts, and one behind a wire that says what the test lets it say."""

    ovs: PrivateOvs
    controller: Controller
    host: Host
    wire: Wire

    def counter(self, name: str) -> int:
        return int(self.controller.isat("status")["counters"].get(name, 0))

    def row(self, ip: str) -> Any:
        return next(row for row in self.controller.isat("hosts") if row["ip"] == ip)

    def wait(self, condition: Any, why: str) -> None:
        wait_until(condition, within=PATIENTLY, why=why)


@pytest.fixture
def lab(ovs: PrivateOvs) -> Iterator[Lab]:
    """The mortal has announced itself, and all three are answered for."""
    ovs.add_bridge("br0")
    hosts = [
        ovs.add_host(f"h{n}", "br0", f"{ip}/24", f"02:00:00:00:00:0{n}", ofport=n)
        for n, ip in enumerate(LIVING, start=1)
    ]
    ovs.add_namespace(f"{ovs.namespace}-wire")
    wires = plug(ovs, f"{ovs.namespace}-wire", "br0", {3: "mortal"})
    config = (
        "bridges: {br0: {}}\nliveness: {silent_after: 10}\n"
        f"sources: {{netlink: false, ovsdb: '{ovs.remote}'}}\n"
    )
    controller = Controller(ovs, config)
    controller.start()
    wait_until(lambda: pings(ovs, hosts[0], LIVING[1]), within=SOON, why="a way")
    wires[3].send(frames.arp(sha=MORTAL, spa=MORTAL_IP, tpa=MORTAL_IP))
    for ip in (*LIVING, MORTAL_IP):
        wait_until(lambda ip=ip: answers_for(ovs, ip), within=SOON, why=ip)  # type: ignore[misc]
    yield Lab(ovs, controller, hosts[0], wires[3])
    wires[3].close()


def test_who_dies_without_an_event_is_asked_and_then_not_answered_for(lab: Lab) -> None:
    lab.wait(lambda: not answers_for(lab.ovs, MORTAL_IP), "silence")
    asked = [f for f in lab.wire.heard() if f[:6].hex(":") == MORTAL]
    assert len(asked) == 3
    row = lab.row(MORTAL_IP)
    assert (row["state"], row["answered"], row["port"]) == ("silent", False, "mortal")
    assert f"silent: {MORTAL_IP} ({MORTAL} at br0:mortal)" in lab.ovs.log("isat.log")
    assert lab.counter("addresses silent") == 1
    [why] = lab.controller.isat("why", MORTAL_IP)["held"]
    assert [one["lladdr"] for one in why["silent"]] == [MORTAL]


def test_a_question_for_the_silent_reaches_them_and_their_first_word_counts(
    lab: Lab,
) -> None:
    lab.wait(lambda: not answers_for(lab.ovs, MORTAL_IP), "silence")
    lab.wire.heard()

    def is_asked() -> bool:
        command = ("arping", "-c1", "-w1", "-I", "eth0", MORTAL_IP)
        lab.ovs.run_in(lab.host.namespace, *command, check=False)
        return any(f[12:14] == b"\x08\x06" for f in lab.wire.heard())

    wait_until(is_asked, within=SOON, why="the question")
    reply = frames.arp(
        sha=MORTAL, spa=MORTAL_IP, tpa=LIVING[0], tha=lab.host.mac, op=2,
        eth_dst=lab.host.mac,
    )  # fmt: skip
    lab.wire.send(reply)
    wait_until(lambda: answers_for(lab.ovs, MORTAL_IP), within=SOON, why="an answer")
    assert lab.row(MORTAL_IP)["state"] == "confirmed"
    assert f"speaking again: {MORTAL_IP}" in lab.ovs.log("isat.log")


def test_who_only_answers_probes_is_never_dropped_and_costs_no_packet_in(
    lab: Lab,
) -> None:
    lab.wait(lambda: not answers_for(lab.ovs, MORTAL_IP), "silence")
    before, probes = packet_ins(lab.ovs), lab.counter("probes sent")
    lab.wait(lambda: lab.counter("probes sent") >= probes + 8, "probes")
    assert all(answers_for(lab.ovs, ip) for ip in LIVING)
    assert {lab.row(ip)["state"] for ip in LIVING} <= {"confirmed", "probing"}
    assert lab.counter("addresses that fell silent") == 1
    assert packet_ins(lab.ovs) == before
