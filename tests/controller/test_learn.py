"""What each event teaches."""

from dataclasses import replace
from ipaddress import IPv4Address as IP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.events import (
    ArpSeen,
    Binding,
    BridgesSeen,
    FrameSeen,
    KernelChanged,
    KernelFact,
    KernelSynced,
    PortChanged,
    PortGone,
    SwitchGone,
    SwitchReady,
)
from controller.learn import ECHO, learn, recover
from flows.network import network
from flows.view import (
    NEIGHBORS_MAX,
    OWN_NAMESPACE,
    Bridge,
    Claim,
    Interface,
    Limits,
    Link,
    LinkKey,
    Neighbor,
    PortKey,
    Router,
    Shaper,
    Station,
    StationKey,
    View,
    Vlans,
    bound_of,
    crowds_of,
)
from tests import strategies
from tests.facts import (
    H1,
    H2,
    QBR,
    S1,
    S2,
    TAP,
    bridged_tap,
    cable,
    heard_host,
    ifindex,
    interface,
    kernel_host,
    port,
    ports,
    view_of,
)

BROADCAST = "ff:ff:ff:ff:ff:ff"


def arp(
    spa: str, *, at: tuple[int, int] = (S1, 1), sha: str = H1, vlan: int = 0
) -> ArpSeen:
    return ArpSeen(
        *at, vlan, sha, BROADCAST, 1, sha, IP(spa), "00:00:00:00:00:00", IP("10.0.0.9")
    )


def station(view: View, lladdr: str = H1, at: int = S1, vlan: int = 0) -> Station:
    return view.stations[StationKey(at, vlan, lladdr)]


def claims(view: View, lladdr: str = H1) -> set[str]:
    return {str(claim.ip) for claim in station(view, lladdr).claims}


LAB = view_of(ports(S1, 1, 2, 3))


@given(strategies.views(), strategies.views())
def test_a_view_with_other_stations_differs_in_these_alone(
    one: View, two: View
) -> None:
    kept = replace(one)
    heard = (two.stations, two.crowds, two.bound)
    after = one.with_stations(*heard)
    assert after == replace(one, stations=two.stations)
    assert (after.stations, after.crowds, after.bound) == heard
    assert one == kept


def test_the_sender_of_a_request_is_learned() -> None:
    view = learn(LAB, arp("10.0.0.1"), now=5.0)
    assert station(view) == Station(S1, 0, H1, 1, 5.0, (Claim(IP("10.0.0.1"), 5.0),))


def test_what_is_heard_again_at_once_leaves_the_view_as_it_was() -> None:
    view = learn(LAB, arp("10.0.0.1"), now=5.0)
    soon = 5.0 + ECHO - 0.1
    assert learn(view, arp("10.0.0.1"), soon) is view
    assert learn(view, arp("0.0.0.0"), soon) is view
    assert learn(view, FrameSeen(S1, 1, 0, H1), soon) is view
    assert learn(view, arp("10.0.0.2"), soon) is not view
    assert learn(view, arp("10.0.0.1", at=(S1, 2)), soon) is not view
    later = learn(view, arp("10.0.0.1"), 5.0 + ECHO)
    assert station(later).claims == (Claim(IP("10.0.0.1"), 5.0 + ECHO),)


def test_an_rfc_5227_probe_places_the_station_and_claims_no_address() -> None:
    view = learn(LAB, arp("0.0.0.0"), now=5.0)
    assert station(view).port_no == 1
    assert not station(view).claims


def test_a_frame_that_is_not_arp_places_the_station() -> None:
    view = learn(LAB, FrameSeen(S1, 2, 0, H1), now=5.0)
    assert station(view).port_no == 2


def test_a_host_that_moves_keeps_its_addresses() -> None:
    view = learn(LAB, arp("10.0.0.1"), now=5.0)
    view = learn(view, arp("10.0.0.11", at=(S1, 2)), now=6.0)
    assert station(view).port_no == 2
    assert claims(view) == {"10.0.0.1", "10.0.0.11"}


def test_a_host_that_moves_to_another_switch_is_known_once() -> None:
    view = view_of(cable((S1, 9), (S2, 9)), ports(S1, 1), ports(S2, 1))
    view = learn(view, arp("10.0.0.1"), now=5.0)
    view = learn(view, arp("0.0.0.0", at=(S2, 1)), now=6.0)
    assert set(view.stations) == {StationKey(S2, 0, H1)}
    assert station(view, at=S2).claims == (Claim(IP("10.0.0.1"), 5.0),)


def test_the_same_lladdr_on_two_vlans_is_two_stations() -> None:
    view = learn(LAB, arp("10.0.0.1", vlan=5), now=5.0)
    view = learn(view, arp("10.0.0.1", vlan=6, at=(S1, 2)), now=6.0)
    assert station(view, vlan=5).port_no == 1
    assert station(view, vlan=6).port_no == 2


def test_nothing_is_learned_on_a_port_to_another_switch() -> None:
    view = view_of(cable((S1, 9), (S2, 9)))
    assert not learn(view, arp("10.0.0.1", at=(S1, 9)), now=5.0).stations


def test_nothing_is_learned_on_a_port_that_is_down_or_unknown() -> None:
    assert not learn(view_of(port(S1, 1, up=False)), arp("10.0.0.1"), 5.0).stations
    assert not learn(View(), arp("10.0.0.1"), 5.0).stations


def test_what_was_heard_on_a_port_goes_when_it_turns_out_to_be_an_uplink() -> None:
    facts = cable((S1, 9), (S2, 9))
    before = view_of([f for f in facts if not hasattr(f, "ifindex")])
    view = learn(before, arp("10.0.0.1", at=(S1, 9)), now=5.0)
    assert view.stations
    links = tuple(f for f in facts if hasattr(f, "peer_nsid"))
    rows = (interface(S1, 9), interface(S2, 9))
    view = learn(view, KernelSynced(links), now=6.0)  # type: ignore[arg-type]
    view = learn(view, BridgesSeen((Bridge(S1, "s1"), Bridge(S2, "s2")), rows), 6.0)
    assert not view.stations


def test_the_kernel_shows_a_station_elsewhere_so_its_packet_is_not_believed() -> None:
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"), ports(S1, 2))
    assert not learn(view, arp("10.0.0.1", at=(S1, 2)), now=5.0).stations


def test_what_the_kernel_states_is_not_kept_as_hearsay() -> None:
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    assert learn(view, arp("10.0.0.1"), now=5.0) is view
    assert learn(view, FrameSeen(S1, 1, 0, H1), now=5.0) is view
    view = learn(view, arp("10.0.0.99"), now=5.0)
    assert claims(view) == {"10.0.0.99"}


def test_a_port_that_goes_away_takes_its_stations_along() -> None:
    view = learn(LAB, arp("10.0.0.1"), now=5.0)
    assert not learn(view, PortGone(S1, 1), now=6.0).stations
    assert not learn(view, PortChanged(port(S1, 1, up=False)), now=6.0).stations


def test_a_port_number_that_another_interface_takes_over_forgets_its_stations() -> None:
    view = learn(LAB, arp("10.0.0.1"), now=5.0)
    renamed = replace(port(S1, 1), ifname="tap7")
    assert not learn(view, PortChanged(renamed), now=6.0).stations


def test_a_carrier_that_the_kernel_saw_go_takes_the_stations_along() -> None:
    view = view_of(kernel_host(S1, 1, H2), heard_host(S1, 1, H1, "10.0.0.1"))
    key = LinkKey(OWN_NAMESPACE, ifindex(S1, 1))
    down = replace(view.links[key], lower_up=False)
    assert not learn(view, KernelChanged(((key, down),)), now=6.0).stations
    assert not learn(view, KernelChanged(((key, None),)), now=6.0).stations


def test_a_packet_that_is_older_than_the_loss_of_its_carrier_teaches_nothing() -> None:
    view = view_of(kernel_host(S1, 1, H2))
    key = LinkKey(OWN_NAMESPACE, ifindex(S1, 1))
    down = replace(view.links[key], lower_up=False)
    view = learn(view, KernelChanged(((key, down),)), now=6.0)
    assert learn(view, arp("10.0.0.1"), now=6.0) is view


def test_a_packet_that_is_faster_than_port_status_teaches() -> None:
    view = view_of(kernel_host(S1, 1, H2))
    view = learn(view, PortChanged(port(S1, 1, up=False)), now=6.0)
    early = learn(view, arp("10.0.0.1"), now=6.0)
    assert claims(early) == {"10.0.0.1"}
    assert not network(early).holders
    up = learn(early, PortChanged(port(S1, 1)), now=6.0)
    assert {str(ip) for _, ip in network(up).holders} == {"10.0.0.1"}


def test_a_complete_picture_of_the_kernel_replaces_the_former() -> None:
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    after = learn(view, KernelSynced(()), now=6.0)
    assert not after.links and not after.addresses and not after.namespaces


def test_a_picture_that_changes_nothing_leaves_the_view_as_it_was() -> None:
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    facts: list[KernelFact] = [*view.links.values()]
    facts += [*view.addresses.values(), *view.namespaces.values()]
    after = learn(view, KernelSynced(tuple(facts)), now=6.0)
    assert after.links is view.links and after.addresses is view.addresses


def test_a_switch_that_comes_back_with_fewer_ports_has_lost_their_stations() -> None:
    view = learn(LAB, arp("10.0.0.1"), now=5.0)
    view = learn(view, SwitchReady(S1, tuple(ports(S1, 2))), now=6.0)
    assert set(view.ports) == {PortKey(S1, 2)}
    assert not view.stations


def test_a_foreign_switch_takes_what_was_heard_there_along() -> None:
    view = learn(LAB, arp("10.0.0.1"), now=5.0)
    assert not learn(view, SwitchGone(S1), now=6.0).stations


def test_a_switch_of_this_host_goes_on_working_without_its_channel() -> None:
    local = replace(LAB, bridges=LAB.bridges.set(S1, Bridge(S1, "s1")))
    view = learn(local, arp("10.0.0.1"), now=5.0)
    assert learn(view, SwitchGone(S1), now=6.0) == view


def test_a_bridge_that_was_deleted_takes_its_ports_along() -> None:
    local = replace(LAB, bridges=LAB.bridges.set(S1, Bridge(S1, "s1")))
    view = learn(local, arp("10.0.0.1"), now=5.0)
    after = learn(view, BridgesSeen((), ()), now=6.0)
    assert not after.ports and not after.stations


def test_a_full_port_learns_no_more_stations_and_still_hears_the_known() -> None:
    view = replace(LAB, limits=Limits(stations_per_port=1))
    view = learn(view, arp("10.0.0.1"), now=5.0)
    view = learn(view, arp("10.0.0.2", sha=H2), now=6.0)
    assert set(view.stations) == {StationKey(S1, 0, H1)}
    view = learn(view, arp("10.0.0.3"), now=7.0)
    assert claims(view) == {"10.0.0.1", "10.0.0.3"}


def test_a_station_claims_no_more_addresses_than_are_kept() -> None:
    view = replace(LAB, limits=Limits(addresses_per_station=1))
    view = learn(view, arp("10.0.0.1"), now=5.0)
    assert claims(learn(view, arp("10.0.0.2"), now=6.0)) == {"10.0.0.1"}


def test_the_stations_of_a_port_claim_no_more_addresses_than_are_kept() -> None:
    view = replace(LAB, limits=Limits(bindings_per_port=2))
    for n, who in ((1, H1), (2, H2), (3, H1)):
        view = learn(view, arp(f"10.0.0.{n}", sha=who), now=5.0 + n)
    assert claims(view) == {"10.0.0.1"}
    assert sum(view.bound.values()) == 2
    view = learn(view, PortGone(S1, 1), now=10.0)
    assert not view.bound


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))))
def test_what_is_counted_is_what_is_there(said: list[tuple[int, int, int]]) -> None:
    view = replace(LAB, limits=Limits(bindings_per_port=4))
    for n, (port_no, ip, who) in enumerate(said):
        heard = arp(f"10.0.0.{ip}", sha=f"02:00:00:00:00:0{who}", at=(S1, port_no))
        view = learn(view, heard, now=10.0 * n)
    assert view.bound == bound_of(view.stations)
    assert view.crowds == crowds_of(view.stations)


def test_the_old_view_is_untouched() -> None:
    learn(LAB, arp("10.0.0.1"), now=5.0)
    assert not LAB.stations


def test_neighbors_come_and_go_with_the_kernels_word() -> None:
    row = Neighbor(0, 101, IP("10.0.0.9"), H2)
    view = learn(View(), KernelChanged(((row.key, row),)), 1.0)
    assert dict(view.neighbors) == {row.key: row}
    assert learn(view, KernelSynced((row,)), 2.0) == view
    assert not learn(view, KernelChanged(((row.key, None),)), 3.0).neighbors
    assert not learn(view, KernelSynced(()), 3.0).neighbors


def test_rates_come_and_go_with_the_kernels_word() -> None:
    row = Shaper(-1, 101, 10_000_000)
    view = learn(View(), KernelChanged(((row.key, row),)), 1.0)
    assert dict(view.shapers) == {row.key: row}
    assert learn(view, KernelSynced((row,)), 2.0) == view
    assert not learn(view, KernelChanged(((row.key, None),)), 3.0).shapers
    assert not learn(view, KernelSynced(()), 3.0).shapers


def test_routers_come_and_go_with_the_kernels_word() -> None:
    row = Router(0, 101, True)
    view = learn(View(), KernelChanged(((row.key, row),)), 1.0)
    assert dict(view.routers) == {row.key: row}
    assert learn(view, KernelSynced((row,)), 2.0) == view
    assert not learn(view, KernelChanged(((row.key, None),)), 3.0).routers
    assert not learn(view, KernelSynced(()), 3.0).routers


def test_a_row_that_is_as_before_leaves_its_table_as_it_is() -> None:
    """Stages of the computation are remembered by the identity of their tables."""
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    again = tuple((key, fact) for key, fact in view.links.items())
    assert learn(view, KernelChanged(again), 1.0).links is view.links


def test_the_table_of_neighbors_is_bounded() -> None:
    def row(number: int) -> Neighbor:
        return Neighbor(0, 1, IP(number), H1)

    full = KernelSynced(tuple(map(row, range(1, NEIGHBORS_MAX + 9))))
    view = learn(View(), full, 1.0)
    assert len(view.neighbors) == NEIGHBORS_MAX
    one_more = row(NEIGHBORS_MAX + 99)
    assert learn(view, KernelChanged(((one_more.key, one_more),)), 2.0) == view


# --- behind a Linux bridge ------------------------------------------------------------


def without_process(view: View) -> View:
    """The process behind the tap of port 1 ends."""
    tap = view.links[LinkKey(OWN_NAMESPACE, ifindex(S1, 1) + TAP)]
    dead = replace(tap, lower_up=False, holder="", guest_lladdr="")
    return learn(view, KernelChanged(((tap.key, dead),)), 9.0)


def test_who_was_heard_behind_a_bridge_goes_when_nobody_is_left_there() -> None:
    view = view_of(bridged_tap(S1, 1), heard_host(S1, 1, H1, "10.0.0.1"))
    assert not without_process(view).stations


def test_a_guest_goes_with_its_tap_although_others_stay() -> None:
    view = view_of(
        bridged_tap(S1, 1, H1),
        Link(OWN_NAMESPACE, 77, "tap77", "tun", master=ifindex(S1, 1) + QBR),
        heard_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S1, 1, H2, "10.0.0.2"),
    )
    assert [key.lladdr for key in without_process(view).stations] == [H2]


def test_a_guest_whose_name_is_not_known_at_the_moment_is_not_gone() -> None:
    """A helper that starts again finds taps first, and who holds them later."""
    view = view_of(bridged_tap(S1, 1, H1), heard_host(S1, 1, H1, "10.0.0.1"))
    tap = view.links[LinkKey(OWN_NAMESPACE, ifindex(S1, 1) + TAP)]
    nameless = replace(tap, holder="", guest_lladdr="")
    after = learn(view, KernelChanged(((tap.key, nameless),)), 9.0)
    assert [key.lladdr for key in after.stations] == [H1]


def test_a_late_packet_does_not_bring_the_dead_back() -> None:
    view = without_process(view_of(bridged_tap(S1, 1), ports(S1, 1)))
    assert not learn(view, arp("10.0.0.1"), 9.1).stations


def test_what_a_guest_says_is_kept_and_that_it_is_there_is_not() -> None:
    view = view_of(bridged_tap(S1, 1, H1))
    assert not learn(view, FrameSeen(S1, 1, 0, H1), 1.0).stations
    [station] = learn(view, arp("10.0.0.1"), 1.0).stations.values()
    assert [claim.ip for claim in station.claims] == [IP("10.0.0.1")]


def test_a_guest_is_not_learned_at_another_port() -> None:
    view = view_of(bridged_tap(S1, 1, H1), ports(S1, 2))
    assert not learn(view, arp("10.0.0.1", at=(S1, 2)), 1.0).stations


# --- VLANs of ports -----------------------------------------------------------------


def told_of(*rows: Interface) -> BridgesSeen:
    return BridgesSeen((Bridge(S1, "s1"),), rows)


def test_nothing_is_learned_of_a_vlan_that_the_port_is_not_of() -> None:
    view = learn(LAB, told_of(interface(S1, 1, vlans=Vlans(7))), now=1.0)
    assert not learn(view, arp("10.0.0.1"), now=5.0).stations
    assert learn(view, arp("10.0.0.1", vlan=7), now=5.0).stations


@pytest.mark.parametrize(
    ("before", "vlan", "after", "stays"),
    [
        (Vlans(7), 7, Vlans(8), False),
        (Vlans(7), 7, Vlans(), False),  # it speaks of another VLAN without a tag now
        (Vlans(), 0, Vlans(7), False),
        (Vlans(), 7, Vlans(None, (7,)), True),
        (Vlans(), 8, Vlans(None, (7,)), False),
        (Vlans(7, (7, 8), "native-tagged"), 8, Vlans(None, (8,)), True),
        (Vlans(7), 7, Vlans(7, priority_tags="always"), True),
    ],
)
def test_who_was_heard_is_forgotten_when_its_frames_are_of_another_vlan(
    before: Vlans, vlan: int, after: Vlans, stays: bool
) -> None:
    view = learn(LAB, told_of(interface(S1, 1, vlans=before)), now=1.0)
    view = learn(view, arp("10.0.0.1", vlan=vlan), now=5.0)
    view = learn(view, arp("10.0.0.2", sha=H2, at=(S1, 2)), now=5.0)
    view = learn(view, told_of(interface(S1, 1, vlans=after)), now=6.0)
    assert (StationKey(S1, vlan, H1) in view.stations) == stays
    assert StationKey(S1, 0, H2) in view.stations  # at another port


@pytest.mark.parametrize(("vlan", "stays"), [(7, True), (0, False), (8, False)])
def test_what_an_earlier_life_knew_stays_when_ovsdb_tells_the_vlans_that_it_is_of(
    vlan: int, stays: bool
) -> None:
    known = Binding(1, 1, vlan, H1, IP("10.0.0.1"))
    view = recover(LAB, StationKey(S1, vlan, H1), [known], at=1.0)
    view = learn(view, told_of(interface(S1, 1, vlans=Vlans(7))), now=2.0)
    assert (StationKey(S1, vlan, H1) in view.stations) == stays
