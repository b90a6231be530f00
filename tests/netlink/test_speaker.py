"""What a slow reader gets: never too much, never half a picture."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from controller.netlink.output import Output
from controller.netlink.rtnl.link import Link
from controller.netlink.speaker import Filter, Speaker
from controller.netlink.tables import OWN, Interface, Scope

LIMIT = 20_000  # octets
LINKS = Scope("link", OWN)


@pytest.fixture
def pair() -> Iterator[tuple[Output, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    theirs.setblocking(False)
    output = Output(ours.detach(), LIMIT)
    with theirs, contextlib.closing(output):
        yield output, theirs


def put(speaker: Speaker, index: int, mtu: int) -> None:
    row = Interface(Link(f"if{index}", 1, 0x1003, mtu=mtu))
    for change in speaker.tables.put(LINKS, index, row):
        speaker.change(change)


def read_all(speaker: Speaker, output: Output, theirs: socket.socket) -> list[Any]:
    """Both sides take turns until nothing is left to say."""
    said = b""
    while True:
        output.flush()
        speaker.recover()
        try:
            said += theirs.recv(1 << 16)
        except BlockingIOError:
            assert not output.waiting
            return [json.loads(line) for line in said.splitlines()]


def test_a_reader_that_falls_behind_begins_anew(
    pair: tuple[Output, socket.socket],
) -> None:
    output, theirs = pair
    speaker = Speaker(output, Filter())
    for mtu in range(1000, 1500):
        put(speaker, mtu % 7, mtu)
        output.flush()
    assert output.waiting <= LIMIT

    said = read_all(speaker, output, theirs)

    reset = said.index({"reset": True})
    after = said[reset + 1 :]
    assert [line["op"] for line in after[:-1]] == ["new"] * 7
    assert sorted(line["value"]["mtu"] for line in after[:-1]) == [*range(1493, 1500)]
    assert "sync" in after[-1]


def test_after_an_overflow_changes_go_on(pair: tuple[Output, socket.socket]) -> None:
    output, theirs = pair
    speaker = Speaker(output, Filter())
    for mtu in range(1000, 1500):
        put(speaker, mtu % 7, mtu)
        output.flush()
    read_all(speaker, output, theirs)

    put(speaker, 0, 9000)

    [line] = read_all(speaker, output, theirs)
    assert (line["op"], line["value"]["mtu"]) == ("change", 9000)


def test_a_snapshot_may_be_larger_than_the_bound(
    pair: tuple[Output, socket.socket],
) -> None:
    """The bound is for what comes on top; else a large host would never be told."""
    output, theirs = pair
    speaker = Speaker(output, Filter())
    for index in range(1, 500):
        put(speaker, index, 1500)
        output.flush()

    said = read_all(speaker, output, theirs)

    after = said[said.index({"reset": True}) + 1 :]
    assert len(after) == 500
    assert sum(len(json.dumps(line)) for line in after) > LIMIT


def test_the_first_picture_may_be_larger_than_the_bound(
    pair: tuple[Output, socket.socket],
) -> None:
    output, theirs = pair
    speaker = Speaker(output, Filter())
    speaker.hello(frozenset())
    output.flush()
    for index in range(500):
        put(speaker, index, 1500)
    speaker.sync(1)
    assert output.waiting > LIMIT

    hello, *rows, sync = read_all(speaker, output, theirs)

    assert "hello" in hello and sync == {"sync": 1}
    assert [row["op"] for row in rows] == ["new"] * 500


def test_what_cannot_be_seen_is_said_to_a_reader_that_begins_anew(
    pair: tuple[Output, socket.socket],
) -> None:
    output, theirs = pair
    speaker = Speaker(output, Filter())
    speaker.hello(frozenset())
    speaker.sync(1)
    read_all(speaker, output, theirs)
    for mtu in range(1000, 1500):
        put(speaker, mtu % 7, mtu)
    speaker.note("less than before")

    said = read_all(speaker, output, theirs)

    assert said.index({"reset": True}) < said.index({"note": "less than before"})


def test_a_line_is_never_cut(pair: tuple[Output, socket.socket]) -> None:
    output, theirs = pair
    lines = [os.urandom(n % 300).hex().encode() + b"\n" for n in range(200)]
    said = b""
    for line in lines:
        output.say(line)
        output.flush()
        try:
            said += theirs.recv(777)
        except BlockingIOError:
            continue
    while output.waiting:
        output.flush()
        said += theirs.recv(1 << 16)
    assert said == b"".join(lines)
