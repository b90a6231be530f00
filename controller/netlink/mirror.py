"""Tables that follow the kernel: subscribe, drain, dump, replay, diff, publish.

Why it converges: each row is last written by the later of its last event and its dump,
since events that wait while a dump runs are applied to what it brought; a dump never
begins while the kernel hides losses; a loss makes everything be read again; what the
kernel changes without an event is asked for (`_doubts`), read again because something
else changed (`IMPLIED`), or found by the audit.
"""

from __future__ import annotations

import errno
import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Protocol

from controller.netlink import rtnl
from controller.netlink.agenda import Agenda
from controller.netlink.doors import Doors
from controller.netlink.interpret import Event, Interpreter, known
from controller.netlink.kernel import Kernel
from controller.netlink.names import Labels
from controller.netlink.rtnl.addr import IFA_F_TENTATIVE, Addr
from controller.netlink.rtnl.link import IFF_UP
from controller.netlink.rtnl.neigh import NeighKey
from controller.netlink.settings import Ipv4ConfKey
from controller.netlink.sockets import (
    RECEIVE_BUFFER,
    EventSocket,
    Interrupted,
    Lost,
    Refused,
)
from controller.netlink.tables import (
    FOLLOWED,
    NSIDS,
    OWN,
    TABLES,
    Change,
    Interface,
    Namespace,
    Place,
    Rows,
    Scope,
    Tables,
    inherit,
    place_of_link,
)

HOLD_OFF, HOLD_OFF_MAX = 0.05, 2.0  # seconds between a loss and reading all again
ROUNDS = 10  # of reading what was found, or was torn, while everything was read
EVENTS_PER_TURN = 256  # datagrams; then the clients get their lines
LOG_MAX = 20_000  # events kept while a dump runs; more is a loss
LATE_LOOK = 0.1  # seconds until a new tun device is complete
LABEL_DELAY, LABEL_AGAIN = 0.02, 1.0  # seconds; names come in crowds, some come late
REREAD_DELAY = 0.02  # seconds
AUDIT_INTERVAL = 30.0  # seconds

# What the kernel changes along with a table, and does not always tell: a link that goes
# down takes IPv4 routes and neighbors along, an address those that lead through it, and
# of a route that replaces others, or belongs to a next hop, only one may be told, of
# rules that are the same one may go and the other stay, and a new default holds for
# every interface that was never given a value of its own.
IMPLIED = {
    "link": ("neigh", "fdb", "route", "nexthop", "ipv4_conf"),
    "addr": ("neigh", "route"),
    "route": ("route",),
    "rule": ("rule",),
    "nexthop": ("nexthop", "route"),
    "netconf": ("netconf",),
}
CAUSES: dict[type[Exception], str] = {
    Lost: "overrun",
    Refused: "refused",
    Interrupted: "interrupted",
    rtnl.Malformed: "malformed",
}
UNCERTAIN = tuple(CAUSES)  # after these, read all again
NOT_OURS = (errno.EACCES, errno.EPERM)
CANNOT_READ = (
    "some network namespaces cannot be read: IFLA_TARGET_NETNSID needs CAP_NET_ADMIN "
    "there"
)
CANNOT_ENTER = (
    "of other network namespaces only links and addresses are seen: to enter them for "
    "the other tables needs CAP_SYS_ADMIN"
)
CANNOT_HEAR = (
    "changes in other network namespaces are not heard, but found by the audit every "
    "30 s: NETLINK_LISTEN_ALL_NSID needs CAP_NET_BROADCAST"
)


class Sink(Protocol):
    """Who is told."""

    def change(self, change: Change) -> None: ...

    def sync(self, generation: int) -> None: ...

    def dirty(self, why: str, losses: dict[str, int]) -> None:
        """Something was missed; `losses` counts how often so far, by cause."""

    def note(self, text: str) -> None: ...

    def audit(self, fixed: dict[str, int]) -> None: ...

    def flush(self) -> None:
        """What was told may go out; more work follows."""


class Mirror:
    """The tables of all namespaces within reach, and what has to be done when.

    Every method is called from one thread; `now` is the caller's monotonic clock.

    doors  into other namespaces; those that this process may open itself unless given
    here   tables that are read of our own namespace only
    """

    def __init__(
        self,
        sink: Sink,
        tables: Iterable[str] = FOLLOWED,
        receive_buffer: int = RECEIVE_BUFFER,
        doors: Doors | None = None,
        here: Iterable[str] = (),
    ) -> None:
        self.tables = Tables()
        self._sink = sink
        self._here = frozenset(here) - frozenset(tables)
        wanted = {*tables, *self._here, "nsid", "link"}
        self._watched = tuple(table for table in TABLES if table in wanted)
        self._events = EventSocket(groups_of(self._watched), receive_buffer)
        self._kernel = Kernel(doors)
        self._interpreter = Interpreter(self._kernel)
        self._labels = Labels(self._kernel.nsid_of, sink.note)
        self._log: list[Event] | None = None
        self._generation = 0
        self._fixed = dict.fromkeys(self._watched, 0)
        # What has to be done: as soon as no event waits, or at its time.
        self._doubts = self._interpreter.unsure  # interfaces to ask for
        self._unread: dict[int, None] = {}  # namespaces to read
        self._unaudited: list[Scope] = []  # what is left of the audit under way
        self._corrected = False
        self._late: list[tuple[float, int, int]] = []  # interfaces to look at again
        self._agenda = Agenda()  # names of tasks, and scopes to read again
        self._agenda.put("sync", float("-inf"))
        self._tasks: dict[Hashable, Callable[[float], None]] = {
            "labels": self._label_and_again,
            "labels again": self._label_late,
            "audit": self._begin_audit,
        }
        self._losses = dict.fromkeys(CAUSES.values(), 0)
        self._hold_off = HOLD_OFF
        self._synced_at = float("-inf")
        if not self._events.all_nsid:
            sink.note(CANNOT_HEAR)

    def fileno(self) -> int:
        """Readable when `turn` has events to read."""
        return self._events.fileno()

    def deadline(self) -> float | None:
        """When `turn` has something to do although nothing happens."""
        if (sync := self._agenda.due("sync")) is not None:
            return sync  # before it `turn` does nothing else
        if self._doubts or self._unread or self._unaudited:
            return float("-inf")
        times = [self._late[0][0]] if self._late else []
        if (due := self._agenda.deadline()) is not None:
            times.append(due)
        return min(times, default=None)

    def close(self) -> None:
        self._events.close()
        self._kernel.close()

    # --- one turn ---------------------------------------------------------------------

    def turn(self, now: float) -> None:
        """Read what waits, then do what is due.  Events come first, always."""
        try:
            if self._agenda.is_due("sync", now):
                self._synchronise(now)
            elif self._pump(now, EVENTS_PER_TURN) and "sync" not in self._agenda:
                self._follow_up(now)
        except UNCERTAIN as error:
            self._lose(error, now)

    def _lose(self, error: Exception, now: float) -> None:
        """Something is missing: say so, empty the queue, read all again, soon.

        Until then what we have goes on, rather right than not.  The hold-off doubles
        while losses recur.
        """
        self._events.drain()
        self._log = None
        self._interpreter.forget()
        self._losses[cause_of(error)] += 1
        if "sync" in self._agenda and not self._agenda.is_due("sync", now):
            return  # one of the losses for which it will be
        recurs = now < self._synced_at + HOLD_OFF_MAX
        if "sync" in self._agenda:  # to read all again has failed, too
            recurs = True
        else:
            self._sink.dirty(str(error), dict(self._losses))
        self._hold_off = min(2 * self._hold_off, HOLD_OFF_MAX) if recurs else HOLD_OFF
        self._agenda.drop("sync")
        self._agenda.put("sync", now + self._hold_off)

    def _follow_up(self, now: float) -> None:
        """The queue is empty: whatever events do not tell."""
        while self._late and self._late[0][0] <= now:
            _, nsid, ifi_index = heapq.heappop(self._late)
            self._doubts[nsid, ifi_index] = None
        self._settle_doubts(now)
        self._read_namespaces(now)
        for task in sorted(self._agenda.take(now), key=by_namespace):
            if isinstance(task, Scope):
                self._agenda.run(task, now, partial(self._reread, task))
            else:
                self._agenda.run(task, now, self._tasks[task])
        if self._unaudited:
            self._audit(self._unaudited.pop(0), now)
        self._kernel.leave()

    # --- events -----------------------------------------------------------------------

    def _pump(self, now: float, limit: int = LOG_MAX) -> bool:
        """Apply and publish up to `limit` datagrams; True if none is left."""
        for done in range(limit):
            events = self._read()
            if events is None:
                if done:
                    self._sink.flush()
                return True
            for event in events:
                self._publish(self._interpreter.apply(self.tables, event), now)
                self._suspect(event.scope, now)
        return False

    def _read(self) -> list[Event] | None:
        """The events of one datagram; kept also for the dump that is under way."""
        received = self._events.read()
        if received is None:
            return None
        events = self._interpreter.events(*received)
        if self._log is not None:
            self._log += events
            if len(self._log) > LOG_MAX:
                raise Lost(f"more than {LOG_MAX} events during a dump")
        return events

    # --- what follows from a change ---------------------------------------------------

    def _publish(self, changes: Iterable[Change], now: float) -> None:
        """Tell of changes one by one, and note what the kernel did not tell."""
        for change in changes:
            self._sink.change(change)
            self._consider(change, now)

    def _publish_together(self, changes: Iterable[Change], now: float) -> None:
        """All first, then what follows: an end of a pair may stand behind the other."""
        changes = list(changes)
        for change in changes:
            self._sink.change(change)
        for change in changes:
            self._consider(change, now)
        for scope in dict.fromkeys(change.scope for change in changes):
            if scope.table in ("link", "addr"):
                self._suspect(scope, now)

    def _suspect(self, scope: Scope, now: float) -> None:
        """Something was told of a table: others of its namespace may be old now."""
        for table in IMPLIED.get(scope.table, ()):
            other = Scope(table, scope.nsid)
            if self.tables.holds(other):
                self._agenda.put(other, now + REREAD_DELAY)

    def _consider(self, change: Change, now: float) -> None:
        scope, row = change.scope, change.row
        if isinstance(row, Namespace):
            self._consider_namespace(change.op, change.key, now)
        elif isinstance(row, Interface):
            self._consider_interface(change.op, (scope.nsid, change.key), row, now)

    def _consider_namespace(self, op: str, nsid: int, now: float) -> None:
        if op == "del":
            self._unread.pop(nsid, None)
        elif op == "new":
            self._agenda.put("labels", now + LABEL_DELAY)
            if not self.tables.has_links_of(nsid):
                self._unread[nsid] = None

    def _consider_interface(
        self, op: str, here: Place, row: Interface, now: float
    ) -> None:
        self._suspect_below(here, row, now)
        if op == "del":
            # Whoever leads here may lead elsewhere now: of an interface that moves to
            # another namespace only those of its kin that are up are told.
            self._doubts |= dict.fromkeys(self.tables.leading_to(here))
            return
        if row.link.link_netnsid is not None:
            self._publish(known(self.tables, row.link.link_netnsid), now)
        if row.link.kind == "veth":
            self._check_pair(here, place_of_link(row))
        elif row.link.kind == "tun":
            self._agenda.put("labels", now + LABEL_DELAY)
            if op == "new":  # its queue and its owner come later, and silently
                heapq.heappush(self._late, (now + LATE_LOOK, *here))

    def _suspect_below(self, here: Place, row: Interface, now: float) -> None:
        """What is above an interface, as a macvlan is, has it take in more addresses,
        also from another namespace (net/core/dev_addr_lists.c, dev_uc_add)."""
        below = None if row.link.kind == "veth" else place_of_link(row)
        if below is None or below[0] == here[0]:
            return
        fdb = Scope("fdb", below[0])
        if self.tables.holds(fdb):
            self._agenda.put(fdb, now + REREAD_DELAY)

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
                self._publish_together(changes, now)
            if not self._pump(now):
                return

    def _is_within_reach(self, nsid: int) -> bool:
        return nsid == OWN or nsid in self.tables.rows(*NSIDS)

    # --- reading ----------------------------------------------------------------------

    def _synchronise(self, now: float) -> None:
        """Drain, dump, replay, diff, publish: after it the tables are the kernel's."""
        self._events.drain()
        self._interpreter.forget()
        fresh, disturbed = self._read_all()
        self._kernel.leave()
        if self._generation == 0:  # names belong to the first picture
            exhaust(self._labelled(fresh, lambda: None))
        for scope in disturbed:  # rather one row too many than one too few, for now
            exhaust(fresh.add_to_scope(scope, missing(self.tables, fresh, scope)))
            self._agenda.put(scope, now + REREAD_DELAY)
        self._publish_together(self.tables.become(fresh), now)
        self._unread = dict.fromkeys(unread(fresh))
        self._unaudited.clear()
        self._synced_at = now
        self._generation += 1
        self._sink.sync(self._generation)
        self._agenda.drop("sync")
        self._agenda.put("labels", now + LABEL_DELAY)  # a number may have a new owner
        self._agenda.put("audit", now + AUDIT_INTERVAL)

    def _read_all(self) -> tuple[Tables, list[Scope]]:
        """Everything as it is after the last event that waits now; and which tables
        may lack rows, because they changed while they were read."""
        fresh, told = Tables(), set[Scope]()
        for scope in (NSIDS, *self._scopes_of(OWN)):
            self._load(fresh, scope, lambda: None)
        for _ in range(ROUNDS):
            for nsid in unread(fresh):
                exhaust(known(fresh, nsid))
                for scope in self._scopes_of(nsid):
                    self._load(fresh, scope, lambda: None)
            told |= self._catch_up(fresh)
            if not unread(fresh):
                break
        torn = [scope for scope in told if is_torn(fresh, scope)]
        if self._generation == 0:
            self._complete(fresh, torn)
        return fresh, torn

    def _catch_up(self, fresh: Tables) -> set[Scope]:
        """Apply the events that wait; which tables they were about."""
        told = set[Scope]()
        while (events := self._read()) is not None:
            self._replay(fresh, events)
            told.update(event.scope for event in events)
        return told

    def _complete(self, fresh: Tables, torn: Iterable[Scope]) -> None:
        """Of the first picture no rows are known from before: what one dump missed,
        another one has."""
        for _ in range(ROUNDS):
            for scope in torn:
                rows = self._kernel.rows(scope, lambda: None)
                exhaust(fresh.add_to_scope(scope, rows))
            if not (torn := self._catch_up(fresh).intersection(torn)):
                return

    def _scopes_of(self, nsid: int) -> tuple[Scope, ...]:
        """What is read of a namespace, besides the numbers of others."""
        watched = (table for table in self._watched if table != "nsid")
        return tuple(
            Scope(table, nsid)
            for table in watched
            if nsid == OWN or not (is_own(table) or table in self._here)
        )

    def _load(self, fresh: Tables, scope: Scope, between: Callable[[], object]) -> None:
        """A namespace that is gone is empty.  A table that is not ours to read, or that
        this kernel has not, is not loaded."""
        try:
            fresh.load(scope, self._kernel.rows(scope, between))
        except Refused as error:
            if error.is_lack:
                self._sink.note(f"there is no table {scope.table}: {error.strerror}")
            elif scope.nsid == OWN or not error.is_final:
                raise
            elif is_read_from_here(scope.table):
                fresh.load(scope, {})
                if error.errno in NOT_OURS:
                    self._sink.note(CANNOT_READ)
            elif error.errno in NOT_OURS and self._events.all_nsid:
                self._sink.note(CANNOT_ENTER)

    def _replay(self, fresh: Tables, events: Iterable[Event]) -> None:
        """To what has been read; what has not been will be, whole."""
        for event in events:
            if event.scope == NSIDS or fresh.holds(event.scope):
                exhaust(self._interpreter.apply(fresh, event))
            else:
                exhaust(known(fresh, event.nsid))

    def _refresh(self, scopes: Iterable[Scope], now: float) -> list[Change]:
        """Read some tables again while events go on; what had to be corrected."""
        fresh = Tables()
        self._log = []
        for scope in scopes:
            self._load(fresh, scope, lambda: self._pump(now))
        read = fresh.scopes()
        self._pump(now)
        log, self._log = self._log, None
        self._replay(fresh, log)
        disturbed = {event.scope for event in log}
        changes: list[Change] = []
        for scope in scopes:
            if not self._is_within_reach(scope.nsid):
                continue
            if scope not in read:
                changes += self.tables.close(scope)
            elif scope in disturbed and is_torn(fresh, scope):
                changes += self.tables.add_to_scope(scope, fresh.rows(*scope))
                self._agenda.put(scope, now + REREAD_DELAY)
            else:
                changes += self.tables.replace_scope(scope, fresh.rows(*scope))
        self._publish_together(changes, now)
        self._sink.flush()
        return changes

    def _read_namespaces(self, now: float) -> None:
        for nsid in tuple(self._unread):
            self._unread.pop(nsid, None)
            if self._is_within_reach(nsid):
                self._refresh(self._scopes_of(nsid), now)

    def _reread(self, scope: Scope, now: float) -> None:
        if self._is_within_reach(scope.nsid):
            self._refresh([scope], now)

    # --- the audit --------------------------------------------------------------------

    def _begin_audit(self, now: float) -> None:
        """Everything once more, a table at a time."""
        nsids = (OWN, *self.tables.nsids())
        self._unaudited = [NSIDS, *(s for nsid in nsids for s in self._scopes_of(nsid))]
        self._corrected = False

    def _audit(self, scope: Scope, now: float) -> None:
        """A correction is an event that we did not understand."""
        if self._is_within_reach(scope.nsid):
            was_known = self.tables.holds(scope)
            for change in self._refresh([scope], now):
                heard = self._events.all_nsid or change.scope.nsid == OWN
                if was_known and heard and not is_volatile(change):
                    self._fixed[change.scope.table] += 1
                    self._corrected = True
        if not self._unaudited:
            if self._corrected:
                self._sink.audit(dict(self._fixed))
            self._label(now)
            self._agenda.put("audit", now + AUDIT_INTERVAL)

    # --- names ------------------------------------------------------------------------

    def _label_and_again(self, now: float) -> None:
        """A process that has just begun may not have its name yet."""
        self._label(now)
        self._agenda.put("labels again", now + LABEL_AGAIN)

    def _label_late(self, now: float) -> None:
        """It may have no process yet through which to enter it, either."""
        self._label(now)
        for nsid in self.tables.nsids():
            if not all(map(self.tables.holds, self._scopes_of(nsid))):
                self._unread[nsid] = None

    def _label(self, now: float) -> None:
        """Events go on while /proc is searched: what is found is applied at its end."""
        changes = self._labelled(self.tables, lambda: self._pump(now))
        self._publish_together(changes, now)

    def _labelled(
        self, tables: Tables, between: Callable[[], object]
    ) -> Iterator[Change]:
        """Find the names of namespaces and the holders of taps."""
        taps = {place: row.link.ifname for place, row in taps_in(tables, carrier=True)}
        wanted = frozenset(tables.nsids())
        names, holders = self._labels.look(wanted, taps, between)
        for nsid in tables.nsids():
            yield from tables.put(NSIDS, nsid, names.get(nsid, Namespace()))
        for (nsid, ifi_index), row in list(taps_in(tables)):
            holder = holders.get((nsid, ifi_index)) if row.link.carrier else None
            held = row._replace(holder=holder)
            yield from tables.put(Scope("link", nsid), ifi_index, held)


def cause_of(error: Exception) -> str:
    return next(cause for kind, cause in CAUSES.items() if isinstance(error, kind))


def taps_in(tables: Tables, carrier: bool = False) -> Iterator[tuple[Place, Interface]]:
    """Tun and tap devices, all or those with a process behind them."""
    for scope in tables.scopes():
        for key, row in tables.rows(*scope).items():
            if isinstance(row, Interface) and row.link.kind == "tun":
                assert isinstance(key, int)
                if row.link.carrier or not carrier:
                    yield (scope.nsid, key), row


def exhaust(changes: Iterator[Change]) -> None:
    """Nobody is told of these."""
    for _ in changes:
        pass


def unread(tables: Tables) -> list[int]:
    """Namespaces that rows speak of and that have not been read."""
    mentioned = set(tables.nsids())
    for scope in tables.scopes():
        if scope.table == "link":
            mentioned |= peer_nsids(tables.rows(*scope))
    return sorted(nsid for nsid in mentioned - {OWN} if not tables.has_links_of(nsid))


def peer_nsids(links: Rows) -> set[int]:
    return {
        row.link.link_netnsid
        for row in links.values()
        if isinstance(row, Interface) and row.link.link_netnsid is not None
    }


def groups_of(tables: Iterable[str]) -> tuple[int, ...]:
    """RTNLGRP_* that tell of these."""
    told = (rtnl.TABLES[table].groups for table in tables if table in rtnl.TABLES)
    return tuple(dict.fromkeys(group for groups in told for group in groups))


def is_read_from_here(table: str) -> bool:
    """Of other namespaces, too, if it is read of them at all."""
    return table in rtnl.TABLES and (rtnl.TABLES[table].by_nsid or is_own(table))


def is_own(table: str) -> bool:
    """It is read of our own namespace only."""
    return table in rtnl.TABLES and rtnl.TABLES[table].is_own


def is_torn(fresh: Tables, scope: Scope) -> bool:
    """A dump of this that was disturbed may lack rows."""
    return fresh.holds(scope) and rtnl.TABLES[scope.table].torn


def missing(before: Tables, fresh: Tables, scope: Scope) -> Rows:
    """The rows that were there before and are not in a dump."""
    rows = fresh.rows(*scope)
    return {k: row for k, row in before.rows(*scope).items() if k not in rows}


def by_namespace(task: Hashable) -> int:
    """Those of one namespace together: they go through the same door."""
    return task.nsid if isinstance(task, Scope) else OWN


def is_volatile(change: Change) -> bool:
    """What the kernel is known to change in silence: an IPv6 address before its DAD is
    done, everything about a device that is down, what it is a proxy for, how it answers
    ARP."""
    key, row = change.key, change.row
    if isinstance(row, Addr):
        return bool(row.ifa_flags & IFA_F_TENTATIVE)
    if isinstance(row, Interface):
        return not row.link.ifi_flags & IFF_UP
    return isinstance(key, Ipv4ConfKey) or (isinstance(key, NeighKey) and key.proxy)
