"""Ports that have come up, and wait until they were tried.

What the kernel explains waits for nothing, nor does a port where somebody was heard a
moment ago, nor the port of a switch that is alone.  All others let in nothing but what
they are tried with, for a fraction of a second: from when their switch can hear it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from controller.tries import Tries
from flows.network import Network
from flows.tracked import Tracked, changed
from flows.view import Port, PortKey, Untried, View

ROUND = 0.3  # seconds for a frame to go out and come in, twice
AT_MOST = 2.0  # seconds that a port waits, however slow its switch is

Asked = Callable[[PortKey], bool]


class Newcomers:
    def __init__(self, tries: Tries) -> None:
        self._tries = tries
        self._seen: Tracked[PortKey, Port] = Tracked()
        self._new: set[PortKey] = set()  # of which is not decided whether they wait
        self._until: dict[PortKey, float] = {}  # of those that do
        self._listening: set[PortKey] = set()  # of these: it can be heard what comes in

    def deadline(self) -> float | None:
        return min(self._until.values(), default=None)

    def look(self, view: View) -> None:
        """Which ports have come up since the last time."""
        for key in changed(self._seen, view.ports):
            before, now = self._seen.get(key), view.ports.get(key)
            if now is None or not now.up:
                self._new.discard(key)
            elif before is None or not before.up or before.ifname != now.ifname:
                self._new.add(key)
        self._seen = view.ports

    def forget(self, ports: Iterable[PortKey]) -> None:
        """They are not new: their switch lets packets in by them."""
        self._new.difference_update(ports)

    def due(
        self,
        view: View,
        known: Network,
        now: float,
        *,
        is_ready: Asked,
        may_wait: Asked,
        is_listening: Asked,
    ) -> View:
        """The next view: with those that begin to wait, without those that have."""
        self.look(view)
        untried = view.untried
        for key in [*untried]:
            if (
                key in self._new
                or key not in known.open_ended
                or self._is_over(key, now)
            ):
                untried = untried.delete(key)
                self._until.pop(key, None)
                self._listening.discard(key)
            elif key not in self._listening and is_listening(key):
                self._listening.add(key)
                self._until[key] = min(self._until[key], now + ROUND)
                self._tries.hurry(key, now, anew=True)
        for key in [key for key in self._new if is_ready(key)]:
            self._new.discard(key)
            if key in known.open_ended and may_wait(key):
                untried = untried.set(key, Untried(*key, now))
                self._until[key] = now + AT_MOST
        return view if untried is view.untried else replace(view, untried=untried)

    def _is_over(self, key: PortKey, now: float) -> bool:
        return now >= self._until.get(key, now)
