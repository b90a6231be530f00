"""Keep ports apart (private VLANs): neighbors reach each other through a router only.

No frame from an isolated port leaves by another isolated port.  All may talk to the
promiscuous ports, and are talked to from there.  Who asks for a neighbor behind another
isolated port is told the router's address (local proxy ARP, RFC 3069, 2.1), if the rule
names a router and it is there; else the question reaches the promiscuous ports alone.

A probe is answered as everywhere: two holders of one address would not hear each other.
What comes from another switch is held back like the frames of an isolated port, unless
its sender is known to be at a promiscuous port there.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from flows.arp import reply
from flows.guard import REQUEST
from flows.nd import OVERRIDE, ROUTER, SOLICITED, advertise
from flows.nd_guard import NO_LLADDR, SOLICITATION, nd
from flows.openflow import (
    ETH_ARP,
    TELL,
    Action,
    Flow,
    Match,
    Move,
    SetField,
    flow,
    oxm,
)
from flows.parties import Domain, Holder, Located, Middle
from flows.proxy import PRIVATE
from flows.switch import DOMAIN, SIDE, SPECIFIC, Here, Switch, vlan_match
from flows.view import IPAddress, Port, Proxy


def router(switch: Switch, rule: Proxy, domain: Domain) -> Middle:
    """Whom isolated ports talk through."""
    if not (rule.lladdr or rule.port):
        return Middle(missing="no router is named")
    found = switch.network.middle(rule, domain)
    if found.port and switch.network.is_isolated(domain.vlan, found.port):
        return Middle(missing=f"{found.lladdr} is at an isolated port itself")
    return found


# --- the table that marks -----------------------------------------------------------


def marks(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("gateway")
    for number, rule in switch.rules.privates.items():
        at, more = vlan_match(rule.vlan)
        yield flow(
            t,
            200 + more,
            oxm(**at),
            SetField(SIDE, hex(number)),
            onward,
            note=f"isolated from other ports{by(rule)}",
        )
        for port in switch.ports:
            if is_promiscuous(switch, port, rule):
                yield flow(
                    t,
                    205 + more,
                    oxm(in_port=port.port_no, **at),
                    onward,
                    note=f"port {port.port_no} is promiscuous{by(rule)}",
                    subject=port.port_no,
                )
    if switch.rules.privates:
        yield from exempt(switch, here)


def by(rule: Proxy) -> str:
    return f" ({rule.where})" if rule.where else ""


def is_promiscuous(switch: Switch, port: Port, rule: Proxy) -> bool:
    is_named = port.key in switch.network.promiscuous.get(rule, ())
    return is_named and port.port_no not in switch.uplinks


def exempt(switch: Switch, here: Here) -> Iterator[Flow]:
    for vlan, other in switch.rules.by_prefix[None].items():
        if vlan is not None and other.mode != PRIVATE:
            yield flow(
                here.table_id,
                200 + SPECIFIC,
                oxm(**{DOMAIN: vlan}),
                here.goto("gateway"),
                note=f"VLAN {vlan} is not private{by(other)}",
            )


def marks_of(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    """Who is at a promiscuous port of another switch."""
    vlan = where.domain.vlan
    if not switch.rules.private(vlan) or switch.network.is_isolated(vlan, where.port):
        return
    for port_no in switch.uplinks:
        yield flow(
            here.table_id,
            205 + SPECIFIC + 1,
            oxm(in_port=port_no, eth_src=where.lladdr, **{DOMAIN: vlan}),
            here.goto("gateway"),
            note=f"{where.lladdr} is not isolated where it is",
            subject=where.lladdr,
        )


# --- the table that answers ---------------------------------------------------------


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    onward = here.goto("arp")
    yield flow(here.table_id, 0, oxm(), onward, note="no question of an isolated port")


def of_holder(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    vlan, at = holder.domain.vlan, holder.winner.port
    rule = switch.rules.private(vlan)
    if rule is None or not holder.answered or not switch.network.is_isolated(vlan, at):
        return
    if switch.rules.nearest(vlan, holder.ip) is not rule:
        return
    t, ip = here.table_id, holder.ip
    for candidate in switch.candidates_here(holder):
        yield flow(
            t,
            200,
            asks(ip, vlan, in_port=candidate.port.port_no),
            here.goto("arp"),
            note=f"who asks for {ip} from its own port is never answered",
            subject=ip,
        )
    held_back = {SIDE: hex(switch.rules.number(rule))}
    yield flow(
        t,
        150,
        probes(ip, vlan, **held_back),
        here.goto("arp"),
        note=f"a probe for {ip} is answered as everywhere",
        subject=ip,
    )
    found = router(switch, rule, holder.domain)
    if found.missing:
        yield flow(
            t,
            100,
            asks(ip, vlan, **held_back),
            here.goto("forward"),
            note=f"{ip} is behind another isolated port, and {found.missing}",
            subject=ip,
        )
    else:
        back = switch.back(vlan)
        yield from answers(here, holder, found.lladdr, held_back, back)


def asks(ip: IPAddress, vlan: int, **fields: object) -> Match:
    fields = {DOMAIN: vlan, **fields}
    if isinstance(ip, IPv4Address):
        return oxm(eth_type=ETH_ARP, arp_op=REQUEST, arp_tpa=ip, **fields)
    return nd(SOLICITATION, ipv6_nd_target=ip, **fields)


def probes(ip: IPAddress, vlan: int, **fields: object) -> Match:
    nobody = (
        {"arp_spa": "0.0.0.0"} if isinstance(ip, IPv4Address) else {"ipv6_src": "::"}
    )
    return asks(ip, vlan, **nobody, **fields)


def answers(
    here: Here, holder: Holder, lladdr: str, held_back: dict[str, str], back: Action
) -> Iterator[Flow]:
    t, ip, vlan = here.table_id, holder.ip, holder.domain.vlan
    note = f"answer isolated ports who has {ip}: it is reached through {lladdr}"
    if isinstance(ip, IPv4Address):
        match = asks(ip, vlan, **held_back)
        answer = reply(str(ip), lladdr, back)
        yield flow(t, 100, match, *answer, note=note, subject=ip)
        return
    yield flow(
        t,
        110,
        asks(ip, vlan, ipv6_nd_sll=NO_LLADDR, **held_back),
        TELL,
        note=f"who solicits {ip} without an option is answered by the controller",
        subject=ip,
    )
    flags = SOLICITED | OVERRIDE | (ROUTER if holder.winner.router else 0)
    yield flow(
        t,
        100,
        asks(ip, vlan, **held_back),
        Move("eth_src", "eth_dst"),
        Move("ipv6_src", "ipv6_dst"),
        *advertise(ip, lladdr, flags),
        here.goto("nd_answer"),
        note=note,
        subject=ip,
    )


# --- the tables that forward --------------------------------------------------------


def forward_of(switch: Switch, table: int, where: Located) -> Iterator[Flow]:
    """No frame that is held back reaches an isolated port, and none that is sent in the
    name of somebody at a promiscuous port goes on to a switch that would believe it."""
    vlan, lladdr = where.domain.vlan, where.lladdr
    rule = switch.rules.private(vlan)
    if rule is None:
        return
    at = {SIDE: hex(switch.rules.number(rule)), DOMAIN: vlan}
    if switch.network.is_isolated(vlan, where.port):
        yield flow(
            table,
            120,
            oxm(eth_dst=lladdr, **at),
            note=f"drop: {lladdr} is behind another isolated port{by(rule)}",
            subject=lladdr,
        )
    elif switch.uplinks:
        yield flow(
            table,
            250,
            oxm(eth_src=lladdr, **at),
            note=f"drop: {lladdr} is at a promiscuous port, and not here",
            subject=lladdr,
        )


def flood(switch: Switch, table: int, everywhere: tuple[Port, ...]) -> Iterator[Flow]:
    """`everywhere` are the ports to which all others are flooded."""
    for number, rule in switch.rules.privates.items():
        promiscuous = tuple(
            port
            for port in everywhere
            if port.port_no in switch.uplinks or is_promiscuous(switch, port, rule)
        )
        note = f"isolated: to the promiscuous ports alone{by(rule)}"
        held_back = {SIDE: hex(number)}
        yield from switch.copied(table, 50, promiscuous, note, **held_back)
