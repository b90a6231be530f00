"""Which groups a switch should have.

A group has no cookie, so its group_id says whose it is: the block of `OWNER` is ours.
What a flow needs of them is there before the flow is, and goes after it.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.openflow import OWNER, Anew, Group
from flows.pipeline import TABLE_IDS
from flows.switch import Switch


def is_ours(group_id: int) -> bool:
    return group_id >> 16 == OWNER


def groups(switch: Switch) -> dict[int, Group]:
    """By group_id."""
    return {group.group_id: group for group in needed(switch)}


def needed(switch: Switch) -> Iterator[Group]:
    if switch.has_meters:
        yield Anew(TABLE_IDS["admit"]).group  # flows.ingress
    for way in switch.exits.values():
        if isinstance(way, Group):
            yield way
