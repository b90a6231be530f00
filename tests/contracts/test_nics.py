"""A Linux host with two interfaces in one segment: who answers for its addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.contracts.test_end_to_end import SOON, Controller, answers_for, pings
from tests.support import frames
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until
from tests.support.wires import Wire, plug

pytestmark = [pytest.mark.root, pytest.mark.ovs]

FIRST, SECOND, ASKER = (f"02:00:00:00:00:0{n}" for n in (1, 2, 9))
IP1, IP2, ASKER_IP = "10.0.0.1", "10.0.0.2", "10.0.0.9"
IP2_6, ASKER_IP6 = "fd00::2", "fd00::9"
OWNER = {IP1: FIRST, IP2: SECOND}
ASKED = 5  # times; Linux answers on both interfaces each time, in any order
AS_LINUX = "nics: {arp_ignore: 0, arp_announce: 0}"


@dataclass
class Lab:
    """10.0.0.1 on eth0 and 10.0.0.2 on eth1 of one namespace, at ports 1 and 2 of br0;
    the asker holds the end of the cable at port 3."""

    ovs: PrivateOvs
    twin: Host
    wire: Wire

    def controlled(self, config: str = "") -> Controller:
        controller = Controller(
            self.ovs,
            f"bridges: {{br0: {{}}}}\n{config}\n"
            f"sources: {{ovsdb: '{self.ovs.remote}'}}\n",
        )
        controller.start()
        for ip in OWNER:
            wait_until(lambda ip=ip: answers_for(self.ovs, ip), within=SOON, why=ip)  # type: ignore[misc]
        self.wire.heard()
        return controller

    def ask(self, ip: str, eth_dst: str = frames.BROADCAST) -> None:
        question = frames.arp(sha=ASKER, spa=ASKER_IP, tpa=ip, eth_dst=eth_dst)
        self.wire.send(question)

    def answers(self, ip: str, least: int) -> set[str]:
        """Who says that it has this address, when so many have said something."""
        found: list[str] = []

        def enough() -> bool:
            heard = self.wire.heard()
            found.extend(answerer(f) for f in heard if is_answer(f, ip))
            return len(found) >= least

        wait_until(enough, within=SOON, why=f"{least} answers for {ip}")
        return set(found)

    def twin_asks(self, ip: str) -> set[tuple[str, str]]:
        """Sender's addresses of the questions that a ping from 10.0.0.2 causes."""
        ping = ("ping", "-c1", "-W1", "-I", IP2, ip)
        self.ovs.run_in(self.twin.namespace, *ping, check=False)
        found: set[tuple[str, str]] = set()

        def some() -> bool:
            for frame in self.wire.heard():
                if is_arp(frame, op=1) and dotted(frame[38:42]) == ip:
                    found.add((frame[22:28].hex(":"), dotted(frame[28:32])))
            return bool(found)

        wait_until(some, within=SOON, why=f"a question for {ip}")
        return found


def dotted(octets: bytes) -> str:
    return ".".join(map(str, octets))


def is_arp(frame: bytes, op: int) -> bool:
    return frame[12:14] == b"\x08\x06" and frame[20:22] == op.to_bytes(2, "big")


def is_answer(frame: bytes, ip: str) -> bool:
    return is_arp(frame, op=2) and dotted(frame[28:32]) == ip


def answerer(frame: bytes) -> str:
    return frame[22:28].hex(":")


@pytest.fixture
def lab(ovs: PrivateOvs) -> Iterator[Lab]:
    ovs.add_bridge("br0")
    twin = ovs.add_host("twin", "br0", f"{IP1}/24", FIRST, ofport=1)
    inside = twin.namespace
    ovs.run(
        *("ip", "link", "add", "second", "type", "veth"),
        *("peer", "name", "eth1", "address", SECOND, "netns", inside),
    )
    for name in ("all", "default", "eth0", "eth1"):
        ovs.run_in(inside, "sysctl", "-qw", f"net.ipv4.conf.{name}.rp_filter=0")
    ovs.run_in(inside, "ethtool", "-K", "eth1", "tx", "off")
    ovs.run_in(inside, "ip", "address", "add", f"{IP2}/24", "dev", "eth1")
    ovs.run_in(inside, "ip", "address", "add", f"{IP2_6}/64", "dev", "eth1", "nodad")
    ovs.run_in(inside, "ip", "link", "set", "eth1", "up")
    ovs.run("ip", "link", "set", "second", "up")
    request = ("--", "set", "interface", "second", "ofport_request=2")
    ovs.vsctl("add-port", "br0", "second", *request)
    ovs.add_namespace(f"{ovs.namespace}-wire")
    wires = plug(ovs, f"{ovs.namespace}-wire", "br0", {3: "asker"})
    yield Lab(ovs, twin, wires[3])
    wires[3].close()


def test_on_a_plain_switch_both_interfaces_answer(lab: Lab) -> None:
    """The flux is there: this test can see."""
    for ip in OWNER:
        lab.ask(ip)
        assert lab.answers(ip, least=2) == {FIRST, SECOND}


def test_every_asker_gets_the_owner_and_nobody_else(lab: Lab) -> None:
    lab.controlled()
    for ip, owner in OWNER.items():
        other = ({*OWNER.values()} - {owner}).pop()
        for _ in range(ASKED):
            lab.ask(ip)
            lab.ask(ip, eth_dst=other)  # a poll of who is taken for the owner
            lab.ask(ip, eth_dst=owner)
        assert lab.answers(ip, least=2 * ASKED) == {owner}


def test_as_linux_does_by_itself_a_poll_of_the_wrong_interface_is_answered(
    lab: Lab,
) -> None:
    lab.controlled(AS_LINUX)
    lab.ask(IP2, eth_dst=FIRST)
    assert lab.answers(IP2, least=1) == {FIRST}
    lab.ask(IP2)
    assert SECOND in lab.answers(IP2, least=1)


def test_questions_are_asked_with_an_address_of_the_interface_that_asks(
    lab: Lab,
) -> None:
    lab.controlled()
    assert lab.twin_asks("10.0.0.77") == {(FIRST, IP1)}


def test_as_linux_does_by_itself_they_are_asked_with_any(lab: Lab) -> None:
    lab.controlled(AS_LINUX)
    assert lab.twin_asks("10.0.0.77") == {(FIRST, IP2)}


def test_the_host_is_told_by_name(lab: Lab) -> None:
    controller = lab.controlled()
    log = lab.ovs.log("isat.log")
    assert "has several interfaces in one segment: eth0 at br0:twin" in log
    rows = {
        (row["lladdr"], row["port"], row["ip"], row["against"]["lladdr"])
        for row in controller.isat("conflicts")
        if row["kind"] == "ARP flux"
    }
    assert rows == {(FIRST, "twin", IP2, SECOND), (SECOND, "second", IP1, FIRST)}


def test_no_connection_of_such_a_host_is_cut_off_where_ports_are_guarded(
    lab: Lab,
) -> None:
    """Its packets from 10.0.0.2 leave by eth0, as its routes say."""
    third = lab.ovs.add_host("h3", "br0", "10.0.0.3/24", "02:00:00:00:00:03", ofport=4)
    controller = lab.controlled("guard: enforce")
    wait_until(lambda: answers_for(lab.ovs, "10.0.0.3"), within=SOON, why="h3")
    for ip in OWNER:
        assert pings(lab.ovs, third, ip)
        assert pings(lab.ovs, lab.twin, "10.0.0.3", "-I", ip)
    kinds = {row["kind"] for row in controller.isat("conflicts")}
    assert kinds == {"ARP flux"}


def test_linux_answers_solicitations_for_the_addresses_of_the_very_interface(
    lab: Lab,
) -> None:
    """So there is nothing to settle in IPv6."""
    asked = frames.ns(
        eth_src=ASKER,
        src=ASKER_IP6,
        target=IP2_6,
        dst=IP2_6,
        eth_dst=FIRST,
        options=(frames.sll(ASKER),),
    )
    right = frames.ns(
        eth_src=ASKER,
        src=ASKER_IP6,
        target=IP2_6,
        dst=IP2_6,
        eth_dst=SECOND,
        options=(frames.sll(ASKER),),
    )
    heard: set[str] = set()

    def answered() -> bool:
        lab.wire.send(asked, right)
        for frame in lab.wire.heard():
            if frame[12:14] == b"\x86\xdd" and frame[54] == 136:
                heard.add(frame[6:12].hex(":"))
        return bool(heard)

    wait_until(answered, within=SOON, why="an advertisement")
    assert heard == {SECOND}
