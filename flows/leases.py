"""What DHCP has leased, and until when: flows that no packet ever meets.

The switch is the memory (docs/decisions/0003).  A binding is remembered by the flow
that lets it pass; that it is a lease, and when it ends, by a flow of this table, to
which no other table leads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address

from flows.fields import words
from flows.nd_known import IP_WORDS
from flows.openflow import ETH_ARP, Flow, flow, oxm
from flows.parties import Holder
from flows.switch import DOMAIN, Here, Switch
from flows.view import IPAddress

END = "reg9"  # seconds on the controller's monotonic clock


def end_in(match: Mapping[str, str]) -> float | None:
    """The end of the lease that a flow remembers; None if it is another flow."""
    return float(int(match[END], 0)) if END in match else None


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    yield flow(here.table_id, 0, oxm(), note="drop: nothing ever comes here")


def of_holder(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    for candidate in switch.candidates_here(holder):
        if candidate.leased_until is not None:
            yield lease(
                *(here.table_id, candidate.port.port_no, holder.domain.vlan),
                *(candidate.lladdr, holder.ip, int(candidate.leased_until)),
            )


@lru_cache(maxsize=1 << 10)
def lease(
    table: int, port_no: int, vlan: int, lladdr: str, ip: IPAddress, end: int
) -> Flow:
    if isinstance(ip, IPv4Address):
        about: dict[str, object] = {"eth_type": ETH_ARP, "arp_spa": ip}
    else:
        about = dict(zip(IP_WORDS, map(hex, words(int(ip))), strict=True))
    return flow(
        table,
        100,
        oxm(
            in_port=port_no,
            eth_src=lladdr,
            **{DOMAIN: vlan, END: hex(end)},
            **about,
        ),
        note=f"remember: {ip} is leased to {lladdr}",
        subject=ip,
    )
