"""Answer ARP requests inside the switch (proxy ARP, RFC 826 and RFC 1027).

A broadcast request for an address whose holder is known becomes its own reply: swap
sender and target, write the holder's hardware address as sender, and send the packet
back where it came from, so that a VLAN tag stays, if the port is told one.  Open
vSwitch does this in its slow path, once per packet, without the controller.

Never answered: the owner (its own probe, announcement or question would look like a
conflict to it, RFC 5227, 2.1.1), also where it has just moved to; an announcement of
anybody; a unicast poll, which asks whether the holder is alive (RFC 1122, 2.3.2.1) and
must reach it; and what comes from another switch, which answers its own ports.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from flows.guard import REPLY, REQUEST
from flows.nd_guard import ICMPV6, KINDS
from flows.openflow import (
    BACK,
    BROADCAST,
    ETH_ARP,
    ETH_IPV6,
    Action,
    Flow,
    GotoTable,
    Match,
    Move,
    SetField,
    flow,
    oxm,
)
from flows.parties import Holder, Origin
from flows.proxy import OFF
from flows.switch import DOMAIN, Here, Switch

TO_SENDER, IS_REPLY = Move("eth_src", "eth_dst"), SetField("arp_op", str(REPLY))
SHA_TO_TARGET, SPA_TO_TARGET = Move("arp_sha", "arp_tha"), Move("arp_spa", "arp_tpa")


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("forward")
    for port_no in switch.uplinks:
        yield flow(
            t,
            400,
            oxm(in_port=port_no),
            onward,
            note=f"port {port_no} leads to another switch, which answers its own ports",
            subject=port_no,
        )
    for kind, _, name in KINDS:
        yield flow(
            t,
            50,
            oxm(eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind),
            here.goto("nd"),
            note=f"a neighbor {name}: what answers it comes next",
        )
    yield flow(
        t,
        10,
        oxm(eth_dst=BROADCAST, eth_type=ETH_ARP, arp_op=REQUEST),
        here.goto("unknown"),
        note="a question to all that we do not answer",
    )
    yield flow(t, 0, oxm(), onward, note="no question that we answer")


def of_holder(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    ip, vlan = holder.ip, holder.domain.vlan
    if not isinstance(ip, IPv4Address) or not holder.answered:
        return
    t, onward = here.table_id, here.goto("forward")
    if not switch.rules.answers_as_host(vlan, ip):
        if switch.rules.mode(vlan, ip) == OFF:
            yield left_to_itself(t, vlan, ip, onward)
        return
    yield announcement(t, vlan, ip, onward)
    yield answer(t, vlan, ip, holder.winner.lladdr, switch.back(vlan))
    for candidate in switch.candidates_here(holder):
        yield owner(t, candidate.port.port_no, vlan, ip, onward)
    for candidate in holder.candidates:
        if candidate.origin is not Origin.KERNEL:  # the kernel tells where it is
            yield itself(t, vlan, ip, candidate.lladdr, onward)


@lru_cache(maxsize=1 << 10)
def left_to_itself(table: int, vlan: int, ip: IPv4Address, onward: GotoTable) -> Flow:
    text = str(ip)
    return flow(
        table,
        100,
        asks_for(vlan, text),
        onward,
        note=f"a rule leaves it to {text} to answer",
        subject=ip,
    )


def asks_for(vlan: int, ip: str) -> Match:
    return oxm(
        eth_dst=BROADCAST,
        eth_type=ETH_ARP,
        arp_op=REQUEST,
        arp_tpa=ip,
        **{DOMAIN: vlan},
    )


@lru_cache(maxsize=1 << 10)
def announcement(table: int, vlan: int, ip: IPv4Address, onward: GotoTable) -> Flow:
    text = str(ip)
    return flow(
        table,
        300,
        oxm(eth_type=ETH_ARP, arp_spa=text, arp_tpa=text, **{DOMAIN: vlan}),
        onward,
        note=f"an announcement of {text} asks nothing: let everybody hear it",
        subject=ip,
    )


@lru_cache(maxsize=1 << 10)
def owner(
    table: int, port_no: int, vlan: int, ip: IPv4Address, onward: GotoTable
) -> Flow:
    text = str(ip)
    return flow(
        table,
        200,
        oxm(
            in_port=port_no,
            eth_type=ETH_ARP,
            arp_op=REQUEST,
            arp_tpa=text,
            **{DOMAIN: vlan},
        ),
        onward,
        note=f"who asks for {text} from its own port {port_no} is never answered",
        subject=ip,
    )


@lru_cache(maxsize=1 << 10)
def itself(
    table: int, vlan: int, ip: IPv4Address, lladdr: str, onward: GotoTable
) -> Flow:
    text = str(ip)
    return flow(
        table,
        200,
        oxm(
            eth_type=ETH_ARP,
            arp_op=REQUEST,
            arp_tpa=text,
            arp_sha=lladdr,
            **{DOMAIN: vlan},
        ),
        onward,
        note=f"{lladdr} asks for its own {text}:"
        " it may have moved, and is not answered",
        subject=ip,
    )


@lru_cache(maxsize=1 << 10)
def answer(
    table: int, vlan: int, ip: IPv4Address, lladdr: str, back: Action = BACK
) -> Flow:
    text = str(ip)
    return flow(
        table,
        100,
        asks_for(vlan, text),
        *reply(text, lladdr, back),
        note=f"answer who has {text}: it is at {lladdr}",
        subject=ip,
    )


def reply(ip: str, lladdr: str, back: Action) -> tuple[Action, ...]:
    """What makes a request its own reply, and sends it back."""
    return (
        TO_SENDER,
        SetField("eth_src", lladdr),
        IS_REPLY,
        SHA_TO_TARGET,
        SetField("arp_sha", lladdr),
        SPA_TO_TARGET,
        SetField("arp_spa", ip),
        back,
    )
