"""A set of cookies is a set."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from flows.cookies import Cookies

NUMBERS = st.integers(0, (1 << 64) - 1) | st.integers(0, 9).map(lambda n: n << 37)
CHANGES = st.tuples(st.sampled_from(["add", "discard"]), NUMBERS)


@given(st.sets(NUMBERS), st.lists(CHANGES))
def test_it_holds_what_a_set_of_python_holds(
    first: set[int], steps: list[tuple[str, int]]
) -> None:
    ours, theirs = Cookies(first), set(first)
    for name, number in steps:
        for one in (ours, theirs):
            change: Callable[[int], None] = getattr(one, name)
            change(number)
        assert (number in ours) == (number in theirs)
    assert len(ours) == len(theirs)
    assert [*ours] == sorted(theirs) or {*ours} == theirs
    assert {*ours} == theirs
    assert all(number in ours for number in theirs)
