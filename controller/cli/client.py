"""Ask the running controller one question."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from controller.cli.failure import FAILED, UNREACHABLE, Failure

PATIENCE = 30.0  # seconds for an answer: adopting waits for ovs-vswitchd
START = "is it running? Start it by: isat run"


def default_socket() -> str:
    """Where a controller of this user listens; the same rule as controller.options."""
    if os.geteuid() == 0:
        return "/run/isat/isat.sock"
    home = os.environ.get("XDG_RUNTIME_DIR") or str(Path.home() / ".cache")
    return f"{home}/isat/isat.sock"


def ask(path: str | None, question: str, **details: object) -> Any:
    """The answer, as JSON values.  Raises Failure."""
    path = path or os.environ.get("ISAT_SOCKET") or default_socket()
    line = json.dumps({"ask": question, **details}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(path)
            connection.sendall(line)
            said = read_all(connection)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Failure(f"{path!a}", reason, START, status=UNREACHABLE) from None
    if not said:
        problem = "the controller did not answer"
        hint = "only root and the user that it runs as may ask"
        raise Failure(f"{path!a}", problem, hint, status=UNREACHABLE)
    answer = json.loads(said)
    if "error" in answer:
        no = answer["error"]
        raise Failure(no["where"], no["problem"], no["hint"], status=FAILED)
    return answer["ok"]


def read_all(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
