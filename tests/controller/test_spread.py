"""Somebody is new: frames for him keep to the broadcast tree until all know of him."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

import pytest

from controller.broadcast import TRANSIT
from controller.core import PARTS
from controller.events import ArpSeen, ChangeFailed, SwitchGone
from controller.spread import ROUNDS_MAX, WAIT_MAX
from flows.openflow import CONTROLLER
from flows.pipeline import TABLE_IDS
from flows.simulate import Datapath
from flows.view import Fresh, StationKey
from tests.facts import Fact, interface, port
from tests.packets import frame
from tests.support.plant import FAR, NEAR, Ends, Plant

RING = [(1, 2), (2, 3), (3, 4), (4, 1)]  # of which 3 to 4 is not on the tree
ROW = RING[:2]
DIRECTLY, AROUND = NEAR + 2, FAR + 1  # from 3 towards 4, and along the tree
HOST = StationKey(4, 0, "02:00:00:00:00:01")


def hosts(number: int) -> list[Fact]:
    """A port for one at each switch."""
    found: list[Fact] = []
    for n in range(1, number + 1):
        found += [port(n, 1), interface(n, 1)]
    return found


def settled(cables: list[tuple[int, int]]) -> Plant:
    size = max(map(max, cables))
    plant = Plant(size, cables, hosts(size))
    plant.settle()
    return plant


def apart() -> tuple[Plant, Ends]:
    """Two triangles, and the cable between them, which is down."""
    plant = settled([(1, 2), (2, 3), (1, 3), (4, 5), (5, 6), (4, 6), (3, 4)])
    bridge = plant.ends[6]
    plant.cut_or_mend(bridge)
    plant.settle()
    return plant, bridge


def hear(plant: Plant, key: StationKey, ip: str = "10.0.0.1") -> None:
    said = key.lladdr, IPv4Address(ip), "00:00:00:00:00:00", IPv4Address(ip)
    everybody = "ff:ff:ff:ff:ff:ff"
    plant.tell(ArpSeen(key.datapath_id, 1, 0, key.lladdr, everybody, 1, *said))


def leaves_by(plant: Plant, n: int, key: StationKey) -> list[int]:
    """Where a switch sends a frame for somebody to, that its own host has sent."""
    switch = plant.switches[n]
    packet = frame(
        in_port=1, eth_src="02:00:00:00:00:99", eth_dst=key.lladdr, eth_type=0x88B5
    )
    sent = Datapath(switch.flows.values(), (), 0).receive(packet)
    return [port_no for port_no, _ in sent if NEAR <= port_no < CONTROLLER]


def note(plant: Plant, n: int, key: StationKey) -> str:
    [told] = (
        row.note
        for row in plant.switches[n].flows.values()
        if ("eth_dst", key.lladdr) in row.match and row.table == TABLE_IDS["forward"]
    )
    return told


def obey(plant: Plant, some: Iterable[int]) -> None:
    for n in some:
        while plant.switches[n].told:
            plant.obey(n)


def test_frames_for_him_keep_to_the_tree_until_the_last_switch_knows_of_him() -> None:
    plant = settled(RING)
    hear(plant, HOST)
    assert plant.core.view.fresh == {HOST: Fresh(*HOST)}
    obey(plant, (1, 3, 4))
    assert leaves_by(plant, 3, HOST) == [AROUND]
    assert f"port {AROUND}, along the broadcast tree until all" in note(plant, 3, HOST)

    plant.now += 1.0
    plant.tell()
    assert plant.core.view.fresh, "2 has said nothing yet"

    obey(plant, (2,))
    plant.tell()
    assert plant.core.view.fresh, "what 2 has sent everywhere may be on its way"
    until = plant.core.deadline()
    assert until == pytest.approx(plant.now + TRANSIT, abs=0.02)

    plant.settle()
    assert not plant.core.view.fresh
    assert leaves_by(plant, 3, HOST) == [DIRECTLY]


def test_where_cables_form_no_ring_he_is_reached_in_one_step() -> None:
    plant = settled(ROW)
    hear(plant, HOST._replace(datapath_id=3))
    assert not plant.core.view.fresh
    plant.settle()
    assert not plant.core.view.fresh


def test_who_only_moves_is_known_to_all() -> None:
    plant = settled(RING)
    hear(plant, HOST)
    plant.settle()
    hear(plant, HOST._replace(datapath_id=2))
    assert not plant.core.view.fresh


def test_what_a_switch_has_refused_it_does_not_know() -> None:
    plant = settled(RING)
    hear(plant, HOST)
    obey(plant, (1, 2, 4))
    plant.refuse(3)
    plant.now += 2 * TRANSIT
    plant.tell()
    assert plant.core.view.fresh
    plant.settle()
    assert not plant.core.view.fresh


def test_a_switch_without_a_connection_is_waited_for_a_minute() -> None:
    plant = settled(RING)
    plant.tell(SwitchGone(2))
    hear(plant, HOST)
    began = plant.now
    obey(plant, (1, 3, 4))
    plant.now = began + WAIT_MAX - 1.0
    plant.tell()
    assert plant.core.view.fresh
    assert leaves_by(plant, 3, HOST) == [AROUND]

    plant.now = began + WAIT_MAX
    plant.tell()
    plant.now += 2 * TRANSIT
    plant.tell()
    assert not plant.core.view.fresh


def test_when_islands_are_joined_nobody_is_new_to_those_who_knew_him() -> None:
    plant, bridge = apart()
    hear(plant, HOST)
    plant.settle()
    plant.cut_or_mend(bridge)
    assert plant.core.view.fresh == {HOST: Fresh(*HOST, known=(4, 5, 6))}
    plant.settle()
    assert not plant.core.view.fresh


def test_after_a_restart_nobody_is_new() -> None:
    plant = settled(RING)
    hear(plant, HOST)
    plant.settle()
    plant.restart()
    assert not plant.core.view.fresh


def test_a_switch_that_says_nothing_makes_nobody_remember_more_and_more() -> None:
    plant = settled(RING)
    some = [HOST._replace(lladdr=f"02:00:00:00:01:{n:02x}") for n in range(99)]
    for number, key in enumerate(some):
        hear(plant, key, f"10.0.1.{number}")
        obey(plant, (1, 3, 4))
    assert len(plant.core.spread._rounds) <= ROUNDS_MAX
    assert plant.core.view.fresh.keys() == {*some}
    plant.settle()
    assert not plant.core.view.fresh
    assert {tuple(leaves_by(plant, 3, key)) for key in some} == {(DIRECTLY,)}


@pytest.mark.parametrize("is_refusing", [True, False])
def test_a_switch_that_never_confirms_is_waited_for_a_minute_too(
    is_refusing: bool,
) -> None:
    """It refuses for ever, or says nothing."""
    plant = settled(RING)
    hear(plant, HOST)
    began = plant.now
    while plant.now < began + WAIT_MAX + 2.0:
        obey(plant, (1, 3, 4))
        if is_refusing:
            plant.answer(2)
            if plant.switches[2].told:
                plant.switches[2].told.popleft()
                plant.tell(ChangeFailed(2, "refused"))
        plant.now += 0.5
        plant.tell()
        until = plant.core.deadline()
        assert until is not None
        assert until > plant.now, "it would be called without end"
    assert not plant.core.view.fresh


def test_who_moves_while_he_is_new_is_still_new() -> None:
    plant = settled(RING)
    hear(plant, HOST)
    obey(plant, (1, 3, 4))
    moved = HOST._replace(datapath_id=3)
    hear(plant, moved)
    assert plant.core.view.fresh.get(moved) == Fresh(*moved)
    plant.settle()
    assert not plant.core.view.fresh


def test_who_is_new_when_islands_are_joined_is_new_to_his_own_as_well() -> None:
    plant, bridge = apart()
    hear(plant, HOST)
    obey(plant, (4, 5))
    plant.cut_or_mend(bridge)
    assert 6 not in plant.core.view.fresh[HOST].known
    plant.settle()
    assert not plant.core.view.fresh


def test_many_who_come_while_a_switch_is_away_are_waited_for_no_longer() -> None:
    plant = settled(RING)
    plant.tell(SwitchGone(2))
    began = plant.now
    for number in range(2 * ROUNDS_MAX):
        last = HOST._replace(lladdr=f"02:00:00:00:01:{number:02x}")
        hear(plant, last, f"10.0.1.{number}")
        obey(plant, (1, 3, 4))
        plant.now = began + number * WAIT_MAX / ROUNDS_MAX * 0.9
    first = HOST._replace(lladdr="02:00:00:00:01:00")
    assert first not in plant.core.view.fresh
    assert last in plant.core.view.fresh


def test_who_comes_while_flows_of_many_are_still_being_written_is_new() -> None:
    plant, bridge = apart()
    for number in range(PARTS):
        key = HOST._replace(
            lladdr=f"02:00:00:00:{2 + number // 256:02x}:{number % 256:02x}"
        )
        hear(plant, key, f"10.0.{1 + number // 256}.{number % 256}")
    plant.settle()
    plant.cut_or_mend(bridge)
    assert plant.core.is_busy
    hear(plant, HOST)
    assert HOST in plant.core.view.fresh
    plant.settle()
    assert not plant.core.view.fresh
