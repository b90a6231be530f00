"""Adopting a bridge sets what safety needs; releasing it undoes exactly that."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.adoption import (
    DEFAULT_TARGET,
    DEFAULTS,
    NAMES,
    SAFETY,
    Change,
    Settings,
    adopting,
    foreign,
    in_words,
    recalled,
    releasing,
    remembered,
    same_target,
    shown,
    target_of,
)

PAGE = Path(__file__).parents[2] / "docs/how-to/adopt-a-bridge.md"
ROW = r"^\| `([^`]+)` \| `([^`]+)` \| ([^|]+) \|"  # setting, value, before
NEW: Settings = {}


def after(changes: tuple[Change, ...], before: Settings = NEW) -> Settings:
    return {**before, **{change.name: change.after for change in changes}}


def adopted(before: Settings = NEW) -> tuple[Settings, tuple[Change, ...]]:
    changes = adopting(before, DEFAULT_TARGET)
    return after(changes, before), recalled(remembered((), changes))


# --- adopting -----------------------------------------------------------------------


def test_a_new_bridge_gets_a_controller_and_everything_that_safety_needs() -> None:
    now, _ = adopted()

    assert now == {"controller": DEFAULT_TARGET, **SAFETY}


def test_an_adopted_bridge_needs_no_change() -> None:
    now, _ = adopted()

    assert adopting(now, DEFAULT_TARGET) == ()


def test_only_what_differs_is_changed() -> None:
    now, _ = adopted()

    assert adopting({**now, "fail_mode": "standalone"}, DEFAULT_TARGET) == (
        Change("fail_mode", "standalone", "secure"),
    )


def test_a_controller_that_is_ours_keeps_its_way_of_writing_the_target() -> None:
    names = [change.name for change in adopting({"controller": "tcp:127.0.0.1"}, "x")]

    assert "controller" not in names


@pytest.mark.parametrize(
    ("before", "changed"),
    [
        (None, None),  # every version is allowed
        (("OpenFlow13",), None),
        (("OpenFlow10", "OpenFlow14"), ("OpenFlow10", "OpenFlow13", "OpenFlow14")),
    ],
    ids=["all", "enough", "others"],
)
def test_openflow_13_is_allowed_besides_what_was_allowed(
    before: tuple[str, ...] | None, changed: tuple[str, ...] | None
) -> None:
    changes = adopting({"protocols": before}, DEFAULT_TARGET)

    allowed = {change.name: change.after for change in changes}.get("protocols")
    assert allowed == changed


# --- releasing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "before",
    [
        {},
        {"fail_mode": "standalone", "protocols": ("OpenFlow10",)},
        {
            "controller": "tcp:127.0.0.1:6653",
            "controller.max_backoff": 3000,
            "other_config:disable-in-band": "false",
        },
        {"controller": "tcp:127.0.0.1", **SAFETY},
    ],
    ids=["new", "with protocols", "with a controller", "safe already"],
)
def test_releasing_gives_back_what_was_before(before: Settings) -> None:
    now, memory = adopted(before)

    changes, left = releasing(now, memory)

    kept = after(changes, now)
    gone = kept.get("controller") is None  # and its settings with it
    assert left == ()
    for name in NAMES:
        if not (gone and name.startswith("controller.")):
            assert kept.get(name) == before.get(name)


def test_a_controller_that_goes_takes_its_settings_along() -> None:
    changes, _ = releasing(*adopted())

    assert [change.name for change in changes if "controller" in change.name] == [
        "controller"
    ]


def test_what_somebody_changed_since_is_left_alone_and_said() -> None:
    now, memory = adopted()

    changes, left = releasing({**now, "fail_mode": "standalone"}, memory)

    assert "fail_mode" not in [change.name for change in changes]
    assert left == (
        "fail_mode: left at standalone, which is not what adopting had set",
    )


def test_what_was_before_the_first_of_two_adoptions_is_remembered() -> None:
    first = (Change("fail_mode", None, "secure"),)
    second = (Change("fail_mode", "standalone", "secure"), Change("x", 1, 2))

    memory = recalled(remembered(first, second))

    assert memory == (Change("fail_mode", None, "secure"), Change("x", 1, 2))


def test_no_memory_is_an_empty_memory() -> None:
    assert recalled(None) == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        '{"fail_mode": 1}',
        '{"fail_mode": [1]}',
        '{"fail_mode": [1, 2, 3]}',
        '{"fail_mode": [{}, 2]}',
        '{"fail_mode": [[1], "secure"]}',
        '{"fail_mode": "secure"}',
        '{"fail_mode": [0.5, 1]}',
    ],
)
def test_a_memory_that_somebody_edited_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        recalled(text)


def test_the_target_that_adopting_set_is_known_afterwards() -> None:
    _, fresh = adopted()
    _, known = adopted({"controller": "tcp:127.0.0.1"})

    assert target_of(fresh) == DEFAULT_TARGET
    assert target_of(known) is None


# --- whose bridge it is -------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("tcp:127.0.0.1", "tcp:127.0.0.1:6653", True),
        ("tcp:127.0.0.1:6633", "tcp:127.0.0.1:6653", False),
        ("tcp:[::1]", "tcp:[::1]:6653", True),
        ("ssl:127.0.0.1:6653", "tcp:127.0.0.1:6653", False),
        ("unix:/run/a", "unix:/run/a", True),
    ],
    ids=["port left out", "other port", "IPv6", "other method", "unix"],
)
def test_two_targets_are_the_same_if_they_lead_to_the_same(
    one: str, other: str, same: bool
) -> None:
    assert same_target(one, other) is same


def test_a_controller_elsewhere_is_foreign_and_a_listening_socket_is_not() -> None:
    targets = ("ptcp:6634", "tcp:10.0.0.9:6653", "tcp:127.0.0.1")

    assert foreign(targets, DEFAULT_TARGET) == ("tcp:10.0.0.9:6653",)


# --- in words -----------------------------------------------------------------------


def test_a_change_reads_as_before_and_after() -> None:
    assert str(Change("fail_mode", "standalone", "secure")) == (
        "fail_mode: standalone -> secure"
    )
    assert str(Change("protocols", ("OpenFlow10",), ("OpenFlow10", "OpenFlow13"))) == (
        "protocols: OpenFlow10 -> OpenFlow10,OpenFlow13"
    )


def test_an_unset_setting_reads_as_what_open_vswitch_does_then() -> None:
    assert shown("fail_mode", None) == "standalone (the default)"
    assert shown("controller", None) == "(unset)"


def test_it_is_said_that_open_vswitch_deletes_the_flows() -> None:
    [_, flows] = in_words((Change("controller", None, "x"),))

    assert flows.startswith("flows: all deleted")


def test_other_changes_cost_no_flow() -> None:
    [words] = in_words((Change("controller.max_backoff", None, 1000),))

    assert words == "controller.max_backoff: 8000 (the default) -> 1000"


def test_the_page_says_of_each_setting_what_it_becomes_and_what_it_was() -> None:
    rows = re.findall(ROW, PAGE.read_text(), re.MULTILINE)
    told = {name: (value, default.strip()) for name, value, default in rows}

    for name, value in SAFETY.items():
        assert told[name] == (str(value), DEFAULTS.get(name, "unset"))
