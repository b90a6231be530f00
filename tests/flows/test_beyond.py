"""Where devices of the kernel send that are ends of overlays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.beyond import ANYBODY, Ahead, aheads, beyond, every_way
from flows.compile import compile_flows
from flows.fabric import fabric_of
from flows.locations import Locations
from flows.network import network
from flows.parties import Domain, Located, Origin, Place
from flows.simulate import Packet, simulate
from flows.tracked import Tracked, updated
from flows.view import (
    Link,
    PortKey,
    Tunnel,
    View,
)
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    cable,
    heard_host,
    overlay,
    tunnel_port,
    underlay,
    view_of,
    vxlan_device,
)
from tests.packets import frame

VX0 = 9
NEAR, FAR, OTHER = PortKey(S1, VX0), PortKey(S2, VX0), PortKey(S3, VX0)
BLUE = overlay("blue", 5000, NEAR, FAR, OTHER)
BROADCAST = "ff:ff:ff:ff:ff:ff"


HOSTS = [
    fact
    for s, h in ((S1, H1), (S2, H2), (S3, H3))
    for fact in heard_host(s, 1, h, f"10.0.0.{s}")
]
MIXED = view_of(
    HOSTS, vxlan_device(*NEAR), tunnel_port(*FAR), tunnel_port(*OTHER), BLUE
)


def told(view: View) -> dict[str, dict[str, set[str]]]:
    """By device: where it sends whom."""
    known = network(view)
    return {
        there.device: {
            lladdr: set(to)
            for lladdr, to in every_way(known.located, there).ways.items()
        }
        for there in aheads(known)
    }


def frame_for(lladdr: str) -> Packet:
    return frame(in_port=1, eth_src=H1, eth_dst=lladdr, eth_type=0x88B5)


def sent(view: View, packet: Packet, at: int) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, at).values(), packet)


def test_each_station_is_sent_to_by_its_end_and_a_broadcast_to_all() -> None:
    [table] = told(MIXED).values()
    assert table == {
        H2: {underlay(S2)},
        H3: {underlay(S3)},
        ANYBODY: {underlay(S2), underlay(S3)},
    }


def test_flows_only_output_to_it() -> None:
    packet = frame(in_port=1, eth_src=H1, eth_dst=H2, eth_type=0x88B5)
    assert [by for by, _ in sent(MIXED, packet, S1)] == [VX0]
    [(_, left)] = sent(MIXED, packet, S1)
    assert not [name for name in left if name.startswith("tun")]
    shout = {**packet, "eth_dst": BROADCAST}
    assert [by for by, _ in sent(MIXED, shout, S1)] == [VX0], "one copy: it makes more"


def test_what_comes_in_by_it_is_taken_and_not_sent_back() -> None:
    packet = frame(in_port=VX0, eth_src=H2, eth_dst=BROADCAST, eth_type=0x88B5)
    assert [by for by, _ in sent(MIXED, packet, S1)] == [1]


def test_to_the_others_it_is_an_end_like_theirs() -> None:
    outer = {"tunnel_id": hex(5000), "tun_ipv4_src": underlay(S1)}
    packet = frame(in_port=VX0, eth_src=H1, eth_dst=BROADCAST, eth_type=0x88B5)
    assert [by for by, _ in sent(MIXED, {**packet, **outer}, S2)] == [1]
    answer = frame(in_port=1, eth_src=H2, eth_dst=H1, eth_type=0x88B5)
    [(_, left)] = sent(MIXED, answer, S2)
    assert left["tun_ipv4_dst"] == underlay(S1)


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "veth"},
        {"tunnel": Tunnel(local=underlay(S1), key="7", port=4789)},
        {"tunnel": Tunnel(local="192.0.2.77", key="5000", port=4789)},
        {"tunnel": Tunnel(underlay(S1), "192.0.2.2", "5000", 4789)},
    ],
    ids=["no VXLAN device", "of another VNI", "of another address", "of one far end"],
)
def test_a_device_that_was_not_made_for_this_end_is_none(other: dict[str, Any]) -> None:
    view = view_of(HOSTS, vxlan_device(*NEAR, **other), tunnel_port(*FAR), BLUE)
    assert NEAR not in fabric_of(view).uplinks


def test_it_is_an_end_from_when_the_kernel_tells_of_it() -> None:
    near, row, link = vxlan_device(*NEAR)
    before = view_of(HOSTS, near, row, tunnel_port(*FAR), tunnel_port(*OTHER), BLUE)
    assert NEAR not in fabric_of(before).uplinks
    assert isinstance(link, Link)
    after = replace(before, links=before.links.set(link.key, link))
    assert told(after) == told(MIXED)


def test_a_mac_behind_two_ends_is_sent_to_both() -> None:
    """The device knows no VLANs."""
    twice = [
        heard_host(S2, 1, H2, "10.0.0.2"),
        heard_host(S3, 1, H2, "10.0.0.2", vlan=7),
    ]
    view = view_of(
        heard_host(S1, 1, H1, "10.0.0.1"), *twice,
        vxlan_device(*NEAR), tunnel_port(*FAR), tunnel_port(*OTHER), BLUE,
    )  # fmt: skip
    [table] = told(view).values()
    assert {*table} == {ANYBODY}


def test_who_is_behind_another_cable_of_that_switch_is_reached_by_its_end() -> None:
    view = view_of(
        heard_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S3, 1, H3, "10.0.0.3"),
        vxlan_device(*NEAR),
        tunnel_port(*FAR),
        cable((S2, 5), (S3, 5)),
        overlay("blue", 5000, NEAR, FAR),
    )
    [table] = told(view).values()
    assert table == {H3: {underlay(S2)}, ANYBODY: {underlay(S2)}}


def test_who_is_reached_by_a_cable_has_an_entry_if_there_is_another_way() -> None:
    """A switch that has not followed yet may still send here."""
    near, other = cable((S1, 6), (S3, 6)), cable((S2, 5), (S3, 5))
    far = [*vxlan_device(*NEAR), *tunnel_port(*FAR), overlay("blue", 5000, NEAR, FAR)]
    view = view_of(HOSTS, far, near, other)
    assert [by for by, _ in sent(view, frame_for(H3), S1)] == [6]
    [table] = told(view).values()
    assert table[H3] == {underlay(S2)}

    [table] = told(view_of(HOSTS, far, near)).values()
    assert H3 not in table, "no other end reaches it but by us"


# --- incremental equals full ----------------------------------------------------------

LLADDRS = st.sampled_from([H1, H2, H3])
PLACES = st.builds(
    lambda vlan, lladdr: (Domain(S1, vlan), lladdr),
    st.sampled_from([0, 7]),
    LLADDRS,
)
WHERE = st.none() | st.sampled_from([S1, S2, S3])
LEADS = st.dictionaries(
    st.sampled_from([S2, S3]), st.sampled_from([underlay(S2), underlay(S3)])
)
AHEAD = st.builds(
    lambda leads: Ahead(NEAR, "vx0", leads, frozenset(leads.values())), LEADS
)


def put(where: Locations, place: Place, at: int | None) -> Locations:
    found = Located(*place, PortKey(at, 1), Origin.HEARD) if at else None
    return updated(where, place, found)


@given(st.lists(st.tuples(PLACES, WHERE, st.none() | AHEAD), max_size=30))
@settings(max_examples=200, deadline=None)
def test_going_on_comes_to_the_same_as_beginning_anew(
    history: list[tuple[Place, int | None, Ahead | None]],
) -> None:
    says, where = beyond(), Tracked[Place, Located]()
    there = Ahead(NEAR, "vx0", {S2: underlay(S2)}, frozenset({underlay(S2)}))
    for place, at, other in history:
        where, there = put(where, place, at), other or there
        before = says(where, there)
        assert before == every_way(where, there)
        for lladdr, to in before.ways.items():
            assert len(to) == 1 or lladdr == ANYBODY
        assert says(where, there) is before
