"""A packet on its way through flows."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from flows import arp
from flows.openflow import (
    CONTROLLER,
    ETH_ARP,
    IN_PORT,
    Action,
    Flow,
    GotoTable,
    Match,
    Move,
    Output,
    SetField,
    oxm,
)
from flows.simulate import Ambiguous, simulate
from flows.simulate import entry as ready
from tests.packets import (
    BROADCAST,
    H1,
    H2,
    arp_request,
    frame,
    ipv4,
    ipv6,
    solicitation,
)

REQUEST = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
TAGGED = {**REQUEST, "vlan_vid": "0x1005"}


def entry(match: Match, *actions: Action, table: int = 0, priority: int = 1) -> Flow:
    return Flow(table, priority, match, actions)


def test_a_request_becomes_its_own_answer() -> None:
    answer = arp.answer(0, 0, IPv4Address("10.0.0.2"), H2)

    [(port, reply)] = simulate([answer], REQUEST)

    assert port == IN_PORT
    assert reply == {
        "in_port": "1",
        "eth_src": H2,
        "eth_dst": H1,
        "eth_type": "0x806",
        "arp_op": "2",
        "arp_sha": H2,
        "arp_spa": "10.0.0.2",
        "arp_tha": H1,
        "arp_tpa": "10.0.0.1",
    }


def test_a_flow_is_told_by_its_own_note_and_not_by_that_of_one_like_it() -> None:
    one, other = (
        Flow(0, 1, oxm(), (), note=f"{who} is not there") for who in ("one", "other")
    )
    assert one == other
    assert ready(one).flow.note != ready(other).flow.note


def test_a_packet_that_nothing_matches_is_dropped() -> None:
    other = entry(oxm(eth_dst=H2), Output(2))

    assert simulate([], REQUEST) == []
    assert simulate([other], REQUEST) == []


def test_the_greatest_priority_wins() -> None:
    flows = [
        entry(oxm(), Output(2), priority=1),
        entry(oxm(in_port=1), Output(3), priority=9),
        entry(oxm(in_port=2), Output(4), priority=10),
    ]

    assert [port for port, _ in simulate(flows, REQUEST)] == [3]


def test_two_flows_with_one_right_and_different_actions_are_a_mistake() -> None:
    flows = [
        entry(oxm(in_port=1), Output(2)),
        entry(oxm(eth_dst=BROADCAST), Output(3)),
    ]

    with pytest.raises(Ambiguous, match="in_port=1"):
        simulate(flows, REQUEST)
    assert simulate([flows[0], entry(oxm(), Output(2))], REQUEST)


@pytest.mark.parametrize(
    ("match", "does"),
    [
        (oxm(eth_type=ETH_ARP, arp_spa="10.0.0.0/24"), True),
        (oxm(eth_type=ETH_ARP, arp_spa="10.0.1.0/24"), False),
        (oxm(eth_dst="01:00:00:00:00:00/01:00:00:00:00:00"), True),
        (oxm(eth_src="01:00:00:00:00:00/01:00:00:00:00:00"), False),
        (oxm(vlan_vid="0x1000/0x1000"), False),
        (oxm(vlan_vid=0), True),
        (oxm(reg0=0, reg1=0), True),
        (oxm(reg0=1), False),
    ],
)
def test_a_mask_leaves_the_rest_open(match: Match, does: bool) -> None:
    assert bool(simulate([entry(match, Output(2))], REQUEST)) is does


@pytest.mark.parametrize("name", ["arp_spa", "arp_tpa"])
def test_a_field_that_the_packet_has_not_does_not_match_zero(name: str) -> None:
    """A switch would refuse this flow; a packet without ARP has no sender address."""
    zero = entry(oxm(**{name: "0.0.0.0"}), Output(2))

    assert simulate([zero], ipv4(in_port=1, eth_src=H1, eth_dst=H2)) == []


def test_a_field_that_the_packet_has_not_cannot_be_written() -> None:
    packet = frame(in_port=1, eth_src=H1, eth_dst=H2, eth_type=0x1234)
    actions = (SetField("arp_op", "2"), Move("arp_spa", "reg0"), Output(2))

    assert simulate([entry(oxm(), *actions)], packet) == [(2, packet)]


def test_each_output_sends_the_packet_as_it_is_by_then() -> None:
    actions = (Output(2), SetField("eth_dst", H2), Output(CONTROLLER))

    (first, before), (second, after) = simulate([entry(oxm(), *actions)], REQUEST)

    assert (first, second) == (2, CONTROLLER)
    assert (before["eth_dst"], after["eth_dst"]) == (BROADCAST, H2)


def test_a_packet_does_not_leave_by_its_own_port_unless_told() -> None:
    flood = entry(oxm(), Output(1), Output(2), Output(IN_PORT))

    assert [port for port, _ in simulate([flood], REQUEST)] == [2, IN_PORT]


def test_a_later_table_sees_what_earlier_ones_wrote() -> None:
    flows = [
        entry(
            oxm(vlan_vid="0x1000/0x1000"),
            Move("vlan_vid", "reg1", bits=12),
            SetField("reg0", "1"),
            GotoTable(2),
        ),
        entry(oxm(reg0=1, reg1=5), Output(2), table=2),
    ]

    assert simulate(flows, TAGGED) == [(2, TAGGED)]
    assert simulate(flows, REQUEST) == []


def test_a_part_of_a_register_is_moved_and_the_rest_stays() -> None:
    flows = [
        entry(
            oxm(),
            SetField("reg0", "0xff"),
            SetField("reg1", "0x100"),
            Move("reg0", "reg1", bits=4),
            GotoTable(1),
        ),
        entry(oxm(reg1=0x10F), Output(2), table=1),
    ]

    assert simulate(flows, REQUEST) == [(2, REQUEST)]


def test_four_registers_are_one_wide_register() -> None:
    flows = [
        entry(oxm(), Move("ipv6_src", "xxreg1"), GotoTable(1)),
        entry(oxm(reg4="0xfd000000", reg5=0, reg6=0, reg7=1), Output(2), table=1),
    ]
    packet = ipv6(in_port=1, eth_src=H1, eth_dst=H2, src="fd00::1")

    assert simulate(flows, packet) == [(2, packet)]
    assert simulate(flows, packet | {"ipv6_src": "fd00::1:1"}) == []


def test_a_lladdr_fills_the_lowest_bits_of_a_wide_register() -> None:
    flows = [
        entry(
            oxm(),
            SetField("xxreg2", hex((1 << 128) - 1)),
            Move("eth_src", "xxreg2", bits=48),
            GotoTable(1),
        ),
        entry(oxm(reg9="0xffffffff", reg10="0xffff0200", reg11=1), Output(2), table=1),
    ]

    assert simulate(flows, REQUEST) == [(2, REQUEST)]


def test_a_packet_of_another_type_has_other_fields() -> None:
    """RFC 4861, 4.3 and 4.4: an advertisement has no source link-layer address."""
    question = solicitation(in_port=1, eth_src=H1)
    turned = entry(oxm(), SetField("icmpv6_type", "136"), Output(2))

    [(_, advertisement)] = simulate([turned], question)

    assert question.keys() - advertisement.keys() == {"ipv6_nd_sll"}


def test_going_back_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="forward only"):
        simulate([entry(oxm(), GotoTable(0))], REQUEST)
