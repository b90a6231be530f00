"""Of which VLANs ports are, and what that does to frames (ovs-vswitchd.conf.db(5))."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.network import network
from flows.openflow import CONTROLLER, IN_PORT
from flows.pipeline import TABLE_IDS
from flows.simulate import Packet, simulate
from flows.view import LOCAL_PORT, Guard, PortKey, Proxy, View, Vlans
from flows.vlans import (
    COUNT,
    EVERY,
    EVERYTHING,
    MODES,
    NOTHING,
    Membership,
    copies,
    in_words,
    membership,
    prefixes,
    set_of,
    told,
    unfollowed,
)
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    cable,
    heard_host,
    interface,
    kernel_host,
    port,
    ports,
    view_of,
)
from tests.packets import BROADCAST, arp_request, ipv4

ACCESS = Vlans(10)
NATIVE = Vlans(10, (10, 20), "native-untagged")
TRUNK = Vlans(None, (10, 20))


def with_vlans(view: View, *rows: tuple[int, Vlans], datapath_id: int = S1) -> View:
    """The same, with columns of these ports."""
    for number, vlans in rows:
        key = PortKey(datapath_id, number)
        row = view.interfaces.get(key) or interface(datapath_id, number)
        rows_now = view.interfaces.set(key, replace(row, vlans=vlans))
        view = replace(view, interfaces=rows_now)
    return view


LAB = with_vlans(
    view_of(ports(S1, 1, 2, 3, 4, 5)),
    (1, ACCESS),
    (2, ACCESS),
    (3, TRUNK),
    (4, NATIVE),
)  # and 5 has no columns


def left(
    view: View, in_port: int, vid: int | None = None, **more: Any
) -> dict[int, str]:
    """port_no and vlan_vid of each copy; what the controller is told is left out."""
    frame: Packet = {
        "eth_src": H1,
        "eth_dst": BROADCAST,
        "eth_type": "0x9000",
        "in_port": str(in_port),
        **({} if vid is None else {"vlan_vid": hex(0x1000 | vid)}),
        **more,
    }
    sent = simulate(compile_flows(view, S1).values(), frame)
    copied = [(n, p.get("vlan_vid", "")) for n, p in sent if n != CONTROLLER]
    assert len(dict(copied)) == len(copied)  # one copy for each port
    return dict(copied)


# --- columns ------------------------------------------------------------------------


def all_but(*vlans: int) -> int:
    return EVERY & ~set_of(vlans)


@pytest.mark.parametrize(
    ("vlans", "expected"),
    [
        (Vlans(), EVERYTHING),
        (Vlans(mode="trunk"), EVERYTHING),
        (Vlans(7, mode="trunk"), EVERYTHING),  # a trunk has no tag
        (Vlans(7), Membership(7, set_of([7]), 0, 7)),
        (Vlans(7, (8, 9)), Membership(7, set_of([7]), 0, 7)),
        (Vlans(mode="access"), Membership(0, set_of([0]), 0)),
        (Vlans(None, (8, 9)), Membership(None, set_of([8, 9]), set_of([8, 9]))),
        (Vlans(None, (0, 8)), Membership(0, set_of([0, 8]), set_of([8]))),
        (
            Vlans(7, (8,), "native-tagged"),
            Membership(7, set_of([7, 8]), set_of([7, 8])),
        ),
        (Vlans(7, (), "native-tagged"), Membership(7, all_but(0), all_but(0))),
        (
            Vlans(7, (0, 8), "native-untagged"),
            Membership(7, set_of([7, 8]), set_of([7, 8]), 7),
        ),
        (Vlans(7, (8,), "dot1q-tunnel"), NOTHING),
    ],
)
def test_columns_mean_what_the_manual_says(vlans: Vlans, expected: Membership) -> None:
    assert membership(vlans) == expected


@pytest.mark.parametrize(
    ("vlans", "words"),
    [
        (Vlans(), ""),
        (Vlans(7), "access 7"),
        (Vlans(None, (5, 10, 11, 12)), "trunk 5, 10-12"),
        (Vlans(7, (), "native-untagged"), "native-untagged 7, trunk all"),
        (Vlans(7, (8,), "native-tagged"), "native-tagged 7, trunk 8"),
        (Vlans(7, (), "dot1q-tunnel"), "dot1q-tunnel (carries nothing)"),
    ],
)
def test_columns_are_told_in_words(vlans: Vlans, words: str) -> None:
    assert told(vlans) == words


# --- sets of VLANs ------------------------------------------------------------------

sets = st.sets(st.integers(0, COUNT - 1), max_size=40).map(set_of) | st.builds(
    lambda first, last: set_of(range(first, last)),
    st.integers(0, COUNT),
    st.integers(0, COUNT),
)


@given(sets)
def test_a_set_is_matched_as_a_whole_and_no_vlan_twice(vlans: int) -> None:
    found = [
        vlan
        for value, mask in prefixes(vlans)
        for vlan in range(value, value + COUNT - mask)
    ]
    assert len(found) == len({*found})
    assert set_of(found) == vlans


def test_all_vlans_are_one_match_and_a_range_a_few() -> None:
    assert prefixes(EVERY) == ((0, 0),)
    assert prefixes(set_of([5])) == ((5, 0xFFF),)
    assert len(prefixes(set_of(range(1, COUNT - 1)))) == 22


@given(sets)
def test_a_set_in_words_names_what_is_in_it(vlans: int) -> None:
    named: set[int] = set()
    for run in filter(None, in_words(vlans).split(", ")):
        first, _, last = run.partition("-")
        named.update(range(int(first), int(last or first) + 1))
    assert set_of(named) == vlans


columns = st.builds(
    Vlans,
    st.none() | st.sampled_from([0, 5, 6, 4095]),
    st.lists(st.sampled_from([0, 5, 6, 7, 4095]), max_size=4).map(tuple),
    st.sampled_from(["", *MODES]),
)


@given(st.lists(columns, max_size=6))
def test_every_vlan_is_copied_once_to_each_of_its_ports(some: list[Vlans]) -> None:
    rows = tuple(enumerate(map(membership, some), 1))
    ways = copies(rows)
    assert sum(way.vlans for way in ways) == EVERY  # each is in one of them
    for vlan in (0, 4, 5, 6, 7, 4095):
        [way] = [way for way in ways if way.vlans >> vlan & 1]
        assert way.tagged == tuple(
            n for n, one in rows if one.sends(vlan) and not one.strips(vlan)
        )
        assert way.stripped == tuple(
            n for n, one in rows if one.sends(vlan) and one.strips(vlan)
        )


# --- frames -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_port", "vid", "expected"),
    [
        (1, None, {2: "", 3: "0x100a", 4: "", 5: "0x100a"}),
        (1, 0, {2: "", 3: "0x100a", 4: "", 5: "0x100a"}),
        (1, 10, {}),
        (1, 20, {}),
        (3, None, {}),
        (3, 10, {1: "", 2: "", 4: "", 5: "0x100a"}),
        (3, 20, {4: "0x1014", 5: "0x1014"}),
        (3, 30, {}),
        (4, None, {1: "", 2: "", 3: "0x100a", 5: "0x100a"}),
        (4, 10, {1: "", 2: "", 3: "0x100a", 5: "0x100a"}),
        (5, None, {}),
        (5, 10, {1: "", 2: "", 3: "0x100a", 4: ""}),
        (5, 30, {}),
    ],
)
def test_a_broadcast_stays_in_its_vlan_and_leaves_as_each_port_needs_it(
    in_port: int, vid: int | None, expected: dict[int, str]
) -> None:
    assert left(LAB, in_port, vid) == expected


def test_a_frame_to_one_station_leaves_as_its_port_needs_it() -> None:
    for number, expected in ((1, ""), (3, "0x100a"), (4, "")):
        host = heard_host(S1, number, H2, "10.0.0.2", vlan=10)
        view = with_vlans(view_of(ports(S1, 1, 2, 3, 4), host), *of(LAB))
        assert left(view, 2, eth_dst=H2) == {number: expected}


def of(view: View) -> list[tuple[int, Vlans]]:
    return [(key.port_no, row.vlans) for key, row in view.interfaces.items()]


def test_a_switch_whose_ports_have_no_columns_has_one_flow_to_flood() -> None:
    flows = compile_flows(view_of(ports(S1, 1, 2, 3)), S1).values()
    assert len([f for f in flows if f.table == TABLE_IDS["flood"]]) == 1
    assert not [f for f in flows if "resubmit(,252)" in f.text]


def test_flows_to_flood_are_as_many_as_kinds_of_vlans() -> None:
    every_port = [port(S1, n) for n in range(1, 41)]
    view = with_vlans(view_of(every_port), *((n, ACCESS) for n in range(1, 41)))
    flows = compile_flows(view, S1).values()
    assert len([f for f in flows if f.table == TABLE_IDS["flood"]]) == 2


def test_a_cable_between_switches_carries_every_vlan_with_its_tag() -> None:
    view = with_vlans(view_of(cable((S1, 9), (S2, 9)), ports(S1, 1)), (1, ACCESS))
    view = with_vlans(view, (9, Vlans(20)))
    assert left(view, 1) == {9: "0x100a"}
    assert left(view, 9, 10) == {1: ""}
    [(key, problem)] = unfollowed(view, network(view).fabric)
    assert key == PortKey(S1, 9)
    assert problem.startswith("tag=20 is not followed, as the port leads to another")


def test_isolated_ports_stay_apart_within_their_vlan() -> None:
    rule = Proxy("private", "s1", promiscuous=("s1-eth4",))
    local = replace(port(S1, LOCAL_PORT), ifname="s1")
    view = replace(LAB, ports=LAB.ports.set(local.key, local), proxies=(rule,))
    assert left(view, 1) == {4: ""}
    assert left(view, 3, 20) == {4: "0x1014"}
    assert left(view, 3, 10) == {4: ""}


# --- who is where, and answers ------------------------------------------------------


def answered(
    view: View, in_port: int, tpa: str, vlan: int = 0
) -> tuple[str, str] | None:
    """ar$sha and vlan_vid of what the switch answers."""
    asked = arp_request(in_port=in_port, sha=H3, spa="10.0.0.9", tpa=tpa, vlan=vlan)
    for port_no, reply in simulate(compile_flows(view, S1).values(), asked):
        if port_no == IN_PORT:
            return reply["arp_sha"], reply.get("vlan_vid", "")
    return None


def test_a_host_that_the_kernel_shows_is_of_its_ports_vlan() -> None:
    host = kernel_host(S1, 1, H1, "10.0.0.1")
    view = with_vlans(view_of(host, ports(S1, 2, 3, 4, 5)), *of(LAB))
    assert answered(view, 2, "10.0.0.1") == (H1, "")
    assert answered(view, 3, "10.0.0.1", 10) == (H1, "0x100a")
    assert answered(view, 4, "10.0.0.1", 10) == (H1, "")
    assert answered(view, 5, "10.0.0.1", 10) == (H1, "0x100a")
    assert answered(view, 5, "10.0.0.1") is None
    assert answered(view, 3, "10.0.0.1", 20) is None


def test_behind_a_port_that_takes_no_untagged_frames_the_kernel_shows_nobody() -> None:
    view = with_vlans(view_of(kernel_host(S1, 1, H1, "10.0.0.1")), (1, TRUNK))
    assert not network(view).located


def test_the_same_address_in_two_vlans_is_two_hosts() -> None:
    view = with_vlans(
        view_of(
            kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
            kernel_host(S1, 2, H2, "10.0.0.1", nsid=1),
            ports(S1, 3),
        ),
        (1, Vlans(10)),
        (2, Vlans(20)),
    )
    assert {row.silent_because for row in network(view).holders.values()} == {""}
    assert answered(view, 3, "10.0.0.1", 10) == (H1, "0x100a")
    assert answered(view, 3, "10.0.0.1", 20) == (H2, "0x1014")


def test_two_interfaces_of_one_host_in_two_vlans_are_in_two_segments() -> None:
    view = view_of(
        kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
        kernel_host(S1, 2, H2, "10.1.0.1", nsid=0),
    )
    assert network(view).twins
    assert not network(with_vlans(view, (1, Vlans(10)), (2, Vlans(20)))).twins


@pytest.mark.parametrize("vlans", [ACCESS, NATIVE])
def test_a_guarded_port_is_guarded_in_its_vlan(vlans: Vlans) -> None:
    host = kernel_host(S1, 1, H1, "10.0.0.1")
    view = view_of(host, ports(S1, 2), Guard("enforce"))
    view = with_vlans(view, (1, vlans), (2, ACCESS))
    flows = compile_flows(view, S1).values()
    own = ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST, src="10.0.0.1", dst="10.0.0.9")
    lie = ipv4(in_port=1, eth_src=H1, eth_dst=BROADCAST, src="10.0.0.7", dst="10.0.0.9")
    stranger = {**own, "eth_src": H2}
    assert [n for n, _ in simulate(flows, own)] == [2]
    for packet in (lie, stranger):
        assert 2 not in [n for n, _ in simulate(flows, packet)]
