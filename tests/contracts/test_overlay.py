"""Two Open vSwitches, in two namespaces, joined by a tunnel: one network.

    h1 - br-int - vx0 - br-phy - up0 = up0 - br-phy - vx0 - br-int - h2
                                                               \\---- h3

The controller is beside the first one, and knows of the second by OpenFlow alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from tests.contracts.test_end_to_end import SOON, Controller, pings
from tests.support import frames
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire

pytestmark = [pytest.mark.root, pytest.mark.ovs]

UNDERLAY = "192.0.2.{}"
TUNNEL, KEY = 9, 7  # port_no, and VNI
MANY = 20  # times that a host asks anew
CONFIG = "bridges: {{br-int: {{}}}}\nsources: {{ovsdb: '{}'}}\nlinks: {{every: 1}}\n"


class Overlay:
    """near  the one beside the controller; far  the other"""

    def __init__(self, near: PrivateOvs, far: PrivateOvs, kind: str) -> None:
        self.near, self.far = near, far
        end = ("type", "veth", "peer", "name", "up0", "netns", far.namespace)
        near.run("ip", "link", "add", "up0", *end)
        for n, ovs in ((1, near), (2, far)):
            underlay(ovs, n)
            ovs.add_bridge(
                *("br-int", "fail_mode=secure", f"other-config:datapath-id={n:016x}"),
                "other-config:disable-in-band=true",
            )
            ovs.vsctl(
                *("add-port", "br-int", "tun0", "--", "set", "interface", "tun0"),
                *(f"type={kind}", f"options:key={KEY}", f"ofport_request={TUNNEL}"),
                f"options:local_ip={UNDERLAY.format(n)}",
                f"options:remote_ip={UNDERLAY.format(3 - n)}",
            )
        self.h1, self.h2, self.h3 = (
            ovs.add_host(f"h{n}", "br-int", f"10.0.0.{n}/24", f"02:00:00:00:00:0{n}")
            for n, ovs in ((1, near), (2, far), (3, far))
        )
        listening = ("--ofp-listen-host", UNDERLAY.format(1))
        self.controller = Controller(near, CONFIG.format(near.remote), *listening)
        self.controller.start()
        target = f"tcp:{UNDERLAY.format(1)}:6653"
        near.vsctl("set-controller", "br-int", target)
        far.vsctl("set-controller", "br-int", target)
        wait_until(self.is_joined, within=SOON, why="the tunnel to be a cable")

    def is_joined(self) -> bool:
        rows = self.controller.isat("links") or []
        return [row["evidence"] for row in rows] == ["lldp"]

    def places(self) -> dict[str, set[str]]:
        """Ports, by the IPv4 address that is known there."""
        found: dict[str, set[str]] = {}
        for row in self.controller.isat("hosts") or []:
            if row["ip"] and "." in row["ip"]:
                found.setdefault(row["ip"], set()).add(row["port"])
        return found


def underlay(ovs: PrivateOvs, n: int) -> None:
    """Of the userspace datapath: an address on a bridge that leads out."""
    ovs.add_bridge("br-phy")
    ovs.run("ip", "link", "set", "up0", "up")
    ovs.vsctl("add-port", "br-phy", "up0")
    ovs.run("ip", "address", "add", f"{UNDERLAY.format(n)}/24", "dev", "br-phy")
    ovs.run("ip", "link", "set", "br-phy", "up")


@pytest.fixture(params=["vxlan", "geneve"])
def overlay(request: pytest.FixtureRequest, ovs: PrivateOvs) -> Iterator[Overlay]:
    with PrivateOvs() as far:
        yield Overlay(ovs, far, request.param)


def test_a_tunnel_is_a_cable_and_no_question_crosses_it(overlay: Overlay) -> None:
    near, far = overlay.near, overlay.far
    for host in (overlay.h2, overlay.h3):
        assert pings(near, overlay.h1, host.ip.partition("/")[0])
    places = {f"10.0.0.{n}": {f"h{n}"} for n in (1, 2, 3)}
    wait_until(lambda: overlay.places() == places, within=SOON, why="all, at one place")

    there = Wire(overlay.h3.namespace, "eth0", 0)
    asked = Counter[str]()
    try:
        for _ in range(MANY):
            near.run_in(overlay.h1.namespace, "ip", "neigh", "flush", "dev", "eth0")
            once = ("ping", "-c1", "-W2", "10.0.0.2")
            assert near.run_in(overlay.h1.namespace, *once).returncode == 0
        assert pings(far, overlay.h3, "10.0.0.2")  # what is on its way has come by then
        asked.update(map(kind_of, there.heard()))
    finally:
        there.close()
    assert not asked["a question"]
    assert not asked["of others"], "a frame for one host goes to that host"


def kind_of(frame: bytes) -> str:
    """What h3 hears that h1 has sent."""
    if frame[6:12] != bytes.fromhex("020000000001"):
        return "of others than h1"
    return "a question" if frames.is_arp_request(frame) else "of others"


def test_a_broadcast_crosses_it_once(overlay: Overlay) -> None:
    heard = {host: Wire(host.namespace, "eth0", 0) for host in (overlay.h2, overlay.h3)}
    sender = Wire(overlay.h1.namespace, "eth0", 0)
    body = b"\xff" * 6 + bytes.fromhex("020000000001") + b"\x88\xb5"
    first, last = (body + bytes((n,)) * 46 for n in (1, 2))
    try:
        sender.send(first, last)
        for host, wire in heard.items():
            copies = Counter[bytes]()
            arrived = partial(has_arrived, wire, copies, last)
            wait_until(arrived, within=SOON, why=host.name)
            assert copies[first] == 1
    finally:
        for wire in (sender, *heard.values()):
            wire.close()


def has_arrived(wire: Wire, copies: Counter[bytes], last: bytes) -> bool:
    copies.update(wire.heard())
    return copies[last] > 0
