"""How fast a cable between two switches is, and what it costs a frame to take it.

    cost(10_000_000) == 2_000_000

Table 17-3 of IEEE 802.1D-2004: 20 Tb/s divided by the rate, 1 to 200,000,000.  What
nobody limits costs 1, the least: where there are no rates a way is as long as it has
cables.  A rate is that of the slower end, so that the cost is the same in both
directions, as `flows.ways` needs it to be.
"""

from __future__ import annotations

from collections.abc import Mapping

from flows.memo import remember_last
from flows.tracked import Tracked
from flows.view import OWN_NAMESPACE, Interface, PortKey, Shaper, ShaperKey
from flows.ways import COST, Costs

REFERENCE = 20 * 10**12  # bits per second
COST_MAX = 200_000_000

Rates = Mapping[PortKey, int]


def cost(rate: int) -> int:
    """0 is no limit."""
    return min(max(REFERENCE // rate, COST), COST_MAX) if rate else COST


@remember_last
def costs(known: Rates) -> Costs:
    """Of cables that are limited; each other one costs `COST`."""
    return {port: cost(rate) for port, rate in known.items()}


@remember_last
def rates(
    uplinks: Mapping[PortKey, PortKey],
    interfaces: Tracked[PortKey, Interface],
    shapers: Tracked[ShaperKey, Shaper],
) -> Rates:
    """Bits per second of a cable, at both of its ends, if it is limited.

    uplinks  the other end of each end
    """
    known = sent(interfaces, shapers)
    cables = uplinks.items()
    return {port: rate for port, far in cables if (rate := slower(known, port, far))}


def sent(
    interfaces: Tracked[PortKey, Interface], shapers: Tracked[ShaperKey, Shaper]
) -> Rates:
    """Bits per second of what ports send, where it is limited."""
    if not shapers:
        return {}
    return {
        port: shaper.rate
        for port, row in interfaces.items()
        if (shaper := shapers.get(ShaperKey(OWN_NAMESPACE, row.ifindex)))
    }


def slower(known: Rates, *ends: PortKey) -> int:
    """Of these ends; 0 if none is limited."""
    return min((known[end] for end in ends if end in known), default=0)
