"""What `isat links` and `isat tree` tell of cables between switches."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.cli.links import drawn, speed
from controller.northbound.answers import answer
from controller.runtime import Runtime
from controller.trial import Reach, Trial
from flows.network import network
from flows.view import Adjacency, Flooding, PortKey, Tunnel
from tests.facts import S1, cable, interface, limited, overlay, ports, tunnel_port
from tests.support.asked import runtime

RING = ((1, 2), (2, 3), (3, 4), (4, 1))


def ask(whom: Runtime, question: str) -> Any:
    return answer(whom, {"ask": question})


@pytest.fixture
def ring(tmp_path: Path) -> Runtime:
    """Four switches; port 1 leads to the next one, port 2 to the one before."""
    cables = (cable((a, 1), (b, 2)) for a, b in RING)
    return doing(runtime(tmp_path / "isat.sock", *cables), {1, 2, 3, 4})


def doing(lab: Runtime, switches: Iterable[int], may: tuple[int, ...] = ()) -> Runtime:
    """These do what the tree says; `may` they send to besides."""
    core = lab.core
    tree = core.network.fabric.tree
    for n in switches:
        does = tuple(sorted(key.port_no for key in tree if key.datapath_id == n))
        row = Flooding(n, tuple(sorted({*does, *may})), does)
        core.view = replace(core.view, floods=core.view.floods.set(n, row))
    core.network = network(core.view)
    return lab


def ends(row: dict[str, Any]) -> tuple[str, str]:
    one, other = (f"{row[e]['switch']}:{row[e]['port_no']}" for e in ("from", "to"))
    return one, other


def carrying(lab: Runtime) -> dict[tuple[str, str], str]:
    return {ends(row): row["broadcasts"] for row in ask(lab, "links")}


def test_every_cable_is_told_with_whether_broadcasts_take_it(ring: Runtime) -> None:
    assert carrying(ring) == {
        ("s1:1", "s2:2"): "yes",
        ("s1:2", "s4:1"): "yes",
        ("s2:1", "s3:2"): "yes",
        ("s3:1", "s4:2"): "no",
    }
    [closed] = [row for row in ask(ring, "links") if row["why"]]
    assert closed["why"] == "another way joins its switches"
    assert {row["kind"] for row in ask(ring, "links")} == {"veth"}


def test_a_cable_is_not_open_before_its_switches_have_confirmed_it(
    ring: Runtime,
) -> None:
    ring.core.view = replace(
        ring.core.view, floods=ring.core.view.floods.set(3, Flooding(3, (), ()))
    )
    ring.core.network = network(ring.core.view)
    assert carrying(ring)["s2:1", "s3:2"] == "not yet"


def test_a_cable_is_open_until_its_switches_have_closed_it(ring: Runtime) -> None:
    assert carrying(doing(ring, (3, 4), may=(1, 2)))["s3:1", "s4:2"] == "still"


def test_a_cable_that_is_down_is_told(ring: Runtime) -> None:
    key = PortKey(S1, 1)
    view = ring.core.view
    down = replace(view.ports[key], up=False)
    ring.core.view = replace(view, ports=view.ports.set(key, down))
    ring.core.network = network(ring.core.view)
    [row] = [row for row in ask(ring, "links") if ends(row) == ("s1:1", "s2:2")]
    assert (row["up"], row["broadcasts"]) == (False, "no")
    assert row["why"] == "one end is down"


def test_a_cable_is_told_with_the_rate_of_its_slower_end_and_its_cost(
    tmp_path: Path,
) -> None:
    cables = (cable((a, 1), (b, 2)) for a, b in RING)
    rates = (
        *(limited((1, 1), 100_000_000), limited((2, 2), 10_000_000)),
        limited((3, 2), 1_500_000_000),
    )
    lab = runtime(tmp_path / "isat.sock", *cables, *rates)
    told = {ends(row): (row["rate"], row["cost"]) for row in ask(lab, "links")}
    assert told == {
        ("s1:1", "s2:2"): (10_000_000, 2_000_000),
        ("s1:2", "s4:1"): (None, 1),
        ("s2:1", "s3:2"): (1_500_000_000, 13_333),
        ("s3:1", "s4:2"): (None, 1),
    }


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (None, ""),
        (999, "999 bit/s"),
        (64_000, "64 kbit/s"),
        (10_000_000, "10 Mbit/s"),
        (1_500_000_000, "1.5 Gbit/s"),
    ],
)
def test_a_rate_is_told_as_tc_writes_it(rate: int | None, words: str) -> None:
    assert speed(rate) == words


def test_a_tree_is_told_from_its_root_outwards(ring: Runtime) -> None:
    [tree] = ask(ring, "tree")
    assert tree["root"]["switch"] == "s1"
    assert [row["switch"] for row in tree["switches"]] == ["s1", "s2", "s3", "s4"]
    assert [(ends(row), row["depth"]) for row in tree["branches"]] == [
        (("s1:1", "s2:2"), 1),
        (("s1:2", "s4:1"), 1),
        (("s2:1", "s3:2"), 2),
    ]
    assert [ends(row) for row in tree["closed"]] == [("s3:1", "s4:2")]


def test_switches_that_do_not_reach_each_other_have_a_tree_each(
    tmp_path: Path,
) -> None:
    cables = (cable((1, 1), (2, 1)), cable((3, 1), (4, 1)), cable((4, 2), (5, 1)))
    lab = doing(runtime(tmp_path / "isat.sock", *cables), range(1, 6))
    told = [[row["switch"] for row in tree["switches"]] for tree in ask(lab, "tree")]
    assert told == [["s3", "s4", "s5"], ["s1", "s2"]]


def test_a_tree_is_drawn(ring: Runtime) -> None:
    [tree] = ask(ring, "tree")
    assert list(drawn(tree)) == [
        "s1",
        "├─ s2  s1-eth1 to s2-eth2",
        "│  └─ s3  s2-eth1 to s3-eth2",
        "└─ s4  s1-eth2 to s4-eth1",
        "closed: s3-eth1 to s4-eth2: no: another way joins its switches",
    ]


# --- cables that no kernel shows ------------------------------------------------------

A1, A2, B1, B2 = (PortKey(s, n) for s in (1, 2) for n in (1, 2))


@pytest.fixture
def foreign(tmp_path: Path) -> Runtime:
    """Two switches of which only OpenFlow tells; port 1 of each leads to the other."""
    both = ports(1, 1, 2), ports(2, 1, 2)
    lab = runtime(tmp_path / "isat.sock", *both, Adjacency(*A1, *B1, 0.0))
    now = time.monotonic()
    for at, sender in ((A1, B1), (B1, A1)):
        said = Trial(Reach.CABLE, sender, round(now, 3) - 0.002, serial=1)
        lab.core.links.heard(lab.core.view, at, said, now)
    return doing(lab, {1, 2})


def test_a_cable_that_lldp_has_shown_says_so_and_how_old_that_is(
    foreign: Runtime,
) -> None:
    [row] = ask(foreign, "links")
    assert (row["kind"], row["evidence"], row["up"]) == ("lldp", "lldp", True)
    assert 0 <= row["age"] < 60 and 0 < row["on_its_way"] < 0.01


def test_a_cable_that_the_kernel_shows_has_no_age(ring: Runtime) -> None:
    assert {row["evidence"] for row in ask(ring, "links")} == {"kernel"}
    assert {row["age"] for row in ask(ring, "links")} == {None}


def test_what_is_refused_is_told_with_the_reason(foreign: Runtime) -> None:
    late = Trial(Reach.CABLE, B2, 0.0, serial=1)
    foreign.core.links.heard(foreign.core.view, A2, late, time.monotonic())
    [_, row] = ask(foreign, "links")
    assert (row["from"]["port"], row["to"]["port"]) == ("s2-eth2", "s1-eth2")
    assert row["broadcasts"] == "refused" and "too long" in row["why"]
    rows = {row["port"]: row for row in ask(foreign, "ports")}
    assert "too long" in rows["s1-eth2"]["why"]
    assert rows["s1-eth1"]["why"] == "LLDP of ours shows it"


# --- overlays -------------------------------------------------------------------------


@pytest.fixture
def overlaid(tmp_path: Path) -> Runtime:
    """s1 and s2 are joined by a cable, and with s3 by an overlay; s4 is away, and the
    port of s5 is told where to lead."""
    fixed = Tunnel(remote="192.0.2.9", key="7")
    facts = (
        *(cable((1, 1), (2, 2)), tunnel_port(1, 9), tunnel_port(2, 9)),
        *(tunnel_port(3, 9), ports(5, 9)),
        interface(5, 9, ifindex=0, type="vxlan", tunnel=fixed),
        overlay("blue", 5000, *((n, 9) for n in range(1, 6))),
    )
    return doing(runtime(tmp_path / "isat.sock", *facts), {1, 2, 3})


def test_each_end_of_an_overlay_is_told_and_why_it_takes_no_broadcasts(
    overlaid: Runtime,
) -> None:
    rows = [row for row in ask(overlaid, "links") if row["kind"] == "overlay"]
    assert {row["to"]["overlay"] for row in rows} == {"blue"}
    assert {row["to"]["vni"] for row in rows} == {5000}
    assert [(row["from"]["port"], row["broadcasts"], row["why"]) for row in rows] == [
        ("s1-eth9", "yes", ""),
        ("s2-eth9", "no", "another way joins its switches"),
        ("s3-eth9", "yes", ""),
        ("s4-eth9", "no", "no switch that is connected has this port"),
        (
            "s5-eth9",
            "no",
            "flows cannot tell it where to lead: remote_ip and key must be 'flow'",
        ),
    ]


def test_an_overlay_is_drawn_as_a_switch_is(overlaid: Runtime) -> None:
    tree = next(t for t in ask(overlaid, "tree") if t["root"]["switch"] == "s1")
    assert list(drawn(tree)) == [
        "s1",
        "├─ s2  s1-eth1 to s2-eth2",
        "└─ overlay blue  s1-eth9 to overlay blue",
        "   └─ 0000000000000003  overlay blue to 0000000000000003:s3-eth9",
        "closed: s2-eth9 to overlay blue: no: another way joins its switches",
    ]


def test_a_port_into_an_overlay_tells_who_else_is_there(overlaid: Runtime) -> None:
    rows = {row["port"]: row for row in ask(overlaid, "ports")}
    one = rows["s1-eth9"]
    assert one["role"] == "fabric"
    assert one["leads_to"] == (
        "overlay blue: s2 at 192.0.2.2, 0000000000000003 at 192.0.2.3"
    )
    assert one["why"] == "the configuration says that it is an end of an overlay"
    assert rows["s5-eth9"]["role"] == "tunnel"
