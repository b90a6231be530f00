"""Why a request to OVSDB cannot be done, and what to type instead."""

from __future__ import annotations

import difflib
import errno
import shlex
import socket
from collections.abc import Iterable
from pathlib import Path

from controller import adoption
from controller.adoption import Change
from controller.sources import ovsdb_rows
from controller.sources.ovsdb_rows import Row, remembered_port, targets_of


class Refused(Exception):
    """A request cannot be done; says why, and what to type instead."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.hint = hint


START = "/usr/share/openvswitch/scripts/ovs-ctl start"
CAUSES = {  # of a failed connect(2), in the operator's words
    errno.ENOENT: f"no such socket, Open vSwitch does not run (to start it: {START})",
    errno.ECONNREFUSED: f"ovsdb-server has ended (to start it: {START})",
    errno.EACCES: "no right to open it (run as root)",
}


def unknown(kind: str, name: str, known: Iterable[str], add: str) -> Refused:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return Refused(f"there is no {kind} {name!r}", f"did you mean {near[0]!r}?")
    there = f"there is: {', '.join(map(repr, names))}" if names else add
    return Refused(f"there is no {kind} {name!r}", there)


def check_target(target: str) -> None:
    if not adoption.is_active(target) or not target.partition(":")[2]:
        raise Refused(
            f"{target!r} is not where a switch can find its controller",
            f"tcp:ADDRESS:PORT, as {adoption.DEFAULT_TARGET}",
        )


def check_owner(bridge: Row, target: str) -> None:
    others = adoption.foreign(targets_of(bridge), target)
    if others:
        raise Refused(
            f"bridge {bridge.name} belongs to another controller: {', '.join(others)}",
            f"ovs-vsctl del-controller {shlex.quote(bridge.name)}    # if it may go",
        )


def memory_of(bridge: Row) -> tuple[Change, ...]:
    try:
        return ovsdb_rows.memory_of(bridge)
    except ValueError as error:
        keys = f"isat-adopted {adoption.MEMORY}"
        raise Refused(
            f"bridge {bridge.name}: external_ids:{adoption.MEMORY} "
            f"is not what adopting has written ({error})",
            f"ovs-vsctl remove bridge {shlex.quote(bridge.name)} external_ids {keys}",
        ) from error


def port_of(row: Row) -> tuple[int, int | None]:
    try:
        return remembered_port(row)
    except ValueError as error:
        raise Refused(str(error)) from error


def late(seconds: float) -> Refused:
    return Refused(
        f"ovs-vswitchd has not done it within {seconds:g} s; "
        "what was written to OVSDB takes effect when it runs again",
        "ovs-appctl version    # does it answer?",
    )


def path_of(remote: str) -> Path | None:
    method, _, path = remote.partition(":")
    return Path(path) if method == "unix" else None


def unreachable(remote: str) -> str:
    """Why nobody can connect to a database on this host, "" if one can."""
    path = path_of(remote)
    if path is None:
        return ""
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    except OSError as error:
        return f"{path}: {CAUSES.get(error.errno or 0, error.strerror)}"
    return ""
