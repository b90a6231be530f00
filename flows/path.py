"""The way of a frame between two interfaces, as far as this host can see it.

    graph = graph_of(view)
    path = find(graph, named(graph, "tap7"), named(graph, "h1:eth0"))

Interfaces, ports and bridges are the nodes of a graph; what connects them (the two ends
of a veth, a bridge and its ports, two patch ports, the ends of a tunnel or an overlay,
a device and what is on top of it) are its edges.  A path is the way over the fewest
interfaces that are down, and of these the shortest, where a cable between two switches
is as long as it costs (`flows.costs`).  No conclusion about hosts is needed, and no
switch has to be connected: links and rows of OVSDB are enough.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address
from itertools import combinations, pairwise
from typing import NamedTuple

from flows.chains import OWN_INTERFACES, far_end, is_live
from flows.costs import Rates, cost, sent, slower
from flows.fabric import fabric_of
from flows.view import (
    LOCAL_PORT,
    NO_TUNNEL,
    OWN_NAMESPACE,
    Interface,
    Link,
    LinkKey,
    PortKey,
    Tunnel,
    View,
    namespace_name,
    switch_name,
)

ON_TOP = {
    "macvlan",
    "macvtap",
    "ipvlan",
    "vlan",
}  # kinds whose frames take another's way
NO_SEGMENT = {"openvswitch", "vrf"}  # masters that do not forward between their ports
STEPS = 3  # of a cable: to the port, to that of the other switch, to the switch
TOLD = 8  # names in a hint
ENDS_TOLD = 3  # interfaces at which a way ends

IS_PORT, HAS_PORT = "is a port of", "has the port"
VETH, PATCH = "is one veth with", "is patched to"
ABOVE, BELOW = "is on top of", "is below"


class PathError(ValueError):
    """A name that is not that of one interface: where, what, and what to write."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        self.where, self.problem, self.hint = where, problem, hint
        super().__init__(f"{where}: {problem}" + (f" ({hint})" if hint else ""))


class Node(NamedTuple):
    """kind is "link" (nsid, ifindex), "port" (datapath_id, port_no), or "switch"."""

    kind: str
    place: int
    number: int


@dataclass(frozen=True, slots=True)
class Stop:
    """What can be said of a node alone.

    spaces    what may be written before its name: the namespace, the bridge; best first
    what      "veth", "tap of qemu[812]", "linux bridge", "patch", "vxlan tunnel", ...
    why_down  "" if it passes frames
    port      the OpenFlow port that it is
    """

    ifname: str
    namespace: str
    spaces: tuple[str, ...]
    what: str
    why_down: str = ""
    port: PortKey | None = None
    switch: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """One interface of a path.

    then  how it is connected with the next one, "" at the end
    """

    stop: Stop
    then: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """From one interface to another.

    hops     in order; empty if nothing connects them
    problem  why no frame takes it, and where it ends; "" if it is whole
    """

    hops: tuple[Hop, ...]
    problem: str = ""


Edges = dict[Node, dict[Node, str]]


@dataclass(frozen=True, slots=True)
class Graph:
    """edges  to each neighbor, how the first is connected with it
    sent   bits per second of what ports send, where it is limited
    """

    stops: Mapping[Node, Stop]
    edges: Edges
    spoken: Counter[str] = field(default_factory=Counter)
    sent: Rates = field(default_factory=dict)

    def neighbors(self, node: Node) -> Mapping[Node, str]:
        return self.edges.get(node, {})


# --- the graph ----------------------------------------------------------------------


def graph_of(view: View) -> Graph:
    nodes = Nodes(view)
    edges: Edges = {}
    for one, other, forth, back in connections(view, nodes):
        if one != other:
            edges.setdefault(one, {})[other] = forth
            edges.setdefault(other, {})[one] = back
    stops = dict(stops_of(view, nodes))
    spoken = Counter(name for stop in stops.values() for name in full_names(stop))
    return Graph(stops, edges, spoken, sent(view.interfaces, view.shapers))


class Nodes:
    """Which node stands for a port or a kernel interface: one for both, if both are."""

    def __init__(self, view: View) -> None:
        self.rows = view.interfaces
        self.links = view.links
        self.port_at: dict[LinkKey, PortKey] = {}
        for key, row in view.interfaces.items():
            link = LinkKey(OWN_NAMESPACE, row.ifindex)
            if link in view.links:
                self.port_at[link] = key

    def link(self, key: LinkKey) -> Node:
        port = self.port_at.get(key)
        if port is not None and port.port_no == LOCAL_PORT:
            return Node("switch", port.datapath_id, 0)
        return Node("link", *key)

    def port(self, key: PortKey) -> Node:
        if key.port_no == LOCAL_PORT:
            return Node("switch", key.datapath_id, 0)
        row = self.rows.get(key)
        link = LinkKey(OWN_NAMESPACE, row.ifindex if row else 0)
        return self.link(link) if link in self.port_at else Node("port", *key)


Connection = tuple[Node, Node, str, str]


def connections(view: View, nodes: Nodes) -> Iterator[Connection]:
    """Pairs of nodes; how the first is connected with the second, and the reverse."""
    for link in view.links.values():
        yield from of_link(link, view, nodes)
    for key in {**view.interfaces, **view.ports}:
        if key.port_no != LOCAL_PORT:
            switch = Node("switch", key.datapath_id, 0)
            yield nodes.port(key), switch, IS_PORT, HAS_PORT
    yield from patches(view, nodes)
    yield from tunnels(view, nodes)
    yield from overlays(view, nodes)


def of_link(link: Link, view: View, nodes: Nodes) -> Iterator[Connection]:
    here = nodes.link(link.key)
    far = far_end(link, view.links)
    if far is not None:
        yield here, nodes.link(far.key), VETH, VETH
    master = view.links.get(LinkKey(link.nsid, link.master))
    if master is not None and master.kind not in NO_SEGMENT:
        yield here, nodes.link(master.key), IS_PORT, HAS_PORT
    if link.kind in ON_TOP and link.peer_nsid is not None:
        below = LinkKey(link.peer_nsid, link.peer)
        if below in view.links:
            yield here, nodes.link(below), ABOVE, BELOW


def patches(view: View, nodes: Nodes) -> Iterator[Connection]:
    named = {row.ifname: row for row in view.interfaces.values() if row.type == "patch"}
    for row in named.values():
        peer = named.get(row.peer)
        if peer is not None and peer.peer == row.ifname:
            yield nodes.port(row.key), nodes.port(peer.key), PATCH, PATCH


def overlays(view: View, nodes: Nodes) -> Iterator[Connection]:
    """Each end with each other."""
    for segment in fabric_of(view).segments.values():
        how = f"leads through overlay {segment.name}, VNI {segment.vni}, to"
        for one, other in combinations(segment.ends, 2):
            yield nodes.port(one), nodes.port(other), how, how


class End(NamedTuple):
    """One end of a tunnel, and the underlay addresses that are its own."""

    node: Node
    kind: str
    tunnel: Tunnel
    own: frozenset[str]

    def at(self, address: str) -> tuple[object, ...]:
        return self.kind, self.tunnel.key, self.tunnel.port, address


def tunnels(view: View, nodes: Nodes) -> Iterator[Connection]:
    """Ends that name each other, by one kind, key and port."""
    ends = list(tunnel_ends(view, nodes))
    at: dict[tuple[object, ...], list[End]] = {}
    for end in ends:
        for address in end.own:
            at.setdefault(end.at(address), []).append(end)
    for one in ends:
        for other in at.get(one.at(plain(one.tunnel.remote)), ()):
            if plain(other.tunnel.remote) in one.own:
                how = f"is a tunnel, key {one.tunnel.key}, to"
                yield one.node, other.node, how, how


def tunnel_ends(view: View, nodes: Nodes) -> Iterator[End]:
    held: dict[int, set[str]] = {}
    for address in view.addresses.values():
        held.setdefault(address.nsid, set()).add(str(address.ip))
    for row in view.interfaces.values():
        if row.tunnel != NO_TUNNEL:
            own = own_addresses(row.tunnel, held.get(OWN_NAMESPACE, set()))
            yield End(nodes.port(row.key), row.type, row.tunnel, own)
    for link in view.links.values():
        if link.tunnel != NO_TUNNEL:
            own = own_addresses(link.tunnel, held.get(link.nsid, set()))
            yield End(nodes.link(link.key), link.kind, link.tunnel, own)


def own_addresses(tunnel: Tunnel, held: set[str]) -> frozenset[str]:
    """Where a tunnel receives: if it is not told, at any address of its namespace; and
    at its group (RFC 7348, 4.2)."""
    own = {plain(tunnel.local)} if tunnel.local else held
    return frozenset(own | {plain(tunnel.remote)} if is_group(tunnel.remote) else own)


def plain(text: str) -> str:
    """An address as it is written shortest; other words as they are."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def is_group(text: str) -> bool:
    try:
        return ip_address(text).is_multicast
    except ValueError:
        return False


# --- what can be said of a node -----------------------------------------------------


def stops_of(view: View, nodes: Nodes) -> Iterator[tuple[Node, Stop]]:
    for datapath_id in {key.datapath_id for key in {**view.interfaces, **view.ports}}:
        yield Node("switch", datapath_id, 0), switch_stop(view, datapath_id)
    for link in view.links.values():
        node = nodes.link(link.key)
        if node.kind == "link":
            yield node, link_stop(view, link, nodes.port_at.get(link.key))
    for key in {**view.interfaces, **view.ports}:
        node = nodes.port(key)
        if node.kind == "port":
            yield node, port_stop(view, key)


def switch_stop(view: View, datapath_id: int) -> Stop:
    name = switch_name(view, datapath_id) or f"{datapath_id:x}"
    spaces = spaces_of(view, OWN_NAMESPACE) if datapath_id in view.bridges else ()
    where = namespace_name(view, OWN_NAMESPACE) if spaces else ""
    return Stop(name, where, (*spaces, f"{datapath_id:x}"), "OVS bridge")


def link_stop(view: View, link: Link, key: PortKey | None) -> Stop:
    switch = switch_of(view, key)
    return Stop(
        link.ifname,
        namespace_name(view, link.nsid),
        (*spaces_of(view, link.nsid), *([switch] if switch else [])),
        what_is(link, view.interfaces.get(key) if key else None),
        why_down(link) or (port_down(view, key) if key else ""),
        key,
        switch,
    )


def port_stop(view: View, key: PortKey) -> Stop:
    row, port = view.interfaces.get(key), view.ports.get(key)
    name = row.ifname if row else port.ifname if port else ""
    switch = switch_of(view, key)
    where = namespace_name(view, OWN_NAMESPACE) if row else ""
    what = kind_of_port(row)
    return Stop(name, where, (switch,), what, port_down(view, key), key, switch)


def kind_of_port(row: Interface | None) -> str:
    if row is None or not row.type:
        return "interface"
    return row.type if row.tunnel == NO_TUNNEL else f"{row.type} tunnel"


def switch_of(view: View, key: PortKey | None) -> str:
    if key is None:
        return ""
    return switch_name(view, key.datapath_id) or f"{key.datapath_id:x}"


def spaces_of(view: View, nsid: int) -> tuple[str, ...]:
    """What may stand before the colon; nothing at all is this host."""
    if nsid == OWN_NAMESPACE:
        return "", namespace_name(view, nsid)
    return namespace_name(view, nsid), f"nsid {nsid}", str(nsid)


def what_is(link: Link, row: Interface | None) -> str:
    if row is not None and row.type in OWN_INTERFACES:
        return "OVS internal"
    if link.kind == "bridge":
        return "linux bridge"
    if link.kind == "tun":
        return f"tap of {link.holder}" if link.holder else "tap"
    if link.tunnel != NO_TUNNEL:
        return f"{link.kind} tunnel"
    return link.kind or "interface"


def why_down(link: Link) -> str:
    if is_live(link):
        return ""
    if not link.up:
        return "it is down"
    return "nobody holds the tap" if link.kind == "tun" else "it has no carrier"


def port_down(view: View, key: PortKey) -> str:
    row, port = view.interfaces.get(key), view.ports.get(key)
    if row is not None and row.deaf:
        return "Open vSwitch does not hear it: its interface was made again"
    return "its port is down" if port is not None and not port.up else ""


# --- names --------------------------------------------------------------------------


def full_names(stop: Stop) -> set[str]:
    return {f"{space}:{stop.ifname}" for space in stop.spaces}


def written(graph: Graph, stop: Stop) -> str:
    """The name by which this interface alone is meant."""
    names = [f"{space}:{stop.ifname}" for space in stop.spaces]
    only = (name for name in names if graph.spoken[name] == 1)
    return next(only, names[0] if names else stop.ifname)


def named(graph: Graph, text: str) -> Node:
    """The node that `text` means: "eth0", "h1:eth0", a bridge or port of Open vSwitch.

    Raises PathError if there is none, or more than one.
    """
    alike = [node for node, stop in graph.stops.items() if stop.ifname == text]
    found = alike or [
        node for node, stop in graph.stops.items() if text in full_names(stop)
    ]
    if len(found) == 1:
        return found[0]
    where = f"interface {text!a}"
    if found:
        names = sorted(written(graph, graph.stops[node]) for node in found)
        problem = f"{len(names)} interfaces have this name"
        raise PathError(where, problem, f"write one of: {listed(names)}")
    raise PathError(where, "there is no such interface", nearest(graph, text))


def nearest(graph: Graph, text: str) -> str:
    names = sorted({written(graph, stop) for stop in graph.stops.values()})
    bare = {name.rpartition(":")[2]: name for name in names}
    near = get_close_matches(text, names, n=TOLD) or [
        bare[name] for name in get_close_matches(text, bare, n=TOLD)
    ]
    if near:
        return f"did you mean {' or '.join(f'{name!a}' for name in near[:ENDS_TOLD])}?"
    return f"there are: {listed(names)}" if names else "no interface is known"


def listed(names: Sequence[str]) -> str:
    more = len(names) - TOLD
    told = ", ".join(f"{name!a}"[1:-1] for name in names[:TOLD])
    return f"{told}, and {more} more" if more > 0 else told


# --- the way ------------------------------------------------------------------------


def find(graph: Graph, start: Node, goal: Node) -> Path:
    came_from = search(graph, start)
    if goal not in came_from:
        return Path((), apart(graph, start, goal))
    nodes = [goal]
    while nodes[-1] != start:
        nodes.append(came_from[nodes[-1]])
    nodes.reverse()
    return Path(tuple(hops(graph, nodes)), cut(graph, nodes))


def search(graph: Graph, start: Node) -> dict[Node, Node]:
    """Dijkstra's algorithm, by (interfaces that are down, steps).

    Every node that is connected with `start`, nearest first, and the one before it.
    """
    came_from: dict[Node, Node] = {}
    queue = [(down(graph, start), 0, start, start)]
    while queue:
        broken, length, node, before = heapq.heappop(queue)
        if node in came_from:
            continue
        came_from[node] = before
        for other in graph.neighbors(node):
            if other not in came_from:
                worse = broken + down(graph, other)
                longer = length + step(graph, graph.stops[node], graph.stops[other])
                heapq.heappush(queue, (worse, longer, other, node))
    return came_from


def step(graph: Graph, one: Stop, other: Stop) -> int:
    """One, but for a cable that is limited: it is as long as so many others, each with
    the steps from a switch to its port and from the port of another to that."""
    near, far = one.port, other.port
    if near is None or far is None or near.datapath_id == far.datapath_id:
        return 1
    return STEPS * cost(slower(graph.sent, near, far)) - (STEPS - 1)


def down(graph: Graph, node: Node) -> int:
    return 1 if graph.stops[node].why_down else 0


def hops(graph: Graph, nodes: Sequence[Node]) -> Iterator[Hop]:
    for node, after in pairwise(nodes):
        how = graph.edges[node][after]
        yield Hop(graph.stops[node], f"{how} {graph.stops[after].ifname}")
    yield Hop(graph.stops[nodes[-1]])


def cut(graph: Graph, nodes: Iterable[Node]) -> str:
    """Where no frame gets on."""
    stops = (graph.stops[node] for node in nodes)
    dead = [
        f"{written(graph, stop).removeprefix(':')}, {stop.why_down}"
        for stop in stops
        if stop.why_down
    ]
    return f"the way ends at {'; and at '.join(dead)}" if dead else ""


def apart(graph: Graph, start: Node, goal: Node) -> str:
    return (
        f"nothing that is known connects them: from {ends(graph, start)};"
        f" from {ends(graph, goal)}"
    )


def ends(graph: Graph, start: Node) -> str:
    """How far one comes, in words: what is farthest is named first."""
    reached = list(search(graph, start))
    name = written(graph, graph.stops[start]).removeprefix(":")
    if len(reached) == 1:
        return f"{name} no way leads on"
    last = [written(graph, graph.stops[node]) for node in reached[:0:-1]]
    told = ", ".join(end.removeprefix(":") for end in last[:ENDS_TOLD])
    return f"{name} one comes as far as {told}"


# --- as plain values ----------------------------------------------------------------


def told(view: View, one: str, other: str) -> dict[str, object]:
    """What `isat path` prints as JSON.  Raises PathError for a name."""
    graph = graph_of(view)
    path = find(graph, named(graph, one), named(graph, other))
    return {"hops": [hop_told(hop) for hop in path.hops], "problem": path.problem}


def hop_told(hop: Hop) -> dict[str, object]:
    stop = hop.stop
    return {
        "interface": stop.ifname,
        "namespace": stop.namespace,
        "what": stop.what,
        "switch": stop.switch,
        "port_no": stop.port.port_no if stop.port else None,
        "up": not stop.why_down,
        "why_down": stop.why_down,
        "then": hop.then,
    }
