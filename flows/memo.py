"""Remember the last result of a pure function of immutable values.

Parts of the view are persistent maps: what did not change is the same object.  So
"same arguments" is a comparison of identities, and a stage of the computation runs
only if one of the facts that it reads has changed.  A stage that comes to the same
conclusion again returns the same object, so that what depends on it does not run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


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


def same(ones: tuple[object, ...], others: tuple[object, ...]) -> bool:
    return len(ones) == len(others) and all(
        one is other for one, other in zip(ones, others, strict=True)
    )
