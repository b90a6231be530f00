"""The controller's side of the netlink helper: events, restarts, losses."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from controller.events import Event, KernelChanged, KernelLost, KernelSynced
from controller.sources import netlink
from controller.sources.netlink import Garbled, Netlink, Session
from flows.view import (
    Address,
    AddressKey,
    Link,
    LinkKey,
    Namespace,
    NamespaceKey,
    Neighbor,
    NeighborKey,
    Router,
    RouterKey,
    Shaper,
    ShaperKey,
    Tunnel,
)
from tests.netlink.lab import Lab, ip, new_lab
from tests.support.wait import wait_until

A1 = AddressKey(0, 2, ip_address("10.0.0.1"))


class Told:
    """What a source has reported, and the picture it adds up to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.facts: dict[Any, Any] = {}
        self.sizes: list[int] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, KernelSynced):
            self.facts = {fact.key: fact for fact in event.facts}
        elif isinstance(event, KernelChanged):
            for key, fact in event.changes:
                if fact is None:
                    self.facts.pop(key, None)
                else:
                    self.facts[key] = fact
        self.sizes.append(len(self.facts))

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


# --- lines to events ------------------------------------------------------------------


def session(told: Told) -> Session:
    return Session(told, lambda said: None)


HELLO = b'{"hello":{"version":1,"pid":1}}\n'
LINK = (
    b'{"op":"new","table":"link","key":{"nsid":-1,"ifi_index":5},"value":{"ifname":"v",'
    b'"ifi_type":1,"ifi_flags":65539,"address":"02:00:00:00:00:05","link":2,'
    b'"link_netnsid":0,"master":7,"kind":"veth"}}\n'
)
NSID = b'{"op":"new","table":"nsid","key":{"nsid":0},"value":{"name":"h1","kind":""}}\n'
NOTE = b'{"note":"no rights"}\n'
SYNC = b'{"sync":1}\n'


def addr(op: str, prefixlen: int, flags: int = 0x80) -> bytes:
    key = {"nsid": 0, "ifa_family": 2, "ifa_index": 2, "ifa_prefixlen": prefixlen}
    said: dict[str, Any] = {"op": op, "table": "addr"}
    said["key"] = {**key, "local": "10.0.0.1", "address": "10.0.0.1"}
    if op != "del":
        said["value"] = {"ifa_flags": flags, "ifa_scope": 0}
    return json.dumps(said).encode() + b"\n"


def test_a_snapshot_is_one_event() -> None:
    told = Told()
    listening = session(told)
    listening.hear(HELLO + LINK)
    listening.hear(NSID + addr("new", 24))
    assert told.events == []
    listening.hear(SYNC)
    link = Link(-1, 5, "v", "veth", "02:00:00:00:00:05", True, True, 2, 0, 7, "")
    address = Address(0, 2, ip_address("10.0.0.1"), 24)
    assert told.events == [KernelSynced((link, Namespace(0, "h1"), address))]


def test_what_arrives_together_is_one_event() -> None:
    told = Told()
    listening = session(told)
    listening.hear(LINK + SYNC)
    gone = b'{"op":"del","table":"link","key":{"nsid":-1,"ifi_index":5}}\n'
    listening.hear(NSID + gone)
    changes = ((NamespaceKey(0), Namespace(0, "h1")), (LinkKey(-1, 5), None))
    assert told.events[1:] == [KernelChanged(changes)]


def test_a_line_may_arrive_in_pieces() -> None:
    told = Told()
    listening = session(told)
    for octet in LINK + SYNC:
        listening.hear(bytes([octet]))
    assert len(told.of(KernelSynced)) == 1
    assert LinkKey(-1, 5) in told.facts


def test_an_address_with_two_prefixes_is_there_until_both_have_gone() -> None:
    told = Told()
    listening = session(told)
    listening.hear(addr("new", 24) + addr("new", 16) + SYNC)
    listening.hear(addr("del", 24))
    assert told.facts[A1].prefixlen == 16
    listening.hear(addr("del", 16))
    assert A1 not in told.facts


@pytest.mark.parametrize("flags", [0x40, 0x08], ids=["tentative", "dadfailed"])
def test_an_address_may_not_be_usable(flags: int) -> None:
    told = Told()
    session(told).hear(addr("new", 24, flags) + SYNC)
    assert not told.facts[A1].usable


def link(kind: str, **fields: object) -> bytes:
    value = {"ifname": "x0", "ifi_flags": 0x10003, "kind": kind, **fields}
    key = {"nsid": -1, "ifi_index": 6}
    said = {"op": "new", "table": "link", "key": key, "value": value}
    return json.dumps(said).encode() + b"\n"


def heard_link(kind: str, **fields: object) -> Link:
    told = Told()
    session(told).hear(link(kind, **fields) + SYNC)
    found = told.facts[LinkKey(-1, 6)]
    assert isinstance(found, Link)
    return found


def test_the_process_behind_a_tap_may_be_known_with_its_guest() -> None:
    qemu = {"pid": 812, "command": "qemu", "guest_mac": "52:54:00:aa:00:01"}
    tap = heard_link("tun", holder=qemu)
    assert (tap.holder, tap.guest_lladdr) == ("qemu[812]", "52:54:00:aa:00:01")
    other = heard_link("tun", holder={"pid": 9, "command": "cat", "queues": 1})
    assert (other.holder, other.guest_lladdr) == ("cat[9]", "")


def test_a_vxlan_tells_its_ends_and_a_bridge_whether_it_filters() -> None:
    info = {"id": 7, "group": "192.0.2.2", "local": "192.0.2.1", "port": 4789}
    vxlan = heard_link("vxlan", info=info)
    assert vxlan.tunnel == Tunnel("192.0.2.1", "192.0.2.2", "7", 4789)
    assert heard_link("bridge", info={"vlan_filtering": 1}).filters_vlans
    assert not heard_link("bridge", info={"vlan_filtering": 0}).filters_vlans


N1 = NeighborKey(0, 2, ip_address("10.0.0.9"))


def neigh(op: str, *, ip: str = "10.0.0.9", **fields: object) -> bytes:
    key: dict[str, object] = {"nsid": 0, "ndm_family": 2, "ndm_ifindex": 2, "dst": ip}
    if "proxy" in fields:
        key["proxy"] = fields.pop("proxy")
    said: dict[str, object] = {"op": op, "table": "neigh", "key": key}
    if op != "del":
        value = {"lladdr": "02:00:00:00:00:09", "ndm_state": 4, "ndm_flags": 0}
        said["value"] = value | fields
    return json.dumps(said).encode() + b"\n"


def test_a_neighbor_is_a_fact_of_the_interface_that_has_it() -> None:
    told = Told()
    listening = session(told)
    listening.hear(neigh("new", proxy=False) + SYNC)
    assert told.facts[N1] == Neighbor(*N1, "02:00:00:00:00:09")
    listening.hear(neigh("change", ndm_state=0x80, ndm_flags=0x80))
    assert told.facts[N1] == Neighbor(*N1, "02:00:00:00:00:09", True, True)
    listening.hear(neigh("del"))
    assert told.facts == {}


@pytest.mark.parametrize(
    "fields",
    [{"ip": "224.0.0.5"}, {"proxy": True}, {"ndm_state": 0x20}, {"lladdr": ""}],
    ids=["group", "proxy", "failed", "unknown"],
)
def test_what_says_nothing_of_a_neighbor_is_no_fact(fields: dict[str, Any]) -> None:
    told = Told()
    listening = session(told)
    listening.hear(SYNC + neigh("new", **fields))
    assert told.facts == {}


def netconf(
    op: str, *, nsid: int = 0, family: int = 10, ifindex: int = 2, on: int = 0
) -> bytes:
    key = {"nsid": nsid, "family": family, "ifindex": ifindex}
    said: dict[str, object] = {"op": op, "table": "netconf", "key": key}
    if op != "del":
        said["value"] = {"forwarding": on}
    return json.dumps(said).encode() + b"\n"


def test_what_forwards_ipv6_is_a_router() -> None:
    told, place = Told(), RouterKey(0, 2)
    listening = session(told)
    listening.hear(netconf("new") + SYNC)
    assert told.facts[place] == Router(0, 2, False)
    listening.hear(netconf("change", on=1))
    assert told.facts[place] == Router(0, 2, True)
    listening.hear(netconf("del"))
    assert told.facts == {}


def test_a_router_and_its_link_are_two_facts_of_one_picture() -> None:
    told = Told()
    session(told).hear(link("veth") + netconf("new", nsid=-1, ifindex=6) + SYNC)
    [picture] = told.of(KernelSynced)
    assert {type(fact) for fact in picture.facts} == {Link, Router}


@pytest.mark.parametrize(("family", "ifindex"), [(2, 2), (10, -1), (10, -2)])
def test_ipv4_and_what_is_no_interface_is_no_router(family: int, ifindex: int) -> None:
    told = Told()
    session(told).hear(SYNC + netconf("new", family=family, ifindex=ifindex, on=1))
    assert told.facts == {}


ROOT, HTB, TBF = 0xFFFFFFFF, 0x50000, 0x60000  # TC_H_ROOT; 5: and 6: in tc(8)


def tc(op: str, handle: int, parent: int = ROOT, **fields: Any) -> bytes:
    key = {"nsid": -1, "tcm_ifindex": 6, "tcm_handle": handle}
    said: dict[str, object] = {"op": op, "table": "tc", "key": key}
    if op != "del":
        said["value"] = {"tcm_parent": parent, "kind": "htb", **fields}
    return json.dumps(said).encode() + b"\n"


def rate(*lines: bytes) -> int | None:
    """What the interface sends at most, in bits per second."""
    told = Told()
    session(told).hear(SYNC + b"".join(lines))
    fact = told.facts.get(ShaperKey(-1, 6))
    return fact.rate if isinstance(fact, Shaper) else None


def test_a_tclink_of_mininet_has_a_rate() -> None:
    qdisc, link = (
        tc("new", HTB, defcls=1),
        tc("new", HTB + 1, rate=1_250_000, ceil=1_250_000),
    )
    assert rate(qdisc, link) == rate(link, qdisc) == 10_000_000
    faster = tc("change", HTB + 1, rate=2_500_000, ceil=2_500_000)
    assert rate(qdisc, link, faster) == 20_000_000


def test_a_rate_ends_with_its_class_or_with_its_qdisc() -> None:
    qdisc, link = tc("new", HTB, defcls=1), tc("new", HTB + 1, rate=1, ceil=1)
    assert rate(qdisc, link, tc("del", HTB + 1)) is None
    assert rate(qdisc, link, tc("del", HTB)) is None
    assert rate(qdisc, link, tc("del", HTB + 1), tc("del", HTB), qdisc) is None


def test_a_class_borrows_what_the_one_above_it_has() -> None:
    """As Open vSwitch's QoS makes it: `max-rate` is the rate of the class above."""
    default = tc("new", HTB + 1, HTB + 0xFFFE, rate=1_500, ceil=2_000_000)
    above = tc("new", HTB + 0xFFFE, rate=1_250_000, ceil=9_000_000)
    assert rate(tc("new", HTB, defcls=1), above, default) == 10_000_000


def test_what_no_class_is_for_is_not_limited() -> None:
    link = tc("new", HTB + 1, rate=1_250_000, ceil=1_250_000)
    assert rate(tc("new", HTB, defcls=0), link) is None
    assert rate(tc("new", HTB, defcls=2), link) is None
    assert rate(tc("new", HTB + 1, HTB, rate=1, ceil=1)) is None


def test_a_token_bucket_at_the_root_has_a_rate() -> None:
    bucket = tc("new", TBF, kind="tbf", rate=125_000)
    assert rate(bucket) == 1_000_000
    assert rate(tc("new", HTB, defcls=1), tc("del", HTB), bucket) == 1_000_000
    assert rate(tc("new", TBF, HTB + 1, kind="tbf", rate=125_000)) is None


def test_a_reset_is_a_new_picture() -> None:
    told = Told()
    listening = session(told)
    listening.hear(LINK + addr("new", 24) + SYNC)
    listening.hear(addr("new", 16) + b'{"reset":true}\n' + NSID + b'{"sync":1}\n')
    assert [*told.facts] == [NamespaceKey(0)]
    assert len(told.of(KernelSynced)) == 2


@pytest.mark.parametrize(
    "line", [b"{\n", b"[]\n", b'{"op":"new"}\n', b'{"op":"new","table":"link"}\n']
)
def test_a_line_that_is_none_of_ours_ends_the_session(line: bytes) -> None:
    with pytest.raises(Garbled):
        session(Told()).hear(line)


def test_a_line_without_an_end_ends_the_session() -> None:
    listening = session(Told())
    with pytest.raises(Garbled):
        for _ in range(netlink.LINE_MAX // 1000 + 2):
            listening.hear(b"x" * 1000)


# --- the process ----------------------------------------------------------------------


@contextlib.contextmanager
def running(told: Told, python: str = sys.executable) -> Iterator[Netlink]:
    source = Netlink(told, python=python)
    source.start()
    try:
        yield source
    finally:
        source.stop()


def script(path: Path, text: str, shell: str = "/bin/sh") -> str:
    path.write_text(f"#!{shell}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_helper_that_does_not_start_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    python = script(tmp_path / "python", "echo started >> $0.log; echo no way >&2")
    told = Told()
    with running(told, python):
        log = tmp_path / "python.log"
        wait_until(lambda: log.exists() and log.read_text().count("started") > 4)
    assert told.events == [KernelLost("the netlink helper does not start: no way")]
    assert caplog.messages == ["the netlink helper ended: no way"]


def test_a_python_that_does_not_exist_is_reported() -> None:
    told = Told()
    with running(told, "/nonexistent/python"):
        wait_until(lambda: told.events)
    [lost] = told.of(KernelLost)
    assert "No such file or directory: '/nonexistent/python'" in lost.why


def test_no_room_for_a_file_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    told = Told()
    with running(told):
        wait_until(lambda: told.events)
    [lost] = told.of(KernelLost)
    assert "No such file or directory" in lost.why


def test_a_mirror_that_has_no_room_for_us_does_not_keep_us_from_ending(
    tmp_path: Path,
) -> None:
    path, told = str(tmp_path / "mirror.sock"), Told()
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(path)
        busy.listen(0)
        first.connect(path)
        source = Netlink(told, at=path)
        source.start()
        wait_until(lambda: told.events)
        source.stop()
    [lost] = told.of(KernelLost)
    assert "temporarily unavailable" in lost.why


def test_a_helper_that_talks_nonsense_is_started_again(tmp_path: Path) -> None:
    nonsense = "import os, sys; a = sys.argv; fd = a[a.index('--fd') + 1]\n"
    nonsense += "os.write(int(fd), b'{{{\\n')"
    told = Told()
    with running(told, script(tmp_path / "python", nonsense, sys.executable)):
        wait_until(lambda: told.events)
    [lost] = told.of(KernelLost)
    assert "not a line of ours" in lost.why


def test_what_a_helper_cannot_see_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It stands in the notes as long as a helper says so, however often one starts."""
    speech = "import os, sys; a = sys.argv; fd = a[a.index('--fd') + 1]\n"
    speech += f"os.write(int(fd), {HELLO + NOTE + SYNC!r})"
    told = Told()
    python = script(tmp_path / "python", speech, sys.executable)
    with caplog.at_level("INFO", "isat.netlink"), running(told, python) as it:
        wait_until(lambda: len(told.of(KernelSynced)) > 2)
        wait_until(lambda: it.notes == ("no rights",))
    assert caplog.messages.count("no rights") == 1


def in_lab(lab: Lab, path: Path) -> str:
    """A Python whose processes live in the lab's own namespace."""
    words = f'exec ip netns exec {lab.own} {sys.executable} "$@"'
    return script(path / "python", words)


def helper_pid(lab: Lab) -> int:
    """The helper is the only process in the lab's own namespace."""
    found = subprocess.run(
        ("ip", "netns", "pids", lab.own), capture_output=True, text=True, check=True
    ).stdout.split()
    return int(found[0]) if found else 0


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
        yield lab


def has(told: Told, ip: str) -> Callable[[], bool]:
    return lambda: any(str(getattr(key, "ip", "")) == ip for key in told.facts)


@pytest.mark.root
def test_what_happens_in_a_namespace_is_an_event(lab: Lab, tmp_path: Path) -> None:
    told = Told()
    with running(told, in_lab(lab, tmp_path)):
        wait_until(lambda: told.of(KernelSynced))
        [h1] = [f for f in told.facts.values() if isinstance(f, Namespace)]
        assert h1.name == lab.h1
        ip("-n", lab.h1, "addr", "add", "10.1.0.2/24", "dev", "eth0")
        wait_until(has(told, "10.1.0.2"))
        ip("-n", lab.h1, "link", "del", "eth0")
        wait_until(lambda: not has(told, "10.1.0.2")())
        wait_until(lambda: "a1" not in link_names(told))


def link_names(told: Told) -> set[str]:
    return {fact.ifname for fact in told.facts.values() if isinstance(fact, Link)}


@pytest.mark.root
def test_a_killed_helper_is_replaced_and_nobody_sees_an_empty_picture(
    lab: Lab, tmp_path: Path
) -> None:
    told = Told()
    with running(told, in_lab(lab, tmp_path)):
        wait_until(lambda: told.of(KernelSynced))
        before, count = dict(told.facts), len(told.events)
        os.kill(helper_pid(lab), signal.SIGKILL)
        wait_until(lambda: len(told.of(KernelSynced)) == 2)
    assert {type(event) for event in told.events[count:]} == {KernelSynced}
    assert told.facts == before
    assert min(told.sizes) == len(before)
    assert told.of(KernelLost) == []


@pytest.mark.root
def test_the_helper_ends_with_its_controller(lab: Lab, tmp_path: Path) -> None:
    told = Told()
    with running(told, in_lab(lab, tmp_path)):
        wait_until(lambda: told.of(KernelSynced))
        assert helper_pid(lab)
    assert helper_pid(lab) == 0


@pytest.mark.root
def test_it_works_under_green_threads(lab: Lab) -> None:
    """As in ryu-manager: everything is patched, and nothing may block the hub."""
    program = """
import eventlet; eventlet.monkey_patch()
import sys, time, threading
from controller.sources.netlink import Netlink
seen = []
ticks = []
source = Netlink(seen.append)
source.start()
began = time.monotonic()
while not seen and time.monotonic() < began + 20:
    ticks.append(1)
    time.sleep(0.001)
print(type(seen[0]).__name__, len(ticks) > 3)
source.stop()
print("stopped", threading.active_count())
"""
    command = lab.command(lab.own, sys.executable, "-W", "ignore", "-c", program)
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["KernelSynced True", "stopped 1"], done.stderr
