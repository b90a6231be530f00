"""How closely each port is guarded, and what the operator and the kernel have closed.

    learn    what is heard is believed, as far as nobody stronger says otherwise
    watch    the same, and who contradicts what is known is reported
    enforce  what contradicts is dropped in the switch, and reported

A port is closed if the kernel shows everybody who is behind it, with their address
tables: then nobody else can be there, and they hold nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import TypeVar

from flows.chains import Chain, chains
from flows.memo import Step, remember_last
from flows.tracked import Tracked, changed
from flows.view import (
    LOCAL_PORT,
    Address,
    AddressKey,
    Bridge,
    Fixed,
    Guard,
    IPAddress,
    LinkKey,
    Port,
    PortKey,
    Router,
    RouterKey,
    Service,
    View,
)

# Link-layer addresses that routers share: VRRP and CARP (RFC 9568, 7.3; the second for
# IPv6), HSRP 1, 2 and for IPv6, GLBP.  Whoever is master answers with them, so they
# move without anybody moving.
SHARED = (
    "00:00:5e:00:01:",
    "00:00:5e:00:02:",
    "00:00:0c:07:ac:",
    "00:00:0c:9f:f",
    "00:05:73:a0:0",
    "00:07:b4:00:",
)
ANYBODY = ""  # in the place of a link-layer address: whoever is behind the port

IPNetwork = IPv4Network | IPv6Network
T = TypeVar("T")


class Mode(StrEnum):
    """What is done at a port where somebody contradicts what is known."""

    LEARN = "learn"
    WATCH = "watch"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Closed:
    """Everybody behind a port, by the kernel's word; untagged frames only, of whatever
    VLAN these are.

    lladdrs  of the interfaces there
    ips      all addresses of their namespaces: Linux speaks with any of them
             (arp_announce 0, ip-sysctl)
    subnets  that the interfaces are in
    """

    lladdrs: frozenset[str]
    ips: frozenset[IPAddress]
    subnets: tuple[IPNetwork, ...]

    @property
    def ipv4(self) -> list[IPv4Address]:
        return sorted(ip for ip in self.ips if isinstance(ip, IPv4Address))

    @property
    def ipv6(self) -> list[IPv6Address]:
        return sorted(ip for ip in self.ips if isinstance(ip, IPv6Address))


@dataclass(frozen=True, slots=True)
class Trust:
    """modes       of ports that are not just learned from
    closed      those of them that are closed
    configured  who holds an address of a VLAN by the operator's word
    given       the same by VLAN and holder
    routers     (port, link-layer address, or ANYBODY) of who may say that it is one
    servers     ports behind which there are DHCP servers
    snoops      the operator has said behind which ports there are some
    confines    who has a lease has no other IPv4 address
    """

    modes: Mapping[PortKey, Mode]
    closed: Mapping[PortKey, Closed]
    configured: Mapping[tuple[int, IPAddress], str]
    given: Mapping[tuple[int, str], tuple[IPAddress, ...]]
    routers: frozenset[tuple[PortKey, str]]
    servers: frozenset[PortKey] = frozenset()
    snoops: bool = False
    confines: bool = False

    def mode(self, port: PortKey) -> Mode:
        return self.modes.get(port, Mode.LEARN)

    def is_shared(self, vlan: int, lladdr: str) -> bool:
        """Several routers speak with it, as the operator knows."""
        return is_shared(lladdr) and (vlan, lladdr) in self.given

    def is_confined(self, vlan: int, lladdr: str) -> bool:
        """The operator has said which IPv4 addresses it has.  In IPv6 every station has
        some that it makes itself (RFC 4862, RFC 8981)."""
        ips = self.given.get((vlan, lladdr), ())
        return any(isinstance(ip, IPv4Address) for ip in ips)

    def is_router(self, port: PortKey, lladdr: str) -> bool:
        return not self.routers.isdisjoint({(port, lladdr), (port, ANYBODY)})


def is_shared(lladdr: str) -> bool:
    return lladdr.startswith(SHARED)


def trust(view: View) -> Trust:
    modes = modes_of(view.guards, view.ports, view.bridges)
    behind = chains(view.interfaces, view.links) if modes else NO_CHAINS
    routers = routers_of(view.routers)
    place = (view.ports, view.bridges)
    offers = offers_of(view.services, *place) if modes else NO_OFFERS
    served = served_by(view.services, *place)
    confined = view.confine and bool(served)
    known = (view.addresses, view.bindings, routers, offers)
    return assembled(modes, behind, *known, served, confined)


@remember_last
def assembled(
    modes: Mapping[PortKey, Mode],
    behind: Mapping[PortKey, Chain],
    addresses: Tracked[AddressKey, Address],
    bindings: tuple[Fixed, ...],
    forwarding: frozenset[LinkKey],
    offers: Mapping[PortKey, bool],
    served: Mapping[PortKey, bool],
    confines: bool,
) -> Trust:
    chosen = {key: behind[key] for key in modes if key in behind}
    closed = {key: chain for key, chain in chosen.items() if is_closed(chain)}
    table = by_namespace(addresses) if closed else {}
    shut_ports = {key: shut(chain, table, forwarding) for key, chain in closed.items()}
    routers = frozenset(advertisers(chosen, forwarding, offers))
    given = by_holder(bindings)
    servers = frozenset(key for key, is_offered in served.items() if is_offered)
    return Trust(
        *(modes, shut_ports, by_address(bindings), given, routers),
        servers=servers,
        snoops=bool(served),
        confines=confines,
    )


@remember_last
def by_address(bindings: tuple[Fixed, ...]) -> Mapping[tuple[int, IPAddress], str]:
    return {(fixed.vlan, fixed.ip): fixed.lladdr for fixed in bindings}


@remember_last
def by_holder(
    bindings: tuple[Fixed, ...],
) -> Mapping[tuple[int, str], tuple[IPAddress, ...]]:
    given: dict[tuple[int, str], tuple[IPAddress, ...]] = {}
    for fixed in bindings:
        key = (fixed.vlan, fixed.lladdr)
        given[key] = (*given.get(key, ()), fixed.ip)
    return given


# --- routers ------------------------------------------------------------------------


def every_router(routers: Tracked[RouterKey, Router]) -> frozenset[LinkKey]:
    """Interfaces that forward IPv6; those whose settings nobody can read do not."""
    return frozenset(LinkKey(*key) for key, row in routers.items() if row.forwards)


def next_routers(
    before: tuple[Tracked[RouterKey, Router]],
    known: frozenset[LinkKey],
    now: tuple[Tracked[RouterKey, Router]],
) -> frozenset[LinkKey]:
    moved = changed(before[0], now[0])
    rows = ((LinkKey(*key), now[0].get(key)) for key in moved)
    those = frozenset(key for key, row in rows if row and row.forwards)
    gone = frozenset(LinkKey(*key) for key in moved) - those
    return (known - gone) | those if gone & known or those - known else known


routers_of = Step(every_router, next_routers)


def advertisers(
    behind: Mapping[PortKey, Chain],
    forwarding: frozenset[LinkKey],
    offers: Mapping[PortKey, bool],
) -> Iterator[tuple[PortKey, str]]:
    """Who may send router advertisements and redirects: whoever is behind a port of
    which the operator says so; else those whose interface forwards, by the kernel."""
    for key, is_offered in offers.items():
        if is_offered:
            yield key, ANYBODY
    for key, chain in behind.items():
        if key not in offers:
            for one in chain.speakers:
                if one.link.key in forwarding and not one.is_guest:
                    yield key, one.lladdr


NO_CHAINS: Mapping[PortKey, Chain] = {}
NO_OFFERS: Mapping[PortKey, bool] = {}


@remember_last
def offers_of(
    services: tuple[Service, ...],
    ports: Tracked[PortKey, Port],
    bridges: Tracked[int, Bridge],
) -> Mapping[PortKey, bool]:
    """Of which ports the operator says that there is a router, or there is none."""
    return offered("router", services, ports, bridges)


@remember_last
def served_by(
    services: tuple[Service, ...],
    ports: Tracked[PortKey, Port],
    bridges: Tracked[int, Bridge],
) -> Mapping[PortKey, bool]:
    """The same of DHCP servers."""
    return offered("dhcp", services, ports, bridges)


def offered(
    kind: str,
    services: tuple[Service, ...],
    ports: Tracked[PortKey, Port],
    bridges: Tracked[int, Bridge],
) -> Mapping[PortKey, bool]:
    rows = [row for row in services if row.kind == kind]
    if not rows:
        return NO_OFFERS
    chosen = {(row.bridge, row.port): row.is_offered for row in rows}
    found = {key: nearest(row, ports, bridges, chosen) for key, row in ports.items()}
    return {key: said for key, said in found.items() if said is not None}


# --- modes --------------------------------------------------------------------------

NO_MODES: Mapping[PortKey, Mode] = {}


@remember_last
def modes_of(
    guards: tuple[Guard, ...],
    ports: Tracked[PortKey, Port],
    bridges: Tracked[int, Bridge],
) -> Mapping[PortKey, Mode]:
    if not guards:
        return NO_MODES
    chosen = {(guard.bridge, guard.port): guard.mode for guard in guards}
    found = {key: nearest(row, ports, bridges, chosen) for key, row in ports.items()}
    guarded = (Mode.WATCH, Mode.ENFORCE)
    return {key: Mode(text) for key, text in found.items() if text in guarded}


def nearest(
    port: Port,
    ports: Tracked[PortKey, Port],
    bridges: Tracked[int, Bridge],
    chosen: Mapping[tuple[str, str], T],
) -> T | None:
    """The nearest that is written: for the port, for its bridge, for all."""
    row = bridges.get(port.datapath_id)
    local = ports.get(PortKey(port.datapath_id, LOCAL_PORT))
    bridge = row.name if row else local.ifname if local else ""
    places = ((bridge, port.ifname), (bridge, ""), ("", ""))
    return next((chosen[place] for place in places if place in chosen), None)


# --- what the kernel has closed -----------------------------------------------------


def is_closed(chain: Chain) -> bool:
    """Every end of the way is an interface with an address table that we see."""
    if chain.is_vague or chain.doors or not chain.speakers:
        return False
    seen = {one.link.key for one in chain.speakers if not one.is_guest}
    return all(way[-1].key in seen for way in chain.ends)


Addresses = Mapping[int, tuple[Address, ...]]


@remember_last
def by_namespace(addresses: Tracked[AddressKey, Address]) -> Addresses:
    table: dict[int, list[Address]] = {}
    for row in addresses.values():
        if not row.ip.is_loopback:
            table.setdefault(row.nsid, []).append(row)
    return {nsid: tuple(rows) for nsid, rows in table.items()}


def shut(chain: Chain, addresses: Addresses, forwarding: frozenset[LinkKey]) -> Closed:
    links = {one.link.key for one in chain.speakers}
    rows = [
        row for nsid in {key.nsid for key in links} for row in addresses.get(nsid, ())
    ]
    own = [row for row in rows if (row.nsid, row.ifindex) in links]
    routed = (row for row in own if (row.nsid, row.ifindex) in forwarding)
    return Closed(
        frozenset(one.lladdr for one in chain.speakers),
        frozenset((*(row.ip for row in rows), *anycast(subnets(routed)))),
        tuple(sorted(set(subnets(own)), key=lambda one: (one.version, one))),
    )


def anycast(subnets: Iterable[IPNetwork]) -> Iterator[IPAddress]:
    """A router answers for each of its subnets: RFC 4291, 2.6.1."""
    for subnet in subnets:
        if isinstance(subnet, IPv6Network):
            yield subnet.network_address


def subnets(rows: Iterable[Address]) -> Iterator[IPNetwork]:
    for row in rows:
        if 0 < row.prefixlen <= row.ip.max_prefixlen:
            yield ip_network((row.ip, row.prefixlen), strict=False)
