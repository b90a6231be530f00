"""Overlays when switches and controllers come and go."""

from __future__ import annotations

from controller.core import PATIENCE, Core
from controller.events import FrameSeen, SwitchGone, SwitchReady
from flows.view import PortKey
from tests.facts import port
from tests.support.plant import TUNNEL, Plant


def abroad() -> Plant:
    """Three switches of other hosts, and an overlay."""
    hosts = [port(n, 1) for n in (1, 2, 3)]
    plant = Plant(3, [], hosts, overlays=[{1, 2, 3}], foreign=True)
    plant.settle()
    return plant


def told(plant: Plant) -> list[int]:
    return [n for n, switch in plant.switches.items() if switch.is_told_flows()]


def test_switches_of_other_hosts_are_joined_by_an_overlay() -> None:
    plant = abroad()
    assert plant.tree() == {PortKey(n, TUNNEL) for n in (1, 2, 3)}
    assert plant.core.network.fabric.islands == {1: 1, 2: 1, 3: 1}


def test_after_a_restart_nothing_is_changed_before_all_ends_are_there() -> None:
    plant = abroad()
    plant.core, plant.now = Core(plant.policy), 0.0
    for n in (1, 2, 3):
        plant.connect(n)
        assert not told(plant)


def test_nor_before_all_of_them_have_told_whom_they_know() -> None:
    plant = abroad()
    plant.core, plant.now = Core(plant.policy), 0.0
    plant.connect(1)
    for n in (2, 3):
        mine = tuple(p for p in plant.ports.values() if p.datapath_id == n)
        plant.tell(SwitchReady(n, mine))
    plant.tell(FrameSeen(1, 1, 0, "02:00:00:00:00:01"))
    assert not told(plant)
    for n in (2, 3):
        plant.answer(n)
    assert told(plant) == [1, 2, 3], "now of the host that was heard"


def test_who_stays_away_after_a_restart_is_not_waited_for_for_ever() -> None:
    plant = abroad()
    plant.core, plant.now = Core(plant.policy), 0.0
    plant.connect(1)
    plant.connect(2)
    plant.now = PATIENCE
    plant.tell()
    assert told(plant) == [1, 2]
    plant.settle()
    assert plant.core.network.fabric.islands == {1: 1, 2: 1}


def test_a_switch_that_is_gone_is_sent_nothing_and_that_it_sends_is_dropped() -> None:
    plant = abroad()
    plant.tell(SwitchGone(3))
    plant.settle()
    flows = [row for n in (1, 2) for row in plant.switches[n].flows.values()]
    assert not [row for row in flows if "192.0.2.3" in row.text]
    plant.connect(3)
    plant.settle()
    assert plant.tree() == {PortKey(n, TUNNEL) for n in (1, 2, 3)}
