"""Flows of ports that are guarded, for IPv6: the counterpart of `flows.enforce`.

    guard     packets: whose source address is somebody else's
    nd_guard  router advertisements and redirects: only from routers
    nd_known  neighbor discovery: who says that it has somebody else's address

An address that nobody holds may be taken, as stateless configuration (RFC 4862) and
temporary addresses (RFC 8981) need it: duplicate address detection passes, and what is
sent from the address after it.  Only an advertisement of it goes to the controller and
no further, at a port that is enforced on: else it would end the detection of others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import lru_cache
from ipaddress import IPv6Address
from itertools import product

from flows.dispute import is_accepted
from flows.enforce import LEVEL, closed_ports, guarded_match, made, refusal
from flows.fields import words
from flows.nd_guard import (
    HOP_LIMIT,
    ICMPV6,
    KINDS,
    ROLE,
    SAYS_HOST,
    SAYS_ROUTER,
    SOLICITATION,
)
from flows.nd_known import IP_WORDS, LLADDR_WORDS
from flows.openflow import (
    ETH_IPV6,
    TELL,
    Action,
    Flow,
    GotoTable,
    flow,
    oxm,
)
from flows.parties import Holder
from flows.switch import ANSWERS, DOMAIN, GUARDED, Here, Switch
from flows.trust import ANYBODY, Closed, Mode
from flows.view import Port

ROUTERS_ONLY = ((134, "router advertisement"), (137, "redirect"))  # RFC 4861, 4.2, 4.5
NOBODY = "::"


def claimed(ip: IPv6Address, lladdr: str = "") -> dict[str, str]:
    """What the registers hold if somebody says that it has this address."""
    found = dict(zip(IP_WORDS, map(hex, words(int(ip))), strict=True))
    if lladdr:
        octets = lladdr.replace(":", "")
        low = (hex(int(part, 16)) for part in (octets[:4], octets[4:]))
        found |= zip(LLADDR_WORDS, low, strict=True)
    return found


# --- packets, in the table `guard` ----------------------------------------------------


def packets(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("nd_guard")
    yield from of_shared(switch, t, onward)
    yield from looked_at(t, onward)
    for mode in switch.levels:
        yield from hidden(t, mode, onward)
        yield from harmless(t, mode, onward)
        for vlan, ip, lladdr in configured(switch):
            yield not_from(t, mode, vlan, ip, lladdr, onward)
            who = {GUARDED: LEVEL[mode], "eth_src": lladdr, DOMAIN: vlan}
            yield may_send(t, 188, lladdr, ip, onward, **who)
    for port, mode, vlan, closed in closed_ports(switch):
        for ip, lladdr in listed(switch, vlan, closed):
            who = {"in_port": port.port_no, "eth_src": lladdr, DOMAIN: vlan}
            yield may_send(t, 190, lladdr, ip, onward, **who)
        yield from unlisted_packets(t, port, mode, vlan, closed, onward)


def packets_of(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    """Who may send from this address, and who may not."""
    ip, vlan = holder.ip, holder.domain.vlan
    if not switch.levels or not isinstance(ip, IPv6Address):
        return
    t, onward = here.table_id, here.goto("nd_guard")
    for port_no, lladdr in owners(switch, holder):
        who = {"in_port": port_no, "eth_src": lladdr, DOMAIN: vlan}
        yield may_send(t, 190, lladdr, ip, onward, **who)
    for mode in refused_levels(switch, holder):
        yield not_from(t, mode, vlan, ip, holder.winner.lladdr, onward)


def of_shared(switch: Switch, table: int, onward: GotoTable) -> Iterator[Flow]:
    """A router sends VRRP from the link-layer address that it shares, and from an IP
    address of its own (RFC 9568, 7.2)."""
    trust = switch.network.trust
    for (vlan, lladdr), mode in product(sorted(trust.given), switch.levels):
        if trust.is_shared(vlan, lladdr):
            about = {"eth_src": lladdr, DOMAIN: vlan, "eth_type": ETH_IPV6}
            yield made(
                table,
                195,
                guarded_match(mode, **about),
                onward,
                note=f"routers share {lladdr}, and send from their own addresses",
                subject=lladdr,
            )


def hidden(table: int, mode: Mode, onward: GotoTable) -> Iterator[Flow]:
    """The switch does not read the type of a fragment.  All neighbor discovery has the
    hop limit 255, and hardly anything else."""
    about = {"eth_type": ETH_IPV6}
    fragment = {"ip_proto": ICMPV6, "ip_frag": "first", "ip_ttl": HOP_LIMIT}
    for fields, why in (
        (fragment, "neighbor discovery is never sent in fragments (RFC 6980)"),
        ({"ip_proto": 0}, "its IPv6 headers do not end in this packet (RFC 7112)"),
    ):
        yield refusal(table, 300, mode, onward, why, None, **about, **fields)


def harmless(table: int, mode: Mode, onward: GotoTable) -> Iterator[Flow]:
    solicitation = {"ip_proto": ICMPV6, "icmpv6_type": SOLICITATION}
    yield made(
        table,
        192,
        guarded_match(mode, eth_type=ETH_IPV6, **solicitation),
        onward,
        note="what a neighbor solicitation claims is looked at later",
    )
    yield made(
        table,
        175,
        guarded_match(mode, eth_type=ETH_IPV6, ipv6_src=NOBODY),
        onward,
        note="who has no address yet claims none",
    )
    yield made(
        table,
        50,
        guarded_match(mode, eth_type=ETH_IPV6),
        onward,
        note="nobody holds the address that it comes from",
    )


@lru_cache(maxsize=1 << 10)
def may_send(
    table: int,
    priority: int,
    lladdr: str,
    ip: IPv6Address,
    onward: GotoTable,
    **who: object,
) -> Flow:
    match = oxm(**who, eth_type=ETH_IPV6, ipv6_src=ip)
    note = f"{lladdr} may send from {ip}"
    return flow(table, priority, match, onward, note=note, subject=ip)


def not_from(
    table: int, mode: Mode, vlan: int, ip: IPv6Address, lladdr: str, onward: GotoTable
) -> Flow:
    about = {"eth_type": ETH_IPV6, "ipv6_src": ip, DOMAIN: vlan}
    return refusal(table, 180, mode, onward, f"{ip} is {lladdr}'s", ip, **about)


def unlisted_packets(
    table: int, port: Port, mode: Mode, vlan: int, closed: Closed, onward: GotoTable
) -> Iterator[Flow]:
    why = f"the kernel lists no such address behind port {port.port_no}"
    where = {"in_port": port.port_no, DOMAIN: vlan, "eth_type": ETH_IPV6}
    for net in closed.subnets:
        if net.version == 6:
            match = {**where, "ipv6_src": net}
            yield refusal(table, 165, mode, onward, why, port.port_no, **match)


# --- routers, in the table `nd_guard` -------------------------------------------------


def routing(switch: Switch, here: Here) -> Iterator[Flow]:
    """Who is no router may not say that it is one, nor show other ways.  Hosts believe
    both of anybody (RFC 6104)."""
    t, onward = here.table_id, here.goto(ANSWERS)
    for mode in switch.levels:
        yield from ordinary(t, mode, onward)
    for kind, name in ROUTERS_ONLY:
        about = about_routing(kind)
        for at, lladdr in sorted(switch.network.trust.routers):
            if switch.here(at):
                who = {} if lladdr == ANYBODY else {"eth_src": lladdr}
                yield made(
                    t,
                    320,
                    oxm(in_port=at.port_no, **who, **about),
                    onward,
                    note=f"a {name}: there is a router behind port {at.port_no}",
                    subject=at.port_no,
                )
        for mode in switch.levels:
            yield refusal(
                t, 310, mode, onward, f"a {name} of who is no router", None, **about
            )
        yield made(
            t,
            290,
            oxm(**about),
            TELL,
            onward,
            note=f"a {name} of who is not known as a router: tell the controller",
        )


def routing_of(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    """Where nobody guards: a router that is known as one is no news.  It says so from
    its link-local address (RFC 4861, 6.1.2 and 8.1)."""
    if not (isinstance(holder.ip, IPv6Address) and holder.ip.is_link_local):
        return
    for one in switch.candidates_here(holder):
        for kind, name in ROUTERS_ONLY if one.router else ():
            who: dict[str, Hashable] = {
                "in_port": one.port.port_no,
                "eth_src": one.lladdr,
                "ipv6_src": holder.ip,
                DOMAIN: holder.domain.vlan,
            }
            yield made(
                here.table_id,
                295,
                oxm(**who, **about_routing(kind)),
                here.goto(ANSWERS),
                note=f"a {name} of {one.lladdr}, which is a router",
                subject=holder.ip,
            )


def about_routing(kind: int) -> dict[str, Hashable]:
    return {"eth_type": ETH_IPV6, "ip_proto": ICMPV6, "icmpv6_type": kind}


def looked_at(table: int, onward: GotoTable) -> Iterator[Flow]:
    """For the table before, where the port is not guarded."""
    for kind, name in ROUTERS_ONLY:
        yield made(
            table,
            60,
            oxm(**about_routing(kind)),
            onward,
            note=f"a {name} is looked at by its guard",
        )


def ordinary(table: int, mode: Mode, onward: GotoTable) -> Iterator[Flow]:
    """What came by a guarded port and is no neighbor discovery."""
    for kind, _, name in KINDS:
        yield made(
            table,
            20,
            guarded_match(mode, eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind),
            note=f"drop {name}: a router has passed it on, or it has a code",
        )
    yield made(
        table,
        10,
        guarded_match(mode, eth_type=ETH_IPV6),
        onward,
        note="no neighbor discovery",
    )


# --- neighbor discovery, in the table `nd_known` --------------------------------------


def claims(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto(ANSWERS)
    for mode in switch.levels:
        for vlan, ip, lladdr in configured(switch):
            yield foreign(t, mode, vlan, ip, lladdr, onward)
            who = {GUARDED: LEVEL[mode], "eth_src": lladdr, DOMAIN: vlan}
            yield vouched(t, 188, who, ip, lladdr, (TELL,), onward)
    if Mode.ENFORCE in switch.levels:
        yield from held_back(t, onward)
    for port, mode, vlan, closed in closed_ports(switch):
        for ip, lladdr in listed(switch, vlan, closed):
            who = {"in_port": port.port_no, "eth_src": lladdr, DOMAIN: vlan}
            yield vouched(t, 190, who, ip, lladdr, (), onward)
        yield refusal(
            t,
            165,
            mode,
            onward,
            f"the kernel lists no such address behind port {port.port_no}",
            port.port_no,
            in_port=port.port_no,
            **{DOMAIN: vlan},
        )


def claims_of(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    """Who may say that it has this address, beside those who say so as ever."""
    ip, vlan = holder.ip, holder.domain.vlan
    if not switch.levels or not isinstance(ip, IPv6Address):
        return
    t, onward = here.table_id, here.goto(ANSWERS)
    for port_no, lladdr in owners(switch, holder):
        who = {"in_port": port_no, "eth_src": lladdr, DOMAIN: vlan}
        yield vouched(t, 190, who, ip, lladdr, (TELL,), onward)
    for mode in refused_levels(switch, holder):
        yield foreign(t, mode, vlan, ip, holder.winner.lladdr, onward)


@lru_cache(maxsize=1 << 10)
def foreign(
    table: int, mode: Mode, vlan: int, ip: IPv6Address, lladdr: str, onward: GotoTable
) -> Flow:
    about = {DOMAIN: vlan, **claimed(ip)}
    return refusal(table, 180, mode, onward, f"{ip} is {lladdr}'s", ip, **about)


def vouched(
    table: int,
    priority: int,
    who: dict[str, object],
    ip: IPv6Address,
    lladdr: str,
    news: tuple[Action, ...],
    onward: GotoTable,
) -> Flow:
    return made(
        table,
        priority,
        oxm(**who, **claimed(ip, lladdr)),
        *news,
        onward,
        note=f"{lladdr} may say that it has {ip}",
        subject=ip,
    )


def held_back(table: int, onward: GotoTable) -> Iterator[Flow]:
    """Whoever is new is believed by the controller, unless somebody else is about to
    take the address; then its next advertisement passes."""
    for role in (SAYS_HOST, SAYS_ROUTER):
        yield refusal(
            table,
            160,
            Mode.ENFORCE,
            onward,
            "an advertisement of what nobody holds has to be judged first",
            None,
            **{ROLE: hex(role)},
        )


# --- who -----------------------------------------------------------------------------


def owners(switch: Switch, holder: Holder) -> Iterator[tuple[int, str]]:
    """(port_no, link-layer address) of who holds it at a guarded port of ours."""
    trust = switch.network.trust
    for candidate in switch.candidates_here(holder):
        if candidate.port in trust.modes and is_accepted(trust, holder, candidate):
            yield candidate.port.port_no, candidate.lladdr


def refused_levels(switch: Switch, holder: Holder) -> tuple[Mode, ...]:
    """Where others may not say so.  The operator's word has flows of its own."""
    key = (holder.domain.vlan, holder.ip)
    is_configured = key in switch.network.trust.configured
    return switch.levels if holder.winner.vouched and not is_configured else ()


def listed(
    switch: Switch, vlan: int, closed: Closed
) -> Iterator[tuple[IPv6Address, str]]:
    """Addresses that nobody holds yet, or of another interface of the namespace."""
    domain, network = switch.network.domain(switch.datapath_id, vlan), switch.network
    for ip, lladdr in product(closed.ipv6, sorted(closed.lladdrs)):
        is_configured = (vlan, ip) in network.trust.configured
        if (domain, ip) in network.unheld and not is_configured:
            yield ip, lladdr


def configured(switch: Switch) -> Iterator[tuple[int, IPv6Address, str]]:
    for (vlan, ip), lladdr in switch.network.trust.configured.items():
        if isinstance(ip, IPv6Address):
            yield vlan, ip, lladdr
