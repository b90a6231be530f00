"""A network as a value: switches, hosts, taps and the cables between them.

Names are those of Mininet: hosts h1..hN, switches s1..sN, and the interface at port N
of a node is "{node}-ethN".  A tap is named as its interface, since it is nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

LONGEST_NAME = 15  # octets of an interface name: IFNAMSIZ - 1, linux/if.h


class End(NamedTuple):
    """Where a cable is plugged in: an OpenFlow port of a switch, counted from 1."""

    switch: str
    port: int


@dataclass(frozen=True, slots=True)
class Switch:
    """An Open vSwitch bridge.

    dpid  datapath identifier, 64 bits
    """

    name: str
    dpid: int


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace with one interface, "{name}-eth0", the end of a veth pair.

    ip   protocol address; its prefix length is the network's
    mac  six octets as "02:00:00:00:00:01"
    """

    name: str
    ip: str
    mac: str
    at: End

    @property
    def interface(self) -> str:
        return f"{self.name}-eth0"

    @property
    def port_interface(self) -> str:
        """The other end of the veth pair, which the switch holds."""
        return f"{self.at.switch}-eth{self.at.port}"


@dataclass(frozen=True, slots=True)
class Tap:
    """A host that is a process: it holds the interface `name` open and answers itself.

    ip, mac  of the process; the kernel's end of the tap has another hardware address
    """

    name: str
    ip: str
    mac: str
    at: End

    @property
    def port_interface(self) -> str:
        return self.name


class Link(NamedTuple):
    """A veth pair between two switches."""

    one: End
    other: End

    @property
    def port_interfaces(self) -> tuple[str, str]:
        one, other = (f"{end.switch}-eth{end.port}" for end in self)
        return one, other


Station = Host | Tap


@dataclass(frozen=True, slots=True)
class Network:
    """Everything that Mininet has to make.  Inconsistent values are refused.

    prefixlen  of the addresses of hosts
    ipv6       hosts speak IPv6; without it their kernels are silent until spoken to
    """

    name: str
    switches: tuple[Switch, ...]
    hosts: tuple[Host, ...] = ()
    taps: tuple[Tap, ...] = ()
    links: tuple[Link, ...] = ()
    prefixlen: int = 24
    ipv6: bool = False

    def __post_init__(self) -> None:
        if found := sorted(problems(self)):
            raise ValueError(f"network {self.name}: {'; '.join(found)}")

    @property
    def stations(self) -> tuple[Station, ...]:
        return self.hosts + self.taps

    @property
    def interfaces(self) -> tuple[str, ...]:
        """Every interface it puts into the namespace of Open vSwitch, bridges too."""
        ports = [station.port_interface for station in self.stations]
        cables = [name for link in self.links for name in link.port_interfaces]
        return (*(switch.name for switch in self.switches), *ports, *cables)

    def switch(self, name: str) -> Switch:
        return next(switch for switch in self.switches if switch.name == name)

    def station(self, name: str) -> Station:
        return next(station for station in self.stations if station.name == name)


def problems(network: Network) -> Iterator[str]:
    """What cannot be built, or not told apart."""
    nodes = Counter(node.name for node in (*network.switches, *network.stations))
    macs = Counter(station.mac for station in network.stations)
    dpids = Counter(switch.dpid for switch in network.switches)
    ends = Counter(_ends(network))
    yield from (f"two nodes are named {name}" for name in _repeated(nodes))
    yield from (f"two stations have the address {mac}" for mac in _repeated(macs))
    yield from (f"two switches have the dpid {dpid}" for dpid in _repeated(dpids))
    yield from (f"{end.switch} port {end.port} is taken" for end in _repeated(ends))
    known = {switch.name for switch in network.switches}
    yield from (f"no switch {end.switch}" for end in ends if end.switch not in known)
    for name in network.interfaces:
        if len(name) > LONGEST_NAME:
            yield f"the interface name {name} exceeds {LONGEST_NAME} octets"


def _repeated(counter: Counter[Any]) -> Iterator[Any]:
    return (what for what, count in counter.items() if count > 1)


def _ends(network: Network) -> Iterator[End]:
    yield from (station.at for station in network.stations)
    for link in network.links:
        yield from link


def islands(network: Network) -> tuple[frozenset[str], ...]:
    """The sets of switches that cables join, in the order of their first switch."""
    island = {switch.name: frozenset({switch.name}) for switch in network.switches}
    for link in network.links:
        joined = island[link.one.switch] | island[link.other.switch]
        island.update(dict.fromkeys(joined, joined))
    return tuple(dict.fromkeys(island.values()))


def has_loop(network: Network) -> bool:
    """A forest has one link less than switches for each of its trees."""
    trees = len(islands(network))
    return len(network.links) > len(network.switches) - trees


def renamed(network: Network, prefix: str, first_dpid: int) -> Network:
    """The same network under other names, where these are taken on a machine.

    prefix      put before every name that is seen outside of the hosts' namespaces
    first_dpid  of the first switch; the others follow
    """

    def moved(end: End) -> End:
        return end._replace(switch=prefix + end.switch)

    return replace(
        network,
        switches=tuple(
            Switch(prefix + switch.name, first_dpid + number)
            for number, switch in enumerate(network.switches)
        ),
        hosts=tuple(replace(host, at=moved(host.at)) for host in network.hosts),
        taps=tuple(
            replace(tap, name=prefix + tap.name, at=moved(tap.at))
            for tap in network.taps
        ),
        links=tuple(Link(moved(one), moved(other)) for one, other in network.links),
    )


# --- as text, for another process -------------------------------------------------


def to_json(network: Network) -> str:
    return json.dumps(asdict(network))


def from_json(text: str) -> Network:
    given = json.loads(text)
    return Network(
        name=given["name"],
        switches=tuple(Switch(**switch) for switch in given["switches"]),
        hosts=tuple(Host(**_placed(host)) for host in given["hosts"]),
        taps=tuple(Tap(**_placed(tap)) for tap in given["taps"]),
        links=tuple(Link(*(End(*end) for end in link)) for link in given["links"]),
        prefixlen=given["prefixlen"],
        ipv6=given["ipv6"],
    )


def _placed(station: dict[str, Any]) -> dict[str, Any]:
    return {**station, "at": End(*station["at"])}
