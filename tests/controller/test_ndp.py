"""Neighbor discovery that anybody may send, and what we send ourselves.

The golden octets are what a Linux 6.18 sent.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.events import ArpSeen, FrameIgnored, FrameSeen, NdSeen
from controller.ndp import OPTIONS_MAX, Invalid, advertisement, checksum, solicitation
from controller.packets import Ignored, parse
from tests.packets import H1, H2

SOLICITATION = """
3333ff000002 020000000001 86dd 60000000 0020 3a ff
fd000000000000000000000000000001 ff0200000000000000000001ff000002
87 00 7d97 00000000 fd000000000000000000000000000002 0101 020000000001
"""
ADVERTISEMENT = """
020000000001 020000000002 86dd 60000000 0020 3a ff
fd000000000000000000000000000002 fd000000000000000000000000000001
88 00 1c9a 60000000 fd000000000000000000000000000002 0201 020000000002
"""
PROBE = """
3333ff000002 020000000002 86dd 60000000 0020 3a ff
00000000000000000000000000000000 ff0200000000000000000001ff000002
87 00 a3ad 00000000 fd000000000000000000000000000002 0e01 e935cdc214f4
"""
QUESTION = NdSeen(
    datapath_id=7,
    in_port=3,
    vlan=0,
    eth_src=H1,
    eth_dst="33:33:ff:00:00:02",
    icmpv6_type=135,
    src=IPv6Address("fd00::1"),
    dst=IPv6Address("ff02::1:ff00:2"),
    target=IPv6Address("fd00::2"),
    lladdr=H1,
    flags=0,
    has_room=True,
)


def octets(text: str) -> bytes:
    return bytes.fromhex(text)


def changed(text: str, at: int, new: str) -> bytes:
    """The frame with other octets at this offset, and the checksum that fits them."""
    data = bytearray(octets(text))
    data[at : at + len(octets(new))] = octets(new)
    data[56:58] = b"\0\0"
    right = checksum(bytes(data[22:38]), bytes(data[38:54]), bytes(data[54:]))
    data[56:58] = right.to_bytes(2, "big")
    return bytes(data)


def with_options(*options: str) -> bytes:
    """The solicitation with these options in place of its own."""
    body = octets(SOLICITATION)[:78] + octets("".join(options))
    length = len(body) - 54
    return changed(body.hex(), 18, length.to_bytes(2, "big").hex())


# --- what is heard ------------------------------------------------------------------


def test_a_solicitation_is_heard() -> None:
    heard = parse(7, 3, octets(SOLICITATION))

    assert heard == QUESTION
    assert (QUESTION.ip, QUESTION.router) == (IPv6Address("fd00::1"), None)


def test_an_advertisement_is_heard() -> None:
    heard = parse(7, 3, octets(ADVERTISEMENT))

    assert isinstance(heard, NdSeen)
    assert (heard.ip, heard.lladdr, heard.router) == (
        IPv6Address("fd00::2"),
        H2,
        False,
    )


def test_the_flag_of_a_router_is_heard() -> None:
    heard = parse(7, 3, changed(ADVERTISEMENT, 58, "e0"))

    assert isinstance(heard, NdSeen)
    assert heard.router is True


def test_duplicate_address_detection_is_heard_without_a_sender() -> None:
    heard = parse(7, 3, octets(PROBE))

    assert isinstance(heard, NdSeen)
    assert (heard.ip, heard.lladdr) == (IPv6Address("::"), "")
    assert heard.has_room  # the nonce of RFC 7527


def test_a_tag_says_in_which_vlan() -> None:
    data = octets(SOLICITATION)
    tagged = data[:12] + octets("8100 e005") + data[12:]

    assert parse(7, 3, tagged) == replace(QUESTION, vlan=5)


def test_the_option_may_stand_behind_others() -> None:
    heard = parse(7, 3, with_options("0e02" + "00" * 14, "0101 020000000001"))

    assert heard == replace(QUESTION, has_room=False)


def test_a_solicitation_without_options_is_heard() -> None:
    assert parse(7, 3, with_options()) == replace(QUESTION, lladdr="", has_room=False)


def test_a_long_option_is_no_link_layer_address_of_ethernet() -> None:
    heard = parse(7, 3, with_options("0102 020000000009" + "00" * 8))

    assert heard == replace(QUESTION, lladdr="", has_room=False)


@pytest.mark.parametrize("kind", ["80", "83", "85", "8f"])
def test_other_icmpv6_tells_where_its_source_is(kind: str) -> None:
    seen = FrameSeen(7, 3, 0, H1, QUESTION.src)
    assert parse(7, 3, changed(SOLICITATION, 54, kind)) == seen


@pytest.mark.parametrize(
    ("kind", "name"), [("86", "router advertisement"), ("89", "redirect")]
)
def test_what_only_routers_send_is_named(kind: str, name: str) -> None:
    seen = FrameSeen(7, 3, 0, H1, QUESTION.src, name)
    assert parse(7, 3, changed(SOLICITATION, 54, kind)) == seen


def test_other_ipv6_tells_where_its_source_is() -> None:
    tcp = changed(SOLICITATION, 20, "06")
    assert parse(7, 3, tcp) == FrameSeen(7, 3, 0, H1, QUESTION.src)
    version_4 = changed(SOLICITATION, 14, "40")
    assert parse(7, 3, version_4) == FrameSeen(7, 3, 0, H1)


# --- behind extension headers: RFC 7113, RFC 6980 -------------------------------------

HOP_BY_HOP, DESTINATION, FRAGMENT, AUTHENTICATION = 0, 60, 44, 51


def behind(*headers: tuple[int, str], frame: str = SOLICITATION) -> bytes:
    """The same message behind extension headers, each without its first octet."""
    data, between, following = octets(frame), b"", 58
    for kind, rest in reversed(headers):
        between = bytes((following,)) + octets(rest) + between
        following = kind
    length = int.from_bytes(data[18:20], "big") + len(between)
    head = data[:18] + length.to_bytes(2, "big") + bytes((following,)) + data[21:54]
    return head + between + data[54:]


@pytest.mark.parametrize(
    "headers",
    [
        [(HOP_BY_HOP, "00010400000000")],
        [(DESTINATION, "01" + "00" * 14)],
        [(AUTHENTICATION, "01" + "00" * 10)],
        [(HOP_BY_HOP, "00010400000000"), (DESTINATION, "00010400000000")],
    ],
    ids=["hop by hop", "destination", "authentication", "two"],
)
def test_extension_headers_hide_nothing(headers: list[tuple[int, str]]) -> None:
    assert parse(7, 3, behind(*headers)) == QUESTION


def test_a_fragment_of_neighbor_discovery_is_named_and_teaches_no_address() -> None:
    first, later = (FRAGMENT, "00000100000001"), (FRAGMENT, "00002800000001")
    hidden = FrameSeen(7, 3, 0, H1, QUESTION.src, "hidden ICMPv6")
    assert parse(7, 3, behind(first)) == hidden
    whole = (FRAGMENT, "00000000000001")  # RFC 6980, 5: not even that
    assert parse(7, 3, behind(whole)) == hidden
    nested = behind(whole, first)
    assert parse(7, 3, nested) == hidden
    assert parse(7, 3, behind(later)) == replace(hidden, sends="")
    ping = behind(first)[:21] + b"\x40" + behind(first)[22:]
    assert parse(7, 3, ping) == replace(hidden, sends="")


def test_headers_that_do_not_end_are_named() -> None:
    cut = behind((DESTINATION, "0f" + "00" * 6))
    hidden = FrameSeen(7, 3, 0, H1, QUESTION.src, "hidden ICMPv6")
    assert parse(7, 3, cut) == hidden
    many = [(DESTINATION, "00010400000000")] * 9
    assert parse(7, 3, behind(*many)) == hidden


# --- what is discarded: RFC 4861, 7.1 -------------------------------------------------


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (changed(SOLICITATION, 21, "fe"), Invalid.FROM_AFAR),
        (changed(ADVERTISEMENT, 21, "40"), Invalid.FROM_AFAR),
        (changed(SOLICITATION, 55, "01"), Invalid.BAD_CODE),
        (octets(SOLICITATION.replace("7d97", "7d98")), Invalid.BAD_CHECKSUM),
        (octets(SOLICITATION)[:-1], Invalid.TRUNCATED),
        (octets(SOLICITATION)[:60], Invalid.TRUNCATED),
        (changed(SOLICITATION, 18, "0017"), Invalid.TRUNCATED),
        (with_options("0100 020000000001"), Invalid.BAD_OPTION),
        (with_options("0102 020000000001"), Invalid.BAD_OPTION),
        (with_options("0101 02000000"), Invalid.BAD_OPTION),
        (with_options(*["0e01 000000000000"] * (OPTIONS_MAX + 1)), Invalid.BAD_OPTION),
        (changed(SOLICITATION, 62, "ff02"), Invalid.BAD_TARGET),
        (changed(SOLICITATION, 62, "00" * 16), Invalid.BAD_TARGET),
        (changed(ADVERTISEMENT, 62, "00" * 15 + "01"), Invalid.BAD_TARGET),
        (changed(SOLICITATION, 22, "ff02"), Invalid.BAD_SENDER),
        (changed(ADVERTISEMENT, 22, "00" * 16), Invalid.BAD_SENDER),
        (changed(PROBE, 38, "ff02" + "00" * 13 + "01"), Invalid.BAD_PROBE),
        (changed(PROBE, 38, "fd" + "00" * 14 + "02"), Invalid.BAD_PROBE),
        (changed(PROBE, 78, "0101 020000000002"), Invalid.BAD_PROBE),
        (changed(ADVERTISEMENT, 38, "ff02" + "00" * 13 + "01"), Invalid.SAYS_NOTHING),
    ],
)
def test_what_a_host_must_discard_teaches_nothing(data: bytes, why: Invalid) -> None:
    assert parse(7, 3, data) == FrameIgnored(7, 3, why)


@pytest.mark.parametrize(("frame", "at"), [(SOLICITATION, 80), (ADVERTISEMENT, 80)])
def test_who_gives_anothers_link_layer_address_teaches_nothing_and_is_noted(
    frame: str, at: int
) -> None:
    found = parse(7, 3, changed(frame, at, "020000000009"))

    assert isinstance(found, FrameIgnored)
    assert found.why == Invalid.OTHER_SENDER
    honest = parse(7, 3, octets(frame))
    assert isinstance(honest, NdSeen)
    assert found.heard == replace(honest, lladdr="02:00:00:00:00:09")


@given(st.binary(max_size=120))
@example(b"\xff" * 120)
def test_whatever_follows_an_ipv6_header_there_is_an_answer(rest: bytes) -> None:
    data = octets(SOLICITATION)[:54] + rest

    heard = parse(7, 3, data)

    assert isinstance(heard, NdSeen | FrameSeen | FrameIgnored)


@given(st.integers(12, 90), st.binary(min_size=1, max_size=12), st.booleans())
def test_a_damaged_message_is_heard_or_has_a_reason(
    at: int, damage: bytes, repaired: bool
) -> None:
    """Also with a checksum that fits the damage."""
    data = octets(SOLICITATION)
    data = data[:at] + damage + data[at + len(damage) :]
    if repaired and len(data) >= 58:
        data = changed(data.hex(), 14, data[14:15].hex())

    heard = parse(7, 3, data)

    assert isinstance(heard, ArpSeen | NdSeen | FrameSeen | FrameIgnored)
    if isinstance(heard, FrameIgnored):
        assert heard.why in set(Invalid) | set(Ignored)
    if isinstance(heard, NdSeen):
        assert heard.lladdr in ("", heard.eth_src)
        assert not heard.target.is_multicast


# --- what we send -------------------------------------------------------------------


def test_a_solicitation_is_answered_as_its_owner_would() -> None:
    assert advertisement(QUESTION, lladdr=H2, router=False) == octets(ADVERTISEMENT)


def test_duplicate_address_detection_is_answered_to_all_nodes() -> None:
    """RFC 4861, 7.2.4: not solicited, and with the option."""
    probe = parse(7, 3, octets(PROBE))
    assert isinstance(probe, NdSeen)

    told = parse(7, 3, advertisement(probe, lladdr=H2, router=False))

    assert isinstance(told, NdSeen)
    assert (told.eth_dst, told.dst) == ("33:33:00:00:00:01", IPv6Address("ff02::1"))
    assert (told.flags, told.lladdr) == (0x20000000, H2)


def test_a_router_says_that_it_is_one() -> None:
    told = parse(7, 3, advertisement(QUESTION, lladdr=H2, router=True))

    assert isinstance(told, NdSeen)
    assert told.flags == 0xE0000000


def test_an_answer_stays_in_the_vlan_of_its_question() -> None:
    tagged = replace(QUESTION, vlan=5)

    told = parse(7, 3, advertisement(tagged, lladdr=H2, router=False))

    assert isinstance(told, NdSeen)
    assert told.vlan == 5


def test_a_question_is_what_a_kernel_sends() -> None:
    asked = solicitation(
        eth_src=H1,
        eth_dst="33:33:ff:00:00:02",
        src=QUESTION.src,
        dst=QUESTION.dst,
        target=QUESTION.target,
    )

    assert asked == octets(SOLICITATION)
