"""The demo tells its story, or why it failed, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from topologies import marks
from topologies.emulation import PYTHON, ROOT

pytestmark = [pytest.mark.root, pytest.mark.ovs, pytest.mark.mininet]

LIMIT = 100.0  # seconds that a demo may take in a test


@dataclass
class Performance:
    """A demo that is running on the private Open vSwitch."""

    process: subprocess.Popen[str]
    said: str = ""

    def hear(self, until: str) -> str:
        """The line that contains `until`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if until in line:
                return line
        raise AssertionError(f"it never said {until!r}: {self.said}")

    def end(self, number: int = 0) -> int:
        """Its exit status, after a signal if one is given."""
        if number:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=LIMIT)
        self.said += rest
        return self.process.returncode

    @property
    def run(self) -> str:
        """The mark of what it makes."""
        [child, *_] = children(self.process.pid)
        return marks.process_mark(child)


def children(pid: int) -> list[int]:
    return [
        int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


@pytest.fixture
def demos(ovs: PrivateOvs) -> Iterator[list[Performance]]:
    started: list[Performance] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.end(signal.SIGTERM)


def start(ovs: PrivateOvs, demos: list[Performance], *options: str) -> Performance:
    process = subprocess.Popen(
        (
            "ip",
            "netns",
            "exec",
            ovs.namespace,
            PYTHON,
            "-m",
            "topologies.demo",
            *options,
        ),
        cwd=ROOT,
        env=ovs.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    demos.append(Performance(process))
    return demos[-1]


def left(ovs: PrivateOvs) -> set[str]:
    """Interfaces, bridges and files that are there although they should not be."""
    links = json.loads(ovs.run("ip", "-json", "link").stdout)
    names = {link["ifname"] for link in links} - {"lo", "ovs-netdev"}
    files = {path.name for path in ovs.directory.glob("isat-demo*")}
    return names | set(ovs.vsctl("list-br").split()) | files


def test_every_step_holds_and_nothing_is_left_behind(
    ovs: PrivateOvs, demos: list[Performance]
) -> None:
    demo = start(ovs, demos, "--stay")
    demo.hear("It stays until Ctrl-C")
    steps = re.findall(r"^\[ *[\d.]+s\] (.{10}) ", demo.said, re.MULTILINE)
    assert [step.strip() for step in dict.fromkeys(steps)] == [
        "controller",
        "network",
        "known",
        "first ping",
        "all pairs",
        "silence",
        "explained",
        "killed",
        "back",
        "tap",
    ]
    for claim in (
        "6 of 6 hosts, from the kernel",
        "frames that they have sent: 0",
        "2 of 2 taps",
        "56 of 56 pings",
        "broadcasts that reached hosts not asked: 0",
        "packet-ins: 0 (the switches' own count: 0)",
        "flows 0 had to change",
    ):
        assert claim in demo.said

    shell = demo.hear("# h1, 10.0.0.1").split("#")[0].split()
    pinged = subprocess.run((*shell, "-c", "ping -c1 10.0.0.8"), capture_output=True)
    run, ended = demo.run, demo.end(signal.SIGINT)

    assert pinged.returncode == 0
    assert ended == 0
    assert "everything held, and nothing is left behind" in demo.said
    assert left(ovs) == set()
    assert marks.marked_processes({run}) == []


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "controller"),
        (signal.SIGTERM, "controller"),
        (signal.SIGINT, "network"),
        (signal.SIGTERM, "network"),
        (signal.SIGHUP, "all pairs"),
    ],
)
def test_interrupted_at_any_moment_it_leaves_nothing_behind(
    number: int, moment: str, ovs: PrivateOvs, demos: list[Performance]
) -> None:
    demo = start(ovs, demos)
    demo.hear(moment)
    run = demo.run

    assert demo.end(number) == 130
    assert left(ovs) == set()
    assert marks.marked_processes({run}) == []


def test_what_a_crashed_demo_left_is_removed_by_the_next_and_nothing_else(
    ovs: PrivateOvs, demos: list[Performance]
) -> None:
    ovs.add_bridge("s9", "external_ids:isat-demo-not=1")
    ovs.run("ip", "link", "add", "s1-eth9", "type", "veth", "peer", "name", "s1-eth8")
    crashed = start(ovs, demos)
    crashed.hear("first ping")
    run = crashed.run
    try:
        for pid in (crashed.process.pid, *children(crashed.process.pid)):
            os.kill(pid, signal.SIGKILL)
        crashed.end()
        assert "s1" in ovs.vsctl("list-br").split()

        following = start(ovs, demos)
        note = following.hear("removed what an earlier demo had left")
        following.hear("network")

        assert "3 bridges" in note
        assert marks.marked_processes({run}) == []
        assert following.end(signal.SIGTERM) == 130
        assert left(ovs) == {"s9", "s1-eth9", "s1-eth8"}
    finally:
        ovs.vsctl("del-br", "s9")
        ovs.run("ip", "link", "delete", "s1-eth9")


def test_somebodys_s1_is_left_alone_and_the_demo_takes_other_names(
    ovs: PrivateOvs, demos: list[Performance]
) -> None:
    ovs.add_bridge("s1", "fail_mode=secure")
    ovs.vsctl("set-controller", "s1", "tcp:127.0.0.1:6653")
    before = ovs.vsctl("list", "bridge", "s1")
    try:
        demo = start(ovs, demos)
        demo.hear("s1 exists and is not ours, so all names begin with demo-")
        demo.hear("other bridges want a controller on port 6653")
        assert "127.0.0.1:6653" not in demo.hear("controller")
        demo.hear("all pairs")

        assert demo.end(signal.SIGTERM) == 130
        assert left(ovs) == {"s1"}
        assert ovs.vsctl("list", "bridge", "s1") == before
    finally:
        ovs.vsctl("del-br", "s1")


def test_a_second_demo_is_refused(ovs: PrivateOvs, demos: list[Performance]) -> None:
    first = start(ovs, demos)
    first.hear("controller")

    second = start(ovs, demos)

    assert second.end() == 1
    assert "another demo is running" in second.said
    assert f"kill {first.process.pid}" in second.said
    assert first.end(signal.SIGTERM) == 130


def test_a_step_that_does_not_hold_is_told_with_reason_remedy_and_log(
    ovs: PrivateOvs, demos: list[Performance]
) -> None:
    """Somebody stops a switch from asking the controller at all."""
    demo = start(ovs, demos)
    demo.hear("controller")
    wait_until(lambda: "s2" in ovs.vsctl("list-br").split(), within=20)
    ovs.vsctl("del-controller", "s2")

    assert demo.end() == 1
    assert re.search(r"^demo: .+\n +why: .+\n +type: .+", demo.said, re.MULTILINE)
    assert "the last lines of the controller's log:" in demo.said
    assert left(ovs) == set()


def test_a_port_that_is_in_use_is_not_fought_for(
    ovs: PrivateOvs, demos: list[Performance]
) -> None:
    listen = "import socket; s = socket.create_server(('', 6653)); print(1, flush=1)"
    with subprocess.Popen(
        ("ip", "netns", "exec", ovs.namespace, PYTHON, "-c", f"{listen}; input()"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as listener:
        assert listener.stdout is not None
        listener.stdout.readline()
        demo = start(ovs, demos)
        demo.hear("somebody listens on port 6653")
        demo.hear("first ping")
        assert demo.end(signal.SIGTERM) == 130
        listener.communicate("\n")
