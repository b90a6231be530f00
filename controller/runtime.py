"""Run the core: one inbox, one consumer, and the edges on both sides of it.

Knows no framework.  Under ryu-manager, eventlet has replaced the standard library's
threads, sockets and queues before this module is loaded, so that a thread here is a
green one there.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext

from controller import eventlog
from controller.adoption import is_among
from controller.commands import (
    AdoptBridge,
    ChangeFlows,
    Command,
    HealPort,
    SetForwarding,
    TellConflict,
    TellLimit,
    TellNews,
)
from controller.config import Config
from controller.conflicts import port_in_words
from controller.core import Core
from controller.events import BridgeRefused, Event, FlowsListed
from controller.garbage import collector
from controller.inbox import PACKETS, Inbox
from controller.northbound.answers import answer
from controller.northbound.server import Server
from controller.policy import Policy
from controller.prompt import Prompt
from controller.reconcile import Plan
from controller.sources.netlink import Netlink
from controller.sources.ovsdb import Ovsdb
from controller.waiting import Question
from flows.openflow import Through

BATCH = 256  # events taken together: as many share one compilation
PACKETS_LEAST = 2  # of these packets, however long a turn takes
TURN = 0.0018  # seconds that a turn should take: switches wait for its end
LONGEST_WAIT = 60.0  # seconds
LONG_LIST = 4096  # flows that a switch holds
PIECE = 16_000  # octets for a switch, after which others have their turn
FLOW = 200  # octets at most of a flow, meter or group without its steps, or of the rest
STEP = 24  # octets at most of one action, and of a bucket without its action

log = logging.getLogger("isat")

Perform = Callable[[Command], None]


class Runtime:
    """Everything of a controller but its OpenFlow channel.

    perform  carries out the commands that concern a switch
    refused  how often peers of the OpenFlow port were turned away, by reason
    unsent   how often answers were not sent to them, by reason
    """

    def __init__(
        self, config: Config, *, listening: int, socket_path: str, perform: Perform
    ) -> None:
        self.config = config
        self.listening = listening
        self.targets = targets_of(config, listening)
        self.started_at = time.monotonic()
        self.refused: Mapping[str, int] = {}
        self.core = Core(policy_of(config, self.targets), self.started_at)
        self._perform = perform
        self._inbox = Inbox()
        self._packets = PACKETS_LEAST  # that a turn takes
        self._prompt = Prompt(self.core)
        self.unsent: Mapping[str, int] = {}
        self.ovsdb = (
            Ovsdb(self.report, remote=config.sources.ovsdb)
            if config.sources.ovsdb
            else None
        )
        self.netlink = (
            Netlink(
                self.report,
                at=config.sources.mirror,
                program=[end.port for one in config.overlays for end in one.ends],
            )
            if config.sources.netlink
            else None
        )
        self.server = Server(socket_path, lambda request: answer(self, request))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the sources cannot see, and which right it would take."""
        return self.netlink.notes if self.netlink is not None else ()

    @property
    def counters(self) -> dict[str, int]:
        """What the sources count, beside the core."""
        counts = self.netlink.counters if self.netlink is not None else {}
        closed = {f"closed: {reason}": n for reason, n in self.refused.items()}
        dropped = {
            f"packets dropped of {port_in_words(port, self.core.view)}": n
            for port, n in self._inbox.dropped_of.items()
        }
        return {
            **counts,
            **closed,
            **self.unsent,
            "answered at once": self._prompt.answered,
            "packets dropped": self._inbox.dropped,
            **dropped,
        }

    def start(self) -> None:
        """Begin to listen to this host, and to those who ask."""
        self.server.start()
        if self.ovsdb is not None:
            self.ovsdb.start()
        if self.netlink is not None:
            self.netlink.start()

    def stop(self) -> None:
        self.server.stop()
        if self.netlink is not None:
            self.netlink.stop()
        if self.ovsdb is not None:
            self.ovsdb.stop()

    def report(self, event: Event) -> None:
        """Take in a fact, or a packet.  May wait, if there are too many facts."""
        self._inbox.put(event)

    def answer_at_once(
        self, datapath_id: int, data: bytes, at: int, out: list[bytes]
    ) -> int:
        """Append answers to the packet-ins in `data` from `at` on, and say where the
        first message begins that must be reported.  Facts are taken in first."""
        if self._inbox.has_facts:
            return at
        return self._prompt.answer(datapath_id, data, at, time.monotonic(), out)

    def report_question(self, message: bytes, asked: Question) -> None:
        """The next one like it is answered at once, if all that is to do is to answer.

        message  the packet-in that has brought it
        """
        self._prompt.heard(message, asked)
        self.report(asked)

    def run(self) -> None:
        """One consumer: the core sees all events in one order.  Never returns."""
        while True:
            self.deal_with(self._next_events())
            time.sleep(0)  # however much waits, those who bring facts have their turn

    def deal_with(self, events: list[Event]) -> None:
        """A mistake of ours ends neither the controller nor what came with the event
        that we cannot deal with: the others are taken in once more, one by one."""
        try:
            self._turn(events)
        except Exception:
            log.exception("a mistake in dealing with %s", events)
            for event in events if len(events) > 1 else ():
                self.deal_with([event])

    def _turn(self, events: list[Event]) -> None:
        began = time.monotonic()
        is_long = self.core.is_busy or has_long_list(events)
        commands: list[Command] = []
        later: list[Command] = []
        try:
            with collector.aside_at_once() if is_long else nullcontext():
                self._perform_at_once(self.core.turn(events, began), commands, later)
            took = time.monotonic() - began
            taken = sum(isinstance(event, PACKETS) for event in events)
            self._packets = paced(self._packets, taken, took)
            if text := eventlog.line(events, commands):
                log.info("%s", text)
        finally:  # the core takes for told what it has said
            for command in later:
                self.perform(command)

    def _perform_at_once(
        self, some: Iterable[Command], commands: list[Command], later: list[Command]
    ) -> None:
        """As the core says them, so that switches are busy while it looks at others;
        but for the first that may let another thread go on, which must not find the
        core in the midst of a turn, and those after it.

        commands  all are appended
        later     those that are left to be carried out
        """
        for command in some:
            commands.append(command)
            if later or may_wait(command):
                later.append(command)
            else:
                self.perform(command)

    def _next_events(self) -> list[Event]:
        if self.core.is_busy:
            return self._inbox.take(BATCH, 0.0, self._packets)
        deadline = self.core.deadline()
        wait = LONGEST_WAIT if deadline is None else deadline - time.monotonic()
        wait = max(0.001, min(wait, LONGEST_WAIT))
        return self._inbox.take(BATCH, wait, self._packets)

    def perform(self, command: Command) -> None:
        match command:
            case AdoptBridge(name):
                self.adopt(name)
            case HealPort(bridge, ifname):
                if self.ovsdb is not None:
                    self.ovsdb.heal(bridge, ifname)
            case SetForwarding():
                if self.netlink is not None:
                    self.netlink.set_forwarding(command)
            case TellConflict() | TellNews() | TellLimit():
                pass  # it is in the log
            case _:
                self._perform(command)

    # --- what people ask for by `isat` ------------------------------------------------

    def adopt(self, name: str, answer: Callable[[Event], None] | None = None) -> None:
        """BridgeAdopted or BridgeRefused follows."""
        if self.ovsdb is None:
            tell(answer, without_ovsdb(name))
        else:
            self.ovsdb.adopt(name, self._target_of(name), answer)

    def _target_of(self, name: str) -> str:
        """Where a bridge is to connect: where it does, if that is here."""
        bridges = self.core.view.bridges.values()
        has = [to for one in bridges if one.name == name for to in one.controllers]
        return next((to for to in has if is_among(to, self.targets)), self.targets[-1])

    def release(self, name: str, answer: Callable[[Event], None] | None = None) -> None:
        """BridgeReleased or BridgeRefused follows."""
        if self.ovsdb is None:
            tell(answer, without_ovsdb(name))
        else:
            self.ovsdb.release(name, answer)


def may_wait(command: Command) -> bool:
    match command:
        case ChangeFlows(_, plan):
            return octets(plan) > PIECE
        case AdoptBridge() | HealPort() | SetForwarding():
            return True
    return False


def octets(plan: Plan) -> int:
    """As many as its messages have at most, without making them."""
    meters, groups = plan.meters, plan.groups
    rows = len(plan.add) + len(plan.delete) + len(groups.put) + len(groups.delete)
    rows += len(meters.add) + len(meters.modify) + len(meters.delete)
    actions = [step for one in plan.add for step in one.actions]
    buckets = [one.action for group in groups.put for one in group.buckets]
    steps = sum(3 if isinstance(step, Through) else 1 for step in (*actions, *buckets))
    return (rows + 1) * FLOW + (steps + len(buckets)) * STEP


def paced(packets: int, taken: int, took: float) -> int:
    """How many packets the next turn takes: as many as would have fitted, and at most
    twice or half as many.  New hosts are dear, and known ones cheap; facts are not held
    back, as they come in numbers only when much begins at once, and how long a turn of
    facts alone has taken tells nothing of packets.

    taken  packets that this turn has taken
    """
    if not taken:
        return packets
    fitting = int(packets * TURN / took) if took else BATCH
    most = 2 * packets if taken >= packets else packets
    return min(max(fitting, packets // 2, PACKETS_LEAST), most, BATCH)


def has_long_list(events: Iterable[Event]) -> bool:
    lists = (event for event in events if isinstance(event, FlowsListed))
    return any(len(told.cookies) >= LONG_LIST for told in lists)


def targets_of(config: Config, listening: int) -> tuple[str, ...]:
    """Where switches of this host can connect; the last is where they are told to."""
    local = (f"unix:{config.openflow}",) if config.openflow else ()
    return f"tcp:127.0.0.1:{listening}", *local


def policy_of(config: Config, targets: tuple[str, ...]) -> Policy:
    sources = {"netlink": config.sources.netlink, "ovsdb": bool(config.sources.ovsdb)}
    return Policy(
        adopt=config.bridges,
        bindings=config.bindings,
        guards=config.guards,
        services=config.services,
        proxies=config.proxies,
        confine=config.confine,
        defend=config.defend,
        secret=os.urandom(32) if config.loops or config.links.lldp else b"",
        loops=config.loops,
        lldp=config.links.lldp,
        try_every=float(config.links.every),
        hold=float(config.links.hold),
        limits=config.limits,
        nics=config.nics,
        overlays=config.overlays,
        silent_after=float(config.liveness.silent_after),
        forget_after=float(config.liveness.forget_after),
        awaited=frozenset(name for name, is_on in sources.items() if is_on),
        targets=targets,
    )


def without_ovsdb(name: str) -> BridgeRefused:
    return BridgeRefused(
        name,
        "the controller was told not to use OVSDB",
        "set sources.ovsdb in its configuration",
    )


def tell(answer: Callable[[Event], None] | None, event: Event) -> None:
    if answer is not None:
        answer(event)
