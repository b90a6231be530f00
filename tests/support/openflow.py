"""A bare OpenFlow 1.3 channel to a bridge, for messages that were made by hand."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY = 0, 1, 2, 3
MULTIPART_REPLY, BARRIER_REQUEST, BARRIER_REPLY = 19, 20, 21
PATIENCE = 10.0  # seconds that a switch may take for one answer


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `body` is what follows the header of eight octets."""

    kind: int
    xid: int
    body: bytes


class Channel:
    """Speaks to a bridge over the socket that ovs-ofctl uses: BRIDGE.mgmt."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(str(path))
        self._xids = count(0x7000_0000)
        self._send(HELLO, next(self._xids), b"")
        hello = self._receive()
        assert hello.kind == HELLO, hello

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, *messages: bytes) -> list[Message]:
        """Send them and a barrier; everything that comes before its answer."""
        return self.ask_for_all([b"".join(messages)])

    def ask_for_all(self, pieces: Iterable[bytes]) -> list[Message]:
        """Send them, each as soon as it is there, and a barrier; likewise."""
        barrier = next(self._xids)
        for piece in pieces:
            self._socket.sendall(piece)
        self._send(BARRIER_REQUEST, barrier, b"")
        answers: list[Message] = []
        while (answer := self._receive()).xid != barrier:
            if answer.kind == ECHO_REQUEST:
                self._send(ECHO_REPLY, answer.xid, answer.body)
            else:
                answers.append(answer)
        assert answer.kind == BARRIER_REPLY, answer
        return answers

    def hear(self) -> Message:
        """The next message; of BRIDGE.snoop, what switch and controller say."""
        return self._receive()

    def _send(self, kind: int, xid: int, body: bytes) -> None:
        self._socket.sendall(struct.pack("!BBHI", 4, kind, 8 + len(body), xid) + body)

    def _receive(self) -> Message:
        _, kind, length, xid = struct.unpack("!BBHI", self._exactly(8))
        return Message(kind, xid, self._exactly(length - 8))

    def _exactly(self, size: int) -> bytes:
        octets = bytearray()
        while len(octets) < size:
            part = self._socket.recv(size - len(octets))
            assert part, "the switch has closed the channel"
            octets += part
        return bytes(octets)


def errors(answers: list[Message]) -> list[tuple[int, int, int]]:
    """xid, type and code of each OFPT_ERROR (7.4.4)."""
    return [
        (answer.xid, *struct.unpack_from("!HH", answer.body))
        for answer in answers
        if answer.kind == ERROR
    ]


def multipart(answers: list[Message]) -> bytes:
    """The bodies of OFPT_MULTIPART_REPLY, without their eight octets of header."""
    return b"".join(a.body[8:] for a in answers if a.kind == MULTIPART_REPLY)
