"""What follows from the view: who holds which address, and where it is attached.

The view states facts by the one who reported them; this module draws the conclusions,
in the order in which they depend on each other, and keeps none of them.  All tables of
the pipeline, `isat hosts` and `isat explain` read the same conclusions.

Who is believed, strongest first: the operator's configuration; the kernel's address
table of the interface behind a port; a station's own word in a packet; and, too weak to
be answered, what other interfaces have in their neighbor tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from ipaddress import IPv4Address, ip_network
from itertools import permutations
from typing import NamedTuple, TypeVar

from immutables import Map

from flows.chains import Chain, Links, Speaker, chains
from flows.fabric import Fabric, Ports, fabric
from flows.memo import Step, remember_last
from flows.proxy import INTERPOSE, NO_RULES, PRIVATE, AtSwitch, Rules, rules_of
from flows.tracked import Tracked, changed, updated
from flows.tree import open_tree
from flows.trust import Trust, routers_of, trust
from flows.view import (
    Address,
    AddressKey,
    Bridge,
    Claim,
    Fixed,
    Interface,
    IPAddress,
    Link,
    LinkKey,
    Nics,
    PortKey,
    Proxy,
    Station,
    StationKey,
    View,
    name_of,
)

K = TypeVar("K")
V = TypeVar("V")

TUNNELS = {"vxlan", "geneve", "gre", "erspan", "stt", "lisp", "gtpu"}


class Role(Enum):
    """What a port leads to."""

    EDGE = "edge"
    FABRIC = "fabric"
    TUNNEL = "tunnel"
    UNKNOWN = "unknown"


class Origin(IntEnum):
    """Where a binding comes from; the greater, the stronger."""

    NEIGHBOR = 1
    HEARD = 2
    DHCP = 3
    KERNEL = 4
    CONFIGURED = 5


class Domain(NamedTuple):
    """A bridge domain: switches that reach each other, and a VLAN (0 is untagged)."""

    island: int
    vlan: int


@dataclass(frozen=True, slots=True)
class Located:
    """A station and the port it is attached to.

    shown    the way to it, when the kernel shows it
    station  what it has said itself
    """

    domain: Domain
    lladdr: str
    port: PortKey
    origin: Origin
    shown: Speaker | None = None
    station: Station | None = None

    @property
    def link(self) -> Link | None:
        """The kernel interface that is this station, or the tap that it is behind."""
        return self.shown.link if self.shown else None

    @property
    def leases(self) -> tuple[Claim, ...]:
        """The IPv4 addresses that DHCP has leased to it.  Where the kernel has its
        address table, that decides."""
        if self.station is None or self.has_table:
            return ()
        claims = (claim for claim in self.station.claims if claim.ip.version == 4)
        return tuple(claim for claim in claims if claim.leased_until is not None)

    @property
    def has_table(self) -> bool:
        """The kernel has its address table, so that its own word adds nothing to it."""
        return self.shown is not None and not self.shown.is_guest


@dataclass(frozen=True, slots=True)
class Candidate:
    """One who may hold an address.

    vouched       believable at all: not contradicted by the kernel's own address table
    confirmed_at  seconds on the core's monotonic clock; None if it does not age
    router        of IPv6: what its advertisements say it is; None if nobody knows
    leased_until  seconds on the same clock, if DHCP has leased it; else None
    is_beside     heard of an IPv4 address beside a leased one
    """

    lladdr: str
    port: PortKey
    origin: Origin
    vouched: bool = True
    confirmed_at: float | None = None
    router: bool | None = None
    leased_until: float | None = None
    is_beside: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a protocol address in a domain: the winner among its candidates.

    silent_because  why the switches do not answer for it; "" if they do
    candidates      the winner first
    """

    domain: Domain
    ip: IPAddress
    candidates: tuple[Candidate, ...]
    silent_because: str = ""

    @property
    def winner(self) -> Candidate:
        return self.candidates[0]

    @property
    def answered(self) -> bool:
        return not self.silent_because


@dataclass(frozen=True, slots=True)
class Middle:
    """Who stands between: a firewall, or the router that isolated ports talk through.

    lladdr, port  where it is; "" and None if it is not there
    missing       why not
    """

    lladdr: str = ""
    port: PortKey | None = None
    missing: str = ""


Place = tuple[Domain, str]
Middles = Mapping[tuple[Proxy, Domain], Middle]
Holding = tuple[Domain, IPAddress]


@dataclass(frozen=True, slots=True)
class Network:
    """Every conclusion from one view.

    unknown      ports of which nobody can tell yet where they lead
    tree         ports to other switches that broadcasts are sent to
    placed       configured holders of addresses that are located
    unheld       addresses that the kernel lists behind a closed port and nobody holds
    contested    addresses that more than one may hold
    rules        how questions are answered, by datapath_id
    promiscuous  ports that rules name as those which everybody may talk to
    middles      who stands between, where a rule says that somebody does
    twins        namespaces with several interfaces in one segment, and these
    siblings     what such an interface may say that is another one's
    nics         how that is settled
    """

    fabric: Fabric
    unknown: frozenset[PortKey]
    tree: frozenset[PortKey]
    located: Tracked[Place, Located]
    holders: Tracked[Holding, Holder]
    full: frozenset[PortKey]
    trust: Trust
    placed: frozenset[Place]
    unheld: frozenset[Holding]
    contested: frozenset[Holding]
    rules: AtSwitch
    promiscuous: Named
    middles: Middles
    twins: Groups
    siblings: Siblings
    nics: Nics

    def rules_at(self, datapath_id: int) -> Rules:
        return self.rules.get(datapath_id, NO_RULES)

    def is_isolated(self, vlan: int, at: PortKey) -> bool:
        rule = self.rules_at(at.datapath_id).private(vlan)
        return rule is not None and at not in self.promiscuous.get(rule, ())

    def middle(self, rule: Proxy, domain: Domain) -> Middle:
        absent = Middle(missing=f"{rule.lladdr or rule.port} is not known to be there")
        return self.middles.get((rule, domain), absent)

    def domain(self, datapath_id: int, vlan: int) -> Domain:
        return Domain(self.fabric.islands.get(datapath_id, datapath_id), vlan)


def network(view: View) -> Network:
    shape = fabric(view.ports, view.interfaces, view.links)
    far_ends = kernel_hosts(view)
    where = located_stations(shape, far_ends, view.ports, view.stations)
    held = located_holders(shape, far_ends, where, view.bindings)
    several = twins_of(view)
    trusted = trust(view)
    return Network(
        shape,
        unknown_ports(view.ports, view.interfaces, view.bridges),
        open_tree(shape, view.floods),
        where,
        held,
        full_ports(view.crowds, view.limits.stations_per_port),
        trusted,
        placed(shape, where, view.bindings),
        unheld(shape, held, trusted),
        contested(held),
        rules_of(view),
        promiscuous(view.proxies, view.ports, view.bridges),
        middles(meant(where, middle_ports(view.proxies, view.ports, view.bridges))),
        several,
        siblings(several, view.bindings),
        view.nics,
    )


def kernel_hosts(view: View) -> FarEnds:
    shape = fabric(view.ports, view.interfaces, view.links)
    behind = chains(view.interfaces, view.links)
    return kernel_stations(
        shape,
        speakers(shape, view.ports, behind),
        view.links,
        by_interface(view.addresses),
        routers_of(view.routers),
    )


@remember_last
def unknown_ports(
    ports: Ports,
    interfaces: Tracked[PortKey, Interface],
    bridges: Tracked[int, Bridge],
) -> frozenset[PortKey]:
    """Ports of bridges of this host that OVSDB has not told of yet, as it will in a
    moment.  Until then nobody can tell whether they lead to another switch."""
    return frozenset(
        key for key in ports if key.datapath_id in bridges and key not in interfaces
    )


def role(view: View, key: PortKey) -> Role:
    if key in fabric(view.ports, view.interfaces, view.links).uplinks:
        return Role.FABRIC
    row = view.interfaces.get(key)
    if key in unknown_ports(view.ports, view.interfaces, view.bridges):
        return Role.UNKNOWN
    return Role.TUNNEL if row and row.type in TUNNELS else Role.EDGE


# --- what the kernel shows ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FarEnd:
    """A host that the kernel shows behind a port, with the addresses it lists.

    router  it forwards IPv6, and says so in its advertisements
    """

    located: Located
    addresses: tuple[Address, ...]
    router: bool = False


FarEnds = Tracked[Place, FarEnd]
Spoken = tuple[PortKey, Speaker]
Chains = Tracked[PortKey, Chain]
AddressesOf = Tracked[LinkKey, tuple[Address, ...]]


def every_speaker(
    shape: Fabric, ports: Ports, behind: Chains
) -> Tracked[Place, tuple[Spoken, ...]]:
    """Who is behind ports that are up, the nearest first.  Who is root in a namespace
    can put as many interfaces as they like behind the one they were given, but never
    nearer."""
    found: dict[Place, list[Spoken]] = {}
    for port in behind:
        for place, one in speaking(shape, ports, behind, port):
            found.setdefault(place, []).append((port, one))
    return Tracked((place, nearest_first(ones)) for place, ones in found.items())


def next_speakers(
    before: tuple[Fabric, Ports, Chains],
    known: Tracked[Place, tuple[Spoken, ...]],
    now: tuple[Fabric, Ports, Chains],
) -> Tracked[Place, tuple[Spoken, ...]] | None:
    if now[0] is not before[0]:
        return None
    moved = changed(before[1], now[1]) | changed(before[2], now[2])
    places: dict[Place, list[Spoken]] = {}
    for port in moved:
        for place, _ in speaking(*before, port):
            places.setdefault(place, [])
        for place, one in speaking(*now, port):
            places.setdefault(place, []).append((port, one))
    for place, ones in places.items():
        others = [one for one in known.get(place, ()) if one[0] not in moved]
        rows = nearest_first([*others, *ones])
        known = updated(known, place, rows or None)
    return known


def speaking(
    shape: Fabric, ports: Ports, behind: Chains, port: PortKey
) -> Iterator[tuple[Place, Speaker]]:
    chain = behind.get(port)
    if chain is not None and may_be_at(shape, ports, port):
        domain = Domain(shape.islands[port.datapath_id], 0)
        yield from (((domain, one.lladdr), one) for one in chain.speakers)


def nearest_first(ones: list[Spoken]) -> tuple[Spoken, ...]:
    return tuple(sorted(ones, key=lambda one: (len(one[1].way), one[0])))


speakers = Step(every_speaker, next_speakers)


def every_far_end(
    shape: Fabric,
    spoken: Tracked[Place, tuple[Spoken, ...]],
    links: Links,
    addresses: AddressesOf,
    routers: frozenset[LinkKey],
) -> FarEnds:
    """Hosts that need not say a word: the kernel shows all of the way to them."""
    return Tracked(
        (place, far_end(place, ones, addresses, routers))
        for place, ones in spoken.items()
    )


Shown = tuple[
    Fabric,
    Tracked[Place, tuple[Spoken, ...]],
    Links,
    AddressesOf,
    frozenset[LinkKey],
]


def next_far_ends(before: Shown, known: FarEnds, now: Shown) -> FarEnds | None:
    shape, spoken, links, addresses, routers = now
    if shape is not before[0]:
        return None
    places = set(changed(before[1], spoken))
    for key in changed(before[3], addresses) | (before[4] ^ routers):
        if link := links.get(key):
            places |= {(Domain(island, 0), link.lladdr) for island in members(shape)}
    for place in places:
        ones = spoken.get(place)
        row = far_end(place, ones, addresses, routers) if ones else None
        known = updated(known, place, row)
    return known


def far_end(
    place: Place,
    ones: tuple[Spoken, ...],
    addresses: AddressesOf,
    routers: frozenset[LinkKey],
) -> FarEnd:
    """Of two interfaces with one MAC in one domain: the nearest, the first port's."""
    port, one = ones[0]
    key = one.link.key
    return FarEnd(
        Located(*place, port, Origin.KERNEL, one),
        () if one.is_guest else addresses.get(key, ()),
        key in routers,
    )


kernel_stations = Step(every_far_end, next_far_ends)


def every_interface(addresses: Tracked[AddressKey, Address]) -> AddressesOf:
    table: dict[LinkKey, list[Address]] = {}
    for row in addresses.values():
        if may_be_answered(row):
            table.setdefault(LinkKey(row.nsid, row.ifindex), []).append(row)
    return Tracked((key, by_ip(rows)) for key, rows in table.items())


def next_interfaces(
    before: tuple[Tracked[AddressKey, Address]],
    known: AddressesOf,
    now: tuple[Tracked[AddressKey, Address]],
) -> AddressesOf:
    for key in changed(before[0], now[0]):
        link, row = LinkKey(key.nsid, key.ifindex), now[0].get(key)
        rows = [one for one in known.get(link, ()) if one.ip != key.ip]
        if row is not None and may_be_answered(row):
            rows.append(row)
        known = updated(known, link, by_ip(rows) or None)
    return known


by_interface = Step(every_interface, next_interfaces)


def may_be_answered(row: Address) -> bool:
    return row.usable and is_unicast(row.ip)


def by_ip(rows: list[Address]) -> tuple[Address, ...]:
    return tuple(sorted(rows, key=lambda row: (row.ip.version, int(row.ip))))


def is_unicast(ip: IPAddress) -> bool:
    """Neither unspecified (RFC 5227's probe), nor loopback, nor a group's."""
    return not (ip.is_unspecified or ip.is_loopback or ip.is_multicast)


# --- several interfaces of one host in one segment ------------------------------------

NICS_MAX = 16  # interfaces of one namespace in one segment that are settled
IPS_MAX = 64  # addresses of each of them

Group = tuple[Domain, int]  # and the namespace's number


@dataclass(frozen=True, slots=True)
class Sibling:
    """An interface that Linux may let speak with another one's address.

    owner  the interface that has the address
    own    an address that the speaker has, of the same subnet if there is one
    """

    lladdr: str
    port: PortKey
    ip: IPAddress
    owner: Located
    own: IPv4Address | None = None


Groups = Tracked[Group, tuple[FarEnd, ...]]
Siblings = Mapping[tuple[Domain, str, IPAddress], Sibling]


def twins_of(view: View) -> Groups:
    return twins(groups(kernel_hosts(view)))


def siblings_of(view: View) -> Siblings:
    return siblings(twins_of(view), view.bindings)


def group_of(end: FarEnd | None) -> Group | None:
    if end is None or end.located.link is None or not end.located.has_table:
        return None
    return end.located.domain, end.located.link.nsid


def by_port(ends: Iterable[FarEnd]) -> tuple[FarEnd, ...]:
    return tuple(sorted(ends, key=lambda one: (one.located.port, one.located.lladdr)))


def every_group(far_ends: FarEnds) -> Groups:
    found: dict[Group, list[FarEnd]] = {}
    for end in far_ends.values():
        if (group := group_of(end)) is not None:
            found.setdefault(group, []).append(end)
    return Tracked((group, by_port(ends)) for group, ends in found.items())


def next_groups(before: tuple[FarEnds], known: Groups, now: tuple[FarEnds]) -> Groups:
    for place in changed(before[0], now[0]):
        old, new = before[0].get(place), now[0].get(place)
        for group in {group_of(old), group_of(new)} - {None}:
            assert group is not None
            ends = [e for e in known.get(group, ()) if e.located.lladdr != place[1]]
            if new is not None and group_of(new) == group:
                ends.append(new)
            known = updated(known, group, by_port(ends) or None)
    return known


groups = Step(every_group, next_groups)


def every_twin(grouped: Groups) -> Groups:
    return Tracked((key, ends) for key, ends in grouped.items() if len(ends) > 1)


def next_twins(before: tuple[Groups], known: Groups, now: tuple[Groups]) -> Groups:
    for key in changed(before[0], now[0]):
        ends = now[0].get(key, ())
        known = updated(known, key, ends if len(ends) > 1 else None)
    return known


twins = Step(every_twin, next_twins)


@remember_last
def siblings(several: Groups, bindings: tuple[Fixed, ...]) -> Siblings:
    """What the operator has given to somebody is not settled but enforced."""
    given = {fixed.ip for fixed in bindings if fixed.vlan == 0}
    return {
        (domain, one.lladdr, one.ip): one
        for (domain, _), ends in several.items()
        for one in between(ends[:NICS_MAX])
        if one.ip not in given
    }


def between(ends: tuple[FarEnd, ...]) -> Iterator[Sibling]:
    for speaker, owner in permutations(ends, 2):
        own = {row.ip for row in speaker.addresses}
        for row in owner.addresses[:IPS_MAX]:
            if row.ip not in own:
                yield Sibling(
                    speaker.located.lladdr,
                    speaker.located.port,
                    row.ip,
                    owner.located,
                    own_address(speaker, row),
                )


def own_address(speaker: FarEnd, other: Address) -> IPv4Address | None:
    """What arp_announce=2 would choose: an address of the target's subnet, or any."""
    mine = [r.ip for r in speaker.addresses if isinstance(r.ip, IPv4Address)]
    net = ip_network((other.ip, other.prefixlen), strict=False)
    return next((ip for ip in mine if ip in net), mine[0] if mine else None)


# --- what was heard -----------------------------------------------------------------

Stations = Tracked[StationKey, Station]
Locations = Tracked[Place, Located]
Holders = Tracked[Holding, Holder]


def every_location(
    shape: Fabric,
    far_ends: FarEnds,
    ports: Ports,
    stations: Stations,
) -> Locations:
    """One port for each station of a domain: the kernel's word, else the latest."""
    heard: dict[Place, list[Station]] = {}
    for station in stations.values():
        place = place_of(shape, station.key)
        if place is not None:
            heard.setdefault(place, []).append(station)
    found = (
        (place, located(shape, ports, place, heard.get(place, ()), far_ends.get(place)))
        for place in {**heard, **far_ends}
    )
    return Tracked((place, where) for place, where in found if where is not None)


def next_locations(
    before: tuple[Fabric, FarEnds, Ports, Stations],
    known: Locations,
    now: tuple[Fabric, FarEnds, Ports, Stations],
) -> Locations | None:
    shape, far_ends, ports, stations = now
    if shape is not before[0]:
        return None
    keys = set(changed(before[3], stations))
    if moved := changed(before[2], ports):
        keys.update(key for key, row in stations.items() if row.port in moved)
    places = {place for key in keys if (place := place_of(shape, key)) is not None}
    for place in places | changed(before[1], far_ends):
        heard = heard_at(shape, stations, place)
        where = located(shape, ports, place, heard, far_ends.get(place))
        known = updated(known, place, where)
    return known


def place_of(shape: Fabric, key: StationKey) -> Place | None:
    island = shape.islands.get(key.datapath_id)
    return None if island is None else (Domain(island, key.vlan), key.lladdr)


def heard_at(shape: Fabric, stations: Stations, place: Place) -> Iterator[Station]:
    (island, vlan), lladdr = place
    for datapath_id in members(shape).get(island, ()):
        station = stations.get(StationKey(datapath_id, vlan, lladdr))
        if station is not None:
            yield station


@remember_last
def members(shape: Fabric) -> Mapping[int, tuple[int, ...]]:
    """The switches of each island."""
    grouped: dict[int, tuple[int, ...]] = {}
    for datapath_id, island in shape.islands.items():
        grouped[island] = (*grouped.get(island, ()), datapath_id)
    return grouped


def located(
    shape: Fabric,
    ports: Ports,
    place: Place,
    heard: Iterable[Station],
    end: FarEnd | None,
) -> Located | None:
    """Where a station is.

    heard  what it has said at all switches of its island
    """
    latest = max(
        (one for one in heard if may_be_at(shape, ports, one.port)),
        key=lambda one: (one.heard_at, one.port),
        default=None,
    )
    if end is not None:
        return replace(end.located, station=latest) if latest else end.located
    if latest is None:
        return None
    return Located(*place, latest.port, Origin.HEARD, None, latest)


def may_be_at(shape: Fabric, ports: Ports, at: PortKey) -> bool:
    port = ports.get(at)
    return port is not None and port.up and at not in shape.uplinks


located_stations = Step(every_location, next_locations)


@remember_last
def full_ports(crowds: Map[PortKey, int], limit: int) -> frozenset[PortKey]:
    return frozenset(key for key, count in crowds.items() if count >= limit)


# --- what the guard needs to know of others -----------------------------------------


def every_placed(
    shape: Fabric, located: Locations, bindings: tuple[Fixed, ...]
) -> frozenset[Place]:
    return frozenset(p for p in configured_places(shape, bindings) if p in located)


def next_placed(
    before: tuple[Fabric, Locations, tuple[Fixed, ...]],
    known: frozenset[Place],
    now: tuple[Fabric, Locations, tuple[Fixed, ...]],
) -> frozenset[Place] | None:
    shape, located, bindings = now
    if shape is not before[0] or bindings is not before[2]:
        return None
    moved = changed(before[1], located) & configured_places(shape, bindings)
    there = frozenset(place for place in moved if place in located)
    return (known - moved) | there if moved else known


@remember_last
def configured_places(shape: Fabric, bindings: tuple[Fixed, ...]) -> frozenset[Place]:
    return frozenset(
        (Domain(island, fixed.vlan), fixed.lladdr)
        for fixed in bindings
        for island in members(shape)
    )


placed = Step(every_placed, next_placed)


def every_unheld(shape: Fabric, held: Holders, trusted: Trust) -> frozenset[Holding]:
    return frozenset(one for one in listed(shape, trusted) if one not in held)


def next_unheld(
    before: tuple[Fabric, Holders, Trust],
    known: frozenset[Holding],
    now: tuple[Fabric, Holders, Trust],
) -> frozenset[Holding] | None:
    shape, held, trusted = now
    if shape is not before[0] or trusted is not before[2]:
        return None
    moved = changed(before[1], held) & listed(shape, trusted)
    free = frozenset(holding for holding in moved if holding not in held)
    return (known - moved) | free if moved else known


@remember_last
def listed(shape: Fabric, trusted: Trust) -> frozenset[Holding]:
    """What the kernel lists behind closed ports."""
    return frozenset(
        (Domain(shape.islands[port.datapath_id], 0), ip)
        for port, closed in trusted.closed.items()
        for ip in closed.ips
    )


unheld = Step(every_unheld, next_unheld)


def every_contest(held: Holders) -> frozenset[Holding]:
    return frozenset(key for key, row in held.items() if len(row.candidates) > 1)


def next_contest(
    before: tuple[Holders], known: frozenset[Holding], now: tuple[Holders]
) -> frozenset[Holding]:
    moved = changed(before[0], now[0])
    rows = ((key, now[0].get(key)) for key in moved)
    found = frozenset(key for key, row in rows if row and len(row.candidates) > 1)
    return (known - moved) | found if moved & known or found else known


contested = Step(every_contest, next_contest)


# --- who holds an address -----------------------------------------------------------


def every_holder(
    shape: Fabric,
    far_ends: FarEnds,
    located: Locations,
    bindings: tuple[Fixed, ...],
) -> Holders:
    given = by_lladdr(bindings)
    rivals: dict[Holding, list[Candidate]] = {}
    for place, where in located.items():
        for ip, candidate in candidates(place, where, far_ends, given):
            rivals.setdefault((place[0], ip), []).append(candidate)
    return Tracked(
        ((domain, ip), judge(domain, ip, ones)) for (domain, ip), ones in rivals.items()
    )


def next_holders(
    before: tuple[Fabric, FarEnds, Locations, tuple[Fixed, ...]],
    known: Holders,
    now: tuple[Fabric, FarEnds, Locations, tuple[Fixed, ...]],
) -> Holders | None:
    shape, far_ends, located, bindings = now
    if shape is not before[0] or bindings is not before[3]:
        return None
    given = by_lladdr(bindings)
    places = changed(before[2], located) | changed(before[1], far_ends)
    claims: dict[Holding, list[Candidate]] = {}
    for place in places:
        for ip, _ in candidates(place, before[2].get(place), before[1], given):
            claims.setdefault((place[0], ip), [])
        for ip, candidate in candidates(place, located.get(place), far_ends, given):
            claims.setdefault((place[0], ip), []).append(candidate)
    for holding, mine in claims.items():
        row = known.get(holding)
        domain, ip = holding
        others = [
            one
            for one in (row.candidates if row else ())
            if (domain, one.lladdr) not in places
        ]
        ones = [*others, *mine]
        known = updated(known, holding, judge(domain, ip, ones) if ones else None)
    return known


located_holders = Step(every_holder, next_holders)


@remember_last
def by_lladdr(
    bindings: tuple[Fixed, ...],
) -> Mapping[tuple[int, str], tuple[Fixed, ...]]:
    """What the configuration gives to a station of a VLAN."""
    given: dict[tuple[int, str], tuple[Fixed, ...]] = {}
    for fixed in bindings:
        key = (fixed.vlan, fixed.lladdr)
        given[key] = (*given.get(key, ()), fixed)
    return given


def candidates(
    place: Place,
    where: Located | None,
    far_ends: FarEnds,
    given: Mapping[tuple[int, str], tuple[Fixed, ...]],
) -> Iterator[tuple[IPAddress, Candidate]]:
    """The addresses that a station may hold; of no other station anything is asked."""
    if where is None:
        return
    (_, vlan), lladdr = place
    end = far_ends.get(place)
    if end is not None:
        at = end.located.port
        for address in end.addresses:
            yield (
                address.ip,
                Candidate(lladdr, at, Origin.KERNEL, router=end.router),
            )
    if where.station is not None:
        yield from heard_claims(where, where.station, end)
    for fixed in given.get((vlan, lladdr), ()):
        if not is_silent(where, fixed.ip):
            router = router_of(where, end, fixed.ip)
            yield (
                fixed.ip,
                Candidate(lladdr, where.port, Origin.CONFIGURED, router=router),
            )


def is_silent(where: Located, ip: IPAddress) -> bool:
    """It has not answered when it was asked; whoever vouches for it cannot know."""
    if where.has_table or where.station is None:
        return False
    return any(one.ip == ip for one in where.station.silent)


def heard_claims(
    where: Located, station: Station, end: FarEnd | None
) -> Iterator[tuple[IPAddress, Candidate]]:
    """A station's own word.  Where the kernel has its address table, that decides: an
    address that is not in it (any more) is not vouched for."""
    in_kernel = {address.ip for address in end.addresses} if end else set()
    for claim in station.claims:
        if claim.ip not in in_kernel:
            yield (
                claim.ip,
                Candidate(
                    where.lladdr,
                    where.port,
                    Origin.HEARD if claim.leased_until is None else Origin.DHCP,
                    vouched=not where.has_table,
                    confirmed_at=claim.confirmed_at,
                    router=claim.router,
                    leased_until=claim.leased_until,
                    is_beside=claim.ip.version == 4 and is_beside(where, claim),
                ),
            )


def is_beside(where: Located, claim: Claim) -> bool:
    """DHCP has leased another address to the same station."""
    return claim.leased_until is None and bool(where.leases)


def router_of(where: Located, end: FarEnd | None, ip: IPAddress) -> bool | None:
    """Whom the operator vouches for is a host until somebody says otherwise."""
    if end is not None and where.has_table:
        return end.router
    claims = where.station.claims if where.station else ()
    return next((claim.router for claim in claims if claim.ip == ip), False)


def judge(domain: Domain, ip: IPAddress, rivals: list[Candidate]) -> Holder:
    """The strongest wins.  Equally strong and different: nobody is answered for,
    the question goes to all of them."""
    ranked = tuple(sorted(rivals, key=strength))
    best = ranked[0]
    if not best.vouched:
        reason = f"the kernel's own table of {best.lladdr} does not list it"
    elif is_contested(ranked):
        reason = "two stations claim it: " + ", ".join(
            sorted({c.lladdr for c in ranked if c.origin == best.origin and c.vouched})
        )
    else:
        reason = ""
    return Holder(domain, ip, ranked, reason)


def strength(candidate: Candidate) -> tuple[object, ...]:
    return (
        not candidate.vouched,
        -candidate.origin,
        -(candidate.confirmed_at or 0.0),
        candidate.port,
        candidate.lladdr,
    )


def is_contested(ranked: tuple[Candidate, ...]) -> bool:
    best = ranked[0]
    return any(
        other.vouched and other.origin == best.origin and other.lladdr != best.lladdr
        for other in ranked[1:]
    )


# --- who stands between -------------------------------------------------------------

Named = Mapping[Proxy, frozenset[PortKey]]
Meant = Map[tuple[Proxy, Domain], Map[str, PortKey]]  # by link-layer address


@remember_last
def promiscuous(
    proxies: tuple[Proxy, ...],
    ports: Ports,
    bridges: Mapping[int, Bridge],
) -> Named:
    private = (rule for rule in proxies if rule.mode == PRIVATE)
    return {
        rule: named(ports, bridges, rule, (*rule.promiscuous, rule.port))
        for rule in private
    }


@remember_last
def middle_ports(
    proxies: tuple[Proxy, ...],
    ports: Ports,
    bridges: Mapping[int, Bridge],
) -> Named:
    """Where to look for who stands between, by the rules that name it; all ports if a
    rule names it by its link-layer address."""
    rules = (rule for rule in proxies if rule.mode in (INTERPOSE, PRIVATE))
    return {
        rule: named(ports, bridges, rule, (rule.port,)) if rule.port else frozenset()
        for rule in rules
        if rule.lladdr or rule.port
    }


def named(
    ports: Ports,
    bridges: Mapping[int, Bridge],
    rule: Proxy,
    names: tuple[str, ...],
) -> frozenset[PortKey]:
    return frozenset(
        key
        for key, port in ports.items()
        if port.ifname in names
        and rule.bridge in ("", name_of(ports, bridges, key.datapath_id))
    )


def every_meant(where: Locations, rules: Named) -> Meant:
    """The stations that rules mean."""
    found: Meant = Map()
    return with_meant(found, where, rules, where) if rules else found


def next_meant(
    before: tuple[Locations, Named], known: Meant, now: tuple[Locations, Named]
) -> Meant | None:
    where, rules = now
    if rules is not before[1]:
        return None
    places = changed(before[0], where) if rules else ()
    return with_meant(known, where, rules, places)


def with_meant(
    known: Meant, where: Locations, rules: Named, places: Iterable[Place]
) -> Meant:
    for domain, lladdr in places:
        row = where.get((domain, lladdr))
        for rule, ports in rules.items():
            before = known.get((rule, domain), NONE_MEANT)
            after = before.delete(lladdr) if lladdr in before else before
            if row is not None and is_meant(rule, row, ports):
                after = after.set(lladdr, row.port)
            if after != before:
                key = (rule, domain)
                known = known.set(key, after) if after else known.delete(key)
    return known


NONE_MEANT: Map[str, PortKey] = Map()

meant = Step(every_meant, next_meant)


def is_meant(rule: Proxy, where: Located, ports: frozenset[PortKey]) -> bool:
    if rule.vlan not in (None, where.domain.vlan) or has_fallen_silent(where):
        return False
    return where.lladdr == rule.lladdr if rule.lladdr else where.port in ports


def has_fallen_silent(where: Located) -> bool:
    """It was only heard, and none of its addresses has answered when it was asked."""
    said = where.station
    if where.shown is not None or said is None:
        return False
    return bool(said.silent) and not said.claims


@remember_last
def middles(found: Meant) -> Middles:
    return {key: middle(key[0], there) for key, there in found.items()}


def middle(rule: Proxy, there: Map[str, PortKey]) -> Middle:
    lladdr, *others = sorted(there)
    if others:
        names = ", ".join((lladdr, *others))
        return Middle(missing=f"several stations are at port {rule.port}: {names}")
    return Middle(lladdr, there[lladdr])
