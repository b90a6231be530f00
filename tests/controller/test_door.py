"""Switches that begin together let packets in together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controller.commands import ChangeFlows, Command
from controller.core import TOGETHER, Core
from controller.events import (
    ChangeDone,
    ChangeFailed,
    FlowsListed,
    PortChanged,
    SwitchGone,
    SwitchReady,
)
from flows.compile import compile_flows
from flows.pipeline import TABLE_IDS
from flows.view import Port
from tests.facts import S1, S2, S3, ports

DOOR = TABLE_IDS["ingress"]
NONE: frozenset[int] = frozenset()


def connected(*switches: int) -> Core:
    core = Core()
    core.handle([SwitchReady(s, tuple(ports(s, 1, 2))) for s in switches], now=0.0)
    return core


def changes(commands: Iterable[Command]) -> dict[int, ChangeFlows]:
    """One for each switch, at most."""
    found = [one for one in commands if isinstance(one, ChangeFlows)]
    by_switch = {one.datapath_id: one for one in found}
    assert len(by_switch) == len(found)
    return by_switch


def opens(change: ChangeFlows) -> bool:
    return any(flow.table == DOOR for flow in change.plan.add)


def cookies(*given: ChangeFlows) -> set[int]:
    return {flow.cookie for change in given for flow in change.plan.add}


def test_no_switch_lets_packets_in_before_all_have_done_what_they_were_told() -> None:
    core = connected(S1, S2)

    first = changes(core.handle([FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 0.1))

    assert not opens(first[S1]) and not opens(first[S2])
    assert changes(core.handle([ChangeDone(S1)], 0.2)) == {}

    then = changes(core.handle([ChangeDone(S2)], 0.3))

    for switch in (S1, S2):
        assert {flow.table for flow in then[switch].plan.add} == {DOOR}
        whole = set(compile_flows(core.view, switch))
        assert cookies(first[switch], then[switch]) == whole


def test_who_has_not_told_yet_what_it_holds_is_waited_for() -> None:
    core = connected(S1, S2)
    first = changes(core.handle([FlowsListed(S1, NONE)], 0.1))
    assert not opens(first[S1])

    second = changes(core.handle([ChangeDone(S1), FlowsListed(S2, NONE)], 0.2))
    assert not opens(second[S2])

    then = changes(core.handle([ChangeDone(S2)], 0.3))
    assert opens(then[S1]) and opens(then[S2])


def test_others_are_told_first_and_then_all_that_begin_open_one_after_another() -> None:
    """What one lets in the others drop, as long as they are shut."""
    core = connected(S3)
    core.handle([FlowsListed(S3, NONE)], 0.1)
    core.handle([ChangeDone(S3)], 0.2)
    begin = [SwitchReady(s, tuple(ports(s, 1, 2))) for s in (S1, S2)]
    core.handle([*begin, FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 0.3)
    core.handle([ChangeDone(S1)], 0.4)

    down = PortChanged(replace(ports(S3, 1)[0], up=False))
    told = changes(core.turn([ChangeDone(S2), down], 0.5))

    assert [*told] == [S3, S1, S2]
    assert [opens(change) for change in told.values()] == [False, True, True]


def test_a_switch_that_begins_alone_opens_at_once() -> None:
    core = connected(S1)
    change = changes(core.handle([FlowsListed(S1, NONE)], 0.1))[S1]
    assert opens(change)
    assert cookies(change) == set(compile_flows(core.view, S1))


def test_a_switch_that_forwards_already_waits_for_nobody_and_nobody_for_it() -> None:
    """After a restart of the controller: nothing is interrupted."""
    before = connected(S1)
    before.handle([FlowsListed(S1, NONE)], 0.1)
    held = frozenset(compile_flows(before.view, S1))
    core = connected(S1, S2)

    core.handle([FlowsListed(S1, held)], 0.1)
    change = changes(core.handle([FlowsListed(S2, NONE)], 0.2))[S2]

    assert opens(change)


def test_nobody_waits_for_a_switch_that_has_gone() -> None:
    core = connected(S1, S2)
    core.handle([FlowsListed(S1, NONE), ChangeDone(S1)], 0.1)
    assert opens(changes(core.handle([SwitchGone(S2)], 0.2))[S1])


def test_nobody_waits_for_ever_for_a_switch_that_does_nothing() -> None:
    core = connected(S1, S2, S3)
    core.handle([FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 0.1)
    assert changes(core.handle([ChangeDone(S1)], 0.2)) == {}

    due = core.deadline()
    assert due is not None and due <= TOGETHER
    then = changes(core.handle([], TOGETHER))

    assert opens(then[S1]) and opens(then[S2])


def test_what_changes_behind_a_shut_door_is_told_at_once() -> None:
    core = connected(S1, S2)
    core.handle([FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 0.1)
    new = Port(S1, 3, "s1-eth3", "02:00:00:00:01:03", True)
    change = changes(core.handle([PortChanged(new)], 0.2))[S1]
    assert change.plan.add and not opens(change)

    core.handle([ChangeDone(S1), ChangeDone(S1)], 0.3)
    then = changes(core.handle([ChangeDone(S2)], 0.4))[S1]

    door = {f.cookie for f in compile_flows(core.view, S1).values() if f.table == DOOR}
    assert cookies(then) == door


def test_a_switch_that_refuses_is_told_again_and_opens_with_the_others() -> None:
    core = connected(S1, S2)
    core.handle([FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 0.1)
    core.handle([ChangeFailed(S1, "OFPBRC_EPERM"), ChangeDone(S2)], 0.2)

    again = changes(core.handle([FlowsListed(S1, NONE)], 0.4))
    assert not opens(again[S1]) and S2 not in again

    then = changes(core.handle([ChangeDone(S1)], 0.5))
    assert opens(then[S1]) and opens(then[S2])
    assert cookies(again[S1], then[S1]) == set(compile_flows(core.view, S1))
