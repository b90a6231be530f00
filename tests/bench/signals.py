"""Seven things that happen to a port, and the ways to hear of them.

The controller's two: netlink, by its helper, and PORT_STATUS, by Ryu; the time is when
its view has the fact.  Beside them two clients that do nothing but to read, one of
netlink and one of OVSDB's Interface table.  The clock starts before the request to the
kernel.  All have told of one thing before the next one happens.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial

from tests.bench.figures import Figure, Run, number, percentile
from tests.bench.fixture import Kernel, inside, named
from tests.bench.responder import kernel_of, under_control
from tests.bench.stage import Record
from tests.bench.witness import Database, Links
from tests.support.ovs import PrivateOvs
from topologies.taphost import open_tap

RUNS = 30
WAYS = (
    "netlink, the view",
    "PORT_STATUS, the view",
    "netlink, a mere reader",
    "OVSDB, a mere reader",
)
NETLINK, PORT_STATUS, MERE_NETLINK, OVSDB = WAYS
RIVAL_OF = {NETLINK: PORT_STATUS, MERE_NETLINK: OVSDB}


@dataclass(frozen=True, slots=True)
class Signal:
    """What each way says when something has happened.

    link  words of the kernel's fact (a regular expression)
    port  the same, of the OpenFlow port
    row   of OVSDB's Interface
    mere  of rtnetlink's message
    """

    link: str
    port: str
    row: str
    mere: str


DOWN = Signal(", up=False", "up=False", "admin down", "admin down")
UP = Signal(", up=True, lower_up=True", "up=True", "admin up", "link up")
LOST = Signal("lower_up=False", "up=False", "link down", "link down")
FOUND = Signal("lower_up=True", "up=True", "link up", "link up")
DELETED = Signal("", "up=False", "admin down", "deleted")

Times = dict[str, dict[str, list[float]]]  # milliseconds by trigger, by way


@dataclass(frozen=True, slots=True)
class Ears:
    """Those who hear of ports, and what they heard."""

    record: Record
    database: Database
    links: Links
    times: Times

    def hear(
        self,
        what: str,
        ifname: str,
        signal: Signal,
        act: Callable[[], object],
        link: str = "",
    ) -> None:
        """Let it happen, and wait until all have told it.

        link  how the kernel's facts tell it, if not by the name of the interface
        """  # fmt: skip
        began = time.monotonic()
        act()
        link = link or rf"Link\(nsid=-1, [^)]*ifname='{ifname}'[^)]*{signal.link}"
        port = f"ifname='{ifname}'.*{signal.port}"
        heard = {
            NETLINK: self.record.wait("known", "KernelChanged", link, began).at,
            PORT_STATUS: self.record.wait("known", "PortChanged", port, began).at,
            MERE_NETLINK: self.links.wait(signal.mere, ifname, began).at,
            OVSDB: self.database.wait(signal.row, ifname, began).at,
        }
        for way, at in heard.items():
            self.times[what][way].append((at - began) * 1e3)


def measure(run: Run) -> Iterator[Figure]:
    runs = run.of(RUNS, least=2)
    times: Times = defaultdict(lambda: defaultdict(list))
    with ears(times) as (ovs, ears_of):
        run.tell(f"a port's states: {runs} times")
        on_a_veth(ovs, ears_of, runs)
        run.tell(f"a tap's states: {runs} times")
        for n in range(runs):
            on_a_tap(ovs, ears_of, f"t{n}")
    for what, ways in times.items():
        for way in WAYS:
            yield figure(f"{what}: {way}", ways[way])
    yield from together(times)


def figure(what: str, values: list[float]) -> Figure:
    top = f"of {len(values)}; max {number(max(values))} ms"
    return Figure(f"{what}: p50", percentile(values, 50), "ms", note=top)


def together(times: Times) -> Iterator[Figure]:
    """All triggers of a way in one distribution; netlink is to be the first."""
    every = {way: [t for ways in times.values() for t in ways[way]] for way in WAYS}
    median = {way: percentile(values, 50) for way, values in every.items()}
    for way, values in every.items():
        rival = RIVAL_OF.get(way)
        yield Figure(
            f"all seven: {way}: p50", median[way], "ms",
            at_most=median[rival] if rival else None, note=f"of {len(values)}",
            samples=tuple(values),
        )  # fmt: skip


@contextmanager
def ears(times: Times) -> Iterator[tuple[PrivateOvs, Ears]]:
    with ExitStack() as stack:
        ovs = stack.enter_context(PrivateOvs())
        ovs.add_bridge("br0")
        ovs.add_host("h1", "br0", "10.0.0.1/24", "02:00:00:00:00:01", ofport=1)
        record = stack.enter_context(under_control(ovs, "br0"))
        database = stack.enter_context(Database(ovs))
        links = stack.enter_context(Links(ovs))
        yield ovs, Ears(record, database, links, times)


def on_a_veth(ovs: PrivateOvs, ears: Ears, runs: int) -> None:
    began = time.monotonic()
    host = ovs.add_host("h2", "br0", "10.0.0.2/24", "02:00:00:00:00:02")
    ears.record.wait("known", "PortChanged", "ifname='h2'.*up=True", began)
    with closing(kernel_of(ovs)) as near, closing(Kernel(named(host.namespace))) as far:
        for _ in range(runs):
            ears.hear("admin down", "h2", DOWN, partial(near.set_up, "h2", False))
            ears.hear("admin up", "h2", UP, partial(near.set_up, "h2", True))
            ears.hear("peer down", "h2", LOST, partial(far.set_up, "eth0", False))
            ears.hear("peer up", "h2", FOUND, partial(far.set_up, "eth0", True))


def on_a_tap(ovs: PrivateOvs, ears: Ears, ifname: str) -> None:
    with inside(named(ovs.namespace)):
        tap = open_tap(ifname, persist=True)
    began = time.monotonic()
    ovs.vsctl("add-port", "br0", ifname)
    ears.record.wait("known", "PortChanged", f"ifname='{ifname}'.*up=True", began)
    ears.hear("tap user closes", ifname, LOST, partial(os.close, tap))
    taps: list[int] = []
    with inside(named(ovs.namespace)):
        opens = partial(open_tap, ifname, persist=False)
        ears.hear("tap user opens", ifname, FOUND, lambda: taps.append(opens()))
    with closing(kernel_of(ovs)) as kernel:
        gone = rf"LinkKey\(nsid=-1, ifindex={kernel.indexes[ifname]}\)"
        delete = partial(kernel.delete, ifname)
        ears.hear("ip link del", ifname, DELETED, delete, gone)
    os.close(taps.pop())
    ovs.vsctl("del-port", "br0", ifname)
