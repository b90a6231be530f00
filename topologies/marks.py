"""Whatever the demo makes bears its mark, so that no more than that is ever removed.

    processes   ISAT_DEMO=<run> in the environment they were started with
    bridges     external_ids:isat-demo=<run>
    cables      the switches' ends have the hardware address 06:<run>:<number>
    files       /run/isat-demo/<run>/

A run is eight hexadecimal digits.  Only one demo may use an Open vSwitch at a time: it
holds a lock, and whoever holds the lock knows that all other runs are dead.  Names do
not count: a bridge s1 without a mark, or with somebody else's, is not ours.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

VARIABLE = "ISAT_DEMO"
EXTERNAL_ID = "isat-demo"
END_LIMIT = 10.0  # seconds that a killed process may take to be gone
COMMAND_LIMIT = 30.0  # seconds that one command may take


class Taken(Exception):
    """Another demo holds the lock; says which process."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the demo.

    name       eight hexadecimal digits, the mark
    directory  its files; goes with it
    """

    name: str
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        return {VARIABLE: self.name}

    @property
    def external_ids(self) -> dict[str, str]:
        return {EXTERNAL_ID: self.name}

    @property
    def port_mark(self) -> str:
        return port_mark(self.name)


def port_mark(run: str) -> str:
    """The first five octets of an address that no vendor gave out (IEEE 802)."""
    return ":".join(("06", *re.findall("..", run)))


def base() -> Path:
    """One place, so one lock, for each Open vSwitch."""
    return Path(os.environ.get("OVS_RUNDIR", "/run")) / "isat-demo"


@contextmanager
def new_run(removed: Counter[str]) -> Iterator[Run]:
    """A new run; what dead ones left is counted in `removed` and gone."""
    with _locked(base() / "lock"):
        removed.update(remove(dead_runs()))
        name = secrets.token_hex(4)
        run = Run(name, base() / name)
        run.directory.mkdir(mode=0o700)
        try:
            yield run
        finally:
            remove({run.name})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock; its file and directory exist only as long."""
    with _lock(path) as lock:
        lock.truncate(0)
        print(os.getpid(), file=lock, flush=True)
        try:
            yield
        finally:
            path.unlink()
            path.parent.rmdir()


def _lock(path: Path) -> TextIO:
    while True:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        lock = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise Taken(path.read_text().strip()) from error
        if os.fstat(lock.fileno()).st_nlink:
            return lock
        lock.close()  # its holder removed the file while we opened it


def dead_runs() -> set[str]:
    """Runs that left files, or bridges: Open vSwitch's database survives a reboot."""
    files = {path.name for path in base().iterdir() if path.is_dir()}
    return files | {run for run in marked_bridges().values() if run}


def remove(runs: set[str]) -> Counter[str]:
    """Everything that bears one of these marks; how many of what there were."""
    removed: Counter[str] = Counter()
    for pid in marked_processes(runs):
        removed["processes"] += end(pid, runs)
    for name, run in marked_bridges().items():
        if run in runs:
            _command("ovs-vsctl", "--timeout=20", "--if-exists", "del-br", name)
            removed["bridges"] += 1
    for name in marked_links(runs):
        # Its other end goes with it, and may be the next in the list.
        removed["cables"] += _command("ip", "link", "delete", name).returncode == 0
    for run in runs:
        shutil.rmtree(base() / run, ignore_errors=True)
    return +removed


# --- what bears a mark ------------------------------------------------------------


def marked_processes(runs: set[str]) -> list[int]:
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if process_mark(pid) in runs and pid != os.getpid()]


def process_mark(pid: int) -> str:
    """The run it belongs to, or "": unmarked, gone, or without an environment."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ValueError):
        return ""
    found = re.search(rb"(?:^|\0)ISAT_DEMO=([0-9a-f]{8})\0", environment)
    return found[1].decode() if found else ""


def end(pid: int, runs: set[str]) -> bool:
    """Kill it and wait until it is gone; by a descriptor, since pids are used again."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if process_mark(pid) not in runs:
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [], END_LIMIT)
    except ProcessLookupError:
        return False
    finally:
        os.close(process)
    return True


def marked_bridges() -> dict[str, str]:
    """Run by name of bridge; "" for a bridge of somebody else.  Empty without OVS."""
    columns = ("--format=json", "--columns=name,external_ids", "list", "bridge")
    listed = _command("ovs-vsctl", "--timeout=10", *columns)
    if listed.returncode != 0:
        return {}
    rows = json.loads(listed.stdout)["data"]
    return {name: dict(ids[1]).get(EXTERNAL_ID, "") for name, ids in rows}


def marked_links(runs: set[str]) -> list[str]:
    listed = json.loads(_command("ip", "-json", "link", "show").stdout)
    marks = tuple(port_mark(run) for run in runs)
    return [link["ifname"] for link in listed if link["address"].startswith(marks)]


def _command(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_LIMIT, check=False
    )
