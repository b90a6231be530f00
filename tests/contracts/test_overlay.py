"""Two Open vSwitches, in two namespaces, joined by a tunnel: one network.

    h1 - br-int - vx0 - br-phy - up0 = up0 - br-phy - vx0 - br-int - h2
                                                               \\---- h3

The controller is beside the first one, and knows of the second by OpenFlow alone.

Then three of them, each with one port into an overlay: flows say to whom a frame goes.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from struct import pack
from time import monotonic

import pytest

from tests.bench.fixture import inside, named
from tests.contracts.test_end_to_end import FLOW, SOON, Controller, dump, pings
from tests.support import frames
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire

pytestmark = [pytest.mark.root, pytest.mark.ovs]

UNDERLAY, UNDERLAY6 = "192.0.2.{}", "2001:db8::{}"
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
        return places(self.controller)


def places(controller: Controller) -> dict[str, set[str]]:
    """Ports, by the IPv4 address that is known there."""
    found: dict[str, set[str]] = {}
    for row in controller.isat("hosts") or []:
        if row["ip"] and "." in row["ip"]:
            found.setdefault(row["ip"], set()).add(row["port"])
    return found


def underlay(ovs: PrivateOvs, n: int, *up: str) -> None:
    """Of the userspace datapath: an address on a bridge that leads out."""
    ovs.add_bridge("br-phy")
    for name in up or ("up0",):
        ovs.run("ip", "link", "set", name, "up")
        ovs.vsctl("add-port", "br-phy", name)
    ovs.run("ip", "address", "add", f"{UNDERLAY.format(n)}/24", "dev", "br-phy")
    ovs.run("ip", "link", "set", "br-phy", "up")
    of_ipv6 = ("ip", "address", "add", f"{UNDERLAY6.format(n)}/64", "nodad")
    ovs.run(*of_ipv6, "dev", "br-phy")


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
    if frames.is_arp_request(frame):
        return "a question"
    # The kernel solicits routers, of all, when it likes to.
    return "to a group" if frame[0] & 1 else "of others"


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


# --- one port, many far ends ----------------------------------------------------------

VNI, ANOTHER = 5000, 5001
NUMBERS = (1, 2, 3)
POLICY = """
bridges: {{br-int: {{}}}}
sources: {{ovsdb: '{remote}'}}
links: {{every: 1}}
overlays:
  - name: blue
    vni: 5000
    ends:
      - {{datapath_id: "0000000000000001", port: tun0, address: "{0}"}}
      - {{datapath_id: "0000000000000002", port: tun0, address: "{1}"}}
      - {{datapath_id: "0000000000000003", port: tun0, address: "{2}"}}
"""


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """port    UDP destination
    head    what stands before the VNI; it is followed by a zero
    """

    kind: str
    port: int
    head: bytes

    def around(self, vni: int, frame: bytes) -> bytes:
        return self.head + pack("!I", vni << 8) + frame

    def inner(self, packet: bytes) -> bytes:
        """The frame in a packet of the underlay without options; b"" if it has none."""
        is_ours = packet[23:24] == b"\x11" and packet[36:38] == pack("!H", self.port)
        return packet[14 + 20 + 8 + 8 :] if is_ours else b""


KINDS = {
    "vxlan": Encapsulation("vxlan", 4789, b"\x08\0\0\0"),
    "geneve": Encapsulation("geneve", 6081, b"\0\0\x65\x58"),
}


class Blue:
    """h1, h2 and h3 at a switch each; the underlay passes the first one.

    lines  by the number of another host, what comes from there to the first one's
           underlay, and the reverse
    """

    def __init__(
        self, some: list[PrivateOvs], kind: str, outer: str = UNDERLAY
    ) -> None:
        """outer  addresses that the ends have"""
        self.switches, self.wrapped = dict(zip(NUMBERS, some, strict=True)), KINDS[kind]
        self.near = near = some[0]
        for n in NUMBERS[1:]:
            far = self.switches[n]
            end = ("type", "veth", "peer", "name", "up0", "netns", far.namespace)
            near.run("ip", "link", "add", f"up{n}", *end)
        underlay(near, 1, "up2", "up3")
        for n in NUMBERS[1:]:
            underlay(self.switches[n], n)
        self.hosts = {}
        for n, ovs in self.switches.items():
            ovs.add_bridge(
                *("br-int", "fail_mode=secure", f"other-config:datapath-id={n:016x}"),
                "other-config:disable-in-band=true",
            )
            ovs.vsctl(
                *("add-port", "br-int", "tun0", "--", "set", "interface", "tun0"),
                *(f"type={kind}", "options:key=flow", f"ofport_request={TUNNEL}"),
                f"options:local_ip={outer.format(n)}",
                "options:remote_ip=flow",
            )
            mac = f"02:00:00:00:00:0{n}"
            self.hosts[n] = ovs.add_host(f"h{n}", "br-int", f"10.0.0.{n}/24", mac)
        for a, b in permutations(NUMBERS, 2):  # who knows whose link-layer address
            some[a - 1].run("ping", "-c1", "-W5", outer.format(b))
        listening = ("--ofp-listen-host", UNDERLAY.format(1))
        policy = POLICY.format(*map(outer.format, NUMBERS), remote=near.remote)
        self.controller = Controller(near, policy, *listening)
        self.controller.start()
        for ovs in some:
            ovs.vsctl("set-controller", "br-int", f"tcp:{UNDERLAY.format(1)}:6653")
        wait_until(self.is_joined, within=SOON, why="three ends to take broadcasts")

    def is_joined(self) -> bool:
        rows = self.controller.isat("links") or []
        return [row["broadcasts"] for row in rows] == ["yes"] * len(NUMBERS)

    def lost(self) -> int:
        """Of pings between all pairs, each way."""
        lost = 0
        for a, b in permutations(NUMBERS, 2):
            ping = ("ping", "-q", "-c5", "-i0.05", "-W2", f"10.0.0.{b}")
            said = self.switches[a].run_in(self.hosts[a].namespace, *ping, check=False)
            [received] = re.findall(r"(\d+) received", said.stdout)
            lost += 5 - int(received)
        return lost

    def places(self) -> dict[str, set[str]]:
        return places(self.controller)

    def add_cable(self) -> None:
        """Between the second and the third, beside the overlay."""
        second, third = self.switches[2], self.switches[3]
        end = ("type", "veth", "peer", "name", "c3", "netns", third.namespace)
        second.run("ip", "link", "add", "c2", *end)
        for ovs, name in ((second, "c2"), (third, "c3")):
            ovs.run("ip", "link", "set", name, "up")
            ovs.vsctl("add-port", "br-int", name)

    def carrying(self) -> Counter[tuple[str, str]]:
        """Kinds of cables, and whether broadcasts take them."""
        rows = self.controller.isat("links") or []
        return Counter((row["kind"], row["broadcasts"]) for row in rows)

    def tunnelling(self) -> dict[tuple[int, str], float]:
        """Seconds that flows about it have existed for, by switch and cookie."""
        return {
            (n, cookie): float(age)
            for n, ovs in self.switches.items()
            for line in dump(ovs, "br-int").splitlines()
            if "tun_id" in line
            for cookie, age in FLOW.findall(line)
        }

    def wires(self, stack: ExitStack) -> dict[int, Wire]:
        """What each host hears."""
        return {
            n: stack.enter_context(closing(Wire(host.namespace, "eth0", 0)))
            for n, host in self.hosts.items()
        }

    def crossing(self, stack: ExitStack) -> dict[int, Wire]:
        """What comes to the underlay of the second and the third."""
        return {
            n: stack.enter_context(closing(Wire(self.switches[n].namespace, "up0", 0)))
            for n in NUMBERS[1:]
        }

    def send_bare(self, source: str, vni: int, frame: bytes) -> None:
        """To the second, as a tunnel would from this address of the first."""
        with (
            inside(named(self.near.namespace)),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            sender.bind((source, 0))
            to = UNDERLAY.format(2), self.wrapped.port
            sender.sendto(self.wrapped.around(vni, frame), to)


@pytest.fixture(params=[*KINDS])
def blue(request: pytest.FixtureRequest, ovs: PrivateOvs) -> Iterator[Blue]:
    with PrivateOvs() as second, PrivateOvs() as third:
        yield Blue([ovs, second, third], request.param)


def shout(n: int, number: int) -> bytes:
    """A broadcast of a host, with a number."""
    source = bytes.fromhex(f"02000000000{n}")
    return b"\xff" * 6 + source + b"\x88\xb5" + bytes((number,)) * 46


def test_all_ends_of_an_overlay_reach_each_other_and_no_question_crosses_it(
    blue: Blue,
) -> None:
    assert blue.lost() == 0
    places = {f"10.0.0.{n}": {f"h{n}"} for n in NUMBERS}
    wait_until(lambda: blue.places() == places, within=SOON, why="all, at one place")
    first, mac = blue.hosts[1], bytes.fromhex("020000000001")
    with ExitStack() as stack:
        crossing = blue.crossing(stack)
        for _ in range(MANY):
            blue.near.run_in(first.namespace, "ip", "neigh", "flush", "dev", "eth0")
            once = ("ping", "-c1", "-W2", "10.0.0.2")
            assert blue.near.run_in(first.namespace, *once).returncode == 0
        heard = {
            n: [f for p in wire.heard() if (f := blue.wrapped.inner(p))[6:12] == mac]
            for n, wire in crossing.items()
        }
    kinds = {n: Counter(map(kind_of, some)) for n, some in heard.items()}
    assert kinds[2]["of others"] >= MANY
    assert not kinds[2]["a question"] and not kinds[3]["a question"]
    assert not kinds[3]["of others"], "a frame for a known host goes to one end"


def test_a_broadcast_comes_to_each_host_once_also_when_the_controller_is_dead(
    blue: Blue,
) -> None:
    assert blue.lost() == 0
    hears_once(blue, 1)
    blue.controller.kill()
    hears_once(blue, 3)
    assert blue.lost() == 0


def hears_once(blue: Blue, number: int) -> None:
    """Each other host what the second says."""
    with ExitStack() as stack:
        wires, crossing = blue.wires(stack), blue.crossing(stack)
        first, last = shout(2, number), shout(2, number + 1)
        wires[2].send(first, last)
        for n in (1, 3):
            copies = Counter[bytes]()
            arrived = partial(has_arrived, wires[n], copies, last)
            wait_until(arrived, within=SOON, why=f"h{n}")
            assert copies[first] == 1
        assert first not in wires[2].heard()
        inner = Counter(map(blue.wrapped.inner, crossing[2].heard()))
        assert not inner[first], "it came back"


def test_a_controller_that_comes_back_leaves_the_overlay_as_it_is(blue: Blue) -> None:
    assert blue.lost() == 0
    before = blue.tunnelling()
    blue.controller.kill()
    started = monotonic()
    blue.controller.start()
    wait_until(blue.is_joined, within=SOON, why="the overlay to be known again")
    assert blue.lost() == 0
    lasting = monotonic() - started
    after = blue.tunnelling()
    assert {*after} == {*before}
    assert min(after.values()) > lasting, "none of these flows was written anew"


def test_a_cable_beside_it_closes_no_loop_and_each_stands_in_for_the_other(
    blue: Blue,
) -> None:
    assert blue.lost() == 0
    blue.add_cable()
    both = Counter({("lldp", "yes"): 1, ("overlay", "yes"): 2, ("overlay", "no"): 1})
    wait_until(lambda: blue.carrying() == both, within=SOON, why="the cable")
    hears_once(blue, 1)
    assert blue.lost() == 0
    blue.controller.kill()
    blue.switches[2].run("ip", "link", "set", "c2", "down")
    assert blue.lost() == 0


def test_the_underlay_may_be_ipv6(ovs: PrivateOvs) -> None:
    with PrivateOvs() as second, PrivateOvs() as third:
        blue = Blue([ovs, second, third], "geneve", UNDERLAY6)
        assert blue.lost() == 0
        hears_once(blue, 1)


TWO = """
bridges: {{br-int: {{}}}}
sources: {{ovsdb: '{remote}'}}
overlays:
  - name: blue
    vni: 5000
    ends:
      - {{datapath_id: "0000000000000001", port: tun0, address: 192.0.2.1}}
      - {{datapath_id: "0000000000000002", port: tun0, address: 192.0.2.2}}
  - name: red
    vni: 6000
    ends:
      - {{datapath_id: "0000000000000002", port: tun1, address: 192.0.2.2}}
      - {{datapath_id: "0000000000000003", port: tun1, address: 192.0.2.3}}
"""


def test_a_frame_goes_from_one_overlay_into_the_next(blue: Blue) -> None:
    another = "geneve" if blue.wrapped.kind == "vxlan" else "vxlan"
    for n in (2, 3):
        blue.switches[n].vsctl(
            *("add-port", "br-int", "tun1", "--", "set", "interface", "tun1"),
            *(f"type={another}", f"options:local_ip={UNDERLAY.format(n)}"),
            *("options:remote_ip=flow", "options:key=flow"),
        )
    blue.controller.kill()
    blue.controller.config.write_text(TWO.format(remote=blue.near.remote))
    blue.controller.start()
    four = Counter({("overlay", "yes"): 4})
    wait_until(lambda: blue.carrying() == four, within=SOON, why="two overlays")
    assert blue.lost() == 0
    hears_once(blue, 1)


def test_it_is_told_of_as_a_cable_is(blue: Blue) -> None:
    assert blue.lost() == 0
    ask = blue.controller.isat
    assert blue.carrying() == Counter({("overlay", "yes"): 3})
    [tree] = ask("tree")
    ways = [[b[end].get("overlay") for end in ("from", "to")] for b in tree["branches"]]
    assert ways == [[None, "blue"], ["blue", None], ["blue", None]]
    first, *_ = [row for row in ask("ports") if row["port"] == "tun0"]
    assert first["role"] == "fabric"
    assert first["leads_to"] == "overlay blue: br-int at 192.0.2.2, br-int at 192.0.2.3"
    way = ask("path", "br-int:h1", "br-int:h3")
    assert "overlay blue" in " ".join(hop["then"] for hop in way["hops"])
    because = [reason for row in ask("explain", "br-int") for reason in row["because"]]
    assert any("overlay blue" in reason for reason in because)
    log = (blue.near.directory / "isat.log").read_text()
    assert "to the overlay blue is known" in log
