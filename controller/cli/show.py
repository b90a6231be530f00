"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from controller.text import safe


def as_json(value: object) -> None:
    print(json.dumps(value, indent=2))


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Aligned columns.  A name may hold any byte; none of them reaches the terminal."""
    cells = [tuple(heads), *(tuple(map(cell, row)) for row in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(heads))]
    for row in cells:
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return safe(str(value))


def ago(seconds: float | None) -> str:
    """ "12 s ago"; a fact of the kernel's has no age."""
    if seconds is None:
        return "now"
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return (
        f"{seconds / 60:.0f} min ago"
        if seconds < 7200
        else f"{seconds / 3600:.0f} h ago"
    )
