"""Random networks whose cables fail and come back, as values: a seed says all of it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from topologies.shapes import Cable

SEEDS = 50
SWITCHES_LEAST, SWITCHES_MOST = 3, 30
CABLES_MOST = 45
HOSTS_OF_ONE = 2


@dataclass(frozen=True, slots=True)
class Wild:
    """cables   pairs of switches, by number; all are joined, some more than once
    hosts    the switch of each host; some switches have none, and some have two
    islands  cables that do not work at first: without them there may be two islands
    """

    seed: int
    switches: int
    cables: tuple[Cable, ...]
    hosts: tuple[int, ...]
    islands: frozenset[int]


def wild(seed: int, most: int = SWITCHES_MOST) -> Wild:
    """Sizes are spread evenly over the seeds."""
    chance = random.Random(seed)
    steps = most - SWITCHES_LEAST
    switches = SWITCHES_LEAST + round(seed % SEEDS * steps / max(1, SEEDS - 1))
    numbers = range(1, switches + 1)
    order = chance.sample(numbers, switches)
    cables = [
        (order[chance.randrange(max(0, n - 4), n)], order[n])
        for n in range(1, switches)
    ]
    more = min(chance.randint(1, switches), CABLES_MOST - len(cables))
    for _ in range(more):
        if chance.random() < 0.15:
            cables.append(chance.choice(cables))
        else:
            one, other = chance.sample(numbers, 2)
            cables.append((one, other))
    hosts = [*chance.sample(numbers, max(2, switches * 2 // 3))]
    hosts += chance.sample(numbers, switches // 5)
    late = chance.sample(range(len(cables)), len(cables) // 6)
    return Wild(seed, switches, tuple(cables), tuple(sorted(hosts)), frozenset(late))


def components(switches: Iterable[int], cables: Iterable[Cable]) -> dict[int, int]:
    """The smallest number of those that each switch reaches."""
    joined = [*cables]
    lowest: dict[int, int] = {}
    for start in switches:
        ahead = [] if start in lowest else [start]
        while ahead:
            here = ahead.pop()
            if here not in lowest:
                lowest[here] = start
                ahead += [b for a, b in joined if a == here]
                ahead += [a for a, b in joined if b == here]
    return lowest


def working(cables: Sequence[Cable], cut: Iterable[int]) -> list[Cable]:
    failed = {*cut}
    return [ends for n, ends in enumerate(cables) if n not in failed]
