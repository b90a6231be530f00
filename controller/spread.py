"""Who is not known to all switches of an island yet.

Somebody is new, or two islands are joined: the switches are told, and each knows when
it gets there.  Until the last one has confirmed it the view says so
(`flows.view.Fresh`), and frames for whom it concerns go along the broadcast tree
(`flows.forward`).  Where cables form no ring there is no other way, and nothing to
wait for.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from controller.broadcast import TRANSIT
from controller.channel import Channel
from controller.door import Lets
from flows.fabric import Fabric
from flows.memo import remember_last
from flows.network import Network
from flows.parties import domain
from flows.tracked import changed
from flows.view import Fresh, StationKey, View

ROUNDS_MAX = 64  # with more the oldest two wait for each other
WAIT_MAX = 60.0  # seconds for switches that are away, refuse, or say nothing

Channels = Mapping[int, Channel]


@dataclass(slots=True)
class Round:
    """Those who have become new together.

    waiting  datapath_ids of switches that have not confirmed that they know them, and
             how many changes they will have done then; None: they are not told yet
    since    seconds on the caller's monotonic clock
    over_at  the same clock: when what was sent before the last one knew has arrived
    """

    keys: frozenset[StationKey]
    waiting: dict[int, int | None]
    since: float
    over_at: float | None = None


class Spread:
    """All rounds, the oldest first."""

    def __init__(self, known: Network) -> None:
        self._known = known  # at the end of the last turn
        self._rounds: deque[Round] = deque()

    def follow(
        self, view: View, known: Network, channels: Channels, now: float
    ) -> View:
        """The view with those who are new since the last call, and without those whom
        all switches know by now.

        now  seconds on the caller's monotonic clock
        """
        before, self._known = self._known, known
        fresh = view.fresh
        self.look(channels, now)
        for one in [*self._rounds]:
            if one.over_at is not None and now >= one.over_at:
                self._rounds.remove(one)
                for key in one.keys:
                    fresh = fresh.without(key)
        told = told_islands(known.fabric, channels)
        rows = [*newcomers(before, known, told, fresh)]
        for row in rows:
            fresh = fresh.set(row.key, row)
        if rows:
            self._begin(rows, known.fabric, now)
        return view if fresh is view.fresh else replace(view, fresh=fresh)

    def look(self, channels: Channels, now: float) -> None:
        """Whoever has done what it was told before; at the end of a turn, too."""
        for one in self._rounds:
            if now >= one.since + WAIT_MAX:
                one.waiting.clear()
            for datapath_id, after in [*one.waiting.items()]:
                channel = channels.get(datapath_id)
                if channel is None:
                    if datapath_id not in self._known.fabric.islands:
                        del one.waiting[datapath_id]  # it sends nothing any more
                elif channel.is_up_to_date:
                    after = channel.told if after is None else after
                    one.waiting[datapath_id] = after
                    if channel.done >= after:
                        del one.waiting[datapath_id]
            if not one.waiting and one.over_at is None:
                one.over_at = now + TRANSIT

    def doubted(self, datapath_id: int) -> None:
        """A switch tells what it holds: it has refused something, is back, or somebody
        else has changed it."""
        for one in self._rounds:
            if datapath_id in one.waiting:
                one.waiting[datapath_id] = None

    def deadline(self) -> float | None:
        """When somebody is known to all, or nobody is waited for any more."""
        ends = (
            one.since + WAIT_MAX if one.over_at is None else one.over_at
            for one in self._rounds
        )
        return min(ends, default=None)

    def _begin(self, rows: Iterable[Fresh], shape: Fabric, now: float) -> None:
        keys = frozenset(row.key for row in rows)
        for one in self._rounds:  # who is new once more waits once more
            one.keys -= keys
        islands = {shape.islands.get(key.datapath_id) for key in keys}
        mates = (n for n, island in shape.islands.items() if island in islands)
        self._rounds.append(Round(keys, dict.fromkeys(mates), now))
        if len(self._rounds) > ROUNDS_MAX:
            eldest, second = self._rounds.popleft(), self._rounds[0]
            second.keys |= eldest.keys
            second.waiting |= dict.fromkeys(eldest.waiting)
            second.since, second.over_at = eldest.since, None


def told_islands(shape: Fabric, channels: Channels) -> frozenset[int]:
    """Those in which two know somebody: it takes one that does and one that does not.
    Where all begin none lets packets in until all have done what they were told.  One
    whose flows are being written, or that has refused some, does as before."""
    ones = Counter(
        shape.islands.get(datapath_id)
        for datapath_id, channel in channels.items()
        if channel.is_settled and channel.door.lets is not Lets.NOTHING
    )
    return frozenset(one for one, n in ones.items() if one is not None and n > 1)


def newcomers(
    before: Network,
    known: Network,
    told: frozenset[int],
    fresh: Mapping[StationKey, Fresh],
) -> Iterator[Fresh]:
    """Who is known in an island where he was not, or not to all who are in it now; and
    who has moved before all knew of him.

    fresh  those who were new so far
    """
    shape, was = known.fabric, before.fabric
    islands = ringed(shape) & told
    if not islands:
        return
    places, mates = changed(before.located, known.located), dict[int, tuple[int, ...]]()
    joined = grown(was, shape) & islands
    if joined:
        places |= {place for place in known.located if place[0].island in joined}
        for datapath_id, island in was.islands.items():
            mates[island] = (*mates.get(island, ()), datapath_id)
    for place in places:
        where, island = known.located.get(place), place[0].island
        if where is None or island not in islands:
            continue
        at, vlan, lladdr = where.port.datapath_id, place[0].vlan, place[1]
        former = was.islands.get(at, at)
        old = before.located.get((domain(former, vlan), lladdr))
        if old is None:
            yield Fresh(at, vlan, lladdr)
            continue
        row = fresh.get(old.key)
        if row is not None and (island in joined or row.datapath_id != at):
            yield replace(row, datapath_id=at)
        elif row is None and island in joined:
            yield Fresh(at, vlan, lladdr, mates[former])


def grown(was: Fabric, shape: Fabric) -> frozenset[int]:
    """Islands with switches that were in several, or in none."""
    if was is shape:
        return frozenset()
    found: dict[int, set[int | None]] = {}
    for datapath_id, island in shape.islands.items():
        found.setdefault(island, set()).add(was.islands.get(datapath_id))
    return frozenset(one for one, some in found.items() if len(some) > 1)


@remember_last
def ringed(shape: Fabric) -> frozenset[int]:
    """Islands in which there are other ways than along the broadcast tree."""
    cables = (port for some in shape.exits.values() for port, _ in some)
    ends = (end for segment in shape.segments.values() for end in segment.live)
    beside = (
        p.datapath_id for some in (cables, ends) for p in some if p not in shape.tree
    )
    found = (shape.islands.get(one) for one in beside)
    return frozenset(one for one in found if one is not None)
