"""What our encoders write is what the golden octets say, to the last one.

tests/contracts/test_golden.py compares the same octets with what is on the wire.
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from controller.core import question
from controller.events import ArpSeen, NdSeen
from controller.ndp import advertisement, announcement
from controller.packets import arp_reply, arp_request
from controller.trial import Reach, write
from flows import arp, nd, wire
from flows.openflow import OWNER, OWNER_MASK, GotoTable, Output
from tests.facts import port
from tests.support.golden import ALL, golden

ASKER, HOLDER, H1, GATEWAY = (
    f"02:00:00:00:00:{last}" for last in ("0a", "0b", "01", "fd")
)
IP, IP6 = IPv4Address("10.0.0.11"), IPv6Address("fd00::b")
ASKED = ArpSeen(
    *(1, 4, 0, ASKER, "ff:ff:ff:ff:ff:ff", 1, ASKER, IPv4Address("10.0.0.10")),
    *("00:00:00:00:00:00", IP),
)
PROBED = replace(ASKED, spa=IPv4Address("0.0.0.0"))
SOLICITED = NdSeen(
    *(1, 4, 0, ASKER, "33:33:ff:00:00:0b", 135, IPv6Address("fd00::a")),
    *(IPv6Address("ff02::1:ff00:b"), IP6, ASKER, 0, True),
)
DETECTED = replace(SOLICITED, src=IPv6Address("::"), lladdr="")
SOME = 0x15A7_0000_0000_0001
POLL = golden("arp-poll")

WRITTEN = {
    "arp-answer": arp_reply(ASKED, lladdr=HOLDER),
    "arp-answer-to-a-probe": arp_reply(PROBED, lladdr=HOLDER),
    "arp-announcement-for-an-owner": arp_request(
        eth_src=H1, spa=IPv4Address("10.0.0.1"), tpa=IPv4Address("10.0.0.1")
    ),
    "na-announcement-for-an-owner": announcement(
        lladdr=H1, ip=IPv6Address("fe80::ff:fe00:1"), router=False, vlan=0
    ),
    "arp-answer-of-a-gateway": arp_reply(
        replace(ASKED, tpa=IPv4Address("10.0.0.254")), lladdr=GATEWAY
    ),
    "na-answer-of-a-gateway": advertisement(
        replace(SOLICITED, target=IPv6Address("fd00::fd")), lladdr=GATEWAY, router=True
    ),
    "arp-poll": question(HOLDER, IP, 0),
    "lldp-trial": write(
        b"nobody else knows", port(1, 7), 1.2345, Reach.CABLE, serial=5
    ),
    "na-answer": advertisement(SOLICITED, lladdr=HOLDER, router=False),
    "na-answer-in-a-vlan": advertisement(
        replace(SOLICITED, vlan=5), lladdr=HOLDER, router=False
    ),
    "na-answer-of-a-router": advertisement(SOLICITED, lladdr=HOLDER, router=True),
    "na-defence": advertisement(DETECTED, lladdr=HOLDER, router=False),
    "ns-poll": question(HOLDER, IP6, 0),
    "of-aggregate-request": wire.aggregate_stats_request(OWNER << 48, OWNER_MASK),
    "of-barrier-request": wire.barrier_request(0),
    "of-bundle-add": [*wire.bundle(0, [wire.delete_by_cookie(SOME)], xid=0)][1],
    "of-bundle-commit": wire.commit(0, xid=0),
    "of-bundle-open": next(wire.bundle(0, [], xid=0)),
    "of-flow-mod-arp-answer": wire.flow_mod(arp.answer(5, 0, IP, HOLDER)),
    "of-flow-mod-delete": wire.delete_by_cookie(SOME),
    "of-flow-mod-nd-answer": wire.flow_mod(
        nd.answer(6, 0, IP6, HOLDER, False, GotoTable(7))
    ),
    "of-flows-request": wire.flow_stats_request(OWNER << 48, OWNER_MASK),
    "of-packet-out": wire.packet_out(POLL, Output(3)),
}
SWITCHES_OWN = {  # what no encoder of ours writes
    "arp-answer-in-a-vlan",
    "echo-reply-of-a-gateway",
    "echo-reply-of-a-gateway-in-ipv6",
    "na-defence-without-room",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_is_golden(name: str) -> None:
    assert WRITTEN[name] == golden(name)


def test_no_golden_octets_are_forgotten() -> None:
    assert ALL.keys() == WRITTEN.keys() | SWITCHES_OWN
