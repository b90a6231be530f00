"""While others that begin are not open yet: no question, but all else."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from controller.door import HUSH
from flows.ingress import HUSHED_FOR
from flows.openflow import texts
from tests.support import frames
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

pytestmark = [pytest.mark.root, pytest.mark.ovs]

H1, H2 = "02:00:00:00:00:01", "02:00:00:00:00:02"
SOON = 5.0  # seconds
QUESTIONS = (
    frames.arp(sha=H1, spa="10.0.0.1", tpa="10.0.0.2"),
    frames.ns(eth_src=H1, src="fd00::1", target="fd00::2"),
)
ALL_ELSE = (
    frames.arp(sha=H1, spa="10.0.0.1", tha=H2, tpa="10.0.0.2", op=2, eth_dst=H2),
    frames.na(eth_src=H1, target="fd00::1", dst="fd00::2", eth_dst=H2, solicited=True),
    frames.ipv4(eth_src=H1, eth_dst=H2, src="10.0.0.1", dst="10.0.0.2"),
)


@pytest.fixture
def wires(ovs: PrivateOvs) -> Iterator[dict[int, Wire]]:
    ovs.add_bridge("br0", "protocols=OpenFlow13")
    far = f"{ovs.namespace}-far"
    ovs.add_namespace(far)
    plugged = plug(ovs, far, "br0", {1: "w1", 2: "w2"})
    ovs.ofctl("-O", "OpenFlow13", "add-flow", "br0", "priority=50,actions=flood")
    yield plugged
    for wire in plugged.values():
        wire.close()


def test_questions_are_dropped_and_after_two_seconds_they_are_not(
    ovs: PrivateOvs, wires: dict[int, Wire]
) -> None:
    one, other = wires[1], wires[2]

    def is_open() -> bool:
        one.send(ALL_ELSE[0])
        return ALL_ELSE[0] in other.heard()

    wait_until(is_open, within=SOON, why="the ports to pass frames")
    flows = ovs.directory / "hush"
    flows.write_text(texts(HUSH))
    ovs.ofctl("-O", "OpenFlow13", "add-flows", "br0", str(flows))
    heard = list[bytes]()

    def is_heard(frame: bytes) -> bool:
        heard.extend(other.heard())
        return frame in heard

    def is_hushed() -> bool:
        """The datapath goes on as it did for some milliseconds."""
        heard.clear()
        one.send(*QUESTIONS, *ALL_ELSE)
        for frame in ALL_ELSE:
            wait_until(partial(is_heard, frame), within=SOON, why=frame.hex())
        return not {*QUESTIONS} & {*heard}

    wait_until(is_hushed, within=HUSHED_FOR, why="all but questions to pass")

    def is_asked() -> bool:
        one.send(*QUESTIONS)
        heard.extend(other.heard())
        return {*QUESTIONS} <= {*heard}

    wait_until(is_asked, within=SOON, why="questions to pass again")
