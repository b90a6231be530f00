"""Who contradicts what is known: found, counted, told by name, asked where it was."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address as IP

import pytest

from controller import eventlog
from controller.commands import Command, CountHits, SendPacket, TellConflict
from controller.conflicts import (
    CONFLICTS_MAX,
    CONFLICTS_PER_PORT,
    FORGET,
    REMIND,
    SETTLE,
    Conflict,
    Conflicts,
)
from controller.core import Core
from controller.defence import DEFEND_INTERVAL, DEFENDED_MAX, Defence
from controller.events import (
    ArpSeen,
    BridgesSeen,
    Event,
    FlowsListed,
    FrameIgnored,
    FrameSeen,
    HitsCounted,
    KernelChanged,
    KernelSynced,
    PortChanged,
    SwitchReady,
)
from controller.liveness import PATIENCE
from controller.moves import DAMPING, TRIALS_MAX, TRIALS_OF_A_PORT
from controller.packets import parse
from controller.policy import Policy
from flows.dispute import Contradiction, Kind, Said
from flows.openflow import BROADCAST, FLOOD
from flows.parties import Origin
from flows.trust import Mode
from flows.view import (
    Address,
    Bridge,
    Fixed,
    Guard,
    Interface,
    Link,
    Namespace,
    PortKey,
    StationKey,
)
from tests.facts import H1, H2, H3, S1, ifindex, kernel_host, port, ports

THIEF = "02:00:00:00:00:99"
VRRP = "00:00:5e:00:01:07"


def arp(spa: str, *, at: int, sha: str, op: int = 2, tpa: str = "10.0.0.9") -> ArpSeen:
    zero = "00:00:00:00:00:00"
    return ArpSeen(S1, at, 0, sha, BROADCAST, op, sha, IP(spa), zero, IP(tpa))


def lab(mode: str, **policy: object) -> Core:
    """h0 with 10.0.0.1 behind port 1, by the kernel's word; H2, which said that it has
    10.0.0.2, at port 2; ports 3 and 4."""
    core = Core(Policy(guards=(Guard(mode),), **policy))  # type: ignore[arg-type]
    facts = kernel_host(S1, 1, H1, "10.0.0.1")
    rows = tuple(fact for fact in facts if isinstance(fact, Interface))
    kernel = tuple(f for f in facts if isinstance(f, Link | Address | Namespace))
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3, 4)))], now=0.0)
    start: list[Event] = [
        FlowsListed(S1, frozenset()),
        BridgesSeen((Bridge(S1, "s1"),), rows),
    ]
    core.handle([*start, KernelSynced(kernel)], now=0.1)
    core.handle([arp("10.0.0.2", at=2, sha=H2)], now=0.2)
    return core


def told(commands: Iterable[Command]) -> list[str]:
    return [command.text for command in commands if isinstance(command, TellConflict)]


def place(core: Core, lladdr: str) -> int | None:
    station = core.view.stations.get(StationKey(S1, 0, lladdr))
    return station.port_no if station else None


def holder(core: Core, ip: str) -> str:
    return core.network.holders[(core.network.domain(S1, 0), IP(ip))].winner.lladdr


# --- watching -----------------------------------------------------------------------


def test_a_claim_against_the_kernel_is_told_by_name_when_it_has_settled() -> None:
    core = lab("watch")
    assert not told(core.handle([arp("10.0.0.1", at=3, sha=THIEF)], now=1.0))
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line == (
        f"{THIEF} at s1-eth3 says that it has 10.0.0.1,"
        f" which {H1} at s1-eth1 holds (kernel); 1 x reply, not dropped"
        " (ARP spoofing)"
    )
    assert holder(core, "10.0.0.1") == H1


def test_requests_replies_and_announcements_are_counted_apart() -> None:
    core = lab("watch")
    attack: list[Event] = [
        arp("10.0.0.1", at=3, sha=THIEF),
        arp("10.0.0.1", at=3, sha=THIEF, op=1),
        arp("10.0.0.1", at=3, sha=THIEF, op=1, tpa="10.0.0.1"),
        arp("10.0.0.1", at=3, sha=THIEF, op=2, tpa="10.0.0.1"),
        FrameSeen(S1, 3, 0, THIEF, IP("10.0.0.1")),
    ]
    core.handle(attack, now=1.0)
    [line] = told(core.handle([], now=1.0 + SETTLE))
    counts = "1 x IPv4 packet, 2 x announcement, 1 x reply, 1 x request"
    assert counts in line
    assert core.conflicts.counters["contradicting: announcement"] == 2


def test_an_owner_whose_packet_overtakes_the_kernels_word_is_no_conflict() -> None:
    core = lab("enforce")
    core.handle([arp("10.0.0.77", at=1, sha=H1)], now=1.0)
    row = Address(0, ifindex(S1, 1), IP("10.0.0.77"), 24)
    core.handle([KernelChanged(((row.key, row),))], now=1.1)
    assert not told(core.handle([], now=1.0 + SETTLE))
    assert core.conflicts.counters["contradictions that settled"] == 1
    assert holder(core, "10.0.0.77") == H1


def test_what_is_known_in_the_same_turn_is_no_conflict() -> None:
    core = lab("enforce")
    row = Address(0, ifindex(S1, 1), IP("10.0.0.77"), 24)
    change = KernelChanged(((row.key, row),))
    core.handle([change, arp("10.0.0.77", at=1, sha=H1)], now=1.0)
    assert not core.conflicts.rows


def test_watching_believes_whom_learning_believes() -> None:
    watched, learned = lab("watch"), lab("learn")
    history: list[Event] = [
        arp("10.0.0.2", at=3, sha=H2),
        arp("10.0.0.2", at=3, sha=THIEF),
        arp("10.0.0.1", at=3, sha=H1),
    ]
    for core in (watched, learned):
        core.handle(history, now=20.0)
    assert watched.view.stations == learned.view.stations
    assert len(learned.conflicts.rows) == 2  # whoever moves is believed
    assert len(watched.conflicts.rows) == 3


def test_a_station_that_moves_is_told_at_once_where_it_is_believed() -> None:
    core = lab("watch")
    [line] = told(core.handle([FrameSeen(S1, 3, 0, H2)], now=20.0))
    assert line == (
        f"{H2} at s1-eth3 sends, but is at s1-eth2 (heard); 1 x frame, not dropped"
        " (MAC spoofing)"
    )
    assert place(core, H2) == 3


def test_a_conflict_that_goes_on_is_told_once_a_minute() -> None:
    core = lab("watch")
    lines = 0
    for second in range(100):
        lines += len(told(core.handle([arp("10.0.0.1", at=3, sha=THIEF)], second + 1)))
    assert lines == 2
    [row] = core.conflicts.rows.values()
    assert (row.total, row.since, row.last) == (100, 1, 100)
    assert REMIND == 60


def test_a_conflict_is_forgotten_when_nothing_was_heard_of_it_for_long() -> None:
    core = lab("watch")
    core.handle([arp("10.0.0.1", at=3, sha=THIEF)], now=1.0)
    core.handle([], now=1.0 + SETTLE)
    core.handle([], now=1.0 + FORGET)
    assert not core.conflicts.rows


def test_the_table_of_conflicts_is_bounded_and_one_port_cannot_fill_it() -> None:
    table, found = Conflicts(), Contradiction(IP("10.0.0.1"), H1, None, Origin.KERNEL)
    for at in range(40):
        for n in range(100):
            said = Said(PortKey(S1, at), 0, f"02:00:00:00:01:{n:02x}", Kind.REPLY)
            table.note(said, found, Mode.WATCH, 1.0)
        assert len(table.rows) <= (at + 1) * CONFLICTS_PER_PORT
    assert len(table.rows) == CONFLICTS_MAX
    assert table.counters["conflicts not kept"] == 4000 - CONFLICTS_MAX


def test_names_are_told_so_that_no_terminal_is_harmed() -> None:
    command = TellConflict("s1:\x1b[31m evil")
    assert eventlog.line([], [command]) == "time -> conflict: s1:\\x1b[31m evil"


def test_arp_in_somebody_elses_frame_is_told_too() -> None:
    core = lab("watch")
    frame = replace(arp("10.0.0.1", at=3, sha=THIEF), eth_src=H3)
    forged = parse(S1, 3, arp_frame(frame))
    assert isinstance(forged, FrameIgnored)
    core.handle([forged], now=1.0)
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line.startswith(f"{H3} at s1-eth3 says that it has 10.0.0.1, which {H1}")
    own = replace(arp("10.0.0.2", at=2, sha=THIEF), eth_src=H2)
    [line] = told(core.handle([parse(S1, 2, arp_frame(own))], now=4.0))
    assert line.startswith(f"{THIEF} at s1-eth2 says that it has 10.0.0.2, which {H2}")


def arp_frame(heard: ArpSeen) -> bytes:
    def octets(mac: str) -> bytes:
        return bytes.fromhex(mac.replace(":", ""))

    head = octets(heard.eth_dst) + octets(heard.eth_src) + b"\x08\x06"
    kind = b"\x00\x01\x08\x00\x06\x04" + heard.op.to_bytes(2, "big")
    sender = octets(heard.sha) + heard.spa.packed
    return head + kind + sender + octets(heard.tha) + heard.tpa.packed


def test_an_announcement_is_told_as_one() -> None:
    command = SendPacket(S1, FLOOD, b"")
    assert eventlog.line([], [command]) == "time -> announce at all ports of 1"


# --- enforcing ----------------------------------------------------------------------


def test_nothing_that_contradicts_is_learned_but_the_station_itself() -> None:
    core = lab("enforce")
    core.handle([arp("10.0.0.1", at=3, sha=THIEF), arp("10.0.0.2", at=3, sha=THIEF)], 1)
    core.handle([arp("10.0.0.1", at=3, sha=H1), arp("10.0.0.2", at=3, sha=H2)], 1.1)
    assert place(core, THIEF) == 3
    assert not core.view.stations[StationKey(S1, 0, THIEF)].claims
    assert place(core, H2) == 2
    core.handle([FrameSeen(S1, 1, 0, THIEF), FrameSeen(S1, 1, 0, H3)], 1.2)
    assert place(core, THIEF) == 3 and place(core, H3) is None


def test_an_address_that_routers_share_is_believed_where_it_was_heard_last() -> None:
    shared = Fixed(0, IP("10.0.0.254"), VRRP)
    core = lab("enforce", bindings=(shared,))
    for at in (3, 4, 3):
        core.handle([arp("10.0.0.254", at=at, sha=VRRP)], now=10.0 * at)
        assert place(core, VRRP) == at
    assert not core.conflicts.rows


# --- moves --------------------------------------------------------------------------


def answer(
    core: Core, commands: list[Command], packets: int, now: float
) -> list[Command]:
    """The switch counts for the flows that it is asked for."""
    asked = [c for command in commands if isinstance(command, CountHits)
             for c in command.cookies]  # fmt: skip
    return core.handle([HitsCounted(S1, tuple((c, packets) for c in asked))], now)


def sent(commands: Iterable[Command]) -> list[SendPacket]:
    return [command for command in commands if isinstance(command, SendPacket)]


def test_a_station_heard_elsewhere_is_asked_where_it_was_and_stays_if_it_answers() -> (
    None
):
    core = lab("enforce")
    counting = core.handle([FrameSeen(S1, 3, 0, H2)], now=20.0)
    [probe] = sent(answer(core, counting, 7, now=20.1))
    question = parse(S1, 2, probe.data)
    assert isinstance(question, ArpSeen)
    assert (probe.port_no, question.eth_dst, question.tpa) == (2, H2, IP("10.0.0.2"))
    counting = core.handle([], now=20.1 + PATIENCE)
    answer(core, counting, 8, now=20.2 + PATIENCE)
    assert place(core, H2) == 2
    [line] = told(core.handle([], now=20.0 + SETTLE))
    assert line == (
        f"{H2} at s1-eth3 sends, but is at s1-eth2 (heard); 1 x frame, dropped"
        " (MAC spoofing)"
    )


def test_a_station_that_no_longer_answers_has_moved_with_its_addresses() -> None:
    core = lab("enforce")
    counting = core.handle([FrameSeen(S1, 3, 0, H2)], now=20.0)
    answer(core, counting, 7, now=20.1)
    counting = core.handle([], now=20.1 + PATIENCE)
    answer(core, counting, 7, now=20.2 + PATIENCE)
    assert place(core, H2) == 3
    assert holder(core, "10.0.0.2") == H2
    assert not told(core.handle([], now=20.0 + SETTLE))
    assert core.counters["moves that were believed"] == 1


def test_a_station_whose_old_port_is_down_is_believed_at_once() -> None:
    core = lab("enforce")
    core.handle([PortChanged(port(S1, 2, up=False))], now=20.0)
    core.handle([FrameSeen(S1, 3, 0, H2)], now=20.1)
    assert place(core, H2) == 3
    assert not core.conflicts.rows


def test_an_address_changes_hands_only_when_its_holder_is_silent() -> None:
    for packets, winner in ((7, THIEF), (8, H2)):
        core = lab("enforce")
        counting = core.handle([arp("10.0.0.2", at=3, sha=THIEF)], now=20.0)
        answer(core, counting, 7, now=20.1)
        counting = core.handle([], now=20.1 + PATIENCE)
        answer(core, counting, packets, now=20.2 + PATIENCE)
        assert holder(core, "10.0.0.2") == winner


def test_who_has_answered_is_not_asked_again_for_a_while() -> None:
    core = lab("enforce")
    probes = 0
    for tenth in range(200):
        now = 20.0 + tenth / 10
        commands = core.handle([FrameSeen(S1, 3, 0, H2)], now)
        probes += len(sent(answer(core, commands, tenth, now)))
    assert place(core, H2) == 2
    assert probes == 20 / DAMPING


def test_an_early_count_proves_no_silence() -> None:
    core = lab("enforce")
    counting = core.handle([FrameSeen(S1, 3, 0, H2)], now=20.0)
    answer(core, counting, 7, now=20.1)
    answer(core, counting, 7, now=20.2)
    assert place(core, H2) == 2


def crowded(count: int) -> tuple[Core, list[str]]:
    """An enforced switch with as many stations at port 4."""
    core = lab("enforce")
    macs = [f"02:01:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(count)]
    claims = [arp(f"10.1.{n >> 8}.{n & 255}", at=4, sha=m) for n, m in enumerate(macs)]
    core.handle(claims, now=1.0)
    return core, macs


def test_questions_about_moves_are_bounded() -> None:
    core, macs = crowded(400)
    core.handle([FrameSeen(S1, 5 + n // 20, 0, m) for n, m in enumerate(macs)], now=2.0)
    assert len(core.moves.trials) == TRIALS_MAX
    assert core.moves.counters["moves not tried, as there are too many"] == (
        400 - TRIALS_MAX
    )


def test_who_claims_many_stations_keeps_none_of_other_ports_from_moving() -> None:
    core, macs = crowded(300)
    core.handle([FrameSeen(S1, 3, 0, lladdr) for lladdr in macs[:-1]], now=2.0)
    assert len(core.moves.trials) == TRIALS_OF_A_PORT
    asked = core.handle([FrameSeen(S1, 2, 0, macs[-1])], now=3.0)
    answer(core, asked, 7, now=3.1)
    silence = core.handle([], now=3.1 + PATIENCE)
    answer(core, silence, 7, now=3.2 + PATIENCE)
    assert place(core, macs[-1]) == 2


def test_a_station_of_an_enforced_port_is_not_moved_by_what_others_say() -> None:
    core = lab("enforce")
    core.handle([], now=0.3)
    guards = (Guard("enforce"), Guard("learn", "s1", "s1-eth3"))
    mixed = Core(Policy(guards=guards))
    mixed.handle([SwitchReady(S1, tuple(ports(S1, 2, 3)))], now=0.0)
    mixed.handle([FlowsListed(S1, frozenset())], now=0.0)
    mixed.handle([BridgesSeen((Bridge(S1, "s1"),), ())], now=0.1)
    mixed.handle([arp("10.0.0.2", at=2, sha=H2)], now=0.2)
    mixed.handle([FrameSeen(S1, 3, 0, H2)], now=20.0)
    assert place(mixed, H2) == 2
    assert mixed.moves.trials


# --- defence ------------------------------------------------------------------------


def test_an_owner_is_announced_for_at_most_every_ten_seconds() -> None:
    core = lab("watch", defend=True)
    announced: list[tuple[float, SendPacket]] = []
    for second in range(1, 31):
        commands = core.handle([arp("10.0.0.1", at=3, sha=THIEF)], float(second))
        announced += [(second, c) for c in sent(commands) if c.port_no == FLOOD]
    times = [second for second, _ in announced]
    assert times == [3.0, 13.0, 23.0]
    assert DEFEND_INTERVAL == 10.0
    said = parse(S1, 1, announced[0][1].data)
    assert isinstance(said, ArpSeen)
    assert (said.sha, said.spa, said.tpa) == (H1, IP("10.0.0.1"), IP("10.0.0.1"))


def test_a_claim_right_after_a_defence_is_answered_when_it_may_be() -> None:
    core = lab("watch", defend=True)
    core.handle([arp("10.0.0.1", at=3, sha=THIEF)], now=1.0)
    assert sent(core.handle([], now=1.0 + SETTLE))
    assert not sent(core.handle([arp("10.0.0.1", at=3, sha=THIEF)], now=3.5))
    assert core.defence.deadline() == 13.0
    again = sent(core.handle([], now=13.0))
    assert [command.port_no for command in again] == [FLOOD]
    assert not sent(core.handle([], now=30.0))


def test_who_is_not_announced_for_because_so_many_are_is_counted() -> None:
    defence = Defence()
    for n in range(DEFENDED_MAX + 3):
        ip = IP("10.1.0.0") + n
        found = Contradiction(ip, H1, PortKey(S1, 1), Origin.KERNEL)
        claim = Said(PortKey(S1, 3), 0, THIEF, Kind.REPLY, ip)
        row = Conflict(claim, found, Mode.WATCH, {}, 1.0, 1.0)
        sent = defence.against(row, router=False, now=1.0)
        assert (sent is None) is (n >= DEFENDED_MAX)
    assert defence.counters == {"owners not announced for, as there are too many": 3}


@pytest.mark.parametrize(
    ("mode", "policy", "ip"),
    [
        ("watch", {}, "10.0.0.1"),
        ("enforce", {"defend": True}, "10.0.0.1"),
        ("watch", {"defend": True}, "10.0.0.2"),
    ],
    ids=["not asked to", "nobody has heard the claim", "only heard itself"],
)
def test_nobody_is_announced_for_without_need(
    mode: str, policy: dict[str, object], ip: str
) -> None:
    core = lab(mode, **policy)
    commands = core.handle([arp(ip, at=3, sha=THIEF)], now=1.0)
    commands += core.handle([], now=1.0 + SETTLE)
    assert FLOOD not in {command.port_no for command in sent(commands)}
