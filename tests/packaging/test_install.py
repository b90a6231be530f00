"""The documented lines of uv and of pip, on every Python of ours that is found.

The lines are read from docs/decisions/0001-ryu-on-a-current-python.md and run with
empty caches, all installations at once.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging import ROOT
from tests.support.ryu_manager import everything, ryu_manager

DECISION = ROOT / "docs/decisions/0001-ryu-on-a-current-python.md"
MINOR_VERSIONS = (11, 12, 13)
TOOLS = ("uv", "pip")
INSTALL_LIMIT = 240.0  # seconds for all of them together


def documented(tool: str) -> str:
    """The block of shell lines that makes an environment DIR with this tool."""
    blocks = re.findall(r"```sh\n(.*?)```", DECISION.read_text(), re.DOTALL)
    [lines] = [b for b in blocks if "DIR" in b and ("uv venv" in b) == (tool == "uv")]
    return str(lines)


def candidates() -> Iterator[Path]:
    """The running interpreter first, then those on PATH, then pyenv's."""
    yield Path(sys.executable).resolve()
    names = [f"python3.{minor}" for minor in MINOR_VERSIONS]
    yield from (Path(path) for name in names if (path := shutil.which(name)))
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob("versions/3.*/bin/python"))


@functools.cache
def interpreters() -> dict[str, Path]:
    """From "3.12" to a program that is one."""
    found: dict[str, Path] = {}
    wanted = [f"3.{minor}" for minor in MINOR_VERSIONS]
    tell = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for program in candidates():
        said = subprocess.run([program, "-c", tell], capture_output=True, text=True)
        if (version := said.stdout.strip()) in wanted:
            found.setdefault(version, program)
    return found


COMBINATIONS = [(tool, version) for version in interpreters() for tool in TOOLS]


def start_installing(tool: str, version: str, place: Path) -> subprocess.Popen[bytes]:
    """In a shell where `python3` is the wanted interpreter, and `uv` is ours."""
    (place / "bin").mkdir(parents=True)
    (place / "bin/python3").symlink_to(interpreters()[version])
    (place / "bin/uv").symlink_to(Path(sys.executable).parent / "uv")
    caches = {"PIP_CACHE_DIR": str(place / "pip"), "UV_CACHE_DIR": str(place / "uv")}
    path = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    with (place / "log").open("wb") as log:
        return subprocess.Popen(
            ["sh", "-ec", documented(tool).replace("DIR", str(place / "env"))],
            cwd=ROOT,
            env=os.environ | path | caches | {"UV_PYTHON_DOWNLOADS": "never"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


Installations = dict[tuple[str, str], tuple[Path, subprocess.Popen[bytes]]]


@pytest.fixture(scope="module")
def installations(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installations]:
    started: Installations = {}
    for tool, version in COMBINATIONS:
        place = tmp_path_factory.mktemp(f"{tool}-{version}-") / "isat"
        started[tool, version] = place, start_installing(tool, version, place)
    yield started
    for place, process in started.values():
        process.kill()
        process.wait()
        shutil.rmtree(place)


def switches_told_by(program: Path, place: Path) -> bytes:
    """isat runs beside Ryu's REST application, which knows of no switch yet."""
    words = ("controller.app", "ryu.app.ofctl_rest")
    with ryu_manager(program, place, *words) as ryu, ryu.connect() as web:
        web.sendall(b"GET /stats/switches HTTP/1.0\r\n\r\n")
        return everything(web).partition(b"\r\n\r\n")[2]


@pytest.mark.timeout(INSTALL_LIMIT + 60)
@pytest.mark.parametrize(("tool", "version"), COMBINATIONS)
def test_the_documented_lines_give_a_ryu_manager_that_works(
    installations: Installations,
    tool: str,
    version: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, process = installations[tool, version]
    status = process.wait(timeout=INSTALL_LIMIT)
    assert status == 0, (place / "log").read_text()

    environment = place / "env"
    site = environment / f"lib/python{version}/site-packages"
    assert {path.suffix for path in site.glob("isat-shim.*")} == {".pth", ".start"}
    assert switches_told_by(environment / "bin/ryu-manager", place) == b"[]"
    with capsys.disabled():
        print(f"\n  {tool} gives a ryu-manager on {interpreters()[version]}", end=" ")
