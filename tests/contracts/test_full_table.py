"""A switch that has no room for one more answer: its controller answers instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from flows.pipeline import TABLE_IDS
from tests.contracts.test_end_to_end import SOON, Controller
from tests.support import frames
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

pytestmark = [pytest.mark.root, pytest.mark.ovs]

H1, H2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
TIMES = 20  # that a question is asked


@dataclass(frozen=True, slots=True)
class Family:
    """table     the one that answers
    one, other   addresses of two hosts
    announced    what each says of itself
    question     of the first, for the second
    answer       of the second, as it would say it itself
    """

    table: str
    one: str
    other: str
    announced: tuple[bytes, bytes]
    question: bytes
    answer: bytes


ARP = Family(
    *("arp", "10.0.0.1", "10.0.0.2"),
    (
        frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.1"),
        frames.arp(sha=H2, spa="10.0.0.2", tpa="10.0.0.2"),
    ),
    frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.2"),
    frames.arp(*(), sha=H2, spa="10.0.0.2", tha=H1, tpa="10.0.0.1", op=2, eth_dst=H1),
)
ND = Family(
    *("nd", "fd00::1", "fd00::2"),
    (
        frames.na(eth_src=H1, target="fd00::1"),
        frames.na(eth_src=H2, target="fd00::2"),
    ),
    frames.ns(eth_src=H1, src="fd00::1", target="fd00::2"),
    frames.na(eth_src=H2, target="fd00::2", dst="fd00::1", eth_dst=H1, solicited=True),
)


@pytest.fixture
def wires(ovs: PrivateOvs) -> Iterator[dict[int, Wire]]:
    ovs.add_bridge("br0")
    far = f"{ovs.namespace}-far"
    ovs.add_namespace(far)
    plugged = plug(ovs, far, "br0", {1: "w1", 2: "w2"})
    yield plugged
    for wire in plugged.values():
        wire.close()


@pytest.mark.parametrize("family", [ARP, ND], ids=["ARP", "neighbor discovery"])
def test_what_a_full_table_cannot_answer_the_controller_does(
    ovs: PrivateOvs, wires: dict[int, Wire], family: Family
) -> None:
    """Of hosts that it has no flows of, it tells what they ask.  The first question is
    answered by the core, the next ones like it at once."""
    text = f"bridges: {{br0: {{}}}}\nsources: {{ovsdb: '{ovs.remote}'}}\n"
    controller = Controller(ovs, text)
    controller.start()
    wait_until(partial(has_flows, controller), within=SOON, why="the first flows")
    fill(ovs, TABLE_IDS[family.table])
    for n, ip in enumerate((family.one, family.other), 1):
        announced = family.announced[n - 1]
        wait_until(
            partial(is_heard, controller, wires[n], announced, ip), within=SOON, why=ip
        )
    wait_until(partial(is_refused, controller), within=SOON, why="a full table")

    for n in range(1, TIMES + 1):
        wires[1].send(family.question)
        wait_until(
            partial(is_answered, wires[1], family.answer),
            within=SOON,
            why=f"answer {n}",
        )

    told = counters(controller)
    assert told["answered by packet-out"] >= 1
    assert told["answered at once"] >= TIMES // 2
    table = ovs.ofctl("dump-flows", "br0", f"table={TABLE_IDS[family.table]}")
    assert family.other not in table


def is_heard(controller: Controller, wire: Wire, announced: bytes, ip: str) -> bool:
    wire.send(announced)
    return any(row["ip"] == ip for row in controller.isat("hosts") or [])


def fill(ovs: PrivateOvs, table: int) -> None:
    """It takes no more flows than it has."""
    held = len(ovs.ofctl("dump-flows", "br0", f"table={table}").splitlines()) - 1
    ovs.vsctl(
        *("--", "--id=@full", "create", "Flow_Table", f"flow_limit={held}"),
        *("overflow_policy=refuse", "--", "set", "bridge", "br0"),
        f"flow_tables:{table}=@full",
    )


def has_flows(controller: Controller) -> bool:
    return any(row["flows"] for row in controller.isat("status")["switches"])


def is_refused(controller: Controller) -> bool:
    return any(row["refused"] for row in controller.isat("status")["switches"])


def is_answered(wire: Wire, answer: bytes) -> bool:
    return answer in wire.heard()


def counters(controller: Controller) -> dict[str, Any]:
    found: dict[str, Any] = controller.isat("status")["counters"]
    return found
