"""The host behind a tap, without a tap: what it says to what it hears."""

from __future__ import annotations

import argparse
from ipaddress import IPv4Address

import pytest

from topologies.taphost import (
    ANNOUNCE_INTERVAL,
    BROADCAST,
    Arp,
    Me,
    Ping,
    Result,
    TapHost,
    announcement,
    arp_answer,
    arp_frame,
    checksum,
    echo_answer,
    interface_name,
    mac_address,
)

ME = Me(IPv4Address("10.0.0.7"), bytes.fromhex("020000000007"))
H1 = Me(IPv4Address("10.0.0.1"), bytes.fromhex("020000000001"))
NOBODY = bytes(6)
UNSPECIFIED = IPv4Address(0)


def request(
    spa: IPv4Address = H1.ip, tpa: IPv4Address = ME.ip, sha: bytes = H1.mac
) -> bytes:
    return arp_frame(BROADCAST, Arp(1, sha, spa, NOBODY, tpa))


# Recorded with tcpdump -XX from `ping -c1 -s 4 10.0.0.7` of a Linux host.
ECHO = bytes.fromhex(
    "020000000007 020000000001 0800"
    "4500 0020 3e25 4000 4001 e8b0 0a000001 0a000007"
    "0800 7ca1 7959 0001 00010203"
)


# --- ARP ------------------------------------------------------------------------


def test_an_announcement_is_a_request_for_the_own_address_to_everybody() -> None:
    assert announcement(ME) == bytes.fromhex(
        "ffffffffffff 020000000007 0806"
        "0001 0800 06 04 0001"
        "020000000007 0a000007 000000000000 0a000007"
    )


def test_a_request_for_its_address_is_answered_to_the_sender() -> None:
    assert arp_answer(ME, request()) == bytes.fromhex(
        "020000000001 020000000007 0806"
        "0001 0800 06 04 0002"
        "020000000007 0a000007 020000000001 0a000001"
    )


def test_a_padded_request_is_answered() -> None:
    assert arp_answer(ME, request() + bytes(18)) == arp_answer(ME, request())


def test_a_probe_for_its_address_is_answered() -> None:
    """RFC 5227, 2.6: a reply may be unicast, to the prober."""
    answer = arp_answer(ME, request(spa=UNSPECIFIED))
    assert answer == arp_frame(H1.mac, Arp(2, ME.mac, ME.ip, H1.mac, UNSPECIFIED))


@pytest.mark.parametrize(
    "frame",
    [
        request(tpa=IPv4Address("10.0.0.8")),
        request(spa=ME.ip),
        request(sha=b"\x03" + H1.mac[1:]),
        request(sha=NOBODY),
        request()[:41],
        request()[:20] + b"\x00\x02" + request()[22:],
        request()[:12] + b"\x81\x00\x00\x05" + request()[12:],
        request()[:15] + b"\x06" + request()[16:],
        b"",
    ],
    ids=[
        "for another",
        "with its own address as sender",
        "from a group address",
        "from no address",
        "cut short",
        "a reply",
        "in a VLAN",
        "of other hardware",
        "nothing",
    ],
)
def test_other_arp_is_ignored(frame: bytes) -> None:
    assert arp_answer(ME, frame) is None


# --- ICMP echo ------------------------------------------------------------------


def test_an_echo_is_answered_with_its_data_and_sound_checksums() -> None:
    assert echo_answer(ME, ECHO) == bytes.fromhex(
        "020000000001 020000000007 0800"
        "4500 0020 0000 0000 4001 66d6 0a000007 0a000001"
        "0000 84a1 7959 0001 00010203"
    )


def test_the_padding_of_a_short_frame_is_not_echoed() -> None:
    assert echo_answer(ME, ECHO + bytes(14)) == echo_answer(ME, ECHO)


@pytest.mark.parametrize("length", [0, 1, 7, 1400])
def test_checksums_are_right_for_data_of_every_length(length: int) -> None:
    header = bytearray(ECHO[14:34])
    header[2:4] = (28 + length).to_bytes(2, "big")
    header[10:12] = bytes(2)
    header[10:12] = checksum(bytes(header)).to_bytes(2, "big")
    message = b"\x08\x00\x00\x00\x3a\x5a\x00\x01" + bytes(range(7)) * 200
    message = message[: 8 + length]
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]

    answer = echo_answer(ME, ECHO[:14] + bytes(header) + message)

    assert answer is not None
    assert (checksum(answer[14:34]), checksum(answer[34:])) == (0, 0)
    assert answer[42:] == message[8:]


def changed(offset: int, octets: bytes) -> bytes:
    """The echo with other octets, and a header checksum that is right again."""
    frame = bytearray(ECHO)
    frame[offset : offset + len(octets)] = octets
    frame[24:26] = bytes(2)
    frame[24:26] = checksum(bytes(frame[14:34])).to_bytes(2, "big")
    return bytes(frame)


@pytest.mark.parametrize(
    "frame",
    [
        changed(0, BROADCAST),
        changed(30, IPv4Address("10.0.0.8").packed),
        changed(34, b"\x08\x01"),
        changed(20, b"\x20\x00"),
        changed(20, b"\x00\x01"),
        changed(23, b"\x11"),
        changed(16, b"\x00\x30"),
        changed(14, b"\x4f"),
        changed(14, b"\x65"),
        changed(26, IPv4Address("224.0.0.1").packed),
        ECHO[:24] + b"\x00\x00" + ECHO[26:],
        ECHO[:-1],
        ECHO[:20],
    ],
    ids=[
        "broadcast",
        "to another address",
        "with a wrong ICMP checksum",
        "the first fragment",
        "a later fragment",
        "UDP",
        "longer than its frame",
        "header longer than the packet",
        "IP version 6",
        "from a group",
        "with a wrong header checksum",
        "cut short",
        "without a header",
    ],
)
def test_other_ip_is_ignored(frame: bytes) -> None:
    assert echo_answer(ME, frame) is None


# --- when it speaks by itself ---------------------------------------------------


def spoken(host: TapHost, until: float) -> list[tuple[float, bytes]]:
    """What the host says by itself, and when, if nothing is heard."""
    said: list[tuple[float, bytes]] = []
    while (deadline := host.deadline()) is not None and deadline <= until:
        said += [(deadline, frame) for frame in host.due(deadline)]
    return said


def test_it_announces_itself_twice_when_its_carrier_comes_up() -> None:
    host = TapHost(ME)
    host.link(carrier=True, taken=False, now=10.0)

    assert spoken(host, until=100.0) == [
        (10.0, announcement(ME)),
        (10.0 + ANNOUNCE_INTERVAL, announcement(ME)),
    ]


def test_it_announces_itself_again_when_a_switch_takes_its_interface() -> None:
    host = TapHost(ME)
    host.link(carrier=True, taken=False, now=10.0)
    spoken(host, until=100.0)

    host.link(carrier=True, taken=True, now=100.0)

    assert [when for when, _ in spoken(host, until=200.0)] == [100.0, 102.0]


def test_it_says_nothing_new_when_the_switch_lets_go_or_another_property_changes() -> (
    None
):
    host = TapHost(ME)
    host.link(carrier=True, taken=True, now=10.0)
    spoken(host, until=100.0)

    host.link(carrier=True, taken=True, now=100.0)
    host.link(carrier=True, taken=False, now=101.0)

    assert spoken(host, until=200.0) == []


def test_it_stops_announcing_when_its_carrier_is_gone() -> None:
    host = TapHost(ME)
    host.link(carrier=True, taken=False, now=10.0)
    host.link(carrier=False, taken=False, now=11.0)

    assert spoken(host, until=100.0) == []


# --- what it asks ---------------------------------------------------------------


def asking(told: list[Result | None], count: int = 1) -> TapHost:
    host = TapHost(ME)

    def remember(result: Result | None) -> bool:
        told.append(result)
        return True

    host.pings.append(
        Ping(
            H1.ip, count, wait=1.0, interval=0.2, identifier=5, told=remember, next_at=0
        )
    )
    return host


def answered_by_h1(frame: bytes) -> bytes:
    """H1 is a host like this one."""
    answer = arp_answer(H1, frame) or echo_answer(H1, frame)
    assert answer is not None
    return answer


def test_a_ping_asks_for_the_address_then_sends_an_echo_and_tells_how_long() -> None:
    told: list[Result | None] = []
    host = asking(told)

    [question] = host.due(0.0)
    [echo] = host.receive(answered_by_h1(question), 0.25)
    assert list(host.receive(answered_by_h1(echo), 0.5)) == []
    assert list(host.due(0.5)) == []

    assert told == [Result(1, 500.0), None]
    assert host.deadline() is None


def test_further_echoes_use_the_address_that_was_heard() -> None:
    told: list[Result | None] = []
    host = asking(told, count=2)
    [question] = host.due(0.0)
    [echo] = host.receive(answered_by_h1(question), 0.0)
    list(host.receive(answered_by_h1(echo), 0.0))

    assert host.deadline() == 0.2
    [second] = host.due(0.2)
    list(host.receive(answered_by_h1(second), 0.25))

    assert [result.sequence for result in told if result] == [1, 2]


def test_a_ping_without_answer_is_lost_after_its_time() -> None:
    told: list[Result | None] = []
    host = asking(told, count=2)

    asked = [when for when, _ in spoken(host, until=100.0)]

    assert asked == [0.0, 1.0]
    assert told == [Result(1, None), Result(2, None), None]


def test_an_echo_reply_to_somebody_elses_ping_is_no_answer() -> None:
    told: list[Result | None] = []
    host = asking(told)
    [question] = host.due(0.0)
    [echo] = host.receive(answered_by_h1(question), 0.0)
    reply = answered_by_h1(echo)
    # Identifier and checksum change together: the sum stays the same.
    other = bytearray(reply)
    other[36:38] = (int.from_bytes(reply[36:38], "big") - 1).to_bytes(2, "big")
    other[38:40] = (int.from_bytes(reply[38:40], "big") + 1).to_bytes(2, "big")
    assert checksum(bytes(other[34:])) == 0

    list(host.receive(bytes(other), 0.1))

    assert told == []


def test_a_client_that_went_away_gets_no_more_echoes() -> None:
    host = asking([], count=5)
    host.pings[0].told = lambda _result: False

    assert len(spoken(host, until=100.0)) == 1


# --- the command line -----------------------------------------------------------


@pytest.mark.parametrize("text", ["", "02:00:00:00:00", "02-00-00-00-00-07", "zz:" * 6])
def test_a_malformed_hardware_address_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="not six octets"):
        mac_address(text)


@pytest.mark.parametrize("text", ["01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_a_hardware_address_of_no_single_station_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="one station"):
        mac_address(text)


@pytest.mark.parametrize("text", ["", "sixteen-letters-", "a/b"])
def test_a_name_that_no_interface_can_have_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="1 to 15 octets"):
        interface_name(text)
