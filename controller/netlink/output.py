"""What is said and not yet read: a bounded queue in front of a file descriptor."""

from __future__ import annotations

import math
import os
import select
import socket
import stat
from collections import deque

OUTPUT_MAX = 32 * 1024 * 1024  # octets that wait for a slow reader, beyond a snapshot
READ_SIZE = 64 * 1024  # octets
SEND_SIZE = 256 * 1024  # octets in one send
ATOMIC = select.PIPE_BUF  # a pipe that is writable takes as much without blocking


class Output:
    """Lines on their way out; `full` when the reader has fallen too far behind."""

    def __init__(self, fd: int, limit: int = OUTPUT_MAX) -> None:
        self.fd = fd
        self._most = limit
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._limit: float = limit
        self._socket = (
            socket.socket(fileno=fd) if stat.S_ISSOCK(os.fstat(fd).st_mode) else None
        )

    @property
    def end_of_reader(self) -> int:
        """What poll(2) should look for besides POLLERR and POLLHUP."""
        return select.POLLIN if self._socket else 0

    def heard(self) -> bytes | None:
        """After an event of `end_of_reader`: what the reader says; None at its end."""
        if self._socket is None:
            return None
        try:
            return self._socket.recv(READ_SIZE, socket.MSG_DONTWAIT) or None
        except BlockingIOError:
            return b""

    @property
    def waiting(self) -> int:
        """Octets."""
        return self._waiting

    @property
    def full(self) -> bool:
        return self._waiting > self._limit

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def say(self, line: bytes) -> None:
        self._queue.append(line)
        self._waiting += len(line)

    def forget(self) -> None:
        """Drop all but the first piece, of which a part may have been read."""
        kept = list(self._queue)[:1]
        self._queue = deque(kept)
        self._waiting = sum(map(len, kept))

    def begin_snapshot(self) -> None:
        """A snapshot may be of any size: a large host has to be told, too."""
        self._limit = math.inf

    def end_snapshot(self) -> None:
        """The bound is for what comes on top of it."""
        self._limit = self._waiting + self._most

    def flush(self) -> None:
        """Write as much as the reader takes without waiting for it."""
        while self._queue:
            piece = self._take()
            written = self._write(piece)
            self._waiting -= written
            if written < len(piece):
                self._queue.appendleft(piece[written:])
                return
        if self._limit < math.inf:
            self._limit = self._most

    def _take(self) -> bytes:
        """Whole lines together, up to SEND_SIZE; a long line alone."""
        pieces = [self._queue.popleft()]
        size = len(pieces[0])
        while self._queue and size + len(self._queue[0]) <= SEND_SIZE:
            size += len(self._queue[0])
            pieces.append(self._queue.popleft())
        return b"".join(pieces)

    def _write(self, piece: bytes) -> int:
        if self._socket:
            return send(self._socket, piece)
        written = 0
        while written < len(piece) and writable(self.fd):
            written += os.write(self.fd, piece[written : written + ATOMIC])
        return written


def send(sock: socket.socket, piece: bytes) -> int:
    try:
        return sock.send(piece, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0


def writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))
