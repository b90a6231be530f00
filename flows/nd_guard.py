"""Drop impossible neighbor discovery (RFC 4861, 7.1); read off what the rest claims.

A solicitation says who its source is, an advertisement who its target is.  Both are
brought into one form, in registers, so that the next table has one flow for a binding:
the address in CLAIMED_IP, the link-layer address in CLAIMED_LLADDR, and ROLE tells what
an advertisement says of its sender.  Duplicate address detection (source ::) claims
nothing, and never teaches an address.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.openflow import (
    ETH_IPV6,
    GROUP_BIT,
    Action,
    Flow,
    GotoTable,
    Match,
    Move,
    SetField,
    flow,
    oxm,
)
from flows.switch import ANSWERS, Here, Switch

ICMPV6 = 58
SOLICITATION, ADVERTISEMENT = 135, 136  # ICMPv6 types, RFC 4861, 4.3 and 4.4
KINDS = (
    (SOLICITATION, "ipv6_nd_sll", "solicitation"),
    (ADVERTISEMENT, "ipv6_nd_tll", "advertisement"),
)
HOP_LIMIT = 255  # no router can have passed it on (RFC 4861, 3.1)
SOLICITED_NODES = "ff02::1:ff00:0/104"  # RFC 4291, 2.7.1
GROUPS = "ff00::/8"
NO_LLADDR = "00:00:00:00:00:00"  # what a switch sees without the option

# R is the highest bit of the flags, S the next (4.4).  A switch can only match all of
# them; a sender must leave the other bits zero.
FLAGS = tuple(bits << 29 for bits in range(8))
ROUTERS = tuple(flags for flags in FLAGS if flags >> 31)
SOLICITED = tuple(flags for flags in FLAGS if flags >> 30 & 1)

CLAIMED_IP = "xxreg1"
CLAIMED_LLADDR = "xxreg2"  # the lower 48 bits
ROLE = "reg12"
SAYS_HOST, SAYS_ROUTER = 1, 2  # bits of ROLE; a solicitation says neither


def nd(kind: int, **fields: object) -> Match:
    """The prerequisites of a match on neighbor discovery, and the match."""
    return oxm(
        eth_type=ETH_IPV6,
        ip_proto=ICMPV6,
        icmpv6_type=kind,
        icmpv6_code=0,
        **fields,
    )


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto(ANSWERS)
    for kind, option, name in KINDS:
        for fields, reason in impossible(option):
            yield flow(t, 400, nd(kind, **fields), note=f"drop {name}: {reason}")
    for flags in SOLICITED:
        yield flow(
            t,
            400,
            nd(ADVERTISEMENT, ipv6_dst=GROUPS, nd_reserved=hex(flags)),
            note="drop advertisement: nobody in a group can have solicited it",
        )
    for port_no in switch.uplinks:
        yield flow(
            t,
            300,
            oxm(in_port=port_no),
            onward,
            note=f"port {port_no} leads to another switch, which has looked at it",
            subject=port_no,
        )
    yield from probes(t, onward)
    yield from claims(t, here.goto("nd_known"))
    yield flow(t, 0, oxm(), note="drop: a router has passed it on, or it has a code")


def impossible(option: str) -> Iterator[tuple[dict[str, str], str]]:
    """Match fields, and why; `option` is the field of the link-layer address."""
    yield {"ipv6_src": GROUPS}, "the sender's address is a group's"
    yield {"ipv6_src": "::1"}, "the sender's address is the loopback address"
    yield {"ipv6_nd_target": GROUPS}, "its target is a group"
    yield {"ipv6_nd_target": "::/127"}, "its target is unspecified, or loopback"
    yield {option: f"{GROUP_BIT}/{GROUP_BIT}"}, "its link-layer address is a group's"


def probes(table: int, onward: GotoTable) -> Iterator[Flow]:
    """RFC 4862, 5.4.2; and what only looks so (RFC 4861, 7.1.1)."""
    sound = {"ipv6_src": "::", "ipv6_dst": SOLICITED_NODES, "ip_ttl": HOP_LIMIT}
    yield flow(
        table,
        260,
        nd(SOLICITATION, **sound, ipv6_nd_sll=NO_LLADDR),
        onward,
        note="duplicate address detection claims no address yet (RFC 4862)",
    )
    for kind, _, name in KINDS:
        yield flow(
            table,
            250,
            nd(kind, ipv6_src="::"),
            note=f"drop {name}: it has no sender",
        )


def claims(table: int, onward: GotoTable) -> Iterator[Flow]:
    """What a message says of its sender.  Without the option, its sender's frame does
    (RFC 4861, 7.2.3 and 7.2.4)."""
    for kind, option, name in KINDS:
        ip = "ipv6_src" if kind == SOLICITATION else "ipv6_nd_target"
        for priority, source, fields in (
            (220, "eth_src", {option: NO_LLADDR}),
            (200, option, {}),
        ):
            steps = (Move(ip, CLAIMED_IP), Move(source, CLAIMED_LLADDR, bits=48))
            match = nd(kind, ip_ttl=HOP_LIMIT, **fields)
            note = f"what a {name} claims"
            if kind == SOLICITATION:
                yield flow(table, priority, match, *steps, onward, note=note)
            else:
                yield from advertised(table, priority, fields, steps, onward)


def advertised(
    table: int,
    priority: int,
    fields: dict[str, str],
    steps: tuple[Action, ...],
    onward: GotoTable,
) -> Iterator[Flow]:
    host = SetField(ROLE, str(SAYS_HOST))
    router = SetField(ROLE, str(SAYS_ROUTER))
    match = nd(ADVERTISEMENT, ip_ttl=HOP_LIMIT, **fields)
    note = "what an advertisement claims"
    yield flow(table, priority, match, *steps, host, onward, note=f"{note}: a host")
    for flags in ROUTERS:
        yield flow(
            table,
            priority + 10,
            nd(ADVERTISEMENT, ip_ttl=HOP_LIMIT, nd_reserved=hex(flags), **fields),
            *steps,
            router,
            onward,
            note=f"{note}: a router",
        )
