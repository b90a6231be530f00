"""Cables that no kernel shows, found by LLDP of our own; refused where hosts are.

A frame goes out by one port and comes in by another of ours: so these are connected, by
whatever passes LLDP.  It is a cable if the same is true the other way round, and of no
third port.  Then nothing is learned there any more, and no guard looks at what comes
in: who makes the controller believe in a cable that does not exist is on everybody's
way.  Nobody can forge a frame, but who sits at two ports can carry real ones from one
to the other.  So there is no cable

* where the kernel shows what is at the other end, or the configuration says who is;
* where somebody was heard who is not known on the far side, until a while after they
  were last: a port that goes down and up again has not become another one;
* if the frame was on its way for longer than a cable takes, or came twice.

What is refused is a segment as before: it is learned from, guarded, and closed if it is
a second way (`controller.loops`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from controller.conflicts import port_in_words
from controller.learn import joined
from controller.trial import Trial
from controller.tries import Tries
from flows.chains import chains
from flows.memo import same
from flows.network import Network
from flows.parties import Domain
from flows.tracked import changed
from flows.view import (
    Adjacency,
    AdjacencyKey,
    EchoKey,
    Port,
    PortKey,
    View,
    switch_name,
)

WITHIN = 1.0  # seconds that a frame may be on its way
HOLD = 60.0  # seconds that somebody who was heard at a port counts as being there
HEARD_MAX = 1_024  # pairs of ports, in one direction
LEFT_MAX = 4_096  # stations that are somewhere else now, or nowhere
REFUSED_MAX = 256  # what is refused, and is told of once
TOLD_MAX = 3  # stations that are named as the reason

Pair = tuple[PortKey, PortKey]
Who = tuple[int, str]  # VLAN and link-layer address


class Why(StrEnum):
    """Why it is not believed: all the reasons there are."""

    FORGED = "it is not ours, or was changed"
    LATE = "it was on its way for too long: somebody keeps frames, or relays them"
    SEVERAL = "more than two ports hear each other there"
    SHOWN = "the kernel shows what is at {}"
    NAMED = "the configuration says who is at {}"
    HOSTS = "{} is a host's port"


@dataclass(frozen=True, slots=True)
class Heard:
    """The last frame that has come from one port to another.

    at      seconds on the monotonic clock
    serial  its own
    took    seconds that it was on its way, whole milliseconds
    """

    at: float
    serial: int
    took: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What was not believed.

    at      the port that heard it
    sender  the other port; None if nobody knows who has sent it
    where   the port that is the reason, where it is one of them
    hosts   link-layer addresses that were heard there
    since, last  seconds on the monotonic clock
    """

    at: PortKey
    sender: PortKey | None
    why: Why
    where: PortKey | None
    hosts: tuple[str, ...]
    since: float
    last: float


class Reason(NamedTuple):
    """As in `Refused`."""

    why: Why
    where: PortKey | None = None
    hosts: tuple[str, ...] = ()


class Links:
    """Which ports hear each other, and which of them are two ends of a cable.

    hold  seconds that somebody who was heard at a port counts as being there
    """

    def __init__(self, tries: Tries, hold: float = HOLD) -> None:
        self.gone = 3 * tries.period + WITHIN  # seconds without a frame
        self.hold = hold
        self._kept = max(self.gone, hold)  # seconds that what is refused is known
        self.counters: Counter[str] = Counter()
        self.refused: dict[tuple[Pair | PortKey, Why], Refused] = {}
        self._tries = tries
        self._heard: dict[EchoKey, Heard] = {}
        self._fresh: set[Pair] = set()  # to be judged
        self._left: dict[tuple[PortKey, Who], float] = {}  # the latest at the end
        self._news: list[Refused] = []
        self._facts: tuple[object, ...] = ()
        self._look_at: float | None = None

    def deadline(self) -> float | None:
        return self._look_at

    # --- what comes in ----------------------------------------------------------------

    def heard(self, view: View, at: PortKey, said: Trial | None, now: float) -> None:
        """said  None if the frame is not ours"""
        if said is None:
            self._refuse(at, None, Reason(Why.FORGED), now)
            return
        if said.sender == at or not {at, said.sender} <= view.ports.keys():
            return
        took = said.age(now)
        if not 0 <= took <= WITHIN:
            self._refuse(at, said.sender, Reason(Why.LATE), now)
            return
        key = EchoKey(*at, *said.sender)
        known = self._heard.get(key)
        if known is not None and known.serial == said.serial:
            self.counters["LLDP frames that came twice"] += 1
            return
        if known is None and len(self._heard) >= HEARD_MAX:
            self.counters["LLDP frames of pairs of ports, as there are too many"] += 1
            return
        self._heard[key] = Heard(now, said.serial, took)
        self._fresh.add(in_order(at, said.sender))
        self._look(now + self.gone)

    def took(self, one: PortKey, other: PortKey) -> float | None:
        """Seconds that the last frames were on their way, of the slower direction."""
        both = self._both(one, other)
        return max(row.took for row in both) if both else None

    def last(self, one: PortKey, other: PortKey) -> float | None:
        """When a frame came last, in the direction that has been silent for longer."""
        both = self._both(one, other)
        return min(row.at for row in both) if both else None

    def _both(self, one: PortKey, other: PortKey) -> tuple[Heard, Heard] | None:
        there = self._heard.get(EchoKey(*one, *other))
        back = self._heard.get(EchoKey(*other, *one))
        return (there, back) if there and back else None

    # --- what is over -----------------------------------------------------------------

    def expire(self, view: View, now: float, is_ready: Callable[[int], bool]) -> View:
        """Without cables whose ports are down, or that nothing comes through."""
        facts = view.ports, view.interfaces, view.links
        is_time = self._look_at is not None and now >= self._look_at
        if self._facts and same(facts, self._facts) and not is_time:
            return view
        self._facts = facts
        for key, row in [*self._heard.items()]:
            ends = ends_of(key)
            if not all(is_up(view.ports, end) for end in ends):
                del self._heard[key]
            elif not all(is_ready(end.datapath_id) for end in ends):
                self._heard[key] = replace(row, at=now)  # nothing can be sent
            elif now >= row.at + self.gone:
                del self._heard[key]
        for what, told in [*self.refused.items()]:
            if now >= told.last + self._kept or told.at not in view.ports:
                del self.refused[what]
        times = [row.at + self.gone for row in self._heard.values()]
        times += [row.last + self._kept for row in self.refused.values()]
        self._look_at = min(times, default=None)
        shown = chains(view.interfaces, view.links)
        lost = [
            row
            for row in view.adjacencies.values()
            if self._both(*row.ends) is None or any(end in shown for end in row.ends)
        ]
        return self._without(view, lost)

    def _without(self, view: View, lost: list[Adjacency]) -> View:
        if not lost:
            return view
        adjacencies = view.adjacencies
        for row in lost:
            adjacencies = adjacencies.delete(row.key)
        return replace(view, adjacencies=adjacencies)

    def _look(self, at: float) -> None:
        self._look_at = at if self._look_at is None else min(self._look_at, at)

    # --- what follows -----------------------------------------------------------------

    def judged(self, view: View, known: Network, now: float) -> View:
        """The next view: with cables that are new, and without those that are none."""
        fresh, self._fresh = sorted(self._fresh), set()
        for pair in fresh:
            one, other = pair
            is_known = AdjacencyKey(*one, *other) in view.adjacencies
            is_cabled = any(end in known.fabric.uplinks for end in pair)
            if is_cabled and not is_known and not self._third(pair):
                continue  # the kernel or OVSDB has shown it, or another one
            why = self._why_not(view, known, pair, is_known, now)
            if why is not None:
                self._refuse(*self._direction(pair), why, now)
                touched = [r for r in view.adjacencies.values() if {*r.ends} & {*pair}]
                view = self._without(view, touched)
            elif is_known:
                self._accept(pair)
            elif self._both(one, other):
                view = joined(view, Adjacency(*one, *other, now))
                self._accept(pair)
                self._left = {r: at for r, at in self._left.items() if r[0] not in pair}
            else:
                heard_by, _ = self._direction(pair)
                self._tries.hurry(heard_by, now)  # does the other one hear it, too?
        return view

    def _accept(self, pair: Pair) -> None:
        for key in [key for key in self.refused if key[0] == pair]:
            del self.refused[key]

    def _direction(self, pair: Pair) -> Pair:
        """Who has heard whom last."""
        one, other = pair
        there = self._heard.get(EchoKey(*one, *other))
        back = self._heard.get(EchoKey(*other, *one))
        if there is None or (back is not None and back.at > there.at):
            return other, one
        return one, other

    def _why_not(
        self, view: View, known: Network, pair: Pair, is_known: bool, now: float
    ) -> Reason | None:
        if self._third(pair):
            return Reason(Why.SEVERAL)
        shown = chains(view.interfaces, view.links)
        for end in pair:
            if end in shown or (not is_known and end not in known.open_ended):
                return Reason(Why.SHOWN, end)
            if is_named(view, end):
                return Reason(Why.NAMED, end)
        if is_known:
            return None
        one, other = pair
        for end, far in ((one, other), (other, one)):
            if hosts := self._strangers(view, known, end, far, now):
                return Reason(Why.HOSTS, end, tuple(hosts))
        return None

    def _third(self, pair: Pair) -> bool:
        """Another port hears one of them, or is heard by it."""
        return any(
            not {*ends_of(key)}.isdisjoint(pair) and {*ends_of(key)} != {*pair}
            for key in self._heard
        )

    # --- who is a host ----------------------------------------------------------------

    def left(self, before: View, after: View, known: Network, now: float) -> None:
        """Who was heard at a port until now, and is not any more."""
        for key in changed(before.stations, after.stations):
            old, new = before.stations.get(key), after.stations.get(key)
            if old is None or (new is not None and new.port_no == old.port_no):
                continue
            if old.port in known.loops or old.port in known.fabric.uplinks:
                continue  # it came round, or along
            row = old.port, (key.vlan, key.lladdr)
            self._left.pop(row, None)
            self._left[row] = now
            if len(self._left) > LEFT_MAX:
                del self._left[next(iter(self._left))]
                self.counters["stations that have left, as there are too many"] += 1

    def is_hosts(self, view: View, at: PortKey, now: float) -> bool:
        """Somebody is there, or was a moment ago."""
        return bool(view.crowds.get(at)) or any(self._were(at, now))

    def _were(self, at: PortKey, now: float) -> Iterator[Who]:
        for (port, who), since in self._left.items():
            if port == at and now < since + self.hold:
                yield who

    def _strangers(
        self, view: View, known: Network, at: PortKey, far: PortKey, now: float
    ) -> list[str]:
        """Link-layer addresses that were heard at a port, and are not those of who is
        on the far side."""
        who = {*self._were(at, now), *stations_at(view, at)}
        island = known.fabric.islands.get(far.datapath_id, far.datapath_id)
        others = {
            one
            for (port, one), since in self._left.items()
            if one in who
            and port not in (at, far)
            and now < since + self.hold
            and known.fabric.islands.get(port.datapath_id) == island
        }
        return sorted(
            lladdr
            for vlan, lladdr in who - others
            if lladdr != view.ports[far].lladdr
            and not is_beyond(known, Domain(island, vlan), lladdr, (at, far))
        )

    # --- what is refused --------------------------------------------------------------

    def _refuse(
        self, at: PortKey, sender: PortKey | None, reason: Reason, now: float
    ) -> None:
        self.counters["LLDP frames refused"] += 1
        whose = at if sender is None else in_order(at, sender)
        key = whose, reason.why
        known = self.refused.get(key)
        if known is None and len(self.refused) >= REFUSED_MAX:
            self.counters["LLDP refusals not kept, as there are too many"] += 1
            return
        since = known.since if known else now
        row = self.refused[key] = Refused(at, sender, *reason, since, now)
        self._look(now + self._kept)
        if known is None:
            self._news.append(row)

    def news(self, view: View) -> Iterator[str]:
        """ "s1-eth3 hears LLDP of s2-eth4, which is refused: ..."."""
        told, self._news = self._news, []
        for row in told:
            whose = f" of {port_in_words(row.sender, view)}" if row.sender else ""
            at = port_in_words(row.at, view)
            yield f"LLDP{whose} at {at} is refused: {in_words(row, view)}"


def in_words(row: Refused, view: View) -> str:
    """ "s1-eth3 is a host's port: 02:00:00:00:00:01 was heard there"."""
    why = row.why.format(port_in_words(row.where, view) if row.where else "")
    if not row.hosts:
        return why
    more = len(row.hosts) - TOLD_MAX
    told = [*row.hosts[:TOLD_MAX], *([f"{more} more"] if more > 0 else [])]
    heard = "were" if len(told) > 1 else "was"
    return f"{why}: {', '.join(told)} {heard} heard there"


def in_order(one: PortKey, other: PortKey) -> Pair:
    return (one, other) if one < other else (other, one)


def ends_of(key: EchoKey) -> Pair:
    return PortKey(*key[:2]), PortKey(*key[2:])


def is_up(ports: Mapping[PortKey, Port], key: PortKey) -> bool:
    row = ports.get(key)
    return row is not None and row.up


def is_named(view: View, at: PortKey) -> bool:
    """The configuration guards this very port, or says that a router or a server is
    there."""
    port = view.ports[at]
    name = switch_name(view, at.datapath_id), port.ifname
    guarded = any((g.bridge, g.port) == name and g.mode != "learn" for g in view.guards)
    return guarded or any(
        (s.bridge, s.port) == name and s.is_offered for s in view.services
    )


def stations_at(view: View, at: PortKey) -> Iterator[Who]:
    if view.crowds.get(at):
        for row in view.stations.values():
            if row.port == at:
                yield row.vlan, row.lladdr


def is_beyond(known: Network, domain: Domain, lladdr: str, cable: Pair) -> bool:
    """The station is known on this side of a cable, and not by the cable itself."""
    where = known.located.get((domain, lladdr))
    return where is not None and where.port not in cable
