"""Waiting for a condition with a deadline; never for a length of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL = 0.01  # seconds between two looks at the condition


class NeverTrue(AssertionError):
    """The condition did not come true before the deadline."""


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
