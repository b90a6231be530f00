"""A program: the OVSDB edge as it runs under ryu-manager, patched by eventlet.

usage: python -m tests.contracts.ovsdb_under_eventlet green|native REMOTE BRIDGE

Adopts BRIDGE, prints the name of each event on a line, and ends.  With `native`, which
is ryu-manager's --enable-debugger, threads are those of the system.  Meanwhile a green
thread must go on: it counts its turns, and says at the end how many there were.
"""

from __future__ import annotations

import sys

import eventlet

# As ryu/cmd/manager.py does it, in two calls.
eventlet.monkey_patch(thread=False)
if sys.argv[1] == "green":
    eventlet.monkey_patch(thread=True)

from controller.events import Event  # noqa: E402
from controller.sources.ovsdb import Ovsdb  # noqa: E402

ENOUGH = 100  # turns while the edge has nothing to do


def main(remote: str, bridge: str) -> None:
    answers: list[Event] = []
    edge = Ovsdb(lambda event: print(type(event).__name__, flush=True), remote=remote)
    edge.start()
    edge.adopt(bridge, answer=answers.append)
    turns = 0
    while not answers or turns < ENOUGH:
        eventlet.sleep(0.001)
        turns += 1
    edge.stop()
    print(f"{turns} turns of another green thread", flush=True)


main(*sys.argv[2:])
