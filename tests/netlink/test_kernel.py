"""What the design assumes of the kernel, asked of this one, in namespaces of its own.

A change that has no message today may have one tomorrow: that is recorded, not refused.
One that we rely on must have it.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.netlink import rtnl
from controller.netlink.rtnl import addr, framing, link
from controller.netlink.rtnl.table import Record
from controller.netlink.sockets import (
    RECEIVE_BUFFER,
    EventSocket,
    RequestSocket,
)
from tests.netlink.lab import Lab, inside, ip, new_lab
from tests.support.wait import wait_until

pytestmark = pytest.mark.root

GROUPS = tuple(group for table in rtnl.TABLES.values() for group in table.groups)
TENTATIVE = addr.IFA_F_TENTATIVE
FENCE = "fence"  # alias of a device that is up: what it follows has been told
LINKDOWN = 0x10  # RTNH_F_LINKDOWN, linux/rtnetlink.h

# Up: bridge br9 with 10.5.0.1/24, veth v1 and v2, lo.  Down: bridge down0.
SET_UP = """
link add br9 type bridge
link set br9 up
link add down0 type bridge
link add v1 type veth peer name v2
link set v1 up
link set v2 up
link set lo up
addr add 10.5.0.1/24 dev br9
"""

Event = tuple[str, Record]  # "new" or "del"
Match = Callable[[str, Any, Any], Any]  # op, key and row of a record of one table


def row_is(ifname: str, **fields: Any) -> Match:
    """News of the link of this name with these values."""
    return lambda op, key, row: (
        op == "new"
        and row.ifname == ifname
        and all(getattr(row, name) == value for name, value in fields.items())
    )


def link_is(ifname: str, condition: Callable[[link.Link], Any]) -> Match:
    return lambda op, key, row: op == "new" and row.ifname == ifname and condition(row)


def key_is(op: str, **fields: Any) -> Match:
    return lambda said, key, row: (
        said == op
        and all(getattr(key, name) == value for name, value in fields.items())
    )


MAC = "02:00:00:00:00:99"
NEIGH = f"ip neigh replace 10.5.0.9 lladdr {MAC} nud permanent dev br9"
FDB = f"bridge fdb append {MAC} dev v1 master static"
HTB = "tc qdisc add dev v1 root handle 5: htb default 1"
CLASS = "tc class add dev v1 parent 5: classid 5:1 htb burst 1m rate 10000000"
ENSLAVE = "ip link set v1 master br9"
BEHIND = "ip route add 10.6.0.0/16 via 10.5.0.2"
BY_NEXTHOP = "ip nexthop add id 7 via 10.5.0.2 dev br9; ip route add 10.6.0.0/16 nhid 7"

# What is done before, what is done, and the table and message that we wait for.
Case = tuple[str, str, str, Match]

ANNOUNCED: dict[str, Case] = {
    "mtu": ("", "ip link set br9 mtu 1400", "link", row_is("br9", mtu=1400)),
    "MAC": ("", f"ip link set br9 address {MAC}", "link", row_is("br9", address=MAC)),
    "rename": ("", "ip link set down0 name d1", "link", row_is("d1")),
    "group": ("", "ip link set br9 group 7", "link", row_is("br9", group=7)),
    "txqueuelen": ("", "ip link set br9 txqueuelen 77", "link", row_is("br9")),
    "promisc": ("", "ip link set br9 promisc on", "link",
                link_is("br9", lambda row: row.ifi_flags & 0x100)),
    "allmulti": ("", "ip link set br9 allmulticast on", "link",
                 link_is("br9", lambda row: row.ifi_flags & 0x200)),
    "alias, up": ("", "ip link set br9 alias x", "link", row_is("br9", ifalias="x")),
    "altname, up": ("", "ip link property add dev br9 altname x", "link",
                    row_is("br9", altnames=("x",))),
    "enslave": ("", ENSLAVE, "link", link_is("v1", lambda row: row.master)),
    "unenslave": (ENSLAVE, "ip link set v1 nomaster", "link",
                  row_is("v1", master=None)),
    "admin down": ("", "ip link set br9 down", "link",
                   link_is("br9", lambda row: not row.ifi_flags & 1)),
    "carrier loss": ("", "ip link set v2 down", "link", row_is("v1", carrier=False)),
    "link del": ("", "ip link del down0", "link", lambda op, key, row: op == "del"),
    "fdb add": (ENSLAVE, FDB, "fdb", key_is("new", lladdr=MAC)),
    "fdb del": (f"{ENSLAVE}; {FDB}", f"bridge fdb del {MAC} dev v1 master", "fdb",
                key_is("del", lladdr=MAC)),
    "rule add": ("", "ip rule add from 10.9.0.0/16 table 9", "rule",
                 key_is("new", src="10.9.0.0")),
    "rule del": ("ip rule add from 10.9.0.0/16 table 9",
                 "ip rule del from 10.9.0.0/16 table 9", "rule",
                 key_is("del", src="10.9.0.0")),
    "route add": ("", BEHIND, "route", key_is("new", dst="10.6.0.0")),
    "route replace": (BEHIND, "ip route replace 10.6.0.0/16 via 10.5.0.3", "route",
                      key_is("new", dst="10.6.0.0", gateway="10.5.0.3")),
    "route append": (BEHIND, "ip route append 10.6.0.0/16 via 10.5.0.3", "route",
                     key_is("new", dst="10.6.0.0", gateway="10.5.0.3")),
    "route del": (BEHIND, "ip route del 10.6.0.0/16", "route",
                  key_is("del", dst="10.6.0.0")),
    "addr add": ("", "ip addr add 10.7.0.1/24 dev br9", "addr",
                 key_is("new", local="10.7.0.1")),
    "addr del": ("", "ip addr del 10.5.0.1/24 dev br9", "addr",
                 key_is("del", local="10.5.0.1")),
    "addr expiry": ("", "ip addr add 10.7.0.1/24 dev br9 valid_lft 1 preferred_lft 1",
                    "addr", key_is("del", local="10.7.0.1")),
    "IPv6 address after DAD": ("", "ip addr add fd00::1/64 dev v1", "addr",
                               lambda op, key, row: key.local == "fd00::1"
                               and row and not row.ifa_flags & TENTATIVE),
    "neigh permanent": ("", NEIGH, "neigh", key_is("new", dst="10.5.0.9")),
    "neigh flush": (NEIGH, "ip neigh flush dev br9 nud permanent", "neigh",
                    lambda op, key, row: key.dst == "10.5.0.9" and not row),
    "nexthop add": ("", "ip nexthop add id 7 via 10.5.0.2 dev br9", "nexthop",
                    key_is("new", id=7)),
    "nexthop del": (BY_NEXTHOP, "ip nexthop del id 7", "nexthop", key_is("del", id=7)),
    "qdisc add": ("", HTB, "tc", key_is("new", tcm_handle=0x50000)),
    "qdisc del": (HTB, "tc qdisc del dev v1 root", "tc",
                  key_is("del", tcm_handle=0x50000)),
    "qdisc replace": (HTB, "tc qdisc replace dev v1 root handle 6: htb", "tc",
                      key_is("del", tcm_handle=0x50000)),
    "class add": (HTB, CLASS, "tc", key_is("new", tcm_handle=0x50001)),
    "class change": (f"{HTB}; {CLASS}", CLASS.replace("add", "change") + "0", "tc",
                     lambda op, key, row: row and row.rate == 12_500_000),
    "class del": (f"{HTB}; {CLASS}", "tc class del dev v1 classid 5:1", "tc",
                  key_is("del", tcm_handle=0x50001)),
    "proxy_arp": ("", "sysctl -qw net.ipv4.conf.br9.proxy_arp=1", "netconf",
                  lambda op, key, row: row and row.proxy_neigh == 1),
}  # fmt: skip

SILENT: dict[str, Case] = {
    "classes of htb, when it goes": (
        f"{HTB}; {CLASS}", "tc qdisc del dev v1 root", "tc",
        key_is("del", tcm_handle=0x50001)),
    "a qdisc, when its interface goes": (
        HTB, "ip link del v1", "tc", key_is("del", tcm_handle=0x50000)),
    "the end of a veth that is made first, about the other": (
        "", "ip link add q1 type veth peer name q2", "link",
        link_is("q2", lambda row: row.link)),
    "IPv4 routes, when the link goes down": (
        BEHIND, "ip link set br9 down", "route", key_is("del", dst="10.6.0.0")),
    "route flags, when the carrier goes": (
        "ip addr add 10.8.0.1/24 dev v1", "ip link set v2 down", "route",
        lambda op, key, row: row and row.rtm_flags & LINKDOWN),
    "IPv4 routes through a gateway, when the address goes": (
        BEHIND, "ip addr del 10.5.0.1/24 dev br9", "route",
        key_is("del", dst="10.6.0.0")),
    "IPv4 routes, when their nexthop goes": (
        BY_NEXTHOP, "ip nexthop del id 7", "route", key_is("del", dst="10.6.0.0")),
    "an IPv6 address before DAD": (
        "", "ip addr add fd00::2/64 dev v1", "addr",
        lambda op, key, row: key.local == "fd00::2"
        and row and row.ifa_flags & TENTATIVE),
    "alias, down": (
        "", "ip link set down0 alias x", "link", row_is("down0", ifalias="x")),
    "altname, down": (
        "", "ip link property add dev down0 altname x", "link",
        row_is("down0", altnames=("x",))),
    "neigh proxy": (
        "", "ip neigh add proxy 10.5.0.8 dev br9", "neigh", key_is("new", proxy=True)),
    "a second promiscuity": (
        "ip link set v1 promisc on", ENSLAVE, "link",
        link_is("v1", lambda row: row.ifi_flags & 0x100 and not row.master)),
    "fdb of a port, when it is unenslaved": (
        f"ip link set v1 address {MAC}; {ENSLAVE}", "ip link set v1 nomaster", "fdb",
        key_is("del", lladdr=MAC)),
}  # fmt: skip


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        yield lab


@pytest.fixture
def own(lab: Lab) -> str:
    """A namespace with a few devices."""
    for line in SET_UP.split("\n"):
        if line:
            ip("-n", lab.own, *line.split())
    return lab.own


@pytest.fixture
def events(own: str) -> Iterator[EventSocket]:
    with inside(own):
        sock = EventSocket(GROUPS, RECEIVE_BUFFER)
    with contextlib.closing(sock):
        yield sock


def do(namespace: str, commands: str) -> None:
    for command in filter(None, commands.split("; ")):
        subprocess.run(
            ("ip", "netns", "exec", namespace, *shlex.split(command)),
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip


def waiting(events: EventSocket) -> Iterator[Event]:
    """What has been told and not been read."""
    while (received := events.read()) is not None:
        for message in rtnl.messages(received[1]):
            value = rtnl.decode(message)
            if isinstance(value, Record):
                yield "del" if message.type % 2 else "new", value


def tells(events: EventSocket, table: str, match: Match) -> Callable[[], bool]:
    """It has been among what was told since the last look."""
    return lambda: any(
        record.table == table and match(op, record.key, record.row)
        for op, record in list(waiting(events))
    )


@pytest.mark.parametrize("what", ANNOUNCED)
def test_the_kernel_tells(own: str, events: EventSocket, what: str) -> None:
    """Else the mirror would be wrong until its next audit."""
    before, operation, table, match = ANNOUNCED[what]
    do(own, before)
    events.drain()
    do(own, operation)
    wait_until(tells(events, table, match), within=5, why=f"a message about {what}")


@pytest.mark.parametrize("what", SILENT)
def test_the_kernel_may_be_silent(
    own: str,
    events: EventSocket,
    what: str,
    record_property: Callable[[str, object], None],
) -> None:
    """The mirror asks for these, or waits for its audit; a message would do no harm."""
    before, operation, table, match = SILENT[what]
    do(own, before)
    events.drain()
    do(own, f"{operation}; ip link set lo alias {FENCE}")
    heard: list[Event] = []

    def fenced() -> bool:
        heard.extend(waiting(events))
        return any(
            record.table == "link" and record.row and record.row.ifalias == FENCE
            for _, record in heard
        )

    wait_until(fenced, within=5, why="the message after it")
    told = any(
        record.table == table and match(op, record.key, record.row)
        for op, record in heard
    )
    record_property("announced", told)
    print(f"{what}: {'announced' if told else 'silent'}")


# --- sockets --------------------------------------------------------------------------


def test_what_does_not_fit_into_a_small_buffer_is_gone(own: str) -> None:
    """MSG_TRUNC says so; the next datagram is another one (S6)."""
    with inside(own):
        events = EventSocket((link.RTNLGRP_LINK,), RECEIVE_BUFFER)
    with contextlib.closing(events):
        do(own, "ip link set br9 alias one; ip link set br9 alias two")
        data, _, flags, _ = events.sock.recvmsg(100)
        assert flags & socket.MSG_TRUNC and len(data) == 100
        [(_, record)] = waiting(events)
        assert record.row.ifalias == "two"


def test_only_a_strict_socket_looks_at_what_a_dump_is_asked_for(own: str) -> None:
    """A lax one gives the addresses of every interface for those of one."""
    body = addr.IFADDRMSG.pack(socket.AF_INET, 0, 0, 0, 1)  # of lo
    with inside(own):
        strict = RequestSocket()
        lax = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with contextlib.closing(strict), lax:
        rows = [row for part in strict.dump(addr.RTM_GETADDR, body) for row in part]
        assert {addresses_in(row) for row in rows} == {"127.0.0.1"}

        flags = framing.NLM_F_REQUEST | framing.NLM_F_DUMP
        lax.send(framing.encode(addr.RTM_GETADDR, flags, 1, body))
        found = {addresses_in(row) for row in rtnl.messages(lax.recv(RECEIVE_BUFFER))}
        assert {"127.0.0.1", "10.5.0.1"} <= found


def addresses_in(message: rtnl.Message) -> str:
    value = rtnl.decode(message)
    return value.key.local if isinstance(value, Record) else ""
