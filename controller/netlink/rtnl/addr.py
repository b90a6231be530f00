"""Table `addr`: protocol addresses (struct ifaddrmsg, IFA_*; linux/if_addr.h)."""

from __future__ import annotations

import struct
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from controller.netlink.rtnl.framing import (
    S32,
    Malformed,
    attribute,
    attributes,
    text,
    u8,
    u32,
)
from controller.netlink.rtnl.table import Record, Request, Table

RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR = 5, 9

IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST = 1, 2, 3, 4
IFA_FLAGS, IFA_TARGET_NETNSID, IFA_PROTO = 8, 10, 11
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40

IFADDRMSG = struct.Struct("=BBBBI")  # family, prefixlen, flags, scope, index


class AddrKey(NamedTuple):
    """What makes one address of a namespace different from another.

    local    the interface's own address: IFA_LOCAL, or IFA_ADDRESS without one
    address  IFA_ADDRESS: the same, or the peer's on a point-to-point link
    """

    ifa_family: int
    ifa_index: int
    ifa_prefixlen: int
    local: str
    address: str


class Addr(NamedTuple):
    """A protocol address."""

    ifa_flags: int
    ifa_scope: int
    label: str | None = None
    broadcast: str | None = None
    proto: int = 0


def decode(body: bytes) -> Record | None:
    """RTM_*ADDR of IPv4 or IPv6; None for other families."""
    family, prefixlen, flags, scope, index = IFADDRMSG.unpack_from(body)
    if family not in (AF_INET, AF_INET6):
        return None
    found = dict(attributes(body, IFADDRMSG.size))
    if IFA_ADDRESS not in found and IFA_LOCAL not in found:
        raise Malformed(f"an address of interface {index} without an address")
    address = found.get(IFA_ADDRESS, found.get(IFA_LOCAL, b""))
    local = found.get(IFA_LOCAL, address)
    here = inet_ntop(family, local)
    there = here if local == address else inet_ntop(family, address)
    key = AddrKey(family, index, prefixlen, here, there)
    return Record("addr", key, addr_row(family, flags, scope, found))


def addr_row(family: int, flags: int, scope: int, found: dict[int, bytes]) -> Addr:
    """IFA_FLAGS has the 32 bits of which ifa_flags holds the lowest eight."""
    return Addr(
        ifa_flags=u32(found[IFA_FLAGS]) if IFA_FLAGS in found else flags,
        ifa_scope=scope,
        label=text(found[IFA_LABEL]) if IFA_LABEL in found else None,
        broadcast=(
            inet_ntop(family, found[IFA_BROADCAST]) if IFA_BROADCAST in found else None
        ),
        proto=u8(found[IFA_PROTO]) if IFA_PROTO in found else 0,
    )


def get_addr(target: int | None = None) -> bytes:
    """Body of an RTM_GETADDR dump of all families, in namespace `target`."""
    body = IFADDRMSG.pack(0, 0, 0, 0, 0)
    if target is not None:
        body += attribute(IFA_TARGET_NETNSID, S32.pack(target))
    return body


def dumps(target: int | None) -> tuple[Request, ...]:
    return ((RTM_GETADDR, get_addr(target)),)


TABLE = Table(
    "addr",
    (RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR),
    dumps,
    {RTM_NEWADDR: decode, RTM_DELADDR: decode},
    by_nsid=True,
)
