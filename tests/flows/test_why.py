"""Who holds an address and why, and what becomes of a question for it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.view import (
    AddressKey,
    Bridge,
    Claim,
    Fixed,
    Guard,
    Neighbor,
    Station,
    View,
)
from flows.why import WhyError, why
from tests import strategies
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    cable,
    heard_host,
    ifindex,
    kernel_host,
    overlay,
    ports,
    tunnel_port,
    view_of,
)

LAB = view_of(
    Bridge(S1, "s1"),
    cable((S1, 9), (S2, 8)),
    ports(S1, 4),
    ports(S2, 1),
    kernel_host(S1, 1, H1, "10.0.0.1", nsid=0),
    kernel_host(S2, 2, H2, "10.0.0.2", nsid=1),
    heard_host(S1, 3, H3, "10.0.0.3", at=5.0),
    heard_host(S1, 4, "02:00:00:00:00:04", "10.0.0.2", at=6.0),
    Neighbor(0, ifindex(S1, 1), IPv4Address("10.0.0.2"), H3),
)


def test_a_holder_is_told_with_all_the_evidence() -> None:
    [row] = why(LAB, "10.0.0.2", now=16.0)
    first, second = row["candidates"]
    assert (row["lladdr"], row["answered"], row["why_not"]) == (H2, True, "")
    assert first["because"] == (
        f"the kernel: h1-eth0 in h1 is {H2}, and the other end of s2-eth2"
    )
    assert (first["origin"], first["confirmed"]) == ("kernel", None)
    assert (second["origin"], second["port"]) == ("heard", "s1-eth4")
    assert (second["since"], second["confirmed"]) == (10.0, 10.0)
    assert row["hearsay"] == [{"lladdr": H3, "told_by": ["h0 h0-eth0"]}]
    assert [flow["switch"] for flow in row["flows"]] == ["s1", "s2"]
    assert all(flow["name"] == "arp" for flow in row["flows"])


def test_a_holder_that_the_kernel_shows_is_told_with_since_when() -> None:
    listed = {AddressKey(1, ifindex(S2, 2), IPv4Address("10.0.0.2")): 4.0}
    [row] = why(LAB, "10.0.0.2", now=16.0, listed=listed)
    assert row["candidates"][0]["since"] == 12.0
    [row] = why(LAB, "10.0.0.2", now=16.0)
    assert row["candidates"][0]["since"] is None


def test_a_lease_is_told_as_one() -> None:
    claim = Claim(IPv4Address("10.0.0.33"), 5.0, leased_until=90.0)
    view = view_of(ports(S1, 3), Station(S1, 0, H3, 3, 5.0, (claim,)))
    [row] = why(view, "10.0.0.33", now=16.0)
    assert row["candidates"][0]["because"] == f"DHCP has leased it to {H3} at s1-eth3"


@pytest.mark.parametrize("asker", ["h0", "s1-eth1", "s1:1", "10.0.0.1", H1])
def test_a_question_is_answered_where_it_is_asked(asker: str) -> None:
    [row] = why(LAB, "10.0.0.2", asker)
    asked = row["asked"]
    assert (asked["from"], asked["lladdr"], asked["ip"]) == ("s1-eth1", H1, "10.0.0.1")
    assert asked["says"] == f"the switch answers: 10.0.0.2 is at {H2}"
    assert asked["answer"] == H2
    assert [flow["name"] for flow in asked["flows"]][-1] == "arp"


def test_a_question_that_nobody_can_answer_goes_everywhere() -> None:
    [row] = why(LAB, "10.0.0.99", "h0")
    assert not row["candidates"]
    assert row["why_not"] == "nobody is known to hold it"
    assert row["asked"]["ports"] == ["s1-eth3", "s1-eth4", "s2-eth1", "s2-eth2"]
    assert row["asked"]["says"].startswith("it is asked for at s1-eth3, s1-eth4, s2")


def test_an_owner_is_asked_nothing_about_itself_by_the_switch() -> None:
    [row] = why(LAB, "10.0.0.1", "h0")
    assert row["asked"]["answer"] == ""


def test_a_question_that_contradicts_is_dropped_and_it_is_said_whom() -> None:
    view = view_of(
        Bridge(S1, "s1"),
        ports(S1, 3),
        kernel_host(S1, 1, H1, "10.0.0.1"),
        heard_host(S1, 2, H2, "10.0.0.2"),
        Fixed(0, IPv4Address("10.0.0.2"), H3),
        Guard("enforce"),
    )
    [row] = why(view, "10.0.0.1", "s1-eth2")
    assert row["asked"]["says"] == (
        f"the question is dropped and reported: who asks contradicts {H3}"
    )


def test_an_address_of_two_domains_has_two_rows() -> None:
    view = view_of(
        heard_host(S1, 1, H1, "10.0.0.1"), heard_host(S1, 2, H2, "10.0.0.1", vlan=7)
    )
    assert [(row["vlan"], row["lladdr"]) for row in why(view, "10.0.0.1")] == [
        (0, H1),
        (7, H2),
    ]


def test_a_name_that_is_nobodys_is_an_error() -> None:
    with pytest.raises(WhyError, match="no IP address"):
        why(LAB, "h1")
    with pytest.raises(WhyError, match="no such port and no such host"):
        why(LAB, "10.0.0.1", "h7")


@settings(max_examples=100, deadline=None)
@given(strategies.views(), st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]))
def test_every_view_has_an_answer_for_every_port(view: View, ip: str) -> None:
    assert why(view, ip)
    for key in view.ports:
        name = f"{key.datapath_id:x}:{key.port_no}"
        asked = [row["asked"] for row in why(view, ip, name) if row["asked"]]
        assert len(asked) == 1
        assert all(one["says"] for one in asked)


def test_a_question_is_followed_through_an_overlay() -> None:
    ends = [fact for s in (S1, S2, S3) for fact in tunnel_port(s, 9)]
    view = view_of(
        *(ends, overlay("blue", 5000, (S1, 9), (S2, 9), (S3, 9))),
        *(heard_host(S1, 1, H1, "10.0.0.1"), ports(S2, 1), ports(S3, 1)),
    )
    [row] = why(view, "10.0.0.9", asker="10.0.0.1", now=1.0)
    assert sorted(row["asked"]["ports"]) == ["2:s2-eth1", "3:s3-eth1"]
