"""Rings of real bridges whose cables fail and come back: no broadcast arrives twice."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from controller.cli.client import ask
from tests.contracts.test_end_to_end import SOON, Controller
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

pytestmark = [pytest.mark.root, pytest.mark.ovs]

BRIDGES = ("br1", "br2", "br3", "br4")
CABLES = (
    ("br1", "br2"),
    ("br2", "br3"),
    ("br3", "br4"),
    ("br4", "br1"),
    ("br1", "br3"),
)
ROUNDS = 8
PAUSE = 0.001  # seconds between two broadcasts
SENDER = bytes.fromhex("020000000001")
EXPERIMENTAL = b"\x88\xb5"  # IEEE 802, 9.2.4


class Ring:
    """Bridges with a wire each, and cables that can be cut."""

    def __init__(self, ovs: PrivateOvs, controller: Controller) -> None:
        self.ovs, self.controller = ovs, controller
        for bridge in BRIDGES:
            ovs.add_bridge(bridge, "fail_mode=secure")  # no storm before isat
        for n, (one, other) in enumerate(CABLES):
            ends = (f"c{n}a", f"c{n}b")
            self.ip("add", ends[0], "type", "veth", "peer", "name", ends[1])
            for bridge, end in ((one, ends[0]), (other, ends[1])):
                self.ip("set", end, "up")
                ovs.vsctl("add-port", bridge, end)
        far = f"{ovs.namespace}-far"
        ovs.add_namespace(far)
        self.wires = [
            plug(ovs, far, bridge, {9: f"w-{bridge}"})[9] for bridge in BRIDGES
        ]
        self.copies: Counter[tuple[str, int]] = Counter()
        self.sent = 0

    def ip(self, *words: str) -> None:
        self.ovs.run("ip", "link", *words)

    def send(self) -> int:
        """One more broadcast at the first wire; its number."""
        self.sent += 1
        body = struct.pack("!I", self.sent).ljust(46, b"\0")
        self.wires[0].send(b"\xff" * 6 + SENDER + EXPERIMENTAL + body)
        return self.sent

    def listen(self) -> None:
        for wire in self.wires:
            for number in numbers(wire):
                self.copies[wire.name, number] += 1

    def is_whole(self) -> bool:
        """A broadcast that is sent now is heard everywhere."""
        number = self.send()
        deadline = time.monotonic() + 0.2
        while time.monotonic() < deadline:
            self.listen()
            if all(self.copies[wire.name, number] for wire in self.wires[1:]):
                return True
            time.sleep(PAUSE)
            self.send()
        return False

    def broadcast_until_whole(self, why: str) -> None:
        wait_until(self.is_whole, within=SOON, why=why)

    @contextmanager
    def talking(self) -> Iterator[None]:
        """Somebody broadcasts all the while."""
        over = threading.Event()

        def talk() -> None:
            while not over.wait(PAUSE):
                self.send()

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def wait_for_cable(self, *ends: str) -> None:
        def is_known() -> bool:
            self.listen()
            rows = {row["port"]: row for row in ask(self.controller.socket, "ports")}
            return all(end in rows and rows[end]["role"] == "fabric" for end in ends)

        wait_until(is_known, within=SOON, why=f"the cable {ends}")

    def worst(self) -> int:
        return max(self.copies.values())


def numbers(wire: Wire) -> Iterator[int]:
    for frame in wire.heard():
        if frame[6:12] == SENDER and frame[12:14] == EXPERIMENTAL:
            yield struct.unpack_from("!I", frame, 14)[0]


@pytest.fixture
def ring(ovs: PrivateOvs) -> Iterator[Ring]:
    names = "".join(f"{bridge}: {{}}, " for bridge in BRIDGES)
    controller = Controller(
        ovs, f"bridges: {{{names}}}\nsources: {{ovsdb: '{ovs.remote}'}}\n"
    )
    made = Ring(ovs, controller)
    controller.start()
    yield made
    for wire in made.wires:
        wire.close()


def test_no_cable_that_fails_or_comes_back_makes_a_second_copy(ring: Ring) -> None:
    ring.broadcast_until_whole("the tree")
    chance, cut = random.Random(4), set[int]()
    for _ in range(ROUNDS):
        n = chance.randrange(len(CABLES))
        if n in cut or is_joined(cut | {n}):
            cut ^= {n}
            ring.ip("set", f"c{n}a", "down" if n in cut else "up")
            ring.broadcast_until_whole(f"the tree without {cut}")
    ring.listen()
    assert ring.worst() == 1
    assert ring.sent > ROUNDS


def test_a_cable_that_is_plugged_in_makes_no_second_copy(ring: Ring) -> None:
    """Between bridges that are joined already, and forward all the while."""
    ring.broadcast_until_whole("the tree")
    for n, bridges in enumerate((BRIDGES[1::2], BRIDGES[::2], BRIDGES[:2]) * 2):
        ends = (f"n{n}a", f"n{n}b")
        ring.ip("add", ends[0], "type", "veth", "peer", "name", ends[1])
        for end in ends:
            ring.ip("set", end, "up")
        with ring.talking():
            for bridge, end in zip(bridges, ends, strict=True):
                ring.ovs.vsctl("add-port", bridge, end)
            ring.wait_for_cable(*ends)
            for bridge, end in zip(bridges, ends, strict=True):
                ring.ovs.vsctl("del-port", bridge, end)
        ring.ip("del", ends[0])
        ring.broadcast_until_whole(f"the tree without {ends}")
    ring.listen()
    assert ring.worst() == 1


def is_joined(cut: set[int]) -> bool:
    """Whether the other cables still connect all bridges."""
    seen, ahead = {BRIDGES[0]}, [BRIDGES[0]]
    while ahead:
        here = ahead.pop()
        for n, ends in enumerate(CABLES):
            if n not in cut and here in ends:
                new = set(ends) - seen
                seen |= new
                ahead += new
    return seen == set(BRIDGES)
