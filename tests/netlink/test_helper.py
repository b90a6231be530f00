"""The process: its options, its rights, its readers, its losses."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.netlink import rights
from controller.netlink.helper import main
from tests.conftest import cannot_run
from tests.netlink.lab import ROOT, Lab, Reader, differences, ip, new_lab, reader
from tests.support.wait import wait_until

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        lab.veth("a2", lab.own, "eth0", lab.h2)
        ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
        yield lab


def test_an_unknown_table_is_answered_by_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as error:
        main(["--table", "link,adr"])
    assert error.value.code == 2
    said = capsys.readouterr().err
    assert "unknown table 'adr': write some of nsid,link,addr,neigh" in said


@pytest.mark.root
def test_tables_can_be_chosen(lab: Lab) -> None:
    with reader(lab.own, "--once", "--table", "addr") as mirror:
        mirror.finish()
    assert list(mirror.tables) == ["addr"]
    assert any("10.1.0.1" in key for key in mirror.tables["addr"])


@pytest.mark.root
def test_one_namespace_can_be_chosen_by_name(lab: Lab) -> None:
    """Also when it is connected, and named, while the mirror runs."""
    lab.veth("b1", lab.own, "eth1", lab.add("h3"))
    with reader(lab.own, "--namespace", lab.name("h4")) as mirror:
        assert mirror.synced().tables == {}
        lab.veth("b2", lab.own, "eth1", lab.add("h4"))
        mirror.wait(lambda: mirror.nsid(lab.name("h4")) is not None, "h4")
        mirror.wait(lambda: mirror.link(mirror.nsid(lab.name("h4")), "eth1"), "eth1")
        nsids = {key[0] for rows in mirror.tables.values() for key in rows}
        assert nsids == {mirror.nsid(lab.name("h4"))}


@pytest.mark.root
def test_one_interface_can_be_chosen_and_may_get_its_name_later(lab: Lab) -> None:
    options = ("--interface", "late", "--table", "link,addr")
    with reader(lab.own, *options) as mirror:
        assert mirror.synced().tables == {}
        ip("-n", lab.h1, "link", "property", "add", "dev", "eth0", "altname", "late")
        mirror.wait(lambda: len(mirror.tables.get("link", {})) == 1, "eth0 of h1")
        assert {"10.1.0.1"} <= {key[4] for key in mirror.tables["addr"]}
        ip("-n", lab.h1, "link", "property", "del", "dev", "eth0", "altname", "late")
        mirror.wait(lambda: not any(mirror.tables.values()), "out of view")


@pytest.mark.root
def test_it_keeps_only_the_rights_it_needs(lab: Lab) -> None:
    with reader(lab.own, "--no-holders") as mirror:
        mirror.synced()
        [hello] = mirror.said("hello")
        status = status_of(mirror.pid)
    assert hello["capabilities"] == ["CAP_NET_ADMIN", "CAP_NET_BROADCAST"]
    bits = sum(1 << rights.CAPABILITIES[name] for name in rights.TO_MIRROR)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == bits
    assert status["Uid"].split() == ["65534"] * 4
    assert status["NoNewPrivs"] == "1"


def status_of(pid: int) -> dict[str, str]:
    with open(f"/proc/{pid}/status") as status:
        return dict(line.rstrip("\n").split(":\t", 1) for line in status)


@pytest.fixture
def public() -> Iterator[Path]:
    """The helper where all may read it: a checkout may stand in a private folder."""
    with tempfile.TemporaryDirectory(prefix="inm") as directory:
        package = Path(directory) / "controller"
        shutil.copytree(f"{ROOT}/controller/netlink", package / "netlink")
        shutil.copy(f"{ROOT}/controller/__init__.py", package)
        subprocess.run(("chmod", "-R", "a+rX", directory), check=True)
        yield Path(directory)


# The rights of an ordinary user, what it sees of other namespaces, and what it is told.
CANNOT_HEAR = "NETLINK_LISTEN_ALL_NSID needs CAP_NET_BROADCAST"
CANNOT_READ = "IFLA_TARGET_NETNSID needs CAP_NET_ADMIN"
RIGHTS: tuple[tuple[tuple[str, ...], bool, set[str]], ...] = (
    ((), False, {CANNOT_HEAR, CANNOT_READ}),
    (("net_admin",), True, {CANNOT_HEAR}),
    (("net_broadcast",), False, {CANNOT_READ}),
    (("net_admin", "net_broadcast"), True, set()),
)


@pytest.mark.root
@pytest.mark.parametrize(("capabilities", "reads_others", "lacks"), RIGHTS)
def test_what_a_user_sees_depends_on_two_rights_and_is_said_once(
    lab: Lab,
    public: Path,
    capabilities: tuple[str, ...],
    reads_others: bool,
    lacks: set[str],
) -> None:
    """What is connected is known to all: the kernel names the far end's number."""
    command = lab.command(lab.own, *user_with(capabilities), accessible_python(), "-m",
                          "controller.netlink", "--once")  # fmt: skip
    done = subprocess.run(
        command, cwd=public, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    hello, *said = map(json.loads, done.stdout.splitlines())
    assert hello["hello"]["capabilities"] == [f"CAP_{c.upper()}" for c in capabilities]
    assert '"ifname":"a1"' in done.stdout
    assert ('"local":"10.1.0.1"' in done.stdout) == reads_others
    notes = [line["note"] for line in said if "note" in line]
    assert len(notes) == len({*notes})
    for lack in (CANNOT_HEAR, CANNOT_READ):
        assert any(lack in note for note in notes) == (lack in lacks)


@pytest.mark.root
@pytest.mark.parametrize("capabilities", [row[0] for row in RIGHTS])
def test_only_who_may_hear_follows_other_namespaces(
    lab: Lab, public: Path, capabilities: tuple[str, ...]
) -> None:
    """An address that comes later, with the next one of our own behind it."""
    before = (*user_with(capabilities), accessible_python(), "-P", "-c", LATER)
    with reader(lab.own, before=(*before, str(public))) as mirror:
        mirror.synced()
        ip("-n", lab.h1, "addr", "add", "10.1.0.7/24", "dev", "eth0")
        ip("-n", lab.own, "addr", "add", "10.1.0.8/24", "dev", "a1")
        mirror.wait(lambda: "10.1.0.8" in mirror.addresses(-1), "its own")
        followed = "10.1.0.7" in mirror.addresses(mirror.nsid(lab.h1))
        assert followed == ("net_broadcast" in capabilities)


OFTEN = "from controller.netlink import mirror; mirror.AUDIT_INTERVAL = 0.3"


@pytest.mark.root
def test_what_cannot_be_heard_is_found_and_is_no_mistake_of_ours(lab: Lab) -> None:
    without = ("setpriv", "--bounding-set=-net_broadcast", "--inh-caps=-net_broadcast")
    with reader(lab.own, before=without, without=OFTEN) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        ip("-n", lab.h1, "addr", "add", "10.1.0.7/24", "dev", "eth0")
        mirror.wait(lambda: "10.1.0.7" in mirror.addresses(h1), "the audit")
        ip("-n", lab.h1, "addr", "del", "10.1.0.7/24", "dev", "eth0")
        mirror.wait(lambda: "10.1.0.7" not in mirror.addresses(h1), "another one")
        assert mirror.said("audit") == []


# Nobody may not be where the test is, nor run its Python.
LATER = """
import os, sys
os.chdir(sys.argv[1])
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


def user_with(capabilities: tuple[str, ...]) -> tuple[str, ...]:
    """setpriv(1) for nobody with these rights and no others."""
    given = ",".join(("-all", *(f"+{name}" for name in capabilities)))
    sets = ("bounding-set", "inh-caps", "ambient-caps")
    return (*NOBODY, *(f"--{name}={given}" for name in sets))


def accessible_python() -> str:
    """A Python that nobody may run: the test's own may live in /root."""
    for python in (sys.executable, "/usr/bin/python3"):
        check = (
            *NOBODY,
            python,
            "-c",
            "import sys; assert sys.version_info >= (3, 11)",
        )
        if subprocess.run(check, capture_output=True).returncode == 0:
            return python
    cannot_run("no Python 3.11 that an unprivileged user may run")


@pytest.mark.root
def test_it_ends_with_its_reader(lab: Lab) -> None:
    ours, theirs = socket.socketpair()
    command = lab.command(lab.own, sys.executable, "-m", "controller.netlink",
                          "--fd", str(theirs.fileno()))  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()]) as helper:
        theirs.close()
        assert ours.recv(100).startswith(b'{"hello":')
        ours.close()
        assert helper.wait(10) == 0


@pytest.mark.root
def test_a_closed_pipe_ends_it(lab: Lab) -> None:
    command = lab.command(lab.own, sys.executable, "-m", "controller.netlink")
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as helper:
        assert helper.stdout is not None
        helper.stdout.readline()
        helper.stdout.close()
        assert helper.wait(10) == 0


@pytest.mark.root
def test_events_that_were_missed_are_made_up_for(lab: Lab) -> None:
    """A small buffer, a mirror that is stopped, more events than it holds."""
    with reader(lab.own, "--receive-buffer", "4096") as mirror:
        mirror.synced()
        os.kill(mirror.pid, signal.SIGSTOP)
        for number in range(40):
            ip("-n", lab.h1, "addr", "add", f"10.3.0.{number}/32", "dev", "eth0")
        ip("-n", lab.own, "link", "del", "a2")
        ip("-n", lab.own, "link", "add", "br7", "type", "bridge")
        os.kill(mirror.pid, signal.SIGCONT)

        mirror.wait(lambda: mirror.said("dirty"), "it knows")
        mirror.wait(lambda: mirror.syncs() >= 2, "it has read all again")
        names = {-1: lab.own, mirror.nsid(lab.h1): lab.h1}
        assert len(names) == 2
        assert mirror.link(-1, "br7") and not mirror.link(-1, "a2")
        assert mirror.addresses(mirror.nsid(lab.h1)) >= {
            f"10.3.0.{number}" for number in range(40)
        }


@pytest.mark.root
def test_a_reader_who_slept_is_told_everything_anew(lab: Lab) -> None:
    """Each line about a link with so many names has 60 KB."""
    for number in range(496):
        name = f"{number:03}".ljust(117, "x")
        words = ("link", "property", "add", "dev", "a1", "altname", name)
        ip("-n", lab.own, *words)
    with reader(lab.own) as mirror:
        mirror.synced()
        for number in range(700):
            ip("-n", lab.own, "link", "set", "a1", "alias", str(number))
        wait_until(lambda: has_read_all(mirror.pid), within=30, why="it is idle")

        mirror.wait(lambda: mirror.said("reset"), "a reset", 30)
        mirror.wait(lambda: "sync" in mirror.lines[-1], "and a sync")
        assert alias_of(mirror, "a1") == "699"
        ip("-n", lab.own, "link", "set", "a1", "alias", "later")
        mirror.wait(lambda: alias_of(mirror, "a1") == "later", "it goes on")


def alias_of(mirror: Reader, ifname: str) -> str | None:
    row = mirror.link(-1, ifname)
    return row["ifalias"] if row else None


def has_read_all(pid: int) -> bool:
    """It sleeps, and no message waits for it (proc(5), /proc/net/netlink)."""
    table = Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]
    waiting = sum(int(line.split()[4]) for line in table)
    return waiting == 0 and status_of(pid)["State"].startswith("S")


# The kernel refuses no more than NUL, "/", ":", white space, "." and "..".
ODD_NAMES = (b"\x1b[31m", b"\xff\xfe\x01\x7f", b"\"'\\", b'{"op"}', b"-x", b"\xc3\xa9")


@pytest.mark.root
def test_an_interface_may_have_any_name(lab: Lab) -> None:
    names = [os.fsdecode(name) for name in ODD_NAMES]
    for name in names:
        ip("-n", lab.own, "link", "add", "name", name, "type", "bridge")
    with reader(lab.own, "--once", "--table", "link") as mirror:
        mirror.finish()
    assert all(mirror.link(-1, name) for name in names)


@pytest.mark.root
def test_a_second_mirror_disturbs_nobody(lab: Lab) -> None:
    with reader(lab.own) as one, reader(lab.h1) as other:
        one.synced()
        other.synced()
        ip("-n", lab.own, "addr", "add", "10.1.0.9/24", "dev", "a1")
        one.wait(lambda: "10.1.0.9" in one.addresses(-1), "in its own")
        other.wait(lambda: "10.1.0.9" in other.addresses(other.nsid(lab.own)), "far")
        one.wait(lambda: differences(one, lab) == [], "equal")
