"""Ports that may lead to another switch of ours, for all that the kernel shows.

Behind most ports it shows a host, a Linux bridge or the other end of a cable.  What is
left are ports of switches of other hosts, and those that lead out of this one.  A cable
has two ends: where only one switch has such a port, it leads to none of ours.

Such a port that comes up is held until it was tried: it lets in and sends nothing but
LLDP of ours, so that nothing is learned of what another switch forwards, and no
broadcast goes round by a cable that nobody knows of yet.
"""

from __future__ import annotations

from collections.abc import Mapping

from flows.chains import Chain
from flows.memo import remember_last
from flows.tracked import Tracked
from flows.view import Adjacency, AdjacencyKey, PortKey, Untried


@remember_last
def open_ended(
    outward: frozenset[PortKey], behind: Tracked[PortKey, Chain]
) -> frozenset[PortKey]:
    """Ports that may be one end of a cable that nobody shows."""
    found = frozenset(key for key in outward if key not in behind)
    switches = {key.datapath_id for key in found}
    return found if len(switches) > 1 else frozenset()


@remember_last
def cable_ends(
    may_lead: frozenset[PortKey], adjacencies: Mapping[AdjacencyKey, Adjacency]
) -> frozenset[PortKey]:
    """The same, and the ends of cables that LLDP has shown: where it is sent."""
    ends = (end for row in adjacencies.values() for end in row.ends)
    return may_lead.union(ends) if adjacencies else may_lead


@remember_last
def held(
    untried: Mapping[PortKey, Untried], may_lead: frozenset[PortKey]
) -> frozenset[PortKey]:
    """Those of them that have not been tried since they came up."""
    return may_lead.intersection(untried) if untried else frozenset()
