"""What a bench finds: figures, each with its target and, if it has one, its verdict."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

LEAST = 2  # of anything, however small the share


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity.

    unit      of `measured` and of the bounds, "" for a count
    at_most   the target; the bound itself still meets it
    at_least  the same, for what should be large
    note      what the reader must know to judge it
    samples   what the figure was taken of, in the same unit; drawn in a plot
    point     the curve that it is a point of, and how many hosts there were; drawn, too
    """

    what: str
    measured: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    samples: tuple[float, ...] = field(default=(), repr=False)
    point: tuple[str, float] | None = None

    @property
    def verdict(self) -> str:
        """ "met", "missed", or "" for what is told for comparison only."""
        if self.at_most is None and self.at_least is None:
            return ""
        low = -math.inf if self.at_least is None else self.at_least
        high = math.inf if self.at_most is None else self.at_most
        return "met" if low <= self.measured <= high else "missed"

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"<= {number(self.at_most)} {self.unit}".rstrip()
        if self.at_least is not None:
            return f">= {number(self.at_least)} {self.unit}".rstrip()
        return ""

    @property
    def value(self) -> str:
        return f"{number(self.measured)} {self.unit}".rstrip()


def number(value: float) -> str:
    """Three digits that count; whole from a hundred on, as counts are; with commas."""
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if abs(value) < 100 else f"{round(value):,}"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(percent / 100 * len(ranked)) - 1)]


def spread(
    what: str, values: Sequence[float], unit: str, p50: float | None = None
) -> list[Figure]:
    """The median with its samples, then p99 and, in its note, the greatest.

    p50  the target of the median, at most
    """
    half, most = percentile(values, 50), percentile(values, 99)
    count, top = f"of {len(values)}", f"max {number(max(values))} {unit}"
    return [
        Figure(f"{what}: p50", half, unit, p50, note=count, samples=tuple(values)),
        Figure(f"{what}: p99", most, unit, note=top),
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """How large a run is, and who is told how far it is.

    share  of the full size, 0 to 1: a small run shows that a bench works
    """

    share: float = 1.0
    quiet: bool = False
    began: float = field(default_factory=time.monotonic)

    def of(self, full: int, least: int = LEAST) -> int:
        return max(min(least, full), round(full * self.share))

    def tell(self, what: str) -> None:
        if not self.quiet:
            elapsed = time.monotonic() - self.began
            print(f"[{elapsed:5.1f} s] {what}", file=sys.stderr, flush=True)
