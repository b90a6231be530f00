"""Ask the running controller one question."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from controller.cli.failure import FAILED, UNREACHABLE, Failure
from controller.northbound.place import default_socket

PATIENCE = 30.0  # seconds for an answer: adopting waits for ovs-vswitchd
START = "is it running? Start it by: isat run"
OWNER = "only root and the user that the controller runs as may ask"


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
        hint = OWNER if isinstance(error, PermissionError) else START
        raise Failure(f"{path!a}", reason, hint, status=UNREACHABLE) from None
    if not said.endswith(b"\n"):
        problem = "the controller did not answer" if not said else "it broke off"
        raise Failure(f"{path!a}", problem, OWNER, status=UNREACHABLE)
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
