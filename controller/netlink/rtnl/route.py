"""Table `route`: IPv4 and IPv6 routes (struct rtmsg, RTA_*; linux/rtnetlink.h)."""

from __future__ import annotations

import struct
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

from controller.netlink.rtnl.framing import (
    Malformed,
    attributes,
    ip,
    u8,
    u32,
)
from controller.netlink.rtnl.table import Record, Request, Table

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE = 7, 11

RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 2, 3, 4, 5, 6
RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH, RTA_TABLE = 7, 8, 9, 15
RTA_VIA, RTA_PREF, RTA_NH_ID = 18, 20, 30
RTM_F_CLONED = 0x200
RTNH_F_ALL = 0xFF  # RTNH_F_*: dead, onlink, linkdown, ...; above stand RTM_F_*

RTMSG = struct.Struct("=8BI")  # family .. type, flags
RTNEXTHOP = struct.Struct("=HBBi")  # len, flags, hops, ifindex
METRICS = {  # RTAX_*
    1: "lock",
    2: "mtu",
    3: "window",
    4: "rtt",
    5: "rttvar",
    6: "ssthresh",
    7: "cwnd",
    8: "advmss",
    9: "reordering",
    10: "hoplimit",
    11: "initcwnd",
    12: "features",
    13: "rto_min",
    14: "initrwnd",
    15: "quickack",
}


class Hop(NamedTuple):
    """One of several ways of a route: struct rtnexthop.

    weight  rtnh_hops + 1: its share of the traffic
    """

    oif: int
    gateway: str | None
    weight: int


class RouteKey(NamedTuple):
    """Two routes may differ in any of these: the whole route is the key.

    dst, src    with rtm_dst_len and rtm_src_len; 0.0.0.0 or :: with length 0 is any
    gateway     RTA_GATEWAY, or RTA_VIA: a next hop of the other family
    nexthops    RTA_MULTIPATH
    """

    rtm_family: int
    rtm_table: int
    dst: str
    rtm_dst_len: int
    src: str
    rtm_src_len: int
    rtm_tos: int
    priority: int
    rtm_type: int
    rtm_scope: int
    rtm_protocol: int
    iif: int | None
    oif: int | None
    gateway: str | None
    prefsrc: str | None
    nh_id: int | None
    nexthops: tuple[Hop, ...]


class Route(NamedTuple):
    """What may change of a route that stays the same.

    rtm_flags  RTNH_F_*: 1 dead, 4 onlink, 16 linkdown
    hop_flags  the same for each of `nexthops`
    pref       RFC 4191: 0 medium, 1 high, 3 low; None for IPv4
    metrics    RTA_METRICS by name, "mtu" for instance
    """

    rtm_flags: int
    hop_flags: tuple[int, ...] = ()
    pref: int | None = None
    metrics: tuple[tuple[str, int], ...] = ()


def decode(body: bytes) -> Record | None:
    """RTM_*ROUTE; None for other families and for cached copies of routes."""
    head = RTMSG.unpack_from(body)
    family, flags = head[0], head[8]
    if family not in (AF_INET, AF_INET6) or flags & RTM_F_CLONED:
        return None
    found = dict(attributes(body, RTMSG.size))
    ways = multipath(found.get(RTA_MULTIPATH, b""))
    row = Route(
        rtm_flags=flags & RTNH_F_ALL,
        hop_flags=tuple(flags for _, flags in ways),
        pref=u8(found[RTA_PREF]) if RTA_PREF in found else None,
        metrics=metrics(found.get(RTA_METRICS, b"")),
    )
    hops = tuple(hop for hop, _ in ways)
    return Record("route", route_key(head, found, hops), row)


def route_key(
    head: tuple[int, ...], found: dict[int, bytes], hops: tuple[Hop, ...]
) -> RouteKey:
    family, dst_len, src_len, tos, table, protocol, scope, kind, _ = head

    def number(kind: int) -> int | None:
        return u32(found[kind]) if kind in found else None

    def prefix(kind: int) -> str:
        size = 4 if family == AF_INET else 16
        return inet_ntop(family, found.get(kind, bytes(size)))

    return RouteKey(
        rtm_family=family,
        rtm_table=u32(found[RTA_TABLE]) if RTA_TABLE in found else table,
        dst=prefix(RTA_DST),
        rtm_dst_len=dst_len,
        src=prefix(RTA_SRC),
        rtm_src_len=src_len,
        rtm_tos=tos,
        priority=number(RTA_PRIORITY) or 0,
        rtm_type=kind,
        rtm_scope=scope,
        rtm_protocol=protocol,
        iif=number(RTA_IIF),
        oif=number(RTA_OIF),
        gateway=gateway(found),
        prefsrc=ip(found[RTA_PREFSRC]) if RTA_PREFSRC in found else None,
        nh_id=number(RTA_NH_ID),
        nexthops=hops,
    )


def gateway(found: dict[int, bytes]) -> str | None:
    """struct rtvia is the family in two octets, then the address."""
    if RTA_GATEWAY in found:
        return ip(found[RTA_GATEWAY])
    return ip(found[RTA_VIA][2:]) if RTA_VIA in found else None


def multipath(data: bytes) -> list[tuple[Hop, int]]:
    """Each hop with its RTNH_F_* flags."""
    ways, at = [], 0
    while at + RTNEXTHOP.size <= len(data):
        length, flags, hops, oif = RTNEXTHOP.unpack_from(data, at)
        if length < RTNEXTHOP.size or at + length > len(data):
            raise Malformed(f"rtnh_len {length} at {at} of {len(data)} octets")
        found = dict(attributes(data[at + RTNEXTHOP.size : at + length]))
        ways.append((Hop(oif, gateway(found), hops + 1), flags))
        at += (length + 3) & ~3
    return ways


def metrics(data: bytes) -> tuple[tuple[str, int], ...]:
    return tuple(
        (METRICS[kind], u32(value))
        for kind, value in attributes(data)
        if kind in METRICS
    )


def get_route(family: int) -> bytes:
    """Body of an RTM_GETROUTE dump of all tables of a family."""
    return RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)


def dumps(target: int | None) -> tuple[Request, ...]:
    return tuple((RTM_GETROUTE, get_route(family)) for family in (AF_INET, AF_INET6))


TABLE = Table(
    "route",
    (RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE),
    dumps,
    {RTM_NEWROUTE: decode, RTM_DELROUTE: decode},
)
