"""A switch with ports and no room for flows: its controller answers in its place."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from pathlib import Path

from controller.packets import arp_request
from flows import wire
from flows.openflow import OWNER
from tests.support.fake_switch import (
    MULTIPART_REPLY,
    MULTIPART_REQUEST,
    FakeSwitch,
    message,
)
from tests.support.wait import wait_until

FLOW_MOD_FAILED, TABLE_FULL = 5, 1  # OFPET_, OFPFMFC_
ERROR, BARRIER_REPLY = 1, 21
IN_PORT = 0x80000004  # OXM_OF_IN_PORT


def packet_in(in_port: int, frame: bytes) -> bytes:
    match = struct.pack("!HHII4x", 1, 12, IN_PORT, in_port)
    head = struct.pack("!IHBBQ", wire.NO_BUFFER, len(frame), 1, 3, OWNER << 48 | 1)
    return message(wire.PACKET_IN, 0, head + match + bytes(2) + frame)


def lladdr(host: int) -> str:
    return f"02:00:00:00:00:{host:02x}"


def ip(host: int) -> IPv4Address:
    return IPv4Address(f"10.0.0.{host}")


def question(asker: int, asked: int) -> bytes:
    """The packet-in; each host is behind the port of its number."""
    frame = arp_request(eth_src=lladdr(asker), spa=ip(asker), tpa=ip(asked))
    return packet_in(asker, frame)


class FullSwitch(FakeSwitch):
    """Each host of 1 to `hosts` is behind the port of its number.  Once it has refused
    a change it does not say any more what it holds, so that it is left in peace."""

    def __init__(self, at: int | Path, datapath_id: int = 1, hosts: int = 2) -> None:
        super().__init__(at, datapath_id)
        self._hosts = range(1, hosts + 1)
        self.has_refused = False
        self.sent: list[bytes] = []  # packet-outs

    def ports(self) -> bytes:
        return b"".join(
            struct.pack("!I4x6sxx16s32x", n, bytes((2, 1, 0, 0, 0, n)), b"p%d" % n)
            for n in self._hosts
        )

    def hear(self, whole: bytes) -> None:
        _, kind, _, xid = wire.HEADER.unpack_from(whole)
        part = whole[8:10]
        if kind == wire.PACKET_OUT:
            self.sent.append(whole)
        elif kind == MULTIPART_REQUEST and part == b"\0\1" and not self.has_refused:
            self.socket.sendall(
                message(MULTIPART_REPLY, xid, struct.pack("!HH4x", 1, 0))
            )
        elif kind == wire.BARRIER_REQUEST:
            self.socket.sendall(message(BARRIER_REPLY, xid))
        elif wire.bundle_step(whole[8:]) == (xid, wire.BUNDLE_COMMIT):
            self.has_refused = True
            full = struct.pack("!HH", FLOW_MOD_FAILED, TABLE_FULL)
            self.socket.sendall(message(ERROR, xid, full + whole[:8]))

    def answer(self, asked: bytes) -> bytes:
        """The packet-out to a packet-in; the switch asks until one comes."""
        return wait_until(lambda: self._answer(asked), within=20, why="an answer")

    def _answer(self, asked: bytes) -> bytes:
        self.sent.clear()
        self.socket.sendall(asked)
        self.echo()
        return self.sent[-1] if self.sent else b""

    def settle(self) -> None:
        """Its hosts are known, and each question was answered once."""
        for host in self._hosts:
            self.socket.sendall(question(host, host))
        for host in self._hosts:
            for other in self._hosts:
                if host != other:
                    self.answer(question(host, other))
