"""A switch that asks the controller for nothing but to listen: PACKET_INs at a rate.

    python -m tests.bench.load 6653 3000 200    port; packet-ins a second; of how many
                                                hosts; until its input ends

It speaks as much OpenFlow 1.3 as the controller needs to take it for a switch: the
handshake, its ports, empty lists of flows, barriers.  Whatever flows it is told it
forgets.  The packets are ARP requests of hosts that ask each other, in turn; each host
speaks at one port, so after the first round nobody of them is new.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

from tests.support.wait import wait_until

PORTS = 8
DATAPATH_ID = 0xB1
OURS = 0x15A7 << 48  # flows.openflow.OWNER: a flow of the controller's sent the packet
TICK = 0.001  # seconds between two looks at the clock
HEADER = struct.Struct("!BBHI")
(HELLO, ECHO_REQUEST, ECHO_REPLY, FEATURES_REQUEST, FEATURES_REPLY, PACKET_IN) = (
    0, 2, 3, 5, 6, 10,
)  # fmt: skip
MULTIPART_REQUEST, MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 18, 19, 20, 21
FLOW, AGGREGATE, PORT_DESC = 1, 2, 13  # multipart types, OpenFlow 1.3, 7.3.5
METER_FEATURES = 11  # OFPMP_METER_FEATURES


def message(kind: int, xid: int, body: bytes = b"") -> bytes:
    return HEADER.pack(4, kind, HEADER.size + len(body), xid) + body


def port(number: int) -> bytes:
    """struct ofp_port, 7.2.1: up, and linked."""
    lladdr = bytes((2, 0, 0, 1, 0, number))
    return struct.pack("!I4x6s2x16s32x", number, lladdr, f"b{number}".encode())


def answer(kind: int, xid: int, body: bytes) -> bytes:
    """What a switch says to a message, or nothing."""
    if kind == ECHO_REQUEST:
        return message(ECHO_REPLY, xid, body)
    if kind == FEATURES_REQUEST:
        features = struct.pack("!QIBB2xII", DATAPATH_ID, 0, 254, 0, 0, 0)
        return message(FEATURES_REPLY, xid, features)
    if kind == BARRIER_REQUEST:
        return message(BARRIER_REPLY, xid)
    if kind == MULTIPART_REQUEST:
        part = struct.unpack_from("!H", body)[0]
        return message(
            MULTIPART_REPLY, xid, struct.pack("!HH4x", part, 0) + all_of(part)
        )
    return b""


def all_of(part: int) -> bytes:
    if part == PORT_DESC:
        return b"".join(port(number) for number in range(1, PORTS + 1))
    sizes = {AGGREGATE: 24, METER_FEATURES: 16}  # no flows; no meters either
    return bytes(sizes.get(part, 0))


def packet_in(number: int) -> bytes:
    """An ARP request of host `number` for the next one; it speaks at one port."""
    sha = bytes((2, 0, 0, 0, number >> 8, number & 0xFF))
    spa, tpa = (bytes((10, 0, n >> 8, n & 0xFF)) for n in (number, number + 1))
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + sha + spa + bytes(6) + tpa
    frame = (b"\xff" * 6 + sha + b"\x08\x06" + arp).ljust(60, b"\0")
    match = struct.pack("!HHIII4x", 1, 12, 0x80000004, number % PORTS + 1, 0)[:16]
    fixed = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 1, 0, OURS)
    return message(PACKET_IN, 0, fixed + match + b"\0\0" + frame)


def connected(port_no: int) -> socket.socket:
    """As soon as somebody listens there."""

    def attempt() -> list[socket.socket]:
        try:
            return [socket.create_connection(("127.0.0.1", port_no))]
        except ConnectionRefusedError:
            return []

    return wait_until(attempt, within=30, why="the controller to listen")[0]


class Switch:
    """One connection to the controller, and the rate at which it speaks."""

    def __init__(self, port_no: int) -> None:
        self.socket = connected(port_no)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(message(HELLO, 0))
        self._rest = b""
        self.is_known = False  # the controller has begun to care for its flows

    def hear(self) -> bool:
        """Read and answer what there is; False at the end."""
        octets = self.socket.recv(1 << 16)
        self._rest += octets
        for kind, xid, body in self._messages():
            self.is_known |= kind == BARRIER_REQUEST
            if said := answer(kind, xid, body):
                self.socket.sendall(said)
        return bool(octets)

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        while len(self._rest) >= HEADER.size:
            _, kind, length, xid = HEADER.unpack_from(self._rest)
            if len(self._rest) < length:
                return
            body, self._rest = self._rest[HEADER.size : length], self._rest[length:]
            yield kind, xid, body


def speak(switch: Switch, rate: float, hosts: int) -> None:
    """As many packet-ins as are due by the clock, in ticks; a blocked send is waited
    for, so that a slow controller gets less, and the count tells."""
    packets = [packet_in(n) for n in range(1, hosts + 1)]
    began, sent, told = 0.0, 0, False
    while True:
        wait = TICK if rate and switch.is_known else None
        readable, _, _ = select.select([switch.socket, sys.stdin], [], [], wait)
        if sys.stdin in readable or (switch.socket in readable and not switch.hear()):
            return
        if switch.is_known and not told:
            told, began = True, time.monotonic()
            print("known", flush=True)
        if rate and told:
            due = int((time.monotonic() - began) * rate)
            octets = b"".join(packets[n % hosts] for n in range(sent, due))
            switch.socket.sendall(octets)
            sent = due


if __name__ == "__main__":
    speak(Switch(int(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3]))
