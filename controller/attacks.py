"""What only an attacker does: told by name, however its port is guarded.

One packet that contradicts what is known is a conflict (`controller.conflicts`).  Here
are patterns of packets of which each alone may be innocent: so many different stations
at one port, so many questions for nobody, objections to every address that is tried.

Of what one port sends a share is kept, so that nobody hides behind what others send.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from controller.conflicts import FORGET, REMIND, TOLD_MAX, port_in_words
from controller.crowds import Crowds
from controller.events import ArpSeen, Event, FrameSeen, NdSeen, TargetUnknown
from controller.ndp import is_probe
from controller.packets import REQUEST
from flows.network import Network
from flows.openflow import BROADCAST
from flows.parties import Domain, is_unicast
from flows.view import IPAddress, PortKey, View

ROWS_MAX = 1024  # suspects that are kept, and as many that are not yet
ROWS_OF_A_PORT = 32  # of each, of one kind of attack
PROBES_MAX = 1024  # addresses that somebody tries to take
PROBES_OF_A_PORT = 64  # of these
PROBED = 10.0  # seconds that one is tried: RFC 5227 takes up to 7, RFC 4862 one or two


class Attack(StrEnum):
    """By the names that the tools and the literature use."""

    MAC_FLOOD = "MAC flood"
    ARP_SCAN = "ARP scan"
    ND_SCAN = "ND scan"
    DAD_DENIAL = "DAD denial of service"


class Pattern(NamedTuple):
    """So many different things of a kind, within so many seconds."""

    least: int
    within: float
    things: str


# Fewer than the budgets of a port let through to us (`flows.view.Limits`).
PATTERNS = {
    Attack.MAC_FLOOD: Pattern(128, 10.0, "stations that nobody knew"),
    Attack.ARP_SCAN: Pattern(32, 10.0, "questions for addresses that nobody holds"),
    Attack.ND_SCAN: Pattern(32, 10.0, "questions for addresses that nobody holds"),
    Attack.DAD_DENIAL: Pattern(2, 60.0, "addresses that others wanted to take"),
}


class Suspect(NamedTuple):
    """lladdr is "" where it is another one each time."""

    attack: Attack
    at: PortKey
    vlan: int
    lladdr: str = ""


class Sign(NamedTuple):
    """Part of a pattern, if there are many that differ in `thing`."""

    suspect: Suspect
    thing: Hashable


@dataclass(slots=True)
class Tally:
    """Different things of a suspect, since when."""

    since: float
    things: set[Hashable] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Row:
    """A pattern that is complete.

    count     things that made it so, each time it was
    since, last  seconds on the caller's monotonic clock
    told_at   when it was told, None as long as it was not
    told      things at that time
    """

    suspect: Suspect
    count: int
    since: float
    last: float
    told_at: float | None = None
    told: int = 0


Probed = tuple[Domain, IPAddress]
Crowd = tuple[Attack, PortKey]


class Attacks:
    """The patterns that are complete, and those that may become so."""

    def __init__(self) -> None:
        self.rows: dict[Suspect, Row] = {}
        self.counters: Counter[str] = Counter()
        self._tallies: dict[Suspect, Tally] = {}  # the last is the latest
        self._crowds = Crowds[Crowd]()  # how many of them
        self._probes: dict[Probed, tuple[PortKey, float]] = {}
        self._probing = Crowds[PortKey]()

    def watch(self, event: Event, known: Network, now: float) -> None:
        """A packet, before anything is learned from it."""
        if isinstance(event, TargetUnknown):
            event = event.asked
        if isinstance(event, ArpSeen | NdSeen | FrameSeen):
            at = PortKey(event.datapath_id, event.in_port)
            if at not in known.fabric.uplinks:  # the switch beyond has looked at it
                for sign in self._signs(event, known, now):
                    self._count(sign, now)

    # --- signs ----------------------------------------------------------------------

    def _signs(
        self, event: ArpSeen | NdSeen | FrameSeen, known: Network, now: float
    ) -> Iterator[Sign]:
        at = PortKey(event.datapath_id, event.in_port)
        domain = known.domain(event.datapath_id, event.vlan)
        if (domain, event.eth_src) not in known.located:
            flood = Suspect(Attack.MAC_FLOOD, at, event.vlan)
            yield Sign(flood, event.eth_src)
        if isinstance(event, FrameSeen):
            return
        target = asked_for(event)
        if target is not None and (domain, target) not in known.holders:
            is_arp = isinstance(event, ArpSeen)
            scan = Attack.ARP_SCAN if is_arp else Attack.ND_SCAN
            yield Sign(Suspect(scan, at, event.vlan, event.eth_src), target)
        yield from self._objections(event, at, domain, known, now)

    def _objections(
        self,
        event: ArpSeen | NdSeen,
        at: PortKey,
        domain: Domain,
        known: Network,
        now: float,
    ) -> Iterator[Sign]:
        """Somebody wants to take an address, and somebody else, who was not known to
        hold it, says that they have it, or want it, too."""
        tried = probed_for(event)
        ip = tried or claimed(event)
        if ip is None:
            return
        first, since = self._probes.get((domain, ip), (at, now))
        if first != at and now < since + PROBED:
            if not holds(known, domain, ip, event.eth_src):
                yield Sign(Suspect(Attack.DAD_DENIAL, at, event.vlan), ip)
        elif tried is not None:
            self._remember((domain, ip), at, now)

    def _remember(self, tried: Probed, at: PortKey, now: float) -> None:
        for old, (_, since) in [*self._probes.items()]:  # the first is the oldest
            if now < since + PROBED:
                break
            self._forget(old)
        self._forget(tried)
        if len(self._probes) >= PROBES_MAX or self._probing[at] >= PROBES_OF_A_PORT:
            self.counters["attempts to take an address not watched"] += 1
            return
        self._probes[tried] = (at, now)
        self._probing[at] += 1

    def _forget(self, tried: Probed) -> None:
        if (found := self._probes.pop(tried, None)) is not None:
            self._probing.leave(found[0])

    # --- patterns -------------------------------------------------------------------

    def _count(self, sign: Sign, now: float) -> None:
        suspect, pattern = sign.suspect, PATTERNS[sign.suspect.attack]
        tally = self._tally(suspect, now)
        tally.things.add(sign.thing)
        if len(tally.things) >= pattern.least:
            self._forget_suspect(suspect)
            self._complete(suspect, tally, now)

    def _tally(self, suspect: Suspect, now: float) -> Tally:
        """That one, or a new one."""
        tally = self._tallies.get(suspect)
        if tally is not None and not self._is_over(suspect, now):
            self._tallies[suspect] = self._tallies.pop(suspect)
            return tally
        if tally is not None:
            self._forget_suspect(suspect)
        self._make_room(suspect, now)
        self._crowds[crowd(suspect)] += 1
        return self._tallies.setdefault(suspect, Tally(now))

    def _forget_suspect(self, suspect: Suspect) -> None:
        del self._tallies[suspect]
        self._crowds.leave(crowd(suspect))

    def _make_room(self, new: Suspect, now: float) -> None:
        """Who gives many suspects loses the one that was quiet for longest."""
        while self._tallies and self._is_over(next(iter(self._tallies)), now):
            self._forget_suspect(next(iter(self._tallies)))
        if self._crowds[crowd(new)] >= ROWS_OF_A_PORT:
            self._drop(crowd(new), now)
        elif len(self._tallies) >= ROWS_MAX:
            self._drop(self._crowds.most_common(1)[0][0], now)

    def _drop(self, of: Crowd, now: float) -> None:
        quiet = next(one for one in self._tallies if crowd(one) == of)
        self.counters["suspects not kept"] += not self._is_over(quiet, now)
        self._forget_suspect(quiet)

    def _is_over(self, suspect: Suspect, now: float) -> bool:
        return now >= self._tallies[suspect].since + PATTERNS[suspect.attack].within

    def _complete(self, suspect: Suspect, tally: Tally, now: float) -> None:
        row = self.rows.get(suspect)
        mine = sum(crowd(one) == crowd(suspect) for one in self.rows)
        is_full = len(self.rows) >= ROWS_MAX or mine >= ROWS_OF_A_PORT
        if row is None and is_full:
            self.counters["suspects not kept"] += 1
            return
        row = row or Row(suspect, 0, tally.since, now)
        self.rows[suspect] = replace(row, count=row.count + len(tally.things), last=now)

    # --- telling --------------------------------------------------------------------

    def deadline(self) -> float | None:
        """When to call `due` again."""
        return min(map(next_at, self.rows.values()), default=None)

    def due(self, now: float) -> list[Row]:
        """Those to be told now, for the first time or once more."""
        told: list[Row] = []
        for row in [row for row in self.rows.values() if now >= next_at(row)]:
            if now >= row.last + FORGET:
                del self.rows[row.suspect]
            elif len(told) < TOLD_MAX:
                self.counters[f"attacks: {row.suspect.attack}"] += row.told_at is None
                self.rows[row.suspect] = replace(row, told_at=now, told=row.count)
                told.append(row)
        return told

    def told(self) -> list[Row]:
        """The latest first."""
        rows = (row for row in self.rows.values() if row.told_at is not None)
        return sorted(rows, key=lambda row: -row.last)


def crowd(suspect: Suspect) -> Crowd:
    """Those who share what is kept of one port."""
    return suspect.attack, suspect.at


def next_at(row: Row) -> float:
    """When something is to be done about it."""
    if row.told_at is None:
        return row.since
    if row.count > row.told:
        return row.told_at + REMIND
    return row.last + FORGET


# --- what a packet says -------------------------------------------------------------


def asked_for(event: ArpSeen | NdSeen) -> IPAddress | None:
    """The target of a question to all.  Who probes, or announces, asks for itself."""
    if isinstance(event, ArpSeen):
        is_question = event.op == REQUEST and event.eth_dst == BROADCAST
        is_own = event.spa in (event.tpa, 0) or not is_unicast(event.spa)
        return event.tpa if is_question and not is_own else None
    is_open = event.is_question and event.dst.is_multicast and not is_probe(event)
    return event.target if is_open else None


def probed_for(event: ArpSeen | NdSeen) -> IPAddress | None:
    """The address that who sent it wants to take (RFC 5227, 1.1; RFC 4862, 5.4)."""
    if isinstance(event, ArpSeen):
        is_try = event.op == REQUEST and event.spa.is_unspecified
        return event.tpa if is_try and is_unicast(event.tpa) else None
    return event.target if is_probe(event) else None


def claimed(event: ArpSeen | NdSeen) -> IPAddress | None:
    """The address that who sent it says to have."""
    ip: IPAddress = event.spa if isinstance(event, ArpSeen) else event.ip
    return ip if is_unicast(ip) else None


def holds(known: Network, domain: Domain, ip: IPAddress, lladdr: str) -> bool:
    holder = known.holders.get((domain, ip))
    return holder is not None and any(c.lladdr == lladdr for c in holder.candidates)


# --- in words -----------------------------------------------------------------------


def in_words(row: Row, view: View) -> str:
    """ "MAC flood by br0:h3: 128 stations that nobody knew"."""
    attack, at, vlan, lladdr = row.suspect
    who = (
        f"{lladdr} at {port_in_words(at, view)}" if lladdr else port_in_words(at, view)
    )
    tag = f" on VLAN {vlan}" if vlan else ""
    return f"{attack} by {who}{tag}: {row.count} {PATTERNS[attack].things}"
