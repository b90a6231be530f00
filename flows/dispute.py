"""Who contradicts what is known: a sender at the wrong port, an address of others.

A contradiction is a conclusion from the view and one thing that was said.  It stands as
long as the facts do, and is judged anew whenever one wants to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from flows.network import Network
from flows.parties import Candidate, Domain, Holder, Origin, is_unicast
from flows.trust import Closed, Mode, Trust, is_shared
from flows.view import IPAddress, PortKey


class Kind(StrEnum):
    """By which sort of packet something was said."""

    REQUEST = "request"
    REPLY = "reply"
    ANNOUNCEMENT = "announcement"  # RFC 5227, 2.3: sender and target are one address
    SOLICITATION = "solicitation"  # RFC 4861, 4.3
    ADVERTISEMENT = "advertisement"  # 4.4
    ROUTER = "router advertisement"  # 4.2
    REDIRECT = "redirect"  # 4.5
    HIDDEN = "hidden ICMPv6"  # RFC 6980: what is it, and what follows?
    SERVER = "DHCP server message"  # RFC 2131, RFC 8415
    PACKET = "IPv4 packet"
    PACKET6 = "IPv6 packet"
    FRAME = "frame"

    @property
    def is_claim(self) -> bool:
        """It tells others where its sender is to be found."""
        return self in CLAIMS

    @property
    def is_arp(self) -> bool:
        return self in ARP

    @property
    def is_service(self) -> bool:
        """Not everybody may send it, whatever it says."""
        return self in (Kind.ROUTER, Kind.REDIRECT, Kind.HIDDEN, Kind.SERVER)


ARP = (Kind.REQUEST, Kind.REPLY, Kind.ANNOUNCEMENT)
CLAIMS = (*ARP, Kind.SOLICITATION, Kind.ADVERTISEMENT)


@dataclass(frozen=True, slots=True)
class Said:
    """What the sender of a packet says of itself, and where.

    ip  that it says it holds; None if it says nothing, as a probe (RFC 5227, 1.1;
        RFC 4862, 5.4.2)
    """

    at: PortKey
    vlan: int
    lladdr: str
    kind: Kind
    ip: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Contradiction:
    """ip        that is not the sender's; None if the sender itself is elsewhere, or
              may not send such a thing (`Kind.is_service`)
    rival     link-layer address of who is believed instead; "" if nobody is
    port      where that is, if it is known
    origin    why that one is believed; None: who is behind the port is known, or the
              rival is about to take the address
    """

    ip: IPAddress | None
    rival: str = ""
    port: PortKey | None = None
    origin: Origin | None = None


def contradiction(known: Network, said: Said) -> Contradiction | None:
    """None if nothing is known that speaks against it."""
    if said.at in known.fabric.uplinks:  # the switch beyond has looked at it
        return None
    return (
        wrong_place(known, said)
        or wrong_address(known, said)
        or wrong_service(known, said)
    )


def wrong_service(known: Network, said: Said) -> Contradiction | None:
    """It is none of those who route here, or nobody may send what it sends."""
    if not said.kind.is_service:
        return None
    trust = known.trust
    if said.kind is Kind.SERVER:
        is_fit = not trust.snoops or said.at in trust.servers
    elif said.kind is Kind.HIDDEN:
        is_fit = False
    else:
        is_fit = trust.is_router(said.at, said.lladdr)
    return None if is_fit else Contradiction(None)


def is_held_back(known: Network, said: Said) -> bool:
    """At a port that is enforced on an advertisement of what nobody holds goes to the
    controller first: so it cannot end the duplicate address detection of others."""
    return (
        said.kind is Kind.ADVERTISEMENT
        and known.trust.mode(said.at) is Mode.ENFORCE
        and contradiction(known, said) is None
        and not is_vouched_for(known, said)
    )


def is_vouched_for(known: Network, said: Said) -> bool:
    """Somebody says that the sender has this address, be it only the sender before."""
    if said.ip is None:
        return False
    if known.trust.configured.get((said.vlan, said.ip)) == said.lladdr:
        return True
    domain, closed = (
        known.domain(said.at.datapath_id, said.vlan),
        closed_at(known, said),
    )
    holder = known.holders.get((domain, said.ip))
    if holder is not None and holds(known, holder, said.lladdr):
        return True
    return bool(closed and said.lladdr in closed.lladdrs and said.ip in closed.ips)


def wrong_place(known: Network, said: Said) -> Contradiction | None:
    domain = known.domain(said.at.datapath_id, said.vlan)
    where = known.located.get((domain, said.lladdr))
    if known.trust.is_shared(said.vlan, said.lladdr):
        return None
    if where is not None and where.port != said.at:
        return Contradiction(None, said.lladdr, where.port, where.origin)
    closed = closed_at(known, said)
    if where is None and closed is not None:
        return Contradiction(None)
    return None


def wrong_address(known: Network, said: Said) -> Contradiction | None:
    if said.ip is None or not is_unicast(said.ip):
        return None
    ours = known.rules_at(said.at.datapath_id).gateway(said.vlan, said.ip)
    if ours is not None:
        is_other = ours.lladdr != said.lladdr
        lie = Contradiction(said.ip, ours.lladdr, None, Origin.CONFIGURED)
        return lie if is_other else None
    if not said.kind.is_claim and known.trust.is_shared(said.vlan, said.lladdr):
        return None  # a VRRP router's packets come from its own address
    domain = known.domain(said.at.datapath_id, said.vlan)
    given = known.trust.configured.get((said.vlan, said.ip))
    if given is not None and given != said.lladdr:
        where = known.located.get((domain, given))
        at = where.port if where else None
        return Contradiction(said.ip, given, at, Origin.CONFIGURED)
    holder = known.holders.get((domain, said.ip))
    if given is not None or (holder and holds(known, holder, said.lladdr)):
        return None
    if (domain, said.lladdr, said.ip) in known.siblings and is_settled(known, said):
        return None
    best = holder.winner if holder is not None and holder.winner.vouched else None
    if best is not None and best.lladdr != said.lladdr:
        return Contradiction(said.ip, best.lladdr, best.port, best.origin)
    if is_beside_its_lease(known, domain, said):
        return Contradiction(said.ip)
    if best is not None:
        return Contradiction(said.ip, best.lladdr, best.port, best.origin)
    return unlisted(known, said)


def is_beside_its_lease(known: Network, domain: Domain, said: Said) -> bool:
    """DHCP has leased another IPv4 address to the sender."""
    where = known.located.get((domain, said.lladdr))
    if not isinstance(said.ip, IPv4Address) or where is None or where.port != said.at:
        return False
    is_guarded = known.trust.mode(said.at) is not Mode.LEARN
    is_leased = said.ip in {claim.ip for claim in where.leases}
    return bool(known.trust.confines and is_guarded and where.leases and not is_leased)


def is_settled(known: Network, said: Said) -> bool:
    """Another interface of the same host has it (`flows.nics`)."""
    match said.kind:
        case Kind.REPLY:
            return bool(known.nics.arp_ignore)
        case Kind.REQUEST:
            return bool(known.nics.arp_announce)
        case Kind.ANNOUNCEMENT:
            return bool(known.nics.arp_ignore or known.nics.arp_announce)
        case _:
            return not said.kind.is_claim


def unlisted(known: Network, said: Said) -> Contradiction | None:
    """Nobody holds the address; is it known that the sender does not either?

    A router's packets have addresses of other subnets.
    """
    assert said.ip is not None
    closed = closed_at(known, said)
    if closed and said.lladdr in closed.lladdrs and said.ip in closed.ips:
        return None
    if closed is not None and (said.kind.is_claim or is_on_link(closed, said.ip)):
        return Contradiction(said.ip)
    if said.kind.is_arp and known.trust.is_confined(said.vlan, said.lladdr):
        return Contradiction(said.ip)
    return None


def closed_at(known: Network, said: Said) -> Closed | None:
    """What is known of untagged frames of the port, if this is one."""
    is_untagged = said.vlan == known.pvid(said.at)
    return known.trust.closed.get(said.at) if is_untagged else None


def is_on_link(closed: Closed, ip: IPAddress) -> bool:
    return any(ip in subnet for subnet in closed.subnets)


def holds(known: Network, holder: Holder, lladdr: str) -> bool:
    mine = (c for c in holder.candidates if c.lladdr == lladdr)
    return any(is_accepted(known.trust, holder, candidate) for candidate in mine)


def is_accepted(trust: Trust, holder: Holder, candidate: Candidate) -> bool:
    """The winner, or as good as it: who of two is right nobody can say.  The operator's
    word counts even if it is not known where its holder is."""
    best, lladdr = holder.winner, candidate.lladdr
    given = trust.configured.get((holder.domain.vlan, holder.ip), lladdr)
    equal = candidate.origin == best.origin or lladdr == best.lladdr
    is_confined = trust.confines and candidate.port in trust.modes
    is_free = not (candidate.is_beside and is_confined)
    return candidate.vouched and equal and lladdr == given and is_free


# --- where nobody guards --------------------------------------------------------------


def rivalry(known: Network, said: Said) -> Contradiction | None:
    """Two say the same of themselves, and one of them is wrong.

    This is looked at when what was said has been learned.  The kernel's and the
    operator's word are stronger; of two who were only heard the other one is the rival.
    Nobody is where the kernel's own table of the sender does not list the address.
    """
    if said.at in known.fabric.uplinks or is_shared(said.lladdr):
        return None
    elsewhere = wrong_place(known, said)
    if elsewhere is not None or not said.kind.is_claim:
        return elsewhere
    domain = known.domain(said.at.datapath_id, said.vlan)
    holder = known.holders.get((domain, said.ip)) if said.ip is not None else None
    if holder is None:
        return None
    mine = [c.origin for c in holder.candidates if c.lladdr == said.lladdr]
    for other in holder.candidates:
        if other.lladdr == said.lladdr or not other.vouched:
            continue
        is_weaker = other.origin < max(mine, default=Origin.NEIGHBOR)
        if is_weaker or is_one_host(known, domain, said.lladdr, other.lladdr):
            continue
        return Contradiction(said.ip, other.lladdr, other.port, other.origin)
    own = (c for c in holder.candidates if c.lladdr == said.lladdr)
    return None if all(c.vouched for c in own) else Contradiction(said.ip)


def is_one_host(known: Network, domain: Domain, one: str, other: str) -> bool:
    """Linux speaks with any of its addresses from any of its interfaces."""
    ends = [known.located.get((domain, lladdr)) for lladdr in (one, other)]
    spaces = [end.link.nsid if end and end.link else None for end in ends]
    return spaces[0] is not None and spaces[0] == spaces[1]


def is_router(
    known: Network, domain: Domain, ip: IPAddress | None, lladdr: str
) -> bool:
    """The kernel says so of who holds this address, or its own advertisements do."""
    holder = known.holders.get((domain, ip)) if ip is not None else None
    mine = (c for c in holder.candidates if c.lladdr == lladdr) if holder else ()
    return any(candidate.router for candidate in mine)


def has_router(known: Network, domain: Domain) -> bool:
    return any(
        holder.winner.router
        for holder in known.holders.values()
        if holder.domain == domain
    )
