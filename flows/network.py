"""What follows from the view: who holds which address, and where it is attached.

The view states facts by the one who reported them; this module draws the conclusions,
in the order in which they depend on each other, and keeps none of them.  All tables of
the pipeline, `isat hosts` and `isat explain` read the same conclusions.

Who is believed, strongest first: the operator's configuration; the kernel's address
table of the interface behind a port; a station's own word in a packet; and, too weak to
be answered, what other interfaces have in their neighbor tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from typing import NamedTuple

from immutables import Map

from flows.chains import Chain, Speaker, chains
from flows.fabric import Fabric, fabric
from flows.memo import remember_last
from flows.trust import Trust, trust
from flows.view import (
    Address,
    AddressKey,
    Fixed,
    IPAddress,
    Link,
    LinkKey,
    Port,
    PortKey,
    Router,
    RouterKey,
    Station,
    StationKey,
    View,
)

TUNNELS = {"vxlan", "geneve", "gre", "erspan", "stt", "lisp", "gtpu"}


class Role(Enum):
    """What a port leads to."""

    EDGE = "edge"
    FABRIC = "fabric"
    TUNNEL = "tunnel"


class Origin(IntEnum):
    """Where a binding comes from; the greater, the stronger."""

    NEIGHBOR = 1
    HEARD = 2
    KERNEL = 3
    CONFIGURED = 4


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
    def has_table(self) -> bool:
        """The kernel has its address table, so that its own word adds nothing to it."""
        return self.shown is not None and not self.shown.is_guest


@dataclass(frozen=True, slots=True)
class Candidate:
    """One who may hold an address.

    vouched       believable at all: not contradicted by the kernel's own address table
    confirmed_at  seconds on the core's monotonic clock; None if it does not age
    router        of IPv6: what its advertisements say it is; None if nobody knows
    """

    lladdr: str
    port: PortKey
    origin: Origin
    vouched: bool = True
    confirmed_at: float | None = None
    router: bool | None = None


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


Place = tuple[Domain, str]
Holding = tuple[Domain, IPAddress]


@dataclass(frozen=True, slots=True)
class Network:
    """Every conclusion from one view.

    placed  configured holders of addresses that are located
    unheld  addresses that the kernel lists behind a closed port and nobody holds
    """

    fabric: Fabric
    located: Mapping[Place, Located]
    holders: Mapping[Holding, Holder]
    full: frozenset[PortKey]
    trust: Trust
    placed: frozenset[Place]
    unheld: frozenset[Holding]

    def domain(self, datapath_id: int, vlan: int) -> Domain:
        return Domain(self.fabric.islands.get(datapath_id, datapath_id), vlan)


def network(view: View) -> Network:
    shape = fabric(view.ports, view.interfaces, view.links)
    far_ends = kernel_hosts(view)
    located = located_stations(shape, far_ends, view.ports, view.stations)
    held, trusted = holders(shape, far_ends, located, view.bindings), trust(view)
    return Network(
        shape,
        located,
        held,
        full_ports(view.crowds, view.limits.stations_per_port),
        trusted,
        placed(shape, located, view.bindings),
        unheld(shape, held, trusted),
    )


def kernel_hosts(view: View) -> FarEnds:
    return kernel_stations(
        fabric(view.ports, view.interfaces, view.links),
        view.ports,
        chains(view.interfaces, view.links),
        view.addresses,
        routers_of(view.routers),
    )


def role(view: View, key: PortKey) -> Role:
    if key in fabric(view.ports, view.interfaces, view.links).uplinks:
        return Role.FABRIC
    row = view.interfaces.get(key)
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


FarEnds = Mapping[Place, FarEnd]


@remember_last
def kernel_stations(
    shape: Fabric,
    ports: Map[PortKey, Port],
    behind: Mapping[PortKey, Chain],
    addresses: Map[AddressKey, Address],
    routers: frozenset[LinkKey],
) -> FarEnds:
    """Hosts that need not say a word: the kernel shows all of the way to them."""
    table = by_interface(addresses)
    found: dict[Place, FarEnd] = {}
    for key, one in nearest_first(shape, ports, behind):
        domain = Domain(shape.islands[key.datapath_id], 0)
        # Two interfaces with one MAC in one domain: the nearest, the first port's.
        found.setdefault(
            (domain, one.lladdr),
            FarEnd(
                Located(domain, one.lladdr, key, Origin.KERNEL, one),
                () if one.is_guest else table.get(one.link.key, ()),
                one.link.key in routers,
            ),
        )
    return found


def nearest_first(
    shape: Fabric, ports: Map[PortKey, Port], behind: Mapping[PortKey, Chain]
) -> list[tuple[PortKey, Speaker]]:
    """Everybody behind a port that is up.  Who is root in a namespace can put as many
    interfaces as they like behind the one they were given, but never nearer."""
    edges = {key for key, port in ports.items() if port.up and key not in shape.uplinks}
    found = [
        (key, one) for key in behind.keys() & edges for one in behind[key].speakers
    ]
    return sorted(found, key=lambda item: (len(item[1].way), item[0]))


@remember_last
def routers_of(routers: Map[RouterKey, Router]) -> frozenset[LinkKey]:
    """Interfaces that forward IPv6; those whose settings nobody can read do not."""
    return frozenset(LinkKey(*key) for key, row in routers.items() if row.forwards)


@remember_last
def by_interface(
    addresses: Map[AddressKey, Address],
) -> Mapping[LinkKey, tuple[Address, ...]]:
    table: dict[LinkKey, tuple[Address, ...]] = {}
    for row in addresses.values():
        if row.usable and is_unicast(row.ip):
            key = LinkKey(row.nsid, row.ifindex)
            table[key] = (*table.get(key, ()), row)
    return table


def is_unicast(ip: IPAddress) -> bool:
    """Neither unspecified (RFC 5227's probe), nor loopback, nor a group's."""
    return not (ip.is_unspecified or ip.is_loopback or ip.is_multicast)


# --- what was heard -----------------------------------------------------------------


@remember_last
def located_stations(
    shape: Fabric,
    far_ends: FarEnds,
    ports: Map[PortKey, Port],
    stations: Map[StationKey, Station],
) -> Mapping[Place, Located]:
    """One port for each station of a domain: the kernel's word, else the latest."""
    located: dict[Place, Located] = {}
    for station in stations.values():
        port = ports.get(station.port)
        if port is None or not port.up or station.port in shape.uplinks:
            continue
        domain = Domain(shape.islands[station.datapath_id], station.vlan)
        place = (domain, station.lladdr)
        before = located.get(place)
        if before is None or is_later(station, before):
            located[place] = Located(
                domain, station.lladdr, station.port, Origin.HEARD, None, station
            )
    for place, end in far_ends.items():
        heard = located.get(place)
        located[place] = end.located
        if heard is not None:
            located[place] = replace(end.located, station=heard.station)
    return located


def is_later(station: Station, other: Located) -> bool:
    known = other.station
    return known is None or (station.heard_at, station.port) > (
        known.heard_at,
        known.port,
    )


@remember_last
def full_ports(crowds: Map[PortKey, int], limit: int) -> frozenset[PortKey]:
    return frozenset(key for key, count in crowds.items() if count >= limit)


@remember_last
def placed(
    shape: Fabric, located: Mapping[Place, Located], bindings: tuple[Fixed, ...]
) -> frozenset[Place]:
    islands = set(shape.islands.values())
    places = (
        (Domain(island, fixed.vlan), fixed.lladdr)
        for fixed in bindings
        for island in islands
    )
    return frozenset(place for place in places if place in located)


@remember_last
def unheld(
    shape: Fabric, held: Mapping[Holding, Holder], trusted: Trust
) -> frozenset[Holding]:
    listed = (
        (Domain(shape.islands[port.datapath_id], 0), ip)
        for port, closed in trusted.closed.items()
        for ip in closed.ips
    )
    return frozenset(holding for holding in listed if holding not in held)


# --- who holds an address -----------------------------------------------------------


@remember_last
def holders(
    shape: Fabric,
    far_ends: FarEnds,
    located: Mapping[Place, Located],
    bindings: tuple[Fixed, ...],
) -> Mapping[Holding, Holder]:
    claims: dict[Holding, list[Candidate]] = {}
    for domain, ip, candidate in candidates(shape, far_ends, located, bindings):
        claims.setdefault((domain, ip), []).append(candidate)
    return {
        (domain, ip): judge(domain, ip, rivals)
        for (domain, ip), rivals in claims.items()
    }


def candidates(
    shape: Fabric,
    far_ends: FarEnds,
    located: Mapping[Place, Located],
    bindings: tuple[Fixed, ...],
) -> Iterator[tuple[Domain, IPAddress, Candidate]]:
    for (domain, lladdr), end in far_ends.items():
        for address in end.addresses:
            yield (
                domain,
                address.ip,
                Candidate(lladdr, end.located.port, Origin.KERNEL, router=end.router),
            )
    for place, where in located.items():
        if where.station is not None:
            yield from heard_claims(where, where.station, far_ends.get(place))
    for fixed in bindings:
        for island in sorted(set(shape.islands.values())):
            domain = Domain(island, fixed.vlan)
            holder = located.get((domain, fixed.lladdr))
            if holder is not None:
                yield (
                    domain,
                    fixed.ip,
                    Candidate(
                        fixed.lladdr,
                        holder.port,
                        Origin.CONFIGURED,
                        router=router_of(holder, far_ends, fixed.ip),
                    ),
                )


def heard_claims(
    where: Located, station: Station, end: FarEnd | None
) -> Iterator[tuple[Domain, IPAddress, Candidate]]:
    """A station's own word.  Where the kernel has its address table, that decides: an
    address that is not in it (any more) is not vouched for."""
    in_kernel = {address.ip for address in end.addresses} if end else set()
    for claim in station.claims:
        if claim.ip not in in_kernel:
            yield (
                where.domain,
                claim.ip,
                Candidate(
                    where.lladdr,
                    where.port,
                    Origin.HEARD,
                    vouched=not where.has_table,
                    confirmed_at=claim.confirmed_at,
                    router=claim.router,
                ),
            )


def router_of(where: Located, far_ends: FarEnds, ip: IPAddress) -> bool | None:
    """Whom the operator vouches for is a host until somebody says otherwise."""
    end = far_ends.get((where.domain, where.lladdr))
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
