"""The script `run`: its verbs, its refusals, and what its second run does."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

import pytest

from tests.bench.benches import BENCHES
from tests.packaging import ROOT

P = ParamSpec("P")
VERBS = ("setup", "demo", "test", "bench", "help")
NOT_TRACKED = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache")


def run(
    *arguments: str, root: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(root / "run"), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=110,
    )


def checkout(directory: Path) -> Path:
    """A copy of ours which has no environment yet."""
    shutil.copytree(ROOT, directory, ignore=NOT_TRACKED)
    return directory


@pytest.mark.parametrize(
    "arguments",
    [
        *((), ("help",), ("--help",), ("-h",)),
        *((verb, "--help") for verb in VERBS if verb != "bench"),
    ],
)
def test_help_teaches_every_verb(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)

    assert (result.returncode, result.stderr) == (0, "")
    assert all(f"\n  {verb}" in result.stdout for verb in VERBS)


@pytest.mark.parametrize(
    "arguments", [("tset",), ("setup", "now"), ("setup", "--attack")]
)
def test_wrong_usage_names_the_mistake_and_the_verbs(
    arguments: tuple[str, ...],
) -> None:
    result = run(*arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert f"'{arguments[-1]}'" in result.stderr
    assert all(verb in result.stderr for verb in VERBS)


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_the_scripts_are_posix_shell(script: str) -> None:
    path = ROOT / script

    assert path.read_text().startswith("#!/bin/sh\n")
    assert os.access(path, os.X_OK)
    subprocess.run(["dash", "-n", str(path)], check=True)


def test_continuous_integration_runs_the_test_verb_at_the_root(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "run").write_text('#!/bin/sh\necho "$PWD: $*"\n')
    (tmp_path / "run").chmod(0o755)

    told = subprocess.check_output([str(tmp_path / ".ci/run")], text=True, cwd="/")

    assert told == f"{tmp_path}: test\n"


def needs_the_packages(test: Callable[P, None]) -> Callable[P, None]:
    """A setup which finds Debian's packages installed asks for no others."""
    return pytest.mark.root(pytest.mark.ovs(pytest.mark.mininet(test)))


@needs_the_packages
def test_a_python_that_does_not_suit_is_refused_by_name(tmp_path: Path) -> None:
    result = run("setup", root=checkout(tmp_path / "isat"), ISAT_PYTHON="/bin/false")

    assert result.returncode == 1
    assert "ISAT_PYTHON=/bin/false is not a Python 3.11, 3.12 or 3.13" in result.stderr
    assert not (tmp_path / "isat/.venv").exists()


@pytest.fixture(scope="module")
def first_setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A checkout that has been set up, and what the setup said."""
    root = checkout(tmp_path_factory.mktemp("setup") / "a path with blanks")
    result = run("setup", root=root)
    assert result.returncode == 0, result.stderr
    yield root, result.stdout
    shutil.rmtree(root)


@needs_the_packages
def test_help_for_a_bench_names_what_there_is_to_measure(
    first_setup: tuple[Path, str],
) -> None:
    result = run("bench", "--help", root=first_setup[0])

    assert (result.returncode, result.stderr) == (0, "")
    assert all(f"\n  {bench.name} " in result.stdout for bench in BENCHES)


@needs_the_packages
def test_a_second_setup_finds_everything_done(first_setup: tuple[Path, str]) -> None:
    root, first = first_setup

    second = run("setup", root=root)

    assert second.returncode == 0, second.stderr
    assert ("making .venv" in first, "making .venv" in second.stdout) == (True, False)
    assert "Open vSwitch" in second.stdout


@needs_the_packages
def test_a_setup_gives_a_ryu_manager_and_an_isat(
    first_setup: tuple[Path, str],
) -> None:
    root, _ = first_setup

    version = subprocess.run(
        [str(root / ".venv/bin/ryu-manager"), "--version"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert version.stdout + version.stderr == "ryu-manager 4.34\n"
    assert os.access(root / ".venv/bin/isat", os.X_OK)


@needs_the_packages
def test_what_is_no_longer_required_leaves_the_environment(
    first_setup: tuple[Path, str],
) -> None:
    root, _ = first_setup
    requirements, scapy = root / "requirements.txt", root / ".venv/bin/scapy"
    complete = requirements.read_text()
    start, end = complete.index("scapy=="), complete.index("setuptools==")
    before = scapy.exists()

    requirements.write_text(complete[:start] + complete[end:])
    result = run("setup", root=root)

    assert (before, scapy.exists()) == (True, False), result.stderr
