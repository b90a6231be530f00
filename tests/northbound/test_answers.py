"""What the controller tells of itself: every row from the facts it believes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from controller.northbound.answers import QUESTIONS, answer
from controller.northbound.server import Refused
from controller.runtime import Runtime
from controller.sources.netlink import Netlink
from flows.budgets import LAST
from flows.document import from_json
from flows.view import (
    LOCAL_PORT,
    OWN_NAMESPACE,
    Ability,
    Bridge,
    Interface,
    Link,
    Neighbor,
    Port,
    PortKey,
    Vlans,
)
from tests.facts import (
    H1,
    H2,
    H3,
    QBR,
    S1,
    S2,
    Fact,
    bridged_tap,
    cable,
    heard_host,
    ifindex,
    kernel_host,
)
from tests.support.asked import runtime


@pytest.fixture
def lab(tmp_path: Path) -> Runtime:
    return runtime(tmp_path / "isat.sock")


def ask(whom: Runtime, question: str, **details: object) -> Any:
    return answer(whom, {"ask": question, **details})


# --- hosts --------------------------------------------------------------------------


def test_a_host_that_the_kernel_shows_is_told_by_its_namespace(lab: Runtime) -> None:
    [first, _] = ask(lab, "hosts")

    assert first == {
        "ip": "10.0.0.1",
        "lladdr": H1,
        "vlan": 0,
        "datapath_id": "0000000000000001",
        "switch": "s1",
        "port_no": 1,
        "port": "s1-eth1",
        "vlans": "",
        "host": "h0",
        "origin": "kernel",
        "leased": None,
        "told_by": [],
        "state": "confirmed",
        "confirmed": None,
        "answered": True,
        "why_not": "",
        "others": [],
    }


def test_a_host_that_was_heard_is_told_with_its_age(lab: Runtime) -> None:
    [_, second] = ask(lab, "hosts")

    assert (second["ip"], second["lladdr"], second["origin"]) == (
        "10.0.0.2",
        H2,
        "heard",
    )
    assert 0 <= second["confirmed"] < 60
    assert second["answered"]


def test_an_address_that_two_claim_is_told_with_both_and_the_reason(
    tmp_path: Path,
) -> None:
    lab = runtime(
        tmp_path / "s",
        heard_host(S1, 1, H1, "10.0.0.9", at=2.0),
        heard_host(S1, 2, H2, "10.0.0.9", at=1.0),
    )
    [row] = ask(lab, "hosts")

    assert not row["answered"]
    assert "two stations claim it" in row["why_not"]
    assert [row["lladdr"], *(other["lladdr"] for other in row["others"])] == [H1, H2]


def test_a_station_without_an_address_is_told_after_the_others(tmp_path: Path) -> None:
    lab = runtime(
        tmp_path / "s", heard_host(S1, 1, H1), heard_host(S1, 2, H2, "10.0.0.2")
    )
    rows = ask(lab, "hosts")

    assert [(row["ip"], row["lladdr"]) for row in rows] == [
        ("10.0.0.2", H2),
        (None, H1),
    ]
    assert rows[1]["why_not"] == "it holds no address that is known"


def test_an_ipv6_address_is_answered_for_when_its_holder_has_told_what_it_is(
    tmp_path: Path,
) -> None:
    lab = runtime(
        tmp_path / "s",
        heard_host(S1, 1, H1, "fd00::1"),
        heard_host(S1, 2, H2, "fd00::2", router=False),
    )

    assert [(row["answered"], row["why_not"]) for row in ask(lab, "hosts")] == [
        (False, "it has not told yet whether it is a router"),
        (True, ""),
    ]


def test_addresses_are_sorted_as_numbers(tmp_path: Path) -> None:
    lab = runtime(
        tmp_path / "s", kernel_host(S1, 1, H1, "10.0.0.10", "10.0.0.9", "fd00::1")
    )

    assert [row["ip"] for row in ask(lab, "hosts")] == [
        "10.0.0.9",
        "10.0.0.10",
        "fd00::1",
    ]


# --- what neighbor tables say ---------------------------------------------------------


def rumor(ip: str, lladdr: str, *, nsid: int = 0, port_no: int = 1) -> Neighbor:
    """A row in the neighbor table of the host behind a port."""
    return Neighbor(nsid, ifindex(S1, port_no), ip_address(ip), lladdr)


def test_what_only_a_neighbor_table_says_is_told_with_whose_and_not_answered(
    tmp_path: Path,
) -> None:
    lab = runtime(
        tmp_path / "s",
        kernel_host(S1, 1, H1, "10.0.0.1"),
        kernel_host(S1, 3, H3, nsid=1),
        heard_host(S1, 2, H2),
        rumor("10.0.0.2", H2),
        rumor("10.0.0.2", H2, nsid=1, port_no=3),
        rumor("10.0.0.9", "02:00:00:00:00:09"),
    )
    rows = {row["ip"]: row for row in ask(lab, "hosts") if row["origin"] == "neighbor"}

    seen, unseen = rows["10.0.0.2"], rows["10.0.0.9"]
    assert (seen["lladdr"], seen["port_no"], seen["answered"]) == (H2, 2, False)
    assert seen["told_by"] == ["h0 h0-eth0", "h1 h1-eth0"]
    assert "only the neighbor table of h0 h0-eth0 and h1" in seen["why_not"]
    assert (unseen["port_no"], unseen["port"]) == (None, "")


def test_a_neighbor_table_is_shown_beside_whoever_knows_better(tmp_path: Path) -> None:
    lab = runtime(
        tmp_path / "s",
        kernel_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S1, 2, H2, "10.0.0.2"),
        rumor("10.0.0.1", H1),
        rumor("10.0.0.2", H3),
    )
    first, second = ask(lab, "hosts")

    assert first["others"] == []  # it says the same
    assert second["answered"] and second["lladdr"] == H2
    [other] = second["others"]
    assert (other["lladdr"], other["origin"]) == (H3, "neighbor")
    assert other["told_by"] == ["h0 h0-eth0"]


def test_a_neighbor_table_of_an_interface_that_is_no_station_says_nothing(
    tmp_path: Path,
) -> None:
    strange = rumor("10.0.0.9", H2, nsid=7)
    group = rumor("10.0.0.9", "01:00:5e:00:00:01")
    lab = runtime(tmp_path / "s", kernel_host(S1, 1, H1, "10.0.0.1"), strange, group)

    assert [row["ip"] for row in ask(lab, "hosts")] == ["10.0.0.1"]


# --- ports --------------------------------------------------------------------------


def test_a_port_tells_what_it_leads_to(tmp_path: Path) -> None:
    tap = "tap0"
    lab = runtime(
        tmp_path / "s",
        cable((S1, 1), (S2, 1)),
        kernel_host(S1, 2, H1, "10.0.0.1"),
        Port(S1, 3, tap, H2, True),
        Interface(S1, 3, tap, ifindex(S1, 3)),
        Link(OWN_NAMESPACE, ifindex(S1, 3), tap, "tun", H2, holder="qemu[42]"),
        Port(S1, LOCAL_PORT, "s1", H3, False),
        Port(S1, 5, "in5", H3, True),
        Interface(S1, 5, "in5", ifindex(S1, 5), "internal"),
        Link(OWN_NAMESPACE, ifindex(S1, 5), "in5", "tun", H3, holder="ovs-vswitchd[9]"),
    )
    rows = {row["port"]: row for row in ask(lab, "ports")}

    assert {name: row["leads_to"] for name, row in rows.items()} == {
        "s1-eth1": "s2 s2-eth1",
        "s1-eth2": "h0 h0-eth0",
        tap: "qemu[42]",
        "s1": "this host",
        "in5": "this host",
        "s2-eth1": "s1 s1-eth1",
    }
    assert rows["s1-eth1"]["role"] == "fabric"
    assert rows["s1-eth1"]["why"] == "the kernel shows it"
    assert rows[tap]["kind"] == "tun"
    assert not rows["s1"]["up"]


def leads_to(tmp_path: Path, *facts: Fact | Iterable[Fact]) -> str:
    [row] = ask(runtime(tmp_path / "s", *facts), "ports")
    return str(row["leads_to"])


def test_a_port_tells_what_is_behind_a_linux_bridge(tmp_path: Path) -> None:
    held = bridged_tap(S1, 1)
    assert leads_to(tmp_path, held) == "tap101 of qemu[812] by way of qbr101"
    dead = bridged_tap(S1, 1, up=False)
    assert leads_to(tmp_path, dead) == "nobody by way of qbr101"
    taps = [
        Link(OWN_NAMESPACE, 70 + n, f"t{n}", "tun", master=ifindex(S1, 1) + QBR)
        for n in range(4)
    ]
    many = "t0 of a process, t1 of a process, t2 of a process, 2 more by way of qbr101"
    assert leads_to(tmp_path, held, taps) == many


def test_a_guest_is_told_by_the_process_that_runs_it(tmp_path: Path) -> None:
    lab = runtime(tmp_path / "s", bridged_tap(S1, 1, H1))
    [guest] = [row for row in ask(lab, "hosts") if row["lladdr"] == H1]
    assert (guest["host"], guest["origin"]) == ("qemu[812]", "kernel")


def test_who_was_heard_behind_the_only_tap_is_told_by_its_process(
    tmp_path: Path,
) -> None:
    lab = runtime(tmp_path / "s", bridged_tap(S1, 1), heard_host(S1, 1, H1, "10.0.0.1"))
    [row, *_] = ask(lab, "hosts")
    assert (row["ip"], row["host"]) == ("10.0.0.1", "qemu[812]")


def test_a_switch_of_another_host_is_known_by_its_local_port(tmp_path: Path) -> None:
    lab = runtime(
        tmp_path / "s",
        Port(S1, LOCAL_PORT, "br-far", H3, True),
        heard_host(S1, 1, H1, "10.0.0.1"),
    )

    assert ask(lab, "hosts")[0]["switch"] == "br-far"
    assert ask(lab, "status")["switches"][0]["name"] == "br-far"


# --- paths --------------------------------------------------------------------------


def test_the_way_between_two_interfaces_is_told(lab: Runtime) -> None:
    told = ask(lab, "path", **{"from": "h0:h0-eth0", "to": "s1"})
    assert told["problem"] == ""
    assert told["hops"][1] == {
        "interface": "s1-eth1",
        "namespace": "this host",
        "what": "veth",
        "switch": "s1",
        "port_no": 1,
        "up": True,
        "why_down": "",
        "then": "is a port of s1",
    }


def test_a_way_from_nowhere_is_refused_with_what_to_write(lab: Runtime) -> None:
    with pytest.raises(Refused) as refused:
        ask(lab, "path", **{"from": "h0-eth7", "to": "s1"})
    assert refused.value.where == "interface 'h0-eth7'"
    assert "h0:h0-eth0" in refused.value.hint
    with pytest.raises(Refused, match="without"):
        ask(lab, "path")


# --- status -------------------------------------------------------------------------


def test_the_status_tells_switches_and_what_they_hold(lab: Runtime) -> None:
    told = ask(lab, "status")

    assert told["listening"] == 6653
    assert told["targets"] == ("tcp:127.0.0.1:6653",)
    assert told["uptime"] >= 0
    [switch] = told["switches"]
    assert switch == {
        "datapath_id": "0000000000000001",
        "name": "s1",
        "ports": 2,
        "flows": len(lab.core.channels[S1].installed or ()),
        "groups": 0,
        "adopted": False,
        "refused": "",
        "shut": False,
        "lets_in": "all",
    }


def test_the_status_warns_of_bridges_that_are_not_safe(lab: Runtime) -> None:
    warnings = "\n".join(ask(lab, "status")["warnings"])

    assert "in-band control is on" in warnings
    assert "isat adopt s1" in warnings


def test_a_bridge_that_is_safe_needs_no_warning(lab: Runtime) -> None:
    safe = Bridge(S1, "s1", fail_mode="secure", disable_in_band=True, adopted=True)
    view = lab.core.view
    able = view.abilities.set(S1, Ability(S1, greatest_meter=LAST))
    bridges = view.bridges.set(S1, safe)
    lab.core.view = replace(view, bridges=bridges, abilities=able)

    assert ask(lab, "status")["warnings"] == []


def test_the_status_warns_of_what_is_configured_and_does_nothing(lab: Runtime) -> None:
    lab.config = replace(lab.config, defend=True)

    [line] = [w for w in ask(lab, "status")["warnings"] if "defend" in w]
    assert "does nothing, as no port is guarded; write 'guard: watch'" in line


def test_the_status_tells_who_is_at_a_limit_and_what_follows(lab: Runtime) -> None:
    limits = replace(lab.core.view.limits, addresses_per_station=1)
    lab.core.view = replace(lab.core.view, limits=limits)

    told = ask(lab, "status")

    assert told["counters"]["stations with as many addresses as are kept"] == 1
    [line] = [w for w in told["warnings"] if "addresses_per_station" in w]
    assert line.startswith("s1: targets that do not answer are asked for all the same")
    assert H2 in line


@pytest.mark.parametrize(
    ("vlans", "warned"),
    [
        (Vlans(5, (6, 7), "native-tagged"), []),
        (
            Vlans(5, mode="dot1q-tunnel"),
            [
                "vlan_mode=dot1q-tunnel is not supported: nothing passes the port;"
                " type: ovs-vsctl clear port s1-eth1 vlan_mode"
            ],
        ),
        (
            Vlans(priority_tags="always"),
            [
                "other_config:priority-tags=always is not followed: frames without a"
                " VLAN leave without a tag"
            ],
        ),
    ],
)
def test_the_status_warns_of_vlans_that_are_not_followed(
    lab: Runtime, vlans: Vlans, warned: list[str]
) -> None:
    view = lab.core.view
    row = replace(view.interfaces[PortKey(S1, 1)], vlans=vlans)
    lab.core.view = replace(view, interfaces=view.interfaces.set(row.key, row))
    own = [w for w in ask(lab, "status")["warnings"] if w.startswith(repr(row.ifname))]
    assert [w.partition(": ")[2] for w in own] == warned


def test_a_switch_without_meters_is_told(lab: Runtime) -> None:
    warnings = ask(lab, "status")["warnings"]
    assert "'s1' has no meters, so that its ports have no budgets" in warnings


def test_a_source_that_is_lost_is_told_with_the_reason(lab: Runtime) -> None:
    lab.core.sources["netlink"] = "the helper does not start"

    told = ask(lab, "status")

    assert told["sources"] == {
        "netlink": "the helper does not start",
        "ovsdb": "off",
    }
    assert "without netlink: the helper does not start" in told["warnings"]


def test_a_right_that_is_missing_is_a_warning(lab: Runtime) -> None:
    lab.netlink = Netlink(lab.report)
    lab.netlink.notes = ("the processes behind some taps cannot be seen",)

    assert {*lab.netlink.notes} <= {*ask(lab, "status")["warnings"]}


def test_a_controller_that_no_switch_has_found_says_what_to_type(lab: Runtime) -> None:
    lab.core.channels.clear()

    [warning] = ask(lab, "status")["warnings"]

    assert "no switch is connected to port 6653" in warning
    assert "isat adopt BRIDGE" in warning


# --- the rest -----------------------------------------------------------------------


def test_the_view_comes_back_from_its_document(lab: Runtime) -> None:
    assert from_json(ask(lab, "view")) == lab.core.view


@pytest.mark.parametrize("question", ["adopt", "release"])
def test_without_ovsdb_no_bridge_is_adopted_and_the_answer_says_why(
    lab: Runtime, question: str
) -> None:
    with pytest.raises(Refused) as refused:
        ask(lab, question, bridge="br0")

    assert refused.value.where == "bridge 'br0'"
    assert "not to use OVSDB" in refused.value.problem
    assert "sources.ovsdb" in refused.value.hint


@pytest.mark.parametrize("question", ["adopt", "release"])
def test_a_question_about_a_bridge_names_it(lab: Runtime, question: str) -> None:
    with pytest.raises(Refused, match="without"):
        ask(lab, question)


def test_an_unknown_question_is_answered_by_the_nearest(lab: Runtime) -> None:
    with pytest.raises(Refused, match="did you mean 'hosts'"):
        ask(lab, "host")
    with pytest.raises(Refused, match=", ".join(QUESTIONS)):
        ask(lab, "zzz")
