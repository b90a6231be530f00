"""TLS as Open vSwitch speaks it: whatever else connects, the switch is served."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.bench.fixture import inside, named
from tests.conftest import cannot_run
from tests.support.fake_switch import FakeSwitch
from tests.support.keys import Keys, new_keys
from tests.support.ovs import PrivateOvs, why_not
from tests.support.wait import wait_for_start, wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

PORT, LOG = 6653, "isat.log"
RECONNECTS, STALLED = 5, 20
SOON = 20.0  # seconds: beyond, something is broken, not slow
ANYWHERE = "0.0.0.0"  # of the namespace, where 127.0.0.2 is its own, too
OFF = "sources: {netlink: false, ovsdb: false}\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return new_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def ovs(keys: Keys) -> Iterator[PrivateOvs]:
    if missing := why_not():
        cannot_run(missing)
    with guarded(keys) as ovs:
        yield ovs


@contextmanager
def guarded(keys: Keys) -> Iterator[PrivateOvs]:
    """With br0, keys, and a controller that takes switches of the authority only."""
    with PrivateOvs() as ovs:
        ovs.add_bridge("br0", "fail_mode=secure")
        ovs.vsctl("set-ssl", *keys.of_switch)
        (ovs.directory / "isat.yaml").write_text(OFF)
        own = ("--isat-config", str(ovs.directory / "isat.yaml"),
               "--socket", str(ovs.directory / "isat.sock"))  # fmt: skip
        at = ("--ofp-listen-host", ANYWHERE, "--ofp-ssl-listen-port", str(PORT))
        program = (sys.executable, "-m", "controller.cli", "run")
        words = (*program, *own, *at, *keys.of_controller)
        process = ovs.start(*words, log=LOG)
        wait_for_start(process, lambda: is_open(ovs), why="it listens")
        yield ovs


def connect(ovs: PrivateOvs) -> socket.socket:
    with inside(named(ovs.namespace)):
        return socket.create_connection(("127.0.0.1", PORT), timeout=SOON)


def is_open(ovs: PrivateOvs) -> bool:
    try:
        connect(ovs).close()
    except OSError:
        return False
    return True


def test_a_real_switch_is_served_as_often_as_it_reconnects(
    ovs: PrivateOvs, keys: Keys
) -> None:
    """`./run bench tls` does it a hundred times."""
    echoes = list(reconnects(ovs, keys, RECONNECTS))
    assert len(echoes) == RECONNECTS
    assert "cookie=0x15a7" in ovs.ofctl("dump-flows", "br0")


def reconnects(ovs: PrivateOvs, keys: Keys, number: int) -> Iterator[float]:
    """With garbage and stalled handshakes beside it.  Seconds that another switch has
    waited for an answer, while each handshake was under way."""
    with ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(connect(ovs))
        with inside(named(ovs.namespace)):
            other = FakeSwitch(PORT, 7, keys.context())
        stack.enter_context(other)
        wait_until(lambda: said(ovs) == 1, within=SOON, why="the other switch")
        for count in range(number):
            with connect(ovs) as garbage:
                garbage.sendall(b"no TLS at all, whatever it says")
                yield reconnect(ovs, count, other)


def reconnect(ovs: PrivateOvs, number: int, other: FakeSwitch) -> float:
    """By another of the controller's addresses, so that the switch lets go of the one
    it has.  The longest that the other one waited meanwhile."""
    before, echoes = said(ovs), list[float]()
    target = f"ssl:127.0.0.{1 + number % 2}:{PORT}"
    ovs.vsctl("--no-wait", "set-controller", "br0", target)

    def is_connected() -> bool:
        echoes.append(other.echo())
        return said(ovs) > before

    wait_until(is_connected, within=SOON, why=f"{target} to be connected")
    return max(echoes)


def said(ovs: PrivateOvs) -> int:
    """How often a switch has connected."""
    return Path(ovs.directory, LOG).read_text().count("is connected")
