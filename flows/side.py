"""Say which frames may not go their way freely: who is isolated, what must be filtered.

What the rules of `flows.private` and `flows.interpose` hold back is marked here, before
anything is answered; what their tables, `forward` and `flood` do with it follows.
"""

from __future__ import annotations

from collections.abc import Iterator

from flows import interpose, private
from flows.openflow import Flow, flow, oxm
from flows.parties import Located
from flows.switch import Here, Switch


def always(switch: Switch, here: Here) -> Iterator[Flow]:
    yield from private.marks(switch, here)
    yield from interpose.marks(switch, here)
    onward = here.goto("gateway")
    yield flow(here.table_id, 0, oxm(), onward, note="free to go its way")


def of_station(switch: Switch, here: Here, where: Located) -> Iterator[Flow]:
    yield from private.marks_of(switch, here, where)
