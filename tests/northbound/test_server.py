"""The local socket: who may ask, what is refused, and that nothing is overrun."""

from __future__ import annotations

import json
import os
import resource
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.northbound.server import (
    AT_ONCE,
    LONGEST_LINE,
    Json,
    Refused,
    Server,
)
from tests.support.wait import wait_until


def echo(asked: Json) -> object:
    if asked["ask"] == "refuse":
        raise Refused("here", "not today", "come tomorrow")
    if asked["ask"] == "fail":
        raise ZeroDivisionError("a secret of the implementation")
    return {"heard": asked}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "isat" / "isat.sock"


@pytest.fixture
def server(path: Path) -> Iterator[Server]:
    made = Server(str(path), echo)
    made.start()
    yield made
    made.stop()


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(10)
    connection.connect(str(path))
    return connection


def said(connection: socket.socket) -> Any:
    with connection.makefile("rb") as stream:
        return json.loads(stream.read())


def answer(path: Path, line: bytes) -> Any:
    with connected(path) as connection:
        connection.sendall(line)
        return said(connection)


def test_a_line_of_json_is_answered_by_a_line_of_json(
    server: Server, path: Path
) -> None:
    asked = {"ask": "hosts", "limit": 3}

    assert answer(path, json.dumps(asked).encode() + b"\n") == {"ok": {"heard": asked}}


def test_a_refusal_says_where_what_and_what_to_do(server: Server, path: Path) -> None:
    assert answer(path, b'{"ask": "refuse"}\n') == {
        "error": {"where": "here", "problem": "not today", "hint": "come tomorrow"}
    }


def test_a_mistake_of_ours_is_told_without_its_insides(
    server: Server, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    error = answer(path, b'{"ask": "fail"}\n')["error"]

    assert "see its log" in error["problem"]
    assert "secret" not in json.dumps(error)
    assert "a secret of the implementation" in caplog.text


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"hosts\n", "not a line of JSON"),
        (b"\xff\xfe\n", "not a line of JSON"),
        (b"[" * 50_000 + b"\n", "not a line of JSON"),
        (b"[1]\n", "not {"),
        (b'{"ask": 1}\n', "not {"),
        (b"x" * (LONGEST_LINE + 1), "longer than 65536 octets"),
    ],
    ids=["a word", "octets", "deep", "a list", "a number", "long"],
)
def test_what_is_no_question_is_refused(
    server: Server, path: Path, line: bytes, problem: str
) -> None:
    assert problem in answer(path, line)["error"]["problem"]


def test_many_may_ask_at_once_and_more_must_wait(server: Server, path: Path) -> None:
    silent = [connected(path) for _ in range(AT_ONCE)]
    late = connected(path)
    late.sendall(b'{"ask": "x"}\n')
    for connection in silent:
        connection.close()

    with late:
        assert "ok" in said(late)


def test_a_time_without_file_descriptors_is_survived(
    server: Server, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(10)
        resource.setrlimit(resource.RLIMIT_NOFILE, (asking.fileno() + 1, hard))
        try:
            asking.connect(str(path))
            wait_until(lambda: "does not accept" in caplog.text, why="a refusal")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        asking.sendall(b'{"ask": "x"}\n')

        assert "ok" in said(asking)


def test_only_the_owner_can_reach_the_socket(server: Server, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.root
def test_another_user_gets_no_answer_even_through_an_open_door() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = Server(f"{directory}/isat.sock", echo)
        server.start()
        for place in (directory, server.path):
            os.chmod(place, 0o777)

        assert ask_as_nobody(server.path) == b""
        server.stop()


def ask_as_nobody(path: str) -> bytes:
    """What another user's process hears; it asks in its own name."""
    ask = (
        "import os, socket, sys; os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "sys.stdout.buffer.write(s.recv(100))"
    )
    command = ("/usr/bin/python3", "-I", "-c", ask, path)
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def test_a_second_controller_is_refused(server: Server, path: Path) -> None:
    with pytest.raises(OSError, match="another controller answers there"):
        Server(str(path), echo).start()

    assert "ok" in answer(path, b'{"ask": "x"}\n')


def test_a_socket_that_a_dead_controller_left_is_replaced(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
    server = Server(str(path), echo)

    server.start()

    assert "ok" in answer(path, b'{"ask": "x"}\n')
    server.stop()


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")

    with pytest.raises(OSError, match="no socket is in the way"):
        Server(str(path), echo).start()

    assert path.read_text() == "precious"


def test_a_directory_where_others_could_replace_the_socket_is_refused(
    path: Path,
) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)

    with pytest.raises(OSError, match="others could replace the socket"):
        Server(str(path), echo).start()


def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 108)

    with pytest.raises(OSError, match="longer than 106 octets"):
        Server(str(long), echo).start()


def test_after_the_end_nobody_listens_and_nothing_is_left(path: Path) -> None:
    server = Server(str(path), echo)
    server.start()

    server.stop()

    assert not os.path.lexists(path)
