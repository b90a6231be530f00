"""./run bench: what isat's own parts cost, as ratios to what they replace, in one run.

Every row alternates ours and theirs, so that a busy machine disturbs both alike, and
quotes medians with their spread.  Absolute times depend on the machine; ratios do less.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from typing import Any

from controller.commands import Command
from controller.core import Core
from controller.events import ArpSeen, FlowsListed, SwitchReady
from controller.packets import arp_request, parse
from flows import wire
from flows.arp import answer
from flows.pipeline import TABLE_IDS
from tests.facts import S1, ports

ROUNDS = 7
HOSTS = 200
PORTS = range(1, HOSTS + 1)

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: microseconds per item, medians of ROUNDS alternating rounds.

    ratio  theirs divided by ours: how many times faster ours is
    """

    what: str
    ours: float
    theirs: float
    spread: float
    ratio: float


def lladdr(n: int) -> str:
    return f"02:00:00:00:{n >> 8:02x}:{n & 0xFF:02x}"


def ip(n: int) -> str:
    return f"10.0.{n >> 8}.{n & 0xFF}"


def frames() -> list[bytes]:
    return [
        arp_request(eth_src=lladdr(n), spa=IPv4Address(ip(n)), tpa=IPv4Address(ip(1)))
        for n in PORTS
    ]


def timed(work: Work, items: int) -> float:
    """Microseconds per item."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) / items * 1e6


def compare(what: str, items: int, ours: Work, theirs: Work) -> Row:
    ours(), theirs()  # once before it counts: caches, imports
    mine, other = [], []
    for _ in range(ROUNDS):
        mine.append(timed(ours, items))
        other.append(timed(theirs, items))
    ratios = [b / a for a, b in zip(mine, other, strict=True)]
    return Row(
        what,
        round(statistics.median(mine), 2),
        round(statistics.median(other), 2),
        round(statistics.pstdev(ratios) / statistics.mean(ratios), 2),
        round(statistics.median(ratios), 1),
    )


# --- rows ---------------------------------------------------------------------------


def reading_frames() -> Row:
    from ryu.lib.packet.packet import Packet

    octets = frames()
    return compare(
        "read an ARP frame: controller.packets against ryu.lib.packet",
        len(octets),
        lambda: [parse(S1, 1, frame) for frame in octets],
        lambda: [Packet(frame) for frame in octets],
    )


def writing_flows() -> Row:
    """The flow that answers ARP, for as many addresses; nothing remembered of ours."""
    from ryu.ofproto import ofproto_v1_3 as ofp
    from ryu.ofproto import ofproto_v1_3_parser as ofpp
    from ryu.ofproto.ofproto_protocol import ProtocolDesc

    switch = ProtocolDesc(ofp.OFP_VERSION)
    table = TABLE_IDS["arp"]

    def ours() -> list[bytes]:
        wire.oxm_tlv.cache_clear()
        wire.action.cache_clear()
        return [
            wire.flow_mod(answer.__wrapped__(table, 0, IPv4Address(ip(n)), lladdr(n)))
            for n in PORTS
        ]

    def theirs() -> list[bytes]:
        return [with_ryu(switch, ofp, ofpp, table, n) for n in PORTS]

    what = "make and write the flow of an answer: flows against Ryu's classes"
    return compare(what, HOSTS, ours, theirs)


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


def deciding() -> Row:
    """A batch shares one compilation; one by one, each event pays for its own."""

    def core() -> Core:
        fresh = Core()
        fresh.handle([SwitchReady(S1, tuple(ports(S1, *PORTS)))], 0.0)
        fresh.handle([FlowsListed(S1, frozenset())], 0.0)
        return fresh

    news = [event for event in map(heard, PORTS) if isinstance(event, ArpSeen)]

    def one_by_one() -> list[Command]:
        lone = core()
        return [c for event in news for c in lone.handle([event], 1.0)]

    return compare(
        f"learn one of {HOSTS} hosts: in one batch against one by one",
        len(news),
        lambda: core().handle(news, 1.0),
        one_by_one,
    )


def heard(n: int) -> object:
    return parse(S1, n, frames()[n - 1])


def mirroring() -> Row:
    """A whole picture of this host's links and addresses, from start to end."""
    mirror = [sys.executable, "-m", "controller.netlink", "--once"]
    both = "ip -j -d link; ip -j -d addr; ip -j neigh"
    return compare(
        "a picture of this host's kernel: isat mirror --once against ip -j (3 tables)",
        1,
        lambda: quietly([*mirror, "--table", "link,addr,neigh"]),
        lambda: quietly(["sh", "-c", both]),
    )


def quietly(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)


ROWS = (reading_frames, writing_flows, deciding, mirroring)


def measured() -> Iterator[Row]:
    for row in ROWS:
        yield row()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./run bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    arguments = parser.parse_args()
    if arguments.json:
        print(json.dumps([asdict(row) for row in measured()], indent=2))
        return 0
    print(f"Python {platform.python_version()}, {platform.machine()}, {ROUNDS} rounds")
    print(f"{'ours us':>10} {'theirs us':>11} {'ratio':>7} {'spread':>7}  what")
    for row in measured():
        print(
            f"{row.ours:10.1f} {row.theirs:11.1f} {row.ratio:7.1f} {row.spread:7.0%}"
            f"  {row.what}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
