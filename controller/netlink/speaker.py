"""Says what a mirror publishes, to one reader, in JSON lines; all or a part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeGuard

from controller.netlink import lines
from controller.netlink.output import Output
from controller.netlink.tables import (
    IN_A_NAMESPACE,
    OWN,
    TABLES,
    Change,
    Key,
    Namespace,
    Row,
    Scope,
    Tables,
    interfaces_of,
)


class Filter(NamedTuple):
    """What a reader wants to hear of; "" for an interface or a namespace means any.

    namespace  a name, or an nsid in decimal ("-1" for our own)
    interface  an ifname or altname
    """

    tables: frozenset[str] = frozenset(TABLES)
    namespace: str = ""
    interface: str = ""

    def passes(self, tables: Tables, scope: Scope, key: Key, row: Row) -> bool:
        if scope.table not in self.tables:
            return False
        if scope.table == "nsid":
            return self._is_namespace(tables, key)
        return self._is_namespace(tables, scope.nsid) and (
            not self.interface or self._is_spoken_of(tables, scope, key, row)
        )

    def _is_namespace(self, tables: Tables, nsid: int) -> bool:
        if not self.namespace:
            return True
        row = tables.rows("nsid", OWN).get(nsid)
        name = row.name if isinstance(row, Namespace) else ""
        return self.namespace in (str(nsid), name)

    def _is_spoken_of(self, tables: Tables, scope: Scope, key: Key, row: Row) -> bool:
        """The row is of an interface with this name."""
        for interface in interfaces_of(key, row):
            if interface == self.interface:
                return True
            found = (
                tables.interface(scope.nsid, interface) if is_index(interface) else None
            )
            if found and self.interface in (found.link.ifname, *found.link.altnames):
                return True
        return False


def is_index(interface: int | str) -> TypeGuard[int]:
    return isinstance(interface, int)


class Speaker:
    """A sink that speaks.  With a filter it remembers what it has said, since a row
    may come into view, or leave it, by a change of another: a name, for instance.

    also  is told of every change, whatever the filter
    """

    def __init__(
        self,
        output: Output,
        only: Filter,
        also: Callable[[Change], object] = lambda change: None,
    ) -> None:
        self.tables = Tables()  # the mirror's, once there is one
        self.synced = False
        self._output = output
        self._only = only
        self._also = also
        self._partial = bool(only.namespace or only.interface)
        self._said: dict[tuple[Scope, Key], Row] = {}
        self._notes: dict[str, None] = {}
        self._greeted = False
        self._generation = 0
        self._overflowed = False

    def hello(self, capabilities: frozenset[str]) -> None:
        """The first line.  Notes of what happened before follow."""
        self._output.begin_snapshot()
        self._say(lines.hello(sorted(self._only.tables), sorted(capabilities)))
        self._greeted = True
        self._say_notes()

    def change(self, change: Change) -> None:
        self._also(change)
        self._show_or_say(change)

    def _show_or_say(self, change: Change) -> None:
        if self._partial:
            self._change_in_view(change)
        elif change.scope.table in self._only.tables:
            self._say(lines.change(change))

    def sync(self, generation: int) -> None:
        self._generation = generation
        self._say({"sync": generation})
        if not self.synced:
            self._output.end_snapshot()
        self.synced = True

    def dirty(self, why: str, losses: dict[str, int]) -> None:
        self._say({"dirty": why, "losses": losses})

    def note(self, text: str) -> None:
        """Said once."""
        if text not in self._notes:
            self._notes[text] = None
            if self._greeted:
                self._say({"note": text})

    def audit(self, fixed: dict[str, int]) -> None:
        self._say({"audit": fixed})

    def flush(self) -> None:
        self._output.flush()

    def recover(self) -> None:
        """The reader reads again after an overflow: tell it everything anew."""
        if not self._overflowed or self._output.waiting:
            return
        self._overflowed = False
        self._said.clear()
        self._output.begin_snapshot()
        self._say({"reset": True})
        self._say_notes()  # those may have been dropped, too
        for change in self.tables.everything():
            self._show_or_say(change)
        self._say({"sync": self._generation})
        self._output.end_snapshot()

    def _say_notes(self) -> None:
        for text in self._notes:
            self._say({"note": text})

    def say(self, said: lines.Object) -> None:
        """Something that is no row."""
        self._say(said)

    def _say(self, said: lines.Object) -> None:
        """Nothing while the reader is too far behind: a snapshot will follow."""
        if self._overflowed:
            return
        self._output.say(lines.line(said))
        if self._output.full:
            self._overflowed = True
            self._output.forget()

    def _change_in_view(self, change: Change) -> None:
        self._show(change)
        scope, key = change.scope, change.key
        if scope.table == "nsid":
            self._look_again(self._rows_of(key))
        elif scope.table == "link" and self._only.interface:
            rows = self._rows_of(scope.nsid)
            self._look_again(
                row for row in rows if key in interfaces_of(row.key, row.row)
            )

    def _show(self, change: Change) -> None:
        """The change as it looks through the filter."""
        place = (change.scope, change.key)
        visible = change.op != "del" and self._passes(change)
        said = self._said.get(place)
        if not visible and said is not None:
            del self._said[place]
            self._say(lines.change(change._replace(op="del")))
        elif visible and said != change.row:
            self._said[place] = change.row
            op = "new" if said is None else "change"
            self._say(lines.change(change._replace(op=op)))

    def _look_again(self, rows: Iterator[Change]) -> None:
        """A name has changed: which of these are in view now?"""
        for row in rows:
            place = (row.scope, row.key)
            if self._passes(row) != (place in self._said):
                self._show(row)

    def _passes(self, row: Change) -> bool:
        return self._only.passes(self.tables, row.scope, row.key, row.row)

    def _rows_of(self, nsid: int) -> Iterator[Change]:
        for table in reversed(IN_A_NAMESPACE):
            scope = Scope(table, nsid)
            for key, row in self.tables.rows(*scope).items():
                yield Change("new", scope, key, row)
