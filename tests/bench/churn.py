"""An hour in which everybody comes, goes, moves or sleeps every few minutes: memory.

The clock is that of the model of a day (tests/support/day.py), which runs as fast as it
can, and judges.  One process of its own holds the core and the model.
`python -m tests.bench.churn HOSTS` prints a line of JSON for each five minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from controller.core import Core
from controller.policy import Policy
from tests.bench.figures import Figure, Run
from tests.bench.stage import ROOT
from tests.bench.turns import resident
from tests.support.day import World

HOSTS, SEED = 1_500, 1
RESTLESS = 300.0  # seconds between two things that a host undertakes
STEP, STEPS = 1 / 12, 12  # hours, and how often
SETTLED = 3  # steps until nothing may grow any more
GROWTH = 1.05  # times what was held then: dicts grow by halves, and arenas stay
LIMIT = 900.0  # seconds for the process


def measure(run: Run) -> Iterator[Figure]:
    hosts = run.of(HOSTS, least=40)
    run.tell(f"an hour of {hosts:,} hosts that come, go, move and sleep")
    rows = told_by_a_process(hosts)
    settled, last = rows[SETTLED - 1], rows[-1]
    most = max(row["resident"] for row in rows[SETTLED:])
    came = last["came"] - settled["came"]
    yield Figure(
        f"an hour of churn, {hosts:,} hosts: memory at most, beside a quarter of it",
        most / settled["resident"], "x", GROWTH,
        note=f"{settled['resident'] / 2**20:.1f} MiB and {most / 2**20:.1f} MiB of the"
        f" process; {came:,} hosts came and went between",
    )  # fmt: skip
    yield Figure(
        "an hour of churn: dead that were answered for, and living that were not",
        last["mistakes"], "", 0,
    )  # fmt: skip


def told_by_a_process(hosts: int) -> list[dict[str, Any]]:
    done = subprocess.run(
        (sys.executable, "-m", "tests.bench.churn", str(hosts)),
        cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(hosts: int) -> None:
    world = World(Core(Policy()), hosts=hosts, seed=SEED, restless=RESTLESS)
    for _ in range(STEPS):
        world.run(STEP)
        here = {"resident": resident(), "came": world.came}
        print(json.dumps({**here, "mistakes": len(world.mistakes)}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
