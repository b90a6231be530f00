"""An immutable mapping that can tell which of its keys changed since it was another.

Versions share a chain of pages with the keys that were written, each knows how far it
reaches: so the difference between two of them costs what changed, and no version keeps
another.  Pages lead on only: with the versions of their time they are gone.  An empty
version has none, however long somebody holds it: all rows have come since.
"""

from __future__ import annotations

from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    ValuesView,
)
from typing import Any, Generic, TypeVar, cast, overload

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

PAGE = 1 << 10  # keys
PAGES_MAX = 1 << 8  # in a chain; an old version that somebody holds holds as many


class Page:
    """Keys that were written one after the other, and the page after it."""

    __slots__ = ("__weakref__", "following", "keys", "number")

    def __init__(self, number: int = 0) -> None:
        self.keys: list[Any] = []
        self.following: Page | None = None
        self.number = number

    def turned(self) -> Page:
        """The next one; it is no part of the chain if that is long enough."""
        if self.number + 1 == PAGES_MAX:
            return Page()
        self.following = Page(self.number + 1)
        return self.following


class Tracked(Mapping[K, V], Generic[K, V]):
    """Like `immutables.Map`, with `changed_since`."""

    __slots__ = ("_page", "_position", "_rows")

    def __init__(self, rows: Iterable[tuple[K, V]] | Mapping[K, V] = ()) -> None:
        self._rows: Map[K, V] = Map(rows)
        self._page = Page()
        self._position = 0

    def set(self, key: K, value: V) -> Tracked[K, V]:
        return self._next(self._rows.set(key, value), key)

    def delete(self, key: K) -> Tracked[K, V]:
        """Raises KeyError if there is no such key."""
        return self._next(self._rows.delete(key), key)

    def without(self, key: K) -> Tracked[K, V]:
        return self.delete(key) if key in self._rows else self

    def draft(self) -> Draft[K, V]:
        return Draft(self._rows)

    def after(self, draft: Draft[K, V]) -> Tracked[K, V]:
        """With all that was written to a draft of this version; itself, if nothing."""
        after: Tracked[K, V] = self
        rows = draft.finish()
        for key in draft.written:
            after = after._next(rows, key)
        return after

    def changed_since(self, earlier: Tracked[K, V]) -> frozenset[K] | None:
        """Keys whose rows may differ; None if it is not known, as of strangers."""
        if not earlier._rows:
            return frozenset(self._rows)
        page, start = earlier._page, earlier._position
        written: list[K] = []
        while page is not self._page:
            written += page.keys[start:]
            if page.following is None:
                return None
            page, start = page.following, 0
        if start > self._position:
            return None
        return frozenset(written + page.keys[start : self._position])

    def _next(self, rows: Map[K, V], key: K) -> Tracked[K, V]:
        after: Tracked[K, V] = Tracked.__new__(Tracked)
        after._rows = rows
        page = self._page
        # Another version may have been made of this one, which the page tells of.
        is_taken = page.following is not None or len(page.keys) != self._position
        if is_taken or not self._rows:  # what has changed since then are all rows
            page = Page()
        elif self._position >= PAGE:
            page = page.turned()
        after._page = page
        page.keys.append(key)
        after._position = len(page.keys)
        return after

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | T) -> V | T: ...
    def get(self, key: K, /, default: V | T | None = None) -> V | T | None:
        """As any Mapping's, at once."""
        return self._rows.get(key, default)

    def items(self) -> ItemsView[K, V]:
        """As any Mapping's, at once."""
        return cast("ItemsView[K, V]", self._rows.items())

    def values(self) -> ValuesView[V]:
        """Likewise."""
        return cast("ValuesView[V]", self._rows.values())

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Tracked):
            return bool(self._rows == other._rows)
        return dict(self) == other if isinstance(other, Mapping) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Tracked({dict(self._rows)!r})"


class Draft(Generic[K, V]):
    """Rows of a mapping that many others are written to before anybody else sees it:
    `set` and `delete` change this one, and return it, as if it were the next version.

    written  keys
    """

    __slots__ = ("_rows", "get", "written")

    def __init__(self, rows: Map[K, V]) -> None:
        self._rows = rows.mutate()
        self.get: Callable[..., Any] = self._rows.get
        self.written: dict[K, None] = {}

    def set(self, key: K, value: V) -> Draft[K, V]:
        self._rows[key] = value
        self.written[key] = None
        return self

    def delete(self, key: K) -> Draft[K, V]:
        """Raises KeyError if there is no such key."""
        del self._rows[key]
        self.written[key] = None
        return self

    def put(self, key: K, row: V | None, before: V | None) -> None:
        """As `updated`; what it says so far the caller knows."""
        if row is None:
            if before is not None:
                self.delete(key)
        elif before != row:
            self.set(key, row)

    def finish(self) -> Map[K, V]:
        return self._rows.finish()


def changed(
    before: Mapping[K, V] | Tracked[K, V], after: Mapping[K, V] | Tracked[K, V]
) -> frozenset[K]:
    """Keys whose rows differ; of unrelated mappings by a look at all of them."""
    if before is after:
        return frozenset()
    if isinstance(before, Tracked) and isinstance(after, Tracked):
        written = after.changed_since(before)
        if written is not None:
            return written
    missing = object()
    fresh = (
        key for key, row in after.items() if differs(before.get(key, missing), row)
    )
    return frozenset(fresh).union(key for key in before if key not in after)


def differs(one: object, other: object) -> bool:
    return one is not other and one != other


def updated(rows: Tracked[K, V], key: K, row: V | None) -> Tracked[K, V]:
    """With this row, or without any; the same object if it says so already."""
    if row is None:
        return rows.without(key)
    return rows if rows.get(key) == row else rows.set(key, row)
