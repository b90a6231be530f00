"""What rules say of how questions are answered, and what they miss, as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from controller.core import Core
from flows.parties import Holder, Middle
from flows.proxy import GATEWAY, INTERPOSE, OFF, PRIVATE, what
from flows.view import Proxy

Json = dict[str, Any]


def rules(core: Core) -> list[Json]:
    """One row for each rule, as they are written."""
    return [row(core, rule) for rule in core.view.proxies]


def row(core: Core, rule: Proxy) -> Json:
    found = middle(core, rule)
    return {
        "mode": rule.mode,
        "for": what(rule),
        "where": rule.where,
        "through": found.lladdr if found else rule.lladdr,
        "missing": found.missing if found else "",
    }


def middle(core: Core, rule: Proxy) -> Middle | None:
    """Who the rule says stands between; None if it names nobody."""
    if rule.mode not in (INTERPOSE, PRIVATE) or not (rule.lladdr or rule.port):
        return None
    known = core.network
    found = [one for (other, _), one in known.middles.items() if other == rule]
    there = (one for one in found if one.lladdr)
    absent = Middle(missing=f"{rule.lladdr or rule.port} is not known to be there")
    return next(there, found[0] if found else absent)


def warnings(core: Core) -> Iterator[str]:
    for rule in core.view.proxies:
        found = middle(core, rule)
        if found and found.missing:
            yield f"{rule.where}, {rule.mode}: {found.missing}; {outcome(rule)}"
        for name in unknown_ports(core, rule):
            yield f"{rule.where}, {rule.mode}: there is no port {name!a}"


def outcome(rule: Proxy) -> str:
    if rule.mode == PRIVATE:
        return "isolated neighbors do not reach each other"
    return "nothing passes" if rule.closed else "everything passes"


def unknown_ports(core: Core, rule: Proxy) -> list[str]:
    named = {*rule.promiscuous, rule.port} - {""}
    return sorted(named - {port.ifname for port in core.view.ports.values()})


def silence(core: Core, holder: Holder) -> str:
    """Why the rule at its own switch has nobody answer for this holder; "" if none."""
    at = holder.winner.port.datapath_id
    rule = core.network.rules_at(at).nearest(holder.domain.vlan, holder.ip)
    if rule is None:
        return ""
    if rule.mode == OFF:
        return f"off by {rule.where}"
    if rule.mode == GATEWAY and rule.lladdr != holder.winner.lladdr:
        return f"the address is a gateway's by {rule.where}"
    return ""
