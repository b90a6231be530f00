"""Two ports of ours in somebody else's switch: one is closed, and opened again.

The other's switch is a Linux bridge.  Where the kernel is read it is seen at once;
without that the ports find out by a frame of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contracts.test_end_to_end import Controller
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

pytestmark = [pytest.mark.root, pytest.mark.ovs]

SENDER, EXPERIMENTAL = bytes.fromhex("020000000001"), b"\x88\xb5"  # IEEE 802, 9.2.4
WITHIN = 30.0
BRIDGES = ("br1", "br2")


class Plant:
    """Bridges with a wire each, and a hub that cables can be led to."""

    def __init__(self, ovs: PrivateOvs, sources: str) -> None:
        self.ovs, self.sent, self.cables = ovs, 0, 0
        names = "".join(f"{bridge}: {{}}, " for bridge in BRIDGES)
        config = f"bridges: {{{names}}}\nsources: {{ovsdb: '{ovs.remote}'{sources}}}\n"
        self.controller = Controller(ovs, config)
        for bridge in BRIDGES:
            ovs.add_bridge(bridge)
        far = f"{ovs.namespace}-far"
        ovs.add_namespace(far)
        self.wires = [plug(ovs, far, one, {9: f"w-{one}"})[9] for one in BRIDGES]
        self.ip("link", "add", "hub", "type", "bridge", "mcast_snooping", "0")
        self.ip("link", "set", "hub", "up")
        self.controller.start()

    def ip(self, *words: str) -> None:
        self.ovs.run("ip", *words)

    def lead_to_hub(self, bridge: str) -> str:
        """A cable from a bridge of ours to the hub; the name of its port."""
        self.cables += 1
        near, far = f"c{self.cables}a", f"c{self.cables}b"
        self.ip("link", "add", near, "type", "veth", "peer", "name", far)
        for end in (near, far):
            self.ip("link", "set", end, "up")
        self.ovs.vsctl("add-port", bridge, near)
        self.ip("link", "set", far, "master", "hub")
        return near

    def unplug(self, near: str) -> None:
        """At the hub: here the port stays up."""
        self.ip("link", "set", f"{near[:-1]}b", "nomaster")

    def port(self, name: str) -> dict[str, Any]:
        rows = self.controller.isat("ports") or []
        return next((row for row in rows if row["port"] == name), {})

    def wait_for_role(self, name: str, role: str) -> None:
        wait_until(
            lambda: self.port(name).get("role") == role,
            within=2 * WITHIN,
            why=f"{name} to be {role}",
        )

    def copies(self, at: Wire) -> int:
        """Of a broadcast that the first wire sends, when it has gone everywhere."""
        self.sent += 2
        for number in (self.sent - 1, self.sent):
            body = struct.pack("!I", number).ljust(46, b"\0")
            self.wires[0].send(b"\xff" * 6 + SENDER + EXPERIMENTAL + body)
        found: list[int] = []

        def has_ended() -> bool:
            found.extend(numbers(at))
            return self.sent in found

        wait_until(has_ended, within=WITHIN, why="the broadcast")
        found.extend(numbers(at))
        return found.count(self.sent - 1)


def numbers(wire: Wire) -> Iterator[int]:
    for frame in wire.heard():
        if frame[6:12] == SENDER and frame[12:14] == EXPERIMENTAL:
            yield struct.unpack_from("!I", frame, 14)[0]


@contextmanager
def plant(ovs: PrivateOvs, sources: str) -> Iterator[Plant]:
    made = Plant(ovs, sources)
    yield made
    for wire in made.wires:
        wire.close()


@pytest.mark.parametrize("sources", ["", ", netlink: false"], ids=["seen", "tried"])
def test_of_two_ports_in_a_switch_of_others_one_is_closed(
    ovs: PrivateOvs, sources: str
) -> None:
    with plant(ovs, sources) as here:
        first, across = here.lead_to_hub("br1"), here.lead_to_hub("br2")
        second = here.lead_to_hub("br1")
        here.wait_for_role(second, "loop")
        assert leads_back(here.port(second)["leads_to"], [first, across])
        for one in (first, across):
            here.wait_for_role(one, "edge")
        assert here.copies(at=here.wires[1]) == 1, "by the hub, which is the only way"
        here.unplug(second)
        here.wait_for_role(second, "edge")


def leads_back(words: str, others: list[str]) -> bool:
    """ "back to br1 c1a: closed"."""
    return words.startswith("back to br") and words.split()[3] in {
        f"{other}:" for other in others
    }
