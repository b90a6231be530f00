"""A signal ends the controller wherever it arrives, and it cleans up."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.ryu_manager import END_LIMIT, ryu_manager

RYU_MANAGER = Path(sys.executable).parent / "ryu-manager"

NEIGHBOR = """
import signal
from ryu.base.app_manager import RyuApp
from ryu.lib import hub


class Neighbor(RyuApp):
    def start(self):
        super().start()
        hub.spawn(signal.raise_signal, signal.{name})
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_that_finds_another_greenlet_at_work(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "neighbor.py").write_text(NEIGHBOR.format(name=name))
    policy = tmp_path / "lab.yaml"
    policy.write_text("sources: {netlink: false, ovsdb: false}\n")
    words = ("--isat-config", str(policy), "controller.app", "neighbor.py")

    with ryu_manager(RYU_MANAGER, tmp_path, *words) as ryu:
        status = ryu.process.wait(END_LIMIT)

    assert status == 0
    assert "Traceback" not in ryu.log.read_text()
    assert not os.path.lexists(tmp_path / "isat.sock")
