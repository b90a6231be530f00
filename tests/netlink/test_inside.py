"""The tables that can be read only inside a namespace, of this one and of others."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from controller.netlink import tables
from controller.netlink.rtnl.framing import NLM_F_REQUEST, U32, attribute, encode
from controller.netlink.rtnl.rule import FIB_RULE_HDR, RTM_NEWRULE
from controller.netlink.sockets import RequestSocket
from tests.netlink.lab import Lab, Reader, inside, ip, new_lab, reader

pytestmark = pytest.mark.root

STABLE = 3000  # entries that nobody touches while others come and go
OTHERS, CHURNS = 50, 60
NLM_F_CREATE, FR_ACT_TO_TBL, FRA_PRIORITY = 0x400, 1, 6
# As many dumps as there can be, to have some torn.
EAGER = """
from controller.netlink import agenda
agenda.COST_RATIO = 0
"""
# What is taken out of the mirror to see whether it is missed.
BELIEVE_TORN_DUMPS = f"""{EAGER}
from controller.netlink import mirror
mirror.is_torn = lambda fresh, scope: False
"""

# A family that is not in this kernel, as IPv6 is not where it booted with
# ipv6.disable=1: rules of DECnet, which has gone from Linux.
WITHOUT_A_FAMILY = """
from controller.netlink import rtnl
from controller.netlink.rtnl.rule import FIB_RULE_HDR, RTM_GETRULE
bodies = [FIB_RULE_HDR.pack(family, 0, 0, 0, 0, 0, 0) for family in (2, 12)]
dumps = lambda target: tuple((RTM_GETRULE, body) for body in bodies)
rtnl.TABLES["rule"] = rtnl.TABLES["rule"]._replace(dumps=dumps)
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        yield lab


def keys(mirror: Reader, table: str, namespace: int | None) -> list[tuple[Any, ...]]:
    return [key[1:] for key in mirror.tables.get(table, {}) if key[0] == namespace]


def has(mirror: Reader, table: str, namespace: int | None, *fields: Any) -> bool:
    """There is a row whose key has all of these fields."""
    return any({*fields} <= {*key} for key in keys(mirror, table, namespace))


def lacks(mirror: Reader, table: str, namespace: int | None, *fields: Any) -> bool:
    return not has(mirror, table, namespace, *fields)


def setting(lab: Lab, namespace: str, path: str, value: int) -> None:
    subprocess.run(
        lab.command(namespace, "sysctl", "-q", f"net/ipv4/conf/{path}={value}"),
        check=True, timeout=30,
    )  # fmt: skip


def test_an_address_that_is_added_shows_with_the_routes_it_brings(lab: Lab) -> None:
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        for namespace, nsid, link in ((lab.own, -1, "a1"), (lab.h1, h1, "eth0")):
            ip("-n", namespace, "addr", "add", "10.1.0.1/24", "dev", link)
            for dst, length in (("10.1.0.0", 24), ("10.1.0.1", 32), ("10.1.0.255", 32)):
                mirror.wait(partial(has, mirror, "route", nsid, dst, length), dst)

            ip("-n", namespace, "addr", "del", "10.1.0.1/24", "dev", link)
            mirror.wait(partial(lacks, mirror, "route", nsid, "10.1.0.0", 24), "none")


def test_a_route_goes_with_the_carrier_it_needs_although_no_event_says_so(
    lab: Lab,
) -> None:
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
    ip("-n", lab.h1, "route", "add", "10.9.0.0/16", "via", "10.1.0.9")
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        assert has(mirror, "route", h1, "10.9.0.0", 16)
        ip("-n", lab.h1, "link", "set", "eth0", "down")
        mirror.wait(lambda: not has(mirror, "route", h1, "10.9.0.0", 16), "no route")


def test_rules_and_next_hops_of_a_namespace_come_and_go(lab: Lab) -> None:
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        rule = ("from", "10.3.0.0/16", "table", "77")
        hop = ("id", "4", "via", "10.1.0.4", "dev", "eth0")
        ip("-n", lab.h1, "rule", "add", *rule)
        ip("-n", lab.h1, "nexthop", "add", *hop)
        mirror.wait(lambda: has(mirror, "rule", h1, "10.3.0.0", 77), "the rule")
        mirror.wait(lambda: has(mirror, "nexthop", h1, 4), "the next hop")
        ip("-n", lab.h1, "rule", "del", *rule)
        ip("-n", lab.h1, "nexthop", "del", "id", "4")
        mirror.wait(lambda: not has(mirror, "rule", h1, "10.3.0.0", 77), "no rule")
        mirror.wait(lambda: not has(mirror, "nexthop", h1, 4), "no next hop")


def test_of_rules_that_are_the_same_one_may_stay(lab: Lab) -> None:
    """The kernel takes a rule twice from whoever does not ask it not to."""
    body = FIB_RULE_HDR.pack(socket.AF_INET, 0, 0, 0, 77, FR_ACT_TO_TBL, 0)
    body += attribute(FRA_PRIORITY, U32.pack(500))
    add = encode(RTM_NEWRULE, NLM_F_REQUEST | NLM_F_CREATE, 1, body)
    with inside(lab.own), contextlib.closing(RequestSocket()) as asked:
        asked.sock.send(add)
        asked.sock.send(add)
    with reader(lab.own) as mirror:
        mirror.synced()
        ip("-n", lab.own, "rule", "del", "table", "77")
        ip("-n", lab.own, "rule", "add", "table", "78")
        mirror.wait(lambda: has(mirror, "rule", -1, 78), "what comes later")
        mirror.wait(lambda: has(mirror, "rule", -1, 77), "the other one", within=3)
        ip("-n", lab.own, "rule", "del", "table", "77")
        mirror.wait(lambda: lacks(mirror, "rule", -1, 77), "the end of both", within=3)


def test_a_family_that_the_kernel_has_not_has_no_rows(lab: Lab) -> None:
    with reader(lab.own, without=WITHOUT_A_FAMILY) as mirror:
        mirror.synced()
        for nsid in (-1, mirror.nsid(lab.h1)):
            assert {key[0] for key in keys(mirror, "rule", nsid)} == {2}
        assert not mirror.said("dirty") and not mirror.said("note")


def test_what_the_kernel_is_a_proxy_for_is_told(lab: Lab) -> None:
    """In the snapshot: there is no event, the audit finds later ones."""
    ip("-n", lab.h1, "neigh", "add", "proxy", "10.1.0.9", "dev", "eth0")
    with reader(lab.own, "--once", "--table", "nsid,neigh") as mirror:
        mirror.finish()
    assert has(mirror, "neigh", mirror.nsid(lab.h1), "10.1.0.9", True)


def test_a_default_that_is_set_holds_for_interfaces_that_never_were(lab: Lab) -> None:
    """The kernel tells of the default alone."""
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        [key] = [k for k in keys(mirror, "netconf", h1) if k[0] == 2 and k[1] > 1]
        assert mirror.tables["netconf"][h1, *key]["proxy_neigh"] == 0
        setting(lab, lab.h1, "default/proxy_arp", 1)
        mirror.wait(
            lambda: mirror.tables["netconf"][h1, *key]["proxy_neigh"] == 1, "proxy_arp"
        )


def test_how_arp_is_answered_is_read_when_it_is_asked_for(lab: Lab) -> None:
    setting(lab, lab.h1, "eth0/arp_ignore", 1)
    setting(lab, lab.h1, "all/arp_announce", 2)
    with reader(lab.own, "--once", "--table", "nsid,ipv4_conf") as mirror:
        mirror.finish()
    h1, rows = mirror.nsid(lab.h1), mirror.tables["ipv4_conf"]
    assert rows[h1, "eth0"] == {
        "arp_accept": 0, "arp_announce": 0, "arp_filter": 0, "arp_ignore": 1,
    }  # fmt: skip
    assert rows[h1, "all"]["arp_announce"] == 2
    assert rows[-1, "a1"]["arp_ignore"] == 0


def test_nobody_is_told_how_arp_is_answered_unasked(lab: Lab) -> None:
    with reader(lab.own, "--once") as mirror:
        mirror.finish()
    assert "ipv4_conf" not in mirror.tables


def test_without_proc_sys_all_but_that_is_read(lab: Lab) -> None:
    """A systemd unit with ProcSubset=pid has none."""
    hide = 'mount -t tmpfs none /proc/sys && exec "$@"'
    without = ("unshare", "--mount", "sh", "-c", hide, "sh")
    everything = ",".join(tables.TABLES)
    with reader(lab.own, "--once", "--table", everything, before=without) as mirror:
        assert mirror.finish() == 0
    for nsid in (-1, mirror.nsid(lab.h1)):
        assert keys(mirror, "rule", nsid) and keys(mirror, "netconf", nsid)
    assert "ipv4_conf" not in mirror.tables
    [note] = mirror.said("note")
    assert "ipv4_conf" in note


def test_where_a_bridge_has_learned_a_station_is_told(lab: Lab) -> None:
    ip("-n", lab.own, "link", "add", "br0", "type", "bridge")
    ip("-n", lab.own, "link", "set", "br0", "up")
    ip("-n", lab.own, "link", "set", "a1", "master", "br0")
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        eth0 = mirror.link(h1, "eth0")
        assert eth0
        ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
        ask = ("arping", "-c", "1", "-w", "1", "-I", "eth0", "10.1.0.2")
        subprocess.run(lab.command(lab.h1, *ask), capture_output=True, timeout=30)
        mirror.wait(lambda: has(mirror, "fdb", -1, eth0["address"]), "its address")


@pytest.mark.parametrize(
    "change",
    [("set", "mv0", "down"), ("set", "mv0", "address", "02:00:00:00:00:99"),
     ("del", "mv0")],
    ids=["down", "address", "gone"],
)  # fmt: skip
def test_what_is_above_an_interface_is_received_there_although_no_event_says_so(
    lab: Lab, change: tuple[str, ...]
) -> None:
    """A macvlan in another namespace: its address is one of those that the interface
    below takes in, and the kernel tells of neither its coming nor its going."""
    ip("-n", lab.own, "link", "set", "a1", "up")
    ip("-n", lab.own, "link", "add", "mv0", "link", "a1", "type", "macvlan")
    ip("-n", lab.own, "link", "set", "mv0", "netns", lab.h1)
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        mv0 = mirror.link(h1, "mv0")
        assert mv0
        ip("-n", lab.h1, "link", "set", "mv0", "up")
        mirror.wait(lambda: has(mirror, "fdb", -1, mv0["address"]), "taken in")
        ip("-n", lab.h1, "link", *change)
        mirror.wait(lambda: lacks(mirror, "fdb", -1, mv0["address"]), "not any more")


def test_a_tunnel_may_send_to_one_place_in_several_ways(lab: Lab) -> None:
    ip("-n", lab.own, "link", "add", "vx0", "type", "vxlan", "id", "5", "dstport",
       "4789", "local", "10.0.0.1")  # fmt: skip
    for way in ((), ("port", "8472"), ("via", "a1")):
        append = ("00:00:00:00:00:00", "dev", "vx0", "dst", "10.0.0.7", *way)
        bridge = ("bridge", "-n", lab.own, "fdb", "append", *append)
        subprocess.run(bridge, check=True, timeout=30)
    with reader(lab.own, "--interface", "vx0", "--table", "fdb") as mirror:
        mirror.synced()
        assert len(keys(mirror, "fdb", -1)) == 3
        delete = (*bridge[:4], "del", *append[:-2])
        subprocess.run(delete, check=True, timeout=30)
        mirror.wait(lambda: len(keys(mirror, "fdb", -1)) == 2, "one way fewer")
        assert has(mirror, "fdb", -1, 8472)


def test_only_what_an_interface_is_about_passes_its_filter(lab: Lab) -> None:
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
    ip("-n", lab.h1, "rule", "add", "iif", "eth0", "table", "77")
    ip("-n", lab.h1, "rule", "add", "iif", "other", "table", "78")
    with reader(lab.own, "--once", "--interface", "eth0") as mirror:
        mirror.finish()
    [(nsid, _)] = mirror.tables["link"]
    assert has(mirror, "route", nsid, "10.1.0.0", 24)
    assert not has(mirror, "route", nsid, "127.0.0.0")
    assert [key[3] for key in keys(mirror, "rule", nsid)] == [77]
    assert {key[2] for key in mirror.tables["netconf"]} == {
        key[1] for key in mirror.tables["link"]
    }


# --- dumps that lack rows ----------------------------------------------------------


def batch(lines: list[str], directory: Path, name: str) -> str:
    path = directory / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def entry(number: int, group: int) -> str:
    return f"02:00:{group:02x}:00:{number >> 8:02x}:{number & 255:02x}"


def churn(lab: Lab, mirror: Reader, directory: Path) -> set[str]:
    """Stable entries that were said to be gone while others came and went: slower than
    the mirror can follow, since it reads nothing again while news waits."""
    others = [
        f"fdb {verb} {entry(n, 2)} dev a1 master static"
        for verb in ("add", "del") for n in range(OTHERS)
    ]  # fmt: skip
    said = len(mirror.lines)
    coming_and_going = batch(others, directory, "churn")
    for number in range(CHURNS):
        subprocess.run(
            ("bridge", "-n", lab.own, "-batch", coming_and_going),
            check=True, timeout=30,
        )  # fmt: skip
        # This has the fdb read again.
        ip("-n", lab.own, "link", "set", "a1", "alias", f"n{number}")
        mirror.pump()
    mirror.wait(lambda: not has_churned(mirror), "an end of the churn")
    gone = [line["key"]["lladdr"] for line in mirror.lines[said:]
            if line.get("op") == "del" and line["table"] == "fdb"]  # fmt: skip
    return {lladdr for lladdr in gone if lladdr.startswith("02:00:01")}


def has_churned(mirror: Reader) -> bool:
    return any(key[2].startswith("02:00:02") for key in mirror.tables["fdb"])


@pytest.fixture
def filled(lab: Lab, tmp_path: Path) -> Lab:
    """A bridge with many entries that stay."""
    ip("-n", lab.own, "link", "add", "br0", "type", "bridge")
    ip("-n", lab.own, "link", "set", "a1", "master", "br0")
    stable = [f"fdb add {entry(n, 1)} dev a1 master static" for n in range(STABLE)]
    subprocess.run(
        ("bridge", "-n", lab.own, "-batch", batch(stable, tmp_path, "stable")),
        check=True, timeout=60,
    )  # fmt: skip
    return lab


def test_what_a_torn_dump_lacks_is_not_said_to_be_gone(
    filled: Lab, tmp_path: Path
) -> None:
    with reader(filled.own, "--table", "fdb", without=EAGER) as mirror:
        mirror.synced()
        assert churn(filled, mirror, tmp_path) == set()
        assert stable(mirror) == STABLE


def stable(mirror: Reader) -> int:
    return sum(key[2].startswith("02:00:01") for key in mirror.tables["fdb"])


def test_a_snapshot_lacks_nothing_either(filled: Lab, tmp_path: Path) -> None:
    others = [
        f"fdb {verb} {entry(n, 2)} dev a1 master static"
        for verb in ("add", "del") for n in range(OTHERS)
    ]  # fmt: skip
    churn = f"bridge -n {filled.own} -batch {batch(others, tmp_path, 'churn')}"
    with subprocess.Popen(("sh", "-c", f"while {churn}; do :; done")) as churning:
        try:
            for _ in range(10):
                with reader(filled.own, "--once", "--table", "fdb") as mirror:
                    mirror.finish()
                assert stable(mirror) == STABLE
        finally:
            churning.kill()


def test_a_mirror_that_believes_torn_dumps_says_so(filled: Lab, tmp_path: Path) -> None:
    """The test before this one can see."""
    with reader(filled.own, "--table", "fdb", without=BELIEVE_TORN_DUMPS) as mirror:
        mirror.synced()
        assert any(churn(filled, mirror, tmp_path) for _ in range(20))
