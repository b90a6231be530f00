"""A controller that comes back to a hundred thousand entries, and a change of one.

The entries are in a real switch: half of what a controller remembers of its hosts is
put there by hand, and a first controller writes all the rest.  Hosts are added; then it
is ended, and others are started one after the other.  What they say to the switch is
overheard there (BRIDGE.snoop), so flow-mods are counted where they would arrive.  Hosts
live: raw sockets answer for all of them when they are asked.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address

from controller.liveness import witness
from controller.sources.openflow import pieces
from flows import wire
from flows.openflow import Flow
from flows.view import Claim, Station
from tests.bench.bulk import ENTRIES, OF_A_HOST
from tests.bench.figures import Figure, Run, spread
from tests.bench.stage import PORT, Record, Told, controller
from tests.bench.turns import SWITCH, lladdr
from tests.bench.witness import FlowMonitor
from tests.support.openflow import Channel, errors
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug
from topologies.taphost import Me, announcement

PORTS = 4
RESTARTS = 5
CHANGES = 400
READY = 2.0  # seconds
CHANGED = 5.0  # milliseconds
PATIENCE = 120.0  # seconds: for a controller with all this before it
FLOW_MOD, EXPERIMENTER = 14, 4  # the latter: bundles, and what is in them
CONFIG = """\
bridges: {{br0: {{}}}}
sources: {{ovsdb: '{remote}', netlink: false}}
limits:
  stations_per_port: 100000
  neighbor_packets_per_second: 1000000
  packet_ins_per_second: {{arp: 100000}}
"""


def measure(run: Run) -> Iterator[Figure]:
    hosts = run.of(ENTRIES, least=700) // OF_A_HOST
    with PrivateOvs() as ovs:
        wires = town(ovs)
        with answering(wires):
            yield from first_controller(ovs, wires, hosts, run)
            entries = flow_count(ovs)
            starts = [restarted(ovs, run) for _ in range(run.of(RESTARTS, least=1))]
            yield from told_of(starts, entries)


def told_of(starts: list[tuple[float, float, int]], entries: int) -> Iterator[Figure]:
    connected, begun, mods = zip(*starts, strict=True)
    what = f"a restart over {entries:,} correct entries: ready"
    yield from spread(f"{what}, from the switch's connection", connected, "s", READY)
    yield from spread(f"{what}, from the start of the process", begun, "s")
    yield Figure(
        f"a restart over {entries:,} correct entries: flow-mods", sum(mods), "",
        at_most=0, note=f"in {len(mods)} restarts",
    )  # fmt: skip


def appearance(monitor: FlowMonitor, wires: Mapping[int, Wire], host: int) -> float:
    """Milliseconds."""
    me = Me(address(host), bytes.fromhex(lladdr(host).replace(":", "")))
    began = time.monotonic()
    wires[port_of(host)].send(announcement(me))
    return (monitor.wait("ADDED", str(me.ip), began).at - began) * 1e3


# --- the town -------------------------------------------------------------------------


def town(ovs: PrivateOvs) -> dict[int, Wire]:
    ovs.add_bridge("br0", "fail_mode=secure", f"other-config:datapath-id={SWITCH:016x}")
    adopt(ovs, "br0")
    namespace = f"{ovs.namespace}-w"
    ovs.add_namespace(namespace)
    return plug(ovs, namespace, "br0", {n: f"w{n}" for n in range(1, PORTS + 1)})


def adopt(ovs: PrivateOvs, bridge: str) -> None:
    """As `isat adopt` does, which would empty it when a controller comes."""
    ovs.vsctl(
        *("set-controller", bridge, f"tcp:127.0.0.1:{PORT}"),
        *("--", "set", "controller", bridge, "connection-mode=out-of-band"),
        *("max-backoff=1000", "controller-rate-limit=1000"),
        *("--", "set", "bridge", bridge, "other-config:disable-in-band=true"),
        "external-ids:isat-adopted=true",
    )


def remember(ovs: PrivateOvs, hosts: int) -> None:
    """As if a controller had heard so many hosts."""
    with Channel(ovs.directory / "br0.mgmt") as channel:
        octets = (wire.flow_mod(flow) for n in range(hosts) for flow in memories(n))
        assert not errors(channel.ask_for_all(pieces(octets)))


def memories(host: int) -> Iterator[Flow]:
    """The flows that a host is remembered by (controller.sources.openflow)."""
    ip = address(host)
    station = Station(SWITCH, 0, lladdr(host), port_of(host), 0.0, (Claim(ip, 0.0),))
    yield witness(station, None)
    yield witness(station, ip)


def address(host: int) -> IPv4Address:
    return IPv4Address((10 << 24) + 1 + host)


def port_of(host: int) -> int:
    return host % PORTS + 1


@contextmanager
def answering(wires: Mapping[int, Wire]) -> Iterator[None]:
    """Whoever is asked by a unicast ARP request says that it is there."""
    over = threading.Event()

    def answer() -> None:
        while not over.is_set():
            for line in select.select([*wires.values()], [], [], 0.1)[0]:
                line.send(*(reply(f) for f in line.heard() if is_poll(f)))

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        for line in wires.values():
            line.close()


def is_poll(frame: bytes) -> bool:
    """To one host, ARP, a request (RFC 826)."""
    return not frame[0] & 1 and frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1"


def reply(frame: bytes) -> bytes:
    target, sender = frame[:6], frame[6:12]
    head = sender + target + frame[12:20] + b"\0\2"
    return head + target + frame[38:42] + frame[22:32]


# --- controllers ----------------------------------------------------------------------


@contextmanager
def under_control(ovs: PrivateOvs) -> Iterator[Record]:
    """From nothing remembered but in the switch."""
    for name in ("record", "isat.sock"):
        (ovs.directory / name).unlink(missing_ok=True)
    inside = ("ip", "netns", "exec", ovs.namespace)
    config = CONFIG.format(remote=ovs.remote)
    with controller(ovs.directory, config, inside, ovs.environment) as record:
        yield record


def first_controller(
    ovs: PrivateOvs, wires: Mapping[int, Wire], hosts: int, run: Run
) -> Iterator[Figure]:
    """It finds out about all hosts, and then about some more."""
    remember(ovs, hosts)
    run.tell(f"a controller recognizes {hosts:,} hosts")
    with under_control(ovs), FlowMonitor(ovs, "br0") as monitor:
        wait_until(
            lambda: flow_count(ovs) > hosts * OF_A_HOST,
            within=PATIENCE,
            why="all flows to be in the switch",
        )
        entries, number = flow_count(ovs), run.of(CHANGES, least=4)
        run.tell(f"{number} hosts announce themselves among {hosts:,}")
        some = range(hosts, hosts + number)
        times = [appearance(monitor, wires, host) for host in some]
    what = f"a host more among {entries:,} entries: from its word to its answer"
    yield from spread(what, times, "ms", CHANGED)


def flow_count(ovs: PrivateOvs) -> int:
    told = ovs.ofctl("dump-aggregate", "br0")
    return int(told.rpartition("flow_count=")[2])


def restarted(ovs: PrivateOvs, run: Run) -> tuple[float, float, int]:
    """Seconds from the connection, and from the start; and flow-mods until then."""
    run.tell("another controller")
    began = time.monotonic()
    with overheard(ovs) as kinds, under_control(ovs) as record:
        settled = is_ready(record)
        connected = record.wait("seen", "SwitchReady", "", 0.0)
        wait_until(lambda: kinds, within=PATIENCE, why="something to be overheard")
    mods = sum(kind in (FLOW_MOD, EXPERIMENTER) for kind in kinds)
    return settled.at - connected.at, settled.at - began, mods


def is_ready(record: Record) -> Told:
    """When the controller knows that the switch holds what it should."""
    found = wait_until(
        lambda: record.find("settled", "Switch", "", 0.0),
        within=PATIENCE,
        why="the controller to be ready",
    )
    assert found is not None
    return found


@contextmanager
def overheard(ovs: PrivateOvs) -> Iterator[list[int]]:
    """Types of the messages between the bridge and its controller."""
    kinds: list[int] = []
    over = threading.Event()

    def listen() -> None:
        with Channel(ovs.directory / "br0.snoop") as channel:
            while not over.is_set():
                if select.select([channel], [], [], 0.1)[0]:
                    kinds.append(channel.hear().kind)

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield kinds
    finally:
        over.set()
        thread.join()
