"""Several interfaces of one host in one segment: each speaks for itself.

Linux answers for any of its addresses on any of its interfaces, and asks with any of
them, unless it is told otherwise (ip-sysctl: arp_ignore, arp_announce).  In one segment
an address then seems to be at two places by turns ("ARP flux").  Where the kernel shows
such a host, the switch does in its place what these settings would do:

    arp_ignore 1    what an interface answers for another one's address goes nowhere:
                    the switch answers, with the interface that has it
    arp_announce 2  a question asked with another one's address is asked with one of the
                    interface's own; an announcement of it goes nowhere

ND needs nothing of it: Linux answers for the addresses of the very interface only, and
takes its solicitations' source from it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from ipaddress import IPv4Address

from flows.enforce import made
from flows.openflow import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    Flow,
    GotoTable,
    SetField,
    oxm,
)
from flows.switch import ANSWERS, DOMAIN, Here, Switch
from flows.twins import Sibling

REQUEST, REPLY = 1, 2  # ares_op, RFC 826


def claims(switch: Switch, here: Here) -> Iterator[Flow]:
    """For the table `guard`, before all others that know of the address."""
    for one in switch.network.siblings.values():
        if not switch.here(one.port):
            continue
        where: dict[str, Hashable] = {
            "in_port": one.port.port_no,
            "eth_src": one.lladdr,
            DOMAIN: one.owner.domain.vlan,
        }
        if isinstance(one.ip, IPv4Address):
            yield from settled(switch, here.table_id, one, here.goto(ANSWERS), where)
        if one.port in switch.network.trust.modes:
            yield packet(one, here, where)


def settled(
    switch: Switch,
    table: int,
    one: Sibling,
    onward: GotoTable,
    where: dict[str, Hashable],
) -> Iterator[Flow]:
    says = {**where, "eth_type": ETH_ARP, "arp_spa": one.ip}
    owner = f"{one.owner.lladdr}'s, an interface of the same host"
    if switch.network.nics.arp_ignore:
        yield made(
            table,
            250,
            oxm(**says, arp_op=REPLY),
            note=f"drop what {one.lladdr} answers for {one.ip}: it is {owner}",
            subject=one.ip,
        )
    if not switch.network.nics.arp_announce:
        return
    yield made(
        table,
        260,
        oxm(**says, arp_op=REQUEST, arp_tpa=one.ip),
        note=f"drop what {one.lladdr} announces of {one.ip}: it is {owner}",
        subject=one.ip,
    )
    if one.own is not None:
        yield made(
            table,
            250,
            oxm(**says, arp_op=REQUEST),
            SetField("arp_spa", str(one.own)),
            onward,
            note=f"{one.lladdr} asks as {one.own}, its own: {one.ip} is {owner}",
            subject=one.ip,
        )


def packet(one: Sibling, here: Here, where: dict[str, Hashable]) -> Flow:
    """Its routes choose the interface that a packet leaves by, not its source."""
    if isinstance(one.ip, IPv4Address):
        match = oxm(**where, eth_type=ETH_IPV4, ipv4_src=one.ip)
        onward = here.goto(ANSWERS)
    else:
        match = oxm(**where, eth_type=ETH_IPV6, ipv6_src=one.ip)
        onward = here.goto("nd_guard")
    note = f"{one.lladdr} may send from {one.ip} of the same host"
    return made(here.table_id, 190, match, onward, note=note, subject=one.ip)
