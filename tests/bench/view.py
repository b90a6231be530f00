"""From the kernel to the controller's view, idle and under a load of packet-ins.

An address is added to, or taken from, an interface in another namespace.  The clock
runs from before the request (RTM_NEWADDR, RTM_DELADDR) to when the core has replaced
its view, or has decided what follows; both on CLOCK_MONOTONIC, in two processes.  The
controller is `ryu-manager` with isat's application, a helper and a switch that is the
load generator: hosts that ask each other, each packet to the controller.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import Figure, Run, percentile, spread
from tests.bench.figures import number as number_of
from tests.bench.fixture import Kernel, named
from tests.bench.stage import PORT, ROOT, Record, controller, end
from tests.netlink.lab import Lab, ip, new_lab

CHANGES = 400
ENOUGH = 0.95  # of the rate: else the controller did not handle it
CONFIG = "sources: {ovsdb: false}\n"


@dataclass(frozen=True, slots=True)
class Load:
    """What the switch sends meanwhile.

    rate     packet-ins a second
    hosts    that speak in turn; learning them is part of the load
    p50      the target in milliseconds, None without one
    changes  part of CHANGES
    """

    name: str
    rate: int = 0
    hosts: int = 200
    p50: float | None = None
    changes: float = 1.0


LOADS = (
    Load("idle", p50=1.0),
    Load("3,000 packet-ins/s", 3000, p50=2.0),
    Load("10,000 packet-ins/s", 10_000),
    Load(
        "3,000 packet-ins/s of 2,000 hosts that appear", 3000, hosts=2000, changes=0.1
    ),
)


def measure(run: Run) -> Iterator[Figure]:
    for load in LOADS:
        number = run.of(round(CHANGES * load.changes), least=4)
        run.tell(f"{number} changes of an address, {load.name}")
        changes = observed(load, number)
        known, decided = [c.known for c in changes], [c.decided for c in changes]
        yield from spread(f"kernel to view, {load.name}", known, "ms", p50=load.p50)
        yield from spread(f"to what follows, {load.name}", decided, "ms")
        asked = [c.done for c in changes]
        yield Figure(
            f"of it the kernel's own part, {load.name}: p99", percentile(asked, 99),
            "ms", note=f"max {number_of(max(asked))} ms",
        )  # fmt: skip
        if load.rate:
            yield Figure(
                f"handled, {load.name}", handled(changes), "/s",
                at_least=ENOUGH * load.rate if load.p50 else None,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the kernel.

    began    seconds on CLOCK_MONOTONIC
    done     milliseconds until the kernel had done it
    known    milliseconds until the view had it
    decided  milliseconds until the core had computed what follows
    packets  packet-ins that the core had taken in by then, since its start
    """

    began: float
    done: float
    known: float
    decided: float
    packets: int


def handled(changes: Sequence[Change]) -> float:
    """Packet-ins a second between the first change and the last."""
    first, last = changes[0], changes[-1]
    return (last.packets - first.packets) / (last.began - first.began)


def observed(load: Load, number: int) -> list[Change]:
    with new_lab() as lab, tempfile.TemporaryDirectory(prefix="isat-") as place:
        ip("-n", lab.own, "link", "set", "lo", "up")
        lab.veth("v0", lab.own, "eth0", lab.h1)
        inside = ("ip", "netns", "exec", lab.own)
        with (
            controller(Path(place), CONFIG, inside) as record,
            switch(lab, load),
            closing(Kernel(named(lab.h1))) as kernel,
        ):
            return [change(kernel, record, n) for n in range(number)]


@contextmanager
def switch(lab: Lab, load: Load) -> Iterator[None]:
    """The load generator, once the controller knows it for a switch."""
    numbers = (str(PORT), str(load.rate), str(load.hosts))
    words = (sys.executable, "-m", "tests.bench.load", *numbers)
    process = subprocess.Popen(
        lab.command(lab.own, "setpriv", "--pdeathsig", "KILL", *words),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdout is not None and process.stdin is not None
    try:
        assert process.stdout.readline() == b"known\n"
        yield
    finally:
        end(process)
        process.stdin.close()
        process.stdout.close()


def change(kernel: Kernel, record: Record, number: int) -> Change:
    """Even numbers add an address, odd ones take it away again."""
    address = f"10.9.{number >> 9}.{number // 2 & 0xFF}"
    began = time.monotonic()
    if number % 2:
        kernel.delete_address("eth0", address)
    else:
        kernel.add_address("eth0", address)
    done, told = time.monotonic(), f"'{address}'"
    decided = record.wait("decided", "KernelChanged", told, began)
    known = record.wait("known", "KernelChanged", told, began)
    return Change(
        began,
        milliseconds(began, done),
        milliseconds(began, known.at),
        milliseconds(began, decided.at),
        decided.packets,
    )


def milliseconds(since: float, until: float) -> float:
    return (until - since) * 1e3
