"""VXLAN devices of the kernel are told where to send, when that is known."""

from __future__ import annotations

from dataclasses import replace

from controller.commands import Command, SetForwarding, TellNews
from controller.core import PATIENCE, Core
from controller.eventlog import line
from controller.events import (
    BridgesSeen,
    FlowsListed,
    ForwardingSet,
    FrameSeen,
    KernelSynced,
    PortChanged,
    PortGone,
    SwitchReady,
)
from controller.policy import Policy
from flows.beyond import ANYBODY
from flows.view import Bridge, Interface, Link, Port, PortKey
from tests.facts import H2, H3, Fact, overlay, port, tunnel_port, underlay, vxlan_device

VX0 = 9
NEAR, FAR, THIRD = (PortKey(n, VX0) for n in (1, 2, 3))
BLUE = overlay("blue", 5000, NEAR, FAR, THIRD)
FACTS: dict[int, list[Fact]] = {
    1: [port(1, 1), *vxlan_device(*NEAR)],
    2: [port(2, 1), *tunnel_port(*FAR)],
    3: [port(3, 1), *tunnel_port(*THIRD)],
}
TO_ALL = {ANYBODY: frozenset({underlay(2), underlay(3)})}


def ports_of(n: int) -> tuple[Port, ...]:
    return tuple(row for row in FACTS[n] if isinstance(row, Port))


class Host:
    """The controller of switch 1, which is on this host; 2 and 3 are elsewhere."""

    def __init__(self, *switches: int) -> None:
        self.core = Core(Policy(overlays=(BLUE,)))
        self.now = 0.0
        self.told: list[SetForwarding] = []
        rows = tuple(row for row in FACTS[1] if isinstance(row, Interface))
        us = ("tcp:127.0.0.1:6653",)
        self.tell(BridgesSeen((Bridge(1, "s1", controllers=us),), rows))
        self.tell(KernelSynced(tuple(r for r in FACTS[1] if isinstance(r, Link))))
        for n in switches:
            self.connect(n)

    def connect(self, n: int) -> None:
        self.tell(SwitchReady(n, ports_of(n)))
        self.tell(FlowsListed(n, frozenset()))

    def tell(self, *events: object, after: float = 0.01) -> list[Command]:
        self.now += after
        commands = self.core.handle(events, self.now)  # type: ignore[arg-type]
        self.told += [one for one in commands if isinstance(one, SetForwarding)]
        return commands

    def hear(self, n: int, lladdr: str) -> None:
        """A host of switch n sends something."""
        self.tell(FrameSeen(n, 1, 0, lladdr))


ALL = (1, 2, 3)
VX = "s1-eth9"


def test_a_device_is_told_who_is_where_and_of_all_that_a_broadcast_is_for() -> None:
    host = Host(*ALL)
    host.hear(2, H2)
    host.hear(3, H3)
    assert [one.device for one in host.told] == [VX] * len(host.told)
    there = {H2: frozenset({underlay(2)}), H3: frozenset({underlay(3)})}
    assert host.told[-1].ways == there | TO_ALL


def test_who_moves_is_told_once_and_what_is_no_news_not_at_all() -> None:
    host = Host(*ALL)
    host.hear(2, H2)
    host.told.clear()
    host.hear(2, H2)
    host.tell(after=1.0)
    host.tell(PortChanged(port(2, 1)))
    assert not host.told
    host.hear(3, H2)
    [told] = host.told
    assert told.ways == {H2: frozenset({underlay(3)})} | TO_ALL


def test_nothing_is_told_before_all_ends_are_there() -> None:
    """Entries outlive the controller: who is beyond a switch that has not spoken yet
    would look as if he were gone."""
    host = Host(1, 2)
    host.hear(2, H2)
    assert not host.told
    assert host.core.deadline() is not None
    host.connect(3)
    assert host.told and {*host.told[-1].ways} == {H2, ANYBODY}


def test_nor_before_they_have_told_whom_they_know() -> None:
    host = Host(1, 2)
    host.hear(2, H2)
    host.tell(SwitchReady(3, ports_of(3)))
    assert not host.told
    host.tell(FlowsListed(3, frozenset()))
    assert host.told


def test_who_never_comes_is_not_waited_for() -> None:
    host = Host(1, 2)
    host.hear(2, H2)
    host.tell(after=PATIENCE)
    [told] = host.told
    assert told.ways == {
        **{H2: frozenset({underlay(2)}), ANYBODY: frozenset({underlay(2)})},
    }


def test_an_end_that_goes_is_sent_nothing() -> None:
    host = Host(*ALL)
    host.hear(2, H2)
    host.tell(after=PATIENCE)
    host.tell(PortGone(*FAR))
    assert host.told[-1].ways == {ANYBODY: frozenset({underlay(3)})}


def test_what_became_of_it_is_one_line_of_the_log() -> None:
    host = Host(*ALL)
    done = ForwardingSet(VX, 4, 4, added=3, moved=2, removed=1)
    said = line([done], host.tell(done))
    assert said == (
        "4 of 4 fdb entries of 's1-eth9' are right"
        " -> s1-eth9: +3 -1 fdb entries, 2 moved"
    )
    assert line([replace(done, added=0, moved=0, removed=0)], []) == ""
    assert host.core.counters["ForwardingSet"] == 1
    assert host.core.forwarding.counters == {
        **{"fdb entries added": 3, "fdb entries removed": 1, "fdb entries moved": 2},
    }


def test_a_problem_is_told_once() -> None:
    host = Host(*ALL)
    refused = ForwardingSet(VX, 4, 0, problem="it needs CAP_NET_ADMIN")
    assert host.tell(refused) == [TellNews("it needs CAP_NET_ADMIN")]
    assert host.tell(refused) == []
    assert host.tell(replace(refused, right=4, problem="")) == []
    assert host.tell(refused) == [TellNews("it needs CAP_NET_ADMIN")]


def test_without_such_a_device_nobody_is_told() -> None:
    host = Host()
    host.core = Core(Policy())
    host.connect(1)
    host.hear(1, H2)
    assert not host.told
