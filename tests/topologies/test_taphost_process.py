"""The host behind a tap as a process, in a network namespace of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.wait import wait_until
from topologies import taphost

pytestmark = pytest.mark.root

TAPHOST = (sys.executable, "-I", taphost.__file__)
IP, MAC = "10.9.0.7", "02:00:00:00:00:07"
LIMIT = 30.0  # seconds that one command may take


@dataclass
class Room:
    """A network namespace in which IPv6 is off, so that nothing speaks by itself."""

    name: str
    hosts: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("ip", "netns", "exec", self.name, *command),
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )

    def host(self, name: str, *options: str) -> subprocess.Popen[str]:
        """A host behind a tap, when it says that it is there."""
        host = subprocess.Popen(
            ("ip", "netns", "exec", self.name, *TAPHOST, name, IP, MAC, *options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.hosts.append(host)
        assert host.stdout is not None
        assert host.stdout.readline() == f"{IP} is-at {MAC} behind {name}\n"
        return host

    def links(self) -> str:
        return self.run("ip", "-o", "link").stdout


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room(f"itap{os.getpid()}")
    subprocess.run(("ip", "netns", "add", room.name), check=True)
    room.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    room.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    try:
        yield room
    finally:
        for host in room.hosts:
            host.kill()
            host.wait()
            for pipe in (host.stdin, host.stdout, host.stderr):
                assert pipe is not None
                pipe.close()
        subprocess.run(("ip", "netns", "delete", room.name), check=True)


def test_the_kernel_reaches_it_by_arp_and_ping(room: Room) -> None:
    room.host("tap0")
    room.run("ip", "address", "add", "10.9.0.1/24", "dev", "tap0")

    pinged = room.run("ping", "-c3", "-i0.2", IP)

    assert "3 received" in pinged.stdout
    assert f"{IP} dev tap0 lladdr {MAC}" in room.run("ip", "neigh").stdout


def test_it_pings_when_told_to_and_says_whether_it_was_answered(room: Room) -> None:
    room.host("tap0")
    room.run("ip", "address", "add", "10.9.0.1/24", "dev", "tap0")

    answered = room.run(*TAPHOST, "tap0", "ping", "-c2", "10.9.0.1")
    lost = room.run(*TAPHOST, "tap0", "ping", "-c1", "-W0.2", "10.9.0.99")

    assert answered.returncode == 0
    assert "2 packets transmitted, 2 received, 0% packet loss" in answered.stdout
    assert lost.returncode == 1
    assert "no answer from 10.9.0.99: icmp_seq=1" in lost.stdout


def test_its_announcement_can_be_heard(room: Room) -> None:
    room.run("ip", "tuntap", "add", "tap0", "mode", "tap")
    room.run("ip", "link", "set", "tap0", "up")
    tcpdump = ("tcpdump", "-lenc1", "-itap0", "arp")
    with subprocess.Popen(
        ("ip", "netns", "exec", room.name, *tcpdump),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as listener:
        assert listener.stderr is not None
        while "listening on" not in listener.stderr.readline():
            assert listener.poll() is None
        room.host("tap0")
        line, _ = listener.communicate(timeout=LIMIT)

    assert f"{MAC} > ff:ff:ff:ff:ff:ff" in line
    assert f"Request who-has {IP} tell {IP}" in line


def test_a_tap_that_it_made_goes_with_it(room: Room) -> None:
    host = room.host("tap0")
    assert "tap0" in room.links()

    host.send_signal(signal.SIGTERM)

    assert host.wait(LIMIT) == 0
    wait_until(lambda: "tap0" not in room.links())


def test_a_tap_that_was_there_stays_without_carrier(room: Room) -> None:
    room.run("ip", "tuntap", "add", "tap0", "mode", "tap")
    room.host("tap0").kill()

    wait_until(lambda: "NO-CARRIER" in room.links())


def test_a_persistent_tap_stays_without_carrier(room: Room) -> None:
    room.host("tap0", "--persist").kill()

    wait_until(lambda: "NO-CARRIER" in room.links())


def test_it_ends_with_its_standard_input_if_asked_to(room: Room) -> None:
    host = room.host("tap0", "--until-eof")

    host.communicate(timeout=LIMIT)  # closes its standard input

    assert host.returncode == 0


def test_it_says_so_when_its_interface_is_deleted(room: Room) -> None:
    host = room.host("tap0")

    room.run("ip", "link", "delete", "tap0")

    _, said = host.communicate(timeout=LIMIT)
    assert host.returncode == 1
    assert said.startswith("taphost: ")
    assert "deleted" in said


def test_a_tap_that_another_process_holds_is_refused(room: Room) -> None:
    room.host("tap0")

    second = room.run(*TAPHOST, "tap0", IP, MAC)

    assert second.returncode == 1
    assert "cannot hold tap0: Device or resource busy" in second.stderr
    assert "another process holds it" in second.stderr


def test_an_interface_that_is_no_tap_is_refused(room: Room) -> None:
    refused = room.run(*TAPHOST, "lo", IP, MAC)

    assert refused.returncode == 1
    assert "an interface of this name is not a tap" in refused.stderr


def test_without_root_it_says_what_is_missing(room: Room) -> None:
    unprivileged = ("setpriv", "--reuid", "65534", "--clear-groups")
    source = Path(taphost.__file__).read_text()  # which others may not be able to read
    refused = room.run(*unprivileged, "/usr/bin/python3", "-c", source, "tap0", IP, MAC)

    assert refused.returncode == 1
    assert "only root may hold a tap" in refused.stderr


def test_asking_where_no_host_is_says_how_to_start_one(room: Room) -> None:
    refused = room.run(*TAPHOST, "tap0", "ping", "10.9.0.1")

    assert refused.returncode == 1
    assert "no taphost.py answers for tap0" in refused.stderr
    assert "start one: taphost.py tap0" in refused.stderr
