"""All pairs of hosts at a real switch speak for the first time, as fast as it takes it.

Two bridges of one private Open vSwitch, with as many wires at each, and a host at each
wire: one bridge under isat, the other one only switches (`actions=NORMAL`).  All hosts
have said who they are.  Then each sends a frame to each other one, and nothing in the
datapath knows of any of these pairs: every frame is one that ovs-vswitchd itself has to
decide on.  A controller that is asked for a pair would be what limits this.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from select import select

from flows.pipeline import TABLE_IDS
from tests.bench.beside import ratio
from tests.bench.channel import middle
from tests.bench.figures import Figure, Run
from tests.bench.restart import adopt
from tests.bench.stage import STARTED, controller
from tests.contracts.test_end_to_end import packet_ins
from tests.support.cables import EXPERIMENTAL, ip, lladdr
from tests.support.frames import arp
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

HOSTS = 32  # at each bridge
ROUNDS = 20
AT_ONCE = 64  # frames that have not arrived yet
BESIDE = 1.5  # times the time of a bridge that only switches
LIMIT = 5.0  # seconds until another frame arrives
BRIDGES = ("isat", "plain")
CONFIG = """\
bridges: {{isat: {{}}}}
sources: {{ovsdb: '{remote}'}}
loops: false
links: {{lldp: false}}
liveness: {{silent_after: 3600, forget_after: 7200}}
"""

Wires = Mapping[int, Wire]


def measure(run: Run) -> Iterator[Figure]:
    hosts = run.of(HOSTS, least=4)
    with PrivateOvs() as ovs, ExitStack() as stack:
        wires = {name: plugged(ovs, name, hosts) for name in BRIDGES}
        for some in wires.values():
            for wire in some.values():
                stack.callback(wire.close)
        ovs.ofctl("add-flow", "plain", "actions=NORMAL")
        adopt(ovs, "isat")
        config = CONFIG.format(remote=ovs.remote)
        within = ("ip", "netns", "exec", ovs.namespace)
        stack.enter_context(controller(ovs.directory, config, within, ovs.environment))
        wait_until(
            lambda: introduced(ovs, wires, hosts), within=STARTED, why="all hosts"
        )
        run.tell(f"{hosts * (hosts - 1):,} pairs speak for the first time, in turns")
        told = packet_ins(ovs, "isat")
        found: dict[str, list[float]] = {name: [] for name in BRIDGES}
        for _ in range(run.of(ROUNDS)):
            for name, times in found.items():
                ovs.appctl("revalidator/purge")
                times.append(all_pairs(wires[name]))
        told = packet_ins(ovs, "isat") - told
    yield from figures(found, hosts, told)


def figures(
    found: Mapping[str, list[float]], hosts: int, told: int
) -> Iterator[Figure]:
    pairs, what = hosts * (hosts - 1), f"pairs of {hosts} hosts set up on a real switch"
    names = {"isat": "isat", "plain": "a bridge that only switches"}
    for name, times in found.items():
        rates = [pairs / one for one in times]
        yield middle(f"{what}: {names[name]}", rates, "/s")
    yield ratio(what, found["isat"], found["plain"], BESIDE)
    yield Figure(f"{what}: what the controller is told of", told, "", 0)


def plugged(ovs: PrivateOvs, bridge: str, hosts: int) -> Wires:
    ovs.add_bridge(bridge, "fail_mode=secure")
    far = f"{ovs.namespace}-{bridge}"
    ovs.add_namespace(far)
    return plug(ovs, far, bridge, {n: f"{bridge}{n}" for n in range(1, hosts + 1)})


def introduced(ovs: PrivateOvs, wires: Mapping[str, Wires], hosts: int) -> bool:
    """The switch answers for all, and has learned all, as far as it learns itself."""
    for some in wires.values():
        for n, wire in some.items():
            wire.send(arp(sha=lladdr(n), spa=ip(n), tpa=ip(n)))
            wire.heard()
    flows = ovs.ofctl("dump-flows", "isat", f"table={TABLE_IDS['arp']}")
    is_known = all(f"arp_spa={ip(n)}," in flows for n in range(1, hosts + 1))
    learned = ovs.appctl("fdb/show", "plain").count("02:00:00:00:00:")
    return is_known and learned == hosts


def all_pairs(wires: Wires) -> float:
    """Seconds, from the first frame that is sent until the last has arrived."""
    for wire in wires.values():
        wire.heard()
    frames = [(a, frame(a, b)) for a in wires for b in wires if a != b]
    began, missing = time.monotonic(), {octets for _, octets in frames}
    for start in range(0, len(frames), AT_ONCE):
        some = frames[start : start + AT_ONCE]
        for n, octets in some:
            wires[n].send(octets)
        awaited = {octets for _, octets in some}
        while awaited & missing:
            for wire in wires.values():
                missing.difference_update(wire.heard())
            if awaited & missing:
                heard, _, _ = select([*wires.values()], [], [], LIMIT)
                assert heard, f"{len(awaited & missing)} frames are lost"
    return time.monotonic() - began


def frame(one: int, other: int) -> bytes:
    ends = bytes.fromhex((lladdr(other) + lladdr(one)).replace(":", ""))
    return (ends + EXPERIMENTAL).ljust(60, b"\0")
