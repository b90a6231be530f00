"""Ports that lead back to us are closed: enough of them, and no more."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from flows.chains import chains
from flows.fabric import fabric_of
from flows.loops import doors, every_door, every_outward, loops, outward
from flows.network import network, role
from flows.parties import Role
from flows.switch import Switch
from flows.view import OWN_NAMESPACE, Echo, Link, PortKey, View
from tests.facts import (
    bridged_tap,
    cable,
    ifindex,
    interface,
    kernel_host,
    patch,
    port,
    view_of,
)

Pair = tuple[tuple[int, int], tuple[int, int]]

TWO_BRIDGES = st.lists(
    st.tuples(
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
        st.tuples(st.integers(1, 4), st.integers(1, 4)),
    ),
    max_size=12,
)


def heard(*pairs: Pair) -> list[Echo]:
    return [Echo(*at, *sender, 0.0) for sender, at in pairs]


def plant(*pairs: Pair, cables: Iterable[Pair] = ()) -> View:
    """Four switches with ports 1 to 4 that may lead anywhere."""
    everywhere = [port(n, at) for n in range(1, 5) for at in range(1, 5)]
    return view_of(everywhere, heard(*pairs), *(cable(*ends) for ends in cables))


def closed(view: View) -> dict[PortKey, PortKey]:
    return dict(network(view).loops)


def test_two_ports_of_a_switch_in_one_segment_are_one_too_many() -> None:
    assert closed(plant(((1, 2), (1, 3)))) == {PortKey(1, 3): PortKey(1, 2)}


def test_it_does_not_matter_which_of_them_was_heard() -> None:
    assert closed(plant(((1, 3), (1, 2)))) == closed(plant(((1, 2), (1, 3))))


def test_a_segment_that_is_the_only_way_between_two_switches_is_no_loop() -> None:
    assert not closed(plant(((1, 2), (2, 3))))


def test_the_second_way_between_two_switches_is_a_loop() -> None:
    view = plant(((1, 2), (2, 3)), ((1, 4), (2, 4)))
    assert closed(view) == {PortKey(2, 4): PortKey(1, 4)}


def test_a_segment_beside_a_cable_is_a_loop() -> None:
    view = plant(((1, 2), (2, 3)), cables=[((1, 7), (2, 7))])
    assert closed(view) == {PortKey(2, 3): PortKey(1, 2)}


def test_a_port_that_hears_itself_is_closed() -> None:
    assert closed(plant(((1, 2), (1, 2)))) == {PortKey(1, 2): PortKey(1, 2)}


def test_nothing_is_sent_into_a_segment_that_sends_it_back() -> None:
    view = plant(((1, 2), (1, 2)), ((1, 2), (1, 3)), ((1, 3), (2, 1)))
    assert closed(view).keys() == {PortKey(1, 2), PortKey(1, 3), PortKey(2, 1)}


def test_a_port_that_is_down_closes_none() -> None:
    view = view_of(port(1, 2), port(1, 3, up=False), heard(((1, 2), (1, 3))))
    assert not closed(view)


def test_a_closed_port_is_neither_admitted_nor_flooded_to() -> None:
    view = plant(((1, 2), (1, 3)))
    switch = Switch(1, view, network(view))
    assert switch.admitted == (1, 2, 4) and switch.loops == (3,)
    assert role(view, PortKey(1, 3)) is Role.LOOP


# --- what the kernel shows ------------------------------------------------------------


def linux_bridge(*ends: tuple[int, int]) -> list[object]:
    """A Linux bridge of this host that ports of ours are connected to by veths."""
    bridge = Link(OWN_NAMESPACE, 9_000, "hub", "bridge")
    facts: list[object] = [bridge]
    for end in ends:
        near, far = ifindex(*end), ifindex(*end) + 5_000
        veth = Link(OWN_NAMESPACE, near, f"p{near}", "veth", peer=far, peer_nsid=-1)
        other = Link(
            OWN_NAMESPACE, far, f"q{far}", "veth", peer=near, peer_nsid=-1, master=9_000
        )
        facts += [port(*end), interface(*end), veth, other]
    return facts


def test_ports_of_one_linux_bridge_are_a_loop_before_a_frame_was_sent() -> None:
    view = view_of(*linux_bridge((1, 2), (1, 3), (1, 4)))  # type: ignore[arg-type]
    assert closed(view) == {
        PortKey(1, 3): PortKey(1, 2),
        PortKey(1, 4): PortKey(1, 2),
    }


def test_two_switches_in_one_linux_bridge_are_no_loop() -> None:
    assert not closed(view_of(*linux_bridge((1, 2), (2, 2))))  # type: ignore[arg-type]


# --- what has to be tried -------------------------------------------------------------


def test_where_the_kernel_shows_a_host_nothing_is_tried() -> None:
    view = view_of(
        kernel_host(1, 1, "02:00:00:00:00:01", "10.0.0.1"),
        cable((1, 2), (2, 2)),
        patch((1, 3), (2, 3)),
        bridged_tap(1, 4, "52:54:00:00:00:01"),
        port(1, 5),
        interface(1, 5),
        port(1, 6, up=False),
    )
    assert network(view).outward == {PortKey(1, 4), PortKey(1, 5)}


# --- whatever is connected to what ----------------------------------------------------


@given(TWO_BRIDGES)
def test_what_is_open_has_no_loop_and_reaches_as_far_as_before(
    pairs: list[Pair],
) -> None:
    view = plant(*pairs)
    shut = closed(view)
    back = {a for a, b in pairs if a == b}
    edges = {end for pair in pairs for end in pair}
    segment = joined(edges, pairs)
    everywhere = joined(
        [*edges, 1, 2, 3, 4], [*pairs, *((end[0], end) for end in edges)]
    )

    ends = [end for end in sorted(edges) if PortKey(*end) not in shut]
    parts = joined(
        [1, 2, 3, 4, *segment.values()], [(end[0], segment[end]) for end in ends]
    )
    count = len({*parts.values()})
    assert len(ends) == len(parts) - count, "a forest: no loop"
    assert all(PortKey(*end) in shut for end in back)
    if not back:
        for one in (1, 2, 3, 4):
            for other in (1, 2, 3, 4):
                reaches = everywhere[one] == everywhere[other]
                assert (parts[one] == parts[other]) == reaches


@given(TWO_BRIDGES, TWO_BRIDGES)
def test_a_further_connection_opens_no_port(
    pairs: list[Pair], more: list[Pair]
) -> None:
    """Unless it is within a segment, which is left out then."""
    few = [(one, other) for one, other in pairs if one != other]
    many = [*few, *((one, other) for one, other in more if one != other)]
    assert closed(plant(*few)).keys() <= closed(plant(*many)).keys()


def joined(
    nodes: Iterable[object], edges: Iterable[tuple[object, object]]
) -> dict[object, object]:
    """Each node with one of those that it reaches, the same for all of them."""
    over: dict[object, object] = {node: node for node in nodes}
    for one, other in edges:
        old, new = over[one], over[other]
        over = {node: new if top == old else top for node, top in over.items()}
    return over


def test_the_steps_come_to_what_is_defined() -> None:
    before = view_of(*linux_bridge((1, 2), (1, 3)))  # type: ignore[arg-type]
    host = kernel_host(1, 7, "02:00:00:00:00:07", "10.0.0.7")
    for facts in (linux_bridge((1, 2)), linux_bridge((1, 2), (1, 3), (2, 9)), host):
        view = view_of(*linux_bridge((1, 2), (1, 3)), *facts)  # type: ignore[arg-type]
        for one in (before, view, before):
            behind = chains(one.interfaces, one.links)
            shape = fabric_of(one)
            assert doors(behind, one.interfaces) == every_door(behind, one.interfaces)
            given_ = one.ports, one.interfaces, behind, shape
            assert outward(*given_) == every_outward(*given_)
            assert loops(shape, one.ports, doors(behind, one.interfaces), one.echoes)
