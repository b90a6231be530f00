"""Hosts that come, go, move, sleep and die, for hours of virtual time: judged by a
model that knows none of the controller's rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from controller.commands import Command, SendPacket
from controller.core import Core
from controller.events import Event
from controller.liveness import Liveness
from controller.policy import Policy
from tests.support.day import World
from tests.support.seeds import fresh

HOSTS, HOURS = 60, 0.5
# Thousands of turns; what they pass through is counted where other tests do.
pytestmark = pytest.mark.uncounted

RESTLESS = 300.0  # seconds between two things that a host undertakes

# A seed that nobody has tried; the same in all processes of one run.


def lived(core: Core, seed: int, **more: Any) -> World:
    print(f"seed {seed}")
    world = World(core, hosts=HOSTS, seed=seed, restless=RESTLESS, **more)
    world.run(HOURS)
    print(world.told())
    return world


@pytest.mark.parametrize("seed", [1, fresh])
def test_nobody_is_answered_for_who_is_dead_and_nobody_who_lives_is_lost(
    seed: int,
) -> None:
    world = lived(Core(), seed)
    assert world.mistakes == []
    for what in ("die", "move", "sleep", "new address", "kernel changes", "probes"):
        assert world.counts[what], what
    assert world.counts["judged to live"] and world.counts["judged to be dead"]


@pytest.mark.parametrize("silent_after", [10.0, 120.0])
def test_the_configured_time_is_kept(silent_after: float) -> None:
    world = lived(Core(Policy(silent_after=silent_after)), 3, silent_after=silent_after)
    assert world.mistakes == []
    assert 0 < world.late_by <= silent_after


# --- the model sees mistakes --------------------------------------------------------


class Patient(Core):
    """It believes what it heard for five minutes."""

    def __init__(self) -> None:
        super().__init__(Policy(silent_after=300.0))


class Mute(Core):
    """It never asks anybody."""

    def handle(self, events: Sequence[Event], now: float) -> list[Command]:
        commands = super().handle(events, now)
        return [command for command in commands if not isinstance(command, SendPacket)]


class Trusting(Liveness):
    """It takes the moment of the look for that of the sign of life."""

    def _lives(self, one: Any, since: float, *rest: Any) -> None:
        super()._lives(one, one.counted_at, *rest)


class Late(Core):
    def __init__(self) -> None:
        super().__init__()
        self.liveness = Trusting(self.policy.silent_after, self.policy.forget_after)


class Forgetful(Liveness):
    """What it is told once it never looks at again."""

    def watch(self, *told: Any, **how: Any) -> None:
        pass


class Blind(Core):
    def __init__(self) -> None:
        super().__init__()
        self.liveness = Forgetful(self.policy.silent_after, self.policy.forget_after)


@pytest.mark.parametrize(
    ("broken", "seen"),
    [
        (Patient, "after its death"),
        (Mute, "lives, and is not answered for"),
        (Late, "after its death"),
        (Blind, "after its death"),
    ],
)
def test_a_controller_that_is_wrong_is_found_out(
    broken: Callable[[], Core], seen: str
) -> None:
    mistakes = lived(broken(), 4).mistakes
    assert any(seen in mistake for mistake in mistakes), mistakes
