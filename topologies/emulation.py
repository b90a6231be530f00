"""A network run by Mininet in a process of its own, from any Python.

    with Emulation(NETWORK, controller="127.0.0.1:6653", datapath="user") as network:
        network.run("h1", "ping", "-c1", "10.0.0.2")

Mininet must never be imported where the controller or the tests live: it belongs to the
system's Python, and starts a shell for every node.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from topologies.network import Link, Network, to_json

ROOT = Path(__file__).resolve().parents[1]
PYTHON = "/usr/bin/python3"  # the one that Debian's Mininet is installed for
STOP_LIMIT = 60.0  # seconds to take a network down
COMMAND_LIMIT = 60.0  # seconds that one command in a host may take


class NotEmulated(Exception):
    """Mininet did not make the network, or is gone; says why."""


class Emulation:
    """A running network.

    pids     of the shell of each node, which is in the node's namespace
    holders  of the process that holds each tap
    """

    def __init__(
        self,
        network: Network,
        *,
        controller: str = "",
        datapath: str = "kernel",
        fail_mode: str = "secure",
        external_ids: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        port_mark: str = "",
        started: bool = True,
        inside: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """See topologies.mn.build for the first ones.

        started      else the hosts are there, and the switches when `start` says so
        inside       command before the command, as ("ip", "netns", "exec", "X")
        environment  of Mininet, and so of every node
        log          where Mininet's own messages go, else to standard error
        """
        self.network = network
        self.pids: dict[str, int] = {}
        self.holders: dict[str, int] = {}
        self._order = {
            "network": json.loads(to_json(network)),
            "controller": controller,
            "datapath": datapath,
            "fail_mode": fail_mode,
            "external_ids": dict(external_ids or {}),
            "settings": dict(settings or {}),
            "port_mark": port_mark,
        }
        self._command = (*inside, PYTHON, "-m", "topologies.mn")
        self._environment = {**os.environ, **(environment or {})}
        self._log = log
        self._started = started
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.begin()
        try:
            answer = self.ask(self._order)
            self.pids, self.holders = answer["pids"], answer["holders"]
            if self._started:
                self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """The switches, where they are not started already."""
        self.ask({"start": True})

    def plug(self, *cables: Link) -> None:
        """More cables between the switches, at free ports, all at once."""
        self.ask({"plug": cables})

    def begin(self) -> None:
        with (self._log or Path("/dev/stderr")).open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=self._environment,
                text=True,
                start_new_session=True,  # Ctrl-C is for whoever started us
            )

    @property
    def pid(self) -> int:
        """Of the process that runs Mininet."""
        assert self._process is not None
        return self._process.pid

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """One request to the process, one answer (topologies.mn.obey)."""
        process = self._process
        assert process and process.stdin and process.stdout
        try:
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise NotEmulated("the process that runs Mininet has ended") from error
        answer = json.loads(process.stdout.readline() or "{}")
        if "refused" in answer or not answer:
            raise NotEmulated(answer.get("refused") or self.last_words())
        return dict(answer)

    def last_words(self) -> str:
        """Of a Mininet that has ended."""
        said = self._log.read_text(errors="replace").split("\n") if self._log else []
        return next((line for line in reversed(said) if line), "Mininet has ended")

    def command(self, node: str, command: str) -> str:
        """A line in the node's shell, as at the prompt of `mn`; also of a tap."""
        return str(self.ask({"node": node, "command": command})["output"])

    def pingall(self, wait: float = 1.0) -> float:
        """Percent of echoes that were lost, from every host and tap to every other."""
        return float(self.ask({"pingall": str(wait)})["lost"])

    def inside(self, node: str, *command: str) -> tuple[str, ...]:
        """The command that runs `command` in the network namespace of a node."""
        return ("mnexec", "-a", str(self.pids[node]), *command)

    def run(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.inside(node, *command),
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT,
            check=False,
        )

    def stop(self) -> None:
        """Take it down, by the polite way first."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        for number in (0, signal.SIGTERM, signal.SIGKILL):
            if number:
                process.send_signal(number)
            try:
                process.wait(STOP_LIMIT)
                break
            except subprocess.TimeoutExpired:
                continue
        process.stdout.close()
        self._process = None
