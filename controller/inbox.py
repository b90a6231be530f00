"""What waits for the core: facts before packets, each in their order of arrival.

A packet teaches what the next one would teach again; a fact of the kernel, of OVSDB or
of a switch's state is told once, and an answer may have to go because of it.  So facts
overtake packets, and when there are too many, packets are dropped and facts wait.
"""

from __future__ import annotations

from itertools import count
from queue import Empty, PriorityQueue

from controller.events import ArpSeen, Event, FrameIgnored, FrameSeen

PACKETS_MAX = 10_000  # that wait; any more are dropped
FACTS_MAX = 1_000  # beside them; then their sources wait
FACT, PACKET = 0, 1


class Inbox:
    """Many put in, one takes out.

    dropped  packets that found it full
    """

    def __init__(self, packets: int = PACKETS_MAX, facts: int = FACTS_MAX) -> None:
        self.dropped = 0
        self._packets = packets
        self._arrivals = count()
        self._queue = PriorityQueue[tuple[int, int, Event]](packets + facts)

    def put(self, event: Event) -> None:
        if not isinstance(event, ArpSeen | FrameSeen | FrameIgnored):
            self._queue.put((FACT, next(self._arrivals), event))
        elif self._queue.qsize() < self._packets:
            self._queue.put((PACKET, next(self._arrivals), event))
        else:
            self.dropped += 1

    def take(self, most: int, timeout: float) -> list[Event]:
        """What waits, at most so many; none if nothing came in `timeout` seconds."""
        events: list[Event] = []
        try:
            events.append(self._queue.get(timeout=timeout)[-1])
            while len(events) < most:
                events.append(self._queue.get_nowait()[-1])
        except Empty:
            return events
        return events
