"""Send a frame to the port of its station, or along the fabric towards it.

A frame for somebody whom a switch does not know goes along the broadcast tree to
everybody.  If others that know of it sent it by a shortest path, it would arrive as
often as the tree comes by one of them.  So as long as some do not know of somebody
(`flows.view.Fresh`), all who do send along the tree, too: then each of them sends it
back to where it came from, which is nowhere, or on where all others would.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv6Address

from flows import private
from flows.openflow import GROUP_BIT, Action, Flow, flow, oxm
from flows.parties import Located
from flows.proxy import Vlan
from flows.switch import DOMAIN, TAGGED, Here, Switch, prepared, vlan_match
from flows.ways import Exit, in_words

# "isat" in a locally administered address (IEEE 802, 8.2): what the controller sends
# probes from.  Replies to it have been counted by the guard; nobody needs to see them.
CONTROLLER_LLADDR = "02:69:73:61:74:00"
CONTROLLER_IP = IPv6Address("fe80::69:73ff:fe61:7400")  # the same, by RFC 4291, 2.5.6


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t = here.table_id
    group = f"{GROUP_BIT}/{GROUP_BIT}"
    yield flow(
        t,
        200,
        oxm(eth_dst=group),
        here.goto("flood"),
        note="broadcast and multicast",
    )
    yield flow(
        t,
        150,
        oxm(eth_dst=CONTROLLER_LLADDR),
        note="drop: a reply to a probe of the controller's has been counted",
        subject=CONTROLLER_LLADDR,
    )
    for lladdr, vlan in gateways(switch):
        at, more = vlan_match(vlan)
        yield flow(
            t,
            80 + more,
            oxm(eth_dst=lladdr, **at),
            note=f"drop: the gateway {lladdr} answers questions, and routes nothing",
            subject=lladdr,
        )
    yield flow(
        t, 0, oxm(), here.goto("flood"), note="nobody knows where: ask everywhere"
    )


def gateways(switch: Switch) -> list[tuple[str, Vlan]]:
    """Hardware addresses of gateways, which nobody has who is not located."""
    found = {(rule.lladdr, rule.vlan) for rule in switch.rules.gateways}
    return sorted(found, key=str)


def of_station(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    yield from private.forward_of(switch, here.table_id, where)
    by, vlan = switch.towards(where), where.domain.vlan
    if by is not None:
        before = prepared(switch.network, where.port, vlan)
        is_here = switch.here(where.port)
        is_new = not is_here and switch.is_new_here(where)
        done = before if is_here else ()
        yield unicast(here.table_id, vlan, where.lladdr, by, done, is_new=is_new)


@lru_cache(maxsize=1 << 10)
def unicast(
    table: int,
    vlan: int,
    lladdr: str,
    by: Exit,
    before: tuple[Action, ...] = (),
    *,
    is_new: bool = False,
) -> Flow:
    """before  what the port needs: it may be told no tags"""
    tag = {"vlan_vid": TAGGED} if before else {}
    untagged = f", and VLAN {vlan} leaves it untagged" if before else ""
    until = ", along the broadcast tree until all switches know of it" if is_new else ""
    return flow(
        table,
        100,
        oxm(eth_dst=lladdr, **tag, **{DOMAIN: vlan}),
        *before,
        by,
        note=f"{lladdr} is reached by {in_words(by)}{untagged}{until}",
        subject=lladdr,
    )
