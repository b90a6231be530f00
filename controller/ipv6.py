"""What is behind the headers of an IPv6 packet (RFC 8200, 4): bounded reading."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address
from struct import Struct

HEADER = Struct("!IHBB16s16s")  # RFC 8200, 3
HEADERS_MAX = 8  # extension headers that are looked behind; nobody sends as many
FRAGMENT, AUTHENTICATION, ICMPV6 = 44, 51, 58
EXTENSIONS = (0, 43, 60, FRAGMENT, AUTHENTICATION)  # those that a switch reads, too


@dataclass(frozen=True, slots=True)
class Packet:
    """An IPv6 packet, as far as its headers can be read.

    protocol     of what is behind the extension headers
    start, end   of that, as offsets into the frame; the end is the packet's own
    is_whole     all headers are here
    is_fragment  more follows, or something was before it
    is_first     nothing was before it
    in_fragment  it has a fragment header, although it may be whole (RFC 6946)
    """

    src: IPv6Address
    hop_limit: int
    protocol: int
    start: int
    end: int
    is_whole: bool = True
    is_fragment: bool = False
    is_first: bool = True
    in_fragment: bool = False


def read(data: bytes, start: int) -> Packet | None:
    """None if no IPv6 header begins at `start`."""
    if len(data) < start + HEADER.size or data[start] >> 4 != 6:
        return None
    _, length, protocol, hop_limit, src, _ = HEADER.unpack_from(data, start)
    at, end = start + HEADER.size, start + HEADER.size + length
    found = Packet(IPv6Address(src), hop_limit, protocol, at, end)
    for _ in range(HEADERS_MAX):
        if found.protocol not in EXTENSIONS or not found.is_first:
            return found
        found = behind(found, data)
        if not found.is_whole:
            return found
    return cut(found)


def behind(packet: Packet, data: bytes) -> Packet:
    """Behind the extension header that comes next."""
    at, protocol = packet.start, packet.protocol
    if len(data) < at + 8:
        return cut(packet)
    following, size = data[at], 8 * (data[at + 1] + 1)
    is_fragment, is_first = packet.is_fragment, packet.is_first
    if protocol == FRAGMENT:
        size, place = 8, int.from_bytes(data[at + 2 : at + 4], "big")
        is_fragment, is_first = place & 0xFFF9 != 0, place & 0xFFF8 == 0
    elif protocol == AUTHENTICATION:
        size = 4 * (data[at + 1] + 2)
    return Packet(
        packet.src,
        packet.hop_limit,
        following,
        at + size,
        packet.end,
        at + size <= len(data),
        is_fragment,
        is_first,
        packet.in_fragment or protocol == FRAGMENT,
    )


def cut(packet: Packet) -> Packet:
    return Packet(
        packet.src,
        packet.hop_limit,
        packet.protocol,
        packet.start,
        packet.end,
        is_whole=False,
        is_fragment=packet.is_fragment,
    )
