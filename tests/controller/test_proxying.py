"""Rules of how questions are answered, as they are written, and which of them clash."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.config import ConfigError, parse
from controller.proxying import clashes
from flows.proxy import at_bridge, within
from flows.view import Proxy

GW, FW = "02:00:00:00:00:fe", "02:00:00:00:00:0f"


def rules(*lines: str) -> tuple[Proxy, ...]:
    text = "proxy:\n" + "".join(f"  - {line}\n" for line in lines)
    return parse(text.encode(), "lab.yaml").proxies


def mistakes(*lines: str) -> str:
    with pytest.raises(ConfigError) as caught:
        rules(*lines)
    return str(caught.value)


# --- one rule -----------------------------------------------------------------------


def test_each_mode_is_read_with_its_line() -> None:
    read = rules(
        "{mode: off, bridge: br1}",
        "{mode: host, prefix: 10.0.0.0/24, bridge: br1}",
        f"{{mode: gateway, ip: 10.0.0.254, lladdr: '{GW}', vlan: 5, router: false}}",
        "{mode: interpose, prefix: 'fd00:1::/64', port: f, fail: open, bridge: b}",
        "{mode: interpose, prefix: 192.0.2.0/24, port: fw0, vlan: 7, bridge: br1}",
        f"{{mode: private, bridge: br2, promiscuous: [gw0], lladdr: '{GW}'}}",
    )
    assert read == (
        Proxy("off", "br1", where="lab.yaml:2"),
        Proxy("host", "br1", None, ip_network("10.0.0.0/24"), where="lab.yaml:3"),
        Proxy(
            *("gateway", "", 5, ip_network("10.0.0.254/32"), GW),
            router=False,
            where="lab.yaml:4",
        ),
        Proxy(
            *("interpose", "b", 0, ip_network("fd00:1::/64"), "", "f"),
            closed=False,
            where="lab.yaml:5",
        ),
        Proxy(
            *("interpose", "br1", 7, ip_network("192.0.2.0/24")),
            port="fw0",
            where="lab.yaml:6",
        ),
        Proxy(
            "private", "br2", None, None, GW, promiscuous=("gw0",), where="lab.yaml:7"
        ),
    )


@pytest.mark.parametrize(
    ("line", "problem", "hint"),
    [
        ("{mode: of}", "'of' is none of host, gateway", "did you mean 'off'?"),
        ("{mode: gateway, ip: 10.0.0.1}", "without 'lladdr'", "add 'lladdr: ...'"),
        (
            f"{{mode: host, lladdr: '{GW}'}}",
            "the mode 'host' has no 'lladdr'",
            "its keys are bridge, vlan, prefix",
        ),
        (
            "{mode: private, prefix: 10.0.0.0/24}",
            "the mode 'private' has no 'prefix'",
            "its keys are bridge, vlan, promiscuous, lladdr, port",
        ),
        ("{mode: interpose, port: fw0}", "without 'prefix'", "add 'prefix: ...'"),
        (
            "{mode: interpose, prefix: 10.0.0.0/24}",
            "nothing says which station is the firewall",
            "add 'lladdr: ...'",
        ),
        (
            f"{{mode: private, port: gw0, lladdr: '{GW}'}}",
            "both 'lladdr' and 'port'",
            "name the router that neighbors talk through by one of them",
        ),
        (
            "{mode: off, prefix: 10.0.0.5/24}",
            "10.0.0.5/24 has bits set behind its length",
            "write 10.0.0.0/24",
        ),
        (
            "{mode: off, prefix: 10.0.0/24}",
            "is no prefix",
            "write it like 192.0.2.0/24",
        ),
        (
            "{mode: off, prefix: 224.0.0.0/4}",
            "no range of hosts",
            "the range that hosts",
        ),
        ("{mode: gateway, ip: 'ff02::1'}", "a multicast group", "that host's own"),
        (
            "{mode: private, promiscuous: gw0}",
            "'gw0' stands where a list",
            "write [...]",
        ),
    ],
)
def test_a_mistake_in_a_rule_says_what_to_write(
    line: str, problem: str, hint: str
) -> None:
    told = mistakes(line)
    assert told.startswith("lab.yaml:2 proxy[0]")
    assert problem in told and hint in told


# --- rules that clash ---------------------------------------------------------------


def test_two_rules_for_one_place_and_prefix_are_refused_with_both_lines() -> None:
    told = mistakes("{mode: off, bridge: br0}", "{mode: private, bridge: br0}")
    assert told == (
        "lab.yaml:3 proxy[1]: a rule for every address at br0 again; line 2 has it"
        " already\n  keep one of lines 2 and 3"
    )


def test_rules_whose_places_cross_are_refused_with_both_lines() -> None:
    told = mistakes("{mode: off, bridge: br0}", "{mode: host, vlan: 5}")
    assert told == (
        "lab.yaml:3 proxy[1]: for every address on VLAN 5, but line 2 is for every"
        " address at br0: on VLAN 5 of br0 neither is nearer\n"
        "  add a rule {bridge: br0, vlan: 5} that decides there, or give one of the two"
        " another prefix"
    )


def test_a_third_rule_decides_where_two_cross() -> None:
    read = rules(
        "{mode: off, bridge: br0}",
        "{mode: host, vlan: 5}",
        "{mode: private, bridge: br0, vlan: 5}",
    )
    assert nearest(read, "br0", 5) == "private"


def test_one_domain_has_one_firewall() -> None:
    told = mistakes(
        f"{{mode: interpose, prefix: 10.0.0.0/25, lladdr: '{FW}'}}",
        f"{{mode: interpose, prefix: 10.0.1.0/24, lladdr: '{GW}', bridge: br0}}",
    )
    assert "lab.yaml:3 proxy[1]: another firewall" in told
    assert "than in line 2" in told and "keep the rules apart" in told
    assert rules(
        f"{{mode: interpose, prefix: 10.0.0.0/25, lladdr: '{FW}', bridge: br1}}",
        f"{{mode: interpose, prefix: 10.0.1.0/24, lladdr: '{GW}', bridge: br0}}",
    )


@pytest.mark.parametrize("mode", ["host", f"interpose, lladdr: '{FW}'"])
def test_neighbors_at_isolated_ports_cannot_be_answered_for_themselves(
    mode: str,
) -> None:
    told = mistakes(
        "{mode: private, bridge: br0}", f"{{mode: {mode}, prefix: 10.0.0.0/24}}"
    )
    assert "lab.yaml:3 proxy[1]" in told and "but line 2 has 'private'" in told
    assert "give it another bridge or VLAN" in told


def test_a_vlan_that_is_not_private_may_have_its_own_ranges() -> None:
    assert rules(
        "{mode: private, bridge: br0}",
        "{mode: host, bridge: br0, vlan: 5}",
        "{mode: off, prefix: 10.0.0.0/24}",
        "{mode: host, bridge: br0, vlan: 5, prefix: 10.0.0.0/25}",
        f"{{mode: gateway, ip: 10.0.0.254, lladdr: '{GW}'}}",
    )


def test_there_may_be_so_many_rules() -> None:
    many = [f"{{mode: off, vlan: {n}}}" for n in range(257)]
    assert "257 rules" in mistakes(*many) and "at most 256" in mistakes(*many)
    ranges = [
        f"{{mode: interpose, prefix: 10.0.{n}.0/24, lladdr: '{FW}'}}" for n in range(25)
    ]
    told = mistakes(*ranges)
    assert "lab.yaml:26 proxy[24]: more than 24 rules in protected ranges" in told


# --- the nearest rule ---------------------------------------------------------------


def nearest(
    read: tuple[Proxy, ...], bridge: str, vlan: int, ip: str = "10.0.0.7"
) -> str:
    return at_bridge(read, bridge).mode(vlan, ip_address(ip))


def test_the_longest_prefix_decides_before_the_place() -> None:
    read = rules(
        "{mode: host, prefix: 10.0.0.0/24}",
        "{mode: off, bridge: br0, vlan: 5}",
        "{mode: off, prefix: 10.0.0.0/28, bridge: br0}",
    )
    assert nearest(read, "br0", 5) == "off"
    assert nearest(read, "br1", 5) == "host"
    assert nearest(read, "br0", 5, "10.0.0.77") == "host"
    assert nearest(read, "br0", 5, "192.0.2.1") == "off"
    assert nearest(read, "br0", 5, "fd00::1") == "off"
    assert nearest(read, "br0", 6, "192.0.2.1") == "host"


RULES = st.lists(
    st.builds(
        Proxy,
        st.sampled_from(["host", "off"]),
        st.sampled_from(["", "br0", "br1"]),
        st.sampled_from([None, 0, 5]),
        st.sampled_from([None, *map(ip_network, ("10.0.0.0/24", "10.0.0.0/30"))]),
        where=st.just("lab.yaml:1"),
    ),
    max_size=6,
    unique_by=lambda rule: (rule.prefix, rule.bridge, rule.vlan),
).map(tuple)


def deciding(
    read: tuple[Proxy, ...], bridge: str, vlan: int, ip: str
) -> Iterator[Proxy]:
    """By definition: of the longest prefix, those in whose place no other's lies."""
    here = [
        rule
        for rule in read
        if rule.bridge in ("", bridge)
        and rule.vlan in (None, vlan)
        and (rule.prefix is None or ip_address(ip) in rule.prefix)
    ]
    longest = max((length(rule) for rule in here), default=0)
    best = [rule for rule in here if length(rule) == longest]
    for one in best:
        if not any(within(other, one) for other in best if other is not one):
            yield one


def length(rule: Proxy) -> int:
    return -1 if rule.prefix is None else rule.prefix.prefixlen


@settings(max_examples=400, deadline=None)
@given(RULES)
def test_a_clash_is_told_exactly_where_two_rules_would_decide(
    read: tuple[Proxy, ...],
) -> None:
    cells = product(
        ("br0", "br1", "br9"), (0, 5, 9), ("10.0.0.1", "10.0.0.9", "192.0.2.1")
    )
    found = {cell: list(deciding(read, *cell)) for cell in cells}
    is_open = any(len(rows) > 1 for rows in found.values())
    assert bool([*clashes(read)]) == is_open
    if not is_open:
        for (bridge, vlan, ip), rows in found.items():
            chosen = at_bridge(read, bridge).nearest(vlan, ip_address(ip))
            assert chosen == (rows[0] if rows else None)
