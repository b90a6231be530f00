"""Neighbor discovery on a real switch, frame by frame: RFC 4861, 4862, 6980 and 7527.

Which rule each test shows is told in docs/reference/conformance.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from scapy.layers.inet6 import (
    ICMPv6MLReport2,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptUnknown,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)

from tests.conftest import require_programs
from tests.contracts.conftest import private_ovs
from tests.contracts.segment import (
    H2,
    Segment,
    Station,
    all_but,
    only,
    segment_of,
)
from tests.support.frames import (
    ALL_NODES,
    ALL_NODES_LLADDR,
    icmpv6,
    is_na,
    is_sound,
    na,
    nonce,
    ns,
    sll,
    tll,
)

pytestmark = [pytest.mark.root, pytest.mark.ovs]

GROUP = "33:33:00:00:00:05"
FRAGMENT = 44  # RFC 8200, 4.5
ROUTERS, ROUTERS_LLADDR = "ff02::2", "33:33:00:00:00:02"


@pytest.fixture(scope="module")
def segment() -> Iterator[Segment]:
    with private_ovs() as ovs, segment_of(ovs) as made:
        yield made


def answer(holder: Station, asker: Station, **fields: Any) -> bytes:
    """What the owner would say: RFC 4861, 7.2.4."""
    said: dict[str, Any] = {"eth_src": holder.lladdr, "target": holder.ip6}
    said |= {"dst": asker.ip6, "eth_dst": asker.lladdr, "solicited": True}
    return na(**said | fields)


def probe(holder: Station, prober: Station, *options: Any, **fields: Any) -> bytes:
    """Duplicate address detection: RFC 4862, 5.4.2."""
    asked = {"eth_src": prober.lladdr, "target": holder.ip6, "options": options}
    return ns(**asked | fields)


def sound_answers(frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames if is_na(frame) and is_sound(frame)]


# --- who is answered, and how ---------------------------------------------------------


@pytest.mark.parametrize("router", [False, True], ids=["host", "router"])
def test_a_solicitation_is_answered_once_where_it_came_from(
    segment: Segment, router: bool
) -> None:
    holder, asker = segment.known_6(3, router=router), segment.station(4)
    heard = segment.after(asker.wire, asker.solicits(holder.ip6))
    assert heard == only(4, answer(holder, asker, router=router))


def test_an_answer_keeps_the_vlan_of_its_question(segment: Segment) -> None:
    holder, asker = segment.known_6(3, vlan=5), segment.station(4)
    heard = segment.after(asker.wire, asker.solicits(holder.ip6, tags=(5,)))
    assert heard == only(4, answer(holder, asker, tags=(5,)))
    untagged = asker.solicits(holder.ip6)
    assert segment.after(asker.wire, untagged) == all_but(4, untagged)


def test_a_solicitation_is_answered_by_one_of_two_switches(segment: Segment) -> None:
    holder, asker = segment.known_6(3), segment.station(7)
    heard = segment.after(asker.wire, asker.solicits(holder.ip6))
    assert heard == only(7, answer(holder, asker))


def test_a_solicitation_of_nobodys_address_reaches_everybody_once(
    segment: Segment,
) -> None:
    asker, free = segment.station(7), segment.station(3)
    question = asker.solicits(free.ip6)
    assert segment.after(asker.wire, question) == all_but(7, question)


OPTIONS = {
    "a nonce behind it": ("sll", nonce()),
    "a nonce before it": (nonce(), "sll"),
    "an unknown one behind it": ("sll", ICMPv6NDOptUnknown(type=253, data=b"x" * 14)),
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_other_options_of_a_question_do_no_harm(segment: Segment, kind: str) -> None:
    """RFC 4861, 7.1.1: options that are not defined for it are ignored."""
    holder, asker = segment.known_6(3), segment.station(4)
    options = [sll(asker.lladdr) if o == "sll" else o for o in OPTIONS[kind]]
    heard = segment.after(asker.wire, asker.solicits(holder.ip6, options=options))
    [told] = heard.pop(4)
    assert heard == {} and is_sound(told)
    options[0] = tll(holder.lladdr)  # all that a switch can do: change the first
    assert told == answer(holder, asker, options=options)


def test_the_reserved_field_of_a_question_is_ignored(segment: Segment) -> None:
    """RFC 4861, 7.1.1; and in the answer it is zero."""
    holder, asker = segment.known_6(3), segment.station(4)
    question = asker.solicits(holder.ip6)
    filled = question[:58] + b"\x0b\xad\xca\xfe" + question[62:]
    total = int.from_bytes(filled[56:58], "big") - 0x0BAD - 0xCAFE
    total = total % 0xFFFF  # ones' complement
    filled = filled[:56] + total.to_bytes(2, "big") + filled[58:]
    assert is_sound(filled)
    assert segment.after(asker.wire, filled) == only(4, answer(holder, asker))


def test_who_asks_without_the_option_is_answered_with_it(segment: Segment) -> None:
    """By the controller; and its question goes on to the owner."""
    holder, asker = segment.known_6(3), segment.station(4)
    question = asker.solicits(holder.ip6, options=())
    assert segment.after(asker.wire, question)[3] == [question]
    segment.consider()  # its answer has come, too
    segment.silence()
    asker.wire.send(question)
    segment.consider()
    assert segment.heard(asker.wire) == [answer(holder, asker)]


# --- who is not -----------------------------------------------------------------------


def test_an_owner_detects_no_duplicate_of_itself(segment: Segment) -> None:
    holder = segment.known_6(3)
    for asked in (probe(holder, holder, nonce()), probe(holder, holder)):
        assert segment.after(holder.wire, asked) == all_but(3, asked)
        segment.consider()
        assert segment.heard(holder.wire) == []


@pytest.mark.parametrize("port_no", [4, 7])
def test_an_owner_that_has_moved_detects_no_duplicate_either(
    segment: Segment, port_no: int
) -> None:
    holder = segment.known_6(3)
    moved = holder.at(segment.wires[port_no])
    for asked in (probe(holder, holder, nonce()), probe(holder, holder)):
        assert segment.after(moved.wire, asked) == all_but(port_no, asked)
        segment.consider()
        assert segment.heard(moved.wire) == []


def test_who_stands_beside_the_owner_asks_it_itself(segment: Segment) -> None:
    holder, neighbor = segment.known_6(3), segment.station(3)
    question = neighbor.solicits(holder.ip6)
    assert segment.after(neighbor.wire, question) == all_but(3, question)


def test_a_poll_reaches_the_one_it_asks_and_nobody_else(segment: Segment) -> None:
    """RFC 4861, 7.3.3."""
    holder, asker = segment.known_6(3), segment.known_6(4)
    poll = asker.solicits(holder.ip6, dst=holder.ip6, eth_dst=holder.lladdr)
    assert segment.after(asker.wire, poll) == only(3, poll)
    told = answer(holder, asker, options=())  # 4.4: may be left out
    assert segment.after(holder.wire, told) == only(4, told)


# --- duplicate address detection ------------------------------------------------------


def test_a_probe_of_a_held_address_is_answered_to_all_nodes(segment: Segment) -> None:
    """RFC 4861, 7.2.4: S=0, O=1, and the option in the place of the nonce."""
    holder, prober = segment.known_6(3), segment.station(4)
    heard = segment.after(prober.wire, probe(holder, prober, nonce()))
    told = na(eth_src=holder.lladdr, target=holder.ip6)
    assert heard == only(4, told)
    segment.consider()
    assert segment.heard(prober.wire) == []


def test_a_probe_without_a_nonce_is_answered_twice(segment: Segment) -> None:
    """At once by the switch, which has no room for the option, and then with it."""
    holder, prober = segment.known_6(3), segment.station(4)
    segment.silence()
    prober.wire.send(probe(holder, prober))
    segment.consider()
    whole = na(eth_src=holder.lladdr, target=holder.ip6)
    bare = na(eth_src=holder.lladdr, target=holder.ip6, options=())
    assert segment.heard(prober.wire) == [bare, whole]


@pytest.mark.parametrize("options", [(), (nonce(),)], ids=["bare", "nonce"])
def test_a_probe_of_a_free_address_reaches_every_other_prober(
    segment: Segment, options: tuple[Any, ...]
) -> None:
    """RFC 4862, 5.4.3, with its nonce (RFC 7527, 4.2); and does not come back."""
    prober = segment.station(4)
    asked = probe(prober, prober, *options)
    assert segment.after(prober.wire, asked) == all_but(4, asked)
    segment.consider()
    assert segment.heard(prober.wire) == []
    assert segment.told(prober.ip6) == segment.told("::") == {}


# --- what is learned ------------------------------------------------------------------


def test_a_solicitation_tells_of_its_source(segment: Segment) -> None:
    asker, free = segment.station(4), segment.station(3)
    asker.wire.send(asker.solicits(free.ip6))
    segment.wait(lambda: segment.told(asker.ip6), "the asker is known")
    assert segment.told(asker.ip6) == {asker.lladdr: "w4"}
    assert segment.told(free.ip6) == {}


def test_an_advertisement_tells_of_its_target_and_reaches_everybody(
    segment: Segment,
) -> None:
    """RFC 4861, 7.2.5 and 7.2.6: not of its source."""
    host, other = segment.station(3), segment.station(3)
    said = na(eth_src=host.lladdr, src=other.ip6, target=host.ip6)
    for _ in range(2):  # as news, and when it is known
        assert segment.after(host.wire, said) == all_but(3, said)
        segment.wait(lambda: segment.answers(host.ip6), "it is believed")
    assert segment.told(host.ip6) == {host.lladdr: "w3"}
    assert segment.told(other.ip6) == {}


def test_an_advertisement_without_the_option_speaks_of_its_frames_source(
    segment: Segment,
) -> None:
    """RFC 4861, 4.4: a unicast answer may lack it."""
    host, asker = segment.station(3), segment.known_6(4)
    said = answer(host, asker, options=())
    assert segment.after(host.wire, said) == only(4, said)
    segment.wait(lambda: segment.told(host.ip6), "it is known")
    assert segment.told(host.ip6) == {host.lladdr: "w3"}


def test_who_has_not_said_whether_it_is_a_router_answers_itself(
    segment: Segment,
) -> None:
    """RFC 4861, 7.2.5: a wrong R would cost others their default router."""
    host, asker = segment.station(3), segment.known_6(4)
    host.wire.send(host.solicits(asker.ip6))
    segment.wait(lambda: segment.told(host.ip6), "it is known")
    question = asker.solicits(host.ip6)
    assert segment.after(asker.wire, question) == all_but(4, question)
    host.wire.send(answer(host, asker, router=True))
    segment.wait(lambda: segment.answers(host.ip6), "it has told")
    told = answer(host, asker, router=True)
    assert segment.after(asker.wire, question) == only(4, told)


def test_a_link_local_address_belongs_to_its_vlan(segment: Segment) -> None:
    first, second = segment.station(3), segment.station(3)
    first = replace(first, ip6=f"fe80::{first.ip6[-2:]}")
    second = replace(second, ip6=first.ip6)
    first.advertises(vlan=5)
    second.advertises(vlan=6)
    asker = segment.station(4)

    def both() -> bool:
        return segment.flows("br0").count(f"nd_target={first.ip6} actions=move") == 2

    segment.wait(both, "both are answered for")
    for vlan, holder in ((5, first), (6, second)):
        question = asker.solicits(first.ip6, tags=(vlan,))
        told = answer(holder, asker, tags=(vlan,))
        assert segment.after(asker.wire, question) == only(4, told)


def test_one_station_has_many_addresses(segment: Segment) -> None:
    first = segment.known_6(3)
    second = replace(segment.station(3), lladdr=first.lladdr)
    second.advertises()
    segment.wait(lambda: segment.answers(second.ip6), "the second address")
    asker = segment.station(4)
    for holder in (first, second):
        heard = segment.after(asker.wire, asker.solicits(holder.ip6))
        assert heard == only(4, answer(holder, asker))


def test_an_owner_hears_who_else_claims_its_address(segment: Segment) -> None:
    holder = segment.known_6(3)
    with segment.plugged("w8", 8):
        rival = segment.station(8)
        claim = na(eth_src=rival.lladdr, target=holder.ip6)
        assert segment.after(rival.wire, claim) == all_but(8, claim)
        segment.wait(lambda: not segment.answers(holder.ip6), "nobody is believed")
        question = segment.station(5).solicits(holder.ip6)
        assert segment.after(segment.wires[5], question)[3] == [question]
    segment.wait(lambda: segment.answers(holder.ip6), "the rival is gone")


def test_known_senders_cost_no_packet_in(segment: Segment) -> None:
    holder, asker = segment.known_6(3), segment.known_6(4)
    said = (
        asker.solicits(holder.ip6),
        na(eth_src=asker.lladdr, target=asker.ip6),
    )
    segment.consider()
    before = segment.counters()["NdSeen"]
    segment.after(asker.wire, *said * 5)
    segment.consider()
    assert segment.counters()["NdSeen"] == before + 1  # the question of `consider`


# --- what must be discarded -----------------------------------------------------------

BAD_QUESTIONS: dict[str, dict[str, Any]] = {
    "a router has passed it on": {"hlim": 254},
    "a code": {"code": 1},
    "shorter than 24 octets": {"options": (), "cut": 4},
    "an option of no length": {"options": (ICMPv6NDOptUnknown(len=0, data=b"x" * 6),)},
    "an option that is cut off": {"cut": 4},
    "a group as target": {"target": "ff02::5"},
    "the loopback address as target": {"target": "::1"},
    "nobody as target": {"target": "::"},
    "a group as sender": {"src": "ff02::5"},
    "the loopback address as sender": {"src": "::1"},
    "a group as link-layer address": {"options": (sll(GROUP),)},
    "no sender, and yet a link-layer address": {
        "src": "::",
        "options": (sll("02:00:00:00:00:09"),),
    },
    "no sender, and not to a solicited-node group": {
        "src": "::",
        "options": (),
        "dst": ALL_NODES,
    },
}


@pytest.mark.parametrize("why", BAD_QUESTIONS)
def test_a_solicitation_to_be_discarded_is_not_answered_and_teaches_nothing(
    segment: Segment, why: str
) -> None:
    """RFC 4861, 7.1.1."""
    holder, asker = segment.known_6(3), segment.station(4)
    segment.silence()
    asker.wire.send(asker.solicits(**{"target": holder.ip6} | BAD_QUESTIONS[why]))
    segment.consider()
    assert sound_answers(segment.heard(asker.wire)) == []
    assert segment.told(asker.ip6) == {}


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "a router has passed it on": {"hlim": 254},
    "a code": {"code": 1},
    "a wrong checksum": {"damage": 0x0101},
    "shorter than 24 octets": {"options": (), "cut": 4},
    "an option of no length": {"options": (ICMPv6NDOptUnknown(len=0, data=b"x" * 6),)},
    "an option that is cut off": {"cut": 4},
    "a group as sender": {"src": "ff02::5"},
    "nobody as sender": {"src": "::"},
    "to a group, and yet solicited": {"solicited": True},
    "a group as link-layer address": {"options": (tll(GROUP),)},
    "somebody else's link-layer address": {"options": (tll(H2),)},
}


@pytest.mark.parametrize("why", BAD_CLAIMS)
def test_an_advertisement_to_be_discarded_teaches_nothing(
    segment: Segment, why: str
) -> None:
    """RFC 4861, 7.1.2."""
    host = segment.station(4)
    host.wire.send(na(**{"eth_src": host.lladdr, "target": host.ip6} | BAD_CLAIMS[why]))
    segment.consider()
    assert segment.told(host.ip6) == {}


@pytest.mark.parametrize("target", ["ff02::5", "::", "::1"])
def test_an_advertisement_of_nobodys_address_is_heard_by_nobody(
    segment: Segment, target: str
) -> None:
    host = segment.station(4)
    said = na(eth_src=host.lladdr, src=host.ip6, target=target)
    assert segment.after(host.wire, said) == {}
    segment.consider()
    assert segment.told(target) == {}


DROPPED = ("a router has passed it on", "a code", "a group as sender")


@pytest.mark.parametrize("why", DROPPED)
def test_what_a_switch_sees_to_be_wrong_is_heard_by_nobody(
    segment: Segment, why: str
) -> None:
    host = segment.station(4)
    fields = {"eth_src": host.lladdr, "target": host.ip6}
    for said in (
        na(**fields | BAD_CLAIMS[why]),
        ns(**fields | {"src": "fe80::1"} | BAD_QUESTIONS[why]),
    ):
        assert segment.after(host.wire, said) == {}


def test_a_question_with_a_wrong_checksum_teaches_nothing(segment: Segment) -> None:
    """And gets a true answer: Open vSwitch reads no checksum, and makes a new one."""
    holder, asker = segment.known_6(3), segment.station(4)
    heard = segment.after(asker.wire, asker.solicits(holder.ip6, damage=0x0101))
    assert heard == only(4, answer(holder, asker))
    segment.consider()
    assert segment.told(asker.ip6) == {}


def test_fragments_are_not_answered_and_teach_nothing(segment: Segment) -> None:
    """RFC 6980, 5: hosts discard them."""
    holder, asker = segment.known_6(3), segment.station(4)
    first = IPv6ExtHdrFragment(offset=0, m=1, id=7)
    segment.silence()
    asker.wire.send(asker.solicits(holder.ip6, before=first))
    asker.wire.send(na(eth_src=asker.lladdr, target=asker.ip6, before=first))
    segment.consider()
    assert segment.heard(asker.wire) == []
    assert segment.told(asker.ip6) == {}


def test_a_fragment_that_is_whole_is_answered_by_one_that_its_asker_discards(
    segment: Segment,
) -> None:
    """RFC 6946's atomic fragments: Open vSwitch does not see that they are some."""
    holder, asker = segment.known_6(3), segment.station(4)
    alone = IPv6ExtHdrFragment(offset=0, m=0, id=7)
    heard = segment.after(asker.wire, asker.solicits(holder.ip6, before=alone))
    [told] = heard.pop(4)
    assert (heard, told[20]) == ({}, FRAGMENT)
    asker.wire.send(na(eth_src=asker.lladdr, target=asker.ip6, before=alone))
    segment.consider()
    assert segment.told(asker.ip6) == {}


def test_an_extension_header_hides_nothing(segment: Segment) -> None:
    host = segment.station(4)
    padding = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])
    said = na(eth_src=host.lladdr, target=host.ip6, before=padding)
    assert segment.after(host.wire, said) == all_but(4, said)
    segment.consider()
    assert segment.told(host.ip6) == {host.lladdr: "w4"}


# --- what is none of our business -----------------------------------------------------

OTHERS = {
    "a router solicitation": (ICMPv6ND_RS(cksum=0), ROUTERS, ROUTERS_LLADDR),
    "a router advertisement": (ICMPv6ND_RA(cksum=0), ALL_NODES, ALL_NODES_LLADDR),
    "a redirect": (
        ICMPv6ND_Redirect(cksum=0, tgt="fe80::1", dst="fd00::9"),
        ALL_NODES,
        ALL_NODES_LLADDR,
    ),
    "a report of listeners": (
        ICMPv6MLReport2(cksum=0),
        "ff02::16",
        "33:33:00:00:00:16",
    ),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_where_nobody_guards_other_messages_pass(segment: Segment, kind: str) -> None:
    message, dst, eth_dst = OTHERS[kind]
    host = segment.station(4)
    said = icmpv6(
        message, (), eth_src=host.lladdr, eth_dst=eth_dst, src="fe80::4", dst=dst
    )
    assert segment.after(host.wire, said) == all_but(4, said)


def test_a_group_of_listeners_is_everybody(segment: Segment) -> None:
    """33:33:xx is no reserved address: IEEE 802.1Q reserves 01:80:c2:00:00:0x."""
    host = segment.station(4)
    said = icmpv6(
        ICMPv6ND_RS(cksum=0),
        (),
        eth_src=host.lladdr,
        eth_dst="33:33:00:00:00:fb",
        src="fe80::4",
        dst="ff02::fb",
        hlim=1,
    )
    assert segment.after(host.wire, said) == all_but(4, said)


# --- kernels --------------------------------------------------------------------------


def test_ndisc6_hears_the_owners_link_layer_address(segment: Segment) -> None:
    require_programs("ndisc6")
    done = segment.ovs.run_in(
        *(segment.h1.namespace, "ndisc6", "-1", "-r1", "-w5000"),
        *("fe80::ff:fe00:2", "eth0"),
    )
    assert re.search(rf"link-layer address: {H2}", done.stdout, re.IGNORECASE)
    assert "from fe80::ff:fe00:2" in done.stdout


def test_ndisc6_hears_nobody_for_an_address_that_nobody_holds(
    segment: Segment,
) -> None:
    require_programs("ndisc6")
    done = segment.ovs.run_in(
        *(segment.h1.namespace, "ndisc6", "-q", "-1", "-r1", "-w300"),
        *("fe80::dead", "eth0"),
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")


def test_a_kernel_does_not_take_an_address_that_was_only_heard_of(
    segment: Segment,
) -> None:
    """RFC 4862, 5.4.5: Linux calls it "dadfailed"."""
    holder, inside = segment.known_6(3), segment.h1.namespace
    segment.ovs.run_in(inside, "ip", "addr", "add", f"{holder.ip6}/64", "dev", "eth0")
    words = ("ip", "-6", "addr", "show", "dev", "eth0", "dadfailed")
    segment.wait(
        lambda: holder.ip6 in segment.ovs.run_in(inside, *words).stdout, "a duplicate"
    )
    segment.ovs.run_in(inside, "ip", "addr", "del", f"{holder.ip6}/64", "dev", "eth0")
    assert segment.told(holder.ip6) == {holder.lladdr: "w3"}


def test_a_kernel_believes_the_switchs_answer(segment: Segment) -> None:
    flush = ("ip", "-6", "neigh", "flush", "dev", "eth0")
    segment.ovs.run_in(segment.h1.namespace, *flush)
    with segment.listen(segment.h2) as h2:
        ping = ("ping", "-6", "-c1", "-W5", "fe80::ff:fe00:2%eth0")
        segment.ovs.run_in(segment.h1.namespace, *ping)
        asked = ns(
            eth_src=segment.h1.mac, src="fe80::ff:fe00:1", target="fe80::ff:fe00:2"
        )
        assert asked not in h2.heard()
    show = ("ip", "-6", "neigh", "show", "fe80::ff:fe00:2")
    shown = segment.ovs.run_in(segment.h1.namespace, *show).stdout
    assert f"lladdr {H2} REACHABLE" in shown
