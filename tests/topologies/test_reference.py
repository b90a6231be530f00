"""The reference of topologies shows the networks as they are."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from tests.topologies.test_network import NAMES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "topologies.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_networks_drawing_is_that_of_its_file(name: str) -> None:
    module = importlib.import_module(f"topologies.{name}")
    title, drawing = (inspect.getdoc(module) or "").split("\n", 1)

    assert f"### {name}\n\n{title}\n" in PAGE
    assert f"```text\n{drawing.strip(chr(10))}\n```" in PAGE
