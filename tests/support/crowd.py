"""Every host of a network at once: each pings each, and counts what is broadcast.

    with Crowd(places(network, emulation)) as crowd:
        pings = crowd.pingall()
        wait_until(lambda: pings.unanswered == 0)
        assert crowd.broadcasts.most_copies == 1

One thread holds two sockets in the namespace of every host.  Pings go through the
host's own kernel, which resolves addresses and answers pings as ever.  Broadcasts are
frames of an ethertype for experiments (IEEE 802, 9.2.3), each with a number of its own:
from the beginning to the end one host after another sends one, and every host counts
how often it hears each number, by a packet socket.
"""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench.fixture import inside
from topologies.emulation import Emulation
from topologies.network import Network
from topologies.probe import PACKET_OUTGOING, missed, packet_socket
from topologies.taphost import checksum

ETHERTYPE = 0x88B5  # local experimental
BROADCAST = b"\xff" * 6
EVERY = 0.05  # seconds between two broadcasts, of all hosts together
AGAIN = 3.0  # seconds until a ping is repeated: until then a kernel asks for a neighbor
SPREAD = 1.0  # seconds that a pingall's first pings are spread over
STORM = 100  # copies of one broadcast at one host
AT_A_TIME = 64  # frames that are read from one socket before others have a turn

ICMP_FILTER, ECHO_REPLY, ECHO_REQUEST = 1, 0, 8  # linux/icmp.h
SOL_RAW = 255
ECHO = struct.Struct("!BBHHH")
NOBODY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENOBUFS)
NEIGHBORS = Path("/proc/sys/net/ipv4/neigh/default")

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A host: its address, its interface, and the file of its namespace."""

    ip: str
    mac: str
    interface: str
    namespace: Path


def places(network: Network, emulation: Emulation) -> list[Place]:
    return [
        Place(
            host.ip, host.mac, host.interface,
            Path("/proc", str(emulation.pids[host.name]), "ns/net"),
        )
        for host in network.hosts
    ]  # fmt: skip


# --- what is counted ------------------------------------------------------------------


@dataclass(slots=True)
class Pings:
    """One pingall, which repeats what is not answered.

    began     seconds, monotonic
    answered  when the first answer to a pair's pings came
    lost      pairs whose first ping has not been answered: an answer says which ping
              it belongs to, so a later one does not count for it
    """

    pairs: Sequence[Pair]
    began: float
    answered: dict[Pair, float] = field(default_factory=dict)
    lost: set[Pair] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.lost = set(self.pairs)

    @property
    def unanswered(self) -> int:
        return len(self.pairs) - len(self.answered)

    @property
    def took(self) -> float:
        """Seconds until every pair had an answer; until now, if some have none."""
        last = time.monotonic() if self.unanswered else max(self.answered.values())
        return last - self.began


@dataclass(slots=True)
class Broadcasts:
    """heard  by number: how many copies which host has heard"""

    sent: dict[int, tuple[str, float]] = field(default_factory=dict)
    heard: dict[int, Counter[str]] = field(default_factory=dict)
    missed: int = 0
    most_copies: int = 0
    storm: threading.Event = field(default_factory=threading.Event)

    def hear(self, number: int, ip: str) -> None:
        copies = self.heard[number]
        copies[ip] += 1
        if copies[ip] > self.most_copies:
            self.most_copies = copies[ip]
            if self.most_copies >= STORM:
                self.storm.set()

    def unheard(self, group: Iterable[str], since: float, until: float) -> int:
        """Of those that somebody in a group sent meanwhile: the hosts of the group that
        did not hear them."""
        members = set(group)
        return sum(
            len(members - self.heard[number].keys() - {ip})
            for number, (ip, at) in self.sent.items()
            if ip in members and since <= at <= until
        )


# --- the hosts ------------------------------------------------------------------------


class Station:
    """The two sockets of one host."""

    def __init__(self, place: Place) -> None:
        self.place = place
        with inside(place.namespace):
            self.echo = socket.socket(
                socket.AF_INET,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK,
                socket.IPPROTO_ICMP,
            )
            self.line = packet_socket(place.interface, ETHERTYPE)
        only_replies = ~(1 << ECHO_REPLY) & 0xFFFFFFFF
        self.echo.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", only_replies))

    def ping(self, ip: str, identifier: int, sequence: int) -> None:
        message = ECHO.pack(ECHO_REQUEST, 0, 0, identifier, sequence)
        message = ECHO.pack(ECHO_REQUEST, 0, checksum(message), identifier, sequence)
        try:
            self.echo.sendto(message, (ip, 0))
        except OSError as error:  # told of an earlier one, or of a full queue
            if error.errno not in NOBODY:
                raise

    def broadcast(self, number: int) -> None:
        source = bytes.fromhex(self.place.mac.replace(":", ""))
        kind = ETHERTYPE.to_bytes(2, "big")
        frame = BROADCAST + source + kind + number.to_bytes(8, "big")
        self.line.send(frame.ljust(60, b"\0"))

    def close(self) -> None:
        self.echo.close()
        self.line.close()


class Crowd:
    """A thread of its own, until the end of the `with` statement."""

    def __init__(self, hosts: Sequence[Place], every: float = EVERY) -> None:
        self.broadcasts = Broadcasts()
        self._every = every
        self._stations = {host.ip: Station(host) for host in hosts}
        self._order = deque(self._stations.values())
        self._selector = selectors.DefaultSelector()
        self._runs = 0
        self._current: tuple[int, Pings] | None = None
        self._due: deque[tuple[float, Pair, int]] = deque()
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Self:
        for station in self._stations.values():
            take = partial(self._take_reply, station)
            self._selector.register(station.echo, selectors.EVENT_READ, take)
            hear = partial(self._take_frame, station)
            self._selector.register(station.line, selectors.EVENT_READ, hear)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()
        self._selector.close()
        for station in self._stations.values():
            self.broadcasts.missed += missed(station.line)
            station.close()
        if self._failure is not None and value is None:
            raise self._failure

    def pingall(
        self, groups: Iterable[Iterable[str]] | None = None, began: float | None = None
    ) -> Pings:
        """Every host pings every other of its group, evenly within SPREAD seconds, and
        again every AGAIN seconds those who have not answered.  The one before ends.

        groups  addresses; else all hosts are one group
        began   since when it is counted, else from now on
        """
        now = time.monotonic()
        members = [list(group) for group in groups or [self._stations]]
        pairs = [pair for group in members for pair in everybody(group)]
        pings = Pings(pairs, now if began is None else began)
        with self._lock:
            self._runs += 1
            self._current = (self._runs, pings)
            self._due = deque(
                (now + n * SPREAD / len(pairs), pair, 0) for n, pair in enumerate(pairs)
            )
        return pings

    # --- in the thread ----

    def _live(self) -> None:
        try:
            next_broadcast = time.monotonic()
            while not self._is_over.is_set():
                for key, _ in self._selector.select(0.002):
                    key.data()
                with self._lock:
                    self._ping()
                if time.monotonic() >= next_broadcast:
                    self._broadcast()
                    next_broadcast = time.monotonic() + self._every
        except BaseException as failure:
            self._failure = failure

    def _ping(self) -> None:
        if self._current is None:
            return
        run, pings = self._current
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            _, pair, sequence = self._due.popleft()
            if pair not in pings.answered:
                asker, target = pair
                self._stations[asker].ping(target, run, sequence)
                self._due.append((now + AGAIN, pair, sequence + 1))

    def _take_reply(self, station: Station) -> None:
        now = time.monotonic()
        for packet, address in arrived(station.echo):
            header = (packet[0] & 0xF) * 4
            kind, _, _, run, sequence = ECHO.unpack_from(packet, header)
            with self._lock:
                if kind != ECHO_REPLY or not self._current or self._current[0] != run:
                    continue
                pings, pair = self._current[1], (station.place.ip, str(address[0]))
                pings.answered.setdefault(pair, now)
                if sequence == 0:
                    pings.lost.discard(pair)

    def _take_frame(self, station: Station) -> None:
        for frame, address in arrived(station.line):
            if address[2] != PACKET_OUTGOING:
                number = int.from_bytes(frame[14:22], "big")
                self.broadcasts.hear(number, station.place.ip)

    def _broadcast(self) -> None:
        station = self._order[0]
        self._order.rotate(-1)
        number = len(self.broadcasts.sent)
        self.broadcasts.heard[number] = Counter()
        self.broadcasts.sent[number] = (station.place.ip, time.monotonic())
        station.broadcast(number)


def arrived(sock: socket.socket) -> Iterator[tuple[bytes, tuple[str, int, int]]]:
    for _ in range(AT_A_TIME):
        try:
            yield sock.recvfrom(2048)
        except BlockingIOError:
            return
        except OSError as error:  # of a ping that went before, or its interface is gone
            if error.errno not in (*NOBODY, errno.ENETDOWN):
                raise


def everybody(group: Sequence[str]) -> Iterator[Pair]:
    """Each with each, and the next two are other hosts.

    Both directions together: an echo reply waits until its host knows its neighbor,
    who may have been asked for by the ping the other way, and will be again in a second
    at the earliest.  All namespaces' replies that wait share one socket per processor,
    which has room for some hundred (icmp_init, net/ipv4/icmp.c), and the rest is lost.
    """
    size = len(group)
    for distance in range(1, size // 2 + 1):
        for n in range(size // 2 if 2 * distance == size else size):
            one, other = group[n], group[(n + distance) % size]
            yield one, other
            yield other, one


@contextmanager
def room_for_neighbors(pairs: int) -> Iterator[None]:
    """What `mn` sets for good when it starts: namespaces share one limit of neighbors,
    1,024 (gc_thresh3), and fifty hosts who all know each other exceed it."""
    names = ("gc_thresh3", "gc_thresh2", "gc_thresh1")
    before: Mapping[str, str] = {name: (NEIGHBORS / name).read_text() for name in names}
    least = 4 * pairs
    try:
        for name in names:
            if int(before[name]) < least:
                (NEIGHBORS / name).write_text(str(least))
        yield
    finally:
        for name in reversed(names):
            (NEIGHBORS / name).write_text(before[name])
