"""Into other namespaces and out again, and who may."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.netlink.doors import Closed, Door, Doorkeeper, Doors, OwnDoors, nsid_of
from controller.netlink.rtnl import link
from controller.netlink.settings import ipv4_conf
from controller.netlink.sockets import Lost, RequestSocket
from tests.netlink.lab import ROOT, Lab, inside, ip, ip_json, new_lab, reader
from tests.support.wait import wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        yield lab


@pytest.fixture(params=[OwnDoors, Doorkeeper])
def doors(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Doors]:
    with inside(lab.own):
        doors: Doors = request.param()
    with contextlib.closing(doors):
        yield doors


def nsid_in(lab: Lab, namespace: str) -> int:
    """The number that `own` knows a namespace by."""
    with inside(lab.own):
        asks = RequestSocket()
    with contextlib.closing(asks), open(f"/run/netns/{namespace}") as file:
        return nsid_of(asks, file.fileno())


def nothing() -> None:
    """Nothing has to be done meanwhile."""


def settings_of(door: Door) -> int:
    assert door.settings is not None
    return door.settings


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_a_door_shows_the_namespace_it_leads_to(lab: Lab, doors: Doors) -> None:
    before = here()
    with contextlib.closing(doors.open(nsid_in(lab, lab.h1), nothing)) as door:
        asked = RequestSocket(door.sock)
        names = {
            value.row.ifname
            for rows in asked.dump(link.RTM_GETLINK, link.get_link())
            for value in map(link.decode, (row.body for row in rows))
            if value is not None
        }
        conf = {key.ifname for key, _ in ipv4_conf(settings_of(door))}
    assert names == {"lo", "eth0"}
    assert conf == {"all", "default", "lo", "eth0"}
    assert here() == before


def test_a_number_that_nobody_has_is_a_closed_door(lab: Lab, doors: Doors) -> None:
    with pytest.raises(Closed) as error:
        doors.open(77, nothing)
    assert error.value.errno == errno.ENOENT
    with contextlib.closing(doors.open(nsid_in(lab, lab.h1), nothing)):
        assert error.value.is_final


def test_a_number_that_is_used_again_leads_to_the_new_namespace(
    lab: Lab, doors: Doors
) -> None:
    first = nsid_in(lab, lab.h1)
    doors.open(first, nothing).close()
    lab.remove(lab.h1)
    numbers = ("-n", lab.own, "netns", "list-id")
    wait_until(lambda: not ip_json(*numbers), why="the number is free")
    lab.veth("a2", lab.own, "eth7", lab.h2)
    assert nsid_in(lab, lab.h2) == first

    def opened() -> set[str] | None:
        try:  # one search in a second
            with contextlib.closing(doors.open(first, nothing)) as door:
                return {key.ifname for key, _ in ipv4_conf(settings_of(door))}
        except Closed:
            return None

    assert "eth7" in (wait_until(opened, why="it is found") or set())


def test_a_request_that_was_given_up_is_not_answered_by_the_next_door(
    lab: Lab,
) -> None:
    """What has to be done meanwhile may fail: events were lost, for instance."""
    lab.veth("a2", lab.own, "eth7", lab.h2)
    given_up, wanted = nsid_in(lab, lab.h1), nsid_in(lab, lab.h2)
    before = children(os.getpid())
    with inside(lab.own):
        doors = Doorkeeper()
    [keeper] = set(children(os.getpid())) - set(before)

    def lost() -> None:
        os.kill(keeper, signal.SIGCONT)
        raise Lost("ENOBUFS")

    with contextlib.closing(doors):
        os.kill(keeper, signal.SIGSTOP)
        with pytest.raises(Lost):
            doors.open(given_up, lost)
        with contextlib.closing(doors.open(wanted, nothing)) as door:
            assert "eth7" in {key.ifname for key, _ in ipv4_conf(settings_of(door))}


def test_a_closed_door_does_not_keep_a_namespace_alive(lab: Lab) -> None:
    """Nor does a mirror that has read all of its tables."""
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        assert any(key[0] == h1 for key in mirror.tables["route"])
        lab.remove(lab.h1)
        mirror.wait(lambda: not mirror.tables["nsid"], "the namespace is gone")
        assert not any(key[0] == h1 for key in mirror.tables["route"])


def test_the_doorkeeper_has_one_right_and_no_descriptor_of_ours(lab: Lab) -> None:
    with reader(lab.own) as mirror:
        mirror.synced()
        [keeper] = children(mirror.pid)
        status = Path(f"/proc/{keeper}/status").read_text()
        assert "Name:\tisat-doors\n" in status
        assert "Uid:\t65534\t65534\t65534\t65534\n" in status
        assert f"CapEff:\t{1 << 21 | 1 << 19:016x}\n" in status
        names = opened(keeper)
        assert not any(name.startswith("pipe:") for name in names if name != stderr())
        [hello] = mirror.said("hello")
        assert "CAP_SYS_ADMIN" not in hello["capabilities"]


def opened(pid: int) -> list[str]:
    """What it has open; what it closes meanwhile is none of that."""
    names = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(descriptor))
    return names


def stderr() -> str:
    return os.readlink("/proc/self/fd/2")


def children(pid: int) -> list[int]:
    return [
        int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_doorkeeper_ends_with_the_mirror(lab: Lab, how: signal.Signals) -> None:
    with reader(lab.own) as mirror:
        [keeper] = children(mirror.synced().pid)
        os.kill(mirror.pid, how)
        wait_until(lambda: not os.path.exists(f"/proc/{keeper}"), why="it has ended")


def test_the_mirror_ends_with_its_doorkeeper(lab: Lab) -> None:
    """So that whoever started it starts both again."""
    with reader(lab.own) as mirror:
        [keeper] = children(mirror.synced().pid)
        os.kill(keeper, signal.SIGKILL)
        ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
        assert mirror.finish() == 1


def test_nobody_keeps_doors_when_no_table_needs_them(lab: Lab) -> None:
    with reader(lab.own, "--table", "nsid,link,addr") as mirror:
        assert children(mirror.synced().pid) == []


def test_whoever_may_not_enter_sees_links_and_is_told_what_is_missing(
    lab: Lab,
) -> None:
    """CAP_SYS_ADMIN is missing, the rest is there."""
    without = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    with reader(lab.own, "--once", before=without) as mirror:
        assert mirror.finish() == 0
    assert mirror.link(mirror.nsid(lab.h1), "eth0")
    assert {key[0] for key in mirror.tables["route"]} <= {-1}
    [note] = mirror.said("note")
    assert "CAP_SYS_ADMIN" in note


def test_a_namespace_without_a_name_is_entered_by_way_of_a_process(lab: Lab) -> None:
    command = ("unshare", "-n", "sh", "-c", "ip link set lo up; echo ready; read line")
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdin and shell.stdout and shell.stdout.readline()
        with reader(lab.own) as mirror:
            mirror.synced()
            ip("-n", lab.own, "link", "add", "ve", "type", "veth",
               "peer", "name", "eth0", "netns", str(shell.pid))  # fmt: skip

            def local_routes() -> bool:
                nsid = mirror.nsid(f"sh[{shell.pid}]")
                rows = mirror.tables.get("route", {})
                return any(key[0] == nsid and "127.0.0.0" in key for key in rows)

            mirror.wait(local_routes, "routes of a namespace of a shell")
        shell.stdin.close()


def test_a_garbled_request_ends_the_doorkeeper_alone(lab: Lab) -> None:
    code = (
        "from controller.netlink.doors import Doorkeeper\n"
        "k = Doorkeeper(); k._socket.send(b'no'); k._socket.recv(1); k.close()"
    )
    done = subprocess.run(
        lab.command(lab.own, sys.executable, "-c", code),
        cwd=ROOT, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0


def test_what_is_handed_out_is_a_route_socket(lab: Lab, doors: Doors) -> None:
    with contextlib.closing(doors.open(nsid_in(lab, lab.h1), nothing)) as door:
        assert door.sock.family == socket.AF_NETLINK
