"""What waits for the core: facts before packets, and the ports' packets in turns.

A packet teaches what the next one would teach again; a fact of the kernel, of OVSDB or
of a switch's state is told once, and an answer may have to go because of it.  So facts
overtake packets, and when there are too many, packets are dropped and facts wait.

Each port has a queue of its own, and the core takes one packet of each in turn: what
one port sends waits for what that port has sent before, and for nobody else's.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from threading import Condition

from controller.events import (
    ArpSeen,
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
PACKETS = (ArpSeen, NdSeen, FrameSeen, FrameIgnored, TargetUnknown)

Packet = ArpSeen | NdSeen | FrameSeen | FrameIgnored | TargetUnknown


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
        self._ports = OrderedDict[PortKey, deque[Event]]()  # the next one first
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
        queue = self._ports.get(at)
        if queue is not None and len(queue) >= self._of_a_port:
            self._drop(at)
            return
        if self._waiting >= self._packets and not self._make_room(at):
            self._drop(at)
            return
        self._ports.setdefault(at, deque()).append(event)
        self._waiting += 1

    def _make_room(self, at: PortKey) -> bool:
        """The newest packet of the port that has most of them, unless that is ours."""
        if not self._ports:
            return False
        longest = max(self._ports, key=lambda port: len(self._ports[port]))
        if len(self._ports[longest]) <= len(self._ports.get(at, ())) + 1:
            return False
        self._ports[longest].pop()
        self._waiting -= 1
        self._drop(longest)
        return True

    def _drop(self, at: PortKey) -> None:
        self.dropped += 1
        if at in self.dropped_of or len(self.dropped_of) < PORTS_COUNTED:
            self.dropped_of[at] += 1

    def take(self, most: int, timeout: float) -> list[Event]:
        """What waits, at most so many; none if nothing came in `timeout` seconds."""
        until = time.monotonic() + timeout
        with self._changed:
            while not (self._facts or self._ports):
                left = until - time.monotonic()
                if left <= 0:
                    return []
                self._changed.wait(left)
            events = [self._next() for _ in range(min(most, self._length()))]
            self._changed.notify_all()
        return events

    @property
    def has_facts(self) -> bool:
        """Something is known that the core does not know yet."""
        return bool(self._facts)

    def _length(self) -> int:
        return len(self._facts) + self._waiting

    def _next(self) -> Event:
        if self._facts:
            return self._facts.popleft()
        at, queue = self._ports.popitem(last=False)
        event = queue.popleft()
        self._waiting -= 1
        if queue:
            self._ports[at] = queue
        return event


def port_of(event: Packet) -> PortKey:
    heard = event.asked if isinstance(event, TargetUnknown) else event
    return PortKey(heard.datapath_id, heard.in_port)
