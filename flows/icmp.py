"""Answer echo requests inside the switch (RFC 792, RFC 4443, 4.2).

Sender and target change places, and the packet goes back where it came from.  Open
vSwitch keeps the checksums right.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import NamedTuple

from flows.nd_guard import ICMPV6
from flows.openflow import (
    ETH_IPV4,
    ETH_IPV6,
    Action,
    Flow,
    Move,
    SetField,
    flow,
    oxm,
)
from flows.view import IPAddress

TTL = 64  # of a packet's first hop: RFC 1700, "IP time to live"


class Kind(NamedTuple):
    """Field names and numbers of one IP version."""

    eth_type: int
    ip_proto: int
    src: str
    dst: str
    type: str
    code: str
    request: int
    reply: int


V4 = Kind(
    *(ETH_IPV4, 1, "ipv4_src", "ipv4_dst", "icmpv4_type", "icmpv4_code"),
    *(8, 0),  # RFC 792
)
V6 = Kind(
    *(ETH_IPV6, ICMPV6, "ipv6_src", "ipv6_dst", "icmpv6_type", "icmpv6_code"),
    *(128, 129),  # RFC 4443, 4.1 and 4.2
)


def echo(
    table: int,
    priority: int,
    ip: IPAddress,
    lladdr: str,
    back: Action,
    **where: object,
) -> Flow:
    """Answer who asks `ip`, at `lladdr`; `where` are further fields, as the VLAN."""
    kind = V4 if isinstance(ip, IPv4Address) else V6
    return flow(
        table,
        priority,
        oxm(
            eth_dst=lladdr,
            eth_type=kind.eth_type,
            ip_proto=kind.ip_proto,
            **{kind.dst: ip, kind.type: kind.request, kind.code: 0},
            **where,
        ),
        Move("eth_src", "eth_dst"),
        SetField("eth_src", lladdr),
        Move(kind.src, kind.dst),
        SetField(kind.src, str(ip)),
        SetField("ip_ttl", str(TTL)),
        SetField(kind.type, str(kind.reply)),
        back,
        note=f"answer an echo request to {ip}",
        subject=ip,
    )
