"""The log: one line per decision."""

from __future__ import annotations

from controller.eventlog import line
from controller.events import KernelLost


def test_no_odd_octet_reaches_the_log() -> None:
    """Why a helper ended is what some program said last."""
    assert line([KernelLost("no \x1b[31m\udcff")], ()) == (
        r"KernelLost(no \x1b[31m\udcff) -> nothing"
    )
