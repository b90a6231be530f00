"""The two netlink sockets of a mirror: one hears what happens, one asks (S0).

They are two because a dump on the socket that hears would mix with its messages, and
because its losses could not be told from the dump's.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Generator, Iterator
from itertools import count

from controller.netlink.rtnl import framing
from controller.netlink.rtnl.nsid import NETNSA_NSID_NOT_ASSIGNED

SOL_NETLINK = 270
SO_RCVBUFFORCE = 33  # asm-generic/socket.h
NETLINK_ADD_MEMBERSHIP, NETLINK_LISTEN_ALL_NSID = 1, 8
NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 10, 11, 12

RECEIVE_SIZE = 64 * 1024  # a link with 500 altnames is larger: doubled when it is
RECEIVE_SIZE_MAX = 1024 * 1024
RECEIVE_BUFFER = 16 * 1024 * 1024  # 14,000 link events while nobody reads
ANSWER_TIMEOUT = 5.0  # seconds; the kernel answers while it runs the request
FINAL = {
    *(errno.ENODEV, errno.EINVAL, errno.ENOENT, errno.ESRCH),  # gone
    *(errno.EACCES, errno.EPERM),  # not ours to read
}
LACK = {errno.EOPNOTSUPP, errno.EAFNOSUPPORT}
INT = struct.Struct("=i")


class Lost(Exception):
    """The kernel had something to say that we did not get: nothing is certain now."""


class Refused(OSError):
    """The kernel answered a request with an error."""

    @property
    def is_final(self) -> bool:
        """Asking again would not help: it is not there, or not for us to see."""
        return self.errno in FINAL

    @property
    def is_lack(self) -> bool:
        """This kernel has no such table, or not of this family."""
        return self.errno in LACK


class Interrupted(Exception):
    """A dump is not one picture: NLM_F_DUMP_INTR, or cut off by a small buffer."""


def raw_route_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def open_route_socket(sock: socket.socket | None = None) -> socket.socket:
    """NETLINK_ROUTE, strict about what it is asked, wordy about errors.

    sock  made in another namespace, where it belongs for ever; else one of this one
    """
    sock = sock or raw_route_socket()
    try:
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK):
            sock.setsockopt(SOL_NETLINK, option, 1)
    except OSError as error:
        sock.close()
        raise OSError(
            error.errno, "NETLINK_GET_STRICT_CHK: needs Linux 4.20 or later"
        ) from error
    sock.bind((0, 0))
    return sock


def grow_receive_buffer(sock: socket.socket, size: int) -> None:
    """Beyond net.core.rmem_max where we may (CAP_NET_ADMIN), else up to it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


class EventSocket:
    """Multicast groups of this namespace and, with CAP_NET_BROADCAST, of all known.

    all_nsid  False if the kernel refused NETLINK_LISTEN_ALL_NSID
    """

    def __init__(self, groups: tuple[int, ...], receive_buffer: int) -> None:
        self.sock = open_route_socket()
        self.sock.setblocking(False)
        grow_receive_buffer(self.sock, receive_buffer)
        self.all_nsid = self._listen_all_nsid()
        for group in groups:
            self._join(group)
        self._size = RECEIVE_SIZE

    def _join(self, group: int) -> None:
        """A kernel that is older than a group has not its table, either."""
        try:
            self.sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def _listen_all_nsid(self) -> bool:
        try:
            self.sock.setsockopt(SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, 1)
        except PermissionError:
            return False
        return True

    def fileno(self) -> int:
        return self.sock.fileno()

    def read(self) -> tuple[int, bytes] | None:
        """nsid and datagram; None if nothing waits; `Lost` if something is missing."""
        while True:
            try:
                data, ancillary, flags, sender = self.sock.recvmsg(
                    self._size, socket.CMSG_SPACE(INT.size)
                )
            except BlockingIOError:
                return None
            except OSError as error:
                raise Lost(errno.errorcode.get(error.errno or 0, str(error))) from error
            if sender[0] != 0:  # a process wrote to us; only the kernel is believed
                continue
            if flags & socket.MSG_TRUNC:
                self._size = min(2 * self._size, RECEIVE_SIZE_MAX)
                raise Lost("a message larger than the receive buffer")
            return nsid_of(ancillary), data

    def drain(self) -> None:
        """Read to EAGAIN and forget: until then the kernel hides further losses."""
        while True:
            with contextlib.suppress(Lost):
                if self.read() is None:
                    return

    def close(self) -> None:
        self.sock.close()


def nsid_of(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The namespace a multicast came from; absent for our own without an nsid."""
    for level, kind, data in ancillary:
        if (level, kind) == (SOL_NETLINK, NETLINK_LISTEN_ALL_NSID):
            return int(INT.unpack(data[: INT.size])[0])
    return NETNSA_NSID_NOT_ASSIGNED


class RequestSocket:
    """One request at a time: answers carry the sequence number of their request."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.sock = open_route_socket(sock)
        self._sequence = count(1)
        self._running = 0  # sequence number of the dump that is under way
        self._size = RECEIVE_SIZE

    def ask(self, kind: int, body: bytes) -> framing.Message:
        """The one message that answers a request, or `Refused`."""
        return self._answer(self._send(kind, framing.NLM_F_REQUEST, body))

    def change(self, kind: int, flags: int, body: bytes) -> None:
        """Have the kernel do it.  When it has, it has told of it, too; or `Refused`."""
        flags |= framing.NLM_F_REQUEST | framing.NLM_F_ACK
        self._answer(self._send(kind, flags, body))

    def _answer(self, seq: int) -> framing.Message:
        while True:
            for message in self._receive():
                if message.seq == seq:
                    return accepted(message)

    def dump(self, kind: int, body: bytes) -> Generator[list[framing.Message]]:
        """All rows, a datagram at a time; `Interrupted` means: ask again."""
        seq = self._send(kind, framing.NLM_F_REQUEST | framing.NLM_F_DUMP, body)
        self._running = seq
        try:
            yield from self._rows(seq)
        finally:
            self._finish()

    def _rows(self, seq: int) -> Iterator[list[framing.Message]]:
        interrupted = False
        while self._running:
            rows, flags = [], 0
            for message in self._receive():
                if message.seq != seq:
                    continue
                flags |= message.flags
                if message.type > framing.NLMSG_OVERRUN:
                    rows.append(message)
                elif message.type in (framing.NLMSG_DONE, framing.NLMSG_ERROR):
                    self._running = 0
                    accepted(message)
            interrupted |= bool(flags & framing.NLM_F_DUMP_INTR)
            yield rows
        if interrupted:
            raise Interrupted("NLM_F_DUMP_INTR")

    def _finish(self) -> None:
        """Read a dump that was given up to its end; the kernel runs one at a time."""
        while self._running:
            with contextlib.suppress(Interrupted):
                for message in self._receive():
                    if message.seq == self._running and message.type in (
                        framing.NLMSG_DONE,
                        framing.NLMSG_ERROR,
                    ):
                        self._running = 0
                        break

    def _send(self, kind: int, flags: int, body: bytes) -> int:
        seq = next(self._sequence) & 0xFFFFFFFF
        self.sock.send(framing.encode(kind, flags, seq, body))
        return seq

    def _receive(self) -> Iterator[framing.Message]:
        while True:
            self._wait()
            data, _, flags, sender = self.sock.recvmsg(self._size)
            if sender[0] == 0:
                break
        if flags & socket.MSG_TRUNC:
            self._size = min(2 * self._size, RECEIVE_SIZE_MAX)
            raise Interrupted("a message larger than the receive buffer")
        return framing.messages(data)

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if not poll.poll(ANSWER_TIMEOUT * 1000):
            raise Lost(f"the kernel did not answer for {ANSWER_TIMEOUT:.0f} s")

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()


def accepted(message: framing.Message) -> framing.Message:
    """The message, unless it is an error."""
    if message.type in (framing.NLMSG_ERROR, framing.NLMSG_DONE):
        code, words = framing.error_of(message)
        if code:
            raise Refused(code, words or os.strerror(code))
    return message
