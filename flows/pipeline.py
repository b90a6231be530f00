"""The tables, in the order in which a packet meets them.

Read this list first: it is the whole datapath on one page.  A table's position is its
table_id.  `flows.compile` refuses a flow that breaks its table's contract.  A new
responder is one file, one line here, one test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps

from flows import (
    admit,
    arp,
    back,
    enforce_nd,
    flood,
    forward,
    gateway,
    guard,
    ingress,
    interpose,
    leases,
    nd,
    nd_answer,
    nd_guard,
    nd_known,
    private,
    side,
    snoop,
    source,
    tell,
    unknown,
)
from flows.openflow import BACK_TABLE, TELL_TABLE, Flow
from flows.parties import Holder, Located
from flows.switch import DOMAIN, GUARDED, KIND, KNOWN, SIDE, Here, Switch

Writer = Callable[[Switch, Here], Iterator[Flow]]


AnyWriter = Callable[..., Iterator[Flow]]


def both(one: AnyWriter, other: AnyWriter) -> AnyWriter:
    """What either of them writes into one table."""

    @wraps(one)
    def written(*about: object) -> Iterator[Flow]:
        yield from one(*about)
        yield from other(*about)

    return written


def nothing(*about: object) -> Iterator[Flow]:
    return iter(())


@dataclass(frozen=True)
class Table:
    """name, the OXM fields its flows may match, and who writes them.

    always      what depends on no single station or address
    of_tree     the same, if it depends on which ports are up or on the broadcast tree
    of_station  what one located station yields, whoever else there is
    of_holder   what one held address yields
    number      its table_id, if it is not its position: others resubmit to it
    """

    name: str
    matches: frozenset[str]
    always: Writer = nothing
    of_tree: Writer = nothing
    of_station: Callable[[Switch, Here, Located], Iterator[Flow]] = nothing
    of_holder: Callable[[Switch, Here, Holder], Iterator[Flow]] = nothing
    number: int | None = None


def fields(*names: str) -> frozenset[str]:
    return frozenset(names)


ARP = ("eth_type", "arp_op", "arp_spa", "arp_tpa", "arp_sha")

ICMPV6 = ("eth_type", "ip_proto", "icmpv6_type")
ND = (*ICMPV6, "icmpv6_code", "ipv6_src", "ipv6_dst", "ipv6_nd_target", "ipv6_nd_sll")
LEASE = (*nd_known.IP_WORDS, leases.END)
CLAIM = (*nd_known.IP_WORDS, *nd_known.LLADDR_WORDS, nd_guard.ROLE)

PIPELINE: tuple[Table, ...] = (
    Table(
        "ingress",
        fields(
            *("in_port", "tunnel_id", "tun_ipv4_src", "tun_ipv6_src", "arp_op"),
            *ICMPV6,
        ),
        ingress.always,
    ),
    Table(
        "admit",
        fields("in_port", "eth_src", "eth_dst", "eth_type", "vlan_vid"),
        admit.always,
    ),
    Table(
        "source",
        fields("in_port", DOMAIN, GUARDED, "eth_src", *ICMPV6),
        source.always,
        of_station=source.of_station,
    ),
    Table(
        "guard",
        fields(
            *("in_port", KNOWN, DOMAIN, GUARDED, "eth_src", "ipv4_src", *ARP),
            *(*ICMPV6, "ip_frag", "ip_ttl", "ipv6_src", "udp_dst"),
        ),
        both(both(guard.always, enforce_nd.packets), snoop.rogues),
        of_station=both(guard.of_station, snoop.confined),
        of_holder=both(guard.of_holder, enforce_nd.packets_of),
    ),
    Table(
        "nd_guard",
        fields(
            *("in_port", GUARDED, DOMAIN, "eth_src", "ip_ttl"),
            *(*ND, "ipv6_nd_tll", "nd_reserved"),
        ),
        both(nd_guard.always, enforce_nd.routing),
        of_holder=enforce_nd.routing_of,
    ),
    Table(
        "nd_known",
        fields("in_port", KNOWN, DOMAIN, GUARDED, "eth_src", *CLAIM),
        both(nd_known.always, enforce_nd.claims),
        of_station=nd_known.of_station,
        of_holder=both(nd_known.of_holder, enforce_nd.claims_of),
    ),
    Table(
        "side",
        fields(
            *("in_port", DOMAIN, "eth_src", "eth_dst", "eth_type"),
            *("arp_op", "arp_spa", "arp_tpa", "ipv4_src", "ipv4_dst"),
            *("udp_dst", *ND),
        ),
        side.always,
        of_station=side.of_station,
    ),
    Table(
        "gateway",
        fields(
            *("in_port", DOMAIN, "eth_src", "eth_dst", *ARP, *ND),
            *("ipv4_dst", "icmpv4_type", "icmpv4_code"),
        ),
        gateway.always,
    ),
    Table("interpose", fields(DOMAIN, SIDE, *ARP, *ND), interpose.always),
    Table(
        "private",
        fields("in_port", DOMAIN, SIDE, *ARP, *ND),
        private.always,
        of_holder=private.of_holder,
    ),
    Table(
        "arp",
        fields("in_port", DOMAIN, "eth_dst", *ARP, *ICMPV6, "udp_dst"),
        both(arp.always, snoop.copies),
        of_holder=arp.of_holder,
    ),
    Table(
        "nd",
        fields("in_port", KNOWN, DOMAIN, "eth_src", "eth_dst", *ND),
        nd.always,
        of_holder=nd.of_holder,
    ),
    Table("nd_answer", fields(*ICMPV6, "icmpv6_code"), nd_answer.always),
    Table(
        "unknown",
        fields("in_port", DOMAIN, *ARP, *ND),
        unknown.always,
    ),
    Table(
        "forward",
        fields(DOMAIN, SIDE, "eth_dst", "eth_src", "vlan_vid"),
        forward.always,
        of_station=forward.of_station,
    ),
    Table("flood", fields("in_port", DOMAIN, SIDE, "vlan_vid"), of_tree=flood.of_tree),
    Table(
        "leases",
        fields("in_port", DOMAIN, "eth_src", "eth_type", "arp_spa", *LEASE),
        leases.always,
        of_holder=leases.of_holder,
    ),
    Table("tell", fields(*ICMPV6, "udp_dst"), tell.always, number=TELL_TABLE),
    Table("told", fields("in_port", KIND), tell.told, number=TELL_TABLE + 1),
    Table(
        "back", fields("in_port", DOMAIN, "vlan_vid"), back.always, number=BACK_TABLE
    ),
)


def numbered(pipeline: tuple[Table, ...]) -> dict[str, int]:
    """table_id by name."""
    return {
        table.name: position if table.number is None else table.number
        for position, table in enumerate(pipeline)
    }


TABLE_IDS = numbered(PIPELINE)
TABLE_NAMES = {table_id: name for name, table_id in TABLE_IDS.items()}
