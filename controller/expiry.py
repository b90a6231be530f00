"""Find out which of the things heard in packets still hold.

What the kernel shows needs no checking: it goes when the kernel says so.  A claim that
was only heard is checked when nobody has confirmed it for `max_age`:

1. Has the flow that lets its owner's ARP or ND pass counted anything since the last
   look?  Then the owner is alive, and nobody was disturbed.
2. Otherwise ask the owner, by a unicast probe (RFC 5227's, or a solicitation from an
   address of the controller's own, so that it teaches nobody anything of others).  Its
   reply is counted by the same flow and goes nowhere: no packet-in.
3. Three probes without an answer, a second apart (RFC 1122, 2.3.2.1 and RFC 4861, 10:
   MAX_UNICAST_SOLICIT, RETRANS_TIMER), and the claim is forgotten.

A station without claims is forgotten when its source flow counted nothing in `max_age`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from controller.learn import disclaim, forget, put
from flows import guard, nd_known, source
from flows.openflow import Flow, GotoTable
from flows.pipeline import TABLE_IDS
from flows.switch import ANSWERS
from flows.view import Claim, IPAddress, Station, StationKey, View

PROBES = 3  # MAX_UNICAST_SOLICIT
PATIENCE = 1.0  # seconds, RETRANS_TIMER
SWEEP = 1.0  # seconds between two looks for what is due


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: a claim, or (ip None) the station itself."""

    station: StationKey
    ip: IPAddress | None


@dataclass(frozen=True, slots=True)
class Check:
    """A check under way.

    cookie  of the flow whose packet_count tells
    count   packet_count when the check began; None until the switch has told it
    probes  sent so far
    due_at  when to look again
    """

    subject: Subject
    cookie: int
    count: int | None
    probes: int
    due_at: float


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask this station whether it holds this address."""

    station: Station
    ip: IPAddress


class Expiry:
    """The checks under way, bounded by the stations and claims of the view."""

    def __init__(self, max_age: float) -> None:
        self.max_age = max_age
        self.checks: dict[int, Check] = {}  # by cookie
        self._swept_at = float("-inf")

    def deadline(self, view: View) -> float | None:
        """When to call `due` again; None if nothing ages."""
        return self._swept_at + SWEEP if view.stations else None

    def due(
        self,
        view: View,
        now: float,
        contested: Callable[[], frozenset[Subject]] = frozenset,
    ) -> list[tuple[int, int]]:
        """(datapath_id, cookie) of the flows whose packet_count is wanted now.

        contested  subjects to check although they are not old: somebody contradicts
                   them; asked for only if it is time to look
        """
        if now < self._swept_at + SWEEP:
            return []
        self._swept_at, hurry = now, contested()
        self.checks = {
            cookie: check
            for cookie, check in self.checks.items()
            if is_current(view, check)
        }
        for station in view.stations.values():
            for subject, since in subjects(station):
                if now >= since + self.max_age or subject in hurry:
                    self._begin(station, subject, now)
        return [
            (check.subject.station.datapath_id, check.cookie)
            for check in self.checks.values()
            if check.due_at <= now
        ]

    def _begin(self, station: Station, subject: Subject, now: float) -> None:
        cookie = witness(station, subject.ip).cookie
        if cookie not in self.checks:
            self.checks[cookie] = Check(subject, cookie, None, 0, now)

    def counted(
        self, view: View, cookie: int, packets: int, now: float
    ) -> tuple[View, Probe | None]:
        """What a packet_count tells: the next view, and whom to ask."""
        check = self.checks.get(cookie)
        if check is None or not is_current(view, check):
            return view, None
        if check.count is not None and packets > check.count:
            del self.checks[cookie]
            return confirm(view, check.subject, now), None
        if self._is_over(check, now):
            del self.checks[cookie]
            return give_up(view, check.subject), None
        patience = PATIENCE if check.subject.ip else self.max_age
        self.checks[cookie] = replace(
            check, count=packets, probes=check.probes + 1, due_at=now + patience
        )
        return view, probe(view, check.subject)

    def _is_over(self, check: Check, now: float) -> bool:
        if check.due_at > now:  # an answer to an earlier question
            return False
        return check.probes >= (PROBES if check.subject.ip else 1)


def subjects(station: Station) -> Iterator[tuple[Subject, float]]:
    """What there is to check of a station, and since when it is unconfirmed."""
    for claim in station.claims:
        yield Subject(station.key, claim.ip), claim.confirmed_at
    if not station.claims:
        yield Subject(station.key, None), station.heard_at


def is_current(view: View, check: Check) -> bool:
    """Nobody has moved, or become a router: then another flow would count."""
    if not exists(view, check.subject):
        return False
    station = view.stations[check.subject.station]
    return witness(station, check.subject.ip).cookie == check.cookie


def exists(view: View, subject: Subject) -> bool:
    station = view.stations.get(subject.station)
    if station is None:
        return False
    if subject.ip is None:
        return not station.claims
    return any(claim.ip == subject.ip for claim in station.claims)


def witness(station: Station, ip: IPAddress | None) -> Flow:
    """The flow that counts what this station sends, or says of this address."""
    if isinstance(ip, IPv4Address):
        return guard.known(
            TABLE_IDS["guard"],
            station.port_no,
            station.vlan,
            station.lladdr,
            ip,
            GotoTable(TABLE_IDS[ANSWERS]),
        )
    if isinstance(ip, IPv6Address):
        return nd_known.known(
            TABLE_IDS["nd_known"],
            station.port_no,
            station.vlan,
            station.lladdr,
            ip,
            router_of(station, ip),
            GotoTable(TABLE_IDS[ANSWERS]),
        )
    return source.known(
        TABLE_IDS["source"],
        station.port_no,
        station.vlan,
        station.lladdr,
        GotoTable(TABLE_IDS["guard"]),
    )


def router_of(station: Station, ip: IPv6Address) -> bool | None:
    return next((claim.router for claim in station.claims if claim.ip == ip), None)


def probe(view: View, subject: Subject) -> Probe | None:
    if subject.ip is not None:
        return Probe(view.stations[subject.station], subject.ip)
    return None


def confirm(view: View, subject: Subject, now: float) -> View:
    station = view.stations[subject.station]
    return put(
        view,
        replace(
            station, heard_at=now, claims=tuple(confirmed(station, subject.ip, now))
        ),
    )


def confirmed(station: Station, ip: IPAddress | None, now: float) -> Iterable[Claim]:
    for claim in station.claims:
        yield replace(claim, confirmed_at=now) if claim.ip == ip else claim


def give_up(view: View, subject: Subject) -> View:
    if subject.ip is not None:
        return disclaim(view, subject.station, subject.ip)
    return forget(view, [view.stations[subject.station]])
