"""What is new of the cables between switches, for the log."""

from __future__ import annotations

from collections.abc import Iterator

from controller.conflicts import port_in_words
from flows.fabric import Fabric
from flows.joined import Cable
from flows.overlays import is_segment
from flows.tree import cables
from flows.view import View

AT_MOST = 8  # cables that are told one by one; of more only how many


def news(before: Fabric, now: Fabric, view: View) -> Iterator[str]:
    """ "the cable from s1-eth2 to s2-eth1 is known"."""
    if before is now:
        return
    was, are = {*cables(before)}, {*cables(now)}
    for what, some, shape in (("known", are - was, now), ("gone", was - are, before)):
        if len(some) > AT_MOST:
            yield f"{len(some)} cables between switches are {what}"
            continue
        for cable in sorted(some):
            yield f"the cable from {in_words(cable, view, shape)} is {what}"
    yield from moved(before, now, len(are))


def in_words(cable: Cable, view: View, shape: Fabric) -> str:
    """The second of them may be that of an overlay."""
    one, other = cable
    near = port_in_words(one, view)
    if is_segment(other.datapath_id):
        return f"{near} to the overlay {shape.segments[other.datapath_id].name}"
    return f"{near} to {port_in_words(other, view)}"


def moved(before: Fabric, now: Fabric, count: int) -> Iterator[str]:
    """Where broadcasts go, if that has changed."""
    if before.tree != now.tree:
        used = len(now.tree) // 2
        yield f"broadcasts take {used} of {count} cables"
