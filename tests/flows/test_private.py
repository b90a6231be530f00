"""Ports that are isolated from each other: who reaches whom, and who answers."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.openflow import BROADCAST, CONTROLLER, IN_PORT
from flows.simulate import simulate
from flows.view import Proxy, View
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    cable,
    heard_host,
    kernel_host,
    port,
    ports,
    view_of,
)
from tests.packets import (
    Packet,
    advertisement,
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

ROUTER = "02:00:00:00:00:0a"
STRANGER = "02:00:00:00:00:77"
ISOLATED, FREE = (1, 2, 4), 3

HOSTS = (
    ports(S1, 1, 2, 3, 4),
    kernel_host(S1, 1, H1, "10.0.0.1", "fd00::1", nsid=0),
    kernel_host(S1, 2, H2, "10.0.0.2", "fd00::2", nsid=1),
    kernel_host(S1, 3, ROUTER, "10.0.0.10", "fd00::a", nsid=2),
)
THROUGH_ROUTER = view_of(*HOSTS, Proxy("private", port="s1-eth3"))
WITHOUT_ROUTER = view_of(*HOSTS, Proxy("private", promiscuous=("s1-eth3",)))
VIEWS = {"through a router": THROUGH_ROUTER, "without a router": WITHOUT_ROUTER}


def sent(view: View, packet: Packet, datapath_id: int = S1) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, datapath_id).values(), packet)


def places(view: View, packet: Packet, datapath_id: int = S1) -> list[int]:
    return [port_no for port_no, _ in sent(view, packet, datapath_id)]


# --- who reaches whom ---------------------------------------------------------------


def questions(in_port: int, lladdr: str, to: str) -> list[Packet]:
    ip, ip6 = f"10.0.0.{in_port}", f"fd00::{in_port}"
    me = {"in_port": in_port, "eth_src": lladdr}
    return [
        arp_request(in_port=in_port, sha=lladdr, spa=ip, tpa="10.0.0.99"),
        arp_request(in_port=in_port, sha=lladdr, spa=ip, tpa="10.0.0.2"),
        probe(in_port=in_port, sha=lladdr, tpa="10.0.0.99"),
        poll(in_port=in_port, sha=lladdr, spa=ip, tha=to, tpa="10.0.0.2"),
        arp_reply(in_port=in_port, sha=lladdr, spa=ip, tha=to, tpa="10.0.0.2"),
        ipv4(**me, eth_dst=to, src=ip),  # type: ignore[arg-type]
        ipv4(**me, eth_dst=BROADCAST, src=ip),  # type: ignore[arg-type]
        ipv6(**me, eth_dst=to, src=ip6),  # type: ignore[arg-type]
        ipv6(**me, eth_dst="33:33:00:00:00:01", dst="ff02::1"),  # type: ignore[arg-type]
        solicitation(**me, src=ip6, target="fd00::99"),  # type: ignore[arg-type]
        solicitation(**me, src=ip6, target="fd00::2"),  # type: ignore[arg-type]
        nud(**me, src=ip6, eth_dst=to, target="fd00::2"),  # type: ignore[arg-type]
        dad(**me, target="fd00::99"),  # type: ignore[arg-type]
        advertisement(**me, target=ip6),  # type: ignore[arg-type]
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(VIEWS)),
    st.sampled_from(ISOLATED),
    st.sampled_from([H1, H2, ROUTER, STRANGER]),
    st.sampled_from([H1, H2, ROUTER, STRANGER, "02:00:00:00:00:04"]),
    st.sampled_from([0, 5]),
    st.data(),
)
def test_no_frame_of_an_isolated_port_leaves_by_another(
    name: str, in_port: int, lladdr: str, to: str, vlan: int, data: st.DataObject
) -> None:
    packet = dict(data.draw(st.sampled_from(questions(in_port, lladdr, to))))
    if vlan:
        packet["vlan_vid"] = hex(0x1000 | vlan)
    reached = places(VIEWS[name], packet)
    assert not set(reached) & {*ISOLATED}, packet


def test_isolated_and_promiscuous_ports_reach_each_other() -> None:
    for view, (one, lladdr), to in product(
        VIEWS.values(), ((1, H1), (2, H2)), (ROUTER, BROADCAST)
    ):
        packet = ipv4(in_port=one, eth_src=lladdr, eth_dst=to)
        assert places(view, packet) == [FREE]
    for view in VIEWS.values():
        there = ipv4(in_port=FREE, eth_src=ROUTER, eth_dst=H2)
        assert places(view, there) == [2]
        everybody = ipv4(in_port=FREE, eth_src=ROUTER, eth_dst=BROADCAST)
        assert places(view, everybody) == [1, 2, 4]


def test_a_frame_to_an_unknown_station_reaches_promiscuous_ports_only() -> None:
    packet = ipv4(in_port=1, eth_src=H1, eth_dst=STRANGER)
    assert places(THROUGH_ROUTER, packet) == [FREE]


# --- who answers --------------------------------------------------------------------


def test_who_asks_for_an_isolated_neighbor_is_told_the_router() -> None:
    """Local proxy ARP: RFC 3069, 2.1; polls, too, as the neighbor would not hear."""
    for eth_dst in (BROADCAST, H2):
        asked = arp_request(
            in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2", eth_dst=eth_dst
        )
        expected = arp_reply(
            in_port=1, sha=ROUTER, spa="10.0.0.2", tha=H1, tpa="10.0.0.1"
        )
        assert sent(THROUGH_ROUTER, asked) == [(IN_PORT, expected)]


def test_who_solicits_an_isolated_neighbor_is_told_the_router() -> None:
    asked = solicitation(in_port=1, eth_src=H1, target="fd00::2")
    expected = advertisement(
        in_port=1,
        eth_src=ROUTER,
        target="fd00::2",
        eth_dst=H1,
        dst="fd00::1",
        flags="0x60000000",
    )
    assert sent(THROUGH_ROUTER, asked) == [(IN_PORT, expected)]
    without = solicitation(in_port=1, eth_src=H1, target="fd00::2", sll="")
    assert places(THROUGH_ROUTER, without) == [CONTROLLER]


def test_without_a_router_nobody_is_told_of_a_neighbor() -> None:
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
    assert sent(WITHOUT_ROUTER, asked) == [(FREE, asked)]
    solicited = solicitation(in_port=1, eth_src=H1, target="fd00::2")
    assert sent(WITHOUT_ROUTER, solicited) == [(FREE, solicited)]


def test_a_router_that_is_gone_is_not_told_of() -> None:
    gone = (*HOSTS[:3], port(S1, 3, up=False))
    view = view_of(*gone, Proxy("private", lladdr=ROUTER, promiscuous=("s1-eth3",)))
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
    assert sent(view, asked) == []
    [note] = [f.note for f in compile_flows(view, S1).values() if is_about(f.note)]
    assert note == (
        f"10.0.0.2 is behind another isolated port, and {ROUTER} is not known to be"
        " there"
    )


def is_about(note: str) -> bool:
    return note.startswith("10.0.0.2 is behind another isolated port")


def test_a_router_at_an_isolated_port_is_nobodys_way() -> None:
    view = view_of(*HOSTS, Proxy("private", lladdr=H2, promiscuous=("s1-eth3",)))
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
    assert sent(view, asked) == [(FREE, asked)]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_probe_of_a_neighbors_address_finds_it_taken(view: View) -> None:
    """The two could not hear each other."""
    [(port_no, told)] = sent(view, probe(in_port=1, sha=H1, tpa="10.0.0.2"))
    assert (port_no, told["arp_sha"]) == (IN_PORT, H2)
    *_, (port_no, told) = sent(view, dad(in_port=1, eth_src=H1, target="fd00::2"))
    assert (port_no, told["ipv6_nd_tll"]) == (IN_PORT, H2)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_an_owner_at_an_isolated_port_is_never_answered(view: View) -> None:
    own = (
        probe(in_port=2, sha=H2, tpa="10.0.0.2"),
        dad(in_port=2, eth_src=H2, target="fd00::2"),
    )
    for packet in own:
        assert places(view, packet) == [FREE]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_promiscuous_ports_are_answered_with_the_hosts_own_address(view: View) -> None:
    asked = arp_request(in_port=FREE, sha=ROUTER, spa="10.0.0.10", tpa="10.0.0.2")
    [(port_no, told)] = sent(view, asked)
    assert (port_no, told["arp_sha"]) == (IN_PORT, H2)
    back = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.10")
    [(port_no, told)] = sent(view, back)
    assert (port_no, told["arp_sha"]) == (IN_PORT, ROUTER)


# --- where it holds -----------------------------------------------------------------


def test_one_vlan_can_be_private_and_another_not() -> None:
    view = view_of(
        ports(S1, 1, 2, 3),
        Proxy("private", promiscuous=("s1-eth3",)),
        Proxy("host", vlan=5),
    )
    for vlan, reached in ((0, [3]), (5, [2, 3]), (6, [3])):
        packet = ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST, vlan=vlan)
        assert [n for n in places(view, packet) if n != CONTROLLER] == reached


def test_each_vlan_has_promiscuous_ports_of_its_own() -> None:
    view = view_of(
        ports(S1, 1, 2, 3),
        Proxy("private", promiscuous=("s1-eth3",)),
        Proxy("private", vlan=5, promiscuous=("s1-eth2",)),
    )
    for vlan, reached in ((0, [3]), (5, [2])):
        packet = ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST, vlan=vlan)
        assert [n for n in places(view, packet) if n != CONTROLLER] == reached


def test_isolation_holds_across_switches() -> None:
    """s1 and s2 are cabled; the router is at s1, port 3."""
    line = view_of(
        cable((S1, 9), (S2, 8)),
        ports(S1, 1, 2, 3),
        ports(S2, 1, 2),
        heard_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S1, 3, ROUTER, "10.0.0.10"),
        heard_host(S2, 1, H3, "10.0.0.3"),
        Proxy("private", promiscuous=("s1-eth3",)),
    )
    assert places(line, ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST)) == [3, 9]
    from_isolated = ipv4(in_port=8, eth_src=H1, eth_dst=BROADCAST)
    assert places(line, from_isolated, S2) == []
    assert places(line, ipv4(in_port=8, eth_src=H1, eth_dst=H3), S2) == []
    from_router = ipv4(in_port=8, eth_src=ROUTER, eth_dst=BROADCAST)
    assert places(line, from_router, S2) == [1, 2]
    liar = ipv4(in_port=2, eth_src=ROUTER, eth_dst=BROADCAST)
    assert places(line, liar, S2) == [CONTROLLER]
