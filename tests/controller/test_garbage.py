"""What has survived one collection is set aside, and not for ever."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from controller.garbage import Collector

FEW = 1_000


class Thing:
    """What may refer to itself."""

    def __init__(self) -> None:
        self.other: object = None


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector(few=FEW)
    gc.collect()
    gc.callbacks.append(one)
    yield one
    gc.callbacks.remove(one)
    gc.unfreeze()


def survived() -> Thing:
    one = Thing()
    one.other = one
    gc.collect()
    return one


def test_what_has_survived_is_not_looked_at_again(collector: Collector) -> None:
    one = survived()

    assert all(other is not one for other in gc.get_objects())
    assert collector.aside > 0


def test_a_value_that_was_set_aside_is_freed_when_nobody_needs_it(
    collector: Collector,
) -> None:
    one = Thing()
    gc.collect()
    is_there = weakref.ref(one)

    del one

    assert is_there() is None


def test_garbage_that_comes_after_is_found_at_once(collector: Collector) -> None:
    survived()
    one = Thing()
    one.other = one
    is_there = weakref.ref(one)

    del one
    gc.collect()

    assert is_there() is None


def test_what_was_set_aside_and_has_gone_is_no_reason_to_look_at_all(
    collector: Collector,
) -> None:
    gc.collect()
    collector.aside, collector.left = 0, gc.get_freeze_count()
    before = collector.left
    many = [[n] for n in range(before + FEW)]
    gc.collect()
    assert collector.aside > before
    del many
    gc.collect()
    assert collector.left == before, "nothing else was looked at"
    assert collector.aside < FEW


def test_garbage_of_what_was_set_aside_is_found_when_as_much_has_come_again(
    collector: Collector,
) -> None:
    gc.collect()
    collector.aside = 0
    collector.left = 2 * FEW
    one = survived()
    is_there = weakref.ref(one)
    del one
    kept = [Thing() for _ in range(FEW)]
    gc.collect()
    assert is_there() is not None, "it was set aside"

    kept += [Thing() for _ in range(2 * FEW)]
    gc.collect()  # sets them aside
    gc.collect()

    assert is_there() is None
    assert collector.aside == 0
    assert collector.left > len(kept)


def test_what_comes_of_a_long_list_is_set_aside_without_a_look(
    collector: Collector,
) -> None:
    gc.collect()
    before = collector.aside
    looks = gc.get_stats()

    with collector.aside_at_once():
        kept = [Thing() for _ in range(20 * FEW)]

    assert gc.get_stats() == looks
    assert gc.isenabled()
    assert all(one is not kept[0] for one in gc.get_objects())
    assert collector.left >= len(kept)
    assert collector.aside > before, "lists are counted, too"
