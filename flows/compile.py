"""Turn a view into the flow entries that a switch should hold.

The flows are those of the view as a whole, and those of each station and of each
address.  What is written for one of these depends on it and on `context` alone: so
after a change only what has changed is written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flows.memo import same
from flows.network import Network, network
from flows.openflow import Flow
from flows.parties import Holding, Place
from flows.pipeline import PIPELINE, Table, numbered
from flows.switch import Here, Switch
from flows.tracked import changed
from flows.view import View

Flows = Mapping[int, Flow]


class FlowConflict(Exception):
    """Two flows claim the same packets with the same right, or a flow is out of place.

    A mistake in a table's module, never in a view.
    """


Part = Place | Holding | None  # a station, an address, or None: what concerns all


@dataclass(frozen=True)
class Difference:
    """added    flows that were not there before
    removed  cookies of those that are no more
    """

    added: tuple[Flow, ...] = ()
    removed: tuple[int, ...] = ()


class Compiled:
    """The flows of one switch, kept up to date at the cost of what has changed.

    flows  by cookie: what `compile_flows` yields for the view of the last `update`
    """

    def __init__(
        self, datapath_id: int, pipeline: tuple[Table, ...] = PIPELINE
    ) -> None:
        self.datapath_id = datapath_id
        self.flows: dict[int, Flow] = {}
        self._tables = placed_tables(pipeline)
        self._entries: dict[object, Flow] = {}  # by table, priority and match
        self._parts: dict[Part, tuple[Flow, ...]] = {}
        self._uses: dict[int, int] = {}  # by cookie: parts may share a flow
        self._seen: tuple[View, Network] | None = None

    def is_current(self, view: View, known: Network) -> bool:
        """Whether an update would change nothing, as far as can be seen at once."""
        if self._seen is None:
            return False
        seen = self._seen[1]
        rows = (known.located, known.holders), (seen.located, seen.holders)
        return same(*rows) and same(inputs(*self._seen), inputs(view, known))

    def update(self, view: View, known: Network) -> Difference:
        """Go on to another view.  Raises FlowConflict."""
        seen, self._seen = self._seen, None  # if it fails, begin anew
        if seen is not None and not same(context(*seen), context(view, known)):
            seen = None
        gone = {} if seen else self._forget()
        switch = Switch(self.datapath_id, view, known)
        renewed = {part: self._written(switch, part) for part in touched(switch, seen)}
        for part in renewed:
            gone |= self._without(part)
        fresh = [entry for part in renewed.items() for entry in self._with(*part)]
        self._seen = view, known
        return self._settled(fresh, gone)

    def _forget(self) -> dict[int, Flow]:
        self._entries, self._parts, self._uses = {}, {}, {}
        return dict(self.flows)

    def _written(self, switch: Switch, part: Part) -> tuple[Flow, ...]:
        return tuple(
            entry
            for table, here in self._tables
            for entry in checked(table, here, written(table, switch, here, part))
        )

    def _without(self, part: Part) -> dict[int, Flow]:
        """Take a part away; the flows that no other part has."""
        gone: dict[int, Flow] = {}
        for entry in self._parts.pop(part, ()):
            self._uses[entry.cookie] -= 1
            if not self._uses[entry.cookie]:
                gone[entry.cookie] = entry
                del self._uses[entry.cookie], self._entries[entry.key]
        return gone

    def _with(self, part: Part, entries: tuple[Flow, ...]) -> tuple[Flow, ...]:
        if entries:
            self._parts[part] = entries
        for entry in entries:
            other = self._entries.setdefault(entry.key, entry)
            if other is not entry and other != entry:
                raise conflict(other, entry, self._tables)
            self._uses[entry.cookie] = self._uses.get(entry.cookie, 0) + 1
        return entries

    def _settled(self, fresh: list[Flow], gone: Mapping[int, Flow]) -> Difference:
        added = {e.cookie: e for e in fresh if e.cookie not in self.flows}
        removed = sorted(cookie for cookie in gone if cookie not in self._uses)
        for cookie in removed:
            del self.flows[cookie]
        self.flows.update((entry.cookie, entry) for entry in fresh)
        return Difference(tuple(added.values()), tuple(removed))


def touched(switch: Switch, seen: tuple[View, Network] | None) -> Iterator[Part]:
    """Parts that may have changed since a view with the same context; or all."""
    now = switch.network
    if seen is None:
        yield None
        yield from ((one.domain, one.lladdr) for one in switch.stations)
        yield from ((one.domain, one.ip) for one in switch.holders)
        return
    if not same(inputs(*seen), inputs(switch.view, now)):
        yield None
    for place in changed(seen[1].located, now.located):
        if place[0].island == switch.island:
            yield place
    for holding in changed(seen[1].holders, now.holders):
        if holding[0].island == switch.island:
            yield holding


def compile_flows(
    view: View,
    datapath_id: int,
    conclusions: Network | None = None,
    pipeline: tuple[Table, ...] = PIPELINE,
) -> Flows:
    """Every flow that `datapath_id` should hold, by cookie."""
    compiled = Compiled(datapath_id, pipeline)
    compiled.update(view, conclusions or network(view))
    return compiled.flows


def placed_tables(pipeline: tuple[Table, ...]) -> tuple[tuple[Table, Here], ...]:
    ids = numbered(pipeline)
    return tuple(
        (table, Here(t, {name: other for name, other in ids.items() if other > t}))
        for table in pipeline
        for t in (ids[table.name],)
    )


def written(table: Table, switch: Switch, here: Here, part: Part) -> Iterator[Flow]:
    """What a table holds of a part of the view."""
    if part is None:
        return table.always(switch, here)
    domain, one = part
    if isinstance(one, str):
        where = switch.network.located.get((domain, one))
        return table.of_station(switch, here, where) if where else iter(())
    holder = switch.network.holders.get((domain, one))
    return table.of_holder(switch, here, holder) if holder else iter(())


def context(view: View, known: Network) -> tuple[object, ...]:
    """All that the flows of one station or address come from, besides itself."""
    trust = known.trust
    guard = (trust.modes, trust.configured, trust.given, trust.confines)
    policy = (known.rules, known.promiscuous, known.middles)
    return (known.fabric, view.limits, *guard, *policy)


def inputs(view: View, known: Network) -> tuple[object, ...]:
    """All that the flows come from which are not of one station or address."""
    facts = (view.ports, view.abilities, view.sponges)
    guard = (known.trust, known.placed, known.unheld, known.siblings, known.nics)
    flood = (known.tree, known.unknown, known.full)
    return (*facts, *flood, *guard, *context(view, known))


def checked(table: Table, here: Here, entries: Iterator[Flow]) -> Iterator[Flow]:
    for entry in entries:
        strangers = {name for name, _ in entry.match} - table.matches
        if entry.table != here.table_id or strangers:
            raise FlowConflict(
                f"{entry.text}\n  does not belong in table {here.table_id}"
                f" ({table.name}), which matches"
                f" {', '.join(sorted(table.matches)) or 'nothing'}."
            )
        yield entry


def conflict(
    one: Flow, other: Flow, tables: tuple[tuple[Table, Here], ...]
) -> FlowConflict:
    table, here = next(pair for pair in tables if pair[1].table_id == one.table)
    return FlowConflict(
        f"table {here.table_id} ({table.name}) is given two flows with one priority and"
        f" one match, so the switch would keep only one:\n  {one.text}\n"
        f"  {other.text}\n"
        f"Give one of them another priority, or write one flow for both."
    )
