"""Admit ports that are known, with no more ARP and ND than the switch can look at.

Answers are made in ovs-vswitchd, packet by packet, and so is the first packet of every
combination of addresses.  A meter alone would not help: what the datapath caches of a
packet's way depends on all that the tables look at, so that each packet of a flood with
changing addresses is decided on by ovs-vswitchd before a meter can drop it.

Here a packet meets the meter when nothing has been looked at but its port and its kind,
and then goes on anew: the datapath drops the flood by itself, and only what is within
the budget costs more.  A port to another switch is measured there.

What comes in by an end of an overlay is admitted from each other end that is known,
with the overlay's own VNI; of a device of the kernel flows see neither.

Where several switches begin no question is let in (`hush`), until all of them let in
the rest (`controller.door`).

A port is admitted when it is known what it leads to.  A cable between two switches that
is plugged in carries nothing before both know that it is one: a broadcast that it
carried before could come back to where it began.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from flows.budgets import Budget, meter_id
from flows.guard import REQUEST
from flows.nd_guard import ICMPV6, KINDS, SOLICITATION
from flows.openflow import ETH_ARP, ETH_IPV6, Anew, Flow, GotoTable, Metered, flow, oxm
from flows.overlays import tun_src
from flows.switch import Here, Switch
from flows.view import PortKey

HUSHED_FOR = 2  # seconds, at most


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    onward = here.goto("admit")
    if switch.has_meters:
        for port_no in switch.edges:
            yield from metered(here.table_id, port_no, onward)
    for port_no in switch.admitted:
        segment, key = switch.segment(port_no), PortKey(switch.datapath_id, port_no)
        if segment is None or key in segment.led:
            yield admitted(here.table_id, port_no, onward)
            continue
        for _, address in segment.others(key):
            yield tunnelled(here.table_id, port_no, segment.vni, address, onward)
        yield stray(here.table_id, port_no, segment.name)
    for port_no in switch.held:
        yield untried(here.table_id, port_no, onward)
    for port_no in switch.loops:
        yield looping(here.table_id, port_no, onward)
    yield flow(
        here.table_id,
        0,
        oxm(),
        note="drop: it is not known yet what this port leads to",
    )


@lru_cache(maxsize=1 << 12)
def admitted(table: int, port_no: int, onward: GotoTable) -> Flow:
    return flow(
        table,
        50,
        oxm(in_port=port_no),
        onward,
        note=f"port {port_no} is known",
        subject=port_no,
    )


@lru_cache(maxsize=1 << 12)
def tunnelled(
    table: int, port_no: int, vni: int, address: str, onward: GotoTable
) -> Flow:
    return flow(
        table,
        50,
        oxm(in_port=port_no, tunnel_id=hex(vni), **{tun_src(address): address}),
        onward,
        note=f"port {port_no} is known, and so is the other end of the tunnel",
        subject=port_no,
    )


@lru_cache(maxsize=1 << 10)
def stray(table: int, port_no: int, name: str) -> Flow:
    note = f"drop: port {port_no} lets in what other ends of {name} send, with its VNI"
    return flow(table, 40, oxm(in_port=port_no), note=note, subject=port_no)


@lru_cache(maxsize=1 << 12)
def untried(table: int, port_no: int, onward: GotoTable) -> Flow:
    note = f"port {port_no} is being tried: only what tries it is let in"
    return flow(table, 50, oxm(in_port=port_no), onward, note=note, subject=port_no)


@lru_cache(maxsize=1 << 12)
def looping(table: int, port_no: int, onward: GotoTable) -> Flow:
    note = f"port {port_no} is a loop: only what tries it is let in"
    return flow(table, 50, oxm(in_port=port_no), onward, note=note, subject=port_no)


@lru_cache(maxsize=1 << 12)
def metered(table: int, port_no: int, onward: GotoTable) -> tuple[Flow, ...]:
    kinds = (
        ("ARP", {"eth_type": ETH_ARP}),
        *((f"neighbor {name}s", nd_kind(kind)) for kind, _, name in KINDS),
    )
    return tuple(
        flow(
            table,
            100,
            oxm(in_port=port_no, **fields),
            Metered(meter_id(port_no, Budget.NEIGHBORS)),
            Anew(onward.table),
            note=f"{name} of port {port_no}, within its budget",
            subject=port_no,
        )
        for name, fields in kinds
    )


def hush(table: int) -> tuple[Flow, ...]:
    """Against questions for neighbors, for a moment.  No part of what a switch should
    hold; if the controller dies meanwhile they go by themselves."""
    kinds = (
        ("ARP request", {"eth_type": ETH_ARP, "arp_op": REQUEST}),
        ("neighbor solicitation", nd_kind(SOLICITATION)),
    )
    return tuple(
        flow(
            table,
            200,
            oxm(**fields),
            note=f"drop {name}: other switches that begin are not open yet",
            timeout=HUSHED_FOR,
        )
        for name, fields in kinds
    )


def nd_kind(kind: int) -> dict[str, int]:
    return {"eth_type": ETH_IPV6, "ip_proto": ICMPV6, "icmpv6_type": kind}
