"""A cable between real bridges fails: the switch goes round it by itself."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.contracts.test_end_to_end import SOON
from tests.support.cables import Cables
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

RING = ((1, 2), (2, 3), (3, 1))
DOUBLE = ((1, 2), (1, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 6), (5, 6))


@pytest.fixture
def ring(ovs: PrivateOvs) -> Iterator[Cables]:
    with Cables(ovs, RING) as ring:
        yield ring


def uses(ring: Cables, start: int, goal: int, kind: str) -> bool:
    return any(
        ring.way(start, goal)
        == f"group:{group.removeprefix('group_id=').split(',')[0]}"
        for group in ring.groups(start)
        if f"type={kind}" in group
    )


def is_settled(ring: Cables) -> bool:
    """It has heard what all switches hold, and all that it compares this with."""
    told = ring.controller.isat("status")
    is_told = {*told["sources"].values()} == {"ok"}
    return is_told and [row["groups"] for row in told["switches"]] == [3, 3, 3]


def test_a_cable_that_fails_is_gone_round_without_a_controller(ring: Cables) -> None:
    """Then the controller takes the way away, and gives it back with the cable."""
    wait_until(lambda: uses(ring, 1, 2, "ff"), within=SOON, why="a way with a detour")
    controller = ring.controller.process
    assert controller is not None

    controller.send_signal(signal.SIGSTOP)
    with ring.stream(1, 2) as stream:
        stream.goes_on()
        ring.cut(0)
        stream.goes_on()
    assert uses(ring, 1, 2, "ff")
    assert stream.copies == 0

    controller.send_signal(signal.SIGCONT)
    with ring.stream(1, 2) as stream:
        wait_until(
            lambda: ring.way(1, 2) == "output:12", within=SOON, why="the longer way"
        )
        stream.goes_on()
        ring.mend(0)
        wait_until(lambda: uses(ring, 1, 2, "ff"), within=SOON, why="the shorter way")
        stream.goes_on()
    assert stream.copies == 0
    assert len(ring.groups(1)) == 3  # of two neighbors, and of `ingress`

    ring.controller.kill()
    ring.controller.start()
    wait_until(lambda: is_settled(ring), within=SOON, why="the new controller")
    counters = ring.controller.isat("status")["counters"]
    changes = ("flows added", "flows deleted", "groups made", "groups deleted")
    assert [counters.get(what, 0) for what in changes] == [0, 0, 0, 0]


def test_equal_ways_are_shared_at_each_switch_and_one_that_fails_leaves_the_others(
    ovs: PrivateOvs,
) -> None:
    """br1 - br2 and br3 - br4 and br5 - br6; no controller when a cable fails."""
    with Cables(ovs, DOUBLE) as plant:
        for n in (1, 2, 3):
            wait_until(lambda n=n: uses(plant, n, 6, "select"), within=SOON, why="ways")  # type: ignore[misc]
        controller = plant.controller.process
        assert controller is not None
        controller.send_signal(signal.SIGSTOP)

        wait_until(
            lambda: plant.conversations(1, 6) == {*range(len(DOUBLE))},
            within=SOON,
            why="all ways to be used",
        )
        plant.cut(0)
        wait_until(
            lambda: plant.conversations(1, 6) == {1, 4, 5, 6, 7},
            within=SOON,
            why="the others",
        )

        controller.send_signal(signal.SIGCONT)
