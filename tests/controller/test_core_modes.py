"""The core where rules say how questions are answered: what it learns, tells, sends."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest

from controller.commands import Command, SendPacket, TellConflict
from controller.core import Core
from controller.events import ArpSeen, FlowsListed, NdSeen, PortChanged, SwitchReady
from controller.ndp import advertisement, solicitation
from controller.packets import arp_reply, parse
from controller.policy import Policy
from flows.nd import solicited_node
from flows.view import IPAddress, Proxy
from tests.facts import H1, H2, H3, S1, port, ports

GW, FIREWALL = "02:00:00:00:00:fe", "02:00:00:00:00:0f"
IP, IP6 = IPv4Address("10.0.0.254"), IPv6Address("fd00::fe")
V4 = Proxy("gateway", prefix=ip_network(IP), lladdr=GW, where="lab.yaml:3")
V6 = Proxy("gateway", prefix=ip_network(IP6), lladdr=GW)


def connected(*rules: Proxy) -> Core:
    core = Core(Policy(proxies=rules))
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    core.handle([FlowsListed(S1, frozenset())], now=0.1)
    return core


def arp(
    spa: str, tpa: str, *, sha: str = H1, op: int = 1, eth_dst: str = "", at: int = 1
) -> ArpSeen:
    to = eth_dst or "ff:ff:ff:ff:ff:ff"
    ends = IPv4Address(spa), "00:00:00:00:00:00", IPv4Address(tpa)
    return ArpSeen(S1, at, 0, sha, to, op, sha, *ends)


def asks(
    target: IPv6Address, src: str, *, lladdr: str = H1, at: int = 1, option: bool = True
) -> NdSeen:
    group = solicited_node(target)
    data = solicitation(
        eth_src=lladdr,
        eth_dst="33:33:" + group.packed[-4:].hex(":"),
        src=IPv6Address(src),
        dst=group,
        target=target,
    )
    heard = parse(S1, at, data)
    assert isinstance(heard, NdSeen)
    return heard if option else replace(heard, lladdr="", has_room=False)


def claims(core: Core) -> set[IPAddress]:
    return {c.ip for row in core.view.stations.values() for c in row.claims}


def sent(commands: list[Command]) -> list[bytes]:
    return [one.data for one in commands if isinstance(one, SendPacket)]


def told(commands: list[Command]) -> list[str]:
    return [one.text for one in commands if isinstance(one, TellConflict)]


@pytest.mark.parametrize(
    ("op", "tpa"), [(1, "10.0.0.254"), (1, "10.0.0.2"), (2, "10.0.0.2")]
)
def test_who_claims_a_gateway_is_told_of_and_never_believed(op: int, tpa: str) -> None:
    core = connected(V4)
    core.handle([arp(str(IP), tpa, op=op)], now=0.2)
    assert claims(core) == set()
    assert [row.lladdr for row in core.view.stations.values()] == [H1]
    [line] = told(core.handle([], now=5.0))
    assert f"{H1} at 1:s1-eth1 says that it has {IP}, which {GW} holds" in line


def test_a_router_that_is_the_gateway_may_say_so() -> None:
    core = connected(V4)
    core.handle([arp(str(IP), str(IP), sha=GW)], now=0.2)
    assert claims(core) == {IP}
    assert told(core.handle([], now=5.0)) == []


def test_who_advertises_a_gateways_address_is_not_believed() -> None:
    core = connected(V6)
    lie = advertisement(asks(IP6, "fd00::2"), lladdr=H2, router=False)
    heard = parse(S1, 2, lie)
    assert isinstance(heard, NdSeen)
    core.handle([heard], now=0.2)
    assert claims(core) == set()
    assert {row.lladdr for row in core.view.stations.values()} == {H2}


def test_a_gateway_is_answered_for_by_the_switch_alone_once_it_can() -> None:
    core = connected(V4, V6)
    assert sent(core.handle([arp("10.0.0.1", str(IP))], now=0.2)) == []
    assert sent(core.handle([asks(IP6, "fd00::1")], now=0.3)) == []


def test_a_solicitation_of_a_gateway_without_an_option_is_answered() -> None:
    core = connected(V6)
    asked = asks(IP6, "fd00::1", option=False)
    [answer] = sent(core.handle([asked], now=0.2))
    assert answer == advertisement(asked, lladdr=GW, router=True)


def test_where_answers_are_off_the_controller_gives_none_either() -> None:
    core = connected(Proxy("off"))
    core.handle([arp("10.0.0.2", "10.0.0.2", sha=H2, at=2)], now=0.2)
    assert claims(core) == {IPv4Address("10.0.0.2")}
    assert sent(core.handle([arp("10.0.0.1", "10.0.0.2")], now=0.3)) == []


def test_elsewhere_the_controller_answers_what_the_switch_cannot_yet() -> None:
    core = connected()
    claim, asked = (
        arp("10.0.0.2", "10.0.0.2", sha=H2, at=2),
        arp("10.0.0.1", "10.0.0.2"),
    )
    assert sent(core.handle([claim, asked], now=0.2)) == [arp_reply(asked, lladdr=H2)]


PRIVATE = Proxy("private", promiscuous=("s1-eth3",), lladdr=H3)


def test_an_isolated_port_is_told_the_router_also_without_an_option() -> None:
    core = connected(PRIVATE)
    target = IPv6Address("fd00::2")
    say = [
        advertisement(asks(target, "fd00::9"), lladdr=H2, router=False),
        advertisement(asks(IPv6Address("fd00::3"), "fd00::9"), lladdr=H3, router=True),
    ]
    heard = [parse(S1, n, data) for n, data in ((2, say[0]), (3, say[1]))]
    core.handle(heard, now=0.2)
    asked = asks(target, "fd00::1", option=False)
    [answer] = sent(core.handle([asked], now=0.3))
    assert answer == advertisement(asked, lladdr=H3, router=False)


def test_a_question_across_is_never_answered_with_the_owner() -> None:
    rule = Proxy("interpose", "", 0, ip_network("10.0.0.128/25"), FIREWALL)
    core = connected(rule)
    owner = arp("10.0.0.130", "10.0.0.130", sha=H2, at=2)
    across = arp("10.0.0.1", "10.0.0.130")
    assert sent(core.handle([owner, across], now=0.2)) == []


def test_a_firewall_that_loses_its_port_is_not_told_of_any_more() -> None:
    rule = Proxy("interpose", "", 0, ip_network("10.0.0.128/25"), FIREWALL)
    core = connected(rule)
    core.handle([arp("10.0.0.5", "10.0.0.5", sha=FIREWALL, at=3)], now=0.2)
    domain = core.network.domain(S1, 0)
    assert core.network.middle(rule, domain).lladdr == FIREWALL
    core.handle([PortChanged(port(S1, 3, up=False))], now=0.3)
    assert core.network.middle(rule, domain).missing
