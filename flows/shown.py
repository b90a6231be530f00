"""Hosts that the kernel shows behind ports, with the addresses that it lists."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flows.chains import Chain, Interfaces, Links, Speaker, chains
from flows.fabric import Adjacencies, Fabric, Overlays, Ports, Shapers, fabric
from flows.memo import Step, remember_arguments
from flows.parties import Domain, Located, Origin, Place, is_unicast, may_be_at, members
from flows.tracked import Tracked, changed, updated
from flows.trust import routers_of
from flows.view import (
    Address,
    AddressKey,
    LinkKey,
    PortKey,
    Router,
    RouterKey,
    View,
)
from flows.vlans import Members, membership_at, memberships, native_vlans


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
    shape: Fabric, ports: Ports, behind: Chains, of_vlans: Members
) -> Tracked[Place, tuple[Spoken, ...]]:
    """Who is behind ports that are up, the nearest first.  Who is root in a namespace
    can put as many interfaces as they like behind the one they were given, but never
    nearer."""
    found: dict[Place, list[Spoken]] = {}
    for port in behind:
        for place, one in speaking(shape, ports, behind, of_vlans, port):
            found.setdefault(place, []).append((port, one))
    return Tracked((place, nearest_first(ones)) for place, ones in found.items())


def next_speakers(
    before: tuple[Fabric, Ports, Chains, Members],
    known: Tracked[Place, tuple[Spoken, ...]],
    now: tuple[Fabric, Ports, Chains, Members],
) -> Tracked[Place, tuple[Spoken, ...]] | None:
    if now[0] is not before[0] or now[3] is not before[3]:
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
    shape: Fabric, ports: Ports, behind: Chains, of_vlans: Members, port: PortKey
) -> Iterator[tuple[Place, Speaker]]:
    chain, vlan = behind.get(port), membership_at(of_vlans, port).pvid
    if chain is not None and vlan is not None and may_be_at(shape, ports, port):
        domain = Domain(shape.islands[port.datapath_id], vlan)
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
    of_vlans: Members,
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
    Members,
]


def next_far_ends(before: Shown, known: FarEnds, now: Shown) -> FarEnds | None:
    shape, spoken, links, addresses, routers, of_vlans = now
    if shape is not before[0]:
        return None
    places = set(changed(before[1], spoken))
    for key in changed(before[3], addresses) | (before[4] ^ routers):
        if link := links.get(key):
            places |= {
                (Domain(island, vlan), link.lladdr)
                for island in members(shape)
                for vlan in native_vlans(of_vlans)
            }
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


def kernel_hosts(view: View) -> FarEnds:
    return hosts_of(
        view.ports,
        view.interfaces,
        view.links,
        view.adjacencies,
        view.overlays,
        view.shapers,
        view.addresses,
        view.routers,
    )


@remember_arguments
def hosts_of(
    ports: Ports,
    interfaces: Interfaces,
    links: Links,
    adjacencies: Adjacencies,
    overlays: Overlays,
    shapers: Shapers,
    addresses: Tracked[AddressKey, Address],
    routers: Tracked[RouterKey, Router],
) -> FarEnds:
    shape = fabric(ports, interfaces, links, adjacencies, overlays, shapers)
    behind = chains(interfaces, links)
    of_vlans = memberships(shape, interfaces)
    return kernel_stations(
        shape,
        speakers(shape, ports, behind, of_vlans),
        links,
        by_interface(addresses),
        routers_of(routers),
        of_vlans,
    )
