"""What a mirror is told of VXLAN devices: one line at a time, what has changed.

The next one is said when it has reported of the last, so that nobody waits for it.
Another mirror is told all, and takes away only then.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress

from controller.commands import SetForwarding
from flows.tracked import changed

STATIONS = 1 << 10  # in one line, of some 40 octets each

Ways = Mapping[str, frozenset[str]]
NONE: Ways = {}


class Talk:
    """What is said of one device.

    wanted  the last word of the core
    told    what was told, if `rest` is, too
    rest    stations to tell of
    """

    def __init__(self) -> None:
        self.wanted = self.told = NONE
        self.rest: list[str] = []
        self.is_new = True

    def want(self, ways: Ways) -> None:
        self.wanted = ways

    def forget(self) -> None:
        self.told, self.rest, self.is_new = NONE, [], True

    def line(self, device: str) -> bytes:
        """b"" if nothing is left to say."""
        if not self.rest:
            news = changed(self.told, self.wanted)
            if not (news or self.is_new):
                return b""
            self.told, self.rest = self.wanted, sorted(news)
        some, self.rest = self.rest[:STATIONS], self.rest[STATIONS:]
        to = {lladdr: sorted(self.told.get(lladdr, ())) for lladdr in some}
        self.is_new = self.is_new and bool(self.rest)
        said = {"fdb": device, "to": to, "more": self.is_new}
        return json.dumps(said).encode() + b"\n"


class Programmer:
    """One mirror after the other.  Called from the thread of the core and from that
    which reads what mirrors say."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._talks: dict[str, Talk] = {}
        self._mirror: socket.socket | None = None
        self._said = self._heard = 0  # lines, and those that it has reported of

    def want(self, command: SetForwarding) -> None:
        with self._lock:
            self._talks.setdefault(command.device, Talk()).want(command.ways)
            self._say()

    def begin(self, mirror: socket.socket) -> None:
        """It has told all that it knows, and listens."""
        with self._lock:
            if self._mirror is None:
                self._mirror = mirror
                self._say()

    def go_on(self, heard: int) -> None:
        """It has reported, after so many lines."""
        with self._lock:
            self._heard = heard
            self._say()

    def end(self) -> None:
        with self._lock:
            self._mirror, self._said, self._heard = None, 0, 0
            for talk in self._talks.values():
                talk.forget()

    def _say(self) -> None:
        if self._mirror is None or self._heard < self._said:
            return
        for line in self._lines():
            self._said += 1
            with suppress(OSError):  # it has ended: its reader will see that
                self._mirror.sendall(line)
            return

    def _lines(self) -> Iterator[bytes]:
        for device, talk in self._talks.items():
            if line := talk.line(device):
                yield line
