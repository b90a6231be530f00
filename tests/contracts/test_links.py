"""Switches of which the controller knows what they tell by OpenFlow, and no more: it
finds the cables between them, and believes in none that hosts make up."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller import trial
from flows.view import Port
from tests.contracts.test_end_to_end import ages, dump
from tests.support.cables import EXPERIMENTAL, HOST, Cables, bridge, ip, lladdr
from tests.support.frames import arp
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire

pytestmark = [pytest.mark.root, pytest.mark.ovs]

WITHIN = 30.0
LLDP = b"\x88\xcc"
GUEST = "02:00:00:00:00:77"
EVERY_SECOND = "links: {every: 1, hold: 20}\n"


@contextmanager
def cables(
    ovs: PrivateOvs, *joined: tuple[int, int], more: str = ""
) -> Iterator[Cables]:
    """Bridges of which only OpenFlow tells, and a station at each."""
    with Cables(ovs, joined, is_foreign=True, more=EVERY_SECOND + more) as made:
        yield made


def links(here: Cables) -> dict[str, dict[str, Any]]:
    """By the names of both ends, "c0-a c0-b"."""
    rows = here.controller.isat("links") or []
    return {
        " ".join(sorted((row["from"]["port"], row["to"]["port"]))): row for row in rows
    }


def roles(here: Cables) -> dict[str, str]:
    return {row["port"]: row["role"] for row in here.controller.isat("ports") or []}


def wait_for_cable(here: Cables, number: int) -> None:
    name = f"c{number}-a c{number}-b"

    def is_used() -> bool:
        row = links(here).get(name, {})
        return row.get("evidence") == "lldp" and row.get("broadcasts") != "refused"

    wait_until(is_used, within=WITHIN, why=f"the cable {name}")


def copies(here: Cables, start: int, at: int) -> int:
    """Of a broadcast of one station, at another, when it has gone everywhere."""
    here.streams += 2
    for number in (here.streams - 1, here.streams):
        body = struct.pack("!I", number).ljust(46, b"\0")
        head = b"\xff" * 6 + bytes.fromhex(lladdr(start).replace(":", ""))
        here.wires[start].send(head + EXPERIMENTAL + body)
    found: list[int] = []

    def has_ended() -> bool:
        for frame in here.wires[at].heard():
            if frame[12:14] == EXPERIMENTAL and frame[:6] == b"\xff" * 6:
                found.append(struct.unpack_from("!I", frame, 14)[0])
        return here.streams in found

    wait_until(has_ended, within=WITHIN, why="the broadcast")
    has_ended()
    return found.count(here.streams - 1)


def counters(here: Cables) -> dict[str, int]:
    return dict((here.controller.isat("status") or {"counters": {}})["counters"])


def log(here: Cables) -> str:
    return here.ovs.log("isat.log")


# --- cables ---------------------------------------------------------------------------


def test_cables_that_only_lldp_shows_are_used_as_any_other(ovs: PrivateOvs) -> None:
    with cables(ovs, (1, 2), (2, 3), (3, 1)) as here:
        for number in range(3):
            wait_for_cable(here, number)
        ends = {f"c{n}-{side}" for n in range(3) for side in "ab"}
        told = roles(here)
        assert {name for name, role in told.items() if role == "fabric"} == ends
        wait_until(
            lambda: [copies(here, 1, at) for at in (2, 3)] == [1, 1],
            within=WITHIN,
            why="one copy of each broadcast",
        )
        pairs = [(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b]
        wait_until(
            lambda: here.arrivals(pairs, {*pairs}) == dict.fromkeys(pairs, 1),
            within=WITHIN,
            why="each frame to arrive once",
        )
        hosts = here.controller.isat("hosts")
        places = {row["lladdr"]: row["port"] for row in hosts}
        assert places == {lladdr(n): f"w{n}" for n in (1, 2, 3)}, "none at a cable"


def test_a_cable_that_is_cut_is_gone_at_once_and_found_again(ovs: PrivateOvs) -> None:
    with cables(ovs, (1, 2), (2, 3), (3, 1)) as here:
        for number in range(3):
            wait_for_cable(here, number)
        here.cut(0)
        wait_until(lambda: "c0-a c0-b" not in links(here), within=WITHIN, why="the cut")
        pairs = [(1, 2), (2, 1)]
        wait_until(
            lambda: here.arrivals(pairs, {*pairs}) == dict.fromkeys(pairs, 1),
            within=WITHIN,
            why="the other way",
        )
        here.mend(0)
        wait_for_cable(here, 0)


def test_a_cable_that_is_plugged_in_never_carries_a_broadcast_in_a_circle(
    ovs: PrivateOvs,
) -> None:
    with cables(ovs, (1, 2)) as here:
        wait_for_cable(here, 0)
        over = threading.Event()
        heard: list[int] = []

        def ask() -> None:
            while not over.wait(0.01):
                heard.append(copies(here, 1, 2))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            number = here.add(1, 2)
            wait_for_cable(here, number)
        finally:
            over.set()
            thread.join()
        assert max(heard) == 1
        assert {role for role in roles(here).values()} <= {"fabric", "edge"}


def flows_of(here: Cables, cookies: set[str]) -> list[str]:
    dumped = dump(here.ovs, bridge(1)).splitlines()
    return [line for line in dumped if any(cookie in line for cookie in cookies)]


def knows_all(here: Cables) -> bool:
    """Each bridge holds all of its flows, and the way to the other's station."""
    told = (here.controller.isat("status") or {"switches": []})["switches"]
    held = {row["datapath_id"]: row["flows"] for row in told}
    counted = {f"{n:016x}": len(ages(here.ovs, bridge(n))) for n in here.numbers}
    return held == counted and bool(here.way(1, 2) and here.way(2, 1))


def test_a_restart_of_the_controller_changes_nothing(ovs: PrivateOvs) -> None:
    with cables(ovs, (1, 2)) as here:
        wait_for_cable(here, 0)
        wait_until(lambda: knows_all(here), within=WITHIN, why="all flows")
        before = ages(ovs, bridge(1))
        here.controller.kill()
        here.controller.start()
        wait_for_cable(here, 0)
        status = here.controller.isat("status")
        assert all(row["flows"] for row in status["switches"])
        after = ages(ovs, bridge(1))
        assert after.keys() == before.keys(), flows_of(here, {*after} - {*before})
        assert all(after[cookie] >= before[cookie] for cookie in before)


# --- who is not believed --------------------------------------------------------------


class Relay:
    """Who sits at two ports, and carries all LLDP from one to the other."""

    def __init__(self, one: Wire, other: Wire) -> None:
        self.carried = 0
        self._ends = ((one, other), (other, one))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.0005):
            for one, other in self._ends:
                for frame in one.heard():
                    if frame[12:14] == LLDP:
                        other.send(frame)
                        self.carried += 1


def is_refused(here: Cables) -> bool:
    row = links(here).get("w1 w2", {})
    return row.get("broadcasts") == "refused" and "host's port" in row["why"]


def test_hosts_that_relay_lldp_make_no_cable(ovs: PrivateOvs) -> None:
    with cables(ovs, (1, 2)) as here:
        wait_for_cable(here, 0)
        with Relay(here.wires[1], here.wires[2]) as relay:
            wait_until(lambda: is_refused(here), within=WITHIN, why="a refusal")
            before = relay.carried
            wait_until(lambda: relay.carried > before + 3, within=WITHIN, why="more")
        assert "fabric" not in {roles(here)["w1"], roles(here)["w2"]}
        assert "LLDP of br" in log(here) and "is a host's port" in log(here)


def test_a_port_that_goes_down_and_up_is_no_other_one(ovs: PrivateOvs) -> None:
    with cables(ovs, (1, 2)) as here:
        wait_for_cable(here, 0)
        for name in ("w1", "w2"):
            for is_up in (False, True):
                here.kernel.set_up(name, is_up)
        with Relay(here.wires[1], here.wires[2]):
            wait_until(lambda: is_refused(here), within=WITHIN, why="a refusal")


def test_a_forged_frame_is_told_of_and_goes_no_further(ovs: PrivateOvs) -> None:
    with cables(ovs, (1, 2)) as here:
        wait_for_cable(here, 0)
        named = Port(1, HOST, "w1", "", True)
        forged = trial.write(b"a guess", named, 1.0, trial.Reach.CABLE)
        here.wires[2].heard()
        here.wires[2].send(forged)
        wait_until(
            lambda: "LLDP at br2:w2 is refused: it is not ours" in log(here),
            within=WITHIN,
            why="a word about the forged frame",
        )
        assert copies(here, 2, 1) == 1
        assert forged not in here.wires[1].heard()
        assert "w2" not in " ".join(links(here))


def test_lldp_of_hosts_is_nobodys_business(ovs: PrivateOvs) -> None:
    """Neither forwarded, nor told to the controller, nor answered."""
    with cables(ovs, (1, 2)) as here:
        wait_for_cable(here, 0)
        named = Port(1, HOST, "w1", "", True)
        others = bytearray(trial.write(b"lldpd", named, 1.0, trial.Reach.CABLE))
        others[6:12] = bytes.fromhex(GUEST.replace(":", ""))
        before = counters(here).get("LLDP frames refused", 0)
        here.wires[1].send(bytes(others))
        assert copies(here, 1, 2) == 1
        here.wires[1].send(arp(sha=GUEST, spa=ip(77), tpa=ip(77)))
        wait_until(
            lambda: here.controller.answered().get(ip(77)) == GUEST,
            within=WITHIN,
            why="what was sent after it",
        )
        assert counters(here).get("LLDP frames refused", 0) == before
        assert bytes(others) not in here.wires[2].heard()
