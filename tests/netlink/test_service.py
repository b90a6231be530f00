"""`isat mirror --listen`: the kernel's tables for readers without rights."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.events import Event, KernelChanged, KernelLost, KernelSynced
from controller.netlink.service import uid_of
from controller.sources.netlink import Netlink
from tests.netlink.lab import ROOT, START, Lab, ip, new_lab
from tests.support.wait import wait_until

pytestmark = pytest.mark.root
NOBODY = 65534
TABLES = ("--table", "nsid,link,addr,neigh")
# Connects, reads as far as the first sync, prints what it has read.
READ = """
import socket, sys
reader = socket.socket(socket.AF_UNIX)
reader.connect(sys.argv[1])
said = b""
while b'"sync"' not in said and (data := reader.recv(65536)):
    said += data
sys.stdout.buffer.write(said)
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        yield lab


@pytest.fixture
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="inm") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory) / "mirror.sock"


@pytest.fixture
def service(lab: Lab, path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Listens for nobody and root."""
    with start(lab, path) as running:
        wait_until(path.exists, why="it listens")
        yield running
        running.terminate()
        assert running.wait(10) == 0
    assert not path.exists()


def start(lab: Lab, path: Path) -> subprocess.Popen[bytes]:
    options = ("--listen", str(path), "--owner", str(NOBODY), *TABLES)
    command = lab.command(lab.own, sys.executable, "-c", START, *options)
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)


def read(path: Path, uid: int) -> list[dict[str, Any]]:
    """What a reader of this user gets."""
    done = subprocess.run(
        ("setpriv", f"--reuid={uid}", "--clear-groups", "--bounding-set=-all",
         "/usr/bin/python3", "-I", "-c", READ, str(path)),
        capture_output=True, timeout=30,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def test_a_user_without_any_right_reads_all_namespaces(
    lab: Lab, service: subprocess.Popen[bytes], path: Path
) -> None:
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
    for _ in range(2):  # one reader after the other
        said = read(path, NOBODY)
        assert said[0]["hello"]["capabilities"]
        locals_ = {line["key"].get("local") for line in said if "op" in line}
        assert "10.1.0.1" in locals_


def test_nobody_else_may_connect(service: subprocess.Popen[bytes], path: Path) -> None:
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, NOBODY)
    assert read(path, 12345) == []


def test_a_reader_is_served_without_the_rights_of_root(
    service: subprocess.Popen[bytes], path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as reader:
        reader.connect(str(path))
        assert reader.recv(1)
        [server] = children(service.pid)
        status = Path(f"/proc/{server}/status").read_text()
        assert f"Uid:\t{NOBODY}\t" in status
    wait_until(lambda: is_over(server), why="its end with the reader's")


def is_over(pid: int) -> bool:
    """Ended, also if nobody has asked how yet."""
    try:
        return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True


def test_a_reader_that_has_gone_leaves_no_process(
    service: subprocess.Popen[bytes], path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as reader:
        reader.connect(str(path))
        assert reader.recv(100) and children(service.pid)
    wait_until(lambda: not children(service.pid), within=5, why="it has ended")
    assert read(path, NOBODY)


def test_the_end_of_who_listens_is_the_end_of_all(
    service: subprocess.Popen[bytes], path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as reader:
        reader.settimeout(10)
        reader.connect(str(path))
        assert reader.recv(1)
        [server] = children(service.pid)
        service.send_signal(signal.SIGTERM)
        wait_until(lambda: is_over(server), why="the end of the reader's process")


def test_a_socket_that_is_left_over_is_no_obstacle(lab: Lab, path: Path) -> None:
    with start(lab, path) as first:
        wait_until(path.exists, why="it listens")
        first.kill()
    assert path.exists()
    with start(lab, path) as second:
        wait_until(lambda: read(path, NOBODY), why="the second answers")
        second.terminate()


def test_two_do_not_listen_at_one_place(
    lab: Lab, service: subprocess.Popen[bytes], path: Path
) -> None:
    with start(lab, path) as second:
        assert second.wait(10) == 1
        assert second.stderr and b"another mirror listens there" in second.stderr.read()


def test_a_place_where_others_could_put_another_is_refused(
    lab: Lab, path: Path
) -> None:
    path.parent.chmod(0o777)
    with start(lab, path) as refused:
        assert refused.wait(10) == 1
        assert refused.stderr and b"others could replace" in refused.stderr.read()


@pytest.mark.parametrize("user", ["nosuchuser", "4294967295", "99999999999"])
def test_a_user_that_there_is_not_is_named(user: str) -> None:
    with pytest.raises(ValueError, match=f"no user '{user}'"):
        uid_of(user)


# --- the controller's side ----------------------------------------------------------


def test_a_controller_follows_a_mirror_that_others_have_started(
    lab: Lab, path: Path
) -> None:
    """Also over its end and a new start; what it knows stays meanwhile."""
    events: list[Event] = []
    netlink = Netlink(events.append, at=str(path))
    netlink.start()
    try:
        for times in (1, 2):
            with start(lab, path) as service:
                wait_until(partial(has_pictures, events, times), why="a picture")
                ip("-n", lab.h1, "addr", "add", f"10.1.0.{times}/24", "dev", "eth0")
                wait_until(partial(has_told, events, f"10.1.0.{times}"), why="news")
                service.terminate()
        assert netlink.counters["netlink helpers ended"] >= 1
    finally:
        netlink.stop()


def has_pictures(events: list[Event], count: int) -> bool:
    return sum(isinstance(event, KernelSynced) for event in events) == count


def has_told(events: list[Event], ip: str) -> bool:
    changes = [e.changes for e in events if isinstance(e, KernelChanged)]
    return any(ip in str(change) for change in changes)


def test_a_mirror_that_is_not_there_is_said_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Event] = []
    netlink = Netlink(events.append, at=str(path))
    netlink.start()
    try:
        wait_until(lambda: events, why="it is lost")
    finally:
        netlink.stop()
    [lost] = events
    assert isinstance(lost, KernelLost)
    assert str(path) in lost.why and "No such file" in lost.why
    assert len(caplog.messages) == 1
