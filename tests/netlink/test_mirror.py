"""What the mirror says of three real namespaces, from within one of them."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator

import pytest

from controller.netlink.doors import Between, Closed, Door, OwnDoors
from controller.netlink.helper import Silence
from controller.netlink.mirror import Mirror
from controller.netlink.tables import Change
from tests.netlink.lab import Lab, differences, inside, ip, new_lab, reader

pytestmark = pytest.mark.root
BEHIND = "10.9.0.0"  # by way of a gateway: no event tells that such a route goes


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        yield lab


def test_a_snapshot_equals_what_ip_says_of_three_namespaces(lab: Lab) -> None:
    lab.veth("a1", lab.own, "eth0", lab.h1)
    lab.veth("a2", lab.own, "eth0", lab.h2)
    lab.veth("x1", lab.h1, "x2", lab.h2)
    lab.veth("p1", lab.h1, "p2", lab.h1)
    ip("-n", lab.own, "link", "add", "br9", "type", "bridge")
    ip("-n", lab.own, "link", "set", "a1", "master", "br9", "alias", "to h1")
    ip("-n", lab.own, "link", "property", "add", "dev", "a2", "altname", "second")
    ip("-n", lab.own, "link", "add", "mv0", "link", "a2", "type", "macvlan")
    ip("-n", lab.own, "link", "set", "mv0", "netns", lab.h1)
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "brd", "+", "dev", "eth0")
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/16", "dev", "eth0")
    ip("-n", lab.h2, "addr", "add", "10.2.0.1", "peer", "10.2.0.9/32", "dev", "eth0")
    ip("-n", lab.h2, "addr", "add", "fd00::2/64", "dev", "x2", "nodad")

    with reader(lab.own, "--once") as mirror:
        assert mirror.finish() == 0

    assert differences(mirror, lab) == []
    assert mirror.syncs() == 1
    assert mirror.said("note") == []


def test_an_address_added_inside_a_namespace_comes_and_goes(lab: Lab) -> None:
    lab.veth("a1", lab.own, "eth0", lab.h1)
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)

        ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
        mirror.wait(lambda: "10.1.0.1" in mirror.addresses(h1), "the address")
        ip("-n", lab.h1, "addr", "del", "10.1.0.1/24", "dev", "eth0")
        mirror.wait(lambda: "10.1.0.1" not in mirror.addresses(h1), "its end")


def test_both_halves_of_a_new_pair_know_each_other(lab: Lab) -> None:
    """The kernel tells of the first one before the second exists, and not again."""
    with reader(lab.own) as mirror:
        mirror.synced()
        ip("-n", lab.own, "link", "add", "va", "type", "veth", "peer", "name", "vb")

        def know_each_other() -> bool:
            a, b = mirror.link(-1, "va"), mirror.link(-1, "vb")
            return bool(
                a and b
                and (a["link_netnsid"], a["link"]) == (-1, b["ifi_index"])
                and (b.get("link_netnsid"), b.get("link")) == (-1, a["ifi_index"])
            )  # fmt: skip

        mirror.wait(know_each_other, "va and vb name each other")


def test_a_namespace_is_found_when_a_link_leads_to_it(lab: Lab) -> None:
    ip("-n", lab.h1, "addr", "add", "127.0.0.9/32", "dev", "lo")
    with reader(lab.own) as mirror:
        assert mirror.synced().tables.get("nsid", {}) == {}

        ip("-n", lab.own, "link", "add", "va", "type", "veth",
           "peer", "name", "eth0", "netns", lab.h1)  # fmt: skip

        mirror.wait(lambda: mirror.nsid(lab.h1) is not None, "its name")
        assert "127.0.0.9" in mirror.addresses(mirror.nsid(lab.h1))
        mirror.wait(lambda: differences(mirror, only(lab, lab.h1)) == [], "equal")


def test_a_link_that_moves_ends_here_and_begins_there(lab: Lab) -> None:
    """Its other end, far away and down, gets no event and is asked for."""
    lab.veth("a1", lab.own, "eth0", lab.h1)
    lab.veth("a2", lab.own, "eth0", lab.h2)
    ip("-n", lab.own, "link", "add", "v", "type", "veth",
       "peer", "name", "w", "netns", lab.h1)  # fmt: skip
    with reader(lab.own) as mirror:
        mirror.synced()
        ip("-n", lab.own, "link", "set", "v", "netns", lab.h2)
        mirror.wait(lambda: not mirror.link(-1, "v"), "v is gone")
        mirror.wait(lambda: differences(mirror, lab) == [], "w leads to h2")

        ip("-n", lab.h2, "link", "set", "v", "netns", lab.h1)
        mirror.wait(lambda: differences(mirror, lab) == [], "both in h1")


def test_a_device_above_one_that_moves_leads_to_where_it_is(lab: Lab) -> None:
    lab.veth("a1", lab.own, "eth0", lab.h1)
    lab.veth("a2", lab.own, "eth0", lab.h2)
    ip("-n", lab.h1, "link", "add", "low", "type", "veth", "peer", "name", "far")
    ip("-n", lab.h1, "link", "add", "mv0", "link", "low", "type", "macvlan")
    with reader(lab.own) as mirror:
        mirror.synced()
        ip("-n", lab.h1, "link", "set", "low", "netns", lab.h2)
        mirror.wait(lambda: differences(mirror, lab) == [], "mv0 and far lead to h2")


def test_a_pair_between_two_other_namespaces_leads_to_the_second(lab: Lab) -> None:
    """h2 has no number in our namespace until somebody asks about the link to it."""
    lab.veth("a1", lab.own, "eth0", lab.h1)
    with reader(lab.own) as mirror:
        mirror.synced()
        lab.veth("x1", lab.h1, "x2", lab.h2)
        mirror.wait(lambda: mirror.nsid(lab.h2) is not None, "h2 has a name")
        mirror.wait(lambda: differences(mirror, lab) == [], "all three are equal")


def test_a_namespace_that_ends_takes_its_rows_along(lab: Lab) -> None:
    lab.veth("a1", lab.own, "eth0", lab.h1)
    ip("-n", lab.h1, "addr", "add", "10.1.0.1/24", "dev", "eth0")
    with reader(lab.own) as mirror:
        h1 = mirror.synced().nsid(lab.h1)
        assert mirror.addresses(h1) >= {"10.1.0.1"}

        lab.remove(lab.h1)

        mirror.wait(lambda: not mirror.tables["nsid"], "no namespace")
        mirror.wait(lambda: not mirror.link(-1, "a1"), "our end is gone")
        nsids = {key[0] for rows in mirror.tables.values() for key in rows}
        assert nsids <= {-1}


def test_a_number_that_is_used_again_is_another_namespace(lab: Lab) -> None:
    lab.veth("a1", lab.own, "eth0", lab.h1)
    with reader(lab.own) as mirror:
        first = mirror.synced().nsid(lab.h1)
        lab.remove(lab.h1)
        mirror.wait(lambda: not mirror.tables["nsid"], "no namespace")

        lab.veth("a2", lab.own, "eth9", lab.h2)

        assert mirror.wait(lambda: mirror.nsid(lab.h2) is not None, "h2 is named")
        assert mirror.nsid(lab.h2) == first
        mirror.wait(lambda: differences(mirror, only(lab, lab.h2)) == [], "equal")


def test_an_ifindex_that_is_used_again_is_another_interface(lab: Lab) -> None:
    ip("-n", lab.own, "link", "add", "one", "index", "77", "type", "bridge")
    ip("-n", lab.own, "addr", "add", "10.7.7.1/24", "dev", "one")
    with reader(lab.own) as mirror:
        mirror.synced()
        ip("-n", lab.own, "link", "del", "one")
        ip("-n", lab.own, "link", "add", "two", "index", "77", "type", "bridge")

        mirror.wait(lambda: mirror.link(-1, "two"), "two")
        links = [line for line in mirror.lines if line.get("table") == "link"]
        said = [line["op"] for line in links if line["key"]["ifi_index"] == 77]
        assert said[:3] == ["new", "del", "new"]
        assert mirror.addresses(-1) & {"10.7.7.1"} == set()


class Short(OwnDoors):
    """Doors of a machine that has no file to spare, once."""

    spared = False

    def open(self, nsid: int, between: Between) -> Door:
        if not self.spared:
            self.spared = True
            raise Closed(errno.ENFILE, os.strerror(errno.ENFILE))
        return super().open(nsid, between)


def test_a_namespace_that_cannot_be_entered_just_now_is_read_later(lab: Lab) -> None:
    lab.veth("a1", lab.own, "eth0", lab.h1)
    sink = Silence()
    with inside(lab.own), contextlib.closing(Mirror(sink, doors=Short())) as mirror:
        turn_until(mirror, lambda: sink.synced, start=0.0)
        [h1] = mirror.tables.nsids()
        assert mirror.tables.rows("rule", h1)


class Busy(OwnDoors):
    """Doors that something is connected behind while the first one opens."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self._lab: Lab | None = lab

    def open(self, nsid: int, between: Between) -> Door:
        if self._lab is not None:
            self._lab.veth("a2", self._lab.own, "eth0", self._lab.h2)
            self._lab = None
        return super().open(nsid, between)


def test_a_namespace_that_appears_while_all_is_read_is_read_whole(lab: Lab) -> None:
    """Not only what events tell of it."""
    lab.veth("a1", lab.own, "eth0", lab.h1)
    sink = Silence()
    with inside(lab.own), contextlib.closing(Mirror(sink, doors=Busy(lab))) as mirror:
        mirror.turn(time.monotonic())
        assert sink.synced and len(mirror.tables.nsids()) == 2
        for nsid in mirror.tables.nsids():
            links = mirror.tables.rows("link", nsid).values()
            assert {row.link.ifname for row in links} == {"lo", "eth0"}
            assert mirror.tables.rows("rule", nsid)


class Noted(Silence):
    """A sink that notes which routes go, and when they may be read."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[int | str] = []

    def change(self, change: Change) -> None:
        if change.op == "del" and getattr(change.key, "dst", "") == BEHIND:
            self.said.append(change.scope.nsid)

    def flush(self) -> None:
        self.said.append("flush")


def test_what_one_namespace_lost_in_silence_does_not_wait_for_the_next(
    lab: Lab,
) -> None:
    for port, namespace in (("a1", lab.h1), ("a2", lab.h2)):
        lab.veth(port, lab.own, "eth0", namespace)
        ip("-n", namespace, "addr", "add", "10.8.0.1/24", "dev", "eth0")
        ip("-n", namespace, "route", "add", f"{BEHIND}/16", "via", "10.8.0.9")
    sink = Noted()
    with inside(lab.own), contextlib.closing(Mirror(sink)) as mirror:
        turn_until(mirror, lambda: sink.synced, start=0.0)
        for namespace in (lab.h1, lab.h2):  # both are due when the mirror looks
            ip("-n", namespace, "link", "set", "eth0", "down")
        turn_until(mirror, lambda: {*mirror.tables.nsids()} <= {*sink.said}, start=10.0)
    namespaces = dict.fromkeys(said for said in sink.said if said != "flush")
    first, second = (sink.said.index(nsid) for nsid in namespaces)
    assert "flush" in sink.said[first:second]


def turn_until(mirror: Mirror, condition: Callable[[], bool], start: float) -> None:
    """Ten turns to a second, on a clock of the test's: what is due is due together."""
    for number in range(100):
        if condition():
            return
        mirror.turn(start + number / 10)
    raise AssertionError("not within ten seconds")


def test_any_octets_in_a_name_survive(lab: Lab) -> None:
    name = os.fsdecode(b"\xff\xfe\x01\x7f\x1b\"'{,\\")
    ip("-n", lab.own, "link", "add", name, "type", "bridge")
    with reader(lab.own) as mirror:
        mirror.synced()
        assert mirror.link(-1, name)


def test_a_lost_carrier_is_told_first_and_a_name_needs_no_veth(lab: Lab) -> None:
    lab.veth("a1", lab.own, "eth0", lab.h1)
    with reader(lab.own) as mirror:
        mirror.synced()
        ip("-n", lab.h1, "link", "set", "eth0", "down")
        mirror.wait(
            lambda: (row := mirror.link(-1, "a1")) and not row["ifi_flags"] & 0x10000,
            "no carrier",
        )
        mirror.wait(lambda: differences(mirror, only(lab, lab.h1)) == [], "equal")


def only(lab: Lab, namespace: str) -> Lab:
    """The lab as if it had no third namespace."""
    small = Lab.__new__(Lab)
    small.own, small.h1, small.h2 = lab.own, namespace, namespace
    return small
