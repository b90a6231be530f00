"""Hosts come and go for as long as they like: what is kept of them does not grow.

The clock is the test's.  Each host announces itself, lives for a while, says nothing
more, is asked, falls silent and is forgotten; another has come meanwhile.
"""

from __future__ import annotations

import gc
import tracemalloc
from functools import lru_cache
from ipaddress import IPv4Address as IP

import pytest

from controller.commands import ChangeFlows
from controller.events import ChangeDone
from controller.liveness import witness
from controller.policy import Policy
from flows import tracked
from flows.openflow import Flow
from flows.view import Claim, Station
from tests.controller.test_liveness import Lab, arp
from tests.facts import S1

POPULATION, MINUTE = 40, 60.0
# Thousands of turns; what they pass through is counted where other tests do.
pytestmark = pytest.mark.uncounted

CACHE = type(lru_cache(maxsize=1)(len))


class Town(Lab):
    """Of the latest so many hosts; who is older has died."""

    def __init__(self) -> None:
        super().__init__(Policy(silent_after=10.0, forget_after=20.0))
        self.born = 0
        self.alive: dict[int, int] = {}  # host, by the cookie of what counts its words
        self.speaks = lambda cookie: int(self.now * (cookie in self.alive))

    def live_until(self, end: float) -> None:
        """A host a second comes, and one dies."""
        while self.now < end:
            self.born += 1
            self.alive[said_by(self.born).cookie] = self.born
            for cookie, host in [*self.alive.items()]:
                if host <= self.born - POPULATION:
                    del self.alive[cookie]
            self.tell(arp(ip(self.born), sha=lladdr(self.born)))
            self.until(self.now + 1.0)
            changes = sum(isinstance(one, ChangeFlows) for _, one in self.done)
            self.done.clear()
            self.tell(*[ChangeDone(S1)] * changes)


def ip(host: int) -> str:
    return str(IP("10.0.0.0") + host)


def lladdr(host: int) -> str:
    return f"02:00:00:00:{host >> 8:02x}:{host & 255:02x}"


def said_by(host: int) -> Flow:
    address = IP(ip(host))
    claims = (Claim(address, 0.0),)
    return witness(Station(S1, 0, lladdr(host), 1, 0.0, claims), address)


def held() -> int:
    """Octets, but for caches, which have bounds of their own."""
    for one in [one for one in gc.get_objects() if isinstance(one, CACHE)]:
        one.cache_clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_hosts_that_come_and_go_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracked, "PAGE", 64)  # a page, half full, would count as growth
    tracemalloc.start()
    try:
        town = Town()
        town.live_until(2 * MINUTE)
        stations = len(town.core.view.stations)
        early = most_held(town, minutes=6)
        late = most_held(town, minutes=6)
    finally:
        tracemalloc.stop()
    assert len(town.core.view.stations) <= 1.2 * stations
    assert town.born == 840
    assert late <= 1.1 * early, f"{early:,} octets, and then {late:,}"


def most_held(town: Town, minutes: int) -> int:
    """Octets.  A dict grows by halves and shrinks late, so one look would not tell."""
    held_at = []
    for _ in range(minutes):
        town.live_until(town.now + MINUTE)
        held_at.append(held())
    return max(held_at)
