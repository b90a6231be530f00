"""Cables between switches of other hosts: found by LLDP, refused where hosts are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller import trial
from controller.commands import (
    ChangeFlows,
    Command,
    ListFlows,
    TellConflict,
    TellNews,
    TryPort,
)
from controller.core import Core
from controller.events import (
    ChangeDone,
    Event,
    FlowsListed,
    FrameSeen,
    PortChanged,
    SwitchGone,
    SwitchReady,
    TrialSeen,
)
from controller.links import HEARD_MAX, HOLD, LEFT_MAX, REFUSED_MAX, WITHIN
from controller.newcomers import AT_MOST, ROUND
from controller.packets import parse
from controller.policy import Policy
from controller.tries import PERIOD
from flows.network import role
from flows.parties import Role
from flows.view import Guard, PortKey, Service
from tests.facts import H1, H2, H3, S1, S2, S3, port, ports

SECRET = b"nobody else knows"
GONE = 3 * PERIOD + WITHIN
LLDP_TO = bytes.fromhex("0180c200000e")
A1, A2, B1, B2, C1 = (
    PortKey(s, n) for s, n in ((S1, 1), (S1, 2), (S2, 1), (S2, 2), (S3, 1))
)
TABLE_MISS = 0x15A7_0000_0000_0001


class Plant:
    """A core, switches that do what they are told, and what connects their ports.

    wires  port -> where its frames come in
    delay  seconds that they take
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.core = Core(policy or Policy(secret=SECRET, lldp=True))
        self.now = 0.0
        self.wires: dict[PortKey, tuple[PortKey, ...]] = {}
        self.passes_groups_only = False
        self.delay = 0.0
        self.obeys = True
        self.held: dict[int, set[int]] = {}
        self.done: list[Command] = []

    def start(self, *switches: int, numbers: tuple[int, ...] = (1, 2)) -> None:
        for switch in switches:
            self.held.setdefault(switch, set())
            self.tell(SwitchReady(switch, tuple(ports(switch, *numbers))))

    def tell(self, *events: Event) -> None:
        commands = self.core.handle(events, self.now)
        self.done += commands
        if ahead := [event for one in commands for event in self.follows(one)]:
            self.tell(*ahead)

    def follows(self, command: Command) -> list[Event]:
        match command:
            case ListFlows(switch):
                return [FlowsListed(switch, frozenset(self.held[switch]))]
            case ChangeFlows(switch, plan):
                self.held[switch] -= {*plan.delete}
                self.held[switch] |= {flow.cookie for flow in plan.add}
                return [ChangeDone(switch)] if self.obeys else []
            case TryPort(switch, port_no, data):
                return self.carried(PortKey(switch, port_no), data)
            case _:
                return []

    def carried(self, sender: PortKey, data: bytes) -> list[Event]:
        if self.passes_groups_only and data[:6] == LLDP_TO:
            return []
        self.now += self.delay
        return [parse(*at, data) for at in self.wires.get(sender, ())]

    def until(self, end: float) -> None:
        while (at := self.core.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.tell()
        self.now = max(self.now, end)

    def connect(self, *ends: PortKey) -> None:
        """All of them hear each other."""
        for one in ends:
            self.wires[one] = tuple(other for other in ends if other != one)

    def hears(self, at: PortKey, lladdr: str) -> None:
        self.tell(FrameSeen(*at, 0, lladdr))

    def flaps(self, key: PortKey) -> None:
        for up in (False, True):
            self.tell(PortChanged(port(*key, up=up)))

    @property
    def cables(self) -> set[tuple[PortKey, PortKey]]:
        return {row.ends for row in self.core.view.adjacencies.values()}

    def role(self, key: PortKey) -> Role:
        return role(self.core.view, key)

    def lldp(self) -> list[PortKey]:
        sent = (one for one in self.done if isinstance(one, TryPort))
        return [sender_of(one) for one in sent if is_lldp(one)]

    def refusals(self) -> list[str]:
        return [one.text for one in self.done if isinstance(one, TellConflict)]

    def news(self) -> list[str]:
        return [one.text for one in self.done if isinstance(one, TellNews)]


def sender_of(one: TryPort) -> PortKey:
    return PortKey(one.datapath_id, one.port_no)


def is_lldp(one: TryPort) -> bool:
    return one.data[:6] == LLDP_TO


def joined() -> Plant:
    """Port 1 of one switch leads to port 1 of the other, as both of them know."""
    plant = Plant()
    plant.connect(A1, B1)
    plant.start(S1, S2)
    plant.until(1.0)
    assert plant.cables == {(A1, B1)}
    return plant


# --- a cable is found -----------------------------------------------------------------


def test_two_ports_that_hear_each_other_are_a_cable_at_once() -> None:
    plant = Plant()
    plant.connect(A1, B1)
    plant.start(S1, S2)
    plant.until(ROUND)
    assert plant.cables == {(A1, B1)}
    assert plant.role(A1) is plant.role(B1) is Role.FABRIC
    assert plant.role(A2) is plant.role(B2) is Role.EDGE
    assert "the cable from 1:s1-eth1 to 2:s2-eth1 is known" in plant.news()


def test_a_frame_that_comes_back_by_no_port_shows_nothing() -> None:
    plant = Plant()
    plant.wires = {A1: (B1,)}  # one direction alone
    plant.start(S1, S2)
    plant.until(30.0)
    assert not plant.cables
    assert plant.role(B1) is Role.EDGE


def test_what_passes_groups_but_no_lldp_is_a_segment() -> None:
    plant = Plant()
    plant.passes_groups_only = True
    plant.connect(A1, B1)
    plant.start(S1, S2)
    plant.until(30.0)
    assert not plant.cables and plant.role(A1) is Role.EDGE
    assert plant.core.view.echoes


def test_a_hub_of_three_is_no_cable_whoever_comes_first() -> None:
    plant = Plant()
    plant.connect(A1, B1)
    plant.start(S1, S2)
    plant.until(5.0)
    assert plant.cables
    plant.connect(A1, B1, C1)
    plant.start(S3)
    plant.until(15.0)
    assert not plant.cables
    assert any("more than two ports" in text for text in plant.refusals())


def test_the_second_cable_between_two_switches_is_found_as_well() -> None:
    plant = joined()
    plant.connect(A2, B2)
    plant.until(12.0)
    assert plant.cables == {(A1, B1), (A2, B2)}


def test_nothing_is_learned_at_a_cable() -> None:
    plant = joined()
    plant.hears(A1, H1)
    assert not plant.core.view.stations


def test_who_was_heard_there_before_is_forgotten_if_known_on_the_far_side() -> None:
    plant = Plant()
    plant.start(S1)
    plant.until(1.0)
    plant.hears(A1, H1)  # a host of the other switch, which has no controller yet
    plant.connect(A1, B1)
    plant.start(S2)
    plant.until(2.0)
    assert not plant.cables
    assert plant.refusals() == [
        f"LLDP of 2:s2-eth1 at 1:s1-eth1 is refused: 1:s1-eth1 is a host's port:"
        f" {H1} was heard there"
    ]
    plant.hears(B2, H1)
    plant.until(15.0)
    assert plant.cables == {(A1, B1)}
    assert {row.port for row in plant.core.view.stations.values()} == {B2}


# --- and lost -------------------------------------------------------------------------


def test_a_cable_is_gone_with_the_carrier_of_one_end() -> None:
    plant = joined()
    plant.tell(PortChanged(port(*B1, up=False)))
    assert not plant.cables
    assert plant.news()[-1].startswith("broadcasts take")


def test_a_cable_that_nothing_comes_through_is_gone_after_three_times() -> None:
    plant = joined()
    plant.wires = {A1: (B1,)}
    plant.until(20.0)
    assert plant.cables
    plant.until(1.0 + GONE + 1.0)
    assert not plant.cables


def test_a_cable_stays_as_long_as_frames_come() -> None:
    plant = joined()
    plant.until(500.0)
    assert plant.cables
    assert plant.core.links.counters["LLDP frames refused"] == 0


def test_the_cable_of_a_switch_that_is_gone_goes_along_and_comes_back() -> None:
    plant = joined()
    plant.hears(B2, H2)
    plant.tell(SwitchGone(S2))
    assert not plant.cables
    plant.hears(A1, H2)
    plant.until(5.0)
    plant.start(S2)  # it has held its flows
    plant.hears(B2, H2)
    plant.until(20.0)
    assert plant.cables == {(A1, B1)}


# --- silence --------------------------------------------------------------------------


def test_a_switch_that_is_alone_sends_none() -> None:
    plant = Plant()
    plant.start(S1)
    plant.until(60.0)
    assert not plant.lldp()
    assert not plant.core.view.untried


def test_it_is_sent_a_few_times_soon_and_then_seldom() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(100.0)
    assert 10 <= plant.lldp().count(A1) <= 18


def test_how_often_is_told() -> None:
    plant = Plant(Policy(secret=SECRET, lldp=True, try_every=50.0))
    plant.start(S1, S2)
    plant.until(100.0)
    assert plant.lldp().count(A1) <= 10


def test_nothing_is_sent_or_held_if_it_is_switched_off() -> None:
    plant = Plant(Policy(secret=SECRET))
    plant.connect(A1, B1)
    plant.start(S1, S2)
    plant.until(30.0)
    assert not plant.lldp() and not plant.cables


# --- who is not believed --------------------------------------------------------------


def test_a_forged_frame_is_refused_and_told_once() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(1.0)
    for _ in range(5):
        forged = trial.write(b"a guess", port(*A1), plant.now, trial.Reach.CABLE)
        plant.tell(parse(*B1, forged))
    assert plant.refusals() == [
        "LLDP at 2:s2-eth1 is refused: it is not ours, or was changed"
    ]
    assert plant.core.links.counters["LLDP frames refused"] == 5


def test_a_frame_for_segments_is_none_for_cables() -> None:
    """It passes bridges that the other does not: it shows less."""
    plant = Plant()
    plant.start(S1, S2)
    plant.until(1.0)
    unit = trial.write(SECRET, port(*A1), plant.now, trial.Reach.SEGMENT)[14:]
    plant.tell(TrialSeen(*B1, unit, is_direct=True))
    assert any("not ours" in text for text in plant.refusals())


def test_a_frame_that_was_kept_for_long_is_refused() -> None:
    plant = Plant()
    plant.delay = 1.1 * WITHIN
    plant.connect(A1, B1)
    plant.start(S1, S2)
    plant.until(20.0)
    assert not plant.cables
    assert any("too long" in text for text in plant.refusals())


def test_a_frame_that_comes_twice_counts_once() -> None:
    plant = joined()
    *_, last = (
        one.data
        for one in plant.done
        if isinstance(one, TryPort) and sender_of(one) == A1 and is_lldp(one)
    )
    plant.tell(parse(*B1, last))
    assert plant.core.links.counters["LLDP frames that came twice"] == 1


def test_hosts_that_relay_make_no_cable() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(1.0)
    plant.hears(A1, H1)
    plant.hears(B1, H2)
    plant.connect(A1, B1)
    plant.until(60.0)
    assert not plant.cables
    assert plant.role(A1) is plant.role(B1) is Role.EDGE
    assert len(plant.refusals()) == 1, "it is told once, not each time"
    assert "is a host's port" in plant.refusals()[0]


def test_a_port_that_flaps_has_not_forgotten_who_was_there() -> None:
    """Port amnesia: down and up again, to be a switch's port at once."""
    plant = Plant()
    plant.start(S1, S2)
    plant.until(1.0)
    plant.hears(A1, H1)
    plant.flaps(A1)
    assert not plant.core.view.stations
    assert plant.role(A1) is Role.EDGE, "a host's port does not wait"
    plant.connect(A1, B1)
    plant.until(1.0 + HOLD - PERIOD)
    assert not plant.cables
    assert "is a host's port" in plant.refusals()[0]


def test_a_port_is_another_one_when_nobody_was_there_for_long() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(1.0)
    plant.hears(A1, H1)
    plant.flaps(A1)
    plant.connect(A1, B1)
    plant.until(1.0 + HOLD + 2 * PERIOD)
    assert plant.cables == {(A1, B1)}


def test_a_host_that_is_claimed_for_the_far_side_must_be_there_by_another_port() -> (
    None
):
    """Two who relay say the same of each other, at the two ends of what they relay."""
    plant = Plant()
    plant.start(S1, S2)
    plant.until(1.0)
    plant.hears(A1, H1)
    plant.hears(B1, H1)
    plant.connect(A1, B1)
    plant.until(30.0)
    assert not plant.cables


def test_a_host_cannot_be_moved_to_a_cable() -> None:
    plant = joined()
    plant.hears(A2, H3)
    plant.hears(A1, H3)
    plant.hears(B1, H3)
    assert {row.port for row in plant.core.view.stations.values()} == {A2}


@pytest.mark.parametrize("is_guarded", [True, False])
def test_a_port_that_the_configuration_names_is_nobodys_cable(is_guarded: bool) -> None:
    named = Guard("watch", "sw1", "s1-eth1"), Service("router", True, "sw1", "s1-eth1")
    policy = Policy(secret=SECRET, lldp=True)
    policy = (
        replace(policy, guards=named[:1])
        if is_guarded
        else replace(policy, services=named[1:])
    )
    plant = Plant(policy)
    local = replace(port(S1, 0xFFFFFFFE), ifname="sw1")
    plant.held[S1] = set()
    plant.connect(A1, B1)
    plant.tell(SwitchReady(S1, (*ports(S1, 1, 2), local)))
    plant.start(S2)
    plant.until(30.0)
    assert not plant.cables
    assert any("the configuration says" in text for text in plant.refusals())


# --- a port that is new waits ---------------------------------------------------------


def test_a_new_port_waits_until_it_was_tried() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(5.0)
    assert plant.role(A1) is Role.EDGE
    plant.tell(PortChanged(port(S1, 3)))
    new = PortKey(S1, 3)
    assert plant.role(new) is Role.UNKNOWN
    plant.hears(new, H1)
    assert not plant.core.view.stations
    plant.until(5.0 + ROUND + 0.01)
    assert plant.role(new) is Role.EDGE
    plant.hears(new, H1)
    assert plant.core.view.stations


def test_a_switch_that_does_nothing_keeps_its_port_waiting_for_two_seconds() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(5.0)
    plant.obeys = False
    plant.tell(PortChanged(port(S1, 3)))
    plant.until(5.0 + AT_MOST - 0.1)
    assert plant.role(PortKey(S1, 3)) is Role.UNKNOWN
    plant.until(5.0 + AT_MOST + 0.1)
    assert plant.role(PortKey(S1, 3)) is Role.EDGE


def test_a_port_that_goes_down_waits_no_longer_and_begins_anew() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(5.0)
    plant.tell(PortChanged(port(S1, 3)))
    plant.tell(PortChanged(port(S1, 3, up=False)))
    assert not plant.core.view.untried
    plant.until(6.0)
    plant.tell(PortChanged(port(S1, 3)))
    assert plant.role(PortKey(S1, 3)) is Role.UNKNOWN


def test_nobody_waits_because_another_switch_has_come() -> None:
    plant = Plant()
    plant.start(S1)
    plant.until(5.0)
    plant.start(S2)
    assert plant.role(A1) is Role.EDGE
    assert plant.role(B1) is Role.UNKNOWN


def test_after_a_restart_ports_that_were_open_stay_so_and_cables_are_waited_for() -> (
    None
):
    before = joined()
    plant = Plant()
    plant.held = {key: {*flows} for key, flows in before.held.items()}
    plant.connect(A1, B1)
    plant.start(S1)
    plant.until(2.0)
    plant.start(S2)
    plant.until(3.0)
    assert plant.cables == {(A1, B1)}
    assert plant.held == before.held
    assert not any(isinstance(one, ChangeFlows) for one in plant.done)


def test_a_cable_that_does_not_come_back_is_waited_for_until_patience_ends() -> None:
    before = joined()
    plant = Plant()
    plant.held = {key: {*flows} for key, flows in before.held.items()}
    plant.start(S1)
    plant.until(20.0)
    assert any(isinstance(one, ChangeFlows) for one in plant.done)
    assert plant.role(A1) is Role.EDGE


# --- bounds ---------------------------------------------------------------------------


def test_refusals_have_a_bound() -> None:
    plant = Plant()
    numbers = tuple(range(1, REFUSED_MAX // 2 + 10))
    plant.start(S1, S2, numbers=numbers)
    for switch in (S1, S2):
        for number in numbers:
            plant.tell(TrialSeen(switch, number, b"", is_direct=True))
    assert len(plant.core.links.refused) == REFUSED_MAX
    assert plant.core.links.counters["LLDP refusals not kept, as there are too many"]


def test_pairs_that_hear_each_other_have_a_bound() -> None:
    plant = Plant()
    plant.start(S1, S2, numbers=tuple(range(1, 41)))
    everybody = [PortKey(s, n) for s in (S1, S2) for n in range(1, 41)]
    plant.connect(*everybody)
    plant.until(10.0)
    assert len(plant.core.links._heard) == HEARD_MAX
    assert not plant.cables


def test_who_has_left_is_remembered_within_a_bound() -> None:
    plant = Plant()
    plant.start(S1, S2)
    plant.until(1.0)
    for turn in range(6):
        for n in range(1000):
            plant.hears(A1, f"02:00:00:{turn:02x}:{n >> 8:02x}:{n & 255:02x}")
        plant.flaps(A1)
    assert len(plant.core.links._left) == LEFT_MAX
