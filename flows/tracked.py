"""An immutable mapping that can tell which of its keys changed since it was another.

Versions share one list of the keys that were written, each knows how far it reaches:
so the difference between two of them costs what changed, and no version keeps another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar, overload

from immutables import Map

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

LOG_MAX = 1 << 16  # keys that were written, until the log begins anew


class Tracked(Mapping[K, V], Generic[K, V]):
    """Like `immutables.Map`, with `changed_since`."""

    __slots__ = ("_log", "_position", "_rows")

    def __init__(self, rows: Iterable[tuple[K, V]] | Mapping[K, V] = ()) -> None:
        self._rows: Map[K, V] = Map(rows)
        self._log: list[K] = []
        self._position = 0

    def set(self, key: K, value: V) -> Tracked[K, V]:
        return self._next(self._rows.set(key, value), key)

    def delete(self, key: K) -> Tracked[K, V]:
        """Raises KeyError if there is no such key."""
        return self._next(self._rows.delete(key), key)

    def without(self, key: K) -> Tracked[K, V]:
        return self.delete(key) if key in self._rows else self

    def changed_since(self, earlier: Tracked[K, V]) -> frozenset[K] | None:
        """Keys whose rows may differ; None if it is not known, as of strangers."""
        if earlier._log is not self._log or earlier._position > self._position:
            return None
        return frozenset(self._log[earlier._position : self._position])

    def _next(self, rows: Map[K, V], key: K) -> Tracked[K, V]:
        after: Tracked[K, V] = Tracked.__new__(Tracked)
        after._rows = rows
        # Another version may have been made of this one, which the log tells of.
        is_last = len(self._log) == self._position < LOG_MAX
        after._log = self._log if is_last else []
        after._log.append(key)
        after._position = len(after._log)
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
