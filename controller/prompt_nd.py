"""Neighbor solicitations that are answered at once: their octets, and their sums.

    eth_dst 33:33:ff | xx:xx:xx   eth_src  [tag]  86:dd
    IPv6 header up to ipv6_dst ff02::1:ff | xx:xxxx
    type, code | checksum | reserved | target | options

What one host asks differs, from one target to the next, in the target, the two ends of
its group's addresses (xx) and the checksum alone.  All else is who asks (`key_of`), and
the sum of it is taken once; so is that of the target.  RFC 1071: the sum of the parts,
modulo 65535, is that of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from struct import Struct

from controller.events import NdSeen
from controller.ndp import is_probe, is_to_its_group
from controller.replies import said_of, untold
from flows.nd import solicited_node
from flows.nd_guard import ADVERTISEMENT
from flows.openflow import BACK, ETH_IPV6
from flows.parties import Holder
from flows.view import PortKey

GROUP_LLADDR = 3  # octets of eth_dst and of ipv6_dst that are the same for each group
GROUP = 13
IPV6 = 14  # where the header begins, in an untagged frame
SRC, DST, ICMPV6, CHECKSUM, RESERVED, TARGET, OPTIONS = 8, 24, 40, 42, 44, 48, 64
NEXT_HEADER = 6
OF_ICMPV6 = 58
TAG = 4  # octets
TYPE = ETH_IPV6 >> 8  # the first octet of it
SHORTEST = IPV6 + OPTIONS
ONES = 0xFFFF  # sums are modulo this
ADVERTISED = bytes((ADVERTISEMENT, 0))  # type and code

pack = Struct("!H").pack


@dataclass(slots=True)
class Solicited:
    """Who is asked for.

    asked    sum of what a question for it adds to that of who asks
    answers  the same of an answer
    begin    eth_src up to ipv6_src of an answer
    end      the flags, and what is behind them
    cookie   of the flow that says the same in a switch
    untold   who is not told: where it is, and what it is called
    """

    asked: int
    answers: int
    begin: bytes
    end: bytes
    cookie: int
    untold: frozenset[PortKey | str]


@dataclass(slots=True)
class Solicitor:
    """Who asks, by a certain way.

    until   when the core must hear of it again
    names   where it is, and what it is called
    asks    sum of what all its questions have in common
    hears   the same of the answers to it
    head    of a packet-out, up to eth_dst
    middle  ipv6_dst, type and code of an answer
    is_whole  its question brings the option that a switch needs to answer it
    targets   of its domain, by their addresses
    """

    asked: NdSeen
    until: float
    names: frozenset[PortKey | str]
    asks: int
    hears: int
    head: bytes
    middle: bytes
    is_whole: bool
    targets: dict[bytes, Solicited]

    def is_sound(self, target: Solicited, data: bytes, header: int) -> bool:
        """The checksum of a question is right: RFC 4443, 2.3."""
        found = data[header + CHECKSUM] << 8 | data[header + CHECKSUM + 1]
        return (self.asks + target.asked + found) % ONES == 0

    def told(self, target: Solicited) -> tuple[bytes, bytes, bytes]:
        """The packet-out, in pieces."""
        found = checksum(self.hears + target.answers)
        return self.head, target.begin, self.middle + found + target.end


def header_of(data: bytes, frame: int) -> int:
    """Where the IPv6 header of a frame begins that may be a solicitation; 0 of others,
    among which are those that no table is made for: with two tags, or other headers."""
    at = frame + IPV6
    if data[frame + 12] == TYPE:
        return at
    is_tagged = data[frame + 12] == 0x81 and data[frame + 12 + TAG] == TYPE
    return at + TAG if is_tagged else 0


def key_of(data: bytes, cause: int, frame: int, header: int) -> bytes:
    """Who asks, and how: of a packet-in from its reason on to its end, all that does
    not follow from the target.

    cause, frame, header  where its reason, its frame, and in it the header begins
    """
    return (
        data[cause : frame + GROUP_LLADDR]
        + data[frame + 6 : header + DST + GROUP]
        + data[header + ICMPV6 : header + CHECKSUM]
        + data[header + RESERVED : header + TARGET]
        + data[header + OPTIONS :]
    )


def target_of(data: bytes, frame: int, header: int) -> bytes:
    """The target that is asked for in its group; b"" if the groups are others."""
    target = data[header + TARGET : header + OPTIONS]
    group = target[GROUP:]
    of_frame = data[frame + GROUP_LLADDR : frame + 6]
    is_its = of_frame == group == data[header + DST + GROUP : header + ICMPV6]
    return target if is_its else b""


def may_be_prepared(heard: NdSeen, data: bytes, header: int) -> bool:
    """A question to the group of its target.  Duplicate address detection is more than
    a question, and a poll is for its target; a nonce (RFC 7527) comes with the former,
    and is new each time."""
    is_plain = data[header + NEXT_HEADER] == OF_ICMPV6
    options = len(data) - header - OPTIONS
    is_short = options == 0 or (options == 8 and bool(heard.lladdr))
    is_question = heard.is_question and not is_probe(heard) and is_to_its_group(heard)
    return is_plain and is_short and is_question


def solicited(holder: Holder, heard: NdSeen, target: bytes) -> Solicited | None:
    """None if the core has no answer to such questions, or more to do."""
    ip = IPv6Address(target)
    whole = replace(heard, target=ip, dst=solicited_node(ip), lladdr=heard.eth_src)
    found = said_of(holder, whole, BACK)
    if found is None or found.flow is None:
        return None
    header = IPV6 + (TAG if heard.vlan else 0)
    return Solicited(
        *sums_for(target, found.data, header),
        found.data[6 : header + DST],
        found.data[header + RESERVED :],
        found.flow.cookie,
        untold(holder),
    )


def sums_for(target: bytes, answer: bytes, header: int) -> tuple[int, int]:
    """`asked` and `answers` of a target, by the frame that answers for it.  Its address
    is in the latter twice: as ipv6_src, and within the message."""
    total, message = sum_of(target), answer[header + RESERVED :]
    length = len(answer) - header - ICMPV6
    whole = total + sum_of(ADVERTISED) + sum_of(message) + length + OF_ICMPV6
    return total + sum_of(target[GROUP:]), whole


def sums_of(data: bytes, header: int) -> tuple[int, int]:
    """`asks` and `hears` of who sends this packet-in, which ends with its frame."""
    src = sum_of(data[header + SRC : header + DST])
    group = data[header + DST : header + DST + GROUP] + bytes(16 - GROUP)
    body = (
        data[header + ICMPV6 : header + CHECKSUM],
        data[header + RESERVED : header + TARGET],
        data[header + OPTIONS :],
    )
    length = len(data) - header - ICMPV6
    return src + sum_of(group) + length + OF_ICMPV6 + sum(map(sum_of, body)), src


def checksum(total: int) -> bytes:
    """What makes a sum whole.  None that is sent is nothing at all, so what is nothing
    modulo 65535 is 65535, as if it were added up."""
    return pack(ONES - 1 - (total - 1) % ONES)


def sum_of(octets: bytes) -> int:
    """Of 16-bit words (RFC 1071), modulo 65535."""
    return int.from_bytes(octets) % ONES  # each word counts 65536 ** n, which is 1
