"""Patterns that only attackers make, and two of whom one must be lying."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from controller.attacks import (
    PATTERNS,
    PROBED,
    PROBES_MAX,
    PROBES_OF_A_PORT,
    ROWS_MAX,
    ROWS_OF_A_PORT,
    Attack,
    Attacks,
    in_words,
)
from controller.commands import Command, TellConflict
from controller.conflicts import FORGET, OUTLIVED, REMIND, SETTLE
from controller.core import Core
from controller.events import (
    ArpSeen,
    BridgesSeen,
    Event,
    FlowsListed,
    FrameSeen,
    HitsCounted,
    KernelChanged,
    KernelFact,
    KernelSynced,
    NdSeen,
    SwitchReady,
    TargetUnknown,
)
from controller.ndp import NOBODY, OVERRIDE
from controller.ndp import ROUTER as R
from controller.policy import Policy
from flows.dispute import Kind
from flows.nd import ALL_NODES, ALL_NODES_LLADDR, solicited_node
from flows.nd_guard import ADVERTISEMENT, SOLICITATION
from flows.openflow import BROADCAST
from flows.view import (
    Address,
    Bridge,
    Guard,
    Interface,
    Limits,
    Link,
    Namespace,
    PortKey,
)
from tests.facts import H1, H2, S1, kernel_host, ports

EVIL = "02:00:00:00:00:99"
ZERO = "00:00:00:00:00:00"
FLOOD, SCAN = PATTERNS[Attack.MAC_FLOOD], PATTERNS[Attack.ARP_SCAN]


def lab(mode: str = "learn") -> Core:
    """h0 with 10.0.0.1 behind port 1, by the kernel's word; H2, which said that it has
    10.0.0.2, at port 2; ports 3 and 4."""
    core = Core(Policy(guards=(Guard(mode),) if mode != "learn" else ()))
    facts = kernel_host(S1, 1, H1, "10.0.0.1")
    rows = tuple(fact for fact in facts if isinstance(fact, Interface))
    kernel = tuple(f for f in facts if isinstance(f, Link | Address | Namespace))
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3, 4)))], now=0.0)
    start: list[Event] = [
        FlowsListed(S1, frozenset()),
        BridgesSeen((Bridge(S1, "s1"),), rows),
    ]
    core.handle([*start, KernelSynced(kernel)], now=0.1)
    core.handle([claim("10.0.0.2", H2, at=2)], now=0.2)
    return core


def claim(spa: str, sha: str, *, at: int) -> ArpSeen:
    spoken, asked = IPv4Address(spa), IPv4Address("10.0.0.9")
    return ArpSeen(S1, at, 0, sha, BROADCAST, 2, sha, spoken, ZERO, asked)


def question(tpa: IPv4Address, *, at: int = 3, spa: str = "10.0.0.3") -> ArpSeen:
    own = IPv4Address(spa)
    return ArpSeen(S1, at, 0, EVIL, BROADCAST, 1, EVIL, own, ZERO, tpa)


def frames(count: int, *, at: int = 3, vlan: int = 0) -> list[Event]:
    """Of as many stations."""
    lladdrs = (f"06:00:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(count))
    return [FrameSeen(S1, at, vlan, lladdr) for lladdr in lladdrs]


def dad(ip: str, *, at: int, lladdr: str = H2) -> NdSeen:
    target = IPv6Address(ip)
    group = solicited_node(target)
    return NdSeen(
        *(S1, at, 0, lladdr, "33:33:ff:00:00:00", SOLICITATION),
        *(NOBODY, group, target, "", 0, False),
    )


def advertised(ip: str, lladdr: str, *, at: int) -> NdSeen:
    target = IPv6Address(ip)
    return NdSeen(
        *(S1, at, 0, lladdr, ALL_NODES_LLADDR, ADVERTISEMENT),
        *(target, ALL_NODES, target, lladdr, OVERRIDE, True),
    )


def told(commands: Iterable[Command]) -> list[str]:
    return [command.text for command in commands if isinstance(command, TellConflict)]


def names(core: Core) -> set[Attack]:
    return {row.suspect.attack for row in core.attacks.told()}


# --- patterns -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["learn", "watch", "enforce"])
def test_a_port_with_hundreds_of_new_stations_is_flooded(mode: str) -> None:
    core = lab(mode)
    [line] = told(core.handle(frames(FLOOD.least), now=1.0))
    assert line == "MAC flood by s1-eth3: 128 stations that nobody knew"


def test_a_few_stations_less_or_slower_are_none() -> None:
    core = lab()
    half = FLOOD.least // 2
    everybody = frames(FLOOD.least)
    assert not told(core.handle(everybody[:half], now=1.0))
    assert not told(core.handle(everybody[half:], now=1.0 + FLOOD.within))


def test_the_same_station_again_and_again_is_one() -> None:
    core = lab()
    assert not told(core.handle(frames(1) * FLOOD.least, now=1.0))


def test_who_asks_for_many_addresses_that_nobody_holds_scans() -> None:
    core = lab()
    nobody = [question(IPv4Address("10.0.1.0") + n) for n in range(SCAN.least)]
    [line] = told(core.handle(nobody, now=1.0))
    assert line == (
        f"ARP scan by {EVIL} at s1-eth3: 32 questions for addresses that nobody holds"
    )


def test_who_scans_is_told_by_the_questions_that_go_out_to_everybody() -> None:
    """Whose sender is known is told of by nothing else."""
    core = lab()
    ips = [IPv4Address("10.0.1.0") + n for n in range(SCAN.least)]
    core.handle([TargetUnknown(question(ip)) for ip in ips], now=1.0)
    assert names(core) == {Attack.ARP_SCAN}


def test_what_the_budgets_of_a_port_let_through_in_a_burst_is_enough() -> None:
    limits = Limits()
    assert FLOOD.least < 2 * limits.packet_ins_per_second.other
    assert SCAN.least < limits.unknown_targets_per_second


def test_questions_for_somebody_and_announcements_are_no_scan() -> None:
    core = lab()
    asked = [question(IPv4Address("10.0.0.2"), at=1)] * SCAN.least
    ips = [IPv4Address("10.0.1.0") + n for n in range(SCAN.least)]
    own = [question(ip, spa=str(ip)) for ip in ips]
    core.handle([*asked, *own], now=1.0)
    assert not names(core)


def test_who_denies_others_their_addresses_is_told_by_its_port() -> None:
    core = lab()
    tries: list[Event] = [
        dad("fd00::1", at=2),
        advertised("fd00::1", "02:00:00:00:01:01", at=3),
        dad("fd00::2", at=1, lladdr=H1),
        advertised("fd00::2", "02:00:00:00:01:02", at=3),
    ]
    [line] = told(core.handle(tries, now=1.0))
    assert line == (
        "DAD denial of service by s1-eth3: 2 addresses that others wanted to take"
    )


def test_who_tries_the_same_addresses_at_once_denies_them_too() -> None:
    """As `dos-new-ip6 -S` does."""
    core = lab()
    for ip in ("fd00::1", "fd00::2"):
        core.handle([dad(ip, at=2), dad(ip, at=3, lladdr=EVIL)], now=1.0)
    assert names(core) == {Attack.DAD_DENIAL}


def test_an_owner_who_defends_its_addresses_denies_nobody_anything() -> None:
    core = lab()
    for ip in ("fd00::1", "fd00::2", "fd00::3"):
        core.handle([advertised(ip, H2, at=2)], now=1.0)
        core.handle([dad(ip, at=3, lladdr=EVIL), advertised(ip, H2, at=2)], now=2.0)
    assert not names(core)


def test_who_takes_an_address_that_was_tried_long_ago_denies_nothing() -> None:
    core = lab()
    for ip in ("fd00::1", "fd00::2"):
        core.handle([dad(ip, at=2)], now=1.0)
        core.handle([advertised(ip, EVIL, at=3)], now=1.0 + PROBED)
    assert not names(core)


def test_a_pattern_that_goes_on_is_told_once_a_minute_and_then_forgotten() -> None:
    core, watcher, lines = lab(), Attacks(), 0
    for second in range(100):
        for event in frames(FLOOD.least):
            watcher.watch(event, core.network, 1.0 + second)
        lines += len(watcher.due(1.0 + second))
    assert (lines, REMIND) == (2, 60)
    assert watcher.rows
    for late in (FORGET, 2 * FORGET):
        watcher.due(101.0 + late)
    assert not watcher.rows
    assert watcher.deadline() is None


def test_what_is_kept_is_bounded() -> None:
    core, watcher = lab(), Attacks()
    for n in range(3 * ROWS_MAX):
        lladdr, at = f"06:00:00:00:{n >> 8:02x}:{n & 255:02x}", n // 30
        watcher.watch(FrameSeen(S1, at, n, lladdr), core.network, 1.0)
        watcher.watch(dad(f"fd00::{n:x}", at=at, lladdr=lladdr), core.network, 1.0)
    assert len(watcher._tallies) == ROWS_MAX
    assert len(watcher._probes) == PROBES_MAX
    assert watcher.counters["suspects not kept"] > 0
    assert watcher.counters["attempts to take an address not watched"] > 0
    watcher.watch(dad("fd00::1", at=2), core.network, 1.0 + PROBED)
    assert len(watcher._probes) == 1


def test_of_one_port_a_share_is_kept() -> None:
    core, watcher = lab(), Attacks()
    for n in range(300):
        lladdr = f"06:00:00:00:{n >> 8:02x}:{n & 255:02x}"
        watcher.watch(FrameSeen(S1, 3, n, lladdr), core.network, 1.0)
        watcher.watch(dad(f"fd00::{n:x}", at=3, lladdr=lladdr), core.network, 1.0)
    assert len(watcher._tallies) == ROWS_OF_A_PORT
    assert len(watcher._probes) == PROBES_OF_A_PORT
    for vlan in range(300):
        for event in frames(FLOOD.least, vlan=vlan):
            watcher.watch(event, core.network, 1.0)
    assert len(watcher.rows) == ROWS_OF_A_PORT


def test_suspects_of_something_that_is_over_are_not_missed() -> None:
    """Also behind one that may go on for longer."""
    core, watcher = lab(), Attacks()
    watcher.watch(dad("fd00::1", at=2), core.network, 1.0)
    watcher.watch(advertised("fd00::1", H1, at=1), core.network, 1.0)
    for now in (2.0, 2.0 + FLOOD.within):
        for vlan in range(ROWS_OF_A_PORT):
            once = FrameSeen(S1, 3, vlan + int(now) * 100, "06:00:00:00:00:01")
            watcher.watch(once, core.network, now)
    assert not watcher.counters["suspects not kept"]


def test_a_flood_of_probes_hides_no_denial_at_other_ports() -> None:
    core = lab()
    for n in range(PROBES_MAX):
        flood = dad(f"fd00::2:{n:x}", at=4, lladdr=EVIL)
        core.handle([flood], now=1.0 + n / 200)
    for ip in ("fd00::1:1", "fd00::1:2"):
        core.handle([dad(ip, at=2), advertised(ip, EVIL, at=3)], now=7.0)
    [row] = [r for r in core.attacks.told() if r.suspect.attack is Attack.DAD_DENIAL]
    assert row.suspect.at == PortKey(S1, 3)


def test_who_scans_in_many_names_hides_no_scan_at_other_ports() -> None:
    core = lab()
    for n in range(ROWS_MAX):
        name = f"06:00:00:00:{n >> 8:02x}:{n & 255:02x}"
        one = replace(question(IPv4Address("10.0.1.0"), at=4), eth_src=name, sha=name)
        core.handle([TargetUnknown(one)], now=1.0)
    ips = [IPv4Address("10.0.1.0") + n for n in range(SCAN.least)]
    core.handle([TargetUnknown(question(ip)) for ip in ips], now=2.0)
    [row] = [r for r in core.attacks.told() if r.suspect.attack is Attack.ARP_SCAN]
    assert row.suspect.at == PortKey(S1, 3)


# --- two who say the same, where nobody guards ----------------------------------------


def test_a_claim_against_the_kernel_is_told_by_name_where_nobody_guards() -> None:
    core = lab()
    assert not told(core.handle([claim("10.0.0.1", EVIL, at=3)], now=1.0))
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line == (
        f"{EVIL} at s1-eth3 says that it has 10.0.0.1,"
        f" which {H1} at s1-eth1 holds (kernel); 1 x reply, not dropped"
        " (ARP spoofing)"
    )


def test_of_two_who_are_heard_who_came_second_is_told_when_both_live() -> None:
    core = lab()
    core.handle([claim("10.0.0.2", EVIL, at=3)], now=1.0)
    core.handle([claim("10.0.0.2", H2, at=2)], now=2.0)  # the first one objects
    [line] = told(core.handle([], now=1.0 + OUTLIVED))
    assert line.startswith(f"{EVIL} at s1-eth3 says that it has 10.0.0.2, which {H2}")


def test_who_takes_the_address_of_a_host_that_is_gone_is_no_attacker() -> None:
    core = lab()
    core.handle([claim("10.0.0.2", EVIL, at=3)], now=1.0)
    key = next(key for key in core.view.stations if key.lladdr == H2)
    silent = dict.fromkeys(core.channels[S1].installed or (), 0)
    for second in range(2, 2 + int(OUTLIVED)):
        core.handle([], now=float(second))
        core.handle([HitsCounted(S1, tuple(silent.items()))], now=float(second))
    assert not core.view.stations[key].claims
    assert not told(core.handle([], now=1.0 + OUTLIVED))
    assert core.conflicts.counters["contradictions that settled"] == 1


def test_frames_of_a_station_that_the_kernel_shows_elsewhere_are_told() -> None:
    core = lab()
    core.handle([FrameSeen(S1, 3, 0, H1)], now=1.0)
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line.endswith("(MAC spoofing)")


def test_an_address_of_another_interface_of_ones_own_is_no_theft() -> None:
    """Linux answers for all its addresses at each of its interfaces."""
    core = lab()
    far = kernel_host(S1, 3, EVIL, "10.0.0.3")
    rows = [f for f in core.view.interfaces.values()]
    rows += [fact for fact in far if isinstance(fact, Interface)]
    both: list[KernelFact] = [*core.view.links.values()]
    both += core.view.addresses.values()
    both += [fact for fact in far if isinstance(fact, Link | Address)]
    shown = KernelSynced(tuple(both))
    core.handle([BridgesSeen((Bridge(S1, "s1"),), tuple(rows)), shown], now=0.5)
    core.handle([claim("10.0.0.1", EVIL, at=3)], now=1.0)
    assert not core.conflicts.rows


def test_an_address_that_the_kernel_does_not_list_is_told_when_it_has_settled() -> None:
    """Nobody holds it: whoever asks for it is answered by who should not."""
    core = lab()
    core.handle([claim("10.0.0.77", H1, at=1)], now=1.0)
    [line] = told(core.handle([], now=1.0 + SETTLE))
    assert line == (
        f"{H1} at s1-eth1 says that it has 10.0.0.77, which neither the kernel, the"
        " configuration nor a lease gives it; 1 x reply, not dropped (ARP spoofing)"
    )


def test_an_address_of_an_interface_that_leads_elsewhere_is_ones_own() -> None:
    core = lab()
    elsewhere = Address(0, 9, IPv4Address("10.9.0.1"), 24)
    core.handle([KernelChanged(((elsewhere.key, elsewhere),))], now=0.5)
    core.handle([claim("10.9.0.1", H1, at=1)], now=1.0)
    assert not core.conflicts.rows


# --- routers, where nobody guards -----------------------------------------------------

ROUTER = "02:00:00:00:00:55"


def routes(lladdr: str, ip: str, *, at: int, sends: Kind = Kind.ROUTER) -> FrameSeen:
    return FrameSeen(S1, at, 0, lladdr, IPv6Address(ip), str(sends))


def routed_lab() -> Core:
    """The lab with a router at port 4, which was heard to be one."""
    core = lab()
    heard = advertised("fe80::55", ROUTER, at=4)
    core.handle([replace(heard, flags=OVERRIDE | R)], now=0.5)
    return core


@pytest.mark.parametrize(
    ("sends", "name"),
    [
        (Kind.ROUTER, "rogue router advertisement"),
        (Kind.REDIRECT, "rogue redirect"),
    ],
)
def test_who_routes_beside_a_known_router_is_told(sends: Kind, name: str) -> None:
    core = routed_lab()
    assert not told(core.handle([routes(ROUTER, "fe80::55", at=4)], now=1.0))
    commands = core.handle([routes(EVIL, "fe80::99", at=3, sends=sends)], now=2.0)
    [line] = told(commands)
    assert line.startswith(f"{EVIL} at s1-eth3 sends {sends}s, and is not known to be")
    assert line.endswith(f"({name})")


def test_who_routes_in_a_routers_name_is_told() -> None:
    """As `kill_router6` and `redir6` do."""
    core = routed_lab()
    [line] = told(core.handle([routes(EVIL, "fe80::55", at=3)], now=2.0))
    assert line.endswith("(rogue router advertisement)")


def test_where_no_router_is_known_whoever_is_first_is_taken_for_it() -> None:
    core = lab()
    for second in (1.0, 2.0):
        assert not told(core.handle([routes(ROUTER, "fe80::55", at=4)], now=second))
    [line] = told(core.handle([routes(EVIL, "fe80::99", at=3)], now=3.0))
    assert line.startswith(f"{EVIL} at s1-eth3 sends router advertisements")


def test_words_name_the_vlan() -> None:
    core, watcher = lab(), Attacks()
    for event in frames(FLOOD.least):
        assert isinstance(event, FrameSeen)
        tagged = FrameSeen(S1, 3, 7, event.eth_src)
        watcher.watch(tagged, core.network, 1.0)
    [row] = watcher.due(1.0)
    assert "s1-eth3 on VLAN 7:" in in_words(row, core.view)
