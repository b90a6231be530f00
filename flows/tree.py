"""Which part of the broadcast tree may be open now.

The tree follows from the links.  When it changes, switches change one after another,
and for a moment some send along the old one and some along the new: two trees together
are a loop, and a broadcast in a loop is a storm.  So a cable is opened when no other
way can be open between its ends, and closed at once.  Both ends of a cable must be open
for a broadcast to pass: a switch takes none from where it sends none (`flows.flood`).
An overlay is a switch that sends on to all its ends, always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from flows.fabric import Fabric
from flows.joined import Cable, Joined
from flows.memo import remember_last
from flows.overlays import is_segment
from flows.tracked import Tracked
from flows.view import Adjacency, AdjacencyKey, Flooding, PortKey

Floods = Tracked[int, Flooding]
Departed = Mapping[AdjacencyKey, Adjacency]
NONE_DEPARTED: Departed = {}


@remember_last
def open_tree(
    shape: Fabric, floods: Floods, departed: Departed = NONE_DEPARTED
) -> frozenset[PortKey]:
    """Ports of the tree that their switches may open, whatever they have done so far
    of what they were told.

    departed  cables whose ports are gone, and may be back before their switches know
    """
    gone = (row.ends for row in departed.values())
    passing = {c for c in chain(cables(shape), gone) if may_pass(floods, c)}
    wanted = [cable for cable in cables(shape) if shape.tree.issuperset(cable)]
    allowed = {cable for cable in wanted if does_pass(floods, cable)}
    groups = Joined(passing | allowed)
    for cable in wanted:
        if cable in allowed:
            continue
        # One that is being opened must not be taken for another way beside itself.
        if cable in passing:
            is_safe = not are_joined(cable, (passing | allowed) - {cable})
        else:
            is_safe = groups.join(cable)
        if is_safe:
            allowed.add(cable)
    return frozenset(port for cable in allowed for port in cable)


@remember_last
def doubtful(shape: Fabric, floods: Floods, departed: Departed) -> frozenset[PortKey]:
    """Ports at whose other ends nothing is any more that is known, but may be in a
    moment, while frames are still sent there."""
    pairs = (pair for row in departed.values() for pair in (row.ends, row.ends[::-1]))
    return frozenset(
        here
        for here, far in pairs
        if here not in shape.uplinks and may_send(floods.get(far.datapath_id), far)
    )


def cables(shape: Fabric) -> Iterator[Cable]:
    """Each once, also those within one switch."""
    return ((a, b) for a, b in sorted(shape.uplinks.items()) if a < b)


def may_pass(floods: Floods, cable: Cable) -> bool:
    return all(
        may_send(floods.get(port.datapath_id), port) for port in switches_of(cable)
    )


def may_send(row: Flooding | None, port: PortKey) -> bool:
    """By what it does, or by what it has sent there already."""
    return row is not None and (
        row.is_unknown or port.port_no in row.may or port.port_no in row.left
    )


def does_pass(floods: Floods, cable: Cable) -> bool:
    rows = [(floods.get(port.datapath_id), port) for port in switches_of(cable)]
    return all(row is not None and port.port_no in row.does for row, port in rows)


def switches_of(cable: Cable) -> Iterator[PortKey]:
    """Ends that somebody decides about."""
    return (port for port in cable if not is_segment(port.datapath_id))


def are_joined(cable: Cable, others: Iterable[Cable]) -> bool:
    """Whether there is a way between the switches of a cable by the others."""
    one, other = (port.datapath_id for port in cable)
    leads: dict[int, set[int]] = {}
    for a, b in others:
        leads.setdefault(a.datapath_id, set()).add(b.datapath_id)
        leads.setdefault(b.datapath_id, set()).add(a.datapath_id)
    seen, ahead = {one}, [one]
    while ahead:
        new = leads.get(ahead.pop(), set()) - seen
        seen |= new
        ahead += new
    return other in seen
