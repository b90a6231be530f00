"""What the nearest rule makes of questions for an address, in words."""

from __future__ import annotations

from collections.abc import Iterator

from flows import private
from flows.network import Network
from flows.parties import Domain, Holder, Middle
from flows.proxy import GATEWAY, HOST, INTERPOSE, OFF, PRIVATE
from flows.switch import Switch
from flows.view import IPAddress, Proxy, View, switch_name


def ruled(
    view: View, known: Network, domain: Domain | None, ip: IPAddress
) -> Iterator[tuple[Switch, Proxy]]:
    """Each rule that decides somewhere in the domain, with a switch where it does; of
    an address that is nobody's, at any switch, on the VLAN of the rule."""
    found: set[Proxy] = set()
    for datapath_id in sorted({key.datapath_id for key in view.ports}):
        switch = Switch(datapath_id, view, known)
        if domain is not None and switch.island != domain.island:
            continue
        for vlan in vlans(switch, domain):
            rule = switch.rules.nearest(vlan, ip)
            if rule is not None and rule not in found:
                found.add(rule)
                yield switch, rule


def vlans(switch: Switch, domain: Domain | None) -> list[int]:
    if domain is not None:
        return [domain.vlan]
    return sorted({0, *(row.vlan or 0 for row in switch.rules.rows)})


def row(
    switch: Switch, rule: Proxy, domain: Domain | None, holder: Holder | None
) -> dict[str, str]:
    vlan = domain.vlan if domain else rule.vlan or 0
    place = Domain(switch.island, vlan)
    return {
        "switch": switch_name(switch.view, switch.datapath_id)
        or f"{switch.datapath_id:x}",
        "mode": rule.mode,
        "where": rule.where,
        "says": SAYS.get(rule.mode, says_host)(switch, rule, place, holder),
    }


def says_host(
    switch: Switch, rule: Proxy, domain: Domain, holder: Holder | None
) -> str:
    return "whoever is known to hold it is answered for"


def says_off(switch: Switch, rule: Proxy, domain: Domain, holder: Holder | None) -> str:
    return "nobody is answered for: questions are forwarded"


def says_gateway(
    switch: Switch, rule: Proxy, domain: Domain, holder: Holder | None
) -> str:
    there = switch.network.located.get((domain, rule.lladdr))
    alone = "" if there else ", and nobody has this hardware address"
    return f"it is ours, at {rule.lladdr}, and answers questions and echo{alone}"


def says_interpose(
    switch: Switch, rule: Proxy, domain: Domain, holder: Holder | None
) -> str:
    found = switch.network.middle(rule, domain)
    if found.lladdr:
        return (
            "it is protected: who asks from the other side is told the firewall,"
            f" {found.lladdr} at {port_of(switch, found)}"
        )
    fails = "nobody is answered across, nothing passes" if rule.closed else "all pass"
    return f"it is protected, but {found.missing}: {fails}"


def says_private(
    switch: Switch, rule: Proxy, domain: Domain, holder: Holder | None
) -> str:
    if holder and not switch.network.is_isolated(domain.vlan, holder.winner.port):
        return "isolated ports may talk to it: it is at a port that is not isolated"
    found = private.router(switch, rule, domain)
    if found.lladdr:
        return f"isolated neighbors are told the router, {found.lladdr}, instead"
    return f"isolated neighbors are not answered: {found.missing}"


SAYS = {
    HOST: says_host,
    OFF: says_off,
    GATEWAY: says_gateway,
    INTERPOSE: says_interpose,
    PRIVATE: says_private,
}


def port_of(switch: Switch, found: Middle) -> str:
    port = switch.view.ports.get(found.port) if found.port else None
    return port.ifname if port else ""
