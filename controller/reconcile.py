"""Compare the flows we want with the flows the switch has."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from flows.openflow import Flow, is_ours


@dataclass(frozen=True)
class Plan:
    """What to change, in the order that never leaves a gap: add, then delete.

    add     flows to send with OFPFC_ADD; each replaces a flow of equal match
    delete  cookies to send with OFPFC_DELETE under a full cookie_mask
    """

    add: tuple[Flow, ...]
    delete: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.add or self.delete)


def plan(desired: Mapping[int, Flow], installed: Set[int]) -> Plan:
    """Flows of other owners are left alone; running the plan twice changes nothing.

    desired    by cookie
    installed  cookies that the switch holds
    """
    want, have = desired.keys(), {cookie for cookie in installed if is_ours(cookie)}
    return Plan(
        add=tuple(desired[cookie] for cookie in sorted(want - have)),
        delete=tuple(sorted(have - want)),
    )
