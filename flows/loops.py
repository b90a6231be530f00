"""Ports that lead back to other ports of ours, through what is not ours.

    s1:3 - unmanaged switch - s1:4        s1:3 - linux bridge - s2:5, and s1:1 - s2:1

What connects them is a segment, and a broadcast that goes into it comes back.  The
kernel shows Linux bridges (`flows.chains`); of everything else a frame of our own tells
that has gone out by one port and come in by another (`controller.loops`).

Switches and segments are a graph, and all of a spanning forest of it stays open: a
segment that is the only way between two switches is no loop.  Ports are taken in order,
so that with each further connection ports are closed, and none is opened.  A segment
that sends a frame back to where it came from has a loop of its own: it is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from flows.chains import OWN_INTERFACES, TUNNELS, Chain
from flows.fabric import Fabric, Ports
from flows.memo import Step, remember_last
from flows.tracked import Tracked, changed
from flows.view import (
    LOCAL_PORT,
    OWN_NAMESPACE,
    Echo,
    EchoKey,
    Interface,
    Link,
    Port,
    PortKey,
)

Chains = Tracked[PortKey, Chain]
Interfaces = Tracked[PortKey, Interface]
Echoes = Mapping[EchoKey, Echo]
Pair = tuple[PortKey, PortKey]
Loops = Mapping[PortKey, PortKey]

NO_CABLE = OWN_INTERFACES | TUNNELS | {"patch"}  # OVSDB types that nobody can plug


# --- what the kernel shows ------------------------------------------------------------


def every_door(behind: Chains, interfaces: Interfaces) -> frozenset[Pair]:
    """Port, and another port of ours that the way behind it leads to."""
    leading = [(key, row.doors) for key, row in behind.items() if row.doors]
    return frozenset(pairs(leading, interfaces)) if leading else frozenset()


def next_doors(
    before: tuple[Chains, Interfaces],
    known: frozenset[Pair],
    now: tuple[Chains, Interfaces],
) -> frozenset[Pair] | None:
    if known and now[1] is not before[1]:
        return None
    moved = changed(before[0], now[0])
    rows = ((key, now[0].get(key)) for key in moved)
    leading = [(key, row.doors) for key, row in rows if row and row.doors]
    if not known and not leading:
        return known
    kept = frozenset(pair for pair in known if pair[0] not in moved)
    return kept | frozenset(pairs(leading, now[1]))


def pairs(
    leading: Iterable[tuple[PortKey, tuple[tuple[Link, ...], ...]]],
    interfaces: Interfaces,
) -> Iterator[Pair]:
    by_ifindex = {row.ifindex: key for key, row in interfaces.items() if row.ifindex}
    for key, doors in leading:
        for way in doors:
            link = way[-1]
            far = by_ifindex.get(link.ifindex) if link.nsid == OWN_NAMESPACE else None
            if far is not None:
                yield key, far


doors = Step(every_door, next_doors)


# --- which ports are closed -----------------------------------------------------------


@remember_last
def loops(shape: Fabric, ports: Ports, led: frozenset[Pair], echoes: Echoes) -> Loops:
    """Ports that must not be used, each with the port that it leads back to."""
    if not led and not echoes:
        return {}
    alive = [
        pair
        for pair in sorted(led.union(map(ends, echoes)))
        if all(is_edge(ports.get(key), shape) for key in pair)
    ]
    joined: dict[object, object] = {}

    def top(one: object) -> object:
        while one in joined:
            one = joined[one]
        return one

    for one, other in alive:
        if top(one) != top(other):
            joined[top(other)] = top(one)
    segments = {key: top(key) for pair in alive for key in pair}
    reflecting = {segments[one] for one, other in alive if one == other}
    first: dict[object, PortKey] = {}
    closed: dict[PortKey, PortKey] = {}
    for key in sorted(segments):
        island = "island", shape.islands.get(key.datapath_id, key.datapath_id)
        segment = "segment", segments[key]
        if segments[key] in reflecting:
            closed[key] = key
        elif top(island) == top(segment):
            closed[key] = first[segment]
        else:
            joined[top(island)] = top(segment)
            first.setdefault(segment, key)
    return closed


def ends(echo: EchoKey) -> Pair:
    return PortKey(*echo[:2]), PortKey(*echo[2:])


def is_edge(port: Port | None, shape: Fabric) -> bool:
    return port is not None and port.up and port.key not in shape.uplinks


# --- which ports have to be tried -----------------------------------------------------


def every_outward(
    ports: Ports, interfaces: Interfaces, behind: Chains, shape: Fabric
) -> frozenset[PortKey]:
    """Ports behind which there may be anything: the kernel does not show that a single
    host is there."""
    return frozenset(
        key for key in ports if is_outward(key, ports, interfaces, behind, shape)
    )


def chosen_anew(
    is_one: Callable[..., bool],
    before: tuple[Any, ...],
    known: frozenset[PortKey],
    now: tuple[Any, ...],
) -> frozenset[PortKey]:
    """Ports of which something holds that depends on rows of tables, and on whether
    they are edges: on `*tables, fabric`, before and now."""
    *old, was = before
    *new, shape = now
    pairs = zip(old, new, strict=True)
    moved = {key for one, other in pairs for key in changed(one, other)}
    moved |= was.uplinks.keys() ^ shape.uplinks.keys()
    there = frozenset(key for key in moved if is_one(key, *now))
    return (known - moved) | there if moved & known or there else known


def is_outward(
    key: PortKey, ports: Ports, interfaces: Interfaces, behind: Chains, shape: Fabric
) -> bool:
    if key.port_no == LOCAL_PORT or not is_edge(ports.get(key), shape):
        return False
    row = interfaces.get(key)
    if row is not None and row.type in NO_CABLE:
        return False
    chain = behind.get(key)
    if chain is None:
        return True
    is_one_host = chain.ends and not (chain.bridges or chain.doors or chain.is_vague)
    return not is_one_host


outward = Step(every_outward, partial(chosen_anew, is_outward))
