"""See which ports lost their interface: it was deleted, and made again by name.

ovs-vswitchd keeps the dead interface open, reports no error, and drops everything
(measured on Open vSwitch 3.1, userspace datapath; docs/how-to/adopt-a-bridge.md).
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.view import OWN_NAMESPACE, Interface, LinkKey, View


def reopened(before: View, after: View) -> Iterator[tuple[str, str]]:
    """(bridge, ifname) of each port whose interface was replaced by this event."""
    if before.links is after.links and before.interfaces is after.interfaces:
        return
    known = set(dead_ports(before))
    yield from (port for port in dead_ports(after) if port not in known)


def dead_ports(view: View) -> Iterator[tuple[str, str]]:
    names = {
        link.ifname for key, link in view.links.items() if key.nsid == OWN_NAMESPACE
    }
    for row in view.interfaces.values():
        bridge = view.bridges.get(row.datapath_id)
        if bridge is not None and is_dead(row, view) and row.ifname in names:
            yield bridge.name, row.ifname


def is_dead(row: Interface, view: View) -> bool:
    """The ifindex that ovs-vswitchd opened is gone."""
    key = LinkKey(OWN_NAMESPACE, row.ifindex)
    return row.type == "" and row.ifindex > 0 and key not in view.links
