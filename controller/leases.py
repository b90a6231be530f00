"""When leases end: the earliest first, without looking at all of them."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from controller.learn import rows_of, with_lease
from flows.view import INFINITY, IPAddress, StationKey, View

TRIM = 1024  # ends of leases that were renewed or given back, and may pile up


class End(NamedTuple):
    at: float
    place: str  # so that two ends at one moment compare
    key: StationKey
    ip: IPAddress


class Leases:
    """The ends that are waited for; the view says whether they still hold."""

    def __init__(self) -> None:
        self.ends: list[End] = []

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
        if len(self.ends) > TRIM and len(self.ends) > 4 * len(view.stations):
            self.ends = [*{end for end in self.ends if is_current(view, end)}]
            heapify(self.ends)


def is_current(view: View, end: End) -> bool:
    rows = rows_of(view.stations.get(end.key))
    return any(row.ip == end.ip and row.leased_until == end.at for row in rows)
