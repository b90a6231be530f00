"""What the page about proxy modes writes is accepted, and refused, as it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.config import ConfigError, load
from flows.proxy import MODES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/proxy-modes.md").read_text()
CLASHES = """\
proxy:
  - {mode: off, bridge: br0}
  - {mode: host, vlan: 5}
  - {mode: gateway, ip: 10.0.0.254, lladdr: "02:00:00:00:00:fe"}
  - {mode: off, prefix: 10.0.0.254/32}
"""


def test_the_rules_of_the_page_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(PAGE.split("```yaml\n")[1].split("```")[0])

    assert {rule.mode for rule in load(file).proxies} == {*MODES}


def test_the_clashes_of_the_page_are_told_like_that(tmp_path: Path) -> None:
    quoted = PAGE.split("not usable\n")[1].split("```")[0].rstrip("\n")
    file = tmp_path / "lab.yaml"
    file.write_text(CLASHES)

    with pytest.raises(ConfigError) as refused:
        load(file)

    assert str(refused.value).replace(str(tmp_path) + "/", "") == quoted
