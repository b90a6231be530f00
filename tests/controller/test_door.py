"""Switches that begin together let packets in together, and then questions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands import ChangeFlows, Command
from controller.core import Core
from controller.door import FIRST_TABLE, HUSH, HUSHED, TOGETHER, Lets
from controller.events import (
    ChangeDone,
    ChangeFailed,
    FlowsListed,
    PortChanged,
    SwitchGone,
    SwitchReady,
)
from flows.compile import compile_flows
from flows.view import Port
from tests.facts import S1, S2, S3, ports
from tests.support.plant import Plant

NONE: frozenset[int] = frozenset()


def connected(*switches: int) -> Core:
    core = Core()
    core.handle([SwitchReady(s, tuple(ports(s, 1, 2))) for s in switches], now=0.0)
    return core


def opened(*switches: int) -> Core:
    """They have just been told to let packets in, at 0.3."""
    core = connected(*switches)
    core.handle([FlowsListed(s, NONE) for s in switches], 0.1)
    told = changes(core.handle([ChangeDone(s) for s in switches], 0.3))
    assert len(switches) == 1 or all(map(opens, told.values()))
    return core


def changes(commands: Iterable[Command]) -> dict[int, ChangeFlows]:
    """One for each switch, at most."""
    found = [one for one in commands if isinstance(one, ChangeFlows)]
    by_switch = {one.datapath_id: one for one in found}
    assert len(by_switch) == len(found)
    return by_switch


def opens(change: ChangeFlows) -> bool:
    return any(flow.table == FIRST_TABLE for flow in change.plan.add)


def cookies(*given: ChangeFlows) -> set[int]:
    return {flow.cookie for change in given for flow in change.plan.add}


def test_no_switch_lets_packets_in_before_all_have_done_what_they_were_told() -> None:
    core = connected(S1, S2)

    first = changes(core.handle([FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 0.1))

    assert not opens(first[S1]) and not opens(first[S2])
    assert changes(core.handle([ChangeDone(S1)], 0.2)) == {}

    then = changes(core.handle([ChangeDone(S2)], 0.3))

    for switch in (S1, S2):
        assert {flow.table for flow in then[switch].plan.add} == {FIRST_TABLE}
        whole = {*compile_flows(core.view, switch), *HUSHED}
        assert cookies(first[switch], then[switch]) == whole


def test_nobody_may_ask_before_all_let_in_the_rest() -> None:
    """Who asks is answered at once, and what he sends then meets a shut switch."""
    core = opened(S1, S2)

    assert changes(core.handle([ChangeDone(S1)], 0.4)) == {}
    last = changes(core.handle([ChangeDone(S2)], 0.5))

    for switch in (S1, S2):
        plan = last[switch].plan
        assert (plan.add, plan.delete) == ((), HUSHED)
    assert changes(core.handle([ChangeDone(S1), ChangeDone(S2)], 0.6)) == {}


def test_nobody_waits_for_long_for_a_switch_that_does_not_say_that_it_is_open() -> None:
    core = opened(S1, S2)
    assert changes(core.handle([ChangeDone(S1)], 0.4)) == {}

    due = core.deadline()
    assert due is not None and due <= 0.3 + TOGETHER
    last = changes(core.handle([], 0.3 + TOGETHER))

    assert last[S1].plan.delete == last[S2].plan.delete == HUSHED


def test_who_refuses_a_change_while_it_is_shut_stays_shut_with_the_others() -> None:
    core = connected(S1, S2)
    first = changes(core.handle([FlowsListed(S1, NONE)], 0.1))[S1]
    core.handle([ChangeDone(S1)], 0.2)
    core.handle([PortChanged(ports(S1, 3)[0])], 0.3)
    core.handle([ChangeFailed(S1, "OFPBRC_EPERM")], 0.4)

    again = changes(core.handle([FlowsListed(S1, frozenset(cookies(first)))], 0.5))
    assert not opens(again[S1])
    core.handle([ChangeDone(S1), FlowsListed(S2, NONE)], 0.6)
    then = changes(core.handle([ChangeDone(S2)], 0.7))

    assert opens(then[S1]) and opens(then[S2])
    whole = {*compile_flows(core.view, S1), *HUSHED}
    assert cookies(first, again[S1], then[S1]) >= whole


def test_who_refuses_to_open_is_told_again_and_makes_nobody_hurry() -> None:
    core = opened(S1, S2)
    core.handle([ChangeDone(S1), ChangeFailed(S2, "OFPBRC_EPERM")], 0.4)
    core.handle([], 0.3 + TOGETHER)
    assert core.channels[S1].door.lets is Lets.ALL

    retry = core.channels[S2].retry_at
    due = core.deadline()
    assert retry is None and due is not None and due > 0.3 + TOGETHER

    held = frozenset(core.channels[S2].before or ())
    again = changes(core.handle([FlowsListed(S2, held | {*HUSHED})], 2.4))[S2]
    assert {*HUSHED} <= {*again.plan.delete}
    assert core.channels[S2].door.lets is Lets.ALL


def test_if_the_controller_dies_meanwhile_questions_are_let_in_by_the_switch() -> None:
    assert all(0 < entry.timeout <= TOGETHER for entry in HUSH)


def test_flows_are_not_counted_while_there_are_others_for_a_moment() -> None:
    core = opened(S1, S2)
    channel = core.channels[S1]
    assert channel.door.lets is Lets.ALL_BUT_QUESTIONS
    assert channel.audit_at > channel.door.until


def test_who_came_first_lets_in_no_question_while_others_begin() -> None:
    """It was alone, and open at once; its hosts would be answered for those of others
    before these are open."""
    core = opened(S1)
    core.handle([ChangeDone(S1)], 0.35)

    ready = SwitchReady(S2, tuple(ports(S2, 1, 2)))
    [(switch, change)] = changes(core.handle([ready], 0.4)).items()
    assert switch == S1 and change.plan.add[: len(HUSH)] == HUSH
    core.handle([ChangeDone(S1), FlowsListed(S2, NONE)], 0.5)
    then = changes(core.handle([ChangeDone(S2)], 0.6))
    assert [*then] == [S2] and opens(then[S2])
    last = changes(core.handle([ChangeDone(S2)], 0.7))

    assert last[S1].plan.delete == last[S2].plan.delete == HUSHED


def test_who_is_open_for_long_lets_in_questions_whoever_begins() -> None:
    core = opened(S1)
    core.handle([ChangeDone(S1)], 0.4)
    begin = [SwitchReady(s, tuple(ports(s, 1, 2))) for s in (S2, S3)]
    core.handle([*begin, FlowsListed(S2, NONE), FlowsListed(S3, NONE)], TOGETHER)
    assert core.channels[S1].door.lets is Lets.ALL


def test_nobody_keeps_questions_back_for_long() -> None:
    core = opened(S1)
    core.handle([ChangeDone(S1)], 0.4)
    core.handle([SwitchReady(S2, ())], 0.5)  # and says nothing more
    core.handle([ChangeDone(S1)], 0.6)
    assert core.channels[S1].door.lets is Lets.ALL_BUT_QUESTIONS

    assert core.deadline() == 0.5 + TOGETHER
    change = changes(core.handle([], 0.5 + TOGETHER))[S1]

    assert change.plan.delete == HUSHED


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
    core.handle([*begin, FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 2.3)
    core.handle([ChangeDone(S1)], 2.4)

    down = PortChanged(replace(ports(S3, 1)[0], up=False))
    told = changes(core.turn([ChangeDone(S2), down], 2.5))

    assert [*told] == [S3, S1, S2]
    assert [opens(change) for change in told.values()] == [False, True, True]


def test_a_switch_that_begins_alone_opens_at_once() -> None:
    core = connected(S1)
    change = changes(core.handle([FlowsListed(S1, NONE)], 0.1))[S1]
    assert opens(change)
    assert cookies(change) == set(compile_flows(core.view, S1))


def test_a_switch_that_comes_later_opens_at_once() -> None:
    core = opened(S1)
    core.handle([ChangeDone(S1)], 0.4)
    core.handle([SwitchReady(S2, tuple(ports(S2, 1, 2)))], 2.1)

    change = changes(core.handle([FlowsListed(S2, NONE)], 2.2))[S2]

    assert opens(change)
    assert cookies(change) == set(compile_flows(core.view, S2))


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

    whole = compile_flows(core.view, S1).values()
    door = {entry.cookie for entry in whole if entry.table == FIRST_TABLE}
    assert cookies(then) == door | {*HUSHED}


def test_a_switch_that_refuses_is_told_again_and_opens_with_the_others() -> None:
    core = connected(S1, S2)
    core.handle([FlowsListed(S1, NONE), FlowsListed(S2, NONE)], 0.1)
    core.handle([ChangeFailed(S1, "OFPBRC_EPERM"), ChangeDone(S2)], 0.2)

    again = changes(core.handle([FlowsListed(S1, NONE)], 0.4))
    assert not opens(again[S1]) and S2 not in again

    then = changes(core.handle([ChangeDone(S1)], 0.5))
    assert opens(then[S1]) and opens(then[S2])
    whole = {*compile_flows(core.view, S1), *HUSHED}
    assert cookies(again[S1], then[S1]) == whole


# --- whatever happens meanwhile -------------------------------------------------------

RING = [(1, 2), (2, 3), (3, 1)]
numbers = st.sampled_from([1, 2, 3])
happenings = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["obey", "obey", "refuse", "come", "go"]), numbers),
        st.tuples(st.just("empty"), numbers),
        st.tuples(st.just("cut or mend"), numbers),
        st.tuples(st.just("wait"), st.sampled_from([1, 10, 60])),
    ),
    max_size=40,
)
A_WHILE = 30.0  # seconds: longer than a refusal makes one wait
TURNS_MAX = 400  # in it


def happen(plant: Plant, what: str, n: int) -> None:
    match what:
        case "obey":
            plant.obey(n)
        case "refuse":
            plant.refuse(n)
        case "come":
            plant.connect(n)
        case "go":
            plant.switches[n].told.clear()
            plant.tell(SwitchGone(n))
        case "empty":  # its ovs-vswitchd starts anew
            plant.switches[n].flows.clear()
            plant.switches[n].groups.clear()
            plant.connect(n)
        case "cut or mend":
            plant.cut_or_mend(plant.ends[n - 1])
        case "wait":
            plant.now += n / 20
            plant.tell()


def let_be(plant: Plant) -> int:
    """For a while nothing happens; how many turns that takes."""
    turns, end = 0, plant.now + A_WHILE
    while plant.now < end:
        for n in plant.switches:
            while plant.switches[n].told:
                plant.obey(n)
        due = plant.core.deadline()
        assert due is not None  # flows are counted
        plant.now = max(plant.now, due)
        plant.tell()
        turns += 1
    return turns


@settings(max_examples=100)
@given(happenings)
def test_in_the_end_all_are_open_hold_what_they_should_and_nobody_hurries(
    history: list[tuple[str, int]],
) -> None:
    plant = Plant(3, RING)
    for what, n in history:
        happen(plant, what, n)
    for n in plant.switches:
        if n not in plant.core.channels:
            plant.connect(n)

    turns = let_be(plant)

    assert turns < TURNS_MAX
    for n, switch in plant.switches.items():
        door = plant.core.channels[n].door
        assert door.lets is Lets.ALL and not door.held
        held = {flow.cookie for flow in switch.flows.values()}
        assert held == {*compile_flows(plant.core.view, n)}
