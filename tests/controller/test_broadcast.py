"""No loop is open at any moment, whichever switch is the slower one."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.broadcast import Floods
from controller.commands import ChangeFlows, Command, ListFlows
from controller.core import PATIENCE, Core
from controller.events import (
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    FlowsCounted,
    FlowsListed,
    KernelFact,
    KernelSynced,
    PortChanged,
    SwitchReady,
)
from flows.openflow import Flow, Group, Output
from flows.pipeline import TABLE_IDS
from flows.view import Bridge, Interface, Link, Port, PortKey
from tests.facts import cable

FLOOD = TABLE_IDS["flood"]

Ends = tuple[tuple[int, int], tuple[int, int]]


class Switch:
    """Does what it is told when it likes, in order."""

    def __init__(self) -> None:
        self.flows: dict[object, Flow] = {}
        self.groups: dict[int, Group] = {}
        self.told: deque[ChangeFlows | ListFlows] = deque()

    def is_asked(self) -> bool:
        return bool(self.told) and isinstance(self.told[0], ListFlows)

    def is_told_flows(self) -> bool:
        return any(
            isinstance(order, ChangeFlows) and (order.plan.add or order.plan.delete)
            for order in self.told
        )

    def obey(self) -> None:
        order = self.told.popleft()
        assert isinstance(order, ChangeFlows)
        change = order.plan
        gone = [key for key, row in self.flows.items() if row.cookie in change.delete]
        for key in gone:
            del self.flows[key]
        self.flows |= {row.key: row for row in change.add}
        self.groups |= {group.group_id: group for group in change.groups.put}
        for number in change.groups.delete:  # no error, if it is gone: 1.3, 6.5
            self.groups.pop(number, None)

    def sends_to(self, port_no: int) -> bool:
        """Broadcasts that came in by another port, or from a host."""
        return any(
            Output(port_no) in row.actions
            for row in self.flows.values()
            if row.table == FLOOD and row.priority == 0
        )

    def takes_from(self, port_no: int) -> bool:
        return bool(self.flows) and not any(
            row.match == (("in_port", str(port_no)),) and not row.actions
            for row in self.flows.values()
            if row.table == FLOOD
        )


class Plant:
    """Switches, cables between them, and the core that controls them."""

    def __init__(self, number: int, cables: list[tuple[int, int]]) -> None:
        self.core = Core()
        self.now = 0.0
        self.switches = {n: Switch() for n in range(1, number + 1)}
        self.ends: list[Ends] = [
            ((a, 10 + n), (b, 30 + n)) for n, (a, b) in enumerate(cables)
        ]
        self.cut: set[Ends] = set()
        self.ports: dict[PortKey, Port] = {}
        self.facts: list[KernelFact] = []
        rows: list[Interface] = []
        for ends in self.ends:
            for fact in cable(*ends):
                if isinstance(fact, Port):
                    self.ports[fact.key] = fact
                elif isinstance(fact, Interface):
                    rows.append(fact)
                elif isinstance(fact, Link):
                    self.facts.append(fact)
        us = ("tcp:127.0.0.1:6653",)
        bridges = tuple(Bridge(n, f"s{n}", controllers=us) for n in self.switches)
        self.tell(BridgesSeen(bridges, tuple(rows)), KernelSynced(tuple(self.facts)))
        for n in self.switches:
            self.connect(n)

    def connect(self, n: int) -> None:
        ports = tuple(p for p in self.ports.values() if p.datapath_id == n)
        self.switches[n].told.clear()
        self.tell(SwitchReady(n, ports))
        self.answer(n)

    def restart(self) -> None:
        """Another controller, that knows nothing; the switches know what they did."""
        facts = BridgesSeen(
            tuple(self.core.view.bridges.values()),
            tuple(self.core.view.interfaces.values()),
        )
        self.core, self.now = Core(), 0.0
        self.tell(facts, KernelSynced(tuple(self.facts)))
        for n in self.switches:
            self.connect(n)

    def tell(self, *events: object) -> None:
        self.now += 0.01
        self.perform(self.core.handle(events, self.now))  # type: ignore[arg-type]

    def perform(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, ChangeFlows | ListFlows):
                self.switches[command.datapath_id].told.append(command)

    def answer(self, n: int) -> None:
        """Which flows it holds, if it is asked for that before anything else."""
        while self.switches[n].is_asked():
            self.switches[n].told.popleft()
            cookies = frozenset(row.cookie for row in self.switches[n].flows.values())
            groups = tuple(self.switches[n].groups.values())
            self.tell(FlowsListed(n, cookies, groups=groups))

    def lose(self, n: int) -> None:
        """Somebody deletes a flow, and the next audit finds it missing."""
        flows = self.switches[n].flows
        kept = self.core.channels[n].installed
        others = [key for key, row in flows.items() if row.table != FLOOD]
        if others and kept is not None and not self.switches[n].told:
            del flows[max(others, key=str)]
            self.core.channels[n].expected = len(kept)
            self.tell(FlowsCounted(n, len(flows)))

    def cut_or_mend(self, ends: Ends) -> None:
        """The cable works again at once, and the controller is told."""
        self.cut ^= {ends}
        for end in ends:
            key = PortKey(*end)
            self.ports[key] = replace(self.ports[key], up=ends not in self.cut)
        for end in ends:
            self.tell(PortChanged(self.ports[PortKey(*end)]))
            self.check()

    def obey(self, n: int) -> None:
        self.answer(n)
        if self.switches[n].told:
            self.switches[n].obey()
            self.check()
            self.tell(ChangeDone(n))

    def refuse(self, n: int) -> None:
        """It does what it was told, and complains."""
        self.answer(n)
        if self.switches[n].told:
            self.switches[n].obey()
            self.check()
            self.tell(ChangeFailed(n, "refused"))

    def check(self) -> None:
        """The cables that a broadcast passes have no loop."""
        joined: dict[int, int] = {}

        def top(n: int) -> int:
            while n in joined:
                n = joined[n]
            return n

        for ends in self.ends:
            if ends in self.cut or not self.passes(ends):
                continue
            one, other = (top(n) for n, _ in ends)
            assert one != other, "a loop"
            joined[one] = other

    def passes(self, ends: Ends) -> bool:
        return any(
            self.switches[a].sends_to(p) and self.switches[b].takes_from(q)
            for (a, p), (b, q) in (ends, ends[::-1])
        )

    def settle(self) -> None:
        self.now += 2 * PATIENCE
        self.tell()
        while any(switch.told for switch in self.switches.values()):
            for n in self.switches:
                self.obey(n)

    def tree(self) -> set[PortKey]:
        return {
            PortKey(*end)
            for ends in self.ends
            if ends not in self.cut and self.passes(ends)
            for end in ends
        }


SIZE = 5
numbers = st.integers(1, SIZE)
shapes = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=9).map(
    lambda some: [(a, b) for a, b in some if a != b]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("cut"), st.integers(0, 8)),
        st.tuples(st.just("cut"), st.integers(0, 8)),
        st.tuples(st.just("obey"), numbers),
        st.tuples(st.just("obey"), numbers),
        st.tuples(st.just("refuse"), numbers),
        st.tuples(st.just("connect"), numbers),
        st.tuples(st.just("lose"), numbers),
        st.tuples(st.just("restart"), numbers),
    ),
    max_size=40,
)


# Both ends refused, did it all the same, and had nothing to change when asked.
BOTH_REFUSED = [("cut", 0), ("refuse", 1), ("refuse", 4)]


@given(shapes, steps)
@example([(1, 4), (1, 4)], BOTH_REFUSED)
@example([(1, 2), (1, 2)], [("refuse", 1), *[("cut", 0)] * 5, ("refuse", 1)])
@settings(max_examples=60)
def test_no_order_of_changes_closes_a_loop(
    shape: list[tuple[int, int]], some: list[tuple[str, int]]
) -> None:
    plant = Plant(SIZE, shape)
    for what, n in some:
        if what == "cut" and plant.ends:
            plant.cut_or_mend(plant.ends[n % len(plant.ends)])
        elif what == "obey":
            plant.obey(n)
        elif what == "refuse":
            plant.refuse(n)
        elif what == "connect":
            plant.connect(n)
        elif what == "lose":
            plant.lose(n)
        elif what == "restart":
            plant.restart()
        plant.check()
    plant.settle()
    plant.check()
    assert plant.tree() == set(plant.core.network.fabric.tree)


RING = [(1, 2), (2, 3), (3, 4), (4, 1)]


def test_a_ring_that_is_cut_is_closed_where_it_was_open_only_then() -> None:
    plant = Plant(4, RING)
    plant.settle()
    before = plant.tree()
    assert len(before) == 6
    [unused] = [ends for ends in plant.ends if PortKey(*ends[0]) not in before]
    used = next(ends for ends in plant.ends if ends != unused)

    plant.cut_or_mend(used)
    waiting = {n for n, switch in plant.switches.items() if switch.is_told_flows()}
    assert waiting == {n for n, _ in used}  # first they close what is cut
    plant.settle()

    assert plant.tree() == before - {PortKey(*e) for e in used} | {
        PortKey(*e) for e in unused
    }


def test_what_a_switch_refused_may_have_been_done_all_the_same() -> None:
    plant = Plant(4, RING)
    plant.settle()
    tree = plant.tree()
    [unused] = [ends for ends in plant.ends if PortKey(*ends[0]) not in tree]
    (one, _), (other, _) = unused
    far = next(e for e in plant.ends if not {n for n, _ in e} & {one, other})
    plant.cut_or_mend(far)
    for n, _ in far:
        plant.obey(n)
    plant.obey(one)
    plant.refuse(other)

    plant.cut_or_mend(far)
    for n, _ in far:
        plant.obey(n)  # and no loop is found

    plant.settle()
    assert plant.tree() == tree


def test_changes_that_are_not_confirmed_do_not_pile_up_where_the_tree_stays() -> None:
    floods = Floods(frozenset({1}))
    for _ in range(100):
        floods.change(frozenset({1, 2}))
    floods.change(frozenset({2}))
    assert len(floods.told) == 2
    done = []
    for _ in range(101):
        floods.confirmed()
        done.append(floods.does)
    assert done == [frozenset({1, 2})] * 100 + [frozenset({2})]
    assert not floods.told


def test_a_controller_that_comes_back_finds_the_tree_open_and_leaves_it() -> None:
    plant = Plant(4, RING)
    plant.settle()
    before = plant.tree()

    plant.restart()

    assert plant.tree() == before
    assert not any(switch.told for switch in plant.switches.values())


def test_a_switch_with_unknown_flows_keeps_others_from_opening_a_loop() -> None:
    plant = Plant(4, RING)
    plant.settle()
    [row] = [f for f in plant.switches[3].flows.values() if f.key[:2] == (FLOOD, 0)]
    stray = Flow(FLOOD, 0, (), (Output(11), Output(32), Output(30)), "as it was once")
    plant.switches[3].flows[row.key] = stray
    plant.cut_or_mend(plant.ends[0])
    plant.settle()
    assert plant.tree() == set(plant.core.network.fabric.tree)
