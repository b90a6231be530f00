"""Answers in a real switch, and first pings, beside the plainest flows there can be.

Three bridges of one private Open vSwitch, three hosts at each: one under isat, which
knows the hosts from the kernel; one with a single flow that answers for the second
host, written by hand; one that only switches (`actions=NORMAL`).  They are measured in
turns.  Before each ping nobody knows anybody: neighbor tables, learned addresses and
the datapath's flows are empty.  Or both hosts have spoken with a third one since, and
never with each other.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from controller.packets import arp_request
from flows.arp import answer
from tests.bench.figures import Figure, Run, percentile, spread
from tests.bench.fixture import inside, named
from tests.bench.responder import silent
from tests.bench.restart import adopt
from tests.bench.stage import STARTED, controller
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until
from topologies.probe import ETH_P_ARP, packet_socket

QUESTIONS, PINGS, ROUNDS = 400, 10, 10
ANSWERED, PINGED = 1.1, 1.5  # times what it is measured beside
ASKED = IPv4Address("10.0.0.2")
BRIDGES = ("isat", "hand", "plain")
LIMIT = 5.0  # seconds for one answer

Trio = tuple[Host, Host, Host]  # who asks, who is asked, and somebody else


def measure(run: Run) -> Iterator[Figure]:
    with PrivateOvs() as ovs:
        trios = {name: trio(ovs, name, n) for n, name in enumerate(BRIDGES)}
        ovs.ofctl("add-flow", "hand", by_hand(trios["hand"][1]))
        ovs.ofctl("add-flow", "hand", "table=0,priority=0,actions=NORMAL")
        ovs.ofctl("add-flow", "plain", "actions=NORMAL")
        adopt(ovs, "isat")
        config = f"bridges: {{isat: {{}}}}\nsources: {{ovsdb: '{ovs.remote}'}}\n"
        config += "limits: {neighbor_packets_per_second: 1000000}\n"
        within = ("ip", "netns", "exec", ovs.namespace)
        with controller(ovs.directory, config, within, ovs.environment):
            wait_until(
                lambda: f"arp_tpa={ASKED}" in ovs.ofctl("dump-flows", "isat"),
                within=STARTED,
                why="isat's answer",
            )
            yield from first_pings(ovs, trios, run)
            yield from answers(ovs, trios, run)


def trio(ovs: PrivateOvs, bridge: str, number: int) -> Trio:
    ovs.add_bridge(bridge, "fail_mode=secure")

    def host(n: int) -> Host:
        lladdr = f"02:00:00:00:{number:02x}:{n:02x}"
        return ovs.add_host(f"{bridge}{n}", bridge, f"10.0.0.{n}/24", lladdr)

    return host(1), host(2), host(3)


def by_hand(asked: Host) -> str:
    """The one flow of isat's that answers for an address, and nothing else."""
    flow = answer(0, 0, ASKED, asked.mac)
    return flow.text.replace("reg1=0,", "")


def answers(ovs: PrivateOvs, trios: dict[str, Trio], run: Run) -> Iterator[Figure]:
    found: dict[str, list[float]] = {"isat": [], "hand": []}
    for name in found:
        silent(ovs, trios[name][1].namespace)
    run.tell("questions that the switch answers, in turns")
    for _ in range(run.of(ROUNDS)):
        for name, times in found.items():
            times += asked(trios[name], run.of(QUESTIONS, least=20))
    yield from spread("an answer in the switch: isat's flows", found["isat"], "ms")
    yield from spread("an answer in the switch: one flow", found["hand"], "ms")
    yield ratio("an answer in the switch", found["isat"], found["hand"], ANSWERED)


def asked(trio: Trio, number: int) -> list[float]:
    """Milliseconds from a question to its answer, one after the other."""
    host, other, _ = trio
    asker = IPv4Address("10.0.0.1")
    question = arp_request(eth_src=host.mac, tpa=ASKED, spa=asker)
    lladdr = bytes.fromhex(other.mac.replace(":", ""))
    found = []
    with inside(named(host.namespace)), packet_socket("eth0", ETH_P_ARP) as line:
        line.settimeout(LIMIT)
        for _ in range(number):
            began = time.perf_counter()
            line.send(question)
            while line.recv(128)[20:28] != b"\0\2" + lladdr:
                pass
            found.append((time.perf_counter() - began) * 1e3)
    return found


def first_pings(ovs: PrivateOvs, trios: dict[str, Trio], run: Run) -> Iterator[Figure]:
    run.tell("first pings, in turns")
    for what, is_in_use in (("a first ping", True), ("a first ping of all", False)):
        found: dict[str, list[float]] = {"isat": [], "plain": []}
        for _ in range(run.of(ROUNDS) * run.of(PINGS)):
            for name, times in found.items():
                forget(ovs, trios[name], name)
                asker, asked, third = trios[name]
                if is_in_use:
                    for host in (asker, asked):
                        pinged(ovs, third, host)
                times.append(pinged(ovs, asker, asked))
        yield from spread(f"{what}: isat", found["isat"], "ms")
        yield from spread(f"{what}: a bridge that only switches", found["plain"], "ms")
        yield ratio(what, found["isat"], found["plain"], PINGED)


def forget(ovs: PrivateOvs, trio: Trio, bridge: str) -> None:
    for host in trio:
        ovs.run_in(host.namespace, "ip", "neigh", "flush", "dev", "eth0")
    ovs.appctl("fdb/flush", bridge)
    ovs.appctl("revalidator/purge")


def pinged(ovs: PrivateOvs, asker: Host, asked: Host) -> float:
    """Milliseconds."""
    words = ("ping", "-c1", f"-W{LIMIT:.0f}", asked.ip.partition("/")[0])
    done = ovs.run_in(asker.namespace, *words)
    time_of = re.search(r"time=([\d.]+) ms", done.stdout)
    assert time_of is not None, done.stdout
    return float(time_of[1])


def ratio(
    what: str, ours: Sequence[float], theirs: Sequence[float], at_most: float
) -> Figure:
    value = percentile(ours, 50) / percentile(theirs, 50)
    return Figure(f"{what}: p50 beside the other", value, "x", at_most)
