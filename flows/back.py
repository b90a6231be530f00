"""Send an answer back by the port that its question came in by, as that port needs it.

An answer bears the tag of its VLAN, like every frame within the switch.  Only where
some port is told no tags do answers come here, and only those of its VLAN.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.openflow import BACK, Flow, PopVlan, flow, oxm
from flows.switch import DOMAIN, TAGGED, Here, Switch


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    for port in switch.ports:
        vlan = switch.membership(port.key).untagged
        if vlan:
            yield flow(
                here.table_id,
                100,
                oxm(in_port=port.port_no, vlan_vid=TAGGED, **{DOMAIN: vlan}),
                PopVlan(),
                BACK,
                note=f"VLAN {vlan} leaves port {port.port_no} untagged, answers too",
                subject=port.port_no,
            )
    yield flow(here.table_id, 0, oxm(), BACK, note="the answer, with its tag")
