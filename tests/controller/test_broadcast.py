"""No loop is open at any moment, whichever switch is the slower one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.broadcast import TRANSIT, Floods
from controller.events import PortChanged
from flows.openflow import Flow, Output
from flows.view import PortKey
from tests.facts import H1, kernel_host
from tests.support.plant import FAR, FLOOD, NEAR, Plant

SIZE = 5
numbers = st.integers(1, SIZE)
shapes = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=9).map(
    lambda some: [(a, b) for a, b in some if a != b]
)
overlays = st.lists(st.sets(numbers, min_size=1), max_size=2)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("cut"), st.integers(0, 16)),
        st.tuples(st.just("cut"), st.integers(0, 16)),
        st.tuples(st.just("obey"), numbers),
        st.tuples(st.just("obey"), numbers),
        st.tuples(st.just("refuse"), numbers),
        st.tuples(st.just("connect"), numbers),
        st.tuples(st.just("lose"), numbers),
        st.tuples(st.just("restart"), numbers),
    ),
    max_size=40,
)


# Both ends refused, did it all the same, and had nothing to change when asked.
BOTH_REFUSED = [("cut", 0), ("refuse", 1), ("refuse", 4)]

# A port is there again before its switch knows that it was gone.
GONE_AND_BACK = [("cut", 3), ("cut", 3)]


@given(shapes, steps, overlays)
@example([(1, 4), (1, 4)], BOTH_REFUSED, [])
@example([(1, 2), (1, 2)], [("refuse", 1), *[("cut", 0)] * 5, ("refuse", 1)], [])
@example([(1, 2), (1, 2), (1, 3), (1, 3)], GONE_AND_BACK, [])
@settings(max_examples=120)
def test_no_order_of_changes_closes_a_loop(
    shape: list[tuple[int, int]],
    some: list[tuple[str, int]],
    shared: list[set[int]],
) -> None:
    plant = Plant(SIZE, shape, overlays=shared)
    ways = [*plant.ends, *plant.into]
    for what, n in some:
        if what == "cut" and ways:
            plant.cut_or_mend(ways[n % len(ways)])
        elif what == "obey":
            plant.obey(n)
        elif what == "refuse":
            plant.refuse(n)
        elif what == "connect":
            plant.connect(n)
        elif what == "lose":
            plant.lose(n)
        elif what == "restart":
            plant.restart()
        plant.check()
    plant.settle()
    plant.check()
    assert plant.tree() == plant.meant()


RING = [(1, 2), (2, 3), (3, 4), (4, 1)]


def test_what_is_on_its_way_by_the_old_tree_arrives_before_the_new_one_is_open() -> (
    None
):
    """It may wait in a queue when all have confirmed that they are closed."""
    plant = Plant(4, RING)
    plant.settle()
    before = plant.tree()
    used = next(e for e in plant.ends if PortKey(*e[0]) in before)
    plant.cut_or_mend(used)
    plant.settle()
    plant.cut_or_mend(used)  # it is mended, and better than what stood in for it
    began = plant.now
    while any(switch.told for switch in plant.switches.values()):
        for n in plant.switches:
            plant.now = began  # in no time at all
            plant.obey(n)
    assert len(plant.tree()) == 4  # neither is open

    until = plant.core.deadline()
    assert until is not None
    assert until == pytest.approx(began + TRANSIT, abs=0.02)
    plant.now = until
    plant.tell()
    for n in plant.switches:
        plant.obey(n)
    assert plant.tree() == before


def test_a_host_that_goes_makes_nobody_wait() -> None:
    """Only what is sent to another switch may come round by another way."""
    plant = Plant(2, [(1, 2)], hosts=kernel_host(1, 1, H1, "10.0.0.1"))
    plant.settle()
    plant.tell(PortChanged(replace(plant.ports[PortKey(1, 1)], up=False)))
    for n in plant.switches:
        plant.obey(n)
    assert not any(row.left for row in plant.core.view.floods.values())


def test_a_ring_that_is_cut_is_closed_where_it_was_open_only_then() -> None:
    plant = Plant(4, RING)
    plant.settle()
    before = plant.tree()
    assert len(before) == 6
    [unused] = [ends for ends in plant.ends if PortKey(*ends[0]) not in before]
    used = next(ends for ends in plant.ends if ends != unused)

    plant.cut_or_mend(used)
    waiting = {n for n, switch in plant.switches.items() if switch.is_told_flows()}
    assert waiting == {n for n, _ in used}  # first they close what is cut
    plant.settle()

    assert plant.tree() == before - {PortKey(*e) for e in used} | {
        PortKey(*e) for e in unused
    }


def test_what_a_switch_refused_may_have_been_done_all_the_same() -> None:
    plant = Plant(4, RING)
    plant.settle()
    tree = plant.tree()
    [unused] = [ends for ends in plant.ends if PortKey(*ends[0]) not in tree]
    (one, _), (other, _) = unused
    far = next(e for e in plant.ends if not {n for n, _ in e} & {one, other})
    plant.cut_or_mend(far)
    for n, _ in far:
        plant.obey(n)
    plant.obey(one)
    plant.refuse(other)

    plant.cut_or_mend(far)
    for n, _ in far:
        plant.obey(n)  # and no loop is found

    plant.settle()
    assert plant.tree() == tree


def test_changes_that_are_not_confirmed_do_not_pile_up_where_the_tree_stays() -> None:
    floods = Floods(frozenset({1}))
    for _ in range(100):
        floods.change(frozenset({1, 2}))
    floods.change(frozenset({2}))
    assert len(floods.told) == 2
    done = []
    for _ in range(101):
        floods.confirmed()
        done.append(floods.does)
    assert done == [frozenset({1, 2})] * 100 + [frozenset({2})]
    assert not floods.told


def test_a_controller_that_comes_back_finds_the_tree_open_and_leaves_it() -> None:
    plant = Plant(4, RING)
    plant.settle()
    before = plant.tree()

    plant.restart()

    assert plant.tree() == before
    assert not any(switch.told for switch in plant.switches.values())


def test_a_switch_with_unknown_flows_keeps_others_from_opening_a_loop() -> None:
    plant = Plant(4, RING)
    plant.settle()
    [row] = [f for f in plant.switches[3].flows.values() if f.key[:2] == (FLOOD, 0)]
    everywhere = (Output(NEAR + 2), Output(FAR + 1))
    stray = Flow(FLOOD, 0, (), everywhere, "as it was once")
    plant.switches[3].flows[row.key] = stray
    plant.cut_or_mend(plant.ends[0])
    plant.settle()
    assert plant.tree() == set(plant.core.network.fabric.tree)
