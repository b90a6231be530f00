"""Real attack tools, one after another, against isat and against Ryu's learning switch.

The stage is that of the contract tests, new for each attack.  What a tool does to a
learning switch shows that it works here; where isat enforces it shall do nothing, and
wherever isat controls the bridge it shall be told by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

from tests.bench.figures import Figure, Run
from tests.contracts.test_end_to_end import SOON
from tests.support.attack_stage import Damage, Stage
from tests.support.attack_tools import TOOLS, Harm, Tool, missing
from tests.support.ovs import PrivateOvs
from tests.support.wait import NeverTrue, wait_until

RYU, ENFORCE = "simple_switch_13", "enforce"
MODES = (ENFORCE, "watch", "learn")  # of isat; a small run takes the first
SECONDS = 4  # that an attack takes; ettercap begins after two


def measure(run: Run) -> Iterator[Figure]:
    damage, _ = outcome([], ENFORCE, run.of(SECONDS))
    yield figure(f"nobody attacks, {ENFORCE}", damage, at_most=0)
    tools = [tool for tool in TOOLS if tool.program is not None]
    for tool in tools[: run.of(len(tools), least=1)]:
        yield from attacked(run, tool)
    if reason := missing():
        yield Figure("tools that are missing", len(TOOLS) - len(tools), "", note=reason)


def attacked(run: Run, tool: Tool) -> Iterator[Figure]:
    modes, named = MODES[: run.of(len(MODES), least=1)], []
    for controller in (RYU, *modes):
        name = f"{tool.name}, {controller}"
        run.tell(name)
        damage, told = outcome([tool], controller, run.of(SECONDS))
        yield figure(name, damage, at_most=0 if controller == ENFORCE else None)
        named += [controller] * (tool.kinds <= told and controller in modes)
    kinds = " and ".join(sorted(tool.kinds))
    yield Figure(
        f'{tool.name}: modes in which it is told as "{kinds}"', len(named), "",
        at_least=len(modes), note=", ".join(named),
    )  # fmt: skip


def figure(name: str, damage: Damage, at_most: int | None = None) -> Figure:
    """All that went wrong, and what it was."""
    wrong = len(damage.changes) + damage.lost + damage.overheard
    what = f"{name}: changes, packets lost or overheard"
    return Figure(what, wrong, "", at_most, note=", ".join(words(damage)))


def words(damage: Damage) -> Iterator[str]:
    counts = Counter[Harm](what for what, _, _ in damage.changes)
    for what, count in sorted(counts.items()):
        yield f"{count} x a victim {what}"
    if damage.lost:
        yield f"{damage.lost} of {damage.sent} packets lost"
    if damage.overheard:
        yield f"{damage.overheard} overheard"


def outcome(
    tools: Sequence[Tool], controller: str, seconds: int
) -> tuple[Damage, frozenset[str]]:
    """What they did, and what isat says of it."""
    with PrivateOvs() as ovs:
        stage = Stage(ovs)
        if controller == RYU:
            stage.simple_switch_13()
            return stage.attack(tools, seconds), frozenset()
        stage.isat(controller)
        damage = stage.attack(tools, seconds)
        kinds = frozenset(kind for tool in tools for kind in tool.kinds)
        return damage, told(stage, kinds)


def told(stage: Stage, wanted: frozenset[str]) -> frozenset[str]:
    """When it has had time to be; the figure says what is missing."""
    with suppress(NeverTrue):
        wait_until(lambda: wanted <= stage.told().keys(), within=SOON)
    return frozenset(stage.told())
