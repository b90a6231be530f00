"""A change is a comparison."""

from collections.abc import Set

from controller.core import Core
from controller.events import FlowsListed, SwitchReady
from flows.compile import Compiled, Difference, compile_flows
from flows.network import network
from flows.pipeline import TABLE_IDS
from flows.view import View
from tests.controller.test_core import changes
from tests.facts import H1, H2, S1, heard_host, ports, view_of

PORTS = ports(S1, 1, 2, 3)
LAB = view_of(PORTS, heard_host(S1, 2, H2, "10.0.0.2"))
DESIRED = compile_flows(LAB, S1)


def compared(view: View, held: Set[int]) -> Difference:
    return Compiled(S1).update(view, network(view), held)


def test_an_empty_switch_receives_everything() -> None:
    change = compared(LAB, frozenset())
    assert {flow.cookie for flow in change.added} == set(DESIRED)


def test_a_switch_in_the_wanted_state_is_left_alone() -> None:
    assert compared(LAB, DESIRED.keys()) == Difference()


def test_flows_of_another_owner_are_never_deleted() -> None:
    core, others = Core(), {0x1, 0xABCD << 48}
    core.handle([SwitchReady(S1, tuple(PORTS))], now=0.0)
    [change] = changes(core.handle([FlowsListed(S1, frozenset(others), ())], now=0.1))
    assert change.plan.delete == ()


def test_a_flow_of_ours_that_is_not_wanted_is_deleted() -> None:
    stale = 0x15A7 << 48 | 1
    assert compared(LAB, DESIRED.keys() | {stale}).removed == (stale,)


def test_a_host_that_moves_changes_its_own_flows_only() -> None:
    moved = view_of(PORTS, heard_host(S1, 3, H2, "10.0.0.2"))
    change = compared(moved, DESIRED.keys())
    # source, guard, owner, forward
    assert len(change.added) == len(change.removed) == 4
    assert all("10.0.0.2" in flow.text or H2 in flow.text for flow in change.added)


def test_a_switch_that_lists_its_flows_once_more_gets_what_it_has_lost() -> None:
    compiled, known = Compiled(S1), network(LAB)
    compiled.update(LAB, known)
    lost, *kept = sorted(DESIRED)
    stale = 0x15A7 << 48 | 1
    assert compiled.update(LAB, known, {*kept, stale}) == Difference(
        (DESIRED[lost],), (stale,)
    )


def test_what_changed_meanwhile_is_compared_as_well() -> None:
    compiled = Compiled(S1)
    compiled.update(LAB, network(LAB))
    moved = view_of(PORTS, heard_host(S1, 3, H2, "10.0.0.2"))
    assert compiled.update(moved, network(moved), DESIRED.keys()) == compared(
        moved, DESIRED.keys()
    )


FORWARD = TABLE_IDS["forward"]


def test_a_station_with_two_addresses_is_one_forwarding_flow() -> None:
    flows = compile_flows(
        view_of(PORTS, heard_host(S1, 1, H1, "10.0.0.1", "10.0.0.11")), S1
    )
    unicast = [f for f in flows.values() if (f.table, f.priority) == (FORWARD, 100)]
    assert len(unicast) == 1
