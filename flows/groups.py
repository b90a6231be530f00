"""Which groups a switch should have.

A group has no cookie, so its group_id says whose it is: the block of `OWNER` is ours.
What a flow needs of them is there before the flow is, and goes after it.
"""

from __future__ import annotations

from collections.abc import Mapping

from flows import ways
from flows.openflow import OWNER, Anew, Group
from flows.pipeline import TABLE_IDS
from flows.switch import Switch

ANEW = Anew(TABLE_IDS["admit"]).group  # flows.ingress


def is_ours(group_id: int) -> bool:
    return group_id >> 16 == OWNER


def groups(switch: Switch) -> Mapping[int, Group]:
    """By group_id."""
    needed = ways.groups(switch.network.ways).get(switch.datapath_id, {})
    return {**needed, ANEW.group_id: ANEW} if switch.has_meters else needed
