"""Answer neighbor solicitations inside the switch (RFC 4861, 7.2.4).

A solicitation to the group of an address whose holder is known becomes its own
advertisement, and goes back where it came from, so that a VLAN tag stays.  A switch can
change options and add none: so the solicitation must bring an option with a link-layer
address, as 4.3 asks of it.  One that does not is left to the owner and the controller.

Never answered: the owner (its duplicate address detection would fail, RFC 4862, 5.4),
also where it has just moved to, and a unicast solicitation, which asks whether the
holder is alive (7.3.1) and must reach it.  Nor is anybody answered for of whom it is
not known whether it is a router: the wrong flag would make hosts drop their default
router (7.2.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address

from flows.nd_guard import ADVERTISEMENT, NO_LLADDR, SOLICITATION
from flows.nd_guard import nd as neighbor_discovery
from flows.openflow import (
    GROUP_BIT,
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
from flows.parties import Holder, Origin
from flows.proxy import OFF
from flows.switch import DOMAIN, KNOWN, Here, Switch

ALL_NODES = IPv6Address("ff02::1")
ALL_NODES_LLADDR = "33:33:00:00:00:01"  # RFC 2464, 7
SOLICITED_NODE = int(IPv6Address("ff02::1:ff00:0"))  # RFC 4291, 2.7.1
LAST_24 = (1 << 24) - 1

TARGET_LLADDR = 2  # type of option, RFC 4861, 4.6.1
OPTION, FLAGS = "reg13", "reg14"
ROUTER, SOLICITED, OVERRIDE = 1 << 31, 1 << 30, 1 << 29  # RFC 4861, 4.4


def solicited_node(ip: IPv6Address) -> IPv6Address:
    """The group that is asked for this address."""
    return IPv6Address(SOLICITED_NODE | int(ip) & LAST_24)


def is_solicited_node(group: IPv6Address) -> bool:
    return int(group) & ~LAST_24 == SOLICITED_NODE


def of_holder(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    ip, vlan, best = holder.ip, holder.domain.vlan, holder.winner
    if not isinstance(ip, IPv6Address) or not holder.answered:
        return
    t, onward, written = here.table_id, here.goto("forward"), here.goto("nd_answer")
    if not switch.rules.answers_as_host(vlan, ip):
        if switch.rules.mode(vlan, ip) == OFF:
            yield left_to_itself(t, vlan, ip, onward)
        return
    if best.router is not None:
        yield answer(t, vlan, ip, best.lladdr, best.router, written)
        yield defence(t, vlan, ip, best.lladdr, best.router, written)
        yield without_room(t, vlan, ip, onward)
    for candidate in switch.candidates_here(holder):
        yield owner(t, candidate.port.port_no, vlan, ip, onward)
    for candidate in holder.candidates:
        if candidate.origin is not Origin.KERNEL:  # the kernel tells where it is
            yield itself(t, vlan, ip, candidate.lladdr, onward)


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("forward")
    yield from unanswered(switch, t, here.goto("unknown"))
    yield flow(
        t,
        50,
        neighbor_discovery(SOLICITATION, eth_dst=f"{GROUP_BIT}/{GROUP_BIT}"),
        here.goto("unknown"),
        note="a solicitation to a group that we do not answer",
    )
    yield flow(t, 0, oxm(), onward, note="no solicitation that we answer")


def unanswered(switch: Switch, table: int, onward: GotoTable) -> Iterator[Flow]:
    yield flow(
        table,
        180,
        neighbor_discovery(SOLICITATION, ipv6_src="::", **{KNOWN: 1}),
        TELL,  # who is first shall have it, and who objects is told
        onward,
        note="nobody holds what is probed for, and the station is known",
    )
    for port_no in switch.full_ports:
        yield flow(
            table,
            170,
            neighbor_discovery(SOLICITATION, in_port=port_no, ipv6_src="::"),
            onward,
            note=f"port {port_no} has as many stations as are kept: learn no more",
            subject=port_no,
        )
    yield flow(
        table,
        160,
        neighbor_discovery(SOLICITATION, ipv6_src="::"),
        TELL,
        onward,
        note="nobody holds what is probed for: tell the controller of the station",
    )


@lru_cache(maxsize=1 << 10)
def left_to_itself(table: int, vlan: int, ip: IPv6Address, onward: GotoTable) -> Flow:
    return flow(
        table,
        100,
        asks_for(vlan, ip),
        onward,
        note=f"a rule leaves it to {ip} to answer",
        subject=ip,
    )


@lru_cache(maxsize=1 << 10)
def owner(
    table: int, port_no: int, vlan: int, ip: IPv6Address, onward: GotoTable
) -> Flow:
    return flow(
        table,
        300,
        neighbor_discovery(
            SOLICITATION, in_port=port_no, ipv6_nd_target=ip, **{DOMAIN: vlan}
        ),
        onward,
        note=f"who asks for {ip} from its own port {port_no} is never answered",
        subject=ip,
    )


@lru_cache(maxsize=1 << 10)
def itself(
    table: int, vlan: int, ip: IPv6Address, lladdr: str, onward: GotoTable
) -> Flow:
    return flow(
        table,
        300,
        neighbor_discovery(
            SOLICITATION, eth_src=lladdr, ipv6_nd_target=ip, **{DOMAIN: vlan}
        ),
        onward,
        note=f"{lladdr} asks for its own {ip}: it may have moved, and is not answered",
        subject=ip,
    )


@lru_cache(maxsize=1 << 10)
def without_room(table: int, vlan: int, ip: IPv6Address, onward: GotoTable) -> Flow:
    return flow(
        table,
        150,
        asks_for(vlan, ip, ipv6_nd_sll=NO_LLADDR),
        TELL,
        onward,
        note=f"who solicits {ip} without an option is answered by others: ask them",
        subject=ip,
    )


def asks_for(vlan: int, ip: IPv6Address, **fields: object) -> Match:
    return neighbor_discovery(
        SOLICITATION,
        eth_dst=f"{GROUP_BIT}/{GROUP_BIT}",
        ipv6_dst=solicited_node(ip),
        ipv6_nd_target=ip,
        **{DOMAIN: vlan},
        **fields,
    )


@lru_cache(maxsize=1 << 10)
def answer(
    table: int,
    vlan: int,
    ip: IPv6Address,
    lladdr: str,
    router: bool,
    written: GotoTable,
) -> Flow:
    return flow(
        table,
        100,
        asks_for(vlan, ip),
        Move("eth_src", "eth_dst"),
        Move("ipv6_src", "ipv6_dst"),
        *advertise(ip, lladdr, SOLICITED | OVERRIDE | (ROUTER if router else 0)),
        written,
        note=f"answer who solicits {ip}: it is at {lladdr}",
        subject=ip,
    )


@lru_cache(maxsize=1 << 10)
def defence(
    table: int,
    vlan: int,
    ip: IPv6Address,
    lladdr: str,
    router: bool,
    written: GotoTable,
) -> Flow:
    """Nobody has solicited it, so it is to all nodes, and without the flag S (7.2.4).

    Who has sent its probe without any option is answered by the controller, too.
    """
    return flow(
        table,
        200,
        asks_for(vlan, ip, ipv6_src="::"),
        TELL,
        SetField("eth_dst", ALL_NODES_LLADDR),
        SetField("ipv6_dst", str(ALL_NODES)),
        *advertise(ip, lladdr, OVERRIDE | (ROUTER if router else 0)),
        written,
        note=f"defend {ip} against who wants to take it: it is at {lladdr}",
        subject=ip,
    )


def advertise(ip: IPv6Address, lladdr: str, flags: int) -> tuple[Action, ...]:
    """By way of registers: where the datapath cannot write flags and options itself,
    Open vSwitch refuses to set these two fields to a value, and yet can move to them.
    """
    return (
        SetField("eth_src", lladdr),
        SetField("ipv6_src", str(ip)),
        *solicited(flags),
    )


def solicited(flags: int) -> tuple[Action, ...]:
    """What makes a solicitation an advertisement, whoever sends it."""
    return (
        SetField("icmpv6_type", str(ADVERTISEMENT)),
        SetField(OPTION, str(TARGET_LLADDR)),
        Move(OPTION, "nd_options_type", bits=8),
        SetField(FLAGS, hex(flags)),
        Move(FLAGS, "nd_reserved"),
    )
