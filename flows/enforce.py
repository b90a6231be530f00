"""Flows of ports that are guarded: what contradicts what is known goes no further.

The same question as `flows.dispute` answers for one packet, answered for all packets
that a switch may meet.  At a port that is enforced on, a contradiction goes to the
controller and nowhere else; at one that is watched, to the controller and on its way.
A probe says nothing (RFC 5227, 1.1) and passes, and so does who has no address yet.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache
from ipaddress import IPv4Address

from flows.dispute import is_accepted
from flows.openflow import (
    ETH_ARP,
    ETH_IPV4,
    TELL,
    Action,
    Flow,
    GotoTable,
    Match,
    Move,
    PopVlan,
    SetField,
    Subject,
    flow,
    oxm,
)
from flows.parties import Holder, Located
from flows.switch import ANSWERS, DOMAIN, GUARDED, KNOWN, TAGGED, Here, Switch
from flows.trust import Closed, Mode
from flows.view import Port, PortKey

LEVEL = {Mode.WATCH: 1, Mode.ENFORCE: 2}  # the register GUARDED
PRIORITY_TAGGED = "0x1000"  # of VLAN 0, which is none (IEEE 802.1Q, 9.6)
NOBODY = "0.0.0.0"

made = lru_cache(maxsize=1 << 10)(flow)  # with its cookie, for the next compilation


def marks(switch: Switch, here: Here) -> Iterator[Flow]:
    """For the first table: say of a frame that it came in by a guarded port."""
    for port, mode in switch.guarded:
        if port.key in switch.network.vlans:
            continue  # its frames are marked where they are sorted into VLANs
        mark = marked(mode)
        name, onward = f"port {port.port_no} is guarded ({mode})", here.goto("source")
        yield made(
            here.table_id,
            115,
            oxm(in_port=port.port_no, vlan_vid=PRIORITY_TAGGED),
            PopVlan(),
            mark,
            onward,
            note=f"{name}; a tag that tells a priority alone is of no VLAN",
            subject=port.port_no,
        )
        yield made(
            here.table_id,
            110,
            oxm(in_port=port.port_no, vlan_vid=TAGGED),
            Move("vlan_vid", DOMAIN, bits=12),
            mark,
            onward,
            note=f"{name}; a tagged frame belongs to the domain of its VLAN",
            subject=port.port_no,
        )
        yield made(
            here.table_id,
            90,
            oxm(in_port=port.port_no),
            mark,
            onward,
            note=name,
            subject=port.port_no,
        )


def mark(switch: Switch, port: Port) -> tuple[SetField, ...]:
    """The same of one port; nothing, if it is not guarded."""
    mode = switch.network.trust.modes.get(port.key)
    return (marked(mode),) if mode is not None else ()


def marked(mode: Mode) -> SetField:
    return SetField(GUARDED, str(LEVEL[mode]))


def strangers(switch: Switch, here: Here) -> Iterator[Flow]:
    """For the table of sources: who sends with somebody else's address."""
    onward = here.goto("guard")
    if Mode.WATCH in switch.levels:
        yield made(
            here.table_id,
            130,
            guarded_match(Mode.WATCH, eth_type=ETH_ARP),
            onward,
            note="ARP is looked at by the guard, which reports its sender, too",
        )
    for port, mode, vlan, _ in closed_ports(switch):
        yield from shared(switch, here.table_id, port, vlan, onward)
        yield refusal(
            here.table_id,
            110,
            mode,
            onward,
            f"the kernel shows who is behind port {port.port_no}, and no such station",
            port.port_no,
            in_port=port.port_no,
            **{DOMAIN: vlan},
        )


def stranger(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    """For the same table: who sends with this station's address, and is elsewhere."""
    if switch.network.trust.is_shared(where.domain.vlan, where.lladdr):
        return
    for mode in switch.levels:
        yield refusal(
            here.table_id,
            120,
            mode,
            here.goto("guard"),
            f"{where.lladdr} is known to be elsewhere",
            where.lladdr,
            eth_src=where.lladdr,
            **{DOMAIN: where.domain.vlan},
        )


def shared(
    switch: Switch, table: int, port: Port, vlan: int, onward: GotoTable
) -> Iterator[Flow]:
    trust = switch.network.trust
    for of_vlan, lladdr in sorted(trust.given):
        if of_vlan == vlan and trust.is_shared(vlan, lladdr):
            yield made(
                table,
                115,
                oxm(in_port=port.port_no, eth_src=lladdr, **{DOMAIN: vlan}),
                TELL,
                onward,
                note=f"routers share {lladdr}: it may come in by port {port.port_no}",
                subject=lladdr,
            )


def claims(switch: Switch, here: Here) -> Iterator[Flow]:
    """For the table of ARP: who says that it has somebody else's address."""
    if not switch.levels:
        return
    t, onward = here.table_id, here.goto(ANSWERS)
    yield from given(switch, t, onward)
    yield from packets_of_shared(switch, t, onward)
    for mode in switch.levels:
        for (vlan, ip), lladdr in switch.network.trust.configured.items():
            if isinstance(ip, IPv4Address):
                yield from foreign(t, mode, vlan, ip, lladdr, onward)
        yield from harmless(t, mode, onward)
        yield from confined(switch, t, mode, onward)
    for port, mode, vlan, closed in closed_ports(switch):
        yield from listed(switch, t, port, vlan, closed, onward)
        yield from unlisted(t, port, mode, vlan, closed, onward)


def claims_of(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    """For the same table: who may say that it has this address, and who may not."""
    if not switch.levels or not isinstance(holder.ip, IPv4Address):
        return
    t, vlan, onward = here.table_id, holder.domain.vlan, here.goto(ANSWERS)
    yield from held(switch, t, holder, holder.ip, onward)
    is_configured = (vlan, holder.ip) in switch.network.trust.configured
    if holder.winner.vouched and not is_configured:
        for mode in switch.levels:
            lladdr = holder.winner.lladdr
            yield from foreign(t, mode, vlan, holder.ip, lladdr, onward)


def may_pass(switch: Switch, holder: Holder, port: PortKey, lladdr: str) -> bool:
    """Whether a binding passes a port in silence.  Where nobody guards, all do."""
    ours = switch.rules.gateway(holder.domain.vlan, holder.ip)
    if ours is not None and ours.lladdr != lladdr:
        return False
    if port not in switch.network.trust.modes:
        return True
    return any(
        (c.port, c.lladdr) == (port, lladdr)
        and is_accepted(switch.network.trust, holder, c)
        for c in holder.candidates
    )


# --- what passes --------------------------------------------------------------------


def given(switch: Switch, table: int, onward: GotoTable) -> Iterator[Flow]:
    """Who holds an address by the operator's word may say so before it is known where
    it is, and shared addresses of routers from everywhere."""
    trust = switch.network.trust
    for (vlan, ip), lladdr in trust.configured.items():
        domain = switch.network.domain(switch.datapath_id, vlan)
        is_known = (domain, lladdr) in switch.network.placed
        if not isinstance(ip, IPv4Address):
            continue
        if is_known and not trust.is_shared(vlan, lladdr):
            continue
        for level in switch.levels:
            where = {GUARDED: LEVEL[level], "eth_src": lladdr, DOMAIN: vlan}
            yield from vouched(table, where, lladdr, ip, (TELL,), onward)


def packets_of_shared(switch: Switch, table: int, onward: GotoTable) -> Iterator[Flow]:
    """A router sends its VRRP advertisements from the address that it shares, and from
    an IP address of its own (RFC 9568, 7.2)."""
    trust = switch.network.trust
    for vlan, lladdr in sorted(trust.given):
        if trust.is_shared(vlan, lladdr):
            for mode in switch.levels:
                about = {"eth_src": lladdr, DOMAIN: vlan, "eth_type": ETH_IPV4}
                yield made(
                    table,
                    195,
                    guarded_match(mode, **about),
                    onward,
                    note=f"routers share {lladdr}, and send from their own addresses",
                    subject=lladdr,
                )


def held(
    switch: Switch, table: int, holder: Holder, ip: IPv4Address, onward: GotoTable
) -> Iterator[Flow]:
    """IPv4 packets of who holds their source address; its ARP passes by `known`."""
    trust = switch.network.trust
    for candidate in switch.candidates_here(holder):
        if candidate.port in trust.modes and is_accepted(trust, holder, candidate):
            where: dict[str, Hashable] = {
                "in_port": candidate.port.port_no,
                DOMAIN: holder.domain.vlan,
                "eth_src": candidate.lladdr,
            }
            yield packet(table, candidate.lladdr, ip, onward, **where)


def listed(
    switch: Switch,
    table: int,
    port: Port,
    vlan: int,
    closed: Closed,
    onward: GotoTable,
) -> Iterator[Flow]:
    """Addresses of other interfaces of a namespace, which Linux speaks with, too."""
    domain = switch.network.domain(switch.datapath_id, vlan)
    for ip in closed.ipv4:
        is_configured = (vlan, ip) in switch.network.trust.configured
        if (domain, ip) in switch.network.unheld and not is_configured:
            for lladdr in sorted(closed.lladdrs):
                where = {"in_port": port.port_no, "eth_src": lladdr, DOMAIN: vlan}
                yield from vouched(table, where, lladdr, ip, (), onward)


def vouched(
    table: int,
    where: dict[str, Hashable],
    lladdr: str,
    ip: IPv4Address,
    news: tuple[Action, ...],
    onward: GotoTable,
) -> Iterator[Flow]:
    yield made(
        table,
        190,
        oxm(**where, eth_type=ETH_ARP, arp_spa=ip, arp_sha=lladdr),
        *news,
        onward,
        note=f"{lladdr} may say that it has {ip}",
        subject=ip,
    )
    yield packet(table, lladdr, ip, onward, **where)


@lru_cache(maxsize=1 << 10)
def packet(
    table: int, lladdr: str, ip: IPv4Address, onward: GotoTable, **where: object
) -> Flow:
    return flow(
        table,
        190,
        oxm(**where, eth_type=ETH_IPV4, ipv4_src=ip),
        onward,
        note=f"{lladdr} may send from {ip}",
        subject=ip,
    )


def harmless(table: int, mode: Mode, onward: GotoTable) -> Iterator[Flow]:
    yield made(
        table,
        175,
        guarded_match(mode, eth_type=ETH_ARP, arp_op=1, arp_spa=NOBODY, **{KNOWN: 1}),
        onward,
        note="a probe claims no address (RFC 5227), and its station is known",
    )
    yield made(
        table,
        174,
        guarded_match(mode, eth_type=ETH_ARP, arp_op=1, arp_spa=NOBODY),
        TELL,
        onward,
        note="a probe of a new station: tell the controller, and go on at once",
    )
    yield made(
        table,
        175,
        guarded_match(mode, eth_type=ETH_IPV4, ipv4_src=NOBODY),
        onward,
        note="who has no address yet asks for one (DHCP)",
    )


# --- what does not ------------------------------------------------------------------


def foreign(
    table: int, mode: Mode, vlan: int, ip: IPv4Address, lladdr: str, onward: GotoTable
) -> Iterator[Flow]:
    """An address that somebody holds: whoever does passes by a flow above."""
    about, why = {DOMAIN: vlan}, f"{ip} is {lladdr}'s"
    yield refusal(
        table, 180, mode, onward, why, ip, eth_type=ETH_ARP, arp_spa=ip, **about
    )
    yield refusal(
        table, 180, mode, onward, why, ip, eth_type=ETH_IPV4, ipv4_src=ip, **about
    )


def confined(
    switch: Switch, table: int, mode: Mode, onward: GotoTable
) -> Iterator[Flow]:
    """A station to which the operator has given addresses says nothing of others."""
    trust = switch.network.trust
    for vlan, lladdr in sorted(trust.given):
        if not trust.is_confined(vlan, lladdr):
            continue
        yield refusal(
            table,
            170,
            mode,
            onward,
            f"the configuration gives {lladdr} other addresses",
            lladdr,
            eth_src=lladdr,
            eth_type=ETH_ARP,
            **{DOMAIN: vlan},
        )


def unlisted(
    table: int, port: Port, mode: Mode, vlan: int, closed: Closed, onward: GotoTable
) -> Iterator[Flow]:
    where = {"in_port": port.port_no, DOMAIN: vlan}
    why = f"the kernel lists no such address behind port {port.port_no}"
    yield refusal(
        table, 165, mode, onward, why, port.port_no, eth_type=ETH_ARP, **where
    )
    for subnet in closed.subnets:
        if subnet.version == 4:
            yield refusal(
                table,
                165,
                mode,
                onward,
                why,
                port.port_no,
                eth_type=ETH_IPV4,
                ipv4_src=subnet,
                **where,
            )


@lru_cache(maxsize=1 << 10)
def refusal(
    table: int,
    priority: int,
    mode: Mode,
    onward: GotoTable,
    why: str,
    subject: Subject,
    **fields: object,
) -> Flow:
    """Its packet_count is how often this was tried."""
    told = TELL
    is_over = mode is Mode.ENFORCE
    return flow(
        table,
        priority,
        guarded_match(mode, **fields),
        *((told,) if is_over else (told, onward)),
        note=f"{'drop and report' if is_over else 'report'}: {why}",
        subject=subject,
    )


def guarded_match(mode: Mode, **fields: object) -> Match:
    return oxm(**fields, **{GUARDED: LEVEL[mode]})


def closed_ports(switch: Switch) -> Iterator[tuple[Port, Mode, int, Closed]]:
    """With the VLAN of what comes in untagged: of other VLANs nothing is closed."""
    closed = switch.network.trust.closed
    for port, mode in switch.guarded:
        vlan = switch.membership(port.key).pvid
        if port.key in closed and vlan is not None:
            yield port, mode, vlan, closed[port.key]
