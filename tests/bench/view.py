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

from tests.bench.figures import Figure, Run, spread
from tests.bench.fixture import Kernel, named
from tests.bench.stage import PORT, ROOT, Record, controller, end
from tests.netlink.lab import Lab, ip, new_lab

CHANGES = 400
RATE = 3000  # packet-ins a second
IDLE_P50, LOADED_P50 = 1.0, 2.0  # milliseconds
ENOUGH = 0.95  # of the rate: else the controller did not handle it
CONFIG = "sources: {ovsdb: false}\n"


def measure(run: Run) -> Iterator[Figure]:
    number = run.of(CHANGES, least=4)
    for rate, target in ((0, IDLE_P50), (RATE, LOADED_P50)):
        run.tell(f"{number} changes of an address at {rate:,} packet-ins/s")
        changes = observed(rate, number)
        load = f"{rate:,} packet-ins/s" if rate else "idle"
        yield from spread(
            f"kernel to view, {load}", [c.known for c in changes], "ms", p50=target
        )
        yield from spread(
            f"to what follows, {load}", [c.decided for c in changes], "ms"
        )
        if rate:
            yield Figure(
                "packet-ins that the controller handled meanwhile", handled(changes),
                "/s", at_least=ENOUGH * rate, note=f"{rate:,}/s were sent",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the kernel.

    began    seconds on CLOCK_MONOTONIC
    known    milliseconds until the view had it
    decided  milliseconds until the core had computed what follows
    packets  packet-ins that the core had taken in by then, since its start
    """

    began: float
    known: float
    decided: float
    packets: int


def handled(changes: Sequence[Change]) -> float:
    """Packet-ins a second between the first change and the last."""
    first, last = changes[0], changes[-1]
    return (last.packets - first.packets) / (last.began - first.began)


def observed(rate: float, number: int) -> list[Change]:
    with new_lab() as lab, tempfile.TemporaryDirectory(prefix="isat-") as place:
        ip("-n", lab.own, "link", "set", "lo", "up")
        lab.veth("v0", lab.own, "eth0", lab.h1)
        inside = ("ip", "netns", "exec", lab.own)
        with (
            controller(Path(place), CONFIG, inside) as record,
            switch(lab, rate),
            closing(Kernel(named(lab.h1))) as kernel,
        ):
            return [change(kernel, record, n) for n in range(number)]


@contextmanager
def switch(lab: Lab, rate: float) -> Iterator[None]:
    """The load generator, once the controller knows it for a switch."""
    words = (sys.executable, "-m", "tests.bench.load", str(PORT), str(rate))
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
    told = f"'{address}'"
    decided = record.wait("decided", "KernelChanged", told, began)
    known = record.wait("known", "KernelChanged", told, began)
    return Change(
        began, (known.at - began) * 1e3, (decided.at - began) * 1e3, decided.packets
    )
