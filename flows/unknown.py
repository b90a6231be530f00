"""Ask everybody for an address that nobody is known to hold, within bounds.

A port may cause so many such questions a second, and the controller is told of each
that goes out.  While one is out, the controller holds back what others ask for the same
address (a flow of a second, `held`): they are answered when the holder is known.  What
did not answer many times is sponged: nobody is asked for it for a while (`sponge`).

A probe (RFC 5227) and duplicate address detection (RFC 4862) ask whether an address is
free: they pass, within a budget of their own, and so does an announcement.

A switch without meters asks everybody as often as it is asked, and tells nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from flows.budgets import NO_PORT, Budget, meter_id
from flows.nd_guard import ICMPV6, SOLICITATION
from flows.openflow import (
    CONTROLLER,
    ETH_ARP,
    ETH_IPV6,
    TELL,
    Flow,
    GotoTable,
    Match,
    Metered,
    Output,
    flow,
    oxm,
)
from flows.switch import DOMAIN, Here, Switch
from flows.view import IPAddress

HELD = 1  # seconds, in which one question stands for all (RFC 1122, 2.3.2.1)
LONGEST = 120  # seconds, after which a switch without its controller forgets a sponge

PROBES = (
    ("a probe", oxm(eth_type=ETH_ARP, arp_spa="0.0.0.0")),
    ("duplicate address detection", oxm(eth_type=ETH_IPV6, ipv6_src="::")),
)


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("forward")
    for port_no in switch.uplinks:
        yield flow(
            t,
            300,
            oxm(in_port=port_no),
            onward,
            note=f"port {port_no} leads to another switch, which has counted it",
            subject=port_no,
        )
    if not switch.has_meters:
        yield flow(t, 0, oxm(), onward, note="ask everybody; there are no meters here")
        return
    for port_no in switch.edges:
        yield from of_port(t, port_no, onward)
    for row in switch.sponges:
        yield from sponge(t, row.vlan, row.ip, onward)
    yield flow(
        t,
        0,
        oxm(),
        Metered(meter_id(NO_PORT, Budget.UNKNOWN)),
        onward,
        note="ask everybody, for a port that the controller does not know yet",
    )


@lru_cache(maxsize=1 << 12)
def of_port(table: int, port_no: int, onward: GotoTable) -> tuple[Flow, ...]:
    return (
        *(
            flow(
                table,
                260,
                oxm(in_port=port_no, **dict(match)),
                Metered(meter_id(port_no, Budget.PROBES)),
                onward,
                note=f"{what} from port {port_no}, within its budget",
                subject=port_no,
            )
            for what, match in PROBES
        ),
        question(table, 100, oxm(in_port=port_no), port_no, onward),
    )


def question(
    table: int, priority: int, match: Match, port_no: int, onward: GotoTable
) -> Flow:
    return flow(
        table,
        priority,
        match,
        Metered(meter_id(port_no, Budget.UNKNOWN)),
        Output(CONTROLLER),
        onward,
        note=f"nobody is known to hold it: ask everybody, for port {port_no},"
        " within its budget, and tell the controller",
        subject=port_no,
    )


# --- one target -----------------------------------------------------------------------


@lru_cache(maxsize=1 << 10)
def sponge(table: int, vlan: int, ip: IPAddress, onward: GotoTable) -> tuple[Flow, ...]:
    """A switch that has lost its controller does not keep it for ever."""
    return (
        *announcements(table, vlan, ip, onward, LONGEST),
        flow(
            table,
            200,
            target(vlan, ip),
            note=f"drop: {ip} did not answer many questions",
            subject=ip,
            timeout=LONGEST,
        ),
    )


def held(table: int, vlan: int, ip: IPAddress, onward: GotoTable) -> tuple[Flow, ...]:
    """Flows that the switch removes by itself."""
    return (
        *announcements(table, vlan, ip, onward, HELD),
        flow(
            table,
            190,
            target(vlan, ip),
            TELL,
            note=f"{ip} is being asked for: hold the question back, and tell of it",
            subject=ip,
            timeout=HELD,
        ),
    )


def announcements(
    table: int, vlan: int, ip: IPAddress, onward: GotoTable, timeout: int
) -> tuple[Flow, ...]:
    """In IPv6 they are no questions."""
    if not isinstance(ip, IPv4Address):
        return ()
    return (
        flow(
            table,
            210,
            oxm(eth_type=ETH_ARP, arp_spa=ip, arp_tpa=ip, **{DOMAIN: vlan}),
            onward,
            note=f"an announcement of {ip}: let everybody hear it",
            subject=ip,
            timeout=timeout,
        ),
    )


def target(vlan: int, ip: IPAddress) -> Match:
    if isinstance(ip, IPv4Address):
        return oxm(eth_type=ETH_ARP, arp_tpa=ip, **{DOMAIN: vlan})
    return oxm(
        eth_type=ETH_IPV6,
        ip_proto=ICMPV6,
        icmpv6_type=SOLICITATION,
        icmpv6_code=0,
        ipv6_nd_target=ip,
        **{DOMAIN: vlan},
    )
