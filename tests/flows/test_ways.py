"""Frames take shortest paths, share them, go round what fails, never in a circle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from graphlib import TopologicalSorter
from itertools import permutations, product

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.costs import REFERENCE, cost
from flows.fabric import Fabric
from flows.groups import groups, is_ours
from flows.network import network
from flows.openflow import CONTROLLER, Bucket, Group, GroupKind, Output, Through
from flows.overlays import FIRST, Segment, Segments
from flows.simulate import Datapath, Packet
from flows.switch import Switch
from flows.view import PortKey
from flows.ways import (
    BUCKETS_MAX,
    TABLES,
    Exits,
    Led,
    Out,
    Way,
    actions,
    every_path,
    exits_of,
    exits_to,
    groups_among,
    groups_of_each,
    in_words,
    port_of,
    stride,
    ways,
)
from tests.facts import (
    Fact,
    cable,
    heard_host,
    limited,
    overlay,
    tunnel_port,
    underlay,
    view_of,
)

TUNNEL = 70  # the port of each switch into the first overlay
HOST = 1  # the port of each switch where its host is
SWITCHES_MAX = 6

Joined = list[tuple[int, int]]  # switches with a cable between them, by number
Limits = dict[int, int]  # bits per second of these cables
Shared = Sequence[Collection[int]]  # overlays: the numbers of their switches
Hop = tuple[int, int]  # switch, and the port where a frame came in


def lladdr(n: int) -> str:
    return f"02:00:00:00:00:{n:02x}"


@dataclass
class Walk:
    """hops     switches, and the ports where the frame came in
    arrived  at the host that it was sent to
    """

    hops: list[Hop]
    arrived: bool = False


class Plant:
    """Switches with a host each, and cables that may fail when all has been computed.

    down  ends of cables that have failed since
    """

    def __init__(
        self,
        number: int,
        joined: Joined,
        limits: Limits | None = None,
        shared: Shared = (),
    ) -> None:
        self.numbers = range(1, number + 1)
        self.cables = [
            (PortKey(a, 10 + n), PortKey(b, 40 + n)) for n, (a, b) in enumerate(joined)
        ]
        facts: list[Fact] = []
        for n in self.numbers:
            facts += heard_host(n, HOST, lladdr(n), f"10.0.0.{n}")
        for ends in self.cables:
            facts += cable(*ends)
        for n, rate in (limits or {}).items():
            facts += [
                limited(end, rate) for ends in self.cables[n : n + 1] for end in ends
            ]
        for k, some in enumerate(ends_of(shared, number)):
            facts += [fact for end in some for fact in tunnel_port(*end)]
            facts.append(overlay(f"overlay {k}", 5000 + k, *some))
        self.view = view_of(facts)
        self.known = network(self.view)
        self.flows = {
            n: [*compile_flows(self.view, n, self.known).values()] for n in self.numbers
        }
        self.down: set[PortKey] = set()

    @property
    def fabric(self) -> Fabric:
        return self.known.fabric

    def cost(self, end: PortKey) -> int:
        return cost(self.known.rates.get(end, 0))

    def fail(self, *failed: int) -> None:
        """Cables by number; those that there are not are ends of overlays."""
        ways = [*self.cables, *((end,) for end in self.shared)]
        self.down = {end for n in failed if n < len(ways) for end in ways[n]}

    @property
    def shared(self) -> list[PortKey]:
        return sorted(e for s in self.fabric.segments.values() for e in s.ends)

    def datapath(self, n: int, hashed: int) -> Datapath:
        down = {port.port_no for port in self.down if port.datapath_id == n}
        return Datapath(self.flows[n], down, hashed)

    def send(self, start: int, goal: int, hashed: int = 0) -> Walk:
        """What becomes of a frame; a copy, or a second visit, is a mistake."""
        walk = Walk([(start, HOST)])
        outer: Packet = {}
        while True:
            here, in_port = walk.hops[-1]
            frame = {
                **outer,
                "in_port": str(in_port),
                "eth_src": lladdr(start),
                "eth_dst": lladdr(goal),
                "eth_type": "0x800",
            }
            sent = self.datapath(here, hashed).receive(frame)
            left = [(PortKey(here, p), out) for p, out in sent if p != CONTROLLER]
            assert len(left) <= 1, f"copies: {left}"
            if not left or left[0][0] in self.down:
                return walk
            if left[0][0] not in self.fabric.uplinks:
                assert left[0][0] == PortKey(goal, HOST), f"at somebody else: {left}"
                walk.arrived = True
                return walk
            [(far, outer)] = self.fabric.beyond(*left[0])
            if far in self.down:  # of an overlay: the sender is up, and does not know
                return walk
            hop = far.datapath_id, far.port_no
            assert hop not in walk.hops, f"in a circle: {walk.hops}, {hop}"
            walk.hops.append(hop)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, Joined]:
    """All switches are joined somehow, some more than once."""
    number = draw(st.integers(2, SWITCHES_MAX))
    numbers = st.integers(1, number)
    tree = [(draw(st.integers(1, n - 1)), n) for n in range(2, number + 1)]
    more = st.tuples(numbers, numbers).filter(lambda ends: ends[0] != ends[1])
    return number, tree + draw(st.lists(more, max_size=8))


def ends_of(shared: Shared, number: int) -> list[list[PortKey]]:
    """Of each overlay, those that there is a switch for."""
    return [
        [PortKey(n, TUNNEL + k) for n in sorted(some) if n <= number]
        for k, some in enumerate(shared)
    ]


# Costs that make paths of several lengths, and of one length with more or fewer cables.
limits = st.dictionaries(
    st.integers(0, 12), st.sampled_from([REFERENCE // n for n in (2, 3, 4)])
)

overlays = st.lists(st.sets(st.integers(1, 6), min_size=2, max_size=6), max_size=2)

RING = 3, [(1, 2), (2, 3), (3, 1)]
MESH = 4, [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]
DOUBLE = [(1, 2), (1, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 6), (5, 6)]
HASHES = st.integers(0, 15)


@given(shapes(), HASHES, limits, overlays)
@settings(max_examples=60, deadline=None)
def test_without_a_failure_every_frame_takes_a_shortest_path(
    shape: tuple[int, Joined], hashed: int, some: Limits, shared: Shared
) -> None:
    plant = Plant(*shape, some, shared)
    for start, goal in permutations(plant.numbers, 2):
        walk = plant.send(start, goal, hashed)
        assert walk.arrived
        taken = sum(plant.cost(PortKey(*hop)) for hop in walk.hops[1:])
        assert taken == shortest(plant, start, goal)


def shortest(plant: Plant, start: int, goal: int) -> int:
    """Found by trying: who is reached at one more than the last ones."""
    cables = [ends for a, b in plant.cables for ends in ((a, b), (b, a))]
    for segment in plant.fabric.segments.values():
        cables += permutations(segment.ends, 2)
    reached, spent = {start: 0}, 0
    while goal not in reached:
        spent += 1
        for a, b in cables:
            if spent - plant.cost(a) == reached.get(a.datapath_id):
                reached.setdefault(b.datapath_id, spent)
    return reached[goal]


@given(shapes(), HASHES, st.sets(st.integers(0, 20), max_size=8), limits, overlays)
@example(
    MESH, 0, {0, 1, 2}, {}, []
)  # a whole switch is gone: its neighbors must not take turns
@example(MESH, 0, {2, 4, 5}, {}, [])
@example((4, [*MESH[1], *MESH[1]]), 0, {0, 1, 2, 6, 7, 8}, {}, [])
@example(MESH, 0, {0, 1, 2, 6}, {}, [{1, 2, 3, 4}])
@settings(max_examples=80, deadline=None)
def test_whatever_fails_no_frame_goes_in_a_circle_or_is_copied(
    shape: tuple[int, Joined],
    hashed: int,
    failed: set[int],
    some: Limits,
    shared: Shared,
) -> None:
    plant = Plant(*shape, some, shared)
    plant.fail(*failed)
    for start, goal in permutations(plant.numbers, 2):
        plant.send(start, goal, hashed)  # which looks for both


def exits_in(number: int, joined: Joined, cut: Set[int] = frozenset()) -> Exits:
    exits: dict[int, list[tuple[PortKey, PortKey]]]
    exits = {n: [] for n in range(1, number + 1)}
    for n, (a, b) in enumerate(joined):
        one, other = PortKey(a, 10 + n), PortKey(b, 40 + n)
        if n not in cut:
            exits[a].append((one, other))
            exits[b].append((other, one))
    return exits


@given(
    shapes(),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 3))),
    overlays,
)
@settings(max_examples=150, deadline=None)
def test_ways_that_go_on_from_the_last_are_those_of_the_cables_that_work(
    shape: tuple[int, Joined], steps: list[tuple[int, int, int]], shared: Shared
) -> None:
    """Cables fail and come back, and become faster or slower; so do ends of overlays,
    of the switches that have the numbers of these cables."""
    cut: Set[int] = frozenset()
    prices: dict[PortKey, int] = {}
    for turned, priced, price in steps:
        cut ^= {turned}
        prices = {**prices, PortKey(0, (10 + priced) % 30): price}
        exits = exits_in(*shape, cut)
        ends = [end for cables in exits.values() for end, _ in cables]
        costs = {end: prices.get(PortKey(0, end.port_no % 30), 1) for end in ends}
        between = segments_of([{*some} - cut for some in shared], shape[0])
        found = ways(exits, costs, between)
        assert found == every_path(exits, costs, between).ways
        leaving = {start: exits_to(goals) for start, goals in found.items()}
        assert actions(found) == leaving
        needed = {start: groups_among(chosen) for start, chosen in leaving.items()}
        assert groups_of_each(actions(found)) == needed


@given(
    shapes(),
    st.dictionaries(st.integers(10, 22), st.integers(1, 4)),
    overlays,
    st.integers(0, 127),
)
@settings(max_examples=400, deadline=None)
def test_whatever_fails_when_and_for_how_long_there_is_no_circle(
    shape: tuple[int, Joined], some: dict[int, int], shared: Shared, kernels: int
) -> None:
    """Cables may come and go while a frame is on its way: each switch that has a detour
    may take it or not, and no order of these leads a frame to where it was."""
    exits = exits_in(*shape)
    far = {port: end for cables in exits.values() for port, end in cables}
    prices = {port: some.get(port.port_no % 30, 1) for port in far}
    between = segments_of(shared, shape[0], kernels)
    found = ways(exits, prices, between)
    entries = {n: [port for port, _ in cables] for n, cables in exits.items()}
    for segment in between.values():
        for end in segment.ends:
            entries[end.datapath_id].append(end)
    for goal in exits:
        next_hops = {
            came_in: {
                far[PortKey(here, by)] if isinstance(by, int) else reached(by)
                for by in outs(way)
                if port_of(by) != came_in.port_no
            }
            for here, goals in found.items()
            if (way := goals.get(goal))
            for came_in in entries[here]
        }
        TopologicalSorter(next_hops).prepare()  # raises CycleError


def segments_of(shared: Shared, number: int, kernels: int = 0) -> Segments:
    """kernels  which switches have a device of the kernel for an end, a bit each"""
    found = {}
    for k, ends in enumerate(ends_of(shared, number)):
        addresses = {end: underlay(end.datapath_id) for end in ends}
        led = {end: f"vx{k}" for end in ends if kernels >> end.datapath_id & 1}
        live = frozenset(ends)
        one = Segment(FIRST + k, f"{k}", 5000 + k, addresses, live, led=led)
        found[FIRST + k] = one
    return found


def reached(by: Through | Led) -> PortKey:
    return PortKey(int(by.tun_dst.rpartition(".")[2]), by.port_no)


@given(shapes(), st.integers(1, 200_000_000))
def test_where_all_cables_cost_the_same_it_does_not_matter_how_much(
    shape: tuple[int, Joined], price: int
) -> None:
    exits = exits_in(*shape)
    all_of_them = {port: price for cables in exits.values() for port, _ in cables}
    assert ways(exits, all_of_them) == ways(exits)


@given(shapes(), HASHES, st.integers(0, 12), limits)
@example(RING, 0, 0, {})
@settings(max_examples=40, deadline=None)
def test_one_cable_that_fails_is_gone_round_where_there_is_another_way(
    shape: tuple[int, Joined], hashed: int, failed: int, some: Limits
) -> None:
    plant = Plant(*shape, some)
    assume(failed < len(plant.cables))
    plant.fail(failed)
    for start, goal in permutations(plant.numbers, 2):
        way = plant.known.ways[start][goal]
        lost = {port.port_no for port in plant.down if port.datapath_id == start}
        if {port_of(by) for by in outs(way)} - lost:
            assert reaches(plant, start, goal, hashed)


def reaches(plant: Plant, start: int, goal: int, hashed: int) -> bool:
    """Unless it comes to where the only way ends."""
    walk = plant.send(start, goal, hashed)
    last, _ = walk.hops[-1]
    way = plant.known.ways[last].get(goal, Way(()))
    ends = {PortKey(last, port_of(by)) for by in outs(way)}
    return walk.arrived or (last != start and ends <= plant.down)


def outs(way: Way) -> tuple[Out, ...]:
    return way.ports if way.detour is None else (*way.ports, way.detour)


def test_in_a_ring_of_three_every_cable_may_fail() -> None:
    for failed in range(3):
        plant = Plant(*RING)
        plant.fail(failed)
        for start, goal in permutations(plant.numbers, 2):
            assert plant.send(start, goal).arrived


MBIT = 1_000_000


def test_in_a_triangle_with_a_slow_cable_frames_take_the_long_way() -> None:
    """s1 - s2 at 10 Mbit/s, both joined to s3 at 100."""
    plant = Plant(*RING, {0: 10 * MBIT, 1: 100 * MBIT, 2: 100 * MBIT})

    assert [n for n, _ in plant.send(1, 2).hops] == [1, 3, 2]
    assert [n for n, _ in plant.send(2, 1).hops] == [2, 3, 1]
    assert [n for n, _ in plant.send(1, 3).hops] == [1, 3]


def test_the_slow_cable_stands_in_while_the_long_way_is_down() -> None:
    plant = Plant(*RING, {0: 10 * MBIT, 1: 100 * MBIT, 2: 100 * MBIT})
    assert plant.known.ways[1][2] == Way((42,), detour=10)
    plant.fail(2)  # between s3 and s1
    assert [n for n, _ in plant.send(1, 2).hops] == [1, 2]


def test_a_direct_cable_and_a_way_round_of_one_cost_share_what_is_sent() -> None:
    """One at 50 Mbit/s, or two at 100."""
    plant = Plant(*RING, {0: 50 * MBIT, 1: 100 * MBIT, 2: 100 * MBIT})
    assert {plant.send(1, 2, hashed).hops[1][0] for hashed in range(16)} == {2, 3}


def test_of_two_cables_side_by_side_the_slow_one_waits_for_the_other_to_fail() -> None:
    plant = Plant(2, [(1, 2), (1, 2)], {0: 10 * MBIT})
    assert plant.known.ways[1][2] == Way((11,), detour=10)


def test_of_unequal_cables_both_ends_choose_the_same_for_a_detour() -> None:
    """s1 and s2 are as far from s3; of the two between them the second is cheaper."""
    plant = Plant(3, [(1, 3), (2, 3), (1, 2), (2, 1)], {2: REFERENCE // 2})
    assert plant.known.ways[1][3] == Way((10,), detour=43)
    assert plant.known.ways[2][3] == Way((11,), detour=13)


def test_two_ways_of_one_length_share_what_is_sent() -> None:
    """s1 - s2 - s4, s1 - s3 - s4"""
    plant = Plant(4, [(1, 2), (1, 3), (2, 4), (3, 4)])
    through = {plant.send(1, 4, hashed).hops[1][0] for hashed in range(16)}
    assert through == {2, 3}
    plant.fail(0)
    assert {plant.send(1, 4, hashed).hops[1][0] for hashed in range(16)} == {3}


def test_the_next_switch_does_not_choose_as_the_one_before_it_did() -> None:
    """They compute the same hash; s2 and s3 are both joined to s4 and s5."""
    plant = Plant(6, DOUBLE)
    walks = [plant.send(1, 6, hashed) for hashed in range(16)]

    through = Counter(tuple(n for n, _ in walk.hops[1:3]) for walk in walks)

    assert through == dict.fromkeys(product((2, 3), (4, 5)), 4)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_group_never_has_more_buckets_than_the_hash_has_values(
    ports: int, hops: int
) -> None:
    assert ports * stride(ports, hops) <= max(ports, BUCKETS_MAX)


def test_a_frame_is_not_sent_to_who_would_send_it_back() -> None:
    """In a ring of four the neighbor on the other side is farther from the next."""
    plant = Plant(4, [(1, 2), (2, 3), (3, 4), (4, 1)])
    assert plant.known.ways[1][2] == Way((10,))


def test_of_two_cables_both_ends_choose_the_same_for_a_detour() -> None:
    plant = Plant(3, [(1, 3), (2, 3), (1, 2), (2, 1)])
    one, other = plant.known.ways[1][3].detour, plant.known.ways[2][3].detour
    assert isinstance(one, int) and isinstance(other, int)
    assert plant.fabric.uplinks[PortKey(1, one)] == PortKey(2, other)


# --- as groups ------------------------------------------------------------------------


def test_groups_are_as_many_as_choices_of_a_cable_whatever_the_number_of_hosts() -> (
    None
):
    plant = Plant(*MESH)
    found = groups(Switch(1, plant.view, plant.known))
    more: list[Fact] = []
    for n in range(5, 25):
        more += heard_host(2, n, lladdr(n), f"10.0.0.{n}")
    view = view_of(more, *(row for row in plant.view.ports.values()), *facts_of(plant))

    assert groups(Switch(1, view, network(view))) == found
    assert len(found) == 3


def facts_of(plant: Plant) -> list[Fact]:
    return [fact for ends in plant.cables for fact in cable(*ends)]


def test_a_detour_is_a_fast_failover_group_and_equal_ways_are_a_select_group() -> None:
    found = exits_of([Way((3,)), Way((3,), detour=7), Way((3, 4, 5))])

    assert found[Way((3,))] == Output(3)
    detour, shared = found[Way((3,), detour=7)], found[Way((3, 4, 5))]
    assert isinstance(detour, Group)
    assert isinstance(shared, Group)
    assert detour.kind is GroupKind.FAST_FAILOVER
    assert shared.kind is GroupKind.SELECT
    assert detour.buckets == (Bucket(Output(3), 3), Bucket(Output(7), 7))
    assert in_words(Output(3)) == "port 3"
    assert in_words(detour) == "port 3, while that is down by port 7"
    assert in_words(shared) == "ports 3, 4 and 5, by a hash of addresses and ports"


def test_no_two_groups_have_one_number_and_no_number_is_of_others() -> None:
    some = [Way((a,), detour=b) for a, b in permutations(range(1, 30), 2)]

    found = [one for one in exits_of(some).values() if isinstance(one, Group)]

    numbers = {one.group_id for one in found}
    assert len(numbers) == len(some)
    assert all(is_ours(n) and n & 0xFFFF >= TABLES for n in numbers)


def test_a_group_keeps_its_number_when_others_come_and_go() -> None:
    one, other = Way((3,), detour=7), Way((3, 4))
    assert exits_of([one, other])[one] == exits_of([one])[one]
