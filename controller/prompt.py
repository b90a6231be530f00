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
from ipaddress import IPv4Address, IPv6Address

from controller import prompt_nd
from controller.channel import Channel
from controller.core import Core
from controller.events import ArpSeen, NdSeen
from controller.ndp import advertisement
from controller.packets import REQUEST, arp_reply
from controller.prompt_nd import Solicited, Solicitor
from controller.replies import is_poll, said_of, untold
from controller.waiting import Question, port_of
from flows.memo import same
from flows.network import Network
from flows.openflow import Output
from flows.parties import Domain
from flows.switch import back, prepared
from flows.tracked import changed
from flows.view import IPAddress, PortKey, View
from flows.wire import NO_BUFFER, PACKET_IN, PACKET_IN_MATCH, VERSION, packet_out

ASKERS_MAX = 1 << 16  # that are prepared for, at all switches

# An OFPT_PACKET_IN (7.4.1): where its frame begins, by the length of its match.
FRAME = tuple(PACKET_IN_MATCH + -(-size // 8) * 8 + 2 for size in range(256))
MATCH_SIZE = PACKET_IN_MATCH + 2  # where that length stands, in 16 bits
NUMBERS, TOTAL = 4, 12  # where xid and buffer_id begin and end: of each it is the same
UNNUMBERED = bytes(4) + NO_BUFFER.to_bytes(4)
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
PIECES = 3  # of which each answer is put together

EVERYBODYS = {
    "stations",
    "crowds",
    "bound",
    "floods",
    "fresh",
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
    size        octets of its key
    length      of the whole packet-in, as its key says
    targets     of its domain, by ar$tpa
    """

    asked: ArpSeen
    until: float
    names: frozenset[PortKey | str]
    head: bytes
    tail: bytes
    size: int
    length: int
    targets: dict[bytes, Target]


NO_ASKERS: dict[bytes, Asker] = {}


class Prompt:
    """What is prepared from a core's conclusions, for all its switches.

    answered  questions that were, since the start
    prepared  ways to ask that are known, by now
    """

    def __init__(self, core: Core, most: int = ASKERS_MAX) -> None:
        self.answered = 0
        self.prepared = 0
        self._size = SHORTEST  # octets of the key that was found last
        self._core, self._most = core, most
        self._view, self._network = core.view, core.network
        self._askers: dict[int, dict[bytes, Asker]] = {}
        self._solicitors: dict[int, dict[bytes, Solicitor]] = {}
        self._targets: dict[Domain, dict[bytes, Target]] = {}
        self._solicited: dict[Domain, dict[bytes, Solicited]] = {}
        # By what they depend on:
        self._by: dict[Hashable, dict[bytes, Asker | Solicitor]] = {}

    # --- the fast way ---------------------------------------------------------------

    def answer(
        self, datapath_id: int, data: bytes, at: int, now: float, out: list[bytes]
    ) -> int:
        """Append answers to the packet-ins in `data` from `at` on.  Where the first
        message begins that must go the core's way."""
        self._catch_up()
        askers = self._askers.get(datapath_id, NO_ASKERS)
        channel = self._core.channels.get(datapath_id)
        if channel is None or channel.held is None:
            return at
        held, refused, size = channel.held, channel.refused, self._size
        end, before = len(data), len(out)
        while at < end:
            asker = askers.get(data[at : at + size])
            if asker is None:
                asker = askers.get(key_at(data, at))
                if asker is None:
                    stop = end_of(data, at)
                    told = self._solicitation(channel, data[at:stop], now)
                    if not told:
                        break
                    out += told
                    at = stop
                    continue
                size = asker.size
            stop = at + asker.length
            if stop > end or now >= asker.until:
                break
            tpa = data[at + size + TPA : at + size + END]
            target = asker.targets.get(tpa) or self._target(asker, tpa)
            if target is None or not target.untold.isdisjoint(asker.names):
                break
            if target.cookie not in refused and target.cookie in held:
                break  # the switch answers by itself
            out += (asker.head, target.body, asker.tail)
            at = stop
        self._size = size
        self.answered += (len(out) - before) // PIECES
        return at

    def _solicitation(
        self, channel: Channel, message: bytes, now: float
    ) -> tuple[bytes, bytes, bytes] | tuple[()]:
        """The answer to a packet-in that brings one, likewise."""
        solicitors = self._solicitors.get(channel.compiled.datapath_id)
        if not solicitors or len(message) < prompt_nd.SHORTEST:
            return ()
        frame = FRAME[message[MATCH_SIZE + 1]]
        if len(message) < frame + prompt_nd.SHORTEST:
            return ()
        header = prompt_nd.header_of(message, frame)
        if not header or len(message) < header + prompt_nd.OPTIONS:
            return ()
        one = solicitors.get(prompt_nd.key_of(message, CAUSE, frame, header))
        ip = prompt_nd.target_of(message, frame, header)
        if one is None or now >= one.until or not ip:
            return ()
        target = one.targets.get(ip) or self._solicited_by(one, ip)
        if target is None or not target.untold.isdisjoint(one.names):
            return ()
        if one.is_whole and says(channel, target.cookie):
            return ()
        return one.told(target) if one.is_sound(target, message, header) else ()

    # --- preparing ------------------------------------------------------------------

    def heard(self, message: bytes, asked: Question) -> None:
        """A question that goes the core's way, and the whole packet-in."""
        key = key_of(message, asked)
        until = self._core.is_routine_until(asked) if key else -math.inf
        if until == -math.inf:
            return
        self._catch_up()
        if self.prepared >= self._most:
            self._forget_all()
        if isinstance(asked, NdSeen):
            self._add_solicitor(key, message, asked, until)
        else:
            self._add(key, len(message), asked, until)

    def _add(self, key: bytes, length: int, asked: ArpSeen, until: float) -> None:
        reply = arp_reply(asked, lladdr=asked.eth_src)
        octets, head = self._packet_out(asked, reply)
        asker = Asker(
            asked,
            until,
            names_of(asked),
            octets[:head],
            octets[head + OUT_SENDER + tag_of(asked) :],
            len(key),
            length,
            self._targets.setdefault(self._domain(asked), {}),
        )
        askers = self._askers.setdefault(asked.datapath_id, {})
        self.prepared += key not in askers
        askers[key] = asker
        self._depends(key, asker, asked.spa)

    def _add_solicitor(
        self, key: bytes, message: bytes, asked: NdSeen, until: float
    ) -> None:
        reply = advertisement(asked, lladdr=asked.eth_src, router=False)
        octets, head = self._packet_out(asked, reply)
        header = prompt_nd.header_of(message, FRAME[message[MATCH_SIZE + 1]])
        one = Solicitor(
            asked,
            until,
            names_of(asked),
            *prompt_nd.sums_of(message, header),
            octets[:head],
            asked.src.packed + prompt_nd.ADVERTISED,
            bool(asked.lladdr),
            self._solicited.setdefault(self._domain(asked), {}),
        )
        solicitors = self._solicitors.setdefault(asked.datapath_id, {})
        self.prepared += key not in solicitors
        solicitors[key] = one
        self._depends(key, one, asked.src)

    def _packet_out(self, asked: Question, reply: bytes) -> tuple[bytes, int]:
        """And where eth_dst ends in it."""
        before = prepared(self._network, port_of(asked), asked.vlan)
        octets = packet_out(reply, *before, Output(asked.in_port))
        return octets, OUT_SOURCE + POP * len(before)

    def _domain(self, asked: Question) -> Domain:
        return self._network.domain(asked.datapath_id, asked.vlan)

    def _depends(self, key: bytes, one: Asker | Solicitor, ip: IPAddress) -> None:
        """On its station, and on its address."""
        domain = self._domain(one.asked)
        self._by.setdefault((domain, one.asked.eth_src), {})[key] = one
        self._by.setdefault((domain, ip), {})[key] = one

    def _target(self, asker: Asker, tpa: bytes) -> Target | None:
        """None if the core has no answer to such questions, or more to do."""
        asked = replace(asker.asked, tpa=IPv4Address(tpa))
        holder = self._network.holders.get((self._domain(asked), asked.tpa))
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

    def _solicited_by(self, one: Solicitor, ip: bytes) -> Solicited | None:
        """The same of a solicitation."""
        holder = self._network.holders.get((self._domain(one.asked), IPv6Address(ip)))
        found = prompt_nd.solicited(holder, one.asked, ip) if holder else None
        if found is not None:
            one.targets[ip] = found
        return found

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
            self._solicited.get(domain, {}).pop(ip.packed, None)

    def _forget(self, what: Hashable) -> None:
        for one in self._by.pop(what, {}).values():
            one.until = -math.inf

    def _forget_all(self) -> None:
        self._askers.clear()
        self._solicitors.clear()
        self._targets.clear()
        self._solicited.clear()
        self._by.clear()
        self.prepared = 0


def shared(view: View, known: Network) -> tuple[object, ...]:
    """What concerns more than one station or address."""
    facts = tuple(getattr(view, name) for name in VIEW)
    return (*facts, *(getattr(known, name) for name in NETWORK))


def key_of(message: bytes, asked: Question) -> bytes:
    """Who asks by it, and how; b"" if nothing is prepared for what is asked like that,
    or if the switch says more of the packet than any does."""
    if message[MATCH_SIZE]:
        return b""
    frame = FRAME[message[MATCH_SIZE + 1]]
    if isinstance(asked, NdSeen):
        header = prompt_nd.header_of(message, frame)
        is_plain = bool(header) and prompt_nd.may_be_prepared(asked, message, header)
        return prompt_nd.key_of(message, CAUSE, frame, header) if is_plain else b""
    is_question = asked.op == REQUEST and asked.spa != asked.tpa
    if not is_question or is_poll(asked):
        return b""
    is_plain = message[frame + 12] in (UNTAGGED, TAGGED)
    return key_at(message, 0) if is_plain else b""


def key_at(data: bytes, at: int) -> bytes:
    """Of a packet-in all that is before ar$tha: who asks by it, and how.  What numbers
    it is as Open vSwitch has it.  b"" if there is none, or not all of it."""
    stop = end_of(data, at)
    if stop < at + SHORTEST:
        return b""
    frame = at + FRAME[data[at + MATCH_SIZE + 1]]
    if frame + THA + END > stop:
        return b""
    tha = frame + THA + (TAG if data[frame + 12] == TAGGED else 0)
    if tha + END > stop:
        return b""
    return data[at : at + NUMBERS] + UNNUMBERED + data[at + TOTAL : tha]


def end_of(data: bytes, at: int) -> int:
    """Where a packet-in ends that begins there; 0 if none does, or not all of it."""
    if at + SHORTEST > len(data) or data[at : at + 2] != KIND:
        return 0
    stop = at + (data[at + 2] << 8 | data[at + 3])
    return stop if stop <= len(data) else 0


def says(channel: Channel, cookie: int) -> bool:
    """The switch answers by itself."""
    held = channel.held or ()
    return cookie not in channel.refused and cookie in held


def names_of(asked: Question) -> frozenset[PortKey | str]:
    """Where who asks is, and what it is called."""
    return frozenset((port_of(asked), asked.eth_src))


def tag_of(asked: ArpSeen) -> int:
    """Octets of the tag that an answer bears."""
    return TAG if asked.vlan else 0
