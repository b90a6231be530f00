"""A controller that can be asked, and `isat` as a function of its words."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from controller.cli import main
from controller.runtime import Runtime
from tests.support.asked import runtime


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        return [line.split() for line in self.out.splitlines()]


Isat = Callable[..., Said]


@pytest.fixture
def isat(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Isat:
    """isat("hosts", "--json"); it asks the controller of the fixture `lab`, if any."""
    monkeypatch.setenv("ISAT_SOCKET", str(tmp_path / "isat.sock"))

    def run(*words: str, stdin: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        try:
            status = main(words)
        except SystemExit as end:  # argparse: --help, or a wrong command line
            status = int(end.code or 0)
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return run


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Runtime]:
    """A running controller of `tests.support.asked.small_lab`."""
    made = runtime(tmp_path / "isat.sock")
    made.server.start()
    yield made
    made.server.stop()
