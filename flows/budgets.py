"""How much one port may ask of the switch and of the controller: meters, by port.

A meter has no cookie, so its meter_id says whose it is: a block of ids is ours, eight
for each port.  Two ports of one switch whose numbers are equal modulo `PORTS` share
their budgets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum

from flows.openflow import Meter
from flows.view import Limits, Port, PortKey, View

FIRST = 1 << 15  # our first meter_id; lower ones are left to others
PORTS = 1 << 12  # blocks of eight
LAST = FIRST + 8 * PORTS - 1
NO_PORT = 0  # stands for ports that the controller has not heard of yet


class Budget(IntEnum):
    """What a meter counts.  The first five are copies of packets to the controller."""

    ARP = 0
    ND = 1
    DHCP = 2
    LLDP = 3
    OTHER = 4
    UNKNOWN = 5  # questions for an address that nobody is known to hold
    PROBES = 6  # duplicate address detection for such an address
    NEIGHBORS = 7  # all ARP and neighbor discovery that comes in


TELLING = (Budget.ARP, Budget.ND, Budget.DHCP, Budget.LLDP, Budget.OTHER)

IN_WORDS = {
    Budget.ARP: "ARP to the controller",
    Budget.ND: "neighbor discovery to the controller",
    Budget.DHCP: "DHCP to the controller",
    Budget.LLDP: "LLDP to the controller",
    Budget.OTHER: "new senders to the controller",
    Budget.UNKNOWN: "questions for unknown targets",
    Budget.PROBES: "probes for unknown targets",
    Budget.NEIGHBORS: "ARP and neighbor discovery",
}


def has_meters(view: View, datapath_id: int) -> bool:
    """The switch has said that it can have all of ours."""
    ability = view.abilities.get(datapath_id)
    return ability is not None and ability.greatest_meter >= LAST


def meter_id(port_no: int, budget: Budget) -> int:
    return FIRST + 8 * (port_no % PORTS) + budget


def is_ours(number: int) -> bool:
    return FIRST <= number <= LAST


def port_of(
    number: int, ports: Mapping[PortKey, Port], datapath_id: int
) -> Port | None:
    """The port that a meter of ours is for; None for ports that are not known yet."""
    slot = (number - FIRST) // 8
    mine = (port for key, port in ports.items() if key.datapath_id == datapath_id)
    return next((port for port in mine if port.port_no % PORTS == slot), None)


def budget_of(number: int) -> Budget:
    return Budget((number - FIRST) % 8)


def rate(limits: Limits, budget: Budget) -> int:
    """Packets a second."""
    told = limits.packet_ins_per_second
    return {
        Budget.ARP: told.arp,
        Budget.ND: told.nd,
        Budget.DHCP: told.dhcp,
        Budget.LLDP: told.lldp,
        Budget.OTHER: told.other,
        Budget.UNKNOWN: limits.unknown_targets_per_second,
        Budget.PROBES: limits.unknown_targets_per_second,
        Budget.NEIGHBORS: limits.neighbor_packets_per_second,
    }[budget]


def meters(view: View, datapath_id: int) -> dict[int, Meter]:
    """Every meter that a switch should have, by meter_id."""
    if not has_meters(view, datapath_id):
        return {}
    mine = (key.port_no for key in view.ports if key.datapath_id == datapath_id)
    return {m.meter_id: m for port in (NO_PORT, *mine) for m in of(port, view.limits)}


def of(port_no: int, limits: Limits) -> Iterator[Meter]:
    """What a second allows may come at once."""
    for budget in Budget:
        allowed = rate(limits, budget)
        yield Meter(meter_id(port_no, budget), allowed, allowed)
