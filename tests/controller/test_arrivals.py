"""Switches of others are told where a station is that has moved; nobody else is."""

from __future__ import annotations

from ipaddress import IPv4Address

from controller.arrivals import AGAIN, AWAY, LEFT_MAX, Arrivals
from controller.commands import Command, SendPacket
from controller.core import Core
from controller.events import (
    ArpSeen,
    BridgesSeen,
    FlowsListed,
    KernelSynced,
    PortChanged,
    PortGone,
    SwitchReady,
)
from controller.packets import arp_request
from flows.network import network
from flows.view import Address, Bridge, Interface, Link, Namespace, View
from tests.facts import (
    H1,
    H2,
    S1,
    S2,
    Fact,
    bridged_tap,
    cable,
    heard_host,
    interface,
    kernel_host,
    port,
    ports,
    view_of,
)

OUT, ALSO_OUT = port(S1, 8), port(S2, 8)
LAB = (cable((S1, 9), (S2, 9)), OUT, ALSO_OUT)
IP, OTHER = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
GRATUITOUS = arp_request(eth_src=H1, spa=IP, tpa=IP)


def sent_by(arrivals: Arrivals, *views: View, every: float = 10.0) -> list[SendPacket]:
    """What is announced at the last of these views."""
    sent: list[SendPacket] = []
    for n, view in enumerate(views):
        sent = [*arrivals.announcements(view, network(view), n * every)]
    return sent


def at(datapath_id: int, port_no: int) -> View:
    shown = kernel_host(datapath_id, port_no, H1, "10.0.0.1", "fd00::1")
    return view_of(*LAB, shown)


def test_who_has_moved_is_announced_behind_every_port_that_others_may_be_at() -> None:
    sent = sent_by(Arrivals(), at(S1, 1), at(S2, 1))
    assert [(one.datapath_id, one.port_no) for one in sent] == [(S1, 8), (S2, 8)]
    assert {one.data for one in sent} == {GRATUITOUS}


def test_who_comes_stays_or_goes_is_not_announced() -> None:
    nobody, here = view_of(*LAB), at(S1, 1)
    assert sent_by(Arrivals(), nobody, here) == []
    assert sent_by(Arrivals(), here, here) == []
    assert sent_by(Arrivals(), here, nobody) == []
    assert sent_by(Arrivals(), here, nobody, here) == []


def test_who_was_nowhere_for_a_moment_has_moved_all_the_same() -> None:
    views = at(S1, 1), view_of(*LAB), at(S2, 1)
    assert len(sent_by(Arrivals(), *views)) == 2
    assert sent_by(Arrivals(), *views, every=AWAY + 1) == []


def test_it_is_not_announced_where_it_is_itself() -> None:
    guest = bridged_tap(S2, 8, H1)
    before = view_of(cable((S1, 9), (S2, 9)), OUT, heard_host(S1, 8, H1, "10.0.0.1"))
    after = view_of(
        cable((S1, 9), (S2, 9)), OUT, guest, heard_host(S2, 8, H1, "10.0.0.1")
    )
    [sent] = sent_by(Arrivals(), before, after)
    assert (sent.datapath_id, sent.port_no) == (S1, 8)


def test_whose_address_is_not_certain_is_not_announced() -> None:
    rival = heard_host(S1, 8, H2, "10.0.0.1")
    before = view_of(*LAB, rival, kernel_host(S1, 7, H1))
    after = view_of(
        *LAB, rival, kernel_host(S2, 7, H1), heard_host(S2, 7, H1, "10.0.0.1")
    )
    assert network(after).holders
    assert sent_by(Arrivals(), before, after) == []


def test_nobody_is_announced_twice_within_a_second() -> None:
    views = at(S1, 1), at(S2, 1), at(S1, 1)
    assert sent_by(Arrivals(), *views, every=AGAIN / 2) == []
    assert sent_by(Arrivals(), *views, every=AGAIN) != []


def test_where_the_kernel_shows_all_hosts_nothing_is_sent() -> None:
    both = cable((S1, 9), (S2, 9))
    before = view_of(both, kernel_host(S1, 1, H1, "10.0.0.1"))
    after = view_of(both, kernel_host(S2, 1, H1, "10.0.0.1"))
    assert sent_by(Arrivals(), before, after) == []


def test_those_who_are_nowhere_are_remembered_within_a_bound() -> None:
    crowd: list[Fact] = []
    for n in range(LEFT_MAX + 9):
        crowd += heard_host(S1, 1, f"02:00:00:01:{n >> 8:02x}:{n & 255:02x}")
    arrivals = Arrivals()
    sent_by(arrivals, view_of(*LAB, crowd), view_of(*LAB))
    assert len(arrivals._left) == LEFT_MAX


def test_who_was_only_heard_elsewhere_is_not_announced() -> None:
    before = view_of(*LAB, heard_host(S1, 1, H1, "10.0.0.1"))
    after = view_of(*LAB, heard_host(S2, 1, H1, "10.0.0.1"))
    assert sent_by(Arrivals(), before, after) == []


def test_flows_change_before_a_move_is_announced() -> None:
    core = Core()
    facts = cable((S1, 9), (S2, 9)) + kernel_host(S2, 1, H1, "10.0.0.1")
    rows = [row for row in facts if isinstance(row, Interface)]
    rows += [interface(n, 8, ifindex=0) for n in (S1, S2)]
    rows += [interface(S1, 1, ifindex=0)]
    kernel = [row for row in facts if isinstance(row, Link | Address | Namespace)]
    bridges = (Bridge(S1, "s1"), Bridge(S2, "s2"))
    core.handle([BridgesSeen(bridges, (*rows,)), KernelSynced((*kernel,))], 0.0)
    for n in (S1, S2):
        there = (1, 8, 9) if n == S1 else (8, 9)
        core.handle([SwitchReady(n, (*ports(n, *there),))], 0.0)
        core.handle([FlowsListed(n, frozenset())], 0.1)
    core.handle([ArpSeen(S1, 1, 0, H1, H2, 1, H1, IP, "", OTHER)], 1.0)
    core.handle([PortGone(S1, 1)], 2.0)

    commands = core.handle([PortChanged(port(S2, 1))], 2.1)

    kinds = [type(one).__name__ for one in commands if is_about_flows(one)]
    assert kinds == ["ChangeFlows", "ChangeFlows", "SendPacket", "SendPacket"]
    assert core.arrivals.counters["announcements of who has moved"] == 2


def is_about_flows(command: Command) -> bool:
    return type(command).__name__ in ("ChangeFlows", "SendPacket")
