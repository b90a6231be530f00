"""Is a message from a switch what its header says?  OpenFlow 1.3, section 7.

Ryu's parsers believe every length that they find; a length of 0 keeps them busy for
ever (CVE-2024-34483 to 34489 and others).  So each message is walked here first: in one
pass, without recursion beyond what the protocol nests, each step at least four octets.
Knows no library.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

HEADER = struct.Struct("!BBHI")  # version, type, length, xid
VERSION = 4  # OpenFlow 1.3
LAST_VERSION = 6  # OpenFlow 1.5
HELLO_MAX = 1024  # octets: more than any version bitmap needs

HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY, EXPERIMENTER = range(5)
FEATURES_REPLY, GET_CONFIG_REPLY, PACKET_IN = 6, 8, 10
FLOW_REMOVED, PORT_STATUS, MULTIPART_REPLY, BARRIER_REPLY = 11, 12, 19, 21
QUEUE_GET_CONFIG_REPLY, ROLE_REPLY, GET_ASYNC_REPLY = 23, 25, 27

FLOW, GROUP, GROUP_DESC, METER, METER_CONFIG = 1, 6, 7, 9, 10  # ofp_multipart_type
METER_FEATURES = 11
TABLE_FEATURES, EXPERIMENTER_STATS = 12, 0xFFFF
ACTIONS = (3, 4, 5)  # OFPIT_WRITE_ACTIONS, APPLY_ACTIONS, CLEAR_ACTIONS
NAMED = (0, 1, 4, 5, 6, 7)  # OFPTFPT_ of instructions and actions, by type and length

U16 = struct.Struct("!H")
TLV = struct.Struct("!HH")  # type, length
OXM = struct.Struct("!HBB")  # class, field and has_mask, length of the payload


class Unacceptable(Exception):
    """No switch sends this.  The reason is one of a few, none in the peer's words."""


def check(message: bytes, is_greeted: bool) -> None:
    """Raises Unacceptable.

    message     as long as its header says
    is_greeted  the peer's HELLO has been accepted: its version is agreed on
    """
    check_header(message, is_greeted)
    _, kind, _, _ = HEADER.unpack_from(message)
    try:
        STRUCTURES[kind](message)
    except (struct.error, IndexError):
        raise Unacceptable("a message that is cut off") from None


def check_header(message: bytes, is_greeted: bool) -> None:
    """Eight octets are enough to turn a stranger away, who may never send the rest."""
    version, kind, length, _ = HEADER.unpack_from(message)
    if length < HEADER.size:
        raise Unacceptable("a message shorter than its header")
    if not 1 <= version <= LAST_VERSION:
        raise Unacceptable("no version of OpenFlow")
    if kind not in STRUCTURES:
        raise Unacceptable("a message of a type that no switch sends")
    if not is_greeted and kind not in GREETINGS:
        raise Unacceptable("something else before a HELLO")
    if version != VERSION and (is_greeted or kind not in (HELLO, ERROR)):
        raise Unacceptable("another version than was agreed on")


def check_hello(message: bytes) -> None:
    version, _, length, _ = HEADER.unpack_from(message)
    if length > HELLO_MAX:
        raise Unacceptable("a HELLO that is too long")
    if version >= VERSION:  # before, there were no elements
        for at, kind, size in tlvs(message, HEADER.size, length, least=4, pad=8):
            if kind == 1 and (size - 4) % 4:
                raise Unacceptable("a HELLO with a broken version bitmap")
            if size % 8 and at + size < length:
                raise Unacceptable("a HELLO whose elements are not aligned")


# --- walking --------------------------------------------------------------------------


def tlvs(
    data: bytes, at: int, end: int, *, least: int, pad: int = 1
) -> Iterator[tuple[int, int, int]]:
    """Where, which type and how long: of elements that begin with type and length."""
    while at < end:
        if at + TLV.size > end:
            raise Unacceptable("an element that is cut off")
        kind, length = TLV.unpack_from(data, at)
        if length < least or at + length > end:
            raise Unacceptable("an element whose length is wrong")
        yield at, kind, length
        at += -(-length // pad) * pad


def entries(
    data: bytes, at: int, *, least: int, field: int = 0
) -> Iterator[tuple[int, int]]:
    """Where and how long: of entries to the message's end that say their length.

    field  where in an entry its length stands
    """
    while at < len(data):
        (length,) = U16.unpack_from(data, at + field)
        if length < least or at + length > len(data):
            raise Unacceptable("an entry whose length is wrong")
        yield at, length
        at += length


def match(data: bytes, at: int, end: int) -> int:
    """Where an ofp_match ends, its padding included (7.2.3)."""
    length: int = TLV.unpack_from(data, at)[1]
    after = at + -(-length // 8) * 8
    if length < TLV.size or after > end:
        raise Unacceptable("a match whose length is wrong")
    at, last = at + TLV.size, at + length
    while at < last:
        if at + OXM.size > last:
            raise Unacceptable("a match field that is cut off")
        _, _, size = OXM.unpack_from(data, at)
        at += OXM.size + size
        if at > last:
            raise Unacceptable("a match field whose length is wrong")
    return after


def actions(data: bytes, at: int, end: int) -> None:
    for _, _, length in tlvs(data, at, end, least=8):
        if length % 8:
            raise Unacceptable("an action that is not aligned")


def instructions(data: bytes, at: int, end: int) -> None:
    for start, kind, length in tlvs(data, at, end, least=8):
        if length % 8:
            raise Unacceptable("an instruction that is not aligned")
        if kind in ACTIONS:
            actions(data, start + 8, start + length)


# --- messages -------------------------------------------------------------------------


def anything(message: bytes) -> None:
    """An echo is as long as it likes to be."""


def at_least(size: int) -> Callable[[bytes], None]:
    def structure(message: bytes) -> None:
        if len(message) < size:
            raise Unacceptable("a message that is too short")

    return structure


def exactly(size: int) -> Callable[[bytes], None]:
    def structure(message: bytes) -> None:
        if len(message) != size:
            raise Unacceptable("a message of fixed size that is not of it")

    return structure


def packet_in(message: bytes) -> None:
    if match(message, 24, len(message)) + 2 > len(message):
        raise Unacceptable("a packet-in without its padding")


def flow_removed(message: bytes) -> None:
    match(message, 48, len(message))


def queues(message: bytes) -> None:
    at = 16
    while at < len(message):
        (length,) = U16.unpack_from(message, at + 8)
        if length < 16 or at + length > len(message):
            raise Unacceptable("a queue whose length is wrong")
        for _ in tlvs(message, at + 16, at + length, least=8):
            pass
        at += length


def multipart(message: bytes) -> None:
    (kind,) = U16.unpack_from(message, 8)
    at_least(16)(message)
    if kind not in BODIES:
        raise Unacceptable("a multipart reply of no known type")
    BODIES[kind](message)


def records(size: int) -> Callable[[bytes], None]:
    """A body of records of one size."""

    def structure(message: bytes) -> None:
        if (len(message) - 16) % size:
            raise Unacceptable("a list whose last entry is cut off")

    return structure


def flow_stats(message: bytes) -> None:
    for at, length in entries(message, 16, least=56):
        instructions(message, match(message, at + 48, at + length), at + length)


def group_desc(message: bytes) -> None:
    for at, length in entries(message, 16, least=8):
        start, end = at + 8, at + length
        while start < end:
            (size,) = U16.unpack_from(message, start)
            if size < 16 or start + size > end:
                raise Unacceptable("a bucket whose length is wrong")
            actions(message, start + 16, start + size)
            start += size


def group_stats(message: bytes) -> None:
    for _, length in entries(message, 16, least=40):
        if (length - 40) % 16:
            raise Unacceptable("a group whose buckets are cut off")


def meter_stats(message: bytes) -> None:
    for _, length in entries(message, 16, least=40, field=4):
        if (length - 40) % 16:
            raise Unacceptable("a meter whose bands are cut off")


def meter_config(message: bytes) -> None:
    for at, length in entries(message, 16, least=8):
        for _, _, size in tlvs(message, at + 8, at + length, least=12):
            if size % 4:
                raise Unacceptable("a meter band that is not aligned")


def table_features(message: bytes) -> None:
    for at, length in entries(message, 16, least=64):
        for start, kind, size in tlvs(message, at + 64, at + length, least=4, pad=8):
            if kind in NAMED:
                for _ in tlvs(message, start + TLV.size, start + size, least=TLV.size):
                    pass


BODIES: dict[int, Callable[[bytes], None]] = {
    0: exactly(16 + 1056),  # OFPMP_DESC
    FLOW: flow_stats,
    2: exactly(16 + 24),  # OFPMP_AGGREGATE
    3: records(24),  # OFPMP_TABLE
    4: records(112),  # OFPMP_PORT_STATS
    5: records(40),  # OFPMP_QUEUE
    GROUP: group_stats,
    GROUP_DESC: group_desc,
    8: exactly(16 + 40),  # OFPMP_GROUP_FEATURES
    METER: meter_stats,
    METER_CONFIG: meter_config,
    METER_FEATURES: exactly(16 + 16),
    TABLE_FEATURES: table_features,
    13: records(64),  # OFPMP_PORT_DESC
    EXPERIMENTER_STATS: at_least(24),
}
GREETINGS = (HELLO, ERROR, ECHO_REQUEST, ECHO_REPLY)
STRUCTURES: dict[int, Callable[[bytes], None]] = {
    HELLO: check_hello,
    ERROR: at_least(12),
    ECHO_REQUEST: anything,
    ECHO_REPLY: anything,
    EXPERIMENTER: at_least(16),
    FEATURES_REPLY: exactly(32),
    GET_CONFIG_REPLY: exactly(12),
    PACKET_IN: packet_in,
    FLOW_REMOVED: flow_removed,
    PORT_STATUS: exactly(80),
    MULTIPART_REPLY: multipart,
    BARRIER_REPLY: exactly(8),
    QUEUE_GET_CONFIG_REPLY: queues,
    ROLE_REPLY: exactly(24),
    GET_ASYNC_REPLY: exactly(32),
}
