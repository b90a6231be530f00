"""The tables, in the order in which a packet meets them.

Read this list first: it is the whole datapath on one page.  A table's position is its
table_id.  `flows.compile` refuses a flow that breaks its table's contract.  A new
responder is one file, one line here, one test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from flows import (
    admit,
    arp,
    flood,
    forward,
    guard,
    nd,
    nd_answer,
    nd_guard,
    nd_known,
    source,
)
from flows.openflow import Flow
from flows.switch import DOMAIN, GUARDED, KNOWN, Here, Switch


@dataclass(frozen=True)
class Table:
    """name, the OXM fields its flows may match, and who writes them."""

    name: str
    matches: frozenset[str]
    flows: Callable[[Switch, Here], Iterator[Flow]]


def table(
    flows: Callable[[Switch, Here], Iterator[Flow]], name: str, *matches: str
) -> Table:
    return Table(name, frozenset(matches), flows)


ARP = ("eth_type", "arp_op", "arp_spa", "arp_tpa", "arp_sha")

ICMPV6 = ("eth_type", "ip_proto", "icmpv6_type")
ND = (*ICMPV6, "icmpv6_code", "ipv6_src", "ipv6_dst", "ipv6_nd_target", "ipv6_nd_sll")
CLAIM = (*nd_known.IP_WORDS, *nd_known.LLADDR_WORDS, nd_guard.ROLE)

PIPELINE: tuple[Table, ...] = (
    table(
        admit.flows, "admit", "in_port", "eth_src", "eth_dst", "eth_type", "vlan_vid"
    ),
    table(source.flows, "source", "in_port", DOMAIN, GUARDED, "eth_src", *ICMPV6),
    table(
        guard.flows,
        "guard",
        "in_port",
        KNOWN,
        DOMAIN,
        GUARDED,
        "eth_src",
        "ipv4_src",
        *ARP,
    ),
    table(arp.flows, "arp", "in_port", DOMAIN, "eth_dst", *ARP, *ICMPV6),
    table(
        *(nd_guard.flows, "nd_guard", "in_port", "ip_ttl"),
        *(*ND, "ipv6_nd_tll", "nd_reserved"),
    ),
    table(nd_known.flows, "nd_known", "in_port", KNOWN, DOMAIN, "eth_src", *CLAIM),
    table(nd.flows, "nd", "in_port", KNOWN, DOMAIN, "eth_dst", *ND),
    table(nd_answer.flows, "nd_answer", *ICMPV6, "icmpv6_code"),
    table(forward.flows, "forward", DOMAIN, "eth_dst"),
    table(flood.flows, "flood", "in_port"),
)

TABLE_IDS = {entry.name: table_id for table_id, entry in enumerate(PIPELINE)}
