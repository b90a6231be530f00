"""Distributions and curves as SVG: which part came within which time, of each series,
and how a time grows with the network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 300  # pixels of the plot; the legend is below it
LEFT, TOP, LINE = 50, 20, 18
COLORS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce", "#be123c", "#525252", "#a16207")
DASHES = ("", "6 3", "2 3")  # for the next seven, and the seven after these
STEPS, GREATEST = 250, 20  # of a line
QUARTERS = (0, 0.25, 0.5, 0.75, 1)

Series = Mapping[str, Sequence[float]]
Curves = Mapping[str, Sequence[tuple[float, float]]]  # hosts, and microseconds


def distributions(series: Series) -> str:
    """Milliseconds on a logarithmic axis; each value is one step of its line, of very
    many some are, and the greatest."""
    low, high = decades(series)
    return picture(
        len(series),
        *axes(low, high),
        *(
            part
            for number, (name, values) in enumerate(series.items())
            for part in line(number, name, values, low, high)
        ),
    )


def curves(series: Curves) -> str:
    """Microseconds by hosts, these on a logarithmic axis; from zero, so that what looks
    flat is flat."""
    low, high = decades({name: [at for at, _ in row] for name, row in series.items()})
    most = max(value for row in series.values() for _, value in row)
    top = 10.0 ** math.floor(math.log10(most))
    top *= math.ceil(most / top)
    right, edge = LEFT + WIDTH, LEFT - 6
    marks = [text(edge, y(part) + 4, f"{top * part:g}", "end") for part in QUARTERS]
    lines = [f'<path d="M{LEFT} {y(p)}H{right}" stroke="#ddd"/>' for p in QUARTERS]
    return picture(
        len(series),
        *scale(low, high, "hosts"),
        *lines,
        *marks,
        text(LEFT - 6, TOP - 6, "us", "end"),
        *(
            part
            for number, (name, row) in enumerate(series.items())
            for part in curve(number, name, row, (low, high), top)
        ),
    )


def curve(
    number: int,
    name: str,
    row: Sequence[tuple[float, float]],
    ends: tuple[int, int],
    top: float,
) -> Iterator[str]:
    points = [f"{x(at, *ends)} {y(value / top)}" for at, value in sorted(row)]
    yield f'<path d="M{"L".join(points)}" fill="none" {style(number)}/>'
    yield from legend(number, name)


def picture(series: int, *inside: str) -> str:
    height = TOP + HEIGHT + 50 + LINE * series
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 20} '
        f'{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="{height}" fill="white"/>',
        *inside,
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


def scale(low: int, high: int, unit: str) -> Iterator[str]:
    for power in range(low, high + 1):
        at = x(10.0**power, low, high)
        yield f'<path d="M{at} {TOP}V{TOP + HEIGHT}" stroke="#ddd"/>'
        yield text(at, TOP + HEIGHT + 16, f"{10.0**power:g}", "middle")
    yield text(LEFT + WIDTH, TOP + HEIGHT + 32, unit, "end")


def axes(low: int, high: int) -> Iterator[str]:
    yield from scale(low, high, "ms")
    for percent in (0, 50, 99):
        at = y(percent / 100)
        yield f'<path d="M{LEFT} {at}H{LEFT + WIDTH}" stroke="#ddd"/>'
        yield text(LEFT - 6, at + 4, f"{percent} %", "end")


def line(
    number: int, name: str, values: Sequence[float], low: int, high: int
) -> Iterator[str]:
    steps = "".join(
        f"H{x(value, low, high)}V{y(rank / len(values))}"
        for rank, value in enumerate(sorted(values), 1)
        if rank * STEPS // len(values) > (rank - 1) * STEPS // len(values)
        or rank > len(values) - GREATEST
    )
    yield f'<path d="M{LEFT} {y(0)}{steps}" fill="none" {style(number)}/>'
    yield from legend(number, name)


def style(number: int) -> str:
    return (
        f'stroke="{COLORS[number % len(COLORS)]}" stroke-width="1.8" '
        f'stroke-dasharray="{DASHES[number // len(COLORS) % len(DASHES)]}"'
    )


def legend(number: int, name: str) -> Iterator[str]:
    at = TOP + HEIGHT + 50 + LINE * number
    yield f'<path d="M{LEFT} {at - 4}h24" {style(number)}/>'
    yield text(LEFT + 32, at, name, "start")


def text(at_x: float, at_y: float, words: str, anchor: str) -> str:
    return f'<text x="{at_x}" y="{at_y}" text-anchor="{anchor}">{escape(words)}</text>'
