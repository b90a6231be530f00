"""What is on the wire is golden, octet by octet, and others read it as we mean it.

The octets are in tests/golden; tests/controller/test_golden.py compares our encoders.
"""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6

from flows import wire
from flows.compile import compile_flows
from flows.document import from_json
from tests.conftest import require_programs
from tests.contracts.conftest import private_ovs
from tests.contracts.segment import H2, IP1, Segment, Station, only, segment_of
from tests.support.frames import arp, framed, na, nonce, ns
from tests.support.golden import ALL, Golden, golden
from tests.support.openflow import Channel, Message
from tests.support.wires import Wire

pytestmark = [pytest.mark.root, pytest.mark.ovs]

HEADER_OF_BUNDLES = 16  # octets of a body: ONF, kind, bundle_id, flags


LINK1 = "fe80::ff:fe00:1"
GATEWAY, GATEWAY_IP, GATEWAY_IP6 = "02:00:00:00:00:fd", "10.0.0.254", "fd00::fd"
CONFIG = f"""
guard: watch
defend: true
proxy:
- {{mode: gateway, ip: {GATEWAY_IP}, lladdr: "{GATEWAY}"}}
- {{mode: gateway, ip: "{GATEWAY_IP6}", lladdr: "{GATEWAY}"}}
"""


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    with private_ovs() as ovs, segment_of(ovs, CONFIG) as made:
        yield made


@pytest.fixture
def asker(segment: Segment) -> Station:
    return Station(segment.wires[4], "02:00:00:00:00:0a", "10.0.0.10", "fd00::a")


@pytest.fixture
def holder(segment: Segment) -> Station:
    return Station(segment.wires[3], "02:00:00:00:00:0b", "10.0.0.11", "fd00::b")


def answer_to(segment: Segment, asker: Station, question: bytes) -> list[bytes]:
    """What comes back as soon as anything does; nobody else hears the question then."""
    heard: list[dict[int, list[bytes]]] = []

    def is_answered() -> bool:
        heard.append(segment.after(asker.wire, question))
        return asker.wire.port_no in heard[-1]

    segment.wait(is_answered, "an answer")
    assert heard[-1].keys() == {asker.wire.port_no}
    return heard[-1][asker.wire.port_no]


def octets(message: Message) -> bytes:
    """As it was, with xid 0, and bundle_id 0, which count up."""
    body = message.body
    if message.kind == wire.EXPERIMENTER:
        body = body[:8] + bytes(4) + body[12:]
        inner = body[HEADER_OF_BUNDLES:]
        body = body[:HEADER_OF_BUNDLES] + inner[:4] + bytes(4 * bool(inner)) + inner[8:]
    return struct.pack("!BBHI", 4, message.kind, 8 + len(body), 0) + body


def said_until(ear: Channel, name: str) -> list[bytes]:
    """Messages of both sides, up to the golden one."""
    said = [octets(ear.hear())]
    while said[-1] != golden(name):
        said.append(octets(ear.hear()))
    return said


def hears(segment: Segment, wire: Wire, frame: bytes) -> None:
    """Sooner or later, also what comes from the controller unasked."""
    segment.wait(lambda: frame in wire.heard(), "the frame")


# --- what the controller sends unasked ------------------------------------------------


def test_who_claims_what_another_holds_is_polled(
    segment: Segment, holder: Station
) -> None:
    """By unicast.  First of all tests, as the holder must be news."""
    with segment.plugged("w8", 8):
        other = replace(segment.station(8), ip=holder.ip, ip6=holder.ip6)
        other.announces()
        other.advertises()
        for ip in (holder.ip, holder.ip6):
            segment.wait(lambda ip=ip: segment.answers(ip), "the other")  # type: ignore[misc]
        with Channel(segment.ovs.directory / "br0.snoop") as ear:
            holder.announces()
            hears(segment, holder.wire, golden("arp-poll"))
            said_until(ear, "of-packet-out")
        holder.advertises()
        hears(segment, holder.wire, golden("ns-poll"))


def test_an_owner_is_announced_when_somebody_else_claims_its_address(
    segment: Segment,
) -> None:
    """To everybody but itself: it may just probe its address anew."""
    claims = (
        (arp(sha=H2, spa=IP1, tpa=IP1), "arp-announcement-for-an-owner"),
        (na(eth_src=H2, target=LINK1), "na-announcement-for-an-owner"),
    )
    with segment.listen(segment.h2) as liar, segment.listen(segment.h1) as owner:
        for claim, name in claims:
            segment.silence()
            liar.send(claim)
            for wire in (segment.wires[3], segment.wires[7], liar):
                hears(segment, wire, golden(name))
        segment.settle()
        heard = owner.heard()
    assert claims[0][0] in heard
    assert not {golden(name) for _, name in claims} & set(heard)


# --- answers of the switch ------------------------------------------------------------


def test_the_switch_answers_arp(
    segment: Segment, asker: Station, holder: Station
) -> None:
    holder.announces()
    told = answer_to(segment, asker, asker.asks(holder.ip))
    assert told == [golden("arp-answer")]
    told = answer_to(segment, asker, asker.asks(holder.ip, spa="0.0.0.0"))
    assert told == [golden("arp-answer-to-a-probe")]
    holder.announces(vlan=5)
    told = answer_to(segment, asker, asker.asks(holder.ip, tags=(5,)))
    assert told == [golden("arp-answer-in-a-vlan")]


def test_the_switch_answers_neighbor_solicitations(
    segment: Segment, asker: Station, holder: Station
) -> None:
    holder.advertises()
    told = answer_to(segment, asker, asker.solicits(holder.ip6))
    assert told == [golden("na-answer")]
    holder.advertises(vlan=5)
    told = answer_to(segment, asker, asker.solicits(holder.ip6, tags=(5,)))
    assert told == [golden("na-answer-in-a-vlan")]


def test_switch_and_controller_answer_duplicate_address_detection(
    segment: Segment, asker: Station, holder: Station
) -> None:
    holder.advertises()
    assert answer_to(segment, asker, asker.solicits(holder.ip6))
    probe = {"eth_src": asker.lladdr, "target": holder.ip6}
    told = answer_to(segment, asker, ns(**probe, options=(nonce(),)))
    assert told == [golden("na-defence")]
    segment.silence()
    asker.wire.send(ns(**probe, options=()))
    segment.consider()
    both = [golden("na-defence-without-room"), golden("na-defence")]
    assert segment.heard(asker.wire) == both


def test_the_controller_answers_who_leaves_no_room(
    segment: Segment, asker: Station, holder: Station
) -> None:
    holder.advertises()
    assert answer_to(segment, asker, asker.solicits(holder.ip6))
    segment.silence()
    asker.wire.send(asker.solicits(holder.ip6, options=()))
    segment.consider()
    assert segment.heard(asker.wire) == [golden("na-answer")]


def test_who_becomes_a_router_is_answered_for_as_one(
    segment: Segment, asker: Station, holder: Station
) -> None:
    router = golden("na-answer-of-a-router")
    question = asker.solicits(holder.ip6)
    holder.advertises(router=True)
    segment.wait(
        lambda: answer_to(segment, asker, question) == [router], "it is a router"
    )
    holder.advertises()
    host = golden("na-answer")
    segment.wait(lambda: answer_to(segment, asker, question) == [host], "it is none")


def test_the_switch_answers_as_a_gateway_of_its_own(
    segment: Segment, asker: Station
) -> None:
    """Everybody, and by unicast, too: nobody else could."""
    to: dict[str, Any] = {"eth_src": asker.lladdr, "eth_dst": GATEWAY}
    ping = IP(src=asker.ip, dst=GATEWAY_IP, id=1, ttl=9) / ICMP(id=7, seq=1) / b"isat"
    ping6 = IPv6(src=asker.ip6, dst=GATEWAY_IP6, hlim=9) / ICMPv6EchoRequest(
        id=7, seq=1, data=b"isat"
    )
    poll6 = {"dst": GATEWAY_IP6, "eth_dst": GATEWAY}
    for question, name in (
        (asker.asks(GATEWAY_IP), "arp-answer-of-a-gateway"),
        (asker.asks(GATEWAY_IP, eth_dst=GATEWAY), "arp-answer-of-a-gateway"),
        (framed(ping, **to, eth_type=0x0800), "echo-reply-of-a-gateway"),
        (asker.solicits(GATEWAY_IP6), "na-answer-of-a-gateway"),
        (asker.solicits(GATEWAY_IP6, **poll6), "na-answer-of-a-gateway"),
        (framed(ping6, **to, eth_type=0x86DD), "echo-reply-of-a-gateway-in-ipv6"),
    ):
        assert segment.after(asker.wire, question) == only(4, golden(name))


# --- messages -------------------------------------------------------------------------


def test_a_change_is_one_bundle_of_the_flows_that_the_view_yields(
    segment: Segment,
) -> None:
    """New before old: all of it between an open and a commit, in order."""

    def compiled() -> set[bytes]:
        view = from_json(segment.asked("view"))
        [br0] = (d for d, bridge in view.bridges.items() if bridge.name == "br0")
        return set(map(wire.flow_mod, compile_flows(view, br0).values()))

    before = compiled()
    with Channel(segment.ovs.directory / "br0.snoop") as ear:
        segment.known(6)
        said = said_until(ear, "of-barrier-request")
    opened = said.index(golden("of-bundle-open"))
    committed = said.index(golden("of-bundle-commit"))
    head = golden("of-bundle-add")[8 : 8 + HEADER_OF_BUNDLES]
    is_added = [message[8 : 8 + HEADER_OF_BUNDLES] == head for message in said]
    assert [*filter(is_added.__getitem__, range(len(said)))] == [
        n for n in range(opened + 1, committed) if is_added[n]
    ]
    added = {m[8 + HEADER_OF_BUNDLES :] for m in compress(said, is_added)}
    assert added == compiled() - before


def test_a_switch_that_is_back_is_asked_what_it_holds(segment: Segment) -> None:
    with Channel(segment.ovs.directory / "br0.snoop") as ear:
        segment.ovs.appctl("bridge/reconnect", "br0")
        said_until(ear, "of-flows-request")


# --- other readers --------------------------------------------------------------------


def frame_as_read(octets: bytes, place: Path) -> str:
    """By tcpdump, from a file of pcap-savefile(5)."""
    require_programs("tcpdump")
    ethernet = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 16, 1)
    place.write_bytes(ethernet + struct.pack("<4I", 0, 0, *[len(octets)] * 2) + octets)
    command = ("tcpdump", "-entvvvr", str(place))
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def message_as_read(octets: bytes) -> str:
    command = ("ovs-ofctl", "ofp-print", octets.hex())
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("written", ALL.values(), ids=ALL)
def test_another_program_reads_what_was_meant(written: Golden, tmp_path: Path) -> None:
    if written.is_openflow:
        told = message_as_read(written.octets)
    else:
        told = frame_as_read(written.octets, tmp_path / "frame.pcap")
    assert written.read_as
    for phrase in written.read_as:
        assert phrase in told
