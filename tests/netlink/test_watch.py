"""docs/how-to/watch-a-host.md works as it is written, and shows what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/how-to/watch-a-host.md"
BLOCK = re.compile(r"^<!-- executed by: [^\n]+\n```sh\n(.*?)^```$", re.M | re.S)
SEPARATOR = "=== next block"


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block prints, in one shell, with namespaces of its own."""
    blocks = BLOCK.findall(PAGE.read_text())
    script = "mkdir -p /run/netns\nmount -t tmpfs tmpfs /run/netns\n"
    script += f"\necho '{SEPARATOR}'\n".join(blocks)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        ("unshare", "--net", "--mount", "sh", "-e", "-c", script),
        cwd=tmp_path_factory.mktemp("watch"), env={**os.environ, "PATH": path},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{SEPARATOR}\n")


pytestmark = pytest.mark.root


def rows(text: str) -> list[dict[str, object]]:
    lines = map(json.loads, text.splitlines())
    return [line for line in lines if "op" in line]


def test_addresses_of_all_namespaces(shown: list[str]) -> None:
    assert '"local":"10.7.0.2"' in shown[1]
    assert '"name":"blue"' in shown[1]


def test_who_holds_a_tap(shown: list[str]) -> None:
    assert shown[2] == "no tap is held\n"


def test_what_a_container_sees(shown: list[str]) -> None:
    tables = {row["table"] for row in rows(shown[3])}
    assert tables >= {"link", "addr", "route", "rule", "netconf"}
    assert '"dst":"10.7.0.0","rtm_dst_len":24' in shown[3]


def test_how_it_answers_arp(shown: list[str]) -> None:
    assert '"ifname":"eth0"' in shown[4]
    assert '"arp_ignore":0' in shown[4]


def test_what_happens_when_an_address_goes(shown: list[str]) -> None:
    gone = [(row["op"], row["table"]) for row in rows(shown[5])]
    assert ("del", "addr") in gone
    assert gone.count(("del", "route")) == 3
