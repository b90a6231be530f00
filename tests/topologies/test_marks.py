"""Only what bears the mark of a dead run is removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.wait import wait_until
from topologies import marks

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def somebody() -> Iterator[subprocess.Popen[bytes]]:
    """A process of run 0badc0de."""
    environment = {**os.environ, marks.VARIABLE: "0badc0de"}
    with subprocess.Popen(SLEEP, env=environment) as process:
        wait_until(lambda: marks.process_mark(process.pid))
        yield process
        process.kill()


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OVS_RUNDIR", str(tmp_path))
    return tmp_path / "isat-demo"


def test_a_marked_process_is_found_and_ended(
    somebody: subprocess.Popen[bytes],
) -> None:
    assert marks.marked_processes({"0badc0de"}) == [somebody.pid]
    assert marks.end(somebody.pid, {"0badc0de"})
    assert somebody.poll() == -9


def test_a_process_of_another_run_is_left_alone(
    somebody: subprocess.Popen[bytes],
) -> None:
    assert marks.marked_processes({"12345678"}) == []
    assert not marks.end(somebody.pid, {"12345678"})
    assert somebody.poll() is None


def test_a_process_that_is_gone_is_not_counted(
    somebody: subprocess.Popen[bytes],
) -> None:
    somebody.kill()
    somebody.wait()
    assert not marks.end(somebody.pid, {"0badc0de"})


def test_an_unmarked_process_has_no_mark() -> None:
    with subprocess.Popen(SLEEP) as process:
        assert marks.process_mark(process.pid) == ""
        process.kill()


def test_the_mark_of_cables_is_an_address_of_one_station_that_nobody_sells() -> None:
    mark = marks.port_mark("0badc0de")
    assert mark == "06:0b:ad:c0:de"
    assert int(mark[:2], 16) & 0b11 == 0b10


@pytest.mark.ovs
def test_a_second_run_is_refused_and_told_who_runs(base: Path) -> None:
    with (
        marks.new_run(Counter()),
        pytest.raises(marks.Taken, match=str(os.getpid())),
        marks.new_run(Counter()),
    ):
        raise AssertionError("two demos at a time")


@pytest.mark.ovs
def test_a_run_leaves_no_file(base: Path) -> None:
    with marks.new_run(Counter()) as run:
        (run.directory / "controller.log").write_text("...")
        assert run.directory.parent == base

    assert not base.exists()


@pytest.mark.ovs
def test_a_run_removes_what_a_dead_one_left(
    base: Path, somebody: subprocess.Popen[bytes]
) -> None:
    (base / "0badc0de").mkdir(parents=True)
    removed: Counter[str] = Counter()

    with marks.new_run(removed):
        assert not (base / "0badc0de").exists()

    assert somebody.poll() == -9
    assert removed["processes"] == 1


@pytest.mark.root
def test_only_a_cable_with_the_mark_is_removed() -> None:
    room = f"imark{os.getpid()}"
    inside = ("ip", "netns", "exec", room)
    subprocess.run(("ip", "netns", "add", room), check=True)
    try:
        ours, other = "06:0b:ad:c0:de:07", "06:0b:ad:c0:df:07"
        for name, address in (("s1-eth1", ours), ("s1-eth2", other)):
            veth = ("type", "veth", "peer", "name", f"{name}x")
            add = ("ip", "link", "add", name, "address", address, *veth)
            subprocess.run((*inside, *add), check=True)
        program = "from topologies import marks; print(marks.remove({'0badc0de'}))"
        done = subprocess.run(
            (*inside, sys.executable, "-c", program),
            capture_output=True,
            text=True,
            check=True,
        )
        left = subprocess.run(
            (*inside, "ip", "-json", "link"), capture_output=True, check=True
        )
    finally:
        subprocess.run(("ip", "netns", "delete", room), check=True)
    names = {link["ifname"] for link in json.loads(left.stdout)}
    assert done.stdout == "Counter({'cables': 1})\n"
    assert names == {"lo", "s1-eth2", "s1-eth2x"}
