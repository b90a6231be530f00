"""Three namespaces of a test, a mirror that runs in one of them, and `ip` beside it.

Nothing here touches the namespace the test runs in, so other work on the machine is
not disturbed and does not disturb.  Names begin with "inm" and the test's process id;
what a killed test left is removed when the next one starts.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.conftest import cannot_run
from tests.support.wait import wait_until

Json = dict[str, Any]
PREFIX = "inm"
ROOT = str(Path(__file__).resolve().parents[2])
SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
COMMAND_LIMIT = 60.0  # seconds
CLONE_NEWNET = 0x40000000  # linux/sched.h
NOT_TOLD = -2  # no nsid
_numbers = itertools.count()


def ip(*words: str) -> str:
    """Run ip(8); its standard output."""
    done = subprocess.run(
        ("ip", *words), capture_output=True, text=True,
        timeout=COMMAND_LIMIT, errors="surrogateescape",
    )  # fmt: skip
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def ip_json(*words: str) -> list[Json]:
    """What `ip -j` says, without the empty objects that it prints now and then."""
    said = ip("-j", *words)
    return [row for row in json.loads(said) if row] if said.strip() else []


class Lab:
    """Namespaces `own` (the mirror's), `h1` and `h2`; more by `add`."""

    def __init__(self) -> None:
        self._stem = f"{PREFIX}{os.getpid()}x{next(_numbers)}"
        self.own, self.h1, self.h2 = (self.add(name) for name in ("own", "h1", "h2"))

    def name(self, short: str) -> str:
        return f"{self._stem}{short}"

    def add(self, short: str) -> str:
        ip("netns", "add", self.name(short))
        return self.name(short)

    def remove(self, namespace: str) -> None:
        ip("netns", "del", namespace)

    def veth(self, end: str, namespace: str, far_end: str, far: str) -> None:
        """A pair, `end` in one namespace and `far_end` in the other, both up."""
        ip("-n", namespace, "link", "add", end, "type", "veth",
           "peer", "name", far_end, "netns", far)  # fmt: skip
        ip("-n", namespace, "link", "set", end, "up")
        ip("-n", far, "link", "set", far_end, "up")

    def command(self, namespace: str, *words: str) -> list[str]:
        return ["ip", "netns", "exec", namespace, *words]

    def end(self) -> None:
        for name in named():
            if name.startswith(self._stem):
                ip("netns", "del", name)


def named() -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return os.listdir("/run/netns")
    return []


def sweep() -> None:
    """Remove the namespaces of tests that were killed."""
    for name in named():
        owner = re.match(rf"{PREFIX}(\d+)x", name)
        if owner and not os.path.exists(f"/proc/{owner[1]}"):
            ip("netns", "del", name)


@contextlib.contextmanager
def new_lab() -> Iterator[Lab]:
    if not shutil.which("ip"):
        cannot_run("no ip(8): ./run setup installs iproute2")
    sweep()
    lab = Lab()
    try:
        yield lab
    finally:
        lab.end()


class Reader:
    """A mirror in a namespace, and the tables that its lines add up to."""

    def __init__(self, namespace: str, *options: str, before: tuple[str, ...] = ()):
        self.tables: dict[str, dict[tuple[Any, ...], Json]] = {}
        self.lines: list[Json] = []
        self._rest = b""
        self._process = subprocess.Popen(
            ("ip", "netns", "exec", namespace, *before, sys.executable, "-m",
             "controller.netlink", *options),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._fd = self._process.stdout.fileno()
        os.set_blocking(self._fd, False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def pump(self, most: int = sys.maxsize) -> bool:
        """Take in what has been said; False at the end of it."""
        while most > 0:
            try:
                data = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                return True
            if not data:
                return False
            most -= len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._hear(json.loads(line))
        return True

    def _hear(self, said: Json) -> None:
        self.lines.append(said)
        if "reset" in said:
            self.tables.clear()
        if "op" not in said:
            return
        rows = self.tables.setdefault(said["table"], {})
        key = tuple(said["key"].values())
        assert (said["op"] == "new") == (key not in rows), said
        if said["op"] == "del":
            del rows[key]
        else:
            rows[key] = said["value"]

    def wait(self, condition: Callable[[], Any], why: str, within: float = 10) -> Any:
        """Read until the condition holds."""

        def look() -> Any:
            self.pump()
            return condition()

        return wait_until(look, within=within, why=why)

    def synced(self, generation: int = 1) -> Reader:
        self.wait(lambda: self.syncs() >= generation, f"sync {generation}", 30)
        return self

    def syncs(self) -> int:
        return max((said.get("sync", 0) for said in self.lines), default=0)

    def said(self, word: str) -> list[Any]:
        return [said[word] for said in self.lines if word in said]

    def finish(self) -> int:
        """Read to the end of what it says; its exit status."""
        while self.pump():
            select.select([self._fd], [], [], 1.0)
        return self._process.wait(10)

    def end(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    # --- rows -------------------------------------------------------------------------

    def nsid(self, namespace: str) -> int | None:
        """The number of a named namespace."""
        for (nsid,), row in self.tables.get("nsid", {}).items():
            if row["name"] == namespace:
                return int(nsid)
        return None

    def link(self, nsid: int | None, ifname: str) -> Json | None:
        """An interface by name, with its index."""
        for (where, index), row in self.tables.get("link", {}).items():
            if (where, row["ifname"]) == (nsid, ifname):
                return {"ifi_index": index, **row}
        return None

    def addresses(self, nsid: int | None) -> set[str]:
        return {key[4] for key in self.tables.get("addr", {}) if key[0] == nsid}


@contextlib.contextmanager
def reader(
    namespace: str, *options: str, before: tuple[str, ...] = ()
) -> Iterator[Reader]:
    process = Reader(namespace, *options, before=before)
    try:
        yield process
    finally:
        process.end()


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread's new sockets belong to a namespace (setns(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (
        open("/proc/thread-self/ns/net") as here,
        open(f"/run/netns/{namespace}") as at,
    ):
        assert libc.setns(at.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert libc.setns(here.fileno(), CLONE_NEWNET) == 0


# --- one form for what the mirror says and what `ip` says -----------------------------


def links_by_ip(namespace: str) -> dict[int, Json]:
    """`ip -j -d link`, each row as `links_by_mirror` gives it."""
    rows = ip_json("-n", namespace, "-d", "link")
    index_of = {row["ifname"]: row["ifindex"] for row in rows}
    names = {row["nsid"]: row.get("name") for row in ip_json(
        "-n", namespace, "netns", "list-id")}  # fmt: skip
    return {row["ifindex"]: link_by_ip(namespace, row, index_of, names) for row in rows}


def link_by_ip(
    namespace: str, row: Json, index_of: dict[str, int], names: dict[int, str | None]
) -> Json:
    info = row.get("linkinfo", {})
    peer = row.get("link_index", index_of.get(row.get("link") or ""))
    there = names.get(row["link_netnsid"]) if "link_netnsid" in row else namespace
    return {
        "ifname": row["ifname"],
        "up": "UP" in row["flags"],
        "lower_up": "LOWER_UP" in row["flags"],
        "mtu": row["mtu"],
        "address": row.get("address"),
        "operstate": row["operstate"],
        "master": index_of.get(row.get("master", "")),
        "peer": (there, peer) if peer else None,
        **silent(row, "UP" in row["flags"]),
        "kind": info.get("info_kind"),
        "slave_kind": info.get("info_slave_kind"),
    }


def links_by_mirror(
    mirror: Reader, nsid: int | None, names: dict[int, str]
) -> dict[int, Json]:
    """The mirror's rows of one namespace; `names` of namespaces by nsid."""
    return {
        index: link_by_mirror(row, names)
        for (where, index), row in mirror.tables.get("link", {}).items()
        if where == nsid
    }


def link_by_mirror(row: Json, names: dict[int, str]) -> Json:
    peer = row.get("link")
    return {
        "ifname": row["ifname"],
        "up": bool(row["ifi_flags"] & 0x1),
        "lower_up": bool(row["ifi_flags"] & 0x10000),
        "mtu": row["mtu"],
        "address": row.get("address"),
        "operstate": row["operstate"],
        "master": row.get("master"),
        "peer": (names.get(row.get("link_netnsid", NOT_TOLD)), peer) if peer else None,
        **silent(row, bool(row["ifi_flags"] & 0x1)),
        "kind": row.get("kind"),
        "slave_kind": row.get("slave_kind"),
    }


def silent(row: Json, up: bool) -> Json:
    """What the kernel announces only while the device is up."""
    names = sorted(row.get("altnames", ()))
    return {"ifalias": row.get("ifalias"), "altnames": names} if up else {}


def addresses_by_ip(namespace: str) -> set[tuple[Any, ...]]:
    return {
        (row["ifindex"], a["local"], a["prefixlen"], a.get("address", a["local"]),
         SCOPES[a["scope"]], a.get("label"), a.get("broadcast"))
        for row in ip_json("-n", namespace, "addr")
        for a in row["addr_info"]
    }  # fmt: skip


def addresses_by_mirror(mirror: Reader, nsid: int | None) -> set[tuple[Any, ...]]:
    return {
        (index, local, prefixlen, address,
         row["ifa_scope"], row.get("label"), row.get("broadcast"))
        for (where, _, index, prefixlen, local, address), row
        in mirror.tables.get("addr", {}).items()
        if where == nsid
    }  # fmt: skip


def neighbors_by_ip(namespace: str) -> set[tuple[str, str, str]]:
    """Those that can be reached, without the kernel's multicast entries."""
    return {
        (row["dev"], row["dst"], row["lladdr"])
        for row in ip_json("-n", namespace, "neigh")
        if "lladdr" in row and not {"NOARP", "FAILED", "INCOMPLETE"} & {*row["state"]}
    }


def neighbors_by_mirror(mirror: Reader) -> set[tuple[str, str, str]]:
    """Those of the mirror's own namespace."""
    return {
        (
            mirror.tables["link"].get((-1, index), {}).get("ifname", ""),
            dst,
            row["lladdr"],
        )
        for (nsid, _, index, dst), row in mirror.tables.get("neigh", {}).items()
        if nsid == -1
    }


def differences(mirror: Reader, lab: Lab) -> list[str]:
    """Where the mirror and `ip` disagree about the lab's three namespaces."""
    names = {
        nsid: row["name"] for (nsid,), row in mirror.tables.get("nsid", {}).items()
    }
    names[-1] = lab.own
    found = []
    for namespace in (lab.own, lab.h1, lab.h2):
        nsid = next((n for n, name in names.items() if name == namespace), None)
        for what, have, want in (
            ("link", links_by_mirror(mirror, nsid, names), links_by_ip(namespace)),
            ("addr", addresses_by_mirror(mirror, nsid), addresses_by_ip(namespace)),
        ):
            if have != want:
                found.append(f"{namespace} {what}:\n  mirror {have}\n  ip     {want}")
    have_neighbors, want_neighbors = (
        neighbors_by_mirror(mirror),
        neighbors_by_ip(lab.own),
    )
    if have_neighbors != want_neighbors:
        found.append(f"neigh:\n  mirror {have_neighbors}\n  ip {want_neighbors}")
    return found
