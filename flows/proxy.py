"""How questions are answered, where and for what: the nearest rule decides.

    host       for hosts that are known, as their own answer; also without any rule
    gateway    for an address that is ours, which nobody else may claim
    interpose  for a protected range with the firewall's address, in both directions
    private    for ports that are isolated from each other, with their router's address
    off        not at all

A rule holds in a place: a bridge, a VLAN, both, or everywhere; and for a prefix, or for
every address.  The longest prefix is the nearest.  Of one prefix, the rule is nearer
whose place lies in the other's.  Two rules of one prefix whose places merely cross have
no nearest: the configuration refuses them (`crossing`), unless a third decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from itertools import combinations

from flows.memo import remember_last
from flows.view import (
    Bridge,
    IPAddress,
    IPNetwork,
    Port,
    PortKey,
    Proxy,
    View,
    name_of,
)

HOST, GATEWAY, INTERPOSE = "host", "gateway", "interpose"
PRIVATE, OFF = "private", "off"
MODES = (HOST, GATEWAY, INTERPOSE, PRIVATE, OFF)

Vlan = int | None  # None stands for every VLAN that no other rule names
Table = Mapping[Vlan, Proxy]  # of one prefix


@dataclass(frozen=True)
class Rules:
    """The rules that hold at one bridge, those for all bridges first."""

    rows: tuple[Proxy, ...] = ()

    @cached_property
    def by_prefix(self) -> Mapping[IPNetwork | None, Table]:
        found: dict[IPNetwork | None, dict[Vlan, Proxy]] = {}
        for row in self.rows:
            found.setdefault(row.prefix, {})[row.vlan] = row
        return found

    @cached_property
    def lengths(self) -> tuple[tuple[int, int], ...]:
        """(IP version, prefix length) of all rules with a prefix, the longest first."""
        prefixes = (prefix for prefix in self.by_prefix if prefix is not None)
        return tuple(sorted({(p.version, p.prefixlen) for p in prefixes}, reverse=True))

    def nearest(self, vlan: int, ip: IPAddress) -> Proxy | None:
        """Which rule decides how a question for this address is answered."""
        for version, length in self.lengths:
            if version == ip.version:
                rule = of_vlan(self.by_prefix.get(network_of(ip, length), {}), vlan)
                if rule is not None:
                    return rule
        return self.whole(vlan)

    def whole(self, vlan: int) -> Proxy | None:
        """The rule for every address of a VLAN."""
        return of_vlan(self.by_prefix.get(None, {}), vlan)

    def mode(self, vlan: int, ip: IPAddress) -> str:
        rule = self.nearest(vlan, ip) if self.rows else None
        return rule.mode if rule else HOST

    def answers_as_host(self, vlan: int, ip: IPAddress) -> bool:
        """Who may be answered at all is answered with the holder's own address: behind
        a firewall by it and its neighbors, at isolated ports by the others."""
        return self.mode(vlan, ip) in (HOST, INTERPOSE, PRIVATE)

    @cached_property
    def gateways(self) -> tuple[Proxy, ...]:
        return tuple(
            row
            for table in self.by_prefix.values()
            for row in table.values()
            if row.mode == GATEWAY and row.prefix is not None and row.lladdr
        )

    def gateway(self, vlan: int, ip: IPAddress) -> Proxy | None:
        """The rule by which this address is ours."""
        rule = self.nearest(vlan, ip) if self.gateways else None
        return rule if rule and rule.mode == GATEWAY and rule.lladdr else None

    @cached_property
    def privates(self) -> Mapping[int, Proxy]:
        """The rules by which ports are isolated, numbered from 1."""
        rows = self.by_prefix.get(None, {}).values()
        return dict(enumerate((row for row in rows if row.mode == PRIVATE), 1))

    def number(self, rule: Proxy) -> int:
        return next(n for n, row in self.privates.items() if row == rule)

    def private(self, vlan: int) -> Proxy | None:
        rule = self.whole(vlan)
        return rule if rule and rule.mode == PRIVATE else None


NO_RULES = Rules()


def of_vlan(table: Table, vlan: int) -> Proxy | None:
    return table.get(vlan) or table.get(None)


def network_of(ip: IPAddress, length: int) -> IPNetwork:
    kind = IPv4Network if isinstance(ip, IPv4Address) else IPv6Network
    return kind((ip, length), strict=False)


def what(rule: Proxy) -> str:
    """For what and where it is, in words."""
    range_ = str(rule.prefix) if rule.prefix else "every address"
    bridge = f" at {rule.bridge}" if rule.bridge else ""
    vlan = f" on VLAN {rule.vlan}" if rule.vlan is not None else ""
    return f"{range_}{bridge}{vlan}"


# --- which rules hold where ---------------------------------------------------------

AtSwitch = Mapping[int, Rules]
NOWHERE: AtSwitch = {}


def rules_of(view: View) -> AtSwitch:
    """By datapath_id."""
    return by_switch(view.proxies, view.ports, view.bridges)


@remember_last
def by_switch(
    proxies: tuple[Proxy, ...],
    ports: Mapping[PortKey, Port],
    bridges: Mapping[int, Bridge],
) -> AtSwitch:
    if not proxies:
        return NOWHERE
    switches = {key.datapath_id for key in ports} | set(bridges)
    return {
        datapath_id: at_bridge(proxies, name_of(ports, bridges, datapath_id))
        for datapath_id in sorted(switches)
    }


def at_bridge(proxies: tuple[Proxy, ...], bridge: str) -> Rules:
    here = (row for row in proxies if row.bridge in ("", bridge))
    return Rules(tuple(sorted(here, key=lambda row: row.bridge != "")))


# --- rules that leave no nearest one ------------------------------------------------


def crossing(rules: tuple[Proxy, ...]) -> Iterator[tuple[Proxy, Proxy]]:
    """Two rules for one prefix, one for a bridge, one for a VLAN: on this VLAN of this
    bridge neither is nearer, unless a third rule is for just that."""
    known = {(row.prefix, row.bridge, row.vlan) for row in rules}
    for one, other in combinations(rules, 2):
        is_same = one.prefix == other.prefix
        if (
            is_same
            and crosses(one, other)
            and (one.prefix, *shared(one, other)) not in known
        ):
            yield one, other


def crosses(one: Proxy, other: Proxy) -> bool:
    """Their places overlap, and neither lies within the other."""
    return meet(one, other) and not (within(one, other) or within(other, one))


def meet(one: Proxy, other: Proxy) -> bool:
    bridges, vlans = {one.bridge, other.bridge} - {""}, {one.vlan, other.vlan} - {None}
    return len(bridges) <= 1 and len(vlans) <= 1


def within(one: Proxy, other: Proxy) -> bool:
    """The first one's place lies in the other's, or is the same."""
    return other.bridge in ("", one.bridge) and other.vlan in (None, one.vlan)


def shared(one: Proxy, other: Proxy) -> tuple[str, Vlan]:
    """Bridge and VLAN of the place in which both hold."""
    return one.bridge or other.bridge, one.vlan if one.vlan is not None else other.vlan


def inside(one: Proxy, other: Proxy) -> bool:
    """The first one's prefix lies in the other's."""
    if one.prefix is None or other.prefix is None:
        return other.prefix is None
    return one.prefix.version == other.prefix.version and one.prefix.subnet_of(
        other.prefix  # type: ignore[arg-type]
    )
