"""Who is behind a port of ours, by way of veths, Linux bridges and taps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from hypothesis import given

from flows import chains as module
from flows.chains import NOWHERE, Chain, chains, is_live
from flows.network import network
from flows.parties import Domain, Located, Origin
from flows.tracked import Tracked
from flows.view import OWN_NAMESPACE, Address, Link, LinkKey, PortKey, View
from tests import strategies
from tests.facts import (
    H1,
    H2,
    H3,
    QBR,
    QVB,
    S1,
    TAP,
    Fact,
    bridged_tap,
    heard_host,
    ifindex,
    interface,
    kernel_host,
    port,
    qbr_lladdr,
    view_of,
)

P1 = PortKey(S1, 1)
NEAR = ifindex(S1, 1)


def chain(view: View, key: PortKey = P1) -> Chain:
    return chains(view.interfaces, view.links).get(key, NOWHERE)


def located(view: View, lladdr: str) -> Located | None:
    return network(view).located.get((Domain(S1, 0), lladdr))


def changed(view: View, number: int, nsid: int = OWN_NAMESPACE, **to: Any) -> View:
    """The view with another state of one interface."""
    key = LinkKey(nsid, number)
    return replace(view, links=view.links.set(key, replace(view.links[key], **to)))


def names(ways: Iterable[tuple[Link, ...]]) -> list[list[str]]:
    return [[link.ifname for link in way] for way in ways]


def veth(number: int, peer: int, nsid: int, peer_nsid: int, **fields: Any) -> Link:
    link = Link(nsid, number, f"x{number}", "veth", "", peer=peer, peer_nsid=peer_nsid)
    return replace(link, **fields)


def leg(nsid: int = 3, lladdr: str = H3) -> list[Fact]:
    """A veth from the Linux bridge of port 1 into a namespace."""
    return [
        veth(70, 71, OWN_NAMESPACE, nsid, master=NEAR + QBR),
        veth(71, 70, nsid, OWN_NAMESPACE, lladdr=lladdr),
        Address(nsid, 71, ip_address("10.0.0.3"), 24),
    ]


# --- who is there -------------------------------------------------------------------


def test_the_guest_behind_a_linux_bridge_is_known_before_it_speaks() -> None:
    found = located(view_of(bridged_tap(S1, 1, H1)), H1)
    assert found is not None and found.origin is Origin.KERNEL
    assert found.port == P1
    assert found.shown is not None
    assert names([found.shown.way]) == [["s1-eth1", "qvb101", "qbr101", "tap101"]]


def test_a_linux_bridge_is_a_station_itself() -> None:
    view = view_of(
        bridged_tap(S1, 1),
        Address(OWN_NAMESPACE, NEAR + QBR, ip_address("10.0.0.254"), 24),
    )
    holder = network(view).holders[Domain(S1, 0), ip_address("10.0.0.254")]
    assert holder.answered and holder.winner.lladdr == qbr_lladdr(1)
    assert holder.winner.port == P1


def test_a_namespace_behind_a_linux_bridge_is_answered_for() -> None:
    view = view_of(bridged_tap(S1, 1), leg())
    holder = network(view).holders[Domain(S1, 0), ip_address("10.0.0.3")]
    assert holder.answered and holder.winner.lladdr == H3


def test_what_is_enslaved_speaks_for_others() -> None:
    view = view_of(bridged_tap(S1, 1, H1))
    lladdrs = {one.lladdr for one in chain(view).speakers}
    assert lladdrs == {qbr_lladdr(1), H1}


def test_a_guest_at_a_port_of_ours_is_a_station_whose_own_word_counts() -> None:
    tap = Link(OWN_NAMESPACE, NEAR, "tap1", "tun", H3, guest_lladdr=H1)
    silent = view_of(port(S1, 1), interface(S1, 1), tap)
    found = located(silent, H1)
    assert found is not None and found.origin is Origin.KERNEL
    assert located(silent, H3) is None  # the tap's own address is the host's side

    speaking = view_of(
        port(S1, 1), interface(S1, 1), tap, heard_host(S1, 1, H1, "10.0.0.1")
    )
    holder = network(speaking).holders[Domain(S1, 0), ip_address("10.0.0.1")]
    assert holder.answered and holder.winner.origin is Origin.HEARD


def test_addresses_of_the_tap_itself_are_not_the_guests() -> None:
    view = view_of(
        bridged_tap(S1, 1, H1),
        Address(OWN_NAMESPACE, NEAR + TAP, ip_address("10.0.0.77"), 24),
    )
    assert not network(view).holders


def test_macvlans_on_top_of_a_far_end_are_stations_too() -> None:
    above = Link(5, 9, "mv0", "macvlan", H2, peer=NEAR, peer_nsid=0)
    view = view_of(
        kernel_host(S1, 1, H1), above, Address(5, 9, ip_address("10.0.0.2"), 24)
    )
    holder = network(view).holders[Domain(S1, 0), ip_address("10.0.0.2")]
    assert holder.answered and (holder.winner.lladdr, holder.winner.port) == (H2, P1)
    assert located(changed(view, 9, 5, up=False), H2) is None


def test_a_chain_goes_on_through_further_bridges() -> None:
    view = view_of(
        bridged_tap(S1, 1),
        veth(70, 71, OWN_NAMESPACE, 4, master=NEAR + QBR),
        veth(71, 70, 4, OWN_NAMESPACE, master=72),
        Link(4, 72, "inner", "bridge", "0a:00:00:00:00:72"),
        Link(4, 73, "tap9", "tun", "", master=72, guest_lladdr=H2),
    )
    found = located(view, H2)
    assert found is not None and found.port == P1
    assert found.link is not None and found.link.ifname == "tap9"


# --- who is not ---------------------------------------------------------------------


def test_every_interface_of_the_way_must_be_up_and_have_carrier() -> None:
    view = view_of(bridged_tap(S1, 1, H1))
    for number in (NEAR, NEAR + QVB, NEAR + QBR, NEAR + TAP):
        for state in ("up", "lower_up"):
            assert located(changed(view, number, **{state: False}), H1) is None
    assert located(view, H1) is not None


def test_a_segment_with_two_doors_is_left_to_learning() -> None:
    """Frames of its stations may come in by either; where they do is seen there."""
    second = veth(70, ifindex(S1, 2), OWN_NAMESPACE, OWN_NAMESPACE, master=NEAR + QBR)
    other = veth(ifindex(S1, 2), 70, OWN_NAMESPACE, OWN_NAMESPACE)
    view = view_of(bridged_tap(S1, 1, H1), port(S1, 2), interface(S1, 2), second, other)
    assert not network(view).located
    assert names(chain(view).doors) == [
        ["s1-eth1", "qvb101", "qbr101", "x70", f"x{other.ifindex}"]
    ]
    assert located(changed(view, 70, up=False), H1) is not None


def test_a_bridge_that_keeps_vlans_apart_is_left_to_learning() -> None:
    view = changed(view_of(bridged_tap(S1, 1, H1)), NEAR + QBR, filters_vlans=True)
    assert not network(view).located
    assert not chain(view).is_deserted


def test_nobody_takes_a_place_by_an_interface_that_is_farther_away() -> None:
    """Whoever is root in a namespace can make a macvlan with anybody's address."""
    forged = Link(0, 9, "mv0", "macvlan", H2, peer=NEAR, peer_nsid=0)
    view = view_of(
        kernel_host(S1, 1, H1), forged, kernel_host(S1, 2, H2, "10.0.0.2", nsid=1)
    )
    found = located(view, H2)
    assert found is not None and found.port == PortKey(S1, 2)


def test_what_is_not_followed_to_its_end_names_nobody(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "INTERFACES_MAX", 3)
    view = view_of(bridged_tap(S1, 1, H1), leg())
    assert chain(view).is_vague and not network(view).located


def test_two_bridges_with_two_cables_between_them_are_passed_once() -> None:
    cables = [
        (
            veth(n, n + 1, OWN_NAMESPACE, OWN_NAMESPACE, master=NEAR + QBR),
            veth(n + 1, n, OWN_NAMESPACE, OWN_NAMESPACE, master=80),
        )
        for n in (70, 72)
    ]
    view = view_of(
        bridged_tap(S1, 1, H1),
        *cables,
        Link(OWN_NAMESPACE, 80, "br80", "bridge", "0a:00:00:00:00:80"),
    )
    assert [link.ifname for link in chain(view).bridges] == ["qbr101", "br80"]
    assert located(view, H1) is not None


# --- where it ends ------------------------------------------------------------------


def test_a_chain_says_where_it_ends() -> None:
    view = view_of(bridged_tap(S1, 1), leg())
    assert [names[-1] for names in names(chain(view).ends)] == ["tap101", "x71"]


def test_a_bridge_with_nobody_at_its_other_ports_is_deserted() -> None:
    held = view_of(bridged_tap(S1, 1))
    assert not chain(held).is_deserted
    assert chain(view_of(bridged_tap(S1, 1, up=False))).is_deserted
    assert chain(changed(held, NEAR + QBR, up=False)).is_deserted
    assert not chain(view_of(kernel_host(S1, 1, H1))).is_deserted


@given(strategies.views())
def test_whoever_is_found_is_found_over_interfaces_that_are_all_up(view: View) -> None:
    for key, found in chains(view.interfaces, view.links).items():
        for speaker in found.speakers:
            assert all(map(is_live, speaker.way))
            assert len({link.key for link in speaker.way}) == len(speaker.way)
            near = speaker.way[0].key
            assert near == (OWN_NAMESPACE, view.interfaces[key].ifindex)


@given(strategies.views())
def test_no_order_of_facts_makes_a_difference(view: View) -> None:
    backwards = Tracked(reversed([*view.links.items()]))
    assert chains(view.interfaces, view.links) == chains(view.interfaces, backwards)


@given(strategies.views())
def test_a_plain_veth_is_no_special_case(view: View) -> None:
    links = view.links
    groups = module.enslaved(links), module.above(links)
    cabling = module.Cabling(links, *groups, module.ifindexes(view.interfaces))
    for near in view.links.values():
        far = module.far_end(near, view.links)
        if far is not None and cabling.is_last(far):
            walked = module.Walk(cabling).follow((near, far))
            assert module.last((near, far)) == walked
