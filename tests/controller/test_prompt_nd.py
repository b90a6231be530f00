"""Solicitations that are answered at once are answered as the core would."""

from __future__ import annotations

import random
from ipaddress import IPv6Address as IP

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from controller import ndp, prompt_nd
from controller.commands import ChangeFlows, SendPacket
from controller.ethernet import octets as of_lladdr
from controller.events import (
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    Event,
    FlowsListed,
    NdSeen,
    PortGone,
    SwitchReady,
)
from controller.packets import parse
from controller.policy import Policy
from controller.prompt import FRAME, MATCH_SIZE, key_of
from flows.nd import ALL_NODES, solicited_node
from flows.nd_guard import SOLICITATION
from flows.openflow import PopVlan
from flows.view import Bridge, Proxy, Vlans
from tests.controller.test_histories import modes, vlans
from tests.controller.test_prompt import (
    DAY,
    FULL,
    READY,
    Full,
    Sight,
    happens,
    octets,
    packet_in,
    places,
    question,
)
from tests.controller.test_prompt import HOSTS as HOSTS4
from tests.facts import H1, H2, H3, S1, S2, interface, ports
from tests.support import frames

A, B, C = IP("fd00::1"), IP("fd00::2"), IP("fd00::3")
NOWHERE = IP("::")


def solicitation(
    sha: str,
    src: IP,
    asked: IP,
    *,
    vlan: int = 0,
    eth_dst: str = "",
    dst: IP | None = None,
    options: bytes | None = None,
) -> bytes:
    """With the sender's link-layer address, unless told otherwise."""
    dst = dst or solicited_node(asked)
    if options is None:
        options = ndp.option(ndp.SOURCE_LLADDR, sha)
    return ndp.message(
        *(SOLICITATION, 0, asked, options),
        src=src,
        dst=dst,
        eth_src=sha,
        eth_dst=eth_dst or "33:33:" + dst.packed[12:].hex(":"),
        vlan=vlan,
    )


def announcement(lladdr: str, ip: IP, *, vlan: int = 0, router: bool = False) -> bytes:
    return ndp.announcement(lladdr=lladdr, ip=ip, router=router, vlan=vlan)


def sight(policy: Policy | None = None, *, router: bool = False) -> Sight:
    """Two hosts that are known; the switch has room for the flows of neither."""
    seen = Sight(policy)
    seen.tell(SwitchReady(S1, tuple(ports(S1, 1, 2, 3))), 0.0)
    seen.tell(FlowsListed(S1, frozenset()), 0.1)
    seen.tell(ChangeDone(S1), 0.2)
    hosts = ((1, announcement(H1, A)), (2, announcement(H2, B, router=router)))
    seen.core.handle([parse(S1, n, frame) for n, frame in hosts], 0.3)
    seen.tell(ChangeFailed(S1, FULL), 0.4)
    return seen


ASKED = solicitation(H1, A, B)
BARE = solicitation(H1, A, B, options=b"")


@pytest.mark.parametrize("frame", [ASKED, BARE], ids=["with its option", "without"])
@pytest.mark.parametrize("router", [False, True], ids=["a host", "a router"])
def test_the_second_solicitation_of_a_host_is_answered_at_once(
    frame: bytes, router: bool
) -> None:
    seen = sight(router=router)
    assert seen.ask(1, frame, 1.0) == b""
    answer = seen.ask(1, frame, 1.1)
    [command] = seen.tell(parse(S1, 1, frame), 1.1)
    assert isinstance(command, SendPacket)
    assert answer == octets(command)


def test_what_is_said_at_once_is_what_rfc_4861_asks_for() -> None:
    """Its own bytes, read by others: 4.4, 7.2.4."""
    seen = sight(router=True)
    seen.ask(1, ASKED, 1.0)
    frame = seen.ask(1, ASKED, 1.1)[40:]
    assert frames.is_na(frame) and frames.is_sound(frame)
    assert frame[:12] == of_lladdr(H1) + of_lladdr(H2)
    assert frame[21] == ndp.HOP_LIMIT
    assert frame[22:54] == B.packed + A.packed
    flags = ndp.ROUTER | ndp.SOLICITED | ndp.OVERRIDE
    assert frame[58:78] == flags.to_bytes(4) + B.packed
    assert frame[78:] == ndp.option(ndp.TARGET_LLADDR, H2)


def test_an_answer_leaves_an_access_port_without_its_tag() -> None:
    seen = Sight()
    access = tuple(interface(S1, n, vlans=Vlans(7)) for n in (1, 2))
    bridge = Bridge(S1, "s1", fail_mode="secure", adopted=True)
    seen.tell(BridgesSeen((bridge,), (*access, interface(S1, 3))), 0.0)
    seen.tell(SwitchReady(S1, tuple(ports(S1, 1, 2, 3))), 0.0)
    seen.tell(FlowsListed(S1, frozenset()), 0.1)
    seen.tell(ChangeDone(S1), 0.2)
    hosts = ((1, H1, A), (2, H2, B), (3, H3, C))
    heard = [parse(S1, n, announcement(host, ip, vlan=7)) for n, host, ip in hosts]
    seen.core.handle(heard, 0.3)
    seen.tell(ChangeFailed(S1, FULL), 0.4)
    for n, host, ip in hosts[::2]:
        frame = solicitation(host, ip, B, vlan=7)
        assert seen.ask(n, frame, 1.0) == b""
        answer = seen.ask(n, frame, 1.1)
        [command] = seen.tell(parse(S1, n, frame), 1.1)
        assert isinstance(command, SendPacket)
        assert command.before == ((PopVlan(),) if n == 1 else ())
        assert answer == octets(command)


NONCE = bytes((14, 1, 1, 2, 3, 4, 5, 6))


@pytest.mark.parametrize(
    "frame",
    [
        solicitation(H1, NOWHERE, B, options=b""),
        solicitation(H1, NOWHERE, B, options=NONCE),
        solicitation(H1, A, B, options=ndp.option(1, H1) + NONCE),
        solicitation(H1, A, B, eth_dst=H2, dst=B),
        solicitation(H1, A, B, eth_dst=H2),
        solicitation(H1, A, B, dst=ALL_NODES),
        solicitation(H1, A, A),
        solicitation(H1, A, IP("fd00::9")),
        solicitation(H1, A, B, vlan=7),
        announcement(H1, B),
    ],
    ids=[
        *("a probe", "a probe with a nonce", "a question with one", "a poll"),
        *("a poll of a group", "another group", "its own", "nobody's address"),
        *("another VLAN", "an advertisement"),
    ],
)
def test_other_questions_go_the_cores_way(frame: bytes) -> None:
    seen = sight()
    seen.ask(1, ASKED, 1.0)
    assert [seen.ask(1, frame, now) for now in (1.0, 1.1, 1.2)] == [b""] * 3


def test_a_damaged_solicitation_is_never_answered_as_another() -> None:
    """Each octet of the frame counts, and that the hop limit is 255."""
    seen = sight()
    seen.ask(1, ASKED, 1.0)
    message = packet_in(1, ASKED)
    assert seen.at_once(S1, message, 1.1)[1]
    for at in range(14, len(message)):
        for bit in (1, 0x10, 0x80):
            damaged = bytearray(message)
            damaged[at] ^= bit
            assert seen.at_once(S1, bytes(damaged), 1.1) == (0, b""), (at, bit)


def test_what_is_cut_off_waits_for_its_rest() -> None:
    seen = sight()
    seen.ask(1, ASKED, 1.0)
    message = packet_in(1, ASKED)
    for size in range(len(message)):
        assert seen.at_once(S1, message[:size], 1.1) == (0, b"")
    assert seen.at_once(S1, message + message[:-1], 1.1)[0] == len(message)


def test_a_message_that_is_too_short_for_its_length_is_left_to_the_check() -> None:
    seen = sight()
    seen.ask(1, ASKED, 1.0)
    message = packet_in(1, ASKED)
    for length in range(len(message)):
        damaged = message[:2] + length.to_bytes(2) + message[4:]
        assert seen.at_once(S1, damaged, 1.1) == (0, b"")


def test_questions_of_both_kinds_are_answered_in_their_order() -> None:
    seen = sight()
    for n, sha, spa in HOSTS4[:2]:
        seen.tell(parse(S1, n, question(sha, spa, spa)), 0.5)
    seen.tell(ChangeFailed(S1, FULL), 0.6)
    (n, sha, spa), (_, _, tpa), *_ = HOSTS4
    arp = question(sha, spa, tpa)
    for frame in (arp, ASKED):
        seen.ask(n, frame, 1.0)
    burst = b"".join(packet_in(1, frame) for frame in (arp, ASKED, arp))
    before = seen.prompt.answered
    done, answers = seen.at_once(S1, burst, 1.1)
    assert done == len(burst)
    one, other = seen.ask(1, arp, 1.1), seen.ask(1, ASKED, 1.1)
    assert answers == one + other + one
    assert seen.prompt.answered == before + 5


def test_who_brings_an_option_is_left_to_a_switch_that_answers() -> None:
    """And who brings none is answered for it: it has nothing to make an option of."""
    seen = sight()
    for frame in (ASKED, BARE):
        seen.ask(1, frame, 1.0)
    commands = seen.core.handle([FlowsListed(S1, frozenset())], 1.1)
    assert any(isinstance(c, ChangeFlows) for c in commands)
    seen.tell(ChangeDone(S1), 1.2)
    assert seen.ask(1, ASKED, 1.3) == b""
    assert seen.ask(1, BARE, 1.3)


def test_no_answer_outlives_the_port_of_who_is_asked_for() -> None:
    seen = sight()
    seen.ask(1, ASKED, 1.0)
    assert seen.ask(1, ASKED, 1.1)
    seen.tell(PortGone(S1, 2), 1.2)
    assert [seen.ask(1, ASKED, now) for now in (1.3, 1.4, 1.5)] == [b""] * 3


def test_a_target_that_becomes_a_router_is_said_to_be_one() -> None:
    seen = sight()
    seen.ask(1, ASKED, 1.0)
    before = seen.ask(1, ASKED, 1.1)
    seen.tell(parse(S1, 2, announcement(H2, B, router=True)), 1.2)
    seen.ask(1, ASKED, 1.3)
    after = seen.ask(1, ASKED, 1.4)
    assert (before[40 + 58], after[40 + 58]) == (0x60, 0xE0)


def test_where_rules_say_how_to_answer_the_core_decides() -> None:
    seen = sight(Policy(proxies=(Proxy("host"),)))
    assert [seen.ask(1, ASKED, now) for now in (1.0, 1.1, 1.2)] == [b""] * 3


# --- sums -----------------------------------------------------------------------------

addresses = st.binary(min_size=16, max_size=16).map(IP).filter(ndp.is_possible)
lladdrs = st.binary(min_size=6, max_size=6).map(lambda six: (b"\2" + six[1:]).hex(":"))


@given(addresses, addresses, lladdrs, lladdrs, st.booleans(), vlans, st.booleans())
def test_sums_of_parts_are_those_of_whole_messages(
    src: IP, ip: IP, sha: str, lladdr: str, router: bool, vlan: int, is_bare: bool
) -> None:
    compare(src, ip, sha, lladdr, router, vlan, is_bare)


def compare(
    src: IP, ip: IP, sha: str, lladdr: str, router: bool, vlan: int, is_bare: bool
) -> bytes:
    """The answer that is put together is the one that is written; it is returned."""
    frame = solicitation(sha, src, ip, vlan=vlan, options=b"" if is_bare else None)
    message, asked = packet_in(1, frame), parse(S1, 1, frame)
    assert isinstance(asked, NdSeen) and key_of(message, asked)
    start = FRAME[message[MATCH_SIZE + 1]]
    header = prompt_nd.header_of(message, start)
    asks, hears = prompt_nd.sums_of(message, header)
    expected = ndp.advertisement(asked, lladdr=lladdr, router=router)
    begin = 14 + 4 * bool(vlan)
    solicited = prompt_nd.Solicited(
        *prompt_nd.sums_for(ip.packed, expected, begin), b"", b"", 0, frozenset()
    )
    found = int.from_bytes(frame[begin + 42 : begin + 44])
    assert (asks + solicited.asked + found) % 0xFFFF == 0
    checksum = prompt_nd.checksum(hears + solicited.answers)
    assert checksum == expected[begin + 42 : begin + 44]
    return checksum


def test_an_answer_whose_sum_is_nothing_bears_a_zero() -> None:
    """The target is in the sum twice: half of what is missing makes it whole."""
    found = compare(A, C, H1, H2, False, 0, False)
    half = int.from_bytes(found) * (1 << 15) % 0xFFFF
    ip = IP((int(C) & ~0xFFFF) | ((int(C) & 0xFFFF) + half) % 0xFFFF)
    assert compare(A, ip, H1, H2, False, 0, False) == bytes(2)


# --- the same as the core, whatever happened before -----------------------------------

ips = st.integers(1, 5).map(lambda n: IP(f"fd00::{n}"))
asked = st.builds(
    lambda place, src, ip, vlan, options: (
        place[0],
        solicitation(place[1], src, ip, vlan=vlan, options=options),
    ),
    places,
    st.one_of(ips, ips, ips, st.just(NOWHERE)),
    ips,
    vlans,
    st.sampled_from([None, None, b"", NONCE]),
)
said = st.builds(
    lambda place, ip, vlan, router: (
        place[0],
        announcement(place[1], ip, vlan=vlan, router=router),
    ),
    places,
    ips,
    vlans,
    st.booleans(),
)
packets = st.tuples(st.sampled_from([S1, S1, S2]), st.one_of(asked, asked, asked, said))
chances = st.integers(0, 1 << 16).map(random.Random)
steps = st.lists(
    st.tuples(
        st.one_of(packets, packets, packets, st.builds(happens, chances)),
        st.sampled_from([0.0, 0.0, 0.5, 1.0, 6.0]),
    ),
    max_size=60,
)


@settings(max_examples=100, deadline=None)
@given(steps, modes)
def test_both_ways_give_the_same_octets_and_nothing_else(
    history: list[tuple[Event | tuple[int, tuple[int, bytes]], float]], mode: str
) -> None:
    lab, now = settled(mode)
    for what, pause in history:
        now += pause
        if isinstance(what, tuple):
            switch, (in_port, frame) = what
            for _ in range(3):  # the first time is the core's
                lab.ask(switch, in_port, frame, now)
        else:
            lab.tell(what, now)
    target(float(lab.answered))


HOSTS = tuple((n, f"02:00:00:00:00:0{n}", IP(f"fd00::{n}")) for n in range(1, 5))


def settled(mode: str) -> tuple[Full, float]:
    lab = Full(mode)
    for event in READY:
        lab.tell(event, 0.0)
    for n, sha, ip in HOSTS:
        lab.tell(parse(S1, n, announcement(sha, ip)), 0.5)
    return lab, 1.0


@pytest.mark.parametrize("mode", ["learn", "watch", "enforce"])
@pytest.mark.parametrize("seed", range(4))
def test_a_day_of_questions_has_the_same_answers_both_ways(
    seed: int, mode: str
) -> None:
    chance, (lab, now) = random.Random(seed), settled(mode)
    for _ in range(DAY):
        now += chance.choice((0.0, 0.0, 0.1, 0.5))
        (in_port, sha, src), (n, lladdr, ip) = chance.sample(HOSTS, 2)
        if chance.random() < 0.1:
            lab.tell(happens(chance), now)
            router = chance.random() < 0.2
            lab.tell(parse(S1, n, announcement(lladdr, ip, router=router)), now)
        options = chance.choice((None, None, None, b"", NONCE))
        frame = solicitation(sha, src, ip, options=options)
        for _ in range(2):
            lab.ask(S1, in_port, frame, now)
    assert lab.answered > DAY / 4, "it compares too little"
