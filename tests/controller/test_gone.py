"""Packets of a switch that is gone by the time that they are dealt with."""

from __future__ import annotations

import pytest

from controller.commands import ChangeFlows, Command, SendPacket
from controller.core import Core
from controller.events import (
    ChangeDone,
    Event,
    FlowsListed,
    SwitchGone,
    SwitchReady,
    TargetUnknown,
)
from controller.packets import parse
from controller.policy import Policy
from flows.view import Guard
from tests.facts import H1, H2, S1, S2, ports
from tests.support import dhcp, frames

ASKED = frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.2")
SAID = {
    "an ARP request": ASKED,
    "an ARP probe": frames.arp(sha=H1, spa="0.0.0.0", tpa="10.0.0.2"),
    "a solicitation": frames.ns(eth_src=H1, src="fd00::1", target="fd00::2"),
    "an advertisement": frames.na(eth_src=H1, target="fd00::1"),
    "duplicate address detection": frames.ns(eth_src=H1, target="fd00::1"),
    "a frame": frames.ipv4(eth_src=H1, eth_dst=H2, src="10.0.0.1", dst="10.0.0.2"),
    "a DHCP request": dhcp.dhcp(dhcp.REQUEST, client=H1),
    "a DHCP answer": dhcp.dhcp(
        dhcp.ACK, client=H1, yiaddr="10.0.0.9", seconds=600, eth_src=H2
    ),
    "a DHCPv6 answer": dhcp.dhcp6(
        dhcp.REPLY, client=H1, eth_src=H2, options=dhcp.association(("fd00::9", 600))
    ),
    "ARP of somebody else": frames.arp(
        sha=H2, spa="10.0.0.2", tpa="10.0.0.1", eth_src=H1
    ),
    "a damaged frame": frames.na(eth_src=H1, target="fd00::1", damage=1),
}


def two_switches(policy: Policy) -> Core:
    core = Core(policy)
    for switch in (S1, S2):
        commands = core.handle([SwitchReady(switch, tuple(ports(switch, 1, 2)))], 0.0)
        commands += core.handle([FlowsListed(switch, frozenset())], 0.1)
        while told := [one for one in commands if isinstance(one, ChangeFlows)]:
            done = [ChangeDone(one.datapath_id) for one in told]
            commands = core.handle(done, 0.1)
    core.handle([parse(S1, 1, ASKED)], 0.2)
    return core


@pytest.mark.parametrize("guard", ["learn", "enforce"])
@pytest.mark.parametrize("what", SAID)
def test_a_packet_of_a_switch_that_is_gone_says_nothing(what: str, guard: str) -> None:
    core = two_switches(Policy(guards=(Guard(guard),)))
    packets: list[Event] = [parse(S1, n, SAID[what]) for n in (1, 2)]
    core.handle([SwitchGone(S1), *packets], 1.0)
    commands = core.handle(packets, 1.1)
    assert not changes(commands)
    assert not core.view.stations


def test_nor_does_a_question_for_somebody_unknown() -> None:
    core = two_switches(Policy())
    asked = TargetUnknown(parse(S1, 1, ASKED))  # type: ignore[arg-type]
    assert not changes(core.handle([SwitchGone(S1), asked], 1.0))


def changes(commands: list[Command]) -> list[Command]:
    return [one for one in commands if isinstance(one, ChangeFlows | SendPacket)]
