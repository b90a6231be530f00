"""Facts that sources report.  One line of the event log is one event.

Names are in the past tense: something was seen, changed, lost.  An event carries plain
frozen values and no handle of any library.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from flows.openflow import Group, Meter
from flows.view import (
    Address,
    AddressKey,
    Bridge,
    Interface,
    IPAddress,
    Link,
    LinkKey,
    Namespace,
    NamespaceKey,
    Neighbor,
    NeighborKey,
    Port,
    Router,
    RouterKey,
    Shaper,
    ShaperKey,
)

# --- OpenFlow -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SwitchReady:
    """The OpenFlow handshake is complete, port descriptions included."""

    datapath_id: int
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class SwitchGone:
    """The channel is closed.  The switch may well go on forwarding."""

    datapath_id: int


@dataclass(frozen=True, slots=True)
class Binding:
    """What one of our guard or source flows says, read back from a switch.

    cookie   the flow's; recomputed by the core before the binding is believed
    ip       None for a flow of the source table, which knows only the station
    router   of IPv6, as in `flows.view.Claim`
    leased_until  as in `flows.view.Claim`, of a flow that remembers a lease
    """

    cookie: int
    in_port: int
    vlan: int
    lladdr: str
    ip: IPAddress | None = None
    router: bool | None = None
    leased_until: float | None = None


@dataclass(frozen=True, slots=True)
class FlowsListed:
    """The answer to ListFlows: every cookie of ours the switch holds (OFPMP_FLOW).

    greatest_meter  as in `flows.view.Ability`
    meters          those that there are, anybody's
    groups          likewise
    """

    datapath_id: int
    cookies: frozenset[int]
    bindings: tuple[Binding, ...] = ()
    greatest_meter: int = 0
    meters: tuple[Meter, ...] = ()
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class FlowsCounted:
    """The answer to CountFlows: how many flows of ours there are (OFPMP_AGGREGATE)."""

    datapath_id: int
    flow_count: int


@dataclass(frozen=True, slots=True)
class MetersCounted:
    """The answer to CountMeters: meter_id, and packets that were dropped so far."""

    datapath_id: int
    dropped: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class HitsCounted:
    """The answer to CountHits: packet_count by cookie, for the cookies that exist."""

    datapath_id: int
    packet_counts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ChangeDone:
    """The switch has passed the barrier behind a ChangeFlows and refused nothing."""

    datapath_id: int


@dataclass(frozen=True, slots=True)
class ChangeFailed:
    """The switch refused a ChangeFlows; with a bundle, all of it.

    why  the error as OpenFlow 1.3, 7.4.4 names it
    """

    datapath_id: int
    why: str


@dataclass(frozen=True, slots=True)
class PortChanged:
    """OFPPR_ADD or OFPPR_MODIFY: a port is there, or up, or down."""

    port: Port


@dataclass(frozen=True, slots=True)
class PortGone:
    """OFPPR_DELETE."""

    datapath_id: int
    port_no: int


@dataclass(frozen=True, slots=True)
class FrameSeen:
    """A frame that is not ARP reached the controller: its source was unknown, or is
    somebody else's.

    vlan  VLAN identifier, 0 for untagged and priority-tagged frames
    ip    where an IP packet says that it comes from; None of any other frame
    sends what not everybody may send, by name (`flows.dispute.Kind`); "" if nothing
    """

    datapath_id: int
    in_port: int
    vlan: int
    eth_src: str
    ip: IPAddress | None = None
    sends: str = ""


@dataclass(frozen=True, slots=True)
class ArpSeen:
    """An ARP packet reached the controller.  Field names are those of RFC 826.

    op   1 request, 2 reply; packets with another op are not reported
    """

    datapath_id: int
    in_port: int
    vlan: int
    eth_src: str
    eth_dst: str
    op: int
    sha: str
    spa: IPv4Address
    tha: str
    tpa: IPv4Address


@dataclass(frozen=True, slots=True)
class NdSeen:
    """A neighbor solicitation or advertisement reached the controller (RFC 4861).

    icmpv6_type  135 solicitation, 136 advertisement
    src, dst     of the IPv6 header; src is :: in duplicate address detection
    lladdr       source or target link-layer address option, "" without one
    flags        R, S and O, from the highest bit on; of an advertisement
    has_room     its first option is as long as one with a link-layer address, so that
                 a switch can make it one
    """

    datapath_id: int
    in_port: int
    vlan: int
    eth_src: str
    eth_dst: str
    icmpv6_type: int
    src: IPv6Address
    dst: IPv6Address
    target: IPv6Address
    lladdr: str
    flags: int
    has_room: bool

    @property
    def is_question(self) -> bool:
        return self.icmpv6_type == 135

    @property
    def ip(self) -> IPv6Address:
        """Whose binding it states: its source's, or its target's; :: if nobody's."""
        return self.src if self.is_question else self.target

    @property
    def router(self) -> bool | None:
        """Whether who holds it is a router; None if it does not say so."""
        return None if self.is_question else bool(self.flags >> 31)


@dataclass(frozen=True, slots=True)
class DhcpSeen:
    """A DHCP or DHCPv6 message reached the controller (RFC 2131, RFC 8415).

    frame      the same as any other frame: who sent it, where
    message    "offer", "ack" (of DHCPv6 a reply), "nak", "release", "decline", "other"
    client     link-layer address of whom it is about, "" if it does not tell
    addresses  with seconds for which they are leased; of a client 0
    xid        the client's number of the exchange; a reply repeats it
    """

    frame: FrameSeen
    message: str
    client: str = ""
    addresses: tuple[tuple[IPAddress, int], ...] = ()
    xid: int = 0


@dataclass(frozen=True, slots=True)
class FrameIgnored:
    """A frame reached the controller that teaches nothing; counted by reason.

    heard  what it says nevertheless, if it is ARP or ND of two senders
    """

    datapath_id: int
    in_port: int
    why: str
    heard: ArpSeen | NdSeen | None = None


@dataclass(frozen=True, slots=True)
class TrialSeen:
    """A frame that shows where a port leads has come in by another, or by the same.

    unit       the LLDP data unit, which says by which port it was sent
    is_direct  it was for the nearest bridge, and has passed none
    """

    datapath_id: int
    in_port: int
    unit: bytes
    is_direct: bool = False


@dataclass(frozen=True, slots=True)
class TargetUnknown:
    """A question went out to everybody, as nobody is known to hold what it asks for."""

    asked: ArpSeen | NdSeen


# --- the kernel of this host ------------------------------------------------------

KernelKey = LinkKey | AddressKey | NamespaceKey | NeighborKey | RouterKey | ShaperKey
KernelFact = Link | Address | Namespace | Neighbor | Router | Shaper
KernelChange = tuple[KernelKey, KernelFact | None]


@dataclass(frozen=True, slots=True)
class KernelSynced:
    """A complete picture: whatever is not in it does not exist."""

    facts: tuple[KernelFact, ...]


@dataclass(frozen=True, slots=True)
class KernelChanged:
    """Rows that are new or different, and keys that are gone (value None)."""

    changes: tuple[KernelChange, ...]


@dataclass(frozen=True, slots=True)
class KernelLost:
    """The helper cannot be had.  `why` is a sentence for the operator.

    A helper that merely restarts is not lost: the last picture stays until the next.
    """

    why: str


# --- OVSDB of this host -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BridgesSeen:
    """The whole picture of OVSDB after a change in it."""

    bridges: tuple[Bridge, ...]
    interfaces: tuple[Interface, ...]


@dataclass(frozen=True, slots=True)
class OvsdbLost:
    """No connection to the database.  `why` is a sentence for the operator."""

    why: str


@dataclass(frozen=True, slots=True)
class BridgeAdopted:
    """What safety needs is set and in force.

    changes  in words, as "fail_mode: standalone -> secure"; empty if all was set before
    """

    name: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BridgeReleased:
    """What adopting had set is undone.

    changes  in words; also what was left alone because somebody changed it since
    """

    name: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BridgeRefused:
    """A bridge was neither adopted nor released.

    why   a sentence for the operator
    hint  what to type instead
    """

    name: str
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class ForwardingSet:
    """How it stands with the table of a VXLAN device (SetForwarding).

    wanted, right  entries that should be there, and those of them that are
    added, moved, removed  since it was last told
    problem        why not all is right, and what to do; ""
    """

    device: str
    wanted: int
    right: int
    added: int = 0
    moved: int = 0
    removed: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PortHealed:
    """ovs-vswitchd receives from the interface again, on the same OpenFlow port."""

    bridge: str
    ifname: str


@dataclass(frozen=True, slots=True)
class PortNotHealed:
    """The port was left as it is, most often because nothing is wrong with it."""

    bridge: str
    ifname: str
    why: str


Event = (
    SwitchReady
    | SwitchGone
    | FlowsListed
    | FlowsCounted
    | MetersCounted
    | HitsCounted
    | ChangeDone
    | ChangeFailed
    | PortChanged
    | PortGone
    | FrameSeen
    | ArpSeen
    | NdSeen
    | DhcpSeen
    | FrameIgnored
    | TrialSeen
    | TargetUnknown
    | KernelSynced
    | KernelChanged
    | KernelLost
    | BridgesSeen
    | OvsdbLost
    | BridgeAdopted
    | BridgeReleased
    | BridgeRefused
    | PortHealed
    | PortNotHealed
    | ForwardingSet
)
