"""Distributions as an SVG: for each series, which part came within which time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 300  # pixels of the plot; the legend is below it
LEFT, TOP, LINE = 50, 20, 18
COLORS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#be123c", "#525252", "#a16207")
DASHES = ("", "6 3", "2 3")  # for the next seven, and the seven after these

Series = Mapping[str, Sequence[float]]


def distributions(series: Series) -> str:
    """Milliseconds on a logarithmic axis; each value is one step of its line."""
    low, high = decades(series)
    height = TOP + HEIGHT + 50 + LINE * len(series)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 20} '
        f'{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="{height}" fill="white"/>',
        *axes(low, high),
        *(
            part
            for number, (name, values) in enumerate(series.items())
            for part in line(number, name, values, low, high)
        ),
        "</svg>\n",
    ]
    return "\n".join(parts)


def decades(series: Series) -> tuple[int, int]:
    """Powers of ten around all values."""
    values = [max(value, 1e-3) for row in series.values() for value in row]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return low, max(high, low + 1)


def x(value: float, low: int, high: int) -> float:
    part = (math.log10(max(value, 1e-3)) - low) / (high - low)
    return round(LEFT + WIDTH * part, 1)


def y(part: float) -> float:
    return round(TOP + HEIGHT * (1 - part), 1)


def axes(low: int, high: int) -> Iterator[str]:
    for power in range(low, high + 1):
        at = x(10.0**power, low, high)
        yield f'<path d="M{at} {TOP}V{TOP + HEIGHT}" stroke="#ddd"/>'
        yield text(at, TOP + HEIGHT + 16, f"{10.0**power:g}", "middle")
    for percent in (0, 50, 99):
        at = y(percent / 100)
        yield f'<path d="M{LEFT} {at}H{LEFT + WIDTH}" stroke="#ddd"/>'
        yield text(LEFT - 6, at + 4, f"{percent} %", "end")
    yield text(LEFT + WIDTH, TOP + HEIGHT + 32, "ms", "end")


def line(
    number: int, name: str, values: Sequence[float], low: int, high: int
) -> Iterator[str]:
    style = (
        f'stroke="{COLORS[number % len(COLORS)]}" stroke-width="1.8" '
        f'stroke-dasharray="{DASHES[number // len(COLORS) % len(DASHES)]}"'
    )
    steps = "".join(
        f"H{x(value, low, high)}V{y((rank + 1) / len(values))}"
        for rank, value in enumerate(sorted(values))
    )
    yield f'<path d="M{LEFT} {y(0)}{steps}" fill="none" {style}/>'
    at = TOP + HEIGHT + 50 + LINE * number
    yield f'<path d="M{LEFT} {at - 4}h24" {style}/>'
    yield text(LEFT + 32, at, name, "start")


def text(at_x: float, at_y: float, words: str, anchor: str) -> str:
    return f'<text x="{at_x}" y="{at_y}" text-anchor="{anchor}">{escape(words)}</text>'
