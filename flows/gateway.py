"""Answer for addresses that are ours: gateways that exist in the switch alone.

Broadcast and unicast questions are answered alike, as nobody else could (RFC 826; RFC
4861, 7.2.4), and echo requests, so that a ping tells that the switch is there.  Whoever
else says that it has such an address is not heard by others: its announcement and its
probe are answered, as an owner would defend itself (RFC 5227, 2.4; RFC 4862, 5.4.4).
Only who sends from the gateway's own hardware address is the gateway: a router that is
there after all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from flows.arp import reply
from flows.guard import REPLY, REQUEST
from flows.icmp import V4, V6, echo
from flows.nd import (
    ALL_NODES,
    ALL_NODES_LLADDR,
    OVERRIDE,
    ROUTER,
    SOLICITED,
    advertise,
)
from flows.nd_guard import ADVERTISEMENT, NO_LLADDR, SOLICITATION, nd
from flows.openflow import (
    ETH_ARP,
    TELL,
    Action,
    Flow,
    GotoTable,
    Match,
    Move,
    SetField,
    flow,
    oxm,
)
from flows.proxy import GATEWAY
from flows.switch import DOMAIN, SPECIFIC, Here, Switch, vlan_match
from flows.view import IPAddress, Proxy

PROTECTED = 300  # priorities; a rule for one VLAN counts more
CLAIMS = 280
ANSWERED = 260


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward, written = here.table_id, here.goto("interpose"), here.goto("nd_answer")
    if switch.rules.gateways:
        for port_no in switch.uplinks:
            yield flow(
                t,
                400,
                oxm(in_port=port_no),
                onward,
                note=f"port {port_no} leads to another switch, which has answered",
                subject=port_no,
            )
    for rule in switch.rules.gateways:
        back = switch.back(rule.vlan)
        yield from of_rule(t, rule, onward, written, back)
        if rule.vlan is None:
            for vlan, other in switch.rules.by_prefix[rule.prefix].items():
                if vlan is not None and other.mode != GATEWAY:
                    yield from exempt(t, vlan, address_of(rule), onward)
    yield flow(t, 0, oxm(), onward, note="it concerns no address of ours")


def address_of(rule: Proxy) -> IPAddress:
    assert rule.prefix is not None
    return rule.prefix.network_address


@lru_cache(maxsize=1 << 12)
def of_rule(
    table: int, rule: Proxy, onward: GotoTable, written: GotoTable, back: Action
) -> tuple[Flow, ...]:
    ip = address_of(rule)
    at, more = vlan_match(rule.vlan)
    if isinstance(ip, IPv4Address):
        own = answers4(table, rule, onward, back)
    else:
        own = answers6(table, rule, onward, written)
    return (*own, echo(table, ANSWERED + more, ip, rule.lladdr, back, **at))


def exempt(table: int, vlan: int, ip: IPAddress, onward: GotoTable) -> Iterator[Flow]:
    """On this VLAN another rule is nearer."""
    for match in concerning(ip, **{DOMAIN: vlan}):
        yield flow(
            table,
            PROTECTED + SPECIFIC,
            match,
            onward,
            note=f"on VLAN {vlan} another rule says what becomes of {ip}",
            subject=ip,
        )


def concerning(ip: IPAddress, **at: object) -> Iterator[Match]:
    if isinstance(ip, IPv4Address):
        yield oxm(eth_type=ETH_ARP, arp_spa=ip, **at)
        yield oxm(eth_type=ETH_ARP, arp_tpa=ip, **at)
        yield oxm(eth_type=V4.eth_type, ip_proto=V4.ip_proto, ipv4_dst=ip, **at)
    else:
        yield nd(SOLICITATION, ipv6_src=ip, **at)
        yield nd(SOLICITATION, ipv6_nd_target=ip, **at)
        yield nd(ADVERTISEMENT, ipv6_nd_target=ip, **at)
        yield oxm(eth_type=V6.eth_type, ip_proto=V6.ip_proto, ipv6_dst=ip, **at)


# --- ARP ----------------------------------------------------------------------------


def answers4(
    table: int, rule: Proxy, onward: GotoTable, back: Action
) -> Iterator[Flow]:
    ip, lladdr = address_of(rule), rule.lladdr
    at, more = vlan_match(rule.vlan)
    for field in ("arp_spa", "arp_tpa"):
        yield flow(
            table,
            PROTECTED + more,
            oxm(eth_type=ETH_ARP, arp_sha=lladdr, **{field: ip}, **at),
            onward,
            note=f"{lladdr} is the gateway {ip} itself",
            subject=ip,
        )
    yield flow(
        table,
        CLAIMS + more,
        oxm(eth_type=ETH_ARP, arp_op=REQUEST, arp_spa=ip, **at),
        *reply(str(ip), lladdr, back),
        note=f"defend {ip} against who claims it: it is at {lladdr}, the gateway's",
        subject=ip,
    )
    yield flow(
        table,
        CLAIMS + more,
        oxm(eth_type=ETH_ARP, arp_op=REPLY, arp_spa=ip, **at),
        note=f"drop: {ip} is the gateway's, {lladdr}",
        subject=ip,
    )
    yield answer4(table, rule, back)


def answer4(table: int, rule: Proxy, back: Action) -> Flow:
    ip, (at, more) = address_of(rule), vlan_match(rule.vlan)
    return flow(
        table,
        ANSWERED + more,
        oxm(eth_type=ETH_ARP, arp_op=REQUEST, arp_tpa=ip, **at),
        *reply(str(ip), rule.lladdr, back),
        note=f"answer who has {ip}: the gateway is at {rule.lladdr}",
        subject=ip,
    )


# --- neighbor discovery -------------------------------------------------------------


def answers6(
    table: int, rule: Proxy, onward: GotoTable, written: GotoTable
) -> Iterator[Flow]:
    ip, lladdr = address_of(rule), rule.lladdr
    at, more = vlan_match(rule.vlan)
    says = (
        nd(SOLICITATION, ipv6_src=ip, **at),
        nd(ADVERTISEMENT, ipv6_nd_target=ip, **at),
    )
    asks = nd(SOLICITATION, ipv6_nd_target=ip, **at)
    for match in (*says, asks):
        yield flow(
            table,
            PROTECTED + more,
            oxm(**dict(match), eth_src=lladdr),
            onward,
            note=f"{lladdr} is the gateway {ip} itself",
            subject=ip,
        )
    for match in says:
        yield flow(
            table,
            CLAIMS + more,
            match,
            note=f"drop: {ip} is the gateway's, {lladdr}",
            subject=ip,
        )
    yield defence6(table, rule, written)
    yield flow(
        table,
        ANSWERED + more + 1,
        nd(SOLICITATION, ipv6_nd_target=ip, ipv6_nd_sll=NO_LLADDR, **at),
        TELL,
        note=f"who solicits {ip} without an option is answered by the controller",
        subject=ip,
    )
    yield answer6(table, rule, written)


def answer6(table: int, rule: Proxy, written: GotoTable) -> Flow:
    ip, (at, more) = address_of(rule), vlan_match(rule.vlan)
    assert isinstance(ip, IPv6Address)
    return flow(
        table,
        ANSWERED + more,
        nd(SOLICITATION, ipv6_nd_target=ip, **at),
        Move("eth_src", "eth_dst"),
        Move("ipv6_src", "ipv6_dst"),
        *advertise(ip, rule.lladdr, SOLICITED | flags(rule)),
        written,
        note=f"answer who solicits {ip}: the gateway is at {rule.lladdr}",
        subject=ip,
    )


def defence6(table: int, rule: Proxy, written: GotoTable) -> Flow:
    """As `flows.nd.defence` does it for a holder."""
    ip, (at, more) = address_of(rule), vlan_match(rule.vlan)
    assert isinstance(ip, IPv6Address)
    return flow(
        table,
        CLAIMS + more - 1,
        nd(SOLICITATION, ipv6_src="::", ipv6_nd_target=ip, **at),
        TELL,
        SetField("eth_dst", ALL_NODES_LLADDR),
        SetField("ipv6_dst", str(ALL_NODES)),
        *advertise(ip, rule.lladdr, flags(rule)),
        written,
        note=f"defend {ip} against who wants to take it: it is the gateway's",
        subject=ip,
    )


def flags(rule: Proxy) -> int:
    return OVERRIDE | (ROUTER if rule.router else 0)
