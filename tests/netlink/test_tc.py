"""What the mirror says of traffic control in its own namespace."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.netlink.lab import Json, Lab, Reader, differences, ip, new_lab, reader, tc
from tests.support.seeds import fresh

pytestmark = pytest.mark.root

# As Mininet's TCLink(bw=10) makes it (mininet/link.py, TCIntf.bwCmds).
HTB = ("qdisc", "add", "dev", "a1", "root", "handle", "5:0", "htb", "default", "1")
CLASS = ("parent", "5:0", "classid", "5:1", "htb", "rate", "10Mbit", "burst", "15k")
TBF = ("tbf", "burst", "50m", "latency", "1ms")
OPERATIONS = 60


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        lab.veth("a2", lab.own, "eth0", lab.h2)
        yield lab


def row(mirror: Reader, handle: int) -> Json | None:
    found = mirror.link(-1, "a1")
    key = (-1, found and found["ifi_index"], handle)
    return mirror.tables.get("tc", {}).get(key)


def test_a_snapshot_has_every_qdisc_and_the_classes_of_htb(lab: Lab) -> None:
    tc(lab.own, *HTB)
    tc(lab.own, "class", "add", "dev", "a1", *CLASS)
    tc(lab.own, "qdisc", "add", "dev", "a2", "root", *TBF, "rate", "40Gbit")
    with reader(lab.own, "--once") as mirror:
        assert mirror.finish() == 0
    assert differences(mirror, lab) == []
    rates = {r["kind"]: r["rate"] for r in mirror.tables["tc"].values() if "rate" in r}
    assert rates == {"htb": 1_250_000, "tbf": 5_000_000_000}


def test_a_rate_comes_changes_and_goes(lab: Lab) -> None:
    with reader(lab.own, "--table", "link,tc") as mirror:
        mirror.synced()
        tc(lab.own, *HTB)
        tc(lab.own, "class", "add", "dev", "a1", *CLASS)
        mirror.wait(lambda: row(mirror, 0x50001), "the class")
        assert row(mirror, 0x50000) == {
            "tcm_parent": 0xFFFFFFFF,
            "kind": "htb",
            "defcls": 1,
        }
        faster = ("parent", "5:0", "classid", "5:1", "htb", "rate", "20Mbit")
        tc(lab.own, "class", "change", "dev", "a1", *faster)
        mirror.wait(lambda: (row(mirror, 0x50001) or {})["rate"] == 2_500_000, "faster")
        tc(lab.own, "qdisc", "del", "dev", "a1", "root")
        mirror.wait(lambda: not mirror.tables["tc"], "neither qdisc nor class")


def test_what_goes_with_its_interface_is_gone(lab: Lab) -> None:
    tc(lab.own, *HTB)
    tc(lab.own, "class", "add", "dev", "a1", *CLASS)
    with reader(lab.own) as mirror:
        mirror.synced()
        assert row(mirror, 0x50001)
        ip("-n", lab.own, "link", "set", "a1", "netns", lab.h2)
        mirror.wait(lambda: not mirror.tables["tc"], "neither qdisc nor class")


def test_other_namespaces_are_not_asked(lab: Lab) -> None:
    tc(lab.h1, "qdisc", "add", "dev", "eth0", "root", *HTB[5:])
    with reader(lab.own, "--table", "tc") as mirror:
        mirror.synced()
        tc(lab.h2, "qdisc", "add", "dev", "eth0", "root", *HTB[5:])
        tc(lab.own, *HTB)
        mirror.wait(lambda: mirror.tables.get("tc"), "our own")
        assert {nsid for nsid, _, _ in mirror.tables["tc"]} == {-1}
        assert mirror.said("note") == []


@pytest.mark.parametrize("seed", [1, 2, fresh])
def test_whatever_happens_the_mirror_comes_to_what_tc_says(lab: Lab, seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    with reader(lab.own) as mirror:
        mirror.synced()
        for _ in range(OPERATIONS):
            try:
                tc(lab.own, *operation(dice))
            except AssertionError:
                continue  # the kernel has refused it
        mirror.wait(lambda: differences(mirror, lab) == [], "equal")


def operation(dice: random.Random) -> tuple[str, ...]:
    dev, major = dice.choice(("a1", "a2")), dice.choice("56")
    minor, rate = dice.choice("123"), f"{dice.randrange(1, 99)}Mbit"
    above = dice.choice((f"{major}:", f"{major}:1"))
    one = ("parent", above, "classid", f"{major}:{minor}", "htb", "rate", rate)
    root = ("dev", dev, "root", "handle", f"{major}:")
    return dice.choice(
        (
            ("qdisc", "replace", *root, "htb", "default", minor),
            ("qdisc", "replace", *root, *TBF, "rate", rate),
            ("qdisc", "del", "dev", dev, "root"),
            ("class", "replace", "dev", dev, *one),
            ("class", "replace", "dev", dev, *one),
            ("class", "del", "dev", dev, "classid", f"{major}:{minor}"),
        )
    )
