"""Ports try where they lead; what comes back closes one of them, as long as it does."""

from __future__ import annotations

from controller import trial
from controller.commands import Command, TellNews, TryPort
from controller.core import Core
from controller.events import (
    Event,
    FlowsListed,
    FrameSeen,
    PortChanged,
    SwitchReady,
    TrialSeen,
)
from controller.loops import ECHOES_MAX, FRESH
from controller.packets import parse
from controller.policy import Policy
from controller.tries import PERIOD, TRIALS_MAX
from flows.view import PortKey
from tests.facts import S1, S2, port, ports

SECRET = b"nobody else knows"
GONE = 3 * PERIOD + FRESH


class Hub:
    """A core, its switches, and ports of theirs that are connected by something."""

    def __init__(self, *numbers: int, switches: tuple[int, ...] = (S1,)) -> None:
        self.core, self.now = Core(Policy(secret=SECRET)), 0.0
        self.connected: set[PortKey] = set()
        self.done: list[Command] = []
        for switch in switches:
            self.tell(SwitchReady(switch, tuple(ports(switch, *numbers))))
            self.tell(FlowsListed(switch, frozenset()))

    def tell(self, *events: Event) -> None:
        commands = self.core.handle(events, self.now)
        self.done += commands
        for one in commands:
            if (
                isinstance(one, TryPort)
                and (one.datapath_id, one.port_no) in self.connected
            ):
                self.tell(*self.echoes(one))

    def echoes(self, sent: TryPort) -> list[Event]:
        others = self.connected - {PortKey(sent.datapath_id, sent.port_no)}
        return [parse(*key, sent.data) for key in sorted(others)]

    def until(self, end: float) -> None:
        while (at := self.core.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.tell()
        self.now = end

    def connect(self, *keys: tuple[int, int]) -> None:
        self.connected = {PortKey(*key) for key in keys}

    @property
    def closed(self) -> set[PortKey]:
        return {*self.core.network.loops}

    def news(self) -> list[str]:
        return [one.text for one in self.done if isinstance(one, TellNews)]

    def tries(self) -> list[PortKey]:
        sent = (one for one in self.done if isinstance(one, TryPort))
        return [PortKey(one.datapath_id, one.port_no) for one in sent]


def test_of_two_ports_that_are_connected_one_is_closed() -> None:
    hub = Hub(1, 2, 3)
    hub.connect((S1, 2), (S1, 3))
    hub.until(5.0)
    assert hub.closed == {PortKey(S1, 3)}
    assert hub.news() == ["1:s1-eth3 leads back to 1:s1-eth2, and is closed"]


def test_ports_that_come_up_together_are_tried_before_a_second_is_over() -> None:
    hub = Hub(1, 2, 3)
    hub.connect((S1, 2), (S1, 3))
    hub.until(1.0)
    assert hub.closed


def test_a_port_is_tried_a_few_times_at_once_and_then_seldom() -> None:
    hub = Hub(1)
    hub.until(10 * PERIOD)
    assert 10 <= len(hub.tries()) <= 14


def test_a_closed_port_is_opened_when_nothing_comes_back_any_more() -> None:
    hub = Hub(1, 2, 3)
    hub.connect((S1, 2), (S1, 3))
    hub.until(100.0)
    assert hub.closed
    hub.connect()
    hub.until(hub.now + GONE + 1.0)
    assert not hub.closed
    assert hub.news()[-1] == "1:s1-eth3 leads back no more, and is open"


def test_a_port_that_goes_down_is_no_loop_at_once() -> None:
    hub = Hub(1, 2, 3)
    hub.connect((S1, 2), (S1, 3))
    hub.until(5.0)
    hub.connect()
    hub.tell(PortChanged(port(S1, 3, up=False)))
    hub.tell(PortChanged(port(S1, 3)))
    assert not hub.closed and not hub.core.view.echoes


def test_the_way_between_two_switches_stays_open() -> None:
    hub = Hub(1, 2, switches=(S1, S2))
    hub.connect((S1, 2), (S2, 2))
    hub.until(30.0)
    assert not hub.closed
    hub.connect((S1, 1), (S2, 1), (S1, 2), (S2, 2))
    hub.until(60.0)
    assert hub.closed == {PortKey(S1, 2), PortKey(S2, 2)}


def test_who_was_heard_at_a_port_that_is_closed_is_forgotten() -> None:
    hub = Hub(1, 2, 3)
    hub.tell(FrameSeen(S1, 3, 0, "02:00:00:00:00:01"))
    hub.connect((S1, 2), (S1, 3))
    hub.until(5.0)
    assert not hub.core.view.stations


def test_without_a_secret_nothing_is_tried() -> None:
    core = Core()
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2)))], 0.0)
    commands = core.handle([FlowsListed(S1, frozenset())], 0.1)
    assert not any(isinstance(one, TryPort) for one in commands)


def test_many_ports_are_tried_a_few_at_a_time() -> None:
    hub = Hub(*range(1, 200))
    most, before = 0, 0
    while hub.now < 3.0:
        hub.until(hub.now + 0.05)
        most, before = max(most, len(hub.tries()) - before), len(hub.tries())
    assert most <= TRIALS_MAX
    assert {*hub.tries()} == {PortKey(S1, n) for n in range(1, 200)}


def test_a_frame_that_is_not_ours_is_counted_and_closes_nothing() -> None:
    hub = Hub(1, 2)
    forged = trial.write(b"a guess", port(S1, 2), hub.now)[14:]
    hub.tell(TrialSeen(S1, 1, forged))
    assert not hub.closed and not hub.core.view.echoes
    assert hub.core.loops.counters["loop trials that are not ours, or old"] == 1


def test_echoes_have_a_bound() -> None:
    hub = Hub(*range(1, 36))
    hub.connect(*((S1, n) for n in range(1, 36)))
    hub.until(15.0)
    assert len(hub.core.view.echoes) == ECHOES_MAX
    assert len(hub.closed) == 34
