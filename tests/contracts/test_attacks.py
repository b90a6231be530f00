"""Real attack tools at a port of a real switch: what they do to a learning switch, and
that isat tells of each by name and, where it enforces, lets none of them do anything.

Those that can be told apart attack at the same time; one after another, each with its
figures, they are a bench (`./run bench attacks`).
"""

from __future__ import annotations

import pytest

from tests.contracts.test_end_to_end import SOON
from tests.support.attack_stage import Stage
from tests.support.attack_tools import TOOLS, Harm, missing
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

SECONDS = 4.0  # that an attack takes; ettercap begins after two
FLOOD = [tool for tool in TOOLS if tool.name == "macof"]
OTHERS = [tool for tool in TOOLS if tool not in FLOOD]
NAMES = {kind for tool in OTHERS for kind in tool.kinds}


@pytest.fixture
def stage(ovs: PrivateOvs) -> Stage:
    if reason := missing():
        pytest.skip(reason)
    return Stage(ovs)


def all_told(stage: Stage, names: set[str]) -> None:
    def told() -> bool:
        return names <= stage.told().keys()

    wait_until(told, within=SOON, why=f"{sorted(names)} to be told")


def test_without_an_attack_nothing_happens(stage: Stage) -> None:
    """The stage itself does no harm, and isat tells of nobody."""
    stage.isat("learn")
    damage = stage.attack([], SECONDS)
    assert (damage.lost, damage.harms, stage.told()) == (0, set(), {})


def test_on_a_learning_switch_the_tools_do_what_they_are_made_for(stage: Stage) -> None:
    stage.simple_switch_13()
    damage = stage.attack(OTHERS, SECONDS)
    promised = {harm for tool in OTHERS for harm in tool.harms}
    # ettercap passes on what the others would lose, if it is first.
    assert damage.harms | {Harm.LOST} == promised


@pytest.mark.parametrize("mode", ["learn", "watch"])
def test_where_nothing_is_enforced_each_is_told_by_name(
    stage: Stage, mode: str
) -> None:
    stage.isat(mode)
    damage = stage.attack(OTHERS, SECONDS)
    assert damage.harms  # what is told has happened
    all_told(stage, NAMES)
    assert not any(stage.told().values())


def test_where_it_is_enforced_nothing_happens_and_each_is_told(stage: Stage) -> None:
    stage.isat("enforce")
    damage = stage.attack(OTHERS, SECONDS)
    assert (damage.changes, damage.lost, damage.overheard) == (set(), 0, 0)
    all_told(stage, NAMES)


@pytest.mark.parametrize("mode", ["learn", "enforce"])
def test_a_flood_of_stations_disturbs_nobody_who_is_new(
    stage: Stage, mode: str
) -> None:
    stage.isat(mode)
    damage = stage.attack(FLOOD, SECONDS)
    assert (damage.changes, damage.lost, damage.overheard) == (set(), 0, 0)
    all_told(stage, {"MAC flood"})


def test_tools_that_fork_end_with_their_attack(stage: Stage) -> None:
    """`parasite6 -l` makes a child for each address that it lies about."""
    stage.simple_switch_13()
    damage = stage.attack([t for t in TOOLS if t.name == "atk6-parasite6"], SECONDS)
    assert Harm.NEIGHBOR in damage.harms
    wait_until(lambda: not stage.left_behind(), within=SOON, why="all of them to end")
