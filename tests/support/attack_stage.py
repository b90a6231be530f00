"""A gateway, two victims and an attacker on one bridge, and what an attack does there.

The victims talk with the gateway while the attack goes on, by IPv4 and IPv6, alice from
before it begins, bob from after it; and each takes another address meanwhile.  Measured
is what happens to them, and what mallory, who attacks, gets of their conversation.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.contracts.test_end_to_end import SOON, Controller
from tests.support.attack_tools import Harm, Tool
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

SCRIPTS = Path(__file__).parent
RYU = str(Path(sys.executable).parent / "ryu-manager")
NAMES = ("gateway", "alice", "bob", "mallory")
VICTIMS = ("alice", "bob")
LLADDR = {name: f"02:00:00:00:00:0{n}" for n, name in enumerate(NAMES, 1)}
IP = {name: f"10.0.0.{n}" for n, name in enumerate(NAMES, 1)}
IP6 = {name: f"fd00::{n}" for n, name in enumerate(NAMES, 1)}
LINK = {name: f"fe80::ff:fe00:{n}" for n, name in enumerate(NAMES, 1)}
NOBODY = ("10.0.0.77", "fd00::77")  # asked for by bob meanwhile
NEW = {"alice": "fd00::a", "bob": "fd00::b"}  # addresses that they take meanwhile
FAR = "2001:db8:1::1"  # an address that is behind the gateway, and does not exist
KNOWN = {ip: LLADDR[name] for table in (IP, IP6, LINK) for name, ip in table.items()}
TRUE = (
    KNOWN | {ip: LLADDR[name] for name, ip in NEW.items()} | dict.fromkeys(NOBODY, "")
)
PLACES = {
    **IP,
    **{f"{name}6": ip for name, ip in IP6.items()},
    **{f"{name}_link": ip for name, ip in LINK.items()},
    "far6": FAR,
}
# Some tools fork for each packet that they send again, and forget their children: the
# kernel ends all of a PID namespace with its first process (pid_namespaces(7)).
ALONE = ("unshare", "--pid", "--fork", "--kill-child=KILL")
EVERY = 0.02  # seconds between two packets of a conversation
PATIENCE = 5  # seconds that the last answer may take
LOST = re.compile(r"(\d+) packets transmitted, (\d+) received")
READY = "ready"  # what a script says when it has begun


@dataclass(slots=True)
class Damage:
    """What an attack has done to whom.

    sent       packets of conversations
    lost       of these
    overheard  that the attacker got, requests and replies
    changes    what, of whom, and to what
    """

    sent: int = 0
    lost: int = 0
    overheard: int = 0
    changes: set[tuple[Harm, str, str]] = field(default_factory=set)

    @property
    def harms(self) -> set[Harm]:
        found = {what for what, _, _ in self.changes}
        if self.lost:
            found.add(Harm.LOST)
        return found | ({Harm.OVERHEARD} if self.overheard else set())


class Stage:
    """Ends with its Open vSwitch."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        self.controller: Controller | None = None
        ovs.add_bridge("br0", "fail_mode=secure")
        self.hosts = {name: self._host(n, name) for n, name in enumerate(NAMES, 1)}
        self.run("gateway", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")

    def _host(self, number: int, name: str) -> Host:
        ip, lladdr = f"{IP[name]}/24", LLADDR[name]
        host = self.ovs.add_host(name, "br0", ip, lladdr, ofport=number)
        words = ("ip", "address", "add", f"{IP6[name]}/64", "dev", "eth0", "nodad")
        self.ovs.run_in(host.namespace, *words)
        return host

    # --- who controls the bridge ----

    def isat(self, mode: str) -> None:
        """Which the kernel shows everybody."""
        ovsdb = f"sources: {{ovsdb: '{self.ovs.remote}'}}"
        config = f"guard: {mode}\nbridges: {{br0: {{}}}}\n{ovsdb}\n"
        self.controller = Controller(self.ovs, config)
        self.controller.start()
        wait_until(self._all_known, within=2 * SOON, why="isat to know everybody")

    def _all_known(self) -> bool:
        assert self.controller is not None
        told = self.controller.answered() | self.controller.answered(6)
        return told.items() >= KNOWN.items() and self._greet()

    def simple_switch_13(self) -> None:
        """Ryu's own: what a learning switch does."""
        flags = ("--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", "6653")
        self.ovs.start(RYU, *flags, "ryu.app.simple_switch_13", log="ryu.log")
        self.ovs.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")
        wait_until(self._greet, within=SOON, why="a learning switch")

    def _greet(self) -> bool:
        """Everybody was heard; bob has not talked with the gateway yet."""
        pairs = (("alice", "gateway"), ("mallory", "gateway"), ("bob", "alice"))
        return all(
            self._reaches(one, table[other])
            for one, other in pairs
            for table in (IP, IP6)
        )

    def _reaches(self, name: str, ip: str) -> bool:
        inside = self.hosts[name].namespace
        done = self.ovs.run_in(inside, "ping", "-c1", "-W1", ip, check=False)
        return done.returncode == 0

    def told(self) -> dict[str, bool]:
        """What isat says of mallory's port: by kind, whether it was dropped."""
        assert self.controller is not None
        rows = self.controller.isat("conflicts") or []
        found = [row for row in rows if row["port"] == "mallory"]
        return {row["kind"]: row["dropped"] for row in found}

    # --- inside ----

    def run(self, name: str, *words: str) -> str:
        return self.ovs.run_in(self.hosts[name].namespace, *words).stdout

    def start(self, name: str, *words: str, log: str) -> subprocess.Popen[bytes]:
        return self.ovs.start(*words, namespace=self.hosts[name].namespace, log=log)

    def script(self, name: str, script: str, *words: str) -> subprocess.Popen[bytes]:
        """One of ours; returns when it has begun."""
        (self.ovs.directory / script).unlink(missing_ok=True)
        program = str(SCRIPTS / script)
        child = self.start(name, sys.executable, program, *words, log=script)
        wait_until(lambda: READY in self.ovs.log(script), within=SOON, why=script)
        return child

    def rows(self, name: str, *words: str) -> list[dict[str, Any]]:
        return list(json.loads(self.run(name, "ip", "-j", *words) or "[]"))

    # --- an attack ----

    def attack(self, tools: Iterable[Tool], seconds: float) -> Damage:
        """As long as the conversations take."""
        damage = Damage()
        with self._routed(), self._overheard(damage), ExitStack() as attackers:
            count = round(seconds / EVERY)
            talks = [
                self._talk("alice", table["gateway"], count) for table in (IP, IP6)
            ]
            for tool in tools:
                attackers.enter_context(self._started(tool))
            self._forget()
            talks += [self._talk("bob", table["gateway"], count) for table in (IP, IP6)]
            for ip in NOBODY:
                self.start("bob", "ping", "-c1", f"-W{PATIENCE}", ip, log="nobody.log")
            for name, ip in NEW.items():
                self.run(name, "ip", "address", "add", f"{ip}/64", "dev", "eth0")
            while any(talk.poll() is None for talk, _ in talks):
                damage.changes |= set(self._changes())
            damage.changes |= set(self._denied())
        for _, log in talks:
            found = LOST.search(self.ovs.log(log))
            assert found, self.ovs.log(log)
            damage.sent += int(found[1])
            damage.lost += int(found[1]) - int(found[2])
        return damage

    @contextmanager
    def _started(self, tool: Tool) -> Iterator[None]:
        assert tool.program, tool.name
        words = tool.command.format(**PLACES).split()
        log = f"{tool.name}.log"
        child = self.start("mallory", *ALONE, tool.program, *words, log=log)
        try:
            yield
        finally:
            child.kill()
            child.wait()

    @contextmanager
    def _routed(self) -> Iterator[None]:
        """The gateway says that it is one, for as long as this goes on."""
        wait_until(self._has_links, within=SOON, why="link-local addresses")
        router = self.script("gateway", "router.py", LINK["gateway"])
        wait_until(lambda: not [*self._routers()], within=SOON, why="a default route")
        try:
            yield
        finally:
            router.kill()
            router.wait()

    def _has_links(self) -> bool:
        """Their duplicate address detection, which takes a second, is over."""
        own = [self._own(name).get(LINK[name]) for name in NAMES]
        return all(row is not None and not is_tentative(row) for row in own)

    @contextmanager
    def _overheard(self, damage: Damage) -> Iterator[None]:
        watched = [table[name] for table in (IP, IP6) for name in VICTIMS]
        listener = self.script("mallory", "eavesdrop.py", *watched)
        yield
        listener.terminate()
        listener.wait(SOON)
        damage.overheard = int(self.ovs.log("eavesdrop.py").splitlines()[-1])

    def _talk(
        self, name: str, ip: str, count: int
    ) -> tuple[subprocess.Popen[bytes], str]:
        log = f"{name}-{ip}.log"
        (self.ovs.directory / log).unlink(missing_ok=True)
        words = ("-q", "-c", str(count), "-i", str(EVERY), "-W", str(PATIENCE), ip)
        return self.start(name, "ping", *words, log=log), log

    def _forget(self) -> None:
        """Everybody asks anew, as from time to time.  Each entry once: one that is
        being asked for has a packet waiting, which would be lost with it."""
        for name in ("gateway", *VICTIMS):
            for row in self.rows(name, "neigh", "show", "dev", "eth0"):
                words = ("ip", "neigh", "delete", row["dst"], "dev", "eth0")
                if "lladdr" in row:
                    self.ovs.run_in(self.hosts[name].namespace, *words, check=False)

    def left_behind(self) -> list[str]:
        """Process ids of what still runs where the attacker was."""
        inside = self.hosts["mallory"].namespace
        return self.ovs.run("ip", "netns", "pids", inside).stdout.split()

    # --- what has changed ----

    def _changes(self) -> Iterator[tuple[Harm, str, str]]:
        yield from self._neighbors()
        yield from self._routers()
        yield from self._addresses()
        if LINK["mallory"] in self._way_of("alice"):
            yield Harm.ROUTE, "alice", FAR

    def _way_of(self, name: str) -> str:
        """Empty where there is none."""
        words = ("ip", "-6", "route", "get", FAR)
        inside = self.hosts[name].namespace
        return self.ovs.run_in(inside, *words, check=False).stdout

    def _neighbors(self) -> Iterator[tuple[Harm, str, str]]:
        for name in ("gateway", *VICTIMS):
            for row in self.rows(name, "neigh", "show", "dev", "eth0"):
                ip, lladdr = row["dst"], row.get("lladdr")
                if lladdr is not None and TRUE.get(ip, lladdr) != lladdr:
                    yield Harm.NEIGHBOR, name, f"{ip} at {lladdr}"

    def _routers(self) -> Iterator[tuple[Harm, str, str]]:
        for name in VICTIMS:
            rows = self.rows(name, "-6", "route", "show", "default")
            hops = [hop for row in rows for hop in (row, *row.get("nexthops", ()))]
            found = {hop["gateway"] for hop in hops if "gateway" in hop}
            for router in found ^ {LINK["gateway"]}:
                yield Harm.ROUTER, name, router

    def _addresses(self) -> Iterator[tuple[Harm, str, str]]:
        for name in VICTIMS:
            for ip in self._own(name):
                if ip not in TRUE:
                    yield Harm.ADDRESS, name, ip

    def _denied(self) -> Iterator[tuple[Harm, str, str]]:
        """Whether duplicate address detection let them have their new ones."""
        for name, ip in NEW.items():
            wait_until(
                lambda name=name, ip=ip: not is_tentative(self._own(name)[ip]),  # type: ignore[misc]
                within=SOON,
                why=f"duplicate address detection of {ip} to end",
            )
            if "dadfailed" in self._own(name)[ip]:
                yield Harm.DENIED, name, ip

    def _own(self, name: str) -> dict[str, dict[str, Any]]:
        rows = self.rows(name, "address", "show", "dev", "eth0")
        return {one["local"]: one for row in rows for one in row["addr_info"]}


def is_tentative(address: dict[str, Any]) -> bool:
    """Linux leaves the flag on one that it has not got."""
    return bool(address.get("tentative")) and "dadfailed" not in address
