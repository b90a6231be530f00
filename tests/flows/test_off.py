"""Where a rule leaves answers to the hosts: no flow answers, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given, settings

from flows.compile import compile_flows
from flows.openflow import (
    BACK,
    BACK_AS_PORTS_NEED,
    CONTROLLER,
    IN_PORT,
    GotoTable,
)
from flows.pipeline import TABLE_IDS
from flows.simulate import simulate
from flows.view import Proxy, View
from tests import strategies
from tests.facts import H1, H2, H3, S1, heard_host, kernel_host, ports, view_of
from tests.packets import Packet, arp_request, dad, probe, solicitation

LAB = (
    ports(S1, 1, 2, 3),
    kernel_host(S1, 1, H1, "10.0.0.1", "fd00::1", nsid=0),
    kernel_host(S1, 2, H2, "10.0.0.2", "fd00::2", nsid=1),
    heard_host(S1, 3, H3, "10.0.0.3", "fd00::3", router=False),
)


def sent(view: View, packet: Packet) -> list[tuple[int, Packet]]:
    return simulate(compile_flows(view, S1).values(), packet)


def test_questions_reach_everybody_and_nobody_is_told_of_them() -> None:
    view = view_of(*LAB, Proxy("off"))
    for target in ("10.0.0.2", "10.0.0.3"):
        asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=target)
        assert sent(view, asked) == [(2, asked), (3, asked)]
    for target in ("fd00::2", "fd00::3"):
        solicited = solicitation(in_port=1, eth_src=H1, target=target)
        assert sent(view, solicited) == [(2, solicited), (3, solicited)]


def test_probes_reach_everybody() -> None:
    view = view_of(*LAB, Proxy("off"))
    for packet in (
        probe(in_port=1, sha=H1, tpa="10.0.0.2"),
        dad(in_port=1, eth_src=H1, target="fd00::2"),
    ):
        reached = [port for port, _ in sent(view, packet) if port != CONTROLLER]
        assert reached == [2, 3]


def test_a_nearer_rule_answers_for_its_range() -> None:
    view = view_of(*LAB, Proxy("off"), Proxy("host", prefix=ip_network("10.0.0.2/32")))
    asked = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
    [(port_no, told)] = sent(view, asked)
    assert (port_no, told["arp_sha"]) == (IN_PORT, H2)


@settings(max_examples=50, deadline=None)
@given(strategies.views())
def test_where_all_is_off_no_flow_answers(view: View) -> None:
    """Whatever is believed: none sends back, or into the table that does."""
    ruled = replace(view, proxies=(Proxy("off"),))
    answering = GotoTable(TABLE_IDS["nd_answer"])
    last = {TABLE_IDS["nd_answer"], TABLE_IDS["back"]}
    for datapath_id in {key.datapath_id for key in ruled.ports}:
        for flow in compile_flows(ruled, datapath_id).values():
            assert answering not in flow.actions, flow.text
            is_sent = not {BACK, BACK_AS_PORTS_NEED}.isdisjoint(flow.actions)
            assert flow.table in last or not is_sent, flow.text
