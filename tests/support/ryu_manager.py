"""A `ryu-manager` that runs while a test asks it something."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.wait import wait_until

LOCALHOST = "127.0.0.1"
END_LIMIT = 20.0  # seconds from SIGTERM to the end


@dataclass(frozen=True, slots=True)
class Started:
    """web: TCP port of Ryu's WSGI server; log: all that ryu-manager printed."""

    process: subprocess.Popen[bytes]
    web: int
    log: Path

    def connect(self) -> socket.socket:
        def attempt() -> list[socket.socket]:
            try:
                return [socket.create_connection((LOCALHOST, self.web), timeout=10)]
            except ConnectionRefusedError:
                return []

        return wait_until(attempt, within=30, why="Ryu's WSGI server")[0]


def free_ports(number: int) -> list[int]:
    listeners = [socket.create_server((LOCALHOST, 0)) for _ in range(number)]
    ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@contextmanager
def ryu_manager(program: Path, place: Path, *words: str) -> Iterator[Started]:
    """Run it in the directory `place`, where its log and its socket are, too."""
    openflow, web = free_ports(2)
    at = ("--ofp-listen-host", LOCALHOST, "--ofp-tcp-listen-port", str(openflow))
    pages = ("--wsapi-host", LOCALHOST, "--wsapi-port", str(web))
    own = ("--isat-socket", str(place / "isat.sock"))
    log = place / "ryu-manager.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *at, *pages, *own, *words],
            cwd=place,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Started(process, web, log)
        process.terminate()
        process.wait(END_LIMIT)
    finally:
        process.kill()
        process.wait()


def everything(connection: socket.socket) -> bytes:
    """What is received until the other side closes."""
    return b"".join(iter(lambda: connection.recv(4096), b""))
