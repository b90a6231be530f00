"""Somebody is heard at a second place: is it still at the first?

A station that moves, or an address that another station takes over, looks just like a
theft.  The first place is asked once (TopoGuard, NDSS 2015: a host that moved no longer
answers where it was).  Silence means that it has moved.  An answer means that it has
not, and that nothing more about it is believed for a while.

Where the old port is down there is nothing to ask: who was there is forgotten already.
Who claims many stations at one port is tried for some of them, and takes nobody else's
turn.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from controller.conflicts import Heard
from controller.learn import disclaim
from controller.liveness import PATIENCE, Look, Probe, Subject, witness
from flows.view import IPAddress, PortKey, Station, View

TRIALS_MAX = 256  # at once; further ones are not believed either
TRIALS_OF_A_PORT = 32  # of these, by where the news came from
DAMPING = 10.0  # seconds from a question until the same is asked again


@dataclass(frozen=True, slots=True)
class Trial:
    """A question to the first place.

    subject   the station there, or one of its claims
    port      that place
    cookie    of the flow that counts what it says
    news      what was heard at the second place
    due_at    when to count; None if it has answered
    until     when all this is over, whatever came of it
    count     packet_count when it was asked; None until the switch has told it
    asked_at  when it was
    """

    subject: Subject
    port: PortKey
    cookie: int
    news: Heard
    due_at: float | None
    until: float
    count: int | None = None
    asked_at: float = 0.0

    @property
    def second(self) -> PortKey:
        return PortKey(self.news.datapath_id, self.news.in_port)

    @property
    def flow(self) -> Look:
        return self.subject.station.datapath_id, self.cookie


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a packet_count led to: a question to put, or news that are believed now."""

    view: View
    probe: Probe | None = None
    news: Heard | None = None


class Moves:
    """The trials under way, and those that ended not long ago."""

    def __init__(self) -> None:
        self.trials: dict[Subject, Trial] = {}
        self.counters: Counter[str] = Counter()

    def suspect(
        self, old: Station, ip: IPAddress | None, news: Heard, now: float
    ) -> None:
        """`news` will be believed if `old` does not answer, and only then."""
        self.trials = {s: t for s, t in self.trials.items() if now < t.until}
        subject = Subject(old.key, ip)
        if subject in self.trials:
            return
        if not self._has_room(PortKey(news.datapath_id, news.in_port)):
            self.counters["moves not tried, as there are too many"] += 1
            return
        cookie, until = witness(old, ip).cookie, now + DAMPING
        self.trials[subject] = Trial(subject, old.port, cookie, news, now, until)

    def _has_room(self, at: PortKey) -> bool:
        mine = sum(trial.second == at for trial in self.trials.values())
        return len(self.trials) < TRIALS_MAX and mine < TRIALS_OF_A_PORT

    def deadline(self) -> float | None:
        times = (t.due_at for t in self.trials.values() if t.due_at is not None)
        return min(times, default=None)

    def due(self, now: float) -> list[Look]:
        """Whose packet_count is wanted now."""
        ready = [
            t for t in self.trials.values() if t.due_at is not None and now >= t.due_at
        ]
        for trial in ready:  # an answer may be lost: ask again, until it is over
            again = now + PATIENCE if now < trial.until else None
            self.trials[trial.subject] = replace(trial, due_at=again)
        return [trial.flow for trial in ready]

    @property
    def asked(self) -> set[Look]:
        """The flows that tell whether somebody has answered."""
        return {t.flow for t in self.trials.values() if t.due_at is not None}

    def counted(self, view: View, flow: Look, packets: int, now: float) -> Outcome:
        for trial in self.trials.values():
            if trial.flow == flow and trial.due_at is not None:
                return self._counted(view, trial, packets, now)
        return Outcome(view)

    def _counted(self, view: View, trial: Trial, packets: int, now: float) -> Outcome:
        station = view.stations.get(trial.subject.station)
        if station is None or station.port != trial.port:  # it went by other means
            del self.trials[trial.subject]
            return Outcome(view)
        if trial.count is None:
            asked = replace(trial, count=packets, asked_at=now, due_at=now + PATIENCE)
            self.trials[trial.subject] = asked
            return Outcome(view, probe=question(view, trial.subject))
        if packets > trial.count:  # it is where it was
            self.trials[trial.subject] = replace(trial, due_at=None)
        elif now >= trial.asked_at + PATIENCE:
            del self.trials[trial.subject]
            return Outcome(without(view, trial.subject), news=trial.news)
        return Outcome(view)


def question(view: View, subject: Subject) -> Probe | None:
    """About the claim, or any of them.  Who claims nothing can only be listened to."""
    station = view.stations.get(subject.station)
    if station is None:
        return None
    ips = [subject.ip] if subject.ip else [claim.ip for claim in station.claims]
    return next((Probe(station, ip) for ip in ips), None)


def without(view: View, subject: Subject) -> View:
    """The claim is given up; a station is not, it is placed anew with its claims."""
    if subject.ip is None:
        return view
    return disclaim(view, subject.station, subject.ip)
