"""What one station's neighbor table says of another: evidence, and no more.

The kernel keeps an ARP and neighbor cache for every interface.  Where it is a station
of a bridge of ours (the bridge's own interface, a gateway in a namespace), its rows say
who holds which address in that bridge domain.  They outlive whoever they are about, so
no answer is made of them, and they contradict nobody
(docs/decisions/0008-who-is-believed-beyond-the-far-end.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flows.memo import remember_last
from flows.parties import Domain, Origin, Place, is_unicast
from flows.shown import FarEnds
from flows.view import IPAddress, Link, LinkKey, Neighbor


@dataclass(frozen=True, slots=True)
class Hearsay:
    """That `lladdr` holds `ip`, by the neighbor tables of `tellers`."""

    domain: Domain
    ip: IPAddress
    lladdr: str
    tellers: tuple[Link, ...]

    origin = Origin.NEIGHBOR

    @property
    def place(self) -> Place:
        return self.domain, self.lladdr


Tellers = Mapping[LinkKey, tuple[Domain, Link]]


@remember_last
def tellers_of(hosts: FarEnds) -> Tellers:
    """Interfaces that are stations themselves; a tap is not, its guest is."""
    found: dict[LinkKey, tuple[Domain, Link]] = {}
    for (domain, _), host in hosts.items():
        link = host.located.link
        if link is not None and host.located.has_table:
            found.setdefault(link.key, (domain, link))
    return found


def said(row: Neighbor, tellers: Tellers) -> Hearsay | None:
    """What a row of a neighbor table says of a bridge domain, if it does."""
    teller = tellers.get(LinkKey(row.nsid, row.ifindex))
    is_group = int(row.lladdr[:2], 16) & 1
    if teller is None or is_group or not is_unicast(row.ip):
        return None
    domain, link = teller
    return Hearsay(domain, row.ip, row.lladdr, (link,))


def gathered(rows: Iterable[Neighbor], tellers: Tellers) -> list[Hearsay]:
    """One for each binding, with all who say so, in order of their interfaces."""
    found: dict[tuple[Domain, IPAddress, str], list[Link]] = {}
    for row in rows:
        if (one := said(row, tellers)) is not None:
            found.setdefault((one.domain, one.ip, one.lladdr), []).extend(one.tellers)
    return [
        Hearsay(*binding, tuple(sorted(links, key=lambda link: link.key)))
        for binding, links in found.items()
    ]
