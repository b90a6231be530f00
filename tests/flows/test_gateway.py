"""Addresses that are ours: what the switch says for a gateway, and whom it defends."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from flows.compile import compile_flows
from flows.openflow import CONTROLLER, IN_PORT
from flows.simulate import simulate
from flows.view import Proxy, View
from tests.facts import H1, H2, S1, S2, cable, heard_host, kernel_host, ports, view_of
from tests.packets import (
    Packet,
    advertisement,
    announcement,
    arp_reply,
    arp_request,
    dad,
    ipv4,
    ipv6,
    nud,
    poll,
    probe,
    solicitation,
)

GW = "02:00:00:00:00:fe"
IP, IP6 = "10.0.0.254", "fd00::fe"
V4 = Proxy("gateway", prefix=ip_network(IP), lladdr=GW)
V6 = Proxy("gateway", prefix=ip_network(IP6), lladdr=GW)
LAB = (
    ports(S1, 1, 2, 3),
    kernel_host(S1, 1, H1, "10.0.0.1", "fd00::1", nsid=0),
    kernel_host(S1, 2, H2, "10.0.0.2", "fd00::2", nsid=1),
)
OURS = view_of(*LAB, V4, V6)


def sent(view: View, packet: Packet, datapath_id: int = S1) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, datapath_id).values(), packet)


def places(view: View, packet: Packet) -> list[int]:
    return [port_no for port_no, _ in sent(view, packet)]


# --- ARP ----------------------------------------------------------------------------


@pytest.mark.parametrize("eth_dst", ["ff:ff:ff:ff:ff:ff", GW, H2])
def test_who_asks_for_a_gateway_is_answered_by_broadcast_and_by_unicast(
    eth_dst: str,
) -> None:
    """Nobody else could answer a poll (RFC 1122, 2.3.2.1)."""
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=IP, eth_dst=eth_dst)
    expected = arp_reply(in_port=1, sha=GW, spa=IP, tha=H1, tpa="10.0.0.1")
    assert sent(OURS, asked) == [(IN_PORT, expected)]


def test_a_probe_for_a_gateway_finds_it_taken() -> None:
    """RFC 5227, 2.1.1."""
    [(port_no, told)] = sent(OURS, probe(in_port=1, sha=H1, tpa=IP))
    assert (port_no, told["arp_sha"], told["arp_spa"]) == (IN_PORT, GW, IP)


@pytest.mark.parametrize("tpa", [IP, "10.0.0.2"])
def test_who_claims_a_gateway_by_a_request_is_told_the_truth(tpa: str) -> None:
    """And nobody hears the claim but the controller (RFC 5227, 2.4)."""
    claim = arp_request(in_port=1, sha=H1, spa=IP, tpa=tpa)
    told, (port_no, truth) = sent(OURS, claim)
    assert told[0] == CONTROLLER
    assert (port_no, truth["arp_op"]) == (IN_PORT, "2")
    assert (truth["arp_sha"], truth["arp_spa"]) == (GW, IP)


def test_a_reply_that_claims_a_gateway_reaches_the_controller_only() -> None:
    lie = arp_reply(in_port=1, sha=H1, spa=IP, tha=H2, tpa="10.0.0.2")
    assert places(OURS, lie) == [CONTROLLER]


def test_a_router_that_has_the_gateways_own_address_is_the_gateway() -> None:
    there = view_of(*LAB, V4, heard_host(S1, 3, GW, IP))
    for own in (
        announcement(in_port=3, sha=GW, ip=IP),
        probe(in_port=3, sha=GW, tpa=IP),
    ):
        assert places(there, own) == [1, 2]
    data = ipv4(in_port=1, eth_src=H1, eth_dst=GW, dst="192.0.2.9")
    assert sent(there, data) == [(3, data)]


# --- neighbor discovery -------------------------------------------------------------


@pytest.mark.parametrize(
    ("router", "flags"), [(True, "0xe0000000"), (False, "0x60000000")]
)
def test_a_solicitation_of_a_gateway_is_answered(router: bool, flags: str) -> None:
    """RFC 4861, 7.2.4; the flag R as the rule says."""
    rule = Proxy("gateway", prefix=ip_network(IP6), lladdr=GW, router=router)
    view = view_of(*LAB, rule)
    expected = advertisement(
        in_port=1, eth_src=GW, target=IP6, eth_dst=H1, dst="fd00::1", flags=flags
    )
    for asked in (
        solicitation(in_port=1, eth_src=H1, target=IP6),
        nud(in_port=1, eth_src=H1, src="fd00::1", eth_dst=GW, target=IP6),
    ):
        assert sent(view, asked) == [(IN_PORT, expected)]


def test_duplicate_address_detection_of_a_gateway_fails() -> None:
    """RFC 4861, 7.2.4: told to all nodes, and not solicited."""
    told, (port_no, truth) = sent(OURS, dad(in_port=1, eth_src=H1, target=IP6))
    assert (told[0], port_no) == (CONTROLLER, IN_PORT)
    assert (truth["eth_dst"], truth["ipv6_dst"]) == ("33:33:00:00:00:01", "ff02::1")
    assert (truth["nd_reserved"], truth["ipv6_nd_tll"]) == ("0xa0000000", GW)


def test_a_solicitation_without_an_option_is_left_to_the_controller() -> None:
    asked = solicitation(in_port=1, eth_src=H1, target=IP6, sll="")
    assert places(OURS, asked) == [CONTROLLER]


def test_nobody_hears_an_advertisement_that_claims_a_gateway() -> None:
    for lie in (
        advertisement(in_port=1, eth_src=H1, target=IP6),
        solicitation(in_port=1, eth_src=H1, src=IP6, target="fd00::2"),
    ):
        assert places(OURS, lie) == [CONTROLLER]


# --- echo ---------------------------------------------------------------------------


def test_an_echo_request_to_a_gateway_is_answered() -> None:
    """RFC 792: addresses change places, the type is 0."""
    asked = ipv4(in_port=1, eth_src=H1, eth_dst=GW, dst=IP)
    [(port_no, answer)] = sent(OURS, asked)
    expected = ipv4(in_port=1, eth_src=GW, eth_dst=H1, src=IP, dst="10.0.0.1")
    assert port_no == IN_PORT
    assert answer == expected | {"icmpv4_type": "0", "ip_ttl": "64"}


def test_an_ipv6_echo_request_to_a_gateway_is_answered() -> None:
    """RFC 4443, 4.2."""
    asked = ipv6(in_port=1, eth_src=H1, eth_dst=GW, dst=IP6) | {"ip_ttl": "7"}
    [(port_no, answer)] = sent(OURS, asked)
    expected = ipv6(in_port=1, eth_src=GW, eth_dst=H1, src=IP6, dst="fd00::1")
    assert (port_no, answer) == (IN_PORT, expected | {"icmpv6_type": "129"})


def test_what_a_gateway_cannot_answer_is_dropped_and_never_flooded() -> None:
    for packet in (
        ipv4(in_port=1, eth_src=H1, eth_dst=GW, dst="192.0.2.9"),
        ipv4(in_port=1, eth_src=H1, eth_dst=GW, dst=IP) | {"icmpv4_type": "13"},
        ipv6(in_port=1, eth_src=H1, eth_dst=GW, dst="2001:db8::9"),
    ):
        assert sent(OURS, packet) == []
    notes = [flow.note for flow in compile_flows(OURS, S1).values()]
    assert f"drop: the gateway {GW} answers questions, and routes nothing" in notes


# --- where it holds -----------------------------------------------------------------


def test_a_gateway_of_one_vlan_is_answered_for_there_alone() -> None:
    view = view_of(*LAB, Proxy("gateway", vlan=5, prefix=ip_network(IP), lladdr=GW))
    for vlan, answered in ((5, True), (0, False), (6, False)):
        asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=IP, vlan=vlan)
        assert (IN_PORT in places(view, asked)) == answered
        echo = ipv4(in_port=1, eth_src=H1, eth_dst=GW, dst=IP, vlan=vlan)
        assert (IN_PORT in places(view, echo)) == answered


def test_a_rule_for_one_vlan_is_nearer_than_one_for_all() -> None:
    other = "02:00:00:00:00:fd"
    view = view_of(
        *LAB,
        V4,
        Proxy("gateway", vlan=5, prefix=ip_network(IP), lladdr=other),
        Proxy("off", vlan=6, prefix=ip_network(IP)),
    )

    def answer(vlan: int) -> str:
        asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=IP, vlan=vlan)
        told = [packet for port, packet in sent(view, asked) if port == IN_PORT]
        return told[0]["arp_sha"] if told else ""

    assert [answer(vlan) for vlan in (0, 5, 6, 7)] == [GW, other, "", GW]


def test_a_gateway_of_another_bridge_is_asked_for_everywhere() -> None:
    view = view_of(*LAB, Proxy("gateway", "br9", None, ip_network(IP), GW))
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=IP)
    assert sent(view, asked) == [(2, asked), (3, asked)]


def test_a_host_that_the_kernel_shows_with_a_gateways_address_is_not_answered_for() -> (
    None
):
    """The operator's word is stronger."""
    view = view_of(*LAB, kernel_host(S1, 3, "02:00:00:00:00:03", IP, nsid=2), V4)
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=IP)
    [(_, told)] = sent(view, asked)
    assert told["arp_sha"] == GW


def test_a_gateway_is_answered_for_at_the_askers_own_switch() -> None:
    line = view_of(cable((S1, 9), (S2, 8)), heard_host(S1, 1, H1, "10.0.0.1"), V4)
    asked = poll(in_port=1, sha=H1, spa="10.0.0.1", tha=GW, tpa=IP)
    [(port_no, _)] = sent(line, asked, S1)
    assert port_no == IN_PORT
    assert sent(line, asked | {"in_port": "8"}, S2) == []
