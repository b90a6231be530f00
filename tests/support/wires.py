"""Frames on the far ends of cables, octet by octet, with nobody's kernel in between.

    wires = plug(ovs, "br0", {3: "w3", 4: "w4"})
    wires[3].send(frame)
    [heard] = wires[4].heard()

All far ends are in one namespace, whose kernel neither speaks nor answers through them.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping

from tests.bench.fixture import inside, ip_batch, named
from tests.support.ovs import PrivateOvs

SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23  # linux/if_packet.h
ETH_P_ALL = 3
TAGGED, HAS_TPID = 0x10, 0x40  # TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID
AUXDATA = struct.Struct("IIIHHHH")  # tpacket_auxdata
SILENT = "link set {0} addrgenmode none arp off\nlink set {0} up\n"
ROOM = 1 << 20  # octets that may wait to be heard


class Wire:
    """One far end.  Whoever holds it is every host behind this port."""

    def __init__(self, namespace: str, ifname: str, port_no: int) -> None:
        self.name, self.port_no = ifname, port_no
        with inside(named(namespace)):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        self._socket.bind((ifname, ETH_P_ALL))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self._socket.send(frame)

    def heard(self) -> list[bytes]:
        """Whole frames that have arrived since the last call."""
        return list(self._arrived())

    def _arrived(self) -> Iterator[bytes]:
        while True:
            try:
                data, beside, _, _ = self._socket.recvmsg(1 << 16, 256)
            except BlockingIOError:
                return
            yield with_tag(data, beside[0][2])


def with_tag(data: bytes, told: bytes) -> bytes:
    """The kernel takes the outer tag off a frame, and tells it beside."""
    status, *_, tci, tpid = AUXDATA.unpack(told)
    if not status & TAGGED:
        return data
    tag = struct.pack("!HH", tpid if status & HAS_TPID else 0x8100, tci)
    return data[:12] + tag + data[12:]


def plug(
    ovs: PrivateOvs, namespace: str, bridge: str, names: Mapping[int, str]
) -> dict[int, Wire]:
    """Ports of a bridge, by number, whose far ends are in this namespace."""
    for name in names.values():
        words = ("ip", "link", "add", name, "type", "veth")
        ovs.run(*words, "peer", "name", name, "netns", namespace)
    # With the userspace datapath the kernel hears what comes in by a port, too.
    for end in (namespace, ovs.namespace):
        ip_batch(end, "".join(map(SILENT.format, names.values())))
    for port_no, name in names.items():
        number = ("--", "set", "interface", name, f"ofport_request={port_no}")
        ovs.vsctl("add-port", bridge, name, *number)
    return {port_no: Wire(namespace, name, port_no) for port_no, name in names.items()}
