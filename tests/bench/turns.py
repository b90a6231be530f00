"""What one change costs the core, in networks of very different sizes.

The core is in this process, with one switch that does what it is told at once.  A turn
is one call of `Core.handle` with one event, as when the network is quiet: the next
view, the conclusions from it, and the flows that follow.  The size of the network
should not matter: what is compared is the median in the largest with that in the
smallest.  Beside it the same change compiled in full, as flows are defined.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from controller.commands import ChangeFlows
from controller.core import Core
from controller.events import (
    ArpSeen,
    BridgesSeen,
    FlowsListed,
    KernelChanged,
    KernelFact,
    KernelSynced,
    SwitchReady,
)
from controller.packets import REQUEST
from controller.policy import Policy
from flows.compile import compile_flows
from flows.openflow import BROADCAST
from flows.view import (
    OWN_NAMESPACE,
    Address,
    Bridge,
    Interface,
    Limits,
    Link,
    Port,
)
from tests.bench.figures import Figure, Run, percentile, spread

HEARD = (1_000, 10_000, 50_000)  # hosts that were heard; one address each
SHOWN = (100, 1_000, 5_000)  # hosts that the kernel shows; a veth each
PORTS = 1_000
TURNS = 400
FLAT = 3.0  # times the smallest network's: caches of the processor are not flat
TOGETHER = 256  # events of a turn while the network is filled
SWITCH = 1


def measure(run: Run) -> Iterator[Figure]:
    for kind, sizes, filled, change in (
        ("heard", HEARD, heard, moves),
        ("shown by the kernel", SHOWN, shown, renumbered),
    ):
        medians = []
        for size in scaled(sizes, run):
            run.tell(f"{size:,} hosts, {kind}")
            before = resident()
            network = filled(size)
            taken = resident() - before
            times = network.times(change, run.of(TURNS, least=20))
            what = f"a turn, {size:,} hosts {kind}"
            yield from spread(what, [t * 1e6 for t in times], "us")
            medians.append(percentile(times, 50))
            if full_size(size, sizes, run):
                yield Figure(
                    f"memory for each host {kind}, with its flows",
                    taken / size,
                    "octets",
                    note=f"of {size:,}",
                )
                yield network.whole(size, kind)
        yield Figure(
            f"{sizes[-1] // sizes[0]} times as many hosts {kind}: a turn takes",
            medians[-1] / medians[0],
            "times as long",
            at_most=FLAT,
        )


def full_size(size: int, sizes: tuple[int, ...], run: Run) -> bool:
    return size == scaled(sizes, run)[-1]


def scaled(sizes: tuple[int, ...], run: Run) -> list[int]:
    """However small the run, no two networks are of one size."""
    return [run.of(full, least=20 + n) for n, full in enumerate(sizes)]


@dataclass(slots=True)
class Network:
    """A core, and the hosts that it knows."""

    core: Core
    size: int
    now: float = 1.0

    def times(
        self, change: Callable[[Network, int], object], number: int
    ) -> list[float]:
        """Seconds, of so many turns."""
        gc.collect()
        found = []
        for turn in range(number):
            event = change(self, turn)
            self.now += 0.001
            begun = time.perf_counter()
            commands = self.core.handle([event], self.now)  # type: ignore[list-item]
            found.append(time.perf_counter() - begun)
            assert any(isinstance(one, ChangeFlows) for one in commands)
        return found

    def whole(self, size: int, kind: str) -> Figure:
        begun = time.perf_counter()
        flows = compile_flows(self.core.view, SWITCH)
        spent = time.perf_counter() - begun
        assert {*flows} == {*self.core.channels[SWITCH].compiled.cookies}
        what = f"the same compiled in full, {size:,} hosts {kind}"
        return Figure(what, spent * 1e6, "us", note=f"{len(flows):,} flows")


def resident() -> int:
    """Octets of this process, proc(5): statm."""
    gc.collect()
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def started(ports: int) -> Core:
    core = Core(Policy(limits=Limits(stations_per_port=100_000)))
    rows = tuple(
        Port(SWITCH, n, f"p{n}", f"06:00:00:00:{n >> 8:02x}:{n & 255:02x}", True)
        for n in range(1, ports + 1)
    )
    core.handle([SwitchReady(SWITCH, rows)], 0.0)
    core.handle([FlowsListed(SWITCH, frozenset(), ())], 0.0)
    return core


def lladdr(host: int) -> str:
    octets = (2 << 40 | host).to_bytes(6, "big")
    return octets.hex(":")


# --- hosts that were heard ----------------------------------------------------------


def heard(size: int) -> Network:
    network = Network(started(PORTS), size)
    hosts = [request(host, host % PORTS + 1) for host in range(size)]
    for first in range(0, size, TOGETHER):
        network.core.handle(hosts[first : first + TOGETHER], network.now)
    return network


def request(host: int, port_no: int) -> ArpSeen:
    own, ip = lladdr(host), IPv4Address((10 << 24) + 1 + host)
    nobody = "00:00:00:00:00:00"
    target = IPv4Address("192.0.2.1")
    return ArpSeen(
        *(SWITCH, port_no, 0, own, BROADCAST, REQUEST),
        *(own, ip, nobody, target),
    )


def moves(network: Network, turn: int) -> ArpSeen:
    """Another host in each turn, to another port."""
    host = turn * 7919 % network.size
    return request(host, (host + 1 + turn // network.size) % PORTS + 1)


# --- hosts that the kernel shows ----------------------------------------------------


def shown(size: int) -> Network:
    network = Network(started(size), size)
    rows = tuple(Interface(SWITCH, n, f"p{n}", n) for n in range(1, size + 1))
    facts: list[KernelFact] = []
    for n in range(1, size + 1):
        facts += [
            Link(OWN_NAMESPACE, n, f"p{n}", "veth", peer=n, peer_nsid=n),
            Link(n, n, "eth0", "veth", lladdr(n), peer=n, peer_nsid=OWN_NAMESPACE),
            Address(n, n, IPv4Address((10 << 24) + n), 8),
        ]
    network.core.handle([BridgesSeen((Bridge(SWITCH, "s1"),), rows)], 0.0)
    network.core.handle([KernelSynced(tuple(facts))], 0.0)
    return network


def renumbered(network: Network, turn: int) -> KernelChanged:
    """Another host in each turn, one more address."""
    host = turn * 7919 % network.size + 1
    row = Address(host, host, IPv4Address((11 << 24) + 1 + turn), 8)
    return KernelChanged(((row.key, row),))
