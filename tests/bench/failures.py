"""A cable between two switches fails: until traffic gets on, with and without help.

Three bridges in a ring (a private Open vSwitch, userspace datapath), a station at each,
and a frame every half millisecond from one to another.  The clock starts before the
kernel is told to set the cable between these two down; traffic is restored with the
first frame that arrives after the last that did not.

With detours the switch goes round the cable by itself, whether the controller lives or
is stopped (SIGSTOP).  Without them, which is what there was before, the controller must
hear of it first: here the second bucket of the groups is taken away by hand.

The same for cables that LLDP alone has shown, as between switches of other hosts, which
a port that goes down ends at once, too; and for a cable whose ends stay up and hear
nothing any more, of which nothing tells but LLDP that does not come.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.bench.figures import Figure, Run, number, percentile, spread
from tests.support.cables import Cables, Stream
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

RING = ((1, 2), (2, 3), (3, 1))
FAILURES = 100
SILENT = 10  # failures that LLDP alone tells of
EACH = 1  # seconds between two of its frames; by default it is ten
AT_MOST = 50.0  # ms until traffic is restored
EVERY = 0.0005  # seconds between two frames
PATIENCE = 20.0  # seconds: beyond, something is broken, not slow
DETOUR = ",bucket=watch_port:12"


@dataclass(slots=True)
class Outages:
    """times  milliseconds until traffic was restored, of each failure
    lost      frames of each failure
    """

    times: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)

    def figures(self, what: str, at_most: float | None) -> Iterator[Figure]:
        half, most = spread(f"{what}: until traffic is restored", self.times, "ms")
        yield half
        yield Figure(most.what, most.measured, most.unit, at_most, note=most.note)
        told = f"at most {number(max(self.lost))}, one each {EVERY * 1e3:g} ms"
        count = percentile(self.lost, 50)
        yield Figure(f"{what}: frames lost: p50", count, "", note=told)


def measure(run: Run) -> Iterator[Figure]:
    failures = run.of(FAILURES)
    with PrivateOvs() as ovs, Cables(ovs, RING) as ring:
        run.tell(f"{failures} failures, with detours")
        found = outages(ring, failures)
        yield from found.figures("with detours", AT_MOST)
        run.tell(f"{failures} failures, with detours, the controller stopped")
        with stopped(ring):
            found = outages(ring, failures)
        yield from found.figures("with detours, the controller stopped", AT_MOST)
        run.tell(f"{failures} failures, without detours")
        found = outages(ring, failures, has_detours=False)
        yield from found.figures("without detours", None)
    more = f"links: {{every: {EACH}}}\n"
    with PrivateOvs() as ovs, Cables(ovs, RING, is_foreign=True, more=more) as ring:
        run.tell(f"{failures} failures of cables that LLDP has shown, without detours")
        found = outages(ring, failures, has_detours=False)
        yield from found.figures("shown by LLDP, a port goes down", None)
        silent = run.of(SILENT)
        run.tell(f"{silent} failures that LLDP alone tells of")
        found = outages(ring, silent, fail=Cables.silence, mend=Cables.hear)
        what = f"shown by LLDP each {EACH} s, no port goes down"
        yield from found.figures(what, None)


@contextmanager
def stopped(ring: Cables) -> Iterator[None]:
    """The controller, when all is as it wants it."""
    process = ring.controller.process
    assert process is not None
    wait_until(lambda: is_whole(ring), within=PATIENCE, why="the shortest ways")
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
    wait_until(ring.controller.answered, within=PATIENCE, why="the controller")


def outages(
    ring: Cables,
    failures: int,
    has_detours: bool = True,
    *,
    fail: Callable[[Cables, int], float] = Cables.cut,
    mend: Callable[[Cables, int], None] = Cables.mend,
) -> Outages:
    found = Outages()
    for _ in range(failures):
        wait_until(lambda: is_whole(ring), within=PATIENCE, why="the shortest ways")
        if not has_detours:
            take_detours(ring)
        with ring.stream(1, 2, EVERY) as stream:
            stream.goes_on()
            before, began = stream.sent, fail(ring, 0)
            stream.goes_on()
        found.times.append((restored(stream, before) - began) * 1e3)
        found.lost.append(stream.lost())
        mend(ring, 0)
    return found


def is_whole(ring: Cables) -> bool:
    return ring.way(1, 2).startswith("group:") and ring.way(2, 1).startswith("group:")


def take_detours(ring: Cables) -> None:
    for group in ring.groups(1):
        if "type=ff,bucket=watch_port:10" in group:
            ring.put_group(1, group.partition(DETOUR)[0])


def restored(stream: Stream, before: int) -> float:
    """When the first frame after all that were lost has arrived."""
    last = max(stream.arrived)
    lost = [n for n in range(before, last) if n not in stream.arrived]
    return stream.arrived[max(lost, default=before) + 1]
