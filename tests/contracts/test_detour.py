"""A cable between real bridges fails: the switch goes round it by itself."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations

import pytest

from tests.contracts.conftest import private_ovs
from tests.contracts.test_end_to_end import SOON
from tests.flows.test_ways import MESH, Plant
from tests.support.cables import Cables
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

DOUBLE = ((1, 2), (1, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 6), (5, 6))
ROUND = 100  # frames that pass cables for each that is sent, in a circle at the least


@pytest.fixture(scope="module")
def mesh() -> Iterator[Cables]:
    with private_ovs() as ovs, Cables(ovs, MESH[1]) as mesh:
        wait_until(lambda: is_ready(mesh), within=SOON, why="ways with detours")
        yield mesh


def uses(plant: Cables, start: int, goal: int, kind: str) -> bool:
    return any(
        plant.way(start, goal)
        == f"group:{group.removeprefix('group_id=').split(',')[0]}"
        for group in plant.groups(start)
        if f"type={kind}" in group
    )


def is_ready(mesh: Cables) -> bool:
    return all(uses(mesh, *pair, "ff") for pair in permutations(mesh.numbers, 2))


@contextmanager
def without_controller(plant: Cables) -> Iterator[None]:
    process = plant.controller.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("cut", [(0, 1, 2), (3, 0), (4, 2)], ids=str)
def test_whatever_fails_what_arrives_is_what_the_model_says(
    mesh: Cables, cut: tuple[int, ...]
) -> None:
    """The first are all cables of one switch: its neighbors send nothing round."""
    model = Plant(*MESH)
    model.fail(*cut)
    pairs = [*permutations(mesh.numbers, 2)]
    said = {pair for pair in pairs if model.send(*pair).arrived}
    try:
        with without_controller(mesh):
            for number in cut:
                mesh.cut(number)
            wait_until(
                lambda: mesh.arrivals(pairs, said) == Counter(said),
                within=SOON,
                why="as said",
            )
            before = sum(mesh.passed())
            assert mesh.arrivals(pairs, said) == Counter(said)
            assert sum(mesh.passed()) - before < ROUND * len(pairs)
    finally:
        for number in cut:
            mesh.mend(number)
        wait_until(lambda: is_ready(mesh), within=SOON, why="ways as before")


def test_a_cable_that_fails_is_gone_round_without_a_controller(mesh: Cables) -> None:
    """Then the controller finds the best ways left, and takes the cable when it is
    back; another controller that comes in its place finds all in order."""
    with without_controller(mesh), mesh.stream(1, 2) as stream:
        stream.goes_on()
        mesh.cut(0)
        stream.goes_on()
        assert uses(mesh, 1, 2, "ff")
    assert stream.copies == 0

    with mesh.stream(1, 2) as stream:
        wait_until(lambda: uses(mesh, 1, 2, "select"), within=SOON, why="two ways left")
        stream.goes_on()
        mesh.mend(0)
        wait_until(lambda: is_ready(mesh), within=SOON, why="the shortest ways")
        stream.goes_on()
    assert stream.copies == 0
    assert len(mesh.groups(1)) == GROUPS

    mesh.controller.kill()
    mesh.controller.start()
    wait_until(lambda: is_settled(mesh), within=SOON, why="the new controller")
    counters = mesh.controller.isat("status")["counters"]
    changes = ("flows added", "flows deleted", "groups made", "groups deleted")
    assert [counters.get(what, 0) for what in changes] == [0, 0, 0, 0]


GROUPS = 4  # of three neighbors, and of `ingress`


def is_settled(mesh: Cables) -> bool:
    """It has heard what all switches hold, and all that it compares this with."""
    told = mesh.controller.isat("status")
    held = [row["groups"] for row in told["switches"]]
    is_told = {*told["sources"].values()} == {"ok"}
    return is_told and held == [GROUPS] * len(mesh.numbers)


def test_equal_ways_are_shared_at_each_switch_and_one_that_fails_leaves_the_others(
    ovs: PrivateOvs,
) -> None:
    """br1 - br2 and br3 - br4 and br5 - br6; no controller when a cable fails."""
    with Cables(ovs, DOUBLE) as plant:
        for n in (1, 2, 3):
            wait_until(lambda n=n: uses(plant, n, 6, "select"), within=SOON, why="ways")  # type: ignore[misc]
        with without_controller(plant):
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
