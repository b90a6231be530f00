"""Who is heard first, and who is not heard at all."""

from __future__ import annotations

import threading
from dataclasses import replace
from ipaddress import IPv6Address

from controller.events import DhcpSeen, FrameSeen, NdSeen, PortGone, TargetUnknown
from controller.inbox import Inbox
from flows.view import PortKey
from tests.facts import H1, S1, S2
from tests.support.wait import wait_until

AT_ONCE = 0.001  # seconds


def packet(number: int) -> FrameSeen:
    return FrameSeen(S1, number, 0, H1)


def fact(number: int) -> PortGone:
    return PortGone(S1, number)


def test_facts_overtake_packets_and_nothing_else_changes_its_order() -> None:
    inbox = Inbox()
    for event in (packet(1), packet(2), fact(3), packet(4), fact(5)):
        inbox.put(event)
    facts_first = [fact(3), fact(5), packet(1), packet(2), packet(4)]
    assert inbox.take(9, AT_ONCE) == facts_first


def test_no_more_are_taken_than_asked_for() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.put(packet(number))
    assert inbox.take(2, AT_ONCE) == [packet(0), packet(1)]
    assert inbox.take(2, AT_ONCE) == [packet(2)]
    assert inbox.take(2, AT_ONCE) == []


def test_packets_that_find_it_full_are_dropped_and_counted_and_facts_are_not() -> None:
    inbox = Inbox(packets=2, facts=1)
    for event in (packet(1), packet(2), packet(3), fact(4), packet(5)):
        inbox.put(event)
    assert inbox.dropped == 2
    assert inbox.take(9, AT_ONCE) == [fact(4), packet(1), packet(2)]


def test_facts_wait_for_room() -> None:
    inbox = Inbox(packets=0, facts=1)
    inbox.put(fact(1))
    waiting = threading.Thread(target=inbox.put, args=(fact(2),), daemon=True)
    waiting.start()
    assert inbox.take(1, AT_ONCE) == [fact(1)]
    assert wait_until(lambda: inbox.take(1, AT_ONCE)) == [fact(2)]
    waiting.join()


# --- ports do not crowd each other out -----------------------------------------------


def test_ports_are_heard_in_turns_each_in_its_own_order() -> None:
    inbox = Inbox()
    flood = [replace(packet(1), eth_src=f"02:00:00:00:01:{n:02x}") for n in range(5)]
    for event in (*flood, packet(2), packet(3)):
        inbox.put(event)
    assert inbox.take(4, AT_ONCE) == [flood[0], packet(2), packet(3), flood[1]]
    assert inbox.take(9, AT_ONCE) == flood[2:]


def test_a_port_that_floods_loses_its_own_packets_and_nobody_elses() -> None:
    inbox = Inbox(packets=100, of_a_port=10)
    for _ in range(1000):
        inbox.put(packet(1))
    inbox.put(packet(2))
    assert inbox.dropped_of == {PortKey(S1, 1): 990}
    assert inbox.take(999, AT_ONCE).count(packet(2)) == 1


def test_where_there_is_room_for_no_more_who_has_most_makes_room() -> None:
    inbox = Inbox(packets=10, of_a_port=10)
    for _ in range(10):
        inbox.put(packet(1))
    inbox.put(packet(2))
    assert inbox.dropped_of == {PortKey(S1, 1): 1}
    assert packet(2) in inbox.take(10, AT_ONCE)


def test_switches_are_heard_in_turns_however_many_ports_they_say_they_have() -> None:
    inbox = Inbox()
    flood = [packet(n) for n in range(1, 6)]
    other = [replace(packet(n), datapath_id=S2) for n in (1, 1, 2)]
    for event in (*flood, *other):
        inbox.put(event)
    heard = inbox.take(6, AT_ONCE)
    assert heard[:2] == [flood[0], other[0]]
    assert [event for event in heard if event in other] == [
        other[0],
        other[2],
        other[1],
    ]


def test_a_switch_that_floods_from_all_its_ports_makes_room_for_others() -> None:
    inbox = Inbox(packets=10)
    for n in range(20):
        inbox.put(packet(n))
    heard = [replace(packet(n), datapath_id=S2) for n in range(5)]
    for event in heard:
        inbox.put(event)
    taken = inbox.take(99, AT_ONCE)
    assert [event for event in taken if event in heard] == heard
    assert len(taken) == 10
    assert inbox.dropped == 15


def test_a_turn_may_take_fewer_packets_and_no_fewer_facts() -> None:
    inbox = Inbox()
    for event in (packet(1), packet(2), fact(3), fact(4), packet(5)):
        inbox.put(event)
    assert inbox.take(9, AT_ONCE, packets=1) == [fact(3), fact(4), packet(1)]
    assert inbox.take(9, AT_ONCE, packets=5) == [packet(2), packet(5)]


def test_what_servers_and_clients_of_dhcp_say_is_a_packet_too() -> None:
    """A flood of it must not hold back what else is heard, nor who brings it."""
    said = DhcpSeen(packet(1), "ack", H1, (), 7)
    inbox = Inbox(packets=1, facts=1)
    for event in (said, said, fact(2)):
        inbox.put(event)
    assert inbox.dropped_of == {PortKey(S1, 1): 1}
    assert inbox.take(9, AT_ONCE) == [fact(2), said]


def test_neighbor_discovery_is_a_packet_and_so_is_a_question_that_went_out() -> None:
    nobody = IPv6Address("::")
    heard = NdSeen(
        *(S1, 1, 0, H1, H1, 135, nobody, nobody, IPv6Address("fd00::1")),
        *("", 0, False),
    )
    inbox = Inbox(packets=1)
    for event in (TargetUnknown(heard), heard):
        inbox.put(event)
    assert inbox.dropped == 1
    assert inbox.take(9, AT_ONCE) == [TargetUnknown(heard)]
