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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from flows.memo import remember_last
from flows.openflow import OWNER, Bucket, Group, GroupKind, Output
from flows.view import PortKey

Exits = Mapping[int, Iterable[tuple[PortKey, PortKey]]]  # cables that work, by switch
NUMBERS = 1 << 16  # group_ids of ours
TABLES = 1 << 8  # the first of them are taken (flows.openflow.Anew)


@dataclass(frozen=True, slots=True)
class Way:
    """From one switch towards another.

    ports   port_no of the cables on shortest paths, in ascending order
    detour  port_no of the cable that is used while they are down; None if none may be
    """

    ports: tuple[int, ...]
    detour: int | None = None


Ways = Mapping[int, Mapping[int, Way]]  # by datapath_id, and by that of the goal


def ways(exits: Exits) -> Ways:
    found: dict[int, dict[int, Way]] = {start: {} for start in exits}
    for goal in exits:
        hops = distances(goal, exits)
        for start in hops:
            if start != goal:
                found[start][goal] = way(start, exits, hops)
    return found


def distances(goal: int, exits: Exits) -> dict[int, int]:
    """Cables between a switch and the goal, for each that reaches it."""
    hops, queue = {goal: 0}, deque([goal])
    while queue:
        here = queue.popleft()
        for _, far in exits[here]:
            if far.datapath_id not in hops:
                hops[far.datapath_id] = hops[here] + 1
                queue.append(far.datapath_id)
    return hops


def way(start: int, exits: Exits, hops: Mapping[int, int]) -> Way:
    closer: list[int] = []
    as_far: list[tuple[int, PortKey, int]] = []
    for port, far in exits[start]:
        if hops[far.datapath_id] < hops[start]:
            closer.append(port.port_no)
        elif hops[far.datapath_id] == hops[start]:
            # Of several cables both ends must choose the same one.
            as_far.append((far.datapath_id, min(port, far), port.port_no))
    is_alone = len(closer) == 1
    detour = min(as_far)[2] if is_alone and as_far else None
    return Way(tuple(sorted(closer)), detour)


# --- as actions -----------------------------------------------------------------------

Exit = Output | Group


@remember_last
def actions(some: Ways) -> Mapping[int, Mapping[int, Exit]]:
    """What a switch does with a frame for another: by both datapath_ids."""
    return {start: dict(of_switch(goals)) for start, goals in some.items()}


def of_switch(goals: Mapping[int, Way]) -> Iterable[tuple[int, Exit]]:
    """Ways that are alike are one group: there are as many as choices of a cable."""
    chosen = exits_of(frozenset(goals.values()))
    return ((goal, chosen[one]) for goal, one in goals.items())


def exits_of(some: Iterable[Way]) -> dict[Way, Exit]:
    """A group's number is a digest of what it does; of two alike the second goes on."""
    found: dict[Way, Exit] = {}
    taken: set[int] = set()
    for one in sorted(some, key=lambda one: (one.ports, one.detour or 0)):
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
    ports = one.ports if one.detour is None else (*one.ports, one.detour)
    return Group(group_id, kind, tuple(Bucket(Output(p), watch_port=p) for p in ports))


def in_words(by: Exit) -> str:
    if isinstance(by, Output):
        return f"port {by.port_no}"
    first, *others = (one.watch_port for one in by.buckets)
    if by.kind is GroupKind.FAST_FAILOVER:
        return f"port {first}, while that is down by port {others[-1]}"
    told = ", ".join(map(str, (first, *others[:-1])))
    return f"ports {told} and {others[-1]}, by a hash of addresses and ports"
