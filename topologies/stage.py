"""The stage of the demo: controller, network, and a witness at every host.

Nothing here knows anything of the controller but its command line; what is claimed is
measured from outside, by witnesses (probe.py) and by ovs-ofctl.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from topologies import linear, marks
from topologies.emulation import ROOT, Emulation, NotEmulated
from topologies.network import Host, Network, Tap, renamed

VENV = ROOT / ".venv" / "bin"
PROBE = ROOT / "topologies" / "probe.py"
TAPHOST = ROOT / "topologies" / "taphost.py"
USUAL_PORT = 6653  # OpenFlow's, as IANA has it
PREFIX = "demo-"  # before our names, where the usual ones are taken
FREE_DPID = 0x15A7_0001  # and the first datapath identifier then
NOBODY_ANSWERS = 3  # exit status of isat: no controller at the socket

PATIENCE = 20.0  # seconds until something that should happen has failed
POLL = 0.02  # seconds between two looks at it

T = TypeVar("T")
Tell = Callable[[str, str], None]


class Failed(Exception):
    """A step did not hold.

    what, why  sentences
    hint       what to type, or to do
    """

    def __init__(self, what: str, why: str, hint: str = "") -> None:
        self.what, self.why, self.hint = what, why, hint
        super().__init__(what)


def until(condition: Callable[[], T], what: str, hint: str = "") -> T:
    """The first true value of `condition`; Failed if there is none in time."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise Failed(what, f"not within {PATIENCE:g} seconds", hint)
        time.sleep(POLL)
    return value


# --- programs that it runs ------------------------------------------------------


def command(*words: str, what: str = "", hint: str = "") -> str:
    """What a program prints; Failed if it does not succeed."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(what or f"{words[0]} does not run", str(error), hint) from error
    if done.returncode != 0:
        why = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise Failed(what or f"failed: {' '.join(words)}", why, hint)
    return done.stdout


@dataclass(slots=True)
class Controller:
    """`ryu-manager controller/app.py`, started, killed and asked.

    port       where switches connect
    directory  of its socket and its log
    """

    port: int
    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.directory / "controller.log"

    @property
    def socket(self) -> str:
        return str(self.directory / "isat.sock")

    def start(self) -> None:
        words = (
            # Should this process die, no controller stays behind.
            *("setpriv", "--pdeathsig", "KILL"),
            *(str(VENV / "ryu-manager"), "controller/app.py"),
            *("--ofp-listen-host", "127.0.0.1"),
            *("--ofp-tcp-listen-port", str(self.port)),
            *("--isat-socket", self.socket),
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us
            )
        until(self.answers, "the controller does not answer", "see its log below")

    def answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            status = self.process.returncode
            raise Failed("the controller ended", f"exit status {status}", "see below")
        return Path(self.socket).exists() and self.ask("status") is not None

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()

    def ask(self, verb: str, *words: str) -> Any:
        """`isat VERB --json`; None while nobody answers."""
        done = subprocess.run(
            (str(VENV / "isat"), verb, "--json", "--socket", self.socket, *words),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == NOBODY_ANSWERS:
            return None
        if done.returncode != 0:
            why = (done.stderr or done.stdout).strip()
            raise Failed(f"isat {verb} failed", why)
        return json.loads(done.stdout)

    def counters(self) -> Counter[str]:
        return Counter(self.ask("status")["counters"])

    def packet_ins(self) -> int:
        """Packets that switches have sent to the controller since it was started."""
        counters = self.counters()
        return sum(counters[name] for name in ("ArpSeen", "FrameSeen", "FrameIgnored"))


class Witness:
    """probe.py at one station: what it says and hears, whatever the switches claim."""

    def __init__(self, *words: str) -> None:
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.look()

    def look(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failed("a witness ended", f"exit status {self.process.wait()}")
        return dict(json.loads(line))

    def ask(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.look()

    def end(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


# --- the stage ------------------------------------------------------------------


@dataclass(slots=True)
class Stage:
    """Everything the story needs."""

    run: marks.Run
    network: Network
    controller: Controller
    running: Emulation | None = None
    witnesses: dict[str, Witness] = field(default_factory=dict)
    holders: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def emulation(self) -> Emulation:
        assert self.running is not None
        return self.running

    @property
    def bridges(self) -> list[str]:
        return [switch.name for switch in self.network.switches]

    def host(self, number: int) -> Host:
        return self.network.hosts[number - 1]

    def tap(self, number: int) -> Tap:
        return self.network.taps[number - 1]

    def rows(self) -> dict[str, dict[str, Any]]:
        """`isat hosts` by address, of our stations."""
        ours = {station.ip: station.mac for station in self.network.stations}
        rows = self.controller.ask("hosts") or []
        return {row["ip"]: row for row in rows if ours.get(row["ip"]) == row["lladdr"]}

    def answered(self) -> set[str]:
        """Addresses that the switches answer for."""
        return {ip for ip, row in self.rows().items() if row["answered"]}

    def watch(self) -> None:
        """Let a witness count at every station from now on."""
        for station in self.network.stations:
            count = (sys.executable, str(PROBE), "count")
            if isinstance(station, Tap):
                words: tuple[str, ...] = (*count, station.name, station.ip, "--far")
            else:
                inside = (*count, station.interface, station.ip)
                words = self.emulation.inside(station.name, *inside)
            self.witnesses[station.name] = Witness(*words)

    def counts(self) -> Counter[str]:
        """What all stations have said and heard since `watch`."""
        total: Counter[str] = Counter()
        for witness in self.witnesses.values():
            total.update(witness.ask())
        if total["missed"]:
            raise Failed("frames were not counted", "the machine was too busy")
        return total

    def flush(self) -> None:
        """Let every host forget who is where, so that ARP is really asked."""
        for host in self.network.hosts:
            self.emulation.run(host.name, "ip", "neigh", "flush", "all")

    def hold(self, tap: Tap) -> None:
        """Hold a tap by a process of ours, as Mininet did by one of its own."""
        words = (sys.executable, str(TAPHOST), tap.name, tap.ip, tap.mac)
        holder = subprocess.Popen(
            (*words, "--until-eof"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.holders.append(holder)

    def dismiss(self) -> None:
        """End the witnesses, and the processes that hold taps."""
        for witness in self.witnesses.values():
            witness.end()
        for holder in self.holders:
            holder.communicate(timeout=PATIENCE)  # closes its standard input

    def flows(self) -> dict[str, float]:
        """Seconds that each flow of each switch has existed for."""
        return {
            f"{bridge} {flow}": age
            for bridge in self.bridges
            for flow, age in flow_ages(bridge).items()
        }


def flow_ages(bridge: str) -> dict[str, float]:
    dumped = command("ovs-ofctl", "-OOpenFlow13", "dump-flows", bridge)
    found = re.findall(
        r" (cookie=\S+,) duration=([\d.]+)s, (table=\d+,) n_\w+=\d+, n_\w+=\d+, "
        r"(?:\w+_age=\d+, )*(.*)",
        dumped,
    )
    return {
        f"{table} {cookie} {rest}": float(age) for cookie, age, table, rest in found
    }


def controller_hits(bridges: list[str]) -> int:
    """Packets that met a flow which tells the controller, by the switches' counters."""
    hits = 0
    for bridge in bridges:
        for line in command("ovs-ofctl", "-OOpenFlow13", "dump-flows", bridge).split(
            "\n"
        ):
            if "CONTROLLER" in line:
                hits += int(re.findall(r"n_packets=(\d+)", line)[0])
    return hits


# --- setting the stage ----------------------------------------------------------


def require_everything() -> None:
    """Whatever is missing is said before anything is made."""
    if os.geteuid() != 0:
        raise Failed("the demo needs root", "it makes namespaces and bridges", "su -")
    for program in (VENV / "ryu-manager", VENV / "isat"):
        if not program.exists():
            raise Failed(
                f"{program} is missing", "nothing is set up yet", "./run setup"
            )
    switch = "Open vSwitch does not answer"
    command("ovs-vsctl", "--timeout=5", "show", what=switch, hint="./run setup")


def choose_datapath() -> str:
    return "kernel" if Path("/sys/module/openvswitch").exists() else "user"


def choose_port() -> tuple[int, str]:
    """The usual port, unless somebody listens there or somebody's switch would come."""
    targets = command("ovs-vsctl", "--bare", "--columns=target", "list", "controller")
    if f":{USUAL_PORT}\n" in targets:
        return any_port(), f"other bridges want a controller on port {USUAL_PORT}"
    try:
        with socket.socket() as probe:
            # Connections that were closed a minute ago are in nobody's way.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", USUAL_PORT))
    except OSError:
        return any_port(), f"somebody listens on port {USUAL_PORT}"
    return USUAL_PORT, ""


def any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def choose_names() -> tuple[Network, str]:
    """Mininet's usual names, unless one of them is somebody's."""
    network, taken = linear.NETWORK, taken_names()
    dpids = command("ovs-vsctl", "--bare", "--columns=datapath_id", "list", "bridge")
    used = {int(dpid, 16) for dpid in dpids.split()}
    theirs = sorted(taken.intersection(network.interfaces))
    if not theirs and not used.intersection(switch.dpid for switch in network.switches):
        return network, ""
    first = FREE_DPID
    while used.intersection(range(first, first + len(network.switches))):
        first += len(network.switches)
    other = renamed(network, PREFIX, first)
    if theirs_too := sorted(taken.intersection(other.interfaces)):
        raise Failed(
            "no name is free for the demo's switches",
            f"there are {theirs[0]} and {theirs_too[0]} already",
            f"remove what is not needed: ovs-vsctl del-br {theirs_too[0]}",
        )
    why = f"{theirs[0]} exists" if theirs else "their datapath identifiers are in use"
    return other, f"{why} and is not ours, so all names begin with {PREFIX}"


def taken_names() -> set[str]:
    bridges = command("ovs-vsctl", "list-br").split()
    return {*bridges, *(path.name for path in Path("/sys/class/net").iterdir())}


@contextmanager
def stage(run: marks.Run, tell: Tell) -> Iterator[Stage]:
    """Controller and network; gone again at the end."""
    network, why_names = choose_names()
    port, why_port = choose_port()
    for why in filter(None, (why_names, why_port)):
        tell("note", why)
    here = Stage(run, network, Controller(port, run.directory))
    with ExitStack() as stack:
        stack.callback(here.controller.end)
        here.controller.start()
        tell("controller", f"ryu-manager controller/app.py, OpenFlow 127.0.0.1:{port}")
        began = time.monotonic()
        here.running = stack.enter_context(emulated(here))
        took = time.monotonic() - began
        tell("network", f"{described(network)}, by Mininet in {took:.1f} s")
        stack.callback(here.dismiss)
        yield here


@contextmanager
def emulated(here: Stage) -> Iterator[Emulation]:
    emulation = Emulation(
        here.network,
        controller=f"127.0.0.1:{here.controller.port}",
        datapath=choose_datapath(),
        external_ids=here.run.external_ids,
        port_mark=here.run.port_mark,
        log=here.run.directory / "mininet.log",
    )
    try:
        emulation.__enter__()
    except NotEmulated as problem:
        raise Failed("Mininet has not made the network", str(problem)) from problem
    try:
        yield emulation
    finally:
        emulation.stop()


def described(network: Network) -> str:
    return (
        f"{len(network.switches)} switches, {len(network.hosts)} hosts, "
        f"{len(network.taps)} taps held by processes"
    )
