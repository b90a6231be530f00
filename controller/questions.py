"""What is asked for and nobody is known to hold: one question for all who ask.

Each question that goes out to everybody is told here (`TargetUnknown`).  For a second
it stands for all others: they are held back in the switch, come to the controller, and
are answered when somebody turns out to hold the address.  What did not answer a number
of questions is sponged for a while, a longer one each time; then one question may go
out again.  Any sign of life ends that at once: a claim, the kernel's word, a port that
comes up.

Nobody can use it against others: only what went out counts, who asks for much loses
only what they asked for themselves, and where the controller does not learn of
everybody (a port or a station at its limit) nothing is sponged.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from controller.commands import Command, HoldQuestion
from controller.waiting import Question, Waiting, key_of, port_of
from flows.unknown import HELD
from flows.view import PortKey, Sponge, SpongeKey, View

TARGETS_MAX = 4_096  # that are remembered
TARGETS_OF_A_PORT = 256  # of these, by the port that asked first
SPONGES_MAX = 1_024
SPONGES_OF_A_PORT = 128
PAUSES = (10.0, 20.0, 40.0, 60.0)  # seconds that a target is sponged, one after another
FORGET = 120.0  # seconds without a question


@dataclass(frozen=True, slots=True)
class Target:
    """An address that was asked for, and did not answer so far.

    at           the port that asked first
    asked        questions that went out, those of one second counted once
    since, last  seconds on the caller's monotonic clock: the first and the last of them
    pauses       how often it has been sponged
    """

    at: PortKey
    asked: int
    since: float
    last: float
    pauses: int = 0


class Questions:
    """All that are open, by address and switch."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._targets: dict[SpongeKey, Target] = {}
        self._of_port: dict[PortKey, OrderedDict[SpongeKey, None]] = {}
        self._sponged: dict[SpongeKey, PortKey] = {}
        self.waiting = Waiting()

    # --- a question went out ----------------------------------------------------------

    def went_out(
        self, view: View, asked: Question, now: float, is_open: bool
    ) -> tuple[View, list[Command]]:
        """The next view, in which its target may be sponged, and what to hold back.

        is_open  whoever holds the address would be heard of
        """
        key = key_of(asked)
        self.waiting.remove(asked)
        before = self._targets.get(key)
        if before is not None and now < before.last + HELD:
            return view, []  # the switch has not begun to hold it back
        target = self._counted(key, before, port_of(asked), now)
        if is_open and target.asked > view.limits.questions_unanswered:
            return self._sponge(view, key, target, now), []
        return view, [HoldQuestion(*key)]

    def _counted(
        self, key: SpongeKey, before: Target | None, at: PortKey, now: float
    ) -> Target:
        self.counters["questions for unknown targets"] += 1
        if before is not None and now < before.last + FORGET:
            target = replace(before, asked=before.asked + 1, last=now)
        else:
            self._forget([key])
            target = Target(at, 1, now, now)
            self._make_room(at)
        self._targets[key] = target
        mine = self._of_port.setdefault(target.at, OrderedDict())
        mine[key] = None
        mine.move_to_end(key)
        return target

    def _make_room(self, at: PortKey) -> None:
        """Who asks for much loses its own oldest; together, who has asked for most."""
        if len(self._of_port.get(at, ())) >= TARGETS_OF_A_PORT:
            loses = at
        elif len(self._targets) >= TARGETS_MAX:
            loses = max(self._of_port, key=lambda port: len(self._of_port[port]))
        else:
            return
        self.counters["targets forgotten, as there are too many"] += 1
        self._forget([next(iter(self._of_port[loses]))])

    def _sponge(self, view: View, key: SpongeKey, target: Target, now: float) -> View:
        mine = sum(at == target.at for at in self._sponged.values())
        if mine >= SPONGES_OF_A_PORT or len(self._sponged) >= SPONGES_MAX:
            self.counters["targets not sponged, as there are too many"] += 1
            return view
        self.counters["targets sponged"] += 1
        until = now + PAUSES[min(target.pauses, len(PAUSES) - 1)]
        row = Sponge(*key, target.asked, target.since, until)
        self._targets[key] = replace(target, pauses=target.pauses + 1)
        self._sponged[key] = target.at
        return replace(view, sponges=view.sponges.set(key, row))

    # --- signs of life, and time ------------------------------------------------------

    def alive(self, view: View, keys: Iterable[SpongeKey]) -> View:
        """Somebody holds these."""
        found = [key for key in keys if key in self._targets or key in view.sponges]
        self._forget(found)
        return self._lifted(view, found)

    def port_came_up(self, view: View, datapath_id: int) -> View:
        """Whoever is there now has one question to answer."""
        here = (key for key in view.sponges if key.datapath_id == datapath_id)
        return self._lifted(view, list(here))

    def due(self, view: View, now: float) -> View:
        """Sponges that are over."""
        self.waiting.expire(now)
        return self._lifted(
            view, [key for key, row in view.sponges.items() if row.until <= now]
        )

    def deadline(self, view: View) -> float | None:
        times = [row.until for row in view.sponges.values()]
        if (waits := self.waiting.deadline()) is not None:
            times.append(waits)
        return min(times, default=None)

    def _lifted(self, view: View, keys: list[SpongeKey]) -> View:
        sponges = view.sponges
        for key in keys:
            self._sponged.pop(key, None)
            if key in sponges:
                sponges = sponges.delete(key)
        if sponges is view.sponges:
            return view
        return replace(view, sponges=sponges)

    def _forget(self, keys: Iterable[SpongeKey]) -> None:
        for key in keys:
            target = self._targets.pop(key, None)
            if target is not None:
                mine = self._of_port[target.at]
                del mine[key]
                if not mine:
                    del self._of_port[target.at]
