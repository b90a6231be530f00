"""The names of namespaces and the holders of taps, as a person knows them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netlink.lab import Json, Lab, Reader, ip, new_lab, reader

pytestmark = pytest.mark.root

HOLD = """
import fcntl, os, struct, sys
for queue in range({queues}):
    tun = os.open("/dev/net/tun", os.O_RDWR)
    request = struct.pack("16sH22x", sys.argv[1].encode(), {flags})
    fcntl.ioctl(tun, 0x400454CA, request)  # TUNSETIFF
print("attached", flush=True)
sys.stdin.read()
"""
IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x0100  # linux/if_tun.h
ONE_QUEUE = HOLD.format(queues=1, flags=IFF_TAP | IFF_NO_PI)
MULTI_QUEUE = HOLD.format(queues=1, flags=IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE)
TWO_QUEUES = HOLD.format(queues=2, flags=IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE)


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


def holder_of(mirror: Reader, ifname: str) -> Json:
    row = mirror.link(-1, ifname)
    return row.get("holder", {}) if row else {}


def test_a_tap_is_held_by_the_process_behind_it(lab: Lab) -> None:
    ip("-n", lab.own, "tuntap", "add", "tap9", "mode", "tap")
    ip("-n", lab.own, "link", "set", "tap9", "up")
    hold = lab.command(lab.own, sys.executable, "-c", ONE_QUEUE, "tap9")
    with reader(lab.own) as mirror:
        mirror.synced()
        assert holder_of(mirror, "tap9") == {}

        with process(*hold) as user:
            mirror.wait(lambda: holder_of(mirror, "tap9"), "holder")
            command = Path(f"/proc/{user.pid}/comm").read_text().rstrip("\n")
            expected = {"pid": user.pid, "command": command, "queues": 1}
            assert holder_of(mirror, "tap9") == expected
            row = mirror.link(-1, "tap9")
            assert row and row["carrier"] and row["ifi_flags"] & 0x10000

        mirror.wait(lambda: holder_of(mirror, "tap9") == {}, "no holder")
        row = mirror.link(-1, "tap9")
        assert row and not row["carrier"] and not row["ifi_flags"] & 0x10000


def test_the_carrier_of_a_tap_is_told_before_its_holder(lab: Lab) -> None:
    """A look through /proc must not delay the news."""
    ip("-n", lab.own, "tuntap", "add", "tap9", "mode", "tap")
    ip("-n", lab.own, "link", "set", "tap9", "up")
    hold = lab.command(lab.own, sys.executable, "-c", ONE_QUEUE, "tap9")
    with reader(lab.own) as mirror, process(*hold):
        mirror.synced().wait(lambda: holder_of(mirror, "tap9"), "holder")

    values = [line["value"] for line in mirror.lines if line.get("op") == "change"]
    carriers = [value for value in values if value.get("ifname") == "tap9"]
    if carriers:  # unless the process was faster than the first snapshot
        assert "holder" not in carriers[0]
        assert "holder" in carriers[-1]


def test_a_tap_that_lives_as_long_as_its_process_is_complete(lab: Lab) -> None:
    """The kernel tells of it before its queue is attached, and not again."""
    hold = lab.command(lab.own, sys.executable, "-c", ONE_QUEUE, "tap7")
    with reader(lab.own) as mirror:
        mirror.synced()
        with process(*hold) as user:
            mirror.wait(lambda: holder_of(mirror, "tap7"), "holder")
            assert holder_of(mirror, "tap7")["pid"] == user.pid
            row = mirror.link(-1, "tap7")
            assert row and (row["carrier"], row["info"]["type"]) == (True, "tap")
        mirror.wait(lambda: not mirror.link(-1, "tap7"), "it is gone")


def test_a_tap_that_was_moved_is_known_by_its_name(lab: Lab) -> None:
    """Its process stays where it was made; the kernel tells the name, not where."""
    lab.veth("a1", lab.own, "eth0", lab.h1)
    hold = lab.command(lab.h1, sys.executable, "-c", ONE_QUEUE, "tap4")
    with process(*hold) as user:
        ip("-n", lab.h1, "link", "set", "tap4", "netns", lab.own)
        ip("-n", lab.own, "link", "set", "tap4", "up")
        with reader(lab.own) as mirror:
            mirror.synced().wait(lambda: holder_of(mirror, "tap4"), "holder")
            assert holder_of(mirror, "tap4")["pid"] == user.pid


def test_taps_of_the_same_name_elsewhere_have_other_holders(lab: Lab) -> None:
    """As the "ovs-netdev" of each ovs-vswitchd.  h1 is connected, h2 is not."""
    lab.veth("a1", lab.own, "eth0", lab.h1)
    with contextlib.ExitStack() as stack:
        pids = {}
        for namespace in (lab.h2, lab.h1, lab.own):
            hold = lab.command(namespace, sys.executable, "-c", ONE_QUEUE, "tap3")
            pids[namespace] = stack.enter_context(process(*hold)).pid
            ip("-n", namespace, "link", "set", "tap3", "up")
        with reader(lab.own) as mirror:
            mirror.synced().wait(lambda: holder_of(mirror, "tap3"), "holder")
            assert holder_of(mirror, "tap3")["pid"] == pids[lab.own]
            far = mirror.link(mirror.nsid(lab.h1), "tap3")
            assert far and far["holder"]["pid"] == pids[lab.h1]


def test_of_two_holders_the_first_counts_as_long_as_it_holds_the_tap(lab: Lab) -> None:
    program = (sys.executable, "-c", MULTI_QUEUE, "tap2")
    ip("-n", lab.own, "tuntap", "add", "tap2", "mode", "tap", "multi_queue")
    ip("-n", lab.own, "link", "set", "tap2", "up")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(process(*lab.command(lab.own, *program)))
        other = stack.enter_context(process(*lab.command(lab.own, *program)))
        with reader(lab.own) as mirror:
            mirror.synced().wait(lambda: holder_of(mirror, "tap2"), "holder")
            found = holder_of(mirror, "tap2")
            assert (found["pid"], found["queues"]) == (min(first.pid, other.pid), 1)


def test_the_guest_behind_a_tap_is_known_by_the_command_line_of_its_qemu(
    lab: Lab,
) -> None:
    """Here by the descriptor, as libvirt tells it; the first that opens is 3."""
    backend = ("-netdev", "tap,fds=3:4,id=n0")
    card = ("-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:07")
    program = (sys.executable, "-c", TWO_QUEUES, "tap5")
    hold = lab.command(lab.own, *program, *backend, *card)
    with reader(lab.own) as mirror, process(*hold) as user:
        mirror.synced().wait(lambda: holder_of(mirror, "tap5"), "holder")
        found = holder_of(mirror, "tap5")

    assert (found["pid"], found["queues"]) == (user.pid, 2)
    assert found["guest_mac"] == "52:54:00:00:00:07"


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
