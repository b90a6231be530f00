"""A hundred thousand entries, hosts and bindings: what that costs, part by part."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import bulk
from tests.bench.figures import Figure, Run


def measure(run: Run) -> Iterator[Figure]:
    yield from bulk.measure(run)
