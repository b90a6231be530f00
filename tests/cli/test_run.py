"""`isat run` starts a controller, or says in a line why it does not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.wait import wait_for_start

ISAT = (sys.executable, "-m", "controller.cli")
OFF = "sources: {netlink: false, ovsdb: false}\n"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    file = tmp_path / "lab.yaml"
    file.write_text(OFF)
    return file


def words(tmp_path: Path, policy: Path, port: int) -> tuple[str, ...]:
    place = ("--socket", str(tmp_path / "isat.sock"), "--isat-config", str(policy))
    return (*ISAT, "run", *place, "--ofp-tcp-listen-port", str(port))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60
    )


@contextmanager
def controller(*command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.kill()
        child.wait(10)


def asked(tmp_path: Path, *question: str) -> subprocess.CompletedProcess[str]:
    return run(*ISAT, *question, "--socket", str(tmp_path / "isat.sock"))


def answers(tmp_path: Path) -> bool:
    return asked(tmp_path, "status").returncode == 0


def test_it_answers_until_it_is_told_to_end(tmp_path: Path, policy: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with controller(*words(tmp_path, policy, port), log=log) as child:
        wait_for_start(child, lambda: answers(tmp_path), why="the controller")

        status = json.loads(asked(tmp_path, "status", "--json").stdout)
        second = run(*words(tmp_path, policy, port))
        neighbor = run(*words(tmp_path, policy, free_port()))
        child.send_signal(signal.SIGTERM)
        child.wait(10)

    assert status["listening"] == port
    assert status["sources"] == {"netlink": "off", "ovsdb": "off"}
    assert second.returncode != 0
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr
    assert neighbor.returncode != 0
    assert "another controller answers there" in neighbor.stderr
    assert not os.path.lexists(tmp_path / "isat.sock"), log.read_text()
    assert "Traceback" not in log.read_text() + second.stderr + neighbor.stderr


def test_a_wrong_configuration_ends_with_4_before_anything_is_changed(
    tmp_path: Path, policy: Path
) -> None:
    policy.write_text("bridgs: {}\n")

    done = run(*words(tmp_path, policy, free_port()))

    assert done.returncode == 4
    assert "lab.yaml:1: unknown key 'bridgs'\n  did you mean 'bridges'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert not os.path.lexists(tmp_path / "isat.sock")


def test_a_folder_named_controller_where_one_stands_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    (tmp_path / "controller" / "__init__.py").write_text("raise SystemExit(99)")
    isat = str(Path(sys.executable).parent / "isat")

    done = subprocess.run(
        (isat, "run", "--version"), cwd=tmp_path, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_what_is_meant_for_the_mirror_reaches_it() -> None:
    said = run(*ISAT, "mirror", "--help")

    assert "--namespace" in said.stdout
    assert run(*ISAT, "mirror", "--no-such-option").returncode == 2
