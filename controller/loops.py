"""Try ports behind which there may be anything: do they lead back to us?

Where the kernel shows what is at the other end, nothing is sent.  Every other port
sends a frame of ours (`controller.trial`) as soon as it is up, a few times in its first
seconds and then every ten.  What comes in again is an echo, a fact of the view, from
which follows which port is closed (`flows.loops`).  A closed port goes on trying, and
is opened when nothing has come back for half a minute, or at once when it goes down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from controller.conflicts import port_in_words
from controller.trial import Trial
from controller.tries import PERIOD
from flows.loops import Loops as Closed
from flows.view import Echo, EchoKey, PortKey, View

FRESH = 5.0  # seconds that a frame may be on its way
ECHOES_MAX = 1_024  # more are told of nobody: with fewer the same ports are closed
AT_MOST = 8  # ports that are told of one by one


class Loops:
    """Echoes, and when they are over.

    period  seconds between two trials of a port
    """

    def __init__(self, period: float = PERIOD) -> None:
        self.gone = 3 * period + FRESH  # seconds without an echo
        self.counters: Counter[str] = Counter()
        self._ports: object = None
        self._last: dict[EchoKey, float] = {}  # when an echo was heard
        self._look_at: float | None = None  # when the eldest echo may be over

    def deadline(self) -> float | None:
        return self._look_at

    def heard(self, view: View, at: PortKey, said: Trial | None, now: float) -> View:
        """The next view, with an echo more.

        said  None if the frame is not ours
        """
        is_fresh = said is not None and 0 <= said.age(now) <= FRESH
        if said is None or not is_fresh or said.sender not in view.ports:
            self.counters["loop trials that are not ours, or old"] += 1
            return view
        echo = Echo(*at, *said.sender, now)
        if echo.key in view.echoes:
            self._last[echo.key] = now
            return view
        if len(view.echoes) >= ECHOES_MAX:
            self.counters["echoes of loop trials, as there are too many"] += 1
            return view
        self._last[echo.key] = now
        self._look_at = min(self._look_at or now + self.gone, now + self.gone)
        return replace(view, echoes=view.echoes.set(echo.key, echo))

    def expire(self, view: View, now: float) -> View:
        """Without echoes of ports that are down or gone, and those that are over."""
        is_time = self._look_at is not None and now >= self._look_at
        if view.ports is self._ports and not is_time:
            return view
        self._ports, echoes = view.ports, view.echoes
        for key in view.echoes:
            ends = PortKey(*key[:2]), PortKey(*key[2:])
            rows = [view.ports.get(end) for end in ends]
            if now >= self._last[key] + self.gone or not all(
                row and row.up for row in rows
            ):
                echoes = echoes.delete(key)
                del self._last[key]
        self._look_at = min(
            (at + self.gone for at in self._last.values()), default=None
        )
        return view if echoes is view.echoes else replace(view, echoes=echoes)


def news(before: Closed, now: Closed, view: View) -> Iterator[str]:
    """ "s1-eth3 leads back to s1-eth4, and is closed"."""
    if before is now:
        return
    shut = sorted(key for key in now if before.get(key) != now[key])
    opened = sorted(before.keys() - now.keys())
    if len(shut) > AT_MOST:
        yield f"{len(shut)} ports lead back to others, and are closed"
        shut = []
    for key in shut:
        one = port_in_words(key, view)
        if now[key] == key:
            yield f"{one} leads back to itself, and is closed"
        else:
            yield f"{one} leads back to {port_in_words(now[key], view)}, and is closed"
    for key in opened[:AT_MOST]:
        yield f"{port_in_words(key, view)} leads back no more, and is open"
