"""One consumer among green threads, as under ryu-manager."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands import ChangeFlows, Command, ListFlows
from controller.config import Config, Sources
from controller.core import Core
from controller.events import Event, FrameIgnored, SwitchReady
from controller.reconcile import GroupPlan, Plan
from controller.runtime import (
    BATCH,
    FLOW,
    PACKETS_LEAST,
    PIECE,
    TURN,
    Runtime,
    may_wait,
    paced,
)
from controller.sources.openflow import messages_of, pieces
from flows import wire
from flows.compile import compile_flows
from flows.groups import groups
from flows.network import network
from flows.pipeline import TABLE_IDS
from flows.switch import Switch
from flows.view import View
from tests.facts import kernel_host, view_of
from tests.strategies import views

ROOT = Path(__file__).parents[2]
SHORT_LIST = PIECE // FLOW - 1  # flows of which nothing but their cookies is told

# Another green thread notes how much of a backlog has been dealt with at each turn.
PROGRAM = """
import sys
import eventlet
eventlet.monkey_patch()
from controller.config import Config, Sources
from controller.events import FrameIgnored
from controller.runtime import TURN, BATCH, Runtime

config = Config(sources=Sources(netlink=False, ovsdb=""))
runtime = Runtime(config, listening=1, socket_path="", perform=print)
for _ in range(4 * BATCH):
    runtime.report(FrameIgnored(1, 1, "nothing"))
consumer = eventlet.spawn(runtime.run)
noted = []
while 4 * BATCH not in noted:
    eventlet.sleep(0)
    noted.append(runtime.core.counters["FrameIgnored"])
consumer.kill()
print(sorted({count // BATCH for count in noted} - {0}))
"""


def test_however_much_waits_other_threads_have_their_turn() -> None:
    done = subprocess.run(
        (sys.executable, "-c", PROGRAM),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "[1, 2, 3, 4]\n", done.stderr


@pytest.mark.parametrize(
    ("packets", "taken", "took", "then"),
    [
        (64, 64, 9 * TURN, 32),  # they wait too long
        (64, 64, 1.25 * TURN, 51),
        (64, 3, 9 * TURN, 32),  # whatever it was
        (64, 0, 9 * TURN, 64),  # of facts alone
        (PACKETS_LEAST, PACKETS_LEAST, 9 * TURN, PACKETS_LEAST),
        (64, 64, TURN / 4, 128),
        (64, 64, TURN / 1.5, 96),
        (64, 64, TURN, 64),
        (64, 3, TURN / 4, 64),  # no more were there
        (BATCH, BATCH, 0.0, BATCH),
    ],
)
def test_a_turn_takes_as_many_packets_as_the_others_can_wait_for(
    packets: int, taken: int, took: float, then: int
) -> None:
    assert paced(packets, taken, took) == then


class Stumbling(Core):
    """Of one kind of event it knows nothing."""

    def turn(self, events: Sequence[Event], now: float) -> Iterator[Command]:
        assert not any(isinstance(event, FrameIgnored) for event in events)
        yield from super().turn(events, now)


def test_a_mistake_about_one_event_costs_none_that_came_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Command] = []
    config = Config(sources=Sources(netlink=False, ovsdb=""))
    runtime = Runtime(config, listening=1, socket_path="", perform=told.append)
    runtime.core = Stumbling()
    runtime.deal_with(
        [SwitchReady(1, ()), FrameIgnored(1, 1, "it"), SwitchReady(2, ())]
    )
    assert told == [ListFlows(1), ListFlows(2)]
    assert caplog.text.count("a mistake in dealing with") == 2


class Telling(Core):
    """Says how much of what it said was carried out when it went on."""

    def __init__(self, some: Sequence[Command], told: list[Command]) -> None:
        super().__init__()
        self.some, self.told = some, told
        self.seen: list[int] = []

    def turn(self, events: Sequence[Event], now: float) -> Iterator[Command]:
        for command in self.some:
            yield command
            self.seen.append(len(self.told))


def many(datapath_id: int, number: int) -> ChangeFlows:
    return ChangeFlows(datapath_id, Plan((), tuple(range(number))))


@pytest.mark.parametrize(
    ("numbers", "seen"),
    [
        ((1, 1, 1), [1, 2, 3]),
        ((SHORT_LIST, 1), [1, 2]),
        ((1, SHORT_LIST + 1, 1), [1, 1, 1]),
    ],
)
def test_a_switch_is_told_while_the_core_looks_at_others(
    numbers: Sequence[int], seen: list[int]
) -> None:
    """A long list lets other threads go on, which must not find the core in the midst
    of a turn: it comes last, as does what would come after it."""
    told: list[Command] = []
    config = Config(sources=Sources(netlink=False, ovsdb=""))
    runtime = Runtime(config, listening=1, socket_path="", perform=told.append)
    some = [many(datapath_id, number) for datapath_id, number in enumerate(numbers)]
    runtime.core = core = Telling(some, told)
    runtime.deal_with([SwitchReady(1, ())])
    assert core.seen == seen
    assert told == some


class Failing(Telling):
    """Says all that it has to say, and does not come to the end of its turn."""

    def turn(self, events: Sequence[Event], now: float) -> Iterator[Command]:
        yield from super().turn(events, now)
        raise AssertionError


def test_what_was_said_is_carried_out_though_a_mistake_follows() -> None:
    """Else the core takes for told what is not."""
    told: list[Command] = []
    config = Config(sources=Sources(netlink=False, ovsdb=""))
    runtime = Runtime(config, listening=1, socket_path="", perform=told.append)
    some = [many(1, 1), many(2, SHORT_LIST + 1), many(3, 1)]
    runtime.core = Failing(some, told)
    runtime.deal_with([SwitchReady(1, ())])
    assert told == some


@given(views(), st.integers(0, 120))
@settings(max_examples=30)
def test_what_is_sent_in_the_midst_of_a_turn_is_one_piece(
    view: View, most: int
) -> None:
    for datapath_id in {key.datapath_id for key in view.ports}:
        added = tuple(islice(compile_flows(view, datapath_id).values(), most))
        made = groups(Switch(datapath_id, view, network(view)))
        plan = Plan(added, (1,), groups=GroupPlan(tuple(made.values())))
        messages = wire.bundle(1, messages_of(plan)[1], xid=1)
        is_long = len([*pieces(messages)]) > 1
        assert may_wait(ChangeFlows(datapath_id, plan)) or not is_long


def test_long_answers_of_few_hosts_are_more_than_one_piece() -> None:
    shown = (
        fact
        for n in range(1, 61)
        for fact in kernel_host(1, n, f"02:00:00:00:00:{n:02x}", f"fd00::{n:x}", nsid=n)
    )
    told = compile_flows(view_of(shown), 1).values()
    answers = tuple(row for row in told if row.table == TABLE_IDS["nd"])[:60]
    assert may_wait(ChangeFlows(1, Plan(answers, ())))
