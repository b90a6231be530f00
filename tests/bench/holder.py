"""Be the process behind a tap: hold it, announce an address, and never answer.

    python -m tests.bench.holder t0 10.0.0.7 02:00:00:00:00:07

What it announces again and again is learned as soon as its port is up.
"""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from ipaddress import IPv4Address

from topologies.taphost import Me, announcement, mac_address, open_tap

EVERY = 0.02  # seconds


def hold(tap: int, me: Me) -> None:
    """Until it is killed."""
    while True:
        with suppress(OSError):  # the interface is not up yet, or no longer
            os.write(tap, announcement(me))
        select.select([], [], [], EVERY)


if __name__ == "__main__":
    who = Me(IPv4Address(sys.argv[2]), mac_address(sys.argv[3]))
    hold(open_tap(sys.argv[1], persist=False), who)
