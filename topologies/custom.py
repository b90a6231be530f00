"""What `mn --custom` takes from the file of a network: `topos` and `cleanup`.

Mininet is imported only when `mn` asks: no other Python has it.
"""

from __future__ import annotations

from collections.abc import Callable
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
