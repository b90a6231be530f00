"""Answer questions on a local socket that only root and the owner may open.

One line of JSON in, one line of JSON out:

    {"ask": "hosts"}   ->   {"ok": [...]}
                       ->   {"error": {"where": ..., "problem": ..., "hint": ...}}
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LONGEST_LINE = 64 * 1024  # octets of a question
LONGEST_PATH = 106  # octets, sun_path of unix(7) without its NUL and our "~"
AT_ONCE = 16  # connections
PATIENCE = 10.0  # seconds for a question to arrive, and for its answer to be taken
PAUSE = 1.0  # seconds after a connection could not be taken, as without descriptors
PROBE = 2.0  # seconds for whoever listens at our path already to take a connection

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
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            raise OSError(
                f"--isat-socket {self.path!a}: longer than {LONGEST_PATH} octets,"
                f" which unix(7) allows; choose a shorter path"
            )
        make_private(Path(self.path).parent)
        remove_stale(self.path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        early = f"{self.path}~"  # has its name when it can be connected to
        Path(early).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._listener.bind(early)
        finally:
            os.umask(before)
        self._listener.listen(AT_ONCE)
        os.rename(early, self.path)
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
                if is_trusted(connection):
                    line = read_line(connection)
                    connection.sendall(reply(self._answer, line))
        except OSError as error:  # whoever asked is gone, or slow
            log.debug("a question was not answered: %s", error)
        finally:
            self._slots.release()


def make_private(directory: Path) -> None:
    """Where the socket stands: made for us alone if missing.  One that is there must
    not let others replace the socket: nobody else's, and sticky if all may write."""
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
    found = directory.stat()
    open_to_all = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (0, os.geteuid()) or open_to_all:
        raise OSError(
            f"--isat-socket: in {str(directory)!a} others could replace the socket;"
            f" choose a directory of your own"
        )


def remove_stale(path: str) -> None:
    """A socket file outlives its process.  One that answers belongs to somebody."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(
            f"--isat-socket {path!a}: a file that is no socket is in the way;"
            f" choose another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            Path(path).unlink(missing_ok=True)
            return
        except TimeoutError:
            pass  # somebody listens who is too busy to accept
        except OSError as error:
            raise OSError(f"--isat-socket {path!a}: {error.strerror}") from None
    raise OSError(
        f"--isat-socket {path!a}: another controller answers there;"
        f" stop it, or choose another path"
    )


def is_trusted(connection: socket.socket) -> bool:
    """SO_PEERCRED, unix(7): root, or the user this controller runs as."""
    size = struct.calcsize("3i")
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", ucred)
    return uid in (0, os.geteuid())


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
