"""Networks of several shapes under the controller: all reach all, and each
switch holds exactly what the saved view compiles to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_for_start, wait_until
from topologies import linear, single, tree, two_islands
from topologies.network import Network

pytestmark = [pytest.mark.root, pytest.mark.ovs, pytest.mark.mininet]

ROOT = Path(__file__).parents[2]
NETWORKS = (single.NETWORK, linear.NETWORK, tree.NETWORK, two_islands.NETWORK)
STARTED = 30.0  # seconds


class Controller:
    """One for all networks: switches come, and go again."""

    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        self.socket = str(ovs.directory / "isat.sock")
        isat = (sys.executable, "-m", "controller.cli", "run")
        place = {"PYTHONPATH": str(ROOT)}
        words = (*isat, "--socket", self.socket)
        process = ovs.start(*words, log="isat.log", environment=place)
        wait_for_start(process, self.answers, why="the controller")

    def isat(self, *words: str) -> subprocess.CompletedProcess[str]:
        inside = ("env", f"PYTHONPATH={ROOT}", f"ISAT_SOCKET={self.socket}")
        isat = (sys.executable, "-m", "controller.cli")
        return self.ovs.run(*inside, *isat, *words, check=False)

    def answers(self) -> bool:
        return self.isat("status").returncode == 0

    def answered(self) -> set[str]:
        rows: list[dict[str, Any]] = json.loads(self.isat("hosts", "--json").stdout)
        return {row["ip"] for row in rows if row["answered"]}

    def differences(self, switches: list[str]) -> str:
        """Between what they hold and what the saved view compiles to; a link-local
        address that has just become usable makes some (RFC 4862, 5.4)."""
        view = self.ovs.directory / "view.json"
        self.isat("view", "--save", str(view))
        return "".join(self.difference(view, switch) for switch in switches)

    def difference(self, view: Path, switch: str) -> str:
        flows = self.ovs.directory / f"{switch}.flows"
        words = ("flows", "--view", str(view), "--datapath", switch)
        flows.write_text(self.isat(*words).stdout)
        assert flows.read_text().count("cookie=") > 20
        compared = ("ovs-ofctl", "-OOpenFlow13", "diff-flows", switch, str(flows))
        done = self.ovs.run(*compared, check=False)
        return f"{done.returncode or ''}{done.stdout}"

    def is_open(self) -> bool:
        """Who asks before is not answered, and asks again in a second: an echo waits
        no longer than that here."""
        status = json.loads(self.isat("status", "--json").stdout)
        return all(row["lets_in"] == "all" for row in status["switches"])

    def is_settled(self) -> bool:
        """Every switch holds as many flows as it was told."""
        status = json.loads(self.isat("status", "--json").stdout)
        return all(
            self.ovs.ofctl("-OOpenFlow13", "dump-flows", row["name"]).count("cookie=")
            == row["flows"]
            for row in status["switches"]
        )


@pytest.fixture(scope="module")
def controller(ovs: PrivateOvs) -> Iterator[Controller]:
    yield Controller(ovs)


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_all_is_known_reached_and_held(
    ovs: PrivateOvs, emulated: Any, controller: Controller, network: Network
) -> None:
    everybody = {station.ip for station in network.stations}
    with emulated(network, controller="127.0.0.1:6653") as running:
        wait_until(
            lambda: everybody <= controller.answered(), within=STARTED, why="everybody"
        )
        wait_until(controller.is_open, within=STARTED, why="questions to be let in")
        if network is not two_islands.NETWORK:  # where not all may reach all
            assert running.pingall() == 0

        wait_until(controller.is_settled, within=STARTED, why="all flows")
        names = [switch.name for switch in network.switches]
        wait_until(
            lambda: not controller.differences(names), within=STARTED, why="no diff"
        )
