"""Frames as whoever likes may send them, right and wrong ones; made by scapy, which
knows nothing of our own encoders.

    arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.2")            # who has 10.0.0.2?
    ns(eth_src=H1, src="fd00::1", target="fd00::2", options=(sll(H1), nonce()))
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6NDOptUnknown,
    IPv6,
    in6_chksum,
)
from scapy.layers.l2 import ARP, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

BROADCAST, ZERO = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
ALL_NODES, ALL_NODES_LLADDR = "ff02::1", "33:33:00:00:00:01"
SHORTEST = 60  # octets of a frame on a cable, without its checksum
REQUEST, REPLY = 1, 2
ICMPV6 = 58


def arp(
    *,
    sha: str,
    spa: str,
    tpa: str,
    op: int = REQUEST,
    tha: str = ZERO,
    eth_src: str = "",
    eth_dst: str = BROADCAST,
    tags: Sequence[int] = (),
    service_tag: bool = False,
    priority: int = 0,
    kind: tuple[int, int, int, int] = (1, 0x0800, 6, 4),
    snap: bool = False,
) -> bytes:
    """kind  ar$hrd, ar$pro, ar$hln, ar$pln
    tags  VLAN identifiers, the outer one first; `service_tag` makes that an S-tag,
          `priority` is its PCP
    snap  in a frame with a length (IEEE 802.3, RFC 1042)
    """
    said = bytes(ARP(op=op, hwsrc=sha, psrc=spa, hwdst=tha, pdst=tpa))
    said = struct.pack("!HHBB", *kind) + said[6:]
    return framed(
        Raw(said),
        eth_src=eth_src or sha,
        eth_dst=eth_dst,
        eth_type=0x0806,
        tags=tags,
        service_tag=service_tag,
        priority=priority,
        snap=snap,
    )


def framed(
    payload: Packet,
    *,
    eth_src: str,
    eth_dst: str,
    eth_type: int,
    tags: Sequence[int] = (),
    service_tag: bool = False,
    priority: int = 0,
    snap: bool = False,
) -> bytes:
    if snap:
        behind: Packet = LLC() / SNAP(code=eth_type) / payload
        return bytes(Dot3(src=eth_src, dst=eth_dst) / behind).ljust(SHORTEST, b"\0")
    frame: Packet = Ether(src=eth_src, dst=eth_dst, type=eth_type)
    if tags:
        outer = Dot1AD if service_tag else Dot1Q
        frame = Ether(src=eth_src, dst=eth_dst) / outer(vlan=tags[0], prio=priority)
        for tag in tags[1:]:
            frame /= Dot1Q(vlan=tag)
        frame.lastlayer().type = eth_type
    return bytes(frame / payload).ljust(SHORTEST, b"\0")


def ipv4(*, eth_src: str, eth_dst: str, src: str, dst: str, **more: Any) -> bytes:
    """A UDP packet; `more` is as in `framed`."""
    said = IP(src=src, dst=dst) / UDP(sport=9, dport=9)
    return framed(said, eth_src=eth_src, eth_dst=eth_dst, eth_type=0x0800, **more)


def sll(lladdr: str) -> Packet:
    return ICMPv6NDOptSrcLLAddr(lladdr=lladdr)


def tll(lladdr: str) -> Packet:
    return ICMPv6NDOptDstLLAddr(lladdr=lladdr)


def nonce(size: int = 6) -> Packet:
    """RFC 3971, 5.3.2; RFC 7527 uses six octets."""
    return ICMPv6NDOptUnknown(
        type=14, len=(size + 2) // 8, data=bytes(range(1, size + 1))
    )


def ns(
    *,
    eth_src: str,
    target: str,
    src: str = "::",
    dst: str = "",
    eth_dst: str = "",
    options: Sequence[Packet] | None = None,
    **more: Any,
) -> bytes:
    """A solicitation to the group of its target; with SLLAO unless told otherwise."""
    if options is None:
        options = () if src == "::" else (sll(eth_src),)
    group = solicited_node(target)
    return icmpv6(
        ICMPv6ND_NS(tgt=target, cksum=0),
        options,
        eth_src=eth_src,
        eth_dst=eth_dst or "33:33:" + IPv6Address(dst or group).packed[-4:].hex(":"),
        src=src,
        dst=dst or group,
        **more,
    )


def na(
    *,
    eth_src: str,
    target: str,
    src: str = "",
    dst: str = ALL_NODES,
    eth_dst: str = ALL_NODES_LLADDR,
    router: bool = False,
    solicited: bool = False,
    override: bool = True,
    options: Sequence[Packet] | None = None,
    **more: Any,
) -> bytes:
    """An advertisement, unsolicited unless told otherwise."""
    return icmpv6(
        ICMPv6ND_NA(
            tgt=target, cksum=0, R=int(router), S=int(solicited), O=int(override)
        ),
        (tll(eth_src),) if options is None else options,
        eth_src=eth_src,
        eth_dst=eth_dst,
        src=src or target,
        dst=dst,
        **more,
    )


def icmpv6(
    message: Packet,
    options: Sequence[Packet],
    *,
    eth_src: str,
    eth_dst: str,
    src: str,
    dst: str,
    hlim: int = 255,
    code: int = 0,
    cut: int = 0,
    damage: int = 0,
    before: Packet | None = None,
    tags: Sequence[int] = (),
) -> bytes:
    """cut     octets that its end lacks, of which its lengths know
    damage  what the checksum is wrong by
    before  an extension header
    """
    whole = b"".join(map(bytes, (message, *options)))
    body = bytearray(whole[: len(whole) - cut])
    body[1], body[2:4] = code, b"\0\0"
    header = IPv6(src=src, dst=dst, hlim=hlim, nh=ICMPV6)
    checksum = in6_chksum(ICMPV6, header, bytes(body)) ^ damage  # type: ignore[no-untyped-call]
    body[2:4] = checksum.to_bytes(2, "big")
    packet: Packet = header / Raw(bytes(body))
    if before is not None:
        before.nh = ICMPV6
        packet = IPv6(src=src, dst=dst, hlim=hlim) / before / Raw(bytes(body))
    return framed(packet, eth_src=eth_src, eth_dst=eth_dst, eth_type=0x86DD, tags=tags)


def solicited_node(target: str) -> str:
    """RFC 4291, 2.7.1."""
    last = IPv6Address(target).packed[13:]
    return str(IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + last))


# --- what was heard -----------------------------------------------------------------


def is_arp_reply(frame: bytes) -> bool:
    heard = Ether(frame)
    return ARP in heard and heard[ARP].op == REPLY


def is_arp_request(frame: bytes) -> bool:
    heard = Ether(frame)
    return ARP in heard and heard[ARP].op == REQUEST


def is_na(frame: bytes) -> bool:
    return ICMPv6ND_NA in Ether(frame)


def is_sound(frame: bytes) -> bool:
    """Its ICMPv6 checksum is right."""
    packet = Ether(frame)[IPv6]
    body = bytes(packet.payload)[: packet.plen]
    return bool(in6_chksum(ICMPV6, packet, body) == 0)  # type: ignore[no-untyped-call]
