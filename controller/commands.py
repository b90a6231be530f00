"""What the core asks the edges to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.reconcile import Plan
from flows.openflow import CONTROLLER, Action
from flows.view import IPAddress


@dataclass(frozen=True, slots=True)
class ListFlows:
    """Ask the switch which meters and groups it has, and which flows of ours
    (OFPMP_METER_CONFIG, OFPMP_GROUP_DESC, and OFPMP_FLOW with our cookie mask)."""

    datapath_id: int


@dataclass(frozen=True, slots=True)
class CountFlows:
    """Ask the switch how many flows of ours it holds (OFPMP_AGGREGATE)."""

    datapath_id: int


@dataclass(frozen=True, slots=True)
class CountMeters:
    """Ask the switch what its meters have dropped (OFPMP_METER)."""

    datapath_id: int


@dataclass(frozen=True, slots=True)
class CountHits:
    """Ask the switch for packet_count of these flows."""

    datapath_id: int
    cookies: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChangeFlows:
    """Apply a plan to one switch, all of it or nothing, and report the outcome."""

    datapath_id: int
    plan: Plan


@dataclass(frozen=True, slots=True)
class SendPacket:
    """OFPT_PACKET_OUT of a frame that the core has made, out of one port.

    besides  if it is flooded: the port that it does not leave by, as if it had come in
             there
    before   what the switch does first: a frame is made with the tag of its VLAN
    """

    datapath_id: int
    port_no: int
    data: bytes
    besides: int = CONTROLLER
    before: tuple[Action, ...] = ()


@dataclass(frozen=True, slots=True)
class TryPort:
    """OFPT_PACKET_OUT of a frame that shows whether a port leads back to us."""

    datapath_id: int
    port_no: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HoldQuestion:
    """For a second, let no further question for this address go out of one switch."""

    datapath_id: int
    vlan: int
    ip: IPAddress


@dataclass(frozen=True, slots=True)
class AdoptBridge:
    """Set in OVSDB what this bridge needs to be controlled safely."""

    name: str


@dataclass(frozen=True, slots=True)
class HealPort:
    """Make ovs-vswitchd open a port's interface again, which was re-created."""

    bridge: str
    ifname: str


@dataclass(frozen=True, slots=True)
class SetForwarding:
    """Have a VXLAN device of the kernel send frames there, and nowhere else: what is
    not in `ways` goes.

    ways  lladdr of a station to the underlay address of an end, and ANYBODY's to those
          of all that a broadcast is for
    """

    device: str
    ways: Mapping[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class TellConflict:
    """A line for the log: who contradicts what is known.  Nothing else is done."""

    text: str


@dataclass(frozen=True, slots=True)
class TellNews:
    """A line for the log: who no longer answers, what is settled for whom."""

    text: str


@dataclass(frozen=True, slots=True)
class TellLimit:
    """A line for the log: a port that sends more than its budget, or no longer does."""

    text: str


Command = (
    ListFlows
    | CountFlows
    | CountMeters
    | CountHits
    | ChangeFlows
    | SendPacket
    | TryPort
    | HoldQuestion
    | AdoptBridge
    | HealPort
    | SetForwarding
    | TellConflict
    | TellNews
    | TellLimit
)
