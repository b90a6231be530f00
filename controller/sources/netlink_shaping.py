"""How fast an interface may send, by its rows of the mirror's table `tc`.

Of htb it is the class of what no filter has put into another (tc-htb(8), `default`), as
Mininet's TCLink and Open vSwitch's QoS `linux-htb` make it; of tbf it is its rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TC_H_ROOT = 0xFFFFFFFF  # linux/pkt_sched.h
TC_H_MIN_MASK = 0x0000FFFF
TC_HTB_MAXDEPTH = 8
OCTET = 8  # bits

Json = dict[str, Any]


class Shaping:
    """One interface.  A qdisc has fewer than 65,536 classes: so many are kept.

    rate  bits per second, 0 if nothing limits it
    """

    def __init__(self) -> None:
        self.rate = 0
        self._root: tuple[int, Json] | None = None
        self._classes: dict[int, Json] = {}

    def __bool__(self) -> bool:
        """There is anything."""
        return self._root is not None or bool(self._classes)

    def put(self, handle: int, row: Json | None) -> None:
        """What is told of a qdisc or of a class; None if it is no more."""
        if handle & TC_H_MIN_MASK:
            if row is None:
                self._classes.pop(handle, None)
            else:
                self._classes[handle] = row
        elif row is not None and row["tcm_parent"] == TC_H_ROOT:
            self._root = handle, row
        elif self._root is not None and self._root[0] == handle:
            self._root = None
        self.rate = OCTET * self._octets()

    def _octets(self) -> int:
        if self._root is None:
            return 0
        handle, row = self._root
        if row["kind"] == "tbf":
            return int(row.get("rate", 0))
        default = row.get("defcls", 0) & TC_H_MIN_MASK
        return most(self._classes, handle | default)


def most(classes: Mapping[int, Json], handle: int, depth: int = TC_HTB_MAXDEPTH) -> int:
    """Octets per second: a class has its rate, and up to its ceil what the one above
    does not use; that at the top has nobody to borrow from.  0 if there is none."""
    row = classes.get(handle)
    if row is None or not depth:
        return 0
    rate, ceil = int(row.get("rate", 0)), int(row.get("ceil", 0))
    above = most(classes, row["tcm_parent"], depth - 1)
    return max(rate, min(ceil, above))
