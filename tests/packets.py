"""Packets, written the way a protocol document would write them.

A packet is its header fields by OXM name, as `flows.simulate` takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address

Packet = Mapping[str, str]

H1, H2, H3 = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
BROADCAST = "ff:ff:ff:ff:ff:ff"
ZERO = "00:00:00:00:00:00"
NOBODY = "0.0.0.0"  # RFC 5227, 1.1: the sender protocol address of a probe
UNTAGGED = 0


def frame(
    *, in_port: int, eth_src: str, eth_dst: str, eth_type: int, vlan: int = UNTAGGED
) -> dict[str, str]:
    """vlan  VLAN identifier, 0 for an untagged frame"""
    tag = {"vlan_vid": hex(0x1000 | vlan)} if vlan else {}
    return {
        "in_port": str(in_port),
        "eth_src": eth_src,
        "eth_dst": eth_dst,
        "eth_type": hex(eth_type),
        **tag,
    }


def arp_request(
    *,
    in_port: int,
    sha: str,
    spa: str,
    tpa: str,
    eth_dst: str = BROADCAST,
    vlan: int = UNTAGGED,
) -> dict[str, str]:
    ethernet = frame(
        in_port=in_port, eth_src=sha, eth_dst=eth_dst, eth_type=0x0806, vlan=vlan
    )
    return ethernet | {
        "arp_op": "1",
        "arp_sha": sha,
        "arp_spa": spa,
        "arp_tha": ZERO,
        "arp_tpa": tpa,
    }


def arp_reply(
    *, in_port: int, sha: str, spa: str, tha: str, tpa: str, vlan: int = UNTAGGED
) -> dict[str, str]:
    ethernet = frame(
        in_port=in_port, eth_src=sha, eth_dst=tha, eth_type=0x0806, vlan=vlan
    )
    return ethernet | {
        "arp_op": "2",
        "arp_sha": sha,
        "arp_spa": spa,
        "arp_tha": tha,
        "arp_tpa": tpa,
    }


def probe(*, in_port: int, sha: str, tpa: str, vlan: int = UNTAGGED) -> dict[str, str]:
    """RFC 5227, 2.1.1: is this address in use?"""
    return arp_request(in_port=in_port, sha=sha, spa=NOBODY, tpa=tpa, vlan=vlan)


def announcement(
    *, in_port: int, sha: str, ip: str, vlan: int = UNTAGGED
) -> dict[str, str]:
    """RFC 5227, 2.3: this address is mine."""
    return arp_request(in_port=in_port, sha=sha, spa=ip, tpa=ip, vlan=vlan)


def poll(
    *, in_port: int, sha: str, spa: str, tha: str, tpa: str, vlan: int = UNTAGGED
) -> dict[str, str]:
    """RFC 1122, 2.3.2.1: a request to one station, which asks whether it is alive."""
    return arp_request(
        in_port=in_port, sha=sha, spa=spa, tpa=tpa, eth_dst=tha, vlan=vlan
    )


def ipv4(
    *,
    in_port: int,
    eth_src: str,
    eth_dst: str,
    src: str = "10.0.0.1",
    dst: str = "10.0.0.2",
    vlan: int = UNTAGGED,
) -> dict[str, str]:
    """An ICMP echo request."""
    ethernet = frame(
        in_port=in_port, eth_src=eth_src, eth_dst=eth_dst, eth_type=0x0800, vlan=vlan
    )
    return ethernet | {
        "ip_proto": "1",
        "ipv4_src": src,
        "ipv4_dst": dst,
        "icmpv4_type": "8",
        "icmpv4_code": "0",
    }


def ipv6(
    *,
    in_port: int,
    eth_src: str,
    eth_dst: str,
    src: str = "fd00::1",
    dst: str = "fd00::2",
    vlan: int = UNTAGGED,
) -> dict[str, str]:
    """An ICMPv6 echo request."""
    ethernet = frame(
        in_port=in_port, eth_src=eth_src, eth_dst=eth_dst, eth_type=0x86DD, vlan=vlan
    )
    return ethernet | {
        "ip_proto": "58",
        "ip_ttl": "64",
        "ipv6_src": src,
        "ipv6_dst": dst,
        "icmpv6_type": "128",
        "icmpv6_code": "0",
    }


def solicitation(
    *,
    in_port: int,
    eth_src: str,
    src: str = "fd00::1",
    target: str = "fd00::2",
    sll: str | None = None,
    eth_dst: str = "",
    vlan: int = UNTAGGED,
) -> dict[str, str]:
    """RFC 4861, 4.3, to the group of its target unless `eth_dst` is one station.

    sll  the source link-layer address option; "" for none
    """
    group = solicited_node(target)
    to = eth_dst or "33:33:" + group.packed[-4:].hex(":")
    packet = ipv6(
        in_port=in_port,
        eth_src=eth_src,
        eth_dst=to,
        src=src,
        dst=target if eth_dst else str(group),
        vlan=vlan,
    )
    lladdr = eth_src if sll is None else sll
    return packet | {
        "ip_ttl": "255",
        "icmpv6_type": "135",
        "ipv6_nd_target": target,
        "ipv6_nd_sll": lladdr or ZERO,
        "nd_reserved": "0x0",
        "nd_options_type": "1" if lladdr else "0",
    }


def dad(
    *, in_port: int, eth_src: str, target: str, vlan: int = UNTAGGED
) -> dict[str, str]:
    """RFC 4862, 5.4.2: duplicate address detection."""
    return solicitation(
        in_port=in_port, eth_src=eth_src, src="::", target=target, sll="", vlan=vlan
    )


def nud(
    *, in_port: int, eth_src: str, src: str, eth_dst: str, target: str
) -> dict[str, str]:
    """RFC 4861, 7.3.3: a solicitation to one station, which asks whether it lives."""
    return solicitation(
        in_port=in_port, eth_src=eth_src, src=src, eth_dst=eth_dst, target=target
    )


def advertisement(
    *,
    in_port: int,
    eth_src: str,
    target: str,
    eth_dst: str = "33:33:00:00:00:01",
    dst: str = "ff02::1",
    flags: str = "0x20000000",
    tll: str | None = None,
    vlan: int = UNTAGGED,
) -> dict[str, str]:
    """RFC 4861, 4.4; unless told otherwise nobody has solicited it.

    flags  R, S and O are the three highest of 32 bits
    tll    the target link-layer address option; "" for none
    """
    packet = ipv6(
        in_port=in_port,
        eth_src=eth_src,
        eth_dst=eth_dst,
        src=target,
        dst=dst,
        vlan=vlan,
    )
    lladdr = eth_src if tll is None else tll
    return packet | {
        "ip_ttl": "255",
        "icmpv6_type": "136",
        "ipv6_nd_target": target,
        "ipv6_nd_tll": lladdr or ZERO,
        "nd_reserved": flags,
        "nd_options_type": "2" if lladdr else "0",
    }


def solicited_node(target: str) -> IPv6Address:
    """RFC 4291, 2.7.1, from an address as people write it."""
    return IPv6Address(
        IPv6Address("ff02::1:ff00:0").packed[:13] + IPv6Address(target).packed[13:]
    )
