"""What a mirror is told of VXLAN devices: all of it once, then what changes."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.commands import SetForwarding
from controller.events import ForwardingSet, KernelSynced
from controller.sources.netlink import Netlink
from controller.sources.netlink_forwarding import STATIONS, Programmer, Talk, Ways
from flows.tracked import Tracked
from tests.netlink.lab import Lab, new_lab
from tests.netlink.test_forwarding import H1, H2, A, B, C, device, entries
from tests.sources.test_netlink import Told, helper_pid, in_lab
from tests.support.wait import wait_until

ANYBODY = "00:00:00:00:00:00"


def ways(**to: str) -> Ways:
    found = {H1: to.get("h1"), H2: to.get("h2"), ANYBODY: to.get("all")}
    rows = {lladdr: frozenset(text.split()) for lladdr, text in found.items() if text}
    return Tracked(rows)


class Listener:
    """A mirror, and what it has been told."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.held: dict[str, list[str]] = {}

    def heard(self) -> list[dict[str, Any]]:
        try:
            data = self.theirs.recv(1 << 20)
        except BlockingIOError:
            return []
        lines = [json.loads(line) for line in data.splitlines()]
        for line in lines:
            self.held |= line["to"]
        self.held = {lladdr: to for lladdr, to in self.held.items() if to}
        return lines

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def mirror() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


def test_nothing_is_said_before_the_mirror_knows_what_there_is(
    mirror: Listener,
) -> None:
    programmer = Programmer()
    programmer.want(SetForwarding("vx0", ways(h1=A)))
    programmer.begin(mirror.ours)
    assert mirror.heard() == [{"fdb": "vx0", "to": {H1: [A]}, "more": False}]


def test_of_a_change_only_the_change_is_said_and_after_the_report(
    mirror: Listener,
) -> None:
    programmer = Programmer()
    programmer.begin(mirror.ours)
    programmer.want(SetForwarding("vx0", ways(h1=A, all=f"{A} {B}")))
    assert len(mirror.heard()) == 1
    programmer.want(SetForwarding("vx0", ways(h1=B, all=f"{A} {B}")))
    programmer.want(SetForwarding("vx0", ways(h1=C, h2=C, all=f"{A} {B}")))
    assert mirror.heard() == [], "it is still busy"
    programmer.go_on(1)
    assert mirror.heard() == [{"fdb": "vx0", "to": {H1: [C], H2: [C]}, "more": False}]
    programmer.go_on(1)
    assert mirror.heard() == [], "a report of something else"
    programmer.go_on(2)
    programmer.want(SetForwarding("vx0", ways(h1=C, h2=C, all=f"{A} {B}")))
    assert mirror.heard() == [], "no news"


def test_that_there_should_be_nothing_is_said_too(mirror: Listener) -> None:
    """So that it takes away what another controller has left."""
    programmer = Programmer()
    programmer.begin(mirror.ours)
    programmer.want(SetForwarding("vx0", ways()))
    assert mirror.heard() == [{"fdb": "vx0", "to": {}, "more": False}]


def test_another_mirror_is_told_all(mirror: Listener) -> None:
    programmer, first = Programmer(), Listener()
    programmer.begin(first.ours)
    programmer.want(SetForwarding("vx0", ways(h1=A, h2=B)))
    first.close()
    programmer.want(SetForwarding("vx0", ways(h1=C, h2=B)))
    programmer.end()
    programmer.begin(mirror.ours)
    assert mirror.heard() == [
        {"fdb": "vx0", "to": {H1: [C], H2: [B]}, "more": False},
    ]


def test_many_are_told_in_pieces_of_which_the_last_one_says_so(
    mirror: Listener,
) -> None:
    many = {
        f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}": frozenset({A}) for n in range(2500)
    }
    programmer, lines = Programmer(), []
    programmer.begin(mirror.ours)
    programmer.want(SetForwarding("vx0", Tracked(many)))
    while heard := mirror.heard():
        lines += heard
        programmer.go_on(len(lines))
    assert [len(line["to"]) for line in lines] == [
        STATIONS,
        STATIONS,
        2500 - 2 * STATIONS,
    ]
    assert [line["more"] for line in lines] == [True, True, False]
    assert mirror.held.keys() == many.keys()


PLACES = st.sampled_from([A, B, C])


@given(
    st.lists(st.tuples(st.sampled_from([H1, H2]), st.none() | PLACES, st.booleans()))
)
def test_what_was_told_adds_up_to_what_should_be(
    history: list[tuple[str, str | None, bool]],
) -> None:
    talk, wanted = Talk(), Tracked[str, frozenset[str]]()
    held: dict[str, list[str]] = {}
    for lladdr, at, is_heard in history:
        gone = wanted.without(lladdr)
        wanted = gone if at is None else gone.set(lladdr, frozenset({at}))
        talk.want(wanted)
        if is_heard:
            while line := talk.line("vx0"):
                held |= json.loads(line)["to"]
            now = {lladdr: to for lladdr, to in held.items() if to}
            assert now == {lladdr: sorted(to) for lladdr, to in wanted.items()}


# --- with a mirror --------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        device(lab)
        yield lab


@pytest.mark.root
def test_a_mirror_that_is_killed_is_told_again_and_changes_nothing(
    lab: Lab, tmp_path: Path
) -> None:
    told = Told()
    source = Netlink(told, python=in_lab(lab, tmp_path), program=["vx0"])
    source.start()
    try:
        source.set_forwarding(SetForwarding("vx0", ways(h1=B, all=f"{B} {C}")))
        wait_until(lambda: told.of(ForwardingSet), why="a report")
        assert told.of(ForwardingSet) == [ForwardingSet("vx0", 3, 3, added=3)]
        os.kill(helper_pid(lab), signal.SIGKILL)
        wait_until(lambda: len(told.of(KernelSynced)) == 2)
        wait_until(lambda: len(told.of(ForwardingSet)) == 2)
        assert told.of(ForwardingSet)[1] == ForwardingSet("vx0", 3, 3)
        source.set_forwarding(SetForwarding("vx0", ways(h1=C, all=f"{B} {C}")))
        wait_until(lambda: len(told.of(ForwardingSet)) == 3)
        assert told.of(ForwardingSet)[2] == ForwardingSet("vx0", 3, 3, moved=1)
    finally:
        source.stop()
    assert entries(lab) == {(H1, C), (ANYBODY, B), (ANYBODY, C)}
