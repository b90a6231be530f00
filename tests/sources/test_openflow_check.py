"""What a switch may send, and what nobody may."""

from __future__ import annotations

import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.sources import openflow_check as of
from flows import wire
from tests.support.ryu13 import ProtocolDesc, ofproto_parser, ofproto_v1_3

HANG = 2.0  # seconds: a parser that takes as long would take for ever


def message(kind: int, body: bytes = b"", version: int = 4) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body), 7) + body


def multipart(kind: int, body: bytes = b"") -> bytes:
    return message(of.MULTIPART_REPLY, struct.pack("!HH4x", kind, 0) + body)


IN_PORT_3 = bytes.fromhex("8000000400000003")  # OXM of in_port 3
MATCH = bytes.fromhex("0001000c") + IN_PORT_3 + bytes(4)
NO_MATCH = bytes.fromhex("00010004") + bytes(4)
OUTPUT = bytes.fromhex("00000010000000030000000000000000")
APPLY = bytes.fromhex("0004001800000000") + OUTPUT
GOTO = bytes.fromhex("0001000805000000")
PORT = bytes(64)


def flow(match: bytes = NO_MATCH, instructions: bytes = APPLY + GOTO) -> bytes:
    body = bytes(46) + match + instructions
    return struct.pack("!H", 2 + len(body)) + body


def bucket(actions: bytes = OUTPUT) -> bytes:
    return struct.pack("!HHII4x", 16 + len(actions), 1, 0, 0) + actions


def group(buckets: bytes) -> bytes:
    return struct.pack("!HBxI", 8 + len(buckets), 1, 9) + buckets


def packet_in(match: bytes = MATCH, data: bytes = b"frame") -> bytes:
    head = struct.pack("!IHBBQ", 0xFFFFFFFF, len(data), 1, 2, 0x15A7 << 48)
    return message(of.PACKET_IN, head + match + bytes(2) + data)


def queue(properties: bytes = bytes.fromhex("0001001000000000") + bytes(8)) -> bytes:
    return struct.pack("!IIH6x", 1, 2, 16 + len(properties)) + properties


def table(properties: bytes = b"") -> bytes:
    return struct.pack("!H62x", 64 + len(properties)) + properties


NAMES = bytes.fromhex("0001000400040004")  # two instructions, or two actions
INSTRUCTIONS = bytes.fromhex("0000000c") + NAMES + bytes(4)  # OFPTFPT_INSTRUCTIONS
APPLIED = bytes.fromhex("0006000c") + NAMES + bytes(4)  # OFPTFPT_APPLY_ACTIONS
NEXT = bytes.fromhex("0002000601020000")  # OFPTFPT_NEXT_TABLES
FIELDS = bytes.fromhex("0008000880000004")  # OFPTFPT_MATCH


GOOD = {
    "hello": message(of.HELLO, bytes.fromhex("0001000800000010")),
    "hello of an old switch": message(of.HELLO, version=1),
    "hello with an element of the future": message(
        of.HELLO, bytes.fromhex("00630008deadbeef0001000800000010")
    ),
    "echo": message(of.ECHO_REQUEST, b"anything"),
    "error": message(of.ERROR, bytes.fromhex("00010001") + bytes(64)),
    "experimenter": message(of.EXPERIMENTER, bytes.fromhex("4f4e4600000008fc")),
    "features": message(of.FEATURES_REPLY, bytes(24)),
    "packet-in": packet_in(),
    "packet-in without a frame": packet_in(data=b""),
    "flow removed": message(of.FLOW_REMOVED, bytes(40) + MATCH),
    "port status": message(of.PORT_STATUS, bytes(8) + PORT),
    "description": multipart(0, bytes(1056)),
    "no flow": multipart(of.FLOW),
    "flows": multipart(of.FLOW, flow() + flow(MATCH, b"")),
    "aggregate": multipart(2, bytes(24)),
    "tables": multipart(3, bytes(48)),
    "port statistics": multipart(4, bytes(112)),
    "queue statistics": multipart(5, bytes(80)),
    "group statistics": multipart(of.GROUP, struct.pack("!H54x", 56)),
    "groups": multipart(of.GROUP_DESC, group(bucket() + bucket(b"")) + group(b"")),
    "meter statistics": multipart(of.METER, struct.pack("!4xH34x", 40)),
    "meters": multipart(of.METER_CONFIG, struct.pack("!HHIHH12x", 24, 0, 1, 1, 16)),
    "table features": multipart(
        of.TABLE_FEATURES, table() + table(INSTRUCTIONS + NEXT + APPLIED + FIELDS)
    ),
    "ports": multipart(13, PORT * 3),
    "barrier": message(of.BARRIER_REPLY),
    "queues": message(of.QUEUE_GET_CONFIG_REPLY, bytes(8) + queue()),
    "role": message(of.ROLE_REPLY, bytes(16)),
    "asynchronous": message(of.GET_ASYNC_REPLY, bytes(24)),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_a_switch_sends_is_accepted(name: str) -> None:
    of.check(GOOD[name], is_greeted=not name.startswith("hello"))


# The first ones hang Ryu 4.34 for ever: CVE-2024-34483 to 34489, CVE-2020-35139 and
# their kin without a number.
BAD = {
    "hello, element length 0": message(of.HELLO, bytes.fromhex("0001000000000010")),
    "hello, unknown element of length 0": message(
        of.HELLO, bytes.fromhex("0063000000000000")
    ),
    "hello, element too long": message(of.HELLO, bytes.fromhex("0001010000000010")),
    "hello, broken bitmap": message(of.HELLO, bytes.fromhex("0001000600000010")),
    "hello, elements not aligned": message(
        of.HELLO, bytes.fromhex("000200050000000100080000")
    ),
    "hello of 60,000 octets": message(of.HELLO, bytes(60_000)),
    "hello of version 0": message(of.HELLO, version=0),
    "hello of version 99": message(of.HELLO, version=99),
    "multipart of length 0": multipart(of.FLOW, bytes(56)),
    "flow, instruction length 0": multipart(of.FLOW, flow(NO_MATCH, bytes(8))),
    "flow, action length 0": multipart(
        of.FLOW, flow(NO_MATCH, bytes.fromhex("0004001000000000") + bytes(8))
    ),
    "flow, entry too long": multipart(of.FLOW, b"\xff\xf8" + flow()[2:]),
    "flow, match too long": multipart(
        of.FLOW, flow(bytes.fromhex("0001ff00") + bytes(4))
    ),
    "flow, match field too long": multipart(
        of.FLOW, flow(bytes.fromhex("0001000c800000ff") + bytes(8))
    ),
    "group, bucket length 0": multipart(of.GROUP_DESC, group(bytes(16))),
    "group, action length 0": multipart(of.GROUP_DESC, group(bucket(bytes(16)))),
    "group of length 0": multipart(of.GROUP_DESC, bytes(8)),
    "group statistics of length 0": multipart(of.GROUP, bytes(40)),
    "meter statistics of length 0": multipart(of.METER, bytes(40)),
    "meter of length 0": multipart(of.METER_CONFIG, bytes(8)),
    "meter, band of length 0": multipart(
        of.METER_CONFIG, struct.pack("!HHI16x", 24, 0, 1)
    ),
    "table features of length 0": multipart(of.TABLE_FEATURES, bytes(64)),
    "table features, property length 0": multipart(
        of.TABLE_FEATURES, struct.pack("!H70x", 72)
    ),
    "table features, instruction of length 0": multipart(
        of.TABLE_FEATURES, table(bytes.fromhex("0000000800010000"))
    ),
    "table features, action of length 0": multipart(
        of.TABLE_FEATURES, table(bytes.fromhex("0006000800000000"))
    ),
    "table features, action too long": multipart(
        of.TABLE_FEATURES, table(bytes.fromhex("0006000800000010"))
    ),
    "queue of length 0": message(of.QUEUE_GET_CONFIG_REPLY, bytes(24)),
    "queue, property length 0": message(
        of.QUEUE_GET_CONFIG_REPLY, bytes(8) + queue(bytes(16))
    ),
    "flow-mod, instruction length 0": message(14, bytes(40) + NO_MATCH + bytes(8)),
    "flow-mod, action length 0": message(
        14, bytes(40) + NO_MATCH + bytes.fromhex("0004001000000000") + bytes(8)
    ),
    "packet-out": message(13, bytes(16)),
    "bundle control of OpenFlow 1.4": message(33, bytes(20), version=5),
    "port description of OpenFlow 1.4": message(19, bytes(24), version=5),
    "queue description of OpenFlow 1.4": message(
        19, bytes.fromhex("000f000000000000") + bytes(16), version=5
    ),
    "shorter than its header": struct.pack("!BBHI", 4, of.ECHO_REQUEST, 4, 7),
    "of length 0": struct.pack("!BBHI", 4, of.ECHO_REQUEST, 0, 7),
    "another version than was agreed on": message(of.BARRIER_REPLY, version=1),
    "a type that there is not": message(77),
    "features that are too short": message(of.FEATURES_REPLY, bytes(16)),
    "half a port": multipart(13, bytes(32)),
    "packet-in without a match": message(of.PACKET_IN, bytes(16)),
    "packet-in, match of length 0": packet_in(bytes(8)),
    "packet-in, match too long": packet_in(bytes.fromhex("0001fff0") + bytes(4)),
    "packet-in, field too long": packet_in(
        bytes.fromhex("0001000c800000ff") + bytes(8)
    ),
    "packet-in, match of four octets less": packet_in(bytes.fromhex("00010002") * 2),
    "flow removed without a match": message(of.FLOW_REMOVED, bytes(40)),
    "flow removed, match field too long": message(
        of.FLOW_REMOVED, bytes(40) + bytes.fromhex("0001000c800000ff") + bytes(8)
    ),
    "port status without its port": message(of.PORT_STATUS, bytes(8)),
    "error without a type": message(of.ERROR),
    "multipart without a type": message(of.MULTIPART_REPLY),
    "multipart of no known type": multipart(99),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_switch_sends_is_turned_away(name: str) -> None:
    with pytest.raises(of.Unacceptable):
        of.check(BAD[name], is_greeted=True)


@pytest.mark.parametrize("name", ["packet-in", "ports", "flows", "barrier"])
def test_before_a_hello_there_is_nothing_to_say(name: str) -> None:
    with pytest.raises(of.Unacceptable):
        of.check(GOOD[name], is_greeted=False)


def test_a_reason_holds_nothing_of_the_peers() -> None:
    """So that there are few, and none writes into our log."""
    reasons: set[str] = set()
    for kind in range(256):
        with noting(reasons):
            of.check(message(kind, bytes([kind] * 40)), is_greeted=True)
    assert len(reasons) < 12


@contextmanager
def noting(reasons: set[str]) -> Iterator[None]:
    try:
        yield
    except of.Unacceptable as error:
        reasons.add(str(error))


def test_a_packet_in_is_read_without_a_parser() -> None:
    assert wire.packet_in(packet_in()) == (0x15A7 << 48, 3, b"frame")


# --- what passes does not hang Ryu --------------------------------------------------


class Hung(Exception):
    """It took so long that it would take for ever."""


@contextmanager
def alarm() -> Iterator[None]:
    """A loop without end becomes an error, although Ryu catches what it can."""
    rang: list[int] = []

    def ring(number: int, _frame: object) -> None:
        rang.append(number)
        raise Hung

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, HANG)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if rang:
        raise Hung


def parse_with_ryu(octets: bytes) -> None:
    """Ryu logs what it cannot parse; what is asked here is whether it ends."""
    version, kind, length, xid = struct.unpack_from("!BBHI", octets)
    switch = ProtocolDesc(ofproto_v1_3.OFP_VERSION)
    with suppress(Exception):
        ofproto_parser.msg(switch, version, kind, length, xid, octets)


def test_the_alarm_rings_for_a_message_that_hangs_ryu() -> None:
    """The tests after this one can see."""
    octets = BAD["hello, unknown element of length 0"]
    with pytest.raises(Hung), alarm():
        parse_with_ryu(octets)


@settings(max_examples=3000, deadline=None)
@given(
    name=st.sampled_from(sorted(GOOD)),
    edits=st.lists(st.tuples(st.integers(8, 120), st.binary(max_size=3)), max_size=4),
)
def test_a_damaged_message_is_turned_away_or_does_not_hang_ryu(
    name: str, edits: list[tuple[int, bytes]]
) -> None:
    damaged = bytearray(GOOD[name])
    for at, octets in edits:
        damaged[at : at + len(octets)] = octets
    damaged[2:4] = len(damaged).to_bytes(2)
    try:
        of.check(bytes(damaged), is_greeted=True)
    except of.Unacceptable:
        return
    with alarm():
        parse_with_ryu(bytes(damaged))


@settings(max_examples=2000, deadline=None)
@given(kind=st.integers(0, 40), part=st.integers(0, 20), body=st.binary(max_size=150))
def test_any_octets_are_turned_away_or_do_not_hang_ryu(
    kind: int, part: int, body: bytes
) -> None:
    octets = (
        multipart(part, body) if kind == of.MULTIPART_REPLY else message(kind, body)
    )
    try:
        of.check(octets, is_greeted=True)
    except of.Unacceptable:
        return
    with alarm():
        parse_with_ryu(octets)
