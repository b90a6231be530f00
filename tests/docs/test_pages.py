"""The pages hang together, and every command in them is executed by a test."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from controller.cli.parser import COMMANDS
from tests.support.ovs import PrivateOvs

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
BLOCK = re.compile(
    r"(?:<!-- (executed|generated) by: ([^\s]+)[^>]*-->\n+)?```(sh|console)\n(.*?)```",
    re.DOTALL,
)
# Pages whose commands are typed in their order, in a shell of a machine of their own.
LESSONS = ("docs/tutorial/first-lesson.md", "docs/reference/mirror.md")
ENTRY = (
    "./run demo",
    "./run test",
    "./run setup",
)  # tests/mininet, tests/packaging, CI

LONGEST_LESSON = 100  # seconds
PRELUDE = """\
set -eu -o pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
PATH=$PWD/.venv/bin:$PATH
mount -t tmpfs isat /run
"""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def linked(page: Path) -> Iterator[tuple[Path, str]]:
    """Pages that it names, or itself, each with the anchor, if there is one."""
    for target, anchor in LINK.findall(FENCED.sub("", page.read_text())):
        if "://" not in target:
            yield ((page.parent / target).resolve() if target else page), anchor


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them; of two that are the same the second has a
    number."""
    found: Counter[str] = Counter()
    names = set()
    for heading in HEADING.findall(FENCED.sub("", page.read_text())):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


def leads_somewhere(page: Path, anchor: str) -> bool:
    return page.exists() and (not anchor or anchor in anchors(page))


TESTS_OF = {  # pages whose commands are all executed by a test of their own
    "docs/decisions/0001-ryu-on-a-current-python.md": "tests/packaging/test_install.py",
    "docs/decisions/0002-dependencies.md": "tests/packaging/test_requirements.py",
    "docs/reference/configuration.md": "tests/docs/test_generated.py",
    "docs/reference/topologies.md": "tests/topologies/test_reference.py",
}


@dataclass(frozen=True, slots=True)
class Block:
    """Commands of a page; by is the test that executes them, "" if none is named."""

    page: str
    by: str
    commands: tuple[str, ...]


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for _, by, kind, text in BLOCK.findall(page.read_text()):
            lines = [line.partition("  #")[0].rstrip() for line in text.splitlines()]
            if kind == "console":
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            yield Block(name_of(page), by, tuple(line for line in lines if line))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not [link for link in linked(page) if not leads_somewhere(*link)]


def test_an_anchor_is_that_of_a_heading(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A page\n\n```sh\n# no heading\n```\n\n"
        "## What `isat` [does](x.md), in 2.4 (b)\n\n## Again\n\n## Again\n"
        "[lost](#nowhere)\n"
    )
    assert anchors(page) == {"a-page", "what-isat-does-in-24-b", "again", "again-1"}
    assert (page, "nowhere") in [*linked(page)]
    assert leads_somewhere(page, "again-1")
    assert not leads_somewhere(page, "nowhere")


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = {README}, [README]
    while todo:
        for target, _ in linked(todo.pop()):
            found = sorted(target.glob("*.md")) if target.is_dir() else [target]
            new = [
                page for page in found if page.suffix == ".md" and page not in reached
            ]
            reached.update(new)
            todo += new
    assert set(PAGES) <= reached


BLOCKS = list(blocks())


@pytest.mark.parametrize(
    "block", BLOCKS, ids=[f"{n} {b.page}" for n, b in enumerate(BLOCKS)]
)
def test_every_command_is_executed_by_a_test(block: Block) -> None:
    if block.page in LESSONS:
        return
    if by := block.by or TESTS_OF.get(block.page):
        assert (ROOT / by).exists(), by
        return
    known = {command.name for command in COMMANDS}
    for command in block.commands:
        words = shlex.split(command.replace("$ ", "", 1))
        is_entry = command in ENTRY or words[0] in (".", "ryu-manager")
        assert is_entry or (words[0] == "isat" and words[1] in known), command


@pytest.mark.root
@pytest.mark.ovs
@pytest.mark.mininet
@pytest.mark.parametrize("page", LESSONS)
def test_a_lesson_works_as_it_is_written(page: str, tmp_path: Path) -> None:
    """In one shell, in order, each command must succeed.

    On an Open vSwitch, in a network namespace, and with a /run/isat of its own.
    """
    commands = [c for block in BLOCKS if block.page == page for c in block.commands]
    lesson = tmp_path / "lesson"
    lesson.write_text("\n".join([PRELUDE, *commands]))
    said = tmp_path / "said"
    with PrivateOvs() as ovs, said.open("w") as output:
        done = subprocess.run(
            [
                "ip",
                "netns",
                "exec",
                ovs.namespace,
                "unshare",
                "--mount",
                "bash",
                lesson,
            ],
            cwd=ROOT,
            env={**os.environ, **ovs.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=LONGEST_LESSON,
            check=False,
        )
    assert done.returncode == 0, said.read_text()[-4000:]
