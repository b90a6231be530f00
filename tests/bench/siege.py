"""A controller that runs, under damaged messages and frames, and who is beside them.

Peers that mean no good (tests/bench/intruder.py) send every message that is known to
hang a parser, then a million with faults, half of them OpenFlow, half of them frames in
packet-ins of a switch that has shaken hands.  All the while a healthy switch sends echo
requests, and hosts announce themselves at a real one, whose ovs-vswitchd must get the
flow for each.  The same is measured before, when nobody else is there.

Of those who mean no good it is taken that they are other machines: they get what the
controller, the switches and who measures them leave of the processors.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench.figures import Figure, Run, number, percentile, spread
from tests.bench.fixture import inside, named
from tests.bench.flood import Scene, announce, controller_of, hosts, learn, memory
from tests.bench.responder import under_control
from tests.bench.stage import PATIENCE, PORT, ROOT
from tests.bench.witness import FlowMonitor
from tests.support.fake_switch import FakeSwitch
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

MESSAGES = 1_000_000  # half of them frames
QUIET, LEAST = 20.0, 0.5  # seconds before
PAUSE = 0.002  # seconds between two echo requests
BETWEEN = 1.0  # seconds between two new hosts
NEW_HOSTS = 200  # all of them less than a port may have
PARTS = 10  # of all messages
FILLED = 5  # of these, after which caches are: the bounds of what is remembered of
# hosts are reached by some thousand hosts, and not before
FEWEST = 500  # messages of a part, and as many frames
HEALTHY_ID = 7
LIMITS = "limits: {stations_per_port: 256}\n"  # which all ports have reached soon
STATUS = 6.0  # seconds: Open vSwitch writes it down every five
ECHO, HANG = 5.0, 100.0  # ms
GROWTH = 2.5  # MiB in the second half: six octets for each message and frame
MISTAKE = re.compile(r"Traceback|a mistake in")


@dataclass(slots=True)
class Seen:
    """Milliseconds: echoes of the healthy switch, and new hosts of the real one."""

    echoes: list[float] = field(default_factory=list)
    learned: list[float] = field(default_factory=list)


def measure(run: Run) -> Iterator[Figure]:
    with PrivateOvs() as ovs:
        there = hosts(ovs)
        with (
            under_control(ovs, "br0", LIMITS),
            FlowMonitor(ovs, "br0") as monitor,
            beside(ovs) as healthy,
        ):
            here = Scene(ovs, there, Path(), monitor, iter(range(1, 1 << 16)))
            wait_until(partial(is_heard, here), within=PATIENCE, why="a monitor")
            yield from besieged(here, healthy, run)


@contextmanager
def ahead(*processes: int) -> Iterator[None]:
    """Of all who want a processor, whatever else the machine does: sched(7)."""
    for pid in processes:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    try:
        yield
    finally:
        for pid in processes:
            os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))


@contextmanager
def beside(ovs: PrivateOvs) -> Iterator[FakeSwitch]:
    with inside(named(ovs.namespace)):
        healthy = FakeSwitch(PORT, datapath_id=HEALTHY_ID)
    with healthy:
        yield healthy


def is_heard(here: Scene) -> bool:
    """The monitor, which takes a moment to begin, tells of new hosts."""
    assert here.monitor is not None
    announce(here)
    return bool(here.monitor.said)


def besieged(here: Scene, healthy: FakeSwitch, run: Run) -> Iterator[Figure]:
    quiet, under = Seen(), Seen()
    with ahead(controller_of(here.ovs), os.getpid()):
        yield from measured(here, healthy, quiet, under, run)


def measured(
    here: Scene, healthy: FakeSwitch, quiet: Seen, under: Seen, run: Run
) -> Iterator[Figure]:
    end = time.monotonic() + max(QUIET * run.share, LEAST)
    watch(here, healthy, quiet, lambda: time.monotonic() < end)
    began, held, dealt_with = time.monotonic(), list[float](), list[dict[str, int]]()
    parts = run.of(PARTS)
    half = max(FEWEST, round(MESSAGES * run.share / parts / 2))
    for seed in range(parts):
        run.tell(f"{half:,} damaged messages, and as many frames")
        process = intruder(here.ovs, seed, half)
        watch(here, healthy, under, partial(is_running, process))
        dealt_with.append(counts(here.ovs, process, seed))
        held.append(memory(here.ovs))
    yield from told(dealt_with, quiet, under)
    filled = parts * FILLED // PARTS
    after = f"after each of {parts} parts: {', '.join(map(number, held))}"
    yield Figure("the controller's memory grew while caches were filled by",
                 held[filled - 1] - held[0], "MiB", note=after)  # fmt: skip
    yield Figure("the controller's memory grew in the second half by",
                 held[-1] - held[filled - 1], "MiB", GROWTH)  # fmt: skip
    mistakes = len(MISTAKE.findall(here.ovs.log("isat.log")))
    yield Figure("exceptions in the controller's log", mistakes, "", at_most=0)
    lasted = connected_for(here.ovs)
    yield Figure(
        "Open vSwitch stayed connected for", lasted, "s",
        at_least=max(0, int(time.monotonic() - began - STATUS)),
    )  # fmt: skip


# --- those who mean no good -----------------------------------------------------------


def intruder(ovs: PrivateOvs, seed: int, half: int) -> subprocess.Popen[bytes]:
    words = (PORT, seed, half, half)
    program = (
        "nice",
        "-n",
        "39",
        sys.executable,
        "-m",
        "tests.bench.intruder",
        *map(str, words),
    )
    return ovs.start(*program, log=f"intruder{seed}.log", environment=PLACE)


PLACE = {"PYTHONPATH": str(ROOT)}


def is_running(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


def counts(
    ovs: PrivateOvs, process: subprocess.Popen[bytes], seed: int
) -> dict[str, int]:
    said = ovs.log(f"intruder{seed}.log")
    assert process.returncode == 0, said[-2000:]
    found: dict[str, int] = json.loads(said.splitlines()[-1])
    return found


# --- those who are beside them --------------------------------------------------------


def watch(
    here: Scene, healthy: FakeSwitch, seen: Seen, goes_on: Callable[[], bool]
) -> None:
    """At least once."""
    assert here.monitor is not None
    next_host = time.monotonic()
    while True:
        seen.echoes.append(healthy.echo() * 1e3)
        if time.monotonic() >= next_host and len(seen.learned) < NEW_HOSTS:
            seen.learned.append(learn(here, here.monitor))
            next_host = time.monotonic() + BETWEEN
        if not goes_on():
            return
        time.sleep(PAUSE)


def connected_for(ovs: PrivateOvs) -> int:
    """Seconds, as ovs-vswitchd says (ovs-vswitchd.conf.db(5), Controller)."""
    key = "status:sec_since_connect"
    status = ovs.vsctl("--if-exists", "get", "controller", "br0", key).strip('"')
    return int(status or 0)  # it has not written it down yet


# --- figures --------------------------------------------------------------------------


def told(
    dealt_with: Sequence[dict[str, int]], quiet: Seen, under: Seen
) -> Iterator[Figure]:
    for what, note in WORDS.items():
        yield Figure(what, sum(one.get(note, 0) for one in dealt_with), "")
    yield from spread("quiet: a healthy switch's echo", quiet.echoes, "ms")
    count = f"of {len(under.echoes):,}"
    p99 = percentile(under.echoes, 99)
    yield Figure("under siege: a healthy switch's echo: p50",
                 percentile(under.echoes, 50), "ms", note=count)  # fmt: skip
    yield Figure(
        "under siege: a healthy switch's echo: p99", p99, "ms", ECHO, note=count
    )
    yield Figure(
        "under siege: a healthy switch's echo: the longest",
        max(under.echoes), "ms", HANG,
    )  # fmt: skip
    yield from spread("quiet: new host at a real switch", quiet.learned, "ms")
    yield from spread("under siege: new host at a real switch", under.learned, "ms")


WORDS = {
    "messages that no switch sends, each closed": "closed",
    "damaged messages that one may send, dealt with": "taken",
    "damaged messages that Ryu could not read, each closed": "closed by a parser",
    "damaged frames, dealt with": "frames",
}
