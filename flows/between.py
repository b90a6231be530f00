"""Who stands between one who asks and the address that is asked for, by the rules."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from flows import interpose, private
from flows.parties import Holder, Middle
from flows.switch import Switch
from flows.view import IPAddress, PortKey, Proxy


@dataclass(frozen=True, slots=True)
class Asked:
    """at   the port that the question came in by
    src  the asker's address; None of a probe (RFC 5227, 1.1; RFC 4862, 5.4.2)
    """

    at: PortKey
    vlan: int
    lladdr: str
    src: IPAddress | None
    ip: IPAddress


def between(
    switch: Switch, asked: Asked, holder: Holder | None
) -> tuple[Proxy, Middle] | None:
    """The rule, and the firewall or router that it names; None if nobody is between."""
    if asked.src is None or not switch.rules.rows:
        return None
    return filtered(switch, asked) or apart(switch, asked, holder)


def filtered(switch: Switch, asked: Asked) -> tuple[Proxy, Middle] | None:
    wall = interpose.wall(switch, asked.vlan)
    if wall is None or wall.is_open or asked.src is None:
        return None
    firewall = wall.firewall
    if isinstance(asked.ip, IPv6Address) and asked.ip.is_link_local:
        return None
    is_itself = (asked.lladdr, asked.at) == (firewall.lladdr, firewall.port)
    if is_itself or wall.side(asked.src) == wall.side(asked.ip):
        return None
    return wall.rule, firewall


def apart(
    switch: Switch, asked: Asked, holder: Holder | None
) -> tuple[Proxy, Middle] | None:
    rule = switch.rules.private(asked.vlan)
    if rule is None or holder is None:
        return None
    known, ends = switch.network, (asked.at, holder.winner.port)
    if not all(known.is_isolated(asked.vlan, end) for end in ends):
        return None
    return rule, private.router(switch, rule, holder.domain)
