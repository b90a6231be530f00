"""Rings, meshes and fat trees in Mininet: does all reach all, at once, and once?

Each shape under isat, and in the same run under what else there is: Ryu's example with
and without its spanning tree, and Open vSwitch's own rapid spanning tree, each on an
Open vSwitch (userspace datapath) and with a controller of its own, started before.

What the targets mean.  The clock starts with the connection of the last switch: when
so many TCP connections to the controller are established as there are switches, looked
for every 2 ms; without a controller, when the last bridge exists.  Then all hosts ping
all others, evenly within the first second: a ping for each ordered pair, by the kernels
of the hosts, which know no neighbor yet, and ask for one three times, a second apart.
A pair that is not answered then pings again, every three seconds.  "Until all pings are
answered" is the last of the first answers of all pairs; so the first pingall, whole,
has come back within two seconds, or the target is missed.  "First pings lost" are those
that were never answered, while the later ones of their pair may have been.

From before the first switch exists until a second after the last answer, one host after
another broadcasts a numbered frame every 50 ms, and every host counts its copies, the
sender included, who should get none back.  A broadcast of that last second that a host
does not hear at all is counted, too: who forwards nothing makes no storm.

Islands are joined by two cables at once when all of each have answered each other; that
is judged like a connection, from when ovs-vsctl has said that the ports are there.

Where 100 copies of one broadcast have come to one host there is a storm.  It is watched
for three seconds, then all cables are taken down.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.figures import Figure, Run, number
from tests.bench.fixture import ip_batch
from tests.bench.stage import ROOT, STARTED
from tests.support.crowd import Crowd, Pings, places, room_for_neighbors
from tests.support.ovs import PrivateOvs
from tests.support.wait import POLL_INTERVAL, wait_until
from topologies import shapes
from topologies.emulation import Emulation
from topologies.network import Link, Network, islands

PORT = 6653
AT_MOST = 2.0  # seconds until all pings are answered
PATIENCE = 60.0  # seconds that a system may take
LOOK = 0.002  # seconds between two looks whether the last switch has connected
STORM = 3.0  # seconds that a storm is watched
AFTERWARDS = 1.0  # seconds of broadcasts when all is said to be well
ON_ITS_WAY = 0.5  # seconds of the end of them that are not judged
ESTABLISHED = "01"  # net/tcp_states.h
LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class System:
    """application  for ryu-manager, "" where a bridge decides for itself"""

    name: str
    application: str = ""
    settings: tuple[tuple[str, str], ...] = ()


ISAT = System("isat", str(ROOT / "controller" / "app.py"))
PEERS = (
    System("simple_switch_13", "ryu.app.simple_switch_13"),
    System("simple_switch_stp_13", "ryu.app.simple_switch_stp_13"),
    System("rstp_enable=true", settings=(("rstp_enable", "true"),)),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """joined_by  cables that are plugged in when all else is well"""

    name: str
    network: Network
    joined_by: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one network under one system.

    unheard  broadcasts, each counted by the hosts that did not hear it, at the end
    """

    took: float
    pings: int
    unanswered: int
    lost: int
    copies: int
    is_storm: bool
    unheard: int

    @property
    def in_words(self) -> str:
        if self.is_storm:
            return f"a storm: {number(self.copies)} copies of one broadcast at one host"
        told = f"{number(self.lost)} of {number(self.pings)} first pings lost"
        copies = f"at most {number(self.copies)} copies of a broadcast"
        if self.unanswered:
            return f"given up: {number(self.unanswered)} pairs silent; {told}; {copies}"
        return f"{told}; {copies}"


def measure(run: Run) -> Iterator[Figure]:
    for shape in shapes_of(run):
        run.tell(f"{shape.name}: isat")
        yield from judged(shape, outcome(shape, ISAT, PATIENCE))
        for peer in PEERS[: run.of(len(PEERS), least=1)]:
            run.tell(f"{shape.name}: {peer.name}")
            found = outcome(shape, peer, PATIENCE * run.share + STORM)
            what = f"{shape.name}: {peer.name}: until all pings are answered"
            yield Figure(what, found.took, "s", note=found.in_words)


def shapes_of(run: Run) -> list[Shape]:
    is_full = run.share >= 1
    wanted = [
        Shape("ring of 3", shapes.ring(3)),
        Shape("two islands, joined later", shapes.islands(3), shapes.bridges(3)),
        sized(shapes.ring(run.of(20, least=4)), "ring"),
        sized(shapes.mesh(run.of(6, least=4)), "full mesh"),
        Shape("fat tree, k=4", shapes.fat_tree(4))
        if is_full
        else Shape("fat tree, k=2", shapes.fat_tree(2)),
        sized(shapes.row(run.of(50)), "linear"),
        Shape("tree 3x3", shapes.tree(3, 3))
        if is_full
        else Shape("tree 2x2", shapes.tree(2, 2)),
    ]
    return wanted[: run.of(len(wanted), least=1)]


def sized(network: Network, name: str) -> Shape:
    return Shape(f"{name} of {len(network.switches)}", network)


def judged(shape: Shape, found: Outcome) -> Iterator[Figure]:
    who = f"{shape.name}: isat"
    answered, pings = f"{who}: until all pings are answered", number(found.pings)
    yield Figure(answered, found.took, "s", AT_MOST, note=found.in_words)
    yield Figure(f"{who}: first pings lost", found.lost, "", 0, note=f"of {pings}")
    yield Figure(f"{who}: copies of a broadcast, at most", found.copies, "", 1)
    yield Figure(f"{who}: hosts that missed a broadcast then", found.unheard, "", 0)


# --- one network under one system -----------------------------------------------------


def outcome(shape: Shape, system: System, patience: float) -> Outcome:
    network, hosts = shape.network, len(shape.network.hosts)
    with ExitStack() as stack:
        stack.enter_context(room_for_neighbors(hosts * hosts))
        ovs = stack.enter_context(PrivateOvs())
        emulation = emulated(network, system, ovs)
        if system.application:
            control(ovs, system)
        stack.enter_context(emulation)
        crowd = stack.enter_context(Crowd(places(network, emulation)))
        try:
            return observe(shape, system, emulation, crowd, patience)
        finally:
            if crowd.broadcasts.storm.is_set():
                take_down(ovs, (*network.links, *shape.joined_by))


def emulated(network: Network, system: System, ovs: PrivateOvs) -> Emulation:
    return Emulation(
        network,
        datapath="user",
        controller=f"127.0.0.1:{PORT}" if system.application else "",
        fail_mode="secure" if system.application else "standalone",
        settings=dict(system.settings),
        started=False,
        inside=("ip", "netns", "exec", ovs.namespace),
        environment=ovs.environment,
        log=ovs.directory / "mininet.log",
    )


def control(ovs: PrivateOvs, system: System) -> None:
    """The controller listens when this returns."""
    program = str(Path(sys.executable).parent / "ryu-manager")
    listen = ("--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", str(PORT))
    own = ("--isat-socket", str(ovs.directory / "isat.sock"))
    words = (*listen, *(own if system is ISAT else ()), system.application)
    process = ovs.start(program, *words)

    def listens() -> bool:
        assert process.poll() is None, ovs.log("ryu-manager.log")
        return bool(connections(process.pid, LISTENING))

    wait_until(listens, within=STARTED, why="the controller to listen")


def observe(
    shape: Shape, system: System, emulation: Emulation, crowd: Crowd, patience: float
) -> Outcome:
    starting = threading.Thread(target=emulation.start)
    starting.start()
    began = last_connection(emulation, system)
    pings = crowd.pingall(groups(shape.network), began)
    watch(crowd, pings, patience)
    took, lost, all_pings = pings.took, len(pings.lost), len(pings.pairs)
    if shape.joined_by and not pings.unanswered:
        starting.join()
        emulation.plug(*shape.joined_by)
        pings = crowd.pingall()
        watch(crowd, pings, patience)
        took = max(took, pings.took)
        lost, all_pings = lost + len(pings.lost), all_pings + len(pings.pairs)
    unheard = 0
    if not crowd.broadcasts.storm.is_set():
        unheard = afterwards(crowd, everywhere(shape))
        starting.join()
    return Outcome(
        took, all_pings, pings.unanswered, lost, crowd.broadcasts.most_copies,
        crowd.broadcasts.storm.is_set(), unheard,
    )  # fmt: skip


def groups(network: Network) -> list[list[str]]:
    return [
        [host.ip for host in network.hosts if host.at.switch in island]
        for island in islands(network)
    ]


def everywhere(shape: Shape) -> list[list[str]]:
    """Who hears each other in the end."""
    network = shape.network
    return groups(replace(network, links=(*network.links, *shape.joined_by)))


def watch(crowd: Crowd, pings: Pings, patience: float) -> None:
    """Until all are answered, a storm has been watched, or patience has ended."""
    storm = crowd.broadcasts.storm
    until = time.monotonic() + patience
    while pings.unanswered and not storm.is_set() and time.monotonic() < until:
        time.sleep(POLL_INTERVAL)
    if storm.is_set():
        time.sleep(STORM)


def afterwards(crowd: Crowd, groups: Sequence[Sequence[str]]) -> int:
    since = time.monotonic()
    time.sleep(AFTERWARDS + ON_ITS_WAY)
    until = since + AFTERWARDS
    return sum(crowd.broadcasts.unheard(group, since, until) for group in groups)


def take_down(ovs: PrivateOvs, cables: Sequence[Link]) -> None:
    """What is on its way has nowhere to go."""
    ends = (name for link in cables for name in link.port_interfaces)
    there = ovs.run("ls", "/sys/class/net").stdout.split()
    lines = [f"link set {name} down\n" for name in ends if name in there]
    ip_batch(ovs.namespace, "".join(lines))


# --- when the last switch has connected -----------------------------------------------


def last_connection(emulation: Emulation, system: System) -> float:
    switches = emulation.network.switches
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if system.application:
            if connections(emulation.pid, ESTABLISHED) == len(switches):
                return time.monotonic()
        elif {switch.name for switch in switches} <= interfaces(emulation.pid):
            return time.monotonic()
        time.sleep(LOOK)
    raise AssertionError(f"not all of {len(switches)} switches within {PATIENCE:g} s")


def connections(pid: int, state: str) -> int:
    """TCP sockets in the namespace of a process that lead to PORT, or listen there."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    column = 1 if state == LISTENING else 2
    there = (row.split() for row in rows)
    return sum(
        row[3] == state and int(row[column].partition(":")[2], 16) == PORT
        for row in there
    )


def interfaces(pid: int) -> set[str]:
    rows = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
    return {row.partition(":")[0].strip() for row in rows}
