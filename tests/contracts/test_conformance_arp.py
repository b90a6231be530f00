"""ARP on a real switch, frame by frame: RFC 826, 1027, 1122 and 5227.

Which rule each test shows is told in docs/reference/conformance.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP

from tests.contracts.conftest import private_ovs
from tests.contracts.segment import (
    H1,
    H2,
    IP1,
    IP2,
    Heard,
    Segment,
    Station,
    all_but,
    only,
    segment_of,
)
from tests.support.frames import BROADCAST, REPLY, ZERO, arp, framed, is_arp_reply

pytestmark = [pytest.mark.root, pytest.mark.ovs]

GROUP = "01:00:5e:00:00:05"


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    with private_ovs() as ovs, segment_of(ovs) as made:
        yield made


def answer(holder: Station, asker: Station, **fields: object) -> bytes:
    """What the owner would say."""
    said = {"op": REPLY, "sha": holder.lladdr, "spa": holder.ip}
    to = {"tha": asker.lladdr, "tpa": asker.ip, "eth_dst": asker.lladdr}
    return arp(**said | to | fields)  # type: ignore[arg-type]


NOTHING: Heard = {}


# --- who is answered, and how ---------------------------------------------------------


def test_a_question_is_answered_once_where_it_came_from(segment: Segment) -> None:
    holder, asker = segment.known(3), segment.station(4)
    heard = segment.after(asker.wire, asker.asks(holder.ip))
    assert heard == only(4, answer(holder, asker))


@pytest.mark.parametrize("size", [42, 60, 64, 1514])
def test_the_length_of_its_padding_does_not_matter(segment: Segment, size: int) -> None:
    holder, asker = segment.known(3), segment.station(4)
    question = asker.asks(holder.ip)[:42].ljust(size, b"\0")
    told = answer(holder, asker)[:42].ljust(size, b"\0")
    assert segment.after(asker.wire, question) == only(4, told)


@pytest.mark.parametrize("priority", [0, 5])
@pytest.mark.parametrize("service_tag", [False, True], ids=["802.1Q", "802.1ad"])
def test_an_answer_keeps_the_tag_of_its_question(
    segment: Segment, service_tag: bool, priority: int
) -> None:
    holder, asker = segment.known(3, vlan=5), segment.station(4)
    tag = {"tags": (5,), "service_tag": service_tag, "priority": priority}
    heard = segment.after(asker.wire, asker.asks(holder.ip, **tag))
    assert heard == only(4, answer(holder, asker, **tag))
    untagged = asker.asks(holder.ip)
    assert segment.after(asker.wire, untagged) == all_but(4, untagged)


def test_a_frame_with_a_priority_alone_is_untagged(segment: Segment) -> None:
    """IEEE 802.1Q, 6.9.1: VLAN identifier 0 names no VLAN."""
    holder, asker = segment.known(3), segment.station(4)
    heard = segment.after(asker.wire, asker.asks(holder.ip, tags=(0,)))
    assert heard == only(4, answer(holder, asker)[: -len(TAG)])


TAG = bytes(4)  # octets that the shortest frame lacks when it has lost its tag


def test_arp_behind_two_tags_is_another_networks(segment: Segment) -> None:
    holder, asker = segment.known(3, vlan=5), segment.station(4)
    question = asker.asks(holder.ip, tags=(5, 6), service_tag=True)
    assert segment.after(asker.wire, question) == all_but(4, question)
    segment.consider()
    assert segment.told(asker.ip) == {}


def test_a_question_in_an_802_3_frame_is_answered_in_one(segment: Segment) -> None:
    """RFC 1042; RFC 1122, 2.3.3."""
    holder, asker = segment.known(3), segment.station(4)
    heard = segment.after(asker.wire, asker.asks(holder.ip, snap=True))
    assert heard == only(4, answer(holder, asker, snap=True))


def test_who_asks_for_another_is_answered_by_frame_and_field(segment: Segment) -> None:
    """The frame goes to its source, ar$tha is who was said to ask."""
    holder, asker = segment.known(3), segment.station(4)
    other = segment.station(4)
    question = asker.asks(holder.ip, eth_src=other.lladdr)
    told = answer(holder, asker, eth_dst=other.lladdr)
    assert segment.after(asker.wire, question) == only(4, told)
    segment.consider()
    assert segment.told(asker.ip) == {}


def test_a_question_is_answered_by_one_of_two_switches(segment: Segment) -> None:
    holder, asker = segment.known(3), segment.station(7)
    heard = segment.after(asker.wire, asker.asks(holder.ip))
    assert heard == only(7, answer(holder, asker))
    segment.wait(lambda: segment.told(asker.ip), "the asker is learned")
    assert segment.told(asker.ip) == {asker.lladdr: "w7"}


def test_a_question_for_nobodys_address_reaches_everybody_once(
    segment: Segment,
) -> None:
    asker, free = segment.station(7), segment.station(3)
    question = asker.asks(free.ip)
    assert segment.after(asker.wire, question) == all_but(7, question)


# --- who is not -----------------------------------------------------------------------

OWN_QUESTIONS: dict[str, dict[str, str]] = {
    "a question": {},
    "a probe": {"spa": "0.0.0.0"},
    "an announcement": {"spa": "its own"},
}


@pytest.mark.parametrize("kind", OWN_QUESTIONS)
def test_an_owner_is_never_told_that_somebody_has_its_address(
    segment: Segment, kind: str
) -> None:
    holder = segment.known(3)
    spa = OWN_QUESTIONS[kind].get("spa", "10.1.255.1").replace("its own", holder.ip)
    question = holder.asks(holder.ip, spa=spa)
    assert segment.after(holder.wire, question) == all_but(3, question)
    segment.consider()
    assert segment.heard(segment.wires[3]) == []


@pytest.mark.parametrize("port_no", [4, 7])
def test_an_owner_that_has_moved_is_not_answered_either(
    segment: Segment, port_no: int
) -> None:
    """It probes again where it is now, before anybody knows that it is there."""
    holder = segment.known(3)
    moved = holder.at(segment.wires[port_no])
    probe = moved.asks(holder.ip, spa="0.0.0.0")
    assert segment.after(moved.wire, probe) == all_but(port_no, probe)
    segment.consider()
    assert segment.heard(moved.wire) == []


def test_who_stands_beside_the_owner_asks_it_itself(segment: Segment) -> None:
    """Two hosts behind one port: RFC 1027, 2.2."""
    holder, neighbor = segment.known(3), segment.station(3)
    question = neighbor.asks(holder.ip)
    assert segment.after(neighbor.wire, question) == all_but(3, question)


@pytest.mark.parametrize("tpa", ["255.255.255.255", "224.0.0.1", "0.0.0.0"])
def test_what_is_nobodys_address_is_not_answered_for(
    segment: Segment, tpa: str
) -> None:
    asker = segment.known(4)
    question = asker.asks(tpa)
    assert segment.after(asker.wire, question) == all_but(4, question)


def test_a_poll_reaches_the_one_it_asks_and_nobody_else(segment: Segment) -> None:
    holder, asker = segment.known(3), segment.known(4)
    poll = asker.asks(holder.ip, eth_dst=holder.lladdr)
    assert segment.after(asker.wire, poll) == only(3, poll)
    told = answer(holder, asker)
    assert segment.after(holder.wire, told) == only(4, told)


# --- probes and announcements: RFC 5227 -----------------------------------------------


def test_a_probe_of_a_held_address_is_answered_as_by_its_owner(
    segment: Segment,
) -> None:
    holder, prober = segment.known(3), segment.station(4)
    heard = segment.after(prober.wire, prober.asks(holder.ip, spa="0.0.0.0"))
    assert heard == only(4, answer(holder, prober, tpa="0.0.0.0"))


def test_a_probe_of_a_free_address_reaches_every_other_prober(
    segment: Segment,
) -> None:
    """And does not come back: its sender would take it for a rival's."""
    prober = segment.station(4)
    probe = prober.asks(prober.ip, spa="0.0.0.0")
    assert segment.after(prober.wire, probe) == all_but(4, probe)
    segment.consider()
    assert segment.heard(prober.wire) == []
    assert segment.told(prober.ip) == segment.told("0.0.0.0") == {}


ANNOUNCEMENTS = [(op, tha) for op in (1, 2) for tha in (ZERO, BROADCAST, "own")]


@pytest.mark.parametrize(("op", "tha"), ANNOUNCEMENTS)
def test_an_announcement_of_any_form_is_heard_and_believed(
    segment: Segment, op: int, tha: str
) -> None:
    host = segment.station(3)
    tha = host.lladdr if tha == "own" else tha
    said = host.asks(host.ip, op=op, tha=tha)
    for _ in range(2):  # as news, and when it is known
        assert segment.after(host.wire, said) == all_but(3, said)
        segment.wait(lambda: segment.answers(host.ip), "it is believed")
    assert segment.told(host.ip) == {host.lladdr: "w3"}


def test_a_broadcast_reply_is_heard_and_believed(segment: Segment) -> None:
    host, other = segment.station(3), segment.known(4)
    said = answer(host, other, eth_dst=BROADCAST)
    assert segment.after(host.wire, said) == all_but(3, said)
    segment.wait(lambda: segment.answers(host.ip), "it is believed")


def test_an_owner_hears_who_else_claims_its_address(segment: Segment) -> None:
    """So that it can defend itself: RFC 5227, 2.4."""
    holder = segment.known(3)
    with segment.plugged("w8", 8):
        rival = segment.station(8)
        claim = rival.asks(holder.ip, spa=holder.ip)
        assert segment.after(rival.wire, claim) == all_but(8, claim)
        segment.wait(lambda: not segment.answers(holder.ip), "nobody is believed")
        question = segment.station(5).asks(holder.ip)
        assert segment.after(segment.wires[5], question)[3] == [question]
    segment.wait(lambda: segment.answers(holder.ip), "the rival is gone")


# --- what teaches nothing -------------------------------------------------------------

STRANGE: dict[str, dict[str, Any]] = {
    "other hardware": {"kind": (6, 0x0800, 6, 4)},
    "another protocol": {"kind": (1, 0x86DD, 6, 4)},
    "longer hardware addresses": {"kind": (1, 0x0800, 8, 4)},
    "longer protocol addresses": {"kind": (1, 0x0800, 6, 16)},
    "reverse ARP, a request": {"op": 3},
    "reverse ARP, a reply": {"op": 4},
    "inverse ARP, a request": {"op": 8},
    "inverse ARP, a reply": {"op": 9},
    "an operation whose low octet is a request's": {"op": 257},
    "an operation whose low octet is a reply's": {"op": 258},
}


@pytest.mark.parametrize("kind", STRANGE)
def test_arp_of_another_kind_is_passed_on_and_teaches_nothing(
    segment: Segment, kind: str
) -> None:
    holder, host = segment.known(3), segment.station(4)
    said = host.asks(holder.ip, **STRANGE[kind])
    assert segment.after(host.wire, said) == all_but(4, said)
    segment.consider()
    assert segment.told(host.ip) == {}


def test_arp_that_is_cut_off_is_passed_on_and_teaches_nothing(
    segment: Segment,
) -> None:
    host = segment.station(4)
    said = host.asks(host.ip)[:34]
    assert segment.after(host.wire, said) == all_but(4, said)
    segment.consider()
    assert segment.told(host.ip) == {}


def test_reverse_arp_has_an_ethertype_of_its_own(segment: Segment) -> None:
    """RFC 903: its fields are ARP's, and claim nothing."""
    host, other = segment.station(4), segment.known(3)
    said = host.asks(other.ip)
    said = said[:12] + b"\x80\x35" + said[14:]
    assert segment.after(host.wire, said) == all_but(4, said)
    segment.consider()
    assert segment.told(host.ip) == {}


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "a group as source of the frame": {"eth_src": GROUP},
    "nobody as source of the frame": {"eth_src": ZERO},
    "a group": {"sha": GROUP},
    "the broadcast address": {"sha": BROADCAST},
    "no hardware address": {"sha": ZERO},
    "loopback": {"spa": "127.0.0.1"},
    "a multicast group": {"spa": "224.0.0.5"},
    "limited broadcast": {"spa": "255.255.255.255"},
    "nobody who replies": {"spa": "0.0.0.0", "op": REPLY},
}


@pytest.mark.parametrize("sender", IMPOSSIBLE)
def test_an_impossible_sender_is_heard_by_nobody(segment: Segment, sender: str) -> None:
    holder, host = segment.known(3), segment.station(4)
    fields = {"eth_src": host.lladdr} | IMPOSSIBLE[sender]
    said = host.asks(holder.ip, **fields)
    assert segment.after(host.wire, said) == NOTHING
    segment.consider()
    known = {row["lladdr"] for row in segment.hosts()}
    assert host.lladdr not in known and GROUP not in known and ZERO not in known


def test_a_router_does_not_own_what_it_forwards(segment: Segment) -> None:
    router, host = segment.known(3), segment.known(4)
    routed = framed(
        IP(src="192.0.2.9", dst=host.ip) / ICMP(),
        eth_src=router.lladdr,
        eth_dst=host.lladdr,
        eth_type=0x0800,
    )
    assert segment.after(router.wire, routed) == only(4, routed)
    segment.consider()
    assert segment.told("192.0.2.9") == {}


# --- who holds what -------------------------------------------------------------------


def test_one_station_may_hold_many_addresses(segment: Segment) -> None:
    first = segment.known(3)
    second = replace(segment.station(3), lladdr=first.lladdr)
    second.announces()
    segment.wait(lambda: segment.answers(second.ip), "the second address")
    asker = segment.station(4)
    for holder in (first, second):
        heard = segment.after(asker.wire, asker.asks(holder.ip))
        assert heard == only(4, answer(holder, asker))


@pytest.mark.parametrize("prefix", ["00:00:5e:00:01:", "00:00:0c:07:ac:"])
def test_the_address_of_a_virtual_router_moves_with_its_master(
    segment: Segment, prefix: str
) -> None:
    """VRRP (RFC 9568, 7.3), CARP, HSRP: the new master announces the same station."""
    made = segment.station(3)
    master = replace(made, lladdr=prefix + made.lladdr[-2:])
    for port_no, name in ((3, "w3"), (4, "w4"), (3, "w3")):
        master.at(segment.wires[port_no]).announces()
        at = {master.lladdr: name}
        segment.wait(lambda at=at: segment.told(master.ip) == at, name)  # type: ignore[misc]
        asker = segment.station(5)
        segment.wait(lambda: segment.answers(master.ip), "it is answered for")
        heard = segment.after(asker.wire, asker.asks(master.ip))
        assert heard == only(5, answer(master, asker))
        unicast = asker.asks(master.ip, eth_dst=master.lladdr)
        assert segment.after(asker.wire, unicast) == only(port_no, unicast)


def test_the_switchs_own_port_is_a_host_like_others(segment: Segment) -> None:
    """LOCAL: br0 has an address, asks, and is asked."""
    segment.ovs.run("ip", "addr", "add", "10.0.0.200/24", "dev", "br0")
    segment.ovs.run("ip", "link", "set", "br0", "up")
    segment.wait(lambda: segment.answers("10.0.0.200"), "br0 is answered for")
    asker = segment.station(4)
    heard = segment.after(asker.wire, asker.asks("10.0.0.200"))[4]
    [told] = filter(is_arp_reply, heard)
    lladdr = segment.ovs.run("cat", "/sys/class/net/br0/address").stdout.strip()
    assert told == answer(replace(asker, lladdr=lladdr, ip="10.0.0.200"), asker)
    ping = ("ping", "-c1", "-W5", IP1)
    assert segment.ovs.run(*ping, check=False).returncode == 0
    own = ("arping", "-D", "-q", "-c1", "-w1", "-I", "br0", "10.0.0.200")
    assert segment.ovs.run(*own, check=False).returncode == 0
    segment.ovs.run("ip", "addr", "flush", "dev", "br0")
    segment.ovs.run("ip", "link", "set", "br0", "down")


def test_a_port_number_that_is_used_again_inherits_nothing(segment: Segment) -> None:
    with segment.plugged("w8", 8):
        gone = segment.known(8)
    segment.wait(lambda: not segment.answers(gone.ip), "its answer goes")
    with segment.plugged("w10", 8) as wire:
        newcomer = segment.known(8)
        asker = segment.station(4)
        question = asker.asks(gone.ip)
        assert segment.after(asker.wire, question)[8] == [question]
        assert gone.lladdr not in segment.flows("br0")
        gone.at(wire).announces()
        segment.wait(lambda: segment.answers(gone.ip), "it is back")
        assert segment.told(newcomer.ip) == {newcomer.lladdr: "w10"}
        assert segment.told(gone.ip) == {gone.lladdr: "w10"}


# --- the switch between controller and hosts ------------------------------------------


def test_known_senders_cost_no_packet_in(segment: Segment) -> None:
    holder, asker = segment.known(3), segment.known(4)
    segment.consider()
    before = segment.counters()["ArpSeen"]
    said = (asker.asks(holder.ip), asker.asks(asker.ip))
    segment.after(asker.wire, *said * 10)
    segment.consider()
    assert segment.counters()["ArpSeen"] == before


def test_news_is_passed_on_without_waiting_for_the_controller(
    segment: Segment,
) -> None:
    holder, host = segment.known(3), segment.station(4)
    with segment.paused():
        said = host.asks(host.ip)
        assert segment.after(host.wire, said) == all_but(4, said)
        heard = segment.after(host.wire, host.asks(holder.ip))
        assert heard == only(4, answer(holder, host))
    segment.wait(lambda: segment.answers(host.ip), "the controller has heard it, too")


def test_a_question_that_overtakes_the_answer_is_answered_by_packet_out(
    segment: Segment,
) -> None:
    """Holder and asker are news in the same moment: nobody has told the switch yet."""
    holder, asker = segment.station(3), segment.station(4)
    with segment.paused():
        holder.announces()
        segment.settle()
        question = asker.asks(holder.ip)
        assert segment.after(asker.wire, question) == all_but(4, question)
    segment.consider()
    assert segment.heard(asker.wire) == [answer(holder, asker)]


def test_a_new_connection_is_no_new_switch(segment: Segment) -> None:
    holder, asker = segment.known(3), segment.known(4)
    segment.consider()
    before, counters = segment.ages(), segment.counters()

    segment.ovs.appctl("bridge/reconnect", "br0")

    heard = segment.after(asker.wire, asker.asks(holder.ip))
    assert heard == only(4, answer(holder, asker))
    back = counters["FlowsListed"] + 1
    segment.wait(lambda: segment.counters()["FlowsListed"] >= back, "it is back")
    segment.consider()
    after = segment.ages()
    assert after.keys() == before.keys()
    assert all(after[cookie] >= age for cookie, age in before.items())
    for name in ("flows added", "flows deleted"):
        assert segment.counters()[name] == counters[name]


@pytest.mark.parametrize("last", ["00", "02", "03", "0e"])
def test_what_concerns_one_cable_goes_no_further(segment: Segment, last: str) -> None:
    """Spanning tree, LACP, EAPOL, LLDP."""
    host = segment.station(4)
    said = host.asks(host.ip, eth_dst=f"01:80:c2:00:00:{last}")
    control = said[:12] + b"\x88\xcc" + said[14:]
    assert segment.after(host.wire, said, control) == NOTHING


def test_every_flow_is_ours_stays_and_no_table_lets_a_frame_fall_through(
    segment: Segment,
) -> None:
    for bridge in ("br0", "br1"):
        flows = segment.flows(bridge)
        assert "idle_timeout" not in flows and "hard_timeout" not in flows
        lines = [line for line in flows.splitlines() if "cookie=" in line]
        assert all("cookie=0x15a7" in line for line in lines)
        tables = {line.partition("table=")[2].partition(",")[0] for line in lines}
        last = {
            line.partition("table=")[2].partition(",")[0]
            for line in lines
            if "priority=0 " in line
        }
        assert tables == last


def test_nobody_else_on_the_network_reaches_the_controller(segment: Segment) -> None:
    """No port is open but OpenFlow's, to this host alone."""
    listening = segment.ovs.run("ss", "-ltnH").stdout.splitlines()
    assert [line.split()[3] for line in listening] == ["127.0.0.1:6653"]


# --- kernels --------------------------------------------------------------------------


def test_arping_hears_one_answer_from_the_owners_hardware_address(
    segment: Segment,
) -> None:
    done = segment.ovs.run_in(
        segment.h1.namespace, "arping", "-c1", "-w5", "-I", "eth0", IP2
    )
    assert f"Unicast reply from {IP2} [{H2.upper()}]" in done.stdout
    assert "Received 1 response(s)" in done.stdout


def test_arping_takes_no_address_that_was_only_heard_of(segment: Segment) -> None:
    """`arping -D`: RFC 5227, 2.1.1; it ends with 1 as soon as somebody has it."""
    holder = segment.known(3)
    probe = ("arping", "-D", "-q", "-c1", "-w5", "-I", "eth0", holder.ip)
    done = segment.ovs.run_in(segment.h1.namespace, *probe, check=False)
    assert done.returncode == 1
    assert segment.told(holder.ip) == {holder.lladdr: "w3"}


def test_a_kernel_that_polls_its_neighbor_hears_the_neighbor(segment: Segment) -> None:
    """RFC 1122, 2.3.2.1: a unicast request, which the other kernel answers itself."""
    question = arp(sha=H1, spa=IP1, tpa=IP2, eth_dst=H2)
    with segment.listen(segment.h2) as h2, segment.listen(segment.h1) as h1:
        h1.send(question)
        told = arp(op=REPLY, sha=H2, spa=IP2, tha=H1, tpa=IP1, eth_dst=H1)
        segment.wait(lambda: question in h2.heard(), "the poll arrives")
        segment.wait(lambda: told[:42] in [f[:42] for f in h1.heard()], "the answer")
