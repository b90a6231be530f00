"""Who is where, and who may hold what: the values that conclusions are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import lru_cache
from typing import NamedTuple

from flows.chains import Speaker
from flows.fabric import Fabric, Ports
from flows.memo import remember_last
from flows.view import (
    Claim,
    IPAddress,
    Link,
    PortKey,
    Proxy,
    Station,
    StationKey,
)


class Role(Enum):
    """What a port leads to."""

    EDGE = "edge"
    FABRIC = "fabric"
    TUNNEL = "tunnel"
    UNKNOWN = "unknown"
    LOOP = "loop"


class Origin(IntEnum):
    """Where a binding comes from; the greater, the stronger."""

    NEIGHBOR = 1
    HEARD = 2
    DHCP = 3
    KERNEL = 4
    CONFIGURED = 5


class Domain(NamedTuple):
    """A bridge domain: switches that reach each other, and a VLAN (0 is untagged)."""

    island: int
    vlan: int


domain = lru_cache(maxsize=1 << 12)(Domain)  # one object, for all who are in it


@dataclass(frozen=True, slots=True)
class Located:
    """A station and the port it is attached to.

    shown    the way to it, when the kernel shows it
    station  what it has said itself
    """

    domain: Domain
    lladdr: str
    port: PortKey
    origin: Origin
    shown: Speaker | None = None
    station: Station | None = None

    @property
    def key(self) -> StationKey:
        return StationKey(self.port.datapath_id, self.domain.vlan, self.lladdr)

    @property
    def link(self) -> Link | None:
        """The kernel interface that is this station, or the tap that it is behind."""
        return self.shown.link if self.shown else None

    @property
    def leases(self) -> tuple[Claim, ...]:
        """The IPv4 addresses that DHCP has leased to it.  Where the kernel has its
        address table, that decides."""
        if self.station is None or self.has_table:
            return ()
        claims = (claim for claim in self.station.claims if claim.ip.version == 4)
        return tuple(claim for claim in claims if claim.leased_until is not None)

    @property
    def has_table(self) -> bool:
        """The kernel has its address table, so that its own word adds nothing to it."""
        return self.shown is not None and not self.shown.is_guest


@dataclass(frozen=True, slots=True)
class Candidate:
    """One who may hold an address.

    vouched       believable at all: not contradicted by the kernel's own address table
    confirmed_at  seconds on the core's monotonic clock; None if it does not age
    router        of IPv6: what its advertisements say it is; None if nobody knows
    leased_until  seconds on the same clock, if DHCP has leased it; else None
    is_beside     heard of an IPv4 address beside a leased one
    """

    lladdr: str
    port: PortKey
    origin: Origin
    vouched: bool = True
    confirmed_at: float | None = None
    router: bool | None = None
    leased_until: float | None = None
    is_beside: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a protocol address in a domain: the winner among its candidates.

    silent_because  why the switches do not answer for it; "" if they do
    candidates      the winner first
    """

    domain: Domain
    ip: IPAddress
    candidates: tuple[Candidate, ...]
    silent_because: str = ""

    @property
    def winner(self) -> Candidate:
        return self.candidates[0]

    @property
    def answered(self) -> bool:
        return not self.silent_because


@dataclass(frozen=True, slots=True)
class Middle:
    """Who stands between: a firewall, or the router that isolated ports talk through.

    lladdr, port  where it is; "" and None if it is not there
    missing       why not
    """

    lladdr: str = ""
    port: PortKey | None = None
    missing: str = ""


Place = tuple[Domain, str]
Middles = Mapping[tuple[Proxy, Domain], Middle]
Holding = tuple[Domain, IPAddress]


def is_unicast(ip: IPAddress) -> bool:
    """Neither unspecified (RFC 5227's probe), nor loopback, nor a group's."""
    return not (ip.is_unspecified or ip.is_loopback or ip.is_multicast)


@remember_last
def members(shape: Fabric) -> Mapping[int, tuple[int, ...]]:
    """The switches of each island."""
    grouped: dict[int, tuple[int, ...]] = {}
    for datapath_id, island in shape.islands.items():
        grouped[island] = (*grouped.get(island, ()), datapath_id)
    return grouped


def may_be_at(shape: Fabric, ports: Ports, at: PortKey) -> bool:
    port = ports.get(at)
    return port is not None and port.up and at not in shape.uplinks
