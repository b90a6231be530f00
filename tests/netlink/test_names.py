"""The names of namespaces and the holders of taps, as a person knows them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.netlink.lab import Lab, Reader, ip, new_lab, reader

pytestmark = pytest.mark.root

HOLD = """
import fcntl, os, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", sys.argv[1].encode(), 0x1002))
print("attached", flush=True)
sys.stdin.read()
"""  # TUNSETIFF with IFF_TAP | IFF_NO_PI


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        yield lab


@contextlib.contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that says a line when it is ready and ends with its standard input."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdin is not None
        try:
            assert running.stdout.readline()
            yield running
        finally:
            running.stdin.close()


def holder_of(mirror: Reader, ifname: str) -> str:
    row = mirror.link(-1, ifname)
    return row.get("holder", "") if row else ""


def test_a_tap_is_held_by_the_process_behind_it(lab: Lab) -> None:
    ip("-n", lab.own, "tuntap", "add", "tap9", "mode", "tap")
    ip("-n", lab.own, "link", "set", "tap9", "up")
    hold = lab.command(lab.own, sys.executable, "-c", HOLD, "tap9")
    with reader(lab.own) as mirror:
        mirror.synced()
        assert holder_of(mirror, "tap9") == ""

        with process(*hold) as user:
            expected = f"[{user.pid}]"
            mirror.wait(lambda: holder_of(mirror, "tap9").endswith(expected), "holder")
            row = mirror.link(-1, "tap9")
            assert row and row["carrier"] and row["ifi_flags"] & 0x10000

        mirror.wait(lambda: holder_of(mirror, "tap9") == "", "no holder")
        row = mirror.link(-1, "tap9")
        assert row and not row["carrier"] and not row["ifi_flags"] & 0x10000


def test_the_carrier_of_a_tap_is_told_before_its_holder(lab: Lab) -> None:
    """A look through /proc must not delay the news."""
    ip("-n", lab.own, "tuntap", "add", "tap9", "mode", "tap")
    ip("-n", lab.own, "link", "set", "tap9", "up")
    hold = lab.command(lab.own, sys.executable, "-c", HOLD, "tap9")
    with reader(lab.own) as mirror, process(*hold):
        mirror.synced().wait(lambda: holder_of(mirror, "tap9"), "holder")

    values = [line["value"] for line in mirror.lines if line.get("op") == "change"]
    carriers = [value for value in values if value.get("ifname") == "tap9"]
    if carriers:  # unless the process was faster than the first snapshot
        assert "holder" not in carriers[0]
        assert "holder" in carriers[-1]


def test_a_tap_that_lives_as_long_as_its_process_is_complete(lab: Lab) -> None:
    """The kernel tells of it before its queue is attached, and not again."""
    hold = lab.command(lab.own, sys.executable, "-c", HOLD, "tap7")
    with reader(lab.own) as mirror:
        mirror.synced()
        with process(*hold) as user:
            expected = f"[{user.pid}]"
            mirror.wait(lambda: holder_of(mirror, "tap7").endswith(expected), "holder")
            row = mirror.link(-1, "tap7")
            assert row and (row["carrier"], row["info"]["type"]) == (True, "tap")
        mirror.wait(lambda: not mirror.link(-1, "tap7"), "it is gone")


def test_a_mininet_host_has_the_name_of_its_shell(lab: Lab) -> None:
    shell = ("unshare", "-n", "bash", "-c", "echo ready; read", "mininet:h7")
    with reader(lab.own) as mirror, process(*shell) as host:
        mirror.synced()
        ip("-n", lab.own, "link", "add", "s1-eth1", "type", "veth",
           "peer", "name", "h7-eth0", "netns", str(host.pid))  # fmt: skip
        mirror.wait(lambda: mirror.nsid("h7") is not None, "it is called h7")
        assert mirror.link(mirror.nsid("h7"), "h7-eth0")
        kinds = [row["kind"] for row in mirror.tables["nsid"].values()]
        assert kinds == ["mininet"]


def test_a_namespace_without_a_name_is_called_by_a_process_in_it(lab: Lab) -> None:
    command = ("unshare", "-n", "sh", "-c", "echo ready; read line")
    with reader(lab.own) as mirror, process(*command) as shell:
        mirror.synced()
        ip("-n", lab.own, "link", "add", "ve", "type", "veth",
           "peer", "name", "eth0", "netns", str(shell.pid))  # fmt: skip
        name = f"sh[{shell.pid}]"
        mirror.wait(lambda: mirror.nsid(name) is not None, name)
