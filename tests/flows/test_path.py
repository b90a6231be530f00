"""The way between two interfaces."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.network import network
from flows.path import Graph, Path, PathError, find, graph_of, named, step
from flows.tracked import Tracked
from flows.view import (
    LOCAL_PORT,
    OWN_NAMESPACE,
    Address,
    Bridge,
    Interface,
    Link,
    LinkKey,
    Namespace,
    Port,
    Tunnel,
    View,
)
from tests import strategies
from tests.facts import (
    H1,
    H2,
    S1,
    S2,
    S3,
    TAP,
    bridged_tap,
    cable,
    ifindex,
    kernel_host,
    limited,
    overlay,
    patch,
    ports,
    tunnel_port,
    view_of,
)


def lab() -> View:
    """tap - qbr - qvb = qvo - s1 - patch - s2 - veth - h0."""
    return view_of(
        bridged_tap(S1, 1),
        patch((S1, 9), (S2, 9)),
        kernel_host(S2, 1, H1, "10.0.0.1"),
    )


def path(view: View, one: str, other: str) -> Path:
    graph = graph_of(view)
    return find(graph, named(graph, one), named(graph, other))


def names(found: Path) -> list[str]:
    return [hop.stop.ifname for hop in found.hops]


def refusal(view: View, name: str) -> PathError:
    with pytest.raises(PathError) as refused:
        named(graph_of(view), name)
    return refused.value


# --- what it passes -----------------------------------------------------------------


def test_the_way_from_a_tap_to_a_namespace_is_told_hop_by_hop() -> None:
    found = path(lab(), "tap101", "h0:h0-eth0")
    told = [
        (hop.stop.ifname, hop.stop.namespace, hop.stop.what, hop.stop.port, hop.then)
        for hop in found.hops
    ]
    here = "this host"
    assert found.problem == ""
    assert told == [
        ("tap101", here, "tap of qemu[812]", None, "is a port of qbr101"),
        ("qbr101", here, "linux bridge", None, "has the port qvb101"),
        ("qvb101", here, "veth", None, "is one veth with s1-eth1"),
        ("s1-eth1", here, "veth", (S1, 1), "is a port of s1"),
        ("s1", here, "OVS bridge", None, "has the port s1-eth9"),
        ("s1-eth9", here, "patch", (S1, 9), "is patched to s2-eth9"),
        ("s2-eth9", here, "patch", (S2, 9), "is a port of s2"),
        ("s2", here, "OVS bridge", None, "has the port s2-eth1"),
        ("s2-eth1", here, "veth", (S2, 1), "is one veth with h0-eth0"),
        ("h0-eth0", "h0", "veth", None, ""),
    ]


def test_no_switch_needs_to_be_connected() -> None:
    view = lab()
    assert names(path(replace(view, ports=View().ports), "tap101", "h0-eth0")) == names(
        path(view, "tap101", "h0-eth0")
    )


def test_the_bridges_own_interface_is_the_bridge() -> None:
    view = view_of(
        kernel_host(S1, 1, H1),
        Bridge(S1, "s1"),
        Port(S1, LOCAL_PORT, "s1", H2, True),
        Interface(S1, LOCAL_PORT, "s1", 500, "internal"),
        Link(OWN_NAMESPACE, 500, "s1", "tun", H2),
        Link(OWN_NAMESPACE, 501, "mv0", "macvlan", peer=500, peer_nsid=OWN_NAMESPACE),
    )
    assert names(path(view, "mv0", "h0-eth0")) == ["mv0", "s1", "s1-eth1", "h0-eth0"]


def test_an_internal_port_is_no_machine() -> None:
    """In the userspace datapath it is a tap that ovs-vswitchd holds."""
    row = Interface(S1, 5, "in5", 500, "internal")
    tap = Link(OWN_NAMESPACE, 500, "in5", "tun", H2, holder="ovs-vswitchd[9]")
    [hop] = path(view_of(Bridge(S1, "s1"), row, tap), "in5", "in5").hops
    assert (hop.stop.what, hop.stop.port) == ("OVS internal", (S1, 5))


def test_a_switch_of_another_host_has_a_way_through_it_too() -> None:
    view = view_of(ports(7, 1, 2))
    assert names(path(view, "s7-eth1", "s7-eth2")) == ["s7-eth1", "7", "s7-eth2"]


def test_two_vxlans_that_name_each_other_are_one_tunnel() -> None:
    """One end is a port of ours; the other a device in a namespace, told no address."""
    ours = Interface(
        S1, 5, "vx0", 0, "vxlan", tunnel=Tunnel("192.0.2.1", "192.0.2.2", "7", 4789)
    )
    theirs = Link(3, 9, "vxlan7", "vxlan", tunnel=Tunnel("", "192.0.2.1", "7", 4789))
    underlay = Address(3, 8, ip_address("192.0.2.2"), 24)
    view = view_of(Bridge(S1, "s1"), ours, theirs, underlay)
    found = path(view, "vx0", "vxlan7")
    assert [hop.stop.what for hop in found.hops] == ["vxlan tunnel", "vxlan tunnel"]
    assert found.hops[0].then == "is a tunnel, key 7, to vxlan7"

    other_key = replace(theirs, tunnel=Tunnel("", "192.0.2.1", "8", 4789))
    apart = path(view_of(Bridge(S1, "s1"), ours, other_key, underlay), "vx0", "vxlan7")
    assert apart.hops == ()


def test_ends_of_an_overlay_are_joined_each_with_each() -> None:
    ends = [fact for s in (S1, S2, S3) for fact in tunnel_port(s, 9)]
    view = view_of(ends, overlay("blue", 5000, (S1, 9), (S2, 9), (S3, 9)))
    found = path(view, "s1-eth9", "s3-eth9")
    assert names(found) == ["s1-eth9", "s3-eth9"]
    assert found.hops[0].then == ("leads through overlay blue, VNI 5000, to s3-eth9")


def test_vxlans_of_one_group_are_one_tunnel() -> None:
    ends = [
        Link(n, 9, f"vx{n}", "vxlan", tunnel=Tunnel("", "239.1.1.1", "7", 4789))
        for n in (1, 2)
    ]
    assert names(path(view_of(ends), "vx1", "vx2")) == ["vx1", "vx2"]


def test_patch_ports_that_do_not_name_each_other_are_not_connected() -> None:
    view = view_of(
        Interface(S1, 1, "p1", 0, "patch", "p2"),
        Interface(S2, 1, "p2", 0, "patch", "p3"),
    )
    assert path(view, "p1", "p2").hops == ()


def test_a_macvlan_takes_the_way_of_the_device_below() -> None:
    above = Link(5, 9, "mv0", "macvlan", H2, peer=ifindex(S1, 1), peer_nsid=0)
    view = view_of(kernel_host(S1, 1, H1), above)
    assert path(view, "mv0", "s1-eth1").hops[0].then == "is on top of h0-eth0"


# --- where it ends ------------------------------------------------------------------


def with_link(view: View, key: LinkKey, **fields: Any) -> View:
    return replace(view, links=view.links.set(key, replace(view.links[key], **fields)))


def test_a_way_that_is_cut_says_where() -> None:
    tap = LinkKey(OWN_NAMESPACE, ifindex(S1, 1) + TAP)
    dead = with_link(lab(), tap, lower_up=False, holder="")
    found = path(dead, "h0-eth0", "tap101")
    assert found.problem == "the way ends at tap101, nobody holds the tap"
    assert len(found.hops) == 10

    off = with_link(lab(), LinkKey(0, ifindex(S2, 1)), up=False)
    assert (
        path(off, "tap101", "h0-eth0").problem
        == "the way ends at h0:h0-eth0, it is down"
    )


def test_a_way_around_what_is_down_is_taken() -> None:
    view = view_of(
        cable((S1, 1), (S2, 1)), cable((S1, 2), (S3, 2)), cable((S3, 3), (S2, 3))
    )
    cut = with_link(view, LinkKey(OWN_NAMESPACE, ifindex(S1, 1)), lower_up=False)
    assert names(path(view, "s1", "s2")) == ["s1", "s1-eth1", "s2-eth1", "s2"]
    assert "s3" in names(path(cut, "s1", "s2"))
    assert path(cut, "s1", "s2").problem == ""


def test_the_way_is_that_which_frames_take_round_a_slow_cable() -> None:
    """s1 - s2 at 10 Mbit/s; s1 - s3 - s2 at 100, or slower than that."""
    view = view_of(
        *(cable((S1, 1), (S2, 1)), cable((S1, 2), (S3, 2)), cable((S3, 3), (S2, 3))),
        limited((S2, 1), 10_000_000),
    )
    direct = ["s1", "s1-eth1", "s2-eth1", "s2"]
    for rate in (4_000_000, 19_000_000, 21_000_000, 100_000_000, 0):
        rates = [limited((S3, n), rate) for n in (2, 3) if rate]
        shapers = {**view.shapers, **{row.key: row for row in rates}}
        some = replace(view, shapers=Tracked(shapers))
        ways = network(some).ways[S1][S2].ports
        assert (names(path(some, "s1", "s2")) == direct) == (ways == (1,)), rate
        assert (ways == (1,)) == (0 < rate < 20_000_000)


def test_where_nothing_connects_it_is_told_how_far_one_comes() -> None:
    view = view_of(kernel_host(S1, 1, H1), Link(9, 1, "alone"), Namespace(9, "h9"))
    problem = path(view, "h0-eth0", "alone").problem
    assert "from h0:h0-eth0 one comes as far as 1" in problem
    assert "from h9:alone no way leads on" in problem


def test_the_way_to_itself_is_one_hop() -> None:
    assert names(path(lab(), "tap101", "tap101")) == ["tap101"]


# --- names --------------------------------------------------------------------------


def two_hosts() -> View:
    return view_of(
        Link(0, 5, "eth0"), Namespace(0, "h1"), Link(1, 5, "eth0"), Namespace(1, "h2"),
        Link(OWN_NAMESPACE, 5, "eth0"), Link(7, 5, "eth0"),
    )  # fmt: skip


def test_a_name_that_several_have_is_answered_by_what_to_write() -> None:
    error = refusal(two_hosts(), "eth0")
    assert (error.where, error.problem) == (
        "interface 'eth0'",
        "4 interfaces have this name",
    )
    assert error.hint == "write one of: :eth0, h1:eth0, h2:eth0, nsid 7:eth0"


@pytest.mark.parametrize(
    ("name", "nsid"),
    [
        ("h1:eth0", 0),
        (":eth0", -1),
        ("this host:eth0", -1),
        ("nsid 7:eth0", 7),
        ("7:eth0", 7),
    ],
)
def test_a_namespace_before_the_name_decides(name: str, nsid: int) -> None:
    assert named(graph_of(two_hosts()), name).place == nsid


def test_a_bridge_before_the_name_of_its_port_decides() -> None:
    view = view_of(
        Port(S1, LOCAL_PORT, "a", H1, True), Port(S1, 1, "p", H1, True),
        Port(S2, LOCAL_PORT, "b", H1, True), Port(S2, 1, "p", H1, True),
    )  # fmt: skip
    assert named(graph_of(view), "b:p").place == S2
    assert refusal(view, "p").hint == "write one of: a:p, b:p"


def test_an_unknown_name_is_answered_by_those_that_are_near() -> None:
    assert refusal(lab(), "h0:h0-eht0").hint == "did you mean 'h0:h0-eth0'?"
    assert "'h0:h0-eth0'" in refusal(lab(), "h0-eth").hint
    assert refusal(lab(), "zzzz").hint.startswith("there are: :qbr101, :qvb101")
    assert refusal(View(), "eth0").hint == "no interface is known"


def test_two_ports_that_claim_one_interface_are_one_node() -> None:
    """As OVSDB tells it for a moment, when an interface becomes the bridge's own."""
    view = view_of(
        Interface(S1, LOCAL_PORT, "s1", 7, "internal"),
        Interface(S1, 1, "s1-eth1", 7),
        Link(OWN_NAMESPACE, 7, "s1"),
    )
    graph = graph_of(view)
    ends = {node for edges in graph.edges.values() for node in edges}
    assert ends <= set(graph.stops)


# --- whatever the network ------------------------------------------------------------


@st.composite
def ends(draw: st.DrawFn) -> tuple[Graph, Any, Any]:
    graph = graph_of(draw(strategies.views().filter(lambda view: graph_of(view).stops)))
    nodes = st.sampled_from(sorted(graph.stops))
    return graph, draw(nodes), draw(nodes)


def cost(graph: Graph, found: Path) -> tuple[int, int]:
    stops = [hop.stop for hop in found.hops]
    steps = sum(step(graph, one, other) for one, other in pairwise(stops))
    return sum(bool(stop.why_down) for stop in stops), steps


@given(ends())
def test_the_way_back_is_as_good_as_the_way_there(case: tuple[Graph, Any, Any]) -> None:
    graph, one, other = case
    there, back = find(graph, one, other), find(graph, other, one)
    assert cost(graph, there) == cost(graph, back)
    assert (there.problem == "") == (back.problem == "")


@given(ends())
def test_a_way_is_whole_or_says_why_not(case: tuple[Graph, Any, Any]) -> None:
    graph, one, other = case
    found = find(graph, one, other)
    if found.hops:
        assert found.hops[0].stop == graph.stops[one]
        assert found.hops[-1].stop == graph.stops[other]
        assert all(hop.then for hop in found.hops[:-1])
    assert (found.problem == "") == (bool(found.hops) and not cost(graph, found)[0])
