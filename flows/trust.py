"""How closely each port is guarded, and what the operator and the kernel have closed.

    learn    what is heard is believed, as far as nobody stronger says otherwise
    watch    the same, and who contradicts what is known is reported
    enforce  what contradicts is dropped in the switch, and reported

A port is closed if the kernel shows everybody who is behind it, with their address
tables: then nobody else can be there, and they hold nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from flows.chains import Chain, chains
from flows.memo import remember_last
from flows.tracked import Tracked
from flows.view import (
    LOCAL_PORT,
    Address,
    AddressKey,
    Bridge,
    Fixed,
    Guard,
    IPAddress,
    Port,
    PortKey,
    View,
)

# Link-layer addresses that routers share: VRRP and CARP (RFC 9568, 7.3), HSRP 1 and 2,
# GLBP.  Whoever is master answers with them, so they move without anybody moving.
SHARED = ("00:00:5e:00:01:", "00:00:0c:07:ac:", "00:00:0c:9f:f", "00:07:b4:00:")


class Mode(StrEnum):
    """What is done at a port where somebody contradicts what is known."""

    LEARN = "learn"
    WATCH = "watch"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Closed:
    """Everybody behind a port, by the kernel's word; untagged frames only.

    lladdrs  of the interfaces there
    ips      all addresses of their namespaces: Linux speaks with any of them
             (arp_announce 0, ip-sysctl)
    subnets  that the interfaces are in
    """

    lladdrs: frozenset[str]
    ips: frozenset[IPv4Address]
    subnets: tuple[IPv4Network, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """modes       of ports that are not just learned from
    closed      those of them that are closed
    configured  who holds an address of a VLAN by the operator's word
    given       the same by VLAN and holder, IPv4 only
    """

    modes: Mapping[PortKey, Mode]
    closed: Mapping[PortKey, Closed]
    configured: Mapping[tuple[int, IPAddress], str]
    given: Mapping[tuple[int, str], tuple[IPv4Address, ...]]

    def mode(self, port: PortKey) -> Mode:
        return self.modes.get(port, Mode.LEARN)

    def is_shared(self, vlan: int, lladdr: str) -> bool:
        """Several routers speak with it, as the operator knows."""
        return is_shared(lladdr) and (vlan, lladdr) in self.given


def is_shared(lladdr: str) -> bool:
    return lladdr.startswith(SHARED)


def trust(view: View) -> Trust:
    modes = modes_of(view.guards, view.ports, view.bridges)
    behind = chains(view.interfaces, view.links) if modes else {}
    return assembled(modes, behind, view.addresses, view.bindings)


@remember_last
def assembled(
    modes: Mapping[PortKey, Mode],
    behind: Mapping[PortKey, Chain],
    addresses: Tracked[AddressKey, Address],
    bindings: tuple[Fixed, ...],
) -> Trust:
    chosen = {key: behind[key] for key in modes if key in behind}
    closed = {key: chain for key, chain in chosen.items() if is_closed(chain)}
    table = by_namespace(addresses) if closed else {}
    shut_ports = {key: shut(chain, table) for key, chain in closed.items()}
    return Trust(modes, shut_ports, by_address(bindings), by_holder(bindings))


@remember_last
def by_address(bindings: tuple[Fixed, ...]) -> Mapping[tuple[int, IPAddress], str]:
    return {(fixed.vlan, fixed.ip): fixed.lladdr for fixed in bindings}


@remember_last
def by_holder(
    bindings: tuple[Fixed, ...],
) -> Mapping[tuple[int, str], tuple[IPv4Address, ...]]:
    given: dict[tuple[int, str], tuple[IPv4Address, ...]] = {}
    for fixed in bindings:
        if isinstance(fixed.ip, IPv4Address):
            key = (fixed.vlan, fixed.lladdr)
            given[key] = (*given.get(key, ()), fixed.ip)
    return given


# --- modes --------------------------------------------------------------------------

NO_MODES: Mapping[PortKey, Mode] = {}


@remember_last
def modes_of(
    guards: tuple[Guard, ...],
    ports: Tracked[PortKey, Port],
    bridges: Tracked[int, Bridge],
) -> Mapping[PortKey, Mode]:
    if not guards:
        return NO_MODES
    chosen = {(guard.bridge, guard.port): guard.mode for guard in guards}
    found = ((key, mode(port, ports, bridges, chosen)) for key, port in ports.items())
    return {
        key: Mode(text) for key, text in found if text in (Mode.WATCH, Mode.ENFORCE)
    }


def mode(
    port: Port,
    ports: Tracked[PortKey, Port],
    bridges: Tracked[int, Bridge],
    chosen: Mapping[tuple[str, str], str],
) -> str:
    """The nearest that is written: for the port, for its bridge, for all."""
    row = bridges.get(port.datapath_id)
    local = ports.get(PortKey(port.datapath_id, LOCAL_PORT))
    bridge = row.name if row else local.ifname if local else ""
    places = ((bridge, port.ifname), (bridge, ""), ("", ""))
    return next((chosen[place] for place in places if place in chosen), Mode.LEARN)


# --- what the kernel has closed -----------------------------------------------------


def is_closed(chain: Chain) -> bool:
    """Every end of the way is an interface with an address table that we see."""
    if chain.is_vague or chain.doors or not chain.speakers:
        return False
    seen = {one.link.key for one in chain.speakers if not one.is_guest}
    return all(way[-1].key in seen for way in chain.ends)


Addresses = Mapping[int, tuple[Address, ...]]


@remember_last
def by_namespace(addresses: Tracked[AddressKey, Address]) -> Addresses:
    table: dict[int, list[Address]] = {}
    for row in addresses.values():
        if isinstance(row.ip, IPv4Address) and not row.ip.is_loopback:
            table.setdefault(row.nsid, []).append(row)
    return {nsid: tuple(rows) for nsid, rows in table.items()}


def shut(chain: Chain, addresses: Addresses) -> Closed:
    links = {one.link.key for one in chain.speakers}
    rows = [
        row for nsid in {key.nsid for key in links} for row in addresses.get(nsid, ())
    ]
    own = (row for row in rows if (row.nsid, row.ifindex) in links)
    return Closed(
        frozenset(one.lladdr for one in chain.speakers),
        frozenset(ip for row in rows if isinstance(ip := row.ip, IPv4Address)),
        tuple(sorted(set(subnets(own)))),
    )


def subnets(rows: Iterator[Address]) -> Iterator[IPv4Network]:
    for row in rows:
        if isinstance(row.ip, IPv4Address) and 0 < row.prefixlen <= 32:
            yield IPv4Network((row.ip, row.prefixlen), strict=False)
