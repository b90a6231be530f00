"""Announce an address on behalf of its owner, when somebody else has claimed it.

In IPv6 that is an unsolicited advertisement with the flag O (RFC 4861, 7.2.6).
RFC 5227, 2.4 (b): one announcement, and no other within DEFEND_INTERVAL, so that two
who defend the same address do not go on for ever.  What was claimed within it is
answered at its end: whoever lied last would be believed for long.  The owner itself
does not hear it: if it just probes its address anew, it would take that for a conflict
(RFC 5227, 2.1.1; RFC 4862, 5.4.4).
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address

from controller.commands import SendPacket
from controller.conflicts import Conflict
from controller.ndp import announcement
from controller.packets import arp_request
from flows.openflow import FLOOD, SetField
from flows.parties import Origin
from flows.switch import DOMAIN
from flows.view import IPAddress

DEFEND_INTERVAL = 10.0  # seconds, RFC 5227, 1.1
# Addresses that were defended within the interval.  One port causes no more of them
# than it has conflicts (`controller.conflicts`).
DEFENDED_MAX = 1024


Place = tuple[int, int, IPAddress]  # datapath_id, VLAN, address


class Defence:
    """When which address was defended last, and against whom it has to be again."""

    def __init__(self) -> None:
        self.at: dict[Place, float] = {}
        self.owed: dict[Place, Conflict] = {}
        self.counters: Counter[str] = Counter()

    def against(self, row: Conflict, router: bool, now: float) -> SendPacket | None:
        """The owner's announcement; None if it is not sure whose the address is, if the
        claim went nowhere, or if it was defended a moment ago.

        router  the owner is one, and says so
        """
        found, vlan = row.found, row.said.vlan
        is_sure = found.origin in (Origin.KERNEL, Origin.CONFIGURED)
        if found.ip is None or found.port is None or not is_sure:
            return None
        place = (found.port.datapath_id, vlan, found.ip)
        if not row.said.kind.is_claim:
            return None
        if not self._may(place, now):
            if place in self.at:
                self.owed[place] = row
            else:
                self.counters["owners not announced for, as there are too many"] += 1
            return None
        self.at[place] = now
        data = announced(found.rival, found.ip, router, vlan)
        before = (SetField(DOMAIN, str(vlan)),)
        return SendPacket(
            found.port.datapath_id, FLOOD, data, found.port.port_no, before
        )

    def deadline(self) -> float | None:
        return min((self.at[p] + DEFEND_INTERVAL for p in self.owed), default=None)

    def due(self, now: float) -> list[Conflict]:
        """Those whose claim was not answered when it came, and may be now."""
        ready = [p for p in self.owed if now >= self.at[p] + DEFEND_INTERVAL]
        return [self.owed.pop(place) for place in ready]

    def _may(self, place: Place, now: float) -> bool:
        self.at = {
            p: at
            for p, at in self.at.items()
            if now < at + DEFEND_INTERVAL or p in self.owed
        }
        return place not in self.at and len(self.at) < DEFENDED_MAX


def announced(lladdr: str, ip: IPAddress, router: bool, vlan: int) -> bytes:
    if isinstance(ip, IPv4Address):
        return arp_request(eth_src=lladdr, spa=ip, tpa=ip, vlan=vlan)
    return announcement(lladdr=lladdr, ip=ip, router=router, vlan=vlan)
