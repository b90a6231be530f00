"""What happens to neighbor discovery: RFC 4861 and RFC 4862, as the tables do it."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

import pytest

from flows.compile import compile_flows
from flows.forward import CONTROLLER_LLADDR
from flows.nd_known import ip_in, router_in
from flows.openflow import CONTROLLER, IN_PORT
from flows.pipeline import TABLE_IDS
from flows.simulate import simulate
from flows.view import Fixed, Limits, Router, View
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    cable,
    heard_host,
    ifindex,
    kernel_host,
    ports,
    view_of,
)
from tests.packets import (
    ZERO,
    Packet,
    advertisement,
    dad,
    ipv6,
    nud,
    solicitation,
)

STRANGER = "02:00:00:00:00:77"
HOST, ROUTER = "0x60000000", "0xe0000000"  # flags of a solicited advertisement
GROUP = "33:33:ff:00:00:01"

# Two hosts that the kernel shows, two that have spoken: a host, and a router.
LAB = view_of(
    ports(S1, 1, 2, 3, 4, 5),
    kernel_host(S1, 1, H1, "fd00::1", "fe80::1", nsid=0),
    kernel_host(S1, 2, H2, "fd00::2", "fe80::2", nsid=1),
    heard_host(S1, 3, H3, "fd00::3", router=False),
    heard_host(S1, 5, "02:00:00:00:00:05", "fe80::5", router=True),
)
R5 = "02:00:00:00:00:05"


def sent(view: View, packet: Packet, datapath_id: int = S1) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, datapath_id).values(), packet)


def ports_of(view: View, packet: Packet, datapath_id: int = S1) -> list[int]:
    return [port_no for port_no, _ in sent(view, packet, datapath_id)]


# --- answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "lladdr", "flags"),
    [("fd00::2", H2, HOST), ("fd00::3", H3, HOST), ("fe80::5", R5, ROUTER)],
)
def test_a_solicitation_of_a_known_address_is_answered_where_it_came_from(
    target: str, lladdr: str, flags: str
) -> None:
    """RFC 4861, 7.2.4, and 4.4 for the flags."""
    [answer] = sent(LAB, solicitation(in_port=1, eth_src=H1, target=target))

    expected = advertisement(
        in_port=1,
        eth_src=lladdr,
        target=target,
        eth_dst=H1,
        dst="fd00::1",
        flags=flags,
    )
    assert answer == (IN_PORT, expected)


def test_duplicate_address_detection_of_a_held_address_is_told_to_all_nodes() -> None:
    """RFC 4861, 7.2.4: the flag S is zero if the source was unspecified."""
    told, (port_no, defence) = sent(
        LAB, dad(in_port=4, eth_src=STRANGER, target="fd00::2")
    )

    assert told[0] == CONTROLLER
    assert port_no == IN_PORT
    assert (defence["eth_dst"], defence["ipv6_dst"]) == ("33:33:00:00:00:01", "ff02::1")
    assert (defence["eth_src"], defence["ipv6_src"]) == (H2, "fd00::2")
    assert (defence["nd_reserved"], defence["ipv6_nd_tll"]) == ("0x20000000", H2)


def test_an_owner_is_never_answered_about_its_own_address() -> None:
    """RFC 4862, 5.4.3: its duplicate address detection would fail."""
    for question in (
        dad(in_port=2, eth_src=H2, target="fd00::2"),
        solicitation(in_port=2, eth_src=H2, src="fe80::2", target="fd00::2"),
        dad(in_port=3, eth_src=H3, target="fd00::3"),
    ):
        assert IN_PORT not in ports_of(LAB, question)


def test_an_owner_that_has_moved_is_not_answered_either() -> None:
    """Its duplicate address detection would find itself."""
    assert IN_PORT not in ports_of(LAB, dad(in_port=4, eth_src=H3, target="fd00::3"))


def test_what_another_switch_passes_on_is_not_answered() -> None:
    line = view_of(
        cable((S1, 9), (S2, 8)),
        heard_host(S1, 1, H1, "fd00::1", router=False),
        ports(S2, 1),
    )
    for question in (
        dad(in_port=8, eth_src=H1, target="fd00::1"),
        dad(in_port=8, eth_src=STRANGER, target="fd00::1"),
        solicitation(in_port=8, eth_src=STRANGER, src="fd00::7", target="fd00::1"),
    ):
        assert ports_of(line, question, S2) == [1]


def test_a_unicast_solicitation_reaches_the_one_it_asks() -> None:
    """RFC 4861, 7.3.1: is it still there?"""
    poll = nud(in_port=1, eth_src=H1, src="fd00::1", eth_dst=H2, target="fd00::2")
    assert sent(LAB, poll) == [(2, poll)]


def test_a_solicitation_of_an_unknown_address_is_asked_everywhere() -> None:
    question = solicitation(in_port=1, eth_src=H1, target="fd00::99")
    assert sent(LAB, question) == [(n, question) for n in (2, 3, 4, 5)]


def test_duplicate_address_detection_of_a_free_address_is_asked_everywhere() -> None:
    """And told: who is first shall have it, and who objects is counted."""
    question = dad(in_port=1, eth_src=H1, target="fd00::99")
    assert sent(LAB, question) == [(n, question) for n in (CONTROLLER, 2, 3, 4, 5)]


def test_a_solicitation_without_room_for_the_answer_is_left_to_others() -> None:
    """The controller and the owner."""
    question = solicitation(in_port=1, eth_src=H1, target="fd00::2", sll="")
    assert sent(LAB, question) == [(n, question) for n in (CONTROLLER, 2, 3, 4, 5)]


def test_a_solicitation_to_the_wrong_group_is_left_to_the_owner() -> None:
    question = solicitation(in_port=1, eth_src=H1) | {"ipv6_dst": "ff02::1"}
    assert ports_of(LAB, question) == [2, 3, 4, 5]


def test_who_has_not_told_whether_it_is_a_router_is_not_answered_for() -> None:
    """RFC 4861, 7.2.5: with the wrong flag hosts would drop their default router."""
    view = view_of(
        ports(S1, 1, 2),
        kernel_host(S1, 1, H1, "fd00::1"),
        heard_host(S1, 2, H2, "fe80::2"),
    )
    assert ports_of(view, solicitation(in_port=1, eth_src=H1, target="fe80::2")) == [2]


def test_a_kernel_that_forwards_is_answered_for_as_a_router() -> None:
    """RFC 4861, 4.4: the flag R."""
    gateway = kernel_host(S1, 2, H2, "fe80::2", nsid=1)
    view = view_of(
        kernel_host(S1, 1, H1, "fd00::1"), gateway, Router(1, ifindex(S1, 2), True)
    )
    question = solicitation(in_port=1, eth_src=H1, target="fe80::2")
    assert [answer["nd_reserved"] for _, answer in sent(view, question)] == [ROUTER]


def test_an_address_with_two_equal_claimants_is_asked_for_everywhere() -> None:
    contested = view_of(
        ports(S1, 4),
        heard_host(S1, 1, H1, "fd00::7", router=False),
        heard_host(S1, 2, H2, "fd00::7", router=False),
    )
    question = solicitation(in_port=4, eth_src=H3, src="fd00::3", target="fd00::7")
    assert ports_of(contested, question) == [CONTROLLER, 1, 2]


def test_an_answer_keeps_the_vlan_of_its_question() -> None:
    view = view_of(ports(S1, 1), heard_host(S1, 2, H2, "fd00::2", vlan=7, router=False))
    tagged = solicitation(in_port=1, eth_src=H1, vlan=7)
    [*_, (port_no, answer)] = sent(view, tagged)
    assert (port_no, answer["vlan_vid"]) == (IN_PORT, tagged["vlan_vid"])


def test_an_address_of_one_vlan_is_not_answered_for_on_another() -> None:
    view = view_of(ports(S1, 1), heard_host(S1, 2, H2, "fd00::2", vlan=7, router=False))
    for vlan in (0, 8):
        question = solicitation(in_port=1, eth_src=H1, vlan=vlan)
        assert IN_PORT not in ports_of(view, question)


def test_the_operators_word_is_answered_with() -> None:
    view = view_of(
        kernel_host(S1, 1, H1, "fd00::1"),
        heard_host(S1, 2, H2),
        Fixed(0, ip_address("fd00::9"), H2),
    )
    [(_, answer)] = sent(view, solicitation(in_port=1, eth_src=H1, target="fd00::9"))
    assert (answer["ipv6_nd_tll"], answer["nd_reserved"]) == (H2, HOST)


def test_a_question_is_answered_at_the_askers_own_switch() -> None:
    line = view_of(
        cable((S1, 9), (S2, 8)),
        cable((S2, 9), (S3, 8)),
        heard_host(S1, 1, H1, "fd00::1", router=False),
        heard_host(S3, 1, H3, "fd00::3", router=False),
        ports(S2, 1),
    )
    question = solicitation(in_port=1, eth_src=H1, target="fd00::3")
    [(port_no, answer)] = sent(line, question, S1)
    assert (port_no, answer["ipv6_nd_tll"]) == (IN_PORT, H3)


# --- what reaches the controller ----------------------------------------------------


def test_known_bindings_are_silent() -> None:
    for packet in (
        solicitation(in_port=1, eth_src=H1, src="fe80::1", target="fd00::99"),
        advertisement(in_port=2, eth_src=H2, target="fd00::2"),
        advertisement(in_port=3, eth_src=H3, target="fd00::3", tll=""),
        advertisement(in_port=5, eth_src=R5, target="fe80::5", flags="0xa0000000"),
        solicitation(in_port=5, eth_src=R5, src="fe80::5", target="fd00::99"),
        solicitation(in_port=3, eth_src=H3, src="fd00::3", target="fe80::9", sll=""),
    ):
        assert CONTROLLER not in ports_of(LAB, packet), packet


@pytest.mark.parametrize(
    "packet",
    [
        solicitation(in_port=4, eth_src=STRANGER, src="fd00::7", target="fd00::99"),
        dad(in_port=4, eth_src=STRANGER, target="fd00::99"),
        advertisement(in_port=4, eth_src=STRANGER, target="fd00::7"),
        solicitation(in_port=1, eth_src=H1, src="fd00::77", target="fd00::99"),
        solicitation(in_port=4, eth_src=H1, src="fd00::1", target="fd00::99"),
        advertisement(in_port=1, eth_src=H1, target="fd00::2"),
        advertisement(in_port=3, eth_src=H3, target="fd00::3", tll=H2),
        advertisement(in_port=3, eth_src=H3, target="fd00::3", flags="0xa0000000"),
        advertisement(in_port=5, eth_src=R5, target="fe80::5"),
    ],
    ids=[
        *("new station", "its probe", "its advertisement", "new address"),
        *("new place", "usurper", "other lladdr", "now a router", "no router any more"),
    ],
)
def test_news_reaches_the_controller_once_and_goes_on_at_once(packet: Packet) -> None:
    reached = ports_of(LAB, packet)
    assert reached.count(CONTROLLER) == 1
    assert set(reached) - {CONTROLLER}


def test_the_first_advertisement_of_a_heard_address_is_news() -> None:
    view = view_of(ports(S1, 1), heard_host(S1, 2, H2, "fd00::2"))
    asked = solicitation(in_port=2, eth_src=H2, src="fd00::2", target="fd00::99")
    assert CONTROLLER not in ports_of(view, asked)
    for flags in ("0x20000000", "0xa0000000"):
        told = advertisement(in_port=2, eth_src=H2, target="fd00::2", flags=flags)
        assert CONTROLLER in ports_of(view, told)


@pytest.mark.parametrize(
    "packet",
    [
        solicitation(in_port=1, eth_src=H1) | {"ip_ttl": "254"},
        advertisement(in_port=1, eth_src=H1, target="fd00::1") | {"ip_ttl": "64"},
        dad(in_port=1, eth_src=H1, target="fd00::9") | {"ip_ttl": "1"},
        solicitation(in_port=1, eth_src=H1) | {"icmpv6_code": "1"},
        solicitation(in_port=1, eth_src=H1, src="ff02::1"),
        solicitation(in_port=1, eth_src=H1, src="::1"),
        solicitation(in_port=1, eth_src=H1, target="ff02::5"),
        solicitation(in_port=1, eth_src=H1, target="::"),
        solicitation(in_port=1, eth_src=H1, sll=GROUP),
        dad(in_port=1, eth_src=H1, target="fd00::9") | {"ipv6_dst": "fd00::9"},
        solicitation(in_port=1, eth_src=H1, src="::"),
        advertisement(in_port=1, eth_src=H1, target="ff02::5"),
        advertisement(in_port=1, eth_src=H1, target="fd00::1", tll=GROUP),
        advertisement(in_port=1, eth_src=H1, target="fd00::1") | {"ipv6_src": "::"},
        advertisement(in_port=1, eth_src=H1, target="fd00::1", flags=HOST),
    ],
    ids=[
        *("NS from afar", "NA from afar", "probe from afar", "a code"),
        *("group as source", "loopback as source", "group as target", "no target"),
        *("group as lladdr", "probe of one node", "probe with lladdr"),
        *(
            "NA of a group",
            "NA with group as lladdr",
            "NA of nobody",
            "solicited group",
        ),
    ],
)
def test_impossible_neighbor_discovery_is_dropped_in_silence(packet: Packet) -> None:
    """RFC 4861, 7.1.1 and 7.1.2."""
    assert sent(LAB, packet) == []


def test_a_full_port_is_not_heard_any_more_and_still_served() -> None:
    view = view_of(
        ports(S1, 1, 2),
        heard_host(S1, 1, H1, "fd00::1", router=False),
        Limits(stations_per_port=1),
    )
    for packet in (
        solicitation(in_port=1, eth_src=H2, src="fd00::2", target="fd00::99"),
        dad(in_port=1, eth_src=H2, target="fd00::99"),
        advertisement(in_port=1, eth_src=H2, target="fd00::2"),
    ):
        assert ports_of(view, packet) == [2]


def test_a_station_with_too_many_addresses_is_not_heard_any_more() -> None:
    view = view_of(
        ports(S1, 2),
        heard_host(S1, 1, H1, "fd00::1", router=False),
        Limits(addresses_per_station=1),
    )
    question = solicitation(in_port=1, eth_src=H1, src="fd00::50", target="fd00::99")
    assert ports_of(view, question) == [2]


def test_a_reply_to_the_controllers_own_question_goes_nowhere() -> None:
    reply = advertisement(
        in_port=3,
        eth_src=H3,
        target="fd00::3",
        eth_dst=CONTROLLER_LLADDR,
        dst="fe80::69:73ff:fe61:7400",
        flags=HOST,
    )
    assert sent(LAB, reply) == []


def test_what_comes_over_the_fabric_is_no_news() -> None:
    line = view_of(cable((S1, 9), (S2, 8)), ports(S2, 1))
    for packet in (
        solicitation(in_port=8, eth_src=STRANGER, src="fd00::7", target="fd00::99"),
        dad(in_port=8, eth_src=STRANGER, target="fd00::99"),
    ):
        assert ports_of(line, packet, S2) == [1]


# --- what is not neighbor discovery ---------------------------------------------------


@pytest.mark.parametrize("kind", [131, 133, 143])
def test_other_icmpv6_passes(kind: int) -> None:
    """Multicast listeners (RFC 3810), and who looks for routers."""
    assert ports_of(LAB, routing(kind, in_port=1, eth_src=H1)) == [2, 3, 4, 5]


@pytest.mark.parametrize("kind", [134, 137])
def test_who_is_not_known_as_a_router_is_told_if_it_routes(kind: int) -> None:
    packet = routing(kind, in_port=1, eth_src=H1)
    assert ports_of(LAB, packet) == [CONTROLLER, 2, 3, 4, 5]
    lie = routing(kind, in_port=1, eth_src=H1, src="fe80::5")
    assert ports_of(LAB, lie) == [CONTROLLER, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", [134, 137])
def test_a_router_that_is_known_routes_in_silence(kind: int) -> None:
    packet = routing(kind, in_port=5, eth_src=R5, src="fe80::5")
    assert ports_of(LAB, packet) == [1, 2, 3, 4]


def routing(kind: int, *, in_port: int, eth_src: str, src: str = "fe80::1") -> Packet:
    to, group = "33:33:00:00:00:02", "ff02::2"
    packet = ipv6(in_port=in_port, eth_src=eth_src, eth_dst=to, src=src, dst=group)
    return packet | {"icmpv6_type": str(kind), "ip_ttl": "255"}


def test_a_binding_is_one_guard_flow_that_tells_it() -> None:
    flows = compile_flows(LAB, S1).values()
    known = [f for f in flows if (f.table, f.priority) == (TABLE_IDS["nd_known"], 200)]
    told = {(ip_in(dict(f.match)), router_in(dict(f.match))) for f in known}

    assert told == {
        (IPv6Address("fd00::1"), False),
        (IPv6Address("fe80::1"), False),
        (IPv6Address("fd00::2"), False),
        (IPv6Address("fe80::2"), False),
        (IPv6Address("fd00::3"), False),
        (IPv6Address("fe80::5"), True),
    }
    assert ZERO not in {f.subject for f in known}
