"""Cables whose ports are gone, as long as they may be back unnoticed.

A switch sends to a port until it has done what it was told when the port had gone.  If
the port is back by then, so is the cable.  So it counts for the broadcast tree as long
as both ends may send to it, and an end that is still there is closed as long as the
other one may (`flows.tree`).
"""

from __future__ import annotations

from dataclasses import replace

from flows.fabric import Fabric, fabric_of
from flows.tree import cables, may_send, switches_of
from flows.view import Adjacency, View

KEPT = 5.0  # seconds at the least: an end may be told to open before it goes, too
KEPT_MAX = 1024  # cables; of more the oldest are forgotten


def noted(before: Fabric, view: View, now: float) -> View:
    """The view with the cables that have gone since the fabric was that.

    now  seconds on the caller's monotonic clock
    """
    shape, rows = fabric_of(view), view.departed
    if shape is before and not rows:
        return view
    for cable in cables(before) if before is not shape else ():
        if cable[0] not in shape.uplinks:
            row = Adjacency(*cable[0], *cable[1], now)
            rows = rows.set(row.key, row)
    oldest = sorted(rows.values(), key=lambda row: (row.since, row.key))
    for number, row in enumerate(oldest, KEPT_MAX - len(oldest)):
        is_over = now >= row.since + KEPT and not may_be_sent_to(view, row)
        if is_over or number < 0 or is_explained(shape, view, row):
            rows = rows.delete(row.key)
    return view if rows == view.departed else replace(view, departed=rows)


def is_explained(shape: Fabric, view: View, row: Adjacency) -> bool:
    """The cable is back, or both ports are, and are known to lead elsewhere now."""
    ends = [*switches_of(row.ends)]
    if not shape.uplinks.keys().isdisjoint(ends):
        return True
    return all(
        end in view.ports
        and end not in view.untried
        and (end.datapath_id not in view.bridges or end in view.interfaces)
        for end in ends
    )


def may_be_sent_to(view: View, row: Adjacency) -> bool:
    ends = switches_of(row.ends)
    return any(may_send(view.floods.get(end.datapath_id), end) for end in ends)
