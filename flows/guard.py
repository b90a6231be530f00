"""Let known ARP bindings pass in silence; news goes to the controller, and on its way.

A probe (RFC 5227, 1.1: sender address 0.0.0.0) claims nothing and never teaches an
address.  An announcement of a known binding is no news.  An impossible sender is
dropped: nobody could answer it.  At a guarded port who contradicts what is known is
reported, and may be dropped (`flows.enforce`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from flows import enforce, nics
from flows.nd_guard import ICMPV6, KINDS
from flows.openflow import (
    ETH_ARP,
    ETH_IPV6,
    GROUP_BIT,
    TELL,
    Flow,
    GotoTable,
    flow,
    oxm,
)
from flows.parties import Holder, Located
from flows.switch import ANSWERS, DOMAIN, KNOWN, Here, Switch
from flows.view import Station

REQUEST, REPLY = 1, 2  # ares_op, RFC 826
NO_LLADDR = "00:00:00:00:00:00"

IMPOSSIBLE = (  # match fields beside eth_type, and why
    ({"arp_sha": f"{GROUP_BIT}/{GROUP_BIT}"}, "the sender is a group"),
    # With the operation: Open vSwitch sees zeros in ARP of other kinds and lengths.
    ({"arp_op": REQUEST, "arp_sha": NO_LLADDR}, "nobody asks"),
    ({"arp_op": REPLY, "arp_sha": NO_LLADDR}, "nobody replies"),
    ({"arp_spa": "127.0.0.0/8"}, "the sender's address is a loopback address"),
    ({"arp_spa": "224.0.0.0/4"}, "the sender's address is a multicast group"),
    ({"arp_spa": "255.255.255.255"}, "the sender's address is the broadcast address"),
    ({"arp_op": REPLY, "arp_spa": "0.0.0.0"}, "a reply that says nothing"),
)


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto(ANSWERS)
    for fields, reason in IMPOSSIBLE:
        yield flow(t, 400, oxm(eth_type=ETH_ARP, **fields), note=f"drop ARP: {reason}")
    for port_no in switch.uplinks:
        yield flow(
            t,
            300,
            oxm(in_port=port_no, eth_type=ETH_ARP),
            onward,
            note=f"port {port_no} leads to another switch, which has looked at it",
            subject=port_no,
        )
    yield from nics.claims(switch, here)
    yield from enforce.claims(switch, here)
    for port_no in switch.full_ports:
        yield flow(
            t,
            130,
            oxm(in_port=port_no, eth_type=ETH_ARP),
            onward,
            note=f"port {port_no} has as many stations as are kept: learn no more",
            subject=port_no,
        )
    yield flow(
        t,
        140,
        oxm(eth_type=ETH_ARP, arp_op=REQUEST, arp_spa="0.0.0.0", **{KNOWN: 1}),
        onward,
        note="a probe claims no address (RFC 5227), and its station is known",
    )
    for op, name in ((REQUEST, "request"), (REPLY, "reply")):
        yield flow(
            t,
            100,
            oxm(eth_type=ETH_ARP, arp_op=op),
            TELL,
            onward,
            note=f"an ARP {name} with news: tell the controller, and go on at once",
        )
    for kind, _, name in KINDS:
        yield flow(
            t,
            50,
            oxm(eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind),
            here.goto("nd_guard"),
            note=f"a neighbor {name} has a guard of its own",
        )
    yield flow(t, 0, oxm(), onward, note="not ARP, or no ARP that could teach anything")


def of_station(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    """Where nothing more would be learned, nothing is told either."""
    limit = switch.view.limits.addresses_per_station
    if switch.here(where.port) and is_full(where.station, limit):
        yield flow(
            here.table_id,
            150,
            oxm(
                in_port=where.port.port_no,
                eth_src=where.lladdr,
                eth_type=ETH_ARP,
                **{DOMAIN: where.domain.vlan},
            ),
            here.goto(ANSWERS),
            note=f"{where.lladdr} claims as many addresses as are kept",
            subject=where.lladdr,
        )


def of_holder(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    if not isinstance(holder.ip, IPv4Address):
        return
    t, vlan, onward = here.table_id, holder.domain.vlan, here.goto(ANSWERS)
    for candidate in switch.candidates_here(holder):
        at, lladdr = candidate.port, candidate.lladdr
        if enforce.may_pass(switch, holder, at, lladdr):
            yield known(t, at.port_no, vlan, lladdr, holder.ip, onward)
    yield from enforce.claims_of(switch, here, holder)


@lru_cache(maxsize=1 << 10)
def known(
    table: int, port_no: int, vlan: int, lladdr: str, ip: IPv4Address, onward: GotoTable
) -> Flow:
    """Its packet_count tells whether the binding is alive (controller.liveness)."""
    text = str(ip)
    return flow(
        table,
        200,
        oxm(
            in_port=port_no,
            eth_src=lladdr,
            eth_type=ETH_ARP,
            arp_spa=text,
            arp_sha=lladdr,
            **{DOMAIN: vlan},
        ),
        onward,
        note=f"{lladdr} on port {port_no} says that it has {text}, as is known",
        subject=ip,
    )


def is_full(station: Station | None, limit: int) -> bool:
    return station is not None and len(station.claims) >= limit
