"""Ten thousand hosts that come, go, move, sleep and die, and are only heard.

A quarter of an hour of virtual time in the model of tests/support/day.py, which judges
what the switches answer; a whole day is `python -m tests.support.day`.  What the core
takes is its own time on a processor, without switches and channel.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from controller.commands import Command
from controller.core import Core
from controller.events import Event
from controller.policy import Policy
from tests.bench.figures import Figure, Run
from tests.support.day import HOUR, World

HOSTS = 10_000
HOURS = 0.25
SEED = 1


class Timed:
    """A core, and for how long it had a processor."""

    def __init__(self, core: Core) -> None:
        self.core, self.took = core, 0.0

    def handle(self, events: Sequence[Event], now: float) -> list[Command]:
        began = time.process_time()
        commands = self.core.handle(events, now)
        self.took += time.process_time() - began
        return commands

    def deadline(self) -> float | None:
        return self.core.deadline()


def measure(run: Run) -> Iterator[Figure]:
    hosts, policy = run.of(HOSTS, least=40), Policy()
    timed = Timed(Core(policy))
    world = World(timed, hosts=hosts, seed=SEED)
    run.tell(f"living through {HOURS:g} h with {hosts:,} hosts")
    world.run(HOURS)
    seconds = HOURS * HOUR
    what = f"{hosts:,} hosts, {HOURS:g} h"
    yield Figure(
        f"{what}: dead that were answered for, and living that were not",
        len(world.mistakes), "", at_most=0,
        note=f"judged {world.counts['judged to be dead']:,}"
        f" and {world.counts['judged to live']:,} times",
    )  # fmt: skip
    yield Figure(
        f"{what}: from the last sign of life to the end of the answer, at most",
        world.late_by, "s", at_most=policy.silent_after,
    )  # fmt: skip
    looks, probes = world.counts["looks"] / seconds, world.counts["probes"] / seconds
    yield Figure(
        f"{what}: of one processor, for the core", 100 * timed.took / seconds, "%",
        at_most=10, note=f"{looks:.0f} counters read and {probes:.0f} probes a second",
    )  # fmt: skip
