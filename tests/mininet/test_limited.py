"""A triangle of Mininet's TCLinks under the controller: pings go round the slow one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mininet.test_controlled import STARTED, Controller
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs, pytest.mark.mininet]

TRIANGLE = """
from mininet.topo import Topo


class Triangle(Topo):
    def build(self):
        for n in (1, 2, 3):
            self.addLink(self.addHost(f"h{n}"), self.addSwitch(f"s{n}"))
        self.addLink("s1", "s2", bw=10)
        self.addLink("s2", "s3", bw=100, use_tbf=True, latency_ms=1)
        self.addLink("s3", "s1", bw=100)


topos = {"triangle": Triangle}
"""
SLOW, FAST = "s1-eth2", "s1-eth3"
RATES = [(10_000_000, 2_000_000), (100_000_000, 200_000), (100_000_000, 200_000)]
PINGS = 20
OTHERS = 5  # frames of others that may pass meanwhile


@contextmanager
def prompt(ovs: PrivateOvs, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`mn`, which reads commands; it ends with what it reads."""
    with (
        (ovs.directory / "mn.log").open("ab") as log,
        subprocess.Popen(
            ("ip", "netns", "exec", ovs.namespace, "mn", *options),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=ovs.environment,
            text=True,
        ) as mn,
    ):
        yield mn


def rates(controller: Controller) -> list[tuple[int | None, int]]:
    rows = json.loads(controller.isat("links", "--json").stdout)
    return [(row["rate"], row["cost"]) for row in rows]


def passed(ovs: PrivateOvs, port: str) -> int:
    """Frames that the port has sent."""
    counted = ovs.run("cat", f"/sys/class/net/{port}/statistics/tx_packets").stdout
    return int(counted)


def go_round(ovs: PrivateOvs) -> bool:
    """All but what is for everybody, which takes the tree; hosts fall silent, but for
    pings, when their IPv6 addresses are settled."""
    slow, fast = passed(ovs, SLOW), passed(ovs, FAST)
    wait_until(lambda: passed(ovs, FAST) >= fast + PINGS, within=STARTED, why="pings")
    return passed(ovs, SLOW) <= slow + OTHERS


def test_pings_go_round_the_slow_cable(ovs: PrivateOvs, tmp_path: Path) -> None:
    controller = Controller(ovs)
    custom = tmp_path / "triangle.py"
    custom.write_text(TRIANGLE)
    shape = ("--custom", str(custom), "--topo", "triangle", "--link", "tc", "--mac")
    switch = ("--switch", "ovs,protocols=OpenFlow13,datapath=user")
    with prompt(ovs, *shape, *switch, "--controller", "remote") as mn:
        assert mn.stdin is not None
        wait_until(lambda: rates(controller) == RATES, within=STARTED, why="rates")
        wait_until(controller.is_settled, within=STARTED, why="all flows")
        mn.stdin.write("h1 ping -i 0.05 10.0.0.2 > /dev/null &\n")
        mn.stdin.flush()
        wait_until(lambda: go_round(ovs), within=STARTED, why="nothing by the slow one")

        way = json.loads(controller.isat("path", "h1-eth0", "h2-eth0", "--json").stdout)
        assert FAST in str(way) and SLOW not in str(way)
        mn.stdin.close()
