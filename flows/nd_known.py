"""Let known IPv6 bindings pass in silence; news goes to the controller, and on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address

from flows import enforce
from flows.fields import joined, words
from flows.guard import is_full
from flows.nd_guard import ROLE, SAYS_HOST, SAYS_ROUTER
from flows.openflow import (
    TELL,
    Flow,
    GotoTable,
    flow,
    oxm,
)
from flows.parties import Holder, Located
from flows.switch import ANSWERS, DOMAIN, KNOWN, Here, Switch

IP_WORDS = ("reg4", "reg5", "reg6", "reg7")  # nd_guard.CLAIMED_IP
LLADDR_WORDS = ("reg10", "reg11")  # nd_guard.CLAIMED_LLADDR

# What would be news of a holder that is known to be a router, a host, or neither yet.
NEWS = {True: SAYS_HOST, False: SAYS_ROUTER, None: SAYS_HOST | SAYS_ROUTER}
BY_MASK = {hex(news): router for router, news in NEWS.items()}


def ip_in(match: Mapping[str, str]) -> IPv6Address | None:
    """The address that a flow of `known` matches; None if it is another flow."""
    if not match.keys() >= set(IP_WORDS):
        return None
    return IPv6Address(joined(int(match[name], 0) for name in IP_WORDS))


def router_in(match: Mapping[str, str]) -> bool | None:
    _, _, mask = match.get(ROLE, "").partition("/")
    return BY_MASK.get(mask)


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto(ANSWERS)
    for port_no in switch.full_ports:
        yield flow(
            t,
            130,
            oxm(in_port=port_no, **{KNOWN: 0}),
            onward,
            note=f"port {port_no} has as many stations as are kept: learn no more",
            subject=port_no,
        )
    yield flow(
        t,
        0,
        oxm(),
        TELL,
        onward,
        note="neighbor discovery with news: tell the controller, and go on at once",
    )


def of_station(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    limit = switch.view.limits.addresses_per_station
    if switch.here(where.port) and is_full(where.station, limit):
        yield flow(
            here.table_id,
            150,
            oxm(
                in_port=where.port.port_no,
                eth_src=where.lladdr,
                **{DOMAIN: where.domain.vlan},
            ),
            here.goto(ANSWERS),
            note=f"{where.lladdr} claims as many addresses as are kept",
            subject=where.lladdr,
        )


def of_holder(switch: Switch, here: Here, holder: Holder) -> Iterator[Flow]:
    if isinstance(holder.ip, IPv6Address):
        for candidate in switch.candidates_here(holder):
            at, lladdr = candidate.port, candidate.lladdr
            if enforce.may_pass(switch, holder, at, lladdr):
                yield known(
                    *(here.table_id, at.port_no, holder.domain.vlan),
                    *(lladdr, holder.ip, candidate.router, here.goto(ANSWERS)),
                )


@lru_cache(maxsize=1 << 10)
def known(
    table: int,
    port_no: int,
    vlan: int,
    lladdr: str,
    ip: IPv6Address,
    router: bool | None,
    onward: GotoTable,
) -> Flow:
    """Its packet_count tells whether the binding is alive (controller.liveness)."""
    address = zip(IP_WORDS, map(hex, words(int(ip))), strict=True)
    octets = lladdr.replace(":", "")
    low = zip(LLADDR_WORDS, (octets[:4], octets[4:]), strict=True)
    return flow(
        table,
        200,
        oxm(
            in_port=port_no,
            eth_src=lladdr,
            **{DOMAIN: vlan, ROLE: f"0x0/{NEWS[router]:#x}"},
            **dict(address),
            **{name: hex(int(part, 16)) for name, part in low},
        ),
        onward,
        note=f"{lladdr} on port {port_no} says that it has {ip}, as is known",
        subject=ip,
    )
