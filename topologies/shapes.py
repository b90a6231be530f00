r"""Shapes of any size, as values: ring(20), mesh(6), fat_tree(4), row(50), tree(3, 3).

    ring 4           mesh 4           row 4               tree 2,2        islands 3

    s1 --- s2        s1 --- s2        s1 - s2 - s3 - s4       s1          s1      s4
    |      |         | \  / |                                /  \         | \     | \
    |      |         |  \/  |                               s2   s3       |  s2   |  s5
    |      |         |  /\  |                              / \   / \      | /     | /
    s4 --- s3        s4 --- s3                            h1 h2 h3 h4     s3      s6

Each switch of a ring, a mesh, a row or an island has one host, of its own number, at
port 1.  A switch's ports are counted on as its cables are plugged in: hosts first.

    mn --custom topologies/shapes.py --topo ring,20
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

if __name__ == "builtins":  # read by mn --custom: see topologies/__init__.py
    this_file = Path(sys._getframe().f_code.co_filename).resolve()
    sys.path.insert(0, str(this_file.parents[1]))

from topologies.custom import customs_of
from topologies.network import End, Host, Link, Network, Switch

Cable = tuple[int, int]  # numbers of two switches
HOSTS_MAX = (1 << 16) - 2  # what a /16 has room for


def ring(size: int = 3) -> Network:
    """Each switch is joined to the next, and the last to the first."""
    at_least("ring", "switches", size, 3)
    return of_cables("ring", size, around(1, size))


def mesh(size: int = 4) -> Network:
    """Every switch is joined to every other."""
    at_least("mesh", "switches", size, 2)
    return of_cables("mesh", size, combinations(range(1, size + 1), 2))


def row(size: int = 3) -> Network:
    """Mininet's own `linear`, under another name: topologies/linear.py has that one."""
    at_least("row", "switches", size, 1)
    return of_cables("row", size, ((n, n + 1) for n in range(1, size)))


def tree(depth: int = 2, fanout: int = 2) -> Network:
    """Mininet's own `tree`: switches on `depth` levels, hosts below the lowest."""
    at_least("tree", "levels", depth, 1)
    at_least("tree", "branches", fanout, 1)
    levels = [fanout**level for level in range(depth)]
    size, leaves = sum(levels), levels[-1]
    cables = ((2 + (n - 2) // fanout - 1, n) for n in range(2, size + 1))
    first_leaf = size - leaves + 1
    hosts = (first_leaf + n // fanout for n in range(leaves * fanout))
    return of_cables("tree", size, cables, hosts)


def fat_tree(k: int = 4) -> Network:
    """Al-Fares et al., SIGCOMM 2008: k pods of k/2 + k/2 switches, (k/2)^2 above them.

    Numbers: the switches above first, then pod by pod its upper and its lower ones.
    """
    at_least("fat_tree", "ports", k, 2)
    if k % 2:
        raise ValueError(f"fat_tree,{k}: half of a switch's ports lead up: use {k + 1}")
    half, above = k // 2, (k // 2) ** 2
    pods = [above + 1 + pod * k for pod in range(k)]  # the first switch of each
    lowest = [first + half + n for first in pods for n in range(half)]
    hosts = (switch for switch in lowest for _ in range(half))
    return of_cables("fat_tree", above + k * k, fat_cables(half, pods), hosts)


def fat_cables(half: int, pods: Iterable[int]) -> Iterator[Cable]:
    for first in pods:
        for upper in range(half):
            yield from ((1 + upper * half + n, first + upper) for n in range(half))
            yield from ((first + upper, first + half + n) for n in range(half))


def islands(size: int = 3) -> Network:
    """Two rings that nothing joins yet; see `bridges`."""
    at_least("islands", "switches each", size, 3)
    rings = (*around(1, size), *around(size + 1, 2 * size))
    return of_cables("islands", 2 * size, rings)


def bridges(size: int = 3) -> tuple[Link, ...]:
    """Two cables that join `islands(size)` at free ports, and make a loop of both."""
    return tuple(Link(End(f"s{n}", 4), End(f"s{size + n}", 4)) for n in (1, 2))


def around(first: int, last: int) -> Iterator[Cable]:
    yield from ((n, n + 1) for n in range(first, last))
    yield first, last


def of_cables(
    name: str, size: int, cables: Iterable[Cable], hosts: Iterable[int] | None = None
) -> Network:
    """Switches s1 to s<size>, with these cables plugged in one after another.

    hosts  the switch of each host; else every switch has one
    """
    plugged = dict.fromkeys(range(1, size + 1), 0)

    def end(switch: int) -> End:
        plugged[switch] += 1
        return End(f"s{switch}", plugged[switch])

    stations = tuple(
        host(n, end(switch))
        for n, switch in enumerate(hosts or range(1, size + 1), start=1)
    )
    if len(stations) > HOSTS_MAX:
        raise ValueError(
            f"{name}: {len(stations)} hosts; there is room for {HOSTS_MAX}"
        )
    return Network(
        name=name,
        switches=tuple(Switch(f"s{n}", dpid=n) for n in plugged),
        hosts=stations,
        links=tuple(Link(end(one), end(other)) for one, other in cables),
        prefixlen=24 if len(stations) < 255 else 16,
    )


def host(n: int, at: End) -> Host:
    high, low = divmod(n, 256)
    return Host(f"h{n}", f"10.0.{high}.{low}", f"02:00:00:00:{high:02x}:{low:02x}", at)


def at_least(shape: str, what: str, given: object, least: int) -> None:
    if not isinstance(given, int) or given < least:  # mn passes on what was typed
        raise ValueError(
            f"{shape}: {given!r} {what}; write a whole number from {least} on"
        )


SHAPES = (ring, mesh, row, tree, fat_tree, islands)

topos, cleanup = customs_of(SHAPES)
