"""Table `nsid`: the numbers of other namespaces (NETNSA_*; linux/net_namespace.h)."""

from __future__ import annotations

import struct

from controller.netlink.rtnl.framing import S32, Malformed, attribute, attributes, s32
from controller.netlink.rtnl.table import NsidMessage, Request, Table

RTM_NEWNSID, RTM_DELNSID, RTM_GETNSID = 88, 89, 90
RTNLGRP_NSID = 28

NETNSA_NSID, NETNSA_PID, NETNSA_FD = 1, 2, 3
NETNSA_TARGET_NSID, NETNSA_CURRENT_NSID = 4, 5
NETNSA_NSID_NOT_ASSIGNED = -1

RTGENMSG = struct.Struct("=B3x")  # family, padded


def decode(body: bytes) -> NsidMessage:
    """RTM_*NSID; NETNSA_NSID_NOT_ASSIGNED answers a question for a stranger."""
    RTGENMSG.unpack_from(body)
    found = dict(attributes(body, RTGENMSG.size))
    if NETNSA_NSID not in found:
        raise Malformed("a network namespace without NETNSA_NSID")
    current = found.get(NETNSA_CURRENT_NSID)
    return NsidMessage(
        s32(found[NETNSA_NSID]),
        NETNSA_NSID_NOT_ASSIGNED if current is None else s32(current),
    )


def get_nsid(*of: tuple[int, int]) -> bytes:
    """Body of RTM_GETNSID: of NETNSA_FD or NETNSA_PID, for NETNSA_TARGET_NSID."""
    return RTGENMSG.pack(0) + b"".join(
        attribute(kind, S32.pack(value)) for kind, value in of
    )


def dumps(target: int | None) -> tuple[Request, ...]:
    return ((RTM_GETNSID, get_nsid()),)


TABLE = Table(
    "nsid", (RTNLGRP_NSID,), dumps, {RTM_NEWNSID: decode, RTM_DELNSID: decode}
)
