"""What is due when, and that no task takes more than its share of the time."""

from __future__ import annotations

import math
from time import thread_time

from controller.netlink.agenda import COST_RATIO, PAUSE_MAX, PAUSE_MIN, Agenda


def test_a_task_is_due_once_and_at_the_earliest_of_its_times() -> None:
    agenda = Agenda()
    agenda.put("audit", 5.0)
    agenda.put("audit", 3.0)
    agenda.put("audit", 4.0)
    assert agenda.deadline() == 3.0
    assert not agenda.is_due("audit", 2.9)
    assert agenda.is_due("audit", 3.0)
    agenda.drop("audit")
    assert agenda.deadline() is None


def test_a_task_that_ran_pauses() -> None:
    agenda = Agenda()
    agenda.put("labels", 1.0)
    agenda.run("labels", 1.0, lambda now: None)
    agenda.put("labels", 1.0)
    assert agenda.deadline() == 1.0 + PAUSE_MIN


def test_a_task_that_cost_much_pauses_long_but_not_for_ever() -> None:
    agenda = Agenda()
    agenda.put("labels", 1.0)
    agenda.run("labels", 1.0, lambda now: compute(0.05))
    agenda.put("labels", 1.0)
    deadline = agenda.deadline() or math.nan
    assert 1.0 + min(COST_RATIO * 0.05, PAUSE_MAX) <= deadline <= 1.0 + PAUSE_MAX


def compute(seconds: float) -> None:
    """Use that much time of a processor."""
    end = thread_time() + seconds
    while thread_time() < end:
        math.sqrt(2)
