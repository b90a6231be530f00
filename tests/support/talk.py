"""Hosts that talk all the while: numbered frames from wire to wire, and broadcasts.

    with Talk(ground) as talk:
        streams = talk.begin(pairs)

One thread sends and hears for all of them.  A stream is of one host to another; what it
hears is kept by number.
"""

from __future__ import annotations

import random
import selectors
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.ground import Ground, Host

EXPERIMENTAL = b"\x88\xb5"  # IEEE 802, 9.2.4
NUMBER = struct.Struct("!II")  # of the stream, and of the frame
EVERYBODY = b"\xff" * 6
EVERY = 0.002  # seconds between two frames of a stream
SLOWLY = 0.05  # the same of what hosts say besides
BROADCASTS = 0.05  # seconds between two of them
TICK = 0.001
ON_ITS_WAY = 0.1  # seconds that a frame may take
STORM = 100  # copies of one broadcast at one host

Pair = tuple[Host, Host]


@dataclass(slots=True)
class Stream:
    """sent     when each of its frames was, in seconds on the monotonic clock
    arrived  numbers of those that came to whom they were sent to
    last     the greatest of them; -1 if none did
    copies   that came once more
    """

    number: int
    pair: Pair
    every: float
    due: float
    sent: list[float] = field(default_factory=list)
    arrived: set[int] = field(default_factory=set)
    last: int = -1
    copies: int = 0

    def goes_on(self, frames: int, since: float) -> bool:
        """So many that were sent since then have arrived, one after another."""
        last = self.last
        first = last - frames + 1
        return (
            first >= 0
            and self.sent[first] >= since
            and all(n in self.arrived for n in range(first, last))
        )

    def lost(self, since: float) -> float:
        """Seconds in which what was sent got lost: from the first of some in a row
        until the next that arrived was sent."""
        took, began = 0.0, None
        for n, at in enumerate(self.sent[: self.last + 1]):
            if n in self.arrived:
                took += at - began if began is not None else 0.0
                began = None
            elif at >= since and began is None:
                began = at
        return took


class Talk:
    """Each host says something to another one, everybody's turn; and to everybody."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground, self.chance = ground, random.Random(seed)
        self.by_lladdr = {octets(host.lladdr): host for host in ground.hosts}
        self.copies: Counter[tuple[int, Host]] = Counter()  # of broadcasts
        self.broadcasts = 0
        self.most_copies = 0
        self.strays = 0  # frames for one host that came to another, not flooded
        self.heard_at: dict[int, set[Host]] = {}
        self._streams: dict[int, Stream] = {}
        self._numbers = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Self:
        for host, wire in self.ground.wires.items():
            self._selector.register(wire, selectors.EVENT_READ, host)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._selector.close()
        if self._failure is not None and value is None:
            raise self._failure

    def begin(self, pairs: Iterable[Pair], every: float = EVERY) -> list[Stream]:
        """Streams, until `end`."""
        with self._lock:
            return [self._begin(pair, every) for pair in pairs]

    def _begin(self, pair: Pair, every: float) -> Stream:
        self._numbers += 1
        due = time.monotonic() + self.chance.random() * every
        stream = self._streams[self._numbers] = Stream(self._numbers, pair, every, due)
        return stream

    def end(self, streams: Iterable[Stream]) -> None:
        with self._lock:
            for stream in streams:
                stream.due = float("inf")

    @property
    def all_streams(self) -> list[Stream]:
        with self._lock:
            return [*self._streams.values()]

    # --- in the thread ----

    def _live(self) -> None:
        try:
            next_broadcast = time.monotonic()
            while not self._over.wait(TICK):
                with self._lock:
                    now = time.monotonic()
                    for stream in self._streams.values():
                        self._send(stream, now)
                    if now >= next_broadcast:
                        self._broadcast()
                        next_broadcast = now + BROADCASTS
                    for key, _ in self._selector.select(0):
                        self._hear(key.data)
        except BaseException as failure:
            self._failure = failure

    def _send(self, stream: Stream, now: float) -> None:
        while stream.due <= now:
            one, other = stream.pair
            number = NUMBER.pack(stream.number, len(stream.sent))
            head = octets(other.lladdr) + octets(one.lladdr) + EXPERIMENTAL
            self.ground.wires[one].send((head + number).ljust(60, b"\0"))
            stream.sent.append(time.monotonic())
            stream.due += stream.every

    def _broadcast(self) -> None:
        host = self.chance.choice(self.ground.hosts)
        self.broadcasts += 1
        head = EVERYBODY + octets(host.lladdr) + EXPERIMENTAL
        frame = head + NUMBER.pack(0, self.broadcasts)
        self.ground.wires[host].send(frame.ljust(60, b"\0"))

    def _hear(self, host: Host) -> None:
        for frame in self.ground.wires[host].heard():
            if frame[12:14] != EXPERIMENTAL:
                continue
            stream_number, number = NUMBER.unpack_from(frame, 14)
            if frame[:6] == EVERYBODY:
                self.copies[number, host] += 1
                copies = self.copies[number, host]
                self.most_copies = max(self.most_copies, copies)
            elif (stream := self._streams.get(stream_number)) is not None:
                if stream.pair[1] is host:
                    stream.copies += number in stream.arrived
                    stream.arrived.add(number)
                    stream.last = max(stream.last, number)
                else:
                    self.strays += 1

    def forget(self) -> None:
        """What was heard of broadcasts, copies, and streams that are over."""
        with self._lock:
            self.copies.clear()
            self._streams = {
                n: one for n, one in self._streams.items() if one.due != float("inf")
            }
            for stream in self._streams.values():
                stream.copies = 0


def octets(lladdr: str) -> bytes:
    return bytes.fromhex(lladdr.replace(":", ""))


def partners(hosts: list[Host], chance: random.Random) -> Iterator[Pair]:
    """Each talks to the next of a round."""
    order = chance.sample(hosts, len(hosts))
    yield from zip(order, order[1:] + order[:1], strict=True)
