"""What each switch floods to: what it was told, and what it has confirmed.

A switch confirms its changes in their order.  Until then it may do as before or as it
was told, so both count (`flows.tree`); and so does for a while what it has sent to
another switch before, which may wait in a queue there (802.1D, 7.7.3).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Set
from dataclasses import dataclass, field, replace
from functools import lru_cache

from controller.learn import noted
from flows import flood
from flows.fabric import fabric_of
from flows.memo import remember_last
from flows.network import Network
from flows.pipeline import TABLE_IDS
from flows.switch import Here, Switch
from flows.tracked import Tracked
from flows.view import Flooding, PortKey, View

Ports = frozenset[int]
TRANSIT = 0.025  # seconds that a frame may take through all switches of a network


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

    def note(self, view: View, datapath_id: int, now: float) -> View:
        """The view with what is known of this switch.

        now  seconds on the caller's monotonic clock
        """
        before = view.floods.get(datapath_id)
        if self.does is None:
            row = before or Flooding(datapath_id, is_unknown=True)
            may = frozenset(row.may).union(*(ports for ports, _ in self.told))
            return noted(view, replace(row, may=tuple(sorted(may)), does=()))
        told = tuple(ports for ports, _ in self.told)
        row = flooding(datapath_id, self.does, told)
        return noted(view, row if before is None else left(view, before, row, now))


@lru_cache(maxsize=1 << 8)
def flooding(datapath_id: int, does: Ports, told: tuple[Ports, ...]) -> Flooding:
    """Mostly what it was told is what it did."""
    may, does = does.union(*told), does.intersection(*told)
    return Flooding(datapath_id, tuple(sorted(may)), tuple(sorted(does)))


def left(view: View, before: Flooding, row: Flooding, now: float) -> Flooding:
    """With the ports to other switches that it sends to no more, as of now."""
    gone = {*before.may} - {*row.may}
    to_switches = {no for no in gone if leads_to_switch(view, row.datapath_id, no)}
    if to_switches:
        still = tuple(sorted(to_switches | {*before.left}))
        return replace(row, left=still, until=now + TRANSIT)
    return replace(row, left=before.left, until=before.until) if before.left else row


def leads_to_switch(view: View, datapath_id: int, port_no: int) -> bool:
    """Or has led there until a moment ago."""
    here = PortKey(datapath_id, port_no)
    if here in fabric_of(view).uplinks:
        return True
    return any(here in row.ends for row in view.departed.values())


def arrived(view: View, now: float) -> View:
    """The view without ports whose last frames must have arrived by now."""
    if until(view.floods) > now:
        return view
    for row in [row for row in view.floods.values() if row.left and row.until <= now]:
        view = noted(view, replace(row, left=(), until=0.0))
    return view


def deadline(view: View) -> float | None:
    """When the next such frames have."""
    first = until(view.floods)
    return None if first == math.inf else first


@remember_last
def until(floods: Tracked[int, Flooding]) -> float:
    return min((row.until for row in floods.values() if row.left), default=math.inf)


def recognized(view: View, known: Network, datapath_id: int, held: Set[int]) -> Floods:
    """What a switch does that has just told which flows of ours it holds: nothing, or
    what the tree of the links says, if it holds the flows of that."""
    if not held:
        return Floods(frozenset())
    switch = Switch(datapath_id, view, replace(known, tree=known.fabric.tree))
    here = Here(TABLE_IDS["flood"], {})
    cookies = {entry.cookie for entry in flood.of_tree(switch, here)}
    return Floods(flood.opened(switch) if cookies <= held else None)
