"""Switches that are joined by some cables."""

from __future__ import annotations

from collections.abc import Iterable

from flows.view import PortKey

Cable = tuple[PortKey, PortKey]


class Joined:
    """Disjoint sets, with path halving (Tarjan and van Leeuwen, 1984)."""

    def __init__(self, cables: Iterable[Cable] = ()) -> None:
        self._above: dict[int, int] = {}
        for cable in cables:
            self.join(cable)

    def join(self, cable: Cable) -> bool:
        """False if they were joined already."""
        one, other = (self.top(port.datapath_id) for port in cable)
        self._above[one] = other
        return one != other

    def top(self, datapath_id: int) -> int:
        """One of those that it is joined with, the same for all of them."""
        while (above := self._above.get(datapath_id, datapath_id)) != datapath_id:
            self._above[datapath_id] = self._above.get(above, above)
            datapath_id = above
        return datapath_id
