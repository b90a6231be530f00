"""Meters as OpenFlow 1.3 messages: golden octets, and Ryu's reading."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import wire, wire_meters
from flows.openflow import Meter, Metered, Resubmit, Tell
from tests.flows.test_wire import octets
from tests.support.ryu13 import ProtocolDesc, ofproto_parser, ofproto_v1_3

METER = Meter(0x8009, 100, 50)
DATAPATH = ProtocolDesc(ofproto_v1_3.OFP_VERSION)
NUMBERS = st.integers(1, 0xFFFFFFFF)


def answer(part: int, body: bytes) -> Any:
    """Ryu's reading of an OFPT_MULTIPART_REPLY."""
    data = struct.pack("!BBHIHH4x", 4, 19, 16 + len(body), 1, part, 0) + body
    return ofproto_parser.msg(DATAPATH, 4, 19, len(data), 1, data).body


def test_a_meter_is_added_as_the_specification_says() -> None:
    assert wire_meters.add_meter(METER, xid=7) == octets(
        """
        04 1d 0020 00000007                # OFPT_METER_MOD
        0000 000e 00008009                 # OFPMC_ADD; PKTPS, BURST, STATS
        0001 0010 00000064 00000032 00000000  # OFPMBT_DROP
        """
    )


def test_a_meter_is_deleted_by_its_number() -> None:
    assert wire_meters.delete_meter(0x8009, xid=7) == octets(
        "04 1d 0010 00000007 0002 0000 00008009"
    )


def test_a_copy_to_the_controller_has_a_meter() -> None:
    assert wire.action(Tell(0x8009)) == octets(
        """
        ffff 0020 00002320 0025 000000000000   # NXAST_CONTROLLER2
        0000 0006 ffff 0000                    # NXAC2PT_MAX_LEN
        0005 0008 00008009                     # NXAC2PT_METER_ID
        """
    )


def test_resubmit_is_an_action_and_a_meter_an_instruction() -> None:
    assert wire.action(Resubmit(250)) == octets(
        "ffff 0010 00002320 000e fff8 fa 000000"
    )
    assert wire.action(Metered(5)) == b""


@given(NUMBERS, NUMBERS, NUMBERS)
def test_what_a_switch_says_of_its_meters_is_read_as_ryu_reads_it(
    number: int, rate: int, burst: int
) -> None:
    body = wire_meters.add_meter(Meter(number, rate, burst))[8:]
    body = struct.pack("!H", len(body)) + body[2:]

    [ours] = wire_meters.configs(body)
    [theirs] = answer(wire_meters.MULTIPART_CONFIG, body)

    [band] = theirs.bands
    assert ours == Meter(number, rate, burst)
    assert (theirs.meter_id, band.rate, band.burst_size) == (number, rate, burst)


@given(NUMBERS, st.integers(0, 1 << 63), st.integers(0, 1 << 63))
def test_what_meters_have_dropped_is_read_as_ryu_reads_it(
    number: int, packets: int, dropped: int
) -> None:
    body = struct.pack("!IH6xIQQII", number, 56, 3, packets, 4, 5, 6)
    body += struct.pack("!QQ", dropped, 0)

    [one, other] = wire_meters.counts(body * 2)
    theirs = answer(wire_meters.MULTIPART_METER, body)[0]

    assert one == other == wire_meters.Counted(number, packets, dropped)
    assert (theirs.meter_id, theirs.packet_in_count) == (number, packets)
    assert theirs.band_stats[0].packet_band_count == dropped


def test_a_meter_of_another_kind_is_none_that_we_would_have_made() -> None:
    in_kilobits = struct.pack("!HHIHHII4x", 24, 1, 9, 1, 16, 100, 50)
    assert [*wire_meters.configs(in_kilobits)] == [Meter(9, 0, 0)]


@pytest.mark.parametrize(
    ("bands", "capabilities", "can"), [(2, 15, True), (0, 15, False), (2, 1, False)]
)
def test_a_switch_says_whether_its_meters_can_drop_packets(
    bands: int, capabilities: int, can: bool
) -> None:
    body = struct.pack("!IIIBBxx", 262_144, bands, capabilities, 8, 0)
    found = wire_meters.features(body)
    assert (found.greatest, found.can_drop_packets) == (262_144, can)


@pytest.mark.parametrize(
    "body", [b"\0", bytes(8), bytes(39), b"\0\0\0\1\0\x29" + bytes(35)]
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    for read in (wire_meters.configs, wire_meters.counts):
        with pytest.raises(wire.Malformed):
            list(read(body))
    with pytest.raises(wire.Malformed):
        wire_meters.features(b"")
