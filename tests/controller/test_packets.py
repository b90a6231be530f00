"""Reading frames that anybody may send, and writing two of our own."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.events import (
    ArpSeen,
    DhcpSeen,
    FrameIgnored,
    FrameSeen,
    TrialSeen,
)
from controller.ndp import Invalid
from controller.packets import Ignored, Packet, arp_reply, arp_request, parse
from tests.packets import BROADCAST, H1, H2, ZERO

CONTROLLER = "02:69:73:61:74:00"
ETHERNET = "ffffffffffff 020000000001"
REQUEST = "0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002"
PADDING = "00" * 18


def octets(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts))


def request(vlan: int = 0, spa: str = "10.0.0.1") -> ArpSeen:
    return ArpSeen(
        datapath_id=7,
        in_port=3,
        vlan=vlan,
        eth_src=H1,
        eth_dst=BROADCAST,
        op=1,
        sha=H1,
        spa=IPv4Address(spa),
        tha=ZERO,
        tpa=IPv4Address("10.0.0.2"),
    )


def ignored(why: Ignored) -> FrameIgnored:
    return FrameIgnored(7, 3, why)


# --- what is heard ------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["", PADDING], ids=["exact", "padded"])
def test_an_arp_request_is_heard(padding: str) -> None:
    assert parse(7, 3, octets(ETHERNET, "0806", REQUEST, padding)) == request()


@pytest.mark.parametrize(
    ("tag", "vlan"),
    [
        ("8100 0005", 5),
        ("8100 e005", 5),  # with a priority
        ("8100 0fff", 4095),
        ("8100 a000", 0),  # priority-tagged
        ("88a8 0005", 5),
    ],
)
def test_a_tag_says_in_which_vlan(tag: str, vlan: int) -> None:
    data = octets(ETHERNET, tag, "0806", REQUEST)

    assert parse(7, 3, data) == request(vlan)


def test_arp_behind_two_tags_speaks_of_another_network() -> None:
    data = octets(ETHERNET, "88a8 0005 8100 0007 0806", REQUEST)

    assert parse(7, 3, data) == FrameSeen(7, 3, vlan=5, eth_src=H1)


def test_a_probe_is_heard_without_a_sender_protocol_address() -> None:
    probe = REQUEST.replace("0a000001", "00000000")

    assert parse(7, 3, octets(ETHERNET, "0806", probe)) == request(spa="0.0.0.0")


def test_an_arp_reply_is_heard() -> None:
    reply = "0001 0800 06 04 0002 020000000001 0a000001 020000000002 0a000002"

    heard = parse(7, 3, octets("020000000002 020000000001 0806", reply))

    assert isinstance(heard, ArpSeen)
    assert (heard.op, heard.eth_dst, heard.tha) == (2, H2, H2)


@pytest.mark.parametrize("eth_type", ["0800", "86dd", "8035", "0026"])
def test_any_other_frame_tells_where_its_source_is(eth_type: str) -> None:
    tagged = octets(ETHERNET, "8100 0005", eth_type, "00" * 46)

    assert parse(7, 3, tagged) == FrameSeen(7, 3, vlan=5, eth_src=H1)
    assert parse(7, 3, octets(ETHERNET, eth_type)) == FrameSeen(7, 3, 0, H1)


# --- what is ignored ----------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        "",
        "ffffffffffff 0200000000",
        "ffffffffffff 020000000001 08",
        "ffffffffffff 020000000001 8100",
        "ffffffffffff 020000000001 8100 0005 08",
        "ffffffffffff 020000000001 0806",
        "ffffffffffff 020000000001 0806 " + REQUEST[:-2],
    ],
)
def test_a_truncated_frame_is_ignored(data: str) -> None:
    assert parse(7, 3, octets(data)) == ignored(Ignored.TRUNCATED)


@pytest.mark.parametrize("source", ["000000000000", "ffffffffffff", "3333000000ff"])
def test_a_source_that_no_station_has_is_ignored(source: str) -> None:
    data = octets("020000000002", source, "0806", REQUEST)

    assert parse(7, 3, data) == ignored(Ignored.BAD_SOURCE)


@pytest.mark.parametrize(
    "head",
    ["0006 0800 06 04", "0001 86dd 06 04", "0001 0800 08 04", "0001 0800 06 10"],
    ids=["htype", "ptype", "hlen", "plen"],
)
def test_arp_that_is_not_for_ethernet_and_ipv4_is_ignored(head: str) -> None:
    data = octets(ETHERNET, "0806", head, REQUEST[15:])

    assert parse(7, 3, data) == ignored(Ignored.MALFORMED_ARP)


@pytest.mark.parametrize(
    ("arp", "why"),
    [
        # op, sha, spa
        ("0000 020000000001 0a000001", Ignored.OTHER_OPERATION),
        ("0003 020000000001 0a000001", Ignored.OTHER_OPERATION),
        ("0009 020000000001 0a000001", Ignored.OTHER_OPERATION),
        ("0001 020000000009 0a000001", Ignored.OTHER_SENDER),
        ("0001 000000000000 0a000001", Ignored.OTHER_SENDER),
        ("0002 ffffffffffff 0a000001", Ignored.OTHER_SENDER),
        ("0001 020000000001 7f000001", Ignored.BAD_SENDER),
        ("0001 020000000001 e0000001", Ignored.BAD_SENDER),
        ("0002 020000000001 ffffffff", Ignored.BAD_SENDER),
        ("0002 020000000001 00000000", Ignored.SAYS_NOTHING),
    ],
)
def test_arp_from_an_impossible_sender_is_ignored(arp: str, why: Ignored) -> None:
    data = octets(ETHERNET, "0806 0001 0800 06 04", arp, "000000000000 0a000002")

    said = parse(7, 3, data)

    assert isinstance(said, FrameIgnored)
    assert replace(said, heard=None) == ignored(why)
    assert (said.heard is not None) == (why is Ignored.OTHER_SENDER)


@pytest.mark.parametrize(
    ("packet", "ip"),
    [
        ("45" + 11 * "00" + "0a000005" + "0a000002", IPv4Address("10.0.0.5")),
        ("45" + 11 * "00" + "0a000005" + "0a0000", None),  # cut off
        ("65" + 11 * "00" + "0a000005" + "0a000002", None),  # of another version
    ],
    ids=["whole", "cut off", "version 6"],
)
def test_an_ipv4_packet_says_where_it_comes_from(
    packet: str, ip: IPv4Address | None
) -> None:
    assert parse(7, 3, octets(ETHERNET, "0800", packet)) == FrameSeen(7, 3, 0, H1, ip)
    tagged = octets(ETHERNET, "8100 0005 0800", packet)
    assert parse(7, 3, tagged) == FrameSeen(7, 3, 5, H1, ip)


@given(st.binary(max_size=80))
@example(b"\xff" * 60)
def test_whatever_the_octets_are_there_is_an_answer(data: bytes) -> None:
    assert isinstance(parse(7, 3, data), Packet)


@given(st.integers(0, 46), st.binary(min_size=1, max_size=8))
def test_a_damaged_request_is_heard_or_has_a_reason(at: int, damage: bytes) -> None:
    data = bytearray(octets(ETHERNET, "8100 0005 0806", REQUEST))
    data[at : at + len(damage)] = damage

    heard = parse(7, 3, bytes(data))

    if isinstance(heard, FrameIgnored):
        assert heard.why in set(Ignored) | set(Invalid)
    else:
        seen = heard.frame if isinstance(heard, DhcpSeen) else heard
        assert not isinstance(seen, TrialSeen)
        lladdr = seen.sha if isinstance(seen, ArpSeen) else seen.eth_src
        assert lladdr != ZERO
        assert not int(lladdr[:2], 16) & 1


# --- what we send -------------------------------------------------------------------


def test_a_request_is_answered_as_its_owner_would() -> None:
    assert arp_reply(request(), lladdr=H2) == octets(
        "020000000001 020000000002 0806",
        "0001 0800 06 04 0002 020000000002 0a000002 020000000001 0a000001",
        PADDING,
    )


def test_an_answer_stays_in_the_vlan_of_its_question() -> None:
    assert arp_reply(request(vlan=5), lladdr=H2) == octets(
        "020000000001 020000000002 8100 0005 0806",
        "0001 0800 06 04 0002 020000000002 0a000002 020000000001 0a000001",
        PADDING,
    )


def test_the_answer_to_a_probe_names_no_target_protocol_address() -> None:
    answer = parse(7, 3, arp_reply(request(spa="0.0.0.0"), lladdr=H2))

    assert isinstance(answer, ArpSeen)
    assert (answer.tha, answer.tpa) == (H1, IPv4Address("0.0.0.0"))


def test_a_station_is_asked_by_a_unicast_probe() -> None:
    probe = arp_request(
        eth_src=CONTROLLER, eth_dst=H1, tpa=IPv4Address("10.0.0.1"), vlan=5
    )

    assert probe == octets(
        "020000000001 026973617400 8100 0005 0806",
        "0001 0800 06 04 0001 026973617400 00000000 000000000000 0a000001",
        PADDING,
    )


def test_a_question_to_all_is_a_broadcast() -> None:
    question = arp_request(
        eth_src=H1, spa=IPv4Address("10.0.0.1"), tpa=IPv4Address("10.0.0.2")
    )

    assert question == octets(ETHERNET, "0806", REQUEST, PADDING)
    assert len(question) == 60
