"""By which cables a switch sends towards another, and what it does when they fail.

    ways(exits)[1][5] == Way(ports=(9,), detour=8)

All cables on shortest paths are used, each for a share of the traffic.  Where there is
one alone, a cable to a neighbor that is as far from the goal stands in for it while it
is down: what RFC 5286 calls a loop-free alternate, D(N, goal) < D(N, me) + D(me, goal).
Cables are hops of equal cost, so an alternate is closer to the goal, and on a shortest
path itself, or just as far.  What is farther would send the frame back.

A frame has no hop limit, so no loop may be possible, whatever fails, a whole switch
included, while nobody computes anything anew.  No hop leads away from the goal, so a
loop would consist of detours alone.  Each switch has one, to the lowest datapath_id;
so of those in a loop, the second after the lowest of all would be the lowest itself:
no more than two, and one cable.  And a frame does not leave by where it came in (5.12).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from flows.memo import remember_last
from flows.openflow import OWNER, Bucket, Group, GroupKind, Output
from flows.view import PortKey

Exits = Mapping[int, Iterable[tuple[PortKey, PortKey]]]  # cables that work, by switch
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
def ways(exits: Exits) -> Ways:
    found: dict[int, dict[int, Way]] = {start: {} for start in exits}
    ends = {port: far for cables in exits.values() for port, far in cables}
    leads = {start: [*leads_of(cables, ends)] for start, cables in exits.items()}
    for goal in exits:
        hops = distances(goal, leads)
        for start in hops:
            if start != goal:
                found[start][goal] = way(start, leads, hops)
    return found


class Lead(NamedTuple):
    """far   datapath_id
    cable  the same for both ends
    """

    port_no: int
    far: int
    cable: PortKey


Leads = Mapping[int, Sequence[Lead]]


def leads_of(
    cables: Iterable[tuple[PortKey, PortKey]], ends: Mapping[PortKey, PortKey]
) -> Iterator[Lead]:
    """A cable that the kernel has told of one end only is none yet."""
    for port, far in cables:
        if ends.get(far) == port:
            yield Lead(port.port_no, far.datapath_id, min(port, far))


def distances(goal: int, leads: Leads) -> dict[int, int]:
    """Cables between a switch and the goal, for each that reaches it."""
    hops, queue = {goal: 0}, deque([goal])
    while queue:
        here = queue.popleft()
        further = hops[here] + 1
        for _, far, _ in leads[here]:
            if far not in hops:
                hops[far] = further
                queue.append(far)
    return hops


def way(start: int, leads: Leads, hops: Mapping[int, int]) -> Way:
    distance = hops[start]
    closer = [port_no for port_no, far, _ in leads[start] if hops[far] < distance]
    detour = None
    if len(closer) == 1:
        # Of several cables to one neighbor both ends must choose the same.
        as_far = (lead for lead in leads[start] if hops[lead.far] == distance)
        best = min(as_far, key=lambda lead: (lead.far, lead.cable), default=None)
        detour = best.port_no if best else None
    return Way(tuple(sorted(closer)), detour, stride(len(closer), distance))


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
