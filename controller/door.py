"""What a switch lets in that begins: nothing, then all but questions, then everything.

Who knows no neighbor sends nothing before he has asked for him and has been answered
(RFC 826; RFC 4861, 7.2.2).  So as long as nobody may ask, nothing is lost on its way to
a switch that is still shut, and who is not answered asks again (RFC 1122, 2.3.2.1).
Probes and announcements of addresses are held back with the questions that they look
like, for as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

from controller.reconcile import Plan
from flows import ingress
from flows.openflow import Flow
from flows.pipeline import TABLE_IDS

FIRST_TABLE = TABLE_IDS["ingress"]
TOGETHER = 2.0  # seconds that a switch without flows waits for others like it
OTHERS = 0.1  # seconds after the last that has come, in which there may be others
QUIET = 0.5  # seconds that questions wait for others to be open
HUSH = ingress.hush(FIRST_TABLE)
HUSHED = tuple(entry.cookie for entry in HUSH)


class Lets(IntEnum):
    """What comes in."""

    NOTHING = 0
    ALL_BUT_QUESTIONS = 1
    ALL = 2


@dataclass(slots=True)
class Door:
    """Of one switch.

    lets   what it lets in when it has done what it was told
    since  when it came, in seconds on the caller's monotonic clock
    until  when it goes a step further at the latest
    held   the flows that let packets in, as long as they are withheld
    """

    lets: Lets = Lets.ALL
    since: float = 0.0
    until: float = 0.0
    held: tuple[Flow, ...] = ()

    @classmethod
    def shut(cls, now: float) -> Door:
        return cls(Lets.NOTHING, now, now + TOGETHER)

    def put(self, change: Plan, lets: Lets, cookies: Set[int], now: float) -> Plan:
        """The change with what has to be done to the door.

        lets     what it may let in now
        cookies  of all flows that the switch should hold
        """
        if self.lets is Lets.ALL:
            return change
        if self.lets is Lets.NOTHING:
            change = self._withhold(change, cookies)
        if lets <= self.lets:
            return change
        was, self.lets = self.lets, lets
        if was is Lets.ALL_BUT_QUESTIONS:
            return replace(change, delete=(*change.delete, *HUSHED))
        hush = HUSH if lets is Lets.ALL_BUT_QUESTIONS else ()
        opened, self.held, self.until = self.held, (), now + QUIET
        return replace(change, add=(*change.add, *hush, *opened))

    def _withhold(self, change: Plan, cookies: Set[int]) -> Plan:
        """Without the flows of the first table, where every packet begins."""
        withheld = {
            entry.cookie: entry
            for entry in (*self.held, *change.add)
            if entry.table == FIRST_TABLE and entry.cookie in cookies
        }
        self.held = tuple(withheld.values())
        inside = tuple(entry for entry in change.add if entry.table != FIRST_TABLE)
        return replace(change, add=inside)


class Beginner(Protocol):
    """What is asked here about a switch (`controller.channel.Channel`)."""

    @property
    def door(self) -> Door: ...

    @property
    def is_told(self) -> bool: ...

    @property
    def has_done_all(self) -> bool: ...


def steps(channels: Mapping[int, Beginner], now: float) -> dict[int, Lets]:
    """What those may let in that do not let in everything.

    Packets when all that are shut have done what they were told: who asks in one of
    them gets an answer when the way to whom he asks for is there.  Questions when all
    who opened with it let in the rest.  A single one need not wait, if it is not the
    first of all.
    """
    begin = {n: one for n, one in channels.items() if one.door.lets is not Lets.ALL}
    if not begin or is_expecting(channels, now):
        return {n: one.door.lets for n, one in begin.items()}
    if len(begin) == 1:
        return dict.fromkeys(begin, Lets.ALL)
    found = dict[int, Lets]()
    for lets in (Lets.NOTHING, Lets.ALL_BUT_QUESTIONS):
        some = {n: one for n, one in begin.items() if one.door.lets is lets}
        awaited = [one for one in some.values() if now < one.door.until]
        may_go_on = all(one.has_done_all for one in awaited)
        for n, one in some.items():
            is_over = may_go_on or now >= one.door.until
            found[n] = Lets(lets + 1) if is_over else lets
    return found


def is_expecting(channels: Mapping[int, Beginner], now: float) -> bool:
    """The first switches have come a moment ago: there may be others."""
    expected = others_until(channels)
    return expected is not None and now < expected


def others_until(channels: Mapping[int, Beginner]) -> float | None:
    """Until when the first wait for others, who may come; None if some are open."""
    doors = [one.door for one in channels.values()]
    if not doors or any(door.lets is not Lets.NOTHING for door in doors):
        return None
    return min(max(d.since for d in doors) + OTHERS, min(d.until for d in doors))


def deadline(channels: Mapping[int, Beginner]) -> float | None:
    """When somebody goes a step further, whatever the others do.  Who has refused is
    looked at again first."""
    expected = others_until(channels)
    is_all = expected is not None and all(c.has_done_all for c in channels.values())
    times = [expected] if is_all and expected is not None else []
    for one in channels.values():
        is_quiet = one.door.lets is Lets.ALL_BUT_QUESTIONS
        if one.is_told and (is_quiet or one.door.held):
            times.append(one.door.until)
    return min(times, default=None)
