"""An Open vSwitch of the test's own, so that nobody's s1 and h1 are in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import cannot_run
from tests.support.ovs import PrivateOvs, why_not
from topologies.emulation import Emulation
from topologies.network import Network


@pytest.fixture(scope="module")
def ovs() -> Iterator[PrivateOvs]:
    if reason := why_not():
        cannot_run(reason)
    with PrivateOvs() as ovs:
        yield ovs


@pytest.fixture(scope="module")
def emulated(ovs: PrivateOvs) -> Any:
    """Emulation(network, ...) on the private Open vSwitch, in userspace."""

    def emulated(network: Network, **options: Any) -> Emulation:
        return Emulation(
            network,
            datapath="user",
            inside=("ip", "netns", "exec", ovs.namespace),
            environment=ovs.environment,
            log=ovs.directory / "mininet.log",
            **options,
        )

    return emulated
