"""What happens to a packet: RFC 826, 1027, 5227 and IEEE 802.1, as the tables do it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from itertools import combinations

import pytest

from flows.compile import FlowConflict, compile_flows
from flows.fields import FIELDS
from flows.forward import CONTROLLER_LLADDR
from flows.openflow import CONTROLLER, IN_PORT, Flow, GotoTable, Output, flow, oxm
from flows.pipeline import TABLE_IDS, Table
from flows.simulate import simulate
from flows.view import Bridge, Fixed, Limits, PortKey, View
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    cable,
    heard_host,
    kernel_host,
    port_lladdr,
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
    ipv6,
    poll,
    probe,
)

# Three hosts on one switch: two of which the kernel shows, one that has spoken.
LAB = view_of(
    ports(S1, 1, 2, 3, 4),
    kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
    kernel_host(S1, 2, H2, "10.0.0.2", nsid=1),
    heard_host(S1, 3, H3, "10.0.0.3"),
)

# A line of three switches with a host at each end.
LINE = view_of(
    cable((S1, 9), (S2, 8)),
    cable((S2, 9), (S3, 8)),
    heard_host(S1, 1, H1, "10.0.0.1"),
    heard_host(S3, 1, H3, "10.0.0.3"),
    ports(S2, 1),
)


def sent(view: View, packet: Packet, datapath_id: int = S1) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, datapath_id).values(), packet)


def ports_of(view: View, packet: Packet, datapath_id: int = S1) -> list[int]:
    return [port_no for port_no, _ in sent(view, packet, datapath_id)]


# --- answers ------------------------------------------------------------------------


@pytest.mark.parametrize(("ip", "lladdr"), [("10.0.0.2", H2), ("10.0.0.3", H3)])
def test_a_question_for_a_known_address_is_answered_where_it_came_from(
    ip: str, lladdr: str
) -> None:
    request = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=ip)
    [(port_no, reply)] = sent(LAB, request)
    assert port_no == IN_PORT
    assert reply["arp_op"] == "2"
    assert (reply["arp_sha"], reply["arp_spa"]) == (lladdr, ip)
    assert (reply["arp_tha"], reply["arp_tpa"]) == (H1, "10.0.0.1")
    assert (reply["eth_src"], reply["eth_dst"]) == (lladdr, H1)


def test_a_probe_for_somebody_elses_address_is_answered() -> None:
    [(port_no, reply)] = sent(LAB, probe(in_port=1, sha=H1, tpa="10.0.0.2"))
    assert port_no == IN_PORT
    assert (reply["arp_sha"], reply["arp_spa"]) == (H2, "10.0.0.2")
    assert reply["arp_tpa"] == "0.0.0.0"


def test_an_owner_is_never_answered_about_its_own_address() -> None:
    for question in (
        probe(in_port=2, sha=H2, tpa="10.0.0.2"),
        arp_request(in_port=2, sha=H2, spa="10.0.0.2", tpa="10.0.0.2"),
        arp_request(in_port=2, sha=H1, spa="10.0.0.7", tpa="10.0.0.2"),
    ):
        assert IN_PORT not in ports_of(LAB, question)


def test_an_owner_that_has_moved_is_not_answered_either() -> None:
    for view, datapath_id in ((LAB, S1), (LINE, S1)):
        question = probe(in_port=1, sha=H3, tpa="10.0.0.3")
        assert IN_PORT not in ports_of(view, question, datapath_id)


def test_what_another_switch_passes_on_is_not_answered() -> None:
    """It has answered what there is to answer, and has let the owner's own pass."""
    probing = probe(in_port=8, sha=H1, tpa="10.0.0.1")
    asking = arp_request(in_port=8, sha=H2, spa="10.0.0.2", tpa="10.0.0.1")
    for question in (probing, asking):
        assert ports_of(LINE, question, S2) == [1, 9]


def test_an_announcement_is_heard_by_everybody_and_answered_by_nobody() -> None:
    known = announcement(in_port=2, sha=H2, ip="10.0.0.2")
    assert ports_of(LAB, known) == [1, 3, 4]
    usurper = announcement(in_port=4, sha="02:00:00:00:00:99", ip="10.0.0.2")
    assert ports_of(LAB, usurper) == [CONTROLLER, 1, 2, 3]


def test_a_unicast_poll_reaches_the_one_it_asks() -> None:
    alive = poll(in_port=1, sha=H1, spa="10.0.0.1", tha=H2, tpa="10.0.0.2")
    assert ports_of(LAB, alive) == [2]


def test_a_question_for_an_unknown_address_is_asked_everywhere() -> None:
    request = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.99")
    assert sent(LAB, request) == [(n, {**request}) for n in (2, 3, 4)]


def test_a_reply_goes_to_the_one_who_asked() -> None:
    reply = arp_reply(in_port=2, sha=H2, spa="10.0.0.2", tha=H1, tpa="10.0.0.1")
    assert ports_of(LAB, reply) == [1]


def test_an_address_with_two_equal_claimants_is_asked_for_everywhere() -> None:
    contested = view_of(
        ports(S1, 4),
        heard_host(S1, 1, H1, "10.0.0.7"),
        heard_host(S1, 2, H2, "10.0.0.7"),
    )
    request = arp_request(in_port=4, sha=H3, spa="10.0.0.3", tpa="10.0.0.7")
    assert ports_of(contested, request) == [CONTROLLER, 1, 2]


def test_an_answer_keeps_the_vlan_of_its_question() -> None:
    view = view_of(ports(S1, 1), heard_host(S1, 2, H2, "10.0.0.2", vlan=7))
    tagged = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2", vlan=7)
    [*_, (port_no, reply)] = sent(view, tagged)
    assert port_no == IN_PORT
    assert reply["vlan_vid"] == tagged["vlan_vid"]


def test_an_address_of_one_vlan_is_not_answered_for_on_another() -> None:
    view = view_of(ports(S1, 1), heard_host(S1, 2, H2, "10.0.0.2", vlan=7))
    for vlan in (0, 8):
        question = arp_request(
            in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2", vlan=vlan
        )
        assert IN_PORT not in ports_of(view, question)


def test_the_operators_word_is_answered_with() -> None:
    view = view_of(
        kernel_host(S1, 1, H1),
        heard_host(S1, 2, H2),
        Fixed(0, ip_address("10.9.9.9"), H2),
    )
    [(_, reply)] = sent(
        view, arp_request(in_port=1, sha=H1, spa="0.0.0.0", tpa="10.9.9.9")
    )
    assert reply["arp_sha"] == H2


# --- what reaches the controller ----------------------------------------------------


def test_known_stations_with_known_addresses_are_silent() -> None:
    for packet in (
        arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2"),
        arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.99"),
        arp_reply(in_port=3, sha=H3, spa="10.0.0.3", tha=H1, tpa="10.0.0.1"),
        announcement(in_port=3, sha=H3, ip="10.0.0.3"),
        probe(in_port=1, sha=H1, tpa="10.0.0.55"),
        ipv4(in_port=1, eth_src=H1, eth_dst=H2),
        ipv6(in_port=1, eth_src=H1, eth_dst=H2),
    ):
        assert CONTROLLER not in ports_of(LAB, packet)


def test_news_reaches_the_controller_once_and_goes_on_at_once() -> None:
    stranger = "02:00:00:00:00:77"
    for packet in (
        arp_request(in_port=4, sha=stranger, spa="10.0.0.7", tpa="10.0.0.99"),
        probe(in_port=4, sha=stranger, tpa="10.0.0.99"),
        ipv4(in_port=4, eth_src=stranger, eth_dst=BROADCAST),
        ipv6(in_port=4, eth_src=stranger, eth_dst=BROADCAST),
        arp_request(in_port=1, sha=H1, spa="10.0.0.77", tpa="10.0.0.99"),
        arp_request(in_port=4, sha=H1, spa="10.0.0.1", tpa="10.0.0.99"),
    ):
        reached = ports_of(LAB, packet)
        assert reached.count(CONTROLLER) == 1
        assert set(reached) - {CONTROLLER}


@pytest.mark.parametrize(
    "fields",
    [
        {"arp_sha": "01:00:5e:00:00:01"},
        {"arp_sha": "00:00:00:00:00:00"},
        {"arp_sha": "00:00:00:00:00:00", "arp_op": "2"},
        {"arp_spa": "127.0.0.1"},
        {"arp_spa": "224.0.0.5"},
        {"arp_spa": "255.255.255.255"},
        {"arp_op": "2", "arp_spa": "0.0.0.0"},
    ],
)
def test_an_impossible_arp_sender_is_dropped_in_silence(fields: dict[str, str]) -> None:
    packet = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2") | fields
    assert sent(LAB, packet) == []


def test_arp_of_another_kind_is_forwarded_and_teaches_nothing() -> None:
    inverse = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
    assert ports_of(LAB, inverse | {"arp_op": "8"}) == [2, 3, 4]
    # What Open vSwitch sees of other hardware, of IPv6, and of what is cut off.
    unread = dict.fromkeys(("arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha"), "0")
    unread |= {"arp_spa": "0.0.0.0", "arp_tpa": "0.0.0.0"}
    unread |= dict.fromkeys(("arp_sha", "arp_tha"), "00:00:00:00:00:00")
    assert ports_of(LAB, inverse | unread) == [2, 3, 4]


def test_a_full_port_is_not_heard_any_more_and_still_served() -> None:
    view = view_of(
        ports(S1, 1, 2), heard_host(S1, 1, H1, "10.0.0.1"), Limits(stations_per_port=1)
    )
    for packet in (
        arp_request(in_port=1, sha=H2, spa="10.0.0.2", tpa="10.0.0.99"),
        ipv4(in_port=1, eth_src=H2, eth_dst=BROADCAST),
    ):
        assert ports_of(view, packet) == [2]


def test_a_station_with_too_many_addresses_is_not_heard_any_more() -> None:
    view = view_of(
        ports(S1, 2), heard_host(S1, 1, H1, "10.0.0.1"), Limits(addresses_per_station=1)
    )
    request = arp_request(in_port=1, sha=H1, spa="10.0.0.50", tpa="10.0.0.99")
    assert ports_of(view, request) == [2]


def test_a_reply_to_the_controllers_own_probe_goes_nowhere() -> None:
    reply = arp_reply(
        in_port=3, sha=H3, spa="10.0.0.3", tha=CONTROLLER_LLADDR, tpa="0.0.0.0"
    )
    assert sent(LAB, reply) == []


# --- what goes no further -----------------------------------------------------------


def test_frames_that_no_station_may_send_are_dropped() -> None:
    for source in ("01:00:5e:00:00:01", BROADCAST, "00:00:00:00:00:00"):
        assert sent(LAB, ipv4(in_port=1, eth_src=source, eth_dst=H2)) == []


@pytest.mark.parametrize("last", ["00", "02", "03", "0e"])
def test_link_local_control_frames_go_no_further(last: str) -> None:
    bpdu = frame(
        in_port=1, eth_src=H1, eth_dst=f"01:80:c2:00:00:{last}", eth_type=0x88CC
    )
    assert sent(LAB, bpdu) == []


# --- forwarding ---------------------------------------------------------------------


def test_unicast_goes_to_its_station_only() -> None:
    assert ports_of(LAB, ipv4(in_port=1, eth_src=H1, eth_dst=H3)) == [3]


def test_unicast_to_an_unknown_station_goes_everywhere() -> None:
    unknown = ipv4(in_port=1, eth_src=H1, eth_dst="02:00:00:00:00:99")
    assert ports_of(LAB, unknown) == [2, 3, 4]


def test_a_frame_for_the_port_it_came_from_goes_nowhere() -> None:
    assert sent(LAB, ipv4(in_port=3, eth_src=H3, eth_dst=H3)) == []


def test_nothing_is_flooded_to_a_port_of_which_ovsdb_has_not_told_yet() -> None:
    told = view_of(Bridge(S1, "s1"), ports(S1, 1, 2, 3))
    packet = ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST)
    assert ports_of(told, packet) == [CONTROLLER, 2, 3]

    early = replace(told, interfaces=told.interfaces.delete(PortKey(S1, 3)))
    assert ports_of(early, packet) == [CONTROLLER, 2]


def test_a_port_that_is_down_is_not_flooded() -> None:
    view = view_of(LAB_PORTS_WITH_ONE_DOWN)
    assert ports_of(view, ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST)) == [
        CONTROLLER,
        2,
    ]


LAB_PORTS_WITH_ONE_DOWN = [
    *ports(S1, 1, 2),
    *kernel_host(S1, 3, H3, "10.0.0.3", up=False),
]


def test_ipv6_is_forwarded_by_plain_learning() -> None:
    assert ports_of(LAB, ipv6(in_port=1, eth_src=H1, eth_dst=H2)) == [2]
    mld = ipv6(in_port=1, eth_src=H1, eth_dst="33:33:00:00:00:16", dst="ff02::16")
    assert ports_of(LAB, mld) == [2, 3, 4]


# --- many switches ------------------------------------------------------------------


def test_unicast_travels_along_the_fabric() -> None:
    packet = ipv4(in_port=1, eth_src=H1, eth_dst=H3)
    assert ports_of(LINE, packet, S1) == [9]
    assert ports_of(LINE, packet | {"in_port": "8"}, S2) == [9]
    assert ports_of(LINE, packet | {"in_port": "8"}, S3) == [1]


def test_a_question_is_answered_at_the_askers_own_switch() -> None:
    question = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.3")
    [(port_no, reply)] = sent(LINE, question, S1)
    assert (port_no, reply["arp_sha"]) == (IN_PORT, H3)


def test_what_comes_over_the_fabric_is_no_news() -> None:
    stranger = "02:00:00:00:00:77"
    for packet in (
        arp_request(in_port=8, sha=stranger, spa="10.0.0.7", tpa="10.0.0.99"),
        ipv4(in_port=8, eth_src=stranger, eth_dst=BROADCAST),
    ):
        assert ports_of(LINE, packet, S2) == [1, 9]


def test_a_switchs_own_interface_is_nobodys_host() -> None:
    """s2-eth8's kernel sends a router solicitation into s1-eth9."""
    solicitation = ipv6(
        in_port=9,
        eth_src=port_lladdr(S2, 8),
        eth_dst="33:33:00:00:00:02",
        dst="ff02::2",
    )
    assert sent(LINE, solicitation, S1) == []


def test_a_frame_for_one_station_is_admitted_once_where_it_comes_in() -> None:
    """Its source says nothing any more on the way: it may be anybody's."""
    for source in ("00:00:00:00:00:00", port_lladdr(S2, 8), "02:00:00:00:00:77"):
        packet = ipv4(in_port=9, eth_src=source, eth_dst=H1)
        assert ports_of(LINE, packet, S1) == [1]


def test_a_tag_counts_as_much_on_the_way_as_where_a_frame_comes_in() -> None:
    tagged = view_of(
        cable((S1, 9), (S2, 8)),
        heard_host(S1, 1, H1, "10.0.0.1", vlan=7),
        heard_host(S1, 2, H1, "10.0.0.1"),
    )
    packet = ipv4(in_port=9, eth_src=H3, eth_dst=H1)
    assert ports_of(tagged, packet, S1) == [2]
    packet = ipv4(in_port=9, eth_src=H3, eth_dst=H1, vlan=7)
    assert ports_of(tagged, packet, S1) == [1]


def test_a_broadcast_in_a_ring_uses_each_switch_once() -> None:
    ring = view_of(
        cable((S1, 9), (S2, 8)),
        cable((S2, 9), (S3, 8)),
        cable((S3, 9), (S1, 8)),
        ports(S1, 1),
        ports(S2, 1),
        ports(S3, 1),
    )
    shout = ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST)
    heard = walk(ring, S1, shout)
    assert sorted(heard) == [(S2, 1), (S3, 1)]


def walk(view: View, start: int, packet: Packet) -> list[tuple[int, int]]:
    """Follow every copy through all switches; the edge ports it leaves by."""
    uplinks = {
        (near.datapath_id, near.port_no): far
        for near, far in view_uplinks(view).items()
    }
    edges: list[tuple[int, int]] = []
    copies = [(start, packet)]
    for _ in range(100):
        if not copies:
            return edges
        here, copy = copies.pop()
        for port_no, left in sent(view, copy, here):
            far = uplinks.get((here, port_no))
            if far is not None:
                copies.append((far.datapath_id, {**left, "in_port": str(far.port_no)}))
            elif port_no != CONTROLLER:
                edges.append((here, port_no))
    raise AssertionError("a storm: more than 100 copies")


def view_uplinks(view: View):  # type: ignore[no-untyped-def]
    from flows.network import network

    return network(view).fabric.uplinks


# --- the compiler itself ------------------------------------------------------------


def test_two_flows_for_one_match_are_refused_with_both_shown() -> None:
    def quarrel(switch, here):  # type: ignore[no-untyped-def]
        yield flow(here.table_id, 7, oxm(in_port=1), Output(2), note="")
        yield flow(here.table_id, 7, oxm(in_port=1), Output(3), note="")

    with pytest.raises(FlowConflict) as error:
        compile_flows(
            LAB, S1, pipeline=(Table("quarrel", frozenset({"in_port"}), quarrel),)
        )
    assert "output:2" in str(error.value) and "output:3" in str(error.value)


@pytest.mark.parametrize("view", [LAB, LINE], ids=["one switch", "a line"])
def test_flows_of_one_priority_that_meet_in_a_packet_do_the_same(view: View) -> None:
    """OpenFlow 1.3, 5.3: otherwise nobody knows which of them counts."""
    flows = compile_flows(view, S1).values()
    for one, other in combinations(flows, 2):
        if (one.table, one.priority) == (other.table, other.priority):
            assert one.actions == other.actions or not may_meet(one, other)


def may_meet(one: Flow, other: Flow) -> bool:
    first, second = dict(one.match), dict(other.match)
    for name in first.keys() & second.keys():
        (value, mask), (also, its) = map(FIELDS[name].read, (first[name], second[name]))
        if (value ^ also) & mask & its:
            return False
    return True


def test_a_flow_may_match_only_what_its_table_declares() -> None:
    def stray(switch, here):  # type: ignore[no-untyped-def]
        yield flow(here.table_id, 1, oxm(arp_op=1), GotoTable(1), note="")

    with pytest.raises(FlowConflict, match="does not belong in table 0"):
        compile_flows(
            LAB, S1, pipeline=(Table("stray", frozenset({"in_port"}), stray),)
        )


def test_equal_views_give_equal_cookies() -> None:
    again = view_of(
        heard_host(S1, 3, H3, "10.0.0.3"),
        kernel_host(S1, 2, H2, "10.0.0.2", nsid=1),
        kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
        ports(S1, 4),
    )
    assert set(compile_flows(LAB, S1)) == set(compile_flows(again, S1))


def test_every_table_has_a_flow_for_what_nothing_else_matches() -> None:
    misses = {
        f.table
        for f in compile_flows(View(), S1).values()
        if f.priority == 0 and not f.match
    }
    assert misses == set(TABLE_IDS.values())


def test_every_flow_says_in_words_what_it_does() -> None:
    assert all(f.note for f in compile_flows(LAB, S1).values())
