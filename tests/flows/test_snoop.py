"""DHCP at guarded ports, and what a lease lets its holder do: flows."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.dispute import Kind, Said, contradiction
from flows.network import network
from flows.openflow import CONTROLLER
from flows.parties import Origin
from flows.pipeline import TABLE_IDS
from flows.simulate import simulate
from flows.view import (
    Bridge,
    Claim,
    Guard,
    PortKey,
    Service,
    Station,
    View,
)
from tests.facts import H1, H2, H3, S1, S2, cable, heard_host, ports, view_of
from tests.packets import (
    BROADCAST,
    Packet,
    advertisement,
    announcement,
    arp_request,
    ipv4,
    ipv6,
    probe,
    solicitation,
)

ENFORCE, WATCH = Guard("enforce"), Guard("watch")
SERVER = Service("dhcp", True, "s1", "s1-eth1")
GROUP = "33:33:00:01:00:02"

# A DHCP server at port 1, at port 2 a client of it, at port 3 somebody else.
LEASED = Station(
    *(S1, 0, H2, 2, 0.0),
    claims=(
        Claim(IPv4Address("10.0.0.2"), 0.0, leased_until=3600.0),
        Claim(IPv4Address("10.0.0.8"), 0.0),
    ),
)
LAB = (
    Bridge(S1, "s1"),
    [*ports(S1, 1, 2, 3, 4)],
    heard_host(S1, 1, H1, "10.0.0.1"),
    LEASED,
    heard_host(S1, 3, H3, "10.0.0.3"),
)


def where(view: View, packet: Packet, datapath_id: int = S1) -> list[int]:
    flows = compile_flows(view, datapath_id).values()
    return [port_no for port_no, _ in simulate(flows, packet)]


def is_refused(view: View, packet: Packet) -> bool:
    return set(where(view, packet)) == {CONTROLLER}


def udp(at: int, own: str, port: int, src: str = "10.0.0.1") -> Packet:
    """DHCP, and DHCPv6 if its port is of it."""
    made = ipv6 if port > 500 else ipv4
    to = GROUP if port > 500 else BROADCAST
    packet = made(in_port=at, eth_src=own, eth_dst=to, src=src)
    kept = {k: v for k, v in packet.items() if not k.startswith("icmp")}
    return {**kept, "ip_proto": "17", "udp_dst": str(port)}


TO_CLIENTS = ((68, "10.0.0.1"), (546, "fe80::1"))
TO_SERVERS = ((67, "0.0.0.0"), (547, "fe80::3"))


@pytest.mark.parametrize(("port", "src"), TO_CLIENTS)
def test_what_a_server_says_passes_from_where_one_is(port: int, src: str) -> None:
    from_server = udp(1, H1, port, src)
    rogue = udp(3, H3, port, src.replace("1", "3") if port > 500 else "10.0.0.3")
    view = view_of(*LAB, SERVER, ENFORCE)
    assert where(view, from_server) == [CONTROLLER, 2, 3, 4]
    assert is_refused(view, rogue)
    assert where(view_of(*LAB, SERVER, WATCH), rogue) == [CONTROLLER, 1, 2, 4]
    assert where(view_of(*LAB, SERVER), rogue) == [1, 2, 4]


@pytest.mark.parametrize(("port", "src"), TO_CLIENTS)
def test_where_nobody_says_where_servers_are_nobody_is_a_rogue(
    port: int, src: str
) -> None:
    view = view_of(*LAB, ENFORCE)
    assert where(view, udp(1, H1, port, src)) == [2, 3, 4]


@pytest.mark.parametrize(("port", "src"), TO_SERVERS)
def test_what_a_client_says_is_overheard(port: int, src: str) -> None:
    packet = udp(3, H3, port, src)
    assert where(view_of(*LAB, SERVER, ENFORCE), packet) == [CONTROLLER, 1, 2, 4]
    assert where(view_of(*LAB, ENFORCE), packet) == [1, 2, 4]


def test_what_came_over_the_fabric_was_overheard_where_it_came_in() -> None:
    view = view_of(*LAB, SERVER, cable((S1, 9), (S2, 8)), ports(S2, 1), ENFORCE)
    assert where(view, udp(8, H1, 68), S2) == [1]
    assert where(view, udp(8, H3, 67, "0.0.0.0"), S2) == [1]


# --- who has a lease ------------------------------------------------------------------

VIEW = view_of(*LAB, SERVER, ENFORCE)


def test_who_has_a_lease_uses_its_address() -> None:
    for packet in (
        announcement(in_port=2, sha=H2, ip="10.0.0.2"),
        arp_request(in_port=2, sha=H2, spa="10.0.0.2", tpa="10.0.0.77"),
        probe(in_port=2, sha=H2, tpa="10.0.0.50"),
        ipv4(in_port=2, eth_src=H2, eth_dst=BROADCAST, src="10.0.0.2"),
        ipv4(in_port=2, eth_src=H2, eth_dst=BROADCAST, src="0.0.0.0"),
    ):
        assert [n for n in where(VIEW, packet) if n != CONTROLLER] == [1, 3, 4]


@pytest.mark.parametrize("ip", ["10.0.0.8", "10.0.0.50", "8.8.8.8"])
def test_and_no_other_ipv4_address_at_a_guarded_port(ip: str) -> None:
    """One that it has said before, a free one, and one of elsewhere."""
    for packet in (
        announcement(in_port=2, sha=H2, ip=ip),
        ipv4(in_port=2, eth_src=H2, eth_dst=BROADCAST, src=ip),
    ):
        assert is_refused(VIEW, packet)
        assert not is_refused(view_of(*LAB, SERVER), packet)
        assert CONTROLLER in where(view_of(*LAB, SERVER, WATCH), packet)
        free = replace(VIEW, confine=False)
        assert not is_refused(free, packet)


def test_ipv6_addresses_are_made_beside_those_that_are_leased() -> None:
    for packet in (
        solicitation(in_port=2, eth_src=H2, src="fd00::22"),
        ipv6(in_port=2, eth_src=H2, eth_dst=GROUP, src="fe80::22"),
    ):
        assert not is_refused(VIEW, packet)


def test_nobody_else_uses_the_leased_address() -> None:
    for packet in (
        announcement(in_port=3, sha=H3, ip="10.0.0.2"),
        ipv4(in_port=3, eth_src=H3, eth_dst=BROADCAST, src="10.0.0.2"),
    ):
        assert is_refused(VIEW, packet)


def test_who_has_no_lease_may_take_a_free_address() -> None:
    packet = announcement(in_port=3, sha=H3, ip="10.0.0.50")
    assert where(VIEW, packet) == [CONTROLLER, 1, 2, 4]


def test_a_lease_is_stronger_than_what_was_heard() -> None:
    rival = heard_host(S1, 3, H3, "10.0.0.2", at=9.0)
    known = network(view_of(*LAB, rival, SERVER))
    holder = known.holders[(known.domain(S1, 0), IPv4Address("10.0.0.2"))]
    assert (holder.winner.lladdr, holder.winner.origin) == (H2, Origin.DHCP)
    assert holder.answered


def test_a_lease_is_remembered_by_a_flow_that_nothing_meets() -> None:
    flows = compile_flows(VIEW, S1).values()
    memories = [f for f in flows if f.table == TABLE_IDS["leases"] and f.priority]
    assert [dict(f.match)["reg9"] for f in memories] == [hex(3600)]
    leads_there = f"goto_table:{TABLE_IDS['leases']}"
    assert not [f for f in flows if leads_there in f.text]


IPS = ("0.0.0.0", *(f"10.0.0.{n}" for n in (1, 2, 3, 8, 50)), "8.8.8.8")
packets = st.builds(
    lambda at, mac, ip, is_arp: (
        announcement(in_port=at, sha=mac, ip=ip)
        if is_arp and ip != "0.0.0.0"
        else ipv4(in_port=at, eth_src=mac, eth_dst=BROADCAST, src=ip)
    ),
    st.integers(1, 4),
    st.sampled_from((H1, H2, H3, "02:00:00:00:00:99")),
    st.sampled_from(IPS),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(packets, st.booleans())
def test_the_switch_drops_exactly_what_contradicts(
    packet: dict[str, str], confine: bool
) -> None:
    view = replace(VIEW, confine=confine)
    is_arp = "arp_op" in packet
    ip = IPv4Address(packet["arp_spa" if is_arp else "ipv4_src"])
    said = Said(
        PortKey(S1, int(packet["in_port"])),
        0,
        packet["eth_src"],
        Kind.REQUEST if is_arp else Kind.PACKET,
        ip,
    )
    refused = contradiction(network(view), said) is not None
    assert is_refused(view, packet) == refused


def test_dhcpv6_leases_are_bindings_as_any_other() -> None:
    said = advertisement(in_port=3, eth_src=H3, target="fd00::9")
    claims = (Claim(IPv6Address("fd00::9"), 0.0, False, leased_until=60.0),)
    view = view_of(*LAB, SERVER, ENFORCE, replace(LEASED, claims=claims))
    assert is_refused(view, said)
