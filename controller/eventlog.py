"""One line per decision: what was taken in, and what is done about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields

from controller.commands import (
    AdoptBridge,
    ChangeFlows,
    Command,
    CountFlows,
    CountHits,
    CountMeters,
    HealPort,
    HoldQuestion,
    ListFlows,
    SendPacket,
    SetForwarding,
    TellConflict,
    TellLimit,
    TellNews,
    TryPort,
)
from controller.events import (
    ArpSeen,
    BridgeAdopted,
    BridgeRefused,
    BridgeReleased,
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    Event,
    FlowsCounted,
    FlowsListed,
    ForwardingSet,
    FrameSeen,
    HitsCounted,
    KernelChanged,
    KernelLost,
    KernelSynced,
    MetersCounted,
    NdSeen,
    OvsdbLost,
    PortChanged,
    PortGone,
    SwitchGone,
    SwitchReady,
    TargetUnknown,
    TrialSeen,
)
from controller.text import safe
from flows.openflow import FLOOD

AT_MOST = 4  # events of one line that are told in full
QUIET = (
    CountFlows,
    CountHits,
    CountMeters,
    HoldQuestion,
    SetForwarding,
    TryPort,
)  # routine that nobody needs to read
ROUTINE = (ChangeDone, FlowsCounted, HitsCounted, MetersCounted)
ALWAYS = (  # told even if nothing follows from them
    SwitchReady,
    SwitchGone,
    FlowsListed,
    KernelLost,
    OvsdbLost,
    ChangeFailed,
    BridgeAdopted,
    BridgeRefused,
    BridgeReleased,
)


def line(events: Sequence[Event], commands: Sequence[Command]) -> str:
    """ "event; event -> command, command", or "" if there is nothing worth a line."""
    told = [command for command in commands if not isinstance(command, QUIET)]
    if not told and not any(isinstance(event, ALWAYS) for event in events):
        return ""
    causes = summary(event for event in events if not is_routine(event))
    return f"{causes or 'time'} -> {', '.join(map(consequence, told)) or 'nothing'}"


def is_routine(event: Event) -> bool:
    return isinstance(event, ROUTINE)


def summary(events: Iterable[Event]) -> str:
    told = list(events)
    if len(told) <= AT_MOST:
        return "; ".join(map(cause, told))
    kinds = Counter(type(event).__name__ for event in told)
    return "; ".join(f"{count} x {name}" for name, count in kinds.items())


def cause(event: Event) -> str:
    match event:
        case ArpSeen():
            at = f"{switch(event.datapath_id)}:{event.in_port}"
            if event.op == 1:
                return f"{event.spa} ({event.sha}, {at}) asks who has {event.tpa}"
            return f"{event.spa} is-at {event.sha} ({at})"
        case NdSeen():
            return neighbor_discovery(event)
        case TargetUnknown(asked):
            return f"{cause(asked)}, which nobody is known to hold"
        case FrameSeen():
            at = f"{switch(event.datapath_id)}:{event.in_port}"
            return f"new station {event.eth_src} ({at})"
        case TrialSeen():
            at = f"{switch(event.datapath_id)}:{event.in_port}"
            return f"a trial of a port has come in ({at})"
        case SwitchReady():
            return f"switch {switch(event.datapath_id)} is connected"
        case SwitchGone():
            return f"switch {switch(event.datapath_id)} is disconnected"
        case FlowsListed():
            return f"{switch(event.datapath_id)} has {len(event.cookies)} flows of ours"
        case PortChanged(port):
            state = "up" if port.up else "down"
            return f"{switch(port.datapath_id)}:{port.port_no} {port.ifname!a} {state}"
        case ForwardingSet(device, wanted, right):
            return f"{right} of {wanted} fdb entries of {device!a} are right"
        case PortGone():
            return f"{switch(event.datapath_id)}:{event.port_no} gone"
        case KernelSynced():
            return f"kernel: {len(event.facts)} facts"
        case KernelChanged():
            return f"kernel: {len(event.changes)} changes"
        case BridgesSeen():
            return f"OVSDB: {len(event.bridges)} bridges"
        case _:
            values = ", ".join(safe(str(getattr(event, f.name))) for f in fields(event))
            return f"{type(event).__name__}({values})"


def neighbor_discovery(heard: NdSeen) -> str:
    at = f"{switch(heard.datapath_id)}:{heard.in_port}"
    if not heard.is_question:
        return f"{heard.target} is-at {heard.eth_src} ({at})"
    return f"{heard.src} ({heard.eth_src}, {at}) solicits {heard.target}"


def consequence(command: Command) -> str:
    match command:
        case ChangeFlows(datapath_id, plan):
            flows = f"+{len(plan.add)} -{len(plan.delete)} flows"
            meters = f", +{len(plan.meters.add)} -{len(plan.meters.delete)} meters"
            groups = f", +{len(plan.groups.put)} -{len(plan.groups.delete)} groups"
            also = (meters if plan.meters else "") + (groups if plan.groups else "")
            return f"{switch(datapath_id)} {flows}{also}"
        case ListFlows(datapath_id):
            return f"list {switch(datapath_id)}"
        case SendPacket(datapath_id, port_no) if port_no == FLOOD:
            return f"announce at all ports of {switch(datapath_id)}"
        case SendPacket(datapath_id, port_no):
            return f"send to {switch(datapath_id)}:{port_no}"
        case AdoptBridge(name):
            return f"adopt {name!a}"
        case HealPort(bridge, ifname):
            return f"heal {bridge!a} {ifname!a}"
        case TellLimit(text):
            return f"limit: {safe(text)}"
        case TellConflict(text):
            return f"conflict: {safe(text)}"
        case TellNews(text):
            return safe(text)
        case _:
            return type(command).__name__


def switch(datapath_id: int) -> str:
    """As Mininet's users know it: s1 is 1; a hardware address stays hexadecimal."""
    return f"{datapath_id:x}"
