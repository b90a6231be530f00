"""Ports of switches, and what each of them leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.core import Core
from controller.links import in_words
from controller.northbound.server import Json
from flows.chains import (
    NOWHERE,
    OWN_INTERFACES,
    Chain,
    Interfaces,
    Links,
    chains,
    far_end,
)
from flows.fabric import Ports, cables
from flows.memo import remember_arguments
from flows.network import role
from flows.overlays import Segment
from flows.parties import Role
from flows.view import (
    LOCAL_PORT,
    OWN_NAMESPACE,
    Link,
    LinkKey,
    Port,
    PortKey,
    View,
    namespace_name,
    switch_name,
)
from flows.vlans import told

KERNEL, OVSDB, LLDP, CONFIG = "kernel", "ovsdb", "lldp", "configuration"
SHOWN_BY = {
    KERNEL: "the kernel shows it",
    OVSDB: "OVSDB shows it",
    LLDP: "LLDP of ours shows it",
    CONFIG: "the configuration says that it is an end of an overlay",
}
ENDS_TOLD = 3  # of a port that leads to many interfaces


def ports(core: Core) -> list[Json]:
    return [port_row(core, core.view.ports[key]) for key in sorted(core.view.ports)]


def port_row(core: Core, port: Port) -> Json:
    view, near = core.view, near_link(core.view, port.key)
    return {
        **attachment(view, port.key),
        "up": port.up,
        "role": role(view, port.key).value,
        "link": near.ifname if near else "",
        "kind": near.kind if near else "",
        "why": why(core, port),
        "leads_to": leads_to(core, port, near),
        "stations": view.crowds.get(port.key, 0),
        "fdb": fdb(core, port.key),
    }


def fdb(core: Core, port: PortKey) -> Json | None:
    """What became of the table of a VXLAN device that is an end of an overlay."""
    segment = core.network.fabric.segment(port)
    told = core.forwarding.devices.get(segment.led.get(port, "")) if segment else None
    if told is None or told.state is None:
        return None
    state = told.state
    return {
        "device": state.device,
        "wanted": state.wanted,
        "right": state.right,
        "problem": state.problem,
    }


def why(core: Core, port: Port) -> str:
    """The reason for its role."""
    view, key = core.view, port.key
    match role(view, key):
        case Role.FABRIC:
            return SHOWN_BY[evidence(core, key)]
        case Role.LOOP:
            sent = any(key in (PortKey(*e[:2]), PortKey(*e[2:])) for e in view.echoes)
            return "a frame of ours came in by it" if sent else SHOWN_BY[KERNEL]
        case Role.UNKNOWN:
            is_held = key in core.network.held
            return "it is being tried" if is_held else "OVSDB has not told of it yet"
        case Role.TUNNEL:
            return SHOWN_BY[OVSDB]
    if is_own(view, key):
        return "it is this host's own"
    if not port.up:
        return "it is down"
    for row in core.links.refused.values():
        if key in (row.at, row.sender, row.where):
            return f"LLDP is refused: {in_words(row, view)}"
    if key not in core.network.outward:
        return SHOWN_BY[KERNEL]
    if view.crowds.get(key):
        return "stations were heard there"
    return "nothing shows that it leads to a switch"


def evidence(core: Core, port: PortKey) -> str:
    """Who has shown where an uplink leads."""
    if core.network.fabric.segment(port) is not None:
        return CONFIG
    if port not in shown_cables(core.view):
        return LLDP
    row = core.view.interfaces.get(port)
    return OVSDB if row is not None and row.type == "patch" else KERNEL


def shown_cables(view: View) -> Mapping[PortKey, PortKey]:
    return dict_of(view.ports, view.interfaces, view.links)


@remember_arguments
def dict_of(
    ports: Ports, interfaces: Interfaces, links: Links
) -> Mapping[PortKey, PortKey]:
    return dict(cables(ports, interfaces, links))


def is_own(view: View, key: PortKey) -> bool:
    row = view.interfaces.get(key)
    is_internal = row is not None and row.type in OWN_INTERFACES
    return key.port_no == LOCAL_PORT or is_internal


def leads_to(core: Core, port: Port, near: Link | None) -> str:
    """In words: what is at the other end, as far as it is known."""
    view = core.view
    if role(view, port.key) is Role.FABRIC:
        segment = core.network.fabric.segment(port.key)
        if segment is not None:
            return into(view, port.key, segment) + table_told(core, port.key)
        far = core.network.fabric.uplinks[port.key]
        end = attachment(view, far)
        return f"{end['switch'] or end['datapath_id']} {end['port']}"
    if port.key in core.network.loops:
        back = attachment(view, core.network.loops[port.key])
        return f"back to {back['switch'] or back['datapath_id']} {back['port']}: closed"
    if is_own(view, port.key):
        return "this host"
    if near is None:
        return ""
    chain = chain_of(view, port.key)
    if chain.bridges or chain.doors:
        return through_bridges(view, chain)
    other_end = far_end(near, view.links)
    if other_end is not None:
        return f"{namespace_name(view, other_end.nsid)} {other_end.ifname}"
    if near.kind == "tun":
        return near.holder or "nobody holds this tap"
    return ""


def into(view: View, port: PortKey, segment: Segment) -> str:
    """ "overlay blue: br1 at 192.0.2.2"."""
    ends = [
        f"{switch_name(view, end.datapath_id) or shown_dpid(end.datapath_id)} at {to}"
        for end, to in segment.others(port)
    ]
    return f"overlay {segment.name}: {few(ends)}"


def table_told(core: Core, port: PortKey) -> str:
    """ "; 4 of 4 fdb entries"; "" if it is flows that say where it leads."""
    told = fdb(core, port)
    if told is None:
        return ""
    why = f", {told['problem']}" if told["problem"] else ""
    return f"; {told['right']} of {told['wanted']} fdb entries{why}"


def few(ends: Sequence[str]) -> str:
    more = len(ends) - ENDS_TOLD
    told = [*ends[:ENDS_TOLD], *([f"{more} more"] if more > 0 else [])]
    return ", ".join(told) or "nobody"


def through_bridges(view: View, chain: Chain) -> str:
    """ "tap7 of qemu[812] by way of qbr7"; the nearest first."""
    ends = [end_of(view, way[-1]) for way in (*chain.ends, *chain.doors)]
    bridges = ", ".join(bridge.ifname for bridge in chain.bridges)
    way = f" by way of {bridges}" if bridges else ""
    return f"{few(ends)}{way}"


def end_of(view: View, link: Link) -> str:
    if link.kind == "tun":
        return f"{link.ifname} of {link.holder or 'a process'}"
    if link.nsid != OWN_NAMESPACE:
        return f"{namespace_name(view, link.nsid)} {link.ifname}"
    return link.ifname


def shown_dpid(datapath_id: int) -> str:
    return f"{datapath_id:016x}"


def chain_of(view: View, key: PortKey) -> Chain:
    return chains(view.interfaces, view.links).get(key, NOWHERE)


def near_link(view: View, key: PortKey) -> Link | None:
    row = view.interfaces.get(key)
    return (
        view.links.get(LinkKey(OWN_NAMESPACE, row.ifindex))
        if row and row.ifindex
        else None
    )


def attachment(view: View, key: PortKey) -> Json:
    port, row = view.ports.get(key), view.interfaces.get(key)
    return {
        "datapath_id": shown_dpid(key.datapath_id),
        "switch": switch_name(view, key.datapath_id),
        "port_no": key.port_no,
        "port": port.ifname if port else "",
        "vlans": told(row.vlans) if row else "",
    }
