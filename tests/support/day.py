"""Hosts that come, go, move, sleep and die, and a switch that counts: a day in a model.

    world = World(core, hosts=200, seed=1)
    world.run(hours=2)
    assert not world.mistakes

The model knows the words of the controller (events, commands, flows as text) and none
of its rules.  It judges by the flows that the switches hold:

- nobody is answered for who has given no sign of life for `silent_after` seconds, nor,
  after that moment, whose port, link or address is gone by the kernel's word;
- whoever lives and has been heard is answered for without a gap, also who never says a
  word by itself, unless somebody else claims the same address at that time.

Who has moved without a word is known at its former port until then.

A sign of life is a frame that a switch has seen: ARP of the host's own, or its answer
to a question.  One host in ten questions does not hear, but never three in a row.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from ipaddress import IPv4Address
from typing import Any, Protocol

from controller.commands import (
    ChangeFlows,
    Command,
    CountFlows,
    CountHits,
    ListFlows,
    SendPacket,
)
from controller.events import (
    ArpSeen,
    BridgesSeen,
    Event,
    FlowsCounted,
    FlowsListed,
    FrameSeen,
    HitsCounted,
    KernelChanged,
    KernelSynced,
    PortChanged,
    SwitchReady,
)
from flows.view import Address, Bridge, Interface, Link, Namespace, Port
from tests.facts import kernel_host, port

BROADCAST, ZERO = "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00"
NOBODY = IPv4Address("10.255.255.254")  # whom they ask for
SWITCHES = (1, 2)
PORTS = 40  # of each switch, for hosts that are only heard
HOUR = 3600.0
SWEEP = 600.0  # seconds between two looks at everybody
MISTAKES = 20  # after which the model stops
LATE_MAX = 10_000  # turns in a row that the controller asks for at once


class Controller(Protocol):
    def handle(self, events: Sequence[Event], now: float) -> list[Command]: ...
    def deadline(self) -> float | None: ...


# --- hosts --------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Host:
    """Somebody with one address at a port, whom the kernel does not show.

    period   seconds between two ARP requests of its own; 0 if it only answers
    data     it sends other frames, too
    is_here  awake, and its port is up
    is_heard a switch has seen a sign of life since it came, woke or moved
    sign_at  of the last sign of life
    counted  until when its own requests are in the switch's counter; None while there
             is no flow that lets them pass in silence, so that each is news
    missed   questions in a row that it did not hear
    plan     number of what it will do next; what has another number is off
    """

    mac: str
    switch: int
    port: int
    ip: IPv4Address
    period: float
    data: bool
    is_here: bool = False
    is_heard: bool = False
    sign_at: float = float("-inf")
    counted: float | None = None
    missed: int = 0
    plan: int = 0

    @property
    def binding(self) -> tuple[int, str, IPv4Address]:
        return self.port, self.mac, self.ip

    @property
    def holding(self) -> tuple[int, IPv4Address]:
        return self.switch, self.ip


# --- the switch ---------------------------------------------------------------------

FIELDS = re.compile(r"(\w+)=([^,\s]+)")
ANSWER = re.compile(r"set_field:([0-9a-f:]{17})->arp_sha")


@dataclass(slots=True)
class Flow:
    """kind  "answer", "binding", "source", or "" for all others
    key   what it is about: an address; port, MAC, address; port, MAC
    """

    kind: str
    key: Any
    mac: str = ""
    packets: int = 0


def flow_of(text: str) -> Flow:
    match, _, actions = text.partition(" actions=")
    fields = dict(FIELDS.findall(match))
    names = fields.keys() - {"table", "priority"}
    if fields.get("reg1", "0") != "0":
        return Flow("", None)
    if fields.get("arp_op") == "1" and actions.endswith("IN_PORT"):
        found = ANSWER.search(actions)
        assert found and fields["eth_dst"] == BROADCAST, text
        return Flow("answer", IPv4Address(fields["arp_tpa"]), found[1])
    at, mac = int(fields.get("in_port", "0")), fields.get("eth_src", "")
    if names == {"in_port", "reg1", "eth_src", "eth_type", "arp_spa", "arp_sha"}:
        return Flow("binding", (at, mac, IPv4Address(fields["arp_spa"])))
    if names == {"in_port", "reg1", "eth_src"}:
        return Flow("source", (at, mac))
    return Flow("", None)


@dataclass(slots=True)
class Switch:
    """What it was told, by cookie and by what it is about."""

    flows: dict[int, Flow] = field(default_factory=dict)
    answers: dict[IPv4Address, str] = field(default_factory=dict)
    bindings: dict[tuple[int, str, IPv4Address], int] = field(default_factory=dict)
    sources: dict[tuple[int, str], int] = field(default_factory=dict)

    def add(self, cookie: int, text: str) -> Flow:
        found = self.flows[cookie] = flow_of(text)
        if found.kind == "answer":
            self.answers[found.key] = found.mac
        elif found.kind == "binding":
            self.bindings[found.key] = cookie
        elif found.kind == "source":
            self.sources[found.key] = cookie
        return found

    def delete(self, cookie: int) -> Flow | None:
        gone = self.flows.pop(cookie, None)
        if gone is None:
            return None
        if gone.kind == "answer" and self.answers.get(gone.key) == gone.mac:
            del self.answers[gone.key]
        if gone.kind == "binding" and self.bindings.get(gone.key) == cookie:
            del self.bindings[gone.key]
        if gone.kind == "source" and self.sources.get(gone.key) == cookie:
            del self.sources[gone.key]
        return gone


# --- the kernel's hosts -------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Shown:
    """A namespace at a port of its own; its link and its address come and go."""

    mac: str
    switch: int
    link: Link
    address: Address
    is_up: bool = True
    has_address: bool = True

    @property
    def is_answered(self) -> bool:
        return self.is_up and self.has_address


# --- the world ----------------------------------------------------------------------


class World:
    """Time passes in it as fast as it can.

    restless  seconds between two things that a host undertakes, on average
    mistakes  sentences: what should not have been
    counts    what has happened
    late_by   of those who died: seconds from the last sign to the end of the answer
    """

    def __init__(
        self,
        core: Controller,
        *,
        hosts: int,
        seed: int,
        silent_after: float = 30.0,
        restless: float = HOUR,
        shown: int | None = None,
    ) -> None:
        self.core, self.dice = core, random.Random(seed)
        self.silent_after, self.restless = silent_after, restless
        self.now = 0.0
        self.switches = {number: Switch() for number in SWITCHES}
        self.hosts: list[Host] = []
        self.there: dict[tuple[int, int, str], Host] = {}
        self.holding: dict[tuple[int, IPv4Address], set[Host]] = {}
        self.contested: dict[tuple[int, IPv4Address], float] = {}
        self.last_sign: dict[tuple[int, IPv4Address, str], float] = {}
        self._former: dict[tuple[int, IPv4Address], set[str]] = {}
        self.down: set[tuple[int, int]] = set()
        self.free: list[IPv4Address] = []
        self.shown: list[Shown] = []
        self.mistakes: list[str] = []
        self.counts: Counter[str] = Counter()
        self.late_by = 0.0
        self._events: list[Event] = []
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._number = self._macs = self._ips = 0
        self._deadline: float | None = None
        self._start(hosts, hosts // 20 if shown is None else shown)

    @property
    def came(self) -> int:
        """Hosts that were born until now."""
        return self._macs

    # --- time -----------------------------------------------------------------------

    def at(self, when: float, act: Callable[[], None]) -> None:
        self._number += 1
        heappush(self._agenda, (max(when, self.now), self._number, act))

    def run(self, hours: float, tell: Callable[[str], None] | None = None) -> None:
        end, told = self.now + hours * HOUR, self.now
        while len(self.mistakes) < MISTAKES:
            deadline = self._deadline
            next_at = self._agenda[0][0]
            when = next_at if deadline is None else min(next_at, deadline)
            if when > end:
                break
            self.now = max(self.now, when)
            while self._agenda and self._agenda[0][0] <= self.now:
                heappop(self._agenda)[2]()
            if self._events or (deadline is not None and deadline <= self.now):
                self._turn()
            if tell is not None and self.now >= told + HOUR / 4:
                told = self.now
                tell(f"{self.now / HOUR:5.2f} h, {self.told()}")
        self.now = end

    def told(self) -> str:
        answers = sum(len(switch.answers) for switch in self.switches.values())
        most = ", ".join(f"{n:,} {what}" for what, n in sorted(self.counts.items()))
        return f"{answers:,} answers, latest {self.late_by:.2f} s; {most}"

    def _turn(self) -> None:
        """One turn, and more while the controller is late: that takes no time here."""
        for _ in range(LATE_MAX):
            events, self._events = self._events, []
            self.counts["turns"] += 1
            for command in self.core.handle(events, self.now):
                self._perform(command)
            self._deadline = self.core.deadline()
            if self._deadline is None or self._deadline >= self.now:
                return
        self.mistakes.append(f"at {self.now:.2f} s: the controller is late for ever")

    # --- the switches' side ---------------------------------------------------------

    def _perform(self, command: Command) -> None:
        match command:
            case ChangeFlows(number, plan):
                self._change(number, plan.add, plan.delete)
            case CountHits(number, cookies):
                delay = self.dice.uniform(0.001, 0.05)
                self.at(self.now + delay, lambda: self._tell_hits(number, cookies))
            case CountFlows(number):
                count = len(self.switches[number].flows)
                self._events.append(FlowsCounted(number, count))
            case ListFlows(number):
                cookies_ = frozenset(self.switches[number].flows)
                self._events.append(FlowsListed(number, cookies_))
            case SendPacket(number, at, data):
                self._deliver(number, at, data)
            case _:
                pass

    def _change(self, number: int, add: Iterable[Any], delete: Iterable[int]) -> None:
        switch, lost = self.switches[number], list[Flow]()
        for wanted in add:
            made = switch.add(wanted.cookie, wanted.text)
            if made.kind == "binding":
                at, mac, ip = made.key
                host = self.there.get((number, at, mac))
                if host is not None and host.is_here and host.ip == ip:
                    self._resume(host)
        for cookie in delete:
            gone = switch.flows.get(cookie)
            if gone is not None and gone.kind == "binding":
                at, mac, ip = gone.key
                host = self.there.get((number, at, mac))
                if host is not None and host.ip == ip:
                    self._settle(host)
                    switch.delete(cookie)
                    if host.is_here:
                        self._resume(host)
            switch.delete(cookie)
            if gone is not None and gone.kind == "answer":
                lost.append(gone)
        for gone in lost:
            if switch.answers.get(gone.key) != gone.mac:
                self._ended(number, gone.key, gone.mac)

    def _ended(self, number: int, ip: IPv4Address, mac: str) -> None:
        """An answer went away: was it time?"""
        self.counts["answers that ended"] += 1
        sign_at = self.last_sign.get((number, ip, mac))
        mine = [h for h in self.holding.get((number, ip), ()) if h.mac == mac]
        if any(host.is_here and host.is_heard for host in mine):
            if not self._is_contested((number, ip)):
                self._mistake(f"{ip} of {mac} lives, and is not answered for")
        elif sign_at is not None:
            self.late_by = max(self.late_by, self.now - sign_at)

    def _tell_hits(self, number: int, cookies: Iterable[int]) -> None:
        switch, told = self.switches[number], []
        for cookie in cookies:
            found = switch.flows.get(cookie)
            if found is None:
                continue
            if found.kind == "binding":
                host = self.there.get((number, found.key[0], found.key[1]))
                if host is not None and host.counted is not None:
                    self._settle(host)
            elif found.kind == "source":
                host = self.there.get((number, *found.key))
                if host is not None and host.is_here and (host.data or host.period):
                    found.packets += 1
            told.append((cookie, found.packets))
        self.counts["looks"] += len(told)
        self._events.append(HitsCounted(number, tuple(told)))

    def _deliver(self, number: int, at: int, data: bytes) -> None:
        """A frame of the controller's own: who is asked by it answers."""
        if data[12:14] != b"\x08\x06" or data[20:22] != b"\x00\x01":
            return
        self.counts["probes"] += 1
        ip = IPv4Address(data[38:42])
        host = self.there.get((number, at, data[:6].hex(":")))
        if host is None or not host.is_here or host.ip != ip:
            return
        if host.missed < 2 and self.dice.random() < 0.1:
            host.missed += 1
            return
        host.missed = 0
        plan = host.plan
        delay = self.dice.uniform(0.001, 0.4)
        self.at(self.now + delay, lambda: self._answer(host, plan))

    def _answer(self, host: Host, plan: int) -> None:
        if host.is_here and host.plan == plan:
            self._say(host, op=2)

    # --- what hosts do --------------------------------------------------------------

    def _say(self, host: Host, op: int = 1) -> None:
        """ARP that states its binding: it passes in silence, or is news."""
        switch = self.switches[host.switch]
        self._sign(host, self.now)
        cookie = switch.bindings.get(host.binding)
        if cookie is not None:
            switch.flows[cookie].packets += 1
            return
        self.counts["packet-ins"] += 1
        to = BROADCAST if op == 1 else "02:00:00:00:00:fe"
        self._events.append(
            ArpSeen(
                *(host.switch, host.port, 0, host.mac, to, op),
                *(host.mac, host.ip, ZERO, NOBODY),
            )
        )

    def _sign(self, host: Host, when: float) -> None:
        host.sign_at, host.is_heard = when, True
        self.last_sign[host.switch, host.ip, host.mac] = when

    def _settle(self, host: Host) -> None:
        """Put its own requests, up to now, into the switch's counter."""
        since, host.counted = host.counted, None
        if since is None:
            return
        before, after = int(since / host.period), int(self.now / host.period)
        cookie = self.switches[host.switch].bindings.get(host.binding)
        if cookie is None:
            return
        host.counted = self.now
        if after > before:
            self.switches[host.switch].flows[cookie].packets += after - before
            self._sign(host, after * host.period)

    def _resume(self, host: Host) -> None:
        """It goes on to speak by itself: in silence, or else the next time is news."""
        host.plan += 1
        host.counted = None
        if not host.period:
            return
        if host.binding in self.switches[host.switch].bindings:
            host.counted = self.now
            return
        plan = host.plan
        when = (int(self.now / host.period + 1e-6) + 1) * host.period
        self.at(when, lambda: self._speak(host, plan))

    def _speak(self, host: Host, plan: int) -> None:
        if host.is_here and host.plan == plan:
            self._say(host)
            self._resume(host)

    def _send(self, host: Host) -> None:
        """A frame that is no ARP, now and then."""
        if not host.mac:
            return
        if host.is_here:
            key = (host.port, host.mac)
            if key not in self.switches[host.switch].sources:
                self.counts["packet-ins"] += 1
                self._events.append(FrameSeen(host.switch, host.port, 0, host.mac))
        self.at(self.now + self.dice.uniform(200, 400), lambda: self._send(host))

    def _appear(self, host: Host) -> None:
        """It came, woke or moved: it says so, or speaks later, or is asked."""
        if (host.switch, host.port) in self.down or not host.mac:
            return
        host.is_here, host.is_heard, host.missed = True, False, 0
        self._resume(host)
        plan = host.plan
        silent = self.dice.random() < 0.3
        delay = self.dice.uniform(60, 600) if silent else self.dice.uniform(0, 2)
        self.at(self.now + delay, lambda: self._announce(host, plan))

    def _announce(self, host: Host, plan: int) -> None:
        if host.is_here and host.plan == plan:
            self._say(host)

    def _vanish(self, host: Host) -> None:
        """From now on it says nothing, and answers nobody."""
        self._settle(host)
        host.counted, host.is_here, host.is_heard = None, False, False
        host.plan += 1
        self._must_end(host)

    def _must_end(self, host: Host) -> None:
        """Nobody answers for it any more when the time since its last sign is over."""
        number, ip, mac = host.switch, host.ip, host.mac
        sign_at = self.last_sign.get((number, ip, mac))
        if sign_at is not None:
            self.at(
                sign_at + self.silent_after,
                lambda: self.at(self.now, lambda: self._is_over(number, ip, mac)),
            )
            for other in self.holding.get((number, ip), ()):
                if other is not host:
                    self._contest((number, ip), sign_at + self.silent_after)

    def _is_over(self, number: int, ip: IPv4Address, mac: str) -> None:
        sign_at = self.last_sign.get((number, ip, mac), float("-inf"))
        if self.now < sign_at + self.silent_after:
            return  # it has come back
        self.counts["judged to be dead"] += 1
        if self.switches[number].answers.get(ip) == mac:
            ago = self.now - sign_at
            self._mistake(f"{ip} of {mac} is answered for {ago:.1f} s after its death")

    # --- who holds what -------------------------------------------------------------

    def _take(self, host: Host, number: int, at: int, ip: IPv4Address) -> None:
        self._leave(host)
        host.switch, host.port, host.ip = number, at, ip
        self.there[number, at, host.mac] = host
        rivals = self.holding.setdefault(host.holding, set())
        rivals.add(host)
        if len(rivals) > 1:
            self._contest(host.holding, float("inf"))
        # Who held it before may not be known to be dead yet.
        for key in [k for k in self._former.get(host.holding, ()) if k != host.mac]:
            sign_at = self.last_sign.get((number, ip, key), float("-inf"))
            if self.now < sign_at + self.silent_after:
                self._contest(host.holding, sign_at + self.silent_after)

    def _leave(self, host: Host) -> None:
        self.there.pop((host.switch, host.port, host.mac), None)
        rivals = self.holding.get(host.holding)
        if rivals is None or host not in rivals:
            return
        rivals.discard(host)
        self._former.setdefault(host.holding, set()).add(host.mac)
        if len(rivals) == 1:  # its rival is alone when it is found dead
            sign_at = self.last_sign.get(
                (host.switch, host.ip, host.mac), float("-inf")
            )
            until = max(self.now, sign_at + self.silent_after)
            self.contested[host.holding] = until
            [rival] = rivals
            self.at(until, lambda: self.at(self.now, lambda: self._must_be_back(rival)))
        elif not rivals:
            del self.holding[host.holding]

    def _contest(self, holding: tuple[int, IPv4Address], until: float) -> None:
        self.contested[holding] = max(self.contested.get(holding, 0.0), until)

    def _is_contested(self, holding: tuple[int, IPv4Address]) -> bool:
        return self.now < self.contested.get(holding, float("-inf"))

    def _must_be_back(self, host: Host) -> None:
        """Its rival is gone for as long as it takes to notice."""
        alone = self.holding.get(host.holding) == {host}
        if alone and not self._is_contested(host.holding):
            self._must_be_answered(host)

    def _must_be_answered(self, host: Host) -> None:
        is_alone = host.is_here and host.is_heard
        if is_alone and not self._is_contested(host.holding):
            self.counts["judged to live"] += 1
            if self.switches[host.switch].answers.get(host.ip) != host.mac:
                self._mistake(f"{host.ip} of {host.mac} lives, and is not answered for")

    def _mistake(self, what: str) -> None:
        self.mistakes.append(f"at {self.now:.2f} s: {what}")

    # --- lives ----------------------------------------------------------------------

    def _undertake(self, host: Host) -> None:
        if not host.mac:
            return
        again = self.dice.expovariate(1 / self.restless)
        if not host.is_here:
            self.at(self.now + again, lambda: self._undertake(host))
            return
        what = self.dice.choices(
            ("sleep", "move", "new address", "die", "take an address", "go elsewhere"),
            (40, 20, 15, 12, 3, 10),
        )[0]
        self.counts[what] += 1
        if what == "die":
            self._die(host)
            return
        self.at(self.now + again, lambda: self._undertake(host))
        self._vanish(host)
        number, at, ip, pause = host.switch, host.port, host.ip, 0.0
        if what == "sleep":
            pause = self.dice.choice((5.0, 20.0, 60.0, 600.0, 4000.0))
        elif what == "move":
            at, pause = self.dice.randint(1, PORTS), self.dice.uniform(0.1, 20)
        elif what == "go elsewhere":
            number, pause = self.dice.choice(SWITCHES), self.dice.uniform(0.1, 600)
        elif what == "new address":
            self.free.append(ip)
            ip = self._new_ip()
        else:
            ip = self.dice.choice(self.hosts).ip
        self.at(self.now + pause, lambda: self._go_on(host, number, at, ip))

    def _go_on(self, host: Host, number: int, at: int, ip: IPv4Address) -> None:
        if host.mac and not host.is_here:
            self._take(host, number, at, ip)
            self._appear(host)

    def _die(self, host: Host) -> None:
        """Without a word, and without an event of its link."""
        self._vanish(host)
        self._leave(host)
        self.free.append(host.ip)
        host.mac = ""
        self.hosts.remove(host)
        pause = self.dice.expovariate(1 / 300)
        self.at(self.now + pause, lambda: self._be_born(self.now))

    def _be_born(self, when: float) -> None:
        self._macs += 1
        low = (
            f"{self._macs >> 16:02x}:{self._macs >> 8 & 255:02x}:{self._macs & 255:02x}"
        )
        dice = self.dice
        period = dice.choice((0.0, 0.0, 0.0, *(dice.uniform(2, 90) for _ in range(3))))
        host = Host(f"02:aa:00:{low}", 0, 0, NOBODY, period, dice.random() < 0.2)
        self.hosts.append(host)
        place = dice.choice(SWITCHES), dice.randint(1, PORTS), self._new_ip()
        self.at(when, lambda: self._go_on(host, *place))
        first = when + dice.expovariate(1 / self.restless)
        self.at(first, lambda: self._undertake(host))
        if host.data:
            self.at(when + dice.uniform(0, 300), lambda: self._send(host))

    def _new_ip(self) -> IPv4Address:
        if self.free and self.dice.random() < 0.5:
            return self.free.pop(self.dice.randrange(len(self.free)))
        self._ips += 1
        return IPv4Address("10.0.0.0") + self._ips

    # --- ports and the kernel -------------------------------------------------------

    def _cut(self) -> None:
        """A port loses its carrier, and everybody behind it the way."""
        number, at = self.dice.choice(SWITCHES), self.dice.randint(1, PORTS)
        self.at(self.now + self.dice.expovariate(1 / (self.restless / 2)), self._cut)
        if (number, at) in self.down:
            return
        self.counts["ports that went down"] += 1
        self.down.add((number, at))
        behind = [h for h in self.hosts if (h.switch, h.port) == (number, at)]
        away = [host for host in behind if host.is_here]
        heard = [host for host in away if host.is_heard]  # or it is known elsewhere yet
        for host in away:
            self._vanish(host)
        self._events.append(PortChanged(port(number, at, up=False)))
        self._turn()
        for host in heard:
            answers = self.switches[number].answers
            if answers.get(host.ip) == host.mac:
                self._mistake(f"{host.ip} is answered for, and its port is down")
        self.at(
            self.now + self.dice.uniform(1, 900),
            lambda: self._mend(number, at, away),
        )

    def _mend(self, number: int, at: int, away: list[Host]) -> None:
        self.down.discard((number, at))
        self._events.append(PortChanged(port(number, at)))
        for host in self.hosts:
            is_back = host in away or not host.is_here
            if is_back and (host.switch, host.port) == (number, at):
                self._appear(host)

    def _stir(self, one: Shown) -> None:
        """The kernel says that a link or an address is gone, or there again."""
        again = self.dice.expovariate(1 / self.restless)
        self.at(self.now + again, lambda: self._stir(one))
        self.counts["kernel changes"] += 1
        if self.dice.random() < 0.5:
            one.is_up = not one.is_up
            changed: Link | Address = replace(one.link, lower_up=one.is_up)
            self._events.append(KernelChanged(((changed.key, changed),)))
        else:
            one.has_address = not one.has_address
            fact = one.address if one.has_address else None
            self._events.append(KernelChanged(((one.address.key, fact),)))
        self._turn()
        self._judge(one)

    def _judge(self, one: Shown) -> None:
        ip = one.address.ip
        assert isinstance(ip, IPv4Address)
        is_answered = self.switches[one.switch].answers.get(ip) == one.mac
        if is_answered != one.is_answered:
            state = "is answered for" if is_answered else "is not answered for"
            self._mistake(f"{ip} {state}, against the kernel's word")

    def _sweep(self) -> None:
        self.at(self.now + SWEEP, self._sweep)
        for host in self.hosts:
            self._must_be_answered(host)
        for one in self.shown:
            self._judge(one)
        for number, switch in self.switches.items():
            for ip, mac in switch.answers.items():
                sign_at = self.last_sign.get((number, ip, mac))
                if sign_at is not None and self.now >= sign_at + self.silent_after:
                    self._check_sign(number, ip, mac)
        self.last_sign = {
            (number, ip, mac): when
            for (number, ip, mac), when in self.last_sign.items()
            if when > self.now - 10 * self.silent_after
            or self.switches[number].answers.get(ip) == mac
        }
        self._former = {
            holding: macs
            for holding, macs in self._former.items()
            if any((*holding, mac) in self.last_sign for mac in macs)
        }

    def _check_sign(self, number: int, ip: IPv4Address, mac: str) -> None:
        """Its requests may be in no counter yet."""
        for host in self.holding.get((number, ip), ()):
            if host.mac == mac and host.counted is not None:
                self._settle(host)
        self._is_over(number, ip, mac)

    # --- the start ------------------------------------------------------------------

    def _start(self, hosts: int, shown: int) -> None:
        facts: list[Any] = []
        for n in range(shown):
            number, at = SWITCHES[n % len(SWITCHES)], PORTS + 1 + n // len(SWITCHES)
            mac, ip = (
                f"02:bb:00:00:{n >> 8:02x}:{n & 255:02x}",
                f"10.200.{n >> 8}.{n & 255}",
            )
            some = [
                replace(f, ifindex=1000 * number + at, peer=1000 * number + at)
                if isinstance(f, Link)
                else replace(f, ifindex=1000 * number + at)
                if isinstance(f, Interface | Address)
                else f
                for f in kernel_host(number, at, mac, ip, nsid=n)
            ]
            facts += some
            [link] = [f for f in some if isinstance(f, Link) and f.nsid == n]
            [address] = [f for f in some if isinstance(f, Address)]
            self.shown.append(Shown(mac, number, link, address))
        for number in SWITCHES:
            rows = [f for f in facts if isinstance(f, Port) and f.datapath_id == number]
            own = [port(number, at) for at in range(1, PORTS + 1)]
            self._events.append(SwitchReady(number, (*own, *rows)))
        bridges = tuple(Bridge(number, f"s{number}") for number in SWITCHES)
        interfaces = tuple(f for f in facts if isinstance(f, Interface))
        self._events.append(BridgesSeen(bridges, interfaces))
        kernel = (f for f in facts if isinstance(f, Link | Address | Namespace))
        self._events.append(KernelSynced(tuple(kernel)))
        self._turn()  # the switches list what they hold
        self._turn()
        for one in self.shown:
            self._judge(one)
            first = self.dice.expovariate(1 / self.restless)
            self.at(first, lambda one=one: self._stir(one))  # type: ignore[misc]
        for _ in range(hosts - shown):
            self._be_born(self.dice.uniform(0, 120))
        self.at(self.restless / 2, self._cut)
        self.at(SWEEP, self._sweep)


def main() -> int:
    """python -m tests.support.day: a whole day, or a part of it."""
    from controller.core import Core
    from controller.policy import Policy

    parser = argparse.ArgumentParser(prog="python -m tests.support.day")
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began = time.monotonic()
    world = World(Core(Policy()), hosts=asked.hosts, seed=asked.seed)
    world.run(asked.hours, lambda text: print(text, flush=True))
    took = time.monotonic() - began
    print(f"{asked.hours:g} h of {asked.hosts:,} hosts in {took:.0f} s: {world.told()}")
    print("\n".join(world.mistakes) or "no mistake")
    return 1 if world.mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
