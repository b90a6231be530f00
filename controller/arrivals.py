"""Announce a station that has moved, to switches that are not ours.

Our own switches are told by flows.  A switch of others, behind one of our ports, goes
on sending to where it heard the station last, until it hears it elsewhere: for minutes,
if the station says nothing that is flooded.  So it hears from us what the station would
say, as hypervisors do for a guest that they move: an announcement from its address, by
each port behind which there may be such a switch, but not by the station's own.

That is said of those alone whom the kernel shows at their new place.  Who was heard
there has spoken for itself; and if it was a thief, nobody should help it.

Who was forgotten for a moment, as its port went away, has moved all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from controller.commands import SendPacket
from controller.defence import announced
from flows.loops import is_edge
from flows.network import Network
from flows.parties import Holder, Located, Origin, Place
from flows.shown import kernel_hosts
from flows.switch import prepared
from flows.tracked import Tracked, changed
from flows.view import IPAddress, PortKey, View
from flows.vlans import membership_at

Row = TypeVar("Row")

AGAIN = 1.0  # seconds until the same station is announced once more
AWAY = 60.0  # seconds that somebody is remembered who is nowhere
LEFT_MAX = 1024  # such, and those who were announced lately; the eldest is forgotten
PORTS_MAX = 64  # by which one is announced


class Arrivals:
    """Where everybody was, as far as that is not where he is."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._seen: Tracked[Place, Located] = Tracked()
        self._left: dict[Place, tuple[PortKey, float]] = {}  # until when it counts
        self._told: dict[Place, float] = {}

    def announcements(
        self, view: View, known: Network, now: float
    ) -> Iterator[SendPacket]:
        """By each port, for those that have moved since the last call."""
        before, self._seen = self._seen, known.located
        self._forget(now)
        for place in changed(before, known.located):
            where, was = known.located.get(place), before.get(place)
            if where is None:
                if was is not None:
                    keep(self._left, place, (was.port, now + AWAY))
                continue
            port, until = self._left.pop(place, (where.port, now))
            if was is not None:
                port, until = was.port, now
            is_move = port != where.port and now <= until
            is_fact = where.origin is Origin.KERNEL
            if is_move and is_fact and self._may(place, now):
                yield from self._announced(view, known, where)

    def _forget(self, now: float) -> None:
        """The eldest are the first."""
        while self._left and next(iter(self._left.values()))[1] < now:
            del self._left[next(iter(self._left))]
        while self._told and next(iter(self._told.values())) < now:
            del self._told[next(iter(self._told))]

    def _may(self, place: Place, now: float) -> bool:
        if now < self._told.get(place, now):
            return False
        keep(self._told, place, now + AGAIN)
        return True

    def _announced(
        self, view: View, known: Network, where: Located
    ) -> Iterator[SendPacket]:
        holder = min(held_by(view, known, where), key=by_version, default=None)
        if holder is None:
            return
        vlan = where.domain.vlan
        data = announced(where.lladdr, holder.ip, bool(holder.winner.router), vlan)
        for port in ports_of_others(view, known, where):
            self.counters["announcements of who has moved"] += 1
            yield SendPacket(*port, data, before=prepared(known, port, vlan))


def keep(table: dict[Place, Row], place: Place, row: Row) -> None:
    table.pop(place, None)
    table[place] = row
    if len(table) > LEFT_MAX:
        del table[next(iter(table))]


def by_version(holder: Holder) -> tuple[int, IPAddress]:
    return holder.ip.version, holder.ip


def held_by(view: View, known: Network, where: Located) -> Iterator[Holder]:
    """Addresses that are answered with its hardware address."""
    end = kernel_hosts(view).get((where.domain, where.lladdr))
    ips = [row.ip for row in end.addresses] if end else []
    ips += [claim.ip for claim in where.station.claims] if where.station else []
    for ip in ips:
        holder = known.holders.get((where.domain, ip))
        if holder and holder.answered and holder.winner.lladdr == where.lladdr:
            yield holder


def ports_of_others(view: View, known: Network, where: Located) -> Iterator[PortKey]:
    """Behind which there may be a switch that is not ours.  Where rules say how
    questions are answered, everybody is told by answers alone."""
    shape, vlan = known.fabric, where.domain.vlan
    found = (
        key
        for key in sorted(known.outward)
        if key != where.port
        and shape.islands.get(key.datapath_id) == where.domain.island
        and is_edge(view.ports.get(key), shape)
        and key not in known.loops
        and key not in known.held
        and not known.rules_at(key.datapath_id).rows
        and membership_at(known.vlans, key).sends(vlan)
    )
    return islice(found, PORTS_MAX)
