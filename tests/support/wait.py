"""Waiting for a condition with a deadline; never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from subprocess import Popen
from typing import Any, TypeVar

T = TypeVar("T")

POLL_INTERVAL = 0.01  # seconds between two looks at the condition
STARTED = 180.0  # seconds; seven busy processes for each core made it need 40


class NeverTrue(AssertionError):
    """The condition did not come true before the deadline."""


class Ended(AssertionError):
    """The process that was waited for has ended."""


def wait_until(condition: Callable[[], T], *, within: float = 5.0, why: str = "") -> T:
    """Return the first true value of `condition`.

    within  seconds; the condition is looked at once more when they have passed
    why     what the test waits for, for the reader of a failure
    """
    deadline = time.monotonic() + within
    while True:
        late = time.monotonic() >= deadline
        if value := condition():
            return value
        if late:
            raise NeverTrue(f"not within {within:g} s: {why or condition!r}")
        time.sleep(POLL_INTERVAL)


def wait_for_start(process: Popen[Any], condition: Callable[[], T], *, why: str) -> T:
    """The same for a process that starts, as slowly as a busy machine lets it: what
    ends the wait for one that never will is its own end."""

    def looked_at() -> T:
        value = condition()
        if not value and process.poll() is not None:
            raise Ended(f"exit status {process.returncode}, before it was there: {why}")
        return value

    return wait_until(looked_at, within=STARTED, why=why)
