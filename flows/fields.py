"""The header fields that flows match and write: their OXM types and notations.

One row per field (OpenFlow 1.3, 7.2.3.7, and ovs-fields(7) for the registers).
`flows.wire` encodes by this table, `flows.simulate` computes by it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address

OPENFLOW_BASIC = 0x8000  # OFPXMC_OPENFLOW_BASIC
NXM_1 = 0x0001  # OFPXMC_NXM_1, where Open vSwitch keeps its registers
ERICSSON = 0x1000  # ERICOXM_OF_..., the class of Open vSwitch's fields for ND options


@dataclass(frozen=True, slots=True)
class Notation:
    """How people write a value: `show` writes what `read` reads."""

    read: Callable[[str], int]
    show: Callable[[int], str]
    has_prefixes: bool = False


def read_mac(text: str) -> int:
    octets = bytes.fromhex(text.replace(":", ""))
    if len(octets) != 6:
        raise ValueError("a link-layer address has six octets")
    return int.from_bytes(octets, "big")


@lru_cache(maxsize=64)  # one host's flows name one address, in several fields
def read_ipv4(text: str) -> int:
    return int(IPv4Address(text))


def show_mac(value: int) -> str:
    return value.to_bytes(6, "big").hex(":")


DECIMAL = Notation(partial(int, base=0), str)
HEX = Notation(partial(int, base=0), hex)
MAC = Notation(read_mac, show_mac)
IPV4 = Notation(read_ipv4, lambda n: str(IPv4Address(n)), True)
FRAGMENTS = {"no": 0, "first": 1, "later": 3}  # ovs-fields(7), ip_frag


def read_fragment(text: str) -> int:
    return FRAGMENTS[text] if text in FRAGMENTS else int(text, 0)


def show_fragment(value: int) -> str:
    return next((name for name, n in FRAGMENTS.items() if n == value), str(value))


FRAGMENT = Notation(read_fragment, show_fragment)
IPV6 = Notation(
    lambda text: int(IPv6Address(text)), lambda n: str(IPv6Address(n)), True
)

Needs = tuple[tuple[str, frozenset[int]], ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One field.

    number       oxm_field
    width        octets in an OXM TLV
    bits         of these, those which hold the value itself; an action without a range
                 moves so many
    needs        prerequisites: fields that must have one of these values (7.2.3.8)
    is_register  the switch keeps it beside the packet, as it does with what a tunnel's
                 outer header says
    parts        the registers that it consists of, the most significant first
    """

    name: str
    oxm_class: int
    number: int
    width: int
    bits: int
    notation: Notation
    needs: Needs = ()
    is_register: bool = False
    parts: tuple[str, ...] = ()

    @property
    def ones(self) -> int:
        return (1 << 8 * self.width) - 1

    def read(self, text: str) -> tuple[int, int]:
        """ "10.0.0.0/8" -> value and mask; bits outside of the mask become zero."""
        value, slash, mask = text.partition("/")
        ones = self.ones
        try:
            number = self.notation.read(value)
            bitmask = self._read_mask(mask) if slash else ones
        except ValueError as error:
            raise ValueError(f"{self.name}={text}: {error}") from None
        if not (0 <= number <= ones and 0 <= bitmask <= ones):
            raise ValueError(f"{self.name}={text}: more than {self.width} octets")
        return number & bitmask, bitmask

    def _read_mask(self, text: str) -> int:
        if self.notation.has_prefixes and text.isdigit():
            return prefix_mask(8 * self.width, int(text))
        return self.notation.read(text)

    def show(self, value: int, mask: int) -> str:
        """The inverse of `read`; a mask of ones is left out, as a switch does."""
        text = self.notation.show(value)
        if mask == self.ones:
            return text
        zeros = self.ones ^ mask
        if self.notation.has_prefixes and zeros & (zeros + 1) == 0:
            return f"{text}/{mask.bit_count()}"
        return f"{text}/{self.notation.show(mask)}"


def prefix_mask(bits: int, prefixlen: int) -> int:
    if prefixlen > bits:
        raise ValueError(f"a prefix has at most {bits} bits")
    return (1 << bits) - (1 << bits - prefixlen)


def needs(**values: tuple[int, ...]) -> Needs:
    return tuple((name, frozenset(allowed)) for name, allowed in values.items())


IP = needs(eth_type=(0x0800, 0x86DD))
IP4 = needs(eth_type=(0x0800,))
IP6 = needs(eth_type=(0x86DD,))
ARP = needs(eth_type=(0x0806,))
UDP = needs(eth_type=(0x0800, 0x86DD), ip_proto=(17,))
ICMP4 = needs(eth_type=(0x0800,), ip_proto=(1,))
ICMP6 = needs(eth_type=(0x86DD,), ip_proto=(58,))
ND = (*ICMP6, *needs(icmpv6_type=(135, 136), icmpv6_code=(0,)))
SOLICITATION = (*ICMP6, *needs(icmpv6_type=(135,), icmpv6_code=(0,)))
ADVERTISEMENT = (*ICMP6, *needs(icmpv6_type=(136,), icmpv6_code=(0,)))

BASIC = OPENFLOW_BASIC


def register(number: int, notation: Notation = HEX) -> Field:
    return Field(f"reg{number}", NXM_1, number, 4, 32, notation, is_register=True)


def words(value: int) -> tuple[int, int, int, int]:
    """A number of 128 bits as registers hold it, the most significant first."""
    return struct.unpack("!4I", value.to_bytes(16, "big"))


def joined(words: Iterable[int]) -> int:
    """Registers of 32 bits as one number, the first the most significant."""
    value = 0
    for word in words:
        value = value << 32 | word
    return value


def wide_register(number: int) -> Field:
    """NXM_NX_XXREG: four registers as one.  A switch tells them as four in matches."""
    parts = tuple(f"reg{4 * number + part}" for part in range(4))
    return Field(f"xxreg{number}", NXM_1, 111 + number, 16, 128, HEX, (), True, parts)


def outer(name: str, number: int, width: int, notation: Notation) -> Field:
    """Of the header that a tunnel puts before a frame (NXM_NX_TUN_...)."""
    return Field(name, NXM_1, number, width, 8 * width, notation, is_register=True)


ROWS = (
    Field("in_port", BASIC, 0, 4, 32, DECIMAL),
    Field("tunnel_id", BASIC, 38, 8, 64, HEX, is_register=True),
    outer("tun_ipv4_src", 31, 4, IPV4),
    outer("tun_ipv4_dst", 32, 4, IPV4),
    outer("tun_ipv6_src", 109, 16, IPV6),
    outer("tun_ipv6_dst", 110, 16, IPV6),
    register(0, DECIMAL),
    register(1, DECIMAL),
    register(2, DECIMAL),
    *map(register, range(3, 16)),
    wide_register(1),
    wide_register(2),
    Field("eth_dst", BASIC, 3, 6, 48, MAC),
    Field("eth_src", BASIC, 4, 6, 48, MAC),
    Field("eth_type", BASIC, 5, 2, 16, HEX),
    # 12 bits of VLAN identifier, and OFPVID_PRESENT above them.
    Field("vlan_vid", BASIC, 6, 2, 12, HEX),
    Field("ip_proto", BASIC, 10, 1, 8, DECIMAL, IP),
    Field("ip_ttl", NXM_1, 29, 1, 8, DECIMAL, IP),
    Field("ip_frag", NXM_1, 26, 1, 8, FRAGMENT, IP),
    Field("ipv4_src", BASIC, 11, 4, 32, IPV4, IP4),
    Field("ipv4_dst", BASIC, 12, 4, 32, IPV4, IP4),
    Field("icmpv4_type", BASIC, 19, 1, 8, DECIMAL, ICMP4),
    Field("icmpv4_code", BASIC, 20, 1, 8, DECIMAL, ICMP4),
    Field("arp_op", BASIC, 21, 2, 16, DECIMAL, ARP),
    Field("arp_spa", BASIC, 22, 4, 32, IPV4, ARP),
    Field("arp_tpa", BASIC, 23, 4, 32, IPV4, ARP),
    Field("arp_sha", BASIC, 24, 6, 48, MAC, ARP),
    Field("arp_tha", BASIC, 25, 6, 48, MAC, ARP),
    Field("ipv6_src", BASIC, 26, 16, 128, IPV6, IP6),
    Field("ipv6_dst", BASIC, 27, 16, 128, IPV6, IP6),
    Field("udp_dst", BASIC, 16, 2, 16, DECIMAL, UDP),
    Field("icmpv6_type", BASIC, 29, 1, 8, DECIMAL, ICMP6),
    Field("icmpv6_code", BASIC, 30, 1, 8, DECIMAL, ICMP6),
    Field("ipv6_nd_target", BASIC, 31, 16, 128, IPV6, ND),
    Field("ipv6_nd_sll", BASIC, 32, 6, 48, MAC, SOLICITATION),
    Field("ipv6_nd_tll", BASIC, 33, 6, 48, MAC, ADVERTISEMENT),
    # The flags R, S and O (RFC 4861, 4.4) are the highest bits.
    Field("nd_reserved", ERICSSON, 1, 4, 32, HEX, ND),
    # Of the first option, if it has the length of a link-layer address's.
    Field("nd_options_type", ERICSSON, 2, 1, 8, DECIMAL, ND),
)
FIELDS = {row.name: row for row in ROWS}
BY_TYPE = {(row.oxm_class, row.number): row for row in ROWS}
