"""A segment under control of isat: two bridges, two kernels, and wires to speak on.

    h1, h2    hosts at ports 1 and 2 of br0, which the kernel shows
    wires     ports 3 to 6 of br0, and 7 of br1; nobody but the test is behind them
    fence     port 9 of br0

br0 and br1 are joined by patch ports.  Each test takes stations that nobody has met.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import count
from typing import Any

from controller.cli.client import ask
from flows.forward import CONTROLLER_LLADDR
from tests.contracts.test_end_to_end import SOON, Controller, ages, dump
from tests.support import frames
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

H1, H2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
IP1, IP2 = "10.0.0.1", "10.0.0.2"
FENCE = "02:00:00:00:00:fe"
FENCE_6 = "fe80::fe"
OTHERS = (H1, H2, FENCE, CONTROLLER_LLADDR)
UNASKED = {bytes.fromhex(lladdr.replace(":", "")) for lladdr in OTHERS}
TURNS = 3  # of ovs-vswitchd: one that is under way, one that hears all, one to be sure

Heard = dict[int, list[bytes]]  # by port_no


WIRES = {3, 4, 5, 6, 7}


def only(port_no: int, *frames: bytes) -> Heard:
    return {port_no: list(frames)}


def all_but(port_no: int, *frames: bytes) -> Heard:
    return {n: list(frames) for n in WIRES if n != port_no}


@dataclass(frozen=True, slots=True)
class Station:
    """Somebody behind a wire."""

    wire: Wire
    lladdr: str
    ip: str
    ip6: str

    def at(self, wire: Wire) -> Station:
        """The same one, plugged in elsewhere."""
        return replace(self, wire=wire)

    def announces(self, *, vlan: int = 0) -> None:
        tags = (vlan,) if vlan else ()
        said = frames.arp(sha=self.lladdr, spa=self.ip, tpa=self.ip, tags=tags)
        self.wire.send(said)

    def advertises(self, *, vlan: int = 0, router: bool = False) -> None:
        tags = (vlan,) if vlan else ()
        said = frames.na(eth_src=self.lladdr, target=self.ip6, router=router, tags=tags)
        self.wire.send(said)

    def asks(self, tpa: str, **fields: Any) -> bytes:
        return frames.arp(**{"sha": self.lladdr, "spa": self.ip, "tpa": tpa} | fields)

    def solicits(self, target: str, **fields: Any) -> bytes:
        said = {"eth_src": self.lladdr, "src": self.ip6, "target": target}
        return frames.ns(**said | fields)


class Segment:
    """The bridges, adopted by a controller that follows the kernel."""

    def __init__(self, ovs: PrivateOvs, more: str = "", limits: str = "") -> None:
        self.ovs = ovs
        for bridge in ("br0", "br1"):
            ovs.add_bridge(bridge)
        self.h1 = ovs.add_host("h1", "br0", f"{IP1}/24", H1, ofport=1)
        self.h2 = ovs.add_host("h2", "br0", f"{IP2}/24", H2, ofport=2)
        self.namespace = f"{ovs.namespace}-wires"
        ovs.add_namespace(self.namespace)
        numbers = {n: f"w{n}" for n in (3, 4, 5, 6, 9)}
        self.wires = plug(ovs, self.namespace, "br0", numbers)
        self.wires |= plug(ovs, self.namespace, "br1", {7: "w7"})
        self.patch("br0", "p0", "p1")
        self.patch("br1", "p1", "p0")
        self.controller = Controller(
            ovs,
            "bridges: {br0: {}, br1: {}}\n"
            "liveness: {silent_after: 3600}\n"  # however slow the tests are
            # or how fast
            f"limits: {{neighbor_packets_per_second: 10000{limits}}}\n"
            f"sources: {{ovsdb: '{ovs.remote}'}}\n{more}",
        )
        self.controller.start()
        self._numbers = count(16)
        own = {IP1, IP2, "fe80::ff:fe00:1", "fe80::ff:fe00:2"}
        self.wait(lambda: own <= self.answered(), "what the kernel shows")
        self.wait(lambda: self.answers(IP2), "flows")
        self.settle()

    def close(self) -> None:
        for wire in self.wires.values():
            wire.close()

    def patch(self, bridge: str, name: str, peer: str) -> None:
        kind = ("type=patch", f"options:peer={peer}")
        self.ovs.vsctl("add-port", bridge, name, "--", "set", "interface", name, *kind)

    @contextmanager
    def plugged(self, name: str, port_no: int) -> Iterator[Wire]:
        """One wire more."""
        self.wires |= plug(self.ovs, self.namespace, "br0", {port_no: name})
        self.wait(lambda: self.is_up(name), f"{name} is known")
        self.wait(lambda: self.admits(port_no), f"{name} is admitted")
        try:
            yield self.wires[port_no]
        finally:
            self.wires.pop(port_no).close()
            self.ovs.vsctl("del-port", name)
            self.ovs.run("ip", "link", "del", name)

    def is_up(self, name: str) -> bool:
        """As far as isat knows, kernel and switch."""
        rows = [row for row in self.asked("ports") if row["port"] == name]
        return [(row["up"], row["link"]) for row in rows] == [(True, name)]

    def admits(self, port_no: int) -> bool:
        door = self.ovs.ofctl("dump-flows", "br0", f"table=0,in_port={port_no}")
        return "goto_table" in door

    @contextmanager
    def listen(self, host: Host) -> Iterator[Wire]:
        """A host's own interface, beside its kernel."""
        wire = Wire(host.namespace, "eth0", 0)
        try:
            yield wire
        finally:
            wire.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The controller lives, and does nothing."""
        process = self.controller.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    # --- stations ----

    def station(self, port_no: int) -> Station:
        """Somebody whom nobody knows yet."""
        n = next(self._numbers)
        octets = f"{n >> 8:02x}:{n & 255:02x}"
        wire = self.wires[port_no]
        ip = str(IPv4Address("10.1.0.0") + n)
        return Station(wire, f"02:00:00:01:{octets}", ip, f"fd00::1:{n:x}")

    def known(self, port_no: int, *, vlan: int = 0) -> Station:
        """Somebody for whom the switches answer ARP."""
        made = self.station(port_no)
        made.announces(vlan=vlan)
        self.wait(lambda: self.answers(made.ip), f"{made.ip} is answered for")
        return made

    def known_6(self, port_no: int, *, vlan: int = 0, router: bool = False) -> Station:
        """Somebody for whom the switches answer neighbor solicitations."""
        made = self.station(port_no)
        made.advertises(vlan=vlan, router=router)
        self.wait(lambda: self.answers(made.ip6), f"{made.ip6} is answered for")
        return made

    # --- what isat says ----

    def asked(self, question: str, **details: object) -> Any:
        return ask(self.controller.socket, question, **details)

    def hosts(self) -> list[Any]:
        return list(self.asked("hosts"))

    def answered(self) -> set[str]:
        return {row["ip"] for row in self.hosts() if row["answered"]}

    def told(self, ip: str) -> dict[str, str]:
        """Who is said to hold an address: lladdr to port."""
        rows = (row for row in self.hosts() if row["ip"] == ip)
        return {row["lladdr"]: row["port"] for row in rows}

    def answers(self, ip: str) -> bool:
        """Both switches do, by themselves."""
        what = f"nd_target={ip}" if ":" in ip else f"arp_tpa={ip},arp_op=1"
        answer = f"{what} actions=move"
        return all(answer in dump(self.ovs, bridge) for bridge in ("br0", "br1"))

    def counters(self) -> dict[str, int]:
        return dict(self.asked("status")["counters"])

    def flows(self, bridge: str) -> str:
        return dump(self.ovs, bridge)

    def ages(self) -> dict[str, float]:
        """Seconds that each flow of br0 has existed for, by cookie."""
        return ages(self.ovs)

    # --- time ----

    def wait(self, condition: Callable[[], object], why: str) -> None:
        wait_until(condition, within=SOON, why=why)

    def settle(self) -> None:
        """What was sent so far has been forwarded and answered by the switches."""
        fence = self.wires[9]
        question = frames.arp(sha=FENCE, spa="10.2.0.254", tpa=IP1)
        for _ in range(TURNS):
            fence.heard()
            fence.send(question)
            self.wait(lambda: any(map(frames.is_arp_reply, fence.heard())), "a fence")

    def consider(self) -> None:
        """And what the controller was told of it has been thought about: it answers
        one at a time, this question as the last.  With a nonce none is answered at
        once, before what waits."""
        self.settle()
        fence = self.wires[9]
        question = frames.ns(
            eth_src=FENCE, src=FENCE_6, target="fe80::ff:fe00:1",
            options=(frames.nonce(),),
        )  # fmt: skip
        fence.heard()
        fence.send(question)
        self.wait(lambda: any(map(frames.is_na, fence.heard())), "the controller")
        self.settle()

    def after(self, wire: Wire, *sent: bytes) -> Heard:
        """What everybody hears when this is sent, the controller's answers left out."""
        self.silence()
        wire.send(*sent)
        self.settle()
        every = {n: self.heard(w) for n, w in self.wires.items() if n != 9}
        return {n: frames for n, frames in every.items() if frames}

    def heard(self, wire: Wire) -> list[bytes]:
        """Without what kernels say of themselves, and the controller's own polls."""
        return [frame for frame in wire.heard() if frame[6:12] not in UNASKED]

    def silence(self) -> None:
        self.settle()
        for wire in self.wires.values():
            wire.heard()


@contextmanager
def segment_of(ovs: PrivateOvs, more: str = "", limits: str = "") -> Iterator[Segment]:
    """more    of the configuration
    limits  more of these, each after a comma
    """
    made = Segment(ovs, more, limits)
    try:
        yield made
    finally:
        made.close()
