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
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from controller.netlink.rtnl.route import RouteKey
from controller.netlink.rtnl.rule import RuleKey
from tests.conftest import cannot_run
from tests.support.wait import wait_until

Json = dict[str, Any]
PREFIX = "inm"
ROOT = str(Path(__file__).resolve().parents[2])
START = "import sys; from controller.netlink.helper import main; sys.exit(main())"
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

    def __init__(
        self,
        namespace: str,
        *options: str,
        before: tuple[str, ...] = (),
        without: str = "",
    ):
        self.tables: dict[str, dict[tuple[Any, ...], Json]] = {}
        self.lines: list[Json] = []
        self._rest = b""
        self._process = subprocess.Popen(
            ("ip", "netns", "exec", namespace, *before, sys.executable, "-c",
             f"{without}\n{START}", *options),
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
        key = tuple(map(frozen, said["key"].values()))
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

    def ifname(self, nsid: int | None, index: int) -> str:
        return str(self.tables["link"].get((nsid, index), {}).get("ifname", index))

    def addresses(self, nsid: int | None) -> set[str]:
        return {key[4] for key in self.tables.get("addr", {}) if key[0] == nsid}


def frozen(value: Any) -> Any:
    """A field of a key, hashable."""
    if isinstance(value, dict):
        value = list(value.values())
    return tuple(map(frozen, value)) if isinstance(value, list) else value


@contextlib.contextmanager
def reader(
    namespace: str, *options: str, before: tuple[str, ...] = (), without: str = ""
) -> Iterator[Reader]:
    """before   a command that starts the mirror, setpriv(1) for instance
    without  Python statements that take something out of it
    """
    process = Reader(namespace, *options, before=before, without=without)
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


def neighbors_by_mirror(mirror: Reader, nsid: int | None) -> set[tuple[str, str, str]]:
    """Those of one namespace, without what the kernel is a proxy for."""
    return {
        (mirror.ifname(nsid, index), dst, row["lladdr"])
        for (where, _, index, dst, proxy), row in mirror.tables.get("neigh", {}).items()
        if where == nsid and not proxy
    }


Rows = Counter[tuple[Any, ...]]


def routes_by_ip(namespace: str) -> Rows:
    """Of all tables of both families."""
    said = ("-d", "-N", "route", "show", "table", "all")
    return Counter(
        route_by_ip(row, family)
        for family in ("-4", "-6")
        for row in ip_json("-n", namespace, family, *said)
    )


def route_by_ip(row: Json, family: str) -> tuple[Any, ...]:
    any_ = "0.0.0.0/0" if family == "-4" else "::/0"
    dst = any_ if row["dst"] == "default" else row["dst"]
    hops, flags = row.get("nexthops", ()), row["flags"]
    return (
        dst if "/" in dst else dst + ("/32" if family == "-4" else "/128"),
        int(row["table"]), int(row.get("tos", "0"), 0), row.get("metric", 0),
        int(row["type"]), int(row["scope"]), int(row["protocol"]),
        row.get("dev"), row.get("gateway"), row.get("prefsrc"), row.get("nhid"),
        tuple((hop.get("dev"), hop.get("gateway"), hop["weight"]) for hop in hops),
        "linkdown" in flags, "dead" in flags, "onlink" in flags,
    )  # fmt: skip


def routes_by_mirror(mirror: Reader, nsid: int | None) -> Rows:
    return Counter(
        route_by_mirror(mirror, nsid, RouteKey(*key[1:]), row)
        for key, row in mirror.tables.get("route", {}).items()
        if key[0] == nsid
    )


def route_by_mirror(
    mirror: Reader, nsid: int | None, key: RouteKey, row: Json
) -> tuple[Any, ...]:
    def dev(index: int | None) -> str | None:
        return mirror.ifname(nsid, index) if index else None

    hops = [(dev(oif), gateway, weight) for oif, gateway, weight in key.nexthops]
    flags = row["rtm_flags"]
    return (
        f"{key.dst}/{key.rtm_dst_len}",
        key.rtm_table, key.rtm_tos, key.priority,
        key.rtm_type, key.rtm_scope, key.rtm_protocol,
        dev(key.oif), key.gateway, key.prefsrc, key.nh_id,
        tuple(hops), bool(flags & 16), bool(flags & 1), bool(flags & 4),
    )  # fmt: skip


def rules_by_ip(namespace: str) -> Rows:
    return Counter(
        (
            row["priority"],
            "" if row["src"] == "all" else row["src"],
            row.get("srclen", 0),
            int(row["table"]),
            int(row.get("fwmark", "0"), 0),
            row.get("iif"),
            int(row.get("protocol", "0")),
        )
        for family in ("-4", "-6")
        for row in ip_json("-n", namespace, family, "-N", "-d", "rule")
    )


def rules_by_mirror(mirror: Reader, nsid: int | None) -> Rows:
    return Counter(
        (
            rule.priority,
            rule.src if rule.src_len else "",
            0 if rule.src_len in (32, 128) else rule.src_len,
            rule.table,
            rule.fwmark,
            rule.iifname,
            row["protocol"],
        )
        for (where, *key), row in mirror.tables.get("rule", {}).items()
        for rule in [RuleKey(*key)]
        if where == nsid
    )


FDB_STATES = {128: "permanent", 192: "permanent", 64: "static", 2: ""}
NTF_SELF = 2


def fdb_by_ip(namespace: str) -> Rows:
    """`bridge -j fdb`, without the group addresses that a device listens to."""
    done = subprocess.run(
        ("bridge", "-n", namespace, "-j", "fdb"),
        capture_output=True, text=True, check=True, timeout=COMMAND_LIMIT,
    )  # fmt: skip
    return Counter(
        (
            row["ifname"],
            row["mac"],
            row.get("vlan"),
            row.get("dst"),
            row.get("master"),
            "self" in row["flags"],
            "" if row["state"] == "stale" else row["state"],
        )
        for row in json.loads(done.stdout)
        if not (int(row["mac"][:2], 16) & 1 and "self" in row["flags"])
    )


def fdb_by_mirror(mirror: Reader, nsid: int | None) -> Rows:
    return Counter(
        (
            mirror.ifname(nsid, index),
            lladdr,
            vlan,
            dst,
            mirror.ifname(nsid, row["master"]) if "master" in row else None,
            bool(flags & NTF_SELF),
            FDB_STATES[row["ndm_state"]],
        )
        for (where, index, lladdr, vlan, dst, _, flags, *_), row in mirror.tables.get(
            "fdb", {}
        ).items()
        if where == nsid
    )


def nexthops_by_ip(namespace: str) -> Rows:
    return Counter(
        (row["id"], row.get("dev"), row.get("gateway"))
        for row in ip_json("-n", namespace, "nexthop")
    )


def nexthops_by_mirror(mirror: Reader, nsid: int | None) -> Rows:
    return Counter(
        (number, mirror.ifname(nsid, row["oif"]), row.get("gateway"))
        for (where, number), row in mirror.tables.get("nexthop", {}).items()
        if where == nsid
    )


def netconf_by_ip(namespace: str) -> Rows:
    """Of all interfaces, and of "all" and "default"."""
    return Counter(
        (row["family"], row["interface"], row["forwarding"], row["proxy_neigh"])
        for row in ip_json("-n", namespace, "netconf")
        if row["family"] in FAMILIES.values()
    )


FAMILIES = {2: "inet", 10: "inet6"}


def netconf_by_mirror(mirror: Reader, nsid: int | None) -> Rows:
    names = {-1: "all", -2: "default"}
    return Counter(
        (
            FAMILIES[family],
            names.get(index) or mirror.ifname(nsid, index),
            bool(row["forwarding"]),
            bool(row["proxy_neigh"]),
        )
        for (where, family, index), row in mirror.tables.get("netconf", {}).items()
        if where == nsid
    )


def tc_by_tc(namespace: str, nsid: int | None) -> Rows:
    """Qdiscs with a handle, and classes of htb, of the mirror's own namespace."""
    if nsid != -1:
        return Counter()
    qdiscs = [
        (words[4], words[1], words[2])
        for words in tc(namespace, "qdisc", "show")
        if words[2] != "0:"
    ]
    classes = [
        (dev, kind, words[2])
        for dev, kind, _ in qdiscs
        for words in (tc(namespace, "class", "show", "dev", dev))
        if kind == words[1] == "htb"
    ]
    return Counter(qdiscs + classes)


def tc(namespace: str, *words: str) -> list[list[str]]:
    """Run tc(8) in a namespace; the words of each line it prints."""
    done = subprocess.run(
        ("ip", "netns", "exec", namespace, "tc", *words),
        capture_output=True, text=True, timeout=COMMAND_LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, f"tc {' '.join(words)}: {done.stderr}"
    return [line.split() for line in done.stdout.splitlines()]


def tc_by_mirror(mirror: Reader, nsid: int | None) -> Rows:
    return Counter(
        (
            mirror.ifname(nsid, index),
            row["kind"],
            f"{handle >> 16:x}:" + (f"{handle & 0xFFFF:x}" if handle & 0xFFFF else ""),
        )
        for (where, index, handle), row in mirror.tables.get("tc", {}).items()
        if where == nsid
    )


def differences(mirror: Reader, lab: Lab) -> list[str]:
    """Where the mirror and `ip` disagree about the lab's three namespaces."""
    names = {
        nsid: row["name"] for (nsid,), row in mirror.tables.get("nsid", {}).items()
    }
    names[-1] = lab.own
    found = []
    for namespace in (lab.own, lab.h1, lab.h2):
        nsid = next((n for n, name in names.items() if name == namespace), None)
        for table, have, want in (
            ("link", links_by_mirror(mirror, nsid, names), links_by_ip(namespace)),
            ("addr", addresses_by_mirror(mirror, nsid), addresses_by_ip(namespace)),
            ("neigh", neighbors_by_mirror(mirror, nsid), neighbors_by_ip(namespace)),
            ("route", routes_by_mirror(mirror, nsid), routes_by_ip(namespace)),
            ("rule", rules_by_mirror(mirror, nsid), rules_by_ip(namespace)),
            ("fdb", fdb_by_mirror(mirror, nsid), fdb_by_ip(namespace)),
            ("nexthop", nexthops_by_mirror(mirror, nsid), nexthops_by_ip(namespace)),
            ("netconf", netconf_by_mirror(mirror, nsid), netconf_by_ip(namespace)),
            ("tc", tc_by_mirror(mirror, nsid), tc_by_tc(namespace, nsid)),
        ):
            if have != want:
                found.append(f"{namespace} {table}: {only_in_one(have, want)}")
    return found


def only_in_one(have: Any, want: Any) -> str:
    """What the mirror has and `ip` has not, and the other way round."""
    if isinstance(have, dict) and not isinstance(have, Counter):
        have, want = ({(k, repr(v)) for k, v in rows.items()} for rows in (have, want))
    return f"\n  mirror only {have - want}\n  ip only     {want - have}"
