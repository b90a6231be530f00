"""Several interfaces of one host in one segment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_network
from itertools import permutations

from flows.memo import Step, remember_last
from flows.parties import Domain, Located
from flows.shown import FarEnd, FarEnds, kernel_hosts
from flows.tracked import Tracked, changed, updated
from flows.view import (
    Address,
    Fixed,
    IPAddress,
    PortKey,
    View,
)

NICS_MAX = 16  # interfaces of one namespace in one segment that are settled
IPS_MAX = 64  # addresses of each of them

Group = tuple[Domain, int]  # and the namespace's number


@dataclass(frozen=True, slots=True)
class Sibling:
    """An interface that Linux may let speak with another one's address.

    owner  the interface that has the address
    own    an address that the speaker has, of the same subnet if there is one
    """

    lladdr: str
    port: PortKey
    ip: IPAddress
    owner: Located
    own: IPv4Address | None = None


Groups = Tracked[Group, tuple[FarEnd, ...]]
Siblings = Mapping[tuple[Domain, str, IPAddress], Sibling]


def twins_of(view: View) -> Groups:
    return twins(groups(kernel_hosts(view)))


def siblings_of(view: View) -> Siblings:
    return siblings(twins_of(view), view.bindings)


def group_of(end: FarEnd | None) -> Group | None:
    if end is None or end.located.link is None or not end.located.has_table:
        return None
    return end.located.domain, end.located.link.nsid


def by_port(ends: Iterable[FarEnd]) -> tuple[FarEnd, ...]:
    return tuple(sorted(ends, key=lambda one: (one.located.port, one.located.lladdr)))


def every_group(far_ends: FarEnds) -> Groups:
    found: dict[Group, list[FarEnd]] = {}
    for end in far_ends.values():
        if (group := group_of(end)) is not None:
            found.setdefault(group, []).append(end)
    return Tracked((group, by_port(ends)) for group, ends in found.items())


def next_groups(before: tuple[FarEnds], known: Groups, now: tuple[FarEnds]) -> Groups:
    for place in changed(before[0], now[0]):
        old, new = before[0].get(place), now[0].get(place)
        for group in {group_of(old), group_of(new)} - {None}:
            assert group is not None
            ends = [e for e in known.get(group, ()) if e.located.lladdr != place[1]]
            if new is not None and group_of(new) == group:
                ends.append(new)
            known = updated(known, group, by_port(ends) or None)
    return known


groups = Step(every_group, next_groups)


def every_twin(grouped: Groups) -> Groups:
    return Tracked((key, ends) for key, ends in grouped.items() if len(ends) > 1)


def next_twins(before: tuple[Groups], known: Groups, now: tuple[Groups]) -> Groups:
    for key in changed(before[0], now[0]):
        ends = now[0].get(key, ())
        known = updated(known, key, ends if len(ends) > 1 else None)
    return known


twins = Step(every_twin, next_twins)


@remember_last
def siblings(several: Groups, bindings: tuple[Fixed, ...]) -> Siblings:
    """What the operator has given to somebody is not settled but enforced."""
    given = {(fixed.vlan, fixed.ip) for fixed in bindings}
    return {
        (domain, one.lladdr, one.ip): one
        for (domain, _), ends in several.items()
        for one in between(ends[:NICS_MAX])
        if (domain.vlan, one.ip) not in given
    }


def between(ends: tuple[FarEnd, ...]) -> Iterator[Sibling]:
    for speaker, owner in permutations(ends, 2):
        own = {row.ip for row in speaker.addresses}
        for row in owner.addresses[:IPS_MAX]:
            if row.ip not in own:
                yield Sibling(
                    speaker.located.lladdr,
                    speaker.located.port,
                    row.ip,
                    owner.located,
                    own_address(speaker, row),
                )


def own_address(speaker: FarEnd, other: Address) -> IPv4Address | None:
    """What arp_announce=2 would choose: an address of the target's subnet, or any."""
    mine = [r.ip for r in speaker.addresses if isinstance(r.ip, IPv4Address)]
    net = ip_network((other.ip, other.prefixlen), strict=False)
    return next((ip for ip in mine if ip in net), mine[0] if mine else None)
