"""By which cables a switch sends towards another, and what it does when they fail.

    ways(exits)[1][5] == Way(ports=(9,), detour=8)

A path is as long as its cables cost (`flows.costs`); where none is limited, as they are
many.  All cables on shortest paths are used, each for a share of the traffic.  Where
there is one alone, a cable to a neighbor that is no farther from the goal stands in for
it while it is down.  If there is a cable to one that is closer, it is that: what RFC
5286 calls a downstream path.  Else it is one to a neighbor as far, which is a loop-free
alternate: D(N, goal) < D(N, me) + D(me, goal), as no cable costs nothing.  What is
farther might send the frame back.

A frame has no hop limit, so no loop may be possible, whatever fails, a whole switch
included, while nobody computes anything anew.  No hop leads away from the goal, so a
loop would consist of detours to switches as far.  Each has one at most, to the lowest
datapath_id of such neighbors, who have it among theirs; so of those in a loop, the
second after the lowest of all would be the lowest itself: no more than two, and one
cable, as of several both ends choose the same.  And a frame does not leave by where it
came in (5.12).

An overlay is a cable from each of its ends to each other.  They all leave by one port,
so that none of them is a detour for another.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar

from flows.memo import Step, remember_last
from flows.openflow import OWNER, Bucket, Group, GroupKind, Output, Resubmit, Through
from flows.overlays import Segment, Segments
from flows.view import PortKey

Exits = Mapping[int, Iterable[tuple[PortKey, PortKey]]]  # cables that work, by switch
Costs = Mapping[PortKey, int]  # the same at both ends
R = TypeVar("R")
COST = 1  # of a cable that is not told of
FAR = 1 << 20  # more than there are switches
NO_COSTS: Costs = {}
NO_OVERLAYS: Segments = {}
NUMBERS = 1 << 16  # group_ids of ours
BUCKETS_MAX = 16  # values of the hash that Open vSwitch tells apart at the least
TABLES = 1 << 8  # the first of them are taken (flows.openflow.Anew)


class Led(NamedTuple):
    """One far end of an overlay, by a port whose device is of the kernel: it knows by
    itself that frames for who is there go to `tun_dst` (`flows.beyond`)."""

    port_no: int
    tun_dst: str


Out = int | Through | Led  # port_no of a cable, or one far end of an overlay


@dataclass(frozen=True, slots=True)
class Way:
    """From one switch towards another.

    ports   the cables on shortest paths, in ascending order of port_no
    detour  the cable that is used while they are down; None if none may be
    stride  values of the hash in a row that choose the same port
    """

    ports: tuple[Out, ...]
    detour: Out | None = None
    stride: int = 1


Ways = Mapping[int, Mapping[int, Way]]  # by datapath_id, and by that of the goal
way = lru_cache(maxsize=1 << 12)(Way)  # one object for all who have it


def ways(
    exits: Exits, costs: Costs = NO_COSTS, overlays: Segments = NO_OVERLAYS
) -> Ways:
    return paths(exits, costs, overlays).ways


class Lead(NamedTuple):
    """far   datapath_id
    cable  the same for both ends
    cost   likewise
    """

    by: Out
    far: int
    cable: PortKey
    cost: int


Leads = Mapping[int, tuple[Lead, ...]]
Row = Sequence[int | None]  # how far off each switch is, in their order
Seen = tuple[int, ...]  # the same of one goal, from a switch and from all it leads to
Chosen = Mapping[Seen, Way]


@dataclass(frozen=True, slots=True)
class Paths:
    """All ways, and what they come from.  Cables have the same cost in both directions,
    so from one switch to another it is as far as back.

    chosen  each switch's choice, by how far it is from where: it looks at nothing else
    """

    leads: Leads
    rows: Mapping[int, Row]
    chosen: Mapping[int, Chosen]
    ways: Ways


NO_PATHS = Paths({}, {}, {}, {})


Given = tuple[Exits, Costs, Segments]


def every_path(exits: Exits, costs: Costs, overlays: Segments = NO_OVERLAYS) -> Paths:
    return with_paths(NO_PATHS, exits, costs, overlays)


def next_paths(before: Given, known: Paths, now: Given) -> Paths | None:
    return with_paths(known, *now) if [*before[0]] == [*now[0]] else None


def with_paths(known: Paths, exits: Exits, costs: Costs, overlays: Segments) -> Paths:
    """A switch that leads where it did, and is as far from everybody as it was, as are
    those that it leads to, sends as before."""
    ends = {port: far for cables in exits.values() for port, far in cables}
    leads = {s: (*leads_of(cables, ends, costs),) for s, cables in exits.items()}
    for segment in overlays.values():
        for end in segment.live:
            leads[end.datapath_id] += (*through(segment, end, costs),)
    rows = {start: row(start, leads) for start in exits}
    moved = {start for start in exits if rows[start] != known.rows.get(start)}
    chosen: dict[int, Chosen] = {}
    found: dict[int, Mapping[int, Way]] = {}
    for start, mine in leads.items():
        near = (start, *(lead.far for lead in mine))
        leads_as_before = mine == known.leads.get(start)
        if leads_as_before and moved.isdisjoint(near):
            chosen[start], found[start] = known.chosen[start], known.ways[start]
            continue
        goals = zip(exits, zip(*map(rows.__getitem__, near), strict=True), strict=True)
        seen = {goal: one for goal, one in goals if one[0]}
        before = known.chosen[start] if leads_as_before else {}
        of_start = {
            one: before.get(one) or choice(mine, one) for one in {*seen.values()}
        }
        chosen[start] = of_start
        found[start] = {goal: of_start[one] for goal, one in seen.items()}
    return Paths(leads, rows, chosen, found)


paths = Step(every_path, next_paths)
tree_paths = Step(every_path, next_paths)


def branches(exits: Exits, tree: Set[PortKey], overlays: Segments) -> Ways:
    """The way from each switch to each other along the broadcast tree alone."""
    return tree_paths(*pruned(exits, tree, overlays)).ways


@remember_last
def pruned(exits: Exits, tree: Set[PortKey], overlays: Segments) -> Given:
    left = {
        start: [(port, far) for port, far in some if port in tree]
        for start, some in exits.items()
    }
    shared = {
        number: replace(segment, live=segment.live & tree)
        for number, segment in overlays.items()
    }
    return left, NO_COSTS, shared


def leads_of(
    cables: Iterable[tuple[PortKey, PortKey]],
    ends: Mapping[PortKey, PortKey],
    costs: Costs,
) -> Iterator[Lead]:
    """A cable that the kernel has told of one end only is none yet."""
    for port, far in cables:
        if ends.get(far) == port:
            cost = costs.get(port, COST)
            yield Lead(port.port_no, far.datapath_id, min(port, far), cost)


def through(segment: Segment, end: PortKey, costs: Costs) -> Iterator[Lead]:
    """From one end of an overlay to each other."""
    here = costs.get(end, COST)
    for far, address in segment.others(end):
        if far in segment.live:
            is_led = end in segment.led
            by = (
                Led(end.port_no, address)
                if is_led
                else Through(end.port_no, segment.vni, address)
            )
            cost = max(here, costs.get(far, COST))
            yield Lead(by, far.datapath_id, min(end, far), cost)


def row(start: int, leads: Leads) -> Row:
    return [*map(distances(start, leads).get, leads)]


def distances(start: int, leads: Leads) -> dict[int, int]:
    """Of each switch that is reached (Dijkstra): the cost of a shortest path in units
    of `FAR`, and its cables, as few as there may be.  Those that are as far wait
    together, so that cables of one cost need no more than a queue."""
    found: dict[int, int] = {}
    waiting, order = {0: [start]}, [0]
    while order:
        distance = heapq.heappop(order)
        for here in waiting.pop(distance):
            if here in found:
                continue
            found[here] = distance
            for _, far, _, cost in leads[here]:
                if far not in found:
                    further = distance + cost * FAR + 1
                    if further not in waiting:
                        waiting[further] = []
                        heapq.heappush(order, further)
                    waiting[further].append(far)
    return found


def choice(leads: Sequence[Lead], seen: Seen) -> Way:
    distance, *far_off = (one // FAR for one in seen)
    ends = (*zip(leads, far_off, strict=True),)
    best = in_order(one.by for one, off in ends if off + one.cost == distance)
    best = tuple(one_of_led(best))
    around = detour(ends, distance) if len(best) == 1 else None
    return way(best, around, stride(len(best), seen[0] % FAR))


def one_of_led(some: Iterable[Out]) -> Iterator[Out]:
    """A device of the kernel sends frames for one host always to the same end."""
    seen: set[int] = set()
    for by in some:
        if not isinstance(by, Led):
            yield by
        elif by.port_no not in seen:
            seen.add(by.port_no)
            yield by


def port_of(by: Out) -> int:
    return by if isinstance(by, int) else by.port_no


def in_order(some: Iterable[Out]) -> tuple[Out, ...]:
    return tuple(sorted(some, key=rank))


def rank(by: Out) -> tuple[int, str]:
    return (by, "") if isinstance(by, int) else (by.port_no, by.tun_dst)


def detour(ends: Sequence[tuple[Lead, int]], distance: int) -> Out | None:
    """Of one that is so far off, besides its one cable on a shortest path.

    ends  cables, and how far the goal is from where they lead to
    """
    closer = sorted(
        (off + one.cost, *rank(one.by), one) for one, off in ends if off < distance
    )
    used = port_of(closer[0][-1].by)
    beside = (one.by for *_, one in closer[1:] if port_of(one.by) != used)
    if (second := next(beside, None)) is not None:
        return second
    # Of several cables to one neighbor both ends must choose the same.
    as_far = (
        (one.far, one.cost, one.cable, one.by) for one, off in ends if off == distance
    )
    *_, best = min(as_far, default=(None,))
    return best if best is not None and port_of(best) != used else None


@lru_cache(maxsize=1 << 10)
def stride(ports: int, hops: int) -> int:
    """All switches compute one hash.  So that the next does not choose as this one did,
    it looks at another part of it: so many as the buckets of a group have room for."""
    strides = [1]
    while ports > 1 and strides[-1] * ports**2 <= BUCKETS_MAX:
        strides.append(strides[-1] * ports)
    return strides[hops % len(strides)]


# --- as actions -----------------------------------------------------------------------

Exit = Output | Through | Group
output = lru_cache(maxsize=1 << 10)(Output)


def of_each(function: Callable[[Any], R]) -> Step[Mapping[int, R]]:
    """A stage that looks at each switch by itself, where something has changed."""

    def of_every(some: Mapping[int, Any]) -> Mapping[int, R]:
        return {start: function(one) for start, one in some.items()}

    def of_changed(
        before: tuple[Mapping[int, Any]],
        known: Mapping[int, R],
        now: tuple[Mapping[int, Any]],
    ) -> Mapping[int, R]:
        return {
            start: known[start] if one is before[0].get(start) else function(one)
            for start, one in now[0].items()
        }

    return Step(of_every, of_changed)


def exits_to(goals: Mapping[int, Way]) -> Mapping[int, Exit]:
    """What a switch does with a frame for another.  Ways that are alike are one group:
    there are as many as choices of a cable."""
    chosen = exits_of(frozenset(goals.values()))
    return {goal: chosen[one] for goal, one in goals.items()}


def groups_among(chosen: Mapping[int, Exit]) -> Mapping[int, Group]:
    """By group_id."""
    return {by.group_id: by for by in chosen.values() if isinstance(by, Group)}


actions = of_each(exits_to)  # of Ways
tree_actions = of_each(exits_to)  # of branches
groups_of_each = of_each(groups_among)


def groups(some: Ways) -> Mapping[int, Mapping[int, Group]]:
    return groups_of_each(actions(some))


def exits_of(some: Iterable[Way]) -> dict[Way, Exit]:
    """A group's number is a digest of what it does; of two alike the second goes on."""
    found: dict[Way, Exit] = {}
    taken: set[int] = set()
    for one in sorted(some, key=turn):
        if len(one.ports) == 1 and one.detour is None:
            found[one] = leaving(one.ports[0])
            continue
        number = digest(one)
        while number < TABLES or number in taken:
            number = (number + 1) % NUMBERS
        taken.add(number)
        found[one] = group(OWNER << 16 | number, one)
    return found


def turn(one: Way) -> tuple[object, ...]:
    around = (0, "") if one.detour is None else rank(one.detour)
    return tuple(map(rank, one.ports)), around, one.stride


def leaving(by: Out) -> Output | Through:
    return by if isinstance(by, Through) else output(port_of(by))


@lru_cache(maxsize=1 << 12)
def digest(one: Way) -> int:
    return int.from_bytes(blake2b(repr(one).encode(), digest_size=2).digest(), "big")


@lru_cache(maxsize=1 << 12)
def group(group_id: int, one: Way) -> Group:
    is_shared = len(one.ports) > 1
    kind = GroupKind.SELECT if is_shared else GroupKind.FAST_FAILOVER
    ports = [port for port in one.ports for _ in range(one.stride)]
    ports += [] if one.detour is None else [one.detour]
    buckets = (Bucket(leaving(by), watch_port=port_of(by)) for by in ports)
    return Group(group_id, kind, tuple(buckets))


def in_words(by: Exit) -> str:
    if not isinstance(by, Group):
        return f"port {place(by)}"
    first, *others = dict.fromkeys(place(one.action) for one in by.buckets)
    if by.kind is GroupKind.FAST_FAILOVER:
        return f"port {first}, while that is down by port {others[-1]}"
    told = ", ".join((first, *others[:-1]))
    return f"ports {told} and {others[-1]}, by a hash of addresses and ports"


def place(by: Output | Through | Resubmit) -> str:
    """ "9", or "9 to 192.0.2.2"."""
    match by:
        case Through():
            return f"{by.port_no} to {by.tun_dst}"
        case Output():
            return str(by.port_no)
    return ""
