"""The living responder, end to end: answers come and go with what they come from.

A host asks for an address every millisecond, by raw socket.  The hosts that are asked
for do not answer themselves (arp_ignore 8, or they are dead), so that each answer is
the switch's.  When a flow is in the switch, or gone, is told by the switch: `ovs-ofctl
monitor` (ONFST_FLOW_MONITOR), read line by line, which costs a part of a millisecond.
When answers end is told by the last one that arrives: a millisecond, and its way.

What is removed has been seen to be removed when the switch has confirmed the change:
the reply to the barrier behind it has reached the controller.  Answers that arrive
later are counted, and there must be none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

from tests.bench.figures import Figure, Run, spread
from tests.bench.fixture import Kernel, inside, named
from tests.bench.stage import PATIENCE, ROOT, STARTED, Record, controller
from tests.bench.witness import Asker, FlowMonitor, Said
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until
from topologies import single
from topologies.emulation import Emulation
from topologies.taphost import ANNOUNCE_INTERVAL, Me, announcement, open_tap

RUNS = 100  # of each trigger
ASKER = ("10.0.0.1", "02:00:00:00:00:01")


@dataclass(frozen=True, slots=True)
class Scene:
    """A bridge under the controller, and those who watch it."""

    record: Record
    monitor: FlowMonitor
    asker: Asker


@dataclass(frozen=True, slots=True)
class Removal:
    """Milliseconds since the request to the kernel.

    gone     the flow had left the switch
    last     the last answer arrived; at least 0
    late     answers that arrived after the switch had confirmed the change
    """

    gone: float
    last: float
    late: int


def measure(run: Run) -> Iterator[Figure]:
    with PrivateOvs() as ovs:
        yield from in_mininet(ovs, run)
    with PrivateOvs() as ovs, scene(ovs) as here:
        yield from addresses(ovs, here, run)
        yield from taps(ovs, here, run)
        for what, remove in REMOVALS.items():
            run.tell(f"{what}: {runs(run)} times")
            yield from told_of(what, [remove(ovs, here, n) for n in range(runs(run))])


def runs(run: Run) -> int:
    return run.of(RUNS, least=2)


def told_of(what: str, removals: Sequence[Removal]) -> Iterator[Figure]:
    yield from spread(f"{what}: flow gone", [r.gone for r in removals], "ms")
    yield from spread(f"{what}: last answer", [r.last for r in removals], "ms")
    yield Figure(
        f"{what}: answers after the removal was seen", sum(r.late for r in removals),
        "", at_most=0, note=f"in {len(removals)} runs",
    )  # fmt: skip


# --- the stage ------------------------------------------------------------------------


@contextmanager
def scene(ovs: PrivateOvs) -> Iterator[Scene]:
    """br0, adopted, with a host that asks."""
    ovs.add_bridge("br0")
    host = ovs.add_host("h1", "br0", f"{ASKER[0]}/24", ASKER[1], ofport=1)
    with (
        under_control(ovs, "br0") as record,
        FlowMonitor(ovs, "br0") as monitor,
        Asker(("ip", "netns", "exec", host.namespace), "eth0", *ASKER) as asker,
    ):
        yield Scene(record, monitor, asker)


@contextmanager
def under_control(ovs: PrivateOvs, bridge: str, more: str = "") -> Iterator[Record]:
    """more  lines of its configuration"""
    config = f"bridges: {{{bridge}: {{}}}}\nsources: {{ovsdb: '{ovs.remote}'}}\n{more}"
    inside = ("ip", "netns", "exec", ovs.namespace)
    with controller(ovs.directory, config, inside, ovs.environment) as record:
        wait_until(
            lambda: f"arp_tpa={ASKER[0]}" in ovs.ofctl("dump-flows", bridge),
            within=STARTED,
            why="the first answer",
        )
        yield record


def silent(ovs: PrivateOvs, namespace: str) -> None:
    """Its kernel answers no ARP: ip-sysctl, arp_ignore."""
    ovs.run_in(namespace, "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=8")


# --- addresses ------------------------------------------------------------------------


def addresses(ovs: PrivateOvs, here: Scene, run: Run) -> Iterator[Figure]:
    host = ovs.add_host("h2", "br0", "10.0.0.2/24", "02:00:00:00:00:02", ofport=2)
    silent(ovs, host.namespace)
    here.monitor.wait("ADDED", "10.0.0.2", 0.0)
    run.tell(f"ip addr add and del: {runs(run)} times")
    with closing(Kernel(named(host.namespace))) as kernel:
        yield from added_and_deleted(here, kernel, "eth0", runs(run))


def added_and_deleted(
    here: Scene, kernel: Kernel, ifname: str, number: int, where: str = ""
) -> Iterator[Figure]:
    appearances, removals = [], []
    for n in range(number):
        ip = f"10.0.0.{100 + n}"
        add = partial(kernel.add_address, ifname, ip)
        appearances.append(appearance(here, ip, add))
        delete = partial(kernel.delete_address, ifname, ip)
        removals.append(removal(here, ip, delete))
    flows, answers = zip(*appearances, strict=True)
    yield from spread(f"ip addr add{where}: flow in the switch", flows, "ms")
    yield from spread(f"ip addr add{where}: first answer", answers, "ms")
    yield from told_of(f"ip addr del{where}", removals)


def appearance(here: Scene, ip: str, act: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds until the answer is in the switch, and until the first one came."""
    here.asker.ask_for(ip)
    here.asker.wait("asked", ip, time.monotonic())
    began = time.monotonic()
    act()
    flow = here.monitor.wait("ADDED", ip, began)
    first = here.asker.wait("answered", ip, began)
    return (flow.at - began) * 1e3, (first.at - began) * 1e3


def removal(here: Scene, ip: str, act: Callable[[], object]) -> Removal:
    """While it is asked for, and has been answered."""
    here.asker.ask_for(ip)
    here.asker.wait("answered", ip, time.monotonic())
    began = time.monotonic()
    act()
    gone = here.monitor.wait("DELETED", ip, began).at
    cookie = here.monitor.cookies[ip]
    ordered = here.record.wait("ordered", "ChangeFlows", cookie, began).at
    seen = here.record.wait("seen", "ChangeDone", "", ordered).at
    here.asker.wait_for_silence(ip, max(gone, seen))
    here.asker.ask_for("")
    answers = here.asker.answers(ip, began)
    last = max([began, *answers])
    late = sum(at > seen for at in answers)
    return Removal((gone - began) * 1e3, (last - began) * 1e3, late)


# --- what an address may vanish with ------------------------------------------------


def link_deleted(ovs: PrivateOvs, here: Scene, number: int) -> Removal:
    """The switch's end of the veth; with it goes the other one."""
    with guest(ovs, here, number) as host, closing(kernel_of(ovs)) as kernel:
        return removal(here, address(host), lambda: kernel.delete(host.port))


def namespace_dies(ovs: PrivateOvs, here: Scene, number: int) -> Removal:
    """Nobody is in it, so it dies when its name is taken away; the kernel has time."""
    with guest(ovs, here, number) as host:
        name = host.namespace
        command = ("ip", "netns", "del", name)
        return removal(here, address(host), lambda: subprocess.run(command, check=True))


@contextmanager
def guest(ovs: PrivateOvs, here: Scene, number: int) -> Iterator[Host]:
    """A host that is answered for, and does not answer."""
    lladdr = f"02:00:00:00:01:{number:02x}"
    began = time.monotonic()
    host = ovs.add_host(f"g{number}", "br0", f"10.0.0.{100 + number}/24", lladdr)
    silent(ovs, host.namespace)
    here.monitor.wait("ADDED", address(host), began)
    yield host
    ovs.vsctl("del-port", "br0", host.port)
    ovs.run("ip", "netns", "del", host.namespace, check=False)


def address(host: Host) -> str:
    return host.ip.partition("/")[0]


def kernel_of(ovs: PrivateOvs) -> Kernel:
    return Kernel(named(ovs.namespace))


def taps(ovs: PrivateOvs, here: Scene, run: Run) -> Iterator[Figure]:
    ovs.run("ip", "tuntap", "add", "t0", "mode", "tap")
    ovs.vsctl("add-port", "br0", "t0")
    run.tell(f"a tap's user opens: {runs(run)} times")
    times = [tap_user_opens(ovs, here, n) for n in range(runs(run))]
    yield from spread("a tap's user opens: flow in the switch", times, "ms")
    yield Figure(
        "a tap's user opens: announcements that taught nothing",
        sum(time >= ANNOUNCE_INTERVAL * 1e3 for time in times), "",
        note="faster than netlink and PORT_STATUS; the next one taught",
    )  # fmt: skip


def tap_user_dies(ovs: PrivateOvs, here: Scene, number: int) -> Removal:
    """A process that is a host, until SIGKILL; the tap stays, without a carrier."""
    ip, began = f"10.0.0.{100 + number}", time.monotonic()
    lladdr = f"02:00:00:00:02:{number:02x}"
    holder = (sys.executable, "-m", "tests.bench.holder", "t0", ip, lladdr)
    process = ovs.start(*holder, environment={"PYTHONPATH": str(ROOT)})
    here.monitor.wait("ADDED", ip, began)
    gone = removal(here, ip, process.kill)
    process.wait()
    return gone


def tap_user_opens(ovs: PrivateOvs, here: Scene, number: int) -> float:
    """Milliseconds from the opening to the flow; the host announces itself at once,
    and again as RFC 5227 asks."""
    ip, began = f"10.0.0.{100 + number}", time.monotonic()
    me = Me(IPv4Address(ip), bytes((2, 0, 0, 0, 3, number)))
    with inside(named(ovs.namespace)):
        tap = open_tap("t0", persist=True)
    due = began

    def is_answered() -> Said | None:
        nonlocal due
        if time.monotonic() >= due:
            os.write(tap, announcement(me))
            due += ANNOUNCE_INTERVAL
        return here.monitor.find("ADDED", ip, began)

    added = wait_until(is_answered, within=PATIENCE, why=f"{ip} to be answered")
    os.close(tap)
    here.monitor.wait("DELETED", ip, began)
    assert added is not None
    return (added.at - began) * 1e3


REMOVALS = {
    "ip link del": link_deleted,
    "a tap's user dies": tap_user_dies,
    "a namespace dies": namespace_dies,
}


# --- Mininet --------------------------------------------------------------------------


def in_mininet(ovs: PrivateOvs, run: Run) -> Iterator[Figure]:
    """A network of Mininet's own making, on an Open vSwitch of our own."""
    run.tell(f"ip addr add and del in Mininet: {runs(run)} times")
    network = single.NETWORK
    asking, asked = network.station("h1"), network.station("h2")
    with ExitStack() as stack:
        emulation = stack.enter_context(Emulation(
            network, datapath="user", environment=ovs.environment,
            inside=("ip", "netns", "exec", ovs.namespace),
            log=ovs.directory / "mininet.log",
        ))  # fmt: skip
        emulation.run("h2", "sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=8")
        record = stack.enter_context(under_control(ovs, "s1"))
        monitor = stack.enter_context(FlowMonitor(ovs, "s1"))
        asker = stack.enter_context(
            Asker(emulation.inside("h1"), "h1-eth0", asking.ip, asking.mac)
        )
        there = Path(f"/proc/{emulation.pids['h2']}/ns/net")
        with closing(Kernel(there)) as kernel:
            here, name = Scene(record, monitor, asker), asked.name
            yield from added_and_deleted(
                here, kernel, f"{name}-eth0", runs(run), " in Mininet"
            )
