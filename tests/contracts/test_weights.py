"""A ring of real bridges where traffic control slows a cable: frames go round it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contracts.conftest import private_ovs
from tests.contracts.test_end_to_end import SOON
from tests.flows.test_ways import RING
from tests.support.cables import Cables
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

SLOW, OTHERS = {0}, {1, 2}  # br1 - br2; br2 - br3, br3 - br1
MBIT = 1_000_000


@pytest.fixture
def ring() -> Iterator[Cables]:
    with private_ovs() as ovs, Cables(ovs, RING[1]) as ring:
        yield ring


def slow_down(ring: Cables, end: str, mbit: int) -> None:
    """As Mininet's TCLink(bw=) does (mininet/link.py, TCIntf.bwCmds)."""
    root = ("dev", end, "root", "handle", "5:0", "htb", "default", "1")
    one = ("parent", "5:0", "classid", "5:1", "htb", "rate", f"{mbit}Mbit")
    ring.ovs.run("tc", "qdisc", "add", *root)
    ring.ovs.run("tc", "class", "add", "dev", end, *one, "burst", "15k")


def told(ring: Cables) -> list[tuple[Any, Any]]:
    rows = ring.controller.isat("links") or []
    return [(row["rate"], row["cost"]) for row in rows]


def takes(ring: Cables, cables: set[int]) -> None:
    """Frames from the station at br1 to that at br2, and back."""
    for way in ((1, 2), (2, 1)):
        wait_until(
            lambda way=way: ring.conversations(*way) == cables,  # type: ignore[misc]
            within=SOON,
            why=f"{way} by cables {cables}",
        )


def test_frames_go_round_a_slow_cable_until_it_is_as_fast_as_others(
    ring: Cables,
) -> None:
    takes(ring, SLOW)
    with ring.stream(1, 2) as stream:
        stream.goes_on()
        slow_down(ring, "c0-b", 10)  # one end is enough
        wait_until(
            lambda: told(ring) == [(10 * MBIT, 2_000_000), (None, 1), (None, 1)],
            within=SOON,
            why="the rate",
        )
        stream.goes_on()
    takes(ring, OTHERS)
    with ring.stream(1, 2) as again:
        again.goes_on()
        ring.ovs.run("tc", "qdisc", "del", "dev", "c0-b", "root")
        wait_until(lambda: told(ring) == [(None, 1)] * 3, within=SOON, why="no rate")
        again.goes_on()
    takes(ring, SLOW)
    assert (stream.copies, again.copies) == (0, 0)


def test_where_all_are_slow_the_one_cable_is_shorter_than_two(ring: Cables) -> None:
    for number in (0, 1, 2):
        for side in "ab":
            slow_down(ring, f"c{number}-{side}", 10)
    wait_until(
        lambda: told(ring) == [(10 * MBIT, 2_000_000)] * 3, within=SOON, why="rates"
    )
    takes(ring, SLOW)
    slow_down_more = ("class", "change", "dev", "c0-a", "parent", "5:0", "classid")
    ring.ovs.run("tc", *slow_down_more, "5:1", "htb", "rate", "4Mbit", "burst", "15k")
    takes(ring, OTHERS)


def test_frames_go_round_a_cable_that_open_vswitch_limits(ring: Cables) -> None:
    """Its QoS `linux-htb`: a class with the rate, and below it one for each queue."""
    qos = ("create", "qos", "type=linux-htb", f"other-config:max-rate={10 * MBIT}")
    ring.ovs.vsctl("set", "port", "c0-a", "qos=@q", "--", "--id=@q", *qos)
    takes(ring, OTHERS)
    assert told(ring) == [(10 * MBIT, 2_000_000), (None, 1), (None, 1)]
    ring.ovs.vsctl("clear", "port", "c0-a", "qos")
    takes(ring, SLOW)


def test_a_controller_that_comes_later_finds_the_ways_in_order(ring: Cables) -> None:
    slow_down(ring, "c0-a", 10)
    takes(ring, OTHERS)
    ring.controller.kill()
    ring.controller.start()
    wait_until(lambda: is_settled(ring), within=SOON, why="the new controller")
    counters = ring.controller.isat("status")["counters"]
    changes = ("flows added", "flows deleted", "groups made", "groups deleted")
    assert [counters.get(what, 0) for what in changes] == [0, 0, 0, 0]
    assert ring.conversations(1, 2) == OTHERS


def is_settled(ring: Cables) -> bool:
    told = ring.controller.isat("status")
    is_told = {*told["sources"].values()} == {"ok"}
    return is_told and all(row["groups"] for row in told["switches"])
