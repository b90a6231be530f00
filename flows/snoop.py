"""Overhear DHCP, and keep it from who is no server.

Only where the configuration says behind which ports there are servers: what they send
is copied to the controller, and what clients send, which may give a lease back.  At a
guarded port what a server sends is refused; at a port with a server it passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from flows.enforce import made, refusal
from flows.openflow import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    TELL,
    Flow,
    oxm,
)
from flows.parties import Located
from flows.switch import ANSWERS, DOMAIN, Here, Switch

UDP = 17
TO_CLIENTS = ((ETH_IPV4, 68), (ETH_IPV6, 546))  # RFC 2131, 4.1; RFC 8415, 7.2
TO_SERVERS = ((ETH_IPV4, 67), (ETH_IPV6, 547))


def rogues(switch: Switch, here: Here) -> Iterator[Flow]:
    """For the table `guard`: who is no server and speaks as one."""
    if not switch.network.trust.snoops:
        return
    servers, onward = switch.network.trust.servers, here.goto(ANSWERS)
    for (kind, port), mode in product(TO_CLIENTS, switch.levels):
        about = {"eth_type": kind, "ip_proto": UDP, "udp_dst": port}
        for at, _ in switch.guarded:
            if at.key in servers:
                yield made(
                    here.table_id,
                    290,
                    oxm(in_port=at.port_no, **about),
                    onward,
                    note=f"DHCP of a server: there is one behind port {at.port_no}",
                    subject=at.port_no,
                )
        why = "DHCP of who is no server"
        yield refusal(here.table_id, 280, mode, onward, why, None, **about)


def copies(switch: Switch, here: Here) -> Iterator[Flow]:
    """For the table `arp`: tell the controller of it, and go on at once."""
    trust = switch.network.trust
    if not trust.snoops:
        return
    onward = here.goto("forward")
    for kind, port in TO_CLIENTS:
        for at in switch.ports:
            if at.key in trust.servers:
                yield made(
                    here.table_id,
                    60,
                    oxm(in_port=at.port_no, eth_type=kind, ip_proto=UDP, udp_dst=port),
                    TELL,
                    onward,
                    note=f"what the DHCP server behind port {at.port_no} says",
                    subject=at.port_no,
                )
    for kind, port in TO_SERVERS:
        yield made(
            here.table_id,
            60,
            oxm(eth_type=kind, ip_proto=UDP, udp_dst=port),
            TELL,
            onward,
            note="what a DHCP client says: it may give its lease back",
        )


def confined(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    """For the table `guard`: who has a lease sends from no other IPv4 address."""
    trust = switch.network.trust
    if not trust.confines or not where.leases or not switch.here(where.port):
        return
    mode = trust.modes.get(where.port)
    if mode is None:
        return
    who = {
        "in_port": where.port.port_no,
        "eth_src": where.lladdr,
        DOMAIN: where.domain.vlan,
    }
    why = f"DHCP has leased another address to {where.lladdr}"
    for kind in (ETH_ARP, ETH_IPV4):
        about = {**who, "eth_type": kind}
        yield refusal(
            here.table_id,
            172,
            mode,
            here.goto(ANSWERS),
            why,
            where.lladdr,
            **about,
        )
