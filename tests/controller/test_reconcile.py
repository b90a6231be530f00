"""A change is a comparison."""

from controller.reconcile import plan
from flows.compile import compile_flows
from flows.pipeline import TABLE_IDS
from tests.facts import H1, H2, S1, heard_host, ports, view_of

PORTS = ports(S1, 1, 2, 3)
DESIRED = compile_flows(view_of(PORTS, heard_host(S1, 2, H2, "10.0.0.2")), S1)


def test_an_empty_switch_receives_everything() -> None:
    change = plan(DESIRED, frozenset())
    assert {flow.cookie for flow in change.add} == set(DESIRED)


def test_a_switch_in_the_wanted_state_is_left_alone() -> None:
    assert not plan(DESIRED, DESIRED.keys())


def test_flows_of_another_owner_are_never_deleted() -> None:
    others = {0x0, 0x1, 0xABCD << 48}
    assert plan(DESIRED, DESIRED.keys() | others).delete == ()


def test_a_flow_of_ours_that_is_not_wanted_is_deleted() -> None:
    stale = 0x15A7 << 48 | 1
    assert plan(DESIRED, DESIRED.keys() | {stale}).delete == (stale,)


def test_a_host_that_moves_changes_its_own_flows_only() -> None:
    moved = compile_flows(view_of(PORTS, heard_host(S1, 3, H2, "10.0.0.2")), S1)
    change = plan(moved, DESIRED.keys())
    assert len(change.add) == len(change.delete) == 4  # source, guard, owner, forward
    assert all("10.0.0.2" in flow.text or H2 in flow.text for flow in change.add)


FORWARD = TABLE_IDS["forward"]


def test_a_station_with_two_addresses_is_one_forwarding_flow() -> None:
    flows = compile_flows(
        view_of(PORTS, heard_host(S1, 1, H1, "10.0.0.1", "10.0.0.11")), S1
    )
    unicast = [f for f in flows.values() if (f.table, f.priority) == (FORWARD, 100)]
    assert len(unicast) == 1
