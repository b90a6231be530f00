"""When ports are tried next: does what is behind them lead to a port of ours?

A port is tried as soon as it may be, a few times in its first seconds, and then seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush

from flows.view import Port, PortKey, View

SOON = (0.2, 1.0, 3.0)  # seconds between the first trials of a port
PERIOD = 10.0  # seconds between all others
TRIALS_MAX = 64  # ports in one turn; the others wait for the next
PAUSE = 0.1  # seconds until then


class Tries:
    """period  seconds between two trials of a port"""

    def __init__(self, period: float = PERIOD) -> None:
        self.period = period
        self._wanted: frozenset[PortKey] = frozenset()
        self._tries: dict[PortKey, tuple[int, float]] = {}  # how often, and when next
        self._agenda: list[tuple[float, PortKey]] = []  # a heap
        self._away: dict[int, set[PortKey]] = {}  # due, and of switches that are not
        self._not_before = float("-inf")

    def deadline(self) -> float | None:
        return max(self._agenda[0][0], self._not_before) if self._agenda else None

    def want(self, ports: frozenset[PortKey], now: float) -> None:
        """These ports are tried, and no others."""
        if ports is self._wanted:
            return
        for key in self._wanted - ports:
            del self._tries[key]
            self._away.get(key.datapath_id, set()).discard(key)
        for key in sorted(ports - self._wanted):
            self._plan(key, 0, now)
        self._wanted = ports

    def hurry(self, key: PortKey, now: float, *, anew: bool = False) -> None:
        """At once.

        anew  and a few times soon, as when it came up
        """
        if key in self._tries:
            self._plan(key, 0 if anew else self._tries[key][0], now)

    def resume(self, datapath_id: int, now: float) -> None:
        """A switch can send again: what was due meanwhile is."""
        for key in sorted(self._away.pop(datapath_id, ())):
            self._plan(key, self._tries[key][0], now)

    def due(
        self, view: View, now: float, is_ready: Callable[[int], bool]
    ) -> Iterator[Port]:
        tried = 0
        while self._agenda and self._agenda[0][0] <= now:
            if tried == TRIALS_MAX:
                self._not_before = now + PAUSE
                return
            at, key = heappop(self._agenda)
            tries, planned = self._tries.get(key, (0, None))
            if planned != at:
                continue  # it was planned anew, or is not wanted any more
            port = view.ports.get(key)
            if port is None or not is_ready(key.datapath_id):
                self._away.setdefault(key.datapath_id, set()).add(key)
                continue
            pause = SOON[tries] if tries < len(SOON) else self.period
            self._plan(key, tries + 1, now + pause)
            tried += 1
            yield port

    def _plan(self, key: PortKey, tries: int, at: float) -> None:
        self._tries[key] = tries, at
        heappush(self._agenda, (at, key))
