"""Unix sockets that only root and the owner may connect to.

The file has mode 0600, its directory lets nobody else replace it, and whoever connects
all the same is asked who it is.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path

LONGEST_PATH = 106  # octets, sun_path of unix(7) without its NUL and our "~"
PROBE = 2.0  # seconds for whoever listens at our path already to take a connection


def listen(path: str, what: str, backlog: int) -> socket.socket:
    """OSError if it cannot be made.

    what  where the path was written, for the reader of an error
    """
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise OSError(
            f"{what} {path!a}: longer than {LONGEST_PATH} octets,"
            f" which unix(7) allows; choose a shorter path"
        )
    make_private(Path(path).parent, what)
    remove_stale(path, what)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    early = f"{path}~"  # has its name when it can be connected to
    Path(early).unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        listener.bind(early)
    finally:
        os.umask(before)
    listener.listen(backlog)
    os.rename(early, path)
    return listener


def make_private(directory: Path, what: str) -> None:
    """Where the socket stands: made for us alone if missing.  One that is there must
    not let others replace the socket: nobody else's, and sticky if all may write."""
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
    found = directory.stat()
    open_to_all = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX
    if found.st_uid not in (0, os.geteuid()) or open_to_all:
        raise OSError(
            f"{what}: in {str(directory)!a} others could replace the socket;"
            f" choose a directory of your own"
        )


def remove_stale(path: str, what: str) -> None:
    """A socket file outlives its process.  One that answers belongs to somebody."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(
            f"{what} {path!a}: a file that is no socket is in the way;"
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
            raise OSError(f"{what} {path!a}: {error.strerror}") from None
    raise OSError(
        f"{what} {path!a}: another controller answers there;"
        f" stop it, or choose another path"
    )


def is_trusted(connection: socket.socket) -> bool:
    """SO_PEERCRED, unix(7): root, or the user this controller runs as."""
    size = struct.calcsize("3i")
    ucred = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    _, uid, _ = struct.unpack("3i", ucred)
    return uid in (0, os.geteuid())
