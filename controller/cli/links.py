"""Cables between switches, as a table and as a tree."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from controller.cli.ask import place
from controller.cli.client import ask
from controller.cli.show import as_json, table
from controller.text import safe

Row = dict[str, Any]


def links(arguments: Namespace) -> int:
    rows = ask(arguments.socket, "links")
    if arguments.json:
        as_json(rows)
        return 0
    table(
        ["FROM", "TO", "KIND", "UP", "RATE", "COST", "AGE", "BROADCASTS"],
        [
            [
                place(row["from"]),
                place(row["to"]),
                row["kind"],
                row["up"],
                speed(row["rate"]),
                row["cost"],
                "" if row["age"] is None else f"{row['age']:.1f} s",
                carries(row),
            ]
            for row in rows
        ],
    )
    return 0


UNITS = (("G", 10**9), ("M", 10**6), ("k", 10**3), ("", 1))


def speed(rate: int | None) -> str:
    """ "10 Mbit/s"; "" without a limit."""
    if rate is None:
        return ""
    prefix, unit = next(one for one in UNITS if rate >= one[1])
    return f"{rate / unit:.4g} {prefix}bit/s"


def carries(row: Row) -> str:
    return f"{row['broadcasts']}: {row['why']}" if row["why"] else row["broadcasts"]


def tree(arguments: Namespace) -> int:
    rows = ask(arguments.socket, "tree")
    if arguments.json:
        as_json(rows)
        return 0
    for number, row in enumerate(rows):
        if number:
            print()
        for line in drawn(row):
            print(safe(line))
    return 0


def drawn(row: Row) -> Iterator[str]:
    """A line for each switch, below the one that it is reached by."""
    below: dict[str, list[Row]] = {}
    for branch in row["branches"]:
        below.setdefault(dpid(branch["from"]), []).append(branch)
    yield name(row["root"])
    ahead = [(branch, "") for branch in reversed(below.get(dpid(row["root"]), []))]
    left = {dpid(row["root"]): len(ahead)}
    while ahead:
        branch, margin = ahead.pop()
        above, here = dpid(branch["from"]), dpid(branch["to"])
        left[above] -= 1
        corner, line = ("├─ ", "│  ") if left[above] else ("└─ ", "   ")
        why = f": {carries(branch)}" if branch["why"] else ""
        way = f"{place(branch['from'])} to {place(branch['to'])}{why}"
        yield f"{margin}{corner}{name(branch['to'])}  {way}"
        more = below.get(here, [])
        left[here] = len(more)
        ahead += [(one, margin + line) for one in reversed(more)]
    for link in row["closed"]:
        yield f"closed: {place(link['from'])} to {place(link['to'])}: {carries(link)}"


def dpid(row: Row) -> str:
    return str(row["datapath_id"] or name(row))


def name(row: Row) -> str:
    if row.get("overlay"):
        return f"overlay {row['overlay']}"
    return str(row["switch"] or row["datapath_id"])
