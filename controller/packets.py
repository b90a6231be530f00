"""Frames of the few kinds that concern us: bounded reading, and two that we send.

Never `ryu.lib.packet`: one frame of any host can hang it.  Reading ARP looks at fixed
offsets of at most the first 46 octets and cannot fail; what it cannot use it names.
Neighbor discovery has a module of its own, `controller.ndp`.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from struct import Struct

from controller import dhcp, ipv6, ndp
from controller.ethernet import behind_tag, framed, lladdr, octets
from controller.events import (
    ArpSeen,
    DhcpSeen,
    FrameIgnored,
    FrameSeen,
    NdSeen,
    TrialSeen,
)
from flows.admit import NEAREST, TRIAL
from flows.dispute import Kind
from flows.nd_guard import ADVERTISEMENT, SOLICITATION
from flows.openflow import BROADCAST, ETH_ARP, ETH_IPV4, ETH_IPV6, ETH_LLDP

REQUEST, REPLY = 1, 2  # ares_op, RFC 826
ETHERNET_AND_IPV4 = (1, 0x0800, 6, 4)  # ar$hrd, ar$pro, ar$hln, ar$pln
SHORTEST_IPV4 = 20  # octets, a header without options
UNKNOWN_LLADDR = "00:00:00:00:00:00"  # ar$tha of a request
NOWHERE = IPv4Address("0.0.0.0")
TRIALS = {octets(TRIAL): False, octets(NEAREST): True}  # for the nearest bridge
TRIAL_MAX = 256
EVERYWHERE = IPv4Address("255.255.255.255")

ARP = Struct("!HHBBH6s4s6s4s")
PRIVILEGED = {134: Kind.ROUTER, 137: Kind.REDIRECT}  # ICMPv6 types


class Ignored(StrEnum):
    """Why a frame teaches nothing: all the reasons there are."""

    TRUNCATED = "truncated frame"
    BAD_SOURCE = "impossible source address"
    MALFORMED_ARP = "malformed ARP"
    OTHER_OPERATION = "ARP operation other than request and reply"
    OTHER_SENDER = "ARP sender differs from the frame's source"
    BAD_SENDER = "impossible ARP sender address"
    SAYS_NOTHING = "ARP reply without a sender address"


Packet = ArpSeen | NdSeen | DhcpSeen | FrameSeen | FrameIgnored | TrialSeen


def parse(datapath_id: int, in_port: int, data: bytes) -> Packet:
    """What a packet-in teaches, whatever its octets are."""
    vlan, eth_type, payload = behind_tag(data)
    if len(data) < payload:
        return FrameIgnored(datapath_id, in_port, Ignored.TRUNCATED)
    eth_src = lladdr(data[6:12])
    if data[6] & 1 or eth_src == UNKNOWN_LLADDR:
        return FrameIgnored(datapath_id, in_port, Ignored.BAD_SOURCE)
    if eth_type in (ETH_IPV4, ETH_IPV6):
        found = dhcp.read(data, eth_type, payload)
        if found is not None:
            return parse_dhcp(datapath_id, in_port, vlan, data, payload, found)
    if eth_type == ETH_IPV6:
        return parse_ipv6(datapath_id, in_port, vlan, data, payload)
    if eth_type == ETH_LLDP and (is_direct := TRIALS.get(data[:6])) is not None:
        unit = data[payload : payload + TRIAL_MAX]
        return TrialSeen(datapath_id, in_port, unit, is_direct and not vlan)
    if eth_type != ETH_ARP:
        ip = ipv4_source(eth_type, data[payload : payload + SHORTEST_IPV4])
        return FrameSeen(datapath_id, in_port, vlan, eth_src, ip)
    if len(data) < payload + ARP.size:
        return FrameIgnored(datapath_id, in_port, Ignored.TRUNCATED)
    *kind, op, sha, spa, tha, tpa = ARP.unpack_from(data, payload)
    if tuple(kind) != ETHERNET_AND_IPV4:
        return FrameIgnored(datapath_id, in_port, Ignored.MALFORMED_ARP)
    heard = ArpSeen(
        datapath_id,
        in_port,
        vlan,
        eth_src,
        lladdr(data[0:6]),
        op,
        lladdr(sha),
        IPv4Address(spa),
        lladdr(tha),
        IPv4Address(tpa),
    )
    reason = useless(heard)
    if reason is None:
        return heard
    nevertheless = heard if reason is Ignored.OTHER_SENDER else None
    return FrameIgnored(datapath_id, in_port, reason, nevertheless)


def parse_dhcp(
    datapath_id: int, in_port: int, vlan: int, data: bytes, start: int, said: dhcp.Dhcp
) -> DhcpSeen:
    eth_type = int.from_bytes(data[start - 2 : start], "big")
    packet = ipv6.read(data, start)
    src = packet.src if packet else ipv4_source(eth_type, data[start : start + 20])
    kind = Kind.SERVER if said.is_server else ""
    frame = FrameSeen(datapath_id, in_port, vlan, lladdr(data[6:12]), src, kind)
    return DhcpSeen(frame, str(said.message), said.client, said.addresses, said.xid)


def parse_ipv6(
    datapath_id: int, in_port: int, vlan: int, data: bytes, start: int
) -> Packet:
    eth_src, packet = lladdr(data[6:12]), ipv6.read(data, start)
    if packet is None:
        return FrameSeen(datapath_id, in_port, vlan, eth_src)
    if not ndp.concerns(data, packet):
        kind = privileged(data, packet)
        return FrameSeen(datapath_id, in_port, vlan, eth_src, packet.src, kind)
    found = ndp.read(datapath_id, in_port, vlan, data, start, packet)
    if isinstance(found, ndp.Invalid):
        return FrameIgnored(datapath_id, in_port, found)
    if ndp.speaks_for_others(found):
        why = ndp.Invalid.OTHER_SENDER
        return FrameIgnored(datapath_id, in_port, why, found)
    return found


def privileged(data: bytes, packet: ipv6.Packet) -> str:
    """What only some may send, or nobody; "" if everybody may."""
    if not packet.is_whole:
        return Kind.HIDDEN
    if packet.protocol != ipv6.ICMPV6 or not packet.is_first:
        return ""
    if packet.is_fragment:
        return Kind.HIDDEN if packet.hop_limit == ndp.HOP_LIMIT else ""
    kind = data[packet.start] if packet.start < len(data) else 0
    if packet.in_fragment and kind in (SOLICITATION, ADVERTISEMENT):
        return Kind.HIDDEN
    return PRIVILEGED.get(kind, "")


def ipv4_source(eth_type: int, packet: bytes) -> IPv4Address | None:
    """RFC 791, 3.1; None of what is no IPv4 packet, or cut off."""
    is_ipv4 = eth_type == ETH_IPV4 and len(packet) == SHORTEST_IPV4
    return IPv4Address(packet[12:16]) if is_ipv4 and packet[0] >> 4 == 4 else None


def useless(heard: ArpSeen) -> Ignored | None:
    """Why this ARP teaches nothing; None if it does.

    A sender that differs from the frame's is legal (RFC 826 merges ar$sha), but
    whoever it is, its station is not behind this port for certain.
    """
    if heard.op not in (REQUEST, REPLY):
        return Ignored.OTHER_OPERATION
    if heard.sha != heard.eth_src:
        return Ignored.OTHER_SENDER
    if heard.spa.is_multicast or heard.spa.is_loopback or heard.spa == EVERYWHERE:
        return Ignored.BAD_SENDER
    if heard.spa == NOWHERE and heard.op == REPLY:
        return Ignored.SAYS_NOTHING
    return None


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
    data = ARP.pack(
        *ETHERNET_AND_IPV4,
        op,
        octets(eth_src),
        spa.packed,
        octets(tha),
        tpa.packed,
    )
    return framed(data, eth_dst=eth_dst, eth_src=eth_src, eth_type=ETH_ARP, vlan=vlan)
