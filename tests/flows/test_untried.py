"""Ports that may lead to another switch of ours, and those that wait for the answer."""

from __future__ import annotations

import pytest

from flows.admit import NEAREST
from flows.compile import compile_flows
from flows.forward import CONTROLLER_LLADDR
from flows.network import Network, network, role
from flows.openflow import CONTROLLER, ETH_LLDP
from flows.parties import Role
from flows.pipeline import TABLE_IDS
from flows.simulate import simulate
from flows.switch import Switch
from flows.view import Adjacency, Echo, PortKey, Tunnel, Untried, View
from tests.facts import (
    H1,
    H2,
    S1,
    S2,
    bridged_tap,
    cable,
    interface,
    kernel_host,
    port,
    ports,
    view_of,
)
from tests.packets import arp_request


def known(*facts: object) -> Network:
    return network(view_of(*facts))  # type: ignore[arg-type]


def test_ports_of_two_switches_that_nobody_explains_may_be_joined() -> None:
    found = known(ports(S1, 1), ports(S2, 1, 2)).open_ended
    assert found == {PortKey(S1, 1), PortKey(S2, 1), PortKey(S2, 2)}


def test_a_single_switch_has_nobody_to_be_joined_to() -> None:
    assert not known(ports(S1, 1, 2, 3)).open_ended


def test_behind_what_the_kernel_shows_no_switch_is_looked_for() -> None:
    shown = [
        *kernel_host(S1, 1, H1, "10.0.0.1"),
        *bridged_tap(S1, 2, H2),
        *cable((S1, 3), (S2, 3)),
    ]
    assert not known(shown, ports(S2, 1)).open_ended
    assert known(shown, ports(S1, 4), ports(S2, 1)).open_ended == {
        PortKey(S1, 4),
        PortKey(S2, 1),
    }


def test_a_port_that_is_down_leads_nowhere() -> None:
    assert not known(ports(S1, 1), port(S2, 1, up=False)).open_ended


@pytest.mark.parametrize(
    ("remote", "is_end"),
    [("192.0.2.2", True), ("flow", False), ("", False)],
    ids=["to one other end", "to where flows say", "to nobody yet"],
)
def test_a_tunnel_may_lead_to_a_switch_at_its_other_end(
    remote: str, is_end: bool
) -> None:
    tunnel = interface(S1, 9, type="vxlan", ifindex=0, tunnel=Tunnel(remote=remote))
    found = known(port(S1, 9), tunnel, ports(S2, 1))
    assert (PortKey(S1, 9) in found.open_ended) is is_end
    assert PortKey(S1, 9) not in found.outward, "nobody plugs it into a switch"


def test_a_tunnel_that_is_known_as_a_cable_is_not_looked_behind() -> None:
    tunnel = interface(
        S1, 1, type="vxlan", ifindex=0, tunnel=Tunnel(remote="192.0.2.2")
    )
    found = known(ports(S1, 1), tunnel, ports(S2, 1), JOINED)
    assert not found.open_ended


# --- a cable that LLDP has shown ------------------------------------------------------

JOINED = Adjacency(S1, 1, S2, 1, 0.0)


def test_a_cable_that_lldp_has_shown_is_one_like_any_other() -> None:
    shape = known(ports(S1, 1, 2), ports(S2, 1, 2), JOINED).fabric
    assert shape.uplinks == {
        PortKey(S1, 1): PortKey(S2, 1),
        PortKey(S2, 1): PortKey(S1, 1),
    }
    assert shape.islands == {S1: S1, S2: S1}
    assert shape.tree == set(shape.uplinks)


def test_it_goes_with_its_ports() -> None:
    assert not known(ports(S1, 1), JOINED).fabric.uplinks


def test_the_kernel_knows_better() -> None:
    view = view_of(cable((S1, 1), (S2, 2)), ports(S2, 1), JOINED)
    assert network(view).fabric.uplinks[PortKey(S1, 1)] == PortKey(S2, 2)
    assert PortKey(S2, 1) not in network(view).fabric.uplinks


# --- a port that waits ----------------------------------------------------------------

WAITING = Untried(S1, 1, 0.0)


def waiting(*more: object) -> View:
    return view_of(ports(S1, 1, 2, 3), ports(S2, 1), WAITING, *more)  # type: ignore[arg-type]


def test_a_port_that_is_being_tried_is_unknown() -> None:
    assert network(waiting()).held == {PortKey(S1, 1)}
    assert role(waiting(), PortKey(S1, 1)) is Role.UNKNOWN
    assert role(waiting(), PortKey(S1, 2)) is Role.EDGE


def test_it_waits_no_longer_when_it_is_explained() -> None:
    assert not network(waiting(JOINED)).held
    assert not network(waiting(kernel_host(S1, 1, H1, "10.0.0.1"))).held


def test_it_takes_and_sends_nothing_of_what_hosts_send() -> None:
    view = waiting()
    flows = compile_flows(view, S1).values()
    for in_port, heard in ((1, []), (2, [CONTROLLER, 3])):
        asks = arp_request(in_port=in_port, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
        assert sorted(p for p, _ in simulate(flows, asks)) == sorted(heard)
    assert Switch(S1, view, network(view)).admitted == (2, 3)


def test_lldp_of_ours_comes_in_by_it() -> None:
    flows = compile_flows(waiting(), S1).values()
    ours = {"in_port": "1", "eth_type": hex(ETH_LLDP), "eth_dst": NEAREST}
    for eth_src, told in ((CONTROLLER_LLADDR, [CONTROLLER]), (H1, [])):
        assert [p for p, _ in simulate(flows, ours | {"eth_src": eth_src})] == told


def test_a_port_that_is_a_loop_already_is_closed_as_one() -> None:
    view = waiting(Echo(S1, 1, S1, 1, 0.0))
    notes = [f.note for f in compile_flows(view, S1).values()]
    assert not any("being tried" in note for note in notes)


def test_its_own_flows_are_gone_when_it_was_tried() -> None:
    before, after = compile_flows(waiting(), S1), compile_flows(waiting(JOINED), S1)
    door = TABLE_IDS["ingress"]
    assert any("being tried" in f.note for f in before.values() if f.table == door)
    assert not any("being tried" in f.note for f in after.values())
