"""Ports that send more than their budgets: counted, and told once for each time.

The switch counts what its meters drop.  A budget is overrun from the first count that
shows more than the one before until three in a row show no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from flows import budgets
from flows.budgets import IN_WORDS
from flows.view import View, switch_name

CALM = 3  # counts without a further drop, and it is over
METERS_COUNTED = 1 << 17  # of all switches together


@dataclass(frozen=True, slots=True)
class Overrun:
    """What one meter has dropped.

    dropped  by the meter, in all its life
    total    in all lives that this controller has seen
    before   of these, until the present overrun
    since    seconds on the caller's monotonic clock; None if it is within its budget
    calm     counts in a row that showed no more
    """

    dropped: int
    total: int = 0
    before: int = 0
    since: float | None = None
    calm: int = 0


class Overruns:
    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], Overrun] = {}
        self.counters: Counter[str] = Counter()

    def counted(
        self, view: View, datapath_id: int, dropped: dict[int, int], now: float
    ) -> Iterator[str]:
        """What a switch's meters have dropped, by meter_id; a line for each change."""
        for number, count in dropped.items():
            key = (datapath_id, number)
            if not budgets.is_ours(number):
                continue
            before = self.rows.get(key)
            if before is None:
                if len(self.rows) >= METERS_COUNTED:
                    continue
                # It may have counted since long before this controller has started.
                self.rows[key] = Overrun(count)
                continue
            more = count - before.dropped if count >= before.dropped else count
            self.rows[key], line = self._next(view, key, before, count, more, now)
            if line:
                yield line

    def _next(
        self,
        view: View,
        key: tuple[int, int],
        row: Overrun,
        count: int,
        more: int,
        now: float,
    ) -> tuple[Overrun, str]:
        budget, where = budgets.budget_of(key[1]), place(view, *key)
        row = replace(row, dropped=count, total=row.total + more)
        if more:
            self.counters[f"over budget: {IN_WORDS[budget]}"] += more
            if row.since is not None:
                return replace(row, calm=0), ""
            begun = replace(row, since=now, before=row.total - more, calm=0)
            rate = budgets.rate(view.limits, budget)
            return begun, f"{where} exceeds {rate} a second: {IN_WORDS[budget]}"
        if row.since is None:
            return row, ""
        if row.calm + 1 < CALM:
            return replace(row, calm=row.calm + 1), ""
        lost, seconds = row.total - row.before, now - row.since
        over = replace(row, since=None, calm=0)
        return over, (
            f"{where} is within its budget again: {IN_WORDS[budget]};"
            f" {lost} were dropped in {seconds:.0f} s"
        )

    def forget(self, datapath_id: int) -> None:
        """A switch is gone, and counts from zero if it comes back."""
        self.rows = {
            key: row for key, row in self.rows.items() if key[0] != datapath_id
        }


def place(view: View, datapath_id: int, number: int) -> str:
    port = budgets.port_of(number, view.ports, datapath_id)
    switch = switch_name(view, datapath_id) or f"{datapath_id:x}"
    if port is None:
        return f"a port of {switch} that is not known yet"
    name = port.ifname
    return name if name.startswith(f"{switch}-") else f"{switch}:{name}"
