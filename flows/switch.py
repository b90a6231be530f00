"""One switch as the tables of its pipeline see it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from flows import budgets, ways
from flows.memo import remember_last
from flows.network import Network
from flows.openflow import (
    BACK,
    BACK_AS_PORTS_NEED,
    TO_NOBODY,
    Action,
    Flow,
    GotoTable,
    Output,
    PopVlan,
    Through,
    flow,
    oxm,
)
from flows.overlays import Segment
from flows.parties import Candidate, Domain, Holder, Located, Place
from flows.proxy import Rules
from flows.trust import Mode
from flows.view import (
    IPAddress,
    Port,
    PortKey,
    Sponge,
    SpongeKey,
    StationKey,
    View,
)
from flows.vlans import (
    Copies,
    Membership,
    copies,
    in_words,
    membership_at,
    prefixes,
    shown,
)

TAGGED = "0x1000/0x1000"  # OFPVID_PRESENT, OpenFlow 1.3, 7.2.3.7: POP_VLAN needs it

# Registers, by name.  Open vSwitch starts each packet with all of them zero.
KNOWN = "reg0"  # 1: the source is where it is known to be, or came over the fabric
DOMAIN = "reg1"  # VLAN identifier of the bridge domain, 0 for untagged
KIND = "reg15"  # of a packet that the controller is told of: flows.budgets.Budget
GUARDED = "reg2"  # 1: it came in by a port that is watched, 2: that is enforced on
SIDE = "reg3"  # 0: free to go; which rule holds it back (flows.side)

ANSWERS = "side"  # the first table of those that answer: where guards let pass to


@dataclass(frozen=True)
class Switch:
    """A switch and the conclusions that concern it."""

    datapath_id: int
    view: View
    network: Network

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        return ports_of(self.view).get(self.datapath_id, ())

    @cached_property
    def island(self) -> int:
        return self.network.domain(self.datapath_id, 0).island

    @cached_property
    def admitted(self) -> tuple[int, ...]:
        """port_no of the ports of which it is known what they lead to, and that this
        is not back to us."""
        unknown = self.network.unknown | self.network.held
        loops = self.network.loops
        return tuple(
            port.port_no
            for port in self.ports
            if port.key not in unknown and port.key not in loops
        )

    @cached_property
    def loops(self) -> tuple[int, ...]:
        """port_no of the ports that lead back to others of ours."""
        loops = self.network.loops
        return tuple(port.port_no for port in self.ports if port.key in loops)

    @cached_property
    def held(self) -> tuple[int, ...]:
        """port_no of the ports that are being tried, and are no loop so far."""
        held = self.network.held - self.network.unknown - self.network.loops.keys()
        return tuple(port.port_no for port in self.ports if port.key in held)

    @cached_property
    def cables(self) -> tuple[tuple[PortKey, PortKey], ...]:
        """Its ports to other switches of ours, up or down, with the far ends."""
        return cables_by_switch(self.network.fabric.uplinks).get(self.datapath_id, ())

    @cached_property
    def uplinks(self) -> tuple[int, ...]:
        """port_no of these ports."""
        return tuple(port.port_no for port, _ in self.cables)

    @cached_property
    def far(self) -> tuple[Port | None, ...]:
        """Ports of others that its cables lead to."""
        return tuple(self.view.ports.get(end) for _, end in self.cables)

    @cached_property
    def flooded(self) -> tuple[object, ...]:
        """Which of its ports are up, and which of them are on the broadcast tree, with
        the ends of overlays that are."""
        tree = self.network.tree
        rows = tuple((port.up, port.key in tree) for port in self.ports)
        return (*rows, self.overlaid)

    @cached_property
    def shared(self) -> tuple[object, ...]:
        """What is known of the overlays that its ports are ends of."""
        found = (self.segment(port_no) for port_no in self.uplinks)
        return tuple(
            (s.name, s.vni, *s.ends.items(), *s.led) for s in found if s is not None
        )

    @cached_property
    def edges(self) -> tuple[int, ...]:
        """port_no of all other ports that are admitted."""
        uplinks = {*self.uplinks}
        return tuple(port_no for port_no in self.admitted if port_no not in uplinks)

    @cached_property
    def has_meters(self) -> bool:
        return budgets.has_meters(self.view, self.datapath_id)

    @property
    def sponges(self) -> tuple[Sponge, ...]:
        return sponges_by_switch(self.view.sponges).get(self.datapath_id, ())

    @cached_property
    def full_ports(self) -> tuple[int, ...]:
        full = self.network.full
        return tuple(port.port_no for port in self.ports if port.key in full)

    @cached_property
    def guarded(self) -> tuple[tuple[Port, Mode], ...]:
        """Ports where more is done than to learn."""
        modes = self.network.trust.modes
        if not modes:
            return ()
        found = (port for port in self.ports if port.key in modes)
        return tuple((p, modes[p.key]) for p in found if p.port_no not in self.uplinks)

    @cached_property
    def levels(self) -> tuple[Mode, ...]:
        """The modes that ports of this switch are guarded with."""
        return tuple(sorted({mode for _, mode in self.guarded}))

    @cached_property
    def rules(self) -> Rules:
        """How questions are answered here, if not as everywhere."""
        return self.network.rules_at(self.datapath_id)

    @property
    def stations(self) -> tuple[Located, ...]:
        """Every station that this switch can reach."""
        return stations_by_island(self.network.located).get(self.island, ())

    @property
    def holders(self) -> tuple[Holder, ...]:
        return holders_by_island(self.network.holders).get(self.island, ())

    def membership(self, port: PortKey) -> Membership:
        """Of which VLANs a port is."""
        return membership_at(self.network.vlans, port)

    def copied(
        self,
        table: int,
        priority: int,
        ports: tuple[Port, ...],
        note: str,
        **at: object,
    ) -> Iterator[Flow]:
        """Flows that copy a frame to those of the ports that are of its VLAN: one, and
        as many more as there are kinds of VLANs that some ports are of and some not."""
        rows = tuple((port.port_no, self.membership(port.key)) for port in ports)
        most, *others = copies(rows)
        yield flow(table, priority, oxm(**at), *self.copying(most), note=note)
        for some in others:
            tag = {"vlan_vid": TAGGED} if some.stripped else {}
            for prefix in prefixes(some.vlans):
                match = oxm(**at, **tag, **{DOMAIN: shown(prefix)})
                of_vlan = f"VLAN {in_words(some.vlans)}: {note}"
                yield flow(
                    table, priority + 1, match, *self.copying(some), note=of_vlan
                )

    def copying(self, some: Copies) -> Iterator[Action]:
        """One copy for each port, then of an end of an overlay for each other end; the
        tag is taken off for those that come last.

        A port that nobody leads anywhere may be a tunnel as well: it must not send to
        where a copy before was led, nor to where the frame itself has come to.
        """
        nowhere = TO_NOBODY if self.overlaid else ()
        yield from nowhere
        yield from (Output(p) for p in some.tagged if p not in self.overlaid)
        for port_no in some.tagged:
            yield from self.overlaid.get(port_no, ())
        if some.stripped:
            yield from nowhere
            yield PopVlan()
            yield from map(Output, some.stripped)

    @cached_property
    def overlaid(self) -> Mapping[int, tuple[Output | Through, ...]]:
        """What copies a frame to all other ends of an overlay that take broadcasts: of
        a device of the kernel it makes the copies."""
        found: dict[int, tuple[Output | Through, ...]] = {}
        for port_no in self.uplinks:
            segment, key = self.segment(port_no), PortKey(self.datapath_id, port_no)
            if segment is None:
                continue
            others = tuple(
                Through(port_no, segment.vni, address)
                for end, address in segment.others(key)
                if end in self.network.fabric.tree
            )
            is_led = key in segment.led
            found[port_no] = (Output(port_no),) if is_led and others else others
        return found

    def segment(self, port_no: int) -> Segment | None:
        """The overlay that a port is an end of."""
        return self.network.fabric.segment(PortKey(self.datapath_id, port_no))

    def back(self, vlan: int | None) -> Action:
        """What sends an answer back by the port of its question; None is any VLAN."""
        return back(self.network, self.datapath_id, vlan)

    def here(self, port: PortKey) -> bool:
        return port.datapath_id == self.datapath_id

    def towards(self, where: Located) -> ways.Exit | None:
        """How a frame leaves for a station; None if there is no way."""
        if self.here(where.port):
            return Output(where.port.port_no)
        return self.exit_to(where.key)

    def is_new_here(self, where: Located) -> bool:
        return bool(self.view.fresh) and self.is_new(where.key)

    def is_new(self, key: StationKey) -> bool:
        """Not all who may send a frame for it here know of it yet."""
        row = self.view.fresh.get(key)
        return row is not None and self.datapath_id not in row.known

    def exit_to(self, key: StationKey) -> ways.Exit | None:
        """How a frame leaves for a station at another switch."""
        exits = self.branches if self.is_new(key) else self.exits
        return exits.get(key.datapath_id)

    @cached_property
    def exits(self) -> Mapping[int, ways.Exit]:
        """How a frame leaves for each other switch."""
        return ways.actions(self.network.ways).get(self.datapath_id, {})

    @cached_property
    def branches(self) -> Mapping[int, ways.Exit]:
        """Likewise, along the broadcast tree."""
        return ways.tree_actions(self.network.branches).get(self.datapath_id, {})

    def candidates_here(self, holder: Holder) -> Iterator[Candidate]:
        """Everyone at a port of this switch who holds, or says it holds, an address."""
        return (c for c in holder.candidates if self.here(c.port))


def prepared(known: Network, at: PortKey, vlan: int) -> tuple[Action, ...]:
    """What a port needs before a frame of this VLAN leaves by it."""
    return (PopVlan(),) if membership_at(known.vlans, at).strips(vlan) else ()


def back(known: Network, datapath_id: int, vlan: int | None) -> Action:
    """Directly, where no port of the switch is told this VLAN without a tag."""
    stripped = known.stripped(datapath_id)
    is_stripped = bool(stripped) if vlan is None else vlan in stripped
    return BACK_AS_PORTS_NEED if is_stripped else BACK


SPECIFIC = 10  # so much more counts a rule for one VLAN than one for every VLAN


def vlan_match(vlan: int | None) -> tuple[dict[str, object], int]:
    """Match fields of a rule's VLAN, and how much more its flows count."""
    return ({}, 0) if vlan is None else ({DOMAIN: vlan}, SPECIFIC)


@dataclass(frozen=True)
class Here:
    """Where a table stands: its own table_id, and later tables by name.

    OpenFlow goes forward only, so a table cannot name an earlier one.
    """

    table_id: int
    later: Mapping[str, int]

    def goto(self, name: str) -> GotoTable:
        if name not in self.later:
            raise ValueError(
                f"table {self.table_id} cannot go to {name!r};"
                f" the tables after it are {', '.join(self.later) or 'none'}"
            )
        return GotoTable(self.later[name])


def ports_of(view: View) -> Mapping[int, tuple[Port, ...]]:
    return ports_by_switch(view.ports)


@remember_last
def ports_by_switch(ports: Mapping[PortKey, Port]) -> Mapping[int, tuple[Port, ...]]:
    grouped: dict[int, list[Port]] = {}
    for key in sorted(ports):
        grouped.setdefault(key.datapath_id, []).append(ports[key])
    return {datapath_id: tuple(rows) for datapath_id, rows in grouped.items()}


@remember_last
def cables_by_switch(
    uplinks: Mapping[PortKey, PortKey],
) -> Mapping[int, tuple[tuple[PortKey, PortKey], ...]]:
    grouped: dict[int, list[tuple[PortKey, PortKey]]] = {}
    for port, end in sorted(uplinks.items()):
        grouped.setdefault(port.datapath_id, []).append((port, end))
    return {datapath_id: tuple(rows) for datapath_id, rows in grouped.items()}


@remember_last
def sponges_by_switch(
    sponges: Mapping[SpongeKey, Sponge],
) -> Mapping[int, tuple[Sponge, ...]]:
    grouped: dict[int, list[Sponge]] = {}
    for row in sponges.values():
        grouped.setdefault(row.datapath_id, []).append(row)
    return {datapath_id: tuple(rows) for datapath_id, rows in grouped.items()}


@remember_last
def stations_by_island(
    located: Mapping[Place, Located],
) -> Mapping[int, tuple[Located, ...]]:
    grouped: dict[int, list[Located]] = {}
    for where in located.values():
        grouped.setdefault(where.domain.island, []).append(where)
    return {island: tuple(rows) for island, rows in grouped.items()}


@remember_last
def holders_by_island(
    holders: Mapping[tuple[Domain, IPAddress], Holder],
) -> Mapping[int, tuple[Holder, ...]]:
    grouped: dict[int, list[Holder]] = {}
    for holder in holders.values():
        grouped.setdefault(holder.domain.island, []).append(holder)
    return {island: tuple(rows) for island, rows in grouped.items()}
