"""VLANs of ports, as OVSDB has them: what is delivered is what NORMAL delivers, and
answers come as their port needs them.

Two pairs of bridges with the same ports and columns: br0 and br1 are under control, n0
and n1 do NORMAL.  In each pair both are joined by patch ports.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, product
from typing import Any

import pytest

from controller.cli.client import ask
from tests.contracts.test_end_to_end import SOON, Controller, ages
from tests.support import frames
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

pytestmark = [pytest.mark.root, pytest.mark.ovs]

FENCE = 4000  # VLAN of two ports, 9 and 19, that tell when all else has passed
TURNS = 3  # of ovs-vswitchd: one that is under way, one that hears all, one to be sure
COLUMNS: dict[int, tuple[str, ...]] = {
    3: ("tag=10",),
    4: ("tag=20",),
    5: ("trunks=10,20",),
    6: ("vlan_mode=native-untagged", "tag=10", "trunks=10,20"),
    7: ("vlan_mode=native-tagged", "tag=20"),
    8: (),
    9: (f"tag={FENCE}",),
    11: ("tag=10", "trunks=20"),  # of which an access port has none
    12: ("vlan_mode=trunk", "tag=99", "trunks=20,30"),
    13: (),
    14: ("vlan_mode=access",),
    15: ("vlan_mode=native-untagged", "tag=30"),
    16: ("trunks=0,4-7",),
    19: (f"tag={FENCE}",),
}
PORTS = tuple(number for number in COLUMNS if number not in (9, 19))
OF_NO_VLAN = (8, 13, 14, 16)  # ports whose untagged frames are of none
TAGS: tuple[tuple[int, ...], ...] = ((), (0,), (5,), (10,), (20,), (30,), (99,))
HOST, IP, IP6 = "02:00:00:00:00:01", "10.0.0.1", "fe80::ff:fe00:1"  # tag=10, port 1
STATIONS = "02:00:00:01:"  # what their addresses begin with
GATEWAY = "02:00:00:00:01:01"

Heard = dict[int, list[bytes]]


class Pair:
    """Two bridges, and wires to all of their ports."""

    def __init__(self, ovs: PrivateOvs, letter: str, bridges: tuple[str, str]) -> None:
        self.ovs, self.letter = ovs, letter
        self.namespace = f"{ovs.namespace}-{letter}"
        ovs.add_namespace(self.namespace)
        self.wires: dict[int, Wire] = {}
        for bridge, other in (bridges, bridges[::-1]):
            is_first = bridge == bridges[0]
            numbers = [n for n in COLUMNS if (n < 10) == is_first]
            ovs.add_bridge(bridge)
            names = {n: self.name(n) for n in numbers}
            self.wires |= plug(ovs, self.namespace, bridge, names)
            peer = f"options:peer=to-{bridge}"
            patch = ("--", "set", "interface", f"to-{other}", "type=patch", peer)
            ovs.vsctl("add-port", bridge, f"to-{other}", *patch)
        for number, columns in COLUMNS.items():
            self.put(number, *columns)

    def name(self, number: int) -> str:
        return f"{self.letter}{number}"

    def put(self, number: int, *columns: str) -> None:
        """As "tag=10", in its row of the table Port."""
        if columns:
            self.ovs.vsctl("set", "port", self.name(number), *columns)

    def close(self) -> None:
        for wire in self.wires.values():
            wire.close()

    def is_joined(self) -> bool:
        """What one of them was sent has come out of the other, be it at an earlier
        look."""
        frame = packet(9, (), "02:00:00:00:09:09")
        self.wires[9].send(frame)
        return frame in self.wires[19].heard()

    def settle(self) -> None:
        """All that was sent so far has been forwarded."""
        one, other = self.wires[9], self.wires[19]
        frame = packet(9, (), "02:00:00:00:09:09")
        for _ in range(TURNS):
            one.send(frame)
            wait_until(lambda: frame in other.heard(), within=SOON, why="a fence")

    def after(self, *sent: tuple[int, bytes]) -> Heard:
        """What each port hears when these are sent by ports; of kernels nothing."""
        self.settle()
        for number in PORTS:
            self.wires[number].heard()
        for number, frame in sent:
            self.wires[number].send(frame)
        self.settle()
        senders = {frame[6:12] for _, frame in sent}
        return {n: self._heard(n, senders) for n in PORTS}

    def _heard(self, number: int, senders: set[bytes]) -> list[bytes]:
        found = self.wires[number].heard()
        return sorted(frame for frame in found if frame[6:12] in senders)


class Lab:
    """Both pairs, and a host that the kernel shows behind an access port."""

    def __init__(self, ovs: PrivateOvs, ours: Pair, normal: Pair) -> None:
        self.ovs, self.ours, self.normal = ovs, ours, normal
        self.host = ovs.add_host("h1", "br0", f"{IP}/8", HOST, ofport=1)
        ovs.vsctl("set", "port", "h1", "tag=10")
        self.controller = Controller(
            ovs,
            "bridges: {br0: {}, br1: {}}\n"
            "liveness: {silent_after: 10}\n"
            "limits: {neighbor_packets_per_second: 10000}\n"
            f"proxy: [{{mode: gateway, ip: 10.3.0.1, lladdr: '{GATEWAY}'}}]\n"
            f"sources: {{ovsdb: '{ovs.remote}'}}\n",
        )
        self.controller.start()
        self.wait(lambda: IP in self.answered(), "what the kernel shows")
        self.wait(lambda: IP6 in self.answered(), "its other address")
        self.wait(self.ours.is_joined, "both bridges are one network")
        self.ours.settle()
        self.numbers = count(1)

    def wait(self, condition: Callable[[], object], why: str) -> None:
        wait_until(condition, within=SOON, why=why)

    def hosts(self) -> list[Any]:
        return list(ask(self.controller.socket, "hosts"))

    def answered(self) -> set[str]:
        return {row["ip"] for row in self.hosts() if row["answered"]}

    def places(self) -> set[tuple[str, int, str]]:
        return {(row["lladdr"], row["vlan"], row["port"]) for row in self.hosts()}

    def both(self, *sent: tuple[int, bytes]) -> tuple[Heard, Heard]:
        return self.ours.after(*sent), self.normal.after(*sent)

    def stations(self) -> set[tuple[str, int]]:
        return {(lladdr, vlan) for lladdr, vlan, _ in self.places()}

    def normally(self) -> set[tuple[str, int]]:
        """The same of those that NORMAL knows, by address and VLAN."""
        rows = map(str.split, self.ovs.appctl("fdb/show", "n0").splitlines())
        return {(row[2], int(row[1])) for row in rows if row[2].startswith(STATIONS)}

    def holder(self, number: int, ip: str, *tags: int, vlan: int) -> str:
        """Somebody who says that they have this address; their hardware address."""
        lladdr = f"02:00:00:00:02:{next(self.numbers):02x}"
        said = frames.arp(sha=lladdr, spa=ip, tpa=ip, tags=tags)
        self.ours.wires[number].send(said)
        answer = f"reg1={vlan:#x}" if vlan else ""
        asked = f"arp_tpa={ip},arp_op=1 actions=move"
        self.wait(
            lambda: any(
                answer in line and asked in line and lladdr in line
                for line in self.flows("br0").splitlines()
            ),
            f"{ip} of {lladdr} is answered for",
        )
        return lladdr

    def hears(self, number: int, lladdr: str) -> bytes:
        """The next frame to this station."""
        found: list[bytes] = []

        def is_there() -> bool:
            heard = self.ours.wires[number].heard()
            found.extend(f for f in heard if f[:6].hex(":") == lladdr)
            return bool(found)

        self.wait(is_there, f"a frame to {lladdr}")
        return found[0]

    def flows(self, bridge: str) -> str:
        return self.ovs.ofctl("-OOpenFlow13", "dump-flows", bridge)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with PrivateOvs() as ovs:
        pairs = Pair(ovs, "w", ("br0", "br1")), Pair(ovs, "n", ("n0", "n1"))
        try:
            yield Lab(ovs, *pairs)
        finally:
            for pair in pairs:
                pair.close()


def packet(
    number: int,
    tags: tuple[int, ...],
    eth_src: str = "",
    eth_dst: str = "",
    **more: Any,
) -> bytes:
    """Of a station behind a port that sends with these tags."""
    return frames.ipv4(
        eth_src=eth_src or station(number),
        eth_dst=eth_dst or frames.BROADCAST,
        src="10.9.9.9",
        dst="10.255.255.255",
        tags=tags,
        **more,
    )


def station(number: int) -> str:
    return f"{STATIONS}{number:02x}:00"


def test_a_broadcast_reaches_whom_normal_lets_it_reach_with_the_same_tags(
    lab: Lab,
) -> None:
    ours, normal = lab.both(*every(TAGS))
    assert ours == normal
    assert all(ours.values())  # and something has reached each of them


def every(tags: tuple[tuple[int, ...], ...]) -> list[tuple[int, bytes]]:
    return [
        (number, packet(number, some))
        for number, some in product(PORTS, tags)
        if not (some == (0,) and number in OF_NO_VLAN)
    ]


@pytest.mark.parametrize("number", OF_NO_VLAN)
def test_a_priority_tag_alone_is_taken_off(lab: Lab, number: int) -> None:
    """As the manual says of NORMAL (other_config:priority-tags)."""
    heard = lab.ours.after((number, packet(number, (0,), priority=3)))
    untagged = padded(packet(number, ()))
    for frames_of_port in heard.values():
        assert [padded(f)[12:] for f in frames_of_port] in ([], [untagged[12:]])
    assert sum(map(len, heard.values())) == 3


def test_a_tag_keeps_its_priority_and_what_is_behind_it(lab: Lab) -> None:
    odd: list[dict[str, Any]] = [
        {"tags": (10,), "priority": 5},
        {"tags": (10, 7)},
        {"tags": (20,), "service_tag": True},
    ]
    sent = [(n, packet(n, **said)) for n, said in product(PORTS, odd)]
    for n in (3, 4, 6, 7, 11, 15):
        sent.append((n, packet(n, (0,), priority=3)))
    ours, normal = lab.both(*sent)
    assert ours == normal


def test_a_frame_to_one_station_goes_where_normal_sends_it(lab: Lab) -> None:
    sources = [(n, tags) for n, tags in product(PORTS, TAGS[:1] + TAGS[3:5])]
    lab.both(*((n, packet(n, tags)) for n, tags in sources))
    lab.wait(lambda: lab.normally() <= lab.stations(), "all have been heard")
    targets = sorted({lladdr for lladdr, _ in lab.normally()})
    assert len(targets) == len(PORTS)
    for number in (3, 5, 6, 8, 11, 13):
        sent = [
            (n, packet(n, tags, eth_dst=target))
            for (n, tags), target in product(sources, targets)
            if n == number and target != station(n)
        ]
        ours, normal = lab.both(*sent)
        assert ours == normal


def asks(number: int, tpa: str, *tags: int, sha: str = "") -> bytes:
    sha, spa = sha or f"02:00:00:00:03:{number:02x}", f"10.4.0.{number}"
    return frames.arp(sha=sha, spa=spa, tpa=tpa, tags=tags)


def replies(lab: Lab, number: int, asked: bytes) -> list[bytes]:
    """All that comes back, from whoever it is."""
    wire = lab.ours.wires[number]
    lab.ours.settle()
    wire.heard()
    wire.send(asked)
    lab.ours.settle()
    return [padded(f) for f in wire.heard() if f[:6] == asked[6:12]]


def padded(frame: bytes) -> bytes:
    """A frame loses four octets with its tag, also where it was as short as may be."""
    return frame.ljust(frames.SHORTEST, b"\0")


def answer(number: int, ip: str, lladdr: str, *tags: int) -> bytes:
    asker = f"02:00:00:00:03:{number:02x}"
    return frames.arp(
        op=frames.REPLY,
        sha=lladdr,
        spa=ip,
        tha=asker,
        tpa=f"10.4.0.{number}",
        eth_dst=asker,
        tags=tags,
    )


@pytest.mark.parametrize(
    ("number", "asked_with", "answered_with"),
    [
        (11, (), ()),
        (3, (), ()),
        (3, (0,), ()),
        (5, (10,), (10,)),
        (6, (), ()),
        (6, (10,), ()),
        (7, (10,), (10,)),
        (8, (10,), (10,)),
        (13, (10,), (10,)),
    ],
)
def test_an_answer_leaves_as_the_port_of_who_asks_needs_it(
    lab: Lab, number: int, asked_with: tuple[int, ...], answered_with: tuple[int, ...]
) -> None:
    heard = replies(lab, number, asks(number, IP, *asked_with))
    assert heard == [answer(number, IP, HOST, *answered_with)]


@pytest.mark.parametrize(("number", "tags"), [(4, ()), (8, ()), (5, (20,)), (3, (10,))])
def test_who_is_in_another_vlan_is_told_nothing(
    lab: Lab, number: int, tags: tuple[int, ...]
) -> None:
    assert replies(lab, number, asks(number, IP, *tags)) == []


@pytest.mark.parametrize(
    ("number", "tags", "told"), [(11, (), ()), (5, (10,), (10,)), (6, (10,), ())]
)
@pytest.mark.parametrize("has_option", [True, False])
def test_a_solicitation_is_answered_by_switch_and_controller_as_the_port_needs_it(
    lab: Lab,
    number: int,
    tags: tuple[int, ...],
    told: tuple[int, ...],
    has_option: bool,
) -> None:
    """Without the option it is the controller that answers."""
    asker = f"02:00:00:00:03:{number:02x}"
    options = None if has_option else ()
    said: Any = {"eth_src": asker, "src": f"fe80::3:{number:x}", "target": IP6}
    wire = lab.ours.wires[number]
    wire.heard()
    wire.send(frames.ns(**said, options=options, tags=tags))
    found: list[bytes] = []

    def is_answered() -> bool:
        found.extend(f for f in wire.heard() if f[6:12].hex(":") == HOST)
        return any(map(frames.is_na, found))

    lab.wait(is_answered, "an advertisement")
    [advertised] = filter(frames.is_na, found)
    assert advertised[:6].hex(":") == asker
    assert vlan_of(advertised) == told


def vlan_of(frame: bytes) -> tuple[int, ...]:
    is_tagged = frame[12:14] == b"\x81\x00"
    return (int.from_bytes(frame[14:16], "big") & 0xFFF,) if is_tagged else ()


def test_the_same_address_in_two_vlans_is_two_hosts(lab: Lab) -> None:
    one = lab.holder(3, "10.5.0.5", vlan=10)
    other = lab.holder(4, "10.5.0.5", vlan=20)
    assert replies(lab, 11, asks(11, "10.5.0.5")) == [answer(11, "10.5.0.5", one)]
    for vlan, lladdr in ((10, one), (20, other)):
        expected = answer(5, "10.5.0.5", lladdr, vlan)
        assert replies(lab, 5, asks(5, "10.5.0.5", vlan)) == [expected]
    rows = [row for row in lab.hosts() if row["ip"] == "10.5.0.5"]
    assert {(row["vlan"], row["lladdr"], row["vlans"]) for row in rows} == {
        (10, one, "access 10"),
        (20, other, "access 20"),
    }


@pytest.mark.parametrize(
    ("number", "tags", "told"), [(3, (), ()), (8, (10,), (10,)), (8, (), ())]
)
def test_a_gateway_answers_in_every_vlan_as_the_port_needs_it(
    lab: Lab, number: int, tags: tuple[int, ...], told: tuple[int, ...]
) -> None:
    heard = replies(lab, number, asks(number, "10.3.0.1", *tags))
    assert heard == [answer(number, "10.3.0.1", GATEWAY, *told)]


def test_after_a_restart_nothing_has_changed_and_each_is_asked_as_its_port_needs_it(
    lab: Lab,
) -> None:
    access = lab.holder(3, "10.6.0.1", vlan=10)
    trunk = lab.holder(5, "10.6.0.2", 10, vlan=10)
    before = ages(lab.ovs)
    lines = lab.flows("br0").splitlines()
    own = [
        c
        for c in before
        for line in lines
        if c in line and (access in line or trunk in line)
    ]
    lab.controller.kill()
    lab.ours.settle()
    for number in (3, 5):
        lab.ours.wires[number].heard()
    lab.controller.start()
    for number, lladdr, tags in ((3, access, ()), (5, trunk, (10,))):
        probe = lab.hears(number, lladdr)
        assert frames.is_arp_request(probe)
        assert vlan_of(probe) == tags
    after = ages(lab.ovs)
    assert own
    assert all(after[cookie] >= before[cookie] for cookie in own)


def test_a_port_that_changes_its_vlan_is_another_place_at_once(lab: Lab) -> None:
    stays, moves = (
        lab.holder(4, "10.7.0.1", vlan=20),
        lab.holder(3, "10.7.0.2", vlan=10),
    )
    for pair in (lab.ours, lab.normal):
        pair.put(3, "tag=20")
    try:
        lab.wait(lambda: (moves, 10, "w3") not in lab.places(), "it is forgotten")
        lab.wait(
            lambda: lab.ours.after((3, packet(3, ())))[4] != [],
            "the flows have changed",
        )
        assert stays in {lladdr for lladdr, vlan, _ in lab.places() if vlan == 20}
        ours, normal = lab.both(*every(TAGS[:5]))
        assert ours == normal
    finally:
        for pair in (lab.ours, lab.normal):
            pair.put(3, "tag=10")


def test_nothing_passes_a_port_whose_mode_is_not_supported(lab: Lab) -> None:
    lab.ours.put(16, "vlan_mode=dot1q-tunnel", "tag=5")
    try:
        lab.wait(
            lambda: any("dot1q-tunnel is not supported" in w for w in warnings(lab)),
            "a warning",
        )
        lab.wait(lambda: not lab.ours.after((14, packet(14, ())))[16], "it is closed")
        sent = [(16, packet(16, tags)) for tags in TAGS]
        assert not any(lab.ours.after(*sent).values())
    finally:
        lab.ovs.vsctl("clear", "port", "w16", "vlan_mode", "tag")


def warnings(lab: Lab) -> list[str]:
    return list(ask(lab.controller.socket, "status")["warnings"])
