"""Which ports lead to other switches.

Both ends of a veth pair, or two patch ports, that are ports of switches of ours are a
link: known as soon as the kernel or OVSDB knows it, without any discovery packet.  What
they do not show has shown itself by LLDP (`controller.links`).  An end of an overlay is
one of a cable to its segment (`flows.overlays`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from flows.chains import Interfaces, Links, ifindexes, is_live
from flows.costs import costs, rates
from flows.joined import Cable, Joined
from flows.memo import Step, same
from flows.overlays import Segment, Segments, is_segment, segments
from flows.tracked import Tracked, changed
from flows.view import (
    OWN_NAMESPACE,
    Adjacency,
    AdjacencyKey,
    Interface,
    Link,
    LinkKey,
    Overlay,
    Port,
    PortKey,
    Shaper,
    ShaperKey,
    View,
)
from flows.ways import COST, Costs, Exits

Ports = Tracked[PortKey, Port]
Adjacencies = Mapping[AdjacencyKey, Adjacency]


@dataclass(frozen=True, slots=True)
class Fabric:
    """What follows from ports, links, and how fast these are, alone.

    uplinks   port -> the port at the other end of the cable; both of ours, up or down;
              of an end of an overlay what stands for the segment's
    islands   datapath_id -> smallest datapath_id of the switches that reach each other
    tree      both ends of cables that broadcasts may use, the least spanning tree of
              each island: where a cable fails or comes, one other at most comes or goes
    exits     datapath_id -> its cables that work: the port here, and the one there;
              without overlays
    segments  those overlays, by number
    """

    uplinks: Mapping[PortKey, PortKey]
    islands: Mapping[int, int]
    tree: frozenset[PortKey]
    exits: Exits
    segments: Segments = field(default_factory=dict)

    def segment(self, port: PortKey) -> Segment | None:
        """That a port is an end of."""
        if not self.segments or port not in self.uplinks:
            return None
        return self.segments.get(self.uplinks[port].datapath_id)

    def beyond(
        self, port: PortKey, packet: Mapping[str, str]
    ) -> Iterator[tuple[PortKey, Mapping[str, str]]]:
        """Where a packet comes in that has left by an uplink, and as what."""
        segment = self.segment(port)
        if segment is not None:
            yield from segment.beyond(port, packet)
        elif (far := self.uplinks.get(port)) is not None:
            yield far, {**packet, "in_port": str(far.port_no)}


Overlays = tuple[Overlay, ...]
Shapers = Tracked[ShaperKey, Shaper]
Given = tuple[Ports, Interfaces, Links, Adjacencies, Overlays, Shapers]


def every_cable(
    ports: Ports,
    interfaces: Interfaces,
    links: Links,
    adjacencies: Adjacencies,
    overlays: Overlays,
    shapers: Shapers,
) -> Fabric:
    uplinks = into(segments(ports, interfaces, links, overlays))
    shown = cables(ports, interfaces, links)
    uplinks |= {a: b for a, b in shown if not {a, b} & uplinks.keys()}
    for row in sorted(adjacencies.values(), key=lambda row: row.key):
        one, other = row.ends
        if one != other and not any(
            end in uplinks or end not in ports for end in row.ends
        ):
            uplinks |= {one: other, other: one}
    return with_cables(uplinks, ports, interfaces, links, overlays, shapers)


def into(shared: Segments) -> dict[PortKey, PortKey]:
    """The ends of overlays, each with a port of its segment that no other one has."""
    return {
        end: PortKey(number, end.datapath_id << 32 | end.port_no)
        for number, segment in shared.items()
        for end in segment.ends
    }


def with_cables(
    uplinks: Mapping[PortKey, PortKey],
    ports: Ports,
    interfaces: Interfaces,
    links: Links,
    overlays: Overlays,
    shapers: Shapers,
) -> Fabric:
    """What follows from which of these work."""
    dead = {key for key in uplinks if is_dead(key, ports, interfaces, links)}
    shared = segments(ports, interfaces, links, overlays, dead)
    usable = {
        port: far
        for port, far in sorted(uplinks.items())
        if not {port, far} & dead and port.datapath_id != far.datapath_id
    }
    exits: dict[int, list[tuple[PortKey, PortKey]]] = {
        key.datapath_id: [] for key in sorted(ports)
    }
    for port, far in usable.items():
        if not is_segment(far.datapath_id):
            exits[port.datapath_id].append((port, far))
    joined = Joined()
    dear = costs(rates(uplinks, interfaces, shapers))
    ranked = sorted(usable.items(), key=partial(rank, dear))
    tree = [cable for cable in ranked if joined.join(cable)]
    ends = Counter(far.datapath_id for _, far in tree)
    alone = {number for number in shared if ends[number] == 1}  # it reaches nobody
    used = (cable for cable in tree if cable[1].datapath_id not in alone)
    named: dict[int, int] = {}
    islands = {one: named.setdefault(joined.top(one), one) for one in exits}
    return Fabric(uplinks, islands, frozenset(chain.from_iterable(used)), exits, shared)


def rank(dear: Costs, cable: Cable) -> tuple[bool, int, PortKey]:
    """Overlays come last: each copies broadcasts for all who are beyond it."""
    port, far = cable
    return is_segment(far.datapath_id), dear.get(port, COST), min(port, far)


def is_dead(key: PortKey, ports: Ports, interfaces: Interfaces, links: Links) -> bool:
    """No frame passes, by the word of the switch or of the kernel, which is the first
    to tell that a cable fails."""
    link = links.get(LinkKey(OWN_NAMESPACE, ifindex_of(key, interfaces)))
    return not ports[key].up or (link is not None and not is_live(link))


def ifindex_of(key: PortKey, interfaces: Interfaces) -> int:
    row = interfaces.get(key)
    return row.ifindex if row else 0


def next_fabric(before: Given, known: Fabric, now: Given) -> Fabric | None:
    """The same, if no cable has failed or works again; of the same cables, if no port
    has come or gone, and nobody has rewired anything."""
    ports, interfaces, links, _, overlays, shapers = now
    if interfaces is not before[1] or not same(before[3:], now[3:]):
        return None
    turned = changed(before[0], ports)
    if any((key in before[0]) != (key in ports) for key in turned):
        return None
    if overlays and any(before[0][k].ifname != ports[k].ifname for k in turned):
        return None
    ours = ifindexes(interfaces)
    mine = [
        key
        for key in changed(before[2], links)
        if key.nsid == OWN_NAMESPACE and key.ifindex in ours
    ]
    rows = [(before[2].get(key), links.get(key)) for key in mine]
    if any(wiring(one) != wiring(other) for one, other in rows):
        return None
    there = {ifindex_of(key, interfaces) for key in known.uplinks} if mine else set()
    if turned.isdisjoint(known.uplinks) and not any(k.ifindex in there for k in mine):
        return known
    found = with_cables(known.uplinks, ports, interfaces, links, overlays, shapers)
    return known if found == known else found


def wiring(link: Link | None) -> tuple[object, ...] | None:
    if link is None:
        return None
    return link.kind, link.tunnel, link.peer, link.peer_nsid


fabric = Step(every_cable, next_fabric)


def nearest_first(before: Fabric, now: Fabric) -> list[int]:
    """All switches, in order of how far each is from the cables that have failed or
    come: what comes to a failed one goes round it when those around it know, whatever
    others do.  By name where none has."""
    was, exits = before.exits, now.exits
    ends = [] if was is exits else [n for n in exits if exits[n] != was.get(n)]
    order, ahead = dict.fromkeys(ends), deque(ends)
    while ahead:
        for _, far in exits[ahead.popleft()]:
            if far.datapath_id not in order:
                order[far.datapath_id] = None
                ahead.append(far.datapath_id)
    return [*order, *(n for n in exits if n not in order)]


def regrouped(one: Fabric, other: Fabric) -> frozenset[int]:
    """Names of islands, of either, that are not the same in the other."""
    moved = {
        datapath_id
        for datapath_id in one.islands.keys() | other.islands.keys()
        if one.islands.get(datapath_id) != other.islands.get(datapath_id)
    }
    moved |= {p.datapath_id for p, _ in one.uplinks.items() ^ other.uplinks.items()}
    found = (shape.islands.get(m) for shape in (one, other) for m in moved)
    return frozenset(name for name in found if name is not None)


def fabric_of(view: View) -> Fabric:
    return fabric(
        *(view.ports, view.interfaces, view.links),
        *(view.adjacencies, view.overlays, view.shapers),
    )


def cables(
    ports: Ports, interfaces: Interfaces, links: Links
) -> Iterator[tuple[PortKey, PortKey]]:
    """Each port of a cable between two ports of ours, with the other end."""
    known = {key: row for key, row in interfaces.items() if key in ports}
    by_name = {row.ifname: key for key, row in known.items()}
    by_ifindex = {row.ifindex: key for key, row in known.items() if row.ifindex}
    for key, row in known.items():
        if row.type == "patch":
            far = by_name.get(row.peer)
        else:
            far = by_ifindex.get(veth_peer(row, links))
        if far is not None:
            yield key, far


def veth_peer(row: Interface, links: Links) -> int:
    """ifindex of the other end of a veth with both ends in our namespace, else -1."""
    link = links.get(LinkKey(OWN_NAMESPACE, row.ifindex))
    if link is None or link.kind != "veth" or link.peer_nsid != OWN_NAMESPACE:
        return -1
    return link.peer
