"""What is read of DHCP (RFC 2131, RFC 2132) and DHCPv6 (RFC 8415), whatever comes."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.events import DhcpSeen, FrameSeen
from controller.packets import Packet, parse
from tests.facts import H1, H2
from tests.support.dhcp import (
    ACK,
    ADVERTISE,
    DECLINE,
    DISCOVER,
    NAK,
    OFFER,
    RELEASE,
    RELEASE6,
    REPLY,
    REQUEST,
    SOLICIT,
    association,
    dhcp,
    dhcp6,
    option6,
)

served = partial(dhcp, eth_src=H1, src="10.0.0.1")  # by the server


def seen(frame: bytes) -> DhcpSeen:
    found = parse(7, 3, frame)
    assert isinstance(found, DhcpSeen)
    return found


def test_an_ack_says_to_whom_what_is_leased_and_for_how_long() -> None:
    ack = served(ACK, client=H2, yiaddr="10.0.0.9", seconds=3600)
    frame = FrameSeen(7, 3, 0, H1, IPv4Address("10.0.0.1"), "DHCP server message")
    leased = ((IPv4Address("10.0.0.9"), 3600),)
    assert seen(ack) == DhcpSeen(frame, "ack", H2, leased, 0x1234)


@pytest.mark.parametrize(
    ("kind", "name"), [(OFFER, "offer"), (ACK, "ack"), (NAK, "nak"), (0, "other")]
)
def test_what_a_server_says_is_told_apart(kind: int, name: str) -> None:
    said = seen(served(kind, client=H2))
    assert (said.message, said.frame.sends) == (name, "DHCP server message")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (DISCOVER, "other"),
        (REQUEST, "other"),
        (RELEASE, "release"),
        (DECLINE, "decline"),
    ],
)
def test_what_a_client_says_is_told_apart(kind: int, name: str) -> None:
    ip = IPv4Address("10.0.0.9")
    if kind == DECLINE:  # its sender has no address yet: RFC 2131, table 5
        said = seen(dhcp(kind, client=H2, options=b"\x32\x04" + ip.packed))
    else:
        said = seen(dhcp(kind, client=H2, ciaddr=str(ip), src=str(ip)))
    assert (said.message, said.client, said.frame.sends) == (name, H2, "")
    assert said.addresses == ((IPv4Address("10.0.0.9"), 0),)


def test_an_ack_without_a_time_leases_nothing() -> None:
    """So a client is answered that has an address and asks for other things."""
    ack = dhcp(ACK, client=H2, yiaddr="10.0.0.9", eth_src=H1)
    assert seen(ack).addresses == ()


def test_options_may_stand_in_the_fields_that_are_lent_to_them() -> None:
    """RFC 2132, 9.3"""
    lends, kind = bytes((52, 1, 3)), bytes((53, 1, ACK, 255))
    time = bytes((51, 4, 0, 0, 0, 60, 255))
    untold = partial(served, 0, client=H2, yiaddr="10.0.0.9", file=kind)
    said = seen(untold(options=lends, sname=time))
    assert (said.message, said.addresses) == ("ack", ((IPv4Address("10.0.0.9"), 60),))
    assert seen(untold()).message == "other"


def test_a_tag_says_in_which_vlan() -> None:
    said = seen(served(ACK, client=H2, yiaddr="10.0.0.9", vlan=5))
    assert (said.frame.vlan, said.message) == (5, "ack")


def test_a_fragment_is_not_read() -> None:
    frame = bytearray(served(ACK, client=H2, yiaddr="10.0.0.9"))
    frame[20] |= 0x20  # more fragments follow
    assert isinstance(parse(7, 3, bytes(frame)), FrameSeen)


def test_another_udp_packet_is_a_packet() -> None:
    frame = bytearray(served(ACK, client=H2))
    frame[36:38] = (53).to_bytes(2, "big")
    assert parse(7, 3, bytes(frame)) == FrameSeen(7, 3, 0, H1, IPv4Address("10.0.0.1"))


# --- DHCPv6 ---------------------------------------------------------------------------


def test_a_reply_says_what_is_leased_to_whom_it_is_sent() -> None:
    options = association(("fd00::9", 600), ("fd00::a", 300))
    said = seen(dhcp6(REPLY, client=H2, eth_src=H1, options=options))
    assert (said.message, said.client) == ("ack", H2)
    assert said.frame == FrameSeen(
        *(7, 3, 0, H1, IPv6Address("fe80::1"), "DHCP server message")
    )
    assert said.addresses == (
        (IPv6Address("fd00::9"), 600),
        (IPv6Address("fd00::a"), 300),
    )


@pytest.mark.parametrize(("status", "count"), [(None, 1), (0, 1), (2, 0)])
def test_an_address_that_is_refused_is_not_leased(
    status: int | None, count: int
) -> None:
    options = association(("fd00::9", 600), status=status)
    said = seen(dhcp6(REPLY, client=H2, eth_src=H1, options=options))
    assert len(said.addresses) == count


def test_temporary_addresses_are_leased_too() -> None:
    """IA_TA, 21.5: its header is shorter."""
    address = option6(5, IPv6Address("fd00::b").packed + bytes(4) + b"\0\0\1\0")
    options = option6(4, bytes(4) + address)
    said = seen(dhcp6(REPLY, client=H2, eth_src=H1, options=options))
    assert said.addresses == ((IPv6Address("fd00::b"), 256),)


def test_messages_of_servers_and_of_clients_are_told_apart() -> None:
    offer = seen(dhcp6(ADVERTISE, client=H2, eth_src=H1))
    assert (offer.message, offer.frame.sends) == ("offer", "DHCP server message")
    release = seen(dhcp6(RELEASE6, client=H2, options=association(("fd00::9", 0))))
    assert (release.message, release.client) == ("release", H2)
    assert seen(dhcp6(SOLICIT, client=H2)).message == "other"
    assert seen(dhcp6(REPLY, client=H2)).message == "other"  # to a server: nonsense


# --- whatever comes -------------------------------------------------------------------

MESSAGES = [
    served(ACK, client=H2, yiaddr="10.0.0.9", seconds=60),
    dhcp6(REPLY, client=H2, eth_src=H1, options=association(("fd00::9", 600))),
]


@given(
    st.sampled_from(MESSAGES), st.integers(12, 320), st.binary(min_size=1, max_size=16)
)
def test_a_damaged_message_has_an_answer(frame: bytes, at: int, damage: bytes) -> None:
    data = bytearray(frame)
    data[at : at + len(damage)] = damage
    assert isinstance(parse(7, 3, bytes(data)), Packet)


@given(st.sampled_from(MESSAGES), st.integers(0, 320))
def test_a_message_that_is_cut_off_has_an_answer(frame: bytes, length: int) -> None:
    assert isinstance(parse(7, 3, frame[:length]), Packet)


@given(st.binary(max_size=600), st.booleans())
def test_whatever_follows_the_cookie_is_read_within_bounds(
    options: bytes, is_new: bool
) -> None:
    frame = (
        dhcp6(REPLY, client=H2, eth_src=H1, options=options)
        if is_new
        else served(ACK, client=H2, options=options)
    )
    assert isinstance(parse(7, 3, frame), Packet)
