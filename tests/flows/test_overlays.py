"""Tunnels that flows tell where to lead: a segment, that each switch has an end of."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given, settings

from flows.compile import compile_flows
from flows.fabric import fabric_of
from flows.network import network, role
from flows.openflow import CONTROLLER, IN_PORT, TO_NOBODY, Output, Through
from flows.parties import Role
from flows.pipeline import TABLE_IDS
from flows.simulate import Packet, simulate
from flows.view import Overlay, OverlayEnd, PortKey, Tunnel, View, Vlans
from flows.ways import Way
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    cable,
    heard_host,
    interface,
    overlay,
    port,
    ports,
    tunnel_port,
    underlay,
    view_of,
)
from tests.flows.test_ways import HOST, Joined, Plant, Shared, lladdr, overlays, shapes
from tests.packets import arp_request, frame

VX0 = 9
BLUE = overlay("blue", 5000, (S1, VX0), (S2, VX0), (S3, VX0))
HOSTS = [
    fact
    for s, h in ((S1, H1), (S2, H2), (S3, H3))
    for fact in heard_host(s, 1, h, f"10.0.0.{s}")
]
ENDS = [fact for s in (S1, S2, S3) for fact in tunnel_port(s, VX0)]
LAB = view_of(HOSTS, ENDS, BLUE)
FLOOD = TABLE_IDS["flood"]
BROADCAST = "ff:ff:ff:ff:ff:ff"


def sent(view: View, packet: Packet, at: int = S1) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, at).values(), packet)


def shout(in_port: int = 1, **outer: str) -> Packet:
    packet = frame(in_port=in_port, eth_src=H1, eth_dst=BROADCAST, eth_type=0x88B5)
    return {**packet, **outer}


def from_end(s: int, vni: int = 5000) -> dict[str, str]:
    return {"tunnel_id": hex(vni), "tun_ipv4_src": underlay(s)}


# --- which ports are ends -------------------------------------------------------------


def test_ports_that_the_configuration_names_are_ends_of_one_segment() -> None:
    shape = fabric_of(LAB)
    assert {*shape.islands.values()} == {S1}
    [segment] = shape.segments.values()
    assert {*segment.ends} == {PortKey(s, VX0) for s in (S1, S2, S3)}
    assert role(LAB, PortKey(S1, VX0)) is Role.FABRIC


def test_of_a_switch_of_another_host_the_name_of_the_port_is_enough() -> None:
    foreign = view_of(ports(S1, VX0), ports(S2, VX0), BLUE)
    assert fabric_of(foreign).islands == {S1: S1, S2: S1}
    assert not network(foreign).open_ended


@pytest.mark.parametrize(
    ("kind", "tunnel"),
    [
        ("vxlan", Tunnel(remote="192.0.2.2", key="flow")),
        ("vxlan", Tunnel(remote="flow", key="7")),
        ("", Tunnel()),
    ],
    ids=["of one other end", "of one key", "no tunnel"],
)
def test_a_port_that_flows_cannot_tell_where_to_lead_is_none(
    kind: str, tunnel: Tunnel
) -> None:
    row = interface(S1, VX0, ifindex=0, type=kind, tunnel=tunnel)
    assert PortKey(S1, VX0) not in fabric_of(view_of(ENDS, row, BLUE)).uplinks


def test_a_port_is_an_end_from_when_it_gets_the_name() -> None:
    named = port(S1, VX0)
    before = view_of(replace(named, ifname="other"), tunnel_port(S2, VX0), BLUE)
    assert PortKey(S1, VX0) not in fabric_of(before).uplinks
    after = replace(before, ports=before.ports.set(named.key, named))
    assert PortKey(S1, VX0) in fabric_of(after).uplinks


def test_without_overlays_such_a_tunnel_is_left_alone() -> None:
    view = view_of(HOSTS, ENDS)
    assert not fabric_of(view).uplinks
    assert role(view, PortKey(S1, VX0)) is Role.TUNNEL


# --- frames ---------------------------------------------------------------------------


def test_a_frame_for_a_known_host_goes_to_its_end_alone() -> None:
    packet = frame(in_port=1, eth_src=H1, eth_dst=H2, eth_type=0x88B5)
    [(port_no, left)] = sent(LAB, packet)
    assert port_no == VX0
    assert (left["tunnel_id"], left["tun_ipv4_dst"]) == (hex(5000), underlay(S2))


def test_a_question_is_answered_where_it_is_asked() -> None:
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.3")
    [(port_no, answer)] = sent(LAB, asked)
    assert (port_no, answer["arp_sha"]) == (IN_PORT, H3)


def test_a_broadcast_is_copied_to_each_other_end_where_it_comes_in() -> None:
    copies = [out for out in sent(LAB, shout()) if out[0] != CONTROLLER]
    assert [(p, left["tun_ipv4_dst"]) for p, left in copies] == [
        (VX0, underlay(S2)),
        (VX0, underlay(S3)),
    ]


def test_what_comes_from_an_end_is_not_sent_into_the_overlay_again() -> None:
    [(port_no, left)] = sent(LAB, shout(VX0, **from_end(S1)), at=S2)
    assert port_no == 1
    assert "tun_ipv4_dst" not in left


@pytest.mark.parametrize(
    "outer",
    [from_end(S1, vni=7), from_end(4), from_end(S2), {}],
    ids=["another VNI", "an unknown address", "its own address", "no tunnel at all"],
)
@pytest.mark.parametrize("eth_dst", [BROADCAST, H2])
def test_what_no_end_of_the_overlay_has_sent_is_dropped(
    outer: dict[str, str], eth_dst: str
) -> None:
    assert not sent(LAB, {**shout(VX0, **outer), "eth_dst": eth_dst}, at=S2)


def test_who_is_not_connected_is_neither_sent_to_nor_heard() -> None:
    """As a cable to a switch that is away is closed at its other end."""
    view = view_of(HOSTS[: len(HOSTS) * 2 // 3], ENDS[:4], BLUE)
    copies = [left for p, left in sent(view, shout()) if p == VX0]
    assert [left["tun_ipv4_dst"] for left in copies] == [underlay(S2)]
    assert not sent(view, shout(VX0, **from_end(S3)), at=S2)


def test_over_ipv6_the_other_fields_are_set_and_looked_at() -> None:
    ends = tuple(
        OverlayEnd(s, port(s, VX0).ifname, ip_address(f"2001:db8::{s}"))
        for s in (S1, S2)
    )
    view = view_of(HOSTS, ENDS, Overlay("blue", 5000, ends))
    packet = frame(in_port=1, eth_src=H1, eth_dst=H2, eth_type=0x88B5)
    [(_, left)] = sent(view, packet)
    assert left["tun_ipv6_dst"] == "2001:db8::2"
    outer = {"tunnel_id": hex(5000), "tun_ipv6_src": "2001:db8::1"}
    assert sent(view, {**packet, **outer, "in_port": str(VX0)}, at=S2)
    assert not sent(view, {**packet, **from_end(S1), "in_port": str(VX0)}, at=S2)


def test_no_other_port_is_left_with_where_an_overlay_leads() -> None:
    """It may be such a tunnel, too: of a switch of another host nobody tells."""
    access = Vlans(tag=7, mode="access")
    view = view_of(
        *(HOSTS, ENDS, BLUE, ports(S1, 10, 11)),
        interface(S1, 11, vlans=access),
    )
    flooding = [f for f in compile_flows(view, S1).values() if f.table == FLOOD]
    for flow in flooding:
        is_led = True  # by the tunnel that it came in by
        for step in flow.actions:
            is_led = (is_led or isinstance(step, Through)) and step not in TO_NOBODY
            assert not (is_led and isinstance(step, Output))
    assert any(TO_NOBODY[0] in flow.actions for flow in flooding)


def test_nothing_is_learned_of_what_comes_out_of_a_tunnel() -> None:
    announced = arp_request(in_port=VX0, sha=H1, spa="10.0.0.7", tpa="10.0.0.7")
    outs = sent(LAB, {**announced, **from_end(S1)}, at=S2)
    assert CONTROLLER not in [port_no for port_no, _ in outs]


# --- the tree -------------------------------------------------------------------------


def test_an_end_is_closed_where_cables_reach_all_others() -> None:
    ring = view_of(cable((S1, 2), (S2, 2)), cable((S2, 3), (S3, 3)), ENDS, BLUE)
    assert not [p for p in fabric_of(ring).tree if p.port_no == VX0]


def test_a_cable_beside_an_overlay_is_used_and_one_end_is_closed() -> None:
    shape = fabric_of(view_of(cable((S1, 2), (S2, 2)), ENDS, BLUE))
    open_ports = {p for p in shape.tree if p.datapath_id <= S3}
    assert open_ports == {PortKey(*p) for p in ((S1, 2), (S2, 2), (S1, 9), (S3, 9))}


def test_a_closed_end_takes_nothing_and_is_sent_nothing() -> None:
    view = view_of(HOSTS, cable((S1, 2), (S2, 2)), ENDS, BLUE)
    copies = [left for p, left in sent(view, shout()) if p == VX0]
    assert [left["tun_ipv4_dst"] for left in copies] == [underlay(S3)]
    assert not sent(view, shout(VX0, **from_end(S3)), at=S2)


def test_an_end_that_is_down_is_not_sent_to() -> None:
    down = replace(LAB, ports=LAB.ports.set(PortKey(S3, VX0), port(S3, VX0, up=False)))
    copies = [left for p, left in sent(down, shout()) if p == VX0]
    assert [left["tun_ipv4_dst"] for left in copies] == [underlay(S2)]
    assert fabric_of(down).islands == {S1: S1, S2: S1, S3: S3}


@given(shapes(), overlays)
@settings(max_examples=60, deadline=None)
def test_a_broadcast_comes_to_every_host_once(
    shape: tuple[int, Joined], shared: Shared
) -> None:
    plant = Plant(*shape, shared=shared)
    for start in plant.numbers:
        arrived = broadcast(plant, start)
        assert arrived == dict.fromkeys({*plant.numbers} - {start}, 1)


def broadcast(plant: Plant, start: int) -> Counter[int]:
    arrived, passed = Counter[int](), 0
    first = {**shout(HOST), "eth_src": lladdr(start)}
    ahead: list[tuple[PortKey, Packet]] = [(PortKey(start, HOST), first)]
    while ahead:
        at, packet = ahead.pop()
        passed += 1
        assert passed <= len(plant.numbers) ** 2, "a storm"
        for port_no, left in plant.datapath(at.datapath_id, 0).receive(packet):
            out = PortKey(at.datapath_id, port_no)
            if out in plant.fabric.uplinks:
                ahead += plant.fabric.beyond(out, left)
            elif port_no != CONTROLLER:
                arrived[out.datapath_id] += 1
    return arrived


# --- ways -----------------------------------------------------------------------------


def to(s: int) -> Through:
    return Through(70, 5000, underlay(s))


def test_an_overlay_is_a_cable_from_each_end_to_each_other() -> None:
    plant = Plant(4, [(3, 4)], shared=[{1, 2, 3}])
    assert plant.known.ways[1] == {
        2: Way((to(2),)),
        3: Way((to(3),)),
        4: Way((to(3),)),
    }


def test_a_cable_and_an_overlay_of_one_length_share_what_is_sent() -> None:
    plant = Plant(2, [(1, 2)], shared=[{1, 2}])
    assert plant.known.ways[1][2] == Way((10, to(2)), stride=2)


def test_while_a_tunnel_port_is_down_a_cable_stands_in_and_the_reverse() -> None:
    plant = Plant(3, [(1, 2)], shared=[{1, 2, 3}])
    assert plant.known.ways[1][3] == Way((to(3),), detour=10)
    plant.down = {PortKey(1, 70)}
    assert [n for n, _ in plant.send(1, 3).hops] == [1, 2, 3]


def test_a_way_by_the_same_tunnel_port_is_no_detour() -> None:
    plant = Plant(3, [], shared=[{1, 2, 3}])
    assert plant.known.ways[1][3].detour is None


def test_a_way_through_an_overlay_is_told_in_words() -> None:
    plant = Plant(3, [(1, 2)], shared=[{1, 2, 3}])
    words = "port 70 to 192.0.2.3, while that is down by port 10"
    said = {flow.note for flow in plant.flows[1]}
    assert f"{lladdr(3)} is reached by {words}" in said
