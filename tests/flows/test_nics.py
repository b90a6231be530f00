"""A host with several interfaces in one segment: each speaks for itself."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.dispute import Kind, Said, contradiction
from flows.network import network
from flows.openflow import CONTROLLER, IN_PORT
from flows.simulate import simulate
from flows.view import Address, Bridge, Fixed, Guard, Link, Nics, PortKey, View
from tests.facts import H1, H2, H3, S1, Fact, ifindex, kernel_host, ports, view_of
from tests.packets import Packet, announcement, arp_reply, arp_request, ipv4, probe

IP1, IP2, IP3 = "10.0.0.1", "10.0.0.2", "10.0.0.3"
ENFORCE, WATCH = Guard("enforce"), Guard("watch")

# h0 with 10.0.0.1 at port 1 and 10.0.0.2 at port 2, and a neighbor at port 3.
LAB: tuple[Fact | list[Fact], ...] = (
    Bridge(S1, "s1"),
    [*ports(S1, 1, 2, 3, 4)],
    kernel_host(S1, 1, H1, IP1, nsid=0),
    kernel_host(S1, 2, H2, IP2, nsid=0),
    kernel_host(S1, 3, H3, IP3, nsid=1),
)


def lab(*more: Fact, nics: Nics | None = None) -> View:
    return replace(view_of(*LAB, *more), nics=nics or Nics())


def sent(view: View, packet: Packet) -> list[tuple[int, Packet]]:
    return list(simulate(compile_flows(view, S1).values(), packet))


def where(view: View, packet: Packet) -> list[int]:
    return [port_no for port_no, _ in sent(view, packet)]


EVERY = [(), (ENFORCE,), (WATCH,)]


@pytest.mark.parametrize("guards", EVERY)
def test_what_an_interface_answers_for_another_ones_address_goes_nowhere(
    guards: tuple[Guard, ...],
) -> None:
    wrong = arp_reply(in_port=1, sha=H1, spa=IP2, tha=H3, tpa=IP3)
    assert where(lab(*guards), wrong) == []
    right = arp_reply(in_port=2, sha=H2, spa=IP2, tha=H3, tpa=IP3)
    assert where(lab(*guards), right) == [3]


@pytest.mark.parametrize("guards", EVERY)
def test_a_question_asked_with_another_ones_address_is_asked_with_its_own(
    guards: tuple[Guard, ...],
) -> None:
    asks = arp_request(in_port=1, sha=H1, spa=IP2, tpa="10.0.0.99")
    told = sent(lab(*guards), asks)
    assert [port_no for port_no, _ in told] == [2, 3, 4]
    assert {(p["arp_sha"], p["arp_spa"]) for _, p in told} == {(H1, IP1)}


def test_such_a_question_is_answered_to_the_address_of_its_own() -> None:
    asks = arp_request(in_port=1, sha=H1, spa=IP2, tpa=IP3)
    [(port_no, answer)] = sent(lab(), asks)
    assert (port_no, answer["arp_sha"], answer["arp_tpa"]) == (IN_PORT, H3, IP1)


@pytest.mark.parametrize("guards", EVERY)
def test_an_announcement_of_another_ones_address_goes_nowhere(
    guards: tuple[Guard, ...],
) -> None:
    assert where(lab(*guards), announcement(in_port=1, sha=H1, ip=IP2)) == []
    assert where(lab(*guards), announcement(in_port=1, sha=H1, ip=IP1)) == [2, 3, 4]


@pytest.mark.parametrize("guards", EVERY)
def test_the_answer_in_the_switch_is_the_owners(guards: tuple[Guard, ...]) -> None:
    for ip, owner in ((IP1, H1), (IP2, H2)):
        asks = arp_request(in_port=3, sha=H3, spa=IP3, tpa=ip)
        [(port_no, answer)] = sent(lab(*guards), asks)
        assert (port_no, answer["arp_sha"]) == (IN_PORT, owner)


def test_packets_leave_by_the_interface_that_routes_choose_at_guarded_ports_too() -> (
    None
):
    packet = ipv4(in_port=1, eth_src=H1, eth_dst=H3, src=IP2)
    assert where(lab(ENFORCE), packet) == [3]
    foreign = ipv4(in_port=1, eth_src=H1, eth_dst=H3, src=IP3)
    assert where(lab(ENFORCE), foreign) == [CONTROLLER]


def test_as_linux_does_by_itself_everything_passes() -> None:
    view = lab(nics=Nics(arp_ignore=0, arp_announce=0))
    wrong = arp_reply(in_port=1, sha=H1, spa=IP2, tha=H3, tpa=IP3)
    assert 3 in where(view, wrong)
    asks = arp_request(in_port=1, sha=H1, spa=IP2, tpa="10.0.0.99")
    assert {p["arp_spa"] for n, p in sent(view, asks) if n != CONTROLLER} == {IP2}


def test_one_setting_does_not_bring_the_other() -> None:
    wrong = arp_reply(in_port=1, sha=H1, spa=IP2, tha=H3, tpa=IP3)
    asks = arp_request(in_port=1, sha=H1, spa=IP2, tpa="10.0.0.99")
    quiet, own = lab(nics=Nics(1, 0)), lab(nics=Nics(0, 2))
    assert (where(quiet, wrong), 3 in where(own, wrong)) == ([], True)
    assert {p["arp_spa"] for n, p in sent(quiet, asks) if n != CONTROLLER} == {IP2}
    assert {p["arp_spa"] for n, p in sent(own, asks)} == {IP1}


def test_an_interface_without_address_asks_as_it_does() -> None:
    alone = [f for f in LAB[2] if not isinstance(f, Address)]  # type: ignore[union-attr]
    view = view_of(*LAB[:2], alone, *LAB[3:])
    asks = arp_request(in_port=1, sha=H1, spa=IP2, tpa="10.0.0.99")
    assert {p["arp_spa"] for n, p in sent(view, asks) if n != CONTROLLER} == {IP2}


def test_an_address_that_both_have_belongs_to_both() -> None:
    both = Address(0, ifindex(S1, 1), ip_address(IP2), 24)
    assert {one.ip for one in network(lab(both)).siblings.values()} == {ip_address(IP1)}


def test_what_the_operator_has_given_to_somebody_is_not_settled() -> None:
    given_ = network(lab(Fixed(0, ip_address(IP2), H1)))
    assert ip_address(IP2) not in {one.ip for one in given_.siblings.values()}


def test_two_hosts_are_no_twins_and_a_link_that_goes_ends_it() -> None:
    assert list(network(lab()).twins) == [(network(lab()).domain(S1, 0), 0)]
    gone = [
        replace(f, lower_up=False) if isinstance(f, Link) and f.nsid == 0 else f
        for f in kernel_host(S1, 2, H2, IP2, nsid=0)
    ]
    view = view_of(*LAB[:3], gone, LAB[4])
    assert not network(view).twins and not network(view).siblings


IPS = (IP1, IP2, IP3, "10.0.0.99")
spoken = st.tuples(
    st.integers(1, 3),
    st.sampled_from([H1, H2, H3]),
    st.sampled_from(["1", "2", "packet"]),
    st.sampled_from(IPS),
    st.sampled_from(IPS),
)
policies = st.builds(Nics, st.sampled_from([0, 1]), st.sampled_from([0, 2]))


@settings(max_examples=300, deadline=None)
@given(spoken, policies)
def test_the_switch_refuses_exactly_what_contradicts(
    words: tuple[int, str, str, str, str], nics: Nics
) -> None:
    at, mac, op, spa, tpa = words
    packet = ipv4(in_port=at, eth_src=mac, eth_dst=H3, src=spa)
    kind = Kind.PACKET
    if op != "packet":
        packet = {**arp_request(in_port=at, sha=mac, spa=spa, tpa=tpa), "arp_op": op}
        kind = Kind.REQUEST if op == "1" else Kind.REPLY
    if op != "packet" and spa == tpa:
        return  # an announcement: either of the settings has it dropped
    view = lab(ENFORCE, nics=nics)
    said = Said(PortKey(S1, at), 0, mac, kind, ip_address(spa))
    refused = contradiction(network(view), said) is not None
    assert (set(where(view, packet)) == {CONTROLLER}) == refused


def test_a_probe_is_nobodys_word() -> None:
    asked = probe(in_port=1, sha=H1, tpa="10.0.0.77")
    assert where(lab(), asked) == where(lab(nics=Nics(0, 0)), asked)
