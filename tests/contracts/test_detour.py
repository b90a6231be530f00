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


def test_equal_ways_are_shared_and_one_that_fails_leaves_the_others(
    ovs: PrivateOvs,
) -> None:
    """br1 - br2 and br3 - br4; many flows, and no controller when a cable fails."""
    with Cables(ovs, ((1, 2), (1, 3), (2, 4), (3, 4))) as square:
        wait_until(lambda: uses(square, 1, 4, "select"), within=SOON, why="two ways")
        controller = square.controller.process
        assert controller is not None
        controller.send_signal(signal.SIGSTOP)

        wait_until(
            lambda: square.conversations(1, 4) == {"c0-a", "c1-a"},
            within=SOON,
            why="both ways to be used",
        )
        square.cut(0)
        wait_until(
            lambda: square.conversations(1, 4) == {"c1-a"}, within=SOON, why="the other"
        )

        controller.send_signal(signal.SIGCONT)
        square.mend(0)
