"""Table `rule`: which routing table is asked (struct fib_rule_hdr, FRA_*;
linux/fib_rules.h).
"""

from __future__ import annotations

import struct
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from controller.netlink.rtnl.framing import (
    Fields,
    attributes,
    be32,
    be64,
    text,
    u8,
    u16,
    u32,
)
from controller.netlink.rtnl.table import Record, Request, Table

RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE = 8, 19
FRA_DST, FRA_SRC = 1, 2
FIB_RULE_INVERT = 0x2
NOT_SUPPRESSED = 0xFFFFFFFF  # FRA_SUPPRESS_*: -1

FIB_RULE_HDR = struct.Struct("=4BB2xBI")  # family, lengths, tos, table, action, flags


class RuleKey(NamedTuple):
    """Two rules may differ in any of these: the whole rule is the key.

    action  FR_ACT_*: 1 look `table` up, 6 blackhole, 7 unreachable, 8 prohibit
    flow    realms that a route gets by it, source and destination: `ip rule` "realms"
    """

    family: int
    priority: int
    action: int
    table: int
    invert: bool
    src: str
    src_len: int
    dst: str
    dst_len: int
    tos: int
    iifname: str | None = None
    oifname: str | None = None
    fwmark: int = 0
    fwmask: int = 0
    goto: int | None = None
    tun_id: int | None = None
    l3mdev: int = 0
    ip_proto: int | None = None
    sport_range: tuple[int, int] | None = None
    dport_range: tuple[int, int] | None = None
    uid_range: tuple[int, int] | None = None
    suppress_prefixlen: int | None = None
    suppress_ifgroup: int | None = None
    flow: int | None = None
    dscp: int | None = None
    dscp_mask: int | None = None
    flowlabel: int | None = None
    flowlabel_mask: int | None = None
    sport_mask: int | None = None
    dport_mask: int | None = None


class Rule(NamedTuple):
    """What is not part of what it does.

    protocol  who added it, RTPROT_*: 2 the kernel, 3 at boot, 4 an administrator
    """

    protocol: int = 0


def ports(data: bytes) -> tuple[int, int]:
    return u16(data[:2]), u16(data[2:])


def uids(data: bytes) -> tuple[int, int]:
    return u32(data[:4]), u32(data[4:])


def suppressed(data: bytes) -> int | None:
    value = u32(data)
    return None if value == NOT_SUPPRESSED else value


FIELDS: Fields = {  # FRA_*
    3: ("iifname", text),
    4: ("goto", u32),
    6: ("priority", u32),
    10: ("fwmark", u32),
    11: ("flow", u32),
    12: ("tun_id", be64),
    13: ("suppress_ifgroup", suppressed),
    14: ("suppress_prefixlen", suppressed),
    15: ("table", u32),
    16: ("fwmask", u32),
    17: ("oifname", text),
    19: ("l3mdev", u8),
    20: ("uid_range", uids),
    22: ("ip_proto", u8),
    23: ("sport_range", ports),
    24: ("dport_range", ports),
    25: ("dscp", u8),
    26: ("flowlabel", be32),
    27: ("flowlabel_mask", be32),
    28: ("sport_mask", u16),
    29: ("dport_mask", u16),
    30: ("dscp_mask", u8),
}
FRA_PROTOCOL = 21


def decode(body: bytes) -> Record | None:
    """RTM_*RULE of IPv4 or IPv6; None for other families."""
    family, dst_len, src_len, tos, table, action, flags = FIB_RULE_HDR.unpack_from(body)
    if family not in (AF_INET, AF_INET6):
        return None
    found = dict(attributes(body, FIB_RULE_HDR.size))
    fields = {"table": table, "priority": 0}
    fields |= {
        name: reader(found[kind])
        for kind, (name, reader) in FIELDS.items()
        if kind in found
    }
    key = RuleKey(
        family=family,
        action=action,
        invert=bool(flags & FIB_RULE_INVERT),
        src=prefix(family, found.get(FRA_SRC)),
        src_len=src_len,
        dst=prefix(family, found.get(FRA_DST)),
        dst_len=dst_len,
        tos=tos,
        **fields,
    )
    protocol = u8(found[FRA_PROTOCOL]) if FRA_PROTOCOL in found else 0
    return Record("rule", key, Rule(protocol))


def prefix(family: int, data: bytes | None) -> str:
    return inet_ntop(family, data or bytes(4 if family == AF_INET else 16))


def dumps(target: int | None) -> tuple[Request, ...]:
    return tuple(
        (RTM_GETRULE, FIB_RULE_HDR.pack(family, 0, 0, 0, 0, 0, 0))
        for family in (AF_INET, AF_INET6)
    )


TABLE = Table(
    "rule",
    (RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE),
    dumps,
    {RTM_NEWRULE: decode, RTM_DELRULE: decode},
)
