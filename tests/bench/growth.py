"""A network that grows tenfold, and tenfold again: what a host costs, and an event.

One process of its own holds the core, and a switch that does what it is told and counts
what it is asked for; its clock is the bench's.  `python -m tests.bench.growth SIZE...`
prints what it found at each size, as a line of JSON: octets that it holds, and for each
kind of event microseconds of turns of one event.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from controller.commands import ChangeFlows, Command, CountHits
from controller.core import Core
from controller.events import ArpSeen, Event, HitsCounted
from controller.liveness import LOOKS_MAX, TICK, witness
from flows.view import Station, StationKey
from tests.bench.figures import Figure, Run, percentile
from tests.bench.stage import ROOT
from tests.bench.turns import (
    PORTS,
    SWITCH,
    TOGETHER,
    lladdr,
    request,
    resident,
    started,
)

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
EVENTS = 200  # of each kind, at each size
FLAT = 2.0  # times the cheapest size
MEMORY = 2_048  # octets for each binding
FROM = 2  # the size that memory is compared with: 10,000
KINDS = ("a host announces itself", "a host moves", "a host falls silent")
LIMIT = 900.0  # seconds for the process


def measure(run: Run) -> Iterator[Figure]:
    sizes = [run.of(size, least=20 * (n + 1)) for n, size in enumerate(SIZES)]
    run.tell(f"a network grows to {sizes[-1]:,} hosts")
    events = run.of(EVENTS, least=4)
    found = grown(sizes, events)
    for kind in KINDS:
        medians = [percentile(row[kind], 50) for row in found]
        for size, row, median in zip(sizes, found, medians, strict=True):
            top = f"p99 {percentile(row[kind], 99):,.0f} us"
            what = f"{kind}, {size:,} hosts: p50"
            note = f"of {len(row[kind])}, {top}"
            yield Figure(what, median, "us", note=note, point=(kind, size))
        yield Figure(
            f"{kind}: the dearest size of the network beside the cheapest",
            max(medians) / min(medians), "x", FLAT,
        )  # fmt: skip
    few, many = found[FROM], found[-1]
    hosts = sizes[-1] - sizes[FROM]
    yield Figure(
        f"memory for each further binding, from {sizes[FROM]:,} to {sizes[-1]:,}",
        (many["resident"] - few["resident"]) / hosts, "octets", MEMORY,
        note="with all that it leads to; of the process",
    )  # fmt: skip


def grown(sizes: Sequence[int], events: int) -> list[dict[str, Any]]:
    """What a fresh process finds."""
    words = [str(number) for number in (events, *sizes)]
    done = subprocess.run(
        (sys.executable, "-m", "tests.bench.growth", *words),
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- the process ----------------------------------------------------------------------


@dataclass(slots=True)
class Town:
    """A core, and hosts that live until they are told to be dead.

    dead    cookies of the flows that count what a dead host says
    counts  how often counts were told: who lives has spoken each time
    """

    now: float = 1.0
    size: int = 0
    counts: int = 0
    dead: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)  # dead hosts' looks
    core: Core = field(default_factory=partial(started, PORTS))

    def grow(self, size: int) -> None:
        while self.size < size:
            more = range(self.size, min(size, self.size + TOGETHER))
            self.core.handle([request(n, n % PORTS + 1) for n in more], self.now)
            self.size = more.stop

    def taken(self, event: Event) -> tuple[float, list[Command]]:
        """Microseconds of a turn of one event."""
        began = time.perf_counter()
        commands = self.core.handle([event], self.now)
        return (time.perf_counter() - began) * 1e6, commands

    def tick(self) -> None:
        """The clock goes on; the switch tells at once what it was asked for."""
        self.now += TICK
        for command in self.core.handle([], self.now):
            self.answer(command)

    def answer(self, command: Command) -> None:
        if isinstance(command, CountHits):
            self.counts += 1
            lively = [one for one in command.cookies if one not in self.dead]
            self.waiting += [one for one in command.cookies if one in self.dead]
            told = tuple((cookie, self.counts) for cookie in lively)
            for other in self.core.handle([HitsCounted(SWITCH, told)], self.now):
                self.answer(other)

    # --- events -----------------------------------------------------------------------

    def announced(self) -> float:
        """A host that nobody knew."""
        host, self.size = self.size, self.size + 1
        return self.changed(request(host, host % PORTS + 1))

    def moved(self, host: int) -> float:
        at = self.station(host).port_no
        return self.changed(request(host, at % PORTS + 1))

    def changed(self, event: ArpSeen) -> float:
        took, commands = self.taken(event)
        assert any(isinstance(one, ChangeFlows) for one in commands)
        return took

    def silenced(self, hosts: Sequence[int]) -> list[float]:
        """They die; for each, the turn that takes its answers away."""
        cookies = {self.cookie(host) for host in hosts}
        self.dead |= cookies
        found: list[float] = []
        rounds = 8 * self.size // LOOKS_MAX + round(120 / TICK)
        for _ in range(rounds):
            self.tick()
            asked, self.waiting = self.waiting, []
            for cookie in asked:
                took, commands = self.taken(HitsCounted(SWITCH, ((cookie, 0),)))
                if any(isinstance(one, ChangeFlows) for one in commands):
                    found.append(took)
            if len(found) == len(hosts):
                return found
        raise AssertionError(f"{len(found)} of {len(hosts)} fell silent")

    def station(self, host: int) -> Station:
        return self.core.view.stations[StationKey(SWITCH, 0, lladdr(host))]

    def cookie(self, host: int) -> int:
        station = self.station(host)
        return witness(station, station.claims[0].ip).cookie


def main(events: int, sizes: Sequence[int]) -> None:
    town = Town()
    for size in sizes:
        town.grow(size)
        gc.collect()
        found: dict[str, object] = {"hosts": size, "resident": resident()}
        some = [n * 7919 % size for n in range(events)]
        found[KINDS[1]] = [town.moved(host) for host in dict.fromkeys(some)]
        found[KINDS[0]] = [town.announced() for _ in range(events)]
        found[KINDS[2]] = town.silenced([*range(town.size - events, town.size)])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]])
