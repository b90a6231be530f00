"""A controller that runs, and peers that mean no good."""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows import wire
from tests.bench.intruder import Intruder
from tests.bench.siege import MISTAKE
from tests.conftest import cannot_run
from tests.sources.test_openflow_check import BAD, message
from tests.support.fake_switch import (
    ECHO_REPLY,
    ECHO_REQUEST,
    FakeSwitch,
    connected,
)
from tests.support.full_switch import FullSwitch, question
from tests.support.keys import Keys, new_keys
from tests.support.wait import wait_for_start, wait_until

ISAT = (sys.executable, "-m", "controller.cli")
OFF = "sources: {netlink: false, ovsdb: false}\n"
LOCAL = "openflow.sock"
ALIVE = 5.0  # seconds that an answer may take; a parser that hangs takes for ever
GROWTH = 32 * 1024  # KiB
HANDSHAKES_MAX = 128


@dataclass(frozen=True, slots=True)
class Controller:
    process: subprocess.Popen[bytes]
    port: int
    directory: Path

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=ALIVE)

    @property
    def local(self) -> Path:
        """Its unix socket for switches."""
        return self.directory / LOCAL

    def status(self) -> Any:
        done = subprocess.run(
            (*ISAT, "status", "--json", "--socket", str(self.directory / "isat.sock")),
            capture_output=True, check=True, timeout=30,
        )  # fmt: skip
        return json.loads(done.stdout)

    def memory(self) -> int:
        """KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1])

    def log(self) -> str:
        return (self.directory / "log").read_text()


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    directory = tmp_path_factory.mktemp("channel")
    with started(directory, "--ofp-tcp-listen-port") as running:
        yield running


@contextmanager
def started(directory: Path, port_flag: str, *flags: str) -> Iterator[Controller]:
    local = f"openflow: unix:{directory / LOCAL}\n"
    (directory / "lab.yaml").write_text(OFF + local)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with (directory / "log").open("wb") as output:
        process = subprocess.Popen(
            (*ISAT, "run", "--socket", str(directory / "isat.sock"),
             "--isat-config", str(directory / "lab.yaml"),
             port_flag, str(port), *flags),
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    running = Controller(process, port, directory)
    try:
        wait_for_start(process, lambda: is_open(running), why="it listens")
        yield running
    finally:
        process.kill()
        process.wait()


def is_open(controller: Controller) -> bool:
    try:
        controller.connect().close()
    except OSError:
        return False
    return True


@pytest.fixture
def healthy(controller: Controller) -> Iterator[FakeSwitch]:
    with FakeSwitch(controller.port, datapath_id=7) as switch:
        yield switch


def is_closed(peer: socket.socket) -> bool:
    """It has nothing more to say to us."""
    peer.settimeout(ALIVE)
    try:
        while peer.recv(65536):
            continue
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("name", BAD)
def test_who_sends_nonsense_is_closed_and_nobody_else_notices(
    controller: Controller, healthy: FakeSwitch, name: str
) -> None:
    """At once, and after a HELLO."""
    for before in (b"", message(0)):
        with controller.connect() as peer:
            peer.sendall(before + BAD[name])
            assert is_closed(peer)
        assert healthy.echo() < ALIVE


def test_octets_that_are_no_openflow_are_closed(
    controller: Controller, healthy: FakeSwitch
) -> None:
    for octets in (b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 64):
        with controller.connect() as peer:
            peer.sendall(octets)
            assert is_closed(peer)
    assert healthy.echo() < ALIVE


def test_every_refusal_is_counted_by_its_reason(controller: Controller) -> None:
    before = sum(refusals(controller).values())
    with controller.connect() as peer:
        peer.sendall(BAD["packet-out"])
        assert is_closed(peer)
    wait_until(lambda: sum(refusals(controller).values()) > before, why="a count")


def refusals(controller: Controller) -> dict[str, int]:
    counters = controller.status()["counters"]
    return {name: n for name, n in counters.items() if name.startswith("closed:")}


def test_a_thousand_of_them_are_a_few_lines_and_no_memory(
    controller: Controller, healthy: FakeSwitch
) -> None:
    before, lines = controller.memory(), controller.log().count("\n")
    for _ in range(1000):
        with controller.connect() as peer:
            peer.sendall(BAD["flow-mod, instruction length 0"])
            assert is_closed(peer)
    assert healthy.echo() < ALIVE
    assert controller.memory() - before < GROWTH
    assert controller.log().count("\n") - lines < 20


def test_a_message_may_come_octet_by_octet_or_many_at_once(
    controller: Controller,
) -> None:
    with FakeSwitch(controller.port, datapath_id=9) as switch:
        for octet in message(2, b"slow"):
            switch.socket.sendall(bytes([octet]))
        assert switch.until(3) == 7
        switch.socket.sendall(message(2, b"many") * 5000)
        for _ in range(5000):
            assert switch.until(3) == 7


def test_connections_that_say_nothing_are_bounded(
    controller: Controller, healthy: FakeSwitch
) -> None:
    peers = [controller.connect() for _ in range(HANDSHAKES_MAX)]
    try:
        with controller.connect() as one_more:
            assert is_closed(one_more)
        assert healthy.echo() < ALIVE
    finally:
        for peer in peers:
            peer.close()

    wait_until(lambda: is_served(controller), within=20, why="a place is free again")


def is_served(controller: Controller, keys: Keys | None = None) -> bool:
    context = keys.context() if keys else None
    try:
        with FakeSwitch(controller.port, 11, context) as switch:
            return switch.echo() < ALIVE
    except OSError:
        return False


def test_when_no_file_descriptor_is_left_those_who_are_served_go_on_being_so(
    controller: Controller, healthy: FakeSwitch
) -> None:
    """And others are, as soon as there is one again."""
    pid = controller.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    few = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 3
    reason = "a connection that could not be taken in"
    with ExitStack() as stack:
        stack.callback(resource.prlimit, pid, resource.RLIMIT_NOFILE, before)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, before[1]))
        for _ in range(8):
            stack.enter_context(controller.connect())
        wait_until(lambda: reason in controller.log(), within=20, why="a line of it")
        assert healthy.echo() < ALIVE
    wait_until(lambda: is_served(controller), within=20, why="it accepts again")


@pytest.mark.parametrize("greeting", [b"", message(0)], ids=["stranger", "greeted"])
def test_who_asks_and_does_not_read_costs_no_memory(
    controller: Controller, healthy: FakeSwitch, greeting: bytes
) -> None:
    """Echo requests may be as long as one likes, and their answers as long as they."""
    before = controller.memory()
    with controller.connect() as lazy:
        lazy.sendall(greeting)
        for _ in range(3000):
            lazy.sendall(message(2, bytes(60_000)))
        assert healthy.echo() < ALIVE
        assert controller.memory() - before < GROWTH


def test_a_switch_that_does_not_read_delays_no_other(
    controller: Controller, healthy: FakeSwitch
) -> None:
    """What it does not read waits, and nobody else."""
    with FakeSwitch(controller.port, datapath_id=12) as lazy:
        lazy.socket.settimeout(1)
        sent = 0
        echo = message(2, bytes(30_000))
        try:
            while sent < 1000:
                lazy.socket.sendall(echo)
                sent += 1
        except OSError:
            assert sent  # the controller reads no more than it can answer
        assert healthy.echo() < ALIVE
        assert healthy.echo() < ALIVE


def test_damaged_messages_and_frames_stop_nobody(
    controller: Controller, healthy: FakeSwitch
) -> None:
    """A small part of `./run bench siege`, which does the same to a million."""
    intruder = Intruder(controller.port, random.Random(2))
    intruder.every_bad_message()
    before = controller.memory()
    for _ in range(4):
        intruder.messages(200)
        intruder.frames(200)
        assert healthy.echo() < ALIVE
    intruder.close()
    assert intruder.count["closed"] and intruder.count["taken"]
    assert intruder.count["frames"] == 800
    assert controller.memory() - before < GROWTH
    assert not MISTAKE.search(controller.log())


# --- echoes ---------------------------------------------------------------------------


class Listening(FakeSwitch):
    """It keeps the answers to its echo requests."""

    def __init__(self, port: int, datapath_id: int) -> None:
        super().__init__(port, datapath_id)
        self.echoed: list[bytes] = []

    def hear(self, whole: bytes) -> None:
        if whole[1] == ECHO_REPLY:
            self.echoed.append(whole)

    def ask(self, *data: bytes) -> list[bytes]:
        """All of them in one write, and one more, so that a second answer is seen."""
        self.echoed.clear()
        asked = (wire.message(ECHO_REQUEST, one, n) for n, one in enumerate(data))
        self.socket.sendall(b"".join(asked))
        self.echo()
        return self.echoed[:-1]


SAID = (b"", b"one", bytes(30_000), b"three")
EXPECTED = [wire.message(ECHO_REPLY, one, n) for n, one in enumerate(SAID)]


def test_an_echo_request_is_answered_with_what_it_has_brought(
    controller: Controller,
) -> None:
    with Listening(controller.port, 31) as switch:
        assert switch.ask(*SAID) == EXPECTED


OBSERVER = """\
from ryu.base.app_manager import RyuApp
from ryu.controller import ofp_event
from ryu.controller.handler import MAIN_DISPATCHER, set_ev_cls

class Observer(RyuApp):
    @set_ev_cls(ofp_event.EventOFPEchoRequest, MAIN_DISPATCHER)
    def on_echo(self, ev):
        print("heard", ev.msg.data, flush=True)
"""


def test_another_application_may_observe_echo_requests(tmp_path: Path) -> None:
    observer = tmp_path / "observer.py"
    observer.write_text(OBSERVER)
    running = started(tmp_path, "--ofp-tcp-listen-port", str(observer))
    with running as controller, Listening(controller.port, 31) as switch:
        assert switch.ask(*SAID) == EXPECTED
        wait_until(lambda: "heard b'three'" in controller.log(), why="the observer")


# --- answers at once ------------------------------------------------------------------


def test_each_question_has_its_answer_and_what_else_comes_has_its_turn(
    controller: Controller,
) -> None:
    with FullSwitch(controller.port, datapath_id=21, hosts=3) as switch:
        switch.settle()
        before = at_once(controller)
        expected = [switch.answer(question(1, other)) for other in (2, 3)]
        switch.sent.clear()
        burst = [question(1, 2), question(1, 3), message(2, b"between")]
        switch.socket.sendall(b"".join(burst * 400))
        wait_for(switch, 800)
        assert sorted(switch.sent) == sorted(expected * 400)
        assert at_once(controller) > before


def test_a_switch_that_floods_with_questions_delays_no_other(
    controller: Controller, healthy: FakeSwitch
) -> None:
    with FullSwitch(controller.port, datapath_id=22) as switch:
        switch.settle()
        switch.sent.clear()
        for _ in range(20):
            switch.socket.sendall(question(1, 2) * 1000)
            assert healthy.echo() < ALIVE
        assert switch.echo() < ALIVE
        wait_for(switch, 10_000)  # what waits for the core has a bound


def test_answers_that_nobody_reads_cost_no_memory(
    controller: Controller, healthy: FakeSwitch
) -> None:
    with FullSwitch(controller.port, datapath_id=23) as lazy:
        lazy.settle()
        before = controller.memory()
        for _ in range(400):
            lazy.socket.sendall(question(1, 2) * 1000)
        assert healthy.echo() < ALIVE
        assert controller.memory() - before < GROWTH
        unsent = "reads not answered, as the switch does not read"
        wait_until(lambda: controller.status()["counters"].get(unsent), within=30)


def at_once(controller: Controller) -> int:
    return int(controller.status()["counters"]["answered at once"])


def wait_for(switch: FullSwitch, answers: int) -> None:
    """Whatever went the core's way, as once in a while each host's question does, is
    answered, too."""
    while len(switch.sent) < answers:
        switch.until(wire.PACKET_OUT)


# --- a unix socket ------------------------------------------------------------------


def test_a_switch_of_this_host_is_served_at_a_unix_socket(
    controller: Controller,
) -> None:
    with FullSwitch(controller.local, datapath_id=31, hosts=3) as switch:
        assert switch.echo() < ALIVE
        switch.settle()
        assert switch.answer(question(1, 2))


def test_nobody_but_root_and_the_owner_connects_there(controller: Controller) -> None:
    assert stat.S_IMODE(controller.local.stat().st_mode) == 0o600
    if os.geteuid() != 0:
        cannot_run("only root can be somebody else")
    controller.local.chmod(0o666)  # by mistake
    controller.directory.chmod(0o711)
    try:
        done = subprocess.run(
            (sys.executable, "-P", "-c", STRANGER, LOCAL),
            user=65534, capture_output=True, text=True, timeout=30,
            cwd=controller.directory,
        )  # fmt: skip
    finally:
        controller.local.chmod(0o600)
    assert done.stdout == "closed\n", done.stderr
    reason = "closed: a peer that is neither root nor the owner"
    assert controller.status()["counters"][reason] >= 1


STRANGER = """
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.settimeout(20)
peer.connect(sys.argv[1])
print("closed" if peer.recv(1) == b"" else "served")
"""


def test_what_no_switch_sends_is_closed_there_too(controller: Controller) -> None:
    with FakeSwitch(controller.local, datapath_id=32) as healthy:
        for name in ("hello, element length 0", "packet-out", "of length 0"):
            with connected(controller.local) as peer:
                peer.sendall(message(0) + BAD[name])
                assert is_closed(peer)
        assert healthy.echo() < ALIVE


# --- TLS ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return new_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, keys: Keys
) -> Iterator[Controller]:
    """A controller that speaks TLS, and only with whom the authority knows."""
    place = tmp_path_factory.mktemp("tls")
    with started(place, "--ofp-ssl-listen-port", *keys.of_controller) as it:
        yield it


def test_a_hundred_reconnects_over_tls(guarded: Controller, keys: Keys) -> None:
    """With garbage and stalled handshakes beside them."""
    stalled = [guarded.connect() for _ in range(5)]
    for number in range(100):
        with guarded.connect() as garbage:
            garbage.sendall(b"no TLS at all, whatever it says")
        with FakeSwitch(guarded.port, number + 1, keys.context()) as switch:
            assert switch.echo() < ALIVE
    for peer in stalled:
        peer.close()


def test_tls_handshakes_that_do_not_go_on_are_bounded(
    guarded: Controller, keys: Keys
) -> None:
    with FakeSwitch(guarded.port, 1, keys.context()) as healthy:
        stalled = [guarded.connect() for _ in range(HANDSHAKES_MAX)]
        with guarded.connect() as one_more:
            assert is_closed(one_more)
        assert healthy.echo() < ALIVE
        for peer in stalled:
            peer.close()
    wait_until(lambda: is_served(guarded, keys), within=20, why="a place is free again")


@pytest.mark.parametrize("name", ["", "stranger"])
def test_who_has_no_key_of_the_authority_is_turned_away(
    guarded: Controller, keys: Keys, name: str
) -> None:
    with (
        pytest.raises(OSError),
        FakeSwitch(guarded.port, 1, keys.context(name)) as switch,
    ):
        switch.echo()
    with FakeSwitch(guarded.port, 1, keys.context()) as switch:
        assert switch.echo() < ALIVE
