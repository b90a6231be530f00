"""A mirror for those who have no rights: a socket where each reader gets its own.

`isat mirror --listen PATH --owner USER`, started by root, and a controller that runs as
that user and never was root.  Who listens keeps root's rights, reads nothing, and knows
only who may connect; each reader is served by a process that gives its rights up.
"""

from __future__ import annotations

import os
import pwd
import signal
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path

READERS_MAX = 16  # at once; further ones wait
TIDY = 1.0  # seconds until the end of a reader's process is noticed
UID_MAX = 0xFFFF_FFFE  # one more is -1, "nobody" to chown(2)
UCRED = struct.Struct("=3i")  # struct ucred, unix(7): pid, uid, gid


class Unusable(OSError):
    """The socket cannot be offered; says why, and what to do instead."""


def uid_of(user: str) -> int:
    """A name or a number.  Raises ValueError for somebody that there is not."""
    if user.isdecimal() and int(user) <= UID_MAX:
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {user!a}") from None


def listen(path: str, owner: int, serve: Callable[[int], int]) -> int:
    """Let `serve` speak to each reader's descriptor, in a process of its own.

    owner  uid that may connect, besides root
    Ends, and takes the socket away, at SIGTERM and at Ctrl-C.
    """
    signal.signal(signal.SIGTERM, ended)
    listener = offered(path, owner)
    readers: set[int] = set()
    try:
        while True:
            readers -= finished(readers, wait=len(readers) >= READERS_MAX)
            listener.settimeout(TIDY if readers else None)
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            with connection:
                if uid_behind(connection) in (0, owner):
                    readers.add(begin(listener, connection, serve))
    finally:
        listener.close()
        Path(path).unlink(missing_ok=True)


def ended(signum: int, frame: object) -> None:
    raise SystemExit(0)


def begin(
    listener: socket.socket, connection: socket.socket, serve: Callable[[int], int]
) -> int:
    """The pid of a new process that serves a reader."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            listener.close()
            status = serve(connection.detach())
        finally:
            os._exit(status)
    return pid


def finished(readers: set[int], wait: bool) -> set[int]:
    """Those that have ended; if asked to wait, at least one."""
    gone: set[int] = set()
    while readers - gone:
        pid, _ = os.waitpid(-1, 0 if wait and not gone else os.WNOHANG)
        if pid == 0:
            break
        gone.add(pid)
    return gone


def uid_behind(connection: socket.socket) -> int:
    """SO_PEERCRED, unix(7): who connected."""
    credentials = connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size
    )
    return int(UCRED.unpack(credentials)[1])


def offered(path: str, owner: int) -> socket.socket:
    """A socket that its owner and root may connect to.  Raises Unusable.

    It gets its name when it listens: what has the name can be connected to.
    """
    early = f"{path}~"
    try:
        check_directory(Path(path).parent)
        free(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        Path(early).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(early)
        finally:
            os.umask(before)
        os.chown(early, owner, -1)
        listener.listen(READERS_MAX)
        os.rename(early, path)
    except OSError as error:
        raise Unusable(f"--listen {path!a}: {error.strerror or error}") from error
    return listener


def check_directory(directory: Path) -> None:
    """Nobody else may put another socket in the place of ours."""
    found = directory.stat()
    open_to_all = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (0, os.geteuid()) or open_to_all:
        raise OSError(f"in {str(directory)!a} others could replace the socket")


def free(path: str) -> None:
    """A socket outlives its process; one that answers belongs to somebody."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError("a file that is no socket is in the way")
    if is_answered(path):
        raise OSError("another mirror listens there")
    os.unlink(path)


def is_answered(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
    return True
