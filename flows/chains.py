"""What a port of ours leads to inside the kernel: through veths and Linux bridges, to
taps and into namespaces.

    port - veth = veth - linux bridge - tap - guest
                                     \\- veth = veth in a namespace (- macvlan)

Only what is up and has carrier leads anywhere.  Who is at the end of a chain is taken
as the kernel's word, if there is no doubt that frames of theirs come in by this port:
a chain that leads to another port of ours, too, or passes a bridge that keeps VLANs
apart, names nobody (docs/decisions/0008-who-is-believed-beyond-the-far-end.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from flows.memo import Step, remember_arguments, remember_last
from flows.tracked import Tracked, changed, updated
from flows.view import LOCAL_PORT, OWN_NAMESPACE, Interface, Link, LinkKey, PortKey

OWN_INTERFACES = {"internal", "tap"}  # OVSDB types whose kernel side is this host
TUNNELS = {"vxlan", "geneve", "gre", "erspan", "stt", "lisp", "gtpu"}  # likewise
ABOVE = {"macvlan", "macvtap"}  # kinds that have a link-layer address of their own
INTERFACES_MAX = 1024  # behind one port; what leads to more is not followed

Way = tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Speaker:
    """Somebody whose frames come in by a port.

    lladdr    of the last interface of the way, or of the guest behind that tap
    way       interfaces from the port's own to it, each up and with carrier
    is_guest  a machine behind a tap: the kernel does not have its address table
    """

    lladdr: str
    way: Way
    is_guest: bool = False

    @property
    def link(self) -> Link:
        return self.way[-1]


@dataclass(frozen=True, slots=True)
class Chain:
    """Where the way behind a port leads.

    speakers  who is there by the kernel's word
    ends      ways to the last one: an interface with an address, a tap, a device
    bridges   the Linux bridges that are passed
    doors     other ports of ours that it leads to as well
    is_vague  not followed to all its ends, or not all that is there can be reached
    """

    speakers: tuple[Speaker, ...] = ()
    ends: tuple[Way, ...] = ()
    bridges: tuple[Link, ...] = ()
    doors: tuple[Way, ...] = ()
    is_vague: bool = False

    @property
    def is_deserted(self) -> bool:
        """A Linux bridge with nobody at its other ports: nothing can come from here."""
        return bool(self.bridges) and not (self.ends or self.doors or self.is_vague)


NOWHERE = Chain()


Interfaces = Tracked[PortKey, Interface]
Links = Tracked[LinkKey, Link]
Groups = Tracked[LinkKey, tuple[Link, ...]]


@dataclass(slots=True)
class Cabling:
    """The kernel's interfaces by what they are connected to.

    enslaved  bridge or bond -> its ports
    above     device -> the macvlans on top of it
    ours      ifindexes in our own namespace that are ports of bridges of ours
    looked    the interfaces that were asked for, and those that were not found
    """

    links: Links
    enslaved: Groups
    above: Groups
    ours: frozenset[int]
    looked: set[LinkKey] = field(default_factory=set)

    def link(self, nsid: int, ifindex: int) -> Link | None:
        key = LinkKey(nsid, ifindex)
        self.looked.add(key)
        return self.links.get(key)

    def far_end(self, link: Link) -> Link | None:
        if is_veth(link) and link.peer_nsid is not None:
            return self.link(link.peer_nsid, link.peer)
        return None

    def ports_of(self, bridge: Link) -> tuple[Link, ...]:
        self.looked.add(bridge.key)
        return self.enslaved.get(bridge.key, ())

    def on_top_of(self, link: Link) -> tuple[Link, ...]:
        self.looked.add(link.key)
        return self.above.get(link.key, ())

    def is_last(self, link: Link) -> bool:
        """Nothing leads on from here."""
        return not (link.master or self.on_top_of(link) or self.is_ours(link))

    def is_ours(self, link: Link) -> bool:
        self.looked.add(link.key)
        return link.nsid == OWN_NAMESPACE and link.ifindex in self.ours


class Behind(NamedTuple):
    """What is behind each port of this host that leads anywhere.

    looked    interfaces that the chain of a port depends on
    watchers  the same the other way round
    """

    chains: Tracked[PortKey, Chain]
    looked: Tracked[PortKey, frozenset[LinkKey]]
    watchers: Tracked[LinkKey, frozenset[PortKey]]


@remember_arguments
def chains(interfaces: Interfaces, links: Links) -> Tracked[PortKey, Chain]:
    """What is behind each port of this host that leads anywhere."""
    groups = enslaved(links), above(links)
    return behind(interfaces, links, *groups, ifindexes(interfaces)).chains


def every_chain(
    interfaces: Interfaces,
    links: Links,
    enslaved: Groups,
    above: Groups,
    ours: frozenset[int],
) -> Behind:
    found = Behind(Tracked(), Tracked(), Tracked())
    for key in sorted(interfaces):
        found = rewalked(found, key, interfaces, Cabling(links, enslaved, above, ours))
    return found


Given = tuple[Interfaces, Links, Groups, Groups, frozenset[int]]


def next_chains(before: Given, known: Behind, now: Given) -> Behind:
    interfaces = now[0]
    keys = {*changed(before[1], now[1]), *changed(before[2], now[2])}
    keys |= changed(before[3], now[3])
    keys |= {LinkKey(OWN_NAMESPACE, ifindex) for ifindex in before[4] ^ now[4]}
    watching = (known.watchers.get(key, frozenset()) for key in keys)
    for key in sorted(changed(before[0], interfaces).union(*watching)):
        known = rewalked(known, key, interfaces, Cabling(*now[1:]))
    return known


def rewalked(
    known: Behind, key: PortKey, interfaces: Interfaces, cabling: Cabling
) -> Behind:
    """With the chain of one port as it is now."""
    row = interfaces.get(key)
    found = chain(row, cabling) if row else NOWHERE
    looked = frozenset(cabling.looked)
    before, watchers = known.looked.get(key, frozenset()), known.watchers
    for link in before ^ looked:
        watching = watchers.get(link, frozenset()) ^ {key}
        watchers = updated(watchers, link, watching or None)
    return Behind(
        updated(known.chains, key, None if found is NOWHERE else found),
        updated(known.looked, key, looked or None),
        watchers,
    )


behind = Step(every_chain, next_chains)


@remember_last
def ifindexes(interfaces: Interfaces) -> frozenset[int]:
    return frozenset(row.ifindex for row in interfaces.values() if row.ifindex)


def grouping(group: Callable[[Link], LinkKey | None]) -> Step[Groups]:
    """Interfaces that belong to another, by that, in order of their keys."""

    def every(links: Links) -> Groups:
        grouped: dict[LinkKey, list[Link]] = {}
        for link in links.values():
            if (key := group(link)) is not None:
                grouped.setdefault(key, []).append(link)
        return Tracked((key, in_order(some)) for key, some in grouped.items())

    def following(
        before: tuple[Links], known: Groups, now: tuple[Links]
    ) -> Groups | None:
        for key in changed(before[0], now[0]):
            for row, is_there in ((before[0].get(key), False), (now[0].get(key), True)):
                of = group(row) if row else None
                if row is not None and of is not None:
                    others = [one for one in known.get(of, ()) if one.key != key]
                    some = in_order([*others, row] if is_there else others)
                    known = updated(known, of, some or None)
        return known

    return Step(every, following)


def in_order(links: list[Link]) -> tuple[Link, ...]:
    return tuple(sorted(links, key=lambda link: link.key))


def master_of(link: Link) -> LinkKey | None:
    return LinkKey(link.nsid, link.master) if link.master else None


def below(link: Link) -> LinkKey | None:
    if link.kind in ABOVE and link.peer_nsid is not None:
        return LinkKey(link.peer_nsid, link.peer)
    return None


enslaved = grouping(master_of)
above = grouping(below)


def is_live(link: Link) -> bool:
    return link.up and link.lower_up


def is_veth(link: Link) -> bool:
    return link.kind == "veth"


def far_end(link: Link, links: Links) -> Link | None:
    """The other end of a veth, if it is within reach."""
    if not is_veth(link) or link.peer_nsid is None:
        return None
    return links.get(LinkKey(link.peer_nsid, link.peer))


def chain(row: Interface, cabling: Cabling) -> Chain:
    near = cabling.link(OWN_NAMESPACE, row.ifindex)
    if near is None or not is_live(near):
        return NOWHERE
    if row.port_no == LOCAL_PORT or row.type in OWN_INTERFACES:
        return Walk(cabling).follow((near,))
    if near.kind == "tun":
        return Chain(tuple(guests((near,))), ((near,),))
    far = cabling.far_end(near)
    if far is None or not is_live(far):
        return NOWHERE
    if cabling.is_last(far):
        return last((near, far))
    return Walk(cabling).follow((near, far))


def last(way: Way) -> Chain:
    """The plain case, of most ports: a veth, and nothing beyond its far end."""
    lladdr = way[-1].lladdr
    return Chain((Speaker(lladdr, way),) if lladdr else (), (way,))


def guests(way: Way) -> Iterator[Speaker]:
    if way[-1].guest_lladdr:
        yield Speaker(way[-1].guest_lladdr, way, is_guest=True)


@dataclass(slots=True)
class Walk:
    """Breadth first over the interfaces behind a port, each of them once."""

    cabling: Cabling
    speakers: list[Speaker] = field(default_factory=list)
    ends: list[Way] = field(default_factory=list)
    bridges: list[Link] = field(default_factory=list)
    doors: list[Way] = field(default_factory=list)
    is_vague: bool = False
    seen: set[LinkKey] = field(default_factory=set)
    queue: deque[Way] = field(default_factory=deque)

    def follow(self, start: Way) -> Chain:
        self.seen.update(link.key for link in start)
        self.queue.append(start)
        while self.queue:
            self.arrive(self.queue.popleft())
            if len(self.seen) > INTERFACES_MAX:
                self.is_vague = True
                break
        is_certain = not self.doors and not self.is_vague
        return Chain(
            tuple(self.speakers) if is_certain else (),
            tuple(self.ends),
            tuple(self.bridges),
            tuple(self.doors),
            self.is_vague,
        )

    def arrive(self, way: Way) -> None:
        """At an interface that frames go out of, away from the port."""
        link = way[-1]
        if len(way) > 1 and self.cabling.is_ours(link):
            self.doors.append(way)
            return
        master = self.cabling.link(link.nsid, link.master)
        if master is not None and master.kind == "bridge":
            self.cross(master, way)
            return
        self.ends.append(way)
        if not link.master:  # what is enslaved speaks for others, not for itself
            self.hear(way)

    def hear(self, way: Way) -> None:
        """An interface with an address of its own, and the macvlans on top of it."""
        if way[-1].lladdr:
            self.speakers.append(Speaker(way[-1].lladdr, way))
        for link in self.cabling.on_top_of(way[-1]):
            if link.key in self.seen or not is_live(link):
                continue
            self.seen.add(link.key)
            if self.cabling.is_ours(link):
                self.doors.append((*way, link))
            elif link.lladdr and not link.master:
                self.speakers.append(Speaker(link.lladdr, (*way, link)))

    def cross(self, bridge: Link, way: Way) -> None:
        """Into a Linux bridge, and out of all its other ports."""
        if bridge.key in self.seen:
            return
        self.seen.add(bridge.key)
        self.bridges.append(bridge)
        if not is_live(bridge):
            return
        self.is_vague = self.is_vague or bridge.filters_vlans
        self.hear((*way, bridge))
        for port in self.cabling.ports_of(bridge):
            if port.key not in self.seen and is_live(port):
                self.seen.add(port.key)
                self.leave((*way, bridge, port))

    def leave(self, way: Way) -> None:
        """Out of a port of a Linux bridge."""
        far = self.cabling.far_end(way[-1])
        if far is None:
            self.ends.append(way)
            self.speakers += guests(way)
        elif far.key not in self.seen and is_live(far):
            self.seen.add(far.key)
            self.queue.append((*way, far))
