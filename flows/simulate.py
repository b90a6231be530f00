"""Run a packet through flows, without a switch.

The same meaning that Open vSwitch gives the flows, in a few lines: what a test states
here, tests/contracts/test_simulate.py checks against `ovs-appctl ofproto/trace`.

A packet is its header fields by OXM name, as people write them.  It has no vlan_vid if
it has no tag, and OFPVID_PRESENT (0x1000) above the VLAN identifier if it has one.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import assert_never

from flows.fields import FIELDS, Field, joined, words
from flows.openflow import (
    CONTROLLER,
    Anew,
    Flow,
    GotoTable,
    Group,
    GroupKind,
    Match,
    Metered,
    Move,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    Tell,
    Through,
)

VLAN_PRESENT = 0x1000  # OFPVID_PRESENT, OpenFlow 1.3, 7.2.3.7

Packet = Mapping[str, str]
Sent = list[tuple[int, Packet]]


class Ambiguous(ValueError):
    """Two flows of one priority match, and do different things: OpenFlow does not say
    which of them a switch takes (5.3)."""


def simulate(flows: Iterable[Flow], packet: Packet) -> Sent:
    """(port_no, packet) for each time that the packet leaves, in order.

    port_no may be IN_PORT or CONTROLLER.  Registers stay in the switch; what leaves
    through a tunnel to one of its ends has tunnel_id and tun_ipv4_dst or tun_ipv6_dst.
    """
    return Datapath(flows).receive(packet)


class Datapath:
    """Flows, ready for many packets.

    down    port_no of ports that are down: buckets that watch them are not taken
    hashed  what select groups choose by, in place of a hash of the packet
    """

    def __init__(
        self, flows: Iterable[Flow], down: Container[int] = (), hashed: int = 0
    ) -> None:
        self.down, self.hashed = down, hashed
        self.tables: dict[int, list[Entry]] = {}
        for flow in sorted(flows, key=lambda f: -f.priority):
            self.tables.setdefault(flow.table, []).append(entry(flow))

    def receive(self, packet: Packet) -> Sent:
        header = Header({name: FIELDS[name].read(v)[0] for name, v in packet.items()})
        sent: Sent = []
        self.run(0, header, sent)
        return sent

    def run(self, first: int, header: Header, sent: Sent) -> None:
        """From a table on, until no flow goes on."""
        table: int | None = first
        while table is not None:
            flow = self.lookup(table, header)
            table = self.apply(flow, header, sent) if flow else None

    def lookup(self, table: int, header: Header) -> Flow | None:
        """The flow of the greatest priority that matches; None is a table miss, which
        drops the packet where nobody has installed a flow for it (5.4)."""
        found: Flow | None = None
        for candidate in self.tables.get(table, ()):
            if found and candidate.flow.priority < found.priority:
                break
            if candidate.matches(header):
                found = found or candidate.flow
                if candidate.flow.actions != found.actions:
                    raise Ambiguous(f"{found.text}\n{candidate.flow.text}")
        return found

    def apply(self, flow: Flow, header: Header, sent: Sent) -> int | None:
        """Apply the actions; the table to go on with, None if there is none.

        No meter is exceeded here: that is a matter of time.
        """
        onward: int | None = None
        for action in flow.actions:
            match action:
                case Output() | Through():
                    leave(action, header, sent)
                case Tell():
                    sent.append((CONTROLLER, header.as_packet()))
                case GotoTable(table) | Anew(table):
                    if table <= flow.table:
                        raise ValueError(f"OpenFlow goes forward only: {flow.text}")
                    onward = table
                case Resubmit(table):
                    self.run(table, header, sent)
                case Group():
                    self.run_bucket(action, header, sent)
                case SetField(name, text):
                    header.put(FIELDS[name], *FIELDS[name].read(text))
                case Move():
                    move(action, header)
                case PushVlan():
                    header.values["vlan_vid"] = VLAN_PRESENT
                case PopVlan():
                    header.values.pop("vlan_vid", None)
                case Metered():
                    pass
                case _:
                    assert_never(action)
        return onward

    def run_bucket(self, group: Group, header: Header, sent: Sent) -> None:
        live = [one for one in group.buckets if one.watch_port not in self.down]
        if not live:
            return
        is_first = group.kind is GroupKind.FAST_FAILOVER
        match live[0 if is_first else self.hashed % len(live)].action:
            case Output() | Through() as by:
                leave(by, header, sent)
            case Resubmit(table):
                self.run(table, header, sent)


def leave(by: Output | Through, header: Header, sent: Sent) -> None:
    """A packet leaves by its own port only if it is told so: IN_PORT (5.12)."""
    if by.port_no == header.get(FIELDS["in_port"]):
        return
    packet = header.as_packet()
    if isinstance(by, Through):
        name = "tun_ipv6_dst" if ":" in by.tun_dst else "tun_ipv4_dst"
        packet = {**packet, "tunnel_id": hex(by.tunnel_id), name: by.tun_dst}
    sent.append((by.port_no, packet))


def move(action: Move, header: Header) -> None:
    source, target = FIELDS[action.source], FIELDS[action.target]
    mask = (1 << (action.bits or source.bits)) - 1
    value = header.get(source)
    if value is not None:
        header.put(target, value & mask, mask)


@dataclass(slots=True)
class Header:
    """The header fields and registers of one packet on its way."""

    values: dict[str, int]

    def get(self, field: Field) -> int | None:
        """The value, or None where the packet has no such field."""
        if field.parts:
            return joined(self.values.get(name, 0) for name in field.parts)
        return self.values.get(field.name, 0) if self.has(field) else None

    def put(self, field: Field, value: int, mask: int) -> None:
        if field.parts:
            wide = (self.get(field) or 0) & ~mask | value
            self.values.update(zip(field.parts, words(wide), strict=True))
        elif self.has(field):
            before = self.values.get(field.name, 0)
            self.values[field.name] = before & ~mask | value

    def has(self, field: Field) -> bool:
        return all(self.values.get(name, 0) in allowed for name, allowed in field.needs)

    def as_packet(self) -> Packet:
        return {
            name: FIELDS[name].show(value, FIELDS[name].ones)
            for name, value in self.values.items()
            if not is_hidden(name, value) and self.has(FIELDS[name])
        }


def is_hidden(name: str, value: int) -> bool:
    """Registers are no part of a packet, and no tag is no vlan_vid."""
    return FIELDS[name].is_register or (name == "vlan_vid" and value == 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """A flow whose match is ready to be compared: field, value, mask."""

    flow: Flow
    conditions: tuple[tuple[Field, int, int], ...]

    def matches(self, header: Header) -> bool:
        for field, wanted, mask in self.conditions:
            value = header.get(field)
            if value is None or value & mask != wanted:
                return False
        return True


def entry(flow: Flow) -> Entry:
    return Entry(flow, conditions(flow.match))


@lru_cache(maxsize=1 << 12)
def conditions(match: Match) -> tuple[tuple[Field, int, int], ...]:
    return tuple((FIELDS[name], *FIELDS[name].read(text)) for name, text in match)
