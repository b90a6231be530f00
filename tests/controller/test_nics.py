"""Hosts with several interfaces in one segment: told by name, and what they say of each
other's addresses teaches nothing."""

from __future__ import annotations

from ipaddress import IPv4Address as IP

import pytest

from controller.commands import Command, TellNews
from controller.core import Core
from controller.events import (
    ArpSeen,
    BridgesSeen,
    FlowsListed,
    KernelChanged,
    KernelFact,
    KernelSynced,
    SwitchReady,
)
from controller.policy import Policy
from flows.openflow import BROADCAST
from flows.view import Address, Bridge, Interface, Link, Namespace, Nics, Port
from tests.facts import H1, H2, S1, Fact, ifindex, kernel_host

IP1, IP2 = "10.0.0.1", "10.0.0.2"


def started(*facts: Fact, nics: Nics | None = None) -> tuple[Core, list[Command]]:
    """A core that knows one switch, and what it says of these facts."""
    core = Core(Policy(nics=nics or Nics()))
    up = tuple({f.key: f for f in facts if isinstance(f, Port)}.values())
    rows = tuple(f for f in facts if isinstance(f, Interface))
    kernel: list[KernelFact] = [
        f for f in facts if isinstance(f, Link | Address | Namespace)
    ]
    core.handle([SwitchReady(S1, up)], now=0.0)
    commands = core.handle(
        [
            FlowsListed(S1, frozenset()),
            BridgesSeen((Bridge(S1, "s1"),), rows),
            KernelSynced(tuple(kernel)),
        ],
        now=0.1,
    )
    return core, commands


def news(commands: list[Command]) -> list[str]:
    return [command.text for command in commands if isinstance(command, TellNews)]


ONE = kernel_host(S1, 1, H1, IP1, nsid=0)
OTHER = kernel_host(S1, 2, H2, IP2, nsid=0)
TWINS = [*ONE, *OTHER]
WRONG = ArpSeen(S1, 1, 0, H1, BROADCAST, 2, H1, IP(IP2), H2, IP("10.0.0.9"))


def test_a_host_with_two_interfaces_in_one_segment_is_told_once_by_name() -> None:
    core, commands = started(*TWINS)
    [line] = news(commands)
    assert line == (
        f"h0 has several interfaces in one segment: h0-eth0 at s1-eth1 ({IP1}),"
        f" h0-eth0 at s1-eth2 ({IP2}):"
        " only the one that has an address answers for it,"
        " each asks with its own address"
    )
    assert not news(core.handle([], now=5.0))


def test_an_interface_that_comes_later_is_told_when_it_comes() -> None:
    links = [fact for fact in OTHER if isinstance(fact, Link)]
    core, commands = started(*ONE, *(fact for fact in OTHER if fact not in links))
    assert not news(commands)
    added = KernelChanged(tuple((link.key, link) for link in links))
    assert len(news(core.handle([added], now=1.0))) == 1


def test_what_one_says_of_the_other_ones_address_teaches_nothing() -> None:
    core, _ = started(*TWINS)
    core.handle([WRONG], now=1.0)
    holder = core.network.holders[core.network.domain(S1, 0), IP(IP2)]
    assert [one.lladdr for one in holder.candidates] == [H2]
    assert not core.conflicts.rows and not core.network.contested


@pytest.mark.parametrize("nics", [Nics(0, 0)])
def test_without_the_settings_it_is_shown_and_not_believed(nics: Nics) -> None:
    core, _ = started(*TWINS, nics=nics)
    core.handle([WRONG], now=1.0)
    holder = core.network.holders[core.network.domain(S1, 0), IP(IP2)]
    assert [(one.lladdr, one.vouched) for one in holder.candidates] == [
        (H2, True),
        (H1, False),
    ]
    assert holder.answered


def test_an_address_that_goes_over_to_the_other_interface_is_answered_there() -> None:
    core, _ = started(*TWINS)
    old = Address(0, ifindex(S1, 2), IP(IP2), 24)
    new = Address(0, ifindex(S1, 1), IP(IP2), 24)
    core.handle([KernelChanged(((old.key, None), (new.key, new)))], now=1.0)
    holder = core.network.holders[core.network.domain(S1, 0), IP(IP2)]
    assert holder.winner.lladdr == H1
