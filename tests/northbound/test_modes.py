"""What `isat status`, `isat hosts` and `isat why` tell of rules."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from controller.northbound.answers import answer
from controller.runtime import Runtime
from flows.network import network
from flows.view import Proxy
from tests.facts import H1, H2
from tests.support.asked import runtime

GW, FIREWALL = "02:00:00:00:00:fe", "02:00:00:00:00:0f"
GATEWAY = Proxy(
    "gateway", prefix=ip_network("10.0.0.254"), lladdr=GW, where="lab.yaml:3"
)
WALL = Proxy(
    *("interpose", "s1", 0, ip_network("10.0.0.2/32"), FIREWALL), where="lab.yaml:4"
)


@pytest.fixture
def lab(tmp_path: Path) -> Runtime:
    return runtime(tmp_path / "isat.sock")


def ask(whom: Runtime, question: str, **details: object) -> Any:
    return answer(whom, {"ask": question, **details})


def ruled(lab: Runtime, *rules: Proxy) -> Runtime:
    core = lab.core
    core.view = replace(core.view, proxies=rules)
    core.network = network(core.view)
    return lab


def test_the_status_lists_the_rules_as_they_are_written(lab: Runtime) -> None:
    rows = ask(ruled(lab, GATEWAY, WALL), "status")["rules"]
    assert rows == [
        {
            "mode": "gateway",
            "for": "10.0.0.254/32",
            "where": "lab.yaml:3",
            "through": GW,
            "missing": "",
        },
        {
            "mode": "interpose",
            "for": "10.0.0.2/32 at s1 on VLAN 0",
            "where": "lab.yaml:4",
            "through": "",
            "missing": f"{FIREWALL} is not known to be there",
        },
    ]


def test_the_status_warns_of_a_firewall_that_is_not_there(lab: Runtime) -> None:
    warnings = ask(ruled(lab, WALL), "status")["warnings"]
    told = f"lab.yaml:4, interpose: {FIREWALL} is not known to be there; nothing passes"
    assert told in warnings
    warnings = ask(ruled(lab, replace(WALL, closed=False)), "status")["warnings"]
    assert told.replace("nothing", "everything") in warnings
    there = ask(ruled(lab, replace(WALL, lladdr=H1)), "status")
    assert not [line for line in there["warnings"] if "interpose" in line]
    assert there["rules"][0]["through"] == H1


def test_the_status_warns_of_a_port_that_is_not_there(lab: Runtime) -> None:
    rule = Proxy("private", promiscuous=("s1-eth1", "gw0"), where="lab.yaml:5")
    warnings = ask(ruled(lab, rule), "status")["warnings"]
    assert "lab.yaml:5, private: there is no port 'gw0'" in warnings
    assert not [line for line in warnings if "s1-eth1" in line]


def test_hosts_that_a_rule_silences_say_by_which_line(lab: Runtime) -> None:
    off = Proxy("off", prefix=ip_network("10.0.0.2/32"), where="lab.yaml:6")
    taken = replace(GATEWAY, prefix=ip_network("10.0.0.1/32"))
    rows = ask(ruled(lab, off, taken), "hosts")
    told = {row["ip"]: (row["answered"], row["why_not"]) for row in rows}
    assert told["10.0.0.2"] == (False, "off by lab.yaml:6")
    assert told["10.0.0.1"] == (False, "the address is a gateway's by lab.yaml:3")


@pytest.mark.parametrize(
    ("rule", "ip", "says"),
    [
        (GATEWAY, "10.0.0.254", "and nobody has this hardware address"),
        (Proxy("off", where="lab.yaml:7"), "10.0.0.1", "questions are forwarded"),
        (Proxy("host", where="lab.yaml:7"), "10.0.0.1", "is answered for"),
        (WALL, "10.0.0.2", f"{FIREWALL} is not known to be there: nobody is answered"),
        (
            replace(WALL, lladdr=H1),
            "10.0.0.2",
            f"who asks from the other side is told the firewall, {H1} at s1-eth1",
        ),
        (
            Proxy("private", lladdr=H1, promiscuous=("s1-eth1",)),
            "10.0.0.2",
            f"isolated neighbors are told the router, {H1}, instead",
        ),
        (
            Proxy("private", promiscuous=("s1-eth1",)),
            "10.0.0.2",
            "isolated neighbors are not answered: no router is named",
        ),
        (
            Proxy("private", promiscuous=("s1-eth1",)),
            "10.0.0.1",
            "it is at a port that is not isolated",
        ),
    ],
    ids=lambda value: value.mode if isinstance(value, Proxy) else None,
)
def test_why_says_what_the_rule_makes_of_a_question(
    lab: Runtime, rule: Proxy, ip: str, says: str
) -> None:
    [row] = ask(ruled(lab, rule), "why", ip=ip)["held"]
    [told] = row["rules"]
    assert (told["mode"], told["where"]) == (rule.mode, rule.where)
    assert says in told["says"]


def test_why_follows_a_question_through_the_rules(lab: Runtime) -> None:
    [row] = ask(ruled(lab, GATEWAY), "why", ip="10.0.0.254", **{"from": "10.0.0.1"})[
        "held"
    ]
    assert row["answered"]
    assert {flow["name"] for flow in row["flows"]} == {"gateway"}
    assert row["asked"]["answer"] == GW
    [row] = ask(ruled(lab, WALL), "why", ip="10.0.0.2", **{"from": "10.0.0.1"})["held"]
    says = f"nothing crosses, as {FIREWALL} is not known to be there"
    assert row["asked"]["says"] == f"the question goes nowhere: drop: {says}"
    off = Proxy("off", where="lab.yaml:7")
    [row] = ask(ruled(lab, off), "why", ip="10.0.0.2", **{"from": "10.0.0.1"})["held"]
    assert (row["answered"], row["why_not"]) == (False, "off by lab.yaml:7")
    assert row["lladdr"] == H2
