"""docs/reference/mirror.md says what there is, and its examples run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.netlink import rtnl, settings, tables
from controller.netlink.helper import parser
from controller.netlink.rights import CAPABILITIES
from controller.netlink.rtnl import (
    addr,
    link,
    neigh,
    netconf,
    nexthop,
    route,
    rule,
    tc,
)
from controller.netlink.tables import Namespace

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reference/mirror.md").read_text()
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))

ROWS = (
    *(Namespace, link.Link, addr.Addr, neigh.Neigh, neigh.Fdb, route.Route),
    *(rule.Rule, nexthop.Nexthop, netconf.Netconf, tc.Tc, settings.Ipv4Conf),
)
KEYS = (
    *(addr.AddrKey, neigh.NeighKey, neigh.FdbKey, route.RouteKey, rule.RuleKey),
    *(nexthop.NexthopKey, netconf.NetconfKey, tc.TcKey, settings.Ipv4ConfKey),
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def test_every_field_is_explained() -> None:
    kinds = [name for fields in link.INFO_DATA.values() for name, _ in fields.values()]
    names = {name for row in ROWS for name in row._fields}
    fields = {name for key in KEYS for name in key._fields}
    rest = {*kinds, *tables.TABLES, "holder", "nsid", "ifi_index"}
    assert {*names, *fields, *rest} - CODE == set()


def test_no_table_is_forgotten() -> None:
    assert len(ROWS) == len(tables.TABLES)
    assert len(rtnl.TABLES) == len(KEYS) + 1  # ipv4_conf is none of rtnetlink's


def test_every_option_is_explained() -> None:
    options = {word for action in parser()._actions for word in action.option_strings}
    explained = {word.split()[0] for word in CODE if word.startswith("--")}
    assert options - {"-h", "--help"} - explained == set()
    assert set(CAPABILITIES) <= CODE


@pytest.mark.root
def test_the_examples_print_what_the_page_says(tmp_path: Path) -> None:
    """In a namespace, and with a /run/netns, of their own."""
    script = "mkdir -p /run/netns\nmount -t tmpfs tmpfs /run/netns\n"
    script += "\n".join(blocks("sh"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    done = subprocess.run(
        ("unshare", "--net", "--mount", "sh", "-e", "-c", script),
        cwd=tmp_path, env={**os.environ, "PATH": path},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [shape(line) for line in done.stdout.splitlines()]
    promised = [shape(line) for line in "".join(blocks("json")).splitlines()]
    assert said[: len(promised) - 1] == promised[:-1]
    assert promised[-1] in said


def shape(text: str) -> dict[str, Any]:
    """A line without what differs from host to host."""
    line: dict[str, Any] = json.loads(text)
    line.get("key", {}).pop("ifi_index", None)
    line.get("value", {}).pop("address", None)
    return {"hello": sorted(line["hello"])} if "hello" in line else line
