"""Remember the last result of a pure function of immutable values.

Parts of the view are persistent maps: what did not change is the same object.  So
"same arguments" is a comparison of identities, and a stage of the computation runs
only if one of the facts that it reads has changed.  A stage that comes to the same
conclusion again returns the same object, so that what depends on it does not run.

A stage over all stations or addresses goes further: it takes its last result and does
again what has changed in between.  What it should come to remains its definition.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from operator import is_
from typing import Any, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Step(Generic[R]):
    """A stage that goes on from its last result, at the cost of what has changed.

    definition  the result from the arguments alone
    step        the result from the arguments before, the result before and the
                arguments now; None if it must be computed as it is defined
    """

    def __init__(
        self,
        definition: Callable[..., R],
        step: Callable[[tuple[Any, ...], R, tuple[Any, ...]], R | None],
    ) -> None:
        self.definition = definition
        self._step = step
        self._last: tuple[tuple[Any, ...], R] | None = None
        wraps(definition)(self)

    def __call__(self, *given: object) -> R:
        last = self._last
        if last is not None and same(last[0], given):
            return last[1]
        result = None if last is None else self._step(*last, given)
        if result is None:
            result = self.definition(*given)
            if last is not None and result == last[1]:
                result = last[1]
        self._last = given, result
        return result


def remember_last(function: Callable[P, R]) -> Callable[P, R]:
    """Like functools.lru_cache(1), but by identity, so that arguments need no hash.

    One result is kept.  Two threads may at worst compute it twice.
    """
    last: list[tuple[tuple[object, ...], R]] = []

    @wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        given = (*args, *kwargs.values())
        if last and same(last[0][0], given):
            return last[0][1]
        result = function(*args, **kwargs)
        if last and result == last[0][1]:
            result = last[0][1]
        last[:] = [(given, result)]
        return result

    return remembered


def remember_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """The same objects give the same result; two results are never compared, which
    may cost as much as they are large."""
    last: list[tuple[tuple[object, ...], R]] = []

    @wraps(function)
    def remembered(*args: P.args, **kwargs: P.kwargs) -> R:
        given = (*args, *kwargs.values())
        if not last or not same(last[0][0], given):
            last[:] = [(given, function(*args, **kwargs))]
        return last[0][1]

    return remembered


def same(ones: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(ones) == len(others) and all(map(is_, ones, others))
