"""What waits for the core: facts before packets, and the ports' packets in turns.

A packet teaches what the next one would teach again; a fact of the kernel, of OVSDB or
of a switch's state is told once, and an answer may have to go because of it.  So facts
overtake packets, and when there are too many, packets are dropped and facts wait.

Each port has a queue of its own.  The core takes one packet of each switch in turn, and
of a switch one of each port: what one port sends waits for what that port has sent
before, and for nobody else's; and a switch that says it has thousands of ports has no
more turns than the others.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from threading import Condition

from controller.events import (
    ArpSeen,
    DhcpSeen,
    Event,
    FrameIgnored,
    FrameSeen,
    NdSeen,
    TargetUnknown,
)
from flows.view import PortKey

PACKETS_MAX = 10_000  # that wait; any more are dropped
OF_A_PORT = 2_000  # of these; any more of that port are dropped
FACTS_MAX = 1_000  # beside them; then their sources wait
PORTS_COUNTED = 1_024  # whose drops are counted by port
PORTS_COMPARED = 256  # of a switch, when one of them has to make room
PACKETS = (ArpSeen, NdSeen, DhcpSeen, FrameSeen, FrameIgnored, TargetUnknown)

Packet = ArpSeen | NdSeen | DhcpSeen | FrameSeen | FrameIgnored | TargetUnknown


@dataclass(slots=True)
class Lane:
    """What waits of one switch, by its ports; the next one first."""

    ports: OrderedDict[PortKey, deque[Event]] = field(default_factory=OrderedDict)
    waiting: int = 0

    def put(self, at: PortKey, event: Event) -> None:
        self.ports.setdefault(at, deque()).append(event)
        self.waiting += 1

    def next(self) -> Event:
        at, queue = self.ports.popitem(last=False)
        event = queue.popleft()
        self.waiting -= 1
        if queue:
            self.ports[at] = queue
        return event

    def of(self, at: PortKey) -> int:
        return len(self.ports.get(at, ()))

    def longest(self) -> PortKey:
        return max(islice(self.ports, PORTS_COMPARED), key=self.of)

    def drop_newest(self, at: PortKey) -> None:
        self.ports[at].pop()
        self.waiting -= 1
        if not self.ports[at]:
            del self.ports[at]


class Inbox:
    """Many put in, one takes out.

    dropped     packets that found no room
    dropped_of  the same, by port
    """

    def __init__(
        self,
        packets: int = PACKETS_MAX,
        facts: int = FACTS_MAX,
        of_a_port: int = OF_A_PORT,
    ) -> None:
        self.dropped = 0
        self.dropped_of = Counter[PortKey]()
        self._packets, self._of_a_port, self._facts_max = packets, of_a_port, facts
        self._facts = deque[Event]()
        self._lanes = OrderedDict[int, Lane]()  # by datapath_id, the next one first
        self._waiting = 0
        self._changed = Condition()

    def put(self, event: Event) -> None:
        with self._changed:
            if isinstance(event, PACKETS):
                self._put_packet(event)
            else:
                self._changed.wait_for(lambda: len(self._facts) < self._facts_max)
                self._facts.append(event)
            self._changed.notify_all()

    def _put_packet(self, event: Packet) -> None:
        at = port_of(event)
        lane = self._lanes.get(at.datapath_id)
        if lane is not None and lane.of(at) >= self._of_a_port:
            self._drop(at)
            return
        if self._waiting >= self._packets and not self._make_room(at):
            self._drop(at)
            return
        self._lanes.setdefault(at.datapath_id, Lane()).put(at, event)
        self._waiting += 1

    def _make_room(self, at: PortKey) -> bool:
        """The newest packet of the switch that has most of them, and of its port that
        has; unless that is ours."""
        own = self._lanes.get(at.datapath_id) or Lane()
        most = max(self._lanes.values(), key=lambda lane: lane.waiting, default=own)
        if most is own or most.waiting <= own.waiting + 1:
            most = own
        if not most.waiting:
            return False
        longest = most.longest()
        if most is own and own.of(longest) <= own.of(at) + 1:
            return False
        most.drop_newest(longest)
        if not most.waiting:
            del self._lanes[longest.datapath_id]
        self._waiting -= 1
        self._drop(longest)
        return True

    def _drop(self, at: PortKey) -> None:
        self.dropped += 1
        if at in self.dropped_of or len(self.dropped_of) < PORTS_COUNTED:
            self.dropped_of[at] += 1

    def take(
        self, most: int, timeout: float, packets: int | None = None
    ) -> list[Event]:
        """What waits, at most so many; none if nothing came in `timeout` seconds.

        packets  so many of these are packets, at most
        """
        until = time.monotonic() + timeout
        with self._changed:
            while not (self._facts or self._waiting):
                left = until - time.monotonic()
                if left <= 0:
                    return []
                self._changed.wait(left)
            events = [self._facts.popleft() for _ in range(min(most, len(self._facts)))]
            room = most - len(events) if packets is None else packets
            room = min(room, most - len(events), self._waiting)
            events += [self._next_packet() for _ in range(room)]
            self._changed.notify_all()
        return events

    @property
    def has_facts(self) -> bool:
        """Something is known that the core does not know yet."""
        return bool(self._facts)

    def _next_packet(self) -> Event:
        datapath_id, lane = self._lanes.popitem(last=False)
        event = lane.next()
        self._waiting -= 1
        if lane.waiting:
            self._lanes[datapath_id] = lane
        return event


def port_of(event: Packet) -> PortKey:
    match event:
        case TargetUnknown(asked):
            heard: ArpSeen | NdSeen | FrameSeen | FrameIgnored = asked
        case DhcpSeen(frame):
            heard = frame
        case _:
            heard = event
    return PortKey(heard.datapath_id, heard.in_port)
