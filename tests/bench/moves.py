"""A host moves to another switch: for how long is it not reached?

Four bridges in a ring (a private Open vSwitch, userspace datapath), and a host at each.
One host's cable is taken out of a bridge and put into the next one, by one transaction
of ovs-vsctl; another host sends to it every millisecond, and it sends back as often.
Downtime is the time in which what is sent to it gets lost.

Of one of the two that move the kernel shows where it is; the other one has to speak,
and says nothing of its move but what it says all the while.

At the switches that it does not move between, only its own flows may change.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from flows.network import network
from flows.view import PortKey
from tests.bench.figures import Figure, Run, spread
from tests.support.ground import Ground, Host, bridge
from tests.support.ovs import PrivateOvs
from tests.support.talk import ON_ITS_WAY, Talk
from tests.support.wait import wait_until
from tests.support.wild import Wild

MOVES = 60  # of each host
RING = ((1, 2), (2, 3), (3, 4), (4, 1))
ROOM = 40  # port_no of the first host, when it has moved
EVERY = 0.001  # seconds between two frames
PATIENCE = 20.0  # seconds: beyond, something is broken, not slow
STEADY = 50  # frames that arrive one after another
AT_MOST = 50.0  # ms
SAME = re.compile(r"duration=[^,]*, |n_packets=\d+, |n_bytes=\d+, |\w+_age=\d+, ")


def measure(run: Run) -> Iterator[Figure]:
    shape = Wild(0, len(RING), RING, (1, 2, 3, 4), frozenset())
    moves = run.of(MOVES)
    with PrivateOvs() as ovs, Ground(ovs, shape) as ground, Talk(ground, 0) as talk:
        wait_until(lambda: has_detected_duplicates(ground), within=PATIENCE, why="IPv6")
        for mover, what in (
            (ground.hosts[2], "whom the kernel shows"),
            (ground.hosts[3], "who has to speak"),
        ):
            run.tell(f"{moves} moves of a host {what}")
            yield from figures(what, Movements(ground, talk, mover, moves))


def has_detected_duplicates(ground: Ground) -> bool:
    """Kernels have the addresses that they made at the beginning (RFC 4862, 5.4)."""
    answered = {row["ip"] for row in ground.ask("hosts") if row["answered"]}
    return answered >= {host.link_local for host in ground.hosts if host.is_shown}


def figures(what: str, some: Movements) -> Iterator[Figure]:
    some.run()
    who = f"a host moves, {what}"
    half, most = spread(f"{who}: not reached", some.times, "ms")
    yield half
    yield Figure(most.what, most.measured, "ms", AT_MOST, note=most.note)
    yield Figure(f"{who}: copies of a frame", some.copies, "", 0)
    yield Figure(
        f"{who}: flows of others that change, at other switches", some.others, "", 0,
        note=f"{some.own} of its own",
    )  # fmt: skip


class Movements:
    """times    milliseconds in which it was not reached, of each
    own      flows that changed elsewhere and are its own
    others   and that are not
    """

    def __init__(self, ground: Ground, talk: Talk, mover: Host, moves: int) -> None:
        self.ground, self.talk, self.mover, self.moves = ground, talk, mover, moves
        self.partner = ground.hosts[0]
        self.times: list[float] = []
        self.copies = self.own = self.others = 0
        self.at = mover.at

    def run(self) -> None:
        for _ in range(self.moves):
            self._move(self.at.datapath_id % len(RING) + 1)

    def _move(self, to: int) -> None:
        self._announce_others()
        there, back = self.talk.begin(
            [(self.partner, self.mover), (self.mover, self.partner)], EVERY
        )
        for one in (there, back):
            wait_until(
                lambda one=one: one.goes_on(STEADY, 0.0),  # type: ignore[misc]
                within=PATIENCE,
                why="frames before a move",
            )
        others = [n for n in self.ground.numbers if n not in (self.at.datapath_id, to)]
        before = {n: self._held(n) for n in others}
        since = time.monotonic()
        self._plug(to)
        for one in (there, back):
            wait_until(
                lambda one=one: one.goes_on(STEADY, since),  # type: ignore[misc]
                within=PATIENCE,
                why="frames after a move",
            )
        wait_until(self._is_known, within=PATIENCE, why="the new place")
        self.talk.end((there, back))
        time.sleep(ON_ITS_WAY)
        self.times.append(there.lost(since - EVERY) * 1e3)
        self.copies += there.copies + back.copies
        # Who moves may hear a broadcast in both places.
        heard = self.talk.copies.items()
        self.copies += sum(n - 1 for (_, who), n in heard if who is not self.mover)
        for n in others:
            self._judge(before[n] ^ self._held(n))
        self.talk.forget()

    def _announce_others(self) -> None:
        """Who says nothing for half a minute is not answered for any more: that would
        be a change, but not of the move's."""
        for host in self.ground.hosts:
            if not host.is_shown and host is not self.mover:
                self.ground.announce(host)

    def _plug(self, to: int) -> None:
        name = self.mover.port
        words: tuple[str, ...] = ("del-port", bridge(self.at.datapath_id), name, "--")
        words += ("add-port", bridge(to), name, "--", "set", "interface", name)
        self.at = PortKey(to, ROOM + self.mover.number)
        self.ground.ovs.vsctl(*words, f"ofport_request={self.at.port_no}")

    def _is_known(self) -> bool:
        located = network(self.ground.view()).located.values()
        return [w.port for w in located if w.lladdr == self.mover.lladdr] == [self.at]

    def _held(self, n: int) -> set[str]:
        dumped = self.ground.ovs.ofctl("-OOpenFlow13", "dump-flows", bridge(n))
        return {SAME.sub("", row) for row in dumped.splitlines() if "cookie=" in row}

    def _judge(self, changed: set[str]) -> None:
        # A host that has to speak is not the interface at the end of its cable.
        mover = self.mover
        mine = {mover.lladdr, mover.ip, mover.end_lladdr, mover.link_local}
        own = sum(any(one in row for one in mine) for row in changed)
        self.own += own
        self.others += len(changed) - own
