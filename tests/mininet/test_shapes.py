"""Rings, meshes and trees under the controller: all reach all, and hear once.

How fast that is, and beside others, is measured by tests/bench/shapes.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.mininet.test_controlled import STARTED, Controller
from tests.support.crowd import Crowd, Pings, places
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from topologies import shapes
from topologies.network import Link, Network, islands

pytestmark = [pytest.mark.root, pytest.mark.ovs, pytest.mark.mininet]

SHAPES: tuple[tuple[Network, tuple[Link, ...]], ...] = (
    (shapes.ring(3), ()),
    (shapes.mesh(4), ()),
    (shapes.fat_tree(2), ()),
    (shapes.tree(2, 2), ()),
    (shapes.islands(3), shapes.bridges(3)),
)
BROADCASTS = 20  # that everybody must hear, when all have answered


@pytest.fixture(scope="module")
def controller(ovs: PrivateOvs) -> Iterator[Controller]:
    yield Controller(ovs)


@pytest.mark.parametrize(
    ("network", "bridges"), SHAPES, ids=[network.name for network, _ in SHAPES]
)
def test_all_reach_all_and_hear_each_broadcast_once(
    controller: Controller, emulated: Any, network: Network, bridges: tuple[Link, ...]
) -> None:
    apart = [
        [host.ip for host in network.hosts if host.at.switch in island]
        for island in islands(network)
    ]
    with (
        emulated(network, controller="127.0.0.1:6653", started=False) as running,
        Crowd(places(network, running), every=0.02) as crowd,
    ):
        running.start()
        answered(crowd.pingall(apart))
        if bridges:
            running.plug(*bridges)
            answered(crowd.pingall())

        wait_until(
            lambda: all_hear(crowd, len(network.hosts)), within=STARTED, why="all ears"
        )

    assert crowd.broadcasts.most_copies == 1
    assert crowd.broadcasts.missed == 0


def answered(pings: Pings) -> None:
    wait_until(lambda: pings.unanswered == 0, within=STARTED, why="all answers")


def all_hear(crowd: Crowd, hosts: int) -> bool:
    """The last broadcasts, but for those that are on their way, reached everybody."""
    heard = crowd.broadcasts.heard
    last = range(max(0, len(heard) - 2 * BROADCASTS), len(heard) - BROADCASTS)
    others = hosts - 1
    return len(last) == BROADCASTS and all(len(heard[n]) == others for n in last)
