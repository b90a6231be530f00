"""An overlay whose ends are VXLAN devices of the kernel: their tables are kept right.

    h1 - br1 - vx1 .. u1 ---- phy ---- u2 .. vx2 - br2 - h2
                               |
                               u3 .. vx3 - br3 - h3, h4

A device sends from the namespace that it was made in: so three hosts are one here, with
one Open vSwitch and one controller, and their underlay is real.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import partial

import pytest

from tests.contracts.test_end_to_end import SOON, Controller, pings
from tests.contracts.test_overlay import underlay
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire

pytestmark = [pytest.mark.root, pytest.mark.ovs]

UNDERLAY, VNI, UDP = "192.0.2.{}", 5000, 4789
ANYBODY = "00:00:00:00:00:00"
BROADCAST = b"\xff" * 6
CONFIG = """
bridges: {{br1: {{}}, br2: {{}}, br3: {{}}}}
sources: {{ovsdb: '{remote}'}}
overlays:
- name: blue
  vni: 5000
  ends:
  - {{datapath_id: '0000000000000001', port: vx1, address: 192.0.2.1}}
  - {{datapath_id: '0000000000000002', port: vx2, address: 192.0.2.2}}
  - {{datapath_id: '0000000000000003', port: vx3, address: 192.0.2.3}}
"""
Entries = set[tuple[str, str]]


def mac(n: int) -> str:
    return f"02:00:00:00:00:0{n}"


def octets(n: int) -> bytes:
    return bytes.fromhex(mac(n).replace(":", ""))


class Overlay:
    def __init__(self, ovs: PrivateOvs) -> None:
        self.ovs = ovs
        phy = f"{ovs.namespace}-phy"
        ovs.add_namespace(phy)
        ovs.run_in(phy, "ip", "link", "add", "phy", "type", "bridge")
        ovs.run_in(phy, "ip", "link", "set", "phy", "up")
        for n in (1, 2, 3):
            self.underlay(n, phy)
            ovs.add_bridge(f"br{n}", f"other-config:datapath-id={n:016x}")
            ovs.vsctl("add-port", f"br{n}", f"vx{n}")
        self.hosts = {n: self.add_host(n, min(n, 3)) for n in (1, 2, 3, 4)}
        self.controller = Controller(ovs, CONFIG.format(remote=ovs.remote))
        self.controller.start()

    def underlay(self, n: int, phy: str) -> None:
        ovs, here = self.ovs, f"{self.ovs.namespace}-u{n}"
        ovs.add_namespace(here)
        pair = ("type", "veth", "peer", "name", "eth0", "netns", here)
        ovs.run_in(phy, "ip", "link", "add", f"u{n}", *pair)
        ovs.run_in(phy, "ip", "link", "set", f"u{n}", "master", "phy", "up")
        address = f"{UNDERLAY.format(n)}/24"
        ovs.run_in(here, "ip", "address", "add", address, "dev", "eth0")
        ovs.run_in(here, "ip", "link", "set", "eth0", "up")
        made_for = ("id", str(VNI), "local", UNDERLAY.format(n), "dstport", str(UDP))
        kind = ("type", "vxlan", *made_for, "nolearning")
        ovs.run_in(here, "ip", "link", "add", f"vx{n}", *kind)
        ovs.run_in(here, "ip", "link", "set", f"vx{n}", "netns", ovs.namespace)
        ovs.run("ip", "link", "set", f"vx{n}", "up")

    def add_host(self, n: int, bridge: int) -> Host:
        return self.ovs.add_host(f"h{n}", f"br{bridge}", f"10.0.0.{n}/24", mac(n))

    def entries(self, n: int) -> Entries:
        return entries_of(self.ovs, f"vx{n}")

    def should(self, n: int, *places: tuple[int, int]) -> Entries:
        """places  host, and the bridge that it is at"""
        others = [UNDERLAY.format(one) for one in (1, 2, 3) if one != n]
        there = {(mac(h), UNDERLAY.format(b)) for h, b in places if b != n}
        return there | {(ANYBODY, to) for to in others}

    def settled(self, *places: tuple[int, int]) -> None:
        for n in (1, 2, 3):
            wait_until(
                lambda n=n: self.entries(n) == self.should(n, *places),  # type: ignore[misc]
                within=SOON,
                why=f"vx{n}: {self.entries(n)}",
            )

    def sent_by(self, n: int) -> Wire:
        """Hears in the underlay what one host sends."""
        return Wire(f"{self.ovs.namespace}-phy", f"u{n}", 0)


def entries_of(ovs: PrivateOvs, device: str) -> Entries:
    said = ovs.run("bridge", "-j", "fdb", "show", "dev", device).stdout
    return {(row["mac"], row["dst"]) for row in json.loads(said) if "dst" in row}


ALL = ((1, 1), (2, 2), (3, 3), (4, 3))


@pytest.fixture
def overlay(ovs: PrivateOvs) -> Iterator[Overlay]:
    found = Overlay(ovs)
    found.settled(*ALL)
    yield found


def sent_to(wire: Wire, inner: bytes) -> Counter[str]:
    """By underlay address: frames of the overlay that are for one station."""
    found = Counter[str]()
    for frame in wire.heard():
        is_udp = frame[12:14] == b"\x08\x00" and frame[23] == 17
        if is_udp and frame[36:38] == UDP.to_bytes(2) and frame[50:56] == inner:
            found[".".join(map(str, frame[30:34]))] += 1
    return found


def test_a_frame_for_a_known_host_goes_to_its_end_alone(overlay: Overlay) -> None:
    wire = overlay.sent_by(1)
    try:
        assert pings(overlay.ovs, overlay.hosts[1], "10.0.0.3")
        sent = sent_to(wire, octets(3))
    finally:
        wire.close()
    assert {*sent} == {UNDERLAY.format(3)}
    found = overlay.controller.isat("path", "br1:h1", "br3:h3")
    assert "leads through overlay blue, VNI 5000, to" in json.dumps(found)


def test_a_broadcast_comes_once_to_each_host(overlay: Overlay) -> None:
    heard = {n: Wire(overlay.hosts[n].namespace, "eth0", 0) for n in (2, 3, 4)}
    sender = Wire(overlay.hosts[1].namespace, "eth0", 0)
    first, last = (
        BROADCAST + octets(1) + b"\x88\xb5" + bytes((n,)) * 46 for n in (1, 2)
    )
    try:
        sender.send(first, last)
        for n, wire in heard.items():
            copies = Counter[bytes]()
            arrived = partial(has_arrived, wire, copies, last)
            wait_until(arrived, within=SOON, why=f"h{n}")
            assert copies[first] == 1
    finally:
        for wire in (sender, *heard.values()):
            wire.close()


def has_arrived(wire: Wire, copies: Counter[bytes], last: bytes) -> bool:
    copies.update(wire.heard())
    return copies[last] > 0


def test_who_moves_and_who_goes_is_followed(overlay: Overlay) -> None:
    ovs = overlay.ovs
    ovs.vsctl("del-port", "br2", "h2", "--", "add-port", "br3", "h2")
    overlay.settled((1, 1), (2, 3), (3, 3), (4, 3))
    assert pings(ovs, overlay.hosts[1], "10.0.0.2")
    ovs.run("ip", "link", "del", "h4")
    overlay.settled((1, 1), (2, 3), (3, 3))


def test_who_is_heard_elsewhere_is_one_changed_entry(overlay: Overlay) -> None:
    """A machine behind h3, and then behind h2."""
    for n in (3, 2):
        speaker = Wire(overlay.hosts[n].namespace, "eth0", 0)
        try:
            speaker.send(BROADCAST + octets(5) + b"\x88\xb5" + bytes(46))
        finally:
            speaker.close()
        overlay.settled(*ALL, (5, n))
    assert "vx1: 1 moved" in overlay.ovs.log("isat.log")


def test_the_table_outlives_the_controller_and_a_restart_changes_nothing(
    overlay: Overlay,
) -> None:
    ovs, before = overlay.ovs, [overlay.entries(n) for n in (1, 2, 3)]
    stale = ("02:00:00:00:00:77", "dev", "vx1", "dst", UNDERLAY.format(2))
    theirs = ("02:00:00:00:00:78", "dev", "vx1", "dst", UNDERLAY.format(2))
    inside = ("ip", "netns", "exec", ovs.namespace)
    monitor = (*inside, "bridge", "monitor", "fdb")
    with subprocess.Popen(monitor, stdout=subprocess.PIPE, text=True) as watched:
        overlay.controller.kill()
        assert pings(ovs, overlay.hosts[1], "10.0.0.3")
        assert [overlay.entries(n) for n in (1, 2, 3)] == before
        ovs.run("bridge", "fdb", "add", *stale, "self", "permanent", "extern_learn")
        ovs.run("bridge", "fdb", "add", *theirs, "self", "permanent")
        overlay.controller.start()
        gone = (stale[0], stale[-1])
        wait_until(lambda: gone not in overlay.entries(1), within=SOON, why="cleaned")
        assert pings(ovs, overlay.hosts[1], "10.0.0.3")
        wait_until(lambda: is_right(overlay), within=SOON, why="all is told")
        watched.terminate()
        said, _ = watched.communicate(timeout=SOON)
    made, also_made, taken_away = (line for line in said.splitlines() if "vx" in line)
    assert stale[0] in made and theirs[0] in also_made
    assert taken_away.startswith(f"Deleted {stale[0]}")
    assert overlay.entries(1) == before[0] | {(theirs[0], theirs[-1])}


def is_right(overlay: Overlay) -> bool:
    rows = overlay.controller.isat("ports") or []
    told = [row["fdb"] for row in rows if row["fdb"]]
    return len(told) == 3 and all(one["right"] == one["wanted"] > 0 for one in told)


# --- of two hosts, one has a device of the kernel, and the other a tunnel of flows ----

MIXED = """
bridges: {{br-int: {{}}}}
sources: {{ovsdb: '{remote}'}}
overlays:
- name: blue
  vni: 5000
  ends:
  - {{datapath_id: '0000000000000001', port: vx0, address: 192.0.2.1}}
  - {{datapath_id: '0000000000000002', port: tun0, address: 192.0.2.2}}
"""


def test_the_other_end_may_be_a_tunnel_that_flows_lead(ovs: PrivateOvs) -> None:
    """The far host is known by what it says alone."""
    with PrivateOvs() as far:
        end = ("type", "veth", "peer", "name", "up0", "netns", far.namespace)
        ovs.run("ip", "link", "add", "up0", *end)
        ovs.run("ethtool", "-K", "up0", "tx", "off")  # nobody computes it on the way
        ovs.run("ip", "address", "add", f"{UNDERLAY.format(1)}/24", "dev", "up0")
        ovs.run("ip", "link", "set", "up0", "up")
        underlay(far, 2)
        made_for = ("id", str(VNI), "local", UNDERLAY.format(1), "dstport", str(UDP))
        kind = ("type", "vxlan", *made_for, "nolearning")
        ovs.run("ip", "link", "add", "vx0", *kind)
        ovs.run("ip", "link", "set", "vx0", "up")
        ovs.run("ping", "-c1", "-W5", UNDERLAY.format(2))
        for n, one in ((1, ovs), (2, far)):
            one.add_bridge(
                *("br-int", "fail_mode=secure", f"other-config:datapath-id={n:016x}"),
                "other-config:disable-in-band=true",
            )
        ovs.vsctl("add-port", "br-int", "vx0")
        far.vsctl(
            *("add-port", "br-int", "tun0", "--", "set", "interface", "tun0"),
            *("type=vxlan", "options:key=flow", "options:remote_ip=flow"),
            f"options:local_ip={UNDERLAY.format(2)}",
        )
        h1 = ovs.add_host("h1", "br-int", "10.0.0.1/24", mac(1))
        h2 = far.add_host("h2", "br-int", "10.0.0.2/24", mac(2))
        listening = ("--ofp-listen-host", UNDERLAY.format(1))
        controller = Controller(ovs, MIXED.format(remote=ovs.remote), *listening)
        controller.start()
        for one in (ovs, far):
            one.vsctl("set-controller", "br-int", f"tcp:{UNDERLAY.format(1)}:6653")
        wait_until(lambda: is_joined(controller), within=SOON, why="two ends")
        assert pings(far, h2, "10.0.0.1")
        assert pings(ovs, h1, "10.0.0.2")
        there = {(mac(2), UNDERLAY.format(2)), (ANYBODY, UNDERLAY.format(2))}
        wait_until(lambda: entries_of(ovs, "vx0") == there, within=SOON, why="a table")


def is_joined(controller: Controller) -> bool:
    rows = controller.isat("links") or []
    return [row["broadcasts"] for row in rows] == ["yes", "yes"]
