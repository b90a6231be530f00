"""The controller of controller/app.py, which also writes down when it knew what.

Started by ryu-manager in its place; ISAT_BENCH names the file that is written to.  Each
line is a JSON array: seconds on CLOCK_MONOTONIC, the stage, the kind of the event, and
what it tells.  Stages: "seen", when a source reports it; "known", when the view that
holds it has replaced the one before; "ordered", which flows are to be deleted, by
cookie, just before a switch is told; "decided", when the core has computed all that
follows; "settled", when it knows of a switch that it holds what it should, or has told
it so.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from controller import core
from controller.commands import ChangeFlows, Command
from controller.events import (
    ArpSeen,
    ChangeDone,
    Event,
    FrameIgnored,
    FrameSeen,
    KernelChanged,
    PortChanged,
    PortGone,
    SwitchReady,
)
from controller.runtime import Runtime
from controller.sources.openflow import OpenFlowChannel
from flows.view import View

PACKETS = (ArpSeen, FrameSeen, FrameIgnored)
TOLD = (KernelChanged, PortChanged, PortGone, ChangeDone, SwitchReady)


class Observer:
    """Stands between a runtime, its sources and its core."""

    def __init__(self, runtime: Runtime, file: str) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._report, self._turn = runtime.report, runtime.core.turn
        self._learn = core.learn  # type: ignore[attr-defined]
        core.learn = self.learn  # type: ignore[attr-defined]
        runtime.core.turn = self.turn  # type: ignore[method-assign]
        runtime.report = self.report  # type: ignore[method-assign]
        if runtime.netlink is not None:
            runtime.netlink._report = self.report
        self.packets = 0
        self._core, self._settled = runtime.core, set[int]()

    def report(self, event: Event) -> None:
        if not isinstance(event, PACKETS):
            self._tell("seen", [event])
        self._report(event)

    def turn(self, events: Sequence[Event], now: float) -> Iterator[Command]:
        for command in self._turn(events, now):
            if isinstance(command, ChangeFlows):
                cookies = [f"{cookie:#x}" for cookie in command.plan.delete]
                self._write(("ordered", "ChangeFlows", cookies))
            yield command
        self.packets += sum(isinstance(event, PACKETS) for event in events)
        self._tell("decided", events)
        channels = self._core.channels.items()
        settled = {datapath_id for datapath_id, one in channels if one.is_settled}
        for datapath_id in settled - self._settled:
            self._write(("settled", "Switch", [f"{datapath_id}"]))
        self._settled = settled

    def learn(self, view: View, event: Event, now: float) -> View:
        view = self._learn(view, event, now)
        self._tell("known", [event])
        return view

    def _tell(self, stage: str, events: Sequence[Event]) -> None:
        told = [event for event in events if isinstance(event, TOLD)]
        if told:
            self._write(*((stage, type(e).__name__, words_of(e)) for e in told))

    def _write(self, *lines: tuple[str, str, list[str]]) -> None:
        at = time.monotonic()
        texts = [json.dumps([at, *line, self.packets]) + "\n" for line in lines]
        os.write(self._fd, "".join(texts).encode())


def words_of(event: Event) -> list[str]:
    """What a bench looks for."""
    match event:
        case KernelChanged(changes):
            return [f"{fact or key}" for key, fact in changes]
        case PortChanged(port):
            return [f"{port}"]
        case _:
            return [f"{event}"]


class Observed(OpenFlowChannel):
    """Ryu starts the applications that a module defines itself, hence this class."""

    def start(self) -> object:
        self.observer = Observer(self.runtime, os.environ["ISAT_BENCH"])
        return super().start()
