"""The rules under `proxy:`: which keys go together, and which rules clash.

Each rule is right by itself (`rule`), and no two leave it open which of them is nearer,
or ask for what cannot be had at once (`clashes`).  A clash names both lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import combinations

from controller.schema import Clash, Wrong
from flows.proxy import (
    GATEWAY,
    HOST,
    INTERPOSE,
    OFF,
    PRIVATE,
    at_bridge,
    crossing,
    inside,
    meet,
    shared,
    what,
)
from flows.view import IPAddress, IPNetwork, Proxy

RULES_MAX = 256
SIDES_MAX = 24  # prefixes inside protected ranges: each pair of them is a flow or two

PLACE = ("bridge", "vlan")
TAKES = {  # mode: keys that it needs, and further ones that it takes
    HOST: ((), ("prefix",)),
    OFF: ((), ("prefix",)),
    GATEWAY: (("ip", "lladdr"), ("router",)),
    INTERPOSE: (("prefix",), ("lladdr", "port", "fail")),
    PRIVATE: ((), ("promiscuous", "lladdr", "port")),
}
WHO = {INTERPOSE: "the firewall", PRIVATE: "the router that neighbors talk through"}


def rule(
    mode: str,
    bridge: str = "",
    vlan: int | None = None,
    prefix: IPNetwork | None = None,
    ip: IPAddress | None = None,
    where: str = "",
    **rest: object,
) -> Proxy:
    """Raises Wrong if these keys do not go together."""
    given = {"prefix": prefix, "ip": ip, **rest}
    refuse_misfits(mode, {name for name, value in given.items() if value is not None})
    if mode == INTERPOSE and vlan is None:
        vlan = 0  # a firewall is in one VLAN
    closed = rest.pop("fail", "closed") == "closed"
    return Proxy(
        mode,
        bridge,
        vlan,
        whole(ip) if ip is not None else prefix,
        closed=closed,
        where=where,
        **rest,  # type: ignore[arg-type]
    )


def refuse_misfits(mode: str, given: set[str]) -> None:
    needed, further = TAKES[mode]
    for name in sorted(given - {*needed, *further}):
        takes = ", ".join((*PLACE, *needed, *further))
        raise Wrong(f"the mode {mode!r} has no {name!r}", f"its keys are {takes}")
    for name in needed:
        if name not in given:
            hint = f"the mode {mode!r} needs it: add '{name}: ...'"
            raise Wrong(f"without {name!r}", hint)
    if mode in WHO and {"lladdr", "port"} <= given:
        hint = f"name {WHO[mode]} by one of them"
        raise Wrong("both 'lladdr' and 'port'", hint)
    if mode == INTERPOSE and not {"lladdr", "port"} & given:
        hint = "add 'lladdr: ...', or 'port: ...' if it is alone at a port"
        raise Wrong("nothing says which station is the firewall", hint)


def whole(ip: IPAddress) -> IPNetwork:
    return ip_network(ip)


# --- what no two rules may share ----------------------------------------------------


def place(value: object) -> object:
    assert isinstance(value, Proxy)
    return value.prefix, value.bridge, value.vlan


def place_in_words(value: object) -> str:
    assert isinstance(value, Proxy)
    return f"a rule for {what(value)}"


def clashes(rules: tuple[Proxy, ...]) -> Iterator[Clash]:
    """Of two that clash, the later one is told of, with the line of the other."""
    if len(rules) > RULES_MAX:
        hint = f"at most {RULES_MAX} are taken: write longer prefixes as one"
        yield Clash(RULES_MAX, f"{len(rules)} rules", hint)
        return
    position = {rule: number for number, rule in enumerate(rules)}
    for one, other in crossing(rules):
        bridge, vlan = shared(one, other)
        yield Clash(
            position[other],
            f"for {what(other)}, but {line(one)} is for {what(one)}: on VLAN {vlan} of"
            f" {bridge} neither is nearer",
            f"add a rule {{bridge: {bridge}, vlan: {vlan}}} that decides there, or give"
            " one of the two another prefix",
        )
    for one, other in combinations(rules, 2):
        if meet(one, other) and (found := contrary(rules, one, other)):
            yield Clash(position[other], *found)
    yield from too_many_sides(rules, position)


def line(rule: Proxy) -> str:
    return f"line {rule.where.rpartition(':')[2]}"


def contrary(
    rules: tuple[Proxy, ...], one: Proxy, other: Proxy
) -> tuple[str, str] | None:
    """Problem and hint, if the two cannot hold in one place."""
    modes = {one.mode, other.mode}
    if modes == {INTERPOSE}:
        return two_firewalls(one, other)
    if PRIVATE in modes and modes & {HOST, INTERPOSE}:
        return told_of_isolated(rules, one, other)
    return None


def two_firewalls(one: Proxy, other: Proxy) -> tuple[str, str] | None:
    names = {(rule.lladdr, rule.port, rule.closed) for rule in (one, other)}
    if len(names) == 1:
        return None
    return (
        f"another firewall, or another 'fail', than in {line(one)}, in the same place",
        "in one VLAN of a bridge one firewall stands between all sides: name the same"
        " one, or keep the rules apart by 'bridge' or 'vlan'",
    )


def told_of_isolated(
    rules: tuple[Proxy, ...], one: Proxy, other: Proxy
) -> tuple[str, str] | None:
    """Ports are isolated whatever is asked for."""
    private, second = (one, other) if one.mode == PRIVATE else (other, one)
    if second.prefix is None:
        return None
    bridge, vlan = shared(one, other)
    decides = at_bridge(rules, bridge).by_prefix.get(None, {})
    nearest = decides.get(vlan) or decides.get(None)
    if nearest is not private:
        return None
    return (
        f"mode {other.mode!r} for {what(other)}, but {line(one)} has {one.mode!r} for"
        f" {what(one)}",
        "isolated ports reach no neighbor, so nobody there can be answered with a"
        f" neighbor's address or a firewall's: remove {second.mode!r}, or give it"
        " another bridge or VLAN",
    )


def too_many_sides(
    rules: tuple[Proxy, ...], position: dict[Proxy, int]
) -> Iterator[Clash]:
    protected = [rule for rule in rules if rule.mode == INTERPOSE]
    within = [
        rule
        for rule in rules
        if rule.prefix and any(inside(rule, one) for one in protected)
    ]
    if len(within) > SIDES_MAX:
        hint = "write neighboring ranges as one prefix"
        problem = f"more than {SIDES_MAX} rules in protected ranges"
        yield Clash(position[within[SIDES_MAX]], problem, hint)
