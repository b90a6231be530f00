"""What passes a guarded port, and what does not: nobody speaks for somebody else."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.dispute import Contradiction, Kind, Said, contradiction, is_accepted
from flows.network import network
from flows.openflow import CONTROLLER, IN_PORT
from flows.parties import Origin
from flows.simulate import simulate
from flows.trust import Mode
from flows.view import (
    LOCAL_PORT,
    OWN_NAMESPACE,
    Address,
    Bridge,
    Fixed,
    Guard,
    Interface,
    Link,
    Port,
    PortKey,
    View,
)
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    Fact,
    bridged_tap,
    cable,
    heard_host,
    ifindex,
    kernel_host,
    ports,
    view_of,
)
from tests.packets import (
    BROADCAST,
    Packet,
    announcement,
    arp_reply,
    arp_request,
    frame,
    ipv4,
    probe,
)

ENFORCE, WATCH = Guard("enforce"), Guard("watch")
STRANGER = "02:00:00:00:00:99"
VRRP = "00:00:5e:00:01:07"

# Two hosts that the kernel shows, one that has spoken, and a port with nobody known.
LAB: tuple[Fact | list[Fact], ...] = (
    Bridge(S1, "s1"),
    [*ports(S1, 1, 2, 3, 4)],
    kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
    kernel_host(S1, 2, H2, "10.0.0.2", nsid=1),
    heard_host(S1, 3, H3, "10.0.0.3"),
)
ENFORCED, WATCHED = view_of(*LAB, ENFORCE), view_of(*LAB, WATCH)


def where(view: View, packet: Packet, datapath_id: int = S1) -> list[int]:
    flows = compile_flows(view, datapath_id).values()
    return [port_no for port_no, _ in simulate(flows, packet)]


def is_refused(view: View, packet: Packet) -> bool:
    """It is told to the controller, and goes nowhere else.

    A new sender is told once more, for itself.
    """
    return set(where(view, packet)) == {CONTROLLER}


def attacks(at: int, own: str, ip: str, owner: str) -> list[Packet]:
    """Somebody says, in every way there is, that the owner's `ip` is theirs."""
    return [
        arp_reply(in_port=at, sha=own, spa=ip, tha=H1, tpa="10.0.0.1"),
        arp_request(in_port=at, sha=own, spa=ip, tpa="10.0.0.1"),
        announcement(in_port=at, sha=own, ip=ip),
        {**announcement(in_port=at, sha=own, ip=ip), "arp_sha": owner},
        {**announcement(in_port=at, sha=own, ip=ip), "eth_src": owner},
        ipv4(in_port=at, eth_src=own, eth_dst=H1, src=ip),
        ipv4(in_port=at, eth_src=owner, eth_dst=H1, src=ip),
        frame(in_port=at, eth_src=owner, eth_dst=BROADCAST, eth_type=0x1234),
    ]


@pytest.mark.parametrize(("ip", "owner"), [("10.0.0.2", H2), ("10.0.0.3", H3)])
@pytest.mark.parametrize(("at", "own"), [(1, H1), (4, STRANGER)])
def test_whatever_speaks_for_somebody_else_is_refused(
    at: int, own: str, ip: str, owner: str
) -> None:
    for packet in attacks(at, own, ip, owner):
        assert is_refused(ENFORCED, packet), packet


@pytest.mark.parametrize(("ip", "owner"), [("10.0.0.2", H2), ("10.0.0.3", H3)])
def test_watching_tells_and_lets_everything_go_its_way(ip: str, owner: str) -> None:
    for packet in attacks(4, STRANGER, ip, owner):
        unguarded = [n for n in where(view_of(*LAB), packet) if n != CONTROLLER]
        told = where(WATCHED, packet)
        assert CONTROLLER in told, packet
        assert [n for n in told if n != CONTROLLER] == unguarded, packet


def test_the_owners_are_served_as_if_nobody_guarded() -> None:
    for at, own, ip in ((1, H1, "10.0.0.1"), (2, H2, "10.0.0.2"), (3, H3, "10.0.0.3")):
        for packet in (
            arp_request(in_port=at, sha=own, spa=ip, tpa="10.0.0.77"),
            arp_reply(in_port=at, sha=own, spa=ip, tha=H1, tpa="10.0.0.1"),
            announcement(in_port=at, sha=own, ip=ip),
            probe(in_port=at, sha=own, tpa="10.0.0.77"),
            probe(in_port=at, sha=own, tpa=ip),
            ipv4(in_port=at, eth_src=own, eth_dst=H2, src=ip),
            ipv4(in_port=at, eth_src=own, eth_dst=H2, src="0.0.0.0"),
        ):
            assert where(ENFORCED, packet) == where(view_of(*LAB), packet), packet
    question = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
    assert where(ENFORCED, question) == [IN_PORT]


def test_who_has_nothing_yet_may_probe_ask_for_a_lease_and_take_a_free_address() -> (
    None
):
    for packet in (
        probe(in_port=4, sha=STRANGER, tpa="10.0.0.99"),
        ipv4(in_port=4, eth_src=STRANGER, eth_dst=BROADCAST, src="0.0.0.0"),
        announcement(in_port=4, sha=STRANGER, ip="10.0.0.99"),
    ):
        assert where(ENFORCED, packet) == [CONTROLLER, 1, 2, 3], packet


def test_where_the_kernel_shows_everybody_nobody_else_can_be() -> None:
    for packet in (
        frame(in_port=1, eth_src=STRANGER, eth_dst=H2, eth_type=0x1234),
        announcement(in_port=1, sha=STRANGER, ip="10.0.0.99"),
        announcement(in_port=1, sha=H1, ip="10.0.0.99"),
        ipv4(in_port=1, eth_src=H1, eth_dst=H2, src="10.0.0.99"),
    ):
        assert is_refused(ENFORCED, packet), packet


def test_a_router_sends_packets_of_other_networks() -> None:
    assert where(ENFORCED, ipv4(in_port=1, eth_src=H1, eth_dst=H2, src="8.8.8.8")) == [
        2
    ]


def test_linux_may_speak_with_every_address_of_its_namespace() -> None:
    other = Address(0, 77, IPv4Address("192.0.2.1"), 24)
    view = view_of(*LAB, other, ENFORCE)
    asks = arp_request(in_port=1, sha=H1, spa="192.0.2.1", tpa="10.0.0.77")
    assert where(view, asks) == [2, 3, 4]
    assert is_refused(ENFORCED, asks)


def test_an_address_that_the_kernel_lists_works_from_that_moment() -> None:
    added = Address(0, ifindex(S1, 1), IPv4Address("10.0.0.99"), 24)
    said = announcement(in_port=1, sha=H1, ip="10.0.0.99")
    assert is_refused(ENFORCED, said)
    assert where(view_of(*LAB, added, ENFORCE), said) == [2, 3, 4]


def test_vlans_of_a_namespace_are_not_closed() -> None:
    """The kernel's addresses are of untagged frames: of others nothing is known."""
    tagged = announcement(in_port=1, sha=H1, ip="10.0.0.99", vlan=7)
    assert where(ENFORCED, tagged) == [CONTROLLER, 2, 3, 4]


def test_the_operators_word_is_enforced_before_its_owner_was_ever_seen() -> None:
    view = view_of(*LAB, Fixed(0, IPv4Address("10.0.0.50"), STRANGER), ENFORCE)
    for packet in attacks(4, "02:00:00:00:00:66", "10.0.0.50", STRANGER)[:3]:
        assert is_refused(view, packet)
    owner = announcement(in_port=4, sha=STRANGER, ip="10.0.0.50")
    assert where(view, owner) == [CONTROLLER, 1, 2, 3]
    assert is_refused(view, announcement(in_port=4, sha=STRANGER, ip="10.0.0.51"))


def test_an_address_that_routers_share_may_come_from_everywhere() -> None:
    shared = Fixed(0, IPv4Address("10.0.0.254"), VRRP)
    view = view_of(*LAB, shared, heard_host(S1, 3, VRRP, "10.0.0.254"), ENFORCE)
    for port_no in (3, 4):
        said = announcement(in_port=port_no, sha=VRRP, ip="10.0.0.254")
        assert not is_refused(view, said)
    moved = announcement(in_port=4, sha=VRRP, ip="10.0.0.254")
    assert CONTROLLER in where(view, moved), "its master is at another port now"
    thief = announcement(in_port=4, sha=STRANGER, ip="10.0.0.254")
    assert is_refused(view, thief)
    unasked = view_of(*LAB, heard_host(S1, 3, VRRP, "10.0.0.254"), ENFORCE)
    elsewhere = announcement(in_port=4, sha=VRRP, ip="10.0.0.254")
    assert is_refused(unasked, elsewhere)


def test_the_nearest_guard_counts() -> None:
    guards = (ENFORCE, Guard("learn", "s1"), Guard("watch", "s1", "s1-eth4"))
    modes = network(view_of(*LAB, *guards)).trust.modes
    assert modes == {PortKey(S1, 4): Mode.WATCH}
    elsewhere = network(view_of(*LAB, Guard("enforce", "s2"))).trust.modes
    assert not elsewhere


def test_a_switch_without_a_guarded_port_holds_the_flows_that_it_held() -> None:
    plain, unguarded = view_of(*LAB), view_of(*LAB, Guard("learn"))
    assert compile_flows(plain, S1) == compile_flows(unguarded, S1)


def test_what_comes_over_the_fabric_was_looked_at_where_it_came_in() -> None:
    line = (cable((S1, 9), (S2, 8)), ports(S2, 1), ENFORCE)
    view = view_of(*LAB, *line)
    there = announcement(in_port=1, sha=STRANGER, ip="10.0.0.2")
    flows = compile_flows(view, S2).values()
    assert [n for n, _ in simulate(flows, there)] == [CONTROLLER]
    passing = announcement(in_port=8, sha=H2, ip="10.0.0.2")
    assert [n for n, _ in simulate(flows, passing)] == [1]


@pytest.mark.parametrize(
    "facts",
    [
        bridged_tap(S1, 1, H1),
        bridged_tap(S1, 1),
        [
            Port(S1, 1, "x", "", True),
            Interface(S1, 1, "x", 7),
            Link(-1, 7, "x", "veth"),
        ],
    ],
    ids=["a guest", "a tap", "a far end that nobody sees"],
)
def test_a_port_is_open_if_the_kernel_does_not_list_all_that_is_there(
    facts: list[Fact],
) -> None:
    assert not network(view_of(*facts, ENFORCE)).trust.closed


def test_the_bridges_own_port_is_this_host() -> None:
    own = (
        Port(S1, LOCAL_PORT, "s1", H1, True),
        Interface(S1, LOCAL_PORT, "s1", 7, "internal"),
        Link(OWN_NAMESPACE, 7, "s1", lladdr=H1),
        Address(OWN_NAMESPACE, 7, IPv4Address("10.0.0.254"), 24),
        Address(OWN_NAMESPACE, 9, IPv4Address("192.0.2.7"), 24),
    )
    [closed] = network(view_of(*own, ENFORCE)).trust.closed.values()
    assert closed.lladdrs == {H1}
    assert {str(ip) for ip in closed.ips} == {"10.0.0.254", "192.0.2.7"}


# --- one packet judged, and the flows for all of them ---------------------------------


def test_a_contradiction_names_who_is_believed_and_why() -> None:
    known = network(ENFORCED)
    said = Said(PortKey(S1, 4), 0, STRANGER, Kind.REPLY, IPv4Address("10.0.0.2"))
    assert contradiction(known, said) == Contradiction(
        IPv4Address("10.0.0.2"), H2, PortKey(S1, 2), Origin.KERNEL
    )
    stolen = Said(PortKey(S1, 4), 0, H3, Kind.FRAME)
    assert contradiction(known, stolen) == Contradiction(
        None, H3, PortKey(S1, 3), Origin.HEARD
    )
    own = Said(PortKey(S1, 3), 0, H3, Kind.REPLY, IPv4Address("10.0.0.3"))
    assert contradiction(known, own) is None


MACS = (H1, H2, H3, STRANGER, VRRP)
IPS = ("0.0.0.0", *(f"10.0.0.{n}" for n in (1, 2, 3, 4, 99)), "192.0.2.1", "8.8.8.8")
some_facts = st.lists(
    st.sampled_from(
        [
            Fixed(0, IPv4Address("10.0.0.2"), H2),
            Fixed(0, IPv4Address("10.0.0.3"), STRANGER),
            Fixed(0, IPv4Address("10.0.0.4"), VRRP),
            Fixed(0, IPv4Address("10.0.0.4"), H1),
            Address(0, 77, IPv4Address("192.0.2.1"), 24),
            Address(1, ifindex(S1, 2), IPv4Address("10.0.0.1"), 24),
            *heard_host(S1, 4, STRANGER, "10.0.0.3", "10.0.0.2")[1:],
            *heard_host(S1, 3, VRRP, "10.0.0.4", at=1.0)[1:],
            *heard_host(S1, 2, H2, "10.0.0.99")[1:],
        ]
    ),
    unique=True,
    max_size=4,
)
arps = st.builds(
    lambda at, mac, op, spa, tpa: {
        **arp_request(in_port=at, sha=mac, spa=spa, tpa=tpa),
        "arp_op": str(op),
    },
    st.integers(1, 4),
    st.sampled_from(MACS),
    st.integers(1, 2),
    st.sampled_from(IPS),
    st.sampled_from(IPS),
)
packets = st.builds(
    lambda at, mac, src: ipv4(in_port=at, eth_src=mac, eth_dst=BROADCAST, src=src),
    st.integers(1, 4),
    st.sampled_from(MACS),
    st.sampled_from(IPS),
)


def said_by(packet: Packet) -> Said:
    is_arp = "arp_op" in packet
    spa = IPv4Address(packet["arp_spa" if is_arp else "ipv4_src"])
    kind = Kind.REQUEST if is_arp else Kind.PACKET
    at = PortKey(S1, int(packet["in_port"]))
    return Said(at, 0, packet["eth_src"], kind, spa)


@settings(max_examples=400, deadline=None)
@given(some_facts, st.one_of(arps, packets))
def test_the_switch_drops_exactly_what_contradicts(
    facts: list[Fact], packet: dict[str, str]
) -> None:
    if packet.get("arp_op") == "2" and packet["arp_spa"] == "0.0.0.0":
        return  # a reply that says nothing is dropped at every port
    view = view_of(*LAB, *distinct(facts), ENFORCE)
    refused = contradiction(network(view), said_by(packet)) is not None
    assert is_refused(view, packet) == refused


@settings(max_examples=80, deadline=None)
@given(some_facts)
def test_what_a_binding_vouches_for_is_never_dropped(facts: list[Fact]) -> None:
    view = view_of(*LAB, *distinct(facts), ENFORCE)
    known = network(view)
    for holder in known.holders.values():
        for one in holder.candidates:
            if is_accepted(known.trust, holder, one):
                at, own, ip = one.port.port_no, one.lladdr, str(holder.ip)
                for packet in (
                    announcement(in_port=at, sha=own, ip=ip),
                    arp_request(in_port=at, sha=own, spa=ip, tpa="10.0.0.77"),
                    probe(in_port=at, sha=own, tpa=ip),
                    ipv4(in_port=at, eth_src=own, eth_dst=BROADCAST, src=ip),
                    ipv4(in_port=at, eth_src=own, eth_dst=BROADCAST, src="0.0.0.0"),
                ):
                    assert not is_refused(view, packet), packet


@settings(max_examples=200, deadline=None)
@given(some_facts, st.one_of(arps, packets))
def test_watching_never_changes_where_a_packet_goes(
    facts: list[Fact], packet: dict[str, str]
) -> None:
    facts = distinct(facts)
    plain, watched = view_of(*LAB, *facts), view_of(*LAB, *facts, WATCH)
    told = where(watched, packet)
    assert [n for n in told if n != CONTROLLER] == [
        n for n in where(plain, packet) if n != CONTROLLER
    ]
    if contradiction(network(watched), said_by(packet)) is not None:
        assert CONTROLLER in told or not told


def distinct(facts: list[Fact]) -> list[Fact]:
    """The configuration gives an address to one station."""
    places = {(f.vlan, f.ip): f for f in facts if isinstance(f, Fixed)}
    return [*places.values(), *(f for f in facts if not isinstance(f, Fixed))]
