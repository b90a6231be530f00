"""Processes that watch a switch from outside, each line with the time of a clock."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from flows.pipeline import TABLE_IDS
from tests.bench.stage import PATIENCE, ROOT, end
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

STILL = 50  # questions without an answer that count as the end of answers


@dataclass(frozen=True, slots=True)
class Said:
    """at  seconds on CLOCK_MONOTONIC"""

    at: float
    what: str
    ip: str


class Witness:
    """A process whose lines are read by a thread of ours as they come."""

    def __init__(self, command: Sequence[str], **options: object) -> None:
        self.said: list[Said] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=ROOT, text=True, bufsize=1, **options,
        )  # type: ignore[call-overload]  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            self.hear(line, time.monotonic())

    def hear(self, line: str, now: float) -> None:
        raise NotImplementedError

    def find(self, what: str, ip: str, since: float) -> Said | None:
        """The first one of its kind since a moment."""
        found = None
        for said in reversed(self.said):
            if said.at < since:
                break
            if (said.what, said.ip) == (what, ip):
                found = said
        return found

    def wait(self, what: str, ip: str, since: float) -> Said:
        found = wait_until(
            lambda: self.find(what, ip, since),
            within=PATIENCE,
            why=f"{ip} to be {what}",
        )
        assert found is not None
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
        self._reader.join(PATIENCE)
        self._process.stdin.close()
        self._process.stdout.close()


class Asker(Witness):
    """tests/bench/asker.py in a host: "asked" and "answered"."""

    def __init__(
        self, inside: Sequence[str], interface: str, ip: str, mac: str
    ) -> None:
        words = ("setpriv", "--pdeathsig", "KILL", sys.executable)
        super().__init__(
            (*inside, *words, "-m", "tests.bench.asker", interface, ip, mac)
        )

    def hear(self, line: str, now: float) -> None:
        what, at, *ip = line.split()
        self.said.append(Said(float(at), what, " ".join(ip)))

    def ask_for(self, ip: str) -> None:
        self._process.stdin.write(f"{ip}\n")

    def answers(self, ip: str, since: float) -> list[float]:
        return [s.at for s in self.said
                if (s.what, s.ip) == ("answered", ip) and s.at >= since]  # fmt: skip

    def wait_for_silence(self, ip: str, since: float) -> None:
        """Until so many questions after a moment, and after the last answer."""

        def is_silent() -> bool:
            last = max([since, *self.answers(ip, since)])
            asked = [s for s in self.said[-4 * STILL :] if s.what == "asked"]
            return sum(s.at > last for s in asked) >= STILL

        wait_until(is_silent, within=PATIENCE, why=f"no answer for {ip}")


class FlowMonitor(Witness):
    """`ovs-ofctl monitor` of the table that answers ARP: "ADDED" and "DELETED".

    Open vSwitch tells of a flow when it has changed its table; the time is when its
    line was read here.
    """

    EVENT = re.compile(r"event=(ADDED|DELETED) .*arp_tpa=([\d.]+),arp_op=1\b")

    def __init__(self, ovs: PrivateOvs, bridge: str) -> None:
        inside = ("ip", "netns", "exec", ovs.namespace)
        bound = ("setpriv", "--pdeathsig", "KILL")
        watch = ("monitor", bridge, f"watch:table={TABLE_IDS['arp']},!initial")
        super().__init__(
            (*inside, *bound, "ovs-ofctl", "-OOpenFlow13", *watch), env=ovs.environment
        )

    def hear(self, line: str, now: float) -> None:
        event = self.EVENT.search(line)
        if event and "in_port" not in line:
            self.said.append(Said(now, event[1], event[2]))
