"""Who stands between, where a rule says that somebody does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from immutables import Map

from flows.fabric import Ports
from flows.locations import Locations
from flows.memo import Step, remember_last
from flows.parties import Domain, Located, Middle, Middles, Place
from flows.proxy import INTERPOSE, PRIVATE
from flows.tracked import changed
from flows.view import (
    Bridge,
    PortKey,
    Proxy,
    name_of,
)

Named = Mapping[Proxy, frozenset[PortKey]]
Meant = Map[tuple[Proxy, Domain], Map[str, PortKey]]  # by link-layer address


@remember_last
def promiscuous(
    proxies: tuple[Proxy, ...],
    ports: Ports,
    bridges: Mapping[int, Bridge],
) -> Named:
    private = (rule for rule in proxies if rule.mode == PRIVATE)
    return {
        rule: named(ports, bridges, rule, (*rule.promiscuous, rule.port))
        for rule in private
    }


@remember_last
def middle_ports(
    proxies: tuple[Proxy, ...],
    ports: Ports,
    bridges: Mapping[int, Bridge],
) -> Named:
    """Where to look for who stands between, by the rules that name it; all ports if a
    rule names it by its link-layer address."""
    rules = (rule for rule in proxies if rule.mode in (INTERPOSE, PRIVATE))
    return {
        rule: named(ports, bridges, rule, (rule.port,)) if rule.port else frozenset()
        for rule in rules
        if rule.lladdr or rule.port
    }


def named(
    ports: Ports,
    bridges: Mapping[int, Bridge],
    rule: Proxy,
    names: tuple[str, ...],
) -> frozenset[PortKey]:
    return frozenset(
        key
        for key, port in ports.items()
        if port.ifname in names
        and rule.bridge in ("", name_of(ports, bridges, key.datapath_id))
    )


def every_meant(where: Locations, rules: Named) -> Meant:
    """The stations that rules mean."""
    found: Meant = Map()
    return with_meant(found, where, rules, where) if rules else found


def next_meant(
    before: tuple[Locations, Named], known: Meant, now: tuple[Locations, Named]
) -> Meant | None:
    where, rules = now
    if rules is not before[1]:
        return None
    places = changed(before[0], where) if rules else ()
    return with_meant(known, where, rules, places)


def with_meant(
    known: Meant, where: Locations, rules: Named, places: Iterable[Place]
) -> Meant:
    for domain, lladdr in places:
        row = where.get((domain, lladdr))
        for rule, ports in rules.items():
            before = known.get((rule, domain), NONE_MEANT)
            after = before.delete(lladdr) if lladdr in before else before
            if row is not None and is_meant(rule, row, ports):
                after = after.set(lladdr, row.port)
            if after != before:
                key = (rule, domain)
                known = known.set(key, after) if after else known.delete(key)
    return known


NONE_MEANT: Map[str, PortKey] = Map()

meant = Step(every_meant, next_meant)


def is_meant(rule: Proxy, where: Located, ports: frozenset[PortKey]) -> bool:
    if rule.vlan not in (None, where.domain.vlan) or has_fallen_silent(where):
        return False
    return where.lladdr == rule.lladdr if rule.lladdr else where.port in ports


def has_fallen_silent(where: Located) -> bool:
    """It was only heard, and none of its addresses has answered when it was asked."""
    said = where.station
    if where.shown is not None or said is None:
        return False
    return bool(said.silent) and not said.claims


@remember_last
def middles(found: Meant) -> Middles:
    return {key: middle(key[0], there) for key, there in found.items()}


def middle(rule: Proxy, there: Map[str, PortKey]) -> Middle:
    lladdr, *others = sorted(there)
    if others:
        names = ", ".join((lladdr, *others))
        return Middle(missing=f"several stations are at port {rule.port}: {names}")
    return Middle(lladdr, there[lladdr])
