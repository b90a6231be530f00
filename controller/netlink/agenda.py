"""What has to be done, and when: tasks by name, each at most once."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

COST_RATIO = 20  # a task uses at most 1/20 of the time
PAUSE_MIN, PAUSE_MAX = 0.02, 5.0  # seconds between two runs of one


class Agenda:
    """Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._due: dict[str, float] = {}
        self._earliest: dict[str, float] = {}

    def __contains__(self, task: str) -> bool:
        return task in self._due

    def put(self, task: str, when: float) -> None:
        """At `when` or before, if it has not just used up its share of the time."""
        when = max(when, self._earliest.get(task, when))
        self._due[task] = min(when, self._due.get(task, when))

    def drop(self, task: str) -> None:
        self._due.pop(task, None)

    def is_due(self, task: str, now: float) -> bool:
        return self._due.get(task, float("inf")) <= now

    def run(self, task: str, now: float, action: Callable[[float], None]) -> None:
        """Run it and see to its share.  What counts is CPU time: a dump that waits for
        the kernel's RTNL lock costs nothing."""
        del self._due[task]
        start = thread_time()
        action(now)
        pause = COST_RATIO * (thread_time() - start)
        self._earliest[task] = now + min(max(pause, PAUSE_MIN), PAUSE_MAX)

    def deadline(self) -> float | None:
        return min(self._due.values(), default=None)
