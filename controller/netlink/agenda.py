"""What has to be done, and when: tasks by name, each at most once."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from time import thread_time

COST_RATIO = 20  # a task uses at most 1/20 of the time
PAUSE_MIN, PAUSE_MAX = 0.02, 30.0  # seconds between two runs of one
REMEMBERED_MAX = 4096  # pauses that are kept before those that have passed are dropped


class Agenda:
    """Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._due: dict[Hashable, float] = {}
        self._order: list[tuple[float, int, Hashable]] = []  # also what is out of date
        self._number = 0
        self._earliest: dict[Hashable, float] = {}

    def __contains__(self, task: Hashable) -> bool:
        return task in self._due

    def put(self, task: Hashable, when: float) -> None:
        """At `when` or before, if it has not just used up its share of the time."""
        when = max(when, self._earliest.get(task, when))
        if when < self._due.get(task, float("inf")):
            self._due[task] = when
            self._number += 1
            heapq.heappush(self._order, (when, self._number, task))

    def drop(self, task: Hashable) -> None:
        self._due.pop(task, None)

    def due(self, task: Hashable) -> float | None:
        return self._due.get(task)

    def is_due(self, task: Hashable, now: float) -> bool:
        return self._due.get(task, float("inf")) <= now

    def take(self, now: float) -> Iterator[Hashable]:
        """The tasks that are due, the oldest first; each is taken off the agenda."""
        while self._order and self._order[0][0] <= now:
            when, _, task = heapq.heappop(self._order)
            if self._due.get(task) == when:
                del self._due[task]
                yield task

    def run(self, task: Hashable, now: float, action: Callable[[float], None]) -> None:
        """Run it and see to its share.  What counts is CPU time: a dump that waits for
        the kernel's RTNL lock costs nothing."""
        self._due.pop(task, None)
        start = thread_time()
        action(now)
        pause = COST_RATIO * (thread_time() - start)
        self._remember(task, now + min(max(pause, PAUSE_MIN), PAUSE_MAX), now)

    def deadline(self) -> float | None:
        while self._order and self._due.get(self._order[0][2]) != self._order[0][0]:
            heapq.heappop(self._order)
        return self._order[0][0] if self._order else None

    def _remember(self, task: Hashable, earliest: float, now: float) -> None:
        if len(self._earliest) >= REMEMBERED_MAX:
            self._earliest = {t: e for t, e in self._earliest.items() if e > now}
        self._earliest[task] = earliest
