"""Many cookies in little room: a set of 64-bit numbers, eight octets each.

A set of Python's takes 80 octets for each, most of them for the number itself.  These
are digests, so spread evenly: by eight of their bits they fall into short sorted rows.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableSet
from itertools import chain

LOWER = 40  # bits: above are the 16 that say whose it is, and eight that are spread


def row_of(cookie: int) -> int:
    return cookie >> LOWER


class Cookies(MutableSet[int]):
    """In no particular order."""

    __slots__ = ("_rows",)

    def __init__(self, cookies: Iterable[int] = ()) -> None:
        ranked = sorted({*cookies})
        self._rows: dict[int, array[int]] = {}
        at = 0
        while at < len(ranked):
            row = row_of(ranked[at])
            end = bisect_left(ranked, (row + 1) << LOWER, at)
            self._rows[row] = array("Q", ranked[at:end])
            at = end

    def __contains__(self, cookie: object) -> bool:
        if not isinstance(cookie, int):
            return False
        row = self._rows.get(row_of(cookie), ())
        at = bisect_left(row, cookie)
        return at < len(row) and row[at] == cookie

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self._rows.values())

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def add(self, value: int) -> None:
        row = self._rows.get(row_of(value))
        if row is None:
            self._rows[row_of(value)] = array("Q", (value,))
            return
        at = bisect_left(row, value)
        if at == len(row) or row[at] != value:
            row.insert(at, value)

    def discard(self, value: int) -> None:
        row = self._rows.get(row_of(value))
        if row is None:
            return
        at = bisect_left(row, value)
        if at < len(row) and row[at] == value:
            del row[at]
        if not row:
            del self._rows[row_of(value)]
