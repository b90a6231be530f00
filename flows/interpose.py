"""Lead what concerns a protected range through a firewall (RFC 1027's oldest use).

Who is on one side and asks for the other is told the firewall's hardware address, as
long as the firewall is there.  What is sent to the other side all the same, because a
cache is stale or somebody knows better, is led to the firewall, too: an address decides
on which side somebody is, not a port and not what was answered.  The firewall itself is
answered with the owners' own addresses, and what it sends passes.

Where the firewall is not there, nothing crosses; or, if the rule says so, everything.
Broadcast and multicast other than questions belong to both sides.  What no router
passes on (IPv6 between link-local addresses) would cross unseen: only neighbor and
router discovery and DHCPv6 do.  A router is known by its link-local address: who asks
for that is told the router's own, and that it is one (RFC 4861, 7.2.5), and what it
then sends across is led to the firewall all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from flows.guard import REPLY, REQUEST
from flows.nd import OVERRIDE, SOLICITED, solicited
from flows.nd_guard import (
    ADVERTISEMENT,
    GROUPS,
    ICMPV6,
    NO_LLADDR,
    SOLICITATION,
    nd,
)
from flows.openflow import (
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
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
from flows.parties import Domain, Middle
from flows.proxy import HOST, INTERPOSE, OFF, inside, of_vlan
from flows.switch import DOMAIN, SIDE, Here, Switch
from flows.view import IPAddress, IPNetwork, Proxy

CROSSES = "0xffff"  # the register SIDE: from one side to another
SPARE = "reg13"  # for what changes places
LINK_LOCAL = "fe80::/10"
GROUPS4 = ("224.0.0.0/4", "255.255.255.255")
DISCOVERY = (133, 134, 137)  # router solicitation, advertisement, redirect (RFC 4861)
UDP, DHCPV6 = 17, (546, 547)  # RFC 8415, 7.2


@dataclass(frozen=True, slots=True)
class Scope:
    """A prefix, and on which side its addresses are: 0 is the outside.

    The longest prefix decides.  A rule of another mode inside a protected range takes
    its addresses out of it.
    """

    prefix: IPNetwork | None
    side: int

    @property
    def length(self) -> int:
        return self.prefix.prefixlen if self.prefix else 0

    def match(self, field: str) -> dict[str, object]:
        return {field: self.prefix} if self.prefix else {}


OUTSIDE = Scope(None, 0)


@dataclass(frozen=True, slots=True)
class Wall:
    """The sides of one domain, and who stands between.

    rule    the first of those that name the firewall
    scopes  for IPv4 and IPv6; none if nothing of it is protected
    """

    vlan: int
    rule: Proxy
    firewall: Middle
    v4: tuple[Scope, ...]
    v6: tuple[Scope, ...]

    def side(self, ip: IPAddress) -> int:
        scopes = self.v4 if isinstance(ip, IPv4Address) else self.v6
        around = [one for one in scopes if one.prefix is None or ip in one.prefix]
        return max(around, key=lambda one: one.length, default=OUTSIDE).side

    @property
    def is_open(self) -> bool:
        return bool(self.firewall.missing) and not self.rule.closed


def walls(switch: Switch) -> Iterator[Wall]:
    """Those that are closed, or have their firewall."""
    rules = (row for row in switch.rules.rows if row.mode == INTERPOSE)
    for vlan in sorted({rule.vlan or 0 for rule in rules}):
        found = wall(switch, vlan)
        if found is not None and not found.is_open:
            yield found


def wall(switch: Switch, vlan: int) -> Wall | None:
    rules = (of_vlan(table, vlan) for table in switch.rules.by_prefix.values())
    here = [rule for rule in rules if rule is not None and rule.prefix is not None]
    protected = [rule for rule in here if rule.mode == INTERPOSE]
    if not protected:
        return None
    firewall = switch.network.middle(protected[0], Domain(switch.island, vlan))
    sides = {rule: number for number, rule in enumerate(protected, 1)}
    scopes = [
        Scope(rule.prefix, sides.get(rule, 0))
        for rule in here
        if rule in sides
        or (rule.mode in (HOST, OFF) and any(inside(rule, one) for one in protected))
    ]
    return Wall(
        vlan, protected[0], firewall, of_version(scopes, 4), of_version(scopes, 6)
    )


def of_version(scopes: list[Scope], version: int) -> tuple[Scope, ...]:
    found = [one for one in scopes if one.prefix and one.prefix.version == version]
    return (OUTSIDE, *found) if found else ()


# --- the table that marks -----------------------------------------------------------


def marks(switch: Switch, here: Here) -> Iterator[Flow]:
    for one in walls(switch):
        yield from firewalls_own(switch, here, one)
        marked = Marks(here.table_id, one.vlan, here.goto("gateway"))
        if one.v4:
            yield from marked.ipv4(one.v4)
        if one.v6:
            yield from marked.ipv6(one.v6)


def firewalls_own(switch: Switch, here: Here, wall: Wall) -> Iterator[Flow]:
    lladdr, port, t = wall.firewall.lladdr, wall.firewall.port, here.table_id
    if port is None:
        return
    entries = (port.port_no,) if switch.here(port) else switch.uplinks
    for in_port in entries:
        yield flow(
            t,
            2000,
            oxm(in_port=in_port, eth_src=lladdr, **{DOMAIN: wall.vlan}),
            here.goto("gateway"),
            note=f"{lladdr} is the firewall: what it sends has been filtered",
            subject=lladdr,
        )
    for priority, match in to_firewall(eth_dst=lladdr, **{DOMAIN: wall.vlan}):
        yield flow(
            t,
            priority,
            match,
            here.goto("gateway"),
            note=f"on its way to the firewall, {lladdr}",
            subject=lladdr,
        )


def to_firewall(**at: object) -> Iterator[tuple[int, Match]]:
    """All but questions: whether somebody across is still reached through the firewall
    (RFC 1122, 2.3.2.1; RFC 4861, 7.3.1) it could not tell itself."""
    yield 1990, oxm(eth_type=ETH_IPV4, **at)
    yield 1990, oxm(eth_type=ETH_ARP, arp_op=REPLY, **at)
    yield 1990, nd(ADVERTISEMENT, **at)
    yield 1585, oxm(eth_type=ETH_IPV6, **at)


@dataclass(frozen=True, slots=True)
class Marks:
    """Flows of one domain that mark what crosses from one side to the other."""

    table: int
    vlan: int
    onward: GotoTable

    def ipv4(self, scopes: tuple[Scope, ...]) -> Iterator[Flow]:
        at = {DOMAIN: self.vlan}
        probe = oxm(eth_type=ETH_ARP, arp_op=REQUEST, arp_spa="0.0.0.0", **at)
        yield self.passes(1500, probe, "a probe asks for an owner, wherever it is")
        for group in GROUPS4:
            match = oxm(eth_type=ETH_IPV4, ipv4_dst=group, **at)
            yield self.passes(1500, match, "both sides hear broadcasts and groups")
        arp = oxm(eth_type=ETH_ARP, **at)
        ip = oxm(eth_type=ETH_IPV4, **at)
        yield from self.pairs(1000, scopes, arp, "arp_spa", "arp_tpa")
        yield from self.pairs(1000, scopes, ip, "ipv4_src", "ipv4_dst")

    def ipv6(self, scopes: tuple[Scope, ...]) -> Iterator[Flow]:
        at = {DOMAIN: self.vlan}
        probe = nd(SOLICITATION, ipv6_src="::", **at)
        yield self.passes(1900, probe, "a probe asks for an owner, wherever it is")
        told = nd(ADVERTISEMENT, ipv6_dst=GROUPS, **at)
        yield self.passes(1890, told, "both sides hear what is told to a group")
        for kind in (SOLICITATION, ADVERTISEMENT):
            match = nd(kind, ipv6_nd_target=LINK_LOCAL, **at)
            yield self.passes(1880, match, "a link-local address is on neither side")
        asks, says = nd(SOLICITATION, **at), nd(ADVERTISEMENT, **at)
        yield from self.pairs(1600, scopes, asks, "ipv6_src", "ipv6_nd_target")
        yield from self.pairs(1600, scopes, says, "ipv6_nd_target", "ipv6_dst")
        for match in (asks, says):
            yield self.passes(1590, match, "neighbor discovery of one side")
        for kind in DISCOVERY:
            match = oxm(eth_type=ETH_IPV6, ip_proto=ICMPV6, icmpv6_type=kind, **at)
            yield self.passes(1580, match, "router discovery concerns both sides")
        match = oxm(eth_type=ETH_IPV6, ipv6_dst=GROUPS, **at)
        yield self.passes(1550, match, "both sides hear groups")
        yield from self.link_local(at)
        ip = oxm(eth_type=ETH_IPV6, **at)
        yield from self.pairs(1000, scopes, ip, "ipv6_src", "ipv6_dst")

    def link_local(self, at: dict[str, int]) -> Iterator[Flow]:
        between = {"ipv6_src": LINK_LOCAL, "ipv6_dst": LINK_LOCAL, **at}
        for port in DHCPV6:
            match = oxm(eth_type=ETH_IPV6, ip_proto=UDP, udp_dst=port, **between)
            yield self.passes(1510, match, "DHCPv6 is link-local")
        yield flow(
            self.table,
            1500,
            oxm(eth_type=ETH_IPV6, **between),
            note="drop: no firewall can pass on what is link-local",
        )

    def pairs(
        self, base: int, scopes: tuple[Scope, ...], match: Match, src: str, dst: str
    ) -> Iterator[Flow]:
        """Of two pairs of prefixes that overlap, their common part is a pair of its own
        with a greater sum of lengths: so the sum is the priority."""
        for one in scopes:
            for other in scopes:
                if one is other is OUTSIDE:
                    continue
                full = oxm(**dict(match), **one.match(src), **other.match(dst))
                priority = base + one.length + other.length
                if one.side == other.side:
                    yield self.passes(
                        priority, full, "sender and target are on one side"
                    )
                else:
                    yield self.crosses(priority, full)

    def passes(self, priority: int, match: Match, note: str) -> Flow:
        return flow(self.table, priority, match, self.onward, note=note)

    def crosses(self, priority: int, match: Match) -> Flow:
        mark = SetField(SIDE, CROSSES)
        note = "from one side of the firewall to another"
        return flow(self.table, priority, match, mark, self.onward, note=note)


# --- the table that steers ----------------------------------------------------------


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    for one in walls(switch):
        at = {SIDE: CROSSES, DOMAIN: one.vlan}
        if one.firewall.missing:
            yield flow(
                here.table_id,
                300,
                oxm(**at),
                note=f"drop: nothing crosses, as {one.firewall.missing}",
                subject=one.rule.lladdr or None,
            )
        else:
            back = switch.back(one.vlan)
            yield from steered(here, one.firewall.lladdr, at, back)
    onward = here.goto("private")
    yield flow(here.table_id, 0, oxm(), onward, note="it stays on its side")


def steered(
    here: Here, lladdr: str, at: dict[str, object], back: Action
) -> Iterator[Flow]:
    t, note = here.table_id, f"answer who asks across: it is reached through {lladdr}"
    arp = oxm(eth_type=ETH_ARP, arp_op=REQUEST, **at)
    yield flow(t, 200, arp, *swapped(lladdr, back), note=note, subject=lladdr)
    yield flow(
        t,
        210,
        nd(SOLICITATION, ipv6_nd_sll=NO_LLADDR, **at),
        TELL,
        note="who solicits without an option is answered by the controller",
        subject=lladdr,
    )
    yield flow(
        t,
        200,
        nd(SOLICITATION, **at),
        Move("eth_src", "eth_dst"),
        SetField("eth_src", lladdr),
        Move("ipv6_src", "ipv6_dst"),
        Move("ipv6_nd_target", "ipv6_src"),
        *solicited(SOLICITED | OVERRIDE),
        here.goto("nd_answer"),
        note=note,
        subject=lladdr,
    )
    for match in (oxm(eth_type=ETH_ARP, arp_op=REPLY, **at), nd(ADVERTISEMENT, **at)):
        yield flow(
            t,
            190,
            match,
            note="drop: the other side is told of the firewall, not of each other",
            subject=lladdr,
        )
    for eth_type in (ETH_IPV4, ETH_IPV6):
        yield flow(
            t,
            100,
            oxm(eth_type=eth_type, **at),
            SetField("eth_dst", lladdr),
            here.goto("forward"),
            note=f"to the firewall, {lladdr}, although it was sent past it",
            subject=lladdr,
        )
    yield flow(t, 90, oxm(**at), note="drop: no firewall passes it on", subject=lladdr)


def swapped(lladdr: str, back: Action) -> tuple[Action, ...]:
    """A request for any address becomes its reply."""
    return (
        Move("eth_src", "eth_dst"),
        SetField("eth_src", lladdr),
        SetField("arp_op", str(REPLY)),
        Move("arp_sha", "arp_tha"),
        SetField("arp_sha", lladdr),
        Move("arp_spa", SPARE),
        Move("arp_tpa", "arp_spa"),
        Move(SPARE, "arp_tpa"),
        back,
    )
