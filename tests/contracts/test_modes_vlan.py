"""Rules for one VLAN: frames with its tag, and with none or another one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.segment import Segment, Station, only, segment_of
from tests.support import frames
from tests.support.ovs import PrivateOvs

pytestmark = [pytest.mark.root, pytest.mark.ovs]

GATEWAY, MIDDLE, ROUTER = (f"02:00:00:00:01:0{n}" for n in (1, 2, 3))
RULES = f"""
proxy:
  - {{mode: gateway, ip: 10.1.9.9, lladdr: "{GATEWAY}", vlan: 5}}
  - {{mode: interpose, prefix: 10.1.0.0/25, lladdr: "{MIDDLE}", vlan: 6}}
  - {{mode: private, bridge: br0, vlan: 7, promiscuous: [w5], lladdr: "{ROUTER}"}}
"""


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    with PrivateOvs() as ovs, segment_of(ovs, RULES) as made:
        yield made


def answer(asker: Station, ip: str, lladdr: str, vlan: int, priority: int = 0) -> bytes:
    return frames.arp(
        op=frames.REPLY,
        sha=lladdr,
        spa=ip,
        tha=asker.lladdr,
        tpa=asker.ip,
        eth_dst=asker.lladdr,
        tags=(vlan,),
        priority=priority,
    )


def known(
    segment: Segment, port_no: int, vlan: int, lladdr: str = "", ip: str = ""
) -> Station:
    made = segment.station(port_no)
    made = Station(made.wire, lladdr or made.lladdr, ip or made.ip, made.ip6)
    made.announces(vlan=vlan)
    segment.wait(
        lambda: made.lladdr in segment.told(made.ip), f"{made.ip} is known on {vlan}"
    )
    return made


def test_a_gateway_of_one_vlan_answers_there_and_with_its_tag(
    segment: Segment,
) -> None:
    asker = segment.station(4)
    wire = asker.wire
    asked = asker.asks("10.1.9.9", tags=(5,), priority=3)
    heard = segment.after(wire, asked)
    assert heard == only(4, answer(asker, "10.1.9.9", GATEWAY, 5, priority=3))


@pytest.mark.parametrize("tags", [(), (6,)])
def test_a_gateway_of_one_vlan_is_nobody_elsewhere(
    segment: Segment, tags: tuple[int, ...]
) -> None:
    asker = segment.station(4)
    heard = segment.after(asker.wire, asker.asks("10.1.9.9", tags=tags))
    assert not any(map(frames.is_arp_reply, heard.get(4, [])))


def test_who_stands_between_two_of_a_vlan_is_named_with_its_tag(
    segment: Segment,
) -> None:
    known(segment, 5, 6, MIDDLE, "10.1.0.200")
    inside = known(segment, 3, 6)
    outside = known(segment, 4, 6, ip="10.1.0.201")
    segment.wait(
        lambda: f"set_field:{MIDDLE}->eth_dst" in segment.flows("br0"), "the firewall"
    )
    for asker, ip in ((outside, inside.ip), (inside, outside.ip)):
        heard = segment.after(asker.wire, asker.asks(ip, tags=(6,)))
        assert heard == only(asker.wire.port_no, answer(asker, ip, MIDDLE, 6))


def test_what_goes_between_them_passes_it_with_its_tag(segment: Segment) -> None:
    middle = segment.wires[5]
    inside = known(segment, 3, 6)
    outside = known(segment, 4, 6, ip="10.1.0.202")
    sent = frames.ipv4(
        eth_src=outside.lladdr,
        eth_dst=inside.lladdr,
        src=outside.ip,
        dst=inside.ip,
        tags=(6,),
    )
    heard = segment.after(outside.wire, sent)
    assert list(heard) == [middle.port_no]
    [arrived] = heard[middle.port_no]
    assert arrived[12:18] == sent[12:18]  # the tag, and what is behind it
    assert arrived[:6].hex(":") == MIDDLE


def test_neighbors_of_a_private_vlan_are_told_of_their_router(
    segment: Segment,
) -> None:
    known(segment, 5, 7, ROUTER, "10.1.3.1")
    one, other = known(segment, 3, 7), known(segment, 4, 7)
    heard = segment.after(one.wire, one.asks(other.ip, tags=(7,)))
    assert heard == only(3, answer(one, other.ip, ROUTER, 7))


def test_neighbors_of_a_private_vlan_do_not_reach_each_other(
    segment: Segment,
) -> None:
    known(segment, 5, 7, ROUTER, "10.1.3.1")
    one, other = known(segment, 3, 7), known(segment, 4, 7)
    sent = frames.ipv4(
        eth_src=one.lladdr,
        eth_dst=other.lladdr,
        src=one.ip,
        dst=other.ip,
        tags=(7,),
    )
    assert 4 not in segment.after(one.wire, sent)
