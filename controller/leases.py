"""Who has asked for a lease, and when leases end: the earliest first.

A server sends its answer in the name of whoever asked, and anybody can ask in the name
of somebody else.  So an answer counts if the one whom it is about has asked for it, by
the same number and from where it is known to be.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from controller.learn import rows_of, with_lease
from flows.view import INFINITY, IPAddress, PortKey, StationKey, View

TRIM = 1024  # ends of leases that were renewed or given back, and may pile up
PATIENCE = 64.0  # seconds for an answer: a client asks anew by then (RFC 2131, 4.1)
ASKING_MAX = 4096  # who waits for an answer; then the first give way
ASKING_OF_A_PORT = 512  # of these; the answers to others are still taken

Asking = tuple[StationKey, int]  # a client, and its number for what it asks


class End(NamedTuple):
    at: float
    place: str  # so that two ends at one moment compare
    key: StationKey
    ip: IPAddress


class Leases:
    """The ends that are waited for; the view says whether they still hold."""

    def __init__(self) -> None:
        self.ends: list[End] = []
        self.counters: Counter[str] = Counter()
        self._asking: OrderedDict[Asking, tuple[PortKey, float]] = OrderedDict()
        self._of_port: dict[PortKey, OrderedDict[Asking, None]] = {}
        self._trim_at = TRIM

    def asks(self, key: StationKey, xid: int, at: PortKey, now: float) -> None:
        """A client, of itself and from its own place."""
        self._taken((key, xid))
        mine = self._of_port.get(at, OrderedDict())
        if len(mine) >= ASKING_OF_A_PORT:
            self._gives_way(next(iter(mine)))
        elif len(self._asking) >= ASKING_MAX:
            self._gives_way(next(iter(self._asking)))
        self._asking[key, xid] = (at, now)
        self._of_port.setdefault(at, OrderedDict())[key, xid] = None

    def is_answer(self, key: StationKey, xid: int, now: float) -> bool:
        """Whether this client has asked so; one answer is taken for each question."""
        asked_at = self._taken((key, xid))
        return asked_at is not None and now < asked_at + PATIENCE

    def _gives_way(self, asking: Asking) -> None:
        asked_at = self._taken(asking)
        if asked_at is not None:
            self.counters["DHCP: questions that gave way to newer ones"] += 1

    def _taken(self, asking: Asking) -> float | None:
        """When it was asked; it is not waited for any longer."""
        found = self._asking.pop(asking, None)
        if found is None:
            return None
        at, asked_at = found
        del self._of_port[at][asking]
        if not self._of_port[at]:
            del self._of_port[at]
        return asked_at

    def watch(self, view: View, key: StationKey) -> None:
        """A station has leases, maybe new ones."""
        for row in rows_of(view.stations.get(key)):
            if row.leased_until is not None and row.leased_until < INFINITY:
                end = End(row.leased_until, f"{key} {row.ip}", key, row.ip)
                heappush(self.ends, end)
        self._trim(view)

    def deadline(self) -> float | None:
        return self.ends[0].at if self.ends else None

    def due(self, view: View, now: float) -> View:
        """The view without the leases that have ended.  What they were of is from now
        on only what its station says."""
        while self.ends and self.ends[0].at <= now:
            end = heappop(self.ends)
            if is_current(view, end):
                view = with_lease(view, end.key, end.ip, None)
        return view

    def _trim(self, view: View) -> None:
        if len(self.ends) > self._trim_at:
            self.ends = [*{end for end in self.ends if is_current(view, end)}]
            heapify(self.ends)
            self._trim_at = TRIM + 2 * len(self.ends)


def is_current(view: View, end: End) -> bool:
    rows = rows_of(view.stations.get(end.key))
    return any(row.ip == end.ip and row.leased_until == end.at for row in rows)
