"""OpenFlow 1.3 flow entries as plain values.

Nothing in this module talks to a switch.  A `Flow` is one line of
`ovs-ofctl dump-flows`, and `str(flow)` writes that line.

A flow's cookie is its own digest: 16 bits say "ours", 48 bits are a hash of table,
priority, match and actions.  A switch hands cookies back unchanged, while it rewrites
matches and action lists into its own normal form.  So comparing cookies tells whether
the flow we want is the flow that is installed, and the cookie in `dump-flows` is what
`isat explain` looks up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b

from flows.view import LOCAL_PORT, IPAddress

OWNER = 0x15A7  # "isat": the top 16 bits of every cookie this controller installs
OWNER_MASK = 0xFFFF << 48
OURS = OWNER << 48
FLEETING = 0x15A8  # the same, of flows that the switch itself removes in a second
IN_PORT = 0xFFFFFFF8  # OFPP_IN_PORT
FLOOD = 0xFFFFFFFB  # OFPP_FLOOD
CONTROLLER = 0xFFFFFFFD  # OFPP_CONTROLLER

ETH_IPV4, ETH_ARP, ETH_IPV6, ETH_LLDP = 0x0800, 0x0806, 0x86DD, 0x88CC
ETH_VLAN = 0x8100  # the customer's tag of IEEE 802.1Q
BROADCAST = "ff:ff:ff:ff:ff:ff"
GROUP_BIT = "01:00:00:00:00:00"  # IEEE 802: set in multicast and broadcast addresses

ACTIONS = " actions="  # stands in the text of a flow between what it matches and does

PORT_NAMES = {IN_PORT: "IN_PORT", CONTROLLER: "CONTROLLER:65535", LOCAL_PORT: "LOCAL"}

# The few OXM fields that ovs-fields(7) calls by another name.
OVS_NAMES = {
    "ipv4_src": "ip_src",
    "ipv4_dst": "ip_dst",
    "icmpv4_type": "icmp_type",
    "icmpv4_code": "icmp_code",
    "tunnel_id": "tun_id",
    "tun_ipv4_src": "tun_src",
    "tun_ipv4_dst": "tun_dst",
    "ip_ttl": "nw_ttl",  # in IPv6 it is the hop limit
    "ipv6_nd_target": "nd_target",
    "ipv6_nd_sll": "nd_sll",
    "ipv6_nd_tll": "nd_tll",
}


def in_ovs(oxm_name: str) -> str:
    return OVS_NAMES.get(oxm_name, oxm_name)


@dataclass(frozen=True, slots=True)
class SetField:
    """OFPAT_SET_FIELD: write a value over one header field or register."""

    field: str
    value: str

    def __str__(self) -> str:
        return f"set_field:{self.value}->{in_ovs(self.field)}"


@dataclass(frozen=True, slots=True)
class Move:
    """NXAST_REG_MOVE: copy a header field, or its lowest `bits` bits, into another.

    bits  how many, counted from bit 0; 0 means all of the source field
    """

    source: str
    target: str
    bits: int = 0

    def __str__(self) -> str:
        part = f"[0..{self.bits - 1}]" if self.bits else "[]"
        return f"move:{in_ovs(self.source)}{part}->{in_ovs(self.target)}{part}"


@dataclass(frozen=True, slots=True)
class PushVlan:
    """OFPAT_PUSH_VLAN: a new outer tag (IEEE 802.1Q), whose VLAN is still to be set."""

    def __str__(self) -> str:
        return f"push_vlan:{ETH_VLAN:#x}"


@dataclass(frozen=True, slots=True)
class PopVlan:
    """OFPAT_POP_VLAN: without the outer tag."""

    def __str__(self) -> str:
        return "pop_vlan"


@dataclass(frozen=True, slots=True)
class Output:
    """OFPAT_OUTPUT.  To the controller always the whole packet (OFPCML_NO_BUFFER)."""

    port_no: int

    def __str__(self) -> str:
        return PORT_NAMES.get(self.port_no, f"output:{self.port_no}")


NOT_IPV4 = SetField("tun_ipv4_dst", "0.0.0.0")
TO_NOBODY = (NOT_IPV4, SetField("tun_ipv6_dst", "::"))


@dataclass(frozen=True, slots=True)
class Through:
    """Leave by a tunnel port to one of its far ends: OFPAT_SET_FIELD, for the key and
    for the address, and OFPAT_OUTPUT.

    tun_dst  underlay address of that end

    Open vSwitch looks at an address of IPv6 only where there is none of IPv4, as what
    came in by another tunnel has one.
    """

    port_no: int
    tunnel_id: int
    tun_dst: str

    @property
    def steps(self) -> tuple[SetField | Output, ...]:
        key, out = SetField("tunnel_id", hex(self.tunnel_id)), Output(self.port_no)
        if ":" in self.tun_dst:
            return key, NOT_IPV4, SetField("tun_ipv6_dst", self.tun_dst), out
        return key, SetField("tun_ipv4_dst", self.tun_dst), out

    def __str__(self) -> str:
        return ",".join(map(str, self.steps))


@dataclass(frozen=True, slots=True)
class Tell:
    """NXAST_CONTROLLER2: a copy to the controller, as long as its meter lets it pass.

    The packet itself goes on in any case.
    """

    meter_id: int

    def __str__(self) -> str:
        return f"controller(max_len=65535,meter_id={self.meter_id})"


@dataclass(frozen=True, slots=True)
class Resubmit:
    """NXAST_RESUBMIT_TABLE: do what another table says, and come back."""

    table: int

    def __str__(self) -> str:
        return f"resubmit(,{self.table})"


TELL_TABLE = 250  # after all tables that a packet itself meets
TELL = Resubmit(TELL_TABLE)  # a copy to the controller, within budgets (`flows.tell`)
BACK = Output(IN_PORT)
BACK_TABLE = 252
BACK_AS_PORTS_NEED = Resubmit(BACK_TABLE)  # without its tag, or with it (`flows.back`)


class GroupKind(IntEnum):
    """ofp_group_type, of those that are used here: OFPGT_SELECT, OFPGT_FF."""

    SELECT = 1
    FAST_FAILOVER = 3

    def __str__(self) -> str:
        return "select" if self is GroupKind.SELECT else "ff"


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a group may do with a packet.

    watch_port  the bucket is not taken while this port is down; 0 is none
    """

    action: Output | Through | Resubmit
    watch_port: int = 0

    def __str__(self) -> str:
        watched = f"watch_port:{self.watch_port}," if self.watch_port else ""
        return f"bucket={watched}actions={self.action}"


@dataclass(frozen=True, slots=True)
class Group:
    """A group, and OFPAT_GROUP: leave the packet to it (5.6).

    A fast-failover group takes its first bucket whose port is up; a select group one of
    these, by a hash of addresses and ports.  There may be none: then it drops.  The
    switch looks at its ports itself, and needs nobody to tell it.
    """

    group_id: int
    kind: GroupKind
    buckets: tuple[Bucket, ...]

    @property
    def text(self) -> str:
        """The input of `ovs-ofctl add-groups`."""
        words = (f"group_id={self.group_id}", f"type={self.kind}", *self.buckets)
        return ",".join(map(str, words))

    def __str__(self) -> str:
        return f"group:{self.group_id}"


@dataclass(frozen=True, slots=True)
class Anew:
    """OFPAT_GROUP: go on in `table`, as if the packet had just arrived there.

    The datapath forgets why it came so far, and what it caches of the way so far
    depends on nothing that the rest looks at (`flows.ingress`).

    Select groups choose by a hash that the datapath computes when it looks at the
    packet anew; with one bucket there is nothing to choose: the look is what counts.
    """

    table: int

    @property
    def group(self) -> Group:
        bucket = Bucket(Resubmit(self.table))
        return Group(OWNER << 16 | self.table, GroupKind.SELECT, (bucket,))

    def __str__(self) -> str:
        return str(self.group)


@dataclass(frozen=True, slots=True)
class Metered:
    """OFPIT_METER: drop the packet, whatever else is said, over the meter's rate.

    An instruction that is carried out before all actions (5.9), so it stands first.
    """

    meter_id: int

    def __str__(self) -> str:
        return f"meter:{self.meter_id}"


@dataclass(frozen=True, slots=True)
class GotoTable:
    """OFPIT_GOTO_TABLE; an instruction, so it stands last."""

    table: int

    def __str__(self) -> str:
        return f"goto_table:{self.table}"


Action = (
    SetField
    | Move
    | PushVlan
    | PopVlan
    | Output
    | Through
    | Tell
    | Resubmit
    | Group
    | Anew
    | Metered
    | GotoTable
)
Match = tuple[tuple[str, str], ...]
Subject = IPAddress | str | int | None


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter with one band that drops (OpenFlow 1.3, 7.3.4.4).

    rate   packets a second
    burst  packets that may come at once
    """

    meter_id: int
    rate: int
    burst: int

    def __str__(self) -> str:
        band = f"type=drop,rate={self.rate},burst_size={self.burst}"
        return f"meter={self.meter_id},pktps,burst,stats,bands={band}"


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow entry: what to match, and what to do with the packet.

    table     table_id, 0-254
    priority  0-65535; 0 is the table-miss entry of OpenFlow 1.3, 5.4
    match     OXM field names with values ("value" or "value/mask"), in a fixed order
    actions   applied in order; empty means drop
    timeout   seconds until the switch removes it by itself (hard_timeout); 0 is never
    note      what it does, in words; not part of its identity
    subject   whom it is about: an address, a link-layer address, a port_no, or None
    """

    table: int
    priority: int
    match: Match
    actions: tuple[Action, ...]
    note: str = field(default="", compare=False)
    subject: Subject = field(default=None, compare=False)
    timeout: int = 0
    _cookie: int = field(default=0, init=False, repr=False, compare=False)
    _right: int = field(default=0, init=False, repr=False, compare=False)

    @property
    def text(self) -> str:
        names = OVS_NAMES
        match = "".join([f",{names.get(n, n)}={value}" for n, value in self.match])
        actions = ",".join(map(str, self.actions)) or "drop"
        until = f",hard_timeout={self.timeout}" if self.timeout else ""
        head = f"table={self.table}{until},priority={self.priority}"
        return f"{head}{match}{ACTIONS}{actions}"

    @property
    def key(self) -> tuple[int, int, Match]:
        """Table, priority and match: the identity of a flow entry (section 5.2)."""
        return (self.table, self.priority, self.match)

    @property
    def cookie(self) -> int:
        if not self._cookie:
            self._identify()
        return self._cookie

    @property
    def right(self) -> int:
        """A hash of table, priority and match (`right_of`)."""
        if not self._cookie:
            self._identify()
        return self._right

    def _identify(self) -> None:
        """Values of the value, once."""
        text = self.text
        object.__setattr__(self, "_cookie", cookie_of(text))
        object.__setattr__(self, "_right", right_of(text))

    @property
    def fleeting_cookie(self) -> int:
        """For a flow that is no part of what a switch should hold."""
        return FLEETING << 48 | self.cookie & ~OWNER_MASK

    def __str__(self) -> str:
        return f"cookie={self.cookie:#x},{self.text}"


def cookie_of(text: str) -> int:
    """Of the flow with this text."""
    digest = blake2b(text.encode(), digest_size=6).digest()
    return OURS | int.from_bytes(digest, "big")


def right_of(text: str) -> int:
    """A hash of what the flow with this text matches, and with which priority: a switch
    keeps one flow of these.  In another process it is another."""
    return hash(text[: text.index(ACTIONS)])


def is_ours(cookie: int) -> bool:
    return cookie >> 48 == OWNER


# OpenFlow 1.3, 7.2.3: the prerequisites of a field come before the field.
OXM_ORDER = {
    name: position
    for position, name in enumerate(
        """
        in_port tunnel_id tun_ipv4_src tun_ipv4_dst tun_ipv6_src tun_ipv6_dst
        reg0 reg1 reg2 reg3 reg4 reg5 reg6 reg7 reg8 reg9 reg10 reg11 reg12
        reg13 reg14 reg15 xxreg1 xxreg2 eth_dst eth_src eth_type vlan_vid ip_proto
        ip_ttl ip_frag ipv4_src ipv4_dst udp_dst icmpv4_type icmpv4_code arp_op arp_spa
        arp_tpa arp_sha arp_tha ipv6_src ipv6_dst icmpv6_type icmpv6_code ipv6_nd_target
        ipv6_nd_sll ipv6_nd_tll nd_reserved nd_options_type
        """.split()  # noqa: SIM905, a list of names reads better without quotes
    )
}


def oxm(**fields: object) -> Match:
    """oxm(arp_op=1, eth_type=0x0806) -> (("eth_type", "0x806"), ("arp_op", "1"))"""
    return tuple(
        [
            (name, hex(v) if name == "eth_type" and isinstance(v, int) else str(v))
            for name in in_order(tuple(fields))
            for v in (fields[name],)
        ]
    )


@lru_cache(maxsize=256)  # there are as many as there are shapes of flows
def in_order(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=OXM_ORDER.__getitem__))


def flow(
    table: int,
    priority: int,
    match: Match,
    *actions: Action,
    note: str,
    subject: Subject = None,
    timeout: int = 0,
) -> Flow:
    return Flow(table, priority, match, actions, note, subject, timeout)


def texts(flows: Iterable[Flow]) -> str:
    """The input of `ovs-ofctl add-flows` and `diff-flows`: a line per flow."""
    ordered = sorted(flows, key=lambda f: (f.table, -f.priority, f.text))
    return "".join(f"{f}\n" for f in ordered)
