"""Who contradicts what is known in IPv6: judged, told by name, asked, defended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address as IP

import pytest

from controller.attempts import ATTEMPTS_MAX, ATTEMPTS_PER_PORT, KEPT, OVER, Attempts
from controller.commands import Command, CountHits, SendPacket, TellConflict
from controller.conflicts import SETTLE
from controller.core import Core
from controller.defence import DEFEND_INTERVAL
from controller.events import (
    BridgesSeen,
    Event,
    FlowsListed,
    FrameIgnored,
    FrameSeen,
    HitsCounted,
    KernelChanged,
    KernelSynced,
    NdSeen,
    SwitchReady,
)
from controller.liveness import PATIENCE
from controller.packets import parse
from controller.policy import Policy
from flows.openflow import FLOOD
from flows.parties import Domain
from flows.view import (
    Address,
    Bridge,
    Guard,
    Interface,
    Link,
    Namespace,
    Router,
    Service,
    StationKey,
)
from tests.facts import H1, H2, S1, ifindex, kernel_host, ports

THIEF, OTHER = "02:00:00:00:00:99", "02:00:00:00:00:98"
ALL_NODES = "33:33:00:00:00:01"


def said(
    ip: str, *, at: int, lladdr: str, src: str = "", router: bool = False
) -> NdSeen:
    """An unsolicited advertisement."""
    flags = 0xA0000000 if router else 0x20000000
    return NdSeen(
        *(S1, at, 0, lladdr, ALL_NODES, 136, IP(src or ip), IP("ff02::1")),
        *(IP(ip), lladdr, flags, True),
    )


def asks(src: str, *, at: int, lladdr: str, target: str = "fd00::77") -> NdSeen:
    """A solicitation; with the source :: duplicate address detection."""
    sll = "" if src == "::" else lladdr
    return NdSeen(
        *(S1, at, 0, lladdr, "33:33:ff:00:00:77", 135, IP(src), IP("ff02::1:ff00:77")),
        *(IP(target), sll, 0, True),
    )


def lab(mode: str, **policy: object) -> Core:
    """h0 with fd00::1 behind port 1, by the kernel's word; H2, which said that it has
    fd00::2, at port 2; ports 3 and 4."""
    core = Core(Policy(guards=(Guard(mode),), **policy))  # type: ignore[arg-type]
    facts = kernel_host(S1, 1, H1, "fd00::1")
    rows = tuple(fact for fact in facts if isinstance(fact, Interface))
    kernel = tuple(
        replace(f, prefixlen=64) if isinstance(f, Address) else f
        for f in facts
        if isinstance(f, Link | Address | Namespace)
    )
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3, 4)))], now=0.0)
    start: list[Event] = [
        FlowsListed(S1, frozenset()),
        BridgesSeen((Bridge(S1, "s1"),), rows),
    ]
    core.handle([*start, KernelSynced(kernel)], now=0.1)
    core.handle([said("fd00::2", at=2, lladdr=H2)], now=0.2)
    return core


def told(commands: Iterable[Command]) -> list[str]:
    return [command.text for command in commands if isinstance(command, TellConflict)]


def sent(commands: Iterable[Command]) -> list[SendPacket]:
    return [command for command in commands if isinstance(command, SendPacket)]


def place(core: Core, lladdr: str) -> int | None:
    station = core.view.stations.get(StationKey(S1, 0, lladdr))
    return station.port_no if station else None


def claims(core: Core, lladdr: str) -> set[str]:
    station = core.view.stations.get(StationKey(S1, 0, lladdr))
    return {str(claim.ip) for claim in station.claims} if station else set()


# --- judged ---------------------------------------------------------------------------


def test_solicitations_advertisements_and_packets_are_counted_apart() -> None:
    core = lab("watch")
    attack: list[Event] = [
        said("fd00::1", at=3, lladdr=THIEF),
        asks("fd00::1", at=3, lladdr=THIEF),
        FrameSeen(S1, 3, 0, THIEF, IP("fd00::1")),
    ]
    core.handle(attack, now=1.0)
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line == (
        f"{THIEF} at s1-eth3 says that it has fd00::1, which {H1} at s1-eth1 holds"
        " (kernel); 1 x IPv6 packet, 1 x advertisement, 1 x solicitation, not dropped"
        " (IP spoofing)"
    )


def test_nothing_that_contradicts_is_learned_but_the_station_itself() -> None:
    core = lab("enforce")
    for ip in ("fd00::1", "fd00::2"):
        core.handle([said(ip, at=3, lladdr=THIEF), asks(ip, at=3, lladdr=THIEF)], 1.0)
    assert (place(core, THIEF), claims(core, THIEF)) == (3, set())
    core.handle([said("fd00::2", at=3, lladdr=H2)], 1.1)
    assert place(core, H2) == 2


def test_an_advertisement_that_comes_from_anothers_address_is_no_better() -> None:
    core = lab("enforce")
    core.handle([said("fd00::99", at=3, lladdr=THIEF, src="fd00::1")], now=1.0)
    assert claims(core, THIEF) == set()
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line.startswith(f"{THIEF} at s1-eth3 says that it has fd00::1")


def test_who_gives_anothers_link_layer_address_is_told() -> None:
    core = lab("watch")
    forged = replace(said("fd00::1", at=3, lladdr=THIEF), eth_src=OTHER)
    core.handle([FrameIgnored(S1, 3, "forged", forged)], now=1.0)
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line.startswith(f"{OTHER} at s1-eth3 says that it has fd00::1")


def test_an_owner_whose_packet_overtakes_the_kernels_word_is_no_conflict() -> None:
    core = lab("enforce")
    core.handle([asks("fd00::77", at=1, lladdr=H1)], now=1.0)
    row = Address(0, ifindex(S1, 1), IP("fd00::77"), 64)
    core.handle([KernelChanged(((row.key, row),))], now=1.1)
    assert not told(core.handle([], now=1.0 + SETTLE))


def test_what_nobody_holds_is_believed_of_who_says_so() -> None:
    core = lab("enforce")
    core.handle([said("fd00::99", at=3, lladdr=THIEF)], now=1.0)
    core.handle([asks("fd00::98", at=3, lladdr=THIEF)], now=1.1)
    assert claims(core, THIEF) == {"fd00::99", "fd00::98"}
    assert not core.conflicts.rows


# --- routers --------------------------------------------------------------------------


def rogue(kind: str, at: int = 3, lladdr: str = THIEF) -> FrameSeen:
    return FrameSeen(S1, at, 0, lladdr, IP("fe80::99"), kind)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (
            "router advertisement",
            "sends router advertisements, and is not known to be a router;"
            " 2 x router advertisement, dropped (rogue router advertisement)",
        ),
        (
            "redirect",
            "sends redirects, and is not known to be a router;"
            " 2 x redirect, dropped (rogue redirect)",
        ),
        (
            "hidden ICMPv6",
            "sends neighbor discovery in fragments, or with headers cut off,"
            " which nobody may; 2 x hidden ICMPv6, dropped"
            " (hidden neighbor discovery)",
        ),
    ],
)
def test_who_is_no_router_is_told_by_what_it_sends(kind: str, line: str) -> None:
    core = lab("enforce")
    core.handle([rogue(kind), rogue(kind)], now=1.0)
    assert told(core.handle([], now=1.0 + SETTLE)) == [f"{THIEF} at s1-eth3 {line}"]
    assert place(core, THIEF) == 3  # it is a station nevertheless


def test_all_that_one_station_does_is_told() -> None:
    core = lab("enforce")
    kinds = ("router advertisement", "redirect", "hidden ICMPv6")
    core.handle([*map(rogue, kinds), said("fd00::1", at=3, lladdr=THIEF)], now=1.0)
    assert len(told(core.handle([], now=1.0 + SETTLE))) == 4


def test_a_router_whose_advertisement_overtakes_the_kernels_word_is_no_conflict() -> (
    None
):
    core = lab("enforce")
    core.handle([rogue("router advertisement", at=1, lladdr=H1)], now=1.0)
    row = Router(0, ifindex(S1, 1), True)
    core.handle([KernelChanged(((row.key, row),))], now=1.1)
    assert not [
        line for line in told(core.handle([], now=1.0 + SETTLE)) if "router" in line
    ]


def test_a_router_that_the_operator_shows_is_no_conflict() -> None:
    core = lab("enforce", services=(Service("router", True, "s1", "s1-eth3"),))
    core.handle([rogue("router advertisement"), rogue("redirect")], now=1.0)
    assert not core.conflicts.rows


# --- first come, first served ---------------------------------------------------------


def test_who_detects_duplicates_first_shall_have_the_address() -> None:
    core = lab("enforce")
    probe = asks("::", at=2, lladdr=H2, target="fd00::99")
    lies = (said("fd00::99", at=3, lladdr=THIEF), asks("fd00::99", at=3, lladdr=THIEF))
    commands = core.handle([probe, *lies], now=1.0)
    assert claims(core, THIEF) == set()
    [line] = told(commands)
    assert line == (
        f"{THIEF} at s1-eth3 says that it has fd00::99,"
        f" which {H2} at s1-eth2 is about to take;"
        " 1 x advertisement, 1 x solicitation, dropped (ND spoofing)"
    )
    core.handle([asks("fd00::99", at=2, lladdr=H2)], now=2.5)
    assert claims(core, H2) == {"fd00::2", "fd00::99"}


def test_when_detection_is_over_it_is_asked_once_and_its_answer_is_its_claim() -> None:
    core = lab("enforce")
    core.handle([asks("::", at=2, lladdr=H2, target="fd00::99")], now=1.0)
    assert core.attempts.deadline() == 1.0 + OVER
    [probe] = sent(core.handle([], now=1.0 + OVER))
    question = parse(S1, 2, probe.data)
    assert isinstance(question, NdSeen)
    assert (probe.port_no, question.eth_dst, str(question.target)) == (
        *(2, H2),
        "fd00::99",
    )
    assert not sent(core.handle([], now=2.0 + OVER))
    core.handle([said("fd00::99", at=2, lladdr=H2)], now=2.0 + OVER)
    assert "fd00::99" in claims(core, H2)


def test_who_never_takes_it_leaves_it_to_others() -> None:
    core = lab("enforce")
    core.handle([asks("::", at=2, lladdr=H2, target="fd00::99")], now=1.0)
    core.handle([said("fd00::99", at=3, lladdr=THIEF)], now=1.0 + KEPT)
    assert claims(core, THIEF) == {"fd00::99"}


def test_where_nobody_guards_nothing_is_remembered_of_probes() -> None:
    core = Core(Policy())
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2)))], now=0.0)
    core.handle([asks("::", at=2, lladdr=H2, target="fd00::99")], now=1.0)
    assert not core.attempts.rows


def test_attempts_are_bounded_and_one_port_cannot_use_them_up() -> None:
    table, domain = Attempts(), Domain(S1, 0)
    for at in range(1, 41):
        for n in range(100):
            target = f"fd00::{at:x}:{n:x}"
            table.note(domain, asks("::", at=at, lladdr=H2, target=target), now=1.0)
        assert len(table.rows) <= at * ATTEMPTS_PER_PORT
    assert len(table.rows) == ATTEMPTS_MAX
    assert table.counters["address attempts not kept"] == 4000 - ATTEMPTS_MAX


# --- moves ----------------------------------------------------------------------------


def answer(
    core: Core, commands: list[Command], packets: int, now: float
) -> list[Command]:
    """The switch counts for the flows that it is asked for."""
    asked = [c for command in commands if isinstance(command, CountHits)
             for c in command.cookies]  # fmt: skip
    return core.handle([HitsCounted(S1, tuple((c, packets) for c in asked))], now)


@pytest.mark.parametrize(("packets", "winner"), [(7, THIEF), (8, H2)])
def test_an_address_changes_hands_only_when_its_holder_is_silent(
    packets: int, winner: str
) -> None:
    core = lab("enforce")
    counting = core.handle([said("fd00::2", at=3, lladdr=THIEF)], now=20.0)
    [probe] = sent(answer(core, counting, 7, now=20.1))
    question = parse(S1, 2, probe.data)
    assert isinstance(question, NdSeen)
    assert (probe.port_no, str(question.target)) == (2, "fd00::2")
    counting = core.handle([], now=20.1 + PATIENCE)
    answer(core, counting, packets, now=20.2 + PATIENCE)
    holder = core.network.holders[(core.network.domain(S1, 0), IP("fd00::2"))]
    assert holder.winner.lladdr == winner


def test_a_station_with_ipv6_addresses_only_moves_when_it_is_silent_where_it_was() -> (
    None
):
    core = lab("enforce")
    counting = core.handle([FrameSeen(S1, 3, 0, H2)], now=20.0)
    [probe] = sent(answer(core, counting, 7, now=20.1))
    assert isinstance(parse(S1, 2, probe.data), NdSeen)
    counting = core.handle([], now=20.1 + PATIENCE)
    answer(core, counting, 7, now=20.2 + PATIENCE)
    assert (place(core, H2), claims(core, H2)) == (3, {"fd00::2"})


# --- defence --------------------------------------------------------------------------


@pytest.mark.parametrize("forwards", [False, True])
def test_an_owner_is_advertised_for_to_all_nodes_at_most_every_ten_seconds(
    forwards: bool,
) -> None:
    core = lab("watch", defend=True)
    row = Router(0, ifindex(S1, 1), forwards)
    core.handle([KernelChanged(((row.key, row),))], now=0.5)
    announced: list[tuple[float, SendPacket]] = []
    for second in range(1, 31):
        commands = core.handle([said("fd00::1", at=3, lladdr=THIEF)], float(second))
        announced += [(second, c) for c in sent(commands) if c.port_no == FLOOD]
    assert [second for second, _ in announced] == [3.0, 13.0, 23.0]
    assert DEFEND_INTERVAL == 10.0
    heard = parse(S1, 1, announced[0][1].data)
    assert isinstance(heard, NdSeen)
    assert (heard.lladdr, str(heard.target), str(heard.dst)) == (
        *(H1, "fd00::1"),
        "ff02::1",
    )
    assert heard.flags == (0xA0000000 if forwards else 0x20000000)  # O, never S
