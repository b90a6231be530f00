"""Where devices of the kernel that are ends of overlays send (`flows.overlays`).

Flows output to such a device, and it looks up the station in a table of its own: for
each station that is beyond, the end by which its switch is reached; for broadcasts, and
for who is not there, all ends that take them.  The device knows no VLANs: of a MAC that
is behind two ends it is not told, so that both get its frames.

A switch follows later than the device.  So the table has also those for whom frames
leave by another port now: what is still sent here goes to one end, and not to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeGuard

from flows.locations import Locations
from flows.memo import Step
from flows.network import Network
from flows.overlays import Segment
from flows.parties import Place
from flows.tracked import Tracked, changed, updated
from flows.view import PortKey
from flows.ways import Led, Way, port_of
from flows.ways import Ways as AllWays

ANYBODY = "00:00:00:00:00:00"  # broadcasts, and who is not in the table

Addresses = frozenset[str]
Ways = Tracked[str, Addresses]  # by lladdr


@dataclass(frozen=True, slots=True)
class Ahead:
    """What there is beyond one device.

    leads     datapath_id -> underlay address of the end by which it is reached
    everybody  addresses of the ends that take broadcasts
    """

    port: PortKey
    device: str
    leads: Mapping[int, str]
    everybody: Addresses


class Beyond(NamedTuple):
    """What one device is told.

    places  lladdr -> where it is, as far as that is beyond, and the address that is
            to be used for it
    ways    lladdr -> the address, if there is one
    """

    places: Tracked[str, tuple[tuple[Place, str], ...]]
    ways: Ways


def aheads(known: Network) -> Iterator[Ahead]:
    """Every device of this host that is an end of an overlay, and works."""
    for segment in known.fabric.segments.values():
        for port, device in segment.led.items():
            if port in segment.live:
                yield ahead(known, segment, port, device)


def ahead(known: Network, segment: Segment, port: PortKey, device: str) -> Ahead:
    chosen = known.ways.get(port.datapath_id, {})
    others = {end: to for end, to in segment.others(port) if end in segment.live}
    own = {end.datapath_id: to for end, to in others.items()}
    leads = {
        goal: address
        for goal, way in chosen.items()
        if (
            address := address_of(way, port.port_no)
            or own.get(goal)
            or through_another(known.ways, others, goal)
        )
    }
    takes = frozenset(to for end, to in others.items() if end in known.fabric.tree)
    return Ahead(port, device, leads, takes)


def through_another(ways: AllWays, others: Mapping[PortKey, str], goal: int) -> str:
    """The first end whose switch reaches it without the overlay; "" if none does."""
    for end, address in others.items():
        way = ways.get(end.datapath_id, {}).get(goal)
        if way and end.port_no not in map(port_of, way.ports):
            return address
    return ""


def address_of(way: Way, port_no: int) -> str:
    """The end that is used if a frame leaves by this port: "" if it never does."""
    outs = (*way.ports, way.detour)
    return next((by.tun_dst for by in outs if leaves(by, port_no)), "")


def leaves(by: object, port_no: int) -> TypeGuard[Led]:
    return isinstance(by, Led) and by.port_no == port_no


def every_way(where: Locations, there: Ahead) -> Beyond:
    places: dict[str, dict[Place, str]] = {}
    for place, one in where.items():
        if address := there.leads.get(one.port.datapath_id):
            places.setdefault(place[1], {})[place] = address
    rows = {lladdr: in_order(some.items()) for lladdr, some in places.items()}
    ways = {lladdr: to for lladdr, some in rows.items() if (to := one_way(some))}
    ways |= {ANYBODY: there.everybody} if there.everybody else {}
    return Beyond(Tracked(rows), Tracked(ways))


def next_ways(
    before: tuple[Locations, Ahead], known: Beyond, now: tuple[Locations, Ahead]
) -> Beyond | None:
    """Stations come, go and move; what is ahead stays, most often."""
    where, there = now
    if there != before[1]:
        return None
    moved: dict[str, set[Place]] = {}
    for place in changed(before[0], where):
        moved.setdefault(place[1], set()).add(place)
    places, ways = known
    for lladdr, some in moved.items():
        rows = dict(places.get(lladdr, ()))
        for place in some:
            one = where.get(place)
            address = there.leads.get(one.port.datapath_id) if one else None
            rows.pop(place, None)
            rows |= {place: address} if address else {}
        told = in_order(rows.items())
        places = updated(places, lladdr, told or None)
        ways = updated(ways, lladdr, one_way(told) or None)
    return Beyond(places, ways)


def in_order(some: Iterable[tuple[Place, str]]) -> tuple[tuple[Place, str], ...]:
    return tuple(sorted(some))


def one_way(some: Iterable[tuple[Place, str]]) -> Addresses:
    """None, if it is behind several ends."""
    addresses = frozenset(address for _, address in some)
    return addresses if len(addresses) == 1 else frozenset()


def beyond() -> Step[Beyond]:
    """Of one device: its own, since it goes on from what it said last."""
    return Step(every_way, next_ways)
