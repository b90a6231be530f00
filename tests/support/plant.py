"""Simulated switches that do what they are told when they like, and a controller."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from controller.broadcast import TRANSIT
from controller.commands import ChangeFlows, Command, ListFlows, SetForwarding
from controller.core import PATIENCE, Core
from controller.events import (
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    FlowsCounted,
    FlowsListed,
    KernelFact,
    KernelSynced,
    PortChanged,
    PortGone,
    SwitchReady,
)
from controller.policy import Policy
from flows.beyond import ANYBODY
from flows.openflow import Flow, Group, Output, Through
from flows.pipeline import TABLE_IDS
from flows.simulate import Packet
from flows.view import Address, Bridge, Interface, Link, Namespace, Port, PortKey
from tests.facts import Fact, cable, overlay, tunnel_port, underlay, vxlan_device

FLOOD = TABLE_IDS["flood"]
INGRESS = TABLE_IDS["ingress"]
NEAR, FAR = 10, 55  # port_no of the two ends of the first cable
TUNNEL = 100  # of the ends of the first overlay

OUTER = ("tunnel_id", "tun_ipv4_src", "tun_ipv4_dst")  # of the tunnel's own header

Ends = tuple[tuple[int, int], ...]  # two of a cable, one where an overlay begins


class Switch:
    """Does what it is told when it likes, in order."""

    def __init__(self) -> None:
        self.flows: dict[object, Flow] = {}
        self.groups: dict[int, Group] = {}
        self.told: deque[ChangeFlows | ListFlows] = deque()

    def is_asked(self) -> bool:
        return bool(self.told) and isinstance(self.told[0], ListFlows)

    def is_told_flows(self) -> bool:
        return any(
            isinstance(order, ChangeFlows) and (order.plan.add or order.plan.delete)
            for order in self.told
        )

    def obey(self) -> None:
        order = self.told.popleft()
        assert isinstance(order, ChangeFlows)
        change = order.plan
        gone = [key for key, row in self.flows.items() if row.cookie in change.delete]
        for key in gone:
            del self.flows[key]
        self.flows |= {row.key: row for row in change.add}
        self.groups |= {group.group_id: group for group in change.groups.put}
        for number in change.groups.delete:  # no error, if it is gone: 1.3, 6.5
            self.groups.pop(number, None)

    def sends_to(self, port_no: int) -> bool:
        """Broadcasts that came in by another port, or from a host."""
        return any(
            isinstance(step, Output | Through) and step.port_no == port_no
            for row in self.flows.values()
            if row.table == FLOOD and row.priority == 0
            for step in row.actions
        )

    def admits(self, port_no: int) -> bool:
        return any(
            ("in_port", str(port_no)) in row.match and row.actions
            for row in self.flows.values()
            if row.table == INGRESS
        )

    def takes_from(self, port_no: int) -> bool:
        return self.admits(port_no) and not any(
            row.match == (("in_port", str(port_no)),) and not row.actions
            for row in self.flows.values()
            if row.table == FLOOD
        )


class Plant:
    """Switches, cables between them, and the core that controls them."""

    def __init__(
        self,
        number: int,
        cables: Sequence[tuple[int, int]],
        hosts: Iterable[Fact] = (),
        cut: Iterable[int] = (),
        overlays: Sequence[Collection[int]] = (),
        *,
        foreign: bool = False,
        kernels: Collection[int] = (),
    ) -> None:
        """hosts  facts of what is at other ports
        cut    numbers of cables that do not work yet
        overlays  switches that have an end of each
        foreign   all are of other hosts: of them only OpenFlow tells
        kernels   switches whose ends are devices of the kernel
        """
        shared = [
            overlay(f"overlay {k}", 5000 + k, *((n, TUNNEL + k) for n in sorted(some)))
            for k, some in enumerate(overlays)
        ]
        self.policy = Policy(overlays=tuple(shared))
        self.core = Core(self.policy)
        self.now = 0.0
        self.into: list[Ends] = [
            ((n, TUNNEL + k),) for k, some in enumerate(overlays) for n in sorted(some)
        ]
        self.switches = {n: Switch() for n in range(1, number + 1)}
        self.ends: list[Ends] = [
            ((a, NEAR + n), (b, FAR + n)) for n, (a, b) in enumerate(cables)
        ]
        self.cut = {self.ends[n] for n in cut}
        self.ports: dict[PortKey, Port] = {}
        self.facts: list[KernelFact] = []
        rows: list[Interface] = []
        joined = [fact for one, other in self.ends for fact in cable(one, other)]
        self.kernels = kernels
        self.tables: dict[str, Mapping[str, frozenset[str]]] = {}  # of those devices
        for n, port_no in chain(*self.into):
            vni = 5000 + port_no - TUNNEL
            is_led = n in kernels
            joined += (
                vxlan_device(n, port_no, vni) if is_led else tunnel_port(n, port_no)
            )
        for fact in (*joined, *hosts):
            if isinstance(fact, Port):
                self.ports[fact.key] = fact
            elif isinstance(fact, Interface):
                rows.append(fact)
            elif isinstance(fact, Link | Address | Namespace):
                self.facts.append(fact)
        for ends in self.cut:
            self.set_up(ends, False)
        us = ("tcp:127.0.0.1:6653",)
        bridges = tuple(Bridge(n, f"s{n}", controllers=us) for n in self.switches)
        if not foreign:
            seen = BridgesSeen(bridges, tuple(rows))
            self.tell(seen, KernelSynced(tuple(self.facts)))
        for n in self.switches:
            self.connect(n)

    def set_up(self, ends: Ends, is_up: bool) -> list[PortChanged | PortGone]:
        """What the switches say of it.  Ports of every other cable and overlay go and
        come again; others are down meanwhile."""
        for key in (PortKey(*end) for end in ends):
            self.ports[key] = replace(self.ports[key], up=is_up)
        first = TUNNEL if ends in self.into else NEAR
        if not is_up and (ends[0][1] - first) % 2:
            return [PortGone(*end) for end in ends]
        return [PortChanged(self.ports[PortKey(*end)]) for end in ends]

    def connect(self, n: int) -> None:
        ports = tuple(p for p in self.ports.values() if p.datapath_id == n)
        self.switches[n].told.clear()
        self.tell(SwitchReady(n, ports))
        self.answer(n)

    def restart(self) -> None:
        """Another controller, that knows nothing; the switches know what they did."""
        facts = BridgesSeen(
            tuple(self.core.view.bridges.values()),
            tuple(self.core.view.interfaces.values()),
        )
        self.core, self.now = Core(self.policy), 0.0
        self.tell(facts, KernelSynced(tuple(self.facts)))
        for n in self.switches:
            self.connect(n)

    def tell(self, *events: object) -> None:
        self.now += 0.01
        self.perform(self.core.handle(events, self.now))  # type: ignore[arg-type]

    def perform(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, ChangeFlows | ListFlows):
                self.switches[command.datapath_id].told.append(command)
            elif isinstance(command, SetForwarding):
                self.tables[command.device] = command.ways

    def answer(self, n: int) -> None:
        """Which flows it holds, if it is asked for that before anything else."""
        while self.switches[n].is_asked():
            self.switches[n].told.popleft()
            cookies = frozenset(row.cookie for row in self.switches[n].flows.values())
            groups = tuple(self.switches[n].groups.values())
            self.tell(FlowsListed(n, cookies, groups=groups))

    def lose(self, n: int) -> None:
        """Somebody deletes a flow, and the next audit finds it missing."""
        flows = self.switches[n].flows
        kept = self.core.channels[n].installed
        others = [key for key, row in flows.items() if row.table != FLOOD]
        if others and kept is not None and not self.switches[n].told:
            del flows[max(others, key=str)]
            self.core.channels[n].expected = len(kept)
            self.tell(FlowsCounted(n, len(flows)))

    def cut_or_mend(self, ends: Ends) -> None:
        """The cable works again at once, and the controller is told."""
        self.cut ^= {ends}
        for event in self.set_up(ends, ends not in self.cut):
            self.tell(event)
            self.check()

    def obey(self, n: int) -> None:
        self.answer(n)
        if self.switches[n].told:
            self.switches[n].obey()
            self.check()
            self.tell(ChangeDone(n))

    def refuse(self, n: int) -> None:
        """It does what it was told, and complains."""
        self.answer(n)
        if self.switches[n].told:
            self.switches[n].obey()
            self.check()
            self.tell(ChangeFailed(n, "refused"))

    def check(self) -> None:
        """The cables that a broadcast passes have no loop."""
        joined: dict[int, int] = {}

        def top(n: int) -> int:
            while n in joined:
                n = joined[n]
            return n

        for ends in (*self.ends, *self.into):
            if ends in self.cut or not self.passes(ends):
                continue
            one, other = (top(n) for n in joins(ends))
            assert one != other, "a loop"
            joined[one] = other

    def passes(self, ends: Ends) -> bool:
        """An overlay passes all that is sent into it."""
        if len(ends) == 1:
            [(a, p)] = ends
            return self.switches[a].sends_to(p) or self.switches[a].takes_from(p)
        return any(
            self.switches[a].sends_to(p) and self.switches[b].takes_from(q)
            for (a, p), (b, q) in (ends, ends[::-1])
        )

    def beyond(self, at: PortKey, packet: Packet) -> Iterator[tuple[PortKey, Packet]]:
        """Where a packet comes in that a switch has sent into an overlay."""
        inner = {n: v for n, v in packet.items() if n not in OUTER}
        for (far, port_no), in self.into:  # fmt: skip
            if port_no == at.port_no and underlay(far) in self.sent_to(at, packet):
                assert far != at.datapath_id
                vni = hex(5000 + port_no - TUNNEL)
                outer = {"tunnel_id": vni, "tun_ipv4_src": underlay(at.datapath_id)}
                yield (
                    PortKey(far, port_no),
                    inner if far in self.kernels else inner | outer,
                )

    def sent_to(self, at: PortKey, packet: Packet) -> Collection[str]:
        """By a flow, or by the kernel's table."""
        if at.datapath_id not in self.kernels:
            return {packet.get("tun_ipv4_dst", "")}
        table = self.tables.get(self.ports[at].ifname, {})
        return table.get(packet["eth_dst"], table.get(ANYBODY, frozenset()))

    def settle(self) -> None:
        self.now += 2 * PATIENCE
        self.tell()
        while self.core.is_busy or any(one.told for one in self.switches.values()):
            for n in self.switches:
                self.obey(n)
            self.now += TRANSIT
            self.tell()

    def tree(self) -> set[PortKey]:
        """Ports of switches; what stands for an overlay's is left out."""
        return {
            PortKey(*end)
            for ends in (*self.ends, *self.into)
            if ends not in self.cut and self.passes(ends)
            for end in ends
        }

    def meant(self) -> set[PortKey]:
        tree = self.core.network.fabric.tree
        return {port for port in tree if port.datapath_id in self.switches}


def joins(ends: Ends) -> tuple[int, int]:
    """What a cable joins: an overlay has a number below those of switches."""
    numbers = [n for n, _ in ends]
    return numbers[0], numbers[1] if len(ends) > 1 else TUNNEL - ends[0][1] - 1
