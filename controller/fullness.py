"""Who is at a limit, so that not everybody there is heard of.

A port with as many stations as are kept, and a station with as many addresses, pass in
silence.  Somebody there may hold what nobody is known to hold: so in the bridge domains
that are concerned, and in these alone, nobody is taken to be absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from controller.conflicts import port_in_words
from flows.guard import is_full
from flows.memo import Step
from flows.network import Network
from flows.parties import Domain
from flows.tracked import Tracked, changed
from flows.view import PortKey, Station, StationKey, View, switch_name

TOLD_MAX = 16  # warnings

Stations = Tracked[StationKey, Station]


def every_full(stations: Stations, limit: int) -> frozenset[StationKey]:
    return frozenset(key for key, row in stations.items() if is_full(row, limit))


def next_full(
    before: tuple[Stations, int],
    known: frozenset[StationKey],
    now: tuple[Stations, int],
) -> frozenset[StationKey] | None:
    if now[1] != before[1]:
        return None
    moved = changed(before[0], now[0])
    full = frozenset(key for key in moved if is_full(now[0].get(key), now[1]))
    return (known - moved) | full if moved & known or full else known


full_stations = Step(every_full, next_full)


def full_here(view: View) -> frozenset[StationKey]:
    """Stations with as many addresses as are kept."""
    return full_stations(view.stations, view.limits.addresses_per_station)


def is_deaf(view: View, known: Network, domain: Domain) -> bool:
    """Not everybody in this domain is heard of."""
    ports = (island_of(known, port) for port in known.full)
    stations = (known.domain(key.datapath_id, key.vlan) for key in full_here(view))
    return domain.island in ports or domain in stations


def island_of(known: Network, port: PortKey) -> int:
    """A port may be in each VLAN."""
    return known.fabric.islands.get(port.datapath_id, port.datapath_id)


def warnings(view: View, known: Network) -> Iterator[str]:
    """One for each port, and each domain with such stations, the first named."""
    found = [*about_ports(view, known), *about_stations(view, known)]
    yield from islice(found, TOLD_MAX)
    if len(found) > TOLD_MAX:
        yield f"{len(found) - TOLD_MAX} more places have as much as is kept of them"


def about_ports(view: View, known: Network) -> Iterator[str]:
    for port in sorted(known.full):
        where = switch_name(view, port.datapath_id) or f"{port.datapath_id:x}"
        yield (
            f"{where}: {SPONGE}, as {port_in_words(port, view)} has as many stations as"
            f" are kept; if all are right, raise limits.stations_per_port"
        )


def about_stations(view: View, known: Network) -> Iterator[str]:
    by_domain: dict[Domain, list[StationKey]] = {}
    for key in sorted(full_here(view)):
        domain = known.domain(key.datapath_id, key.vlan)
        by_domain.setdefault(domain, []).append(key)
    for domain, (first, *others) in sorted(by_domain.items()):
        where = switch_name(view, first.datapath_id) or f"{first.datapath_id:x}"
        vlan = f", VLAN {domain.vlan}" if domain.vlan else ""
        at = port_in_words(view.stations[first].port, view)
        more = f" and {len(others)} more have" if others else " has"
        yield (
            f"{where}{vlan}: {SPONGE}, as {first.lladdr} at {at}{more} as many"
            f" addresses as are kept; if all are right, raise"
            f" limits.addresses_per_station"
        )


SPONGE = "targets that do not answer are asked for all the same"
