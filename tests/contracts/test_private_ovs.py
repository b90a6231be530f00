"""A private Open vSwitch works, disturbs nobody, and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ovs import PREFIX, CommandFailed, PrivateOvs, remove_leftovers
from tests.support.wait import NeverTrue, wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]


def namespaces() -> set[str]:
    listed = subprocess.run(
        ("/usr/sbin/ip", "netns", "list"), capture_output=True, text=True, check=True
    )
    return {line.split()[0] for line in listed.stdout.splitlines()}


def test_hosts_of_a_bridge_reach_each_other(ovs: PrivateOvs) -> None:
    ovs.add_bridge("br0")
    h1 = ovs.add_host("h1", "br0", "10.0.0.1/24", "02:00:00:00:00:01", ofport=1)
    ovs.add_host("h2", "br0", "10.0.0.2/24", "02:00:00:00:00:02", ofport=2)

    ping = ovs.run_in(h1.namespace, "ping", "-c1", "-W3", "10.0.0.2")

    assert "1 received" in ping.stdout


def test_two_at_the_same_time_may_use_the_same_names(ovs: PrivateOvs) -> None:
    ovs.add_bridge("br0")
    with PrivateOvs() as other:
        other.add_bridge("br0", "fail_mode=secure")

        assert ovs.vsctl("get-fail-mode", "br0") == ""


def test_nothing_remains_when_it_ends() -> None:
    with PrivateOvs() as ovs:
        ovs.add_bridge("br0")
        host = ovs.add_host("h1", "br0", "", "02:00:00:00:00:01")
        child = ovs.start("sleep", "600", namespace=host.namespace)
        mine = {ovs.namespace, host.namespace}
        assert mine <= namespaces()

    assert not mine & namespaces()
    assert not ovs.directory.exists()
    assert child.poll() is not None


def test_what_a_killed_test_left_is_removed_by_the_next() -> None:
    ended = subprocess.Popen(("true",))
    ended.wait()
    left, foreign = f"{PREFIX}{ended.pid}n0", f"{PREFIX}-somebody-else"
    for name in (left, foreign):
        subprocess.run(("/usr/sbin/ip", "netns", "add", name), check=True)

    remove_leftovers()

    remaining = namespaces()
    subprocess.run(("/usr/sbin/ip", "netns", "delete", foreign), check=True)
    assert left not in remaining
    assert foreign in remaining


def test_daemons_of_a_killed_test_end_with_it() -> None:
    program = (
        "import time; from tests.support.ovs import PrivateOvs\n"
        "with PrivateOvs() as ovs:\n"
        "    print((ovs.directory / 'ovs-vswitchd.pid').read_text(), end='', flush=1)\n"
        "    print(ovs.directory, flush=True); time.sleep(60)"
    )
    killed = subprocess.Popen(
        (sys.executable, "-c", program),
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert killed.stdout is not None
    with killed.stdout as output:
        pid, directory = int(output.readline()), Path(output.readline().strip())

        killed.kill()

    killed.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), why="ovs-vswitchd to end")
    remove_leftovers()
    assert not directory.exists()


def test_a_command_that_fails_says_which_one_and_why(ovs: PrivateOvs) -> None:
    with pytest.raises(CommandFailed, match=r"del-br nobr(.|\n)*no bridge named nobr"):
        ovs.vsctl("del-br", "nobr")


def test_waiting_for_what_never_comes_says_what_it_was() -> None:
    with pytest.raises(NeverTrue, match="the moon to fall"):
        wait_until(lambda: False, within=0, why="the moon to fall")
