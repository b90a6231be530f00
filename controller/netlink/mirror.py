"""Tables that follow the kernel: subscribe, drain, dump, replay, diff, publish.

Why it converges: each row is last written by the later of its last event and its dump,
since events that wait while a dump runs are applied to what it brought; a dump never
begins while the kernel hides losses; a loss makes everything be read again; what the
kernel changes without an event is asked for (`_doubts`) or found by the audit.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from time import thread_time
from typing import Protocol

from controller.netlink import rtnl
from controller.netlink.kernel import Kernel, placed
from controller.netlink.names import Labels
from controller.netlink.sockets import RECEIVE_BUFFER, EventSocket, Lost, Refused
from controller.netlink.tables import (
    OWN,
    TABLES,
    Change,
    Interface,
    Key,
    Namespace,
    Place,
    Row,
    Rows,
    Scope,
    Tables,
    inherit,
    place_of_link,
)

HOLD_OFF, HOLD_OFF_MAX = 0.05, 2.0  # seconds between a loss and reading all again
ROUNDS = 10  # of reading namespaces that were found while reading namespaces
EVENTS_PER_TURN = 256  # then the clients get their lines
LOG_MAX = 20_000  # events kept while a dump runs; more is a loss
LATE_LOOK = 0.1  # seconds until a new tun device is complete
LABEL_DELAY, LABEL_AGAIN = 0.02, 1.0  # seconds; names come in crowds, some come late
AUDIT_INTERVAL = 30.0  # seconds
COST_RATIO = 20  # implied re-dumps and names use at most 1/20 of the time each
REDUMP_MIN, REDUMP_MAX = 0.02, 5.0  # seconds between two of them

GROUPS = {
    "nsid": (rtnl.RTNLGRP_NSID,),
    "link": (rtnl.RTNLGRP_LINK,),
    "addr": (rtnl.RTNLGRP_IPV4_IFADDR, rtnl.RTNLGRP_IPV6_IFADDR),
    "neigh": (rtnl.RTNLGRP_NEIGH,),
}
DELETIONS = {rtnl.RTM_DELLINK, rtnl.RTM_DELADDR, rtnl.RTM_DELNEIGH, rtnl.RTM_DELNSID}
NSIDS = Scope("nsid", OWN)
OWN_NEIGHBORS = Scope("neigh", OWN)


class Event:
    """One message that changes a table, and the namespace it came from."""

    __slots__ = ("gone", "nsid", "value")

    def __init__(self, nsid: int, message: rtnl.Message, value: rtnl.Value) -> None:
        self.nsid = nsid
        self.gone = message.type in DELETIONS
        self.value = value


class Sink(Protocol):
    """Who is told."""

    def change(self, change: Change) -> None: ...

    def sync(self, generation: int) -> None: ...

    def dirty(self, why: str) -> None: ...

    def note(self, text: str) -> None: ...

    def audit(self, fixed: dict[str, int]) -> None: ...


class Mirror:
    """The tables of all namespaces within reach, and what has to be done when.

    Every method is called from one thread; `now` is the caller's monotonic clock.
    """

    def __init__(
        self,
        sink: Sink,
        tables: Iterable[str] = TABLES,
        receive_buffer: int = RECEIVE_BUFFER,
    ) -> None:
        self.tables = Tables()
        self._sink = sink
        self._watched = tuple(t for t in TABLES if t in {*tables, "nsid", "link"})
        groups = tuple(group for table in self._watched for group in GROUPS[table])
        self._events = EventSocket(groups, receive_buffer)
        self._kernel = Kernel()
        self._labels = Labels(self._kernel.nsid_of, sink.note)
        self._numbering: dict[int, dict[int, int]] = {}
        self._log: list[Event] | None = None
        self._generation = 0
        self._fixed = dict.fromkeys(self._watched, 0)
        # What has to be done, and from when on.
        self._doubts: dict[Place, None] = {}  # interfaces to ask for
        self._unread: dict[int, None] = {}  # namespaces to read
        self._late: list[tuple[float, int, int]] = []  # interfaces to look at again
        self._due: dict[str, float] = {"sync": float("-inf")}
        self._earliest: dict[str, float] = {}
        self._hold_off = HOLD_OFF
        self._synced_at = float("-inf")
        if not self._events.all_nsid:
            sink.note(
                "only this network namespace is seen: NETLINK_LISTEN_ALL_NSID needs "
                "CAP_NET_BROADCAST"
            )

    def fileno(self) -> int:
        """Readable when `turn` has events to read."""
        return self._events.fileno()

    def deadline(self) -> float | None:
        """When `turn` has something to do although nothing happens."""
        late = [self._late[0][0]] if self._late else []
        return min([*late, *self._due.values()], default=None)

    def close(self) -> None:
        self._events.close()
        self._kernel.close()

    # --- one turn ---------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Read what waits, then do what is due.  Events come first, always."""
        try:
            if "sync" in self._due:
                self._resynchronise_if_due(now)
            elif self._pump(now, EVENTS_PER_TURN):
                self._follow_up(now)
        except (Lost, Refused, rtnl.Malformed) as error:
            self._lose(error, now)

    def _resynchronise_if_due(self, now: float) -> None:
        if self._due["sync"] <= now:
            self._synchronise(now)
        else:  # what we have goes on, rather right than not, until all is read again
            self._pump(now, EVENTS_PER_TURN)

    def _lose(self, error: Exception, now: float) -> None:
        """Something is missing: say so, empty the queue, read all again, soon."""
        if "sync" not in self._due:
            self._sink.dirty(str(error))
        self._events.drain()
        self._log = None
        self._numbering.clear()
        recurs = now < self._synced_at + HOLD_OFF_MAX
        self._hold_off = min(2 * self._hold_off, HOLD_OFF_MAX) if recurs else HOLD_OFF
        self._due["sync"] = now + self._hold_off

    def _follow_up(self, now: float) -> None:
        """The queue is empty: whatever events do not tell."""
        while self._late and self._late[0][0] <= now:
            _, nsid, ifi_index = heapq.heappop(self._late)
            self._doubts[nsid, ifi_index] = None
        self._settle_doubts(now)
        self._read_namespaces(now)
        for task, run in (
            ("neigh", self._reread_neighbors),
            ("labels", self._label_and_again),
            ("labels again", self._label),
            ("audit", self._audit),
        ):
            if self._due.get(task, float("inf")) <= now:
                del self._due[task]
                self._measured(task, now, run)

    def _measured(self, task: str, now: float, run: Callable[[float], None]) -> None:
        """Run it; not again before it has used 1/COST_RATIO of the time (CPU: waiting
        for the kernel's RTNL lock costs nothing)."""
        start = thread_time()
        run(now)
        pause = COST_RATIO * (thread_time() - start)
        self._earliest[task] = now + min(max(pause, REDUMP_MIN), REDUMP_MAX)

    def _schedule(self, task: str, when: float) -> None:
        when = max(when, self._earliest.get(task, when))
        self._due[task] = min(when, self._due.get(task, when))

    # --- events -----------------------------------------------------------------------

    def _pump(self, now: float, limit: int = LOG_MAX) -> bool:
        """Apply and publish up to `limit` events; True if none is left."""
        for _ in range(limit):
            events = self._read()
            if events is None:
                return True
            for event in events:
                self._publish(self._apply(self.tables, event), now)
        return False

    def _read(self) -> list[Event] | None:
        """The events of one datagram; kept also for the dump that is under way."""
        received = self._events.read()
        if received is None:
            return None
        told, datagram = received
        nsid = self._kernel.ours(told)
        events = [
            Event(nsid, message, value)
            for message in rtnl.messages(datagram)
            if (value := rtnl.decode(message)) is not None
        ]
        if self._log is not None:
            self._log += events
            if len(self._log) > LOG_MAX:
                raise Lost(f"more than {LOG_MAX} events during a dump")
        return events

    def _apply(self, tables: Tables, event: Event) -> Iterator[Change]:
        """What an event makes of the tables."""
        nsid, value = event.nsid, event.value
        if isinstance(value, rtnl.NsidMessage):
            yield from self._apply_nsid(tables, event, value)
            return
        if nsid != OWN and nsid not in tables.rows(*NSIDS):
            yield from tables.put(NSIDS, nsid, Namespace())
        if isinstance(value, rtnl.LinkMessage):
            yield from self._apply_link(tables, event, value)
            return
        table = "addr" if isinstance(value, rtnl.AddrMessage) else "neigh"
        row = None if event.gone else value.row
        yield from put_or_drop(tables, Scope(table, nsid), value.key, row)

    def _apply_nsid(
        self, tables: Tables, event: Event, value: rtnl.NsidMessage
    ) -> Iterator[Change]:
        """News of our own numbering, or of the one of another namespace."""
        self._numbering.pop(event.nsid, None)
        if event.nsid != OWN:
            return
        self._kernel.forget(value.nsid)
        if event.gone:
            self._numbering.clear()
            self._unread.pop(value.nsid, None)
            yield from tables.drop_namespace(value.nsid)
            return
        nsid = self._kernel.ours(value.nsid)
        if nsid != OWN and nsid not in tables.rows(*NSIDS):
            yield from tables.put(NSIDS, nsid, Namespace())

    def _apply_link(
        self, tables: Tables, event: Event, value: rtnl.LinkMessage
    ) -> Iterator[Change]:
        scope, index = Scope("link", event.nsid), value.ifi_index
        if event.gone:
            yield from tables.drop(scope, index)
            return
        old = tables.interface(event.nsid, index)
        peer_nsid = self._peer_nsid(event.nsid, value.row)
        if peer_nsid is None and value.row.link:
            self._doubts[event.nsid, index] = None
            peer_nsid = peer_nsid_as_before(old, value.row)
        new = Interface(placed(value.row, peer_nsid))
        yield from tables.put(scope, index, inherit(old, new))

    def _peer_nsid(self, nsid: int, link: rtnl.Link) -> int | None:
        """IFLA_LINK_NETNSID of an event in our numbering; None for a namespace that we
        have no number for (the kernel gives it one when it is asked for the link)."""
        told = link.link_netnsid
        if told is None:
            return nsid
        if nsid == OWN:
            return self._kernel.ours(told)
        if told not in self._numbering.get(nsid, {}):
            self._numbering[nsid] = self._kernel.numbering(nsid)
        return self._numbering[nsid].get(told)

    # --- what follows from a change ---------------------------------------------------

    def _publish(self, changes: Iterable[Change], now: float) -> int:
        """Tell of changes, and note what the kernel did not tell with them."""
        count = 0
        for change in changes:
            self._sink.change(change)
            self._consider(change, now)
            count += 1
        return count

    def _consider(self, change: Change, now: float) -> None:
        scope, row = change.scope, change.row
        if scope == NSIDS and change.op == "new":
            assert isinstance(change.key, int)
            if not self.tables.has_links_of(change.key):
                self._unread[change.key] = None
            self._schedule("labels", now + LABEL_DELAY)
        if isinstance(row, Interface) and isinstance(change.key, int):
            self._consider_link(change.op, scope.nsid, change.key, row.link, now)
            self._check(change.op, (scope.nsid, change.key), row)
        if scope.table in ("link", "addr") and scope.nsid == OWN:
            self._schedule_neighbors(now)

    def _consider_link(
        self, op: str, nsid: int, ifi_index: int, link: rtnl.Link, now: float
    ) -> None:
        if op == "del":
            return
        peer = link.link_netnsid
        if peer is not None and peer != OWN and peer not in self.tables.rows(*NSIDS):
            self._publish(self.tables.put(NSIDS, peer, Namespace()), now)
        if link.kind == "tun":
            self._schedule("labels", now + LABEL_DELAY)
            if op == "new":  # its queue and its owner come later, and silently
                heapq.heappush(self._late, (now + LATE_LOOK, nsid, ifi_index))

    def _check(self, op: str, here: Place, row: Interface) -> None:
        """Whoever leads to an interface that goes may have another `link` now: when it
        moves to another namespace, only those that are up are told of."""
        if op == "del":
            self._doubts |= dict.fromkeys(self.tables.leading_to(here))
        elif row.link.kind == "veth":
            self._check_pair(here, place_of_link(row))

    def _check_pair(self, here: Place, there: Place | None) -> None:
        """The ends of a veth pair lead to each other; the kernel tells of the first one
        of a new pair before the other exists."""
        if there is None:
            self._doubts[here] = None
        elif self.tables.has_links_of(there[0]):
            other = self.tables.interface(*there)
            if not other or place_of_link(other) != here:
                self._doubts[there] = self._doubts[here] = None

    def _settle_doubts(self, now: float) -> None:
        """Ask for each interface whose row may be old.  Ends, because only an answer
        that changes a row raises another doubt."""
        while self._doubts:
            nsid, ifi_index = next(iter(self._doubts))
            del self._doubts[nsid, ifi_index]
            link = self._kernel.link(nsid, ifi_index)
            if link is not None and self._is_within_reach(nsid):
                row = inherit(self.tables.interface(nsid, ifi_index), Interface(link))
                changes = self.tables.put(Scope("link", nsid), ifi_index, row)
                self._publish(changes, now)
            if not self._pump(now):
                return

    def _is_within_reach(self, nsid: int) -> bool:
        return nsid == OWN or nsid in self.tables.rows(*NSIDS)

    # --- reading ----------------------------------------------------------------------

    def _synchronise(self, now: float) -> None:
        """Drain, dump, replay, diff, publish: after it the tables are the kernel's."""
        self._events.drain()
        self._numbering.clear()
        fresh = Tables()
        for scope in (NSIDS, *self._scopes_of(OWN)):
            self._load(fresh, scope)
        for _ in range(ROUNDS):
            for nsid in unread(fresh):
                self._load_namespace(fresh, nsid)
            self._replay(fresh)
            if not unread(fresh):
                break
        if (
            self._generation == 0
        ):  # names belong to the first picture, later they follow
            for _ in self._labelled(fresh):
                pass
        self._tell_all(self.tables.become(fresh), now)
        self._unread = dict.fromkeys(unread(fresh))
        self._synced_at = now
        self._generation += 1
        self._sink.sync(self._generation)
        del self._due["sync"]
        self._schedule("audit", now + AUDIT_INTERVAL)

    def _scopes_of(self, nsid: int) -> tuple[Scope, ...]:
        """What can be dumped: neighbors only where we are."""
        return tuple(
            Scope(table, nsid)
            for table in self._watched
            if table in ("link", "addr") or (table == "neigh" and nsid == OWN)
        )

    def _load(
        self, fresh: Tables, scope: Scope, between: Callable[[], object] = int
    ) -> None:
        """A namespace that is gone, or not ours to read, is empty."""
        try:
            fresh.load(scope, self._kernel.rows(scope, between))
        except Refused as error:
            if scope.nsid == OWN or not error.is_final:
                raise
            fresh.load(scope, {})
            if error.errno in (errno.EACCES, errno.EPERM):
                self._sink.note(
                    "some network namespaces cannot be read: IFLA_TARGET_NETNSID "
                    "needs CAP_NET_ADMIN there"
                )

    def _load_namespace(self, fresh: Tables, nsid: int) -> None:
        for _ in fresh.put(NSIDS, nsid, Namespace()):
            pass
        for scope in self._scopes_of(nsid):
            self._load(fresh, scope)

    def _replay(self, fresh: Tables) -> None:
        while (events := self._read()) is not None:
            for event in events:
                for _ in self._apply(fresh, event):
                    pass

    def _refresh(self, scopes: Iterable[Scope], now: float) -> list[Change]:
        """Read some tables again while events go on; what had to be corrected."""
        fresh = Tables()
        self._log = []
        for scope in scopes:
            self._load(fresh, scope, lambda: self._pump(now))
        read = fresh.scopes()
        self._pump(now)
        log, self._log = self._log, None
        for event in log:
            for _ in self._apply(fresh, event):
                pass
        changes = [
            change
            for scope in read
            if self._is_within_reach(scope.nsid)
            for change in self.tables.replace_scope(scope, fresh.rows(*scope))
        ]
        self._tell_all(changes, now)
        return changes

    def _tell_all(self, changes: Iterable[Change], now: float) -> None:
        """All first, then what follows: an end of a pair may stand behind the other."""
        changes = list(changes)
        for change in changes:
            self._sink.change(change)
        for change in changes:
            self._consider(change, now)

    def _read_namespaces(self, now: float) -> None:
        for nsid in tuple(self._unread):
            self._unread.pop(nsid, None)
            if self._is_within_reach(nsid):
                self._refresh(self._scopes_of(nsid), now)

    def _schedule_neighbors(self, now: float) -> None:
        if "neigh" in self._watched:
            self._schedule("neigh", now + REDUMP_MIN)

    def _reread_neighbors(self, now: float) -> None:
        self._refresh([OWN_NEIGHBORS], now)

    def _audit(self, now: float) -> None:
        """Everything once more; a correction is an event that we did not understand."""
        nsids = (OWN, *self.tables.nsids())
        scopes = [NSIDS, *(scope for nsid in nsids for scope in self._scopes_of(nsid))]
        corrections = [c for c in self._refresh(scopes, now) if not is_volatile(c.row)]
        for change in corrections:
            self._fixed[change.scope.table] += 1
        if corrections:
            self._sink.audit(dict(self._fixed))
        self._label(now)
        self._schedule("audit", now + AUDIT_INTERVAL)

    # --- names ------------------------------------------------------------------------

    def _label_and_again(self, now: float) -> None:
        """A process that has just begun may not have its name yet."""
        self._label(now)
        self._schedule("labels again", now + LABEL_AGAIN)

    def _label(self, now: float) -> None:
        self._tell_all(self._labelled(self.tables), now)

    def _labelled(self, tables: Tables) -> Iterator[Change]:
        """Find the names of namespaces and the holders of taps."""
        nsids = frozenset(tables.nsids())
        for nsid, namespace in self._labels.namespaces(nsids).items():
            yield from tables.put(NSIDS, nsid, namespace)
        taps = dict(taps_in(tables))
        holders = self._labels.holders(
            {key: row.link.ifname for key, row in taps.items() if row.link.carrier}
        )
        for (nsid, ifi_index), row in taps.items():
            held = replace(row, holder=holders.get((nsid, ifi_index), ""))
            yield from tables.put(Scope("link", nsid), ifi_index, held)


def taps_in(tables: Tables) -> Iterator[tuple[Place, Interface]]:
    """Tun and tap devices by (nsid, ifi_index)."""
    for scope in tables.scopes():
        for key, row in tables.rows(*scope).items():
            if isinstance(row, Interface) and row.link.kind == "tun":
                assert isinstance(key, int)
                yield (scope.nsid, key), row


def peer_nsid_as_before(old: Interface | None, new: rtnl.Link) -> int | None:
    """The best guess until the kernel has been asked: nothing has moved."""
    return old.link.link_netnsid if old and old.link.link == new.link else None


def put_or_drop(
    tables: Tables, scope: Scope, key: Key, row: Row | None
) -> Iterator[Change]:
    if row is None:
        return tables.drop(scope, key)
    return tables.put(scope, key, row)


def unread(tables: Tables) -> list[int]:
    """Namespaces that rows speak of and that have not been read."""
    mentioned = set(tables.nsids())
    for scope in tables.scopes():
        if scope.table == "link":
            mentioned |= peer_nsids(tables.rows(*scope))
    return sorted(nsid for nsid in mentioned if not tables.has_links_of(nsid))


def peer_nsids(links: Rows) -> set[int]:
    return {
        row.link.link_netnsid
        for row in links.values()
        if isinstance(row, Interface) and row.link.link_netnsid is not None
    }


def is_volatile(row: Row) -> bool:
    """Rows that the kernel is known to change in silence: an IPv6 address before its
    DAD is done, everything about a device that is down."""
    if isinstance(row, rtnl.Addr):
        return bool(row.ifa_flags & rtnl.IFA_F_TENTATIVE)
    return isinstance(row, Interface) and not row.link.ifi_flags & rtnl.IFF_UP
