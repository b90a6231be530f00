"""Which ports lead to other switches, and the way between any two switches."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flows.fabric import Fabric, fabric_of, nearest_first
from flows.network import network
from flows.view import OWN_NAMESPACE, Link, LinkKey, Port, PortKey, Shaper, View
from flows.ways import Way
from tests.facts import (
    S1,
    S2,
    S3,
    Fact,
    cable,
    ifindex,
    interface,
    port,
    ports,
    view_of,
)
from tests.support.wild import components


def shape(view: View) -> Fabric:
    return fabric_of(view)


def patch(one: tuple[int, int], other: tuple[int, int]) -> list[Fact]:
    def name(end: tuple[int, int]) -> str:
        return f"s{end[0]}-eth{end[1]}"

    return [
        port(*one),
        port(*other),
        interface(*one, ifindex=0, type="patch", peer=name(other)),
        interface(*other, ifindex=0, type="patch", peer=name(one)),
    ]


def test_a_veth_pair_between_two_of_our_bridges_is_a_cable() -> None:
    found = shape(view_of(cable((S1, 9), (S2, 8))))
    assert found.uplinks == {
        PortKey(S1, 9): PortKey(S2, 8),
        PortKey(S2, 8): PortKey(S1, 9),
    }
    assert found.islands == {S1: S1, S2: S1}


def test_two_patch_ports_are_a_cable() -> None:
    found = shape(view_of(patch((S1, 9), (S2, 8))))
    assert found.uplinks[PortKey(S1, 9)] == PortKey(S2, 8)


def test_switches_without_a_cable_are_islands_of_their_own() -> None:
    found = shape(view_of(ports(S1, 1), ports(S2, 1)))
    assert found.islands == {S1: S1, S2: S2}
    assert not found.uplinks


def test_a_port_towards_a_bridge_that_is_not_ours_is_no_uplink() -> None:
    facts = [f for f in cable((S1, 9), (S2, 8)) if f != port(S2, 8)]
    assert not shape(view_of(facts)).uplinks


def test_a_way_leaves_by_the_port_of_the_shortest_path() -> None:
    line = view_of(cable((S1, 9), (S2, 8)), cable((S2, 9), (S3, 8)))
    found = network(line).ways
    assert found[S1] == {S2: Way((9,)), S3: Way((9,))}
    assert found[S2] == {S1: Way((8,)), S3: Way((9,))}


def test_a_cable_fails_by_the_word_of_the_switch_or_of_the_kernel() -> None:
    line = view_of(cable((S1, 9), (S2, 8)))
    key = LinkKey(OWN_NAMESPACE, ifindex(S2, 8))
    link = line.links[key]
    for failed in (
        replace(line, ports=line.ports.set(PortKey(S2, 8), port(S2, 8, up=False))),
        replace(line, links=line.links.set(key, replace(link, lower_up=False))),
        replace(line, links=line.links.set(key, replace(link, up=False))),
    ):
        assert shape(line).islands == {S1: S1, S2: S1}
        assert shape(failed).islands == {S1: S1, S2: S2}
        assert shape(failed).uplinks == shape(line).uplinks


def test_a_ring_is_broken_into_a_tree_and_paths_stay_short() -> None:
    ring = view_of(
        cable((S1, 9), (S2, 8)), cable((S2, 9), (S3, 8)), cable((S3, 9), (S1, 8))
    )
    found = shape(ring)
    assert len(found.uplinks) == 6
    assert len(found.tree) == 4  # both ends of two cables
    assert network(ring).ways[S2] == {S1: Way((8,), detour=9), S3: Way((9,), detour=8)}


def test_two_cables_between_two_switches_carry_one_copy_of_a_broadcast() -> None:
    found = shape(view_of(cable((S1, 8), (S2, 8)), cable((S1, 9), (S2, 9))))
    assert found.tree == {PortKey(S1, 8), PortKey(S2, 8)}


def test_a_cable_that_is_down_connects_nobody_and_is_still_a_cable() -> None:
    found = shape(view_of(cable((S1, 9), (S2, 8)), port(S2, 8, up=False)))
    assert found.islands == {S1: S1, S2: S2}
    assert PortKey(S1, 9) in found.uplinks


def test_a_cable_from_a_switch_to_itself_is_never_on_the_tree() -> None:
    found = shape(view_of(cable((S1, 8), (S1, 9))))
    assert set(found.uplinks) == {PortKey(S1, 8), PortKey(S1, 9)}
    assert not found.tree


def test_a_cable_that_only_one_end_is_known_of_leads_nowhere_yet() -> None:
    facts = cable((S1, 9), (S2, 8))
    view = view_of([f for f in facts if not (isinstance(f, Link) and f.peer == 109)])
    assert shape(view).uplinks == {PortKey(S1, 9): PortKey(S2, 8)}
    assert network(view).ways == {S1: {}, S2: {}}


def test_switches_around_a_cable_that_has_failed_come_first() -> None:
    """What comes to it goes round it when these know, whatever others do."""
    row = [(n, n + 1) for n in range(1, 6)]
    whole, cut = (shape(joined_by(row, some)) for some in (frozenset(), frozenset({2})))
    assert nearest_first(whole, cut) == [3, 4, 2, 5, 1, 6]
    assert nearest_first(cut, whole) == [3, 4, 2, 5, 1, 6]
    assert nearest_first(whole, whole) == [1, 2, 3, 4, 5, 6]


def test_who_is_beyond_it_comes_last() -> None:
    apart = [(1, 2), (3, 4)]
    downs = frozenset[int](), frozenset({1})
    whole, cut = (shape(joined_by(apart, down)) for down in downs)
    assert nearest_first(whole, cut) == [3, 4, 1, 2]


# --- the broadcast tree ---------------------------------------------------------------

numbers = st.integers(1, 7)
shapes = st.lists(
    st.tuples(numbers, numbers).filter(lambda ends: ends[0] != ends[1]),
    min_size=1,
    max_size=12,
)


def joined_by(some: list[tuple[int, int]], down: frozenset[int]) -> View:
    """Cables, some of which are down."""
    facts: list[Fact] = []
    for n, (one, other) in enumerate(some):
        ends = (one, 10 + n), (other, 40 + n)
        made = cable(*ends)
        facts += (
            replace(fact, up=n not in down) if isinstance(fact, Port) else fact
            for fact in made
        )
    return view_of(facts)


def trees(view: View) -> set[frozenset[PortKey]]:
    known = shape(view)
    return {frozenset((p, known.uplinks[p])) for p in known.tree}


@given(shapes, st.frozensets(st.integers(0, 11)), st.integers(0, 11))
def test_a_cable_that_fails_or_comes_changes_the_tree_by_one_other_at_most(
    some: list[tuple[int, int]], down: frozenset[int], number: int
) -> None:
    """Each one that comes or goes is a moment without broadcasts somewhere."""
    here = frozenset((PortKey(0, 0),))
    if number < len(some):
        one, other = some[number]
        here = frozenset((PortKey(one, 10 + number), PortKey(other, 40 + number)))
    with_it = trees(joined_by(some, down - {number}))
    without = trees(joined_by(some, down | {number}))
    assert with_it - without <= {here}
    assert len(without - with_it) <= 1


def test_a_slow_cable_is_on_the_tree_where_there_is_no_other_one() -> None:
    ring = [(1, 2), (2, 3), (1, 3)]
    slow = (1, 10), (2, 40)
    fast = joined_by(ring, frozenset())
    assert frozenset(PortKey(*end) for end in slow) in trees(fast)
    row = fast.interfaces[PortKey(*slow[1])]
    shaper = Shaper(OWN_NAMESPACE, row.ifindex, 10_000_000)
    limited = replace(fast, shapers=fast.shapers.set(shaper.key, shaper))
    assert frozenset(PortKey(*end) for end in slow) not in trees(limited)
    others = frozenset({1}), frozenset({2})
    for down in others:
        view = replace(joined_by(ring, down), shapers=limited.shapers)
        assert frozenset(PortKey(*end) for end in slow) in trees(view)


@given(shapes, st.frozensets(st.integers(0, 11)))
def test_the_tree_reaches_all_of_an_island_and_has_no_ring(
    some: list[tuple[int, int]], down: frozenset[int]
) -> None:
    known = shape(joined_by(some, down))
    works = [ends for n, ends in enumerate(some) if n not in down]
    assert known.islands == components(known.islands, works)
    sides = len(known.islands) - len({*known.islands.values()})
    assert len(known.tree) == 2 * sides
