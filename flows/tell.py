"""Tell the controller of a packet, within the budget of its port and its kind.

Other tables come here by resubmit, and go on with the packet whatever becomes of the
copy.  `tell` finds out what kind of packet it is, `told` has a meter for each kind and
port: a flood of one is no reason to lose another, and nobody's flood anybody else's.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from flows.budgets import IN_WORDS, NO_PORT, TELLING, Budget, meter_id
from flows.nd_guard import ICMPV6
from flows.openflow import (
    CONTROLLER,
    ETH_ARP,
    ETH_IPV4,
    ETH_IPV6,
    ETH_LLDP,
    Flow,
    Match,
    Output,
    SetField,
    Tell,
    flow,
    oxm,
)
from flows.switch import KIND, Here, Switch

UDP = 17
DISCOVERY = range(133, 138)  # ICMPv6 types of RFC 4861, redirects included
DHCP_PORTS = ((ETH_IPV4, (67, 68)), (ETH_IPV6, (546, 547)))  # RFC 2131, RFC 8415


def kinds() -> Iterator[tuple[Budget, Match]]:
    yield Budget.ARP, oxm(eth_type=ETH_ARP)
    yield Budget.LLDP, oxm(eth_type=ETH_LLDP)
    for icmpv6_type in DISCOVERY:
        fields = {"ip_proto": ICMPV6, "icmpv6_type": icmpv6_type}
        yield Budget.ND, oxm(eth_type=ETH_IPV6, **fields)
    for eth_type, ports in DHCP_PORTS:
        for udp_dst in ports:
            fields = {"ip_proto": UDP, "udp_dst": udp_dst}
            yield Budget.DHCP, oxm(eth_type=eth_type, **fields)


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("told")
    if switch.has_meters:
        for budget, match in kinds():
            mark = SetField(KIND, str(int(budget)))
            yield flow(t, 100, match, mark, onward, note=IN_WORDS[budget])
    mark = SetField(KIND, str(int(Budget.OTHER)))
    yield flow(t, 0, oxm(), mark, onward, note=IN_WORDS[Budget.OTHER])


def told(switch: Switch, here: Here) -> Iterator[Flow]:
    t = here.table_id
    if not switch.has_meters:
        note = "tell the controller; this switch has no meters"
        yield flow(t, 0, oxm(), Output(CONTROLLER), note=note)
        return
    for port in switch.ports:
        for budget in TELLING:
            yield copy(t, port.port_no, budget)
    yield flow(
        t,
        0,
        oxm(),
        Tell(meter_id(NO_PORT, Budget.OTHER)),
        note="tell the controller: a port that it does not know yet",
    )


@lru_cache(maxsize=1 << 10)
def copy(table: int, port_no: int, budget: Budget) -> Flow:
    return flow(
        table,
        100,
        oxm(in_port=port_no, **{KIND: int(budget)}),
        Tell(meter_id(port_no, budget)),
        note=f"{IN_WORDS[budget]}, within the budget of port {port_no}",
        subject=port_no,
    )
