"""Interfaces and addresses in numbers: made by ip(8) in batches, or by a message each.

A request of `Kernel` costs some microseconds where a process of ip(8) costs
milliseconds, which would be measured instead of what follows from the change.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

CLONE_NEWNET = 0x40000000  # linux/sched.h
BATCH_LIMIT = 120.0  # seconds
HEADER = struct.Struct("=IHHII")
NLMSG_ERROR, NLM_F_REQUEST_ACK = 2, 0x5
NLM_F_CREATE_EXCL = 0x600
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
IFLA_IFNAME, IFLA_MTU, IFLA_IFALIAS = 3, 4, 20
IFA_ADDRESS, IFA_LOCAL = 1, 2
IFF_UP = 1
SO_RCVBUFFORCE, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 33, 270, 1
RTNLGRP_LINK = 1


def ip_batch(namespace: str, lines: str) -> None:
    """ip -batch, stopping at the first line that fails."""
    done = subprocess.run(
        ("ip", "-n", namespace, "-batch", "-"),
        input=lines, capture_output=True, text=True, timeout=BATCH_LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def named(namespace: str) -> Path:
    """A namespace that `ip netns` has named."""
    return Path("/run/netns", namespace)


@contextmanager
def inside(namespace: Path) -> Iterator[None]:
    """This thread's new sockets and taps belong to the namespace (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as here, namespace.open() as there:
        assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(here.fileno(), CLONE_NEWNET) == 0


class Kernel:
    """Changes in one namespace, each done when the call returns."""

    def __init__(self, namespace: Path) -> None:
        with inside(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            self.indexes = {name: index for index, name in socket.if_nameindex()}
        self._socket.settimeout(10)

    def close(self) -> None:
        self._socket.close()

    def set_up(self, ifname: str, up: bool) -> None:
        self._link(RTM_NEWLINK, ifname, IFF_UP if up else 0, IFF_UP)

    def set_alias(self, ifname: str, alias: str) -> None:
        self._link(RTM_NEWLINK, ifname, 0, 0, attribute(IFLA_IFALIAS, alias.encode()))

    def set_mtu(self, ifname: str, mtu: int) -> None:
        self._link(
            RTM_NEWLINK, ifname, 0, 0, attribute(IFLA_MTU, mtu.to_bytes(4, "little"))
        )

    def delete(self, ifname: str) -> None:
        self._link(RTM_DELLINK, ifname, 0, 0)

    def add_address(self, ifname: str, ip: str) -> None:
        self._address(RTM_NEWADDR, NLM_F_CREATE_EXCL, ifname, ip)

    def delete_address(self, ifname: str, ip: str) -> None:
        self._address(RTM_DELADDR, 0, ifname, ip)

    def _link(
        self, kind: int, ifname: str, flags: int, mask: int, more: bytes = b""
    ) -> None:
        ifinfomsg = struct.pack("=BxHiII", 0, 0, 0, flags, mask)
        name = attribute(IFLA_IFNAME, ifname.encode() + b"\0")
        self._ask(kind, 0, ifinfomsg + name + more)

    def _address(self, kind: int, flags: int, ifname: str, ip: str) -> None:
        ifaddrmsg = struct.pack(
            "=BBBBI", socket.AF_INET, 24, 0, 0, self.indexes[ifname]
        )
        octets = IPv4Address(ip).packed
        both = attribute(IFA_LOCAL, octets) + attribute(IFA_ADDRESS, octets)
        self._ask(kind, flags, ifaddrmsg + both)

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        """Send one request; OSError if the kernel refuses it."""
        flags |= NLM_F_REQUEST_ACK
        self._socket.send(HEADER.pack(16 + len(body), kind, flags, 1, 0) + body)
        answer = self._socket.recv(1 << 16)
        code: int = struct.unpack_from("=i", answer, 16)[0]
        if code:
            raise OSError(-code, errno.errorcode.get(-code, "refused"))


def attribute(kind: int, payload: bytes) -> bytes:
    """struct nlattr: padded to four octets."""
    octets = struct.pack("=HH", 4 + len(payload), kind) + payload
    return octets + bytes(-len(octets) % 4)


def link_events(namespace: Path, receive_buffer: int = 1 << 20) -> socket.socket:
    """A socket that is sent what happens to the links of a namespace."""
    with inside(namespace):
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
    sock.bind((0, 0))
    sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, RTNLGRP_LINK)
    return sock
