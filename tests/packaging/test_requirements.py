"""What is pinned is what is declared, and nothing says where it comes from."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.packaging import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = [
    Requirement(line)
    for line in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
    )
]
# Labels, not names: written out, they would be found here.
REGISTRIES = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("crates", "io"),
    ("docker", "io"),
    ("ghcr", "io"),
    ("deb", "debian", "org"),
    ("proxy", "golang", "org"),
)
NOT_OURS = {".git", ".venv", "__pycache__", ".hypothesis"}


def pinned() -> dict[str, str]:
    """Each requirement with all that belongs to it, on one line."""
    joined = (ROOT / "requirements.txt").read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if not line.lstrip().startswith("#")]
    return {Requirement(line.split(" --hash")[0]).name: line for line in lines}


def our_files() -> Iterator[Path]:
    for directory, names, files in os.walk(ROOT):
        names[:] = [n for n in names if n not in NOT_OURS and not n.endswith("_cache")]
        yield from (Path(directory, name) for name in files if name != ".venv.log")


@pytest.mark.parametrize("declared", DECLARED, ids=lambda r: r.name)
def test_a_declared_dependency_is_pinned_within_its_bounds(
    declared: Requirement,
) -> None:
    [version] = re.findall(r"==([^ ;]+)", pinned()[declared.name.lower()])[:1]

    assert declared.specifier.contains(version)


@pytest.mark.parametrize("line", pinned().values(), ids=pinned())
def test_a_pinned_requirement_has_one_version_and_its_hashes(line: str) -> None:
    assert re.fullmatch(
        r"[a-z0-9-]+==[^ ;]+( ; [^-]+?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", line
    )


def test_both_places_hold_ryus_build_at_the_same_setuptools() -> None:
    for_uv = PROJECT["tool"]["uv"]["build-constraint-dependencies"]
    for_pip = (ROOT / "build-constraints.txt").read_text().split()

    assert for_uv == for_pip == ["setuptools==67.2.0"]


@pytest.mark.parametrize("labels", REGISTRIES, ids="-".join)
def test_no_file_names_the_host_of_a_registry(labels: tuple[str, ...]) -> None:
    host = ".".join(labels).encode()

    assert [path for path in our_files() if host in path.read_bytes()] == []
