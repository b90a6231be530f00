"""Neighbor solicitations and advertisements (RFC 4861): bounded reading, and writing.

Reading looks at fixed offsets and at no more than `OPTIONS_MAX` options, and says of a
message that section 7.1 tells to discard, why.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from ipaddress import IPv6Address
from struct import Struct

from controller.ethernet import framed, lladdr, octets
from controller.events import NdSeen
from controller.ipv6 import HEADER as IPV6
from controller.ipv6 import ICMPV6, Packet
from flows.nd import ALL_NODES, ALL_NODES_LLADDR, is_solicited_node, solicited_node
from flows.nd_guard import ADVERTISEMENT, SOLICITATION
from flows.openflow import ETH_IPV6

HOP_LIMIT = 255  # no router can have passed it on (RFC 4861, 3.1)
SOURCE_LLADDR, TARGET_LLADDR = 1, 2  # types of options (4.6.1)
ROUTER, SOLICITED, OVERRIDE = 1 << 31, 1 << 30, 1 << 29  # flags (4.4)
UNIT = 8  # octets, of which an option's length counts the number (4.6)
OPTIONS_MAX = 16  # of one message; nobody sends more than a few
NOBODY = IPv6Address("::")  # the source of duplicate address detection (RFC 4862)

MESSAGE = Struct("!BBHI16s")  # RFC 4861, 4.3 and 4.4


class Invalid(StrEnum):
    """Why a message is discarded: all the reasons there are."""

    TRUNCATED = "truncated neighbor discovery"
    FROM_AFAR = "neighbor discovery with a hop limit below 255"
    BAD_CODE = "neighbor discovery with a code"
    BAD_CHECKSUM = "neighbor discovery with a wrong checksum"
    BAD_OPTION = "neighbor discovery with malformed options"
    BAD_TARGET = "neighbor discovery about an impossible address"
    BAD_SENDER = "neighbor discovery from an impossible address"
    BAD_PROBE = "malformed duplicate address detection"
    SAYS_NOTHING = "a solicited advertisement to a group"
    OTHER_SENDER = "link-layer address differs from the frame's source"


Options = list[tuple[int, bytes]]


def concerns(data: bytes, packet: Packet) -> bool:
    """It is a neighbor solicitation or advertisement, maybe a cut off one; extension
    headers before it hide nothing.  RFC 6980, 5 forbids fragments, whole ones, too."""
    return (
        packet.is_whole
        and not packet.in_fragment
        and packet.protocol == ICMPV6
        and packet.start < len(data)
        and data[packet.start] in (SOLICITATION, ADVERTISEMENT)
    )


def read(
    datapath_id: int, in_port: int, vlan: int, data: bytes, start: int, packet: Packet
) -> NdSeen | Invalid:
    """What a frame says whose IPv6 header begins at `start`; `concerns` it must."""
    _, _, _, hop_limit, src, dst = IPV6.unpack_from(data, start)
    body = data[packet.start : packet.end]
    if len(body) < max(packet.end - packet.start, MESSAGE.size):
        return Invalid.TRUNCATED
    kind, code, _, flags, target = MESSAGE.unpack_from(body)
    options = options_of(body[MESSAGE.size :])
    if options is None:
        return Invalid.BAD_OPTION
    heard = NdSeen(
        datapath_id,
        in_port,
        vlan,
        lladdr(data[6:12]),
        lladdr(data[0:6]),
        kind,
        IPv6Address(src),
        IPv6Address(dst),
        IPv6Address(target),
        said_lladdr(kind, options),
        flags,
        bool(options) and len(options[0][1]) == UNIT,
    )
    if checksum(src, dst, body) != 0:
        return Invalid.BAD_CHECKSUM
    why = invalid(heard, code, hop_limit)
    return heard if why in (None, Invalid.OTHER_SENDER) else why


def options_of(octets: bytes) -> Options | None:
    """(type, whole option) of each; None if they are malformed (4.6), or too many."""
    found: Options = []
    at = 0
    while at < len(octets):
        size = UNIT * octets[at + 1] if at + 1 < len(octets) else 0
        if size == 0 or at + size > len(octets) or len(found) == OPTIONS_MAX:
            return None
        found.append((octets[at], octets[at : at + size]))
        at += size
    return found


def said_lladdr(kind: int, options: Options) -> str:
    """The link-layer address that the sender gives as its own, or ""."""
    wanted = SOURCE_LLADDR if kind == SOLICITATION else TARGET_LLADDR
    for option, whole in options:
        if option == wanted and len(whole) == UNIT:
            return lladdr(whole[2:])
    return ""


def invalid(heard: NdSeen, code: int, hop_limit: int) -> Invalid | None:
    """What RFC 4861, 7.1.1 and 7.1.2 tell to discard, and who speaks for another."""
    for is_wrong, why in (
        (hop_limit != HOP_LIMIT, Invalid.FROM_AFAR),
        (code != 0, Invalid.BAD_CODE),
        (not is_possible(heard.target), Invalid.BAD_TARGET),
        (not is_possible(heard.src) and not is_probe(heard), Invalid.BAD_SENDER),
        (is_probe(heard) and not is_sound_probe(heard), Invalid.BAD_PROBE),
        (says_nothing(heard), Invalid.SAYS_NOTHING),
        (speaks_for_others(heard), Invalid.OTHER_SENDER),
    ):
        if is_wrong:
            return why
    return None


def speaks_for_others(heard: NdSeen) -> bool:
    return heard.lladdr not in ("", heard.eth_src)


def is_possible(ip: IPv6Address) -> bool:
    return not (ip.is_multicast or ip.is_unspecified or ip.is_loopback)


def is_probe(heard: NdSeen) -> bool:
    """Duplicate address detection: RFC 4862, 5.4.2."""
    return heard.icmpv6_type == SOLICITATION and heard.src == NOBODY


def is_sound_probe(heard: NdSeen) -> bool:
    return is_solicited_node(heard.dst) and not heard.lladdr


def says_nothing(heard: NdSeen) -> bool:
    return bool(
        heard.icmpv6_type == ADVERTISEMENT
        and heard.dst.is_multicast
        and heard.flags & SOLICITED
    )


def is_to_its_group(question: NdSeen) -> bool:
    """It was sent to the group of its target, not to one station to poll it."""
    is_group = int(question.eth_dst[:2], 16) & 1
    return bool(is_group) and question.dst == solicited_node(question.target)


# --- what we send -------------------------------------------------------------------


def advertisement(question: NdSeen, *, lladdr: str, router: bool) -> bytes:
    """The answer that the owner of `question.target`, at `lladdr`, would give: to all
    nodes and not solicited if nobody asks (RFC 4861, 7.2.4)."""
    flags = OVERRIDE | (ROUTER if router else 0)
    to, to_lladdr = ALL_NODES, ALL_NODES_LLADDR
    if question.src != NOBODY:
        flags |= SOLICITED
        to, to_lladdr = question.src, question.eth_src
    return message(
        ADVERTISEMENT,
        flags,
        question.target,
        option(TARGET_LLADDR, lladdr),
        src=question.target,
        dst=to,
        eth_src=lladdr,
        eth_dst=to_lladdr,
        vlan=question.vlan,
    )


def announcement(*, lladdr: str, ip: IPv6Address, router: bool, vlan: int) -> bytes:
    """Nobody has asked: whoever has the address in its cache shall write it over
    (RFC 4861, 7.2.6)."""
    return message(
        ADVERTISEMENT,
        OVERRIDE | (ROUTER if router else 0),
        ip,
        option(TARGET_LLADDR, lladdr),
        src=ip,
        dst=ALL_NODES,
        eth_src=lladdr,
        eth_dst=ALL_NODES_LLADDR,
        vlan=vlan,
    )


def solicitation(
    *,
    eth_src: str,
    eth_dst: str,
    src: IPv6Address,
    dst: IPv6Address,
    target: IPv6Address,
    vlan: int = 0,
) -> bytes:
    """A question, with the link-layer address that the answer is to be sent to."""
    return message(
        SOLICITATION,
        0,
        target,
        option(SOURCE_LLADDR, eth_src),
        src=src,
        dst=dst,
        eth_src=eth_src,
        eth_dst=eth_dst,
        vlan=vlan,
    )


def option(kind: int, lladdr: str) -> bytes:
    return bytes((kind, 1)) + octets(lladdr)


def message(
    kind: int,
    flags: int,
    target: IPv6Address,
    options: bytes,
    *,
    src: IPv6Address,
    dst: IPv6Address,
    eth_src: str,
    eth_dst: str,
    vlan: int,
) -> bytes:
    """A whole frame, with its checksum."""
    body = MESSAGE.pack(kind, 0, 0, flags, target.packed) + options
    found = checksum(src.packed, dst.packed, body)
    body = MESSAGE.pack(kind, 0, found, flags, target.packed) + options
    header = IPV6.pack(6 << 28, len(body), ICMPV6, HOP_LIMIT, src.packed, dst.packed)
    return framed(
        header + body, eth_dst=eth_dst, eth_src=eth_src, eth_type=ETH_IPV6, vlan=vlan
    )


def checksum(src: bytes, dst: bytes, body: bytes) -> int:
    """RFC 4443, 2.3, over the pseudo-header of RFC 8200, 8.1; 0 where one is right."""
    pseudo = src + dst + len(body).to_bytes(4, "big") + bytes((0, 0, 0, ICMPV6))
    total = sum(words(pseudo + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def words(octets: bytes) -> Iterator[int]:
    even = octets + b"\0" * (len(octets) % 2)
    return (word for (word,) in Struct("!H").iter_unpack(even))
