"""What is long is dealt with in pieces, and others have their turn between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from controller import core as module
from controller import liveness
from controller.commands import Command, CountHits, SendPacket
from controller.core import Core
from controller.events import Event, FlowsListed, SwitchGone, SwitchReady
from controller.policy import Policy
from flows import compile as compiler
from flows.compile import Common, compile_flows
from flows.view import Limits
from tests.controller.test_core import arp, bindings, changes, connected, held
from tests.facts import S1, S2, S3, ports

HOSTS = 30
PIECES = {"BINDINGS": 7, "STATIONS": 4, "PARTS": 5, "PARTS_OF_ALL": 8}
TURNS = 200  # more than it could ever take


def lladdr(number: int) -> str:
    return f"02:00:00:00:01:{number:02x}"


HEARD = [
    arp(f"10.0.1.{n}", in_port=n % 3 + 1, sha=lladdr(n)) for n in range(1, HOSTS + 1)
]


@pytest.fixture(scope="module")
def listed() -> FlowsListed:
    """What a switch holds when a controller has heard all of them."""
    before = connected(*HEARD)
    return FlowsListed(S1, held(before), bindings(before))


class Parts:
    """How many parts are written in a turn."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.seen = 0
        put = compiler.Growing._put

        def counted_put(*given: Any) -> None:
            self.seen += 1
            put(*given)

        patch.setattr(compiler.Growing, "_put", counted_put)


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> Parts:
    for name, number in PIECES.items():
        monkeypatch.setattr(module, name, number)
    return Parts(monkeypatch)


def restarted(policy: Policy | None = None) -> Core:
    core = Core(policy)
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    return core


def settle(core: Core, *between: Sequence[Event]) -> list[list[Command]]:
    """The commands of each turn until there is no more to do."""
    turns = []
    waiting = [*between]
    while core.is_busy:
        assert core.deadline() == -math.inf
        turns.append(core.handle(waiting.pop(0) if waiting else [], now=0.2))
        assert len(turns) < TURNS
    assert core.deadline() != -math.inf
    return turns


def test_a_long_list_is_recalled_and_compared_over_many_turns(
    listed: FlowsListed, pieces: Parts
) -> None:
    core = restarted()
    assert not changes(core.handle([listed], now=0.1))
    parts = []
    while core.is_busy:
        before = pieces.seen
        assert not changes(core.handle([], now=0.2))
        parts.append(pieces.seen - before)

    assert max(parts) == PIECES["PARTS"]
    assert sum(parts) == len(Common) + 2 * HOSTS
    assert len(core.view.stations) == HOSTS
    assert core.channels[S1].is_settled
    assert {*core.channels[S1].compiled.cookies} == held(core) == listed.cookies


def test_hosts_are_looked_at_when_all_is_compared(
    listed: FlowsListed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "LOOKS_MAX", 2)
    core = restarted(Policy(silent_after=1.0))
    turns = [core.handle([listed], now=50.0)]
    while core.is_busy:
        turns.append(core.handle([], now=60.0))
    looked = [any(isinstance(one, CountHits) for one in turn) for turn in turns]
    assert looked.count(True) <= 1  # between the list and what is made of it
    assert any(isinstance(one, CountHits) for one in core.handle([], now=61.0))


def test_nobody_is_told_anything_until_everything_is_recalled(
    listed: FlowsListed,
) -> None:
    core = restarted()
    stray = FlowsListed(S1, listed.cookies | {0x15A7 << 48 | 1}, listed.bindings)
    first = core.handle([stray], now=0.1)
    turns = settle(core)
    assert not changes(first)
    assert not [change for turn in turns[:-1] for change in changes(turn)]
    [change] = changes(turns[-1])
    assert (change.plan.add, change.plan.delete) == ((), (0x15A7 << 48 | 1,))


def test_who_is_heard_meanwhile_is_answered_at_once_and_added_in_the_end(
    listed: FlowsListed,
) -> None:
    core = restarted()
    core.handle([listed], now=0.1)
    asker = arp("10.0.2.1", sha=lladdr(0xA1))
    late = [asker, arp("10.0.2.2", in_port=2, sha=lladdr(0xA2))]
    asked = arp("10.0.2.1", "10.0.2.2", sha=lladdr(0xA1))
    turns = settle(core, [late[0]], [], [late[1]], [], [asked])

    assert any(isinstance(command, SendPacket) for command in turns[4])
    [change] = [one for turn in turns for one in changes(turn)]
    assert not change.plan.delete
    added = {entry.cookie for entry in change.plan.add}
    assert listed.cookies | added == held(core) == {*compile_flows(core.view, S1)}


def test_who_leaves_meanwhile_is_taken_away_in_the_end(listed: FlowsListed) -> None:
    core = restarted()
    core.handle([listed], now=0.1)
    moved = arp("10.0.1.1", in_port=3, sha=lladdr(1))
    turns = settle(core, *([[]] * 20), [moved])
    [change] = [one for turn in turns for one in changes(turn)]
    assert change.plan.delete
    after = (listed.cookies | {e.cookie for e in change.plan.add}) - {
        *change.plan.delete
    }
    assert after == held(core)


def test_an_empty_switch_is_told_all_at_once_in_the_end() -> None:
    core = restarted(Policy(limits=Limits(stations_per_port=1000)))
    core.handle([*HEARD], now=0.05)
    core.handle([FlowsListed(S1, frozenset())], now=0.1)
    turns = settle(core, [arp("10.0.2.1", sha=lladdr(0xA1))])
    [change] = changes(turns[-1])
    assert {entry.cookie for entry in change.plan.add} == held(core)
    assert len(turns) == 2 * HOSTS // PIECES["PARTS"]  # and the first


def test_switches_that_begin_together_share_a_turn(pieces: Parts) -> None:
    core, switches = Core(), (S1, S2, S3)
    for switch in switches:
        core.handle([SwitchReady(switch, tuple(ports(switch, 1, 2, 3)))], now=0.0)
        core.handle([replace(one, datapath_id=switch) for one in HEARD], now=0.05)
    parts = []
    told: list[Event] = [FlowsListed(switch, frozenset()) for switch in switches]
    while told or core.is_busy:
        before = pieces.seen
        core.handle(told, now=0.1)
        told = []
        parts.append(pieces.seen - before)

    assert max(parts) <= PIECES["PARTS_OF_ALL"]
    for switch in switches:
        flows = compile_flows(core.view, switch)
        assert {*core.channels[switch].compiled.cookies} == {*flows}


def test_a_switch_that_goes_in_the_middle_is_recalled_when_it_comes_again(
    listed: FlowsListed,
) -> None:
    core = restarted()
    core.handle([listed], now=0.1)
    core.handle([SwitchGone(S1)], now=0.2)
    assert not core.is_busy
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.3)
    core.handle([listed], now=0.4)
    assert not [change for turn in settle(core) for change in changes(turn)]
    assert len(core.view.stations) == HOSTS
