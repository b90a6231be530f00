"""What is answered at once is what the core would answer, and all that it would do."""

from __future__ import annotations

import gc
import random
import struct
from ipaddress import IPv4Address as IP

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from controller.commands import ChangeFlows, Command, SendPacket
from controller.core import Core
from controller.events import (
    ArpSeen,
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    Event,
    FlowsListed,
    FrameSeen,
    KernelChanged,
    NdSeen,
    PortChanged,
    PortGone,
    SwitchReady,
)
from controller.learn import ECHO
from controller.packets import arp_request, parse
from controller.policy import Policy
from controller.prompt import Asker, Prompt
from flows import wire
from flows.openflow import BROADCAST, OWNER, Output, PopVlan
from flows.view import Bridge, Fixed, Guard, Limits, Proxy, Vlans
from tests.controller.test_histories import (
    BRIDGES,
    KERNEL,
    ROWS,
    Lab,
    events,
    ips,
    macs,
    modes,
    vlans,
)
from tests.facts import H1, H2, H3, S1, S2, interface, port, ports

FULL = "OFPFMFC_TABLE_FULL"
IN_PORT, REGISTER = 0x80000004, 0x00010204  # OXM_OF_IN_PORT, NXM_NX_REG1
COOKIE = OWNER << 48 | 1
DAY = 600  # moments


def question(
    sha: str, spa: IP, tpa: IP, *, vlan: int = 0, eth_dst: str = BROADCAST
) -> bytes:
    return arp_request(eth_src=sha, spa=spa, tpa=tpa, vlan=vlan, eth_dst=eth_dst)


def packet_in(in_port: int, frame: bytes, *, registers: int = 0) -> bytes:
    """As Open vSwitch sends it; it names registers that are not 0."""
    fields = struct.pack("!II", IN_PORT, in_port)
    fields += struct.pack("!II", REGISTER, 7) * registers
    match = struct.pack("!HH", 1, 4 + len(fields)) + fields
    match += bytes(-len(match) % 8)
    head = struct.pack("!IHBBQ", wire.NO_BUFFER, len(frame), 1, 3, COOKIE)
    return wire.message(wire.PACKET_IN, head + match + bytes(2) + frame, 0)


class Sight:
    """A core whose switches have no room for flows, and what is prepared from it."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.core = Core(policy)
        self.prompt = Prompt(self.core)

    def tell(self, event: Event, now: float) -> list[Command]:
        return self.core.handle([event], now)

    def at_once(self, switch: int, data: bytes, now: float) -> tuple[int, bytes]:
        """How many octets are dealt with, and what is answered."""
        out: list[bytes] = []
        return self.prompt.answer(switch, data, 0, now, out), b"".join(out)

    def ask(self, in_port: int, frame: bytes, now: float, switch: int = S1) -> bytes:
        """What is answered at once; b"" if the core had to see it, too."""
        message = packet_in(in_port, frame)
        done, answer = self.at_once(switch, message, now)
        if done == 0:
            heard = parse(switch, in_port, frame)
            if isinstance(heard, ArpSeen | NdSeen):
                self.prompt.heard(message, heard)
            self.tell(heard, now)
        return answer


A, B = IP("10.0.0.1"), IP("10.0.0.2")


def sight(policy: Policy | None = None) -> Sight:
    """Two hosts that are known; the switch has room for the flows of neither."""
    seen = Sight(policy)
    seen.tell(SwitchReady(S1, tuple(ports(S1, 1, 2, 3))), 0.0)
    seen.tell(FlowsListed(S1, frozenset()), 0.1)
    seen.tell(ChangeDone(S1), 0.2)
    seen.core.handle(
        [parse(S1, n, question(h, ip, ip)) for n, h, ip in ((1, H1, A), (2, H2, B))],
        0.3,
    )
    seen.tell(ChangeFailed(S1, FULL), 0.4)
    return seen


def test_the_second_question_of_a_host_is_answered_at_once() -> None:
    seen = sight()
    assert seen.ask(1, question(H1, A, B), 1.0) == b""
    answer = seen.ask(1, question(H1, A, B), 1.1)
    [command] = seen.tell(parse(S1, 1, question(H1, A, B)), 1.1)
    assert isinstance(command, SendPacket)
    assert answer == octets(command)


def test_an_answer_leaves_an_access_port_without_its_tag() -> None:
    seen = Sight()
    access = tuple(interface(S1, n, vlans=Vlans(7)) for n in (1, 2))
    bridge = Bridge(S1, "s1", fail_mode="secure", adopted=True)
    seen.tell(BridgesSeen((bridge,), (*access, interface(S1, 3))), 0.0)
    seen.tell(SwitchReady(S1, tuple(ports(S1, 1, 2, 3))), 0.0)
    seen.tell(FlowsListed(S1, frozenset()), 0.1)
    seen.tell(ChangeDone(S1), 0.2)
    hosts = ((1, H1, A), (2, H2, B), (3, H3, IP("10.0.0.3")))
    heard = [parse(S1, n, question(host, ip, ip, vlan=7)) for n, host, ip in hosts]
    seen.core.handle(heard, 0.3)
    seen.tell(ChangeFailed(S1, FULL), 0.4)
    for n, host, ip in hosts[::2]:
        frame = question(host, ip, B, vlan=7)
        assert seen.ask(n, frame, 1.0) == b""
        answer = seen.ask(n, frame, 1.1)
        [command] = seen.tell(parse(S1, n, frame), 1.1)
        assert isinstance(command, SendPacket)
        assert command.before == ((PopVlan(),) if n == 1 else ())
        assert answer == octets(command)


def test_whatever_else_the_switch_tells_of_a_packet() -> None:
    seen, frame = sight(), question(H1, A, B)
    for registers in (0, 1, 6):
        message = packet_in(1, frame, registers=registers)
        seen.prompt.heard(message, known(frame))
        done, answer = seen.at_once(S1, message, 1.0)
        assert done == len(message)
        assert answer


def known(frame: bytes, in_port: int = 1) -> ArpSeen:
    heard = parse(S1, in_port, frame)
    assert isinstance(heard, ArpSeen)
    return heard


def test_answers_end_where_another_message_begins() -> None:
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    message, echo = packet_in(1, frame), wire.message(2, b"alive?", 7)
    done, answers = seen.at_once(S1, 3 * message + echo + message, 1.1)
    assert done == 3 * len(message)
    assert len(answers) == 3 * len(seen.ask(1, frame, 1.1))


def test_what_is_cut_off_waits_for_its_rest() -> None:
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    message = packet_in(1, frame)
    for size in range(len(message)):
        assert seen.at_once(S1, message[:size], 1.1) == (0, b"")
    assert seen.at_once(S1, message + message[:-1], 1.1)[0] == len(message)


def test_a_message_that_is_too_short_for_its_length_is_left_to_the_check() -> None:
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    message = packet_in(1, frame)
    for length in range(84):
        damaged = message[:2] + length.to_bytes(2) + message[4:]
        assert seen.at_once(S1, damaged, 1.1) == (0, b"")


def test_a_damaged_packet_in_is_never_answered_as_another() -> None:
    """Each octet that says who asks, where, and how, counts."""
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    message = packet_in(1, frame)
    _, right = seen.at_once(S1, message, 1.1)
    for at in range(14, 74):
        damaged = bytearray(message)
        damaged[at] ^= 0x10
        assert seen.at_once(S1, bytes(damaged), 1.1) == (0, b""), at
    assert right


@pytest.mark.parametrize(
    "frame",
    [
        question(H1, IP(0), B),
        question(H1, A, A),
        question(H1, A, B, eth_dst=H2),
        question(H1, A, IP("10.0.0.9")),
        question(H1, A, B, vlan=7),
    ],
    ids=["probe", "announcement", "poll", "nobody's address", "another VLAN"],
)
def test_other_questions_go_the_cores_way(frame: bytes) -> None:
    seen = sight()
    seen.ask(1, question(H1, A, B), 1.0)
    assert [seen.ask(1, frame, now) for now in (1.0, 1.1, 1.2)] == [b""] * 3


def test_the_owner_is_not_told_of_itself_wherever_it_asks() -> None:
    seen = sight()
    seen.tell(parse(S1, 2, question(H2, IP("10.0.0.3"), A)), 0.6)
    asked = question(H2, IP("10.0.0.3"), B)
    assert [seen.ask(2, asked, now) for now in (1.0, 1.1)] == [b"", b""]
    asked = question(H2, IP("10.0.0.3"), A)
    assert [bool(seen.ask(2, asked, now)) for now in (1.2, 1.3)] == [True, True]


def test_what_a_switch_says_itself_is_not_said_twice() -> None:
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    commands = seen.core.handle([FlowsListed(S1, frozenset())], 1.1)
    assert any(isinstance(c, ChangeFlows) for c in commands)
    assert seen.ask(1, frame, 1.2)  # it may refuse again
    seen.tell(ChangeDone(S1), 1.3)
    assert seen.ask(1, frame, 1.4) == b""


def test_no_answer_outlives_the_port_of_who_is_asked_for() -> None:
    for gone in (PortGone(S1, 2), PortChanged(port(S1, 2, up=False))):
        seen, frame = sight(), question(H1, A, B)
        seen.ask(1, frame, 1.0)
        assert seen.ask(1, frame, 1.1)
        seen.tell(gone, 1.2)
        assert [seen.ask(1, frame, now) for now in (1.3, 1.4, 1.5)] == [b""] * 3


def test_a_target_that_moves_is_answered_by_its_new_address() -> None:
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    before = seen.ask(1, frame, 1.1)
    seen.tell(PortGone(S1, 2), 1.2)
    seen.tell(parse(S1, 3, question(H3, B, B)), 1.3)
    seen.ask(1, frame, 1.4)
    after = seen.ask(1, frame, 1.5)
    assert bytes.fromhex(H2.replace(":", "")) in before
    assert bytes.fromhex(H3.replace(":", "")) in after
    assert bytes.fromhex(H2.replace(":", "")) not in after


def test_who_is_contradicted_is_heard_by_the_core() -> None:
    """Its next question decides who is right."""
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    assert seen.ask(1, frame, 1.1)
    seen.tell(parse(S1, 3, question(H3, A, A)), 1.2)
    assert seen.ask(1, frame, 1.3) == b""


def test_who_has_moved_is_not_answered_where_it_was() -> None:
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    assert seen.ask(1, frame, 1.1)
    seen.tell(PortGone(S1, 1), 1.2)
    seen.tell(parse(S1, 3, question(H1, A, A)), 1.3)
    assert seen.ask(1, frame, 1.4) == b""


@pytest.mark.parametrize(
    "change",
    [
        PortChanged(port(S1, 4, up=True)),
        BridgesSeen(BRIDGES, ROWS),
        KernelChanged(((KERNEL[0].key, KERNEL[0]),)),
    ],
    ids=["a port", "bridges", "the kernel"],
)
def test_what_concerns_more_than_one_lets_all_be_prepared_anew(change: Event) -> None:
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    assert seen.prompt.prepared == 1
    seen.tell(change, 1.1)
    seen.at_once(S1, b"", 1.2)
    assert seen.prompt.prepared == 0


def test_so_does_a_conclusion_that_concerns_more_than_one() -> None:
    """That a port is full follows from how many are behind it, not from a fact."""
    seen = sight(Policy(limits=Limits(stations_per_port=2)))
    frame = question(H1, A, B)
    seen.ask(1, frame, 1.0)
    seen.tell(FrameSeen(S1, 3, 0, H3), 1.1)
    seen.at_once(S1, b"", 1.1)
    assert seen.prompt.prepared == 1
    seen.tell(FrameSeen(S1, 3, 0, "02:00:00:00:00:99"), 1.2)
    seen.at_once(S1, b"", 1.2)
    assert seen.prompt.prepared == 0


def test_what_is_forgotten_is_let_go() -> None:
    seen = sight()
    seen.prompt = Prompt(seen.core, most=4)
    for in_port in range(1, 200):
        sha = f"02:00:00:00:02:{in_port:02x}"
        frame = question(sha, IP(f"10.0.2.{in_port}"), B)
        seen.tell(parse(S1, 3, frame), 1.0)
        seen.prompt.heard(packet_in(3, frame), known(frame, 3))
    gc.collect()
    assert sum(isinstance(kept, Asker) for kept in gc.get_objects()) <= 4


def test_who_asks_is_learned_anew_as_often_as_without() -> None:
    """Its last word must not grow old because it is answered fast."""
    seen, frame = sight(), question(H1, A, B)
    seen.ask(1, frame, 1.0)
    assert seen.ask(1, frame, 0.3 + ECHO - 0.1)
    assert seen.ask(1, frame, 0.3 + ECHO + 0.1) == b""
    assert seen.ask(1, frame, 0.3 + ECHO + 0.2) == b""  # prepared again
    assert seen.ask(1, frame, 0.3 + ECHO + 0.3)


def test_where_rules_say_how_to_answer_the_core_decides() -> None:
    seen, frame = sight(Policy(proxies=(Proxy("host"),))), question(H1, A, B)
    assert [seen.ask(1, frame, now) for now in (1.0, 1.1, 1.2)] == [b""] * 3


def test_what_is_prepared_has_a_bound() -> None:
    seen = sight()
    seen.prompt = Prompt(seen.core, most=4)
    frame = question(H1, A, B)
    for count in range(40):
        seen.prompt.heard(packet_in(1, frame, registers=count % 8), known(frame))
    assert seen.prompt.prepared <= 4
    seen.prompt.heard(packet_in(1, frame), known(frame))
    assert seen.ask(1, frame, 1.0)


# --- the same as the core, whatever happened before ----------------------------------

STATIC = (Fixed(0, A, H1),)


class Full(Lab):
    """Switches without room: they refuse every change of flows."""

    def __init__(self, mode: str) -> None:
        super().__init__(mode)
        guards = (Guard(mode),)
        self.core = Core(Policy(guards=guards, bindings=STATIC))
        self.prompt = Prompt(self.core)
        self.answered = 0

    def perform(self, command: Command) -> list[Event]:
        if isinstance(command, ChangeFlows):
            return [ChangeFailed(command.datapath_id, FULL)]
        return super().perform(command)

    def ask(self, switch: int, in_port: int, frame: bytes, now: float) -> None:
        for command in self.core.handle([], now):  # what time alone brings
            for event in self.perform(command):
                self.tell(event, now)
        heard = parse(switch, in_port, frame)
        message, out = packet_in(in_port, frame), list[bytes]()
        if self.prompt.answer(switch, message, 0, now, out):
            self.answered += 1
            self._compare(heard, b"".join(out), now)
        else:
            if isinstance(heard, ArpSeen | NdSeen):
                self.prompt.heard(message, heard)
            self.tell(heard, now)

    def _compare(self, heard: Event, answer: bytes, now: float) -> None:
        core = self.core
        before = core.view, state(core)
        commands = core.handle([heard], now)
        sent = [c for c in commands if isinstance(c, SendPacket)]
        assert [octets(c) for c in sent] == [answer]
        assert len(commands) == 1
        assert core.view is before[0]
        assert state(core) == before[1]


def octets(command: SendPacket) -> bytes:
    return wire.packet_out(command.data, *command.before, Output(command.port_no))


def state(core: Core) -> tuple[object, ...]:
    """What else the core keeps."""
    return (
        dict(core.conflicts.rows),
        dict(core.attacks.rows),
        len(core.questions.waiting),
        {k: v for k, v in core.counters.items() if k not in ROUTINE},
        core.deadline(),
    )


ROUTINE = ("ArpSeen", "NdSeen", "answered by packet-out")
Step = tuple[object, float]

numbers = st.integers(1, 4)
at_home = numbers.map(lambda n: (n, f"02:00:00:00:00:0{n}"))  # as most of the time
places = st.one_of(at_home, at_home, at_home, st.tuples(numbers, macs))
frames = st.builds(
    lambda place, spa, tpa, vlan: (place[0], question(place[1], spa, tpa, vlan=vlan)),
    places,
    ips,
    ips,
    vlans,
)
questions = st.tuples(st.sampled_from([S1, S1, S2]), frames)
steps = st.lists(
    st.tuples(
        st.one_of(questions, questions, questions, events),
        st.sampled_from([0.0, 0.0, 0.5, 1.0, 6.0]),
    ),
    max_size=60,
)
READY = [
    SwitchReady(s, tuple(port(s, n) for n in range(1, 5))) for s in (S1, S2)
]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(steps, modes)
def test_both_ways_give_the_same_octets_and_nothing_else(
    history: list[Step], mode: str
) -> None:
    lab, now = settled(mode)
    for what, pause in history:
        now += pause
        if isinstance(what, tuple):
            switch, (in_port, frame) = what
            for _ in range(3):  # the first time is the core's
                lab.ask(switch, in_port, frame, now)
        else:
            lab.tell(what, now)  # type: ignore[arg-type]
    target(float(lab.answered))


def settled(mode: str) -> tuple[Full, float]:
    lab = Full(mode)
    for event in READY:
        lab.tell(event, 0.0)
    for n in range(1, 5):
        frame = question(f"02:00:00:00:00:0{n}", IP(f"10.0.0.{n}"), IP("10.0.0.5"))
        lab.tell(parse(S1, n, frame), 0.5)
    return lab, 1.0


# Hosts that ask for each other all day, while now and then something happens.
HOSTS = tuple((n, f"02:00:00:00:00:0{n}", IP(f"10.0.0.{n}")) for n in range(1, 5))


def happens(chance: random.Random) -> Event:
    s, n, m = chance.choice([S1, S1, S2]), chance.randint(1, 4), chance.randint(1, 4)
    lladdr, ip = f"02:00:00:00:00:0{m}", IP(f"10.0.0.{chance.randint(1, 5)}")
    fact = chance.choice(KERNEL)
    return chance.choice(
        (
            parse(s, n, question(lladdr, ip, ip)),  # moves, or takes an address
            parse(s, m, question(lladdr, IP(f"10.0.0.{m}"), ip)),  # is back
            PortChanged(port(s, n, up=False)),
            PortChanged(port(s, n, up=True)),
            PortGone(s, n),
            READY[s == S2],
            FrameSeen(s, n, 0, lladdr),
            ChangeDone(s),
            KernelChanged(((fact.key, fact),)),
            KernelChanged(((fact.key, None),)),
            BridgesSeen(BRIDGES, chance.choice((ROWS, ()))),
        )
    )


@pytest.mark.parametrize("mode", ["learn", "watch", "enforce"])
@pytest.mark.parametrize("seed", range(4))
def test_a_day_of_questions_has_the_same_answers_both_ways(
    seed: int, mode: str
) -> None:
    chance, (lab, now) = random.Random(seed), settled(mode)
    for _ in range(DAY):
        now += chance.choice((0.0, 0.0, 0.1, 0.5))
        if chance.random() < 0.1:
            lab.tell(happens(chance), now)
        (in_port, sha, spa), (_, _, tpa) = chance.sample(HOSTS, 2)
        for _ in range(2):
            lab.ask(S1, in_port, question(sha, spa, tpa), now)
    assert lab.answered > DAY / 4, "it compares too little"
