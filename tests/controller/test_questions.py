"""One question for all who ask, and none for who does not answer."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from controller import fullness
from controller.commands import ChangeFlows, Command, HoldQuestion, SendPacket
from controller.core import Core
from controller.events import (
    ArpSeen,
    Event,
    FlowsListed,
    FrameIgnored,
    PortChanged,
    SwitchReady,
    TargetUnknown,
)
from controller.packets import Ignored
from controller.questions import PAUSES, TARGETS_OF_A_PORT, Questions
from controller.waiting import WAIT, WAITING_MAX, WAITING_OF_A_PORT, Waiting, key_of
from flows.openflow import BROADCAST
from flows.view import Limits, PortKey, SpongeKey, View
from tests.facts import H1, H2, S1, S2, port, ports

TARGET = IPv4Address("10.0.0.99")
NOBODYS = "00:00:00:00:00:00"


def asks(
    tpa: object = TARGET, in_port: int = 1, spa: str = "10.0.0.1", sha: str = H1
) -> ArpSeen:
    target = IPv4Address(str(tpa))
    place = (S1, in_port, 0, sha, BROADCAST)
    return ArpSeen(*place, 1, sha, IPv4Address(spa), NOBODYS, target)


def says(ip: object, in_port: int = 3, sha: str = "02:00:00:00:00:99") -> ArpSeen:
    spa = IPv4Address(str(ip))
    return ArpSeen(S1, in_port, 0, sha, H1, 2, sha, spa, H1, IPv4Address("10.0.0.1"))


def connected(*events: Event) -> Core:
    core = Core()
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    listed = FlowsListed(S1, frozenset(), greatest_meter=262_144)
    core.handle([listed, *events], now=0.1)
    return core


def out(*asked: ArpSeen) -> list[Event]:
    return [TargetUnknown(one) for one in asked]


def held(commands: list[Command]) -> list[Command]:
    return [c for c in commands if isinstance(c, HoldQuestion)]


def unanswered(core: Core, number: int, now: float = 1.0) -> float:
    """So many questions, a little more than a second apart; when the last was."""
    for n in range(number):
        now += 1.1 if n else 0.0
        core.handle(out(asks()), now)
    return now


def is_sponged(core: Core) -> bool:
    return SpongeKey(S1, 0, TARGET) in core.view.sponges


# --- one for all ----------------------------------------------------------------------


def test_while_a_question_is_out_further_ones_are_held_back() -> None:
    core = connected()
    first = core.handle(out(asks()), 1.0)
    again = core.handle(out(asks(in_port=2, spa="10.0.0.2", sha=H2)), 1.5)
    assert held(first) == [HoldQuestion(S1, 0, TARGET)]
    assert held(again) == []


def test_who_was_held_back_is_answered_when_the_target_turns_up() -> None:
    core = connected(asks(in_port=2, spa="10.0.0.2", sha=H2))
    core.handle(out(asks()), 1.0)
    core.handle([asks(in_port=2, spa="10.0.0.2", sha=H2)], 1.2)
    commands = core.handle([says(TARGET)], 1.3)
    assert [c.port_no for c in commands if isinstance(c, SendPacket)] == [2]


def test_who_waits_too_long_is_answered_no_more() -> None:
    core = connected()
    core.handle([asks(in_port=2, spa="10.0.0.2", sha=H2)], 1.0)
    commands = core.handle([says(TARGET)], 1.0 + WAIT)
    assert not [c for c in commands if isinstance(c, SendPacket)]


def test_whose_question_went_out_is_answered_by_the_target_alone() -> None:
    core = connected()
    core.handle([asks(), *out(asks())], 1.0)
    commands = core.handle([says(TARGET)], 1.2)
    assert not [c for c in commands if isinstance(c, SendPacket)]


def test_an_announcement_is_no_question() -> None:
    core = connected()
    claim = asks(tpa="10.0.0.1", spa="10.0.0.1")
    assert held(core.handle(out(claim), 1.0)) == []
    assert core.questions.counters == {}


# --- none for who does not answer -----------------------------------------------------


def test_who_answers_is_never_sponged_though_it_cannot_be_learned() -> None:
    """Its frames come from another address than its ARP says (a cluster's mask)."""
    core = connected()
    for n in range(12):
        core.handle(out(asks()), 1.0 + 1.1 * n)
        answer = FrameIgnored(S1, 3, Ignored.OTHER_SENDER, says(TARGET))
        core.handle([answer], 1.1 + 1.1 * n)
    assert not is_sponged(core)


def test_who_answers_behind_a_port_that_is_full_is_never_sponged() -> None:
    core = connected(*(says(f"10.0.1.{n}") for n in range(1, 4)))
    limits = replace(core.view.limits, bindings_per_port=3)
    core.view = replace(core.view, limits=limits)
    for n in range(12):
        core.handle(out(asks()), 1.0 + 1.1 * n)
        core.handle([says(TARGET)], 1.1 + 1.1 * n)
    assert not is_sponged(core)


def test_who_does_not_answer_is_not_asked_for_any_more() -> None:
    core = connected()
    now = unanswered(core, 5)
    assert not is_sponged(core)
    commands = core.handle(out(asks()), now + 1.1)
    assert is_sponged(core)
    [change] = [c for c in commands if isinstance(c, ChangeFlows)]
    assert {str(f.subject) for f in change.plan.add} == {str(TARGET)}


def test_many_questions_in_one_second_are_one() -> None:
    core = connected()
    core.handle(out(*[asks()] * 50), 1.0)
    assert not is_sponged(core)


def test_after_a_while_one_question_goes_out_and_the_next_pause_is_longer() -> None:
    core = connected()
    now = unanswered(core, 6)
    for pause in PAUSES:
        assert core.deadline() is not None
        core.handle([], now + pause - 0.1)
        assert is_sponged(core)
        now += pause
        core.handle([], now)
        assert not is_sponged(core)
        core.handle(out(asks()), now)
        assert is_sponged(core)


def test_any_sign_of_life_ends_it_at_once() -> None:
    core = connected()
    now = unanswered(core, 6)
    assert is_sponged(core)
    core.handle([says(TARGET)], now + 0.5)
    assert not is_sponged(core)


def test_a_port_that_comes_up_ends_it() -> None:
    core = connected()
    now = unanswered(core, 6)
    core.handle([PortChanged(port(S1, 4))], now + 0.5)
    assert not is_sponged(core)


def test_who_is_known_is_never_sponged() -> None:
    core = connected(says(TARGET))
    unanswered(core, 9)
    assert not is_sponged(core)


def limited(**limits: int) -> Core:
    core = connected()
    core.view = replace(core.view, limits=Limits(**limits))  # type: ignore[arg-type]
    return core


def test_where_a_port_is_full_nobody_is_sponged() -> None:
    core = limited(stations_per_port=1)
    core.handle([asks()], 0.5)
    unanswered(core, 9)
    assert not is_sponged(core)
    assert [*fullness.warnings(core.view, core.network)] == [
        "1: targets that do not answer are asked for all the same, as 1:s1-eth1 has as"
        " many stations as are kept; if all are right, raise limits.stations_per_port"
    ]


def test_where_a_station_is_full_nobody_is_sponged() -> None:
    core = limited(addresses_per_station=1)
    core.handle([says("10.0.0.7")], 0.5)
    now = unanswered(core, 9)
    assert not is_sponged(core)
    [line] = fullness.warnings(core.view, core.network)
    assert "as 02:00:00:00:00:99 at 1:s1-eth3 has as many addresses as are kept" in line
    core.handle([PortChanged(port(S1, 3, up=False))], now)
    unanswered(core, 9, now)
    assert is_sponged(core)
    assert not [*fullness.warnings(core.view, core.network)]


def test_who_is_full_in_one_domain_is_no_reason_in_another() -> None:
    core = limited(addresses_per_station=1)
    core.handle([replace(says("10.0.0.7"), vlan=5)], 0.5)
    unanswered(core, 6)
    assert is_sponged(core)
    [line] = fullness.warnings(core.view, core.network)
    assert line.startswith("1, VLAN 5: ")


def test_who_is_full_at_one_switch_is_no_reason_at_another() -> None:
    core = limited(stations_per_port=1)
    core.handle([SwitchReady(S2, tuple(ports(S2, 1)))], 0.2)
    core.handle([replace(says("10.0.0.7"), datapath_id=S2, in_port=1)], 0.5)
    unanswered(core, 6)
    assert is_sponged(core)
    assert core.network.full == {PortKey(S2, 1)}


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_who_is_full_is_told_from_what_has_changed(
    steps: list[tuple[int, int]],
) -> None:
    core, full = limited(addresses_per_station=2), fullness.full_stations
    for n, (host, address) in enumerate(steps):
        one = says(f"10.0.0.{address + 10}", sha=f"02:00:00:00:01:0{host}")
        down = [PortChanged(port(S1, 3, up=up)) for up in (False, True)]
        core.handle([one] if host else down, 1.0 + n)
        limit = core.view.limits.addresses_per_station
        known = full(core.view.stations, limit)
        assert known == full.definition(core.view.stations, limit)


def test_addresses_that_are_not_kept_are_counted() -> None:
    core = limited(addresses_per_station=2)
    core.handle([says(f"10.0.0.{n}") for n in range(10, 15)], 0.5)
    assert (
        core.counters["addresses not kept, as a station has as many as are kept"] == 3
    )
    core = limited(bindings_per_port=2)
    core.handle([says(f"10.0.0.{n}") for n in range(10, 15)], 0.5)
    assert core.counters["addresses not kept, as a port has as many as are kept"] == 3


# --- nobody can use it against others -------------------------------------------------


def test_a_scan_loses_its_own_targets_and_nobody_elses() -> None:
    questions, view = Questions(), View()
    mine = asks(in_port=2, spa="10.0.0.2", sha=H2)
    questions.went_out(view, mine, 1.0, True)
    for n in range(1 << 16):
        questions.went_out(view, asks(f"10.1.{n >> 8}.{n & 255}"), 1.0, True)
    targets = questions._targets
    assert key_of(mine) in targets
    assert len(targets) == TARGETS_OF_A_PORT + 1
    assert questions.counters["targets forgotten, as there are too many"] == (
        (1 << 16) - TARGETS_OF_A_PORT
    )


def test_who_asks_much_waits_alone() -> None:
    waiting, mine = Waiting(), asks(in_port=2, spa="10.0.0.2", sha=H2)
    waiting.add(mine, 1.0)
    for n in range(1000):
        waiting.add(asks(f"10.1.{n >> 8}.{n & 255}"), 1.0)
    assert len(waiting) == WAITING_OF_A_PORT + 1
    assert waiting.take(key_of(mine)) == [mine]
    assert not waiting.take(key_of(mine))
    assert waiting.counters["questions that wait no longer, as there are too many"] == (
        1000 - WAITING_OF_A_PORT
    )


def test_those_who_wait_are_bounded_and_wait_in_vain_for_so_long() -> None:
    waiting = Waiting()
    for n in range(WAITING_MAX + 9):
        waiting.add(asks(in_port=n // 50), 1.0)
        waiting.add(asks(f"10.1.{n >> 8}.{n & 255}", in_port=n // 50), 1.0 + n)
    assert len(waiting) == WAITING_MAX
    waiting.expire(2.0 + WAITING_MAX + WAIT)
    assert 0 < len(waiting) < 10 and waiting.deadline() is not None
    waiting.expire(99.0 + WAITING_MAX + WAIT)
    assert (len(waiting), waiting.deadline()) == (0, None)


def test_sponges_of_a_port_are_bounded() -> None:
    questions, view = Questions(), View()
    for n in range(200):
        for turn in range(6):
            one = asks(f"10.1.0.{n}", in_port=1)
            view, _ = questions.went_out(view, one, n * 10 + turn * 1.1, True)
    assert len(view.sponges) == 128
    assert questions.counters["targets not sponged, as there are too many"] > 0
    view = questions.alive(view, list(view.sponges))
    assert not view.sponges and PortKey(S1, 1) not in questions._sponged.values()
