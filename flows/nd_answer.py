"""Write the link-layer address into an advertisement, and send it back.

A switch knows this option only of what is an advertisement: so it takes a table after
the one that has made the solicitation one.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows.nd_guard import ADVERTISEMENT, nd
from flows.openflow import Flow, Move, flow, oxm
from flows.switch import Here, Switch


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    yield flow(
        here.table_id,
        100,
        nd(ADVERTISEMENT),
        Move("eth_src", "ipv6_nd_tll"),
        switch.back(None),
        note="the answer, out of the port that the question came in by",
    )
    yield flow(here.table_id, 0, oxm(), note="drop: only answers come here")
