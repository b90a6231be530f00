"""A firewall between a protected range and everybody else: what passes only by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.openflow import BROADCAST, CONTROLLER, IN_PORT
from flows.simulate import simulate
from flows.view import Claim, Proxy, Router, Silence, Station, StationKey, View
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    cable,
    heard_host,
    ifindex,
    kernel_host,
    port,
    ports,
    view_of,
)
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

FIREWALL, STRANGER = "02:00:00:00:00:0f", "02:00:00:00:00:77"
OUT, IN, OUT6, IN6 = "10.0.0.1", "10.0.0.130", "fd00::1", "fd00:0:0:1::2"
V4 = Proxy("interpose", "", 0, ip_network("10.0.0.128/25"), FIREWALL)
V6 = Proxy("interpose", "", 0, ip_network("fd00:0:0:1::/64"), FIREWALL)

HOSTS = (
    ports(S1, 1, 2, 3, 4, 5),
    kernel_host(S1, 1, H1, OUT, OUT6, "fe80::1", nsid=0),
    kernel_host(S1, 2, H2, IN, IN6, "fe80::2", nsid=1),
    kernel_host(S1, 3, FIREWALL, "10.0.0.5", "fd00::5", nsid=2),
    kernel_host(S1, 4, H3, "10.0.0.131", nsid=3),
)
WALL = view_of(*HOSTS, V4, V6)
GONE = (*HOSTS[:3], HOSTS[4], port(S1, 3, up=False))
CLOSED = view_of(*GONE, V4, V6)
OPEN = view_of(
    *GONE,
    Proxy("interpose", "", 0, V4.prefix, FIREWALL, closed=False),
    Proxy("interpose", "", 0, V6.prefix, FIREWALL, closed=False),
)


def sent(view: View, packet: Packet, datapath_id: int = S1) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, datapath_id).values(), packet)


def places(view: View, packet: Packet, datapath_id: int = S1) -> list[int]:
    return [port_no for port_no, _ in sent(view, packet, datapath_id)]


# --- questions ----------------------------------------------------------------------


@pytest.mark.parametrize("eth_dst", [BROADCAST, H1, H2, FIREWALL])
def test_who_asks_across_is_told_the_firewall(eth_dst: str) -> None:
    """In both directions, held or not, and polls of what a stale cache says."""
    outside = (1, H1, OUT)
    inside = (2, H2, IN)
    for (port_no, lladdr, spa), tpa in (
        (outside, IN),
        (outside, "10.0.0.200"),
        (inside, OUT),
        (inside, "10.0.0.77"),
    ):
        asked = arp_request(
            in_port=port_no, sha=lladdr, spa=spa, tpa=tpa, eth_dst=eth_dst
        )
        expected = arp_reply(
            in_port=port_no, sha=FIREWALL, spa=tpa, tha=lladdr, tpa=spa
        )
        assert sent(WALL, asked) == [(IN_PORT, expected)]


def test_who_solicits_across_is_told_the_firewall() -> None:
    for port_no, lladdr, src, target in ((1, H1, OUT6, IN6), (2, H2, IN6, OUT6)):
        asker = {"in_port": port_no, "eth_src": lladdr, "src": src, "target": target}
        expected = advertisement(
            in_port=port_no,
            eth_src=FIREWALL,
            target=target,
            eth_dst=lladdr,
            dst=src,
            flags="0x60000000",
        )
        for asked in (
            solicitation(**asker),  # type: ignore[arg-type]
            nud(**asker, eth_dst=H3),  # type: ignore[arg-type]
            nud(**asker, eth_dst=FIREWALL),  # type: ignore[arg-type]
        ):
            assert sent(WALL, asked) == [(IN_PORT, expected)]
        without = solicitation(**asker, sll="")  # type: ignore[arg-type]
        assert places(WALL, without) == [CONTROLLER]


def test_a_router_across_is_told_as_itself_by_its_link_local_address() -> None:
    """Told that it is none, a host would drop its default route (RFC 4861, 7.2.5)."""
    view = view_of(*HOSTS, Router(0, ifindex(S1, 1), forwards=True), V4, V6)
    asked = solicitation(in_port=2, eth_src=H2, src=IN6, target="fe80::1")
    [(port_no, told)] = sent(view, asked)
    assert (port_no, told["eth_src"], told["nd_reserved"]) == (
        IN_PORT,
        H1,
        "0xe0000000",
    )
    past = ipv6(in_port=2, eth_src=H2, eth_dst=H1, src=IN6, dst="2001:db8::1")
    assert [packet["eth_dst"] for _, packet in sent(view, past)] == [FIREWALL]


def test_who_asks_on_its_own_side_is_told_the_owner() -> None:
    asked = arp_request(in_port=2, sha=H2, spa=IN, tpa="10.0.0.131")
    [(port_no, told)] = sent(WALL, asked)
    assert (port_no, told["arp_sha"]) == (IN_PORT, H3)
    polled = poll(in_port=2, sha=H2, spa=IN, tha=H3, tpa="10.0.0.131")
    assert sent(WALL, polled) == [(4, polled)]


def test_who_answers_the_firewall_is_heard() -> None:
    for answer in (
        arp_reply(in_port=2, sha=H2, spa=IN, tha=FIREWALL, tpa="10.0.0.5"),
        arp_reply(in_port=1, sha=H1, spa=OUT, tha=FIREWALL, tpa="10.0.0.5"),
        advertisement(
            in_port=2, eth_src=H2, target=IN6, eth_dst=FIREWALL, dst="fd00::5"
        ),
    ):
        assert sent(WALL, answer) == [(3, answer)]


def test_the_firewall_itself_is_told_the_owners() -> None:
    for tpa, owner in ((IN, H2), (OUT, H1)):
        asked = arp_request(in_port=3, sha=FIREWALL, spa="10.0.0.5", tpa=tpa)
        [(_, told)] = sent(WALL, asked)
        assert told["arp_sha"] == owner
    for target, owner in ((IN6, H2), (OUT6, H1)):
        asked6 = solicitation(in_port=3, eth_src=FIREWALL, src="fd00::5", target=target)
        [(_, told)] = sent(WALL, asked6)
        assert told["ipv6_nd_tll"] == owner
    unknown = arp_request(in_port=3, sha=FIREWALL, spa="10.0.0.5", tpa="10.0.0.200")
    assert places(WALL, unknown) == [1, 2, 4, 5]


def test_a_probe_finds_the_owner_on_whichever_side_it_is() -> None:
    [(_, told)] = sent(WALL, probe(in_port=1, sha=H1, tpa=IN))
    assert told["arp_sha"] == H2
    assert places(WALL, probe(in_port=1, sha=H1, tpa="10.0.0.200")) == [2, 3, 4, 5]
    *_, (_, told) = sent(WALL, dad(in_port=1, eth_src=H1, target=IN6))
    assert told["ipv6_nd_tll"] == H2


def test_an_owner_is_not_answered_about_its_own_address() -> None:
    for own in (
        probe(in_port=2, sha=H2, tpa=IN),
        announcement(in_port=2, sha=H2, ip=IN),
        dad(in_port=2, eth_src=H2, target=IN6),
    ):
        assert IN_PORT not in places(WALL, own)


def test_answers_from_one_side_do_not_reach_the_other() -> None:
    for packet in (
        arp_reply(in_port=2, sha=H2, spa=IN, tha=H1, tpa=OUT),
        arp_reply(in_port=1, sha=H1, spa=OUT, tha=H2, tpa=IN),
        advertisement(in_port=2, eth_src=H2, target=IN6, eth_dst=H1, dst=OUT6),
    ):
        assert sent(WALL, packet) == []


# --- what is sent all the same ------------------------------------------------------


def crossing_packets(to: str) -> Iterator[Packet]:
    for in_port, lladdr, sides in ((1, H1, (OUT, IN)), (2, H2, (IN, OUT))):
        yield ipv4(
            in_port=in_port, eth_src=lladdr, eth_dst=to, src=sides[0], dst=sides[1]
        )
    for in_port, lladdr, sides in ((1, H1, (OUT6, IN6)), (2, H2, (IN6, OUT6))):
        yield ipv6(
            in_port=in_port, eth_src=lladdr, eth_dst=to, src=sides[0], dst=sides[1]
        )
    yield ipv4(in_port=2, eth_src=H2, eth_dst=to, src=IN, dst="192.0.2.9")
    yield ipv4(in_port=1, eth_src=H1, eth_dst=to, src="192.0.2.9", dst=IN)
    yield ipv6(in_port=1, eth_src=H1, eth_dst=to, src="fe80::1", dst=IN6)


@pytest.mark.parametrize("to", [H1, H2, H3, STRANGER, BROADCAST])
def test_what_is_sent_past_the_firewall_is_led_to_it(to: str) -> None:
    for packet in crossing_packets(to):
        assert sent(WALL, packet) == [(3, {**packet, "eth_dst": FIREWALL})]


def test_what_the_firewall_sends_arrives() -> None:
    for to, port_no, src, dst in ((H2, 2, OUT, IN), (H1, 1, IN, OUT)):
        packet = ipv4(in_port=3, eth_src=FIREWALL, eth_dst=to, src=src, dst=dst)
        assert sent(WALL, packet) == [(port_no, packet)]


def test_who_takes_the_firewalls_address_at_another_port_is_led_to_it_too() -> None:
    for in_port in (1, 5):
        lie = ipv4(in_port=in_port, eth_src=FIREWALL, eth_dst=H2, src=OUT, dst=IN)
        assert [n for n in places(WALL, lie) if n != CONTROLLER] == [3]


def test_each_side_talks_freely_with_itself() -> None:
    inside = ipv4(in_port=2, eth_src=H2, eth_dst=H3, src=IN, dst="10.0.0.131")
    assert sent(WALL, inside) == [(4, inside)]
    outside = ipv4(in_port=5, eth_src=STRANGER, eth_dst=H1, src="10.0.0.9", dst=OUT)
    assert [n for n in places(WALL, outside) if n != CONTROLLER] == [1]


def test_both_sides_hear_broadcasts_and_groups() -> None:
    for dst, eth_dst in (
        ("255.255.255.255", BROADCAST),
        ("224.0.0.251", "01:00:5e:00:00:fb"),
    ):
        packet = ipv4(in_port=2, eth_src=H2, eth_dst=eth_dst, src=IN, dst=dst)
        assert places(WALL, packet) == [1, 3, 4, 5]
    group = ipv6(
        in_port=2, eth_src=H2, eth_dst="33:33:00:00:00:fb", src=IN6, dst="ff02::fb"
    )
    assert places(WALL, group) == [1, 3, 4, 5]


def test_what_is_link_local_does_not_cross_but_discovery_and_dhcpv6() -> None:
    between = {"src": "fe80::1", "dst": "fe80::2"}
    packet = ipv6(in_port=1, eth_src=H1, eth_dst=H2, **between)  # type: ignore[arg-type]
    assert sent(WALL, packet) == []
    advertised = packet | {"icmpv6_type": "134", "ip_ttl": "255"}
    dhcp = {k: v for k, v in packet.items() if not k.startswith("icmpv6")}
    dhcp |= {"ip_proto": "17", "udp_dst": "546"}
    asked = nud(in_port=1, eth_src=H1, src="fe80::1", eth_dst=H2, target="fe80::2")
    for passing in (advertised, dhcp, asked):
        told = (CONTROLLER, passing)  # as of who is not known as a router
        assert [one for one in sent(WALL, passing) if one != told] == [(2, passing)]


# --- the firewall is not there ------------------------------------------------------


def test_without_its_firewall_nothing_crosses() -> None:
    for packet in (
        arp_request(in_port=1, sha=H1, spa=OUT, tpa=IN),
        arp_request(in_port=2, sha=H2, spa=IN, tpa=OUT),
        solicitation(in_port=1, eth_src=H1, src=OUT6, target=IN6),
        *crossing_packets(H1),
        *crossing_packets(H2),
    ):
        assert sent(CLOSED, packet) == []


def test_a_firewall_that_has_fallen_silent_is_not_there() -> None:
    """It was only heard: no carrier tells of its end."""
    heard = heard_host(S1, 3, FIREWALL, "10.0.0.5")
    view = view_of(HOSTS[0], *HOSTS[1:3], heard, V4)
    asked = arp_request(in_port=1, sha=H1, spa=OUT, tpa=IN)
    assert places(view, asked) == [IN_PORT]
    [(key, station)] = view.stations.items()
    given_up = tuple(Silence(claim.ip, 1.0) for claim in station.claims)
    silent = replace(station, claims=(), silent=given_up)
    assert sent(with_station(view, key, silent), asked) == []
    other = Claim(ip_address("10.0.0.6"), 2.0)
    speaking = replace(silent, claims=(other,))
    assert places(with_station(view, key, speaking), asked) == [IN_PORT]


def with_station(view: View, key: StationKey, station: Station) -> View:
    return replace(view, stations=view.stations.set(key, station))


def test_without_its_firewall_an_open_rule_is_none() -> None:
    asked = arp_request(in_port=1, sha=H1, spa=OUT, tpa=IN)
    [(port_no, told)] = sent(OPEN, asked)
    assert (port_no, told["arp_sha"]) == (IN_PORT, H2)
    packet = ipv4(in_port=1, eth_src=H1, eth_dst=H2, src=OUT, dst=IN)
    assert sent(OPEN, packet) == [(2, packet)]


def test_a_firewall_can_be_named_by_its_port() -> None:
    named = view_of(*HOSTS, Proxy("interpose", "", 0, V4.prefix, port="s1-eth3"))
    [(_, told)] = sent(named, arp_request(in_port=1, sha=H1, spa=OUT, tpa=IN))
    assert told["arp_sha"] == FIREWALL


def test_a_port_with_two_stations_names_no_firewall() -> None:
    crowd = heard_host(S1, 3, STRANGER, "10.0.0.6")
    view = view_of(*HOSTS, crowd, Proxy("interpose", "", 0, V4.prefix, port="s1-eth3"))
    assert sent(view, arp_request(in_port=1, sha=H1, spa=OUT, tpa=IN)) == []
    notes = [flow.note for flow in compile_flows(view, S1).values()]
    told = f"several stations are at port s1-eth3: {FIREWALL}, {STRANGER}"
    assert f"drop: nothing crosses, as {told}" in notes


# --- which side ---------------------------------------------------------------------


def test_a_rule_inside_a_protected_range_takes_its_addresses_out() -> None:
    view = view_of(*HOSTS, V4, Proxy("host", prefix=ip_network("10.0.0.131/32")))
    out = ipv4(in_port=1, eth_src=H1, eth_dst=H3, src=OUT, dst="10.0.0.131")
    assert sent(view, out) == [(4, out)]
    across = ipv4(in_port=2, eth_src=H2, eth_dst=H3, src=IN, dst="10.0.0.131")
    assert places(view, across) == [3]
    [(_, told)] = sent(view, arp_request(in_port=2, sha=H2, spa=IN, tpa="10.0.0.131"))
    assert told["arp_sha"] == FIREWALL


def test_two_protected_ranges_are_two_sides() -> None:
    second = Proxy("interpose", "", 0, ip_network("10.0.0.64/26"), FIREWALL)
    view = view_of(*HOSTS, V4, second)
    across = ipv4(in_port=2, eth_src=H2, eth_dst=H1, src=IN, dst="10.0.0.70")
    assert places(view, across) == [3]


def test_other_vlans_are_not_concerned() -> None:
    packet = ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST, src=OUT, dst=IN, vlan=5)
    reached = [n for n in places(WALL, packet) if n != CONTROLLER]
    assert reached == [2, 3, 4, 5]


def test_a_firewall_at_another_switch_is_reached_along_the_fabric() -> None:
    line = view_of(
        cable((S1, 9), (S2, 8)),
        ports(S1, 1),
        ports(S2, 2, 3),
        heard_host(S1, 1, H1, OUT),
        heard_host(S2, 2, H2, IN),
        heard_host(S2, 3, FIREWALL, "10.0.0.5"),
        V4,
    )
    packet = ipv4(in_port=1, eth_src=H1, eth_dst=H2, src=OUT, dst=IN)
    [(port_no, steered)] = sent(line, packet)
    assert port_no == 9
    arrived = {**steered, "in_port": "8"}
    assert places(line, arrived, S2) == [3]
    back = ipv4(in_port=9, eth_src=FIREWALL, eth_dst=H1, src=IN, dst=OUT)
    assert places(line, back) == [1]


ADDRESSES = ("10.0.0.1", "10.0.0.70", "10.0.0.130", "10.0.0.131", "192.0.2.9")
SIDE = {"10.0.0.130": 1, "10.0.0.131": 1}


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([1, 2, 4, 5]),
    st.sampled_from([H1, H2, H3, STRANGER, FIREWALL]),
    st.sampled_from([H1, H2, H3, STRANGER, BROADCAST]),
    st.sampled_from(ADDRESSES),
    st.sampled_from(ADDRESSES),
)
def test_whatever_crosses_leaves_by_the_firewalls_port_or_not_at_all(
    in_port: int, lladdr: str, to: str, src: str, dst: str
) -> None:
    if SIDE.get(src, 0) == SIDE.get(dst, 0):
        return
    packet = ipv4(in_port=in_port, eth_src=lladdr, eth_dst=to, src=src, dst=dst)
    assert set(places(WALL, packet)) <= {3, CONTROLLER}
    assert set(places(CLOSED, packet)) <= {CONTROLLER}
    asked = arp_request(in_port=in_port, sha=lladdr, spa=src, tpa=dst, eth_dst=to)
    assert set(places(WALL, asked)) <= {IN_PORT, CONTROLLER}


def test_every_pair_of_prefixes_has_one_meaning() -> None:
    """The simulation raises where two flows contradict each other."""
    nested = (
        V4,
        Proxy("off", prefix=ip_network("10.0.0.160/27")),
        Proxy("interpose", "", 0, ip_network("10.0.0.168/29"), FIREWALL),
    )
    view = view_of(*HOSTS, *nested)
    sides = {"10.0.0.1": 0, "10.0.0.130": 1, "10.0.0.161": 0, "10.0.0.170": 2}
    for (src, one), (dst, other) in product(sides.items(), repeat=2):
        packet = ipv4(in_port=5, eth_src=STRANGER, eth_dst=H1, src=src, dst=dst)
        reached = [n for n in places(view, packet) if n != CONTROLLER]
        assert reached == ([1] if one == other else [3]), (src, dst)
