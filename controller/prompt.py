"""Answers at once, as octets: the questions of which the core would do nothing else.

Most questions teach nothing: who asks is known, and so is who is asked for.  What the
core has to say of them is prepared here, in pieces: of who asks (`Asker`), and of who
is asked for (`Target`).  The first question of each asker goes the core's way, which is
the definition: `tests/controller/test_prompt.py` holds both equal.  When something
changes, what depends on it is forgotten, and prepared again.

Knows no socket: packet-ins in, packet-outs out.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, fields, replace
from ipaddress import IPv4Address

from controller.core import Core
from controller.events import ArpSeen
from controller.packets import REQUEST, arp_reply
from controller.replies import is_poll, said_of, untold
from flows.memo import same
from flows.network import Network
from flows.openflow import Output
from flows.parties import Domain
from flows.switch import back, prepared
from flows.tracked import changed
from flows.view import PortKey, View
from flows.wire import PACKET_IN, PACKET_IN_MATCH, VERSION, packet_out

ASKERS_MAX = 1 << 16  # that are prepared for, at all switches

# An OFPT_PACKET_IN (7.4.1): where its frame begins, by the length of its match.
FRAME = tuple(PACKET_IN_MATCH + -(-size // 8) * 8 + 2 for size in range(256))
MATCH_SIZE = PACKET_IN_MATCH + 2  # where that length stands, in 16 bits
CAUSE = 14  # where reason, table and cookie begin
KIND = bytes((VERSION, PACKET_IN))
SHORTEST = FRAME[4]  # octets of a packet-in with an empty match
UNTAGGED, TAGGED = 0x08, 0x81  # the first octet of ARP's type, and of IEEE 802.1Q's
TAG = 4  # octets
THA = 14 + 18  # where ar$tha stands in an untagged frame: before it all that asks
TPA = 6  # octets behind it
END = 10

# Of the packet-out: head, eth_dst | eth_src, tag, type, ARP up to ar$spa | the rest
OUT_SOURCE = 8 + 16 + 16 + 6
OUT_SENDER = 6 + 2 + 8 + 10
POP = 8  # octets of OFPAT_POP_VLAN, which stands before the output

EVERYBODYS = {
    "stations",
    "crowds",
    "bound",
    "floods",
    "sponges",
    "echoes",
    "untried",
    "neighbors",
    "abilities",
}
CONCLUDED = {"located", "holders", "tree", "unknown", "outward", "open_ended", "held"}
VIEW = tuple(f.name for f in fields(View) if f.name not in EVERYBODYS)
NETWORK = tuple(f.name for f in fields(Network) if f.name not in CONCLUDED)


@dataclass(slots=True)
class Target:
    """One who is asked for.

    body    what of a packet-out depends on it
    cookie  of the flow that says the same in a switch
    untold  who is not told: where it is, and what it is called
    """

    body: bytes
    cookie: int
    untold: frozenset[PortKey | str]


@dataclass(slots=True)
class Asker:
    """One who asks, by a certain way.

    until       when the core must hear of it again
    names       where it is, and what it is called
    head, tail  what of a packet-out depends on it
    targets     of its domain, by ar$tpa
    """

    asked: ArpSeen
    until: float
    names: tuple[PortKey, str]
    head: bytes
    tail: bytes
    targets: dict[bytes, Target]


class Prompt:
    """What is prepared from a core's conclusions, for all its switches.

    answered  questions that were, since the start
    prepared  ways to ask that are known, by now
    """

    def __init__(self, core: Core, most: int = ASKERS_MAX) -> None:
        self.answered = 0
        self.prepared = 0
        self._core, self._most = core, most
        self._view, self._network = core.view, core.network
        self._askers: dict[int, dict[bytes, Asker]] = {}
        self._targets: dict[Domain, dict[bytes, Target]] = {}
        self._by: dict[Hashable, dict[bytes, Asker]] = {}  # by what they depend on

    # --- the fast way ---------------------------------------------------------------

    def answer(
        self, datapath_id: int, data: bytes, at: int, now: float, out: list[bytes]
    ) -> int:
        """Append answers to the packet-ins in `data` from `at` on.  Where the first
        message begins that must go the core's way."""
        self._catch_up()
        askers = self._askers.get(datapath_id)
        channel = self._core.channels.get(datapath_id)
        if not askers or channel is None or channel.held is None:
            return at
        held, refused = channel.held, channel.refused
        end, before = len(data), len(out)
        while at + SHORTEST <= end and data[at : at + 2] == KIND:
            stop = at + (data[at + 2] << 8 | data[at + 3])
            frame = at + FRAME[data[at + MATCH_SIZE + 1]]
            if stop > end or frame + THA + END > stop:
                break
            tha = frame + THA + (TAG if data[frame + 12] == TAGGED else 0)
            asker = askers.get(data[at + CAUSE : tha])
            if asker is None or now >= asker.until or tha + END > stop:
                break
            tpa = data[tha + TPA : tha + END]
            target = asker.targets.get(tpa) or self._target(asker, tpa)
            if target is None or not target.untold.isdisjoint(asker.names):
                break
            if target.cookie not in refused and target.cookie in held:
                break  # the switch answers by itself
            out += (asker.head, target.body, asker.tail)
            at = stop
        self.answered += (len(out) - before) // 3
        return at

    # --- preparing ------------------------------------------------------------------

    def heard(self, message: bytes, asked: ArpSeen) -> None:
        """A question that goes the core's way, and the whole packet-in."""
        is_question = asked.op == REQUEST and asked.spa != asked.tpa
        if not is_question or is_poll(asked) or message[MATCH_SIZE]:
            return
        frame = FRAME[message[MATCH_SIZE + 1]]
        if message[frame + 12] not in (UNTAGGED, TAGGED):
            return
        tag = TAG if message[frame + 12] == TAGGED else 0
        until = self._core.is_routine_until(asked)
        if until == -math.inf:
            return
        self._catch_up()
        if self.prepared >= self._most:
            self._forget_all()
        self._add(message[CAUSE : frame + THA + tag], asked, until)

    def _add(self, key: bytes, asked: ArpSeen, until: float) -> None:
        domain = self._network.domain(asked.datapath_id, asked.vlan)
        reply = arp_reply(asked, lladdr=asked.eth_src)
        at = PortKey(asked.datapath_id, asked.in_port)
        before = prepared(self._network, at, asked.vlan)
        octets = packet_out(reply, *before, Output(asked.in_port))
        head = OUT_SOURCE + POP * len(before)
        askers = self._askers.setdefault(asked.datapath_id, {})
        self.prepared += key not in askers
        askers[key] = asker = Asker(
            asked,
            until,
            (at, asked.eth_src),
            octets[:head],
            octets[head + OUT_SENDER + tag_of(asked) :],
            self._targets.setdefault(domain, {}),
        )
        self._by.setdefault((domain, asked.eth_src), {})[key] = asker
        self._by.setdefault((domain, asked.spa), {})[key] = asker

    def _target(self, asker: Asker, tpa: bytes) -> Target | None:
        """None if the core has no answer to such questions, or more to do."""
        asked = replace(asker.asked, tpa=IPv4Address(tpa))
        domain = self._network.domain(asked.datapath_id, asked.vlan)
        holder = self._network.holders.get((domain, asked.tpa))
        if holder is None or asked.tpa == asked.spa:
            return None
        found = said_of(
            holder, asked, back(self._network, asked.datapath_id, asked.vlan)
        )
        if found is None or found.flow is None:
            return None
        octets = packet_out(found.data, Output(asked.in_port))
        body = octets[OUT_SOURCE : OUT_SOURCE + OUT_SENDER + tag_of(asked)]
        target = Target(body, found.flow.cookie, untold(holder))
        asker.targets[tpa] = target
        return target

    # --- forgetting -----------------------------------------------------------------

    def _catch_up(self) -> None:
        core = self._core
        if core.view is self._view and core.network is self._network:
            return
        before, known = (self._view, self._network), core.network
        self._view, self._network = self._core.view, known
        if not same(shared(*before), shared(self._view, known)):
            self._forget_all()
            return
        old = before[1]
        for key in changed(before[0].stations, self._view.stations):
            self._forget((known.domain(key.datapath_id, key.vlan), key.lladdr))
        for place in changed(old.located, known.located):
            self._forget(place)
        for holding in changed(old.holders, known.holders):
            self._forget(holding)
            domain, ip = holding
            self._targets.get(domain, {}).pop(ip.packed, None)

    def _forget(self, what: Hashable) -> None:
        for asker in self._by.pop(what, {}).values():
            asker.until = -math.inf

    def _forget_all(self) -> None:
        self._askers.clear()
        self._targets.clear()
        self._by.clear()
        self.prepared = 0


def shared(view: View, known: Network) -> tuple[object, ...]:
    """What concerns more than one station or address."""
    facts = tuple(getattr(view, name) for name in VIEW)
    return (*facts, *(getattr(known, name) for name in NETWORK))


def tag_of(asked: ArpSeen) -> int:
    """Octets of the tag that an answer bears."""
    return TAG if asked.vlan else 0
