"""A real switch that reconnects over TLS, beside garbage and stalled handshakes.

Each time it must be served, while another switch waits for the answer to an echo
request as long as before.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.figures import Figure, Run, spread
from tests.contracts.test_tls import STALLED, guarded, reconnects
from tests.support.keys import new_keys

RECONNECTS = 100
HANG = 100.0  # milliseconds


def measure(run: Run) -> Iterator[Figure]:
    number = run.of(RECONNECTS)
    with tempfile.TemporaryDirectory() as place:
        keys = new_keys(Path(place))
        run.tell(f"{number} reconnects beside {STALLED} stalled handshakes")
        with guarded(keys) as ovs:
            waits = [wait * 1e3 for wait in reconnects(ovs, keys, number)]
    yield Figure("reconnects that were served", len(waits), "", at_least=number)
    yield from spread("the longest that another switch waited in each", waits, "ms")
    yield Figure(
        "the longest that another switch waited in all", max(waits), "ms", HANG
    )
