"""A station at two places in turn: named, held where it was, and never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address as IP

import pytest

from controller.commands import ChangeFlows, Command, CountHits, SendPacket
from controller.conflicts import OUTLIVED
from controller.core import Core
from controller.events import (
    ArpSeen,
    Event,
    FlowsListed,
    FrameSeen,
    HitsCounted,
    PortChanged,
    SwitchReady,
)
from controller.flapping import (
    AT_ONCE,
    HOLD_MAX,
    HOLD_MIN,
    MOVES_MAX,
    ROWS_MAX,
    ROWS_PER_PORT,
    WITHIN,
    Flapping,
    Step,
)
from controller.liveness import PATIENCE
from controller.moves import DAMPING
from controller.packets import parse
from controller.policy import Policy
from flows.openflow import BROADCAST
from flows.parties import Domain
from flows.trust import Mode
from flows.view import Guard, PortKey, Station, StationKey
from tests.controller.test_conflicts import told
from tests.facts import H2, S1, port, ports

VRRP = "00:00:5e:00:01:07"
NOBODY = "00:00:00:00:00:00"
LEARN = [(), (Guard("learn"),)]  # nothing said, and said
MOVE = 10  # flows that are added and deleted for one, with its address
HOME, AWAY, THIRD = (PortKey(S1, n) for n in (2, 3, 4))


def arp(at: int, lladdr: str = H2) -> ArpSeen:
    """It announces 10.0.0.2."""
    ip = IP("10.0.0.2")
    return ArpSeen(S1, at, 0, lladdr, BROADCAST, 2, lladdr, ip, NOBODY, ip)


class Lab:
    """H2 with 10.0.0.2 was heard at port 2, and nobody else anywhere.

    lives_at  the port at which it answers, or sends of its own
    """

    def __init__(self, guards: tuple[Guard, ...] = (), lladdr: str = H2) -> None:
        self.core, self.lladdr = Core(Policy(guards=guards)), lladdr
        self.lives_at = 2
        self.lines: list[str] = []
        self.asked: list[tuple[int, ArpSeen]] = []
        self.changes = self.packets = 0
        self.tell(0.0, SwitchReady(S1, tuple(ports(S1, 2, 3, 4))))
        self.tell(0.0, FlowsListed(S1, frozenset()))
        self.tell(0.1, arp(2, lladdr))
        self.changes = 0

    def tell(self, now: float, *events: Event) -> None:
        """And see that its deadlines were kept until then."""
        while (due := self.core.deadline()) is not None and due < now:
            self._do(self.core.handle([], due), due)
        self._do(self.core.handle(events, now), now)

    def _do(self, commands: Iterable[Command], now: float) -> None:
        for command in commands:
            match command:
                case ChangeFlows(plan=plan):
                    self.changes += len(plan.add) + len(plan.delete)
                case CountHits(cookies=cookies):
                    self.packets += self.lives_at == self.place
                    counts = HitsCounted(S1, tuple((c, self.packets) for c in cookies))
                    self._do(self.core.handle([counts], now), now)
                case SendPacket(port_no=at, data=data):
                    question = parse(S1, at, data)
                    assert isinstance(question, ArpSeen)
                    self.asked.append((at, question))
                case _:
                    pass
        self.lines += told(commands)

    @property
    def place(self) -> int:
        return self.core.view.stations[StationKey(S1, 0, self.lladdr)].port_no

    def flaps(self, start: float, seconds: float, pause: float = 0.2) -> float:
        """In turn at ports 3 and 2; the time when it is over."""
        for n in range(int(seconds / pause)):
            now = start + n * pause
            known = self.place
            if (at := 3 - n % 2) != known:  # else it passes in silence
                self.tell(now, arp(at, self.lladdr))
        return start + seconds


@pytest.mark.parametrize("guards", [*LEARN, (Guard("watch"),)])
def test_a_station_that_flaps_costs_a_bounded_number_of_changes(
    guards: tuple[Guard, ...],
) -> None:
    lab = Lab(guards)
    costs: list[int] = []
    for seconds in (5.0, 60.0):
        lab.flaps(20.0 if not costs else 25.0, seconds)
        costs.append(lab.changes)
    assert lab.place == 2
    assert costs[0] <= MOVES_MAX * MOVE
    assert costs[1] <= 3 * MOVES_MAX * MOVE  # on trial for 10, 20 and 40 s
    counters = lab.core.flapping.counters
    assert counters["moves that were damped"] > 50
    assert lab.core.flapping.on_trial(84.0) == 1


@pytest.mark.parametrize(
    ("guards", "wait"), [(LEARN[0], OUTLIVED), ((Guard("watch"),), 0.0)]
)
def test_it_is_told_by_name_with_both_ports_once_a_minute(
    guards: tuple[Guard, ...], wait: float
) -> None:
    lab = Lab(guards)
    over = lab.flaps(20.0, 55.0 + wait)
    line = lab.lines[-1]
    assert line.startswith(f"{H2} at 1:s1-eth3 sends, but is at 1:s1-eth2 (heard)")
    assert len(lab.lines) == 1
    lab.flaps(over, 30.0)
    assert len(lab.lines) == 2 and lab.lines[1].endswith("(MAC flapping)")
    [row] = lab.core.conflicts.told()
    assert (row.said.at, row.found.port, row.name) == (AWAY, HOME, "MAC flapping")


def test_a_place_that_was_left_is_asked_and_an_answer_names_the_thief() -> None:
    """One frame is enough to steal a port of a host that says nothing."""
    lab = Lab()
    lab.tell(20.0, FrameSeen(S1, 3, 0, H2))
    [(at, question)] = lab.asked
    assert (lab.place, at, question.eth_dst, question.tpa) == (3, 2, H2, IP("10.0.0.2"))
    lab.tell(20.1, arp(2))
    assert lab.place == 2
    lab.tell(20.2 + OUTLIVED)
    [line] = lab.lines
    assert line == (
        f"{H2} at 1:s1-eth3 sends, but is at 1:s1-eth2 (heard); 1 x frame, not dropped"
        " (MAC spoofing)"
    )


@pytest.mark.parametrize("guards", LEARN)
def test_a_host_that_moves_and_stays_is_believed_at_once_and_not_accused(
    guards: tuple[Guard, ...],
) -> None:
    lab = Lab(guards)
    for n, at in enumerate((3, 4, 2, 3)):
        lab.lives_at = at
        lab.tell(20.0 + n * (WITHIN / 2), arp(at))
        assert lab.place == at
    lab.tell(200.0)
    assert not lab.lines and not lab.core.flapping.counters


def test_a_host_that_comes_back_after_a_moment_is_not_accused() -> None:
    lab = Lab()
    lab.tell(20.0, arp(3))
    lab.tell(20.0 + AT_ONCE, arp(2))
    lab.tell(100.0)
    assert not lab.lines


def test_a_host_on_trial_that_moves_is_found_within_the_time_of_a_question() -> None:
    lab = Lab()
    over = lab.flaps(20.0, 13.0)  # on trial for the second time, and was just asked
    lab.lives_at = 3
    for n in range(int(DAMPING + 3 * PATIENCE) * 4):
        lab.tell(over + n / 4, *([arp(3)] if lab.place != 3 else []))
    assert lab.place == 3
    assert lab.core.counters["moves that were believed"] == 1


def test_a_host_on_trial_whose_port_goes_down_is_believed_at_once() -> None:
    lab = Lab()
    over = lab.flaps(20.0, 5.0)
    lab.tell(over, PortChanged(port(S1, 2, up=False)))
    lab.tell(over, arp(4))
    assert lab.place == 4
    lab.tell(over + 1, PortChanged(port(S1, 4, up=False)))
    lab.tell(over + 1, arp(3))
    assert lab.place == 3


def test_addresses_that_routers_share_move_as_ever() -> None:
    lab = Lab(lladdr=VRRP)
    for n in range(40):
        lab.tell(20.0 + n / 10, arp(3 - n % 2, VRRP))
        assert lab.place == 3 - n % 2
    lab.tell(60.0)
    assert not lab.asked and not lab.core.flapping.rows


def test_where_it_is_enforced_nothing_is_asked_but_the_question_of_a_move() -> None:
    lab = Lab((Guard("enforce"),))
    lab.flaps(20.0, 5.0)
    assert (lab.place, lab.changes) == (2, 0)
    assert not lab.core.flapping.rows
    assert lab.core.network.trust.mode(HOME) is Mode.ENFORCE


# --- the table ------------------------------------------------------------------------


def step(n: int, old: PortKey, at: PortKey) -> Step:
    lladdr = f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}"
    station = Station(old.datapath_id, 0, lladdr, old.port_no, 0.0)
    return Step((Domain(S1, 0), lladdr), station, at)


def to_and_fro(table: Flapping, now: float) -> float:
    """Until it is put on trial; when that is over."""
    for n in range(MOVES_MAX):
        old, at = ((HOME, AWAY), (AWAY, HOME))[n % 2]
        assert table.may_move(step(1, old, at), now)
        table.moved(step(1, old, at), now)
    assert not table.may_move(step(1, HOME, AWAY), now)
    return table.rows[step(1, HOME, AWAY).place].until


def test_the_time_on_trial_doubles_up_to_a_bound_and_is_forgotten() -> None:
    table, now, held = Flapping(), 0.0, []
    for _ in range(8):
        until = to_and_fro(table, now)
        held.append(until - now)
        now = until
    assert held == [10, 20, 40, 80, 160, 320, 320, 320]
    assert (held[0], held[-1]) == (HOLD_MIN, HOLD_MAX)
    later = now + HOLD_MAX
    assert to_and_fro(table, later) == later + HOLD_MIN


def test_moves_that_are_rare_are_never_too_many() -> None:
    table = Flapping()
    for n in range(100):
        old, at = ((HOME, AWAY), (AWAY, HOME))[n % 2]
        now = n * (WITHIN + 0.1) / (MOVES_MAX - 1)
        assert table.may_move(step(1, old, at), now)
        assert table.moved(step(1, old, at), now) is None


def test_a_station_on_trial_that_was_moved_by_other_means_begins_anew() -> None:
    table = Flapping()
    to_and_fro(table, 0.0)
    assert table.may_move(step(1, THIRD, AWAY), 1.0)
    assert table.moved(step(1, THIRD, AWAY), 1.0) is None
    assert table.rows[step(1, THIRD, AWAY).place].home == THIRD


@pytest.mark.parametrize(
    ("away", "kept"),
    [
        (lambda n: AWAY, ROWS_PER_PORT),
        (lambda n: PortKey(S1, n % 50), ROWS_MAX),
    ],
    ids=["to one port", "to many"],
)
def test_the_table_is_bounded_and_one_port_cannot_fill_it(
    away: Callable[[int], PortKey], kept: int
) -> None:
    table = Flapping()
    for n in range(2 * ROWS_MAX):
        table.moved(step(n, PortKey(S1, 99), away(n)), 1.0)
    assert len(table.rows) == kept
    assert table.counters["moves that were not watched"] == 2 * ROWS_MAX - kept
    table.moved(step(0xFFFF, HOME, AWAY), 1.0 + WITHIN)
    assert len(table.rows) == 1
