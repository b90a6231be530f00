"""Turn a view into the flow entries that a switch should hold.

The flows are those of the view as a whole, and those of each station and of each
address.  What is written for one of these depends on it and on `context` alone: so
after a change only what has changed is written again.
"""

from __future__ import annotations

from array import array
from collections.abc import (
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableSet,
    Sequence,
    Set,
)
from dataclasses import dataclass, fields, replace
from enum import Enum
from functools import lru_cache, partial
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from flows.cookies import Cookies
from flows.memo import same
from flows.network import Network, network
from flows.openflow import Flow, cookie_of, right_of
from flows.parties import Domain, Holder, Located, domain
from flows.pipeline import PIPELINE, AnyWriter, Table, nothing, numbered
from flows.stencils import Stencils
from flows.switch import Here, Switch
from flows.tracked import changed
from flows.view import IPAddress, Port, View

Flows = Mapping[int, Flow]


class FlowConflict(Exception):
    """Two flows claim the same packets with the same right, or a flow is out of place.

    A mistake in a table's module, never in a view.
    """


Placed = tuple[Table, Here]
Writing = tuple[Table, Here, AnyWriter]


class Common(Enum):
    """What concerns all stations and addresses.

    TREE  what of it depends on which ports are up, and on the broadcast tree
    """

    ALWAYS = "always"
    TREE = "tree"


Part = tuple[Domain, str | IPAddress] | Common  # a station, an address, or of all
Row = Located | Holder | None  # what is known of it; None of what concerns all
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
        self._pipeline, self._writers = pipeline, writers(pipeline)
        self._parts: dict[Part, bytes] = {}  # cookies, eight octets each
        self._shared: dict[int, int] = {}  # by cookie: in how many further parts
        self._seen: Switch | None = None  # what all this is written of
        self._growing: Growing | None = None  # takes the place of all this
        self.wrote = 0
        self._latest: Switch | None = None

    def is_current(self, view: View, known: Network) -> bool:
        """Whether an update would change nothing, as far as can be seen at once."""
        if self._seen is None:
            return False
        was, then = self._seen.view, self._seen.network
        rows = (known.located, known.holders), (then.located, then.holders)
        if not same(*rows) or not same(inputs(was, then), inputs(view, known)):
            return False
        if same(cabling(was, then), cabling(view, known)):
            return True
        switch = self._switch(view, known)
        if not is_cabled_alike(self._seen, switch):
            return False
        self._see(switch)
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
        switch = self._switch(view, known)
        self._turn_to(switch, held, most)
        grown, self.wrote = self._growing, 0
        if grown is None:
            return self._follow(switch, held)
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
            return self._follow(switch, held)
        return together(grown, self._follow(switch, None))

    @property
    def is_growing(self) -> bool:
        """There is more to be written before anything can be said."""
        return self._growing is not None

    def _switch(self, view: View, known: Network) -> Switch:
        """The same for the same view: it keeps what it has looked up."""
        last = self._latest
        if last is None or not same((last.view, last.network), (view, known)):
            last = self._latest = Switch(self.datapath_id, view, known)
        return last

    def _see(self, switch: Switch) -> None:
        """Look up at once what is dear to compute when it is no longer so."""
        self._seen = switch
        _ = switch.ports, switch.cables, switch.exits
        if switch.view.fresh:
            _ = switch.branches

    def _turn_to(self, switch: Switch, held: Set[int] | None, most: int | None) -> None:
        """Begin anew if what all parts come from is not what it was, or who is known is
        to be compared with who was, and that may be too much at once."""
        begun = self._growing.switch if self._growing else self._seen
        if begun is not None and is_akin(begun, switch):
            is_little = most is None or size(switch) <= most
            if is_little or is_among_the_same(begun, switch):
                return
        given = self.cookies if held is None else held
        self._growing = Growing(switch, given, self._written, self._pipeline)

    def _take_over(self, grown: Growing) -> None:
        self.cookies = Cookies(grown.cookies)
        self._parts, self._shared = grown.parts, grown.shared
        self._growing = None
        self._see(grown.switch)

    def _follow(self, switch: Switch, held: Set[int] | None) -> Difference:
        """From what was seen last, at the cost of what has changed."""
        seen, self._seen = self._seen, None  # if it fails, begin anew
        assert seen is not None
        if seen.island != switch.island:
            had = self._parts.items()
            self._parts = {called(switch, part): octets for part, octets in had}
        parts = dict.fromkeys((*touched(seen, switch), *turned(seen, switch)))
        renewed = [*self._claims(switch, parts)]
        gone = {cookie for part, _ in renewed for cookie in self._without(part)}
        added = self._with(renewed, gone)
        self._see(switch)
        if held is not None:
            return self._compared(switch, held)
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
        """What the tables hold of a part of the view."""
        one = row_of(switch, part)
        if one is None and not isinstance(part, Common):
            return []
        return written(self._writers.of(part), switch, one)


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
        self.switch = switch
        self._write, self._pipeline = write, pipeline
        self._left = rows_of(switch)
        self._rights: dict[int, int] = {}  # cookies, by Flow.right
        self._stencils = Stencils(
            switch, partial(written_of, switch, writers(pipeline))
        )

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


def rows_of(switch: Switch) -> Iterator[tuple[Part, Row]]:
    """All parts, with what is known of them."""
    here = switch.island
    yield Common.ALWAYS, None
    yield Common.TREE, None
    yield from (
        row for row in switch.network.located.items() if row[0][0].island == here
    )
    yield from (
        row for row in switch.network.holders.items() if row[0][0].island == here
    )


def called(switch: Switch, part: Part) -> Part:
    """The same in the island of the switch, which may have got another name."""
    if isinstance(part, Common) or part[0].island == switch.island:
        return part
    return domain(switch.island, part[0].vlan), part[1]


def look_for_conflict(switch: Switch, pipeline: tuple[Table, ...]) -> None:
    """Two flows may claim the same: to be certain, compare them all."""
    compile_flows(switch.view, switch.datapath_id, switch.network, pipeline)


def cookies_in(octets: bytes) -> Iterable[int]:
    return array("Q", octets)


def touched(seen: Switch, switch: Switch) -> Iterator[Part]:
    """Parts that may have changed, where what all come from has not."""
    if has_changed_for_all(seen, switch):
        yield from Common
    for part, before, now in rows_of_both(seen, switch):
        if differ(before, now):
            yield part


def rows_of_both(seen: Switch, switch: Switch) -> Iterator[tuple[Part, Row, Row]]:
    """What was known of others, and is."""
    if seen.island != switch.island:
        were = {called(switch, part): one for part, one in rows_of(seen)}
        are = dict(rows_of(switch))
        yield from ((part, were.get(part), are.get(part)) for part in {**were, **are})
        return
    was, now = seen.network, switch.network
    moved = (*changed(was.located, now.located), *changed(was.holders, now.holders))
    for part in dict.fromkeys(moved):
        if part[0].island == switch.island:
            yield part, row_of(seen, part), row_of(switch, part)


def has_changed_for_all(seen: Switch, switch: Switch) -> bool:
    was, now = (seen.view, seen.network), (switch.view, switch.network)
    if not same(inputs(*was), inputs(*now)):
        return True
    if same(cabling(*was), cabling(*now)):
        return False
    if not is_near_alike(seen, switch):
        return True
    is_renamed = seen.island != switch.island
    named = (rows for one in (was, now) for rows in (one[1].placed, one[1].unheld))
    return is_renamed and any(named)


APART = {  # from the domain: a switch is in one island, whatever that is called
    kind: attrgetter(*(one.name for one in fields(kind) if one.name != "domain"))
    for kind in (Located, Holder)
}


def differ(before: Row, now: Row) -> bool:
    """By more than the name of the island."""
    if before is None or now is None:
        return before is not now
    apart = APART[type(now)]
    return bool(apart(before) != apart(now))


def turned(seen: Switch, switch: Switch) -> Iterator[Part]:
    """What depends on cables, if it has changed: what is flooded, and stations that are
    reached by another way."""
    if same(cabling(seen.view, seen.network), cabling(switch.view, switch.network)):
        return
    if seen.flooded != switch.flooded:
        yield Common.TREE
    yield from settling(seen, switch)
    goals = changed(seen.exits, switch.exits)
    if goals:  # nothing is remembered: that would keep an old version of the table
        here = switch.island
        for place, where in switch.network.located.items():
            if where.port.datapath_id in goals and place[0].island == here:
                yield place


def settling(seen: Switch, switch: Switch) -> Iterator[Part]:
    """Stations that are new to some switches, or were, and are reached by another way
    for that, or as the tree has changed."""
    was, now = seen.view.fresh, switch.view.fresh
    keys = changed(was, now)
    if was and now and changed(seen.branches, switch.branches):
        keys = keys.union(now)
    for key in keys:
        if seen.exit_to(key) == switch.exit_to(key):
            continue
        place = domain(switch.island, key.vlan), key.lladdr
        where = switch.network.located.get(place)
        if where is not None and where.key == key:
            yield place


def compile_flows(
    view: View,
    datapath_id: int,
    conclusions: Network | None = None,
    pipeline: tuple[Table, ...] = PIPELINE,
) -> Flows:
    """Every flow that `datapath_id` should hold, by cookie.  Raises FlowConflict."""
    switch = Switch(datapath_id, view, conclusions or network(view))
    by = writers(pipeline)
    entries: dict[object, Flow] = {}  # by table, priority and match
    for part, one in rows_of(switch):
        about = () if one is None else (one,)
        for table, here, write in by.of(part):
            for entry in write(switch, here, *about):
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


class Writers(NamedTuple):
    """Who writes into the tables of a pipeline, by what they write of."""

    always: tuple[Writing, ...]
    tree: tuple[Writing, ...]
    station: tuple[Writing, ...]
    holder: tuple[Writing, ...]

    def of(self, part: Part) -> tuple[Writing, ...]:
        if isinstance(part, Common):
            return self.always if part is Common.ALWAYS else self.tree
        return self.station if isinstance(part[1], str) else self.holder


@lru_cache(maxsize=8)
def writers(pipeline: tuple[Table, ...]) -> Writers:
    def those(name: str) -> tuple[Writing, ...]:
        placed = placed_tables(pipeline)
        some = ((table, here, getattr(table, name)) for table, here in placed)
        return tuple(one for one in some if one[2] is not nothing)

    return Writers(*map(those, ("always", "of_tree", "of_station", "of_holder")))


def written(some: Iterable[Writing], switch: Switch, one: Row) -> list[Flow]:
    """What these write of a station or an address, or of what concerns all."""
    about = () if one is None else (one,)
    return [entry for _, here, write in some for entry in write(switch, here, *about)]


def written_of(switch: Switch, by: Writers, one: Located | Holder) -> list[Flow]:
    some = by.station if isinstance(one, Located) else by.holder
    return written(some, switch, one)


def row_of(switch: Switch, part: Part) -> Row:
    """What is known of a part, if it is about somebody."""
    if isinstance(part, Common):
        return None
    of, who = domain(switch.island, part[0].vlan), part[1]
    if isinstance(who, str):
        return switch.network.located.get((of, who))
    return switch.network.holders.get((of, who))


def context(view: View, known: Network) -> tuple[object, ...]:
    """All that a switch's flows of one station or address come from, besides itself,
    the way to its switch and the uplinks."""
    trust = known.trust
    guard = (trust.modes, trust.configured, trust.given, trust.confines)
    policy = (known.rules, known.promiscuous, known.middles)
    return (known.vlans, view.limits, *guard, *policy)


def inputs(view: View, known: Network) -> tuple[object, ...]:
    """All that its flows come from which are not of one station or address, besides
    what is near."""
    facts = (view.abilities, view.sponges)
    guard = (known.trust, known.placed, known.unheld, known.siblings, known.nics)
    flood = (known.unknown, known.held, known.loops, known.full)
    return (*facts, *flood, *guard, *context(view, known))


def cabling(view: View, known: Network) -> tuple[object, ...]:
    """Where this stays, so does what is near, the way to everybody, and who there is to
    be reached."""
    return (view.ports, known.tree, known.fabric, known.rates, view.fresh)


def is_akin(seen: Switch, switch: Switch) -> bool:
    """What all parts come from is the same."""
    was, now = (seen.view, seen.network), (switch.view, switch.network)
    if not same(context(*was), context(*now)):
        return False
    if same(cabling(*was), cabling(*now)):
        return True
    is_renamed = seen.island != switch.island
    if is_renamed and switch.network.middles:  # who are looked up by it
        return False
    return seen.uplinks == switch.uplinks


def size(switch: Switch) -> int:
    return len(switch.network.located) + len(switch.network.holders)


def is_among_the_same(seen: Switch, switch: Switch) -> bool:
    """Its island consists of the same switches."""
    was, now = seen.network.fabric, switch.network.fabric
    return was is now or mates(seen) == mates(switch)


def mates(switch: Switch) -> frozenset[int]:
    """Switches of its island."""
    islands = switch.network.fabric.islands.items()
    return frozenset(other for other, name in islands if name == switch.island)


def is_cabled_alike(seen: Switch, switch: Switch) -> bool:
    return (
        seen.island == switch.island
        and not changed(seen.exits, switch.exits)
        and seen.flooded == switch.flooded
        and not any(settling(seen, switch))
        and is_near_alike(seen, switch)
    )


def is_near_alike(seen: Switch, switch: Switch) -> bool:
    """It has the same ports, and the same cables to the same ports of others, and there
    are the same ends of overlays."""
    if seen.cables != switch.cables or seen.shared != switch.shared:
        return False
    return are_alike(seen.ports, switch.ports) and are_alike(seen.far, switch.far)


def are_alike(some: Sequence[Port | None], others: Sequence[Port | None]) -> bool:
    return len(some) == len(others) and all(map(is_alike, some, others))


def is_alike(one: Port | None, other: Port | None) -> bool:
    """Up or down."""
    if one is other or one is None or other is None:
        return one is other
    return one == replace(other, up=one.up)


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
