"""An attacker at a port of a real switch: what a guard lets through, and what it says.

The same attacks succeed against a learning switch: the test can see.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.flapping import MOVES_MAX
from tests.contracts.test_end_to_end import SOON, Controller, pings
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

ROOT = Path(__file__).parents[2]
GATEWAY, VICTIM, LIAR = (f"02:00:00:00:00:0{n}" for n in (1, 2, 3))
GATEWAY_IP, VICTIM_IP, LIAR_IP = (f"10.0.0.{n}" for n in (1, 2, 3))
EVERYTHING = "reply,request,announcement,mac,ip"
ATTACK = 6.0  # seconds: longer than Linux holds on to what it was told (locktime, 1 s)
PINGS = 80  # of which the last is sent after 4 s
LOST = re.compile(r"(\d+) packets transmitted, (\d+) received")

# The kernel shows all of them, or isat has only heard them.
SOURCES = {"shown": "netlink: true", "heard": "netlink: false"}


class Lab:
    """A gateway, its client and a liar on one bridge."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        ovs.add_bridge("br0", "fail_mode=secure")
        self.gateway = self.host("h1", GATEWAY_IP, GATEWAY, 1)
        self.victim = self.host("h2", VICTIM_IP, VICTIM, 2)
        self.liar = self.host("h3", LIAR_IP, LIAR, 3)

    def host(self, name: str, ip: str, mac: str, number: int) -> Host:
        return self.ovs.add_host(name, "br0", f"{ip}/24", mac, ofport=number)

    def guarded(self, mode: str, sources: str, more: str = "") -> Controller:
        controller = Controller(
            self.ovs,
            f"guard: {mode}\nbridges: {{br0: {{}}}}\n{more}\n"
            f"sources: {{ovsdb: '{self.ovs.remote}', {SOURCES[sources]}}}\n",
        )
        controller.start()
        wait_until(self.all_are_known(controller), within=SOON, why="three hosts")
        return controller

    def all_are_known(self, controller: Controller) -> Any:
        everybody = {GATEWAY_IP, VICTIM_IP, LIAR_IP}

        def known() -> bool:
            for host in (self.victim, self.liar):
                pings(self.ovs, host, GATEWAY_IP)
            return everybody <= controller.answered().keys()

        return known

    def learning(self) -> None:
        manager = str(Path(sys.executable).parent / "ryu-manager")
        flags = ("--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", "6653")
        self.ovs.start(manager, *flags, "ryu.app.simple_switch_13", log="ryu.log")
        self.ovs.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")
        for host in (self.victim, self.liar):
            wait_until(
                lambda host=host: pings(self.ovs, host, GATEWAY_IP),  # type: ignore[misc]
                within=SOON,
                why="a learning switch",
            )

    def attack(self, kinds: str) -> Damage:
        """While the victim pings its gateway."""
        script = str(ROOT / "tests/support")
        listener = self.ovs.start(
            *(sys.executable, f"{script}/overhear.py", LIAR, GATEWAY_IP),
            namespace=self.victim.namespace,
            log="overheard.log",
        )
        wait_until(lambda: "ready" in self.ovs.log("overheard.log"), why="a listener")
        told = (kinds, str(ATTACK), VICTIM, VICTIM_IP, GATEWAY, GATEWAY_IP)
        liar = self.ovs.start(
            *(sys.executable, f"{script}/attacker.py", *told),
            namespace=self.liar.namespace,
            log="attack.log",
        )
        command = ("ping", "-c", str(PINGS), "-i", "0.05", "-W", "1", GATEWAY_IP)
        done = self.ovs.run_in(self.victim.namespace, *command, check=False)
        believed = {self.neighbor()}
        while liar.poll() is None:  # who speaks later is believed, by turns
            believed.add(self.neighbor())
        assert liar.returncode == 0, self.ovs.log("attack.log")
        listener.wait(SOON)
        heard = json.loads(self.ovs.log("overheard.log").splitlines()[-1])
        return Damage(done.stdout, believed, heard)

    def neighbor(self) -> str:
        """Who the victim takes for its gateway."""
        words = ("ip", "-j", "neigh", "show", GATEWAY_IP, "dev", "eth0")
        rows = json.loads(self.ovs.run_in(self.victim.namespace, *words).stdout)
        return str(rows[0].get("lladdr", "")) if rows else ""


class Damage:
    """believed: whom the victim took for its gateway; heard: lies that reached it."""

    def __init__(self, ping: str, believed: set[str], heard: dict[str, int]) -> None:
        found = LOST.search(ping)
        assert found, ping
        self.lost = int(found[1]) - int(found[2])
        self.believed, self.heard = believed, heard


@pytest.fixture
def lab(ovs: PrivateOvs) -> Lab:
    return Lab(ovs)


@pytest.mark.parametrize("sources", SOURCES)
def test_where_it_is_enforced_no_lie_arrives_and_no_ping_is_lost(
    lab: Lab, sources: str
) -> None:
    controller = lab.guarded("enforce", sources)
    damage = lab.attack(EVERYTHING)
    assert damage.heard == {"arp": 0, "mac": 0, "ip": 0}
    assert (damage.believed, damage.lost) == ({GATEWAY}, 0)
    assert controller.answered()[GATEWAY_IP] == GATEWAY
    assert named(lab, controller, dropped=True) == ALL_KINDS
    assert pings(lab.ovs, lab.liar, GATEWAY_IP)  # who lies is still a host


@pytest.mark.parametrize("sources", SOURCES)
def test_where_it_is_watched_every_lie_is_told_by_name(lab: Lab, sources: str) -> None:
    controller = lab.guarded("watch", sources)
    damage = lab.attack(EVERYTHING)
    assert damage.heard["arp"] and damage.heard["ip"]
    told = named(lab, controller, dropped=False)
    # Of two who were only heard nobody can say who is right: from the moment on that
    # both are known, what they say contradicts nothing, and they are shown as rivals.
    assert told == ALL_KINDS if sources == "shown" else told <= ALL_KINDS


@pytest.mark.parametrize("sources", SOURCES)
def test_where_nobody_guards_the_rivals_are_shown(lab: Lab, sources: str) -> None:
    controller = lab.guarded("learn", sources)
    lab.attack("reply,request,announcement")
    rows = controller.isat("conflicts")
    rivals = [
        {
            (row["lladdr"], row["port"]),
            (row["against"]["lladdr"], row["against"]["port"]),
        }
        for row in rows
        if row["ip"] == GATEWAY_IP
    ]
    assert rivals == [{(LIAR, "h3"), (GATEWAY, "h1")}]


def test_where_nobody_guards_a_port_is_stolen_for_moments_and_the_thief_told(
    lab: Lab,
) -> None:
    """Frames with the gateway's MAC; nobody but the gateway itself says where it is."""
    controller = lab.guarded("learn", "heard")
    before = controller.isat("status")["counters"]["flows added"]
    lab.attack("mac")

    def thefts() -> list[Any]:
        return [row for row in controller.isat("conflicts") if row["lladdr"] == GATEWAY]

    wait_until(thefts, within=SOON, why="a conflict")
    [row] = thefts()
    assert (row["port"], row["against"]["port"]) == ("h3", "h1")
    assert row["kind"] in ("MAC spoofing", "MAC flapping")
    said = f"conflict: {GATEWAY} at br0:h3 sends, but is at br0:h1 (heard)"
    assert said in lab.ovs.log("isat.log")
    counters = controller.isat("status")["counters"]
    assert counters["moves that were damped"] > MOVES_MAX
    assert counters["flows added"] - before < 20 * MOVES_MAX
    assert pings(lab.ovs, lab.victim, GATEWAY_IP)


ALL_KINDS = {"reply", "request", "announcement", "IPv4 packet"}


def named(lab: Lab, controller: Controller, *, dropped: bool) -> set[str]:
    """The liar at its port: for the gateway's address, and as the gateway's MAC; by
    which kinds of packets."""

    def told() -> dict[tuple[str, str, str | None], Any]:
        rows = controller.isat("conflicts") or []
        return {(row["lladdr"], row["port"], row["ip"]): row for row in rows}

    claim, theft = (LIAR, "h3", GATEWAY_IP), (GATEWAY, "h3", None)
    wait_until(lambda: {claim, theft} <= told().keys(), within=SOON, why="conflicts")

    def is_back() -> bool:
        pings(lab.ovs, lab.gateway, VICTIM_IP)
        return bool(told()[claim]["against"]["port"] == "h1")

    if not dropped:  # there a stolen MAC is at the thief's port, until its owner speaks
        wait_until(is_back, within=SOON, why="the gateway to be where it is")
    row = told()[claim]
    assert (row["against"]["lladdr"], row["dropped"]) == (GATEWAY, dropped)
    assert row["against"]["port"] == "h1" or not dropped
    assert row["since"] is not None
    log = controller.ovs.log("isat.log")
    assert f"conflict: {LIAR} at br0:h3 says that it has {GATEWAY_IP}" in log
    return set(row["counts"])


@pytest.mark.parametrize("kind", ["reply", "announcement", "request"])
def test_the_same_lies_cut_the_victim_off_from_its_gateway_on_a_learning_switch(
    lab: Lab, kind: str
) -> None:
    lab.learning()
    damage = lab.attack(kind)
    assert damage.lost > 5
    assert LIAR in damage.believed


def test_frames_and_packets_of_a_liar_arrive_through_a_learning_switch(
    lab: Lab,
) -> None:
    lab.learning()
    heard = lab.attack("mac,ip").heard
    assert heard["mac"] > 100 and heard["ip"] > 100


def test_an_owner_of_an_enforced_port_is_never_cut_off(lab: Lab) -> None:
    controller = lab.guarded("enforce", "shown")
    inside = lab.liar.namespace

    def from_address(ip: str) -> bool:
        return pings(lab.ovs, lab.liar, VICTIM_IP, "-I", ip)

    lab.ovs.run_in(inside, "ip", "addr", "add", "10.0.0.33/24", "dev", "eth0")
    assert from_address("10.0.0.33")
    lab.ovs.run_in(inside, "ip", "link", "set", "eth0", "down")
    lab.ovs.run_in(inside, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:44")
    lab.ovs.run_in(inside, "ip", "link", "set", "eth0", "up")
    lab.ovs.run_in(lab.victim.namespace, "ip", "neigh", "flush", "all")
    wait_until(lambda: from_address("10.0.0.33"), within=SOON, why="another MAC")
    for free, status in (("10.0.0.77", 0), (GATEWAY_IP, 1)):
        probe = ("arping", "-D", "-q", "-c2", "-w3", "-I", "eth0", free)
        assert lab.ovs.run_in(inside, *probe, check=False).returncode == status
    assert controller.isat("conflicts") == []


def test_a_station_that_really_moves_is_believed_where_it_is(lab: Lab) -> None:
    """As a machine migrates behind a bridge: its old port stays up, and is silent."""
    controller = lab.guarded("enforce", "heard")
    lab.ovs.run_in(lab.liar.namespace, "ip", "addr", "flush", "dev", "eth0")
    change = ("ip", "link", "set", "dev", "eth0", "address")
    lab.ovs.run_in(lab.liar.namespace, *change, "02:00:00:00:00:55")
    moved = lab.host("h4", LIAR_IP, LIAR, 4)
    wait_until(
        lambda: pings(lab.ovs, moved, GATEWAY_IP), within=SOON, why="it has moved"
    )
    rows = {row["ip"]: row["port"] for row in controller.isat("hosts")}
    assert rows[LIAR_IP] == "h4"


def test_an_owner_is_defended_where_lies_are_let_through(lab: Lab) -> None:
    controller = lab.guarded("watch", "shown", "defend: true")
    lab.attack("reply")
    counters = controller.isat("status")["counters"]
    assert counters["announcements for owners"] == 1
    wait_until(lambda: lab.neighbor() == GATEWAY, within=SOON, why="the truth")
    assert pings(lab.ovs, lab.victim, GATEWAY_IP)
