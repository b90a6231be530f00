"""Into other network namespaces, for what the kernel tells only inside.

Links and addresses of another namespace can be read from here, by its nsid; neighbors,
routes and settings only through a socket that was made in it.  Making one takes
CAP_SYS_ADMIN (setns(2)), which a process that reads what strangers write should not
have: so a second, small process has it (`Doorkeeper`), which understands one request,
the number of a namespace, and hands out two descriptors.

A socket keeps its namespace alive: a door is opened, used and closed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple, Protocol

from controller.netlink import rights
from controller.netlink.rtnl import nsid as nsids
from controller.netlink.sockets import Refused, RequestSocket, raw_route_socket

NAMED = ("/run/netns", "/run/docker/netns")  # where namespaces are bound by name
SETTINGS = "/proc/sys/net/ipv4/conf"
SURVEY_PAUSE = 1.0  # seconds between two searches for namespaces that were not found
SURVEYED_MAX = 65_536  # namespaces whose place is remembered
ANSWER_TIMEOUT = 10.0  # seconds that the doorkeeper may search
LOOK = 2  # milliseconds between two looks at events while it does
CLONE_NEWNET = 0x40000000  # linux/sched.h

REQUEST = struct.Struct("=Ii")  # its number, nsid
ANSWER = struct.Struct("=Ii")  # number of the request, errno or 0 with descriptors

Between = Callable[[], object]
_libc = ctypes.CDLL(None, use_errno=True)


class Closed(Refused):
    """A namespace cannot be entered: it is gone, has no name, or is not ours to enter.

    errno  ENOENT if it was not found, EPERM or EACCES without the right
    """


class KeeperGone(OSError):
    """The doorkeeper has ended, or does not answer."""


class Door(NamedTuple):
    """sock      NETLINK_ROUTE, made inside
    settings  descriptor of the directory SETTINGS as it is inside; None where no
              /proc/sys is mounted
    """

    sock: socket.socket
    settings: int | None

    def close(self) -> None:
        self.sock.close()
        if self.settings is not None:
            os.close(self.settings)


class Doors(Protocol):
    def open(self, nsid: int, between: Between) -> Door:
        """Raises Closed.  `between` runs now and then while it takes time."""

    def close(self) -> None: ...


# --- with rights of our own -----------------------------------------------------------


class OwnDoors:
    """Enters namespaces in this process, which must be allowed to."""

    def __init__(self) -> None:
        self._asks = RequestSocket()
        self._paths: dict[int, str] = {}
        self._surveyed_at = float("-inf")

    def close(self) -> None:
        self._asks.close()

    def open(self, nsid: int, between: Between) -> Door:
        try:
            namespace = self._namespace(nsid, between)
        except OSError as error:
            raise Closed(error.errno, os.strerror(error.errno or 0)) from error
        try:
            return entered(namespace)
        finally:
            os.close(namespace)

    def _namespace(self, nsid: int, between: Between) -> int:
        """A descriptor of the namespace with this number."""
        with suppress(OSError):
            return self._at(self._paths.pop(nsid, ""), nsid)
        if time.monotonic() >= self._surveyed_at + SURVEY_PAUSE:
            self._survey(between)
            self._surveyed_at = time.monotonic()
        return self._at(self._paths.get(nsid, ""), nsid)

    def _at(self, path: str, nsid: int) -> int:
        """A path may lead to another namespace than when it was noted."""
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = nsid_of(self._asks, fd)
        except OSError:
            os.close(fd)
            raise
        if found != nsid:
            os.close(fd)
            raise OSError(errno.ENOENT, f"{path} is another namespace now")
        self._paths[nsid] = path
        return fd

    def _survey(self, between: Between) -> None:
        self._paths.clear()
        for path in namespace_files():
            between()
            with suppress(OSError):
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    nsid = nsid_of(self._asks, fd)
                finally:
                    os.close(fd)
                if nsid >= 0 and len(self._paths) < SURVEYED_MAX:
                    self._paths.setdefault(nsid, path)


def entered(namespace: int) -> Door:
    """Into a namespace and back to where this thread is."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(namespace)
        try:
            return door_here()
        finally:
            setns(here)
    except OSError as error:
        raise Closed(error.errno, os.strerror(error.errno or 0)) from error
    finally:
        os.close(here)


def setns(namespace: int) -> None:
    """setns(2) of this thread to a network namespace."""
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"setns: {os.strerror(code)}")


def door_here() -> Door:
    return Door(raw_route_socket(), settings_here())


def settings_here() -> int | None:
    with suppress(OSError):
        return os.open(SETTINGS, os.O_RDONLY | os.O_CLOEXEC)
    return None


def nsid_of(asks: RequestSocket, fd: int) -> int:
    """-1 for a namespace without a number.  Raises Refused if it is none."""
    answer = asks.ask(nsids.RTM_GETNSID, nsids.get_nsid((nsids.NETNSA_FD, fd)))
    return nsids.decode(answer.body).nsid


def namespace_files() -> Iterator[str]:
    """A path to each namespace that can be found: bound by name, or of a process."""
    seen: set[int] = set()
    for path in (*bound_names(), *processes()):
        with suppress(OSError):
            inode = os.stat(path).st_ino
            if inode not in seen:
                seen.add(inode)
                yield path


def bound_names() -> Iterator[str]:
    for directory in NAMED:
        with suppress(OSError):
            yield from (f"{directory}/{name}" for name in os.listdir(directory))


def processes() -> Iterator[str]:
    return (f"/proc/{pid}/ns/net" for pid in os.listdir("/proc") if pid.isdigit())


# --- with another process's rights ----------------------------------------------------


class Doorkeeper:
    """Doors that a process with CAP_SYS_ADMIN opens for us.

    Begun before this process gives up its rights.  It ends when we do.
    """

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._number = 0
        self._pid = os.fork()
        if self._pid == 0:
            keep_doors(theirs)
        theirs.close()

    def close(self) -> None:
        self._socket.close()
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)

    def open(self, nsid: int, between: Between) -> Door:
        """Raises KeeperGone, too: then we had better end."""
        try:
            code, fds = self._ask(nsid, between)
        except (ConnectionError, TimeoutError, struct.error) as error:
            raise KeeperGone("isat-doors, which opens namespaces, is gone") from error
        if code:
            raise Closed(code, os.strerror(code))
        sock, *settings = fds
        return Door(socket.socket(fileno=sock), settings[0] if settings else None)

    def _ask(self, nsid: int, between: Between) -> tuple[int, list[int]]:
        """errno and descriptors.  What answers a request that was given up, because
        `between` raised, leads elsewhere."""
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._socket.send(REQUEST.pack(self._number, nsid))
        while True:
            self._wait(between)
            data, fds, _, _ = socket.recv_fds(self._socket, ANSWER.size, 2)
            number, code = ANSWER.unpack(data)
            if number == self._number:
                return code, fds
            for fd in fds:
                os.close(fd)

    def _wait(self, between: Between) -> None:
        poll, deadline = select.poll(), time.monotonic() + ANSWER_TIMEOUT
        poll.register(self._socket, select.POLLIN)
        while not poll.poll(LOOK):
            between()
            if time.monotonic() > deadline:
                raise TimeoutError


def keep_doors(asked: socket.socket) -> None:
    """The life of the doorkeeper.  Never returns."""
    status = 1
    try:
        only_descriptor(asked.fileno())
        rights.call_this_process("isat-doors")
        rights.keep_only(rights.TO_ENTER)
        rights.end_with_parent()
        doors = OwnDoors()
        while request := asked.recv(REQUEST.size):
            serve(doors, asked, request)
        status = 0
    finally:
        os._exit(status)


def serve(doors: Doors, asked: socket.socket, request: bytes) -> None:
    number, nsid = REQUEST.unpack(request)
    try:
        door = doors.open(nsid, lambda: None)
    except Closed as error:
        asked.send(ANSWER.pack(number, error.errno or errno.EPERM))
        return
    fds = [door.sock.fileno(), *([] if door.settings is None else [door.settings])]
    try:
        socket.send_fds(asked, [ANSWER.pack(number, 0)], fds)
    finally:
        door.close()


def only_descriptor(kept: int) -> None:
    """Whatever else the parent has open is not ours: its end must be seen by others."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1):
        os.dup2(null, fd)
    os.closerange(3, kept)
    os.closerange(kept + 1, max_descriptor())


def max_descriptor() -> int:
    return max(map(int, os.listdir("/proc/self/fd"))) + 1
