"""Who is still there: signs of life are counted, silence is asked, the dead are not
answered for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address as IP

import pytest

from controller import eventlog
from controller.commands import (
    Command,
    CountHits,
    SendPacket,
    TellNews,
)
from controller.core import Core
from controller.events import (
    ArpSeen,
    BridgesSeen,
    Event,
    FlowsListed,
    FrameSeen,
    HitsCounted,
    KernelSynced,
    PortChanged,
    SwitchGone,
    SwitchReady,
)
from controller.learn import disclaim
from controller.liveness import LOOKS_MAX, TAKEN_MAX, State, Subject, witness
from controller.packets import parse
from controller.policy import Policy
from flows.compile import compile_flows
from flows.openflow import BROADCAST
from flows.pipeline import TABLE_IDS
from flows.view import (
    Address,
    Bridge,
    Fixed,
    Interface,
    Limits,
    Link,
    Namespace,
    Silence,
    StationKey,
)
from tests.facts import H1, H2, S1, S2, kernel_host, port, ports

SILENT_AFTER = Policy().silent_after
IP1 = IP("10.0.0.1")


def arp(ip: str, *, sha: str = H1, in_port: int = 1, at: int = S1) -> ArpSeen:
    zero = "00:00:00:00:00:00"
    return ArpSeen(at, in_port, 0, sha, BROADCAST, 1, sha, IP(ip), zero, IP("10.9.9.9"))


class Lab:
    """A core and one switch, whose flows count what `speaks` says.

    speaks  cookie of a flow, and the time: how often it was hit until then
    """

    def __init__(self, policy: Policy | None = None, switch: int = S1) -> None:
        self.core = Core(policy)
        self.now, self.switch = 0.0, switch
        self.speaks: Callable[[int], int] = lambda cookie: 0
        self.done: list[tuple[float, Command]] = []
        self.tell(SwitchReady(switch, tuple(ports(switch, 1, 2, 3))))
        self.tell(FlowsListed(switch, frozenset()))

    def tell(self, *events: Event) -> list[Command]:
        commands = self.core.handle(events, self.now)
        self.done += [(self.now, command) for command in commands]
        for command in commands:
            if isinstance(command, CountHits):
                told = tuple((c, self.speaks(c)) for c in command.cookies)
                commands = commands + self.tell(HitsCounted(command.datapath_id, told))
        return commands

    def until(self, end: float) -> None:
        """Time passes; the core is called when it has asked for it."""
        while (at := self.core.deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.tell()
        self.now = end

    def times(self, kind: type[Command]) -> list[float]:
        return [when for when, command in self.done if isinstance(command, kind)]

    def is_answered(self, ip: str = "10.0.0.1") -> bool:
        flows = compile_flows(self.core.view, self.switch).values()
        return any(f.subject == IP(ip) and f.note.startswith("answer") for f in flows)

    @property
    def state(self) -> State:
        return self.core.liveness.state(Subject(StationKey(S1, 0, H1), IP1))


@pytest.mark.parametrize("silent_after", [10.0, 30.0, 300.0])
def test_who_says_nothing_more_is_asked_three_times_and_silent_in_time(
    silent_after: float,
) -> None:
    lab = Lab(Policy(silent_after=silent_after))
    lab.tell(arp("10.0.0.1"))
    lab.until(silent_after)
    probes = [c for _, c in lab.done if isinstance(c, SendPacket)]
    asked = [parse(S1, 1, probe.data) for probe in probes]
    assert [(q.eth_dst, q.spa, q.tpa) for q in asked if isinstance(q, ArpSeen)] == [
        (H1, IP(0), IP1)
    ] * 3
    first, second, third = lab.times(SendPacket)
    assert second - first >= 1.0 and third - second >= 1.0
    [silent_at] = lab.times(TellNews)
    assert third + 1.0 <= silent_at <= silent_after
    assert not lab.is_answered()


def test_an_answer_stands_while_its_owner_is_asked() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    while not lab.times(SendPacket):
        lab.until(lab.now + 0.1)
    assert lab.state is State.PROBING and lab.is_answered()


def test_who_speaks_now_and_then_is_never_asked() -> None:
    lab = Lab()
    lab.speaks = lambda cookie: int(lab.now / 7)
    lab.tell(arp("10.0.0.1"))
    lab.until(3600.0)
    assert not lab.times(SendPacket)
    assert lab.state is State.CONFIRMED and lab.is_answered()


def test_who_only_answers_is_asked_and_never_dropped() -> None:
    lab = Lab()
    lab.speaks = lambda cookie: len(lab.times(SendPacket))  # each answer is counted
    lab.tell(arp("10.0.0.1"))
    before = lab.core.view
    lab.until(3600.0)
    assert lab.core.view is before  # a confirmation changes no conclusion
    assert not lab.times(TellNews) and lab.is_answered()
    assert 3600 / SILENT_AFTER < len(lab.times(SendPacket)) < 3600 / 15


@pytest.mark.parametrize("lost", [1, 2])
def test_one_answer_of_three_is_enough(lost: int) -> None:
    lab = Lab()
    lab.speaks = lambda cookie: len(lab.times(SendPacket)) // (lost + 1)
    lab.tell(arp("10.0.0.1"))
    lab.until(3600.0)
    assert not lab.times(TellNews) and lab.is_answered()


@pytest.mark.parametrize("last_word", [0.5, 8.0, 12.9, 13.1, 20.0, 25.9, 40.0, 99.0])
def test_silence_is_counted_from_the_last_sign_of_life(last_word: float) -> None:
    lab = Lab()
    lab.speaks = lambda cookie: int(min(lab.now, last_word) / 0.5)
    lab.tell(arp("10.0.0.1"))
    lab.until(200.0)
    [silent_at] = lab.times(TellNews)
    assert last_word < silent_at <= last_word + SILENT_AFTER


def test_a_flow_that_counts_from_zero_again_proves_nothing() -> None:
    lab = Lab()
    lab.speaks = lambda cookie: 100 if lab.now < 20 else 50
    lab.tell(arp("10.0.0.1"))
    lab.until(20 + SILENT_AFTER)
    assert lab.times(TellNews)


def test_who_has_fallen_silent_is_remembered_with_its_place() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    lab.until(100.0)
    [station] = lab.core.view.stations.values()
    assert (station.port_no, station.claims) == (1, ())
    [silence] = station.silent
    assert silence.ip == IP1
    domain = lab.core.network.domain(S1, 0)
    assert (domain, IP1) not in lab.core.network.holders
    assert lab.core.network.located[(domain, H1)].port == (S1, 1)


def test_the_first_word_of_who_was_silent_is_news_and_answered_for_at_once() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    lab.until(100.0)
    commands = lab.tell(arp("10.0.0.1"))
    assert lab.is_answered() and lab.state is State.CONFIRMED
    [station] = lab.core.view.stations.values()
    assert not station.silent
    told = eventlog.line([], commands)
    assert f"speaking again: 10.0.0.1 ({H1} at 1:s1-eth1)" in told


def test_the_log_tells_who_has_fallen_silent() -> None:
    lab = Lab()
    lab.tell(*(arp(f"10.0.0.{n}") for n in range(1, 8)))
    lab.until(100.0)
    lines = [c.text for _, c in lab.done if isinstance(c, TellNews)]
    assert all(line.startswith("silent: 10.0.0.") for line in lines)
    assert lab.core.counters["addresses that fell silent"] == 7


def test_a_station_that_sends_nothing_at_all_is_forgotten_in_the_end() -> None:
    lab = Lab(Policy(forget_after=300.0))
    lab.tell(arp("10.0.0.1"), FrameSeen(S1, 2, 0, H2))
    lab.until(250.0)
    assert len(lab.core.view.stations) == 2
    lab.until(1000.0)
    assert not lab.core.view.stations
    assert not lab.core.liveness.watches


def test_a_station_that_goes_on_sending_is_kept_without_its_old_address() -> None:
    """It has changed its address: frames say who sends, not what it holds."""
    lab = Lab(Policy(forget_after=300.0))
    lab.tell(arp("10.0.0.1"))
    source = {
        f.cookie
        for f in compile_flows(lab.core.view, S1).values()
        if f.table == TABLE_IDS["source"]
    }
    lab.speaks = lambda cookie: int(lab.now) if cookie in source else 0
    lab.until(100.0)
    assert not lab.is_answered()
    lab.until(1000.0)
    [station] = lab.core.view.stations.values()
    assert not station.claims and not station.silent


def test_the_silent_make_room_for_those_who_speak() -> None:
    lab = Lab(Policy(limits=Limits(addresses_per_station=2)))
    lab.tell(arp("10.0.0.1"), arp("10.0.0.2"))
    lab.until(100.0)
    lab.tell(arp("10.0.0.3"), arp("10.0.0.4"), arp("10.0.0.5"))
    [station] = lab.core.view.stations.values()
    assert [str(c.ip) for c in station.claims] == ["10.0.0.3", "10.0.0.4"]
    assert not station.silent


def test_a_station_that_moves_takes_what_it_was_silent_about_along() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"), arp("10.0.0.2"))
    lab.until(60.0)
    lab.tell(arp("10.0.0.2", in_port=2))
    [station] = lab.core.view.stations.values()
    assert station.port_no == 2
    assert [one.ip for one in station.silent] == [IP1]


def test_a_station_that_has_moved_is_watched_where_it_is() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    lab.until(20.0)
    lab.tell(FrameSeen(S1, 2, 0, H1))
    counting = {f.cookie for f in compile_flows(lab.core.view, S1).values()}
    lab.speaks = lambda cookie: int(lab.now) if cookie in counting else 0
    lab.until(300.0)
    assert lab.is_answered() and not lab.times(TellNews)


@pytest.mark.parametrize("probes", [1, 2, 3])
@pytest.mark.parametrize("host", range(1, 9))  # each is looked at a little earlier
def test_who_moves_while_it_is_asked_falls_silent_in_time_all_the_same(
    host: int, probes: int
) -> None:
    lab = Lab()
    lab.tell(arp(f"10.0.0.{host}"))
    while len(lab.times(SendPacket)) < probes:
        lab.until(lab.now + 0.1)
    for port_no in (2, 3):
        lab.until(lab.now + 0.4)
        lab.tell(FrameSeen(S1, port_no, 0, H1))
    lab.until(30.0)
    assert lab.times(TellNews) and not lab.is_answered(f"10.0.0.{host}")


def test_who_moves_while_it_is_asked_is_asked_again_where_it_is() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    while not lab.times(SendPacket):
        lab.until(lab.now + 0.1)
    lab.tell(FrameSeen(S1, 2, 0, H1))
    counting = {f.cookie for f in compile_flows(lab.core.view, S1).values()}
    asked_at = len(lab.times(SendPacket))
    lab.speaks = lambda cookie: (
        int(len(lab.times(SendPacket)) > asked_at) if cookie in counting else 0
    )
    lab.until(40.0)
    assert lab.is_answered() and not lab.times(TellNews)
    asked = [c.port_no for _, c in lab.done if isinstance(c, SendPacket)]
    assert asked[:3] == [1, 1, 2]  # where it was once more: has it moved?


def test_two_who_claim_one_address_are_asked_at_once() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    lab.until(2.0)
    lab.tell(arp("10.0.0.1", in_port=2, sha=H2))
    lab.until(2.5)
    probes = [c for _, c in lab.done if isinstance(c, SendPacket)]
    assert {probe.port_no for probe in probes} == {1, 2}


def test_a_binding_of_the_configuration_is_answered_while_its_holder_lives() -> None:
    lab = Lab(Policy(bindings=(Fixed(0, IP1, H1),)))
    assert not lab.is_answered()
    lab.tell(FrameSeen(S1, 1, 0, H1))  # it has not said what it holds
    assert lab.is_answered()
    lab.until(SILENT_AFTER)
    assert not lab.is_answered()
    lab.tell(arp("10.0.0.1"))
    assert lab.is_answered()


def test_who_says_what_is_configured_contradicts_nobody() -> None:
    lab = Lab(Policy(bindings=(Fixed(0, IP1, H1),)))
    lab.tell(arp("10.0.0.1"))
    assert not lab.core.network.contested
    lab.until(10.0)
    assert not lab.times(SendPacket), "it is looked at when others are"


def test_a_station_whose_address_is_given_up_is_watched_itself_from_then_on() -> None:
    lab = Lab(Policy(forget_after=300.0))
    lab.tell(arp("10.0.0.1"))
    key = StationKey(S1, 0, H1)
    lab.core.view = disclaim(lab.core.view, key, IP1)
    lab.until(250.0)
    assert {*lab.core.liveness.watches} == {Subject(key, None)}
    lab.until(1000.0)
    assert not lab.core.view.stations and not lab.core.liveness.watches


def test_a_station_whose_claims_live_is_not_asked_for_beside_them() -> None:
    lab = Lab()
    lab.speaks = lambda cookie: int(lab.now / 7)
    lab.tell(arp("10.0.0.1"))
    lab.until(3600.0)
    asked = {
        c for _, one in lab.done if isinstance(one, CountHits) for c in one.cookies
    }
    [station] = lab.core.view.stations.values()
    assert asked == {witness(station, IP1).cookie}


def test_what_the_kernel_shows_never_ages() -> None:
    facts = kernel_host(S1, 1, H1, "10.0.0.1")
    rows = tuple(fact for fact in facts if isinstance(fact, Interface))
    kernel = tuple(f for f in facts if isinstance(f, Link | Address | Namespace))
    lab = Lab()
    lab.tell(KernelSynced(kernel), BridgesSeen((Bridge(S1, "s1"),), rows))
    lab.tell(arp("10.0.0.1"))
    lab.until(1000.0)
    assert not lab.times(CountHits) and lab.is_answered()


def test_a_port_that_goes_down_takes_the_answer_along_at_once() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    lab.tell(PortChanged(port(S1, 1, up=False)))
    assert not lab.is_answered()
    lab.until(100.0)
    assert not lab.core.liveness.watches


def test_nobody_is_given_up_while_the_switch_cannot_be_asked() -> None:
    lab = Lab()
    lab.tell(BridgesSeen((Bridge(S1, "s1"),), ()), arp("10.0.0.1"))
    lab.tell(SwitchGone(S1))
    lab.until(500.0)
    assert lab.is_answered()
    lab.tell(SwitchReady(S1, tuple(ports(S1, 1, 2, 3))))
    lab.tell(FlowsListed(S1, frozenset(compile_flows(lab.core.view, S1))))
    lab.until(500.0 + SILENT_AFTER)
    assert not lab.is_answered()


def test_a_lost_answer_of_the_switch_is_asked_for_again() -> None:
    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    core, now = lab.core, 40.0
    while not [c for c in core.handle([], now) if isinstance(c, CountHits)]:
        now += 1.0
    lab.now = now
    lab.until(now + SILENT_AFTER)
    assert lab.times(TellNews)


def test_the_same_station_at_two_switches_is_told_apart() -> None:
    """Equal flows have equal cookies, wherever they are."""
    lab = Lab()
    lab.tell(SwitchReady(S2, tuple(ports(S2, 1))), FlowsListed(S2, frozenset()))
    lab.tell(arp("10.0.0.1"), arp("10.0.0.1", at=S2))
    assert len(lab.core.liveness.watches) == 2
    lab.until(40.0)
    assert all(not s.claims and s.silent for s in lab.core.view.stations.values())


# --- many ---------------------------------------------------------------------------


def crowd(count: int) -> Iterable[ArpSeen]:
    for n in range(count):
        low = f"{n >> 8:02x}:{n & 255:02x}"
        yield arp(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", sha=f"02:10:00:00:{low}")


def test_those_who_came_together_are_not_looked_at_together() -> None:
    lab = Lab(Policy(limits=Limits(stations_per_port=5000)))
    lab.speaks = lambda cookie: int(lab.now)
    lab.tell(*crowd(2000))
    lab.done.clear()
    lab.until(300.0)
    looks = [len(c.cookies) for _, c in lab.done if isinstance(c, CountHits)]
    assert sum(looks) < 2000 * 300 / 8
    settled = looks[len(looks) // 2 :]
    assert max(settled) < 5 * sum(settled) / len(settled)


def test_looks_in_one_turn_are_bounded_and_the_rest_is_looked_at_soon() -> None:
    lab = Lab(Policy(limits=Limits(stations_per_port=5000)))
    lab.tell(*crowd(2000))
    lab.core.liveness._looked_at = 0.0
    lab.now = 100.0
    commands = lab.core.handle([], lab.now)
    [counting] = [c for c in commands if isinstance(c, CountHits)]
    assert len(counting.cookies) == LOOKS_MAX
    assert lab.core.liveness.counters["looks at hosts that had to wait"] == 1
    deadline = lab.core.deadline()
    assert deadline is not None and deadline < 101.0


def test_a_switch_that_is_away_with_many_hosts_stops_nobody_for_long() -> None:
    lab = Lab(Policy(limits=Limits(stations_per_port=5000)))
    lab.tell(*crowd(2000))
    lab.core.channels[S1].installed = None  # it has not told what it holds
    lab.core.liveness._looked_at = 0.0
    lab.now = 100.0
    lab.core.handle([], lab.now)
    later = [one for one in lab.core.liveness.watches.values() if one.due_at > lab.now]
    assert len(later) == TAKEN_MAX
    deadline = lab.core.deadline()
    assert deadline is not None and deadline < 101.0


def test_stations_that_come_and_go_leave_no_watches_behind() -> None:
    lab = Lab(Policy(limits=Limits(stations_per_port=1000)))
    for round_ in range(12):
        some = [FrameSeen(S1, 1, 0, f"02:{round_:02x}:00:00:{n >> 8:02x}:{n & 255:02x}")
                for n in range(900)]  # fmt: skip
        lab.tell(*some)
        lab.tell(PortChanged(port(S1, 1, up=False)), PortChanged(port(S1, 1)))
    assert len(lab.core.liveness.watches) < 4000


def test_silence_is_part_of_a_saved_view() -> None:
    from flows.document import from_json, to_json

    lab = Lab()
    lab.tell(arp("10.0.0.1"))
    lab.until(100.0)
    view = lab.core.view
    [station] = view.stations.values()
    assert isinstance(station.silent[0], Silence)
    assert from_json(to_json(view)) == view
