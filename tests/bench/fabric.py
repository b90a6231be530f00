"""A tree of many switches, and what it takes to know all of it and to program it.

The core is in this process, beside switches that do what they are told at once.  All
facts are there before the first switch connects, as when a controller is started: the
cables between the switches, and ten hosts at each of them, in namespaces.  A host needs
a flow at every switch, so what matters is the time for each flow, and that the flows of
a switch grow with the hosts and not with their pairs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.commands import ChangeFlows, Command, ListFlows
from controller.core import Core
from controller.door import Lets
from controller.events import (
    BridgesSeen,
    ChangeDone,
    Event,
    FlowsListed,
    KernelChanged,
    KernelFact,
    KernelSynced,
    SwitchReady,
)
from flows.view import Address, Bridge, Interface, Link, Namespace, Port
from tests.bench.figures import Figure, Run, percentile, spread
from tests.facts import cable, kernel_host

SIZES = (10, 30, 100)  # switches
HOSTS = 10  # at each of them
CROWDS = (2, 5, 10)  # hosts at each switch of the greatest, for what grows with them
FANOUT = 3  # switches below each
TURNS = 40
UP, DOWN = 50, 60  # port of the cable to the switch above, and of the first below
FLAT = 2.0  # times the smallest network's
NOT_PAIRS = 1.25  # times as many flows as if they grew with the hosts alone
US = ("tcp:127.0.0.1:6653",)
STEP = 0.01  # seconds between two turns
PATIENCE = 60.0  # seconds on the bench's clock, until all is told


def measure(run: Run) -> Iterator[Figure]:
    costs: list[float] = []
    turns: list[float] = []
    sizes = [run.of(size, least=4 * (n + 1)) for n, size in enumerate(SIZES)]
    for size in sizes:
        run.tell(f"{size} switches, {size * HOSTS:,} hosts")
        plant = Plant(size, HOSTS)
        took = plant.start()
        flows = sum(len(one) for one in plant.switches.values())
        what = f"{size} switches, {size * HOSTS:,} hosts"
        yield Figure(
            f"{what}: from the first to connect until all is programmed", took, "s",
            note=f"of the core, on a processor; {flows:,} flows",
        )  # fmt: skip
        costs.append(took / flows)
        times = [plant.renumbered(n) for n in range(run.of(TURNS, least=4))]
        yield from spread(
            f"{what}: one host's address changes, everywhere", times, "ms"
        )
        turns.append(percentile(times, 50) / size)
    more = f"{sizes[-1]} switches beside {sizes[0]}"
    yield Figure(f"{more}: for each flow", costs[-1] / costs[0], "x", FLAT)
    yield Figure(f"{more}: for each switch", turns[-1] / turns[0], "x", FLAT)
    yield from crowded(sizes[-1], run)


def crowded(size: int, run: Run) -> Iterator[Figure]:
    found: list[tuple[int, int]] = []
    for hosts in CROWDS:
        run.tell(f"{size} switches, {size * hosts:,} hosts")
        plant = Plant(size, hosts)
        plant.start()
        flows = max(len(one) for one in plant.switches.values())
        found.append((size * hosts, flows))
        yield Figure(
            f"{size} switches, {size * hosts:,} hosts: flows of one", flows, ""
        )
    (few, base), (_, _), (many, most) = found
    (_, _), (some, middle), _ = found
    line = base + (middle - base) / (some - few) * (many - few)
    yield Figure(
        "the flows of a switch beside what a line through the others says",
        most / line, "x", NOT_PAIRS, note="with pairs of hosts it would bend upwards",
    )  # fmt: skip


@dataclass(slots=True)
class Plant:
    """A core, and switches as sets of cookies."""

    size: int
    hosts: int
    core: Core = field(default_factory=Core)
    now: float = 1.0
    switches: dict[int, set[int]] = field(default_factory=dict)
    ports: dict[int, list[Port]] = field(default_factory=dict)
    addresses: list[Address] = field(default_factory=list)
    _told: list[Command] = field(default_factory=list)

    def start(self) -> float:
        """Seconds of the core, until there is nothing more to do."""
        rows, kernel = self._facts()
        bridges = tuple(
            Bridge(n, f"s{n}", controllers=US) for n in range(1, self.size + 1)
        )
        took = self.handle(BridgesSeen(bridges, tuple(rows)), KernelSynced(kernel))
        for number, ports in self.ports.items():
            self.switches[number] = set()
            took += self.handle(SwitchReady(number, tuple(ports)))
        return took + self.settle()

    def settle(self) -> float:
        """Until all switches have done all, and their doors are open."""
        took, end = 0.0, self.now + PATIENCE
        doors = [one.door for one in self.core.channels.values()]
        while self._told or any(door.lets is not Lets.ALL for door in doors):
            assert self.now < end, "not all is programmed"
            told, self._told = self._told, []
            took += self.handle(*[answer for one in told for answer in self.obey(one)])
        return took

    def obey(self, command: Command) -> Iterator[Event]:
        match command:
            case ChangeFlows(number, plan):
                flows = self.switches[number]
                flows.difference_update(plan.delete)
                flows.update(flow.cookie for flow in plan.add)
                yield ChangeDone(number)
            case ListFlows(number):
                yield FlowsListed(number, frozenset(self.switches[number]))
            case _:
                pass

    def handle(self, *events: Event) -> float:
        """Seconds, until the core has nothing more to do at once."""
        self.now += STEP
        began = time.process_time()
        self._told += self.core.handle(events, self.now)
        while self.core.is_busy:
            self._told += self.core.handle((), self.now)
        return time.process_time() - began

    def renumbered(self, turn: int) -> float:
        """Milliseconds until the last switch was told; then all of them obey."""
        one = self.addresses[turn * 7919 % len(self.addresses)]
        took = self.handle(KernelChanged(((one.key, None),)))
        assert len(self._told) >= self.size - 1, "not all switches were told"
        self.settle()
        self.handle(KernelChanged(((one.key, one),)))
        self.settle()
        return took * 1e3

    # --- facts ------------------------------------------------------------------------

    def _facts(self) -> tuple[list[Interface], tuple[KernelFact, ...]]:
        rows: list[Interface] = []
        kernel: list[KernelFact] = []
        for fact in self._all():
            match fact:
                case Port():
                    self.ports.setdefault(fact.datapath_id, []).append(fact)
                case Interface():
                    rows.append(fact)
                case Address():
                    self.addresses.append(fact)
                    kernel.append(fact)
                case Link() | Namespace():
                    kernel.append(fact)
        return rows, tuple(kernel)

    def _all(self) -> Iterator[object]:
        for number in range(1, self.size + 1):
            for at in range(1, self.hosts + 1):
                low = f"{number:02x}:{at:02x}"
                ip = f"10.{number}.0.{at}"
                nsid = number * 100 + at
                yield from kernel_host(number, at, f"02:00:00:00:{low}", ip, nsid=nsid)
        for number in range(2, self.size + 1):
            above, place = divmod(number - 2, FANOUT)
            yield from cable((above + 1, DOWN + place), (number, UP))
