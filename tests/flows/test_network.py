"""Who holds which address, and who is believed."""

import inspect
import sys
from dataclasses import replace
from ipaddress import ip_address

from hypothesis import given

from flows.chains import is_live
from flows.locations import next_locations
from flows.network import network, role
from flows.parties import Domain, Holder, Origin, Role
from flows.trust import assembled
from flows.view import (
    OWN_NAMESPACE,
    Bridge,
    Fixed,
    Interface,
    Link,
    LinkKey,
    PortKey,
    View,
)
from tests import strategies
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
    ports,
    view_of,
)


def holder(view: View, ip: str, island: int = S1, vlan: int = 0) -> Holder | None:
    return network(view).holders.get((Domain(island, vlan), ip_address(ip)))


def answered_with(view: View, ip: str, island: int = S1, vlan: int = 0) -> str | None:
    found = holder(view, ip, island, vlan)
    return found.winner.lladdr if found is not None and found.answered else None


def test_an_address_of_a_namespace_is_known_before_its_host_speaks() -> None:
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    found = holder(view, "10.0.0.1")
    assert found is not None
    assert found.winner.origin is Origin.KERNEL
    assert found.winner.port == PortKey(S1, 1)
    assert answered_with(view, "10.0.0.1") == H1


def test_an_answer_dies_with_address_link_carrier_and_namespace() -> None:
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    far = LinkKey(0, ifindex(S1, 1))
    near = LinkKey(OWN_NAMESPACE, ifindex(S1, 1))
    without = {
        "address": replace(view, addresses=type(view.addresses)()),
        "link": replace(view, links=view.links.delete(near)),
        "far end": replace(view, links=view.links.delete(far)),
        "carrier": view_of(kernel_host(S1, 1, H1, "10.0.0.1", up=False)),
    }
    for what, after in without.items():
        assert answered_with(after, "10.0.0.1") is None, what


def test_a_far_end_that_is_enslaved_to_a_bridge_speaks_for_others() -> None:
    view = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    key = LinkKey(0, ifindex(S1, 1))
    enslaved = view.links.set(key, replace(view.links[key], master=77))
    assert holder(replace(view, links=enslaved), "10.0.0.1") is None


def test_the_interface_of_the_bridge_itself_is_a_host() -> None:
    view = view_of(
        ports(S1, 1),
        Interface(S1, 1, "s1", 500, "internal"),
        Link(OWN_NAMESPACE, 500, "s1", "tun", H3),
    )
    assert network(view).located[Domain(S1, 0), H3].port == PortKey(S1, 1)


def test_what_a_station_says_of_itself_is_believed_where_nobody_knows_better() -> None:
    view = view_of(heard_host(S1, 1, H1, "10.0.0.1"))
    assert answered_with(view, "10.0.0.1") == H1


def test_the_kernel_is_believed_rather_than_a_packet() -> None:
    view = view_of(
        kernel_host(S1, 1, H1, "10.0.0.1"), heard_host(S1, 2, H2, "10.0.0.1")
    )
    found = holder(view, "10.0.0.1")
    assert answered_with(view, "10.0.0.1") == H1
    assert found is not None and len(found.candidates) == 2


def test_the_operator_is_believed_rather_than_the_kernel() -> None:
    view = view_of(
        kernel_host(S1, 1, H1, "10.0.0.1"),
        kernel_host(S1, 2, H2, nsid=1),
        Fixed(0, ip_address("10.0.0.1"), H2),
    )
    assert answered_with(view, "10.0.0.1") == H2


def test_a_configured_holder_that_is_nowhere_is_not_answered_for() -> None:
    view = view_of(ports(S1, 1), Fixed(0, ip_address("10.0.0.1"), H2))
    assert holder(view, "10.0.0.1") is None


def test_an_address_that_the_kernel_does_not_list_any_more_is_not_vouched_for() -> None:
    view = view_of(
        kernel_host(S1, 1, H1, "10.0.0.1"), heard_host(S1, 1, H1, "10.0.0.99")
    )
    found = holder(view, "10.0.0.99")
    assert found is not None and H1 in found.silent_because
    assert answered_with(view, "10.0.0.99") is None


def test_two_equal_claims_to_one_address_are_answered_for_neither() -> None:
    view = view_of(heard_host(S1, 1, H1, "10.0.0.1"), heard_host(S1, 2, H2, "10.0.0.1"))
    found = holder(view, "10.0.0.1")
    assert found is not None and not found.answered
    assert H1 in found.silent_because and H2 in found.silent_because


def test_the_same_address_in_two_vlans_is_two_hosts() -> None:
    view = view_of(
        heard_host(S1, 1, H1, "10.0.0.1", vlan=5),
        heard_host(S1, 1, H2, "10.0.0.1", vlan=6),
    )
    assert answered_with(view, "10.0.0.1", vlan=5) == H1
    assert answered_with(view, "10.0.0.1", vlan=6) == H2


def test_the_same_address_on_two_islands_is_two_hosts() -> None:
    view = view_of(heard_host(S1, 1, H1, "10.0.0.1"), heard_host(S2, 1, H2, "10.0.0.1"))
    assert answered_with(view, "10.0.0.1", S1) == H1
    assert answered_with(view, "10.0.0.1", S2) == H2


def test_a_cable_makes_two_islands_one_and_their_hosts_known_on_both() -> None:
    view = view_of(cable((S1, 9), (S2, 9)), heard_host(S2, 1, H2, "10.0.0.2"))
    assert answered_with(view, "10.0.0.2", S1) == H2


def test_who_is_trusted_is_not_concluded_anew_when_somebody_is_heard() -> None:
    before, after = (
        view_of(ports(S1, 1), heard_host(S1, 1, lladdr, "10.0.0.1"))
        for lladdr in (H1, H2)
    )
    after = replace(before, stations=after.stations)
    network(before)
    ran: set[str] = set()
    sys.setprofile(lambda frame, *_: ran.add(frame.f_code.co_qualname))
    try:
        network(after)
    finally:
        sys.setprofile(None)
    assert next_locations.__name__ in ran
    assert inspect.unwrap(assembled).__name__ not in ran


def test_nothing_that_was_heard_on_an_uplink_counts() -> None:
    view = view_of(cable((S1, 9), (S2, 9)), heard_host(S1, 9, H2, "10.0.0.2"))
    assert holder(view, "10.0.0.2") is None


def test_loopback_and_group_addresses_are_nobodys() -> None:
    view = view_of(kernel_host(S1, 1, H1, "127.0.0.1", "224.0.0.1", "0.0.0.0"))
    assert not network(view).holders


def test_a_link_of_another_host_says_nothing_about_a_foreign_switch() -> None:
    """A switch that OVSDB does not list has no interface rows, so none of our links."""
    facts = kernel_host(S1, 1, H1, "10.0.0.1")
    view = view_of([fact for fact in facts if not isinstance(fact, Interface)])
    assert holder(view, "10.0.0.1") is None


def test_a_port_is_an_edge_until_a_cable_or_a_tunnel_is_known() -> None:
    view = view_of(cable((S1, 9), (S2, 9)), ports(S1, 1, 2))
    tunnel = Interface(S1, 2, "vx0", 0, "vxlan")
    view = replace(view, interfaces=view.interfaces.set(tunnel.key, tunnel))
    assert [role(view, PortKey(S1, n)) for n in (1, 2, 9)] == [
        Role.EDGE,
        Role.TUNNEL,
        Role.FABRIC,
    ]


def test_a_port_of_this_host_is_unknown_until_ovsdb_has_told_of_it() -> None:
    told = view_of(Bridge(S1, "s1"), ports(S1, 1, 2), ports(S2, 1))
    keys = [PortKey(S1, 1), PortKey(S1, 2), PortKey(S2, 1)]
    assert [role(told, key) for key in keys] == [Role.EDGE] * 3

    early = replace(told, interfaces=told.interfaces.delete(keys[1]))
    assert [role(early, key) for key in keys] == [Role.EDGE, Role.UNKNOWN, Role.EDGE]


@given(strategies.views())
def test_whoever_the_kernel_shows_is_behind_a_way_that_is_up(view: View) -> None:
    for where in network(view).located.values():
        if where.origin is Origin.KERNEL:
            assert view.ports[where.port].up
            assert where.shown is not None and all(map(is_live, where.shown.way))


@given(strategies.views())
def test_neighbor_tables_decide_nothing(view: View) -> None:
    without = replace(view, neighbors=type(view.neighbors)())
    assert network(view) == network(without)
    origins = {c.origin for h in network(view).holders.values() for c in h.candidates}
    assert Origin.NEIGHBOR not in origins


def test_the_kernel_shows_where_a_station_is_rather_than_its_packets() -> None:
    view = view_of(kernel_host(S1, 1, H1), heard_host(S1, 2, H1))
    assert network(view).located[Domain(S1, 0), H1].port == PortKey(S1, 1)
    assert isinstance(network(view).located[Domain(S1, 0), H1].link, Link)
