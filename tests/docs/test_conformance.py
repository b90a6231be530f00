"""The page of conformance is complete, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/conformance.md"
FILE = re.compile(r"^In `(tests/[\w/]+\.py)`")
TEST = re.compile(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`")
PITFALLS = range(1, 75)
IMPOSSIBLE = "Pitfalls that isat cannot fall into"
# Where Open vSwitch, the kernel and programs are real ones.
REAL = ("tests/contracts/", "tests/mininet/", "tests/netlink/", "tests/sources/")
OF_THE_SOURCE = {"71"}  # pitfalls that a test finds by reading


@dataclass(frozen=True)
class Row:
    """section, first cell, and the tests of the last: (file, name)"""

    section: str
    rule: str
    tests: tuple[tuple[str, str], ...]


def rows() -> Iterator[Row]:
    section = file = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        if found := FILE.match(line):
            file = found[1]
        cells = line.strip("| ").split(" | ")
        if line.startswith("| ") and cells[0] not in ("rule", "pitfall", "---"):
            named = TEST.findall(cells[-1])
            tests = tuple((where or file, name) for where, name in named)
            yield Row(section, cells[0], tests)


RULES = [row for row in rows() if row.section != IMPOSSIBLE]


@cache
def names_in(file: str) -> frozenset[str]:
    nodes = ast.walk(ast.parse((ROOT / file).read_text()))
    return frozenset(n.name for n in nodes if isinstance(n, ast.FunctionDef))


@pytest.mark.parametrize(
    ("file", "test"), sorted({test for row in RULES for test in row.tests})
)
def test_the_test_that_proves_a_rule_exists(file: str, test: str) -> None:
    assert test in names_in(file)


def test_every_rule_is_shown_by_something_real() -> None:
    for row in RULES:
        real = [file for file, _ in row.tests if file.startswith(REAL)]
        assert row.tests and (real or row.rule in OF_THE_SOURCE), row


def test_every_pitfall_has_a_row() -> None:
    found = [row.rule for row in rows() if row.section.startswith("Pitfalls")]
    assert sorted(found, key=int) == [str(number) for number in PITFALLS]


def test_no_test_of_conformance_is_forgotten() -> None:
    """What shows a rule stands in a row."""
    named = {test for row in RULES for test in row.tests}
    for name in ("arp", "nd"):
        file = f"tests/contracts/test_conformance_{name}.py"
        shown = {(file, test) for test in names_in(file) if test.startswith("test_")}
        assert shown <= named
