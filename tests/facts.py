"""Facts and views, written the way one would describe a small network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from immutables import Map

from flows.view import (
    OWN_NAMESPACE,
    Ability,
    Address,
    Adjacency,
    Bridge,
    Claim,
    Echo,
    Fixed,
    Flooding,
    Fresh,
    Guard,
    Interface,
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
    Sponge,
    Station,
    Tunnel,
    Untried,
    View,
    bound_of,
    crowds_of,
)

S1, S2, S3 = 1, 2, 3  # datapath_id
H1, H2, H3 = (f"02:00:00:00:00:0{n}" for n in (1, 2, 3))

Fact = (
    Port
    | Ability
    | Bridge
    | Interface
    | Link
    | Address
    | Namespace
    | Neighbor
    | Router
    | Shaper
    | Flooding
    | Fresh
    | Station
    | Sponge
    | Echo
    | Adjacency
    | Untried
    | Fixed
    | Guard
    | Service
    | Limits
    | Proxy
    | Overlay
)

TABLE_OF = {
    Port: "ports",
    Interface: "interfaces",
    Link: "links",
    Address: "addresses",
    Namespace: "namespaces",
    Neighbor: "neighbors",
    Router: "routers",
    Shaper: "shapers",
    Station: "stations",
    Fresh: "fresh",
    Sponge: "sponges",
    Echo: "echoes",
    Adjacency: "adjacencies",
    Untried: "untried",
}


def view_of(*facts: Fact | Iterable[Fact]) -> View:
    """The view that consists of these facts."""
    view = View()
    for fact in flat(facts):
        if isinstance(fact, Bridge):
            bridges = view.bridges.set(fact.datapath_id, fact)
            view = replace(view, bridges=bridges)
        elif isinstance(fact, Flooding):
            view = replace(view, floods=view.floods.set(fact.datapath_id, fact))
        elif isinstance(fact, Ability):
            abilities = view.abilities.set(fact.datapath_id, fact)
            view = replace(view, abilities=abilities)
        elif isinstance(fact, Fixed):
            view = replace(view, bindings=(*view.bindings, fact))
        elif isinstance(fact, Guard):
            view = replace(view, guards=(*view.guards, fact))
        elif isinstance(fact, Service):
            view = replace(view, services=(*view.services, fact))
        elif isinstance(fact, Proxy):
            view = replace(view, proxies=(*view.proxies, fact))
        elif isinstance(fact, Overlay):
            view = replace(view, overlays=(*view.overlays, fact))
        elif isinstance(fact, Limits):
            view = replace(view, limits=fact)
        else:
            name = TABLE_OF[type(fact)]
            table: Map[Any, Any] = getattr(view, name)
            changed: dict[str, Any] = {name: table.set(fact.key, fact)}
            view = replace(view, **changed)
    crowds, bound = crowds_of(view.stations), bound_of(view.stations)
    return replace(told(view), crowds=crowds, bound=bound)


def told(view: View) -> View:
    """OVSDB tells of each port of this host, if not of the interface behind it."""
    for key, row in view.ports.items():
        if key.datapath_id in view.bridges and key not in view.interfaces:
            plain = Interface(*key, row.ifname, 0)
            view = replace(view, interfaces=view.interfaces.set(key, plain))
    return view


def flat(facts: Iterable[Fact | Iterable[Fact]]) -> Iterator[Fact]:
    for fact in facts:
        if isinstance(fact, Fact):
            yield fact
        else:
            yield from fact


def port_lladdr(datapath_id: int, port_no: int) -> str:
    return f"06:00:00:00:{datapath_id:02x}:{port_no:02x}"


def port(datapath_id: int, port_no: int, *, up: bool = True) -> Port:
    name = f"s{datapath_id}-eth{port_no}"
    return Port(datapath_id, port_no, name, port_lladdr(datapath_id, port_no), up)


def ports(datapath_id: int, *numbers: int) -> list[Port]:
    return [port(datapath_id, number) for number in numbers]


def ifindex(datapath_id: int, port_no: int) -> int:
    return datapath_id * 100 + port_no


def interface(datapath_id: int, port_no: int, **fields: Any) -> Interface:
    name = f"s{datapath_id}-eth{port_no}"
    row = Interface(datapath_id, port_no, name, ifindex(datapath_id, port_no))
    return replace(row, **fields)


def kernel_host(
    datapath_id: int,
    port_no: int,
    lladdr: str,
    *ips: str,
    nsid: int = 0,
    up: bool = True,
) -> list[Fact]:
    """A namespace with one veth end, `ips` on it, behind a port of this host."""
    near = ifindex(datapath_id, port_no)
    return [
        port(datapath_id, port_no, up=up),
        interface(datapath_id, port_no),
        Link(
            OWN_NAMESPACE,
            near,
            f"s{datapath_id}-eth{port_no}",
            "veth",
            port_lladdr(datapath_id, port_no),
            lower_up=up,
            peer=near,
            peer_nsid=nsid,
        ),
        Link(
            nsid,
            near,
            f"h{nsid}-eth0",
            "veth",
            lladdr,
            lower_up=up,
            peer=near,
            peer_nsid=OWN_NAMESPACE,
        ),
        Namespace(nsid, f"h{nsid}"),
        *(Address(nsid, near, ip_address(ip), 24) for ip in ips),
    ]


def heard_host(
    datapath_id: int,
    port_no: int,
    lladdr: str,
    *ips: str,
    vlan: int = 0,
    at: float = 0.0,
    router: bool | None = None,
) -> list[Fact]:
    """A station that said of itself that it holds `ips`."""
    claims = tuple(Claim(ip_address(ip), at, router) for ip in ips)
    return [
        port(datapath_id, port_no),
        Station(datapath_id, vlan, lladdr, port_no, at, claims),
    ]


def cable(one: tuple[int, int], other: tuple[int, int]) -> list[Fact]:
    """A veth pair whose ends are ports of two bridges of this host."""
    facts: list[Fact] = []
    for near, far in ((one, other), (other, one)):
        facts += [
            port(*near),
            interface(*near),
            Bridge(near[0], f"s{near[0]}"),
            Link(
                OWN_NAMESPACE,
                ifindex(*near),
                f"s{near[0]}-eth{near[1]}",
                "veth",
                port_lladdr(*near),
                peer=ifindex(*far),
                peer_nsid=OWN_NAMESPACE,
            ),
        ]
    return facts


def tunnel_port(datapath_id: int, port_no: int, *, up: bool = True) -> list[Fact]:
    """One whose far end, and whose key, flows set."""
    tunnel = Tunnel(remote="flow", key="flow")
    return [
        port(datapath_id, port_no, up=up),
        interface(datapath_id, port_no, ifindex=0, type="vxlan", tunnel=tunnel),
    ]


VXLAN_DEVICES = 1_000_000  # ifindex from which on there is nothing else


def vxlan_device(
    datapath_id: int, port_no: int, vni: int = 5000, **other: Any
) -> list[Fact]:
    """One of this host's kernel, made for the end that `overlay` has there, as a port
    of the switch."""
    near = port(datapath_id, port_no)
    index = VXLAN_DEVICES + ifindex(datapath_id, port_no)
    link = Link(
        nsid=OWN_NAMESPACE,
        ifindex=index,
        ifname=near.ifname,
        kind="vxlan",
        lladdr="02:00:00:00:09:00",
        up=True,
        lower_up=True,
        tunnel=Tunnel(local=underlay(datapath_id), key=str(vni), port=4789),
    )
    row = interface(datapath_id, port_no, ifindex=index)
    return [near, row, replace(link, **other)]


def underlay(datapath_id: int) -> str:
    """Address of a switch's end of overlays."""
    return f"192.0.2.{datapath_id}"


def overlay(name: str, vni: int, *ends: tuple[int, int]) -> Overlay:
    return Overlay(
        name,
        vni,
        tuple(
            OverlayEnd(s, port(s, n).ifname, ip_address(underlay(s))) for s, n in ends
        ),
    )


def limited(end: tuple[int, int], rate: int) -> Shaper:
    """What the port sends, in bits per second: one end of a TCLink."""
    return Shaper(OWN_NAMESPACE, ifindex(*end), rate)


QBR, QVB, TAP = 10_000, 20_000, 30_000  # added to the ifindex of the port


def qbr_lladdr(port_no: int) -> str:
    return f"0a:00:00:00:00:{port_no:02x}"


def bridged_tap(
    datapath_id: int, port_no: int, guest: str = "", *, up: bool = True
) -> list[Fact]:
    """The OpenStack way: port - qvo - qvb - linux bridge qbr - tap - `guest`.

    up  somebody holds the tap
    """
    near = ifindex(datapath_id, port_no)
    own = Link(OWN_NAMESPACE, 0, "")
    bridge = near + QBR
    return [
        port(datapath_id, port_no),
        interface(datapath_id, port_no),
        replace(
            own,
            ifindex=near,
            ifname=f"s{datapath_id}-eth{port_no}",
            kind="veth",
            lladdr=port_lladdr(datapath_id, port_no),
            peer=near + QVB,
            peer_nsid=OWN_NAMESPACE,
        ),
        replace(
            own,
            ifindex=near + QVB,
            ifname=f"qvb{near}",
            kind="veth",
            lladdr=f"0a:00:00:00:01:{port_no:02x}",
            peer=near,
            peer_nsid=OWN_NAMESPACE,
            master=bridge,
        ),
        replace(
            own,
            ifindex=bridge,
            ifname=f"qbr{near}",
            kind="bridge",
            lladdr=qbr_lladdr(port_no),
        ),
        replace(
            own,
            ifindex=near + TAP,
            ifname=f"tap{near}",
            kind="tun",
            lladdr=f"fe:00:00:00:01:{port_no:02x}",
            lower_up=up,
            master=bridge,
            holder="qemu[812]" if up else "",
            guest_lladdr=guest if up else "",
        ),
    ]


def patch(one: tuple[int, int], other: tuple[int, int]) -> list[Fact]:
    """Two patch ports that are connected."""
    facts: list[Fact] = []
    for near, far in ((one, other), (other, one)):
        name, peer = (f"s{end[0]}-eth{end[1]}" for end in (near, far))
        facts += [
            port(*near),
            Interface(*near, name, 0, "patch", peer),
            Bridge(near[0], f"s{near[0]}"),
        ]
    return facts
