"""What is computed from the last result is what is computed from the view alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from weakref import ref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import chains, fabric, shown, tracked, twins
from flows import network as conclusions
from flows.compile import Common, Compiled, Difference, compile_flows, placed_tables
from flows.memo import Step
from flows.network import Network, network
from flows.openflow import GotoTable, flow, oxm
from flows.pipeline import PIPELINE, Table
from flows.switch import Switch
from flows.tracked import PAGE, PAGES_MAX, Tracked, changed
from flows.view import (
    OWN_NAMESPACE,
    Address,
    Fixed,
    Fresh,
    Guard,
    Interface,
    Limits,
    Link,
    Port,
    Proxy,
    Router,
    View,
    bound_of,
    crowds_of,
)
from tests import strategies
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    TABLE_OF,
    Fact,
    cable,
    heard_host,
    kernel_host,
    limited,
    overlay,
    port,
    ports,
    tunnel_port,
    view_of,
)

STAGES = [
    (module, name)
    for module in (chains, fabric, shown, twins, conclusions)
    for name, value in vars(module).items()
    if isinstance(value, Step)
]

ROWS = {
    "ports": strategies.ports,
    "bridges": strategies.bridges,
    "interfaces": strategies.interfaces,
    "links": strategies.links,
    "addresses": strategies.link_addresses,
    "routers": strategies.routers,
    "shapers": strategies.shapers,
    "stations": strategies.stations,
    "fresh": strategies.fresh,
    "adjacencies": strategies.adjacencies,
    "departed": strategies.adjacencies,
    "untried": strategies.untried,
}


def key_of(row: Any) -> Any:
    return row.key if hasattr(row, "key") else row.datapath_id


def put(name: str, row: Any) -> Callable[[View], View]:
    def edit(view: View) -> View:
        table = getattr(view, name).set(key_of(row), row)
        return counted(replace(view, **{name: table}))

    return edit


def take(name: str, position: int) -> Callable[[View], View]:
    def edit(view: View) -> View:
        table = getattr(view, name)
        if not table:
            return view
        key = sorted(table, key=str)[position % len(table)]
        return counted(replace(view, **{name: table.delete(key)}))

    return edit


def counted(view: View) -> View:
    crowds, bound = crowds_of(view.stations), bound_of(view.stations)
    return replace(view, crowds=crowds, bound=bound)


def with_host(view: View, facts: Any) -> View:
    [*_, station] = facts
    return counted(replace(view, stations=view.stations.set(station.key, station)))


def assigned(name: str, value: Any) -> Callable[[View], View]:
    return lambda view: replace(view, **{name: value})


def attach(facts: list[Any]) -> Callable[[View], View]:
    """A host with all that the switch, OVSDB and the kernel say of it."""
    steps = [put(TABLE_OF.get(type(fact), "bridges"), fact) for fact in facts]

    def edit(view: View) -> View:
        for step in steps:
            view = step(view)
        return view

    return edit


places = (st.sampled_from([S1, S2]), st.integers(1, 3), st.sampled_from([H1, H2, H3]))
ips = st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"])
hosts = st.builds(
    lambda *given, nsid: kernel_host(*given, nsid=nsid),
    *places,
    ips,
    nsid=st.integers(0, 2),
) | st.builds(heard_host, *places, ips, at=st.sampled_from([0.0, 1.0, 2.0]))
ENDS = (
    ((S1, 3), (S2, 3)),
    ((S1, 4), (S2, 4)),
    ((S2, 5), (S3, 3)),
    ((S1, 5), (S3, 4)),
)
cables = st.builds(lambda ends: cable(*ends), st.sampled_from(ENDS))
of_cables = st.sampled_from([end for ends in ENDS for end in ends])
failures = st.builds(lambda end, up: port(*end, up=up), of_cables, st.booleans())


INTO_BLUE = ((S1, 6), (S2, 6), (S3, 6))
BLUE = overlay("blue", 5000, *INTO_BLUE)
tunnel_ports = st.builds(lambda end: tunnel_port(*end), st.sampled_from(INTO_BLUE))
failing_tunnels = st.builds(
    lambda end, up: port(*end, up=up), st.sampled_from(INTO_BLUE), st.booleans()
)


def carrier(ends: Any, up: bool) -> Callable[[View], View]:
    """What the kernel tells of one end, whatever the switch says."""
    link = next(fact for fact in cable(*ends) if isinstance(fact, Link))
    return put("links", replace(link, lower_up=up))


edits = st.one_of(
    st.builds(attach, hosts),
    st.builds(attach, hosts),
    st.builds(attach, cables),
    st.builds(put, st.just("ports"), failures),
    st.builds(carrier, st.sampled_from(ENDS), st.booleans()),
    st.builds(
        take, st.sampled_from(["addresses", "links", "stations"]), st.integers(0, 9)
    ),
    *(st.builds(put, st.just(name), rows) for name, rows in ROWS.items()),
    st.builds(put, st.just("stations"), strategies.stations),
    st.builds(take, st.sampled_from([*ROWS]), st.integers(0, 3)),
    st.builds(assigned, st.just("bindings"), strategies.bindings),
    st.builds(assigned, st.just("guards"), strategies.guards),
    st.builds(assigned, st.just("services"), strategies.services),
    st.builds(assigned, st.just("limits"), strategies.limits),
    st.builds(assigned, st.just("proxies"), strategies.proxies),
    st.builds(attach, tunnel_ports),
    st.builds(put, st.just("ports"), failing_tunnels),
    st.builds(assigned, st.just("overlays"), strategies.overlays),
    st.builds(assigned, st.just("overlays"), st.just((BLUE,))),
)


# --- a host with Linux bridges, taps and macvlans ------------------------------------

OWN = OWN_NAMESPACE
BRIDGES = (21, 22)
numbers = st.integers(1, 3)
alive = st.sampled_from([True, True, True, False])
masters = st.sampled_from([0, *BRIDGES, BRIDGES[0]])


@st.composite
def interfaces_of_a_host(draw: st.DrawFn) -> Link:
    """port n - veth = veth 10+n - bridge - 30+n: a tap, or a veth = veth of namespace
    n, with a macvlan on top"""
    n, up, lower_up = draw(numbers), draw(alive), draw(alive)
    lladdr = f"02:00:00:00:00:{draw(st.integers(1, 4)):02x}"
    master = draw(masters)
    guest = draw(st.sampled_from(["", H1, H2]))
    link: Link = draw(
        st.sampled_from(
            [
                Link(OWN, n, f"p{n}", "veth", peer=10 + n, peer_nsid=OWN),
                Link(OWN, 10 + n, "in", "veth", peer=n, peer_nsid=OWN, master=master),
                Link(OWN, draw(st.sampled_from(BRIDGES)), "bridge", "bridge", lladdr),
                Link(OWN, 30 + n, "tap", "tun", guest_lladdr=guest, master=master),
                Link(OWN, 30 + n, "out", "veth", peer=n, peer_nsid=n, master=master),
                Link(n, n, "eth0", "veth", lladdr, peer=30 + n, peer_nsid=OWN),
                Link(n, 40 + n, "mac", "macvlan", lladdr, peer=n, peer_nsid=n),
                Link(n, 50, "up", "macvlan", lladdr, peer=BRIDGES[0], peer_nsid=OWN),
            ]
        )
    )
    return replace(link, up=up, lower_up=lower_up)


host_edits = st.one_of(
    st.builds(put, st.just("links"), interfaces_of_a_host()),
    st.builds(put, st.just("links"), interfaces_of_a_host()),
    st.builds(take, st.sampled_from(["links", "addresses"]), st.integers(0, 30)),
    st.builds(
        put,
        st.just("interfaces"),
        st.builds(
            lambda n, ifindex: Interface(S1, n, f"p{n}", ifindex),
            numbers,
            st.sampled_from([1, 2, 3, 11, 31]),
        ),
    ),
    st.builds(
        put, st.just("routers"), st.builds(lambda n, f: Router(n, n, f), numbers, alive)
    ),
    st.builds(
        put,
        st.just("addresses"),
        st.builds(lambda n, ip: Address(n, n, ip_address(ip), 24), numbers, ips),
    ),
    st.builds(
        put,
        st.just("ports"),
        st.builds(lambda n, up: Port(S1, n, f"p{n}", "", up), numbers, alive),
    ),
)


def whole_host() -> View:
    links = [
        link
        for n in (1, 2, 3)
        for link in (
            Link(OWN, n, f"p{n}", "veth", peer=10 + n, peer_nsid=OWN),
            Link(OWN, 10 + n, "in", "veth", peer=n, peer_nsid=OWN, master=21),
            Link(OWN, 30 + n, "out", "veth", peer=n, peer_nsid=n, master=21),
            Link(n, n, "eth0", "veth", f"02::{n}", peer=30 + n, peer_nsid=OWN),
        )
    ]
    rows = [Interface(S1, n, f"p{n}", n) for n in (1, 2, 3)]
    bridge = Link(OWN, 21, "bridge", "bridge", "02::21")
    return view_of(ports(S1, 1, 2, 3), rows, links, bridge)


@given(st.lists(host_edits, max_size=25))
@settings(max_examples=200)
def test_what_is_behind_linux_bridges_goes_on_as_it_is_defined(
    steps: list[Callable[[View], View]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for view in history(whole_host(), steps):
            assert network(view) == as_defined(view, patch)


def history(first: View, steps: list[Callable[[View], View]]) -> Iterator[View]:
    yield first
    for edit in steps:
        first = edit(first)
        yield first


def as_defined(view: View, monkeypatch: pytest.MonkeyPatch) -> Network:
    with monkeypatch.context() as patch:
        for module, name in STAGES:
            patch.setattr(module, name, getattr(module, name).definition)
        return network(replace(view))  # of another view nothing is remembered


@given(strategies.views(), st.lists(edits, max_size=12))
def test_conclusions_that_go_on_from_the_last_are_those_of_the_view(
    first: View, steps: list[Callable[[View], View]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for view in history(first, steps):
            assert network(view) == as_defined(view, patch)


@given(strategies.views(), st.lists(edits, max_size=12))
def test_flows_that_go_on_from_the_last_are_those_of_the_view(
    first: View, steps: list[Callable[[View], View]]
) -> None:
    going = {datapath_id: Compiled(datapath_id) for datapath_id in (1, 2, 3)}
    held: dict[int, set[int]] = {datapath_id: set() for datapath_id in going}
    for view in history(first, steps):
        known = network(view)
        for datapath_id, compiled in going.items():
            is_current = compiled.is_current(view, known)
            difference = compiled.update(view, known)
            flows = compile_flows(view, datapath_id, known)
            assert {*compiled.cookies} == {*flows}
            assert [f for f in flows.values() if not f.note] == []
            added = {entry.cookie for entry in difference.added}
            assert all(flows[one.cookie].note == one.note for one in difference.added)
            assert not added & held[datapath_id]
            assert held[datapath_id].issuperset(difference.removed)
            held[datapath_id] -= set(difference.removed)
            held[datapath_id] |= added
            assert held[datapath_id] == compiled.cookies
            assert not (is_current and (difference.added or difference.removed))


WIRED = view_of(
    *(cable(*ends) for ends in ENDS),
    *(kernel_host(n, 1, f"02::{n}", f"10.0.0.{n}", nsid=n) for n in (S1, S2, S3)),
)
OVERLAID = view_of(
    cable(*ENDS[0]),
    BLUE,
    *(tunnel_port(*end) for end in INTO_BLUE),
    *(kernel_host(n, 1, f"02::{n}", f"10.0.0.{n}", nsid=n) for n in (S1, S2, S3)),
)
of_wires = st.one_of(
    st.builds(put, st.just("ports"), failures),
    st.builds(put, st.just("ports"), failing_tunnels),
    st.builds(attach, tunnel_ports),
    st.builds(carrier, st.sampled_from(ENDS), st.booleans()),
    st.builds(attach, cables),
    st.builds(attach, hosts),
    st.builds(take, st.sampled_from(["links", "ports", "interfaces"]), st.integers()),
)


@given(st.sampled_from([WIRED, OVERLAID]), st.lists(of_wires, max_size=12))
def test_what_follows_from_cables_goes_on_as_it_is_defined(
    first: View, steps: list[Callable[[View], View]]
) -> None:
    going = {datapath_id: Compiled(datapath_id) for datapath_id in (S1, S2, S3)}
    with pytest.MonkeyPatch.context() as patch:
        for view in history(first, steps):
            known = network(view)
            assert known == as_defined(view, patch)
            for datapath_id, compiled in going.items():
                compiled.update(view, known)
                assert {*compiled.cookies} == {*compile_flows(view, datapath_id, known)}


def looks(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Parts that are written anew from now on."""
    looked_at: list[object] = []
    original = Compiled._written

    def counting(self: Compiled, switch: Any, part: Any) -> Any:
        looked_at.append(part)
        return original(self, switch, part)

    monkeypatch.setattr(Compiled, "_written", counting)
    return looked_at


@given(
    strategies.views(),
    st.lists(edits, max_size=12),
    st.integers(1, 4),
    st.sets(st.integers(0, 11)),
)
def test_flows_that_are_written_in_pieces_are_those_of_the_view_that_is_true_by_then(
    first: View,
    steps: list[Callable[[View], View]],
    most: int,
    listed_at: set[int],
) -> None:
    compiled, cookies = Compiled(S1), {*compile_flows(first, S1)}
    real = {cookie for cookie in cookies if cookie % 2} | {1}
    held: set[int] | None = {*real}
    for number, view in enumerate([*history(first, steps)]):
        if number in listed_at:
            held = {*real}  # it tells what it holds, once more
        difference = compiled.go_on(view, network(view), held, most)
        assert (difference is None) == compiled.is_growing
        if difference is not None:
            settle(compiled, view, real, difference)
            held = None
    view = [*history(first, steps)][-1]
    while (last := compiled.go_on(view, network(view), held, most)) is None:
        pass
    settle(compiled, view, real, last)


def settle(
    compiled: Compiled, view: View, real: set[int], difference: Difference
) -> None:
    """What the switch holds after the change is what is defined."""
    added = {entry.cookie for entry in difference.added}
    assert len(added) == len(difference.added)
    assert not added & real
    assert real.issuperset(difference.removed)
    real -= {*difference.removed}
    real |= added
    assert real == {*compile_flows(view, compiled.datapath_id)} == {*compiled.cookies}


def test_a_host_that_moves_costs_its_own_flows_and_no_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = [
        heard_host(S1, 1, f"02:00:00:00:01:{n:02x}", f"10.0.1.{n}") for n in range(200)
    ]
    lab = view_of(ports(S1, 1, 2), *crowd, Limits(1000, 10))
    compiled = Compiled(S1)
    compiled.update(lab, network(lab))
    looked_at = looks(monkeypatch)
    moved = with_host(lab, heard_host(S1, 2, "02:00:00:00:01:05", "10.0.1.5"))
    difference = compiled.update(moved, network(moved))

    assert len(looked_at) == 2  # the station, and its address
    assert {str(f.subject) for f in difference.added} == {
        "02:00:00:00:01:05",
        "10.0.1.5",
    }
    assert {*compiled.cookies} == {*compile_flows(moved, S1)}


def test_a_switch_that_comes_alone_costs_the_others_no_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = [heard_host(S1, n, f"02:00:00:00:01:0{n}", f"10.0.1.{n}") for n in (1, 2)]
    lab = view_of(ports(S1, 1, 2), *hosts)
    compiled = Compiled(S1)
    compiled.update(lab, network(lab))
    looked_at = looks(monkeypatch)
    for there in (attach([*ports(S2, 1, 2)])(lab), lab):
        known = network(there)
        difference = compiled.update(there, known)
        assert (difference.added, difference.removed) == ((), ())
        assert {*compiled.cookies} == {*compile_flows(there, S1, known)}
    assert looked_at == []


def test_a_cable_to_another_switch_concerns_every_host() -> None:
    hosts = [heard_host(S1, n, f"02:00:00:00:01:0{n}", f"10.0.1.{n}") for n in (1, 2)]
    lab = view_of(ports(S1, 1, 2), ports(S2, 1), *hosts)
    compiled = Compiled(S2)
    assert compiled.update(lab, network(lab)).added
    wired = attach(cable((S1, 3), (S2, 3)))(lab)
    added = compiled.update(wired, network(wired)).added
    assert {"10.0.1.1", "10.0.1.2"} <= {str(entry.subject) for entry in added}
    assert {*compiled.cookies} == {*compile_flows(wired, S2)}


def test_an_island_that_is_joined_is_known_where_nobody_has_come() -> None:
    """Nothing has changed for the others when the cable of a switch works again that
    has no hosts."""
    wired = cable((S1, 3), (S2, 3))
    lab = view_of(kernel_host(S1, 1, H1, "10.0.0.1"), wired)
    compiled = Compiled(S2)
    compiled.update(lab, network(lab))
    held = {*compiled.cookies}
    apart = put("ports", port(S1, 3, up=False))(lab)
    difference = compiled.update(apart, network(apart))
    assert {str(one) for one in subjects(lab, held & {*difference.removed})} == {
        H1,
        "10.0.0.1",
        "None",
    }
    assert {*compiled.cookies} == {*compile_flows(apart, S2)}
    assert network(apart).located is network(lab).located
    compiled.update(lab, network(lab))
    assert {*compiled.cookies} == held


def subjects(view: View, cookies: Set[int]) -> set[object]:
    flows = compile_flows(view, S2)
    return {flows[cookie].subject for cookie in cookies}


def test_an_island_that_falls_apart_costs_those_who_are_out_of_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever the others are called by then: from s2 and s3 in a row, s1 is lost."""
    hosts = [kernel_host(n, 1, f"02::{n}", f"10.0.0.{n}", nsid=n) for n in (1, 2, 3)]
    lab = view_of(*hosts, cable((S1, 8), (S2, 9)), cable((S2, 8), (S3, 9)))
    compiled = Compiled(S3)
    compiled.update(lab, network(lab))
    looked_at = looks(monkeypatch)
    failed = put("ports", port(S1, 8, up=False))(lab)
    compiled.update(failed, network(failed))
    assert {str(part[1]) for part in looked_at if isinstance(part, tuple)} == {
        "02::1",
        "10.0.0.1",
    }
    assert {*compiled.cookies} == {*compile_flows(failed, S3)}


def test_what_is_known_is_compared_in_pieces_if_it_is_more_than_a_turn_writes() -> None:
    hosts = [kernel_host(n, 1, f"02::{n}", f"10.0.0.{n}", nsid=n) for n in (1, 2)]
    lab = view_of(*hosts, cable((S1, 8), (S2, 9)))
    failed = put("ports", port(S1, 8, up=False))(lab)
    for most in (3, 4):
        compiled = Compiled(S2)
        compiled.update(lab, network(lab))
        difference = compiled.go_on(failed, network(failed), most=most)
        assert (difference is None) == compiled.is_growing == (most < 4)
        stranger = attach([*ports(S3, 1)])(lab)
        compiled.update(lab, network(lab))
        assert compiled.go_on(stranger, network(stranger), most=most) == Difference()


def test_a_router_that_is_out_of_reach_is_so_for_all_who_are_apart_from_it() -> None:
    """Its own island is called as before."""
    lab = view_of(
        kernel_host(S1, 3, H3, "10.0.0.3", nsid=3),
        kernel_host(S2, 1, H1, "10.0.0.1", nsid=1),
        cable((S1, 8), (S2, 9)),
        Proxy("private", port="s1-eth3"),
    )
    compiled = Compiled(S2)
    compiled.update(lab, network(lab))
    failed = put("ports", port(S1, 8, up=False))(lab)
    assert network(lab).middles is network(failed).middles
    compiled.update(failed, network(failed))
    assert {*compiled.cookies} == {*compile_flows(failed, S2)}


def test_who_is_vouched_for_and_out_of_reach_is_looked_for_where_he_was_known() -> None:
    lab = view_of(
        heard_host(S1, 1, H2, "10.0.0.2"),
        ports(S2, 1),
        cable((S1, 8), (S2, 9)),
        Guard("watch", "", ""),
        Fixed(0, ip_address("10.0.0.2"), H2),
    )
    compiled = Compiled(S2)
    compiled.update(lab, network(lab))
    failed = put("ports", port(S1, 8, up=False))(lab)
    assert network(lab).placed is network(failed).placed
    difference = compiled.update(failed, network(failed))
    assert "10.0.0.2" in {str(entry.subject) for entry in difference.added}
    assert {*compiled.cookies} == {*compile_flows(failed, S2)}


@given(strategies.views(), st.sampled_from([S1, S2, S3]), st.data())
def test_what_no_table_says_to_depend_on_cables_does_not(
    view: View, datapath_id: int, data: st.DataObject
) -> None:
    """Whichever ports are up, whatever the tree is, and whatever the island is called;
    of stations, but for the way to them, and of others whatever that is."""
    known = network(view)
    keys = [*view.ports]
    chosen = st.frozensets(st.sampled_from(keys)) if keys else st.just(frozenset())
    some = data.draw(chosen)
    rows = ((key, replace(row, up=key in some)) for key, row in view.ports.items())
    called = dict.fromkeys(known.fabric.islands, 99)
    shape = replace(known.fabric, islands=called)
    cut = replace(shape, exits={})
    other, tree = replace(view, ports=Tracked(rows)), data.draw(chosen)
    before = Switch(datapath_id, view, known)
    turned = Switch(datapath_id, other, replace(known, tree=tree, fabric=shape))
    after = Switch(datapath_id, other, replace(known, tree=tree, fabric=cut))
    is_named = known.placed or known.unheld or known.middles
    for table, here in placed_tables(PIPELINE):
        assert is_named or [*table.always(before, here)] == [*table.always(after, here)]
        for where in before.stations:
            moved = replace(where, domain=where.domain._replace(island=99))
            assert [*table.of_station(before, here, where)] == [
                *table.of_station(turned, here, moved)
            ]
        for holder in before.holders:
            held = replace(holder, domain=holder.domain._replace(island=99))
            if not known.middles:
                assert [*table.of_holder(before, here, holder)] == [
                    *table.of_holder(after, here, held)
                ]


def ring_of_four() -> View:
    facts: list[Fact] = []
    for n in range(1, 5):
        facts += cable((n, 8), (n % 4 + 1, 9))
        facts += kernel_host(n, 1, f"02::{n}", f"10.0.0.{n}", nsid=n)
    return view_of(facts)


def test_a_cable_that_fails_costs_the_stations_that_are_reached_by_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab, compiled = ring_of_four(), Compiled(S1)
    compiled.update(lab, network(lab))
    looked_at = looks(monkeypatch)
    failed = put("ports", port(S2, 8, up=False))(lab)  # from s2 to s3
    compiled.update(failed, network(failed))

    stations = {part[1] for part in looked_at if isinstance(part, tuple)}
    assert stations == {"02::3"}  # which two ways led to
    assert {*compiled.cookies} == {*compile_flows(failed, S1)}


def test_a_rate_costs_the_stations_that_are_reached_by_another_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From s1 to s2 is one cable, which is slow now: what goes there goes round."""
    lab, compiled = ring_of_four(), Compiled(S1)
    compiled.update(lab, network(lab))
    looked_at = looks(monkeypatch)
    slow = put("shapers", limited((S2, 9), 10_000_000))(lab)
    known = network(slow)
    assert not compiled.is_current(slow, known)
    compiled.update(slow, known)

    assert {part[1] for part in looked_at if isinstance(part, tuple)} == {
        "02::2",
        "02::3",
    }
    assert {*Common} & {*looked_at} == {Common.TREE}  # broadcasts go round, too
    assert {*compiled.cookies} == {*compile_flows(slow, S1)}
    unlimited = take("shapers", 0)(slow)
    compiled.update(unlimited, network(unlimited))
    assert {*compiled.cookies} == {*compile_flows(lab, S1)}


def test_who_is_new_costs_a_switch_nothing_that_reaches_him_as_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tree of the ring has no cable from s3 to s4."""
    lab, compiled = ring_of_four(), Compiled(S1)
    compiled.update(lab, network(lab))
    at_s4 = Compiled(4)
    at_s4.update(lab, network(lab))
    looked_at = looks(monkeypatch)
    new = put("fresh", Fresh(S3, 0, "02::3"))(put("fresh", Fresh(S2, 0, "02::2"))(lab))
    for n, one, others in ((S1, compiled, {"02::3"}), (4, at_s4, {"02::2", "02::3"})):
        looked_at.clear()
        one.update(new, network(new))
        assert {part[1] for part in looked_at if isinstance(part, tuple)} == others
        assert {*one.cookies} == {*compile_flows(new, n)}
    known = put("fresh", Fresh(S3, 0, "02::3", known=(S1,)))(new)
    compiled.update(known, network(known))
    assert {*compiled.cookies} == {*compile_flows(known, S1)}
    assert compiled.is_current(lab, network(lab))


def test_what_hosts_may_send_is_no_matter_of_the_ways() -> None:
    lab, compiled = ring_of_four(), Compiled(S1)
    compiled.update(lab, network(lab))
    slow = put("shapers", limited((S1, 1), 10_000_000))(lab)
    assert network(slow).rates == {}
    assert compiled.is_current(slow, network(slow))


def test_an_address_that_comes_to_a_kernel_host_and_goes_is_all_that_changes() -> None:
    one = view_of(kernel_host(S1, 1, H1, "10.0.0.1"))
    two = attach(kernel_host(S1, 1, H1, "10.0.0.2"))(one)
    compiled = Compiled(S1)
    held = []
    for view in (one, two, one):
        known = network(view)
        compiled.update(view, known)
        held.append({str(ip) for _, ip in known.holders})
        assert {*compiled.cookies} == {*compile_flows(view, S1, known)}
    assert held == [{"10.0.0.1"}, {"10.0.0.1", "10.0.0.2"}, {"10.0.0.1"}]


def test_a_flow_of_two_parts_goes_with_the_last() -> None:
    def shared(switch, here, one):  # type: ignore[no-untyped-def]
        yield flow(here.table_id, 1, oxm(in_port=1), note="of all")

    def always(switch, here):  # type: ignore[no-untyped-def]
        yield flow(here.table_id, 0, oxm(), note="nothing")

    pipeline = (Table("one", frozenset({"in_port"}), always, of_station=shared),)
    views = [
        view_of(ports(S1, 1), heard_host(S1, 1, H1), heard_host(S1, 1, H2)),
        view_of(ports(S1, 1), heard_host(S1, 1, H2)),
        view_of(ports(S1, 1)),
    ]
    compiled = Compiled(S1, pipeline)
    counts = []
    for view in views:
        compiled.update(view, network(view))
        counts.append(len(compiled.cookies))
    assert counts == [2, 2, 1]


def test_a_table_that_failed_is_written_anew() -> None:
    broken = True

    def always(switch, here):  # type: ignore[no-untyped-def]
        yield flow(here.table_id, 1, oxm(in_port=1), GotoTable(7), note="one")
        if broken:
            yield flow(here.table_id, 1, oxm(in_port=1), note="another")

    compiled = Compiled(S1, (Table("one", frozenset({"in_port"}), always),))
    view = view_of(ports(S1, 1))
    for _ in range(2):
        with pytest.raises(Exception, match="two flows"):
            compiled.update(view, network(view))
    broken = False
    assert len(compiled.update(view, network(view)).added) == 1


def test_what_concerns_another_island_costs_nothing() -> None:
    lab = view_of(ports(S1, 1), ports(S2, 1), kernel_host(S1, 1, H1, "10.0.0.1"))
    compiled = Compiled(S2)
    compiled.update(lab, network(lab))
    after = with_host(lab, heard_host(S1, 1, H2, "10.0.0.2"))
    difference = compiled.update(after, network(after))
    assert (difference.added, difference.removed) == ((), ())


def test_what_the_operator_vouches_for_is_found_when_it_is_located() -> None:
    lab = view_of(ports(S1, 1, 2), Fixed(0, ip_address("10.0.0.9"), H2))
    assert not network(lab).placed
    there = with_host(lab, heard_host(S1, 2, H2))
    assert {lladdr for _, lladdr in network(there).placed} == {H2}
    assert not network(lab).placed


# --- Tracked ------------------------------------------------------------------------

writes = st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 3)))


@given(writes, writes)
def test_a_tracked_mapping_tells_at_least_what_has_changed(
    first: list[tuple[int, int | None]], then: list[tuple[int, int | None]]
) -> None:
    before = written(Tracked(), first)
    after = written(before, then)
    differing = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert differing <= changed(before, after) <= {key for key, _ in then}
    assert changed(after, Tracked(dict(after))) == frozenset()
    if after and [*before.items()] != [*after.items()]:
        assert before.changed_since(after) is None  # it is told forwards only


@given(writes, writes)
def test_what_has_changed_is_told_across_pages(
    first: list[tuple[int, int | None]], then: list[tuple[int, int | None]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracked, "PAGE", 2)
        before = written(Tracked({9: 9}), first)  # never empty
        after = written(before, then)
        told = after.changed_since(before)
    assert told is not None
    differing = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert differing <= told <= {key for key, _ in then}


def written(
    table: Tracked[int, int], rows: list[tuple[int, int | None]]
) -> Tracked[int, int]:
    for key, row in rows:
        table = table.without(key) if row is None else table.set(key, row)
    return table


def test_two_heirs_of_one_mapping_are_compared_row_by_row() -> None:
    parent = Tracked({1: "a", 2: "b"})
    one, other = parent.set(1, "x"), parent.set(2, "y")
    assert other.changed_since(one) is None
    assert changed(one, other) == {1, 2}
    assert changed(parent, other) == {2}
    assert dict(one) == {1: "x", 2: "b"}


def test_the_memory_of_what_has_changed_is_bounded() -> None:
    first = table = Tracked({0: 0})
    for n in range(PAGE * PAGES_MAX + 1):
        table = table.set(n % 7, n)
    assert table.changed_since(first) is None
    assert changed(first, table) == set(range(7))


def test_what_was_written_is_forgotten_with_the_versions_of_its_time() -> None:
    table = Tracked({0: 0})
    page = ref(table._page)
    for n in range(PAGE):
        table = table.set(n, n)
    assert page() is table._page
    table = table.set(0, 1)
    assert page() is None


def test_an_empty_version_holds_nothing_of_what_has_come_since() -> None:
    empty = Tracked[int, int]()
    table = empty.set(0, 0)
    page = ref(table._page)
    for n in range(PAGE):
        table = table.set(n, n)
    assert page() is None
    assert table.changed_since(empty) == frozenset(range(PAGE))
