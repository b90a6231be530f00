"""Turn a view into the flow entries that a switch should hold.

The flows are those of the view as a whole, and those of each station and of each
address.  What is written for one of these depends on it and on `context` alone: so
after a change only what has changed is written again.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSet, Set
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice

from flows.cookies import Cookies
from flows.memo import same
from flows.network import Network, network
from flows.openflow import Flow, cookie_of, right_of
from flows.parties import Holder, Holding, Located, Place
from flows.pipeline import PIPELINE, Table, numbered, of_nobody
from flows.stencils import Stencils
from flows.switch import Here, Switch
from flows.tracked import changed
from flows.view import View
from flows.ways import Exit

Flows = Mapping[int, Flow]


class FlowConflict(Exception):
    """Two flows claim the same packets with the same right, or a flow is out of place.

    A mistake in a table's module, never in a view.
    """


Exits = Mapping[int, Exit]  # how a frame leaves for each other switch
Placed = tuple[Table, Here]
Part = Place | Holding | None  # a station, an address, or None: what concerns all
Claims = tuple[Part, dict[int, Flow]]  # what is written for it, by cookie


@dataclass(frozen=True)
class Difference:
    """added    flows that were not there before
    removed  cookies of those that are no more
    """

    added: tuple[Flow, ...] = ()
    removed: tuple[int, ...] = ()


class Compiled:
    """The flows of one switch, kept up to date at the cost of what has changed.

    cookies  of what `compile_flows` yields for the view of the last `update`
    wrote    parts that the last `go_on` has written, of those that it began anew

    Of a flow nothing is kept but its cookie: all else can be written again.
    """

    def __init__(
        self, datapath_id: int, pipeline: tuple[Table, ...] = PIPELINE
    ) -> None:
        self.datapath_id = datapath_id
        self.cookies: MutableSet[int] = Cookies()
        self._pipeline = pipeline
        self._parts: dict[Part, bytes] = {}  # cookies, eight octets each
        self._shared: dict[int, int] = {}  # by cookie: in how many further parts
        self._seen: tuple[View, Network] | None = None
        self._growing: Growing | None = None  # takes the place of all this
        self.wrote = 0
        self._nearby: tuple[object, ...] = ()
        self._exits: Exits = {}

    def is_current(self, view: View, known: Network) -> bool:
        """Whether an update would change nothing, as far as can be seen at once."""
        if self._seen is None:
            return False
        seen, at = self._seen, self.datapath_id
        rows = (known.located, known.holders), (seen[1].located, seen[1].holders)
        if not same(*rows) or not same(inputs(at, *seen), inputs(at, view, known)):
            return False
        if same(cabling(*seen), cabling(view, known)):
            return True
        switch = Switch(at, view, known)
        if nearby(switch) != self._nearby or switch.exits != self._exits:
            return False
        self._seen = view, known
        return True

    def update(
        self, view: View, known: Network, held: Set[int] | None = None
    ) -> Difference:
        """Go on to another view.  Raises FlowConflict.

        held  cookies that the switch holds, if they are not those of the last update;
              the difference is to these
        """
        difference = self.go_on(view, known, held)
        assert difference is not None
        return difference

    def go_on(
        self,
        view: View,
        known: Network,
        held: Set[int] | None = None,
        most: int | None = None,
    ) -> Difference | None:
        """The same.  What must be written anew is written in pieces of `most` parts:
        None if there are more, which are for the next calls, whatever is true by then.
        """
        self._turn_to(Switch(self.datapath_id, view, known), held)
        grown, self.wrote = self._growing, 0
        if grown is None:
            return self._follow(view, known, held)
        self._seen = None  # if it fails, begin anew
        try:
            self.wrote = grown.go_on(most)
        except FlowConflict:
            self._growing = None
            raise
        if self.wrote == most:
            return None
        self._take_over(grown)
        if held is not None and held is not grown.given:  # it has told it anew
            return self._follow(view, known, held)
        return together(grown, self._follow(view, known, None))

    @property
    def is_growing(self) -> bool:
        """There is more to be written before anything can be said."""
        return self._growing is not None

    def _turn_to(self, switch: Switch, held: Set[int] | None) -> None:
        """Begin anew if what all parts come from is not what it was."""
        at, now = self.datapath_id, (switch.view, switch.network)
        begun = self._growing.seen if self._growing else self._seen
        if begun is not None and same(context(at, *begun), context(at, *now)):
            return
        given = self.cookies if held is None else held
        self._growing = Growing(switch, given, self._written, self._pipeline)

    def _take_over(self, grown: Growing) -> None:
        self.cookies = Cookies(grown.cookies)
        self._parts, self._shared = grown.parts, grown.shared
        switch = grown.switch
        self._seen, self._growing = grown.seen, None
        self._nearby, self._exits = nearby(switch), switch.exits

    def _follow(self, view: View, known: Network, held: Set[int] | None) -> Difference:
        """From the view that was seen last, at the cost of what has changed."""
        seen, self._seen = self._seen, None  # if it fails, begin anew
        assert seen is not None
        switch = Switch(self.datapath_id, view, known)
        parts = dict.fromkeys(touched(switch, seen))
        near, exits = self._nearby, self._exits
        if not same(cabling(*seen), cabling(view, known)):
            near, exits = nearby(switch), switch.exits
            if near != self._nearby:
                parts[None] = None
            parts |= dict.fromkeys(turned(switch, self._exits))
        difference = self._step(switch, parts)
        self._seen, self._nearby, self._exits = (view, known), near, exits
        return difference if held is None else self._compared(switch, held)

    def _step(self, switch: Switch, parts: Iterable[Part]) -> Difference:
        renewed = [*self._claims(switch, parts)]
        gone = {cookie for part, _ in renewed for cookie in self._without(part)}
        added = self._with(renewed, gone)
        return Difference(added, self._superfluous(gone))

    def _claims(self, switch: Switch, parts: Iterable[Part]) -> Iterator[Claims]:
        """What is written for each; raises FlowConflict if two of these differ in what
        they want for one table, priority and match."""
        rights: dict[int, int] = {}  # cookies, by a hash of these three
        for part in parts:
            entries = {entry.cookie: entry for entry in self._written(switch, part)}
            for cookie, entry in entries.items():
                if rights.setdefault(entry.right, cookie) != cookie:
                    look_for_conflict(switch, self._pipeline)
            yield part, entries

    def _compared(self, switch: Switch, held: Set[int]) -> Difference:
        """Parts that the switch lacks something of are written once more."""
        lacking = (
            part
            for part, octets in self._parts.items()
            if any(cookie not in held for cookie in cookies_in(octets))
        )
        entries = (entry for part in lacking for entry in self._written(switch, part))
        added = {entry.cookie: entry for entry in entries if entry.cookie not in held}
        return Difference(tuple(added.values()), self._superfluous(held))

    def _superfluous(self, held: Set[int]) -> tuple[int, ...]:
        return tuple(sorted(cookie for cookie in held if cookie not in self.cookies))

    def _without(self, part: Part) -> Iterator[int]:
        """Take a part away; the cookies that no other part has."""
        for cookie in cookies_in(self._parts.pop(part, b"")):
            further = self._shared.pop(cookie, 0)
            if further > 1:
                self._shared[cookie] = further - 1
            if not further:
                self.cookies.discard(cookie)
                yield cookie

    def _with(self, renewed: Iterable[Claims], held: Set[int]) -> tuple[Flow, ...]:
        """Put parts there that are not; the flows that are not held."""
        added: list[Flow] = []
        cookies, shared = self.cookies, self._shared
        for part, entries in renewed:
            for cookie, entry in entries.items():
                if cookie in cookies:
                    shared[cookie] = shared.get(cookie, 0) + 1
                    continue
                cookies.add(cookie)
                if cookie not in held:
                    added.append(entry)
            if entries:
                self._parts[part] = array("Q", entries).tobytes()
        return tuple(added)

    def _written(self, switch: Switch, part: Part) -> list[Flow]:
        return written(switch, part, self._pipeline)


class Growing:
    """The flows of all parts of a switch, none of which is written yet.

    held   cookies that the switch holds; `given` as this
    added  flows that it does not

    What it holds is written as cookies alone, where many parts are alike.
    """

    def __init__(
        self,
        switch: Switch,
        held: Set[int],
        write: Callable[[Switch, Part], list[Flow]],
        pipeline: tuple[Table, ...],
    ) -> None:
        self.given = held
        self.held = held if isinstance(held, set | frozenset) else {*held}
        self.added: list[Flow] = []
        self.cookies: set[int] = set()  # faster than Cookies while they grow
        self.parts: dict[Part, bytes] = {}
        self.shared: dict[int, int] = {}
        self.switch, self.seen = switch, (switch.view, switch.network)
        self._write, self._pipeline = write, pipeline
        self._left = rows_of(switch)
        self._rights: dict[int, int] = {}  # cookies, by Flow.right
        self._stencils = Stencils(switch, partial(written_of, switch, pipeline))

    def go_on(self, most: int | None = None) -> int:
        """Write so many parts, or as many as are left.  Raises FlowConflict."""
        written = 0
        for part, one in islice(self._left, most):
            written += 1
            claims = self._as_held(one) if one is not None and self.held else None
            if claims is None:
                claims = self._written(part)
            if claims:
                self._put(part, claims)
        return written

    def _as_held(self, one: Located | Holder) -> Mapping[int, int] | None:
        """Flow.right by cookie; None if the switch lacks one, or they must be written
        to know."""
        texts = self._stencils.texts(one)
        if texts is None:
            return None
        claims = {cookie_of(text): right_of(text) for text in texts}
        return claims if claims.keys() <= self.held else None

    def _written(self, part: Part) -> Mapping[int, int]:
        """The same, and what the switch lacks of them."""
        held, known = self.held, self.cookies
        claims: dict[int, int] = {}
        for entry in self._write(self.switch, part):
            cookie = entry.cookie
            if cookie not in claims and cookie not in held and cookie not in known:
                self.added.append(entry)
            claims[cookie] = entry.right
        return claims

    def _put(self, part: Part, claims: Mapping[int, int]) -> None:
        cookies, shared, rights = self.cookies, self.shared, self._rights
        for cookie, right in claims.items():
            if rights.setdefault(right, cookie) != cookie:
                look_for_conflict(self.switch, self._pipeline)
            if cookie in cookies:
                shared[cookie] = shared.get(cookie, 0) + 1
            else:
                cookies.add(cookie)
        self.parts[part] = array("Q", claims).tobytes()


def together(grown: Growing, since: Difference) -> Difference:
    """From what the switch holds to what has followed on what was written for it."""
    gone, come = {*since.removed}, {entry.cookie for entry in since.added}
    added = (entry for entry in grown.added if entry.cookie not in gone)
    fresh = (entry for entry in since.added if entry.cookie not in grown.held)
    removed = (grown.held - grown.cookies) | (grown.held & gone)
    return Difference((*added, *fresh), tuple(sorted(removed - come)))


def rows_of(switch: Switch) -> Iterator[tuple[Part, Located | Holder | None]]:
    """All parts, with what is known of them."""
    here = switch.island
    yield None, None
    yield from (
        row for row in switch.network.located.items() if row[0][0].island == here
    )
    yield from (
        row for row in switch.network.holders.items() if row[0][0].island == here
    )


def look_for_conflict(switch: Switch, pipeline: tuple[Table, ...]) -> None:
    """Two flows may claim the same: to be certain, compare them all."""
    compile_flows(switch.view, switch.datapath_id, switch.network, pipeline)


def cookies_in(octets: bytes) -> Iterable[int]:
    return array("Q", octets)


def touched(switch: Switch, seen: tuple[View, Network]) -> Iterator[Part]:
    """Parts that may have changed since a view with the same context."""
    now = switch.network
    at = switch.datapath_id
    if not same(inputs(at, *seen), inputs(at, switch.view, now)):
        yield None
    for place in changed(seen[1].located, now.located):
        if place[0].island == switch.island:
            yield place
    for holding in changed(seen[1].holders, now.holders):
        if holding[0].island == switch.island:
            yield holding


def turned(switch: Switch, before: Exits) -> Iterator[Part]:
    """Stations of switches that frames leave for by another way than before."""
    now = switch.exits
    if now is before:
        return
    goals = {goal for goal in {*now, *before} if now.get(goal) != before.get(goal)}
    if goals:  # nothing is remembered: that would keep an old version of the table
        for place, where in switch.network.located.items():
            if where.port.datapath_id in goals:
                yield place


def compile_flows(
    view: View,
    datapath_id: int,
    conclusions: Network | None = None,
    pipeline: tuple[Table, ...] = PIPELINE,
) -> Flows:
    """Every flow that `datapath_id` should hold, by cookie.  Raises FlowConflict."""
    switch = Switch(datapath_id, view, conclusions or network(view))
    entries: dict[object, Flow] = {}  # by table, priority and match
    for part, _ in rows_of(switch):
        for (table, here), mine in by_table(switch, part, pipeline):
            for entry in mine:
                check(entry, table, here)
                other = entries.setdefault(entry.key, entry)
                if other != entry:
                    raise conflict(other, entry, placed_tables(pipeline))
    return {entry.cookie: entry for entry in entries.values()}


@lru_cache(maxsize=8)
def placed_tables(pipeline: tuple[Table, ...]) -> tuple[Placed, ...]:
    ids = numbered(pipeline)
    return tuple(
        (table, Here(t, {name: other for name, other in ids.items() if other > t}))
        for table in pipeline
        for t in (ids[table.name],)
    )


@lru_cache(maxsize=8)
def tables_of_stations(pipeline: tuple[Table, ...]) -> tuple[Placed, ...]:
    placed = placed_tables(pipeline)
    return tuple(one for one in placed if one[0].of_station is not of_nobody)


@lru_cache(maxsize=8)
def tables_of_holders(pipeline: tuple[Table, ...]) -> tuple[Placed, ...]:
    placed = placed_tables(pipeline)
    return tuple(one for one in placed if one[0].of_holder is not of_nobody)


def written(
    switch: Switch, part: Part, pipeline: tuple[Table, ...] = PIPELINE
) -> list[Flow]:
    """What the tables hold of a part of the view."""
    entries: list[Flow] = []
    for _, mine in by_table(switch, part, pipeline):
        entries += mine
    return entries


def written_of(
    switch: Switch, pipeline: tuple[Table, ...], one: Located | Holder
) -> list[Flow]:
    """What they hold of a station or an address."""
    return [entry for _, mine in of_row(switch, one, pipeline) for entry in mine]


def by_table(
    switch: Switch, part: Part, pipeline: tuple[Table, ...]
) -> Iterable[tuple[Placed, Iterator[Flow]]]:
    if part is None:
        return [(one, one[0].always(switch, one[1])) for one in placed_tables(pipeline)]
    one = row_of(switch, part)
    return () if one is None else of_row(switch, one, pipeline)


def row_of(switch: Switch, part: Part) -> Located | Holder | None:
    """What is known of a part, if it is about somebody."""
    if part is None:
        return None
    if isinstance(part[1], str):
        return switch.network.located.get((part[0], part[1]))
    return switch.network.holders.get((part[0], part[1]))


def of_row(
    switch: Switch, one: Located | Holder, pipeline: tuple[Table, ...]
) -> Iterable[tuple[Placed, Iterator[Flow]]]:
    if isinstance(one, Located):
        return [
            (table, table[0].of_station(switch, table[1], one))
            for table in tables_of_stations(pipeline)
        ]
    return [
        (table, table[0].of_holder(switch, table[1], one))
        for table in tables_of_holders(pipeline)
    ]


def context(datapath_id: int, view: View, known: Network) -> tuple[object, ...]:
    """All that a switch's flows of one station or address come from, besides itself and
    the way to its switch."""
    trust = known.trust
    guard = (trust.modes, trust.configured, trust.given, trust.confines)
    policy = (known.rules, known.promiscuous, known.middles)
    island = known.islands.get(datapath_id)
    return (island, known.vlans, view.limits, *guard, *policy)


def inputs(datapath_id: int, view: View, known: Network) -> tuple[object, ...]:
    """All that its flows come from which are not of one station or address, besides
    what is `nearby`."""
    facts = (view.abilities, view.sponges)
    guard = (known.trust, known.placed, known.unheld, known.siblings, known.nics)
    flood = (known.unknown, known.held, known.loops, known.full)
    return (*facts, *flood, *guard, *context(datapath_id, view, known))


def cabling(view: View, known: Network) -> tuple[object, ...]:
    """Where this stays, so does what is nearby, and the way to everybody."""
    return (view.ports, known.tree, known.fabric, known.rates)


def nearby(switch: Switch) -> tuple[object, ...]:
    """Its ports, the far ends of its cables, and which of them are on the tree."""
    ports, known = switch.ports, switch.network
    uplinks = known.fabric.uplinks
    far = (uplinks.get(port.key) for port in ports)
    ends = tuple(switch.view.ports.get(end) if end else None for end in far)
    return ports, ends, tuple(port.key in known.tree for port in ports)


def check(entry: Flow, table: Table, here: Here) -> None:
    strangers = {name for name, _ in entry.match} - table.matches
    if entry.table != here.table_id or strangers:
        raise FlowConflict(
            f"{entry.text}\n  does not belong in table {here.table_id}"
            f" ({table.name}), which matches"
            f" {', '.join(sorted(table.matches)) or 'nothing'}."
        )


def conflict(one: Flow, other: Flow, tables: tuple[Placed, ...]) -> FlowConflict:
    table, here = next(pair for pair in tables if pair[1].table_id == one.table)
    return FlowConflict(
        f"table {here.table_id} ({table.name}) is given two flows with one priority and"
        f" one match, so the switch would keep only one:\n  {one.text}\n"
        f"  {other.text}\n"
        f"Give one of them another priority, or write one flow for both."
    )
