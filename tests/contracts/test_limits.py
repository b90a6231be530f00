"""Who is at a limit, in one VLAN, and what the others notice of it: nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.contracts.segment import Segment, segment_of
from tests.support.ovs import PrivateOvs

pytestmark = [pytest.mark.root, pytest.mark.ovs]

LIMITS = ", addresses_per_station: 3, questions_unanswered: 1"
VLAN = 7


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    with PrivateOvs() as ovs, segment_of(ovs, limits=LIMITS) as made:
        yield made


def sponges(segment: Segment) -> set[tuple[int, str]]:
    """What nobody is asked for, by VLAN."""
    return {(row["vlan"], row["ip"]) for row in segment.asked("view")["sponges"]}


def test_absent_targets_are_sponged_but_where_a_station_is_full(
    segment: Segment,
) -> None:
    full, asker = segment.station(4), segment.known(3)
    for n in range(4):
        ip = f"10.1.8.{n + 1}"
        replace(full, ip=ip).announces(vlan=VLAN)

    def is_full() -> bool:
        return segment.counters()["stations with as many addresses as are kept"] == 1

    segment.wait(is_full, "a station is full")
    [line] = [w for w in segment.asked("status")["warnings"] if full.lladdr in w]
    assert line.startswith(f"br0, VLAN {VLAN}: targets that do not answer are asked")

    def is_sponged() -> bool:
        asker.wire.send(asker.asks("10.1.7.7"))
        return (0, "10.1.7.7") in sponges(segment)

    segment.wait(is_sponged, "nobody is asked any more")

    before = segment.counters()["questions for unknown targets"]

    def is_asked_often() -> bool:
        asker.wire.send(asker.asks("10.1.7.8", tags=(VLAN,)))
        return segment.counters()["questions for unknown targets"] >= before + 4

    segment.wait(is_asked_often, "questions on the VLAN go out")
    assert VLAN not in {vlan for vlan, _ in sponges(segment)}
