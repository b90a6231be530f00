"""The frame that ports are tried with: what it is, and who can make it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.lldp import (
    LLDPDU,
    LLDPDUChassisID,
    LLDPDUEndOfLLDPDU,
    LLDPDUPortID,
    LLDPDUTimeToLive,
)
from scapy.layers.l2 import Ether

from controller.events import TrialSeen
from controller.packets import parse
from controller.trial import DIGEST, Reach, Trial, read, write
from flows.view import PortKey
from tests.facts import S1, port
from tests.support.golden import golden

SECRET = b"nobody else knows"
HEAD = 14  # octets of Ethernet
PORT = port(S1, 7)
SAID = Trial(Reach.CABLE, PortKey(S1, 7), 1.234, 5)
FRAME = write(SECRET, PORT, 1.2345, Reach.CABLE, 5)
END = len(FRAME) - 2  # where the TLV stands that ends the unit
SIGNED = END - DIGEST - 28  # where what the digest is over begins: a TLV's value


@pytest.mark.parametrize(
    ("reach", "to", "source"),
    [
        (Reach.SEGMENT, "03:69:73:61:74:00", PORT.lladdr),
        (Reach.CABLE, "01:80:c2:00:00:0e", "02:69:73:61:74:00"),
    ],
)
def test_the_frame_is_an_lldp_data_unit_that_says_whose_it_is(
    reach: Reach, to: str, source: str
) -> None:
    frame = Ether(write(SECRET, PORT, 1.0, reach))
    assert (frame.dst, frame.src) == (to, source)
    assert frame[LLDPDUChassisID].id == f"isat {S1:016x}".encode()
    assert frame[LLDPDUPortID].id == b"7"
    assert frame[LLDPDUTimeToLive].ttl == 5
    assert frame.haslayer(LLDPDUEndOfLLDPDU) and frame.haslayer(LLDPDU)


def test_it_is_these_octets() -> None:
    assert golden("lldp-trial") == FRAME


def test_what_was_written_is_read() -> None:
    assert read(SECRET, FRAME[HEAD:]) == SAID
    assert SAID.age(1.2345) == 0.0 and SAID.age(3.234) == 2.0


def test_who_has_another_secret_cannot_make_it() -> None:
    assert read(b"another", FRAME[HEAD:]) is None


def test_padding_behind_it_changes_nothing() -> None:
    assert read(SECRET, FRAME[HEAD:] + bytes(46)) == SAID


def test_where_it_was_sent_to_is_told_apart() -> None:
    for reach in Reach:
        seen = parse(S1, 3, write(SECRET, PORT, 1.0, reach))
        assert isinstance(seen, TrialSeen)
        assert seen.is_direct is (reach is Reach.CABLE)


@given(st.integers(SIGNED, END - 1), st.integers(1, 255))
def test_no_octet_of_what_it_says_can_be_changed(at: int, damage: int) -> None:
    unit = bytearray(FRAME)
    unit[at] ^= damage
    assert read(SECRET, bytes(unit[HEAD:])) is None


@given(st.integers(0, END), st.binary(min_size=1, max_size=8))
def test_a_damaged_frame_is_nobodys_or_says_what_it_said(
    at: int, damage: bytes
) -> None:
    unit = bytearray(FRAME[HEAD:])
    unit[at : at + len(damage)] = damage
    assert read(SECRET, bytes(unit)) in (None, SAID)


@given(st.integers(0, END - HEAD - 1))
def test_a_frame_that_is_cut_off_is_nobodys(length: int) -> None:
    assert read(SECRET, FRAME[HEAD : HEAD + length]) is None


@given(st.binary(max_size=300))
def test_whatever_the_octets_are_reading_ends(unit: bytes) -> None:
    assert read(SECRET, unit) is None
