"""The switch's end of an OpenFlow 1.3 channel, for a controller that runs."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Self

HELLO, ECHO_REQUEST, ECHO_REPLY = 0, 2, 3
FEATURES_REQUEST, FEATURES_REPLY = 5, 6
MULTIPART_REQUEST, MULTIPART_REPLY, PORT_DESC = 18, 19, 13
PATIENCE = 10.0  # seconds


def message(kind: int, xid: int, body: bytes = b"") -> bytes:
    return struct.pack("!BBHI", 4, kind, 8 + len(body), xid) + body


def connected(at: int | Path) -> socket.socket:
    """To a TCP port of this host, or to a unix socket."""
    if isinstance(at, int):
        return socket.create_connection(("127.0.0.1", at), timeout=PATIENCE)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.connect(str(at))
    return sock


class FakeSwitch:
    """Connects, and answers what it is asked in the handshake; it has no port."""

    def __init__(
        self, at: int | Path, datapath_id: int = 1, tls: ssl.SSLContext | None = None
    ) -> None:
        self.socket = connected(at)
        self._tls = tls
        self._id = datapath_id
        self._rest = b""
        self._xid = 1000

    def __enter__(self) -> Self:
        try:
            self._shake_hands()
        except OSError:
            self.socket.close()
            raise
        return self

    def _shake_hands(self) -> None:
        if self._tls is not None:
            self.socket = self._tls.wrap_socket(self.socket)
        self.socket.sendall(message(HELLO, 1))
        asked = self.until(FEATURES_REQUEST)
        features = struct.pack("!QIBBxxII", self._id, 0, 254, 0, 0, 0)
        self.socket.sendall(message(FEATURES_REPLY, asked, features))
        asked = self.until(MULTIPART_REQUEST)
        ports = struct.pack("!HH4x", PORT_DESC, 0) + self.ports()
        self.socket.sendall(message(MULTIPART_REPLY, asked, ports))

    def ports(self) -> bytes:
        """A list of ofp_port."""
        return b""

    def hear(self, whole: bytes) -> None:
        """A message that was read."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def until(self, wanted: int) -> int:
        """Read up to a message of this type; its xid."""
        while True:
            kind, xid = self._next()
            if kind == wanted:
                return xid

    def echo(self) -> float:
        """Seconds until the controller has answered."""
        self._xid += 1
        began = time.monotonic()
        self.socket.sendall(message(ECHO_REQUEST, self._xid, b"alive?"))
        while self.until(ECHO_REPLY) != self._xid:
            continue
        return time.monotonic() - began

    def _next(self) -> tuple[int, int]:
        while len(self._rest) < 8 or len(self._rest) < self._length():
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the controller has closed the channel")
            self._rest += data
        _, kind, length, xid = struct.unpack_from("!BBHI", self._rest)
        self.hear(self._rest[:length])
        self._rest = self._rest[length:]
        return kind, xid

    def _length(self) -> int:
        return int.from_bytes(self._rest[2:4])
