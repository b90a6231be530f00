"""DHCP (RFC 2131) and DHCPv6 (RFC 8415): bounded reading of what binds an address.

Reading looks at fixed offsets and at no more than `OPTIONS_MAX` options, each within
its message.  UDP checksums are not looked at: between virtual machines nobody computes
them.  A fragment is not read: a message that is worth a lease fits in one packet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from controller import ipv6
from controller.ethernet import lladdr
from flows.openflow import ETH_IPV4
from flows.view import IPAddress

OPTIONS_MAX = 64  # of one message
ADDRESSES_MAX = 16  # of one message
UDP, UDP_HEADER, IPV4_HEADER = 17, 8, 20
SERVER, CLIENT = 67, 68  # ports, RFC 2131, 4.1
SERVER6, CLIENT6 = 547, 546  # RFC 8415, 7.2
INFINITE = 0xFFFFFFFF  # seconds

ETHERNET = (1, 6)  # htype, hlen
COOKIE = bytes((99, 130, 83, 99))  # RFC 2131, 3
FIXED = 236  # octets before the cookie
SNAME, FILE = slice(44, 108), slice(108, 236)
PAD, END = 0, 255
REQUESTED, LEASE_TIME, OVERLOAD, MESSAGE_TYPE = 50, 51, 52, 53  # RFC 2132, 9

IA_NA, IA_TA, IAADDR, STATUS = 3, 4, 5, 13  # RFC 8415, 21
IA_HEADER, ADDRESS_HEADER = {IA_NA: 12, IA_TA: 4}, 24


class Message(StrEnum):
    """Kinds of messages that we tell apart; of other kinds nothing is read."""

    OFFER = "offer"
    ACK = "ack"
    NAK = "nak"
    RELEASE = "release"
    DECLINE = "decline"
    OTHER = "other"


# Also what only a server sends; DHCPv6's advertise and reply are like offer and ack.
KINDS = {2: Message.OFFER, 5: Message.ACK, 6: Message.NAK, 7: Message.RELEASE}
KINDS |= {4: Message.DECLINE}
KINDS6 = {2: Message.OFFER, 7: Message.ACK, 8: Message.RELEASE, 9: Message.DECLINE}


@dataclass(frozen=True, slots=True)
class Dhcp:
    """What one message says.

    is_server  it was sent to a client, as servers and relays do
    client     link-layer address of the one whom it is about, "" if it does not tell
    addresses  with seconds for which they are leased; of a client 0
    xid        the client's number of the exchange; a reply repeats it
    """

    message: Message
    is_server: bool
    client: str = ""
    addresses: tuple[tuple[IPAddress, int], ...] = ()
    xid: int = 0


def read(data: bytes, eth_type: int, start: int) -> Dhcp | None:
    """None of what is no DHCP: `start` is where the IP header begins."""
    if eth_type == ETH_IPV4:
        found = ipv4_udp(data, start)
        if found is None or found[0] not in (SERVER, CLIENT):
            return None
        return read4(found[1], is_server=found[0] == CLIENT)
    packet = ipv6.read(data, start)
    if packet is None or packet.protocol != UDP or packet.is_fragment:
        return None
    if not packet.is_whole:
        return None
    body = data[packet.start : packet.end]
    port = int.from_bytes(body[2:4], "big") if len(body) >= UDP_HEADER else 0
    if port not in (SERVER6, CLIENT6):
        return None
    return read6(data, body[UDP_HEADER:], is_server=port == CLIENT6)


def ipv4_udp(data: bytes, start: int) -> tuple[int, bytes] | None:
    """Destination port and what is in an unfragmented datagram (RFC 791, RFC 768)."""
    if len(data) < start + IPV4_HEADER or data[start] >> 4 != 4:
        return None
    size = 4 * (data[start] & 15)
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    is_fragment = int.from_bytes(data[start + 6 : start + 8], "big") & 0x3FFF
    datagram = data[start + size : start + length]
    if size < IPV4_HEADER or data[start + 9] != UDP or is_fragment:
        return None
    if len(datagram) < UDP_HEADER:
        return None
    return int.from_bytes(datagram[2:4], "big"), datagram[UDP_HEADER:]


# --- DHCP ---------------------------------------------------------------------------


def read4(body: bytes, *, is_server: bool) -> Dhcp:
    if len(body) < FIXED + 4 or (body[1], body[2]) != ETHERNET:
        return Dhcp(Message.OTHER, is_server)
    if body[FIXED : FIXED + 4] != COOKIE:
        return Dhcp(Message.OTHER, is_server)
    options = options_of(body)
    message = KINDS.get(number(options.get(MESSAGE_TYPE)), Message.OTHER)
    client = lladdr(body[28:34])
    xid = int.from_bytes(body[4:8], "big")
    return Dhcp(message, is_server, client, about4(message, body, options), xid)


def about4(
    message: Message, body: bytes, options: dict[int, bytes]
) -> tuple[tuple[IPAddress, int], ...]:
    """What is granted (yiaddr, for so long) or given back: ciaddr, and in a DECLINE an
    option (RFC 2131, tables 3 and 5)."""
    if message in (Message.OFFER, Message.ACK):
        if LEASE_TIME not in options:  # an answer to INFORM, which asks for no address
            return ()
        given, seconds = body[16:20], number(options[LEASE_TIME])
    elif message is Message.DECLINE:
        given, seconds = options.get(REQUESTED, b""), 0
    else:
        given, seconds = body[12:16], 0
    return ((IPv4Address(given), seconds),) if len(given) == 4 and any(given) else ()


def options_of(body: bytes) -> dict[int, bytes]:
    """The first of each; in the fields `file` and `sname`, too, if they are lent to
    options (RFC 2132, 9.3)."""
    found: dict[int, bytes] = {}
    gather(body[FIXED + 4 :], found)
    overload = number(found.get(OVERLOAD))
    if overload & 1:
        gather(body[FILE], found)
    if overload & 2:
        gather(body[SNAME], found)
    return found


def gather(octets: bytes, found: dict[int, bytes]) -> None:
    at = 0
    for _ in range(OPTIONS_MAX):
        while at < len(octets) and octets[at] == PAD:
            at += 1
        if at + 1 >= len(octets) or octets[at] == END:
            return
        size = octets[at + 1]
        if at + 2 + size > len(octets):
            return
        found.setdefault(octets[at], octets[at + 2 : at + 2 + size])
        at += 2 + size


def number(value: bytes | None) -> int:
    return int.from_bytes(value, "big") if value is not None and len(value) <= 4 else 0


# --- DHCPv6 -------------------------------------------------------------------------


def read6(data: bytes, body: bytes, *, is_server: bool) -> Dhcp:
    """The client of a reply is who it is sent to: its DUID is no link-layer address."""
    if len(body) < 4:
        return Dhcp(Message.OTHER, is_server)
    message = KINDS6.get(body[0], Message.OTHER)
    if is_server != (message in (Message.OFFER, Message.ACK)):
        message = Message.OTHER
    client = data[0:6] if is_server else data[6:12]
    is_group = client[0] & 1
    addresses = tuple(addresses_in(body[4:]))[:ADDRESSES_MAX]
    xid = int.from_bytes(body[1:4], "big")
    return Dhcp(message, is_server, "" if is_group else lladdr(client), addresses, xid)


def addresses_in(octets: bytes) -> Iterator[tuple[IPAddress, int]]:
    """Of all identity associations (21.4, 21.5) the addresses (21.6) with their valid
    lifetimes; none of those that carry a status other than success (21.13)."""
    for kind, association in options6(octets):
        if kind in IA_HEADER:
            for inner, address in options6(association[IA_HEADER[kind] :]):
                if inner == IAADDR and is_granted(address):
                    seconds = int.from_bytes(address[20:24], "big")
                    yield IPv6Address(address[:16]), seconds


def is_granted(address: bytes) -> bool:
    rest = options6(address[ADDRESS_HEADER:])
    is_refused = any(kind == STATUS and any(value[:2]) for kind, value in rest)
    return len(address) >= ADDRESS_HEADER and not is_refused


def options6(octets: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    for _ in range(OPTIONS_MAX):
        if at + 4 > len(octets):
            return
        kind = int.from_bytes(octets[at : at + 2], "big")
        size = int.from_bytes(octets[at + 2 : at + 4], "big")
        if at + 4 + size > len(octets):
            return
        yield kind, octets[at + 4 : at + 4 + size]
        at += 4 + size
