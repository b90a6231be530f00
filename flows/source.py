"""Pass known senders in silence; tell the controller of new ones."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from flows import enforce
from flows.nd_guard import ICMPV6, KINDS
from flows.openflow import (
    ETH_ARP,
    ETH_IPV6,
    TELL,
    Flow,
    GotoTable,
    SetField,
    flow,
    oxm,
)
from flows.parties import Located
from flows.switch import DOMAIN, KNOWN, Here, Switch


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("guard")
    for port_no in switch.uplinks:
        yield from_uplink(t, port_no, onward)
    yield from enforce.strangers(switch, here)
    for port_no in switch.full_ports:
        yield flow(
            t,
            100,
            oxm(in_port=port_no),
            onward,
            note=f"port {port_no} has as many stations as are kept: learn no more",
            subject=port_no,
        )
    yield flow(
        t, 50, oxm(eth_type=ETH_ARP), onward, note="ARP is looked at by the guard"
    )
    for kind, _, name in KINDS:
        yield flow(
            t,
            50,
            oxm(eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind),
            onward,
            note=f"a neighbor {name} is looked at by its guard",
        )
    yield flow(
        t,
        0,
        oxm(),
        TELL,
        onward,
        note="an unknown sender: tell the controller, and forward at once",
    )


def of_station(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    if switch.here(where.port):
        port_no, vlan = where.port.port_no, where.domain.vlan
        onward = here.goto("guard")
        yield known(here.table_id, port_no, vlan, where.lladdr, onward)
    yield from enforce.stranger(switch, here, where)


@lru_cache(maxsize=1 << 12)
def from_uplink(table: int, port_no: int, onward: GotoTable) -> Flow:
    return flow(
        table,
        200,
        oxm(in_port=port_no),
        SetField(KNOWN, "1"),
        onward,
        note=f"port {port_no} leads to another switch, which knows the sender",
        subject=port_no,
    )


@lru_cache(maxsize=1 << 10)
def known(table: int, port_no: int, vlan: int, lladdr: str, onward: GotoTable) -> Flow:
    """Its packet_count tells whether the station is alive (controller.liveness)."""
    return flow(
        table,
        150,
        oxm(in_port=port_no, eth_src=lladdr, **{DOMAIN: vlan}),
        SetField(KNOWN, "1"),
        onward,
        note=f"{lladdr} sends from port {port_no}, where it is known to be",
        subject=lladdr,
    )
