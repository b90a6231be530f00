"""What benches of the whole controller share: it runs, and says when it knew what."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.support.wait import wait_for_start, wait_until

ROOT = Path(__file__).resolve().parents[2]
PORT = 6653
STARTED = 30.0  # seconds
PATIENCE = 10.0  # seconds: beyond, something is broken, not slow
END_LIMIT = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Told:
    """One line of tests/bench/observed.py.

    at       seconds on CLOCK_MONOTONIC
    packets  packet-ins that the core had taken in by then
    """

    at: float
    stage: str
    kind: str
    words: str
    packets: int


class Record:
    """The lines that the controller has written down so far."""

    def __init__(self, file: Path) -> None:
        file.touch()
        self._file: IO[bytes] = file.open("rb")
        self._rest = b""
        self.lines: list[Told] = []

    def read(self) -> list[Told]:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        self.lines += [told(json.loads(line)) for line in lines]
        return self.lines

    def find(self, stage: str, kind: str, pattern: str, since: float) -> Told | None:
        """The first line after a moment whose words match a regular expression."""
        lines = self.read()
        start = bisect_left(lines, since, key=lambda line: line.at)
        for line in lines[start:]:
            if (line.stage, line.kind) == (stage, kind) and re.search(
                pattern, line.words
            ):
                return line
        return None

    def wait(self, stage: str, kind: str, pattern: str, since: float) -> Told:
        found = wait_until(
            lambda: self.find(stage, kind, pattern, since),
            within=PATIENCE,
            why=f"{kind} with {pattern} to be {stage}",
        )
        assert found is not None
        return found

    def close(self) -> None:
        self._file.close()


def told(fields: list[Any]) -> Told:
    at, stage, kind, words, packets = fields
    return Told(at, stage, kind, " ".join(words), packets)


@contextmanager
def controller(
    directory: Path,
    config: str,
    inside: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Record]:
    """`ryu-manager tests/bench/observed.py`, until the end of the `with` statement.

    inside       command before the command, as ("ip", "netns", "exec", "X")
    environment  variables besides those of this process
    """
    (directory / "isat.yaml").write_text(config)
    record = Record(directory / "record")
    process = ryu_manager(directory, inside, environment or {})
    try:
        wait_for_start(process, (directory / "isat.sock").exists, why="isat")
        yield record
    finally:
        end(process)
        record.close()


def ryu_manager(
    directory: Path, inside: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).parent / "ryu-manager")
    with (directory / "isat.log").open("ab") as log:
        return subprocess.Popen(
            (*inside, "setpriv", "--pdeathsig", "KILL", program,
             "--isat-config", str(directory / "isat.yaml"),
             "--isat-socket", str(directory / "isat.sock"),
             str(ROOT / "tests/bench/observed.py")),
            env={**os.environ, **environment, "ISAT_BENCH": str(directory / "record")},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=ROOT,
        )  # fmt: skip


def end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
