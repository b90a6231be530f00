"""The names people know namespaces and taps by: from /run/netns and /proc.

Nothing depends on them.  Without the rights to look there are fewer, said once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress

from controller.netlink import holders
from controller.netlink.containers import container_of
from controller.netlink.processes import argv, cgroup, command, processes
from controller.netlink.rtnl.nsid import NETNSA_FD, NETNSA_PID
from controller.netlink.sockets import Refused
from controller.netlink.tables import OWN, Holder, Namespace, Place

NAMED = "/run/netns"  # where ip-netns(8) binds namespaces
MININET = "mininet:"  # and a host's name: an argument of its shell

NsidOf = Callable[[tuple[int, int]], int]
Between = Callable[[], object]
Note = Callable[[str], None]


class Labels:
    """Looks names up; `nsid_of` asks the kernel for the nsid of an fd or a pid."""

    def __init__(self, nsid_of: NsidOf, note: Note) -> None:
        self._nsid_of = nsid_of
        self._note = note
        self._holding: list[int] = []  # processes that held taps at the last look

    def look(
        self, nsids: frozenset[int], taps: Mapping[Place, str], between: Between
    ) -> tuple[dict[int, Namespace], dict[Place, Holder]]:
        """The best name of each namespace that has one, and who holds which tap.

        One pass through /proc at most, and none if all is known before; `between` runs
        for each process.
        """
        where = Whereabouts(self._nsid_of)
        named = {n: name for n, name in self._named(nsids) if n in nsids}
        search, naming = holders.Search(taps), Naming(nsids - named.keys())
        for pid in self._holding:
            search.visit(pid, where.of(pid))
        self._pass(where, naming, search, between)
        held = search.finish()
        self._holding = sorted({holder.pid for holder in held.values()})
        if search.refused and held.keys() != taps.keys():
            self._note(
                "the processes behind some taps cannot be seen: needs CAP_SYS_PTRACE "
                "and CAP_DAC_READ_SEARCH"
            )
        return named | naming.found, held

    def _pass(
        self,
        where: Whereabouts,
        naming: Naming,
        search: holders.Search,
        between: Between,
    ) -> None:
        for pid in () if naming.is_over and search.is_over else processes():
            between()
            nsid = where.of(pid)
            if not naming.is_over and nsid is not None:
                naming.visit(pid, nsid)
            if not search.is_over:
                search.visit(pid, nsid)
            if naming.is_over and search.is_over:
                return

    def _named(self, nsids: frozenset[int]) -> Iterator[tuple[int, Namespace]]:
        """Names that a person gave.  Of two for one namespace the first counts."""
        try:
            names = sorted(os.listdir(NAMED), reverse=True) if nsids else []
        except FileNotFoundError:
            return
        except PermissionError:
            self._note(f"names of namespaces cannot be seen: {NAMED} is not to be read")
            return
        for name in names:
            with suppress(OSError):
                yield self._nsid_at(f"{NAMED}/{name}"), Namespace(name, "netns")

    def _nsid_at(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return self._nsid_of((NETNSA_FD, fd))
        finally:
            os.close(fd)


class Whereabouts:
    """Which namespace a process is in, asked once for each namespace.

    For one look only: the inode of a namespace that has ended may be used again.
    """

    def __init__(self, nsid_of: NsidOf) -> None:
        self._nsid_of = nsid_of
        self._known: dict[int, int | None] = {inode_of("thread-self"): OWN}

    def of(self, pid: int) -> int | None:
        """None for a namespace without a number, and for a process that has ended."""
        try:
            inode = inode_of(str(pid))
        except PermissionError:
            with suppress(Refused):  # it has ended
                return self._asked(pid)  # which needs no right over the process
            return None
        except OSError:
            return None
        if inode not in self._known:
            with suppress(Refused):  # it has ended meanwhile, others may be there
                self._known[inode] = self._asked(pid)
        return self._known.get(inode)

    def _asked(self, pid: int) -> int | None:
        nsid = self._nsid_of((NETNSA_PID, pid))
        return None if nsid == OWN else nsid


def inode_of(process: str) -> int:
    return os.stat(f"/proc/{process}/ns/net").st_ino


class Naming:
    """Names for namespaces from the processes in them; they come by `visit`.

    Mininet's name was given by a topology, a container's by its runtime or its user; a
    process has just some command.
    """

    def __init__(self, wanted: frozenset[int]) -> None:
        self.found: dict[int, Namespace] = {}
        self._wanted = set(wanted)

    @property
    def is_over(self) -> bool:
        return not self._wanted

    def visit(self, pid: int, nsid: int) -> None:
        if nsid in self._wanted:
            name = self.found[nsid] = better(pid, self.found.get(nsid))
            if name.kind == "mininet":  # there is nothing better
                self._wanted.discard(nsid)


def better(pid: int, known: Namespace | None) -> Namespace:
    """The name a process gives to its namespace, unless the known one is as good."""
    for argument in argv(pid):
        if argument.startswith(MININET):
            return Namespace(argument.removeprefix(MININET), "mininet")
    if known is None or known.kind == "process":
        container = container_of(cgroup(pid))
        if container:
            return Namespace(container, "container")
    return known or Namespace(f"{command(pid)}[{pid}]", "process")
