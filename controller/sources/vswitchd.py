"""From which interfaces ovs-vswitchd still receives, as /proc tells it.

In the userspace datapath ovs-vswitchd reads an interface of the system through a packet
socket that is bound to its ifindex (packet(7)).  When the interface is deleted, or goes
to another namespace, the kernel unbinds the socket for good (net/packet/af_packet.c,
packet_notifier).  If an interface of that name appears again, Open vSwitch shows it in
OVSDB with its new ifindex, up and without an error, and sends to it, but hears nothing.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "ovs-vswitchd"
IFINDEX, INODE = 4, 8  # columns of /proc/net/packet


@dataclass(frozen=True, slots=True)
class Hearing:
    """What ovs-vswitchd receives from, in the namespace where it runs.

    ifindexes  of the interfaces that a packet socket of its is bound to
    ifnames    of all interfaces there are
    """

    ifindexes: frozenset[int]
    ifnames: frozenset[str]

    def is_deaf_to(self, ifname: str, ifindex: int) -> bool:
        return ifname in self.ifnames and ifindex not in self.ifindexes


def hearing(run_directory: Path) -> Hearing | None:
    """None if it cannot be told: ovs-vswitchd does not run where its pid file says."""
    pid = find(run_directory)
    if pid is None:
        return None
    try:
        packet = (pid / "net/packet").read_bytes()
        devices = (pid / "net/dev").read_bytes()
    except OSError:  # it ended between two looks
        return None
    return Hearing(bound(packet, own_sockets(pid)), names(devices))


def find(run_directory: Path) -> Path | None:
    """The process that wrote the pid file, as a directory of /proc."""
    try:
        pid = int((run_directory / f"{PROGRAM}.pid").read_bytes())
        comm = Path(f"/proc/{pid}/comm").read_bytes().strip()
    except (OSError, ValueError):
        return None
    return Path(f"/proc/{pid}") if comm == PROGRAM.encode() else None


def own_sockets(pid: Path) -> frozenset[bytes] | None:
    """Inodes of the sockets it holds; None if we may not see its descriptors."""
    try:
        held = [target_of(bytes(entry)) for entry in (pid / "fd").iterdir()]
    except PermissionError:
        return None
    return frozenset(re.findall(rb"socket:\[(\d+)\]", b" ".join(held)))


def target_of(descriptor: bytes) -> bytes:
    try:
        return os.readlink(descriptor)
    except FileNotFoundError:  # closed between two looks
        return b""


def bound(packet: bytes, own: frozenset[bytes] | None) -> frozenset[int]:
    """The ifindexes of /proc/net/packet: of its own sockets, or of all if unknown.

    Somebody else's socket (lldpd, tcpdump) may hide a deaf port, never invent one.
    """
    rows = (line.split() for line in packet.splitlines()[1:])
    return frozenset(
        int(row[IFINDEX]) for row in rows if own is None or row[INODE] in own
    )


def names(devices: bytes) -> frozenset[str]:
    """The interface names of /proc/net/dev, below its two lines of headings.

    Bytes, since a name may hold what Unicode takes for a space or the end of a line.
    """
    lines = devices.split(b"\n")[2:]
    heads = (line.partition(b":")[0].strip(b" ") for line in lines if line)
    return frozenset(head.decode("utf-8", "surrogateescape") for head in heads)
