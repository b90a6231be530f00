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
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from flows.memo import remember_last
from flows.openflow import OWNER, Bucket, Group, GroupKind, Output
from flows.view import PortKey

Exits = Mapping[int, Iterable[tuple[PortKey, PortKey]]]  # cables that work, by switch
Costs = Mapping[PortKey, int]  # the same at both ends
COST = 1  # of a cable that is not told of
NO_COSTS: Costs = {}
NUMBERS = 1 << 16  # group_ids of ours
BUCKETS_MAX = 16  # values of the hash that Open vSwitch tells apart at the least
TABLES = 1 << 8  # the first of them are taken (flows.openflow.Anew)


@dataclass(frozen=True, slots=True)
class Way:
    """From one switch towards another.

    ports   port_no of the cables on shortest paths, in ascending order
    detour  port_no of the cable that is used while they are down; None if none may be
    stride  values of the hash in a row that choose the same port
    """

    ports: tuple[int, ...]
    detour: int | None = None
    stride: int = 1


Ways = Mapping[int, Mapping[int, Way]]  # by datapath_id, and by that of the goal


@remember_last
def ways(exits: Exits, costs: Costs = NO_COSTS) -> Ways:
    found: dict[int, dict[int, Way]] = {start: {} for start in exits}
    ends = {port: far for cables in exits.values() for port, far in cables}
    leads = {s: [*leads_of(cables, ends, costs)] for s, cables in exits.items()}
    for goal in exits:
        for start, one in towards(goal, leads):
            found[start][goal] = one
    return found


class Lead(NamedTuple):
    """far   datapath_id
    cable  the same for both ends
    cost   likewise
    """

    port_no: int
    far: int
    cable: PortKey
    cost: int


Leads = Mapping[int, Sequence[Lead]]


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


def distances(goal: int, leads: Leads) -> dict[int, int]:
    """Of each switch that reaches the goal, the nearest first (Dijkstra).  Those that
    are as far wait together, so that cables of one cost need no more than a queue."""
    found: dict[int, int] = {}
    waiting, order = {0: [goal]}, [0]
    while order:
        distance = heapq.heappop(order)
        for here in waiting.pop(distance):
            if here in found:
                continue
            found[here] = distance
            for _, far, _, cost in leads[here]:
                if far not in found:
                    further = distance + cost
                    if further not in waiting:
                        waiting[further] = []
                        heapq.heappush(order, further)
                    waiting[further].append(far)
    return found


def towards(goal: int, leads: Leads) -> Iterator[tuple[int, Way]]:
    """The way of each switch that reaches the goal, and the switch."""
    far_off = distances(goal, leads)
    hops = {goal: 0}  # at the least, on a shortest path
    for start, distance in far_off.items():
        if start != goal:
            best = {
                port_no: hops[far]
                for port_no, far, _, cost in leads[start]
                if far_off[far] + cost == distance
            }
            hops[start] = 1 + min(best.values())
            around = detour(leads[start], far_off, distance) if len(best) == 1 else None
            yield (
                start,
                Way(tuple(sorted(best)), around, stride(len(best), hops[start])),
            )


def detour(
    leads: Sequence[Lead], far_off: Mapping[int, int], distance: int
) -> int | None:
    """Of one that is so far off, besides its one cable on a shortest path."""
    closer = [lead for lead in leads if far_off[lead.far] < distance]
    if len(closer) > 1:
        length = {lead: far_off[lead.far] + lead.cost for lead in closer}
        _, second, *_ = sorted(closer, key=lambda lead: (length[lead], lead))
        return second.port_no
    # Of several cables to one neighbor both ends must choose the same.
    as_far = [lead for lead in leads if far_off[lead.far] == distance]
    best = min(as_far, key=lambda lead: (lead.far, lead.cost, lead.cable), default=None)
    return best.port_no if best else None


@lru_cache(maxsize=1 << 10)
def stride(ports: int, hops: int) -> int:
    """All switches compute one hash.  So that the next does not choose as this one did,
    it looks at another part of it: so many as the buckets of a group have room for."""
    strides = [1]
    while ports > 1 and strides[-1] * ports**2 <= BUCKETS_MAX:
        strides.append(strides[-1] * ports)
    return strides[hops % len(strides)]


# --- as actions -----------------------------------------------------------------------

Exit = Output | Group


@remember_last
def actions(some: Ways) -> Mapping[int, Mapping[int, Exit]]:
    """What a switch does with a frame for another: by both datapath_ids."""
    return {start: dict(of_switch(goals)) for start, goals in some.items()}


@remember_last
def groups(some: Ways) -> Mapping[int, Mapping[int, Group]]:
    """Those of each switch, by group_id."""
    return {
        start: {by.group_id: by for by in chosen.values() if isinstance(by, Group)}
        for start, chosen in actions(some).items()
    }


def of_switch(goals: Mapping[int, Way]) -> Iterable[tuple[int, Exit]]:
    """Ways that are alike are one group: there are as many as choices of a cable."""
    chosen = exits_of(frozenset(goals.values()))
    return ((goal, chosen[one]) for goal, one in goals.items())


def exits_of(some: Iterable[Way]) -> dict[Way, Exit]:
    """A group's number is a digest of what it does; of two alike the second goes on."""
    found: dict[Way, Exit] = {}
    taken: set[int] = set()
    for one in sorted(some, key=lambda one: (one.ports, one.detour or 0, one.stride)):
        if len(one.ports) == 1 and one.detour is None:
            found[one] = Output(one.ports[0])
            continue
        number = digest(one)
        while number < TABLES or number in taken:
            number = (number + 1) % NUMBERS
        taken.add(number)
        found[one] = group(OWNER << 16 | number, one)
    return found


def digest(one: Way) -> int:
    return int.from_bytes(blake2b(repr(one).encode(), digest_size=2).digest(), "big")


def group(group_id: int, one: Way) -> Group:
    is_shared = len(one.ports) > 1
    kind = GroupKind.SELECT if is_shared else GroupKind.FAST_FAILOVER
    ports = [port for port in one.ports for _ in range(one.stride)]
    ports += [] if one.detour is None else [one.detour]
    return Group(group_id, kind, tuple(Bucket(Output(p), watch_port=p) for p in ports))


def in_words(by: Exit) -> str:
    if isinstance(by, Output):
        return f"port {by.port_no}"
    first, *others = dict.fromkeys(one.watch_port for one in by.buckets)
    if by.kind is GroupKind.FAST_FAILOVER:
        return f"port {first}, while that is down by port {others[-1]}"
    told = ", ".join(map(str, (first, *others[:-1])))
    return f"ports {told} and {others[-1]}, by a hash of addresses and ports"
