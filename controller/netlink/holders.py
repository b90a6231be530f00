"""Which process holds a tap open, and which virtual machine that is.

The descriptors of /dev/net/tun tell an interface's name but not its namespace: it is
looked for where the process is, then wherever just one tap has that name.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from controller.netlink.processes import argv, command, read
from controller.netlink.qemu import guest_mac
from controller.netlink.rtnl.framing import text
from controller.netlink.tables import Holder, Place

TUN_DEVICE = "/dev/net/tun"


class Held(NamedTuple):
    """What a process holds of a tap: one descriptor for each queue."""

    pid: int
    ifname: str
    fds: tuple[int, ...]
    alone: bool  # it holds no other


class Search:
    """The holders of some taps, (nsid, ifi_index) by name; processes come by `visit`.

    found    of several holders the one that came first
    refused  there were processes whose files we may not see
    """

    def __init__(self, taps: Mapping[Place, str]) -> None:
        self.found: dict[Place, Holder] = {}
        self.refused = False
        self._taps = taps
        self._places = {(place[0], name): place for place, name in taps.items()}
        self._elsewhere: list[Held] = []

    @property
    def is_over(self) -> bool:
        return len(self.found) == len(self._taps)

    def visit(self, pid: int, nsid: int | None) -> None:
        """`nsid` is the process's own namespace, None if that is out of reach: then
        its taps are, too."""
        try:
            for held in taps_of(pid):
                place = (
                    self._places.get((nsid, held.ifname)) if nsid is not None else None
                )
                if place is not None:
                    self._found(place, held)
                elif nsid is not None:
                    self._elsewhere.append(held)
        except PermissionError:
            self.refused = True
        except (FileNotFoundError, ProcessLookupError):
            return  # it has ended

    def finish(self) -> dict[Place, Holder]:
        """When all processes have come: taps that were moved away from theirs."""
        alone = {
            name for name, count in Counter(self._taps.values()).items() if count == 1
        }
        place_of = {name: place for place, name in self._taps.items() if name in alone}
        for held in self._elsewhere:
            if held.ifname in place_of:
                self._found(place_of[held.ifname], held)
        return self.found

    def _found(self, place: Place, held: Held) -> None:
        if place not in self.found:
            self.found[place] = holder(held)


def taps_of(pid: int) -> list[Held]:
    """What a process holds of tun and tap devices."""
    found: dict[str, tuple[int, ...]] = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.readlink(f"/proc/{pid}/fd/{fd}") == TUN_DEVICE:
                for ifname in attached(read(f"/proc/{pid}/fdinfo/{fd}")):
                    found[ifname] = (*found.get(ifname, ()), int(fd))
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise
    alone = len(found) == 1
    return [Held(pid, ifname, fds, alone) for ifname, fds in found.items()]


def attached(fdinfo: bytes) -> list[str]:
    """The interface in "iff:" of a tun file; none before TUNSETIFF."""
    names = (line[4:].strip() for line in fdinfo.split(b"\n") if line[:4] == b"iff:")
    return [text(name) for name in names if name]


def holder(held: Held) -> Holder:
    mac = guest_mac(argv(held.pid), held.ifname, held.fds, held.alone)
    return Holder(held.pid, command(held.pid), len(held.fds), mac)
