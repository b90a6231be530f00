"""What the whole suite agrees on: a test that cannot run says why, and fails in CI."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

PROGRAMS_OF = {  # marker -> what must be on PATH
    "ovs": ("ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"),
    "mininet": ("mn", "mnexec"),
}


SYSTEM = "the system's Open vSwitch"  # there is one, for one test at a time


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What one process of several runs: a file, or all that shares the system's OVS."""
    for item in items:
        shares = item.get_closest_marker("mininet") is not None
        item.add_marker(pytest.mark.xdist_group(SYSTEM if shares else item.path.name))


def cannot_run(reason: str) -> NoReturn:
    """Skip this test, or fail it where nothing may be missing: in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"cannot run in CI: {reason}", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("root") and os.geteuid() != 0:
        cannot_run("needs root")
    for marker, programs in PROGRAMS_OF.items():
        if item.get_closest_marker(marker):
            require_programs(*programs)


def require_programs(*programs: str) -> None:
    search_path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    missing = [name for name in programs if not shutil.which(name, path=search_path)]
    if missing:
        cannot_run(f"not installed: {', '.join(missing)}; ./run setup installs them")
