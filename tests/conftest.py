"""What the whole suite agrees on: a test that cannot run says why, and fails in CI."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# A slow machine is no mistake of the program's.
settings.register_profile(
    "isat",
    settings.get_profile("ci" if os.environ.get("CI") else "default"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("isat")

PROGRAMS_OF = {  # marker -> what must be on PATH
    "ovs": ("ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "ovs-appctl"),
    "mininet": ("mn", "mnexec"),
}


# Tests that share the system's Open vSwitch: one process runs them, one after another.
SHARING = (
    "tests/bench/test_benches.py",
    "tests/docs/test_pages.py",
    "tests/mininet/",
    "tests/packaging/test_run.py",
)


class FileByFile(LoadScopeScheduling):  # type: ignore[misc]
    """What one process of several runs: a file, or all that share the system's OVS.

    By place, as pytest-xdist's groups by mark are lost with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "the system's Open vSwitch" if file.startswith(SHARING) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile:
    return FileByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("mininet") and not item.nodeid.startswith(SHARING):
            raise pytest.UsageError(f"{item.nodeid} uses the system's Open vSwitch")


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


@pytest.fixture(autouse=True)
def _uncounted(request: pytest.FixtureRequest) -> Iterator[None]:
    """pytest-cov has a mark for it, which pytest-xdist's processes do not heed."""
    counting = sys.gettrace()
    if counting is None or request.node.get_closest_marker("uncounted") is None:
        yield
        return
    sys.settrace(None)
    yield
    sys.settrace(counting)
