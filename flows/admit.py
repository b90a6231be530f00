"""Drop what no station may send, and sort frames into bridge domains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from flows import enforce
from flows.openflow import ETH_LLDP, GROUP_BIT, TELL, Flow, GotoTable, Move, flow, oxm
from flows.switch import DOMAIN, Here, Switch
from flows.view import PortKey

NOWHERE = "00:00:00:00:00:00"
TRIAL = "03:69:73:61:74:00"  # a group of our own, which bridges of others pass on
RESERVED = "01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"  # IEEE 802.1Q, table 8-1
TAGGED = "0x1000/0x1000"  # OFPVID_PRESENT, OpenFlow 1.3, 7.2.3.7
UNICAST = f"{NOWHERE}/{GROUP_BIT}"


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    t, onward = here.table_id, here.goto("source")
    group = f"{GROUP_BIT}/{GROUP_BIT}"
    yield flow(t, 400, oxm(eth_src=group), note="drop: a group address sends nothing")
    yield flow(t, 400, oxm(eth_src=NOWHERE), note="drop: the source address is zero")
    yield flow(
        t,
        399,
        oxm(eth_type=ETH_LLDP, eth_dst=TRIAL),
        TELL,
        note="what tries whether a port leads back to us is for the controller",
    )
    for port_no in switch.loops:
        key = PortKey(switch.datapath_id, port_no)
        yield closed(t, port_no, switch.network.loops[key])
    for port_no in switch.uplinks:
        yield from on_its_way(t, port_no, onward)
    yield from switch_side(switch, here)
    yield flow(
        t,
        380,
        oxm(eth_dst=RESERVED),
        note="drop: link-local control frames (BPDU, LACP, EAPOL, LLDP) go no further",
    )
    yield flow(
        t, 380, oxm(eth_type=ETH_LLDP), note="drop: LLDP concerns one cable only"
    )
    yield from enforce.marks(switch, here)
    yield flow(
        t,
        100,
        oxm(vlan_vid=TAGGED),
        to_domain(),
        onward,
        note="a tagged frame belongs to the domain of its VLAN",
    )
    yield flow(t, 0, oxm(), onward, note="everything else is untagged")


@lru_cache(maxsize=1 << 10)
def closed(table: int, port_no: int, back_to: PortKey) -> Flow:
    far = f"port {back_to.port_no} of switch {back_to.datapath_id:x}"
    note = f"drop: port {port_no} leads back to {far}"
    return flow(table, 398, oxm(in_port=port_no), note=note, subject=port_no)


def to_domain() -> Move:
    return Move("vlan_vid", DOMAIN, bits=12)


@lru_cache(maxsize=1 << 12)
def on_its_way(table: int, port_no: int, onward: GotoTable) -> tuple[Flow, ...]:
    """What another switch has admitted already, for one station.

    Its source is not looked at again.  The datapath keeps an entry for each combination
    of what the tables look at: here one for each destination, not one for each pair of
    stations, which would be as many entries as pairs times switches between them."""
    note = f"port {port_no} leads to another switch, which has admitted the sender"
    return (
        flow(
            table,
            510,
            oxm(in_port=port_no, eth_dst=UNICAST, vlan_vid=TAGGED),
            to_domain(),
            onward,
            note=f"{note}; the frame belongs to the domain of its VLAN",
            subject=port_no,
        ),
        flow(
            table,
            500,
            oxm(in_port=port_no, eth_dst=UNICAST),
            onward,
            note=note,
            subject=port_no,
        ),
    )


def switch_side(switch: Switch, here: Here) -> Iterator[Flow]:
    """The far interface of an uplink is a switch's, yet its kernel speaks through it
    (router solicitations, mostly, and so to groups): it is nobody's host."""
    for port_no in switch.uplinks:
        key = next(port.key for port in switch.ports if port.port_no == port_no)
        far = switch.view.ports[switch.network.fabric.uplinks[key]]
        if far.lladdr and far.lladdr != NOWHERE:
            yield flow(
                here.table_id,
                390,
                oxm(in_port=port_no, eth_src=far.lladdr),
                note=f"drop: {far.ifname} is a switch's own interface, not a host",
                subject=port_no,
            )
