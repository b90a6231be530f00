"""Where stations are: by what was heard of them, and by what the kernel shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from flows.fabric import Fabric, Ports, regrouped
from flows.memo import Step
from flows.parties import Located, Origin, Place, domain, may_be_at, members
from flows.shown import FarEnd, FarEnds
from flows.tracked import Tracked, changed
from flows.view import (
    PortKey,
    Station,
    StationKey,
)

Stations = Tracked[StationKey, Station]
Locations = Tracked[Place, Located]


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
    keys, places = set(changed(before[3], stations)), set[Place]()
    anew = regrouped(before[0], shape) if shape is not before[0] else frozenset()
    if anew:
        keys.update(key for key in stations if shape.islands.get(key[0]) in anew)
        places = {place for place in known if place[0].island in anew}
    if moved := changed(before[2], ports):
        keys.update(key for key, row in stations.items() if row.port in moved)
    places |= {place for key in keys if (place := place_of(shape, key)) is not None}
    draft = known.draft()
    for place in places | changed(before[1], far_ends):
        heard = heard_at(shape, stations, place)
        where = located(shape, ports, place, heard, far_ends.get(place))
        draft.put(place, where, draft.get(place))
    return known.after(draft)


def place_of(shape: Fabric, key: StationKey) -> Place | None:
    island = shape.islands.get(key.datapath_id)
    return None if island is None else (domain(island, key.vlan), key.lladdr)


def heard_at(shape: Fabric, stations: Stations, place: Place) -> Iterator[Station]:
    (island, vlan), lladdr = place
    for datapath_id in members(shape).get(island, ()):
        station = stations.get(StationKey(datapath_id, vlan, lladdr))
        if station is not None:
            yield station


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
    ones = [one for one in heard if may_be_at(shape, ports, one.port)]
    if len(ones) > 1:
        ones.sort(key=lambda one: (one.heard_at, one.port))
    latest = ones[-1] if ones else None
    if end is not None:
        return replace(end.located, station=latest) if latest else end.located
    if latest is None:
        return None
    return Located(*place, latest.port, Origin.HEARD, None, latest)


located_stations = Step(every_location, next_locations)


Crowds = Tracked[PortKey, int]  # stations that were heard at each port


def every_full_port(crowds: Crowds, limit: int) -> frozenset[PortKey]:
    return frozenset(key for key, count in crowds.items() if count >= limit)


def next_full_ports(
    before: tuple[Crowds, int], known: frozenset[PortKey], now: tuple[Crowds, int]
) -> frozenset[PortKey] | None:
    crowds, limit = now
    if limit != before[1]:
        return None
    moved = changed(before[0], crowds)
    full = frozenset(key for key in moved if crowds.get(key, 0) >= limit)
    return known if known & moved == full else (known - moved) | full


full_ports = Step(every_full_port, next_full_ports)
