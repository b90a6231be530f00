"""Table `nexthop`: what routes share (struct nhmsg, NHA_*; linux/nexthop.h)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from controller.netlink.rtnl.framing import Malformed, attributes, ip, u32
from controller.netlink.rtnl.table import Record, Request, Table

RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
RTNLGRP_NEXTHOP = 32
NHA_ID, NHA_GROUP, NHA_BLACKHOLE, NHA_OIF, NHA_GATEWAY, NHA_FDB = 1, 2, 4, 5, 6, 11
RTNH_F_KEPT = 0x4  # onlink; dead and linkdown change without a message

NHMSG = struct.Struct("=4BI")  # family, scope, protocol, reserved, flags
NEXTHOP_GRP = struct.Struct("=IBBH")  # id, weight - 1, its high octet, reserved


class NexthopKey(NamedTuple):
    """The number that routes name it by."""

    id: int


class Nexthop(NamedTuple):
    """One way, or a group of ways.

    group  id and weight of each member
    fdb    for entries of table `fdb`, not for routes
    """

    nh_family: int
    nh_scope: int
    nh_protocol: int
    nh_flags: int
    oif: int | None = None
    gateway: str | None = None
    group: tuple[tuple[int, int], ...] = ()
    blackhole: bool = False
    fdb: bool = False


def decode(body: bytes) -> Record:
    """RTM_*NEXTHOP."""
    family, scope, protocol, _, flags = NHMSG.unpack_from(body)
    found = dict(attributes(body, NHMSG.size))
    if NHA_ID not in found:
        raise Malformed("a next hop without NHA_ID")
    row = Nexthop(
        nh_family=family,
        nh_scope=scope,
        nh_protocol=protocol,
        nh_flags=flags & RTNH_F_KEPT,
        oif=u32(found[NHA_OIF]) if NHA_OIF in found else None,
        gateway=ip(found[NHA_GATEWAY]) if NHA_GATEWAY in found else None,
        group=members(found.get(NHA_GROUP, b"")),
        blackhole=NHA_BLACKHOLE in found,
        fdb=NHA_FDB in found,
    )
    return Record("nexthop", NexthopKey(u32(found[NHA_ID])), row)


def members(data: bytes) -> tuple[tuple[int, int], ...]:
    return tuple(
        (number, (high << 8 | weight) + 1)
        for number, weight, high, _ in NEXTHOP_GRP.iter_unpack(data)
    )


def dumps(target: int | None) -> tuple[Request, ...]:
    return ((RTM_GETNEXTHOP, NHMSG.pack(0, 0, 0, 0, 0)),)


TABLE = Table(
    "nexthop",
    (RTNLGRP_NEXTHOP,),
    dumps,
    {RTM_NEWNEXTHOP: decode, RTM_DELNEXTHOP: decode},
)
