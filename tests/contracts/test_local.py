"""A bridge that reaches its controller by a unix socket, and never by TCP."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conftest import cannot_run
from tests.support.ovs import PrivateOvs, why_not
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

SOON = 20.0  # seconds: beyond, something is broken, not slow
LOG = "isat.log"


@pytest.fixture
def ovs() -> Iterator[PrivateOvs]:
    if missing := why_not():
        cannot_run(missing)
    with PrivateOvs() as ovs:
        ovs.add_bridge("br0")
        yield ovs


def start(ovs: PrivateOvs, local: str) -> subprocess.Popen[bytes]:
    (ovs.directory / "isat.yaml").write_text(
        f"bridges: {{br0: {{}}}}\n{local}\n"
        f"sources: {{netlink: false, ovsdb: '{ovs.remote}'}}\n"
    )
    own = ("--isat-config", str(ovs.directory / "isat.yaml"),
           "--socket", str(ovs.directory / "isat.sock"))  # fmt: skip
    return ovs.start(sys.executable, "-m", "controller.cli", "run", *own, log=LOG)


def has_flows(ovs: PrivateOvs) -> bool:
    return "cookie=0x15a7" in ovs.ofctl("dump-flows", "br0")


def ages(ovs: PrivateOvs) -> list[float]:
    """Seconds, of the flows that are ours."""
    lines = ovs.ofctl("dump-flows", "br0").splitlines()
    ours = [line for line in lines if "cookie=0x15a7" in line]
    return [float(line.split("duration=")[1].split("s,")[0]) for line in ours]


def test_adopting_a_bridge_tells_it_where_the_socket_is(ovs: PrivateOvs) -> None:
    path = ovs.directory / "openflow.sock"
    controller = start(ovs, f"openflow: 'unix:{path}'")
    wait_until(lambda: has_flows(ovs), within=SOON, why="flows")
    assert ovs.vsctl("get-controller", "br0") == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    controller.terminate()
    controller.wait(SOON)
    assert not path.exists()

    before, began = len(ages(ovs)), time.monotonic()
    start(ovs, f"openflow: 'unix:{path}'")
    wait_until(lambda: told(ovs).count("flows of ours") == 2, within=SOON)
    assert len(ages(ovs)) == before
    assert min(ages(ovs)) >= time.monotonic() - began, "a flow was made anew"


def told(ovs: PrivateOvs) -> str:
    return ovs.log(LOG)


def test_a_bridge_that_comes_by_tcp_may_go_on_doing_so(ovs: PrivateOvs) -> None:
    """It would lose its flows for a moment, and it is with us already."""
    first = start(ovs, "")
    wait_until(lambda: has_flows(ovs), within=SOON, why="flows")
    first.terminate()
    first.wait(SOON)

    start(ovs, f"openflow: 'unix:{ovs.directory / 'openflow.sock'}'")
    wait_until(lambda: told(ovs).count("is connected") == 2, within=SOON)
    assert ovs.vsctl("get-controller", "br0") == "tcp:127.0.0.1:6653"
