"""Turn a view into the flow entries that a switch should hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields

from flows.network import Network, network
from flows.openflow import Flow
from flows.pipeline import PIPELINE, Table
from flows.switch import Here, Switch
from flows.view import View

Flows = Mapping[int, Flow]


class FlowConflict(Exception):
    """Two flows claim the same packets with the same right, or a flow is out of place.

    A mistake in a table's module, never in a view.
    """


def compile_flows(
    view: View,
    datapath_id: int,
    conclusions: Network | None = None,
    pipeline: tuple[Table, ...] = PIPELINE,
) -> Flows:
    """Every flow that `datapath_id` should hold, by cookie."""
    switch = Switch(datapath_id, view, conclusions or network(view))
    entries: dict[object, Flow] = {}
    ids = {table.name: table_id for table_id, table in enumerate(pipeline)}
    for table_id, table in enumerate(pipeline):
        later = {name: other for name, other in ids.items() if other > table_id}
        for entry in written(table, switch, Here(table_id, later)):
            check(entry, table_id, table)
            other = entries.setdefault(entry.key, entry)
            if other is not entry and other != entry:
                raise conflict(table_id, table, other, entry)
    return {entry.cookie: entry for entry in entries.values()}


def written(table: Table, switch: Switch, here: Here) -> Iterator[Flow]:
    yield from table.always(switch, here)
    for where in switch.stations:
        yield from table.of_station(switch, here, where)
    for holder in switch.holders:
        yield from table.of_holder(switch, here, holder)


def inputs(view: View, conclusions: Network) -> tuple[object, ...]:
    """All that `compile_flows` reads: the same objects compile to the same flows."""
    parts = (getattr(conclusions, field.name) for field in fields(conclusions))
    return (view.ports, view.limits, *parts)


def check(entry: Flow, table_id: int, table: Table) -> None:
    strangers = {name for name, _ in entry.match} - table.matches
    if entry.table != table_id or strangers:
        raise FlowConflict(
            f"{entry.text}\n  does not belong in table {table_id} ({table.name}),"
            f" which matches {', '.join(sorted(table.matches)) or 'nothing'}."
        )


def conflict(table_id: int, table: Table, one: Flow, other: Flow) -> FlowConflict:
    return FlowConflict(
        f"table {table_id} ({table.name}) is given two flows with one priority and one"
        f" match, so the switch would keep only one:\n  {one.text}\n  {other.text}\n"
        f"Give one of them another priority, or write one flow for both."
    )
