"""Hypothesis strategies: flows that a switch accepts, packets that meet them, views.

Values come from small pools, so that packets match and facts concern each other.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite
from immutables import Map

from flows.openflow import (
    BROADCAST,
    CONTROLLER,
    GROUP_BIT,
    IN_PORT,
    Action,
    Flow,
    GotoTable,
    Move,
    Output,
    SetField,
    oxm,
)
from flows.tracked import Tracked
from flows.view import (
    LOCAL_PORT,
    Address,
    Adjacency,
    Bridge,
    Claim,
    Fixed,
    Flooding,
    Fresh,
    Guard,
    Interface,
    IPAddress,
    Limits,
    Link,
    Namespace,
    Neighbor,
    Overlay,
    OverlayEnd,
    Port,
    Proxy,
    Router,
    Service,
    Shaper,
    Station,
    Tunnel,
    Untried,
    View,
    Vlans,
    bound_of,
    crowds_of,
)
from flows.vlans import MODES
from tests.packets import H1, H2, H3, ZERO

PORTS = (1, 2, 3, 4, LOCAL_PORT)
TABLES = 4  # table_id 0 to 3

LLADDRS = (H1, H2, H3, BROADCAST, ZERO, "33:33:00:00:00:01")
IPS = ("0.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.1.2", "127.0.0.1", "255.255.255.255")
IP6S = ("::", "fd00::1", "fd00::2", "fe80::1", "ff02::1")
MAC_VALUES = (*LLADDRS, f"{GROUP_BIT}/{GROUP_BIT}", f"{H2}/ff:ff:ff:00:00:ff")
IP_VALUES = (*IPS, "10.0.0.0/24", "127.0.0.0/8", "0.0.0.2/0.0.0.255")
IP6_VALUES = (*IP6S, "fd00::/16", "fe80::/10", "::1/::ff")
REGISTER = ("0", "1", "5", "4294967295", "0x1/0x1")

# What a flow may match, by what its other matches make certain (7.2.3.8).
Values = dict[str, tuple[str, ...]]
ANYTHING: Values = {
    "in_port": tuple(map(str, PORTS)),
    "reg0": REGISTER,
    "reg1": REGISTER,
    "reg7": REGISTER,
    "reg12": REGISTER,
    "eth_src": MAC_VALUES,
    "eth_dst": MAC_VALUES,
    "vlan_vid": ("0", "0x1000/0x1000", "0x1005", "0x1fff", "0x1004/0x1004"),
}
OF_ARP: Values = {
    "arp_op": ("1", "2", "9"),
    "arp_spa": IP_VALUES,
    "arp_tpa": IP_VALUES,
    "arp_sha": MAC_VALUES,
    "arp_tha": MAC_VALUES,
}
TTLS = ("0", "1", "64", "255")
OF_IPV4: Values = {"ipv4_src": IP_VALUES, "ipv4_dst": IP_VALUES, "ip_ttl": TTLS}
OF_ICMP: Values = {"icmpv4_type": ("0", "8"), "icmpv4_code": ("0", "1")}
OF_IPV6: Values = {"ipv6_src": IP6_VALUES, "ipv6_dst": IP6_VALUES, "ip_ttl": TTLS}
OF_ND: Values = {
    "ipv6_nd_target": IP6_VALUES,
    "nd_reserved": ("0x0", "0x60000000", "0xe0000000"),
    "nd_options_type": ("0", "1", "2"),
}
OF_SOLICITATION = OF_ND | {"ipv6_nd_sll": MAC_VALUES}
OF_ADVERTISEMENT = OF_ND | {"ipv6_nd_tll": MAC_VALUES}
WIDE: Values = {"xxreg1": ("0x0", "0x1", hex(5 << 96 | 7)), "xxreg2": ("0x0", "0x1")}

ICMP6 = {"eth_type": "0x86dd", "ip_proto": "58", "icmpv6_code": "0"}
KINDS: tuple[tuple[dict[str, str], Values], ...] = (
    ({}, {}),
    ({"eth_type": "0x806"}, OF_ARP),
    ({"eth_type": "0x88cc"}, {}),
    ({"eth_type": "0x800"}, OF_IPV4),
    ({"eth_type": "0x800", "ip_proto": "1"}, OF_IPV4 | OF_ICMP),
    ({"eth_type": "0x86dd"}, OF_IPV6),
    (ICMP6 | {"icmpv6_type": "135"}, OF_IPV6 | OF_SOLICITATION),
    (ICMP6 | {"icmpv6_type": "136"}, OF_IPV6 | OF_ADVERTISEMENT),
)

# Fields between which a value may be moved as a whole.
ALIKE = (
    {"eth_src", "eth_dst", "arp_sha", "arp_tha", "ipv6_nd_sll", "ipv6_nd_tll"},
    {"reg0", "reg1", "arp_spa", "arp_tpa", "ipv4_src", "ipv4_dst", "nd_reserved"},
    {"ipv6_src", "ipv6_dst", "ipv6_nd_target", "xxreg1", "xxreg2"},
)
WRITABLE = {
    *(*ANYTHING, *WIDE, *OF_ARP, *OF_IPV4),
    *(*OF_IPV6, *OF_SOLICITATION, *OF_ADVERTISEMENT),
} - {
    *("in_port", "vlan_vid"),
    # Open vSwitch writes these two together; flows of ours do so, too (flows.nd).
    *("nd_reserved", "nd_options_type"),
}


def plain(values: tuple[str, ...]) -> SearchStrategy[str]:
    """One of them that has no mask."""
    return st.sampled_from([value for value in values if "/" not in value])


@composite
def flows(
    draw: DrawFn,
    table: int | None = None,
    priority: int | None = None,
    kinds: tuple[tuple[dict[str, str], Values], ...] = KINDS,
    most: int = 4,
) -> Flow:
    """most  fields that are matched beside those which make the kind certain"""
    certain, possible = draw(st.sampled_from(kinds))
    offered = ANYTHING | possible
    names = draw(st.sets(st.sampled_from(sorted(offered)), max_size=most))
    chosen = {name: draw(st.sampled_from(offered[name])) for name in sorted(names)}
    if table is None:
        table = draw(st.integers(0, TABLES - 1))
    if priority is None:
        priority = draw(st.integers(0, 65535))
    match = oxm(**certain, **chosen)
    actions = draw(st.lists(steps(offered | WIDE, tagged(chosen)), max_size=8))
    if table < TABLES - 1 and draw(st.booleans()):
        actions.append(GotoTable(draw(st.integers(table + 1, TABLES - 1))))
    return Flow(table, priority, match, tuple(actions))


def tagged(match: dict[str, str]) -> bool:
    """Is it certain that the frame has a VLAN tag?"""
    return int(match.get("vlan_vid", "0").split("/")[-1], 0) & 0x1000 != 0


def steps(offered: Values, is_tagged: bool) -> SearchStrategy[Action]:
    """Actions that are allowed where these fields exist."""
    writable = sorted(WRITABLE & offered.keys())
    return st.one_of(
        st.sampled_from([Output(port) for port in (*PORTS, IN_PORT, CONTROLLER)]),
        st.sampled_from(moves(writable, is_tagged)),
        *(
            st.builds(SetField, st.just(name), plain(offered[name]))
            for name in writable
        ),
    )


def moves(writable: list[str], is_tagged: bool) -> list[Move]:
    whole = [
        Move(source, target)
        for source in writable
        for target in writable
        if source != target and any({source, target} <= fields for fields in ALIKE)
    ]
    vlan = [Move("vlan_vid", "reg1", bits=12)] if is_tagged else []
    lladdrs = [
        Move(source, "xxreg2", bits=48)
        for source in writable
        if source in ("eth_src", "ipv6_nd_sll", "ipv6_nd_tll")
    ]
    return [*whole, *lladdrs, Move("reg0", "reg1", bits=3), *vlan]


@composite
def flow_tables(draw: DrawFn, most: int = 24) -> tuple[Flow, ...]:
    """Flows of which no two have the same table and priority: OpenFlow does not say
    which of two equal ones a packet takes (5.3).  Every table has a table miss."""
    count = draw(st.integers(1, most))
    some = [
        draw(flows(table=number % TABLES, priority=100 + number, most=2))
        for number in range(count)
    ]
    misses = [draw(flows(table, 0, KINDS[:1], most=0)) for table in range(TABLES)]
    return (*some, *misses)


@composite
def packets(draw: DrawFn) -> dict[str, str]:
    """A frame as a switch sees it: every field that it has, without masks."""
    certain, possible = draw(st.sampled_from(KINDS))
    fields = {name: draw(plain(values)) for name, values in possible.items()}
    if {"ipv4_src", "ipv6_src"} & fields.keys():
        # Open vSwitch takes ip_proto 0 for a frame that has no IP header at all.
        fields["ip_proto"] = "17"
    return {
        "in_port": draw(plain(ANYTHING["in_port"])),
        "eth_src": draw(st.sampled_from(LLADDRS)),
        "eth_dst": draw(st.sampled_from(LLADDRS)),
        "vlan_vid": draw(plain(ANYTHING["vlan_vid"])),
        "eth_type": "0x1234",
        **fields,
        **certain,
    }


# --- views --------------------------------------------------------------------------

K = TypeVar("K")
Row = TypeVar("Row")

datapath_ids = st.sampled_from([1, 2, 3, (1 << 64) - 1])
port_numbers = st.sampled_from(PORTS)
vlans = st.sampled_from([0, 5, 4094])
nsids = st.integers(-1, 2)
ifindexes = st.integers(1, 6)
stations_lladdrs = st.sampled_from([H1, H2, H3])
lladdrs = st.sampled_from(["", H1, H2, H3])
addresses: SearchStrategy[IPAddress] = st.one_of(
    st.sampled_from(IPS).map(IPv4Address), st.sampled_from(IP6S).map(IPv6Address)
)
seconds = st.floats(0, 1e9)
ifnames = (  # IFNAMSIZ octets, any but NUL and "/"
    st.binary(min_size=1, max_size=15)
    .filter(lambda name: not {0, ord("/")} & set(name))
    .map(lambda name: name.decode(errors="surrogateescape"))
)

ports = st.builds(Port, datapath_ids, port_numbers, ifnames, lladdrs, st.booleans())
bridges = st.builds(
    Bridge,
    datapath_ids,
    ifnames,
    st.sampled_from(["", "secure", "standalone"]),
    st.booleans(),
    st.lists(st.just("tcp:127.0.0.1:6653"), max_size=2).map(tuple),
    st.booleans(),
)
underlays = st.sampled_from(["", "flow", "192.0.2.1", "192.0.2.2"])
tunnels = st.builds(Tunnel, underlays, underlays, st.sampled_from(["0", "7"]))
interfaces = st.builds(
    Interface,
    datapath_ids,
    port_numbers,
    ifnames,
    ifindexes,
    st.sampled_from(["", "internal", "patch", "vxlan"]),
    ifnames,
    st.just("") | st.uuids().map(str),
    tunnel=tunnels,
    vlans=st.builds(
        Vlans,
        st.none() | st.sampled_from([0, 5, 7]) | st.integers(0, 4095),
        st.lists(st.sampled_from([0, 5, 6, 7, 4095]), max_size=3).map(tuple),
        st.sampled_from(["", *MODES]),
    ),
)
links = st.builds(
    Link,
    nsids,
    ifindexes,
    ifnames,
    kind=st.sampled_from(["", "veth", "tun", "bridge", "macvlan", "vxlan"]),
    lladdr=lladdrs,
    up=st.booleans(),
    lower_up=st.booleans(),
    peer=st.integers(0, 6),
    peer_nsid=st.none() | nsids,
    master=st.integers(0, 6),
    holder=st.sampled_from(["", "qemu[42]"]),
    guest_lladdr=lladdrs,
    tunnel=tunnels,
    filters_vlans=st.booleans(),
)
link_addresses = st.builds(
    Address, nsids, ifindexes, addresses, st.integers(0, 32), st.booleans()
)
namespaces = st.builds(Namespace, nsids, ifnames)
neighbors = st.builds(
    Neighbor,
    nsids,
    ifindexes,
    addresses,
    stations_lladdrs,
    st.booleans(),
    st.booleans(),
)
routers = st.builds(Router, nsids, ifindexes, st.booleans())
shapers = st.builds(Shaper, nsids, ifindexes, st.integers(1, 10**14))
claims = st.lists(
    st.builds(
        Claim, addresses, seconds, st.none() | st.booleans(), st.none() | seconds
    ),
    max_size=3,
    unique_by=lambda claim: claim.ip,
).map(tuple)
stations = st.builds(
    Station, datapath_ids, vlans, stations_lladdrs, port_numbers, seconds, claims
)
bindings = st.lists(
    st.builds(Fixed, vlans, addresses, stations_lladdrs), max_size=3
).map(tuple)
guards = st.lists(
    st.builds(
        Guard,
        st.sampled_from(["learn", "watch", "enforce"]),
        st.sampled_from(["", "br0"]),
        st.just("") | ifnames,
    ),
    max_size=3,
).map(tuple)
services = st.lists(
    st.builds(
        Service,
        st.sampled_from(["router", "dhcp"]),
        st.booleans(),
        st.just("br0"),
        st.just("") | ifnames,
    ),
    max_size=3,
).map(tuple)
PROTECTED, PROTECTED6 = ip_network("10.0.0.0/31"), ip_network("fd00::/64")
RULES = (
    Proxy("off"),
    Proxy("host", "br0", prefix=PROTECTED),
    Proxy("off", vlan=5, prefix=ip_network("10.0.0.2/32"), where="lab.yaml:3"),
    Proxy("gateway", prefix=ip_network("10.0.0.2/32"), lladdr=H3),
    Proxy("gateway", "br0", 5, ip_network("fd00::2/128"), H3, router=False),
    Proxy("interpose", "", 0, PROTECTED, H3),
    Proxy("interpose", "br0", 0, PROTECTED6, H3, closed=False),
    Proxy("interpose", "", 5, PROTECTED6, port="p1"),
    Proxy("private", "br0", promiscuous=("p1", "p2")),
    Proxy("private", "", 5, lladdr=H1, where="lab.yaml:9"),
    Proxy("private", "", 0, port="p3"),
    Proxy("what nobody knows", "br0", 0),
)
proxies = st.lists(st.sampled_from(RULES), max_size=4, unique=True).map(tuple)
adjacencies = st.builds(
    Adjacency, datapath_ids, port_numbers, datapath_ids, port_numbers, st.just(1.0)
)
UNDERLAYS = (
    *map(IPv4Address, ("192.0.2.1", "192.0.2.2")),
    IPv6Address("2001:db8::3"),
)
overlays = st.lists(
    st.builds(
        Overlay,
        st.sampled_from(["blue", "red"]),
        st.sampled_from([7, 5000]),
        st.lists(
            st.builds(
                OverlayEnd,
                datapath_ids,
                st.sampled_from([f"s{s}-eth{n}" for s in (1, 2, 3) for n in (3, 5, 6)]),
                st.sampled_from(UNDERLAYS),
            ),
            max_size=4,
        ).map(tuple),
    ),
    max_size=2,
).map(tuple)
untried = st.builds(Untried, datapath_ids, port_numbers, st.just(1.0))
floods = st.builds(
    Flooding,
    datapath_ids,
    st.lists(port_numbers, max_size=3, unique=True).map(tuple),
    st.just(()),
    st.booleans(),
    st.lists(port_numbers, max_size=2, unique=True).map(tuple),
    st.just(2.0),
)
fresh = st.builds(
    Fresh,
    datapath_ids,
    vlans,
    stations_lladdrs,
    st.lists(datapath_ids, max_size=2, unique=True).map(tuple),
)
limits = st.builds(Limits, st.integers(1, 9), st.integers(1, 9))


def tables(
    rows: SearchStrategy[Row], key: Callable[[Row], K]
) -> SearchStrategy[Tracked[K, Row]]:
    return st.lists(rows, max_size=4).map(
        lambda some: Tracked((key(r), r) for r in some)
    )


def maps(
    rows: SearchStrategy[Row], key: Callable[[Row], K]
) -> SearchStrategy[Map[K, Row]]:
    return tables(rows, key).map(lambda some: Map(dict(some)))


@composite
def views(draw: DrawFn) -> View:
    heard = draw(tables(stations, lambda row: row.key))
    return View(
        ports=draw(tables(ports, lambda row: row.key)),
        bridges=draw(tables(bridges, lambda row: row.datapath_id)),
        interfaces=draw(tables(interfaces, lambda row: row.key)),
        links=draw(tables(links, lambda row: row.key)),
        addresses=draw(tables(link_addresses, lambda row: row.key)),
        namespaces=draw(tables(namespaces, lambda row: row.key)),
        neighbors=draw(tables(neighbors, lambda row: row.key)),
        routers=draw(tables(routers, lambda row: row.key)),
        shapers=draw(tables(shapers, lambda row: row.key)),
        floods=draw(tables(floods, lambda row: row.datapath_id)),
        fresh=draw(tables(fresh, lambda row: row.key)),
        adjacencies=draw(maps(adjacencies, lambda row: row.key)),
        departed=draw(maps(adjacencies, lambda row: row.key)),
        untried=draw(maps(untried, lambda row: row.key)),
        stations=heard,
        crowds=crowds_of(heard),
        bound=bound_of(heard),
        bindings=draw(bindings),
        guards=draw(guards),
        services=draw(services),
        proxies=draw(proxies),
        confine=draw(st.booleans()),
        limits=draw(limits),
        overlays=draw(overlays),
    )
