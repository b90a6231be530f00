"""Find out which of the things heard in packets still hold.

What the kernel shows needs no checking: it goes when the kernel says so.  A claim that
was only heard is

    CONFIRMED  its owner has given a sign of life, and not long ago
    PROBING    there was none for some time: it is asked
    SILENT     it has not answered: remembered, and not answered for (`flows.view`)

A sign of life is ARP or ND that states the binding.  It passes by one flow, whose
packet_count is read now and then: nobody is disturbed, and nothing reaches the
controller.  If it has not moved, the owner is asked by a unicast probe (RFC 5227's, or
a solicitation from an address of the controller's own, so that it teaches nobody
anything of others).  The reply is counted by the same flow and goes nowhere.

Three probes, a second apart (RFC 1122, 2.3.2.1 and RFC 4861, 10: MAX_UNICAST_SOLICIT,
RETRANS_TIMER), end within the configured time, counted from the last sign of life:

    |<------------------ silent_after ------------------>|
    last sign      look      look, probe  probe  probe  SILENT

A count that has moved says only that something came after the count before it was
asked for.  So that moment is taken for the last sign of life, never a later one.

A station without claims is forgotten when its source flow counted nothing for
`forget_after`, and with it what it was silent about.  One that has claims lives as long
as they do, and is not watched itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from heapq import heappop, heappush
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from controller.events import Binding
from controller.learn import fall_silent, forget, without_old_silences
from flows import guard, nd_known, source
from flows.openflow import Flow, GotoTable
from flows.pipeline import TABLE_IDS
from flows.switch import ANSWERS
from flows.view import Claim, IPAddress, Station, StationKey, View

PROBES = 3  # MAX_UNICAST_SOLICIT
PATIENCE = 1.0  # seconds, RETRANS_TIMER
SLACK = 1.0  # seconds for turns and answers of the switch, between look and verdict
SPREAD = 0.25  # of the time until a look, by key: who came together is not asked so
TICK = 0.02  # seconds between two turns that look
LOOKS_MAX = 64  # in one turn; the others wait for the next, and are counted
TAKEN_MAX = 256  # likewise, with those whose switch is away, and that need no look
OWED = 2.0  # seconds until a count that the switch has not told is asked for again
HURRY = 5.0  # seconds between looks at a claim that somebody contradicts
TRIM = 1024  # watches of what is gone that may pile up


Look = tuple[int, int]  # datapath_id and cookie of a flow whose count is wanted


class State(StrEnum):
    """How sure it is that a station still holds an address."""

    CONFIRMED = "confirmed"
    PROBING = "probing"
    SILENT = "silent"


class Subject(NamedTuple):
    """What is watched: a claim, or (ip None) a station that claims nothing."""

    station: StationKey
    ip: IPAddress | None


@dataclass(slots=True)
class Watch:
    """What is known of the life of a subject, beside the view.

    cookie      of the flow whose packet_count tells
    port_no, router   what that flow was computed from
    alive_at    the last sign of life came no earlier
    count       packet_count as it was last told; None until then
    counted_at  when that was asked for
    asked_at    when it was asked for again; None if it was told since
    probes      sent since the last sign of life
    due_at      when to look next
    is_over     it is watched no more
    """

    subject: Subject
    cookie: int
    port_no: int
    router: bool | None
    alive_at: float
    count: int | None
    counted_at: float
    asked_at: float | None = None
    probes: int = 0
    due_at: float = 0.0
    is_over: bool = False

    @property
    def flow(self) -> Look:
        return self.subject.station.datapath_id, self.cookie


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask this station whether it holds this address."""

    station: Station
    ip: IPAddress


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a packet_count led to.

    probe   a question to put
    silent  a station that has not answered, and the address
    """

    view: View
    probe: Probe | None = None
    silent: Probe | None = None


class Liveness:
    """Everything that was heard, by when it has to be looked at.

    A confirmation changes no conclusion, so it changes no view: only silence does.

    silent_after  seconds without a sign of life until nobody answers for a claim
    forget_after  seconds until a silent claim or a station is forgotten
    watches       by subject; what has left the view is dropped when its time comes
    """

    def __init__(self, silent_after: float, forget_after: float) -> None:
        self.silent_after = silent_after
        self.forget_after = forget_after
        self.watches: dict[Subject, Watch] = {}
        self.counters: Counter[str] = Counter()
        self._start = silent_after - PROBES * PATIENCE - SLACK
        self._asked: dict[Look, Watch] = {}  # whose packet_count is wanted
        self._agenda: list[tuple[float, int, Watch]] = []  # a heap
        self._entries = 0
        self._looked_at = float("-inf")
        self._trim_at = TRIM

    # --- who is watched -------------------------------------------------------------

    def watch(self, view: View, key: StationKey, *, is_news: bool = True) -> None:
        """A station was heard; it, or all that it claims, is watched from now on.

        is_news  it was heard just now, so that its flows are new and count from zero
        """
        station = view.stations.get(key)
        if station is None:
            return
        for subject, since in subjects(station):
            if subject not in self.watches:
                cookie = witness(station, subject.ip).cookie
                self._watch(station, subject, cookie, since, 0 if is_news else None)
        if len(self.watches) > self._trim_at:
            self._trim(view)

    def remember(
        self, view: View, key: StationKey, bindings: Iterable[Binding]
    ) -> None:
        """The same of a station that has flows already, which tell their cookies."""
        station = view.stations.get(key)
        if station is None:
            return
        left = dict(subjects(station))
        for one in bindings:
            is_its = one.in_port == station.port_no and one.leased_until is None
            if not is_its or one.router != router_of(station, one.ip):
                continue
            subject = Subject(key, one.ip)
            at = left.pop(subject, None)
            if at is not None and subject not in self.watches:
                self._watch(station, subject, one.cookie, at, None)
        if left:
            self.watch(view, key, is_news=False)  # what they do not tell of

    def _watch(
        self,
        station: Station,
        subject: Subject,
        cookie: int,
        since: float,
        count: int | None,
    ) -> None:
        router = router_of(station, subject.ip)
        self._begin(
            Watch(subject, cookie, station.port_no, router, since, count, since)
        )

    def _watch_if_bare(self, view: View, key: StationKey, since: float) -> None:
        """A station whose last claim is gone, which lived until then."""
        station = view.stations.get(key)
        if station is not None and not station.claims:
            subject = Subject(key, None)
            if subject not in self.watches:
                cookie = witness(station, None).cookie
                self._watch(station, subject, cookie, since, None)

    def _begin(self, one: Watch) -> None:
        self.watches[one.subject] = one
        self._plan(one, one.alive_at + self._pace(one) / 2)

    def _trim(self, view: View) -> None:
        """Stations that come and go faster than their time comes leave watches."""
        for one in [*self.watches.values()]:
            if found(view, one.subject) is None:
                self._end(one)
                self._watch_if_bare(view, one.subject.station, one.alive_at)
        self._agenda = [entry for entry in self._agenda if self._is_planned(entry)]
        self._agenda.sort()
        self._trim_at = TRIM + 2 * len(self.watches)

    def _end(self, one: Watch) -> None:
        one.is_over = True
        del self.watches[one.subject]
        self._forget_flow(one)

    def _forget_flow(self, one: Watch) -> None:
        if self._asked.get(one.flow) is one:
            del self._asked[one.flow]

    def _plan(self, one: Watch, at: float) -> None:
        one.due_at = at
        self._entries += 1
        heappush(self._agenda, (at, self._entries, one))

    def _is_planned(self, entry: tuple[float, int, Watch]) -> bool:
        at, _, one = entry
        return one.due_at == at and not one.is_over

    def _pace(self, one: Watch) -> float:
        """Seconds from a sign of life until its absence is looked into."""
        fraction = (one.cookie & 0xFFFF) / 0xFFFF
        whole = self._start if one.subject.ip else self.forget_after / 2
        return whole * (1 - SPREAD * fraction)

    # --- when to look ---------------------------------------------------------------

    def deadline(self) -> float | None:
        """When to call `due` again; None if nothing ages."""
        if not self._agenda:
            return None
        return max(self._agenda[0][0], self._looked_at + TICK)

    def hurry(self, subject: Subject, now: float) -> None:
        """Somebody contradicts it: look at once."""
        one = self.watches.get(subject)
        if one is not None and one.asked_at is None and not one.probes:
            self._plan(one, min(one.due_at, now))

    def due(
        self, view: View, now: float, is_ready: Callable[[int], bool]
    ) -> tuple[View, list[Look]]:
        """Whose packet_count is wanted now.  What has only to be forgotten is."""
        wanted: list[Look] = []
        if now < self._looked_at + TICK:
            return view, wanted
        self._looked_at = now
        taken = 0
        while self._agenda and self._agenda[0][0] <= now:
            if len(wanted) == LOOKS_MAX or taken == TAKEN_MAX:
                self.counters["looks at hosts that had to wait"] += 1
                break
            entry, taken = heappop(self._agenda), taken + 1
            if not self._is_planned(entry):
                continue
            one = entry[2]
            view, is_wanted = self._look(view, one, now, is_ready)
            if is_wanted:
                wanted.append(one.flow)
        return view, wanted

    def _look(
        self, view: View, one: Watch, now: float, is_ready: Callable[[int], bool]
    ) -> tuple[View, bool]:
        key, known = one.subject.station, found(view, one.subject)
        if known is None:
            self._end(one)
            self._watch_if_bare(view, key, one.alive_at)
            return view, False
        station, claim = known
        if station.silent:
            view = without_old_silences(view, key, now - self.forget_after)
        if claim is None and station.claims:
            self._end(one)
            self.watch(view, key, is_news=False)
            return view, False
        self._renew(station, claim, one, now)
        if not is_ready(key.datapath_id):
            self._plan(one, now + OWED)
            return view, False
        if one.asked_at is None:
            one.asked_at = now
        self._asked[one.flow] = one
        self._plan(one, now + OWED)
        return view, True

    def _renew(
        self, station: Station, claim: Claim | None, one: Watch, now: float
    ) -> None:
        """Who has moved, or become a router, is counted by a new flow.

        Who moves while it is asked is asked again where it is, as often as there is
        time: `silent_after` is counted from the last sign of life all the same.
        """
        since = station.heard_at if claim is None else claim.confirmed_at
        one.alive_at = max(one.alive_at, since)
        if is_counted_by(station, claim, one):
            return
        self._forget_flow(one)
        one.cookie = witness(station, one.subject.ip).cookie
        one.port_no, one.router = station.port_no, claim.router if claim else None
        one.count, one.counted_at, one.asked_at = 0, since, None
        if one.probes:
            left = one.alive_at + self.silent_after - SLACK / 2 - now
            one.probes = PROBES - max(0, min(PROBES, int(left / (PATIENCE + TICK))))

    # --- what a count tells ---------------------------------------------------------

    def counted(
        self,
        view: View,
        flow: Look,
        packets: int,
        now: float,
        is_contested: Callable[[Subject], bool],
    ) -> Outcome | None:
        """None if nothing follows: most often its owner lives."""
        one = self._asked.get(flow)
        if one is None or one.asked_at is None:
            return None
        known = found(view, one.subject)
        if known is None or not is_counted_by(*known, one):
            return None  # another flow counts by now: the next look finds it
        station, claim = known
        del self._asked[flow]
        before, since = one.count, one.counted_at
        one.count, one.counted_at, one.asked_at = packets, one.asked_at, None
        if before is not None and packets > before:
            is_unasked = packets - before > (one.probes > 0)
            self._lives(one, since, is_unasked, now, is_contested)
            return None
        if claim is None:
            one.alive_at = max(one.alive_at, station.heard_at)
            return self._unheard(view, station, one, now)
        one.alive_at = max(one.alive_at, claim.confirmed_at)
        if is_contested(one.subject):
            return self._unconfirmed(view, station, one, claim.ip, now)
        return self._overdue(view, station, one, claim.ip, now)

    def _lives(
        self,
        one: Watch,
        since: float,
        is_unasked: bool,
        now: float,
        is_contested: Callable[[Subject], bool],
    ) -> None:
        """Who speaks unasked is looked at twice as often: the sign of life may have
        come right after the count before."""
        pace = self._pace(one)
        one.alive_at, one.probes = max(one.alive_at, since), 0
        at = one.alive_at + pace
        if is_unasked:
            at = min(at, now + pace / 2)
        if one.subject.ip is not None and is_contested(one.subject):
            at = min(at, now + HURRY)
        self._plan(one, at)

    def _overdue(
        self, view: View, station: Station, one: Watch, ip: IPAddress, now: float
    ) -> Outcome | None:
        until = one.alive_at + self._pace(one)
        if one.probes or one.counted_at >= until:
            return self._unconfirmed(view, station, one, ip, now)
        self._plan(one, until)
        return None

    def _unconfirmed(
        self, view: View, station: Station, one: Watch, ip: IPAddress, now: float
    ) -> Outcome:
        asked = Probe(station, ip)
        if one.probes < PROBES:
            one.probes += 1
            self._plan(one, now + PATIENCE)
            return Outcome(view, probe=asked)
        self._end(one)
        if now > one.alive_at + self.silent_after:
            self.counters["silences noticed late"] += 1
        view = fall_silent(view, station.key, ip, now)
        self._watch_if_bare(view, station.key, now)
        return Outcome(view, silent=asked)

    def _unheard(
        self, view: View, station: Station, one: Watch, now: float
    ) -> Outcome | None:
        """A station that claims nothing, or nothing any more."""
        if station.claims or one.counted_at < one.alive_at + self.forget_after:
            self._plan(one, now + self._pace(one))
            return None
        self._end(one)
        return Outcome(forget(view, [station]))

    # --- what is told of it ---------------------------------------------------------

    def state(self, subject: Subject) -> State:
        """Of a claim that the view holds."""
        one = self.watches.get(subject)
        return State.PROBING if one is not None and one.probes else State.CONFIRMED

    def alive_at(self, subject: Subject, heard: float) -> float:
        """The last sign of life that is proven; `heard` is what the view says."""
        one = self.watches.get(subject)
        return heard if one is None else max(heard, one.alive_at)


def subjects(station: Station) -> Iterator[tuple[Subject, float]]:
    """What there is to watch of a station, and when it was last heard."""
    if not station.claims:
        yield Subject(station.key, None), station.heard_at
    for claim in station.claims:
        yield Subject(station.key, claim.ip), claim.confirmed_at


def found(view: View, subject: Subject) -> tuple[Station, Claim | None] | None:
    """The station and the claim that are watched; None if they are gone."""
    station, ip = view.stations.get(subject.station), subject.ip
    if station is None or ip is None:
        return None if station is None else (station, None)
    for claim in station.claims:
        if claim.ip == ip:
            return station, claim
    return None


def is_counted_by(station: Station, claim: Claim | None, one: Watch) -> bool:
    """Nobody has moved, or become a router."""
    router = None if claim is None else claim.router
    return station.port_no == one.port_no and router == one.router


def router_of(station: Station, ip: IPAddress | None) -> bool | None:
    return next((claim.router for claim in station.claims if claim.ip == ip), None)


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


def in_words(some: Iterable[Probe], place: Callable[[Station], str]) -> str:
    """ "10.0.0.5 (02:00:00:00:00:05 at s1-eth3), 10.0.0.6 (...) and 7 more"."""
    ones = [*some]
    told = [f"{one.ip} ({one.station.lladdr} at {place(one.station)})" for one in ones]
    more = len(told) - TOLD
    return ", ".join(told[:TOLD]) + (f" and {more} more" if more > 0 else "")


TOLD = 4  # of those who fell silent in one turn
