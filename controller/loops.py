"""Try ports behind which there may be anything: do they lead back to us?

Where the kernel shows what is at the other end, nothing is sent.  Every other port
sends a frame of ours (`controller.trial`) as soon as it is up, a few times in its first
seconds and then every ten.  What comes in again is an echo, a fact of the view, from
which follows which port is closed (`flows.loops`).  A closed port goes on trying, and
is opened when nothing has come back for half a minute, or at once when it goes down.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from heapq import heappop, heappush

from controller import trial
from controller.commands import TryPort
from controller.conflicts import port_in_words
from controller.events import TrialSeen
from flows.loops import Loops as Closed
from flows.network import Network
from flows.view import Echo, EchoKey, PortKey, View

SOON = (0.2, 1.0, 3.0)  # seconds between the first trials of a port
PERIOD = 10.0  # seconds between all others
GONE = 3 * PERIOD + trial.FRESH  # seconds without an echo
TRIALS_MAX = 64  # in one turn; the others wait for the next
PAUSE = 0.1  # seconds until then
ECHOES_MAX = 1_024  # more are told of nobody: with fewer the same ports are closed
AT_MOST = 8  # ports that are told of one by one


class Loops:
    """When each port is tried next.

    secret  that nobody else knows, for as long as this process runs; without one
            nothing is tried, and nothing believed
    """

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.counters: Counter[str] = Counter()
        self._wanted: frozenset[PortKey] = frozenset()
        self._tries: dict[PortKey, int] = {}  # by port: so often it was tried
        self._agenda: list[tuple[float, PortKey, int]] = []  # a heap
        self._not_before = float("-inf")
        self._ports: object = None
        self._last: dict[EchoKey, float] = {}  # when an echo was heard
        self._look_at: float | None = None  # when the eldest echo may be over

    def deadline(self) -> float | None:
        times = [] if self._look_at is None else [self._look_at]
        if self._agenda:
            times.append(max(self._agenda[0][0], self._not_before))
        return min(times, default=None)

    # --- to try ---------------------------------------------------------------------

    def due(
        self, view: View, known: Network, now: float, is_ready: Callable[[int], bool]
    ) -> Iterator[TryPort]:
        """What is sent now."""
        if not self.secret:
            return
        self._want(known.outward, now)
        sent = 0
        while self._agenda and self._agenda[0][0] <= now:
            if sent == TRIALS_MAX:
                self._not_before = now + PAUSE
                return
            _, key, tries = heappop(self._agenda)
            if self._tries.get(key) != tries:
                continue
            port = view.ports.get(key)
            if port is None or not is_ready(key.datapath_id):
                heappush(self._agenda, (now + SOON[1], key, tries))
                continue
            pause = SOON[tries] if tries < len(SOON) else PERIOD
            self._plan(key, tries + 1, now + pause)
            sent += 1
            yield TryPort(*key, trial.write(self.secret, port, now))

    def _want(self, outward: frozenset[PortKey], now: float) -> None:
        if outward is self._wanted:
            return
        for key in self._wanted - outward:
            del self._tries[key]
        for key in sorted(outward - self._wanted):
            self._plan(key, 0, now)
        self._wanted = outward

    def _plan(self, key: PortKey, tries: int, at: float) -> None:
        self._tries[key] = tries
        heappush(self._agenda, (at, key, tries))

    # --- what comes back --------------------------------------------------------------

    def heard(self, view: View, event: TrialSeen, now: float) -> View:
        """The next view, with an echo more, if the frame is ours."""
        sender = trial.read(self.secret, event.unit, now) if self.secret else None
        if sender is None or sender not in view.ports:
            self.counters["loop trials that are not ours, or old"] += 1
            return view
        echo = Echo(event.datapath_id, event.in_port, *sender, now)
        if echo.key in view.echoes:
            self._last[echo.key] = now
            return view
        if len(view.echoes) >= ECHOES_MAX:
            self.counters["echoes of loop trials, as there are too many"] += 1
            return view
        self._last[echo.key] = now
        self._look_at = min(self._look_at or now + GONE, now + GONE)
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
            if now >= self._last[key] + GONE or not all(row and row.up for row in rows):
                echoes = echoes.delete(key)
                del self._last[key]
        self._look_at = min((at + GONE for at in self._last.values()), default=None)
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
