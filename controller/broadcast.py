"""What each switch floods to: what it was told, and what it has confirmed.

A switch confirms its changes in their order.  Until then it may do as before or as it
was told, so both count (`flows.tree`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field, replace
from functools import lru_cache

from controller.learn import noted
from flows import flood
from flows.network import Network
from flows.pipeline import TABLE_IDS
from flows.switch import Here, Switch
from flows.view import Flooding, View

Ports = frozenset[int]


@dataclass(slots=True)
class Floods:
    """Of one connected switch.

    does   the ports it sends broadcasts to by its last confirmation; None if unknown
    told   the same after the changes that it has not confirmed yet, the oldest first,
           with how many changes in a row left it so
    """

    does: Ports | None = None
    told: deque[tuple[Ports, int]] = field(default_factory=deque)

    @property
    def is_unknown(self) -> bool:
        """Nobody knows what it does, nor is it about to be changed."""
        return self.does is None and not self.told

    def change(self, ports: Ports) -> None:
        times = self.told.pop()[1] if self.told and self.told[-1][0] == ports else 0
        self.told.append((ports, times + 1))

    def confirmed(self) -> None:
        if self.told:
            self.does, times = self.told.popleft()
            if times > 1:
                self.told.appendleft((self.does, times - 1))

    def doubted(self) -> None:
        """A change was refused: who knows what of it was done."""
        self.does = None
        self.told.clear()

    def note(self, view: View, datapath_id: int) -> View:
        """The view with what is known of this switch."""
        if self.does is None:
            nobody_knows = Flooding(datapath_id, is_unknown=True)
            before = view.floods.get(datapath_id, nobody_knows)
            may = frozenset(before.may).union(*(ports for ports, _ in self.told))
            return noted(view, replace(before, may=tuple(sorted(may)), does=()))
        told = tuple(ports for ports, _ in self.told)
        return noted(view, flooding(datapath_id, self.does, told))


@lru_cache(maxsize=1 << 8)
def flooding(datapath_id: int, does: Ports, told: tuple[Ports, ...]) -> Flooding:
    """Mostly what it was told is what it did."""
    may, does = does.union(*told), does.intersection(*told)
    return Flooding(datapath_id, tuple(sorted(may)), tuple(sorted(does)))


def recognized(view: View, known: Network, datapath_id: int, held: Set[int]) -> Floods:
    """What a switch does that has just told which flows of ours it holds: nothing, or
    what the tree of the links says, if it holds the flows of that."""
    if not held:
        return Floods(frozenset())
    switch = Switch(datapath_id, view, replace(known, tree=known.fabric.tree))
    here = Here(TABLE_IDS["flood"], {})
    cookies = {entry.cookie for entry in flood.of_tree(switch, here)}
    return Floods(flood.opened(switch) if cookies <= held else None)
