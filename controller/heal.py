"""Say which ports must be opened again: their interface was deleted and made anew.

ovs-vswitchd keeps the dead interface open, reports no error, and drops everything
(measured on Open vSwitch 3.1, userspace datapath).  OVSDB's edge sees which ports are
deaf in this way; healing is for the switches that are connected to us.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.view import PortKey, View


def newly_deaf(before: View, after: View) -> Iterator[tuple[str, str]]:
    """(bridge, ifname) of each port that went deaf with this event."""
    if heard_of(before) == heard_of(after):
        return
    known = set(deaf_ports(before))
    yield from (port for port in deaf_ports(after) if port not in known)


def heard_of(view: View) -> tuple[int, ...]:
    """By identity: which tables these are, not what is in them."""
    return (id(view.interfaces), id(view.ports), id(view.bridges))


def deaf_ports(view: View) -> Iterator[tuple[str, str]]:
    for key, row in view.interfaces.items():
        bridge = view.bridges.get(row.datapath_id)
        if row.deaf and bridge is not None and is_ours(view, key):
            yield bridge.name, row.ifname


def is_ours(view: View, key: PortKey) -> bool:
    return key in view.ports or view.bridges[key.datapath_id].adopted
