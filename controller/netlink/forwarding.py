"""Where VXLAN devices of this host send: their tables, kept as a reader says.

Only of devices that were named when the mirror began (`--program`), and only what is
marked as ours, "permanent extern_learn" (`bridge fdb`): table `fdb` keeps no protocol
number (NDA_PROTOCOL), and nobody else makes entries of just this kind.  They outlive
us.  What should be there is told, what is there is the mirror's table; each station
that one of the two has news of is looked at once, and again when the table is at rest.
"""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, NamedTuple

from controller.netlink.rtnl.neigh import (
    ANYBODY,
    NTF_EXT_LEARNED,
    NUD_NOARP,
    NUD_PERMANENT,
    Fdb,
    FdbKey,
    drop_fdb,
    is_one_station,
    put_fdb,
)
from controller.netlink.sockets import Refused, RequestSocket
from controller.netlink.tables import OWN, Change, Interface, Scope, Tables

LINE_MAX = 256 * 1024  # octets that a reader says without an end of line
STATIONS_MAX = 1 << 16  # of one device
ADDRESSES_MAX = 1 << 10  # of the others, that a broadcast goes to
WRITES = 256  # in one turn
AT_REST = 1.0  # seconds after a change of the table by others, or by us
PAUSE, PAUSE_MAX = 1.0, 30.0  # seconds after the kernel has refused
LLADDR = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")

LINKS, ENTRIES = Scope("link", OWN), Scope("fdb", OWN)
NOT_OURS = (errno.EPERM, errno.EACCES)
SETTLED = (errno.EEXIST, errno.ENOENT, errno.ENODEV)  # meanwhile: we shall be told

Addresses = frozenset[str]
Report = dict[str, Any]
NOWHERE: Addresses = frozenset()


class Step(NamedTuple):
    """One change of a device's table.

    op  "add", "move" or "remove"
    """

    op: str
    lladdr: str
    dst: str


# --- what to do, as a function of what is and what should be --------------------------


def steps(
    lladdr: str,
    wanted: Addresses,
    held: Mapping[FdbKey, Fdb],
    made: Addresses = NOWHERE,
) -> Iterator[Step]:
    """To make `held` right: the entries of one station, or those for ANYBODY.

    made  addresses that we have sent ANYBODY to: beside an entry of others ours have
          no mark
    """
    ours = {key.dst or "" for key, row in held.items() if is_ours(key, row, made)}
    there = {key.dst for key, row in held.items() if is_kept(row)}
    if is_one_station(lladdr):
        if there - ours:
            return  # of somebody else, who will know why
        for dst in sorted(wanted - ours)[:1]:
            yield Step("move" if held else "add", lladdr, dst)
            return  # in place of what was there
    for dst in sorted(wanted - there):
        yield Step("add", lladdr, dst)
    for dst in sorted(ours - wanted):
        yield Step("remove", lladdr, dst)


def is_kept(row: Fdb) -> bool:
    """Somebody made it: what the device has learned ages."""
    return bool(row.ndm_state & (NUD_PERMANENT | NUD_NOARP))


def is_ours(key: FdbKey, row: Fdb, made: Addresses = NOWHERE) -> bool:
    if {key.vlan, key.vni, key.port, key.via, key.src_vni, row.nh_id} != {None}:
        return False
    is_marked = bool(row.flags & NTF_EXT_LEARNED)
    is_made = key.lladdr == ANYBODY and key.dst in made
    return bool(row.ndm_state & NUD_PERMANENT) and (is_marked or is_made)


# --- keeping it so --------------------------------------------------------------------


@dataclass
class Device:
    """What is known of one device, and what has to be done.

    ifindex   0 while there is no such VXLAN device
    wanted    lladdr to underlay addresses: of a station one
    total     of those addresses
    is_told   all of them; until then nothing is taken away
    doubtful  stations to look at
    looked    at these, since it was last said how it stands
    missing   by lladdr, addresses that are not in the table
    """

    name: str
    ifindex: int = 0
    wanted: dict[str, Addresses] = field(default_factory=dict)
    total: int = 0
    is_told: bool = False
    doubtful: dict[str, None] = field(default_factory=dict)
    looked: set[str] = field(default_factory=set)
    missing: dict[str, int] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)
    look_at: float | None = None  # at all of them
    pause: float = PAUSE
    done: dict[str, int] = field(default_factory=dict)  # since it was last said
    problem: str = ""
    has_news: bool = False

    @property
    def is_busy(self) -> bool:
        return bool(self.is_told and self.ifindex and self.doubtful)


class Garbled(ValueError):
    """What a reader says is not what a controller says."""


class Forwarding:
    """The tables of some devices.  Every method is called from one thread."""

    def __init__(self, names: Iterable[str]) -> None:
        self.tables = Tables()  # the mirror's, once there is one
        self._devices = {name: Device(name) for name in names}
        self._reports: list[Report] = []
        self._rest = b""
        self._heard = 0  # lines
        self._is_lost = bool(self._devices)  # which device is which
        self._disturbed: set[int] = set()  # ifindex
        self._sock = RequestSocket()

    def close(self) -> None:
        self._sock.close()

    # --- what is heard ----------------------------------------------------------------

    def changed(self, change: Change) -> None:
        """The mirror tells of all its changes."""
        if not self._devices:
            return
        if change.scope == LINKS and isinstance(change.row, Interface):
            is_named = change.row.link.ifname in self._devices
            self._is_lost |= is_named or change.key in self._numbers()
        elif change.scope == ENTRIES and change.key.ndm_ifindex in self._numbers():
            self._disturbed.add(change.key.ndm_ifindex)

    def _numbers(self) -> set[int]:
        return {device.ifindex for device in self._devices.values()}

    def hear(self, data: bytes) -> None:
        """What a reader says.  Raises Garbled."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_MAX:
            raise Garbled(f"a line of more than {LINE_MAX} octets")
        for line in lines:
            self._take(*told(line))

    def _take(self, name: str, rows: Mapping[str, Addresses], more: bool) -> None:
        self._heard += 1
        device = self._devices.get(name)
        if device is None:
            problem = f"{name} is not one of those named by --program"
            self._reports.append(report(Device(name, problem=problem), 0, self._heard))
            return
        for lladdr, addresses in rows.items():
            before = device.wanted.pop(lladdr, NOWHERE)
            device.total += len(addresses) - len(before)
            if addresses:
                device.wanted[lladdr] = addresses
        if len(device.wanted) > STATIONS_MAX:
            raise Garbled(f"more than {STATIONS_MAX} stations behind {name}")
        device.has_news = True
        if device.is_told:
            device.doubtful |= dict.fromkeys(rows)
        elif not more:
            device.is_told, self._is_lost = True, True

    # --- what is done -----------------------------------------------------------------

    def deadline(self) -> float | None:
        """When `turn` has something to do although nothing happens."""
        devices = self._devices.values()
        is_due = any(one.is_busy or one.has_news for one in devices)
        if is_due or self._reports or self._is_lost or self._disturbed:
            return float("-inf")
        times = (one.look_at for one in devices)
        return min((time for time in times if time is not None), default=None)

    def turn(self, now: float) -> list[Report]:
        """To be called when the mirror knows all that has happened.  Reports follow
        when all that was told is done, or cannot be."""
        if self._is_lost:
            self._find()
        for device in self._devices.values():
            if device.ifindex in self._disturbed and device.look_at is None:
                device.look_at = now + AT_REST
            if device.look_at is not None and now >= device.look_at:
                device.look_at = None
                self._doubt(device)
            if device.is_busy:
                self._write(device, now)
            elif device.has_news:
                self._report(device)
        self._disturbed.clear()
        reports, self._reports = self._reports, []
        return reports

    def _find(self) -> None:
        """By their names; a device that was made anew has another number, and no
        entries."""
        self._is_lost = False
        found = {
            row.link.ifname: index
            for index, row in self.tables.rows(*LINKS).items()
            if row.link.ifname in self._devices and row.link.kind == "vxlan"
        }
        for name, device in self._devices.items():
            before, device.ifindex = device.ifindex, found.get(name, 0)
            if device.ifindex != before:
                device.made.clear()
                device.has_news |= device.is_told
            self._doubt(device)

    def _doubt(self, device: Device) -> None:
        held = self.tables.beyond((OWN, device.ifindex))
        device.doubtful |= dict.fromkeys((*device.wanted, *held))

    def _write(self, device: Device, now: float) -> None:
        """What is done is told in the turn after: by then the mirror knows of it."""
        device.problem, room = "", WRITES
        while device.doubtful and room > 0:
            lladdr = next(iter(device.doubtful))
            del device.doubtful[lladdr]
            device.looked.add(lladdr)
            for step in self._steps(device, lladdr):
                room -= 1
                try:
                    self._sock.change(*request(device.ifindex, step))
                except Refused as error:
                    if error.errno not in SETTLED:
                        self._give_up(device, step, error, now)
                        return
                else:
                    note(device, step)
        if not device.doubtful:
            device.pause = PAUSE

    def _steps(self, device: Device, lladdr: str) -> tuple[Step, ...]:
        wanted = device.wanted.get(lladdr, NOWHERE)
        return tuple(
            steps(lladdr, wanted, self._held(device, lladdr), frozenset(device.made))
        )

    def _held(self, device: Device, lladdr: str) -> dict[FdbKey, Fdb]:
        keys = self.tables.beyond((OWN, device.ifindex)).get(lladdr, ())
        rows = self.tables.rows(*ENTRIES)
        return {key: rows[key] for key in keys}

    def _give_up(self, device: Device, step: Step, error: Refused, now: float) -> None:
        """For a while; the rest would go the same way, most often."""
        device.problem = in_words(device, step, error)
        device.looked |= device.doubtful.keys()
        device.doubtful.clear()
        device.has_news = True
        device.look_at = now + device.pause
        device.pause = min(2 * device.pause, PAUSE_MAX)

    def _report(self, device: Device) -> None:
        for lladdr in device.looked:
            held = self._held(device, lladdr)
            there = {key.dst for key, row in held.items() if is_kept(row)}
            if lacks := len(device.wanted.get(lladdr, NOWHERE) - there):
                device.missing[lladdr] = lacks
            else:
                device.missing.pop(lladdr, None)
        device.looked.clear()
        is_known = device.is_told and device.ifindex
        right = device.total - sum(device.missing.values()) if is_known else 0
        self._reports.append(report(device, right, self._heard))
        device.done, device.has_news = {}, False


def note(device: Device, step: Step) -> None:
    device.has_news = True
    device.done[step.op] = device.done.get(step.op, 0) + 1
    if step.lladdr == ANYBODY and step.op == "add":
        device.made.add(step.dst)
    elif step.lladdr == ANYBODY:
        device.made.discard(step.dst)


def request(ifindex: int, step: Step) -> tuple[int, int, bytes]:
    if step.op == "remove":
        return drop_fdb(ifindex, step.lladdr, step.dst)
    return put_fdb(ifindex, step.lladdr, step.dst, instead=step.op == "move")


def report(device: Device, right: int, heard: int) -> Report:
    """How it stands with one device, and what was done since the last time.

    heard  lines of the reader
    """
    problem = device.problem
    if not problem and not device.ifindex:
        problem = f"there is no VXLAN device {device.name} in this network namespace"
    return {
        "device": device.name,
        "wanted": device.total,
        "right": right,
        "done": device.done,
        "problem": problem,
        "heard": heard,
    }


def in_words(device: Device, step: Step, error: Refused) -> str:
    """Where, what, and what to do."""
    said = error.strerror or os.strerror(error.errno or 0)
    where = f"{device.name}: {step.op} {step.lladdr} dst {step.dst}: {said}"
    if error.errno in NOT_OURS:
        return f"{where}: RTM_NEWNEIGH needs CAP_NET_ADMIN: run the mirror as root"
    if error.errno == errno.ENOSPC:
        return f"{where}: give the device a larger maxaddress"
    if error.errno in (errno.EAFNOSUPPORT, errno.EINVAL):
        return f"{where}: is this an address that the device can send to?"
    return where


def told(line: bytes) -> tuple[str, dict[str, Addresses], bool]:
    """{"fdb": "vx0", "to": {"02:00:00:00:00:01": ["192.0.2.2"]}, "more": false}"""
    try:
        said = json.loads(line)
        rows = {
            checked(lladdr): frozenset(str(ip_address(one)) for one in addresses)
            for lladdr, addresses in said["to"].items()
        }
        name, more = said["fdb"], bool(said.get("more"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Garbled(f"not a line of a controller: {error!r}") from error
    if not isinstance(name, str):
        raise Garbled(f"not a name of a device: {name!r}")
    for lladdr, addresses in rows.items():
        if len(addresses) > (1 if is_one_station(lladdr) else ADDRESSES_MAX):
            raise Garbled(f"{lladdr} is at {len(addresses)} places")
    return name, rows, more


def checked(lladdr: str) -> str:
    """That of a station, or ANYBODY; what devices do with groups is not ours."""
    if not LLADDR.fullmatch(lladdr) or (
        lladdr != ANYBODY and not is_one_station(lladdr)
    ):
        raise ValueError(f"no address of a station: {lladdr!r}")
    return lladdr
