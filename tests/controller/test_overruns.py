"""A port that exceeds a budget is told of once, and counted."""

from __future__ import annotations

from controller.commands import CountMeters, TellLimit
from controller.core import AUDIT, Core
from controller.events import FlowsListed, MetersCounted, SwitchReady
from controller.overruns import CALM, Overruns
from controller.reconcile import plan_meters
from flows.budgets import Budget, meter_id, meters
from flows.openflow import Meter
from flows.view import Bridge
from tests.facts import S1, ports, view_of

VIEW = view_of(Bridge(S1, "br0"), ports(S1, 1, 2))
ARP = meter_id(1, Budget.ARP)


def told(overruns: Overruns, *counts: int) -> list[list[str]]:
    """The lines after each count, which are ten seconds apart."""
    return [
        list(overruns.counted(VIEW, S1, {ARP: count}, 10.0 * n))
        for n, count in enumerate(counts)
    ]


def test_a_budget_within_its_bounds_is_not_told_of() -> None:
    assert told(Overruns(), 0, 0, 0) == [[], [], []]


def test_an_overrun_is_told_once_with_the_ports_name_and_its_end_with_the_sum() -> None:
    overruns = Overruns()
    lines = told(overruns, 0, 40, 90, *[90] * CALM)
    assert lines[1] == ["br0:s1-eth1 exceeds 100 a second: ARP to the controller"]
    assert lines[2:-1] == [[]] * CALM
    assert lines[-1] == [
        "br0:s1-eth1 is within its budget again: ARP to the controller;"
        " 90 were dropped in 40 s"
    ]
    assert overruns.counters == {"over budget: ARP to the controller": 90}


def test_what_was_dropped_before_the_controller_started_is_no_news() -> None:
    overruns = Overruns()
    assert told(overruns, 500, 500) == [[], []]
    assert not overruns.counters


def test_a_meter_that_was_made_again_counts_from_zero() -> None:
    overruns = Overruns()
    told(overruns, 0, 40, 7)
    assert overruns.rows[S1, ARP].total == 47


def test_meters_of_others_are_not_counted() -> None:
    assert list(Overruns().counted(VIEW, S1, {5: 0}, 0.0)) == []


# --- as a part of the core ------------------------------------------------------------


def connected(*there: Meter, greatest: int = 262_144) -> tuple[Core, list[object]]:
    core = Core()
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2)))], now=0.0)
    listed = FlowsListed(S1, frozenset(), (), greatest, there)
    return core, list(core.handle([listed], now=0.1))


def test_a_switch_gets_the_meters_that_it_lacks_and_loses_superfluous_ones() -> None:
    there = (
        Meter(5, 1, 1),  # somebody else's
        Meter(meter_id(1, Budget.ARP), 100, 100),
        Meter(meter_id(2, Budget.ARP), 7, 7),
        Meter(meter_id(9, Budget.ARP), 100, 100),
    )
    core, [change] = connected(*there)
    wanted = meters(core.view, S1)
    plan = change.plan.meters  # type: ignore[attr-defined]
    assert {m.meter_id for m in plan.add} == wanted.keys() - {m.meter_id for m in there}
    assert plan.modify == (wanted[meter_id(2, Budget.ARP)],)
    assert plan.delete == (meter_id(9, Budget.ARP),)


def test_doing_it_twice_changes_nothing() -> None:
    core, _ = connected()
    wanted = meters(core.view, S1)
    assert not plan_meters(wanted, {**wanted, 5: Meter(5, 1, 1)})


def test_a_switch_without_meters_gets_none_and_is_not_asked_what_they_drop() -> None:
    core, [change] = connected(greatest=0)
    assert not change.plan.meters  # type: ignore[attr-defined]
    commands = core.handle([], 0.2 + AUDIT)
    assert not [c for c in commands if isinstance(c, CountMeters)]


def test_meters_are_counted_with_every_audit_and_what_they_dropped_is_told() -> None:
    core, _ = connected()
    assert CountMeters(S1) in core.handle([], 0.2 + AUDIT)
    core.handle([MetersCounted(S1, ((ARP, 0),))], 11.0)
    assert core.handle([MetersCounted(S1, ((ARP, 3),))], 21.0)[:1] == [
        TellLimit("1:s1-eth1 exceeds 100 a second: ARP to the controller")
    ]
