"""A port floods with ARP: what do the others notice?

Hosts at one bridge: one floods, one asks for another that is answered for, and behind
others new hosts announce themselves, no more than a port may have.  Times are taken in
turns, quiet and under each flood, so that what else the machine does falls on both.

Beside it, in the same run, the same floods at two bridges without a controller: one
that answers by a flow that was written by hand, and drops all else, which is what the
switch and the machine cost; and one that only switches (`actions=NORMAL`), where the
host that is asked answers itself.

Of the flooder and of who asks it is taken that they are other machines: the switch has
the niceness that ovs-ctl gives it, the controller has the same, as docs/how-to advise,
and who asks is never kept waiting for a processor.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from tests.bench.figures import Figure, Run, number, percentile, spread
from tests.bench.fixture import inside, named
from tests.bench.responder import silent, under_control
from tests.bench.stage import ROOT
from tests.bench.witness import FlowMonitor
from tests.support.ovs import NICENESS, Host, PrivateOvs
from tests.support.wait import wait_until
from topologies.probe import ETH_P_ARP, packet_socket
from topologies.taphost import Me, announcement

RATE = 100_000  # packets a second
ROUNDS = 5
SECONDS = 2.0  # of each flood, and of quiet
MARGIN = 1.0  # seconds that a flood is longer than what is measured
FACTOR = 2.0  # that times may grow by
MEMORY = 32  # MiB that the controller may grow by in the first round
LATER = 8  # MiB that it may grow by after that, in all rounds
NEW_HOSTS = 48  # in each turn
OF_A_PORT = 960  # of them; it may have 1024
LOST = 500.0  # milliseconds that a missing answer counts as
SOURCE = Path(__file__).with_name("flood.c")
TURNS = 8  # in a round: each flood, and quiet before it
CROWDS = ROUNDS * TURNS * NEW_HOSTS // OF_A_PORT + 1  # ports that hosts come behind
FLOODS = {
    "one question": (),
    "changing targets": ("tpa",),
    "changing senders": ("spa",),
    "both changing": ("spa", "tpa"),
}


@dataclass(slots=True)
class Times:
    """Milliseconds, of all turns of one kind."""

    answers: list[float] = field(default_factory=list)
    learned: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scene:
    """monitor  None where nothing is learned by a controller"""

    ovs: PrivateOvs
    hosts: dict[str, Host]
    flooder: Path
    monitor: FlowMonitor | None
    new: Iterator[int]


def measure(run: Run) -> Iterator[Figure]:
    with built() as flooder:
        with PrivateOvs() as ovs:
            yield from controlled(ovs, flooder, run)
        with PrivateOvs() as ovs:
            yield from by_hand(ovs, flooder, run)
        with PrivateOvs() as ovs:
            yield from switching(ovs, flooder, run)


@contextmanager
def built() -> Iterator[Path]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler for tests/bench/flood.c: apt-get install gcc"
    with tempfile.TemporaryDirectory() as place:
        program = Path(place, "flood")
        subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
        yield program


def hosts(ovs: PrivateOvs) -> dict[str, Host]:
    ovs.add_bridge("br0")
    names = ("asker", "asked", "flooder", *map(crowd, range(CROWDS)))
    return {
        name: ovs.add_host(
            name, "br0", f"10.0.0.{n}/24", f"02:00:00:00:00:{n:02x}", ofport=n
        )
        for n, name in enumerate(names, start=1)
    }


def crowd(number: int) -> str:
    return f"crowd{number}"


def controlled(ovs: PrivateOvs, flooder: Path, run: Run) -> Iterator[Figure]:
    there = hosts(ovs)
    silent(ovs, there["asked"].namespace)
    with under_control(ovs, "br0"), FlowMonitor(ovs, "br0") as monitor:
        wait_until(
            lambda: "arp_tpa=10.0.0.2" in ovs.ofctl("dump-flows", "br0"),
            within=30,
            why="the answer that is asked for",
        )
        os.setpriority(os.PRIO_PROCESS, controller_of(ovs), NICENESS)
        here = Scene(ovs, there, flooder, monitor, iter(range(1, 1 << 16)))
        held = [memory(ovs)]
        quiet, under = turns(here, run, lambda: held.append(memory(ovs)))
    yield from told("", quiet, under, FACTOR)
    note = f"from {number(held[0])} MiB"
    yield Figure(
        "the controller's memory grew in the first round by",
        held[1] - held[0], "MiB", MEMORY, note=note,
    )  # fmt: skip
    yield Figure(
        f"and in {len(held) - 2} rounds after it by", held[-1] - held[1], "MiB", LATER
    )


def by_hand(ovs: PrivateOvs, flooder: Path, run: Run) -> Iterator[Figure]:
    """With what a packet needs there, and no more, it is the least that it can cost."""
    here = Scene(ovs, hosts(ovs), flooder, None, iter(()))
    mac = here.hosts["asked"].mac
    ovs.ofctl("add-flow", "br0", "priority=0,actions=drop")
    ovs.ofctl(
        *("add-flow", "br0"),
        "arp,arp_op=1,arp_tpa=10.0.0.2,actions=move:eth_src->eth_dst,"
        f"set_field:{mac}->eth_src,set_field:2->arp_op,move:arp_sha->arp_tha,"
        f"move:arp_spa->arp_tpa,set_field:{mac}->arp_sha,"
        "set_field:10.0.0.2->arp_spa,in_port",
    )
    quiet, under = turns(here, run)
    yield from told("a flow by hand: ", quiet, under, None)


def switching(ovs: PrivateOvs, flooder: Path, run: Run) -> Iterator[Figure]:
    here = Scene(ovs, hosts(ovs), flooder, None, iter(()))
    ovs.ofctl("add-flow", "br0", "actions=NORMAL")
    quiet, under = turns(here, run)
    yield from told("a bridge that only switches: ", quiet, under, None)


def turns(
    here: Scene, run: Run, after_round: Callable[[], None] = lambda: None
) -> tuple[Times, dict[str, Times]]:
    quiet, under = Times(), {name: Times() for name in FLOODS}
    seconds = SECONDS if run.share else 0.2
    for round_ in range(run.of(ROUNDS, least=1)):
        for name, words in FLOODS.items():
            run.tell(f"round {round_ + 1}: quiet, then a flood, {name}")
            take_turn(here, quiet, seconds)
            with flood(here, words, seconds, under[name]):
                take_turn(here, under[name], seconds)
        after_round()
    return quiet, under


@contextmanager
def flood(
    here: Scene, words: Sequence[str], seconds: float, times: Times
) -> Iterator[None]:
    """Longer than what is measured, on both sides; it must last until its end."""
    host = here.hosts["flooder"]
    sha, spa = host.mac.replace(":", ""), IPv4Address("10.0.0.3").packed.hex()
    tpa = IPv4Address("10.0.0.2").packed.hex()
    long = str(seconds + MARGIN)
    command = (str(here.flooder), "eth0", str(RATE), long, sha, spa, tpa, *words)
    process = subprocess.Popen(
        ("ip", "netns", "exec", host.namespace, *command), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline(), "the flood does not begin"
    yield
    output, _ = process.communicate(timeout=60)
    times.rates.append(float(output))


def take_turn(here: Scene, times: Times, seconds: float) -> None:
    """Somebody asks, while behind another port hosts come."""
    host = here.hosts["asker"]
    words = ("eth0", "10.0.0.1", host.mac, "10.0.0.2", str(seconds))
    program = (sys.executable, "-m", "tests.bench.patience", *words)
    asking = subprocess.Popen(
        ("ip", "netns", "exec", host.namespace, *program),
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    if here.monitor is not None:
        end = time.monotonic() + seconds
        for _ in range(NEW_HOSTS):
            times.learned.append(learn(here, here.monitor))
            if time.monotonic() > end:
                break
    output, _ = asking.communicate(timeout=60)
    found = json.loads(output)
    times.answers += [LOST if took is None else took for took in found or [None]]


def learn(here: Scene, monitor: FlowMonitor) -> float:
    """Milliseconds from the first word of a new host to the answer in the switch."""
    ip, began = announce(here)
    return (monitor.wait("ADDED", ip, began).at - began) * 1e3


def announce(here: Scene) -> tuple[str, float]:
    """A new host, and when."""
    n = next(here.new)
    behind = here.hosts[crowd(n // OF_A_PORT)]
    ip = IPv4Address(f"10.1.{n >> 8}.{n & 0xFF}")
    me = Me(ip, bytes((2, 0, 0, 1, n >> 8, n & 0xFF)))
    with (
        inside(named(behind.namespace)),
        packet_socket("eth0", ETH_P_ARP) as line,
    ):
        began = time.monotonic()
        line.send(announcement(me))
    return str(ip), began


def controller_of(ovs: PrivateOvs) -> int:
    """Its pid: of who listens at its socket (SO_PEERCRED)."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(ovs.directory / "isat.sock"))
        credentials = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def memory(ovs: PrivateOvs) -> float:
    """MiB that the controller holds."""
    status = Path("/proc", str(controller_of(ovs)), "status").read_text()
    resident = next(x for x in status.splitlines() if x.startswith("VmRSS:"))
    return int(resident.split()[1]) / 1024


# --- figures --------------------------------------------------------------------------


def told(
    who: str, quiet: Times, under: dict[str, Times], factor: float | None
) -> Iterator[Figure]:
    yield from spread(f"{who}quiet: answer", quiet.answers, "ms")
    if quiet.learned:
        yield from spread(f"{who}quiet: new host learned", quiet.learned, "ms")
    for name, times in under.items():
        yield from beside(f"{who}flood, {name}: ", quiet, times, factor)


def beside(
    what: str, quiet: Times, times: Times, factor: float | None
) -> Iterator[Figure]:
    rate = percentile(times.rates, 50)
    yield Figure(f"{what}packets a second", round(rate), "")
    yield from spread(f"{what}answer", times.answers, "ms")
    yield ratio(f"{what}answer", times.answers, quiet.answers, factor)
    if times.learned:
        yield from spread(f"{what}new host learned", times.learned, "ms")
        yield ratio(f"{what}new host learned", times.learned, quiet.learned, factor)


def ratio(
    what: str, under: Sequence[float], quiet: Sequence[float], factor: float | None
) -> Figure:
    value = percentile(under, 99) / percentile(quiet, 99)
    return Figure(f"{what}: p99 beside quiet", value, "x", at_most=factor)
