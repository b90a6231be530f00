"""Tables `neigh` and `fdb`: the kernel's ARP and ND caches, what it answers for as a
proxy, and where its bridges and tunnels send frames (struct ndmsg, NDA_*;
linux/neighbour.h).
"""

from __future__ import annotations

import struct
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from controller.netlink.rtnl.framing import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Malformed,
    attribute,
    attributes,
    be16,
    ip,
    lladdr,
    u16,
    u32,
)
from controller.netlink.rtnl.table import Change, Record, Request, Table

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTNLGRP_NEIGH = 3
AF_BRIDGE = 7  # linux/socket.h

NDA_DST, NDA_LLADDR, NDA_VLAN, NDA_PORT, NDA_VNI, NDA_IFINDEX = 1, 2, 5, 6, 7, 8
NDA_MASTER, NDA_SRC_VNI, NDA_NH_ID = 9, 11, 13
NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE = 0x02, 0x04, 0x08, 0x10
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_SELF, NTF_MASTER, NTF_PROXY = 0x02, 0x04, 0x08
NTF_EXT_LEARNED, NTF_STICKY, NTF_ROUTER = 0x10, 0x40, 0x80
NUD_PASSING = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE

ANYBODY = "00:00:00:00:00:00"  # in a tunnel's table: broadcasts, and who is not there

NDMSG = struct.Struct("=B3xiHBB")  # family, ifindex, state, flags, type


class NeighKey(NamedTuple):
    """One row of the kernel's ARP or neighbor-discovery cache.

    proxy  NTF_PROXY: the kernel answers for `dst` (`ip neigh add proxy`)
    """

    ndm_family: int
    ndm_ifindex: int
    dst: str
    proxy: bool = False


class Neigh(NamedTuple):
    """What the kernel believes of a neighbor that it can reach.

    lladdr     None of a proxy entry
    ndm_state  NUD_PERMANENT or NUD_STALE.  REACHABLE, DELAY and PROBE come and go
               without news of the neighbor (DELAY without an event): shown as STALE
    ndm_flags  of NTF_ROUTER and NTF_EXT_LEARNED
    """

    lladdr: str | None
    ndm_state: int
    ndm_flags: int


class FdbKey(NamedTuple):
    """One way out of a bridge, or of a tunnel.

    ndm_ifindex  the port of the bridge, or the device
    vlan         None if the entry is for all or for untagged frames
    dst, vni     where a VXLAN device sends to
    port, via    the UDP port and the ifi_index that it is told to use, if not its own
    src_vni      the VNI that it is for, on a device for many
    ndm_flags    NTF_SELF or NTF_MASTER: of the device itself or of its bridge
    """

    ndm_ifindex: int
    lladdr: str
    vlan: int | None
    dst: str | None
    vni: int | None
    ndm_flags: int
    port: int | None = None
    via: int | None = None
    src_vni: int | None = None


class Fdb(NamedTuple):
    """What is known of that way.

    ndm_state  NUD_PERMANENT (the device's own address, or set by hand), NUD_NOARP
               (static), NUD_REACHABLE (learned, ages)
    master     ifi_index of the bridge
    nh_id      a nexthop of table `nexthop`
    flags      of NTF_EXT_LEARNED and NTF_STICKY
    """

    ndm_state: int
    master: int | None = None
    nh_id: int | None = None
    flags: int = 0


def decode(body: bytes) -> Record | None:
    """RTM_*NEIGH: a neighbor, a proxy entry or an entry of a forwarding database.

    None for the kernel's fixed entries for multicast, of which it does not tell.
    """
    family, index, state, flags, _ = NDMSG.unpack_from(body)
    if family == AF_BRIDGE:
        return fdb_record(index, state, flags, dict(attributes(body, NDMSG.size)))
    if family not in (AF_INET, AF_INET6) or state & NUD_NOARP:
        return None
    found = dict(attributes(body, NDMSG.size))
    if NDA_DST not in found:
        raise Malformed(f"a neighbor of interface {index} without an address")
    proxy = bool(flags & NTF_PROXY)
    key = NeighKey(family, index, inet_ntop(family, found[NDA_DST]), proxy)
    if proxy:
        return Record("neigh", key, Neigh(None, 0, flags & NTF_ROUTER))
    return Record("neigh", key, neigh_row(state, flags, found.get(NDA_LLADDR, b"")))


def neigh_row(state: int, flags: int, address: bytes) -> Neigh | None:
    """None while the kernel cannot send to it: NUD_INCOMPLETE, NUD_FAILED, NUD_NONE."""
    if not state & (NUD_PASSING | NUD_PERMANENT):
        return None
    return Neigh(
        lladdr=lladdr(address),
        ndm_state=NUD_PERMANENT if state & NUD_PERMANENT else NUD_STALE,
        ndm_flags=flags & (NTF_ROUTER | NTF_EXT_LEARNED),
    )


def fdb_record(
    index: int, state: int, flags: int, found: dict[int, bytes]
) -> Record | None:
    """A learned entry is REACHABLE until it has aged, then STALE: shown as REACHABLE.
    Group addresses that a device listens to change without a message."""
    address = found.get(NDA_LLADDR, b"")
    if address[:1] and address[0] & 1 and flags & NTF_SELF and NDA_DST not in found:
        return None

    def number(kind: int) -> int | None:
        return u32(found[kind]) if kind in found else None

    key = FdbKey(
        ndm_ifindex=index,
        lladdr=lladdr(address),
        vlan=u16(found[NDA_VLAN]) if NDA_VLAN in found else None,
        dst=ip(found[NDA_DST]) if NDA_DST in found else None,
        vni=number(NDA_VNI),
        ndm_flags=flags & (NTF_SELF | NTF_MASTER),
        port=be16(found[NDA_PORT]) if NDA_PORT in found else None,
        via=number(NDA_IFINDEX),
        src_vni=number(NDA_SRC_VNI),
    )
    return Record("fdb", key, fdb_row(state, flags, found))


def fdb_row(state: int, flags: int, found: dict[int, bytes]) -> Fdb:
    return Fdb(
        ndm_state=NUD_REACHABLE if state == NUD_STALE else state,
        master=u32(found[NDA_MASTER]) if NDA_MASTER in found else None,
        nh_id=u32(found[NDA_NH_ID]) if NDA_NH_ID in found else None,
        flags=flags & (NTF_EXT_LEARNED | NTF_STICKY),
    )


def get_neigh(family: int = 0, flags: int = 0) -> bytes:
    """Body of an RTM_GETNEIGH dump; there is none for another namespace.

    flags  NTF_PROXY reads proxy entries instead of the caches
    """
    return NDMSG.pack(family, 0, 0, flags, 0)


def supersedes(new: FdbKey, row: Fdb, old: FdbKey) -> bool:
    """A tunnel has one way to a station, and the kernel does not tell of the end of the
    one that another replaces (drivers/net/vxlan, vxlan_fdb_replace and vxlan_snoop)."""
    return (
        new != old
        and is_beyond(new, row)
        and is_one_station(new.lladdr)
        and (new.ndm_ifindex, new.lladdr, new.src_vni)
        == (old.ndm_ifindex, old.lladdr, old.src_vni)
    )


def is_beyond(key: FdbKey, row: Fdb) -> bool:
    """It is an entry of a tunnel, and says where that leads."""
    of_device = bool(key.ndm_flags & NTF_SELF)
    return of_device and (key.dst is not None or row.nh_id is not None)


def is_one_station(lladdr: str) -> bool:
    return lladdr != ANYBODY and not int(lladdr[:2], 16) & 1


# --- writing ------------------------------------------------------------------------


def put_fdb(ndm_ifindex: int, lladdr: str, dst: str, *, instead: bool) -> Change:
    """What `bridge fdb` sends to have a tunnel send frames for `lladdr` to `dst`, for
    good: "permanent extern_learn".

    instead  of where it sends them now; if it does not know, nobody may have told it
             meanwhile.  For groups and ANYBODY: besides the others, always
    """
    if not is_one_station(lladdr):
        flags = NLM_F_CREATE | NLM_F_APPEND
    else:
        flags = NLM_F_CREATE | (NLM_F_REPLACE if instead else NLM_F_EXCL)
    return RTM_NEWNEIGH, flags, way(ndm_ifindex, lladdr, dst, NTF_EXT_LEARNED)


def drop_fdb(ndm_ifindex: int, lladdr: str, dst: str) -> Change:
    """The end of one way."""
    return RTM_DELNEIGH, 0, way(ndm_ifindex, lladdr, dst, 0)


def way(ndm_ifindex: int, lladdr: str, dst: str, flags: int) -> bytes:
    state = NUD_PERMANENT | NUD_NOARP
    header = NDMSG.pack(AF_BRIDGE, ndm_ifindex, state, NTF_SELF | flags, 0)
    address = bytes.fromhex(lladdr.replace(":", ""))
    return (
        header
        + attribute(NDA_LLADDR, address)
        + attribute(NDA_DST, ip_address(dst).packed)
    )


# --- reading ------------------------------------------------------------------------


def neigh_dumps(target: int | None) -> tuple[Request, ...]:
    return (
        (RTM_GETNEIGH, get_neigh()),
        (RTM_GETNEIGH, get_neigh(flags=NTF_PROXY)),
    )


def fdb_dumps(target: int | None) -> tuple[Request, ...]:
    return ((RTM_GETNEIGH, get_neigh(AF_BRIDGE)),)


DECODERS = {RTM_NEWNEIGH: decode, RTM_DELNEIGH: decode}
NEIGH = Table("neigh", (RTNLGRP_NEIGH,), neigh_dumps, DECODERS, torn=True)
FDB = Table("fdb", (RTNLGRP_NEIGH,), fdb_dumps, DECODERS, torn=True)
