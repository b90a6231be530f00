"""The names people know namespaces and taps by: from /run/netns and /proc.

Nothing depends on them.  Without the rights to look there are fewer, said once.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from controller.netlink.qemu import guest_mac
from controller.netlink.rtnl.framing import text
from controller.netlink.rtnl.nsid import (
    NETNSA_FD,
    NETNSA_NSID_NOT_ASSIGNED,
    NETNSA_PID,
)
from controller.netlink.sockets import Refused
from controller.netlink.tables import Holder, Namespace, Place

NAMED = "/run/netns"  # where ip-netns(8) binds namespaces
TUN_DEVICE = "/dev/net/tun"
CONTAINER_ID = re.compile(r"[0-9a-f]{64}")  # docker, podman, containerd in a cgroup
RANKS = {"netns": 0, "mininet": 1, "container": 2, "process": 3}

NsidOf = Callable[[tuple[int, int]], int]
Between = Callable[[], object]
Note = Callable[[str], None]


class Held(NamedTuple):
    """What a process holds of a tap: one descriptor for each queue."""

    pid: int
    ifname: str
    fds: tuple[int, ...]


class Labels:
    """Looks names up; `nsid_of` asks the kernel for the nsid of an fd or a pid."""

    def __init__(self, nsid_of: NsidOf, note: Note) -> None:
        self._nsid_of = nsid_of
        self._note = note

    def namespaces(
        self, nsids: frozenset[int], between: Between
    ) -> dict[int, Namespace]:
        """The best name of each namespace that has one; `between` runs now and then.

        A name in /run/netns was given by a person, Mininet's by a topology, a
        container's by its runtime; a process has just some command.
        """
        if not nsids:
            return {}
        found = {n: name for n, name in self._named() if n in nsids}
        rest = nsids - found.keys()
        if rest:
            found |= self._by_process(rest, between)
        return found

    def holders(
        self, taps: Mapping[Place, str], between: Between
    ) -> dict[Place, Holder]:
        """Who holds each interface, for interfaces (nsid, ifi_index) by name.

        fdinfo tells an interface's name and not its namespace: the one of the process
        is tried first, then a name that only one tap has.
        """
        if not taps:
            return {}
        by_place = {(key[0], name): key for key, name in taps.items()}
        by_name = {name: key for key, name in taps.items()}
        unique = {n for n in by_name if list(taps.values()).count(n) == 1}
        found: dict[Place, Holder] = {}
        users, refused = tap_users(between)
        for held in sorted(users):
            key = by_place.get((self._nsid_of_pid(held.pid), held.ifname))
            if key is None and held.ifname in unique:
                key = by_name[held.ifname]
            if key is not None and key not in found:
                found[key] = holder(held)
        if refused and found.keys() != taps.keys():
            self._note(
                "the processes behind some taps cannot be seen: needs CAP_SYS_PTRACE "
                "and CAP_DAC_READ_SEARCH"
            )
        return found

    def _named(self) -> Iterator[tuple[int, Namespace]]:
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(NAMED), reverse=True):
                with suppress(OSError):
                    yield self._nsid_at(f"{NAMED}/{name}"), Namespace(name, "netns")

    def _nsid_at(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return self._nsid_of((NETNSA_FD, fd))
        finally:
            os.close(fd)

    def _nsid_of_pid(self, pid: int) -> int:
        with suppress(Refused):  # it has ended
            return self._nsid_of((NETNSA_PID, pid))
        return NETNSA_NSID_NOT_ASSIGNED

    def _by_process(
        self, nsids: frozenset[int], between: Between
    ) -> dict[int, Namespace]:
        """NETNSA_PID needs no right over the process."""
        found: dict[int, Namespace] = {}
        for pid in processes():
            between()
            nsid = self._nsid_of_pid(pid)
            if nsid in nsids:
                name = process_name(pid)
                if nsid not in found or RANKS[name.kind] < RANKS[found[nsid].kind]:
                    found[nsid] = name
        return found


def tap_users(between: Between) -> tuple[list[Held], bool]:
    """What processes hold of tun and tap devices; and whether there are processes whose
    files we may not see."""
    found: list[Held] = []
    refused = False
    for pid in processes():
        between()
        try:
            found += (Held(pid, *held) for held in taps_of(pid).items())
        except PermissionError:
            refused = True
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
    return found, refused


def processes() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def taps_of(pid: int) -> dict[str, tuple[int, ...]]:
    """The descriptors a process has of each tun or tap device, by its name."""
    found: dict[str, tuple[int, ...]] = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}") == TUN_DEVICE:
                for ifname in attached(read(f"/proc/{pid}/fdinfo/{fd}")):
                    found[ifname] = (*found.get(ifname, ()), int(fd))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise
    return found


def attached(fdinfo: bytes) -> list[str]:
    """The interface in "iff:" of a tun file; none before TUNSETIFF."""
    names = (line[4:].strip() for line in fdinfo.split(b"\n") if line[:4] == b"iff:")
    return [text(name) for name in names if name]


def holder(held: Held) -> Holder:
    pid, ifname, fds = held
    return Holder(pid, command(pid), len(fds), guest_mac(argv(pid), ifname, fds))


def process_name(pid: int) -> Namespace:
    """Mininet writes "mininet:h1" into the command line, runtimes into the cgroup."""
    for argument in argv(pid):
        if argument.startswith("mininet:"):
            return Namespace(argument.removeprefix("mininet:"), "mininet")
    container = CONTAINER_ID.search(os.fsdecode(read(f"/proc/{pid}/cgroup")))
    if container:
        return Namespace(container[0][:12], "container")
    return Namespace(f"{command(pid)}[{pid}]", "process")


def argv(pid: int) -> list[str]:
    return os.fsdecode(read(f"/proc/{pid}/cmdline")).split("\0")


def command(pid: int) -> str:
    return os.fsdecode(read(f"/proc/{pid}/comm")).rstrip("\n") or "?"


def read(path: str) -> bytes:
    """What a file of /proc says; nothing if its process has ended."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
