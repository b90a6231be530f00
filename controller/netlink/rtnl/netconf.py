"""Table `netconf`: what an interface forwards, and answers for (struct netconfmsg,
NETCONFA_*; linux/netconf.h).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6
from typing import NamedTuple

from controller.netlink.rtnl.framing import Fields, Malformed, attributes, read, s32
from controller.netlink.rtnl.table import Record, Request, Table

RTM_NEWNETCONF, RTM_DELNETCONF, RTM_GETNETCONF = 80, 81, 82
RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF = 24, 25
NETCONFA_IFINDEX = 1
NETCONFA_IFINDEX_ALL, NETCONFA_IFINDEX_DEFAULT = -1, -2

NETCONFMSG = struct.Struct("=B3x")  # family, padded

FIELDS: Fields = {  # NETCONFA_*
    2: ("forwarding", s32),
    3: ("rp_filter", s32),
    4: ("mc_forwarding", s32),
    5: ("proxy_neigh", s32),
    6: ("ignore_routes_with_linkdown", s32),
    8: ("bc_forwarding", s32),
}


class NetconfKey(NamedTuple):
    """ifindex -1 stands for all interfaces, -2 for those that are made later."""

    family: int
    ifindex: int


class Netconf(NamedTuple):
    """Settings of /proc/sys/net/ipv4/conf and .../ipv6/conf that rtnetlink tells of.

    rp_filter    RFC 3704: 0 off, 1 strict, 2 loose
    proxy_neigh  proxy_arp or proxy_ndp: answers for addresses of other interfaces
    """

    forwarding: int | None = None
    rp_filter: int | None = None
    mc_forwarding: int | None = None
    proxy_neigh: int | None = None
    ignore_routes_with_linkdown: int | None = None
    bc_forwarding: int | None = None

    def merged_into(self, old: Netconf) -> Netconf:
        """An event tells what has changed, and nothing else."""
        told = {name: v for name, v in self._asdict().items() if v is not None}
        return old._replace(**told)


def decode(body: bytes) -> Record | None:
    """RTM_*NETCONF of IPv4 or IPv6; None for other families."""
    (family,) = NETCONFMSG.unpack_from(body)
    if family not in (AF_INET, AF_INET6):
        return None
    found = dict(attributes(body, NETCONFMSG.size))
    if NETCONFA_IFINDEX not in found:
        raise Malformed("settings without NETCONFA_IFINDEX")
    key = NetconfKey(family, s32(found[NETCONFA_IFINDEX]))
    return Record("netconf", key, shared(**read(FIELDS, body, NETCONFMSG.size)))


@lru_cache(maxsize=256)
def shared(**told: int) -> Netconf:
    """One value for the many interfaces that are set alike."""
    return Netconf(**told)


def dumps(target: int | None) -> tuple[Request, ...]:
    return tuple(
        (RTM_GETNETCONF, NETCONFMSG.pack(family)) for family in (AF_INET, AF_INET6)
    )


TABLE = Table(
    "netconf",
    (RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF),
    dumps,
    {RTM_NEWNETCONF: decode, RTM_DELNETCONF: decode},
)
