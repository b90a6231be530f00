"""Neighbor solicitations (RFC 4861): passed on, not answered yet."""

from __future__ import annotations

from collections.abc import Iterator

from flows.openflow import Flow, flow, oxm
from flows.switch import Here, Switch


def flows(switch: Switch, here: Here) -> Iterator[Flow]:
    yield flow(
        here.table_id,
        0,
        oxm(),
        here.goto("forward"),
        note="IPv6 neighbors are found by asking them",
    )
