"""Peers that mean no good: what each sends is dealt with, or it is closed.

    python -m tests.bench.intruder 6653 1 10000 10000    port; seed; damaged messages;
                                                         damaged frames in packet-ins

What no switch sends comes from strangers, from peers that have said HELLO, and from
switches that have shaken hands: each must be closed.  What passes the check comes from
a switch that goes on, and an echo request behind it must be answered; or, if Ryu's
parser could not read it, the switch is closed.  So all of it was dealt with when this
ends.  It prints a JSON object: how many, by what has become of them.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import struct
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from controller.sources.openflow_check import Unacceptable, check
from flows.pipeline import TABLE_IDS
from tests.bench.fuzz import FAULTS, HOW_MANY
from tests.bench.hostile import damaged, end_of
from tests.sources.test_openflow_check import BAD, GOOD, message
from tests.support import dhcp, frames
from tests.support.fake_switch import FakeSwitch
from tests.support.full_switch import FullSwitch, packet_in

RANK = 8  # connections at a time
PIECE = 32  # messages between two echo requests
PATIENCE = 10.0  # seconds: beyond, the controller hangs
FRAME_MAX = 2000  # octets
FIRST_ID = 0x1000  # datapath_id of the first one
CROWD = ("stranger", *["greeted"] * 8, "switch")  # one of ten shakes hands

H1, H2, A, B = "02:00:00:00:00:01", "02:00:00:00:00:02", "fd00::1", "fd00::2"
FRAMES = (
    frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.2"),
    frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.1"),
    frames.arp(sha=H1, spa="0.0.0.0", tpa="10.0.0.2"),
    frames.arp(sha=H2, spa="10.0.0.2", tpa="10.0.0.1", op=2, tha=H1, eth_dst=H1),
    frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.2", tags=(7,)),
    frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.2", tags=(7, 8), service_tag=True),
    frames.ns(eth_src=H1, src=A, target=B),
    frames.ns(eth_src=H1, target=A, options=(frames.nonce(),)),
    frames.ns(eth_src=H1, src=A, target=B, options=(frames.sll(H1), frames.nonce(14))),
    frames.na(eth_src=H2, target=B),
    frames.na(eth_src=H2, target=B, router=True, tags=(7,)),
    frames.ipv4(eth_src=H1, eth_dst=H2, src="10.0.0.1", dst="10.0.0.2"),
    dhcp.dhcp(dhcp.REQUEST, client=H1, options=bytes((50, 4, 10, 0, 0, 9))),
    dhcp.dhcp(dhcp.ACK, client=H1, yiaddr="10.0.0.9", seconds=600, eth_src=H2),
    dhcp.dhcp6(dhcp.REQUEST6, client=H1, options=dhcp.association(("fd00::9", 600))),
    dhcp.dhcp6(dhcp.REPLY, client=H1, eth_src=H2,
               options=dhcp.association(("fd00::9", 600))),
)  # fmt: skip


def greeting(kind: str, datapath_id: int) -> bytes:
    """What it says before, without waiting for the other side."""
    if kind == "stranger":
        return b""
    if kind == "greeted":
        return GOOD["hello"]
    features = struct.pack("!QIBBxxII", datapath_id, 0, 254, 0, 0, 0)
    return GOOD["hello"] + message(6, features) + GOOD["ports"]


def is_refused(octets: bytes, kind: str) -> bool:
    try:
        check(octets, is_greeted=kind != "stranger")
    except Unacceptable:
        return True
    return False


class Intruder:
    """count  messages and frames, by what has become of them"""

    def __init__(self, port: int, chance: random.Random) -> None:
        self.count: Counter[str] = Counter()
        self._port, self._chance = port, chance
        self._switch: FullSwitch | None = None
        self._rank: list[bytes] = []

    # --- what no switch sends ---------------------------------------------------------

    def refused(self, octets: bytes, kind: str) -> None:
        self._rank.append(greeting(kind, FIRST_ID + len(self._rank)) + octets)
        if len(self._rank) == RANK:
            self.settle()

    def settle(self) -> None:
        """Until all of them are closed."""
        with ExitStack() as stack:
            peers = [stack.enter_context(self._connect()) for _ in self._rank]
            for peer, octets in zip(peers, self._rank, strict=True):
                with suppress(ConnectionError):  # it is closed before it has said all
                    peer.sendall(octets)
            for peer in peers:
                until_closed(peer)
        self.count["closed"] += len(self._rank)
        self._rank.clear()

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE)

    # --- what one may send ------------------------------------------------------------

    def dealt_with(self, piece: Sequence[bytes], what: str) -> None:
        """All of it; who is closed halfway says the rest again."""
        try:
            self.switch.socket.sendall(b"".join(piece))
            self.switch.echo()
        except ConnectionError:
            self.close()
            if len(piece) == 1:
                self.count["closed by a parser"] += 1
                return
            half = len(piece) // 2
            self.dealt_with(piece[:half], what)
            self.dealt_with(piece[half:], what)
            return
        self.count[what] += len(piece)

    @property
    def switch(self) -> FakeSwitch:
        if self._switch is None:
            self._switch = FullSwitch(self._port, FIRST_ID - 1, hosts=4)
            self._switch.__enter__()
        return self._switch

    def close(self) -> None:
        if self._switch is not None:
            self._switch.socket.close()
        self._switch = None

    # --- all of it --------------------------------------------------------------------

    def every_bad_message(self) -> None:
        for kind in ("stranger", "greeted", "switch"):
            for octets in BAD.values():
                self.refused(octets, kind)
        self.settle()

    def messages(self, number: int) -> None:
        seeds, piece = list(GOOD.values()), list[bytes]()
        for _ in range(number):
            octets = damaged(self._chance, self._chance.choice(seeds))
            kind = self._chance.choice(CROWD)
            if is_refused(octets, kind):
                self.refused(octets, kind)
            elif is_refused(octets, "greeted"):
                self.refused(octets, "greeted")
            elif end_of(octets) != "read":
                self.dealt_with([octets], "taken")
            else:
                piece.append(octets)
            if len(piece) == PIECE:
                self.dealt_with(piece, "taken")
                piece.clear()
        self.settle()
        if piece:
            self.dealt_with(piece, "taken")

    def frames(self, number: int) -> None:
        left = iter(range(number))
        while piece := [self._frame() for _ in zip(range(PIECE), left, strict=False)]:
            self.dealt_with(piece, "frames")

    def _frame(self) -> bytes:
        chance, octets = self._chance, bytearray(self._chance.choice(FRAMES))
        for _ in range(chance.choice(HOW_MANY)):
            chance.choice(FAULTS)(chance, octets)
        whole = bytearray(packet_in(chance.randint(1, 4), bytes(octets[:FRAME_MAX])))
        whole[15] = chance.choice(sorted(TABLE_IDS.values()))
        return bytes(whole)


def until_closed(peer: socket.socket) -> None:
    with suppress(ConnectionError):
        while peer.recv(65536):
            continue


def main(words: Sequence[str]) -> None:
    port, seed, messages, frames_ = map(int, words)
    logging.disable(logging.CRITICAL)  # Ryu prints a page for each
    intruder = Intruder(port, random.Random(seed))
    intruder.every_bad_message()
    intruder.messages(messages)
    intruder.frames(frames_)
    intruder.close()
    print(json.dumps(intruder.count), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
