"""The OpenFlow edge: the only module that knows Ryu.

Handlers translate and pass on; they decide nothing.  Messages to a switch are octets
that `flows.wire` has made, and its answers about flows are read by it, so that of Ryu
only the channel, the handshake and the dispatching are used.
"""

from __future__ import annotations

import os
import random
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

from ryu import cfg
from ryu.base.app_manager import RyuApp
from ryu.controller import ofp_event
from ryu.controller.handler import DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from ryu.lib import hub
from ryu.ofproto import ofproto_v1_3 as ofp

from controller import garbage, options
from controller.commands import (
    ChangeFlows,
    Command,
    CountFlows,
    CountHits,
    CountMeters,
    HoldQuestion,
    ListFlows,
    SendPacket,
    TryPort,
)
from controller.config import Config, ConfigError, load
from controller.events import (
    ArpSeen,
    Binding,
    ChangeDone,
    ChangeFailed,
    FlowsCounted,
    FlowsListed,
    HitsCounted,
    MetersCounted,
    NdSeen,
    PortChanged,
    PortGone,
    SwitchGone,
    SwitchReady,
    TargetUnknown,
)
from controller.packets import parse
from controller.reconcile import Plan
from controller.runtime import PIECE, Runtime
from controller.sources import openflow_channel, openflow_check, openflow_memory
from flows import unknown, wire, wire_groups, wire_meters
from flows.openflow import (
    FLOOD,
    OWNER,
    OWNER_MASK,
    GotoTable,
    Group,
    Meter,
    Output,
    Resubmit,
)
from flows.pipeline import TABLE_IDS
from flows.view import IPAddress, Port

OWED = 4096  # answers about flows that one switch may owe us
MULTIPART_HEADER = 16  # octets before the body of a multipart reply (7.3.5)
METERS = (
    openflow_check.METER,
    openflow_check.METER_CONFIG,
    openflow_check.METER_FEATURES,
)
FLOODED = Resubmit(TABLE_IDS["flood"])  # OFPP_FLOOD knows no VLANs, and no tree


@dataclass(slots=True)
class Listing:
    """What a switch has told of its flows so far.

    packets  that they have counted
    """

    cookies: set[int] = field(default_factory=set)
    bindings: list[Binding] = field(default_factory=list)
    packets: int = 0
    read: openflow_memory.Reader = field(default_factory=openflow_memory.Reader)

    def take(self, body: bytes, *, is_count: bool) -> None:
        """A part of the list.  Raises `wire.Malformed`."""
        if is_count:
            self.packets += sum(one.packet_count for one in wire.flow_stats(body))
            return
        cookies, bindings = wire.listed(body, openflow_memory.MEMORIES, self.read)
        self.cookies.update(cookies)
        self.bindings += bindings


@dataclass(slots=True)
class Switch:
    """A connected switch and the answers that it owes us.

    bundles  False once it has refused a bundle: then changes go message by message
    changes  xid -> what it refused of that change, "" so far
    barriers xid of a barrier -> xid of the change before it
    listing  flows read so far, of an answer that comes in several messages
    hits     xid -> cookies that were asked for
    meters   those listed so far, before the flows that use them
    groups   likewise
    greatest meter_id that the switch can have; 0 if it has no meters for us
    dropped  by meters, of an answer that comes in several messages
    """

    datapath: Any
    bundles: bool = True
    changes: dict[int, str] = field(default_factory=dict)
    barriers: dict[int, int] = field(default_factory=dict)
    listings: dict[int, Listing] = field(default_factory=dict)
    hits: dict[int, int] = field(default_factory=dict)
    meters: list[Meter] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    greatest: int = 0
    dropped: list[tuple[int, int]] = field(default_factory=list)

    def expect(self, xid: int, cookie: int | None = None) -> None:
        """An answer about flows.  A switch that owes too many gets the oldest free."""
        self.listings[xid] = Listing()
        if cookie is not None:
            self.hits[xid] = cookie
        if len(self.listings) > OWED:
            self.forget(next(iter(self.listings)))

    def forget(self, xid: int) -> None:
        self.listings.pop(xid, None)
        self.hits.pop(xid, None)

    def send(self, messages: Iterable[bytes]) -> None:
        """In pieces: a switch whose echo requests wait too long closes the channel."""
        for number, piece in enumerate(pieces(messages)):
            if number:
                hub.sleep(0)
            if not self.datapath.send(piece):
                return


def pieces(messages: Iterable[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for message in messages:
        if piece and len(piece) + len(message) > PIECE:
            yield bytes(piece)
            piece.clear()
        piece += message
    if piece:
        yield bytes(piece)


def interrupts(main: Any) -> Callable[[int, Any], None]:
    """A signal handler that ends Ryu's main loop, wherever the signal arrives.

    KeyboardInterrupt raised in any other greenlet would end that one, and Ryu would
    log it and go on: a controller without its consumer.
    """

    def handler(_number: int, _frame: Any) -> None:
        loop = hub.eventlet.hubs.get_hub()
        if hub.getcurrent() in (main, loop.greenlet):
            raise KeyboardInterrupt
        loop.schedule_call_global(0, main.throw, KeyboardInterrupt)

    return handler


class OpenFlowChannel(RyuApp):  # type: ignore[misc]
    """The Ryu application.  `controller.app` gives it the name that Ryu loads."""

    OFP_VERSIONS: ClassVar = [ofp.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        options.register()
        conf = cfg.CONF
        port = conf.ofp_tcp_listen_port or options.OPENFLOW_PORT
        refuse_if_taken(conf.ofp_listen_host, port)
        self.switches: dict[int, Switch] = {}
        self._xid = random.randrange(1 << 31)
        self._consumer: Any = None
        self._local: openflow_channel.LocalListener | None = None
        self.runtime = Runtime(
            configuration(conf.isat_config),
            listening=port,
            socket_path=conf.isat_socket,
            perform=self.perform,
        )
        openflow_channel.install(
            {
                (openflow_check.PACKET_IN, 0): self.on_packet_in,
                (openflow_check.BARRIER_REPLY, 0): self.on_barrier,
                (openflow_check.ERROR, 0): self.on_error,
                (
                    openflow_check.MULTIPART_REPLY,
                    openflow_check.FLOW,
                ): self.on_flow_stats,
                **{
                    (openflow_check.MULTIPART_REPLY, part): self.on_meters
                    for part in METERS
                },
                (
                    openflow_check.MULTIPART_REPLY,
                    openflow_check.GROUP_DESC,
                ): self.on_groups,
            },
            self.runtime.answer_at_once,
        )
        self.runtime.refused = openflow_channel.refused
        self.runtime.unsent = openflow_channel.unsent

    def start(self) -> Any:
        thread = super().start()
        garbage.install()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, interrupts(hub.getcurrent()))
        path = self.runtime.config.openflow
        try:
            self.runtime.start()
            if path:
                self._local = openflow_channel.LocalListener(path)
        except OSError as error:
            raise SystemExit(f"isat: {error}") from None
        if self._local is not None:
            hub.spawn(self._local.serve_forever)
        self._consumer = hub.spawn(self.runtime.run)
        return thread

    def stop(self) -> None:
        if self._local is not None:
            self._local.stop()
        self.runtime.stop()
        if self._consumer is not None:
            hub.kill(self._consumer)  # Ryu would wait for it to return
        super().stop()

    # --- what switches say ----------------------------------------------------------

    @set_ev_cls(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])  # type: ignore[untyped-decorator]
    def on_state(self, ev: Any) -> None:
        datapath = ev.datapath
        known = self.switches.get(datapath.id)
        if ev.state == MAIN_DISPATCHER:
            self.switches[datapath.id] = Switch(datapath)
            ports = tuple(port_of(datapath.id, p) for p in datapath.ports.values())
            self.runtime.report(SwitchReady(datapath.id, ports))
        elif known is not None and known.datapath is datapath:
            del self.switches[datapath.id]
            self.runtime.report(SwitchGone(datapath.id))

    @set_ev_cls(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def on_port_status(self, ev: Any) -> None:
        datapath_id, port = ev.msg.datapath.id, ev.msg.desc
        if ev.msg.reason == ofp.OFPPR_DELETE:
            self.runtime.report(PortGone(datapath_id, port.port_no))
        else:
            self.runtime.report(PortChanged(port_of(datapath_id, port)))

    def on_packet_in(self, datapath: Any, message: bytes) -> None:
        """Only what our own flows sent: other applications may ask for packets, too."""
        cookie, in_port, data = wire.packet_in(message)
        if cookie >> 48 != OWNER:
            return
        packet = parse(datapath.id, in_port, data)
        if wire.packet_in_table(message) != TABLE_IDS["unknown"]:
            if isinstance(packet, ArpSeen | NdSeen):
                self.runtime.report_question(message, packet)
            else:
                self.runtime.report(packet)
        elif isinstance(packet, ArpSeen | NdSeen):
            self.runtime.report(TargetUnknown(packet))

    def on_meters(self, datapath: Any, message: bytes) -> None:
        """What meters there can be, are, or have dropped."""
        switch = self.switches.get(datapath.id)
        if switch is None:
            return
        try:
            self._take_meters(switch, message)
        except wire.Malformed as error:
            why = f"a malformed answer about meters: {error}"
            self.runtime.report(ChangeFailed(datapath.id, why))

    def _take_meters(self, switch: Switch, message: bytes) -> None:
        body = message[MULTIPART_HEADER:]
        _, flags = wire.multipart_header(message)
        match wire.multipart_kind(message):
            case openflow_check.METER_FEATURES:
                able = wire_meters.features(body)
                switch.greatest = able.greatest if able.can_drop_packets else 0
            case openflow_check.METER_CONFIG:
                switch.meters += wire_meters.configs(body)
            case openflow_check.METER:
                counts = wire_meters.counts(body)
                switch.dropped += ((one.meter_id, one.dropped) for one in counts)
                if not flags & ofp.OFPMPF_REPLY_MORE:
                    told, switch.dropped = tuple(switch.dropped), []
                    self.runtime.report(MetersCounted(switch.datapath.id, told))

    def on_groups(self, datapath: Any, message: bytes) -> None:
        switch = self.switches.get(datapath.id)
        if switch is None:
            return
        try:
            switch.groups += wire_groups.descs(message[MULTIPART_HEADER:])
        except wire.Malformed as error:
            why = f"a malformed list of groups: {error}"
            self.runtime.report(ChangeFailed(datapath.id, why))

    def on_flow_stats(self, datapath: Any, message: bytes) -> None:
        xid, flags = wire.multipart_header(message)
        switch = self.switches.get(datapath.id)
        if switch is None or xid not in switch.listings:
            return
        told = switch.listings[xid]
        try:
            told.take(message[MULTIPART_HEADER:], is_count=xid in switch.hits)
        except wire.Malformed as error:
            switch.forget(xid)
            why = f"a malformed list of flows: {error}"
            self.runtime.report(ChangeFailed(datapath.id, why))
            return
        if not flags & ofp.OFPMPF_REPLY_MORE:
            self._listed(switch, xid, switch.listings.pop(xid))

    def _listed(self, switch: Switch, xid: int, told: Listing) -> None:
        datapath_id = switch.datapath.id
        cookie = switch.hits.pop(xid, None)
        if cookie is not None:
            self.runtime.report(HitsCounted(datapath_id, ((cookie, told.packets),)))
            return
        cookies, bindings = frozenset(told.cookies), tuple(told.bindings)
        meters, switch.meters = tuple(switch.meters), []
        groups, switch.groups = tuple(switch.groups), []
        self.runtime.report(
            FlowsListed(datapath_id, cookies, bindings, switch.greatest, meters, groups)
        )

    @set_ev_cls(ofp_event.EventOFPAggregateStatsReply, MAIN_DISPATCHER)  # type: ignore[untyped-decorator]
    def on_aggregate(self, ev: Any) -> None:
        self.runtime.report(FlowsCounted(ev.msg.datapath.id, ev.msg.body.flow_count))

    def on_barrier(self, datapath: Any, message: bytes) -> None:
        datapath_id = datapath.id
        switch = self.switches.get(datapath_id)
        change = switch.barriers.pop(wire.xid_of(message), None) if switch else None
        if switch is None or change is None:
            return
        refused = switch.changes.pop(change, "")
        if refused:
            self.runtime.report(ChangeFailed(datapath_id, refused))
        else:
            self.runtime.report(ChangeDone(datapath_id))

    def on_error(self, datapath: Any, message: bytes) -> None:
        """What a switch refuses it says before it answers the barrier that follows."""
        switch, xid = self.switches.get(datapath.id), wire.xid_of(message)
        if switch is not None and xid in switch.changes:
            error = wire.refusal(message)
            switch.changes[xid] = switch.changes[xid] or error_name(error)
            switch.bundles = switch.bundles and not lacks_bundles(error)

    # --- what the core wants --------------------------------------------------------

    def perform(self, command: Command) -> None:
        switch = self.switches.get(getattr(command, "datapath_id", -1))
        if switch is None:
            return  # it is gone, which the core is told by SwitchGone
        match command:
            case ChangeFlows(_, plan):
                self._change(switch, plan)
            case ListFlows():
                self._list(switch)
            case CountFlows():
                request = wire.aggregate_stats_request(
                    OWNER << 48, OWNER_MASK, xid=self._next_xid()
                )
                switch.send([request])
            case CountMeters():
                switch.dropped = []
                switch.send([wire_meters.stats_request(self._next_xid())])
            case HoldQuestion(_, vlan, ip):
                switch.send(hold(vlan, ip))
            case CountHits(_, cookies):
                switch.send(self._count(switch, cookie) for cookie in cookies)
            case TryPort(_, port_no, data):
                switch.send([wire.packet_out(data, Output(port_no))])
            case SendPacket(_, port_no, data, besides, before):
                out = FLOODED if port_no == FLOOD else Output(port_no)
                switch.send([wire.packet_out(data, *before, out, in_port=besides)])

    def _list(self, switch: Switch) -> None:
        """In this order: it answers in the same, or refuses to speak of meters."""
        switch.meters, switch.groups, switch.greatest = [], [], 0
        xid = self._next_xid()
        switch.expect(xid)
        switch.send(
            [
                wire_meters.features_request(self._next_xid()),
                wire_meters.config_request(self._next_xid()),
                wire_groups.desc_request(self._next_xid()),
                wire.flow_stats_request(OWNER << 48, OWNER_MASK, xid=xid),
            ]
        )

    def _count(self, switch: Switch, cookie: int) -> bytes:
        xid = self._next_xid()
        switch.expect(xid, cookie)
        return wire.flow_stats_request(cookie, xid=xid)

    def _change(self, switch: Switch, plan: Plan) -> None:
        """All of it or nothing, as far as Open vSwitch can read it: a message that it
        cannot decode is refused by itself, and reported all the same."""
        xid, barrier = self._next_xid(), self._next_xid()
        switch.changes[xid], switch.barriers[barrier] = "", xid
        try:
            switch.send(self._messages(switch, plan, xid, barrier))
        except wire.TooLong as error:
            del switch.changes[xid], switch.barriers[barrier]
            if switch.bundles:
                switch.send([wire.discard(xid, xid=xid)])
            refused = ChangeFailed(switch.datapath.id, str(error))
            hub.spawn(self.runtime.report, refused)  # which may wait for this thread

    def _messages(
        self, switch: Switch, plan: Plan, xid: int, barrier: int
    ) -> Iterator[bytes]:
        """Octets are made as they are sent, so that the switch reads meanwhile."""
        before, messages, after = messages_of(plan)
        yield from (wire.with_xid(message, xid) for message in before)
        if switch.bundles:
            yield from wire.bundle(xid, messages, xid=xid)
        else:
            yield from (wire.with_xid(message, xid) for message in messages)
        yield from (wire.with_xid(message, xid) for message in after)
        yield wire.barrier_request(barrier)

    def _next_xid(self) -> int:
        self._xid = (self._xid + 1) & 0x7FFFFFFF or 1
        return self._xid


def messages_of(plan: Plan) -> tuple[list[bytes], Iterator[bytes], list[bytes]]:
    """New before old, so that there is never a gap: what flows need, the flows, and
    what none of them uses any more.  Meters stand apart: no bundle takes them."""
    meters, groups = plan.meters, plan.groups
    before = [
        *map(wire_meters.add_meter, meters.add),
        *map(wire_meters.modify_meter, meters.modify),
    ]
    flows = chain(
        map(wire_groups.put_group, groups.put),
        map(wire.flow_mod, plan.add),
        map(wire.delete_by_cookie, plan.delete),
        map(wire_groups.delete_group, groups.delete),
    )
    return before, flows, [*map(wire_meters.delete_meter, meters.delete)]


def hold(vlan: int, ip: IPAddress) -> Iterator[bytes]:
    """Flows that are gone in a second, and no part of what the switch should hold."""
    onward = GotoTable(TABLE_IDS["forward"])
    for flow in unknown.held(TABLE_IDS["unknown"], vlan, ip, onward):
        yield wire.flow_mod(flow, cookie=flow.fleeting_cookie)


# --- translations -------------------------------------------------------------------


def port_of(datapath_id: int, port: Any) -> Port:
    """ofp_port, OpenFlow 1.3, 7.2.1."""
    down = port.config & ofp.OFPPC_PORT_DOWN or port.state & ofp.OFPPS_LINK_DOWN
    name = port.name
    if isinstance(name, bytes):
        name = name.decode(errors="surrogateescape")
    return Port(datapath_id, port.port_no, name, port.hw_addr, not down)


def error_name(error: wire.Refusal) -> str:
    if error.kind == ofp.OFPET_EXPERIMENTER:
        return f"experimenter {error.experimenter:#x} type {error.code}"
    return str(ofp.ofp_error_code_to_str(error.kind, error.code))


def lacks_bundles(error: wire.Refusal) -> bool:
    """The switch does not know the extension at all, rather than one flow."""
    return bool(
        error.kind == ofp.OFPET_BAD_REQUEST
        and error.code in (ofp.OFPBRC_BAD_EXPERIMENTER, ofp.OFPBRC_BAD_EXP_TYPE)
    )


# --- starting -----------------------------------------------------------------------


def configuration(path: str | None) -> Config:
    """The policy file.  A mistake in it ends the start, before anything is changed."""
    if not path:
        return Config()
    try:
        return load(path)
    except ConfigError as error:
        os.write(2, f"isat: {error}\n".encode(errors="backslashreplace"))
        raise SystemExit(4) from None


def refuse_if_taken(host: str, port: int) -> None:
    """Eventlet listens with SO_REUSEPORT, and two controllers would share the switches
    between them without a word.  So look before Ryu listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SystemExit(
                f"isat: cannot listen on {host}:{port}: {error.strerror};"
                f" another controller? See `ss -ltnp sport = :{port}`,"
                f" or choose another port with --ofp-tcp-listen-port"
            ) from None
