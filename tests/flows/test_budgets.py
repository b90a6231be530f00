"""What a port may ask of the switch and of the controller, and what it may not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import budgets, unknown
from flows.budgets import FIRST, LAST, NO_PORT, Budget, meter_id, meters
from flows.compile import compile_flows
from flows.openflow import (
    CONTROLLER,
    IN_PORT,
    Anew,
    Flow,
    GotoTable,
    Meter,
    Metered,
    Output,
    Tell,
)
from flows.pipeline import TABLE_IDS
from flows.simulate import simulate
from flows.view import (
    LOCAL_PORT,
    Ability,
    Bridge,
    Limits,
    PacketIns,
    Port,
    PortKey,
    Sponge,
    View,
)
from tests.facts import H1, H2, H3, S1, S2, Fact, cable, heard_host, ports, view_of
from tests.packets import Packet, announcement, arp_request, probe

METERED = Ability(S1, 262_144)
LAB = view_of(
    METERED,
    ports(S1, 3, 4),
    heard_host(S1, 1, H1, "10.0.0.1", "fd00::1", router=False),
    heard_host(S1, 2, H2, "10.0.0.2", "fd00::2", router=False),
)
NOBODY = "10.0.0.99"


def flows_of(view: View) -> list[Flow]:
    return list(compile_flows(view, S1).values())


def where(view: View, packet: Packet) -> list[int]:
    return [port_no for port_no, _ in simulate(flows_of(view), packet)]


def sponge(ip: str, vlan: int = 0) -> Sponge:
    return Sponge(S1, vlan, ip_address(ip), 6, 0.0, 10.0)


def met(view: View, table: str) -> list[Flow]:
    return [f for f in flows_of(view) if f.table == TABLE_IDS[table]]


# --- meters ---------------------------------------------------------------------------


def test_every_port_has_a_meter_for_each_budget_and_so_have_unknown_ports() -> None:
    held = meters(LAB, S1)
    wanted = {
        meter_id(port_no, budget)
        for port_no in (NO_PORT, 1, 2, 3, 4)
        for budget in Budget
    }
    assert held.keys() == wanted
    assert all(FIRST <= number <= LAST for number in held)


def test_a_meter_has_the_rate_that_the_configuration_gives() -> None:
    limits = Limits(
        packet_ins_per_second=PacketIns(arp=7), unknown_targets_per_second=9
    )
    held = meters(view_of(METERED, ports(S1, 3), limits), S1)
    assert held[meter_id(3, Budget.ARP)] == Meter(meter_id(3, Budget.ARP), 7, 7)
    assert held[meter_id(3, Budget.UNKNOWN)].rate == 9


@given(st.integers(1, 0xFF00) | st.just(LOCAL_PORT), st.sampled_from(Budget))
def test_a_meter_id_tells_its_port_and_its_budget(port_no: int, budget: Budget) -> None:
    number = meter_id(port_no, budget)
    assert budgets.is_ours(number)
    assert budgets.budget_of(number) is budget
    view = view_of(ports(S1, port_no))
    found = budgets.port_of(number, view.ports, S1)
    assert found is not None and found.port_no == port_no


def test_every_meter_that_a_flow_uses_is_one_that_the_switch_should_have() -> None:
    held = meters(LAB, S1)
    used = {
        step.meter_id
        for flow in flows_of(LAB)
        for step in flow.actions
        if isinstance(step, Tell | Metered)
    }
    assert used == held.keys() - {
        meter_id(NO_PORT, b) for b in Budget if b not in (Budget.OTHER, Budget.UNKNOWN)
    }


@pytest.mark.parametrize("ability", [(), (Ability(S1, 0),), (Ability(S1, 1000),)])
def test_a_switch_without_enough_meters_gets_none_and_works(
    ability: tuple[Ability, ...],
) -> None:
    view = view_of(*ability, ports(S1, 3, 4), heard_host(S1, 1, H1, "10.0.0.1"))
    assert meters(view, S1) == {}
    steps = [step for flow in flows_of(view) for step in flow.actions]
    assert not [s for s in steps if isinstance(s, Tell | Metered | Anew)]
    news = arp_request(in_port=3, sha=H3, spa="10.0.0.3", tpa=NOBODY)
    assert where(view, news) == [CONTROLLER, 1, 4]


def test_only_two_tables_speak_to_the_controller() -> None:
    """All others ask them to, so that nothing goes around the budgets."""
    speakers = {
        flow.table
        for flow in flows_of(LAB)
        for step in flow.actions
        if isinstance(step, Tell) or step == Output(CONTROLLER)
    }
    assert speakers == {TABLE_IDS["told"], TABLE_IDS["unknown"]}


# --- at the door ----------------------------------------------------------------------


def test_arp_and_nd_of_each_port_meet_its_meter_and_begin_anew() -> None:
    doors = [f for f in met(LAB, "ingress") if "eth_type" in dict(f.match)]
    assert {dict(f.match)["in_port"] for f in doors} == {"1", "2", "3", "4"}
    for door in doors:
        port_no = int(dict(door.match)["in_port"])
        meter = Metered(meter_id(port_no, Budget.NEIGHBORS))
        assert door.actions == (meter, Anew(TABLE_IDS["admit"]))


def test_what_the_door_matches_is_no_address() -> None:
    """So that one flow of the datapath drops a flood, whatever it changes."""
    fields = {name for f in met(LAB, "ingress") for name, _ in f.match}
    assert fields == {"in_port", "eth_type", "ip_proto", "icmpv6_type"}


def test_a_port_to_another_switch_is_measured_there() -> None:
    view = view_of(METERED, cable((S1, 1), (S2, 1)), ports(S1, 2))
    doors = [f for f in met(view, "ingress") if any(map(is_metered, f.actions))]
    assert {dict(f.match)["in_port"] for f in doors} == {"2"}


def is_metered(step: object) -> bool:
    return isinstance(step, Metered)


def test_a_port_of_which_nothing_is_known_is_not_admitted() -> None:
    """Of a port of this host OVSDB must have told."""
    told = view_of(METERED, Bridge(S1, "s1"), ports(S1, 1, 2))
    early = replace(told, interfaces=told.interfaces.delete(PortKey(S1, 2)))
    for view, admitted in ((told, {"1", "2"}), (early, {"1"})):
        doors = [f for f in met(view, "ingress") if f.actions]
        assert {dict(f.match)["in_port"] for f in doors} == admitted
        strangers = [f for f in met(view, "ingress") if not f.actions]
        assert [f.match for f in strangers] == [()]


# --- targets that nobody is known to hold ---------------------------------------------

QUESTION = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa=NOBODY)


def test_a_question_for_an_unknown_target_is_asked_everywhere_and_told() -> None:
    assert where(LAB, QUESTION) == [CONTROLLER, 2, 3, 4]


def test_a_question_for_a_known_target_is_answered_and_not_told() -> None:
    known = arp_request(in_port=1, sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
    assert where(LAB, known) == [IN_PORT]


def test_nobody_is_asked_for_a_sponged_target() -> None:
    assert where(view_of(*facts(), sponge(NOBODY)), QUESTION) == []


def test_a_sponge_holds_in_its_vlan_only() -> None:
    assert where(view_of(*facts(), sponge(NOBODY, vlan=5)), QUESTION)


def test_probes_and_announcements_pass_a_sponge_and_what_is_held_back() -> None:
    held = unknown.held(
        TABLE_IDS["unknown"], 0, ip_address(NOBODY), GotoTable(TABLE_IDS["forward"])
    )
    for flows in (
        flows_of(view_of(*facts(), sponge(NOBODY))),
        [*flows_of(LAB), *held],
    ):
        for packet in (
            probe(in_port=1, sha=H1, tpa=NOBODY),
            announcement(in_port=1, sha=H1, ip=NOBODY),
        ):
            reached = [n for n, _ in simulate(flows, packet)]
            assert {2, 3, 4} <= set(reached), packet


def test_what_is_held_back_is_told_and_goes_nowhere_else() -> None:
    held = unknown.held(
        TABLE_IDS["unknown"], 0, ip_address(NOBODY), GotoTable(TABLE_IDS["forward"])
    )
    assert [n for n, _ in simulate([*flows_of(LAB), *held], QUESTION)] == [CONTROLLER]
    assert all(flow.timeout == unknown.HELD for flow in held)


def test_a_switch_that_loses_its_controller_forgets_a_sponge_by_itself() -> None:
    ours = [f for f in met(view_of(*facts(), sponge(NOBODY)), "unknown") if f.timeout]
    assert len(ours) == 2
    assert all(flow.timeout == unknown.LONGEST for flow in ours)


def test_an_answer_goes_before_a_sponge() -> None:
    """Who shows life is answered for at once, whatever was concluded before."""
    view = view_of(*facts(), heard_host(S1, 3, H3, NOBODY), sponge(NOBODY))
    assert where(view, QUESTION) == [IN_PORT]


def facts() -> list[Fact | list[Fact] | list[Port]]:
    return [
        METERED,
        ports(S1, 3, 4),
        heard_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S1, 2, H2, "10.0.0.2"),
    ]
