"""The OpenFlow channel under load, beside other controllers, in alternating rounds.

Simulated switches (tests/bench/switches.c) send packet-ins and check each answer octet
by octet.  isat answers questions in the switch, so that none comes to it: for the first
figures its switches are full, take none of the flows that would answer, and isat
answers itself.  A flow set-up is a pair of hosts that needs no controller any more: one
packet-in for each pair where flows are of pairs, one for each host where they are not,
as with isat and with Faucet.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.openflow import OWNER
from tests.bench.figures import Figure, Run, number, percentile
from tests.bench.stage import ROOT, STARTED, end
from tests.support.ryu_manager import free_ports
from tests.support.wait import wait_until

ROUNDS = 5
SECONDS = 2.0  # of each turn
SWITCHES, HOSTS, WINDOW = 4, 256, 64
PAIRED = 64  # hosts of each switch of which each pair is set up
LIMIT = 120.0  # seconds until a turn has ended
SOURCE = Path(__file__).with_name("switches.c")
PEERS = Path(__file__).with_name("peers")
QUIET = """\
sources: {netlink: false, ovsdb: false}
loops: false
links: {lldp: false}
liveness: {silent_after: 3600, forget_after: 7200}
"""
COOKIE = f"{OWNER << 48 | 1:x}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A controller.

    words   its command; {port} and {place} are filled in, as in settings
    answer  what it does with a question for a known host, as switches.c has it
    extra   further arguments of switches.c
    by_host whether its flows are of hosts, not of pairs of hosts
    settings  of its environment
    """

    name: str
    words: tuple[str, ...]
    answer: str = "reply"
    cookie: str = "0"
    extra: tuple[str, ...] = ()
    by_host: bool = False
    settings: tuple[tuple[str, str], ...] = ()


def ryu(*words: str) -> tuple[str, ...]:
    start = "from ryu.cmd.manager import main; main()"
    at = ("--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", "{port}")
    return (sys.executable, "-P", "-c", start, *at, *words)


ISAT = Peer(
    "isat",
    ryu(
        *("--isat-config", "{place}/isat.yaml", "--isat-socket", "{place}/isat.sock"),
        "controller.app",
    ),
    cookie=COOKIE,
    extra=("full",),
    by_host=True,
)
CLASSIC = Peer("a classic Ryu proxy-ARP application", ryu(str(PEERS / "proxy_arp.py")))
SIMPLE = Peer("ryu.app.simple_switch_13", ryu("ryu.app.simple_switch_13"))
OS_KEN = Peer(
    "the same application on os-ken",
    (
        *(str(ROOT / ".venv/os-ken/bin/python"), str(PEERS / "on_os_ken.py")),
        *("{port}", str(PEERS / "proxy_arp.py"), "{place}"),
    ),
)
TESTCONTROLLER = Peer(
    "ovs-testcontroller",
    (
        *("ovs-testcontroller", "-O", "OpenFlow13", "-vconsole:off"),
        *("--unixctl={place}/unixctl", "ptcp:{port}:127.0.0.1"),
    ),
    answer="flood",
)
FAUCET_COOKIE, FAUCET_VLAN = 0x5ADC15C0, 100
FAUCET = Peer(
    "Faucet",
    (
        *(str(ROOT / ".venv/faucet/bin/osken-manager"), "--ofp-listen-host"),
        *("127.0.0.1", "--ofp-tcp-listen-port", "{port}", "faucet.faucet"),
    ),
    cookie=f"{FAUCET_COOKIE:x}",
    extra=(str(FAUCET_VLAN),),
    by_host=True,
    settings=(
        ("FAUCET_CONFIG", "{place}/faucet.yaml"),
        ("FAUCET_LOG", "{place}/faucet.log"),
        ("FAUCET_EXCEPTION_LOG", "{place}/faucet-exception.log"),
        ("FAUCET_PROMETHEUS_ADDR", "127.0.0.1"),
        ("FAUCET_PROMETHEUS_PORT", "{another}"),
    ),
)


@dataclass(frozen=True, slots=True)
class Load:
    """What switches.c is to do, and with which peers isat is compared."""

    name: str
    words: tuple[str, ...]
    peers: tuple[Peer, ...]


def sized(kind: str, switches: int, hosts: int, window: int) -> tuple[str, ...]:
    return kind, str(switches), str(hosts), str(window)


MANY = Load(
    "ARP answers",
    sized("arp", SWITCHES, HOSTS, WINDOW),
    (CLASSIC, OS_KEN, TESTCONTROLLER),
)
ONE = Load("one question at a time", sized("arp", 1, 16, 1), (CLASSIC, TESTCONTROLLER))
PAIRS = Load(
    "pairs set up",
    sized("pairs", SWITCHES, PAIRED, PAIRED),
    (SIMPLE, TESTCONTROLLER, FAUCET),
)


def measure(run: Run) -> Iterator[Figure]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = built(place)
        ports = {}
        (place / "isat.yaml").write_text(QUIET)
        (place / "faucet.yaml").write_text(for_faucet())
        for peer in (ISAT, CLASSIC, OS_KEN, SIMPLE, TESTCONTROLLER, FAUCET):
            if is_there(peer):
                ports[peer.name] = stack.enter_context(running(peer, place))
            else:
                run.tell(
                    f"{peer.name} is not installed, and left out:"
                    " ./run setup --bench installs it"
                )
        stage = Stage(program, ports, run)
        found = stage.rounds((MANY, ONE, PAIRS))
    yield from answers(found[MANY.name])
    yield from latencies(found[ONE.name])
    yield from set_ups(found[PAIRS.name])
    yield checked(found)


def built(place: Path) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler for tests/bench/switches.c: apt-get install gcc"
    program = place / "switches"
    subprocess.run([compiler, "-O2", "-o", program, SOURCE], check=True)
    return program


def for_faucet() -> str:
    """It learns as fast as it can, and forgets nobody meanwhile."""
    vlan = f"vlans: {{all: {{vid: {FAUCET_VLAN}, max_hosts: {HOSTS}}}}}\n"
    return f"{vlan}dps:\n" + "".join(
        f"  s{number}: {{dp_id: {number}, hardware: Open vSwitch, timeout: 3600,"
        f" cookie: {FAUCET_COOKIE}, ignore_learn_ins: 0, learn_jitter: 0,"
        f" interface_ranges: {{1-{PAIRED}: {{native_vlan: all,"
        f" max_hosts: {HOSTS}}}}}}}\n"
        for number in range(1, SWITCHES + 1)
    )


# --- controllers --------------------------------------------------------------------


def is_there(peer: Peer) -> bool:
    return shutil.which(peer.words[0]) is not None


@contextmanager
def running(peer: Peer, place: Path) -> Iterator[int]:
    """Its port."""
    port, another = free_ports(2)
    filled = {"port": port, "another": another, "place": place}
    words = [word.format(**filled) for word in peer.words]
    settings = {name: value.format(**filled) for name, value in peer.settings}
    with (place / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", *words),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
            env=os.environ | settings,
        )  # fmt: skip
    try:
        wait_until(lambda: is_open(port), within=STARTED, why=peer.name)
        yield port
    finally:
        end(process)


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


# --- rounds -------------------------------------------------------------------------

Turns = Mapping[str, Sequence[Any]]  # what switches.c printed, by the peer's name


@dataclass(frozen=True, slots=True)
class Stage:
    program: Path
    ports: Mapping[str, int]
    run: Run

    def rounds(self, loads: Sequence[Load]) -> dict[str, Turns]:
        found: dict[str, dict[str, list[Any]]] = {load.name: {} for load in loads}
        for number_ in range(self.run.of(ROUNDS, least=1)):
            for load in loads:
                for peer in (ISAT, *load.peers):
                    if peer.name not in self.ports:
                        continue
                    told = self._turn(load, peer)
                    found[load.name].setdefault(peer.name, []).append(told)
                    self.run.tell(f"round {number_ + 1}, {load.name}: {peer.name}")
        return {name: turns for name, turns in found.items()}

    def _turn(self, load: Load, peer: Peer) -> Any:
        kind, *sizes = load.words
        extra = peer.extra
        if kind == "pairs" and peer.by_host:
            kind, extra = "hosts", () if peer is ISAT else extra
        seconds = SECONDS if self.run.share else 0.2
        done = subprocess.run(
            (str(self.program), str(self.ports[peer.name]), kind, peer.answer, *sizes,
             str(seconds), peer.cookie, *extra),
            capture_output=True, timeout=LIMIT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{load.name} of {peer.name}: {done.stderr}"
        return json.loads(done.stdout)


# --- figures --------------------------------------------------------------------------


def rate(told: Any) -> float:
    return float(told["answers"] / told["seconds"])


def pairs(told: Any) -> float:
    """Pairs a second: all of them, whatever each took."""
    return float(SWITCHES * PAIRED * (PAIRED - 1) / told["seconds"])


def middle(what: str, values: Sequence[float], unit: str, note: str = "") -> Figure:
    low, high = number(min(values)), number(max(values))
    spread = f"of {len(values)}, {low} to {high}"
    value = percentile(values, 50)
    shown = round(value) if value >= 100 else value
    return Figure(what, shown, unit, note=f"{spread}; {note}" if note else spread)


def for_each(what: str, rates: Sequence[float]) -> Figure:
    """Milliseconds that one took: what a plot shows, in which less is better."""
    times = tuple(1e3 / rate for rate in rates)
    return Figure(f"{what}: for each", percentile(times, 50), "ms", samples=times)


def ratio(
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    at_least: float | None = None,
    at_most: float | None = None,
) -> Figure:
    """Of the two in each round; the median of these."""
    each = [one / other for one, other in zip(ours, theirs, strict=True)]
    low, high = number(min(each)), number(max(each))
    note = f"of {len(each)} rounds, {low} to {high}"
    value = percentile(each, 50)
    return Figure(what, value, "x", at_most=at_most, at_least=at_least, note=note)


def answers(turns: Turns) -> Iterator[Figure]:
    each = {name: [rate(one) for one in told] for name, told in turns.items()}
    for name, values in each.items():
        yield middle(f"ARP answers: {name}", values, "/s")
        yield for_each(f"ARP answers: {name}", values)
    for peer, least in ((CLASSIC, 50.0), (OS_KEN, None), (TESTCONTROLLER, 2.0)):
        if peer.name in each:
            what = f"ARP answers: isat beside {peer.name}"
            yield ratio(what, each[ISAT.name], each[peer.name], at_least=least)


def latencies(turns: Turns) -> Iterator[Figure]:
    for name, told in turns.items():
        worst = number(max(one["p99"] for one in told))
        note = f"p99 up to {worst} us"
        values = [float(one["p50"]) for one in told]
        yield middle(f"one question at a time: {name}, p50", values, "us", note)
    ours = [one["p50"] for one in turns[ISAT.name]]
    for peer, most in ((CLASSIC, None), (TESTCONTROLLER, 1.5)):
        if peer.name in turns:
            theirs = [one["p50"] for one in turns[peer.name]]
            what = f"one question at a time: isat beside {peer.name}, p50"
            yield ratio(what, ours, theirs, at_most=most)


def set_ups(turns: Turns) -> Iterator[Figure]:
    each = {name: [pairs(one) for one in told] for name, told in turns.items()}
    hosts = {peer.name: [rate(one) for one in turns[peer.name]]
             for peer in (ISAT, FAUCET) if peer.name in turns}  # fmt: skip
    for name, rates in hosts.items():
        yield middle(f"new hosts learned: {name}", rates, "/s", "each with its flows")
    if FAUCET.name in hosts:
        what = f"new hosts learned: isat beside {FAUCET.name}"
        yield ratio(what, hosts[ISAT.name], hosts[FAUCET.name])
    for name, values in each.items():
        yield middle(f"pairs of {PAIRED} hosts set up: {name}", values, "/s")
        yield for_each(f"pairs of {PAIRED} hosts set up: {name}", values)
    for peer, least in ((SIMPLE, 50.0), (TESTCONTROLLER, None)):
        if peer.name in each:
            what = f"pairs of {PAIRED} hosts set up: isat beside {peer.name}"
            yield ratio(what, each[ISAT.name], each[peer.name], at_least=least)


def checked(found: Mapping[str, Turns]) -> Figure:
    all_told = [told for turns in found.values() for ones in turns.values()
                for told in ones]  # fmt: skip
    wrong = sum(told["wrong"] + told["unmatched"] for told in all_told)
    count, lost = (sum(told[key] for told in all_told) for key in ("answers", "lost"))
    note = f"of {count:,} that were checked; {lost} came late or never"
    return Figure("answers that were wrong", wrong, "", at_most=0, note=note)
