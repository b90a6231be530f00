"""Copy a frame to every port but its own, along a tree where switches are connected."""

from __future__ import annotations

from collections.abc import Iterator

from flows import private
from flows.openflow import Flow, flow, oxm
from flows.switch import Here, Switch
from flows.view import Port


def of_tree(switch: Switch, here: Here) -> Iterator[Flow]:
    for port in switch.ports:
        if is_closed(switch, port):
            yield flow(
                here.table_id,
                100,
                oxm(in_port=port.port_no),
                note=f"drop: {port.ifname} is not on the broadcast tree",
                subject=port.port_no,
            )
    # Open vSwitch leaves out the port that the frame came in by (OpenFlow 1.3, 5.12).
    everywhere = tuple(port for port in switch.ports if is_open(switch, port))
    yield from private.flood(switch, here.table_id, everywhere)
    note = "to every port that is up, the uplinks of the broadcast tree included"
    yield from switch.copied(here.table_id, 0, everywhere, note)


def opened(switch: Switch) -> frozenset[int]:
    """port_no of the ports that broadcasts are sent to."""
    return frozenset(p.port_no for p in switch.ports if is_open(switch, p))


def is_closed(switch: Switch, port: Port) -> bool:
    known = switch.network
    return port.key in known.fabric.uplinks and port.key not in known.tree


def is_open(switch: Switch, port: Port) -> bool:
    known = switch.network
    is_shut = any(port.key in some for some in (known.unknown, known.held, known.loops))
    return port.up and not is_shut and not is_closed(switch, port)
