"""A station that is heard at two places in turn, where nobody enforces.

Whoever moves is believed at once, and the place that it has left is asked once, as a
host that moved no longer answers there.  If it is heard there all the same, both places
live: somebody steals its port, or one MAC is there twice, or there is a loop.  And from
the move that is one too many it is on trial for a time that doubles: it is believed at
the place that it had before all this, and elsewhere when that one is silent
(`controller.moves`).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace

from controller.crowds import Crowds
from controller.learn import known_as
from flows.parties import Place
from flows.view import PortKey, Station, StationKey, View

MOVES_MAX = 4  # that are believed at once within `WITHIN` seconds
WITHIN = 10.0
AT_ONCE = 2.0  # seconds in which nobody moves there and back again
HOLD_MIN, HOLD_MAX = 10.0, 320.0  # seconds on trial: twice as long each time
ROWS_MAX = 4096  # stations that have moved; of further ones each move is believed
ROWS_PER_PORT = 1024
TRIM = 64  # rows that are over, which may pile up


@dataclass(frozen=True, slots=True)
class Step:
    """A station was heard at `at`; until then it was `old`, at another place."""

    place: Place
    old: Station
    at: PortKey


@dataclass(frozen=True, slots=True)
class Row:
    """A station that has moved.

    home   where it was before
    away   where it went first
    here   where it is, unless it went by other means
    moves  when, within `WITHIN` seconds
    until  when its trial is over, on the caller's monotonic clock
    hold   seconds that it takes; 0 if there was none yet
    """

    home: PortKey
    away: PortKey
    here: PortKey
    moves: tuple[float, ...] = ()
    until: float = -math.inf
    hold: float = 0.0

    @property
    def last(self) -> float:
        return self.moves[-1] if self.moves else -math.inf

    @property
    def counts_until(self) -> float:
        return max(self.last + WITHIN, self.until)

    @property
    def over_at(self) -> float:
        """Who flaps again until then is on trial for longer."""
        return max(self.last + WITHIN, self.until + self.hold)


class Flapping:
    """The stations that have moved not long ago."""

    def __init__(self) -> None:
        self.rows: dict[Place, Row] = {}
        self.counters: Counter[str] = Counter()
        self._crowds = Crowds[PortKey]()
        self._trim_at = TRIM

    def is_on_trial(self, place: Place, now: float) -> bool:
        row = self.rows.get(place)
        return row is not None and now < row.until

    def on_trial(self, now: float) -> int:
        return sum(now < row.until for row in self.rows.values())

    def may_move(self, step: Step, now: float) -> bool:
        """Not on trial, or back where it was."""
        row = self._row(step)
        if row is None or now >= row.until or step.at == row.home:
            return True
        self.counters["moves that were damped"] += 1
        return False

    def moved(self, step: Step, now: float) -> PortKey | None:
        """It is believed where it is now.  If it has left a place a moment ago to which
        it returns, or goes to and fro: the one where it does not belong."""
        row = self._row_now(step, now)
        if row is None:
            self.counters["moves that were not watched"] += 1
            return None
        last, recent = row.last, [at for at in row.moves if now < at + WITHIN]
        row = replace(row, here=step.at, moves=(*recent, now)[-MOVES_MAX:])
        is_flapping = len(row.moves) >= MOVES_MAX
        if is_flapping and now >= row.until:
            hold = min(max(2 * row.hold, HOLD_MIN), HOLD_MAX)
            row = replace(row, until=now + hold, hold=hold)
            self.counters["stations that flapped"] += 1
        self.rows[step.place] = row
        if step.at != row.home:
            return step.at if is_flapping else None
        return step.old.port if is_flapping or now < last + AT_ONCE else None

    def _row(self, step: Step) -> Row | None:
        """If it is still where it was believed to be: neither forgotten nor moved
        after a trial."""
        row = self.rows.get(step.place)
        return row if row is not None and row.here == step.old.port else None

    def _row_now(self, step: Step, now: float) -> Row | None:
        """That one, or a new one; None if there is no room."""
        row, earlier = self._row(step), self.rows.get(step.place)
        if row is not None and now < row.counts_until:
            return row
        if earlier is not None:
            self._forget(step.place)
        if not self._has_room(step.at, now):
            return None
        is_soon = earlier is not None and now < earlier.over_at
        hold = earlier.hold if earlier is not None and is_soon else 0.0
        self._crowds[step.at] += 1
        return Row(step.old.port, step.at, step.old.port, hold=hold)

    def _has_room(self, at: PortKey, now: float) -> bool:
        """What is over goes when there is twice as much as was left the last time."""
        is_crowded = self._crowds[at] >= ROWS_PER_PORT
        if len(self.rows) >= self._trim_at or is_crowded:
            for place in [p for p, row in self.rows.items() if now >= row.over_at]:
                self._forget(place)
            self._trim_at = min(ROWS_MAX, max(TRIM, 2 * len(self.rows)))
        return len(self.rows) < ROWS_MAX and self._crowds[at] < ROWS_PER_PORT

    def _forget(self, place: Place) -> None:
        self._crowds.leave(self.rows.pop(place).away)


def known_elsewhere(before: View, after: View, key: StationKey) -> Station | None:
    """Who was known at another place before it was placed where it is now."""
    new = after.stations.get(key)
    if new is None:
        return None
    old = before.stations.get(key)
    if old is not None and old.port == new.port:
        return None
    known = known_as(before, key)
    if any(station.port == new.port for station in known):
        return None
    return max(known, key=lambda one: one.heard_at, default=None)
