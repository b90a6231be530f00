"""Who is heard first, and who is not heard at all."""

from __future__ import annotations

import threading

from controller.events import FrameSeen, PortGone
from controller.inbox import Inbox
from tests.facts import H1, S1
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
