"""Answer questions on a local socket that only root and the owner may open.

One line of JSON in, one line of JSON out:

    {"ask": "hosts"}   ->   {"ok": [...]}
                       ->   {"error": {"where": ..., "problem": ..., "hint": ...}}
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from controller import private_socket

LONGEST_LINE = 64 * 1024  # octets of a question
AT_ONCE = 16  # connections
PATIENCE = 10.0  # seconds for a question to arrive, and for its answer to be taken
PAUSE = 1.0  # seconds after a connection could not be taken, as without descriptors

Json = dict[str, object]
Answer = Callable[[Json], object]

log = logging.getLogger("isat")


class Refused(Exception):
    """Why a question is not answered: told to the one who asked."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        self.where, self.problem, self.hint = where, problem, hint
        super().__init__(f"{where}: {problem}" + (f"\n  {hint}" if hint else ""))

    def as_json(self) -> Json:
        return {"where": self.where, "problem": self.problem, "hint": self.hint}


class Server:
    """Listens at `path`; `answer` is called with each question, in a thread of its own.

    Raises OSError from `start` if the socket cannot be made.
    """

    def __init__(self, path: str, answer: Answer) -> None:
        self.path = path
        self._answer = answer
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._listener: socket.socket | None = None
        self._stopping = threading.Event()

    def start(self) -> None:
        self._listener = private_socket.listen(self.path, "--isat-socket", AT_ONCE)
        threading.Thread(target=self._run, name="northbound", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):  # nobody was waiting on it
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            Path(self.path).unlink(missing_ok=True)

    def _run(self) -> None:
        while (listener := self._listener) is not None:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if not self._stopping.is_set():
                    log.warning("the socket %a does not accept: %s", self.path, error)
                self._stopping.wait(PAUSE)
                continue
            self._slots.acquire()
            threading.Thread(
                target=self._serve, args=(connection,), daemon=True
            ).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(PATIENCE)
                if private_socket.is_trusted(connection):
                    line = read_line(connection)
                    connection.sendall(reply(self._answer, line))
        except OSError as error:  # whoever asked is gone, or slow
            log.debug("a question was not answered: %s", error)
        finally:
            self._slots.release()


def read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) <= LONGEST_LINE:
        piece = connection.recv(4096)
        if not piece:
            break
        line += piece
    return line


def reply(answer: Answer, line: bytes) -> bytes:
    try:
        said: Json = {"ok": answer(question(line))}
    except Refused as refused:
        said = {"error": refused.as_json()}
    except Exception:
        log.exception("a question could not be answered: %a", line[:200])
        problem = "the controller made a mistake, see its log"
        said = {"error": Refused("isat", problem).as_json()}
    return json.dumps(said).encode() + b"\n"


def question(line: bytes) -> Json:
    if len(line) > LONGEST_LINE:
        raise Refused("question", f"longer than {LONGEST_LINE} octets")
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused("question", "not a line of JSON") from None
    if not isinstance(asked, dict) or not isinstance(asked.get("ask"), str):
        raise Refused("question", 'not {"ask": "...", ...}')
    return asked
