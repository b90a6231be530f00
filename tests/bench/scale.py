"""A hundred thousand entries, hosts and bindings: what that costs, part by part."""

from __future__ import annotations

from collections.abc import Iterator

from tests.bench import beside, bulk, churn, growth, restart, setups
from tests.bench.figures import Figure, Run


def measure(run: Run) -> Iterator[Figure]:
    for part in (bulk, restart, growth, churn, beside, setups):
        yield from part.measure(run)
