"""What a switch lets in that begins: nothing, then all but questions, then everything.

Who knows no neighbor sends nothing before he has asked for him and has been answered
(RFC 826; RFC 4861, 7.2.2).  So as long as nobody may ask, nothing is lost on its way to
a switch that is still shut, and who is not answered asks again (RFC 1122, 2.3.2.1).
Probes and announcements of addresses are held back with the questions that they look
like, for as long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from controller.reconcile import Plan
from flows import ingress
from flows.openflow import Flow
from flows.pipeline import TABLE_IDS

FIRST_TABLE = TABLE_IDS["ingress"]
TOGETHER = 2.0  # seconds that a switch without flows waits for others like it
HUSH = ingress.hush(FIRST_TABLE)
HUSHED = tuple(entry.cookie for entry in HUSH)


class Lets(Enum):
    """What comes in."""

    NOTHING = "nothing"
    ALL_BUT_QUESTIONS = "all but questions"
    ALL = "all"


@dataclass(slots=True)
class Door:
    """Of one switch.

    lets   what it lets in when it has done what it was told
    came   when it connected without flows, in seconds on the caller's monotonic clock
    since  when it was told to let in so much
    held   the flows that let packets in, as long as they are withheld
    """

    lets: Lets = Lets.ALL
    came: float = -math.inf
    since: float = -math.inf
    held: tuple[Flow, ...] = ()

    @classmethod
    def shut(cls, now: float) -> Door:
        return cls(Lets.NOTHING, now, now)

    @property
    def until(self) -> float:
        """When it goes a step further at the latest."""
        return self.since + TOGETHER

    def put(self, change: Plan, lets: Lets, cookies: Set[int], now: float) -> Plan:
        """The change with what has to be done to the door.

        lets     what it may let in now
        cookies  of all flows that the switch should hold
        """
        if self.lets is Lets.NOTHING:
            change = self._withhold(change, cookies)
        if lets is self.lets:
            return change
        was, self.lets, self.since = self.lets, lets, now
        if was is Lets.ALL_BUT_QUESTIONS:
            return replace(change, delete=(*change.delete, *HUSHED))
        hush = HUSH if lets is Lets.ALL_BUT_QUESTIONS else ()
        opened, self.held = self.held, ()
        return replace(change, add=(*hush, *change.add, *opened))

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
    """What each may let in, if it is not everything.

    Packets when all that are shut have done what they were told: who asks in one of
    them gets an answer when the way to whom he asks for is there.  Questions when all
    of them let in the rest; those who came a moment before the others, and let in
    everything, stop doing so.  One that is alone, or comes later, need not wait.
    """
    by = {
        lets: [n for n, c in channels.items() if c.door.lets is lets] for lets in Lets
    }
    shut, quiet = by[Lets.NOTHING], by[Lets.ALL_BUT_QUESTIONS]
    young = [n for n in by[Lets.ALL] if now < channels[n].door.came + TOGETHER]
    if len(shut) == 1 and not quiet and not young:
        return {}
    awaited = [channels[n] for n in shut if now < channels[n].door.until]
    found = dict.fromkeys(young if awaited else (), Lets.ALL_BUT_QUESTIONS)
    are_ready = all(one.has_done_all for one in awaited)
    for n in shut:
        is_over = are_ready or now >= channels[n].door.until
        found[n] = Lets.ALL_BUT_QUESTIONS if is_over else Lets.NOTHING
    if awaited or not all(channels[n].has_done_all for n in quiet):
        waiting = [n for n in quiet if now < channels[n].door.until]
        found |= dict.fromkeys(waiting, Lets.ALL_BUT_QUESTIONS)
    return found


def deadline(channels: Mapping[int, Beginner]) -> float | None:
    """When somebody goes a step further, whatever the others do.  Who has refused is
    looked at again first."""
    times = [
        one.door.until
        for one in channels.values()
        if one.is_told and (one.door.held or one.door.lets is Lets.ALL_BUT_QUESTIONS)
    ]
    return min(times, default=None)
