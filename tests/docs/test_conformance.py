"""Every test that the page of conformance names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/conformance.md"
FILE = re.compile(r"^In `(tests/[\w/]+\.py)`")
ROW = re.compile(r"^\| .* \| `(?:(tests/[\w/]+\.py)::)?(test_\w+)` \|$")


def named() -> Iterator[tuple[str, str]]:
    """(file, test) of each row; where the row names no file, its section does."""
    file = ""
    for line in PAGE.read_text().splitlines():
        if found := FILE.match(line):
            file = found[1]
        if row := ROW.match(line):
            yield row[1] or file, row[2]


@cache
def names_in(file: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse((ROOT / file).read_text()))
    return frozenset(n.name for n in nodes if isinstance(n, ast.FunctionDef))


@pytest.mark.parametrize(("file", "test"), sorted(set(named())))
def test_the_test_that_proves_a_rule_exists(file: str, test: str) -> None:
    assert test in names_in(file)


def test_every_row_names_a_test() -> None:
    rows = [
        line
        for line in PAGE.read_text().splitlines()
        if line.startswith("|") and not line.startswith(("| rule", "| ---"))
    ]
    assert len(rows) == len([*named()])
