"""Cables between switches, and the tree of them that broadcasts take."""

from __future__ import annotations

import time
from collections.abc import Iterator

from controller.core import Core
from controller.links import Refused, in_words
from controller.northbound.ports import (
    CONFIG,
    LLDP,
    attachment,
    evidence,
    near_link,
    shown_cables,
    shown_dpid,
)
from controller.northbound.server import Json
from flows.costs import cost
from flows.joined import Cable
from flows.overlays import Segment, is_segment
from flows.tree import cables, does_pass, may_pass, switches_of
from flows.view import OverlayEnd, PortKey, View, switch_name

DOWN, LOOP = "one end is down", "both ends are of one switch"
OVERLAY = "overlay"
OPENING = "until its switches have confirmed it"
CLOSING = "its switches may still send to it"
OTHER_WAY = "another way joins its switches"
ALONE = "no other end is there"
ABSENT = "no switch that is connected has this port"
UNFIT = "flows cannot tell it where to lead: remote_ip and key must be 'flow'"
MADE_FOR = (
    "the device was not made for it: it needs id {vni} local {address}, no remote"
)


def links(core: Core) -> list[Json]:
    """Every cable between two switches of ours, up or down, ends of overlays, and
    cables that LLDP would have shown and nobody believes."""
    found = [link(core, cable) for cable in cables(core.network.fabric)]
    for segment in core.network.fabric.segments.values():
        found += [missing(core, segment, end, ABSENT) for end in segment.absent]
        for end in segment.unfit:
            found.append(missing(core, segment, end, unfit(core, segment, end)))
    rows = [row for row in core.links.refused.values() if row.sender]
    return found + [refused(core, row) for row in sorted(rows, key=lambda r: r.since)]


def link(core: Core, cable: Cable) -> Json:
    one, other = cable
    near = other if is_segment(one.datapath_id) else one
    carries, why = broadcasts(core, cable)
    return {
        "from": end_told(core, one),
        "to": end_told(core, other),
        "kind": kind(core, near),
        "up": is_up(core.view, cable),
        "broadcasts": carries,
        "why": why,
        **price(core, near),
        "evidence": evidence(core, near),
        **heard(core, cable),
    }


def end_told(core: Core, port: PortKey) -> Json:
    segment = core.network.fabric.segments.get(port.datapath_id)
    return attachment(core.view, port) if segment is None else overlay_told(segment)


def overlay_told(segment: Segment) -> Json:
    """In place of a switch and its port."""
    nowhere = dict.fromkeys(("datapath_id", "switch", "port_no", "port", "vlans"))
    return {**nowhere, "overlay": segment.name, "vni": segment.vni}


def unfit(core: Core, segment: Segment, end: OverlayEnd) -> str:
    """Why a port that is there is no end."""
    links = core.view.links.values()
    is_device = any(one.ifname == end.port and one.kind == "vxlan" for one in links)
    if is_device:
        return MADE_FOR.format(vni=segment.vni, address=end.address)
    return UNFIT


def missing(core: Core, segment: Segment, end: OverlayEnd, why: str) -> Json:
    return {
        "from": {**switch(core.view, end.datapath_id), "port": end.port}
        | {"port_no": None, "vlans": ""},
        "to": overlay_told(segment),
        "kind": OVERLAY,
        "up": False,
        "broadcasts": "no",
        "why": why,
        "rate": None,
        "cost": None,
        "evidence": CONFIG,
        "age": None,
        "on_its_way": None,
    }


def price(core: Core, end: PortKey) -> Json:
    """Bits per second of the slower end, and what it costs to take the cable."""
    rate = core.network.rates.get(end, 0)
    return {"rate": rate or None, "cost": cost(rate)}


def heard(core: Core, cable: Cable) -> Json:
    """Of a cable that LLDP has shown: seconds since it last did, and that the frames
    were on their way."""
    is_shown_by_it = evidence(core, cable[0]) == LLDP
    last = core.links.last(*cable) if is_shown_by_it else None
    if last is None:
        return {"age": None, "on_its_way": None}
    age = round(time.monotonic() - last, 3)
    return {"age": age, "on_its_way": core.links.took(*cable)}


def refused(core: Core, row: Refused) -> Json:
    sender = row.sender or row.at
    age = round(time.monotonic() - row.last, 3)
    return {
        "from": attachment(core.view, sender),
        "to": attachment(core.view, row.at),
        "kind": LLDP,
        "up": all(core.view.ports[end].up for end in (sender, row.at)),
        "broadcasts": "refused",
        "why": in_words(row, core.view),
        "rate": None,
        "cost": None,
        "evidence": LLDP,
        "age": age,
        "on_its_way": None,
    }


def broadcasts(core: Core, cable: Cable) -> tuple[str, str]:
    """Whether the cable carries them: "yes", "no", "not yet" or "still", and why."""
    view, shape = core.view, core.network.fabric
    one, other = cable
    if not is_up(view, cable):
        return "no", DOWN
    if one.datapath_id == other.datapath_id:
        return "no", LOOP
    if shape.tree.issuperset(cable):
        return ("yes", "") if does_pass(view.floods, cable) else ("not yet", OPENING)
    segment = shape.segments.get(other.datapath_id)
    if segment is not None and len(segment.live) < 2:
        return "no", ALONE
    return ("still", CLOSING) if may_pass(view.floods, cable) else ("no", OTHER_WAY)


def is_up(view: View, cable: Cable) -> bool:
    return all(view.ports[port].up for port in switches_of(cable))


def kind(core: Core, port: PortKey) -> str:
    """ "veth" of the kernel, "patch" of Open vSwitch, or what LLDP alone has shown, or
    the configuration."""
    view = core.view
    if core.network.fabric.segment(port) is not None:
        return OVERLAY
    if port not in shown_cables(view):
        return LLDP
    near, row = near_link(view, port), view.interfaces.get(port)
    return near.kind if near else row.type if row else ""


# --- the tree -------------------------------------------------------------------------


def trees(core: Core) -> list[Json]:
    """One for each group of switches that reach each other; the largest first."""
    shape = core.network.fabric
    members: dict[int, list[int]] = {}
    for datapath_id, root in sorted(shape.islands.items()):
        members.setdefault(root, []).append(datapath_id)
    closed: dict[int, list[Json]] = {}
    for cable in cables(shape):
        if not shape.tree.issuperset(cable):
            root = shape.islands[cable[0].datapath_id]
            closed.setdefault(root, []).append(link(core, cable))
    largest = sorted(members, key=lambda root: -len(members[root]))
    return [
        {
            "root": switch(core.view, root),
            "switches": [switch(core.view, one) for one in members[root]],
            "branches": list(branches(core, root)),
            "closed": closed.get(root, []),
        }
        for root in largest
    ]


def branches(core: Core, root: int) -> Iterator[Json]:
    """Cables of the tree, from the root outwards, each with how deep it is."""
    shape, seen, ahead = core.network.fabric, {root}, [(root, 0)]
    leads: dict[int, list[Cable]] = {}
    for one, other in cables(shape):
        if shape.tree.issuperset((one, other)):
            leads.setdefault(one.datapath_id, []).append((one, other))
            leads.setdefault(other.datapath_id, []).append((other, one))
    while ahead:
        here, depth = ahead.pop(0)
        for cable in sorted(leads.get(here, ())):
            there = cable[1].datapath_id
            if there not in seen:
                seen.add(there)
                ahead.append((there, depth + 1))
                yield {**link(core, cable), "depth": depth + 1}


def switch(view: View, datapath_id: int) -> Json:
    return {
        "datapath_id": shown_dpid(datapath_id),
        "switch": switch_name(view, datapath_id),
    }
