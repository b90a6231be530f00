"""The real pipeline on a real switch: `simulate` and ofproto/trace agree on a corpus,
and ovs-ofctl sees no difference between what is sent and what is printed."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from flows import wire, wire_groups
from flows.compile import compile_flows
from flows.groups import groups
from flows.network import network
from flows.openflow import Flow, texts
from flows.simulate import simulate
from flows.switch import Switch
from flows.view import Address, Bridge, Fixed, Guard, Limits, Proxy, View
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    cable,
    heard_host,
    kernel_host,
    ports,
    view_of,
)
from tests.packets import (
    BROADCAST,
    advertisement,
    announcement,
    arp_reply,
    arp_request,
    dad,
    ipv4,
    ipv6,
    poll,
    probe,
    solicitation,
)
from tests.support.openflow import Channel
from tests.support.ovs import PrivateOvs
from tests.support.trace import looked_at, plainly, trace
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

BRIDGE = "br0"
SOON = 20.0  # seconds: beyond, something is broken, not slow
NUMBERS = (1, 2, 3, 8, 9)
STRANGER = "02:00:00:00:00:77"

GUARDED = (
    Bridge(S1, "s1"),
    ports(S1, *NUMBERS),
    kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
    kernel_host(S1, 2, H2, "10.0.0.2", nsid=1),
    heard_host(S1, 3, H3, "10.0.0.3"),
    Fixed(0, IPv4Address("10.0.0.4"), "00:00:5e:00:01:07"),
    Fixed(0, IPv4Address("10.0.0.3"), H3),
    Address(0, 77, IPv4Address("192.0.2.1"), 24),
)
GATEWAY = "02:00:00:00:00:fe"
SHOWN = (
    ports(S1, *NUMBERS),
    kernel_host(S1, 1, H1, "10.0.0.1", "fd00::1", nsid=0),
    kernel_host(S1, 2, H2, "10.0.0.2", "fd00::2", nsid=1),
    heard_host(S1, 3, H3, "10.0.0.3"),
)
WALL = (
    Proxy("interpose", "", 0, ip_network("10.0.0.2/31"), H3),
    Proxy("interpose", "", 0, ip_network("fd00::2/127"), H3),
    Proxy("host", "", 0, ip_network("10.0.0.3")),
)
VIEWS = {
    "enforcing": view_of(*GUARDED, Guard("enforce")),
    "watching": view_of(*GUARDED, Guard("watch"), Guard("enforce", "s1", "s1-eth1")),
    "one switch": view_of(
        ports(S1, *NUMBERS),
        kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
        kernel_host(S1, 2, H2, "10.0.0.2", nsid=1),
        heard_host(S1, 3, H3, "10.0.0.3"),
    ),
    "IPv6": view_of(
        ports(S1, *NUMBERS),
        kernel_host(S1, 1, H1, "fd00::1", nsid=0),
        heard_host(S1, 2, H2, "fd00::2", router=False),
        heard_host(S1, 3, H3, "fd00::3"),
        heard_host(S1, 2, "02:00:00:00:00:05", "fd00::5", router=True),
    ),
    "IPv6 and VLANs": view_of(
        ports(S1, *NUMBERS),
        heard_host(S1, 1, H1, "fd00::1", vlan=5, router=False),
        heard_host(S1, 2, H2, "fd00::2", vlan=5, router=True),
        heard_host(S1, 3, H3, "fd00::2", router=False),
    ),
    "two VLANs": view_of(
        ports(S1, *NUMBERS),
        heard_host(S1, 1, H1, "10.0.0.1", vlan=5),
        heard_host(S1, 2, H2, "10.0.0.2", vlan=5),
        heard_host(S1, 3, H3, "10.0.0.2"),
    ),
    "the end of a line": view_of(
        cable((S1, 9), (S2, 8)),
        heard_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S2, 1, H2, "10.0.0.2"),
        ports(S1, 2, 3, 8),
    ),
    "a ring": view_of(
        cable((S2, 9), (S1, 8)),
        cable((S1, 9), (S3, 8)),
        cable((S2, 8), (S3, 9)),
        heard_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S3, 1, H3, "10.0.0.3"),
        ports(S1, 2, 3),
    ),
    "full": view_of(
        ports(S1, *NUMBERS),
        heard_host(S1, 1, H1, "10.0.0.1"),
        Limits(stations_per_port=1, addresses_per_station=1),
    ),
    "nothing known": view_of(ports(S1, *NUMBERS)),
    "gateways": view_of(
        *SHOWN,
        Proxy("gateway", prefix=ip_network("10.0.0.99"), lladdr=GATEWAY),
        Proxy("gateway", "", 5, ip_network("10.0.0.2"), GATEWAY),
        Proxy("gateway", "", 0, ip_network("fd00::99"), GATEWAY, router=False),
        Proxy("off", "", 5, ip_network("10.0.0.99")),
        Proxy("off", prefix=ip_network("10.0.0.1")),
    ),
    "a firewall": view_of(*SHOWN, *WALL),
    "no firewall": view_of(*SHOWN[:3], *WALL),
    "private": view_of(*SHOWN, Proxy("private", port="s1-eth3")),
    "private, on one VLAN": view_of(
        *SHOWN,
        Proxy("private", "", 5, promiscuous=("s1-eth1",)),
        Proxy("private", "", 0, None, H3, promiscuous=("s1-eth3", "s1-eth8")),
    ),
}


def corpus() -> Iterator[dict[str, str]]:
    addresses = ("10.0.0.1", "10.0.0.2", "10.0.0.99")
    yield from echoes()
    for in_port, vlan, sha in product((1, 2, 9), (0, 5), (H1, H2, STRANGER)):
        for tpa in addresses:
            at = {"in_port": in_port, "sha": sha, "vlan": vlan}
            yield arp_request(**at, spa="10.0.0.1", tpa=tpa)  # type: ignore[arg-type]
            yield probe(**at, tpa=tpa)  # type: ignore[arg-type]
            yield announcement(**at, ip=tpa)  # type: ignore[arg-type]
            yield poll(**at, spa="10.0.0.2", tha=H1, tpa=tpa)  # type: ignore[arg-type]
            yield arp_reply(**at, spa=tpa, tha=H2, tpa="10.0.0.1")  # type: ignore[arg-type]
        for eth_dst in (H1, H2, H3, STRANGER, BROADCAST, "01:80:c2:00:00:00"):
            yield ipv4(in_port=in_port, eth_src=sha, eth_dst=eth_dst, vlan=vlan)
        yield from neighbor_discovery(in_port, vlan, sha)
    for source in ("01:00:5e:00:00:01", "00:00:00:00:00:00"):
        yield ipv4(in_port=1, eth_src=source, eth_dst=H2)
    for spa in ("127.0.0.1", "224.0.0.1", "255.255.255.255"):
        yield arp_request(in_port=1, sha=H1, spa=spa, tpa="10.0.0.2")


def echoes() -> Iterator[dict[str, str]]:
    for vlan, sender, dst in product((0, 5), ((1, H1), (2, H2)), ("1", "2", "99")):
        at: dict[str, Any] = {"in_port": sender[0], "eth_src": sender[1], "vlan": vlan}
        for eth_dst in (GATEWAY, H2, H3):
            one: dict[str, Any] = {**at, "eth_dst": eth_dst}
            yield ipv4(**one, src=f"10.0.0.{sender[0]}", dst=f"10.0.0.{dst}")
            yield ipv6(**one, src=f"fd00::{sender[0]}", dst=f"fd00::{dst}")
            yield ipv6(**one, src=f"fe80::{sender[0]}", dst="fe80::2")


def neighbor_discovery(
    in_port: int, vlan: int, lladdr: str
) -> Iterator[dict[str, str]]:
    at: dict[str, Any] = {"in_port": in_port, "eth_src": lladdr, "vlan": vlan}
    for target in ("fd00::1", "fd00::2", "fd00::5", "fd00::99"):
        for src, sll in (("fd00::1", None), ("fd00::2", ""), ("fe80::9", H2)):
            yield solicitation(**at, src=src, target=target, sll=sll)
        yield solicitation(**at, target=target, eth_dst=H2)
        yield dad(**at, target=target)
        for flags in ("0x20000000", "0x60000000", "0xa0000000"):
            yield advertisement(**at, target=target, flags=flags)
        yield advertisement(**at, target=target, eth_dst=H1, dst="fd00::1", tll="")
    yield ipv6(**at, eth_dst=H2)
    yield solicitation(**at) | {"ip_ttl": "64"}
    yield ipv6(**at, eth_dst=H2) | {"icmpv6_type": "135", "icmpv6_code": "1"}
    yield solicitation(**at, src="ff02::9")


@pytest.fixture
def switch(ovs: PrivateOvs) -> Iterator[Channel]:
    ovs.add_bridge(BRIDGE, "fail_mode=secure")
    for number in NUMBERS:
        ovs.vsctl(
            *("add-port", BRIDGE, f"p{number}", "--", "set", "interface"),
            *(f"p{number}", "type=internal", f"ofport_request={number}"),
        )
    with Channel(ovs.directory / f"{BRIDGE}.mgmt") as channel:
        yield channel


def installed(ovs: PrivateOvs, switch: Channel, view: View) -> list[Flow]:
    """The flows of a view, and their groups, whose ports are up."""
    flows = [*compile_flows(view, S1).values()]
    needed = groups(Switch(S1, view, network(view))).values()
    messages = map(wire.flow_mod, flows)
    assert switch.ask(*map(wire_groups.put_group, needed), *messages) == []
    for port_no in {one.watch_port for group in needed for one in group.buckets}:
        up = f"p{port_no}"
        ovs.run("ip", "link", "set", up, "up")
        wait_until(lambda up=up: is_up(ovs, up), within=SOON, why=f"{up} to be up")  # type: ignore[misc]
    return flows


def is_up(ovs: PrivateOvs, name: str) -> bool:
    shown = ovs.ofctl("-OOpenFlow13", "show", BRIDGE).partition(f"({name})")[2]
    return "LIVE" in shown.partition("state:")[2].partition("\n")[0]


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_every_packet_is_treated_alike_by_simulation_and_switch(
    ovs: PrivateOvs, switch: Channel, view: View
) -> None:
    flows = installed(ovs, switch, view)

    for packet in corpus():
        computed = plainly(int(packet["in_port"]), simulate(flows, packet))
        assert trace(ovs, BRIDGE, packet) == computed, packet


def test_between_switches_the_datapath_keeps_an_entry_for_a_station_not_for_a_pair(
    ovs: PrivateOvs, switch: Channel
) -> None:
    view = view_of(
        ports(S1, 2, 3),
        cable((S1, 8), (S2, 8)),
        cable((S1, 9), (S3, 8)),
        kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
        heard_host(S2, 1, H2, "10.0.0.2"),
        heard_host(S3, 1, H3, "10.0.0.3"),
    )
    installed(ovs, switch, view)

    through, out = (
        ipv4(in_port=8, eth_src=H2, eth_dst=dst, dst=ip)
        for dst, ip in ((H3, "10.0.0.3"), (H1, "10.0.0.1"))
    )
    assert looked_at(ovs, BRIDGE, through) == {"in_port", "eth_dst"}
    assert looked_at(ovs, BRIDGE, out) == {"in_port", "eth_dst"}
    comes_in = ipv4(in_port=1, eth_src=H1, eth_dst=H3, dst="10.0.0.3")
    assert looked_at(ovs, BRIDGE, comes_in) == {"in_port", "eth_src", "eth_dst"}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_ovs_ofctl_sees_no_difference_between_octets_and_text(
    ovs: PrivateOvs, switch: Channel, view: View, tmp_path: Path
) -> None:
    flows = installed(ovs, switch, view)
    printed = tmp_path / "flows"
    printed.write_text(texts(flows))

    ovs.ofctl("-O", "OpenFlow13", "diff-flows", BRIDGE, str(printed))
