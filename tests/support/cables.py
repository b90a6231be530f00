"""Real bridges with cables between them that can be cut, and frames on their way."""

from __future__ import annotations

import struct
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.bench.fixture import Kernel, named
from tests.contracts.test_end_to_end import SOON, Controller
from tests.support.frames import arp
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

EXPERIMENTAL = b"\x88\xb5"  # IEEE 802, 9.2.4
HEAD = 18  # octets of our frames: addresses, ethertype, and which stream it is of
HOST = 9  # the port of each bridge where its station is
TARGET = "tcp:127.0.0.1:6653"
EVERY = 0.001  # seconds between two frames of a stream
CONNECTIONS = 100
SHARE = 10  # frames of them that tell a cable that is used from one where others talk
ARRIVED = 1.0  # seconds that they may take
MOMENT = 0.05  # seconds that is listened for what should not come


def bridge(n: int) -> str:
    return f"br{n}"


def lladdr(n: int) -> str:
    return f"02:00:00:00:00:{n:02x}"


def ip(n: int) -> str:
    return f"10.0.0.{n}"


class Cables:
    """Bridges br1, br2, ..., a station at each, and a controller that knows all.

    joined      the numbers of the bridges that each cable joins
    is_foreign  the controller reads neither OVSDB nor the kernel, as if they were those
                of another host: it knows what the switches tell by OpenFlow
    more        of the configuration
    """

    def __init__(
        self,
        ovs: PrivateOvs,
        joined: Sequence[tuple[int, int]],
        *,
        is_foreign: bool = False,
        more: str = "",
    ) -> None:
        self.ovs, self.joined = ovs, [*joined]
        self.numbers = sorted({n for ends in joined for n in ends})
        names = "".join(f"{bridge(n)}: {{}}, " for n in self.numbers)
        known = f"bridges: {{{names}}}\nsources: {{ovsdb: '{ovs.remote}'}}\n"
        nothing = "sources: {ovsdb: false, netlink: false}\n"
        self.controller = Controller(ovs, (nothing if is_foreign else known) + more)
        far = f"{ovs.namespace}-far"
        ovs.add_namespace(far)
        self.wires: dict[int, Wire] = {}
        self.streams = 0
        self.kernel = Kernel(named(ovs.namespace))
        for n in self.numbers:
            identity = f"other-config:datapath-id={n:016x}"
            ovs.add_bridge(bridge(n), "fail_mode=secure", identity)  # no storm, ever
            name = f"w{n}"
            self.wires[n] = plug(ovs, far, bridge(n), {HOST: name})[HOST]
            if is_foreign:
                ovs.vsctl("set-controller", bridge(n), TARGET)
                quick = ("other-config:disable-in-band=true", "fail_mode=secure")
                ovs.vsctl("set", "bridge", bridge(n), *quick)
                ovs.vsctl("set", "controller", bridge(n), "max_backoff=1000")
        for number, ends in enumerate(joined):
            self._plug(number, ends)

    def add(self, one: int, other: int) -> int:
        """One more cable; its number."""
        self.joined.append((one, other))
        self._plug(len(self.joined) - 1, (one, other))
        return len(self.joined) - 1

    def _plug(self, number: int, ends: tuple[int, int]) -> None:
        one, other = (f"c{number}-{side}" for side in "ab")
        self.ip("add", one, "type", "veth", "peer", "name", other)
        for n, name in zip(ends, (one, other), strict=True):
            self.ip("set", name, "up")
            self.ovs.vsctl(
                *("add-port", bridge(n), name, "--", "set", "interface", name),
                f"ofport_request={10 + number}",
            )

    def __enter__(self) -> Self:
        self.controller.start()
        for n in self.numbers:
            wait_until(lambda n=n: self.is_heard(n), within=SOON, why=f"station {n}")  # type: ignore[misc]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for wire in self.wires.values():
            wire.close()
        self.kernel.close()

    def is_heard(self, n: int) -> bool:
        self.wires[n].send(arp(sha=lladdr(n), spa=ip(n), tpa=ip(n)))
        return self.controller.answered().get(ip(n)) == lladdr(n)

    def ip(self, *words: str) -> None:
        self.ovs.run("ip", "link", *words)

    def cut(self, number: int) -> float:
        """When, on the monotonic clock."""
        began = time.monotonic()
        self.kernel.set_up(f"c{number}-a", False)
        return began

    def mend(self, number: int) -> None:
        self.kernel.set_up(f"c{number}-a", True)

    def silence(self, number: int) -> float:
        """Its ends stay up, and hear nothing, as behind a converter; since when."""
        began = time.monotonic()
        self._hear(number, "no-receive")
        return began

    def hear(self, number: int) -> None:
        self._hear(number, "receive")

    def _hear(self, number: int, what: str) -> None:
        for n in self.joined[number]:
            self.ovs.ofctl("mod-port", bridge(n), str(10 + number), what)

    def groups(self, n: int) -> list[str]:
        dumped = self.ovs.ofctl("-OOpenFlow13", "dump-groups", bridge(n))
        return [line.strip() for line in dumped.splitlines()[1:]]

    def put_group(self, n: int, group: str) -> None:
        """By hand, as `groups` tells it; the controller does not hear of it."""
        self.ovs.ofctl("-OOpenFlow13", "mod-group", bridge(n), group)

    def way(self, start: int, goal: int) -> str:
        """What the switch does with a frame for the station of another."""
        dumped = self.ovs.ofctl("-OOpenFlow13", "dump-flows", bridge(start))
        towards = f"dl_dst={lladdr(goal)} actions="
        found = [row for row in dumped.splitlines() if towards in row and "reg1" in row]
        return found[0].partition("actions=")[2] if found else ""

    def arrivals(
        self, pairs: Sequence[tuple[int, int]], expected: set[tuple[int, int]]
    ) -> Counter[tuple[int, int]]:
        """How often a frame arrives that each of these stations sends to another; until
        what is expected has arrived, and a moment longer."""
        self.streams += 1
        frames = {pair: self._of_pair(*pair) for pair in pairs}
        for (start, _), frame in frames.items():
            self.wires[start].send(frame)
        heard: Counter[tuple[int, int]] = Counter()
        until = time.monotonic() + ARRIVED
        while time.monotonic() < until:
            for goal, wire in self.wires.items():
                some = Counter(wire.heard())
                for pair, frame in frames.items():
                    heard[pair] += some[frame] if pair[1] == goal else 0
            if until > time.monotonic() + MOMENT and expected <= {*+heard}:
                until = time.monotonic() + MOMENT
            time.sleep(EVERY)
        return +heard

    def _of_pair(self, start: int, goal: int) -> bytes:
        addresses = bytes.fromhex((lladdr(goal) + lladdr(start)).replace(":", ""))
        number = struct.pack("!I", self.streams)
        return addresses + EXPERIMENTAL + number.ljust(46, b"\0")

    def conversations(self, start: int, goal: int) -> set[int]:
        """Cables that a hundred connections between two stations take, if all of them
        arrive; else none."""
        self.streams += 1
        before = self.passed()
        frames = [self._of_connection(start, goal, port) for port in range(CONNECTIONS)]
        self.wires[start].send(*frames)
        heard: set[bytes] = set()
        until = time.monotonic() + ARRIVED
        while heard < {*frames} and time.monotonic() < until:
            heard |= {*self.wires[goal].heard()} & {*frames}
            time.sleep(EVERY)
        if heard != {*frames}:
            return set()
        return {n for n, now in enumerate(self.passed()) if now - before[n] >= SHARE}

    def _of_connection(self, start: int, goal: int, port: int) -> bytes:
        frame = Ether(src=lladdr(start), dst=lladdr(goal))
        sport = 1024 + CONNECTIONS * self.streams + port
        packet = IP(src=ip(start), dst=ip(goal)) / TCP(sport=sport, dport=9)
        return bytes(frame / packet / Raw(bytes(6)))

    def passed(self) -> list[int]:
        """Frames that have passed each cable, in both directions."""
        ends = [
            f"/sys/class/net/c{number}-a/statistics/{way}_packets"
            for number in range(len(self.joined))
            for way in ("tx", "rx")
        ]
        counts = [int(line) for line in self.ovs.run("cat", *ends).stdout.split()]
        return [tx + rx for tx, rx in zip(counts[::2], counts[1::2], strict=True)]

    def stream(self, start: int, goal: int, every: float = EVERY) -> Stream:
        self.streams += 1  # what is left of an earlier one is not taken for this one
        head = self._of_pair(start, goal)[:HEAD]
        return Stream(self.wires[start], self.wires[goal], head, every)


class Stream:
    """Numbered frames from one wire to another, one after another, while it lasts.

    arrived  when each number came, in seconds on the monotonic clock
    copies   of numbers that came more than once
    """

    def __init__(self, one: Wire, other: Wire, head: bytes, every: float) -> None:
        self.sent = 0
        self.arrived: dict[int, float] = {}
        self.copies = 0
        self._one, self._other, self._head, self._every = one, other, head, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
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

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._one.send(self._head + struct.pack("!I", self.sent).ljust(42, b"\0"))
            self.sent += 1
            self._listen()

    def _listen(self) -> None:
        now = time.monotonic()
        for frame in self._other.heard():
            if frame.startswith(self._head):
                (number,) = struct.unpack_from("!I", frame, len(self._head))
                self.copies += number in self.arrived
                self.arrived.setdefault(number, now)

    def goes_on(self, frames: int = 20) -> None:
        """So many frames that are sent from now on arrive one after another."""
        since = self.sent + 1

        def is_whole() -> bool:
            last = max(self.arrived, default=0)
            return all(n in self.arrived for n in range(last - frames, last)) and (
                last - frames >= since
            )

        wait_until(is_whole, within=SOON, why="frames to arrive again")

    def lost(self) -> int:
        """Frames before the last that arrived that did not."""
        return max(self.arrived, default=-1) + 1 - len(self.arrived)
