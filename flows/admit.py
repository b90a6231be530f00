"""Drop what no station may send, and sort frames into bridge domains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from flows import enforce
from flows.enforce import PRIORITY_TAGGED
from flows.forward import CONTROLLER_LLADDR
from flows.openflow import (
    ETH_LLDP,
    GROUP_BIT,
    TELL,
    Action,
    Flow,
    GotoTable,
    Move,
    PopVlan,
    PushVlan,
    SetField,
    flow,
    oxm,
)
from flows.switch import DOMAIN, TAGGED, Here, Switch
from flows.view import PortKey
from flows.vlans import EVERY, UNTAGGED, Membership, prefixes

NOWHERE = "00:00:00:00:00:00"
TRIAL = "03:69:73:61:74:00"  # a group of our own, which bridges of others pass on
NEAREST = "01:80:c2:00:00:0e"  # LLDP's, which they keep back: IEEE 802.1AB, 7.1
RESERVED = "01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"  # IEEE 802.1Q, table 8-1
PRESENT = 0x1000  # OFPVID_PRESENT
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
    yield flow(
        t,
        399,
        oxm(eth_type=ETH_LLDP, eth_dst=NEAREST, eth_src=CONTROLLER_LLADDR),
        TELL,
        note="LLDP that bears the source of our own is for the controller",
    )
    for port_no in switch.held:
        yield untried(t, port_no)
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
    for port in switch.ports:
        if port.key in switch.network.vlans:
            mark = enforce.mark(switch, port)
            yield from of_port(
                t, port.port_no, switch.membership(port.key), mark, onward
            )
    yield from enforce.marks(switch, here)
    yield flow(
        t,
        105,
        oxm(vlan_vid=PRIORITY_TAGGED),
        PopVlan(),
        onward,
        note="a tag that tells a priority alone is of no VLAN",
    )
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
def untried(table: int, port_no: int) -> Flow:
    note = f"drop: port {port_no} is being tried: it may lead to another switch"
    return flow(table, 398, oxm(in_port=port_no), note=note, subject=port_no)


@lru_cache(maxsize=1 << 10)
def closed(table: int, port_no: int, back_to: PortKey) -> Flow:
    far = f"port {back_to.port_no} of switch {back_to.datapath_id:x}"
    note = f"drop: port {port_no} leads back to {far}"
    return flow(table, 398, oxm(in_port=port_no), note=note, subject=port_no)


def to_domain() -> Move:
    return Move("vlan_vid", DOMAIN, bits=12)


@lru_cache(maxsize=1 << 12)
def of_port(
    table: int,
    port_no: int,
    port: Membership,
    mark: tuple[SetField, ...],
    onward: GotoTable,
) -> tuple[Flow, ...]:
    """What comes in by a port that is not a member of every VLAN."""
    name, native = f"port {port_no}", port.pvid

    def entry(priority: int, vid: str, way: tuple[Action, ...], note: str) -> Flow:
        at = {"vlan_vid": vid} if vid else {}
        match = oxm(in_port=port_no, **at)
        return flow(table, priority, match, *way, note=note, subject=port_no)

    if native is None:
        note = f"drop: {name} takes no untagged frames"
        untagged = [entry(220, PRIORITY_TAGGED, (), note), entry(190, "", (), note)]
    else:
        note = f"an untagged frame of {name} is of VLAN {native}"
        rest: tuple[Action, ...] = (*mark, onward)
        untagged = [
            entry(220, PRIORITY_TAGGED, (*into(native, True), *rest), note),
            entry(190, "", (*into(native, False), *rest), note),
        ]
    note = f"a tagged frame of a VLAN that {name} carries"
    way: tuple[Action, ...] = (to_domain(), *mark, onward)
    allowed = [entry(210, vid, way, note) for vid in vids(port.takes)]
    note = f"drop: a tag of a VLAN that {name} does not carry"
    others = [] if port.takes | UNTAGGED == EVERY else [entry(200, TAGGED, (), note)]
    return (*untagged, *allowed, *others)


def into(vlan: int, has_tag: bool) -> tuple[Action, ...]:
    """What makes an untagged or priority-tagged frame one of this VLAN."""
    if not vlan:
        return (PopVlan(),) if has_tag else ()
    tag = () if has_tag else (PushVlan(),)
    return *tag, SetField("vlan_vid", hex(PRESENT | vlan)), SetField(DOMAIN, str(vlan))


def vids(vlans: int) -> list[str]:
    """Values of vlan_vid that match the tags of these VLANs."""
    if vlans | UNTAGGED == EVERY:
        return [TAGGED]
    return [f"{PRESENT | vid:#x}/{PRESENT | mask:#x}" for vid, mask in prefixes(vlans)]


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
        far = switch.view.ports.get(switch.network.fabric.uplinks[key])
        if far and far.lladdr and far.lladdr != NOWHERE:
            yield flow(
                here.table_id,
                390,
                oxm(in_port=port_no, eth_src=far.lladdr),
                note=f"drop: {far.ifname} is a switch's own interface, not a host",
                subject=port_no,
            )
