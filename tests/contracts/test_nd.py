"""Neighbor discovery of real kernels, and octet by octet, through a real switch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv6Address

import pytest

from controller.events import NdSeen
from controller.ndp import advertisement, checksum, solicitation
from controller.packets import parse
from flows.nd import solicited_node
from flows.nd_guard import SOLICITATION
from tests.contracts.test_end_to_end import (
    SOON,
    Controller,
    ages,
    dump,
    packet_ins,
    pings,
)
from tests.support.nd import Ear, Frame, ask
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

H1, H2, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:77"
IP1, IP2, HEARD = (IPv6Address(f"fd00::{n}") for n in ("1", "2", "77"))
KEPT = "fd00::7"  # the operator vouches that H2 holds it
ECHO_REQUEST = 128


class Lab:
    """br0, adopted, with two hosts whose IPv6 addresses the switch answers for."""

    def __init__(self, ovs: PrivateOvs, more: str = "", *features: str) -> None:
        self.ovs = ovs
        ovs.add_bridge("br0")
        for feature in features:
            ovs.appctl("dpif/set-dp-features", "br0", feature, "false")
        self.h1 = ovs.add_host("h1", "br0", "10.0.0.1/24", H1, ofport=1)
        self.h2 = ovs.add_host("h2", "br0", "10.0.0.2/24", H2, ofport=2)
        sources = f"sources: {{ovsdb: '{ovs.remote}'}}\n"
        binding = f"bindings: [{{ip: '{KEPT}', lladdr: '{H2}'}}]\n"
        self.controller = Controller(
            ovs, "bridges: {br0: {}}\n" + sources + binding + more
        )
        self.controller.start()
        self.add(self.h1, IP1)
        self.add(self.h2, IP2)
        own = {"fe80::ff:fe00:1", "fe80::ff:fe00:2", str(IP1), str(IP2), KEPT}
        self.wait(lambda: self.answered() == own, "duplicate address detection")
        self.wait(lambda: answers_for(ovs, IP2), "the switch")

    def add(self, host: Host, ip: object, *options: str) -> None:
        words = ("ip", "addr", "add", f"{ip}/64", "dev", "eth0", *options)
        self.ovs.run_in(host.namespace, *words)

    def wait(self, condition: Callable[[], object], why: str) -> None:
        wait_until(condition, within=SOON, why=why)

    def answered(self) -> set[str]:
        return set(self.controller.answered(6))

    def ask(self, *frames: bytes, wanted: int = 0) -> list[NdSeen]:
        """What comes back to h1, every checksum and hop limit right."""
        found = ask(self.ovs, self.h1, *frames, until="10.0.0.2", wanted=wanted)
        heard = [parse(1, 1, tagged(frame)) for frame in found]
        assert all(isinstance(one, NdSeen) for one in heard), heard
        return [one for one in heard if isinstance(one, NdSeen)]

    def say(self, frame: bytes) -> None:
        """From h2's port."""
        ask(self.ovs, self.h2, frame, until="10.0.0.1")


def tagged(frame: Frame) -> bytes:
    tag = b"\x81\x00" + frame.vlan.to_bytes(2, "big") if frame.vlan else b""
    return frame.data[:12] + tag + frame.data[12:]


def answers_for(ovs: PrivateOvs, ip: IPv6Address) -> bool:
    """The switch itself answers: a flow that makes an advertisement of a question."""
    question = re.compile(rf"nd_target={re.escape(str(ip))} actions=move")
    return question.search(dump(ovs)) is not None


def question(
    target: IPv6Address, *, src: IPv6Address = IP1, vlan: int = 0, eth_dst: str = ""
) -> bytes:
    """h1 asks."""
    group = solicited_node(target)
    return solicitation(
        eth_src=H1,
        eth_dst=eth_dst or "33:33:" + group.packed[-4:].hex(":"),
        src=src,
        dst=target if eth_dst else group,
        target=target,
        vlan=vlan,
    )


def without_options(frame: bytes) -> bytes:
    """The same question, cut down to its 24 octets, with its checksum."""
    body = bytearray(frame[54:78])
    body[2:4] = b"\0\0"
    right = checksum(frame[22:38], frame[38:54], bytes(body)).to_bytes(2, "big")
    body[2:4] = right
    return frame[:18] + b"\0\x18" + frame[20:54] + bytes(body)


def claim(
    ip: IPv6Address, lladdr: str, *, vlan: int = 0, router: bool = False
) -> bytes:
    """Somebody says that it holds an address."""
    all_nodes = NdSeen(
        *(1, 1, vlan, lladdr, "", SOLICITATION, IPv6Address("::"), IPv6Address("::")),
        *(ip, "", 0, True),
    )
    return advertisement(all_nodes, lladdr=lladdr, router=router)


def solicits(ip: IPv6Address, *, group: bool) -> Callable[[Frame], bool]:
    def is_meant(frame: Frame) -> bool:
        about = frame.data[62:78] == ip.packed
        return frame.kind == SOLICITATION and about and bool(frame.data[0] & 1) == group

    return is_meant


@pytest.fixture
def lab(ovs: PrivateOvs) -> Iterator[Lab]:
    yield Lab(ovs)


# --- kernels --------------------------------------------------------------------------


def test_kernels_find_each_other_and_nobody_else_hears_a_question(lab: Lab) -> None:
    ear = Ear(lab.ovs, lab.h2)
    before = packet_ins(lab.ovs)

    assert pings(lab.ovs, lab.h1, str(IP2), "-6")

    wait_until(lambda: ear.heard(lambda f: f.kind == ECHO_REQUEST), within=SOON)
    assert not ear.heard(solicits(IP2, group=True))
    shown = lab.ovs.run_in(lab.h1.namespace, "ip", "-6", "neigh", "show", str(IP2))
    assert f"lladdr {H2} REACHABLE" in shown.stdout
    assert packet_ins(lab.ovs) == before


def test_a_steady_network_is_silent(lab: Lab) -> None:
    before = packet_ins(lab.ovs)
    for _ in range(3):
        lab.ovs.run_in(lab.h1.namespace, "ip", "-6", "neigh", "flush", "dev", "eth0")
        lab.ovs.run_in(
            lab.h1.namespace, "ping", "-6", "-c100", "-i0.01", "-q", str(IP2)
        )
    assert packet_ins(lab.ovs) == before


def test_what_is_no_neighbor_discovery_pays_nothing_for_it(lab: Lab) -> None:
    """No flow of the datapath looks at the addresses or the hop limit of a ping."""
    assert pings(lab.ovs, lab.h1, str(IP2), "-6")

    cached = lab.ovs.appctl("dpctl/dump-flows").splitlines()
    echoes = [line for line in cached if "icmpv6(type=12" in line]
    assert echoes
    assert not [line for line in echoes if "hlimit" in line or "ipv6(src" in line]


def test_an_owner_detects_no_duplicate_and_anybody_else_does(lab: Lab) -> None:
    """The switch answers for the address before anybody has it."""

    def state(host: Host) -> str:
        words = ("ip", "-6", "addr", "show", "dev", "eth0", "to", KEPT)
        return lab.ovs.run_in(host.namespace, *words).stdout

    lab.add(lab.h1, KEPT)
    lab.add(lab.h2, KEPT)

    lab.wait(lambda: "dadfailed" in state(lab.h1), "h1 finds a duplicate")
    lab.wait(lambda: KEPT in state(lab.h2) and "tentative" not in state(lab.h2), "h2")
    assert "dadfailed" not in state(lab.h2)


def test_a_kernel_without_nonces_detects_the_duplicate_too(lab: Lab) -> None:
    conf = "net.ipv6.conf.eth0.enhanced_dad=0"
    lab.ovs.run_in(lab.h1.namespace, "sysctl", "-qw", conf)
    lab.add(lab.h1, IP2)

    def failed() -> bool:
        words = ("ip", "-6", "addr", "show", "dev", "eth0", "dadfailed")
        return str(IP2) in lab.ovs.run_in(lab.h1.namespace, *words).stdout

    lab.wait(failed, "h1 finds a duplicate")


# --- octet by octet -------------------------------------------------------------------


@pytest.mark.parametrize("feature", ["", "nd_ext"])
def test_the_switch_sends_what_the_owner_would(ovs: PrivateOvs, feature: str) -> None:
    """Also where the datapath cannot write the flags and the option itself."""
    lab = Lab(ovs, "", *filter(None, [feature]))
    ear = Ear(ovs, lab.h2)
    told = ask(ovs, lab.h1, question(IP2), until="10.0.0.2")

    asked = parse(1, 1, question(IP2))
    assert isinstance(asked, NdSeen)
    owners = advertisement(asked, lladdr=H2, router=False)
    assert [frame.data for frame in told] == [owners]
    assert not ear.heard(solicits(IP2, group=True))


def test_a_unicast_solicitation_reaches_its_target(lab: Lab) -> None:
    ear = Ear(lab.ovs, lab.h2)
    [answer] = lab.ask(question(IP2, eth_dst=H2), wanted=1)
    assert answer.lladdr in (H2, "")
    assert ear.heard(solicits(IP2, group=False))


def test_a_solicitation_without_the_option_gets_an_answer_with_it(lab: Lab) -> None:
    """From the controller; a kernel that does not know the asker would say nothing."""
    answer, *others = lab.ask(without_options(question(IP2)), wanted=1)
    assert (answer.lladdr, answer.flags) == (H2, 0x60000000)
    assert others in ([], [answer])


def test_a_probe_without_options_is_answered_twice_to_all_nodes(lab: Lab) -> None:
    """By the switch at once, and by the controller with the option."""
    probe = without_options(question(IP2, src=IPv6Address("::")))
    answers = lab.ask(probe, wanted=2)
    assert [answer.lladdr for answer in answers] == ["", H2]
    for answer in answers:
        assert (answer.eth_dst, answer.flags) == ("33:33:00:00:00:01", 0x20000000)
        assert answer.target == answer.src == IP2


def test_an_answer_keeps_the_vlan_of_its_question(lab: Lab) -> None:
    lab.say(claim(HEARD, OTHER, vlan=5))
    lab.wait(lambda: answers_for(lab.ovs, HEARD), "the claim on VLAN 5")

    [answer] = lab.ask(question(HEARD, vlan=5))

    assert (answer.vlan, answer.lladdr) == (5, OTHER)
    assert lab.ask(question(HEARD)) == []


def says(lab: Lab, flags: int) -> bool:
    return [answer.flags for answer in lab.ask(question(IP2))] == [flags]


def test_a_kernel_that_forwards_is_answered_for_as_a_router(lab: Lab) -> None:
    """As it would say itself: RFC 4861, 4.4, the flag R."""
    for forwards, flags in (("1", 0xE0000000), ("0", 0x60000000)):
        conf = f"net.ipv6.conf.eth0.forwarding={forwards}"
        lab.ovs.run_in(lab.h2.namespace, "sysctl", "-qw", conf)
        lab.wait(partial(says, lab, flags), conf)


# --- what does not live is not answered for -------------------------------------------


def test_nobody_is_answered_for_whose_address_or_link_is_gone(lab: Lab) -> None:
    assert lab.ask(question(IP2))
    lab.ovs.run_in(lab.h2.namespace, "ip", "addr", "del", f"{IP2}/64", "dev", "eth0")
    lab.wait(lambda: not answers_for(lab.ovs, IP2), "the address is gone")
    assert lab.ask(question(IP2)) == []

    link_local = IPv6Address("fe80::ff:fe00:2")
    assert lab.ask(question(link_local))
    lab.ovs.run_in(lab.h2.namespace, "ip", "link", "set", "eth0", "down")
    lab.wait(lambda: not answers_for(lab.ovs, link_local), "the link is down")


# --- who is only heard ----------------------------------------------------------------


def test_a_heard_host_survives_restarts_and_the_time_between(lab: Lab) -> None:
    lab.say(claim(HEARD, OTHER))
    lab.say(claim(IPv6Address("fe80::77"), OTHER, router=True))
    lab.wait(lambda: {str(HEARD), "fe80::77"} <= lab.answered(), "both claims")
    lab.wait(lambda: answers_for(lab.ovs, IPv6Address("fe80::77")), "the switch")
    before, everybody = ages(lab.ovs), lab.answered()

    lab.controller.kill()
    [answer] = lab.ask(question(IPv6Address("fe80::77")))
    assert (answer.lladdr, answer.flags) == (OTHER, 0xE0000000)
    lab.controller.start()
    lab.wait(lambda: lab.answered() == everybody, "all is known again")

    after = ages(lab.ovs)
    assert after.keys() == before.keys()
    assert all(after[cookie] > before[cookie] for cookie in before)


def test_a_heard_host_is_asked_and_lives_or_is_forgotten(ovs: PrivateOvs) -> None:
    """Without the kernel's word: h2 answers the controller's probe, OTHER does not."""
    ovs.add_bridge("br0")
    h1 = ovs.add_host("h1", "br0", "10.0.0.1/24", H1, ofport=1)
    h2 = ovs.add_host("h2", "br0", "10.0.0.2/24", H2, ofport=2)
    config = f"sources: {{netlink: false, ovsdb: '{ovs.remote}'}}\n"
    controller = Controller(
        ovs, "bridges: {br0: {}}\nliveness: {silent_after: 10}\n" + config
    )
    controller.start()
    for host, ip in ((h1, IP1), (h2, IP2)):
        words = ("ip", "addr", "add", f"{ip}/64", "dev", "eth0", "nodad")
        ovs.run_in(host.namespace, *words)
    wait_until(lambda: pings(ovs, h1, str(IP2), "-6"), within=SOON, why="a way")
    assert pings(ovs, h1, "10.0.0.2")
    ask(ovs, h2, claim(HEARD, OTHER), until="10.0.0.1")
    wait_until(lambda: str(HEARD) in controller.answered(6), within=SOON, why="OTHER")

    wait_until(
        lambda: str(HEARD) not in controller.answered(6), within=60, why="forgotten"
    )

    assert controller.isat("status")["counters"]["probes sent"] >= 3
    assert {str(IP1), str(IP2)} <= controller.answered(6).keys()
