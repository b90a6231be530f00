"""Tells VXLAN devices of the kernel where to send, and what became of it.

What they should be told follows from the view (`flows.beyond`); it is said again only
if it has changed.  As with flows, nothing is taken away before everybody has spoken who
can tell of the network: entries outlive the controller, and are right most often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from controller.commands import Command, SetForwarding, TellNews
from controller.events import ForwardingSet
from flows.beyond import Ahead, Beyond, Ways, aheads, beyond
from flows.memo import Step, same
from flows.network import Network
from flows.overlays import Segment


@dataclass
class Told:
    """One device.

    says   what it should do, from where stations are and what is ahead
    ways   as it was told last
    state  what became of it
    """

    says: Step[Beyond]
    ahead: Ahead
    ways: Ways | None = None
    state: ForwardingSet | None = None


class Forwarding:
    """Every device of this host that is an end of an overlay."""

    def __init__(self) -> None:
        self.devices: dict[str, Told] = {}
        self.counters: Counter[str] = Counter()
        self._seen: tuple[object, ...] = ()  # what follows from it has been told

    def due(
        self, known: Network, may_tell: Callable[[Segment], bool]
    ) -> Iterator[SetForwarding]:
        """may_tell  everybody has spoken who can tell what is beyond it"""
        segments = [one for one in known.fabric.segments.values() if one.led]
        if not segments:
            return
        ready = tuple(one.number for one in segments if may_tell(one))
        given = known.fabric, known.rates, known.located
        if same(self._seen[:-1], given) and self._seen[-1] == ready:
            return
        self._seen = *given, ready
        numbers = known.fabric.uplinks
        for there in aheads(known):
            if numbers[there.port].datapath_id in ready:
                yield from self._told(known, there)

    def _told(self, known: Network, there: Ahead) -> Iterator[SetForwarding]:
        one = self.devices.setdefault(there.device, Told(beyond(), there))
        if one.ahead != there:
            one.ahead = there
        ways = one.says(known.located, one.ahead).ways
        if ways is not one.ways and ways != one.ways:
            yield SetForwarding(there.device, ways)
        one.ways = ways

    def heard(self, event: ForwardingSet) -> Iterator[Command]:
        one = self.devices.get(event.device)
        before = one.state.problem if one and one.state else ""
        if one is not None:
            one.state = event
        changes = (event.added, event.removed, event.moved)
        for what, count in zip(("added", "removed", "moved"), changes, strict=True):
            if count:
                self.counters[f"fdb entries {what}"] += count
        if any(changes):
            yield TellNews(in_words(event))
        if event.problem and event.problem != before:
            self.counters["fdb entries refused"] += 1
            yield TellNews(event.problem)


def in_words(event: ForwardingSet) -> str:
    """ "vx0: +3 -1 fdb entries, 2 moved"."""
    signs = (("+", event.added), ("-", event.removed))
    told = " ".join(f"{sign}{count}" for sign, count in signs if count)
    moved = f"{event.moved} moved" if event.moved else ""
    said = ", ".join(filter(None, (f"{told} fdb entries" if told else "", moved)))
    return f"{event.device}: {said}"
