"""A switch has the groups that its flows use: before they do, and no longer."""

from __future__ import annotations

from collections.abc import Iterable

from controller.core import AUDIT, Core
from controller.events import (
    BridgesSeen,
    ChangeDone,
    FlowsCounted,
    FlowsListed,
    KernelChanged,
    KernelSynced,
    SwitchReady,
)
from controller.reconcile import GroupPlan, Plan
from controller.sources.openflow import messages_of
from flows import wire, wire_groups
from flows.compile import compile_flows
from flows.costs import REFERENCE
from flows.groups import groups
from flows.openflow import OWNER, Anew, Flow, Group, GroupKind
from flows.pipeline import TABLE_IDS
from flows.switch import Switch
from tests.controller.test_core import changes
from tests.facts import H2, S1, cable, kernel_host, limited, ports, view_of

ANEW = Anew(TABLE_IDS["admit"]).group
FOREIGN = Group(7, GroupKind.SELECT, ())
STALE = Group(OWNER << 16 | 0xABC, GroupKind.SELECT, ())


def connected(*there: Group) -> tuple[Core, Plan]:
    """A switch that can have meters, so that `ingress` uses a group."""
    core = Core()
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2)))], now=0.0)
    listed = FlowsListed(S1, frozenset(), (), 262_144, groups=there)
    [change] = changes(core.handle([listed], now=0.1))
    return core, change.plan


def test_a_switch_gets_the_groups_that_it_lacks_and_loses_superfluous_ones() -> None:
    _, plan = connected(FOREIGN, STALE)
    assert plan.groups == GroupPlan(put=(ANEW,), delete=(STALE.group_id,))


def test_a_group_whose_buckets_somebody_has_changed_is_put_right() -> None:
    _, plan = connected(Group(ANEW.group_id, ANEW.kind, ()))
    assert plan.groups == GroupPlan(put=(ANEW,))


def test_a_restart_over_right_flows_and_groups_changes_nothing() -> None:
    core, _ = connected()
    core.handle([ChangeDone(S1)], now=0.2)
    view, channel = core.view, core.channels[S1]
    held = frozenset(channel.compiled.cookies)
    meters = tuple(channel.meters.values())
    needed = groups(Switch(S1, view, core.network))

    again = Core()
    again.handle([SwitchReady(S1, tuple(ports(S1, 1, 2)))], now=0.0)
    there = (*needed.values(), FOREIGN)
    listed = FlowsListed(S1, held, (), 262_144, meters, there)

    assert not changes(again.handle([listed], now=0.1))


def test_groups_are_made_before_their_flows_and_deleted_after_them() -> None:
    _, plan = connected(STALE)
    _, messages, _ = messages_of(plan)

    kinds = [(octets[1], octets[8:10]) for octets in messages]

    put, delete = (wire_groups.GROUP_MOD, b"\x80\0"), (wire_groups.GROUP_MOD, b"\0\2")
    assert kinds[0] == put
    assert kinds[-1] == delete
    assert {kind for kind, _ in kinds[1:-1]} == {wire.FLOW_MOD}


def test_groups_that_somebody_deletes_come_back_with_their_flows() -> None:
    """The switch deletes the flows that use them, too, so that a count tells (6.7)."""
    core, _ = connected()
    core.handle([ChangeDone(S1)], now=0.2)
    channel = core.channels[S1]
    cookies = frozenset(channel.compiled.cookies)
    meters = tuple(channel.meters.values())
    users = {flow.cookie for flow in users_of(core, ANEW)}

    core.handle([], now=0.3 + AUDIT)
    core.handle([FlowsCounted(S1, len(cookies - users))], now=0.4 + AUDIT)
    listed = FlowsListed(S1, cookies - users, (), 262_144, meters)
    [change] = changes(core.handle([listed], now=0.5 + AUDIT))

    assert users
    assert change.plan.groups == GroupPlan(put=(ANEW,))
    assert {flow.cookie for flow in change.plan.add} == users


def test_a_rate_changes_flows_and_groups_of_the_ways_and_nothing_else() -> None:
    """A triangle with a host at s2: from s1 to it one cable costs as much as two."""
    facts = [
        *(cable((1, 2), (2, 3)), cable((2, 2), (3, 3)), cable((3, 2), (1, 3))),
        kernel_host(2, 1, H2, "10.0.0.2"),
    ]
    view, core = view_of(*facts), Core()
    links, addresses = view.links.values(), view.addresses.values()
    kernel = KernelSynced((*links, *addresses, *view.namespaces.values()))
    rows = BridgesSeen((*view.bridges.values(),), (*view.interfaces.values(),))
    for n in (1, 2, 3):
        mine = tuple(row for key, row in view.ports.items() if key.datapath_id == n)
        core.handle([SwitchReady(n, mine)], now=0.0)
    core.handle([kernel, rows], now=0.1)
    core.handle([FlowsListed(n, frozenset(), ()) for n in (1, 2, 3)], now=0.2)
    core.handle([ChangeDone(n) for n in (1, 2, 3)], now=0.3)

    before = compile_flows(core.view, S1, core.network)
    row = limited((1, 2), REFERENCE // 2)
    slower = KernelChanged(((row.key, row),))
    plans = {
        change.datapath_id: change.plan
        for change in changes(core.handle([slower], now=0.4))
    }

    [put] = plans[S1].groups.put
    assert {bucket.watch_port for bucket in put.buckets} == {2, 3}
    assert put.kind is GroupKind.SELECT
    # Broadcasts go round as well; beside theirs it is one flow.
    [added] = not_flooding(plans[S1].add)
    assert str(put) in map(str, added.actions)
    assert len(not_flooding(before[cookie] for cookie in plans[S1].delete)) == 1
    for n in (1, 2, 3):
        needed = groups(Switch(n, core.view, core.network))
        assert core.channels[n].groups == needed
        assert {*core.channels[n].compiled.cookies} == {
            *compile_flows(core.view, n, core.network)
        }


def not_flooding(some: Iterable[Flow]) -> list[Flow]:
    return [one for one in some if one.table != TABLE_IDS["flood"]]


def users_of(core: Core, group: Group) -> list[Flow]:
    flows = compile_flows(core.view, S1, core.network).values()
    return [flow for flow in flows if str(group) in map(str, flow.actions)]
