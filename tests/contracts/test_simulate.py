"""Whatever flows and packets there are, Open vSwitch does what `simulate` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows import arp, wire
from flows.openflow import (
    CONTROLLER,
    Flow,
    GotoTable,
    Move,
    Output,
    PopVlan,
    PushVlan,
    SetField,
    oxm,
)
from flows.simulate import simulate
from flows.view import LOCAL_PORT
from tests import strategies
from tests.packets import H1, H2, H3, announcement, arp_request, ipv4, ipv6, poll, probe
from tests.support.openflow import Channel
from tests.support.ovs import PrivateOvs
from tests.support.trace import plainly, trace

pytestmark = [pytest.mark.root, pytest.mark.ovs]

BRIDGE = "br0"
IP = IPv4Address("10.0.0.2")
QUESTION = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")

RESPONDER = (
    Flow(
        0,
        100,
        oxm(vlan_vid="0x1000/0x1000"),
        (Move("vlan_vid", "reg1", bits=12), GotoTable(1)),
    ),
    Flow(0, 0, (), (GotoTable(1),)),
    arp.announcement(1, 0, IP, GotoTable(2)),
    arp.owner(1, 2, 0, IP, GotoTable(2)),
    arp.answer(1, 0, IP, H2),
    arp.answer(1, 5, IP, H3),
    Flow(1, 0, (), (Output(CONTROLLER), GotoTable(2))),
    Flow(2, 1, oxm(eth_dst=H2, reg1=0), (SetField("eth_src", H3), Output(2))),
    Flow(2, 0, (), tuple(map(Output, (1, 2, 3, 4, LOCAL_PORT)))),
)
PACKETS = (
    QUESTION,
    QUESTION | {"vlan_vid": "0x1005"},
    QUESTION | {"vlan_vid": "0x1006"},
    arp_request(in_port=2, sha=H2, spa="10.0.0.2", tpa="10.0.0.2"),
    probe(in_port=1, sha=H1, tpa="10.0.0.2"),
    probe(in_port=2, sha=H2, tpa="10.0.0.2"),
    announcement(in_port=2, sha=H2, ip="10.0.0.2"),
    announcement(in_port=LOCAL_PORT, sha=H3, ip="10.0.0.2"),
    poll(in_port=1, sha=H1, spa="10.0.0.1", tha=H2, tpa="10.0.0.2"),
    ipv4(in_port=1, eth_src=H1, eth_dst=H2),
    ipv4(in_port=1, eth_src=H1, eth_dst=H3, vlan=5),
    ipv6(in_port=3, eth_src=H1, eth_dst=H2),
)


@pytest.fixture
def switch(ovs: PrivateOvs) -> Iterator[Channel]:
    """A bridge with the ports that flows and packets of the strategies speak of."""
    ovs.add_bridge(BRIDGE, "fail_mode=secure")
    for number in strategies.PORTS:
        if number != LOCAL_PORT:
            ovs.vsctl(
                *("add-port", BRIDGE, f"p{number}", "--", "set", "interface"),
                *(f"p{number}", "type=internal", f"ofport_request={number}"),
            )
    with Channel(ovs.directory / f"{BRIDGE}.mgmt") as channel:
        yield channel


def install(switch: Channel, flows: Iterable[Flow]) -> None:
    assert switch.ask(wire.delete_by_cookie(0, 0), *map(wire.flow_mod, flows)) == []


def agree(
    ovs: PrivateOvs, flows: tuple[Flow, ...], packets: Iterable[dict[str, str]]
) -> None:
    for packet in packets:
        computed = plainly(int(packet["in_port"]), simulate(flows, packet))
        assert trace(ovs, BRIDGE, packet) == computed, packet


def test_tags_are_pushed_written_and_popped_alike(
    ovs: PrivateOvs, switch: Channel
) -> None:
    tagged = oxm(vlan_vid="0x1000/0x1000")
    flows = (
        Flow(0, 20, oxm(vlan_vid="0x1000"), (PopVlan(), Output(2), Output(3))),
        Flow(0, 10, tagged, (SetField("vlan_vid", "0x1007"), GotoTable(1))),
        Flow(
            0,
            0,
            (),
            (PushVlan(), SetField("vlan_vid", "0x1005"), Output(2), GotoTable(1)),
        ),
        Flow(1, 0, tagged, (Output(3), PopVlan(), Output(4))),
    )
    install(switch, flows)
    agree(ovs, flows, (*PACKETS, QUESTION | {"vlan_vid": "0x1000"}))


def test_a_small_responder_treats_each_packet_alike(
    ovs: PrivateOvs, switch: Channel
) -> None:
    install(switch, RESPONDER)

    agree(ovs, RESPONDER, PACKETS)


@given(
    flows=strategies.flow_tables(),
    packets=st.lists(strategies.packets(), min_size=1, max_size=16),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_flows_treat_any_packet_alike(
    ovs: PrivateOvs,
    switch: Channel,
    flows: tuple[Flow, ...],
    packets: list[dict[str, str]],
) -> None:
    install(switch, flows)

    agree(ovs, flows, packets)
