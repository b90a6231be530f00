"""Leases: granted, renewed, given back, at an end, and remembered by the switch."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest

from controller.commands import ChangeFlows, Command
from controller.core import Core
from controller.ethernet import octets
from controller.events import (
    ArpSeen,
    Binding,
    BridgesSeen,
    DhcpSeen,
    Event,
    FlowsListed,
    FrameSeen,
    SwitchReady,
)
from controller.learn import fall_silent
from controller.leases import ASKING_MAX, ASKING_OF_A_PORT, PATIENCE, TRIM, Leases
from controller.packets import parse
from controller.policy import Policy
from flows.openflow import BROADCAST
from flows.parties import Origin
from flows.pipeline import TABLE_IDS
from flows.view import Bridge, Guard, IPAddress, PortKey, Service, StationKey
from tests.facts import H1, H2, H3, S1, ports
from tests.support.dhcp import (
    ACK,
    DISCOVER,
    NAK,
    RELEASE,
    REPLY,
    REQUEST,
    SOLICIT,
    association,
    dhcp,
    dhcp6,
)

SERVER, CLIENT, ROGUE = 1, 2, 3  # ports
LEASED, OTHER = IPv4Address("10.0.0.9"), IPv4Address("10.0.0.8")
KEY = StationKey(S1, 0, H2)


def lab(guard: str = "enforce", **policy: object) -> Core:
    """H1 at a port where a DHCP server is; H2 has just asked for an address."""
    services = (Service("dhcp", True, "s1", "s1-eth1"),)
    core = Core(Policy(guards=(Guard(guard),), services=services, **policy))  # type: ignore[arg-type]
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3, 4)))], now=0.0)
    start: list[Event] = [
        FlowsListed(S1, frozenset()),
        BridgesSeen((Bridge(S1, "s1"),), ()),
    ]
    core.handle(start, now=0.1)
    core.handle([arp("10.0.0.1", at=SERVER, sha=H1)], now=0.2)
    core.handle([heard(CLIENT, dhcp(DISCOVER, client=H2))], now=0.3)
    return core


def heard(at: int, frame: bytes) -> Event:
    return parse(S1, at, frame)


def asks(at: int = CLIENT, eth_src: str = H2) -> Event:
    """For an address for H2."""
    return heard(at, from_another(dhcp(REQUEST, client=H2), eth_src))


def from_another(frame: bytes, eth_src: str) -> bytes:
    return frame[:6] + octets(eth_src) + frame[12:]


def arp(spa: str, *, at: int, sha: str) -> ArpSeen:
    zero = "00:00:00:00:00:00"
    known = (IPv4Address(spa), zero, IPv4Address("10.0.0.77"))
    return ArpSeen(S1, at, 0, sha, BROADCAST, 1, sha, *known)


def ack(
    seconds: int = 3600, ip: IPv4Address = LEASED, at: int = SERVER, kind: int = ACK
) -> Event:
    lease = {"yiaddr": str(ip), "seconds": seconds} if kind == ACK else {}
    frame = dhcp(kind, client=H2, eth_src=H1, src="10.0.0.1", **lease)  # type: ignore[arg-type]
    return heard(at, frame)


def ends(core: Core) -> dict[IPAddress, float | None]:
    station = core.view.stations.get(KEY)
    return {claim.ip: claim.leased_until for claim in station.claims} if station else {}


def test_an_ack_binds_the_address_to_its_client_where_it_is() -> None:
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    assert ends(core) == {LEASED: 3610.0}
    holder = core.network.holders[(core.network.domain(S1, 0), LEASED)]
    assert (holder.winner.origin, holder.winner.port.port_no) == (Origin.DHCP, CLIENT)
    assert core.counters["DHCP: ack"] == 1


def test_dhcpv6_binds_all_addresses_of_a_reply() -> None:
    core = lab()
    options = association(("fd00::9", 600), ("fd00::a", 300))
    core.handle([heard(CLIENT, dhcp6(SOLICIT, client=H2))], now=9.0)
    frame = dhcp6(REPLY, client=H2, eth_src=H1, options=options)
    core.handle([heard(SERVER, frame)], now=10.0)
    assert ends(core) == {
        IPv6Address("fd00::9"): 610.0,
        IPv6Address("fd00::a"): 310.0,
    }


def test_what_the_client_says_after_it_ends_no_lease() -> None:
    core = lab()
    core.handle([asks(), ack(), arp(str(LEASED), at=CLIENT, sha=H2)], now=10.0)
    core.handle([arp(str(LEASED), at=CLIENT, sha=H2)], now=60.0)
    assert ends(core) == {LEASED: 3610.0}


def test_a_renewal_moves_the_end() -> None:
    core = lab()
    core.handle([asks(), ack(60)], now=10.0)
    core.handle([asks(), ack(60)], now=40.0)
    assert core.leases.deadline() == 70.0
    core.handle([], now=70.0)
    assert ends(core) == {LEASED: 100.0}


def test_a_lease_that_ends_leaves_what_its_client_says_itself() -> None:
    core = lab()
    core.handle([asks(), ack(60)], now=10.0)
    core.handle([arp(str(LEASED), at=CLIENT, sha=H2)], now=65.0)
    core.handle([], now=70.0)
    assert ends(core) == {LEASED: None}
    holder = core.network.holders[(core.network.domain(S1, 0), LEASED)]
    assert holder.winner.origin is Origin.HEARD


def test_a_lease_without_an_end_has_no_deadline() -> None:
    core = lab()
    core.handle([asks(), ack(0xFFFFFFFF)], now=10.0)
    assert core.leases.deadline() is None
    assert list(ends(core)) == [LEASED]


@pytest.mark.parametrize(
    "end",
    [
        ack(kind=NAK),
        heard(CLIENT, dhcp(RELEASE, client=H2, ciaddr="10.0.0.9", src="10.0.0.9")),
    ],
    ids=["refused by the server", "given back by the client"],
)
def test_a_lease_is_over_when_either_side_says_so(end: Event) -> None:
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    core.handle([asks(), end], now=20.0)
    assert ends(core) == {}


def test_nobody_gives_back_the_lease_of_somebody_else() -> None:
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    forged = dhcp(RELEASE, client=H2, ciaddr="10.0.0.9", src="10.0.0.9")
    core.handle([heard(ROGUE, forged)], now=20.0)
    other = dhcp(RELEASE, client=H3, ciaddr="10.0.0.9", src="10.0.0.9")
    core.handle([heard(ROGUE, other)], now=20.1)
    assert ends(core) == {LEASED: 3610.0}


@pytest.mark.parametrize("kind", [ACK, NAK])
@pytest.mark.parametrize(
    ("at", "eth_src"), [(ROGUE, H3), (ROGUE, H2), (CLIENT, H3)], ids=["own", "H2", "H3"]
)
def test_nobody_asks_for_a_lease_of_somebody_else(
    at: int, eth_src: str, kind: int
) -> None:
    """The server answers to H2, which has its address from elsewhere, or a lease."""
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    core.handle([asks(at, eth_src), ack(kind=kind, ip=OTHER)], now=20.0)
    assert ends(core) == {LEASED: 3610.0}
    assert core.counters["DHCP: an answer to nobody"] == 1


def test_an_answer_is_to_the_last_question_and_comes_in_time() -> None:
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    core.handle([ack(60)], now=11.0)  # as good as the first one, and too late
    core.handle([asks()], now=20.0)
    core.handle([ack(60)], now=20.0 + PATIENCE)
    assert ends(core) == {LEASED: 3610.0}


def test_those_who_ask_and_get_no_answer_do_not_pile_up() -> None:
    leases = Leases()
    for n in range(ASKING_MAX + 1):
        leases.asks(KEY, n, PortKey(S1, n // 100), now=0.0)
    assert not leases.is_answer(KEY, 0, now=1.0)
    assert leases.is_answer(KEY, ASKING_MAX, now=1.0)
    assert leases.counters["DHCP: questions that gave way to newer ones"] == 1


def test_a_port_that_asks_for_much_loses_its_own_questions_alone() -> None:
    leases, other = Leases(), StationKey(S1, 0, H1)
    leases.asks(other, 1, PortKey(S1, 1), now=0.0)
    for n in range(2 * ASKING_MAX):
        leases.asks(KEY, n, PortKey(S1, 2), now=0.0)
    assert leases.is_answer(other, 1, now=1.0)
    assert not leases.is_answer(KEY, ASKING_MAX, now=1.0)
    assert leases.counters["DHCP: questions that gave way to newer ones"] == (
        2 * ASKING_MAX - ASKING_OF_A_PORT
    )


@pytest.mark.parametrize("guard", ["learn", "watch", "enforce"])
def test_a_rogue_server_leases_nothing(guard: str) -> None:
    core = lab(guard)
    rogue = dhcp(ACK, client=H2, yiaddr="10.0.0.66", seconds=60, eth_src=H3)
    core.handle([heard(ROGUE, rogue)], now=10.0)
    assert ends(core) == {}
    if guard != "learn":
        told = [row.name for row in core.conflicts.rows.values()]
        assert told == ["rogue DHCP server"]


def test_a_client_that_was_never_heard_has_no_lease_yet() -> None:
    core = lab()
    frame = dhcp(ACK, client=H3, yiaddr="10.0.0.7", seconds=60, eth_src=H1)
    core.handle([heard(SERVER, frame)], now=10.0)
    assert StationKey(S1, 0, H3) not in core.view.stations
    core.handle([arp("10.0.0.7", at=ROGUE, sha=H3)], now=11.0)
    assert core.view.stations[StationKey(S1, 0, H3)].claims  # and is not cut off


def test_who_has_a_lease_says_nothing_of_other_addresses() -> None:
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    core.handle([arp(str(OTHER), at=CLIENT, sha=H2)], now=11.0)
    assert list(ends(core)) == [LEASED]
    [row] = core.conflicts.rows.values()
    assert (row.found.ip, row.found.rival) == (OTHER, "")
    free = lab(confine=False)
    free.handle([asks(), ack(), arp(str(OTHER), at=CLIENT, sha=H2)], now=10.0)
    assert list(ends(free)) == [LEASED, OTHER]


def test_a_leased_address_is_not_taken_by_who_asks_twice() -> None:
    """Its holder is not asked whether it still lives: the server has said so."""
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    core.handle([arp(str(LEASED), at=ROGUE, sha=H3)], now=11.0)
    assert not core.moves.trials
    holder = core.network.holders[(core.network.domain(S1, 0), LEASED)]
    assert [c.lladdr for c in holder.candidates] == [H2]


def test_it_is_remembered_over_a_silence() -> None:
    core = lab(silent_after=10.0)
    core.handle([asks(), ack()], now=10.0)
    station = core.view.stations[KEY]
    core.view = fall_silent(core.view, KEY, LEASED, 25.0)
    assert ends(core) == {}
    core.handle([arp(str(LEASED), at=CLIENT, sha=H2)], now=30.0)
    assert ends(core) == {LEASED: station.claims[0].leased_until}


def test_what_is_over_while_its_client_is_silent_does_not_come_back() -> None:
    core = lab()
    core.handle([asks(), ack()], now=10.0)
    core.view = fall_silent(core.view, KEY, LEASED, 25.0)
    core.handle([asks(), ack(kind=NAK)], now=26.0)
    core.handle([arp(str(LEASED), at=CLIENT, sha=H2)], now=30.0)
    assert ends(core) == {LEASED: None}


def test_a_reply_with_a_lifetime_of_zero_ends_a_lease() -> None:
    """RFC 8415, 18.2.10"""
    core = lab()
    for seconds in (600, 0):
        options = association(("fd00::9", seconds))
        frame = dhcp6(REPLY, client=H2, eth_src=H1, options=options)
        core.handle([heard(SERVER, frame)], now=10.0)
    assert ends(core) == {}


# --- the switch is the memory ---------------------------------------------------------


def flows_of(commands: list[Command]) -> list[Binding]:
    added = [f for c in commands if isinstance(c, ChangeFlows) for f in c.plan.add]
    rows = [(f, dict(f.match)) for f in added if f.table == TABLE_IDS["leases"]]
    return [
        Binding(
            *(f.cookie, int(m["in_port"]), int(m["reg1"]), m["eth_src"]),
            IPv4Address(m["arp_spa"]),
            leased_until=float(int(m["reg9"], 0)),
        )
        for f, m in rows
        if "arp_spa" in m
    ]


def test_a_restarted_controller_knows_the_lease_and_its_end() -> None:
    core = lab()
    [memory] = flows_of(core.handle([asks(), ack()], now=10.0))
    again = Core(Policy())
    again.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3, 4)))], now=50.0)
    listed = FlowsListed(S1, frozenset({memory.cookie}), (memory,))
    again.handle([listed], now=50.1)
    assert ends(again) == {LEASED: 3610.0}
    assert again.leases.deadline() == 3610.0


def test_a_lease_that_somebody_else_wrote_into_the_switch_is_not_believed() -> None:
    core = lab()
    [memory] = flows_of(core.handle([asks(), ack()], now=10.0))
    forged = Binding(
        *(memory.cookie, CLIENT, 0, H3, LEASED),
        leased_until=memory.leased_until,
    )
    again = Core(Policy())
    again.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3, 4)))], now=50.0)
    again.handle([FlowsListed(S1, frozenset(), (forged,))], now=50.1)
    assert not again.view.stations


def test_ends_that_are_no_more_do_not_pile_up() -> None:
    core = lab()
    for n in range(2 * TRIM):
        core.handle([asks(), ack(60 + n)], now=10.0 + n / 100)
    assert len(core.leases.ends) <= TRIM + 1


def test_every_message_is_still_a_frame_of_its_sender() -> None:
    """A new station that asks for an address is placed where it asks."""
    core = lab()
    asks = heard(ROGUE, dhcp(DISCOVER, client=H3))
    assert isinstance(asks, DhcpSeen) and isinstance(asks.frame, FrameSeen)
    core.handle([asks], now=5.0)
    assert core.view.stations[StationKey(S1, 0, H3)].port_no == ROGUE
