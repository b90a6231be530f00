"""What VXLAN devices are told: what should be, and nothing of what others have made."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.netlink.forwarding import (
    Addresses,
    Forwarding,
    Garbled,
    Step,
    is_kept,
    is_ours,
    steps,
    told,
)
from controller.netlink.rtnl.neigh import (
    ANYBODY,
    NTF_EXT_LEARNED,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    NUD_REACHABLE,
    Fdb,
    FdbKey,
)
from tests.netlink.lab import ROOT, START, Lab, ip, new_lab, reader
from tests.support.wait import wait_until

A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"
H1, H2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
OURS = Fdb(NUD_PERMANENT | NUD_NOARP, flags=NTF_EXT_LEARNED)
OF_OTHERS = Fdb(NUD_PERMANENT | NUD_NOARP)
OF_A_ROUTER = Fdb(NUD_REACHABLE | NUD_NOARP, flags=NTF_EXT_LEARNED)  # as FRR does
LEARNED = Fdb(NUD_REACHABLE)
KINDS = (OURS, OF_OTHERS, OF_A_ROUTER, LEARNED)

Held = dict[FdbKey, Fdb]


def key(lladdr: str, dst: str) -> FdbKey:
    return FdbKey(3, lladdr, None, dst, None, NTF_SELF)


def after(held: Mapping[FdbKey, Fdb], todo: Iterator[Step]) -> Held:
    """What the kernel makes of it (drivers/net/vxlan/vxlan_core.c)."""
    now = dict(held)
    for op, lladdr, dst in todo:
        if op == "remove":
            del now[key(lladdr, dst)]
            continue
        assert key(lladdr, dst) not in now or lladdr != ANYBODY, "nothing twice"
        if lladdr != ANYBODY:
            assert (op == "move") == bool(now), "EEXIST"
            now.clear()
        now[key(lladdr, dst)] = OURS
    return now


addresses = st.sampled_from([A, B, C])


@given(st.none() | addresses, st.none() | st.tuples(addresses, st.sampled_from(KINDS)))
def test_of_a_station_there_is_what_should_be_unless_somebody_else_has_made_one(
    wanted: str | None, found: tuple[str, Fdb] | None
) -> None:
    held = {key(H1, found[0]): found[1]} if found else {}
    should = frozenset({wanted} if wanted else ())

    now = after(held, steps(H1, should, held))

    if found and found[1] in (OF_OTHERS, OF_A_ROUTER):
        assert now == held
    elif wanted:
        assert now == {key(H1, wanted): OURS}
    else:
        assert not any(is_ours(one, row) for one, row in now.items())
    assert not list(steps(H1, should, now)), "at rest"


@given(
    st.frozensets(addresses),
    st.dictionaries(addresses, st.sampled_from(KINDS[:3])),
)
def test_broadcasts_go_to_each_that_should_be_and_where_others_want_them(
    wanted: Addresses, found: dict[str, Fdb]
) -> None:
    held = {key(ANYBODY, dst): row for dst, row in found.items()}

    now = after(held, steps(ANYBODY, wanted, held))

    others = {dst for dst, row in found.items() if row is not OURS}
    assert {one.dst for one in now} == wanted | others
    assert not list(steps(ANYBODY, wanted, now)), "at rest"


def test_a_move_is_one_change() -> None:
    held = {key(H1, A): OURS}
    assert [*steps(H1, frozenset({B}), held)] == [Step("move", H1, B)]


def test_beside_an_entry_of_others_ours_has_no_mark_and_is_known_all_the_same() -> None:
    held = {key(ANYBODY, A): OF_OTHERS, key(ANYBODY, B): OF_OTHERS}
    todo = steps(ANYBODY, frozenset(), held, frozenset({B}))
    assert [*todo] == [Step("remove", ANYBODY, B)]


def test_what_ages_is_no_reason_to_keep_away() -> None:
    assert not is_kept(LEARNED)
    held = {key(H1, A): LEARNED}
    assert [*steps(H1, frozenset({A}), held)] == [Step("move", H1, A)]


GARBAGE = (
    b"{",
    b"[]",
    b'{"fdb": 7, "to": {}}',
    b'{"fdb": "vx0", "to": {"02:00:00:00:00:01": ["here"]}}',
    b'{"fdb": "vx0", "to": {"02:00:00:00:00": ["192.0.2.1"]}}',
    b'{"fdb": "vx0", "to": {"01:00:5e:00:00:01": ["192.0.2.1"]}}',
    b'{"fdb": "vx0", "to": {"02:00:00:00:00:01": ["192.0.2.1", "192.0.2.2"]}}',
)


@pytest.mark.parametrize("line", GARBAGE)
def test_what_no_controller_says_is_refused(line: bytes) -> None:
    with pytest.raises(Garbled):
        told(line)


def test_a_line_without_end_is_refused() -> None:
    with (
        contextlib.closing(Forwarding(["vx0"])) as forwarding,
        pytest.raises(Garbled, match="a line of more than"),
    ):
        for _ in range(5):
            forwarding.hear(b"x" * 65536)


# --- with a kernel --------------------------------------------------------------------


@dataclass
class Mirror:
    """A process in `lab.own` that may write to some devices, and what it says."""

    lab: Lab
    ours: socket.socket
    process: subprocess.Popen[bytes]
    lines: list[dict[str, Any]] = field(default_factory=list)
    rest: bytes = b""

    def tell(
        self, to: Mapping[str, list[str]], device: str = "vx0", more: bool = False
    ) -> dict[str, Any]:
        """The report that follows."""
        line = {"fdb": device, "to": to, "more": more}
        self.ours.sendall(json.dumps(line).encode() + b"\n")
        return self.report()

    def report(self) -> dict[str, Any]:
        while True:
            for number, line in enumerate(self.lines):
                if "fdb" in line:
                    del self.lines[: number + 1]
                    return dict(line["fdb"])
            self.lines.clear()
            data = self.ours.recv(65536)
            assert data, "it has ended"
            *lines, self.rest = (self.rest + data).split(b"\n")
            self.lines += map(json.loads, lines)

    def end(self) -> None:
        self.ours.close()
        assert self.process.wait(10) == 0


@contextlib.contextmanager
def programmer(lab: Lab, *before: str) -> Iterator[Mirror]:
    ours, theirs = socket.socketpair()
    ours.settimeout(20)
    with theirs:
        fd = str(theirs.fileno())
        command = (*before, sys.executable, "-c", START, "--fd", fd, "--table", "link")
        process = subprocess.Popen(
            lab.command(lab.own, *command, "--program", "vx0"),
            cwd=ROOT, pass_fds=(theirs.fileno(),),
        )  # fmt: skip
    mirror = Mirror(lab, ours, process)
    try:
        yield mirror
    finally:
        ours.close()
        process.wait(10)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        ip("-n", lab.own, "addr", "add", f"{A}/24", "dev", "a1")
        device(lab)
        yield lab


def device(lab: Lab) -> None:
    kind = ("type", "vxlan", "id", "5000", "local", A, "dstport", "4789", "nolearning")
    ip("-n", lab.own, "link", "add", "vx0", *kind)
    ip("-n", lab.own, "link", "set", "vx0", "up")


def bridge(lab: Lab, *words: str) -> str:
    done = subprocess.run(
        ("bridge", "-n", lab.own, *words), capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def entries(lab: Lab) -> set[tuple[str, str]]:
    rows = json.loads(bridge(lab, "-j", "fdb", "show", "dev", "vx0"))
    return {(row["mac"], row["dst"]) for row in rows}


@pytest.mark.root
def test_entries_are_as_told_and_stay(lab: Lab) -> None:
    with programmer(lab) as mirror:
        said = mirror.tell({H1: [B], H2: [C], ANYBODY: [B, C]})
        both = {(ANYBODY, B), (ANYBODY, C)}
        assert entries(lab) == {(H1, B), (H2, C)} | both
        assert said == {
            **{"device": "vx0", "wanted": 4, "right": 4, "problem": ""},
            **{"done": {"add": 4}, "heard": 1},
        }
        assert mirror.tell({H1: [C]})["done"] == {"move": 1}
        assert entries(lab) == {(H1, C), (H2, C)} | both
        assert mirror.tell({H2: []})["done"] == {"remove": 1}
        assert entries(lab) == {(H1, C)} | both
        assert mirror.tell({H1: [C]})["done"] == {}, "it is so"
        mirror.process.kill()
        mirror.process.wait()
    assert entries(lab) == {(H1, C)} | both


@pytest.mark.root
def test_another_one_keeps_what_is_right_and_takes_away_what_is_not(lab: Lab) -> None:
    with programmer(lab) as first:
        first.tell({H1: [B], H2: [C], ANYBODY: [B, C]})
    monitor = ("bridge", "-n", lab.own, "monitor", "fdb")
    with (
        subprocess.Popen(monitor, stdout=subprocess.PIPE, text=True) as watched,
        programmer(lab) as second,
    ):
        second.tell({H1: [B]}, more=True)
        assert len(entries(lab)) == 4, "not all was told yet"
        said = second.tell({ANYBODY: [B]})
        watched.terminate()
        heard, _ = watched.communicate(timeout=10)
    assert said["done"] == {"remove": 2}
    assert entries(lab) == {(H1, B), (ANYBODY, B)}
    assert all(line.startswith("Deleted") for line in heard.splitlines()), heard


@pytest.mark.root
def test_entries_of_others_stay(lab: Lab) -> None:
    bridge(lab, "fdb", "add", H1, "dev", "vx0", "dst", B, "self", "permanent")
    mark = ("self", "static", "extern_learn")
    bridge(lab, "fdb", "add", H2, "dev", "vx0", "dst", B, *mark)
    bridge(lab, "fdb", "append", ANYBODY, "dev", "vx0", "dst", B, "self", "permanent")
    theirs = {(H1, B), (H2, B), (ANYBODY, B)}
    with programmer(lab) as mirror:
        said = mirror.tell({H1: [C], H2: [C], ANYBODY: [C]})
        assert entries(lab) == theirs | {(ANYBODY, C)}
        assert (said["wanted"], said["right"]) == (3, 1)
        mirror.tell({H1: [], H2: [], ANYBODY: []})
        assert entries(lab) == theirs


@pytest.mark.root
def test_what_somebody_takes_away_is_there_again(lab: Lab) -> None:
    with programmer(lab) as mirror:
        mirror.tell({H1: [B]})
        bridge(lab, "fdb", "del", H1, "dev", "vx0", "dst", B, "self")
        assert mirror.report()["done"] == {"add": 1}
        assert entries(lab) == {(H1, B)}


@pytest.mark.root
def test_a_device_that_is_made_anew_is_told_all_of_it(lab: Lab) -> None:
    with programmer(lab) as mirror:
        mirror.tell({H1: [B], ANYBODY: [B]})
        ip("-n", lab.own, "link", "del", "vx0")
        wait_until(lambda: mirror.report()["problem"], why="it is told that it is gone")
        device(lab)
        wait_until(lambda: mirror.report()["right"] == 2, why="they are there again")
        assert entries(lab) == {(H1, B), (ANYBODY, B)}


@pytest.mark.root
def test_it_writes_to_no_device_that_was_not_named(lab: Lab) -> None:
    with programmer(lab) as mirror:
        said = mirror.tell({H1: [B]}, device="a1")
        assert said["problem"] == "a1 is not one of those named by --program"
        ip("-n", lab.own, "link", "del", "vx0")
        ip("-n", lab.own, "link", "set", "a1", "down")
        ip("-n", lab.own, "link", "set", "a1", "name", "vx0")
        said = mirror.tell({H1: [B]})
        assert "there is no VXLAN device vx0" in said["problem"]


@pytest.mark.root
def test_without_the_right_it_says_which_it_needs(lab: Lab) -> None:
    nobody = ("setpriv", "--reuid=65534", "--clear-groups", "--bounding-set=-all")
    with programmer(lab, *nobody) as mirror:
        said = mirror.tell({H1: [B]})
    assert said["problem"] == (
        f"vx0: add {H1} dst {B}: Operation not permitted: "
        "RTM_NEWNEIGH needs CAP_NET_ADMIN: run the mirror as root"
    )
    assert entries(lab) == set()


@pytest.mark.root
def test_a_way_that_replaces_another_is_the_only_one_in_the_table(lab: Lab) -> None:
    """The kernel tells of the new one alone."""
    bridge(lab, "fdb", "add", H1, "dev", "vx0", "dst", B, "self", "permanent")
    with reader(lab.own, "--table", "fdb", "--interface", "vx0") as mirror:
        mirror.synced()
        bridge(lab, "fdb", "replace", H1, "dev", "vx0", "dst", C, "self", "permanent")

        def ways() -> list[Any]:
            return [row[4] for row in mirror.tables["fdb"] if row[2] == H1]

        mirror.wait(lambda: C in ways(), "it is told")
        assert ways() == [C]
