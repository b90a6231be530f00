"""Frames of the few kinds that concern us: bounded reading, and three that we send.

Never `ryu.lib.packet`: one frame of any host can hang it.  Reading looks at fixed
offsets of at most the first 50 octets and cannot fail; what it cannot use it names.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from struct import Struct

from controller.events import ArpSeen, FrameIgnored, FrameSeen
from flows.openflow import BROADCAST, ETH_ARP

REQUEST, REPLY = 1, 2  # ares_op, RFC 826
ETHERNET, IPV4, HLEN, PLEN = 1, 0x0800, 6, 4  # the only ARP there is today
VLAN_TAGS = {0x8100, 0x88A8}  # IEEE 802.1Q, customer and service tag
MAX_TAGS = 2
SHORTEST = 60  # octets of an Ethernet frame without its checksum, IEEE 802.3, 4.2.3.3
UNKNOWN_LLADDR = "00:00:00:00:00:00"  # ar$tha of a request
NOWHERE = IPv4Address("0.0.0.0")

ARP = Struct("!HHBBH6s4s6s4s")

Packet = ArpSeen | FrameSeen | FrameIgnored


def parse(datapath_id: int, in_port: int, data: bytes) -> Packet:
    """What a packet-in teaches, whatever its octets are."""
    if len(data) < 14:
        return FrameIgnored(datapath_id, in_port, "truncated frame")
    eth_dst, eth_src = lladdr(data[0:6]), lladdr(data[6:12])
    if data[6] & 1 or eth_src == UNKNOWN_LLADDR:
        return FrameIgnored(datapath_id, in_port, "impossible source address")
    vlan, eth_type, payload = behind_tags(data)
    if eth_type != ETH_ARP:
        return FrameSeen(datapath_id, in_port, vlan, eth_src)
    if len(data) < payload + ARP.size:
        return FrameIgnored(datapath_id, in_port, "truncated ARP")
    htype, ptype, hlen, plen, op, sha, spa, tha, tpa = ARP.unpack_from(data, payload)
    heard = ArpSeen(
        datapath_id,
        in_port,
        vlan,
        eth_src,
        eth_dst,
        op,
        lladdr(sha),
        IPv4Address(spa),
        lladdr(tha),
        IPv4Address(tpa),
    )
    if (htype, ptype, hlen, plen) != (ETHERNET, IPV4, HLEN, PLEN):
        return FrameIgnored(datapath_id, in_port, "ARP for other networks")
    reason = useless(heard)
    return FrameIgnored(datapath_id, in_port, reason) if reason else heard


def useless(heard: ArpSeen) -> str:
    """Why this ARP teaches nothing, or "" if it does.

    A sender that differs from the frame's is legal (RFC 826 merges ar$sha), but
    whoever it is, its station is not behind this port for certain.
    """
    if heard.op not in (REQUEST, REPLY):
        return "ARP operation other than request and reply"
    if heard.sha != heard.eth_src:
        return "ARP sender differs from the frame's source"
    spa = heard.spa
    if spa.is_multicast or spa.is_loopback or spa == IPv4Address(0xFFFFFFFF):
        return "impossible ARP sender address"
    if spa == NOWHERE and heard.op == REPLY:
        return "ARP reply without a sender address"
    return ""


def behind_tags(data: bytes) -> tuple[int, int, int]:
    """(vlan, eth_type, offset of the payload); vlan 0 is untagged or priority-tagged."""
    vlan, at = 0, 12
    for tag in range(MAX_TAGS):
        eth_type = int.from_bytes(data[at : at + 2], "big")
        if eth_type not in VLAN_TAGS or len(data) < at + 6:
            break
        if tag == 0:  # the outer tag is the one that Open vSwitch matches
            vlan = int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF
        at += 4
    return vlan, int.from_bytes(data[at : at + 2], "big"), at + 2


def arp_reply(request: ArpSeen, *, lladdr: str) -> bytes:
    """The answer that the owner of `request.tpa`, at `lladdr`, would give.

    For a probe it says "0.0.0.0" as target, as an owner does (RFC 5227, 2.1.1).
    """
    return arp(
        REPLY,
        eth_src=lladdr,
        eth_dst=request.eth_src,
        spa=request.tpa,
        tha=request.sha,
        tpa=request.spa,
        vlan=request.vlan,
    )


def arp_request(
    *,
    eth_src: str,
    tpa: IPv4Address,
    spa: IPv4Address = NOWHERE,
    eth_dst: str = BROADCAST,
    vlan: int = 0,
) -> bytes:
    """A question; with the default `spa` a probe, which teaches nobody anything."""
    return arp(
        REQUEST,
        eth_src=eth_src,
        eth_dst=eth_dst,
        spa=spa,
        tha=UNKNOWN_LLADDR,
        tpa=tpa,
        vlan=vlan,
    )


def arp(
    op: int,
    *,
    eth_src: str,
    eth_dst: str,
    spa: IPv4Address,
    tha: str,
    tpa: IPv4Address,
    vlan: int,
) -> bytes:
    """A whole frame, padded to the shortest that Ethernet allows."""
    tag = b"" if not vlan else b"\x81\x00" + vlan.to_bytes(2, "big")
    header = octets(eth_dst) + octets(eth_src) + tag + ETH_ARP.to_bytes(2, "big")
    body = ARP.pack(
        ETHERNET,
        IPV4,
        HLEN,
        PLEN,
        op,
        octets(eth_src),
        spa.packed,
        octets(tha),
        tpa.packed,
    )
    return (header + body).ljust(SHORTEST, b"\0")


def lladdr(address: bytes) -> str:
    return address.hex(":")


def octets(lladdr: str) -> bytes:
    return bytes.fromhex(lladdr.replace(":", ""))
