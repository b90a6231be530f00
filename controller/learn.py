"""Fold one event into the view."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar, cast

from immutables import Map

from controller.events import (
    ArpSeen,
    Binding,
    BridgesSeen,
    DhcpSeen,
    Event,
    FrameSeen,
    KernelChanged,
    KernelFact,
    KernelKey,
    KernelSynced,
    NdSeen,
    PortChanged,
    PortGone,
    SwitchGone,
    SwitchReady,
)
from flows.chains import Chain, Way, chains, is_live
from flows.fabric import fabric_of
from flows.locations import heard_at
from flows.memo import remember_last, same
from flows.parties import Domain, is_unicast, members
from flows.shown import FarEnds, kernel_hosts
from flows.tracked import Draft, Tracked, changed, updated
from flows.twins import siblings_of
from flows.view import (
    INFINITY,
    NEIGHBORS_MAX,
    OWN_NAMESPACE,
    Ability,
    Address,
    AddressKey,
    Adjacency,
    Claim,
    Fixed,
    Flooding,
    Interface,
    IPAddress,
    Link,
    LinkKey,
    Namespace,
    NamespaceKey,
    Neighbor,
    NeighborKey,
    Port,
    PortKey,
    Router,
    RouterKey,
    Shaper,
    ShaperKey,
    Silence,
    Station,
    StationKey,
    View,
)
from flows.vlans import Members, membership_at, memberships

ECHO = 5.0  # seconds in which what was heard is not taken down again

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
Counts = TypeVar("Counts", Tracked[PortKey, int], Map[PortKey, int])
KernelChange = tuple[KernelKey, KernelFact | None]


def learn(view: View, event: Event, now: float) -> View:
    """The next view.  `now` is seconds on the caller's monotonic clock."""
    match event:
        case ArpSeen():
            return from_arp(view, event, now)
        case NdSeen():
            return from_nd(view, event, now)
        case FrameSeen():
            return from_frame(view, event, now)
        case SwitchReady():
            return from_switch(view, event)
        case SwitchGone():
            return from_departure(view, event)
        case PortChanged(port):
            return with_ports(view, [port])
        case PortGone():
            return without_ports(view, {PortKey(event.datapath_id, event.port_no)})
        case KernelSynced():
            return from_kernel_picture(view, event)
        case KernelChanged():
            return from_kernel_changes(view, event)
        case BridgesSeen():
            return from_bridges(view, event)
        case _:
            return view


# --- packets ------------------------------------------------------------------------


def from_frame(view: View, seen: FrameSeen, now: float) -> View:
    key = StationKey(seen.datapath_id, seen.vlan, seen.eth_src)
    if is_no_news(view, key, seen.in_port, None, now):
        return view
    return without_echoes(place(view, key, seen.in_port, now), [key])


def from_arp(view: View, heard: ArpSeen, now: float) -> View:
    """RFC 826 merges the sender of every ARP packet, request or reply alike.

    An RFC 5227 probe has no sender protocol address: it places the station, and says
    nothing about who holds an address.
    """
    key, ip = sender(view, heard)
    if is_no_news(view, key, heard.in_port, ip, now):
        return view
    view = place(view, key, heard.in_port, now)
    if ip is not None:
        view = claim(view, key, ip, now)
    return without_echoes(view, [key])


def sender(view: View, heard: ArpSeen) -> tuple[StationKey, IPAddress | None]:
    """Who says it, and the address that is learned from it."""
    key = StationKey(heard.datapath_id, heard.vlan, heard.sha)
    ip = heard.spa if is_unicast(heard.spa) else None
    return key, None if ip is None or is_siblings(view, key, ip) else ip


def is_no_news_until(view: View, asked: ArpSeen | NdSeen) -> float:
    """When something would be learned from the same question, if the view stays."""
    said = sender(view, asked) if isinstance(asked, ArpSeen) else speaker(asked)
    key, ip = said
    return no_news_until(view, key, asked.in_port, ip)


def from_nd(view: View, heard: NdSeen, now: float) -> View:
    """A solicitation tells who its source is, an advertisement who its target is.

    Duplicate address detection (RFC 4862) has no source: it places the station only.
    """
    key, ip = speaker(heard)
    is_same = heard.router in (None, router_of(view, key, ip))
    if is_same and is_no_news(view, key, heard.in_port, ip, now):
        return view
    view = place(view, key, heard.in_port, now)
    if ip is not None:
        view = claim(view, key, ip, now, heard.router)
    return without_echoes(view, [key])


def speaker(heard: NdSeen) -> tuple[StationKey, IPAddress | None]:
    """Who says it, and the address that is learned from it."""
    key = StationKey(heard.datapath_id, heard.vlan, heard.eth_src)
    return key, heard.ip if is_unicast(heard.ip) else None


def router_of(view: View, key: StationKey, ip: IPAddress | None) -> bool | None:
    """What the station has said of itself as the holder of this address."""
    station = view.stations.get(key)
    claims = station.claims if station else ()
    return next((claim.router for claim in claims if claim.ip == ip), None)


def is_no_news(
    view: View, key: StationKey, port_no: int, ip: IPAddress | None, now: float
) -> bool:
    """The same was heard a moment ago, or the kernel states it.  Then the view stays
    the same object, and nothing is computed from it again."""
    return now < no_news_until(view, key, port_no, ip)


def no_news_until(
    view: View, key: StationKey, port_no: int, ip: IPAddress | None
) -> float:
    """Minus infinity if it is news."""
    if is_stated(view, key, port_no, ip):
        return math.inf
    known = view.stations.get(key)
    if known is None or known.port_no != port_no:
        return -math.inf
    if ip is None:
        return known.heard_at + ECHO
    said = (claim.confirmed_at for claim in known.claims if claim.ip == ip)
    return min(known.heard_at, next(said, -math.inf)) + ECHO


def is_siblings(view: View, key: StationKey, ip: IPAddress) -> bool:
    """Another interface of the same host has the address, and answers for it."""
    if not (view.nics.arp_ignore or view.nics.arp_announce):
        return False
    several = siblings_of(view)
    return bool(several) and (domain_of(view, key), key.lladdr, ip) in several


def is_stated(view: View, key: StationKey, port_no: int, ip: IPAddress | None) -> bool:
    """The kernel shows this station at this port, with this address."""
    shown = kernel_hosts(view).get((domain_of(view, key), key.lladdr))
    if shown is None or shown.located.port != PortKey(key.datapath_id, port_no):
        return False
    return ip is None or ip in {address.ip for address in shown.addresses}


def domain_of(view: View, key: StationKey) -> Domain:
    islands = fabric_of(view).islands
    return Domain(islands.get(key.datapath_id, key.datapath_id), key.vlan)


def place(view: View, key: StationKey, port_no: int, now: float) -> View:
    """A station was heard at a port."""
    station = placed(view, key, port_no, now)
    return view if station is None else moved(view, station)


def placed(view: View, key: StationKey, port_no: int, now: float) -> Station | None:
    """What is known of a station that was heard at a port.  The latest place is
    believed, unless the kernel shows the station elsewhere; nothing is learned on a
    port to another switch: None."""
    at = PortKey(key.datapath_id, port_no)
    if not may_teach(view, key, at):
        return None
    known = known_as(view, key)
    if is_crowded(view, at) and at not in {station.port for station in known}:
        return None
    claims = {claim.ip: claim for station in known for claim in station.claims}
    silent = {one.ip: one for station in known for one in station.silent}
    for fixed in given(view.bindings).get((key.vlan, key.lladdr), ()):
        if fixed.ip not in silent:  # the operator's word counts while its holder lives
            claims.setdefault(fixed.ip, Claim(fixed.ip, now, router=False))
    known_silent = tuple(one for one in silent.values() if one.ip not in claims)
    return Station(*key, port_no, now, tuple(claims.values()), known_silent)


def moved(view: View, station: Station) -> View:
    """It is known there, and nowhere else."""
    at = station.datapath_id
    known = known_as(view, station.key) if len(neighbors(view, at)) > 1 else ()
    view = forget(view, (one for one in known if one.datapath_id != at))
    return put(view, station)


@remember_last
def given(
    bindings: tuple[Fixed, ...],
) -> Mapping[tuple[int, str], tuple[Fixed, ...]]:
    found: dict[tuple[int, str], tuple[Fixed, ...]] = {}
    for fixed in bindings:
        key = (fixed.vlan, fixed.lladdr)
        found[key] = (*found.get(key, ()), fixed)
    return found


def may_teach(view: View, key: StationKey, at: PortKey) -> bool:
    port = view.ports.get(at)
    if port is None or not has_carrier(view, port):
        return False
    shape = fabric_of(view)
    if at in shape.uplinks or at in view.untried:
        return False
    if not any(membership_at(members_of(view), at).hears(key.vlan)):
        return False  # it has said so before the port's VLANs were others
    domain = Domain(shape.islands[key.datapath_id], key.vlan)
    shown = kernel_hosts(view).get((domain, key.lladdr))
    if shown is None:
        return not is_deserted(chains(view.interfaces, view.links), at)
    return shown.located.port == at


def has_carrier(view: View, port: Port) -> bool:
    """The kernel tells of it before PORT_STATUS does, and before or after the packet: a
    host announces itself as soon as it can (RFC 5227, 2.3), and its last words may
    arrive when it is dead.  What is learned early counts when the port is up."""
    row = view.interfaces.get(port.key)
    link = view.links.get(LinkKey(OWN_NAMESPACE, row.ifindex)) if row else None
    return port.up if link is None else not is_dead(link)


def known_as(view: View, key: StationKey) -> list[Station]:
    """What is known of this station at any switch that `key`'s switch can reach."""
    found = (
        view.stations.get(StationKey(datapath_id, key.vlan, key.lladdr))
        for datapath_id in neighbors(view, key.datapath_id)
    )
    return [station for station in found if station is not None]


def neighbors(view: View, datapath_id: int) -> tuple[int, ...]:
    """The switches that this one can reach, and itself; none if it is gone, and a
    packet of it is all that is left."""
    shape = fabric_of(view)
    island = shape.islands.get(datapath_id)
    return () if island is None else members(shape)[island]


def is_crowded(view: View, at: PortKey) -> bool:
    return view.crowds.get(at, 0) >= view.limits.stations_per_port


def is_bound(view: View, station: Station) -> bool:
    """One more address is more than is kept of the stations at its port."""
    before = view.stations.get(station.key)
    is_counted = before is not None and before.port_no == station.port_no
    more = station.bound - (before.bound if before and is_counted else 0)
    return view.bound.get(station.port, 0) + more >= view.limits.bindings_per_port


def no_room(view: View, station: Station, ip: IPAddress) -> str:
    """Why an address of a known station is not kept; "" if it is."""
    if any(claim.ip == ip for claim in station.claims):
        return ""
    if len(station.claims) >= view.limits.addresses_per_station:
        return "a station has as many as are kept"
    is_new = all(one.ip != ip for one in station.silent)
    return (
        "a port has as many as are kept" if is_new and is_bound(view, station) else ""
    )


def claim(
    view: View, key: StationKey, ip: IPAddress, now: float, router: bool | None = None
) -> View:
    """A known station says that it holds an address, and maybe what it is."""
    station = view.stations.get(key)
    if station is None:
        return view
    after = claimed(view, station, Claim(ip, now, router))
    return view if after is station else put(view, after)


def claimed(view: View, station: Station, said: Claim) -> Station:
    """A station with one more claim; the same one, if no more are kept.  Who does not
    say whether it is a router, and until when, has said it before."""
    ip, router, until = said.ip, said.router, said.leased_until
    if no_room(view, station, ip):
        return station
    before = next((row for row in rows_of(station) if row.ip == ip), None)
    others = tuple([claim for claim in station.claims if claim.ip != ip])
    room = view.limits.addresses_per_station - len(others) - 1
    if router is None and isinstance(before, Claim):
        router = before.router
    if until is None and before is not None:
        until = before.leased_until
    silent = latest([one for one in station.silent if one.ip != ip], room)
    claims = (*others, Claim(ip, said.confirmed_at, router, until))
    return replace(station, claims=claims, silent=silent)


def leased_until(station: Station, ip: IPAddress) -> float | None:
    return next((row.leased_until for row in rows_of(station) if row.ip == ip), None)


def rows_of(station: Station | None) -> Iterator[Claim | Silence]:
    """All that it has said, be it long ago."""
    if station is not None:
        yield from station.claims
        yield from station.silent


# --- leases -------------------------------------------------------------------------


def from_dhcp(view: View, seen: DhcpSeen, now: float) -> View:
    """What a server grants or refuses, and what a client gives back.  Who may say so
    the caller knows."""
    key = home(view, seen)
    if key is None:
        return view
    if seen.message == "ack":
        for ip, seconds in seen.addresses:
            view = lease(view, key, ip, seconds, now)
    elif seen.message == "nak":
        view = without_leases(view, key, lambda ip: ip.version == 4)
    elif seen.message in ("release", "decline"):
        given = {ip for ip, _ in seen.addresses}
        view = without_leases(view, key, lambda ip: ip in given)
    return view


def home(view: View, seen: DhcpSeen) -> StationKey | None:
    """The station that it is about, where it is known; None if it was never heard, or
    the kernel has its address table, which knows better."""
    at = seen.frame
    key = StationKey(at.datapath_id, at.vlan, seen.client)
    known = known_as(view, key)
    shown = kernel_hosts(view).get((domain_of(view, key), key.lladdr))
    if shown is not None and shown.located.has_table:
        return None
    if known:
        return max(known, key=lambda one: one.heard_at).key
    return key._replace(datapath_id=shown.located.port.datapath_id) if shown else None


def lease(view: View, key: StationKey, ip: IPAddress, seconds: int, now: float) -> View:
    """An address is the station's until then; 0 seconds end it (RFC 8415, 18.2.10)."""
    if not is_unicast(ip):
        return view
    if seconds == 0:
        return without_leases(view, key, lambda one: one == ip)
    shown = kernel_hosts(view).get((domain_of(view, key), key.lladdr))
    if key not in view.stations and shown is not None:  # a guest that was never heard
        view = place(view, key, shown.located.port.port_no, now)
    station = view.stations.get(key)
    if station is None:
        return view
    if not any(claim.ip == ip for claim in station.claims):
        view = claim(view, key, ip, now)
    until = INFINITY if seconds == 0xFFFFFFFF else math.floor(now + seconds)
    return with_lease(view, key, ip, float(until))


def with_lease(view: View, key: StationKey, ip: IPAddress, until: float | None) -> View:
    station = view.stations.get(key)
    if station is None:
        return view
    return put(
        view,
        replace(
            station,
            claims=tuple(
                replace(c, leased_until=until) if c.ip == ip else c
                for c in station.claims
            ),
            silent=tuple(
                replace(c, leased_until=until) if c.ip == ip else c
                for c in station.silent
            ),
        ),
    )


def without_leases(
    view: View, key: StationKey, is_over: Callable[[IPAddress], bool]
) -> View:
    """Leased addresses that are its no more, also where it has fallen silent."""
    station = view.stations.get(key)
    if station is None:
        return view
    claims = tuple(c for c in station.claims if not (is_leased(c) and is_over(c.ip)))
    silent = tuple(c for c in station.silent if not (is_leased(c) and is_over(c.ip)))
    if (claims, silent) == (station.claims, station.silent):
        return view
    return put(view, replace(station, claims=claims, silent=silent))


def is_leased(row: Claim | Silence) -> bool:
    return row.leased_until is not None


def disclaim(view: View, key: StationKey, ip: IPAddress) -> View:
    """A claim that another has taken over."""
    station = view.stations.get(key)
    if station is None:
        return view
    kept = tuple(c for c in station.claims if c.ip != ip)
    return put(view, replace(station, claims=kept))


def fall_silent(view: View, key: StationKey, ip: IPAddress, now: float) -> View:
    """A claim that nobody confirmed in time: kept in mind, together with the place."""
    station = view.stations.get(key)
    if station is None:
        return view
    claims = tuple(c for c in station.claims if c.ip != ip)
    earlier = (one for one in station.silent if one.ip != ip)
    until = leased_until(station, ip)
    room = view.limits.addresses_per_station - len(claims)
    silent = latest((*earlier, Silence(ip, now, until)), room)
    return put(view, replace(station, claims=claims, silent=silent))


def latest(silences: Iterable[Silence], room: int) -> tuple[Silence, ...]:
    some = tuple(silences)
    return some[max(0, len(some) - room) :]


def without_old_silences(view: View, key: StationKey, before: float) -> View:
    station = view.stations.get(key)
    if station is None or not any(one.since <= before for one in station.silent):
        return view
    kept = tuple(one for one in station.silent if one.since > before)
    return put(view, replace(station, silent=kept))


def recover(
    view: View, key: StationKey, bindings: Iterable[Binding], at: float
) -> View:
    """Believe again what flows of an earlier life of this controller say of a station.

    at  when they count as confirmed: long enough ago to be checked at once
    """
    before = station = view.stations.get(key)
    for one in bindings:
        if station is None:
            station = placed(view, key, one.in_port, at)
        if station is not None and one.ip and station.port_no == one.in_port:
            said = Claim(one.ip, at, one.router, one.leased_until)
            station = claimed(view, station, said)
    if station is None or station is before:
        return view
    return without_echoes(moved(view, station), [key])


def recover_all(
    view: View, told: Iterable[tuple[StationKey, Sequence[Binding]]], at: float
) -> View:
    """The same of many; all tables are replaced once."""
    stations, crowds, bound = view.stations, view.crowds, view.bound
    drafts = stations.draft(), crowds.draft(), Draft(bound)
    draft = with_stations(view, *(cast(Any, one) for one in drafts))
    fresh = Fresh(view, at)
    for key, ones in told:
        station = fresh.station(draft, key, ones)
        if station is None:
            draft = recover(draft, key, ones, at)
        else:
            draft = put(draft, station)
    of_stations, of_crowds, of_bound = drafts
    return with_stations(
        view,
        stations.after(of_stations),
        crowds.after(of_crowds),
        of_bound.finish(),
    )


class Fresh:
    """Stations that nothing else is known of, nor of who else they might be: so they
    are what their flows say.  Of others `recover` says what to make of them.

    at  when they count as confirmed
    """

    def __init__(self, view: View, at: float) -> None:
        self._view, self._at = view, at
        self._shape = fabric_of(view)
        self._shown, self._given = kernel_hosts(view), given(view.bindings)
        self._teaches: dict[tuple[PortKey, int], bool] = {}

    def station(
        self, view: View, key: StationKey, ones: Sequence[Binding]
    ) -> Station | None:
        port_no = ones[0].in_port
        at = PortKey(key.datapath_id, port_no)
        if (
            view.stations.get(key) is not None
            or self._is_shown(key)
            or (key.vlan, key.lladdr) in self._given
            or not self._is_taught_by(key, at)
            or is_crowded(view, at)
        ):
            return None
        claims = [
            Claim(one.ip, self._at, one.router) for one in ones if one.ip is not None
        ]
        if any(one.in_port != port_no or one.leased_until for one in ones):
            return None
        if len(claims) > 1 and len({claim.ip for claim in claims}) < len(claims):
            return None
        station = Station(*key, port_no, self._at, tuple(claims))
        most = view.limits
        is_many = len(claims) > most.addresses_per_station
        room = most.bindings_per_port - (view.bound.get(at) or 0)
        return None if is_many or len(claims) > room else station

    def _is_shown(self, key: StationKey) -> bool:
        if not self._shown:
            return False
        return (domain_of(self._view, key), key.lladdr) in self._shown

    def _is_taught_by(self, key: StationKey, at: PortKey) -> bool:
        """Where nobody is shown, and which is the only switch of its island."""
        found = self._teaches.get((at, key.vlan))
        if found is None:
            island = self._shape.islands.get(key.datapath_id)
            is_alone = island is not None and len(members(self._shape)[island]) == 1
            nobody = key._replace(lladdr="")
            found = is_alone and may_teach(self._view, nobody, at)
            self._teaches[at, key.vlan] = found
        return found


def without_echoes(view: View, keys: Iterable[StationKey]) -> View:
    """Each fact once: what the kernel states itself need not be kept as hearsay."""
    hosts = kernel_hosts(view)
    if not hosts:
        return view
    islands = fabric_of(view).islands
    for key in keys:
        station = view.stations.get(key)
        domain = Domain(islands.get(key.datapath_id, key.datapath_id), key.vlan)
        shown = hosts.get((domain, key.lladdr))
        if station is not None and shown is not None:
            stated = {address.ip for address in shown.addresses}
            view = without_claims(view, station, stated)
    return view


def without_claims(view: View, station: Station, stated: set[IPAddress]) -> View:
    kept = tuple(c for c in station.claims if c.ip not in stated)
    silent = tuple(one for one in station.silent if one.ip not in stated)
    if not kept and not silent:
        return forget(view, [station])
    if (kept, silent) == (station.claims, station.silent):
        return view
    return put(view, replace(station, claims=kept, silent=silent))


def put(view: View, station: Station) -> View:
    key, at, count = station.key, station.port, station.bound
    before = view.stations.get(key)
    crowds, bound = view.crowds, view.bound
    if before is None or before.port_no != station.port_no:
        if before is not None:
            crowds = counted(crowds, before.port, -1)
            bound = counted(bound, before.port, -before.bound)
        crowds = counted(crowds, at, +1)
        bound = counted(bound, at, count)
    else:
        bound = counted(bound, at, count - before.bound)
    return with_stations(view, view.stations.set(key, station), crowds, bound)


def with_stations(
    view: View,
    stations: Tracked[StationKey, Station],
    crowds: Tracked[PortKey, int],
    bound: Map[PortKey, int],
) -> View:
    """The same view, if these are drafts that it has already."""
    if same((stations, crowds, bound), (view.stations, view.crowds, view.bound)):
        return view
    return view.with_stations(stations, crowds, bound)


def forget(view: View, stations: Iterable[Station]) -> View:
    known, crowds, bound = view.stations, view.crowds, view.bound
    for station in stations:
        known = known.delete(station.key)
        crowds = counted(crowds, station.port, -1)
        bound = counted(bound, station.port, -station.bound)
    return with_stations(view, known, crowds, bound)


def counted(counts: Counts, port: PortKey, difference: int) -> Counts:
    if not difference:
        return counts
    count = (counts.get(port) or 0) + difference
    return counts.set(port, count) if count > 0 else counts.delete(port)


# --- switches -----------------------------------------------------------------------


def noted(view: View, row: Flooding) -> View:
    """What a switch does with broadcasts."""
    floods = updated(view.floods, row.datapath_id, row)
    return view if floods is view.floods else replace(view, floods=floods)


def joined(view: View, row: Adjacency) -> View:
    """Two ports are the ends of a cable: who was heard there is somewhere else."""
    adjacencies = view.adjacencies.set(row.key, row)
    return without_strays(view, replace(view, adjacencies=adjacencies))


# --- ports --------------------------------------------------------------------------


def from_switch(view: View, ready: SwitchReady) -> View:
    gone = {key for key in view.ports if key.datapath_id == ready.datapath_id} - {
        port.key for port in ready.ports
    }
    return with_ports(without_ports(view, gone), ready.ports)


def able(view: View, datapath_id: int, greatest_meter: int) -> View:
    """What the switch says that it can do."""
    ability = Ability(datapath_id, greatest_meter)
    if view.abilities.get(datapath_id) == ability:
        return view
    return replace(view, abilities=view.abilities.set(datapath_id, ability))


def from_departure(view: View, gone: SwitchGone) -> View:
    """A switch of this host goes on working, and its ports are seen by other means.
    A foreign one takes its ports along; its flows will tell when it is back."""
    if gone.datapath_id in view.bridges:
        return view
    return without_switch(view, gone.datapath_id)


def without_switch(view: View, datapath_id: int) -> View:
    mine = {key for key in view.ports if key.datapath_id == datapath_id}
    if datapath_id in view.abilities:
        view = replace(view, abilities=view.abilities.delete(datapath_id))
    view = without_ports(view, mine)
    return replace(view, floods=view.floods.without(datapath_id))


def with_ports(view: View, rows: Iterable[Port]) -> View:
    """Stations die with the carrier, and when another interface takes the number."""
    known, ports, lost = view.ports, view.ports, set[PortKey]()
    for port in rows:
        before = known.get(port.key)
        if before == port:
            continue
        ports = ports.set(port.key, port)
        if before is not None and (not port.up or before.ifname != port.ifname):
            lost.add(port.key)
    if ports is known:
        return view
    after = without_strays(view, replace(view, ports=ports))
    return without_stations_at(after, lost)


def without_ports(view: View, gone: set[PortKey]) -> View:
    gone = {key for key in gone if key in view.ports}
    if not gone:
        return view
    view = without_stations_at(view, gone)
    ports = view.ports
    for key in gone:
        ports = ports.delete(key)
    return replace(view, ports=ports)


def without_stations_at(view: View, ports: Set[PortKey]) -> View:
    if not any(view.crowds.get(port) for port in ports):
        return view
    return without_stations(view, lambda station: station.port in ports)


def without_stations(view: View, is_gone: Callable[[Station], bool]) -> View:
    return forget(view, [row for row in view.stations.values() if is_gone(row)])


def without_strays(before: View, after: View) -> View:
    """What was heard on a port before it was known to lead to another switch."""
    old = fabric_of(before).uplinks
    new = fabric_of(after).uplinks
    return without_stations_at(after, set(new) - set(old))


def without_former_vlans(before: View, after: View) -> View:
    """What was heard on a port while it was of other VLANs: whoever is there is heard
    anew, in the domain that their frames are of now.

    Before OVSDB has told of a port for the first time its VLANs were not others but
    unknown, as when flows of an earlier life have told who is there.
    """
    old, new = members_of(before), members_of(after)
    if old is new:
        return after
    moved = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    if not any(after.crowds.get(key) for key in moved):
        return after

    def is_former(one: Station) -> bool:
        now = membership_at(new, one.port).hears(one.vlan)
        if one.port not in before.interfaces:
            return not any(now)
        return membership_at(old, one.port).hears(one.vlan) != now

    return without_stations(after, lambda one: one.port in moved and is_former(one))


def members_of(view: View) -> Members:
    shape = fabric_of(view)
    return memberships(shape, view.interfaces)


# --- the kernel and OVSDB -----------------------------------------------------------


def from_kernel_picture(view: View, picture: KernelSynced) -> View:
    links = {f.key: f for f in picture.facts if isinstance(f, Link)}
    addresses = {f.key: f for f in picture.facts if isinstance(f, Address)}
    namespaces = {f.key: f for f in picture.facts if isinstance(f, Namespace)}
    rows = (f for f in picture.facts if isinstance(f, Neighbor))
    neighbors = {f.key: f for f in islice(rows, NEIGHBORS_MAX)}
    routers = {f.key: f for f in picture.facts if isinstance(f, Router)}
    shapers = {f.key: f for f in picture.facts if isinstance(f, Shaper)}
    lost = (key for key in view.links if key not in links)
    changes = [*((key, None) for key in lost), *links.items()]
    after = replace(
        view,
        links=renewed(view.links, links),
        addresses=renewed(view.addresses, addresses),
        namespaces=renewed(view.namespaces, namespaces),
        neighbors=renewed(view.neighbors, neighbors),
        routers=renewed(view.routers, routers),
        shapers=renewed(view.shapers, shapers),
    )
    return settled(view, after, changes)


def renewed(table: Tracked[K, V], rows: Mapping[K, V]) -> Tracked[K, V]:
    """These rows and no others; the same object if nothing changed: see flows.memo."""
    for key in [key for key in table if key not in rows]:
        table = table.delete(key)
    for key, row in rows.items():
        table = updated(table, key, row)
    return table


def from_kernel_changes(view: View, event: KernelChanged) -> View:
    links, addresses, namespaces = view.links, view.addresses, view.namespaces
    neighbors, routers, shapers = view.neighbors, view.routers, view.shapers
    for key, fact in event.changes:
        match key:
            case LinkKey():
                links = updated(links, key, cast("Link | None", fact))
            case AddressKey():
                addresses = updated(addresses, key, cast("Address | None", fact))
            case NamespaceKey():
                namespaces = updated(namespaces, key, cast("Namespace | None", fact))
            case NeighborKey():
                if key in neighbors or len(neighbors) < NEIGHBORS_MAX:
                    neighbors = updated(neighbors, key, cast("Neighbor | None", fact))
            case RouterKey():
                routers = updated(routers, key, cast("Router | None", fact))
            case ShaperKey():
                shapers = updated(shapers, key, cast("Shaper | None", fact))
    after = replace(
        view,
        links=links,
        addresses=addresses,
        namespaces=namespaces,
        neighbors=neighbors,
        routers=routers,
        shapers=shapers,
    )
    return settled(view, after, event.changes)


def settled(before: View, after: View, changes: Iterable[KernelChange]) -> View:
    """What was heard, now that the kernel says something else; neighbor tables and
    names of namespaces are no reason to look."""
    if before.links is after.links and before.addresses is after.addresses:
        return after
    hosts, behind = kernel_hosts(before), chains(before.interfaces, before.links)
    shape = fabric_of(before)
    after = without_dead_carriers(without_strays(before, after), changes)
    after = without_departed(after, hosts, behind)
    if fabric_of(after) is not shape:
        return without_echoes(after, after.stations)
    places = changed(hosts, kernel_hosts(after))
    heard = (one for place in places for one in heard_at(shape, after.stations, place))
    return without_echoes(after, [station.key for station in heard])


def without_dead_carriers(view: View, changes: Iterable[KernelChange]) -> View:
    """netlink tells of a lost carrier some milliseconds before PORT_STATUS does."""
    ports = ports_by_ifindex(view.interfaces)
    dead: set[PortKey] = set()
    for key, fact in changes:
        if isinstance(key, LinkKey) and key.nsid == OWN_NAMESPACE:
            port = ports.get(key.ifindex)
            if port is not None and is_dead(fact):
                dead.add(port)
    return without_stations_at(view, dead)


def is_dead(fact: KernelFact | None) -> bool:
    return not (isinstance(fact, Link) and fact.up and fact.lower_up)


def without_departed(
    view: View, hosts: FarEnds, behind: Tracked[PortKey, Chain]
) -> View:
    """Behind a Linux bridge the port's own carrier tells nothing: a station goes with
    the interfaces that led to it, and everybody when the bridge has no other port.

    hosts, behind  what the kernel showed until now
    """
    now = chains(view.interfaces, view.links)
    moved = (port for port in changed(behind, now) if is_deserted(now, port))
    empty = {port for port in moved if not is_deserted(behind, port)}
    view = without_stations_at(view, empty)
    still = kernel_hosts(view)
    for place in changed(hosts, still):
        host = None if place in still else hosts.get(place)
        shown = host.located.shown if host else None
        if host and shown and is_cut(shown.way, view):
            key = StationKey(host.located.port.datapath_id, place[0].vlan, place[1])
            view = forget(view, known_as(view, key))
    return view


def is_cut(way: Way, view: View) -> bool:
    now = (view.links.get(link.key) for link in way)
    return not all(link is not None and is_live(link) for link in now)


def is_deserted(behind: Tracked[PortKey, Chain], port: PortKey) -> bool:
    chain = behind.get(port)
    return chain is not None and chain.is_deserted


@remember_last
def ports_by_ifindex(interfaces: Tracked[PortKey, Interface]) -> dict[int, PortKey]:
    return {row.ifindex: key for key, row in interfaces.items() if row.ifindex}


def from_bridges(view: View, seen: BridgesSeen) -> View:
    bridges = {row.datapath_id: row for row in seen.bridges if row.datapath_id}
    interfaces = {row.key: row for row in seen.interfaces}
    deleted = [dpid for dpid in view.bridges if dpid not in bridges]
    after = replace(
        view,
        bridges=renewed(view.bridges, bridges),
        interfaces=renewed(view.interfaces, interfaces),
    )
    after = without_strays(view, after)
    after = without_former_vlans(view, after)
    for datapath_id in deleted:
        after = without_switch(after, datapath_id)
    return without_echoes(after, after.stations)
