"""What to change in a switch, and which meters and groups it lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flows import budgets, groups
from flows.openflow import Flow, Group, Meter


@dataclass(frozen=True)
class MeterPlan:
    """Meters to make, to give another rate, and (by meter_id) to delete."""

    add: tuple[Meter, ...] = ()
    modify: tuple[Meter, ...] = ()
    delete: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.add or self.modify or self.delete)


NO_METERS = MeterPlan()


@dataclass(frozen=True)
class GroupPlan:
    """Groups to make or to give other buckets, and (by group_id) to delete."""

    put: tuple[Group, ...] = ()
    delete: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.delete)


NO_GROUPS = GroupPlan()


@dataclass(frozen=True)
class Plan:
    """What to change, in the order that never leaves a gap: add, then delete.

    add     flows to send with OFPFC_ADD; each replaces a flow of equal match
    delete  cookies to send with OFPFC_DELETE under a full cookie_mask
    meters  what to do about meters: new ones before the flows that use them, others
            after those that used them
    groups  what to do about groups, likewise
    """

    add: tuple[Flow, ...]
    delete: tuple[int, ...]
    meters: MeterPlan = NO_METERS
    groups: GroupPlan = NO_GROUPS

    def __bool__(self) -> bool:
        return bool(self.add or self.delete or self.meters or self.groups)


def plan_meters(
    desired: Mapping[int, Meter], installed: Mapping[int, Meter]
) -> MeterPlan:
    """By meter_id, as a meter has no cookie; those of others are left alone."""
    if desired is installed:
        return NO_METERS
    ours = {number for number in installed if budgets.is_ours(number)}
    want, both = desired.keys() - ours, desired.keys() & ours
    return MeterPlan(
        add=tuple(desired[number] for number in sorted(want)),
        modify=tuple(desired[n] for n in sorted(both) if desired[n] != installed[n]),
        delete=tuple(sorted(ours - desired.keys())),
    )


def plan_groups(
    desired: Mapping[int, Group], installed: Mapping[int, Group]
) -> GroupPlan:
    """By group_id; those of others are left alone."""
    if desired is installed:
        return NO_GROUPS
    ours = {number for number in installed if groups.is_ours(number)}
    return GroupPlan(
        put=tuple(
            desired[number]
            for number in sorted(desired)
            if desired[number] != installed.get(number)
        ),
        delete=tuple(sorted(ours - desired.keys())),
    )
