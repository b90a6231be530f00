"""What a page quotes from the program is what the program says."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.config import ConfigError, load
from tests.docs.generated import ROOT, pages, renewed


def test_the_reference_pages_are_made_from_the_program() -> None:
    names = {page.relative_to(ROOT).as_posix() for page in pages()}

    assert {
        "docs/reference/command-line.md",
        "docs/reference/configuration.md",
    } <= names


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_is_up_to_date(page: Path) -> None:
    """If it is not: .venv/bin/python -m tests.docs.generated"""
    assert page.read_text() == renewed(page.read_text())


def test_the_configuration_of_the_reference_is_accepted(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    (tmp_path / "lab.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])

    config = load(tmp_path / "lab.yaml")

    assert config.bridges == ("br0",)
    assert config.sources.ovsdb == ""


def test_the_mistakes_of_the_reference_are_told_like_that(tmp_path: Path) -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    quoted = page.split("```console\n")[1].split("```")[0].splitlines()[2:]
    (tmp_path / "lab.yaml").write_text(
        "bridgs: {}\nbridges: {}\nbindings:\n"
        "  - {ip: 10.0.0.5, lladdr: 02-00-00-00-00-05}\nliveness: {silent_after: 5}\n"
    )

    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "lab.yaml")

    assert str(refused.value).replace(f"{tmp_path}/", "").splitlines() == quoted
