"""What `mn --custom` takes from the file of a network: `topos` and `cleanup`.

Mininet is imported only when `mn` asks: no other Python has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from topologies.network import Network


def topos_of(network: Network) -> dict[str, Callable[..., Any]]:
    """By the name that --topo takes; in `--topo NAME,ipv6=1` hosts speak IPv6, too."""

    def topo(ipv6: int = 0) -> Any:
        from topologies.mn import NetworkTopo

        return NetworkTopo(replace(network, ipv6=bool(ipv6)))

    return {network.name: topo}


def cleanup_of(network: Network) -> Callable[[], None]:
    """What `mn` does after an error, or Ctrl-C, instead of its own cleanup.

    Its own kills every ryu-manager of the machine, and deletes every bridge.
    """

    def cleanup() -> None:
        from topologies.mn import remove

        remove(network)

    return cleanup


Topos = dict[str, Callable[..., Any]]


def customs_of(
    shapes: Iterable[Callable[..., Network]],
) -> tuple[Topos, Callable[[], None]]:
    """The same for networks whose size `--topo NAME,SIZE` says, under the names of the
    functions that make them."""
    made: list[Network] = []

    def topo_of(shape: Callable[..., Network]) -> Callable[..., Any]:
        def topo(*size: int, ipv6: int = 0) -> Any:
            made.append(shape(*size))
            return topos_of(made[-1])[made[-1].name](ipv6)

        return topo

    def cleanup() -> None:
        for network in made:
            cleanup_of(network)()

    return {shape.__name__: topo_of(shape) for shape in shapes}, cleanup
