"""What our own parts cost beside what they replace: microseconds for each item."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from controller import ndp
from controller.commands import Command
from controller.core import Core
from controller.events import (
    ArpSeen,
    ChangeDone,
    ChangeFailed,
    FlowsListed,
    NdSeen,
    SwitchReady,
)
from controller.packets import arp_request, parse
from controller.prompt import Prompt
from flows import wire
from flows.arp import answer
from flows.nd import solicited_node
from flows.pipeline import TABLE_IDS
from tests.bench.figures import Figure, Run
from tests.facts import S1, ports
from tests.support.full_switch import packet_in

ROUNDS = 7
HOSTS = 200

Work = Callable[[], object]


def measure(run: Run) -> Iterator[Figure]:
    """Every row alternates ours and theirs, so that a busy machine disturbs both."""
    numbers = range(1, run.of(HOSTS) + 1)
    rounds = run.of(ROUNDS, least=3)
    yield from reading_frames(numbers, rounds)
    yield from writing_flows(numbers, rounds)
    yield from deciding(numbers, rounds)
    yield from answering(numbers, rounds)


def lladdr(n: int) -> str:
    return f"02:00:00:00:{n >> 8:02x}:{n & 0xFF:02x}"


def ip(n: int) -> str:
    return f"10.0.{n >> 8}.{n & 0xFF}"


def frame(n: int) -> bytes:
    spa, tpa = IPv4Address(ip(n)), IPv4Address(ip(1))
    return arp_request(eth_src=lladdr(n), spa=spa, tpa=tpa)


def timed(work: Work, items: int) -> float:
    """Microseconds per item."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / items * 1e6


def compare(
    what: str, names: tuple[str, str], items: int, rounds: int, ours: Work, theirs: Work
) -> Iterator[Figure]:
    """Medians of alternating rounds, and how many times faster ours is."""
    ours(), theirs()  # once before it counts: caches, imports
    mine, other = [], []
    for _ in range(rounds):
        mine.append(timed(ours, items))
        other.append(timed(theirs, items))
    yield Figure(f"{what}: {names[0]}", statistics.median(mine), "us")
    yield Figure(f"{what}: {names[1]}", statistics.median(other), "us")
    ratios = [b / a for a, b in zip(mine, other, strict=True)]
    yield Figure(f"{what}: times faster", statistics.median(ratios), "x", at_least=1.0)


def reading_frames(numbers: range, rounds: int) -> Iterator[Figure]:
    from ryu.lib.packet.packet import Packet

    octets = [frame(n) for n in numbers]
    yield from compare(
        "read an ARP frame",
        ("controller.packets", "ryu.lib.packet"),
        len(octets),
        rounds,
        lambda: [parse(S1, 1, data) for data in octets],
        lambda: [Packet(data) for data in octets],
    )


def writing_flows(numbers: range, rounds: int) -> Iterator[Figure]:
    """The flow that answers ARP, for as many addresses; nothing remembered of ours."""
    from ryu.ofproto import ofproto_v1_3 as ofp
    from ryu.ofproto import ofproto_v1_3_parser as ofpp
    from ryu.ofproto.ofproto_protocol import ProtocolDesc

    switch = ProtocolDesc(ofp.OFP_VERSION)
    table = TABLE_IDS["arp"]

    def ours() -> list[bytes]:
        wire.oxm_tlv.cache_clear()
        wire.moved.cache_clear()
        return [
            wire.flow_mod(answer.__wrapped__(table, 0, IPv4Address(ip(n)), lladdr(n)))
            for n in numbers
        ]

    def theirs() -> list[bytes]:
        return [with_ryu(switch, ofp, ofpp, table, n) for n in numbers]

    what, names = "write the flow of an answer", ("flows.wire", "Ryu's classes")
    yield from compare(what, names, len(numbers), rounds, ours, theirs)


def with_ryu(switch: Any, ofp: Any, ofpp: Any, table: int, n: int) -> bytes:
    actions = [
        ofpp.NXActionRegMove("eth_src", "eth_dst", 48),
        ofpp.OFPActionSetField(eth_src=lladdr(n)),
        ofpp.OFPActionSetField(arp_op=2),
        ofpp.NXActionRegMove("arp_sha", "arp_tha", 48),
        ofpp.OFPActionSetField(arp_sha=lladdr(n)),
        ofpp.NXActionRegMove("arp_spa", "arp_tpa", 32),
        ofpp.OFPActionSetField(arp_spa=ip(n)),
        ofpp.OFPActionOutput(ofp.OFPP_IN_PORT),
    ]
    match = ofpp.OFPMatch(
        reg1=0,
        eth_dst="ff:ff:ff:ff:ff:ff",
        eth_type=0x0806,
        arp_op=1,
        arp_tpa=ip(n),
    )
    apply = [ofpp.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, actions)]
    message = ofpp.OFPFlowMod(
        switch, table_id=table, priority=100, match=match, instructions=apply
    )
    message.set_xid(0)
    message.serialize()
    return bytes(message.buf)


def deciding(numbers: range, rounds: int) -> Iterator[Figure]:
    """A batch shares one compilation; one by one, each event pays for its own."""
    news = [event for n in numbers if isinstance(event := heard(n), ArpSeen)]

    def core() -> Core:
        fresh = Core()
        fresh.handle([SwitchReady(S1, tuple(ports(S1, *numbers)))], 0.0)
        fresh.handle([FlowsListed(S1, frozenset())], 0.0)
        return fresh

    def one_by_one() -> list[Command]:
        lone = core()
        return [c for event in news for c in lone.handle([event], 1.0)]

    yield from compare(
        f"learn one of {len(news)} hosts",
        ("in one batch", "one by one"),
        len(news),
        rounds,
        lambda: core().handle(news, 1.0),
        one_by_one,
    )


def heard(n: int) -> object:
    return parse(S1, n, frame(n))


def ip6(n: int) -> IPv6Address:
    return IPv6Address(0xFD << 120 | n)


def solicitation(n: int, target: int) -> bytes:
    group = solicited_node(ip6(target))
    return ndp.solicitation(
        eth_src=lladdr(n), eth_dst="33:33:" + group.packed[12:].hex(":"),
        src=ip6(n), dst=group, target=ip6(target),
    )  # fmt: skip


def answering(numbers: range, rounds: int) -> Iterator[Figure]:
    """Questions that teach nothing, of hosts at a switch without room for flows."""
    core = Core()
    core.handle([SwitchReady(S1, tuple(ports(S1, *numbers)))], 0.0)
    core.handle([FlowsListed(S1, frozenset())], 0.0)
    core.handle([ChangeDone(S1)], 0.0)
    announced = [
        ndp.announcement(lladdr=lladdr(n), ip=ip6(n), router=False, vlan=0)
        for n in numbers
    ]
    told = zip(numbers, announced, strict=True)
    core.handle([parse(S1, n, data) for n, data in told], 0.1)
    core.handle([parse(S1, n, frame(n)) for n in numbers], 0.1)
    both = [ChangeFailed(S1, "OFPFMFC_TABLE_FULL")] * 2
    core.handle(both, 0.1)
    last = numbers[-1]
    arp = [(n, frame(n)) for n in numbers[1:]]
    nd = [(n, solicitation(n, last)) for n in numbers[:-1]]
    for what, asked in (("a question", arp), ("a solicitation", nd)):
        yield from at_once(core, f"answer {what}", asked, rounds)


def at_once(
    core: Core, what: str, asked: list[tuple[int, bytes]], rounds: int
) -> Iterator[Figure]:
    prompt, messages = Prompt(core), [packet_in(n, data) for n, data in asked]
    for message, (n, data) in zip(messages, asked, strict=True):
        heard = parse(S1, n, data)
        assert isinstance(heard, ArpSeen | NdSeen)
        prompt.heard(message, heard)
    octets = b"".join(messages)

    def ours() -> bytes:
        out: list[bytes] = []
        assert prompt.answer(S1, octets, 0, 0.2, out) == len(octets)
        return b"".join(out)

    def theirs() -> list[Command]:
        found = (core.handle([parse(S1, n, data)], 0.2) for n, data in asked)
        return [command for commands in found for command in commands]

    names = ("at once", "in a turn of the core")
    yield from compare(what, names, len(asked), rounds, ours, theirs)
