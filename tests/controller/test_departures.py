"""A cable whose port is gone counts as long as frames may still be sent into it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import departures
from controller.departures import KEPT, noted
from flows.fabric import fabric_of
from flows.network import network
from flows.view import Bridge, Flooding, PortKey, View
from tests.facts import S1, S2, cable, ports, view_of

NEAR, FAR = PortKey(S1, 9), PortKey(S2, 9)
CABLE = view_of(cable(NEAR, FAR))


def sending(view: View, *ports: PortKey) -> View:
    """Their switches send to these alone."""
    for at in (S1, S2):
        mine = tuple(port.port_no for port in ports if port.datapath_id == at)
        row = Flooding(at, mine, mine)
        view = replace(view, floods=view.floods.set(at, row))
    return view


def without(view: View, port: PortKey) -> View:
    return replace(view, ports=view.ports.delete(port))


def departed(*ports: PortKey) -> View:
    """The near port is gone, and switches may still send to these."""
    gone = without(sending(CABLE, *ports), NEAR)
    return noted(fabric_of(CABLE), gone, 1.0)


def test_what_is_left_of_it_is_closed_until_the_other_end_sends_nothing_there() -> None:
    view = departed(NEAR, FAR)
    assert FAR in network(view).unknown
    assert FAR not in network(sending(view, FAR)).unknown


def test_it_is_a_way_between_its_switches_as_long_as_both_may_send() -> None:
    another = (PortKey(S1, 8), PortKey(S2, 8))
    two = sending(view_of(cable(NEAR, FAR), cable(*another)), NEAR, FAR)
    view = noted(fabric_of(two), without(two, NEAR), 1.0)
    assert not network(view).tree
    assert network(sending(view, NEAR)).tree == {*another}
    assert network(sending(view, FAR)).tree == {*another}


def test_it_is_forgotten_when_it_is_back() -> None:
    view = departed(NEAR, FAR)
    back = replace(view, ports=view.ports.set(NEAR, CABLE.ports[NEAR]))
    assert not noted(fabric_of(view), back, 1.1).departed


def test_it_is_forgotten_when_both_ports_are_there_for_somebody_else() -> None:
    hosts = sending(view_of(ports(S1, 9), ports(S2, 9)), NEAR, FAR)
    found = departed(NEAR, FAR)
    one = replace(hosts, departed=found.departed, ports=hosts.ports.delete(NEAR))
    assert FAR in network(noted(fabric_of(one), one, 1.1)).unknown
    both = replace(one, ports=hosts.ports)
    assert not network(noted(fabric_of(both), both, 9.0)).unknown


def test_but_not_before_it_is_known_for_whom() -> None:
    hosts = sending(view_of(ports(S1, 9), ports(S2, 9), Bridge(S2, "s2")), NEAR, FAR)
    view = replace(hosts, departed=departed(NEAR, FAR).departed)
    untold = replace(view, interfaces=view.interfaces.delete(FAR))
    assert noted(fabric_of(untold), untold, 9.0).departed
    assert not noted(fabric_of(view), view, 9.0).departed


def test_it_is_forgotten_after_a_while_when_nobody_sends_there() -> None:
    view = departed()
    shape = fabric_of(view)
    assert noted(shape, view, 1.0 + KEPT / 2).departed
    assert not noted(shape, view, 1.0 + KEPT).departed
    assert noted(shape, sending(view, FAR), 1.0 + KEPT).departed


def test_so_many_are_kept_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departures, "KEPT_MAX", 2)
    pairs = [(PortKey(S1, n), PortKey(S2, n)) for n in range(1, 5)]
    view = view_of(*(cable(*pair) for pair in pairs))
    for now, (near, _) in enumerate(pairs):
        gone = without(view, near)
        view = noted(fabric_of(view), gone, float(now))
    assert {row.ends for row in view.departed.values()} == {*pairs[2:]}


def test_a_view_without_such_cables_stays_the_same_object() -> None:
    assert noted(fabric_of(CABLE), CABLE, 1.0) is CABLE
