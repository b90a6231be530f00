"""The controller without its edges.

`Core` never opens a socket, reads a clock, sleeps or starts a thread.  An edge calls
`handle(events, now)`, carries out the commands it gets back, and calls again at
`deadline()`.  A test does the same, with a list.

A switch is changed only after it has told what it holds, and a switch that holds flows
of ours only after everybody who can tell about the network has spoken once: an empty
view must never be taken for an empty network.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from controller import attacks, broadcast, cables, departures, door, loops, trial
from controller.adoption import is_among
from controller.arrivals import Arrivals
from controller.attacks import Attacks
from controller.attempts import Attempt, Attempts
from controller.broadcast import Floods, recognized
from controller.channel import NO_PORTS, Channel
from controller.commands import (
    AdoptBridge,
    ChangeFlows,
    Command,
    CountFlows,
    CountHits,
    CountMeters,
    HealPort,
    ListFlows,
    SendPacket,
    TellConflict,
    TellLimit,
    TellNews,
    TryPort,
)
from controller.conflicts import (
    Conflict,
    Conflicts,
    Heard,
    in_words,
    key_of,
    port_in_words,
    said,
    sayings,
    service_of,
)
from controller.defence import Defence
from controller.door import FIRST_TABLE, Door, Lets
from controller.events import (
    ArpSeen,
    Binding,
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    DhcpSeen,
    Event,
    FlowsCounted,
    FlowsListed,
    ForwardingSet,
    FrameIgnored,
    FrameSeen,
    HitsCounted,
    KernelChange,
    KernelChanged,
    KernelLost,
    KernelSynced,
    MetersCounted,
    NdSeen,
    OvsdbLost,
    PortChanged,
    SwitchGone,
    SwitchReady,
    TargetUnknown,
    TrialSeen,
)
from controller.flapping import Flapping, Step, known_elsewhere
from controller.forwarding import Forwarding
from controller.fullness import is_deaf
from controller.heal import newly_deaf
from controller.learn import (
    able,
    domain_of,
    forget,
    from_dhcp,
    home,
    is_no_news_until,
    learn,
    no_room,
    recover_all,
)
from controller.leases import Leases
from controller.links import Links
from controller.liveness import Liveness, Look, Probe, Subject
from controller.liveness import in_words as silences_in_words
from controller.loops import Loops
from controller.memories import Memories
from controller.moves import Moves
from controller.ndp import is_probe, solicitation
from controller.newcomers import Newcomers
from controller.nics import in_words as twins_in_words
from controller.nics import settled_in_words
from controller.overruns import Overruns
from controller.packets import REQUEST, arp_request
from controller.policy import Policy
from controller.questions import Questions
from controller.reconcile import Plan, plan_groups, plan_meters
from controller.replies import reply
from controller.rivals import Rivals
from controller.spread import Spread
from controller.trial import Reach
from controller.tries import Tries
from controller.waiting import Question, port_of, target_of
from flows import admit, ingress
from flows.budgets import meters
from flows.compile import Compiled
from flows.dispute import Contradiction, Kind, Said, contradiction
from flows.fabric import nearest_first
from flows.flood import opened
from flows.forward import CONTROLLER_IP, CONTROLLER_LLADDR
from flows.groups import groups
from flows.hearsay import Hearsay, tellers_of
from flows.hearsay import said as said_by_table
from flows.memo import remember_last, same
from flows.network import Network, network
from flows.openflow import GotoTable, Group, Meter, is_ours
from flows.overlays import Segment
from flows.parties import Holding, Origin, members
from flows.pipeline import TABLE_IDS
from flows.shown import kernel_hosts
from flows.switch import Switch, prepared
from flows.tracked import changed
from flows.trust import Mode, is_shared
from flows.untried import cable_ends
from flows.view import (
    Address,
    AddressKey,
    IPAddress,
    Neighbor,
    Port,
    PortKey,
    SpongeKey,
    Station,
    StationKey,
    View,
)

PATIENCE = 10.0  # seconds that switches with flows wait for the rest of the network
QUESTIONS_MAX = 16  # in one turn, about what neighbor tables say
AUDIT = 10.0  # seconds between two counts of a switch's flows
BINDINGS = 1024  # flows of a long list that are looked at in one turn
STATIONS = 512  # that are recovered of them in one turn
PARTS = 256  # stations and addresses whose flows are written anew in one turn
PARTS_OF_ALL = 512  # of all switches together
AWAY = 60.0  # seconds that the flows of a switch that is gone are kept in mind
AWAY_MAX = 16  # such switches
RETURN = 1.0  # seconds that who was at the other end of a cable may take to say so
RETRY = (0.1, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds after a change was refused


class Core:
    """One consumer of all events, and the only writer of the view."""

    def __init__(self, policy: Policy | None = None, now: float = 0.0) -> None:
        self.policy = policy or Policy()
        self.view = View(
            bindings=self.policy.bindings,
            guards=self.policy.guards,
            services=self.policy.services,
            proxies=self.policy.proxies,
            confine=self.policy.confine,
            limits=self.policy.limits,
            nics=self.policy.nics,
            overlays=self.policy.overlays,
        )
        self.network: Network = network(self.view)
        self.channels: dict[int, Channel] = {}
        self._away: dict[int, tuple[float, Compiled]] = {}  # until when it is kept
        self._recalling: dict[int, Iterator[None]] = {}  # by datapath_id: goes on
        self._is_growing = False  # what a switch should hold: there is more to write
        self._room = PARTS_OF_ALL  # of it, in this turn
        self.sources: dict[str, str] = dict.fromkeys(self.policy.awaited, "starting")
        self.counters: Counter[str] = Counter()
        self.liveness = Liveness(self.policy.silent_after, self.policy.forget_after)
        self.conflicts = Conflicts()
        self.attacks = Attacks()
        self.rivals = Rivals()
        self.moves = Moves()
        self.flapping = Flapping()
        self.attempts = Attempts()
        self.leases = Leases()
        self.defence = Defence()
        self.arrivals = Arrivals()
        self.questions = Questions()
        self.overruns = Overruns()
        self.tries = Tries(self.policy.try_every)
        self.links = Links(self.tries, self.policy.hold)
        self.newcomers = Newcomers(self.tries)
        self.loops = Loops(self.tries.period)
        self.forwarding = Forwarding()
        self.spread = Spread(self.network)
        self._seen_holders = self.network.holders  # at the end of the last turn
        self._is_outdated = False  # the conclusions, by more than what was heard
        self._patient_until = now + PATIENCE
        self._is_patient = True
        self._familiar: set[int] = set()
        self._adopted: set[str] = set()
        self._twins = self.network.twins
        self._told_of = self.network.fabric  # what the log knows of cables
        self._closed = self.network.loops  # what it knows of loops
        self._written_of = self.network.fabric  # what switches were told of last
        self._serial = 0  # of the last frame that a port was tried with
        self.listed: dict[AddressKey, float] = {}  # by the kernel, since when
        self._claimed: dict[Holding, set[str]] = {}  # by whom, in this turn
        self._silent: list[Probe] = []  # in this turn
        self._awake: list[Probe] = []
        self._left: list[Probe] = []  # places, in this turn
        self._intruders: list[tuple[Said, Contradiction]] = []

    # --- the two verbs --------------------------------------------------------------

    def handle(self, events: Sequence[Event], now: float) -> list[Command]:
        """Take in facts, in order of arrival.  `now` is seconds, monotonic."""
        return [*self.turn(events, now)]

    def turn(self, events: Sequence[Event], now: float) -> Iterator[Command]:
        """The same, one by one: what one switch is told need not wait until it is known
        what others are.  All of them must be asked for."""
        before, self._is_patient = self.view, now < self._patient_until
        self._claimed.clear()
        self._forget_who_stays_away(now)
        for datapath_id in [*self._recalling]:
            self._go_on_recalling(datapath_id)
        for event in events:
            self.counters[type(event).__name__] += 1
            frame = event.frame if isinstance(event, DhcpSeen) else event
            self.attacks.watch(frame, self.network, now)
            yield from self._take(event, now)
        self.view = self.questions.due(self.view, now)
        self.view = self.leases.due(self.view, now)
        self.view = self.loops.expire(self.view, now)
        self.view = broadcast.arrived(self.view, now)
        self.view = departures.noted(self._told_of, self.view, now)
        self.network = network(self.view)
        if self._is_linking:
            self._link(now)
        self._await_links(now)
        yield from self._cables()
        yield from self._trials(now)
        self._rivalries(events, now)
        held = self._newly_held()
        self.view = self.questions.alive(self.view, [*held, *self._claims(events)])
        for asked in dict.fromkeys(questions(events)):  # two tables may tell of one
            yield from self._answer(asked, now)
        yield from self._late_answers(held)
        yield from self._unknown_targets(events, now)
        yield from self._questions(events)
        yield from self._disputes(now)
        yield from self._looks(events, now)
        self._spread(now)
        yield from self._changes(now)
        self.spread.look(self.channels, now)
        yield from self._forwardings(now)
        yield from self._arrivals(now)
        yield from self._audits(now)
        if self._is_linking:
            self.links.left(before, self.view, self.network, now)

    def deadline(self) -> float | None:
        """When to call `handle` again although nothing has happened."""
        times = [
            self.liveness.deadline(),
            self.conflicts.deadline(),
            self.attacks.deadline(),
            self.moves.deadline(),
            self.attempts.deadline(),
            self.leases.deadline(),
            self.defence.deadline(),
            self.tries.deadline(),
            self.loops.deadline(),
            self.links.deadline(),
            self.newcomers.deadline(),
            self.questions.deadline(self.view),
            broadcast.deadline(self.view),
            door.deadline(self.channels),
            self.spread.deadline(),
            *(until for until, _ in self._away.values()),
        ]
        if self._is_patient and self._somebody_waits:
            times.append(self._patient_until)
        for channel in self.channels.values():
            times.append(channel.retry_at)
            times += [channel.audit_at] if channel.installed is not None else []
            times += [channel.linked_until] if channel.linked else []
        if self.is_busy:
            times.append(-math.inf)
        return min((time for time in times if time is not None), default=None)

    @property
    def is_busy(self) -> bool:
        """There is more to do at once, which others need not wait for."""
        return bool(self._recalling) or self._is_growing

    # --- facts ----------------------------------------------------------------------

    def _take(self, event: Event, now: float) -> Iterator[Command]:
        if isinstance(event, Heard):
            self._hear(event, now)
            return
        match event:
            case SwitchReady(datapath_id):
                _, compiled = self._away.pop(datapath_id, (0.0, Compiled(datapath_id)))
                self.channels[datapath_id] = Channel(compiled, door=Door.shut(now))
                self._note_floods(datapath_id, now)
                yield ListFlows(datapath_id)
            case SwitchGone(datapath_id):
                if channel := self.channels.pop(datapath_id, None):
                    self._is_away(channel.compiled, now)
                self._recalling.pop(datapath_id, None)
                self.overruns.forget(datapath_id)
                if datapath_id not in self.view.bridges:
                    self._familiar.discard(datapath_id)
            case FlowsListed():
                self._listed(event, now)
            case FlowsCounted():
                yield from self._audited(event)
            case HitsCounted():
                yield from self._counted(event, now)
                return
            case MetersCounted():
                yield from self._metered(event, now)
                return
            case PortChanged(port) if port.up:
                self.view = self.questions.port_came_up(self.view, port.datapath_id)
            case ChangeDone(datapath_id):
                if channel := self.channels.get(datapath_id):
                    channel.confirmed()
                    channel.floods.confirmed()
                    self._note_floods(datapath_id, now)
                self._is_outdated = True
                return
            case ChangeFailed():
                self._refused(event, now)
            case KernelSynced(facts):
                self.sources["netlink"] = "ok"
                keys = (fact.key for fact in facts if isinstance(fact, Address))
                self.listed = {key: self.listed.get(key, now) for key in keys}
            case KernelChanged(changes):
                self._list_addresses(changes, now)
            case ForwardingSet():
                yield from self.forwarding.heard(event)
                return
            case KernelLost(why):
                self.sources["netlink"] = why
            case OvsdbLost(why):
                self.sources["ovsdb"] = why
            case BridgesSeen():
                self.sources["ovsdb"] = "ok"
                yield from self._adoptions(event)
            case TrialSeen():
                self._tried_port(event, now)
                return
            case FrameIgnored(why=why, heard=heard):
                self.counters[f"ignored: {why}"] += 1
                if heard is not None and self.policy.guards:
                    self._note_forged(heard, now)
            case _:
                pass
        if isinstance(event, TargetUnknown):
            return  # whoever asks was told of before, or is known
        if isinstance(event, DhcpSeen):
            self._overhear(event, now)
            return
        self._is_outdated = True
        before, self.view = self.view, learn(self.view, event, now)
        for bridge, ifname in newly_deaf(before, self.view):
            yield HealPort(bridge, ifname)

    def _list_addresses(self, changes: Iterable[KernelChange], now: float) -> None:
        for key, fact in changes:
            if isinstance(fact, Address):
                self.listed.setdefault(fact.key, now)
            elif isinstance(key, AddressKey) and fact is None:
                self.listed.pop(key, None)

    def _is_away(self, compiled: Compiled, now: float) -> None:
        """If it is back soon, its flows cost what has changed meanwhile."""
        self._away[compiled.datapath_id] = now + AWAY, compiled
        if len(self._away) > AWAY_MAX:
            del self._away[next(iter(self._away))]

    def _forget_who_stays_away(self, now: float) -> None:
        for datapath_id in [one for one, row in self._away.items() if row[0] <= now]:
            del self._away[datapath_id]

    def _listed(self, event: FlowsListed, now: float) -> None:
        """What a switch holds.  At first sight its flows are also our memory."""
        channel = self.channels.get(event.datapath_id)
        if channel is None:
            return
        channel.listed(cookie for cookie in event.cookies if is_ours(cookie))
        self.spread.doubted(event.datapath_id)
        self.tries.resume(event.datapath_id, now)
        channel.meters = {meter.meter_id: meter for meter in event.meters}
        channel.groups = {group.group_id: group for group in event.groups}
        self.view = able(self.view, event.datapath_id, event.greatest_meter)
        channel.is_settled = False
        if not channel.told:
            channel.was_empty = not event.cookies
            if event.cookies:
                channel.door = Door()
        channel.audit_at = now + AUDIT
        channel.retry_at = None
        at = event.datapath_id
        if at not in self._familiar and at not in self._recalling:
            if self._is_linking:
                self._note_newcomers(event)
            self._note_links(event, channel, now)
            self._recalling[at] = self._recall(event, now - self.policy.silent_after)
            self._go_on_recalling(at)

    def _go_on_recalling(self, datapath_id: int) -> None:
        """What a switch remembers is long: a piece of it in each turn."""
        for _ in self._recalling[datapath_id]:
            break
        else:
            del self._recalling[datapath_id]
            self._familiar.add(datapath_id)
        self._is_outdated = True

    def _recall(self, event: FlowsListed, at: float) -> Iterator[None]:
        told: dict[StationKey, list[Binding]] = {}
        memories = Memories()
        for number, one in enumerate(event.bindings):
            if number and number % BINDINGS == 0:
                yield
            if memories.is_genuine(one):
                key = StationKey(event.datapath_id, one.vlan, one.lladdr)
                told.setdefault(key, []).append(one)
        rows = [*told.items()]
        for start in range(0, len(rows), STATIONS):
            if start:
                yield
            self._recover(rows[start : start + STATIONS], at)

    def _recover(
        self, rows: Sequence[tuple[StationKey, list[Binding]]], at: float
    ) -> None:
        self.view = recover_all(self.view, rows, at)
        for key, ones in rows:
            self.liveness.remember(self.view, key, ones)
            self.leases.watch(self.view, key)

    def _refused(self, event: ChangeFailed, now: float) -> None:
        channel = self.channels.get(event.datapath_id)
        if channel is not None:
            pause = RETRY[min(channel.refusals, len(RETRY) - 1)]
            channel.refuses(event.why)
            channel.floods.doubted()
            self._note_floods(event.datapath_id, now)
            channel.retry_at = now + pause

    def _adoptions(self, event: BridgesSeen) -> Iterator[Command]:
        for bridge in event.bridges:
            wanted = bridge.name in self.policy.adopt and not bridge.adopted
            if wanted and bridge.name not in self._adopted:
                self._adopted.add(bridge.name)
                yield AdoptBridge(bridge.name)

    # --- DHCP -----------------------------------------------------------------------

    def _overhear(self, event: DhcpSeen, now: float) -> None:
        """A server's word counts if it comes from where servers are, to who has asked
        for it; a client's about itself if it comes from where it is."""
        self._hear(event.frame, now)
        key = home(self.view, event)
        if key is None or not event.client:
            return
        if self._is_outdated:
            self.network, self._is_outdated = network(self.view), False
        at = PortKey(event.frame.datapath_id, event.frame.in_port)
        if not event.frame.sends:
            if event.client != event.frame.eth_src or at != self._place_of(key):
                return
            self.leases.asks(key, event.xid, at, now)
        elif at not in self.network.trust.servers or event.message == "offer":
            return
        elif not self.leases.is_answer(key, event.xid, now):
            self.counters["DHCP: an answer to nobody"] += 1
            return
        before, self.view = self.view, from_dhcp(self.view, event, now)
        if self.view is not before:
            self._is_outdated = True
            self.counters[f"DHCP: {event.message}"] += 1
            for key in changed(before.stations, self.view.stations):
                self.liveness.watch(self.view, key)
                self.leases.watch(self.view, key)

    def _place_of(self, key: StationKey) -> PortKey | None:
        """Where a station is by its last word, or by the kernel's."""
        station = self.view.stations.get(key)
        domain = self.network.domain(key.datapath_id, key.vlan)
        where = station or self.network.located.get((domain, key.lladdr))
        return where.port if where else None

    # --- who contradicts what is known -----------------------------------------------

    def _hear(self, event: Heard, now: float) -> None:
        is_judged = self.policy.guards or self.policy.proxies
        believed = self._credible(event, now) if is_judged else event
        if believed is not None:
            self._learn(self._within_limits(believed), now)
            if isinstance(event, NdSeen):
                self._is_outdated = True

    def _within_limits(self, event: Heard) -> Heard:
        """Where its sender is, alone, if so many others claim what it claims."""
        if isinstance(event, FrameSeen):
            return event
        claim = said(event)
        if claim.ip is None:
            return event
        holding = self.network.domain(event.datapath_id, event.vlan), claim.ip
        holder = self.network.holders.get(holding)
        claimants = self._claimed.setdefault(holding, set())
        claimants.add(claim.lladdr)
        rivals = {one.lladdr for one in holder.candidates} if holder else set()
        most = self.view.limits.candidates_per_address
        if claim.lladdr in rivals or len(rivals | claimants) <= most:
            return event
        self.counters["claims of an address that too many claim"] += 1
        return FrameSeen(*claim.at, claim.vlan, claim.lladdr)

    def _learn(self, event: Heard, now: float, *, is_tried: bool = False) -> None:
        """What a packet says; who speaks is watched from now on.

        is_tried  the place that is known was asked, and is silent
        """
        before, after, key = self.view, learn(self.view, event, now), speaker(event)
        if after is not before:
            if not is_tried and not self._may_move(after, event, now):
                return
            self.view = after
            self.liveness.watch(self.view, key)
            self._awake += [*awoken(before, self.view, key)]
        self._count_unkept(event)

    def _count_unkept(self, event: Heard) -> None:
        """An address of a station that was learned, and has no room for one more."""
        ip = None if isinstance(event, FrameSeen) else said(event).ip
        station = self.view.stations.get(speaker(event)) if ip else None
        if ip and station and (why := no_room(self.view, station, ip)):
            self.counters[f"addresses not kept, as {why}"] += 1

    def _may_move(self, after: View, event: Heard, now: float) -> bool:
        """Where nobody enforces: at once, unless it goes to and fro."""
        key, at = speaker(event), PortKey(event.datapath_id, event.in_port)
        old = known_elsewhere(self.view, after, key)
        if old is None or is_shared(key.lladdr):
            return True
        step = Step((domain_of(after, key), key.lladdr), old, at)
        if not self.flapping.may_move(step, now):
            self.moves.suspect(old, None, event, now)
            return False
        self._left += [Probe(old, claim.ip) for claim in old.claims[:1]]
        wrong = self.flapping.moved(step, now)
        if wrong is not None:
            where = at if wrong == old.port else old.port
            intruder = Said(wrong, key.vlan, key.lladdr, Kind.FRAME)
            lie = Contradiction(None, key.lladdr, where, Origin.HEARD)
            self._intruders.append((intruder, lie))
        return True

    def _credible(self, event: Heard, now: float) -> Heard | None:
        """What of it may be learned: all, if nothing that is known speaks against it,
        or nobody minds."""
        if self._is_outdated:
            self.network, self._is_outdated = network(self.view), False
        heard, found = self._against(event, now)
        mode = self.network.trust.mode(heard.at)
        is_theft = found is not None and self._is_from_enforced(found)
        is_ours = found is not None and self._is_ours(heard, found)
        if found is None or (mode is Mode.LEARN and not (is_theft or is_ours)):
            return event
        self._note(heard, found, Mode.ENFORCE if is_ours else mode, now)
        if mode is not Mode.ENFORCE and not (is_theft or is_ours):
            return event
        self._suspect(found, event, now)
        if found.ip is None and not service_of(heard, found):
            return None
        return FrameSeen(*heard.at, heard.vlan, heard.lladdr)

    def _rivalries(self, events: Sequence[Event], now: float) -> None:
        """Where nobody guards: what was learned, and who is wronged by it."""
        for event in events:
            if isinstance(event, Heard):
                heard = said(event)
                if self.network.trust.mode(heard.at) is Mode.LEARN:
                    found = self.rivals.against(event, self.view, self.network)
                    if found is not None:
                        self._note(heard, found, Mode.LEARN, now)
        for heard, found in self._intruders:
            row = self.conflicts.rows.get(key_of(heard, found))
            is_counted = row is not None and row.last == now
            if self.network.trust.mode(heard.at) is Mode.LEARN and not is_counted:
                self._note(heard, found, Mode.LEARN, now)
        self._intruders.clear()

    def _note(self, heard: Said, found: Contradiction, mode: Mode, now: float) -> None:
        """By the place at which it is heard, where it is not."""
        self.conflicts.note(heard, found, mode, now)
        place = self.network.domain(heard.at.datapath_id, heard.vlan), heard.lladdr
        if found.ip is None and self.flapping.is_on_trial(place, now):
            self.conflicts.flaps(key_of(heard, found))

    def _against(self, event: Heard, now: float) -> tuple[Said, Contradiction | None]:
        """The first that it says and something known speaks against."""
        known = sayings(event)
        for one in known:
            found = contradiction(self.network, one) or self._too_late(one, now)
            if found is not None:
                return one, found
        self._wants(event, now)
        return known[0], None

    def _wants(self, event: Heard, now: float) -> None:
        """Duplicate address detection of what nobody holds."""
        if isinstance(event, NdSeen) and is_probe(event) and self.network.trust.modes:
            domain = self.network.domain(event.datapath_id, event.vlan)
            if (domain, event.target) not in self.network.holders:
                self.attempts.note(domain, event, now)

    def _too_late(self, one: Said, now: float) -> Contradiction | None:
        """Somebody else was first with an address that nobody holds yet."""
        if not isinstance(one.ip, IPv6Address) or not one.kind.is_claim:
            return None
        domain = self.network.domain(one.at.datapath_id, one.vlan)
        first = self.attempts.of_others(domain, one.ip, one.lladdr, now)
        if first is None or (domain, one.ip) in self.network.holders:
            return None
        return Contradiction(one.ip, first.lladdr, first.port)

    def _note_forged(self, event: ArpSeen | NdSeen, now: float) -> None:
        """ARP of one station in a frame of another: nothing is learned of it, but one
        of the two may contradict what is known."""
        heard = said(event)
        other = event.sha if isinstance(event, ArpSeen) else event.lladdr
        for lladdr in (event.eth_src, other):
            one = replace(heard, lladdr=lladdr)
            found = contradiction(self.network, one)
            mode = self.network.trust.mode(one.at)
            if found is not None and mode is not Mode.LEARN:
                self.conflicts.note(one, found, mode, now)
                return

    def _is_ours(self, heard: Said, found: Contradiction) -> bool:
        """Somebody claims a gateway's address: the switch lets nobody hear of it."""
        rules = self.network.rules_at(heard.at.datapath_id)
        return bool(found.ip and rules.gateway(heard.vlan, found.ip))

    def _is_from_enforced(self, found: Contradiction) -> bool:
        """A station of a port that is enforced on is heard elsewhere."""
        if found.ip is not None or found.port is None:
            return False
        return self.network.trust.mode(found.port) is Mode.ENFORCE

    def _suspect(self, found: Contradiction, event: Heard, now: float) -> None:
        """What was only heard may have moved: the place that is known is asked."""
        domain = self.network.domain(event.datapath_id, event.vlan)
        where = self.network.located.get((domain, found.rival))
        if found.origin is Origin.HEARD and where is not None and where.station:
            self.moves.suspect(where.station, found.ip, event, now)

    def _disputes(self, now: float) -> Iterator[Command]:
        for datapath_id, cookie in self.moves.due(now):
            if self._is_ready(datapath_id):
                yield CountHits(datapath_id, (cookie,))
        for attempt in self.attempts.due(now):
            yield from self._settled(attempt)
        for left in self._left:
            if self._is_ready(left.station.datapath_id):
                yield self._asked(left)
        self._left.clear()
        told = self.conflicts.due(self.network, now)
        for row in told:
            yield TellConflict(in_words(row, self.view))
        for attack in self.attacks.due(now):
            yield TellConflict(attacks.in_words(attack, self.view))
        yield from self._several()
        if self.policy.defend:
            yield from self._defences(told, now)

    def _cables(self) -> Iterator[Command]:
        before, self._told_of = self._told_of, self.network.fabric
        for text in cables.news(before, self._told_of, self.view):
            yield TellNews(text)

    def _trials(self, now: float) -> Iterator[Command]:
        before, self._closed = self._closed, self.network.loops
        if closed := self._closed.keys() - before.keys():
            there = (s for s in self.view.stations.values() if s.port in closed)
            self.view = forget(self.view, [*there])  # they were heard of in a circle
            self.network = network(self.view)
        for text in loops.news(before, self._closed, self.view):
            yield TellNews(text)
        for text in self.links.news(self.view):
            yield TellConflict(text)
        if "starting" in self.sources.values() or not self.policy.secret:
            return
        segments, ends = self._to_try()
        self.tries.want(either(segments, ends), now)
        for port in self.tries.due(self.view, now, self._is_ready):
            if port.key in ends:
                yield self._trial(port, Reach.CABLE, now)
            if port.key in segments:
                yield self._trial(port, Reach.SEGMENT, now)

    def _to_try(self) -> tuple[frozenset[PortKey], frozenset[PortKey]]:
        """Ports that may lead back to us; ports that may be one end of a cable."""
        known = self.network
        segments = known.outward if self.policy.loops else NO_PORTS
        if not self.policy.lldp:
            return segments, NO_PORTS
        return segments, cable_ends(known.open_ended, self.view.adjacencies)

    def _trial(self, port: Port, reach: Reach, now: float) -> TryPort:
        self._serial = (self._serial + 1) % 2**32
        data = trial.write(self.policy.secret, port, now, reach, self._serial)
        return TryPort(*port.key, data)

    def _tried_port(self, event: TrialSeen, now: float) -> None:
        at, secret = PortKey(event.datapath_id, event.in_port), self.policy.secret
        said = trial.read(secret, event.unit) if secret else None
        reach = Reach.CABLE if event.is_direct else Reach.SEGMENT
        if said is not None and said.reach is not reach:
            said = None  # somebody has changed where it went
        if reach is Reach.CABLE and self._is_linking:
            self.links.heard(self.view, at, said, now)
        elif reach is Reach.SEGMENT and self.policy.loops:
            self.view = self.loops.heard(self.view, at, said, now)

    # --- cables that no kernel shows --------------------------------------------------

    @property
    def _is_linking(self) -> bool:
        return self.policy.lldp and bool(self.policy.secret)

    def _link(self, now: float) -> None:
        """What LLDP has shown, or shows no longer, and which ports wait for it."""
        before = self.view
        self.view = self.links.expire(self.view, now, self._is_ready)
        self.view = self.links.judged(self.view, network(self.view), now)
        self.network = network(self.view)
        if "starting" not in self.sources.values():
            self.view = self.newcomers.due(
                self.view,
                self.network,
                now,
                is_ready=lambda key: self._is_ready(key.datapath_id),
                may_wait=lambda key: not self.links.is_hosts(self.view, key, now),
                is_listening=lambda key: self._is_listening(key.datapath_id),
            )
        if self.view is not before:
            self.network = network(self.view)

    def _await_links(self, now: float) -> None:
        """What its flows take for uplinks a switch waits for, if LLDP may show it, or
        other ends of the overlay are not there yet, or have not told whom they know."""
        waiting = [one for one in self.channels.values() if one.linked]
        if not waiting:
            return
        is_starting = "starting" in self.sources.values()
        may_come = frozenset(
            end
            for segment in self.network.fabric.segments.values()
            if segment.absent or not segment.switches <= self._familiar
            for end in segment.ends
        )
        if self._is_linking:
            may_come |= self.network.outward
        for channel in waiting:
            if now >= channel.linked_until:
                channel.linked = NO_PORTS
            elif not is_starting:
                channel.linked &= may_come

    def _is_listening(self, datapath_id: int) -> bool:
        """The switch does all that it was told, and so lets in what ports are tried
        with."""
        channel = self.channels.get(datapath_id)
        return channel is not None and channel.has_done_all and not channel.door.held

    def _note_newcomers(self, event: FlowsListed) -> None:
        """Ports that flows of an earlier life let packets in by are not new."""
        self.newcomers.look(self.view)
        if event.cookies:
            mine = self._ports_of(event.datapath_id)
            self.newcomers.forget(k for k in mine if was_admitted(k, event.cookies))

    def _ports_of(self, datapath_id: int) -> list[PortKey]:
        return [key for key in self.view.ports if key.datapath_id == datapath_id]

    def _note_links(self, event: FlowsListed, channel: Channel, now: float) -> None:
        """Those that were uplinks may be so again in a moment."""
        if not event.cookies:
            return
        mine = self._ports_of(event.datapath_id)
        channel.linked = frozenset(k for k in mine if was_uplink(k, event.cookies))
        channel.linked_until = max(now + RETURN, self._patient_until)

    def _several(self) -> Iterator[Command]:
        """Hosts that have come to have several interfaces in one segment."""
        before, self._twins = self._twins, self.network.twins
        fresh = sorted(changed(before, self._twins))
        for group in [g for g in fresh if g in self._twins and g not in before][:16]:
            text = twins_in_words(self._twins[group], self.view)
            yield TellNews(f"{text}: {settled_in_words(self.view.nics)}")

    def _settled(self, row: Attempt) -> Iterator[Command]:
        """Its detection is over: who has the address now says so if it is asked."""
        is_held = (row.domain, row.ip) in self.network.holders
        where = self.network.located.get((row.domain, row.lladdr))
        if where and not is_held and self._is_ready(where.port.datapath_id):
            yield self._probe(where.port, row.domain.vlan, row.lladdr, row.ip)

    def _defences(self, told: list[Conflict], now: float) -> Iterator[Command]:
        """What was claimed just now, and went its way."""
        heard = (row for row in self.conflicts.told() if row.last == now)
        for row in (*told, *heard, *self.defence.due(now)):
            if row.mode is not Mode.WATCH:
                continue
            if sent := self.defence.against(row, self._is_router(row), now):
                self.counters["announcements for owners"] += 1
                yield sent

    def _arrivals(self, now: float) -> Iterator[Command]:
        for sent in self.arrivals.announcements(self.view, self.network, now):
            if self._is_ready(sent.datapath_id):
                yield sent

    def _is_router(self, row: Conflict) -> bool:
        """Whom the claim was against."""
        at, ip = row.said.at.datapath_id, row.found.ip
        domain = self.network.domain(at, row.said.vlan)
        holder = self.network.holders.get((domain, ip)) if ip else None
        return bool(holder and holder.winner.router)

    def _tried(self, flow: Look, packets: int, now: float) -> Iterator[Command]:
        """Who is heard at a second place, and was asked at the first."""
        outcome = self.moves.counted(self.view, flow, packets, now)
        self.view = outcome.view
        if outcome.probe is not None:
            yield self._asked(outcome.probe)
        if outcome.news is not None:
            self.counters["moves that were believed"] += 1
            heard = said(outcome.news)
            frame = FrameSeen(*heard.at, heard.vlan, heard.lladdr)
            self._learn(frame, now, is_tried=True)
            self._is_outdated = True
            self._hear(outcome.news, now)  # what it says besides is judged anew

    # --- answers by packet-out ------------------------------------------------------

    def _answer(self, asked: Question, now: float | None = None) -> Iterator[Command]:
        """A question that the switch could not answer (yet), although we can.

        now  it came just now; None if it has waited, so that nobody else answers it
        """
        channel = self.channels.get(asked.datapath_id)
        if channel is None or channel.held is None:
            return
        found = reply(self.view, self.network, asked)
        if found is None:
            if now is not None and self._is_unknown(asked):
                self.questions.waiting.add(asked, now)
            return
        if channel.says(found.flow) and now is not None:
            return
        self.counters["answered by packet-out"] += 1
        yield self._sent(port_of(asked), asked.vlan, found.data)

    def is_routine_until(self, asked: Question) -> float:
        """Until when, if the view stays, `handle` does no more about this question than
        to answer it, whatever its target is, if somebody holds that; minus infinity if
        it does.  The sender is alone with what it says, and nothing speaks against it.
        """
        at = PortKey(asked.datapath_id, asked.in_port)
        domain = self.network.domain(asked.datapath_id, asked.vlan)
        ip = asked.spa if isinstance(asked, ArpSeen) else asked.src
        holder = self.network.holders.get((domain, ip))
        if (
            holder is None
            or [c.lladdr for c in holder.candidates] != [asked.eth_src]
            or (domain, asked.eth_src) not in self.network.located
            or at in self.network.fabric.uplinks
            or self.network.rules_at(asked.datapath_id).rows
            or any(contradiction(self.network, one) for one in sayings(asked))
            or self.rivals.against(asked, self.view, self.network) is not None
        ):
            return -math.inf
        return is_no_news_until(self.view, asked)

    # --- targets that nobody is known to hold ---------------------------------------

    def _is_unknown(self, asked: Question) -> bool:
        """Nobody at all holds it, and it is no announcement."""
        domain = self.network.domain(asked.datapath_id, asked.vlan)
        is_claim = isinstance(asked, ArpSeen) and asked.spa == asked.tpa
        return not is_claim and (domain, target_of(asked)) not in self.network.holders

    def _newly_held(self) -> list[SpongeKey]:
        """What somebody holds who did not at the last turn, at each switch."""
        before, self._seen_holders = self._seen_holders, self.network.holders
        found = changed(before, self._seen_holders)
        switches = members(self.network.fabric)
        return [
            SpongeKey(datapath_id, domain.vlan, ip)
            for domain, ip in found
            if (domain, ip) in self._seen_holders
            for datapath_id in switches.get(domain.island, ())
        ]

    def _claims(self, events: Sequence[Event]) -> Iterator[SpongeKey]:
        """What somebody says to hold, whether that is believed or not: who answers
        is alive."""
        switches = members(self.network.fabric)
        for event in events:
            heard = event.heard if isinstance(event, FrameIgnored) else event
            if not isinstance(heard, ArpSeen | NdSeen):
                continue
            island = self.network.domain(heard.datapath_id, heard.vlan).island
            for ip in {one.ip for one in sayings(heard) if one.ip is not None}:
                for datapath_id in switches.get(island, (heard.datapath_id,)):
                    yield SpongeKey(datapath_id, heard.vlan, ip)

    def _late_answers(self, held: list[SpongeKey]) -> Iterator[Command]:
        """To those whose questions were held back, when somebody holds their target."""
        for key in held:
            for asked in self.questions.waiting.take(key):
                yield from self._answer(asked)

    def _unknown_targets(
        self, events: Sequence[Event], now: float
    ) -> Iterator[Command]:
        for event in events:
            if isinstance(event, TargetUnknown) and self._is_unknown(event.asked):
                self.view, held = self.questions.went_out(
                    self.view, event.asked, now, self._hears_everybody(event.asked)
                )
                yield from held

    def _hears_everybody(self, asked: Question) -> bool:
        """Nobody who may hold its target is left out because of a limit."""
        domain = self.network.domain(asked.datapath_id, asked.vlan)
        return not is_deaf(self.view, self.network, domain)

    # --- budgets ----------------------------------------------------------------------

    def _metered(self, event: MetersCounted, now: float) -> Iterator[Command]:
        counts = dict(event.dropped)
        for line in self.overruns.counted(self.view, event.datapath_id, counts, now):
            yield TellLimit(line)

    # --- who lives ------------------------------------------------------------------

    def _looks(self, events: Sequence[Event], now: float) -> Iterator[Command]:
        for event in events:
            if isinstance(event, ArpSeen | NdSeen):
                self._hurry(event, now)
        looks: list[Look] = []
        if not self.is_busy:  # the answers would come in the midst of it
            self.view, looks = self.liveness.due(self.view, now, self._is_ready)
        wanted: dict[int, list[int]] = {}
        for datapath_id, cookie in looks:
            wanted.setdefault(datapath_id, []).append(cookie)
        for datapath_id, cookies in wanted.items():
            yield CountHits(datapath_id, tuple(cookies))
        yield from self._told()

    def _told(self) -> Iterator[Command]:
        """Who fell silent in this turn, and who speaks again."""
        for some, what in ((self._silent, "silent"), (self._awake, "speaking again")):
            if some:
                self.counters[f"addresses that fell {what}"] += len(some)
                yield TellNews(f"{what}: {silences_in_words(some, self._place)}")
                some.clear()

    def _place(self, station: Station) -> str:
        return port_in_words(station.port, self.view)

    def _hurry(self, event: ArpSeen | NdSeen, now: float) -> None:
        """Claims that contradict each other: one of them may be out of date."""
        ip = event.spa if isinstance(event, ArpSeen) else event.ip
        domain = self.network.domain(event.datapath_id, event.vlan)
        if (domain, ip) in self.network.contested:
            for one in self.network.holders[domain, ip].candidates:
                key = StationKey(one.port.datapath_id, domain.vlan, one.lladdr)
                self.liveness.hurry(Subject(key, ip), now)

    def _is_contested(self, subject: Subject) -> bool:
        if subject.ip is None or not self.network.contested:
            return False
        key = subject.station
        domain = self.network.domain(key.datapath_id, key.vlan)
        return (domain, subject.ip) in self.network.contested

    def _counted(self, event: HitsCounted, now: float) -> Iterator[Command]:
        tried = self.moves.asked
        for cookie, packets in event.packet_counts:
            flow = (event.datapath_id, cookie)
            outcome = self.liveness.counted(
                self.view, flow, packets, now, self._is_contested
            )
            if outcome is not None:
                self.view = outcome.view
                if outcome.probe is not None:
                    yield self._asked(outcome.probe)
                if outcome.silent is not None:
                    self._silent.append(outcome.silent)
            if flow in tried:
                yield from self._tried(flow, packets, now)

    def _asked(self, probe: Probe) -> SendPacket:
        station = probe.station
        return self._probe(station.port, station.vlan, station.lladdr, probe.ip)

    def _probe(
        self, port: PortKey, vlan: int, lladdr: str, ip: IPAddress
    ) -> SendPacket:
        """Ask this station alone."""
        self.counters["probes sent"] += 1
        return self._sent(port, vlan, question(lladdr, ip, vlan))

    def _sent(self, port: PortKey, vlan: int, data: bytes) -> SendPacket:
        """As the port needs it: without the tag, if it is told none."""
        before = prepared(self.network, port, vlan)
        return SendPacket(*port, data, before=before)

    # --- hearsay --------------------------------------------------------------------

    def _questions(self, events: Sequence[Event]) -> Iterator[Command]:
        """News in a neighbor table of a station that has not said so itself: ask it,
        once.  Its reply makes the binding one that was heard."""
        rows = [row for event in events for row in new_neighbors(event)]
        if not rows:
            return
        tellers = tellers_of(kernel_hosts(self.view))
        asked: set[tuple[PortKey, int, str, IPAddress]] = set()
        for row in rows:
            question = self._question(said_by_table(row, tellers))
            if question is not None and question not in asked:
                asked.add(question)
                yield self._probe(*question)
            if len(asked) == QUESTIONS_MAX:
                return

    def _question(
        self, rumor: Hearsay | None
    ) -> tuple[PortKey, int, str, IPAddress] | None:
        if rumor is None:
            return None
        where = self.network.located.get(rumor.place)
        is_told = (rumor.domain, rumor.ip) in self.network.holders
        if where is None or where.has_table or is_told:
            return None
        if not self._is_ready(where.port.datapath_id):
            return None
        return where.port, rumor.domain.vlan, rumor.lladdr, rumor.ip

    # --- flows ----------------------------------------------------------------------

    def _changes(self, now: float) -> Iterator[Command]:
        self._recognize(now)
        for datapath_id, channel in sorted(self.channels.items()):
            if channel.retry_at is not None and now >= channel.retry_at:
                channel.retry_at = None
                yield ListFlows(datapath_id)
        doors = door.steps(self.channels, now)
        is_news, self._is_growing, self._room = True, False, PARTS_OF_ALL
        order = self._order()
        while is_news:
            is_news, opening = False, list[ChangeFlows]()
            for datapath_id, channel in order:
                installed = channel.installed
                if installed is None or self._is_waiting(channel, now):
                    continue
                was, may = channel.door.lets, doors.get(datapath_id, Lets.ALL)
                if change := self._change(datapath_id, channel, installed, may, now):
                    self._note_floods(datapath_id, now)
                    command = ChangeFlows(datapath_id, change)
                    if was is Lets.NOTHING and channel.door.lets is not was:
                        opening.append(command)
                    else:
                        yield command
                elif channel.compiled.is_growing:
                    self._is_growing = True
                elif channel.floods.is_unknown:
                    # Nothing to change: so it does what it would be told.
                    opened = self._opened(datapath_id, channel)
                    channel.floods = Floods(opened)
                    self._note_floods(datapath_id, now)
                    is_news = True
            yield from opening  # together: those still shut drop what others let in
            self.network = network(self.view)

    def _order(self) -> list[tuple[int, Channel]]:
        """First who is nearest to what has failed or come since the last turn."""
        before, self._written_of = self._written_of, self.network.fabric
        if before is self._written_of:
            return sorted(self.channels.items())
        near = nearest_first(before, self._written_of)
        others = sorted(self.channels.keys() - {*near})
        return [(n, self.channels[n]) for n in (*near, *others) if n in self.channels]

    def _spread(self, now: float) -> None:
        before = self.view
        self.view = self.spread.follow(before, self.network, self.channels, now)
        if self.view is not before:
            self.network = network(self.view)

    def _change(
        self,
        datapath_id: int,
        channel: Channel,
        installed: Set[int],
        lets: Lets,
        now: float,
    ) -> Plan | None:
        compiled, is_moved = channel.compiled, lets is not channel.door.lets
        is_current = compiled.is_current(self.view, self.network)
        if channel.is_settled and is_current and not is_moved:
            return None
        held = None if channel.is_settled else installed
        most = min(PARTS, self._room)
        step = compiled.go_on(self.view, self.network, held, most)
        self._room -= compiled.wrote
        if step is None:
            return None
        wanted, needed = self._provided(datapath_id, channel)
        metered = plan_meters(wanted, channel.meters)
        grouped = plan_groups(needed, channel.groups)
        change = Plan(step.added, step.removed, metered, grouped)
        if channel.refused and not channel.is_settled:
            channel.refused &= {entry.cookie for entry in change.add}
            channel.door.held = ()
        change = channel.door.put(change, lets, compiled.cookies, now)
        if is_moved:
            channel.audit_at = now + AUDIT  # there are other flows for a moment
        channel.installed, channel.is_settled = compiled.cookies, True
        if change:
            channel.tell(entry.cookie for entry in change.add)
            channel.floods.change(self._opened(datapath_id, channel))
            channel.meters, channel.groups = wanted, needed
            self.counters["flows added"] += len(change.add)
            self.counters["flows deleted"] += len(change.delete)
            self.counters["groups made"] += len(grouped.put)
            self.counters["groups deleted"] += len(grouped.delete)
        return change

    def _recognize(self, now: float) -> None:
        """Before a switch is changed for the first time: what does it flood to?"""
        for datapath_id, channel in self.channels.items():
            held = channel.installed
            if channel.is_settled or held is None or self._is_waiting(channel, now):
                continue
            if channel.compiled.is_growing:
                continue  # it was when this began
            channel.floods = recognized(self.view, self.network, datapath_id, held)
            self._note_floods(datapath_id, now)
        self.network = network(self.view)

    def _note_floods(self, datapath_id: int, now: float) -> None:
        floods = self.channels[datapath_id].floods
        self.view = floods.note(self.view, datapath_id, now)

    def _forwardings(self, now: float) -> Iterator[Command]:
        """Devices of the kernel are told as switches are: not while somebody must be
        waited for who can tell what is beyond them."""
        if not self.view.overlays or self._is_growing:
            return

        def may_tell(segment: Segment) -> bool:
            some = [self.channels.get(number) for number in segment.switches]
            is_awaited = any(one is None or self._is_waiting(one, now) for one in some)
            is_known = not segment.absent and segment.switches <= self._familiar
            return (is_known and not is_awaited) or now >= self._patient_until

        yield from self.forwarding.due(self.network, may_tell)

    def _provided(
        self, datapath_id: int, channel: Channel
    ) -> tuple[Mapping[int, Meter], Mapping[int, Group]]:
        """Meters and groups that a switch should have."""
        view, known = self.view, self.network
        inputs = (view.ports, view.abilities, view.limits, known.fabric, known.rates)
        if not same(channel.provided_by, inputs):
            channel.provided_by = inputs
            needed = groups(Switch(datapath_id, view, known))
            channel.provided = meters(view, datapath_id), needed
        return channel.provided

    def _opened(self, datapath_id: int, channel: Channel) -> frozenset[int]:
        known = self.network
        shut = known.unknown, known.held, known.loops
        inputs = (self.view.ports, known.fabric, known.tree, *shut)
        if not same(channel.opened_by, inputs):
            channel.opened_by = inputs
            channel.opened = opened(Switch(datapath_id, self.view, known))
        return channel.opened

    def _is_waiting(self, channel: Channel, now: float) -> bool:
        if channel.linked:
            return True
        if channel.compiled.datapath_id in self._recalling:
            return True  # what it remembers would look as if it were gone
        return now < self._patient_until and self._must_wait(channel)

    @property
    def _somebody_waits(self) -> bool:
        """Switches, or devices of the kernel that are ends of overlays."""
        switches = self.channels.values()
        return bool(self.view.overlays) or any(map(self._must_wait, switches))

    def _must_wait(self, channel: Channel) -> bool:
        """Somebody has not spoken yet whose silence would look like an absence."""
        if "starting" in self.sources.values():
            return True
        return not channel.was_empty and not self._ours() <= self._familiar

    def _ours(self) -> set[int]:
        """The switches of this host that are told to connect to this controller."""
        return {
            datapath_id
            for datapath_id, bridge in self.view.bridges.items()
            if any(is_among(to, self.policy.targets) for to in bridge.controllers)
        }

    def _is_ready(self, datapath_id: int) -> bool:
        channel = self.channels.get(datapath_id)
        return channel is not None and channel.installed is not None

    # --- has somebody else changed our flows? ----------------------------------------

    def _audits(self, now: float) -> Iterator[Command]:
        for datapath_id, channel in sorted(self.channels.items()):
            if channel.installed is not None and now >= channel.audit_at:
                channel.audit_at = now + AUDIT
                channel.expected = len(channel.installed)
                yield CountFlows(datapath_id)
                if channel.meters:
                    yield CountMeters(datapath_id)

    def _audited(self, event: FlowsCounted) -> Iterator[Command]:
        channel = self.channels.get(event.datapath_id)
        if channel is None or channel.installed is None:
            return
        if channel.expected not in (event.flow_count, len(channel.installed)):
            return  # changed meanwhile: the next count will tell
        if event.flow_count != channel.expected:
            self.counters["audits that found a difference"] += 1
            channel.installed = None  # until it tells: changes would cross its answer
            yield ListFlows(event.datapath_id)


@remember_last
def either(one: frozenset[PortKey], other: frozenset[PortKey]) -> frozenset[PortKey]:
    return one | other


def was_admitted(key: PortKey, cookies: Set[int]) -> bool:
    onward = GotoTable(TABLE_IDS["admit"])
    return ingress.admitted(FIRST_TABLE, key.port_no, onward).cookie in cookies


def was_uplink(key: PortKey, cookies: Set[int]) -> bool:
    onward = GotoTable(TABLE_IDS["source"])
    flows = admit.on_its_way(TABLE_IDS["admit"], key.port_no, onward)
    return all(entry.cookie in cookies for entry in flows)


def questions(events: Iterable[Event]) -> Iterator[Question]:
    for event in events:
        match event:
            case ArpSeen() if event.op == REQUEST and event.spa != event.tpa:
                yield event
            case NdSeen() if event.is_question:
                yield event
            case _:
                pass


def question(lladdr: str, ip: IPAddress, vlan: int) -> bytes:
    """Sender 0.0.0.0 teaches nobody anything (RFC 5227, 1.1).  In IPv6 nobody answers
    what :: asks of one station; an address of our own teaches nothing of others."""
    if isinstance(ip, IPv4Address):
        return arp_request(eth_src=CONTROLLER_LLADDR, eth_dst=lladdr, tpa=ip, vlan=vlan)
    return solicitation(
        eth_src=CONTROLLER_LLADDR,
        eth_dst=lladdr,
        src=CONTROLLER_IP,
        dst=ip,
        target=ip,
        vlan=vlan,
    )


def new_neighbors(event: Event) -> Iterator[Neighbor]:
    match event:
        case KernelChanged(changes):
            yield from (fact for _, fact in changes if isinstance(fact, Neighbor))
        case KernelSynced(facts):
            yield from (fact for fact in facts if isinstance(fact, Neighbor))
        case _:
            pass


def speaker(heard: Heard) -> StationKey:
    lladdr = heard.sha if isinstance(heard, ArpSeen) else heard.eth_src
    return StationKey(heard.datapath_id, heard.vlan, lladdr)


def awoken(before: View, after: View, key: StationKey) -> Iterator[Probe]:
    """Addresses of a station that was silent about them, and is no longer."""
    old, new = before.stations.get(key), after.stations.get(key)
    if old is None or new is None or old.silent is new.silent:
        return
    claimed = {claim.ip for claim in new.claims}
    for one in old.silent:
        if one.ip in claimed:
            yield Probe(new, one.ip)
