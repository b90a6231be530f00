"""Who contradicted what was known: counted, bounded, and told by name.

A packet may overtake the netlink message that explains it.  So what contradicts the
kernel is told after `SETTLE`, if it still does then; else it is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from controller.crowds import Crowds
from controller.events import ArpSeen, FrameSeen, NdSeen
from controller.packets import REQUEST
from flows.dispute import Contradiction, Kind, Said, contradiction, rivalry
from flows.network import Network
from flows.parties import Origin
from flows.trust import Mode
from flows.view import IPAddress, PortKey, View, switch_name

CONFLICTS_MAX = 1024  # rows that are kept
CONFLICTS_PER_PORT = 64  # so that one port's lies hide nobody else's
SETTLE = 2.0  # seconds until a contradiction is taken for one
OUTLIVED = 6.0  # seconds in which one of two who were only heard is found dead
RETURN = 10.0  # seconds in which a station that moved is no conflict where it was
REMIND = 60.0  # seconds until one that goes on is told again
FORGET = 3600.0  # seconds without a packet
TOLD_MAX = 16  # in one turn; the others are told in the next

NAMES = {  # of a claim to somebody else's address, or to none of one's own
    Kind.REQUEST: "ARP spoofing",
    Kind.REPLY: "ARP spoofing",
    Kind.ANNOUNCEMENT: "ARP spoofing",
    Kind.SOLICITATION: "ND spoofing",
    Kind.ADVERTISEMENT: "ND spoofing",
    Kind.ROUTER: "rogue router advertisement",
    Kind.REDIRECT: "rogue redirect",
    Kind.HIDDEN: "hidden neighbor discovery",
    Kind.SERVER: "rogue DHCP server",
}


class ConflictKey(NamedTuple):
    """ip is None where the sender itself is known to be elsewhere; `sends` is what it
    may not send, by name, or ""."""

    at: PortKey
    vlan: int
    lladdr: str
    ip: IPAddress | None
    sends: str = ""


@dataclass(frozen=True, slots=True)
class Conflict:
    """Somebody who contradicts what is known, and what that is.

    said      the latest of it
    found     what it contradicts
    mode      of the port: whether it was dropped, or went its way
    counts    packets that reached us, by kind
    since, last  seconds on the caller's monotonic clock
    told_at   when it was told, None as long as it may settle
    told      packets at that time
    flaps     it goes to and fro between the two places (`controller.flapping`)
    """

    said: Said
    found: Contradiction
    mode: Mode
    counts: dict[Kind, int]
    since: float
    last: float
    told_at: float | None = None
    told: int = 0
    flaps: bool = False

    @property
    def key(self) -> ConflictKey:
        return key_of(self.said, self.found)

    @property
    def name(self) -> str:
        """What such a thing is called."""
        if self.sends:
            return NAMES[self.said.kind]
        if self.flaps:
            return "MAC flapping"
        if self.found.ip is None:
            return "MAC spoofing" if self.found.rival else "unknown MAC"
        return NAMES.get(self.said.kind, "IP spoofing")

    @property
    def sends(self) -> str:
        """What only others may send, or nobody; "" where it is about addresses."""
        return service_in(self.said)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def key_of(said: Said, found: Contradiction) -> ConflictKey:
    return ConflictKey(said.at, said.vlan, said.lladdr, found.ip, service_in(said))


def service_in(said: Said) -> str:
    return str(said.kind) if said.kind.is_service else ""


Heard = ArpSeen | NdSeen | FrameSeen


def said(event: Heard) -> Said:
    """What a packet says of its sender, first of all."""
    return sayings(event)[0]


def sayings(event: Heard) -> tuple[Said, ...]:
    """All that it says of it: an advertisement comes from one address, and is about
    another."""
    at, vlan = PortKey(event.datapath_id, event.in_port), event.vlan
    match event:
        case ArpSeen():
            kind = Kind.REQUEST if event.op == REQUEST else Kind.REPLY
            if event.spa == event.tpa:
                kind = Kind.ANNOUNCEMENT
            return (Said(at, vlan, event.sha, kind, event.spa),)
        case NdSeen():
            kind = Kind.SOLICITATION if event.is_question else Kind.ADVERTISEMENT
            claim = Said(at, vlan, event.eth_src, kind, event.ip)
            source = Said(at, vlan, event.eth_src, Kind.PACKET6, event.src)
            return (claim,) if event.src == event.ip else (claim, source)
        case FrameSeen():
            frame = Said(at, vlan, event.eth_src, kind_of(event), event.ip)
            if not event.sends:
                return (frame,)
            return (Said(at, vlan, event.eth_src, Kind(event.sends)), frame)


def kind_of(frame: FrameSeen) -> Kind:
    if frame.ip is None:
        return Kind.FRAME
    return Kind.PACKET if frame.ip.version == 4 else Kind.PACKET6


def service_of(said: Said, found: Contradiction) -> str:
    is_service = said.kind.is_service and found.ip is None and not found.rival
    return str(said.kind) if is_service else ""


class Conflicts:
    """All that are known of, by who says what where."""

    def __init__(self) -> None:
        self.rows: dict[ConflictKey, Conflict] = {}
        self.counters: Counter[str] = Counter()
        self._crowds = Crowds[PortKey]()

    def note(self, heard: Said, found: Contradiction, mode: Mode, now: float) -> None:
        """Another packet that contradicts what is known."""
        row = Conflict(heard, found, mode, {}, now, now)
        if self._is_answer(row):
            return
        row = self.rows.get(row.key, row)
        self.counters[f"contradicting: {heard.kind}"] += 1
        if row.key not in self.rows and not self._has_room(heard.at):
            self.counters["conflicts not kept"] += 1
            return
        counts = {**row.counts, heard.kind: row.counts.get(heard.kind, 0) + 1}
        self._crowds[heard.at] += row.key not in self.rows
        self.rows[row.key] = replace(
            row, said=heard, found=found, mode=mode, counts=counts, last=now
        )

    def _is_answer(self, row: Conflict) -> bool:
        """Of two who were only heard, this one was there first."""
        found, said = row.found, row.said
        if found.port is None or found.origin is not Origin.HEARD:
            return False
        key = ConflictKey(found.port, said.vlan, found.rival, found.ip)
        first = self.rows.get(key)
        if first is None or first.found.rival != said.lladdr:
            return False
        is_return = found.ip is None and row.since < first.last + RETURN
        return is_rivalry(row) or (row.mode is Mode.WATCH and is_return)

    def flaps(self, key: ConflictKey) -> None:
        if key in self.rows:
            self.rows[key] = replace(self.rows[key], flaps=True)

    def _has_room(self, at: PortKey) -> bool:
        return len(self.rows) < CONFLICTS_MAX and self._crowds[at] < CONFLICTS_PER_PORT

    def deadline(self) -> float | None:
        """When to call `due` again."""
        return min(map(next_at, self.rows.values()), default=None)

    def due(self, known: Network, now: float) -> list[Conflict]:
        """Those to be told now, for the first time or once more."""
        told: list[Conflict] = []
        ready = (row for row in [*self.rows.values()] if now >= next_at(row))
        for row in ready:
            if now >= row.last + FORGET:
                self._forget(row)
            elif row.told_at is None and is_settled(row, known):
                self.counters["contradictions that settled"] += 1
                self._forget(row)
            elif len(told) < TOLD_MAX:
                self.counters["conflicts"] += row.told_at is None
                self.rows[row.key] = replace(row, told_at=now, told=row.total)
                told.append(row)
        return told

    def _forget(self, row: Conflict) -> None:
        del self.rows[row.key]
        self._crowds.leave(row.said.at)

    def told(self) -> Iterator[Conflict]:
        """Those that are no longer in doubt, the latest first."""
        rows = sorted(self.rows.values(), key=lambda row: -row.last)
        return (row for row in rows if row.told_at is not None)


def next_at(row: Conflict) -> float:
    """When something is to be done about it."""
    if row.told_at is None:
        return row.since + settles_in(row)
    if row.total > row.told:
        return row.told_at + REMIND
    return row.last + FORGET


def settles_in(row: Conflict) -> float:
    if is_rivalry(row) and row.found.origin is Origin.HEARD:
        return OUTLIVED  # `controller.liveness` asks both
    return SETTLE if may_settle(row) else 0.0


def is_rivalry(row: Conflict) -> bool:
    """Nobody guards: both were believed as far as that goes."""
    return row.mode is Mode.LEARN


def may_settle(row: Conflict) -> bool:
    """The kernel's word may be on its way, and at a port that is enforced on who was
    heard elsewhere is asked whether it is still there (`controller.moves`)."""
    if row.found.origin is None and row.found.rival:  # who is first does not change
        return False
    if is_rivalry(row) and row.sends:  # nor does this
        return False
    by_kernel = row.found.origin in (None, Origin.KERNEL)
    return by_kernel or row.mode is not Mode.WATCH


def is_settled(row: Conflict, known: Network) -> bool:
    judge = rivalry if is_rivalry(row) else contradiction
    return may_settle(row) and judge(known, row.said) is None


# --- in words -----------------------------------------------------------------------


MANY = {
    Kind.ROUTER: "router advertisements",
    Kind.REDIRECT: "redirects",
    Kind.HIDDEN: "neighbor discovery in fragments, or with headers cut off",
    Kind.SERVER: "DHCP messages of a server",
}


def in_words(row: Conflict, view: View) -> str:
    what = f"{claim_in_words(row, view)}, {against_in_words(row, view)}"
    return f"{what}; {much(row)} ({row.name})"


def claim_in_words(row: Conflict, view: View) -> str:
    who = f"{row.said.lladdr} at {port_in_words(row.said.at, view)}"
    tag = f" on VLAN {row.said.vlan}" if row.said.vlan else ""
    if row.sends:
        return f"{who} sends{tag} {MANY[row.said.kind]}"
    if row.found.ip is None:
        return f"{who} sends{tag}"
    return f"{who} says{tag} that it has {row.found.ip}"


def against_in_words(row: Conflict, view: View) -> str:
    found = row.found
    if row.said.kind is Kind.HIDDEN and row.sends:
        return "which nobody may"
    if row.sends and not found.rival:
        what = "DHCP server" if row.said.kind is Kind.SERVER else "router"
        return f"and is not known to be a {what}"
    if not found.rival:
        return "which neither the kernel, the configuration nor a lease gives it"
    place = f" at {port_in_words(found.port, view)}" if found.port else ""
    source = found.origin.name.lower() if found.origin else ""
    if found.ip is None:
        return f"but is{place} ({source})"
    if found.origin is None:
        return f"which {found.rival}{place} is about to take"
    return f"which {found.rival}{place} holds ({source})"


def much(row: Conflict) -> str:
    counts = (f"{count} x {kind}" for kind, count in sorted(row.counts.items()))
    end = "dropped" if row.mode is Mode.ENFORCE else "not dropped"
    return f"{', '.join(counts)}, {end}"


def port_in_words(key: PortKey, view: View) -> str:
    """As `isat hosts` has it: the port's name says the switch, in Mininet."""
    port = view.ports.get(key)
    name = port.ifname if port else str(key.port_no)
    switch = switch_name(view, key.datapath_id) or f"{key.datapath_id:x}"
    return name if name.startswith(f"{switch}-") else f"{switch}:{name}"
