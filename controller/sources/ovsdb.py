"""OVSDB of this host: which bridges and ports there are; adopts bridges, heals ports.

The one module that knows `ovs`.  One thread holds the connection: it reports the whole
picture after each change, and works through requests one at a time.  Everything it
tells goes through `report`, which is called in that thread.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import ovs.db.idl
import ovs.poller

from controller import adoption
from controller.adoption import Change
from controller.events import (
    BridgeAdopted,
    BridgeRefused,
    BridgeReleased,
    BridgesSeen,
    Event,
    OvsdbLost,
    PortHealed,
    PortNotHealed,
)
from controller.sources import ovsdb_rows
from controller.sources.ovsdb_refusals import (
    Refused,
    check_owner,
    check_target,
    late,
    memory_of,
    path_of,
    port_of,
    unknown,
    unreachable,
)
from controller.sources.ovsdb_rows import (
    HEALING,
    LAST_REQUEST,
    USERSPACE,
    Row,
    Transaction,
    bridge_of,
    controller_of,
    first,
    interface_of,
    is_system,
    remember_port,
    settings_of,
    spare_port,
    vlans_of,
    write,
)
from controller.sources.vswitchd import Hearing, hearing
from flows.view import NO_VLANS, Bridge, Interface, Vlans

DEFAULT_REMOTE = "unix:/var/run/openvswitch/db.sock"

MAX_REQUESTS = 64  # that wait for their turn; one more is refused at once
REQUEST_LIMIT = 10.0  # seconds until a request is given up
STOP_LIMIT = 2.0  # seconds that `stop` lets a request finish
COALESCE = 0.01  # seconds: changes that come together are one picture
SHARE = 0.1  # at most this part of the time goes into pictures
RECONNECT = 1000  # ms between attempts to connect, the least that `ovs` allows
PROBE = 5000  # ms of silence after which the server is asked whether it lives
LOST_AFTER = 2.0  # seconds: a server that merely restarts is not lost
MUTE_AFTER = 10.0  # seconds: it accepts connections, but does not answer
MISSING = 0.5  # seconds between two looks at a server that is not there
LOOK_AGAIN = 1.0  # seconds between two looks at a port that is deaf

CLOSED = "the connection to OVSDB is being closed"

log = logging.getLogger(__name__)

T = TypeVar("T")
Answer = Callable[[Event], None]
Condition = Callable[[], bool]
Steps = Generator[Condition, None, Event]  # yields what to wait for, returns the answer


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks for, how to do it, and where the answer goes.

    refuse         makes the answer that says why not
    answer         gets the answer, besides everybody else; None if nobody waits
    hides_picture  what is seen between its steps is nobody's business
    """

    steps: Callable[[Session], Steps]
    refuse: Callable[[Refused], Event]
    answer: Answer | None
    hides_picture: bool = False

    def turn_away(self, why: str) -> None:
        """Refuse before it was begun: tell no more than the one who asked.

        That one may be the reader of the reports: he must not have to wait for himself.
        """
        event = self.refuse(Refused(why))
        if self.answer is None:
            log.warning("%s", event)
        else:
            self.answer(event)


# --- as others see it ---------------------------------------------------------------


class Ovsdb:
    """The thread, and how others talk to it.  Its methods return at once.

    report  gets every event, in the thread; the answers to requests included
    remote  where the database is, as ovsdb(7) names it
    """

    def __init__(self, report: Answer, *, remote: str = DEFAULT_REMOTE) -> None:
        self._report = report
        self._remote = remote
        self._requests: deque[Request] = deque()
        self._bell = Bell()
        self._until: float | None = None  # set by `stop`: when to end at the latest
        self._thread = threading.Thread(target=self._run, name="ovsdb", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; a request that is being worked on may still finish."""
        self._until = time.monotonic() + STOP_LIMIT
        self._bell.ring()
        if self._thread.is_alive():
            self._thread.join(2 * STOP_LIMIT)
        self._bell.close()
        while self._requests:
            self._requests.popleft().turn_away(CLOSED)

    def adopt(
        self,
        bridge_name: str,
        target: str = adoption.DEFAULT_TARGET,
        answer: Answer | None = None,
    ) -> None:
        """Set what safety needs: BridgeAdopted or BridgeRefused follows."""
        steps = partial(Session.adopt, name=bridge_name, target=target)
        self._ask(Request(steps, partial(not_adopted, bridge_name), answer))

    def release(self, bridge_name: str, answer: Answer | None = None) -> None:
        """Undo what `adopt` set: BridgeReleased or BridgeRefused follows."""
        steps = partial(Session.release, name=bridge_name)
        self._ask(Request(steps, partial(not_adopted, bridge_name), answer))

    def heal(self, bridge_name: str, ifname: str, answer: Answer | None = None) -> None:
        """Have a deaf port opened again: PortHealed or PortNotHealed follows."""
        steps = partial(Session.heal, name=bridge_name, ifname=ifname)
        refuse = partial(not_healed, bridge_name, ifname)
        self._ask(Request(steps, refuse, answer, hides_picture=True))

    def _ask(self, request: Request) -> None:
        if self._until is not None:
            request.turn_away(CLOSED)
        elif len(self._requests) >= MAX_REQUESTS:
            request.turn_away(f"{MAX_REQUESTS} requests to OVSDB wait already")
        else:
            self._requests.append(request)
            self._bell.ring()

    def _run(self) -> None:
        """Hold a session; what nobody foresaw ends it, is told, and begins another."""
        while not self._is_over(busy=False):
            session = Session(self._report, self._remote, self._requests, self._bell)
            try:
                while not self._is_over(busy=session.is_busy):
                    session.turn()
            except Exception as error:
                log.exception("the connection to OVSDB failed")
                self._report(OvsdbLost(f"{self._remote}: {error!r}"))
                self._bell.wait(LOST_AFTER)
            finally:
                session.close()

    def _is_over(self, *, busy: bool) -> bool:
        until = self._until
        return until is not None and (not busy or time.monotonic() >= until)


def not_adopted(bridge_name: str, refused: Refused) -> Event:
    return BridgeRefused(bridge_name, refused.why, refused.hint)


def not_healed(bridge_name: str, ifname: str, refused: Refused) -> Event:
    return PortNotHealed(bridge_name, ifname, refused.why)


class Bell:
    """Wakes the thread from its poll; anybody may ring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here, self._there = socket.socketpair()
        self._here.setblocking(False)
        self._there.setblocking(False)

    def ring(self) -> None:
        # Full: it rings already.  Closed: nobody listens any more.
        with self._lock, contextlib.suppress(OSError):
            self._there.send(b"!")

    def listen(self, poller: Any) -> None:
        poller.fd_wait(self._here.fileno(), ovs.poller.POLLIN)

    def silence(self) -> None:
        with contextlib.suppress(BlockingIOError):  # somebody else woke us
            self._here.recv(4096)

    def wait(self, seconds: float) -> None:
        poller = ovs.poller.Poller()
        self.listen(poller)
        poller.timer_wait(int(seconds * 1000))
        poller.block()

    def close(self) -> None:
        with self._lock:
            self._here.close()
            self._there.close()


# --- inside the thread --------------------------------------------------------------


class Session:
    """One connection and what hangs on it: the last picture, the request at work."""

    def __init__(
        self, report: Answer, remote: str, requests: deque[Request], bell: Bell
    ) -> None:
        self.report = report
        self._remote = remote
        self._requests = requests
        self._bell = bell
        self._replica = Replica(remote)
        self._job: Job | None = None
        self._picture: BridgesSeen | None = None  # the last that was reported
        self._due: float | None = None  # when the next picture is made
        self._rest = 0.0  # not before this
        self._was_connected = False
        self._ever_connected = False
        self._missed_since: float | None = time.monotonic()  # None: not, or told
        self._lost = ""  # what OvsdbLost said, "" while there is hope

    @property
    def is_busy(self) -> bool:
        return self._job is not None

    def turn(self) -> None:
        """Take in what came, do what can be done, and wait for more."""
        now = time.monotonic()
        if self._replica.run():
            self._make_picture(now + COALESCE)
        self._look_at_connection(now)
        self._work(now)
        self._publish(now)
        self._wait(now)

    def close(self) -> None:
        if self._job is not None:
            self._job.give_up(Refused(CLOSED))
        self._replica.close()

    def _wait(self, now: float) -> None:
        poller = ovs.poller.Poller()
        self._replica.wait(poller)
        self._bell.listen(poller)
        for moment in self._moments(now):
            poller.timer_wait(1 + int(max(0.0, moment - now) * 1000))
        poller.block()
        self._bell.silence()

    def _moments(self, now: float) -> Iterator[float]:
        """When something must be done even if nothing comes."""
        if self._job is not None:
            yield self._job.deadline
        if self._due is not None and self._may_publish:
            yield self._due
        if self._missed_since is not None:
            yield now + MISSING

    # --- the connection ----

    def _look_at_connection(self, now: float) -> None:
        connected = self._replica.is_connected
        if connected and not self._was_connected:
            self._ever_connected, self._missed_since, self._lost = True, None, ""
            self._make_picture(now)
            self._resume()
        elif self._was_connected and not connected:
            self._missed_since = now
        self._was_connected = connected
        if self._missed_since is not None:
            self._tell_if_lost(now - self._missed_since)

    def _tell_if_lost(self, missed_for: float) -> None:
        if self._ever_connected and missed_for < LOST_AFTER:
            return
        why = unreachable(self._remote)
        if not why and missed_for >= MUTE_AFTER:
            why = f"{self._remote}: ovsdb-server does not answer"
        if why:
            self._missed_since, self._picture, self._lost = None, None, why
            self.report(OvsdbLost(why))

    # --- the picture ----

    def _make_picture(self, when: float) -> None:
        when = max(when, self._rest)
        self._due = when if self._due is None else min(when, self._due)

    @property
    def _may_publish(self) -> bool:
        hidden = self._job is not None and self._job.request.hides_picture
        return self._was_connected and not hidden

    def _publish(self, now: float) -> None:
        """Report what there is, unless it is what was reported last."""
        if self._due is None or now < self._due or not self._may_publish:
            return
        picture = self._replica.picture()
        self._due, self._rest = None, now + (time.monotonic() - now) / SHARE
        if picture != self._picture:
            self._picture = picture
            self.report(picture)
        if any(interface.deaf for interface in picture.interfaces):
            self._make_picture(now + LOOK_AGAIN)

    # --- requests ----

    def _work(self, now: float) -> None:
        while self._job is not None or self._requests:
            if self._job is None:
                self._job = Job(self._requests.popleft(), self, now + REQUEST_LIMIT)
            if not self._job.advance(now):
                return
            self._job = None

    def adopt(self, name: str, target: str) -> Steps:
        check_target(target)
        changes = yield from self._commit(
            lambda txn: self._write_adoption(txn, name, target)
        )
        return BridgeAdopted(name, adoption.in_words(changes))

    def release(self, name: str) -> Steps:
        words = yield from self._commit(lambda txn: self._write_release(txn, name))
        return BridgeReleased(name, words)

    def heal(self, name: str, ifname: str) -> Steps:
        """Ask for another OpenFlow port number, and then for the old one again.

        Each time ovs-vswitchd deletes the port and adds it, which opens the interface
        that is there now.  Deleting the row and making a new one would do the same, but
        mirrors would forget the port, and a crash in between would lose it.
        """
        yield from self._connected()
        if HEALING not in self._replica.interface(name, ifname).external_ids:
            yield from self._commit(ask_for_answer)
            self._check_deaf(name, ifname)
            yield from self._commit(lambda _: self._move_away(name, ifname))
        port_no = yield from self._commit(lambda _: self._move_back(name, ifname))
        yield from self._commit(lambda _: self._restore(name, ifname))
        row = self._replica.interface(name, ifname)
        if row.ofport != [port_no]:
            raise Refused(f"ovs-vswitchd could not open it: {first(row.error) or row}")
        return PortHealed(name, ifname)

    def _resume(self) -> None:
        """Finish what a controller that was killed has left half done."""
        if self._job is not None:
            return
        for name, ifname in self._replica.healing():
            steps = partial(Session.heal, name=name, ifname=ifname)
            refuse = partial(not_healed, name, ifname)
            self._requests.append(Request(steps, refuse, None, hides_picture=True))

    def _connected(self) -> Generator[Condition, None, None]:
        if self._lost:
            raise Refused(self._lost)
        yield lambda: self._replica.is_connected

    def _commit(
        self, write: Callable[[Transaction], T]
    ) -> Generator[Condition, None, T]:
        """Write until no other writer is in the way, and ovs-vswitchd has done it."""
        while True:
            yield from self._connected()
            written = yield from self._attempt(write)
            if written is not None:
                return written

    def _attempt(
        self, write: Callable[[Transaction], T]
    ) -> Generator[Condition, None, T | None]:
        """One transaction; None if it has to be composed again."""
        replica, seqno = self._replica, self._replica.change_seqno
        txn = ovs.db.idl.Transaction(replica)
        try:
            written = write(txn)
            replica.root.increment("next_cfg")
        except BaseException:
            txn.abort()
            raise
        yield lambda: bool(txn.commit() != txn.INCOMPLETE)
        status = txn.commit()
        if status == txn.SUCCESS:
            generation = txn.get_increment_new_value()
            yield lambda: replica.is_connected and replica.root.cur_cfg >= generation
        elif status == txn.TRY_AGAIN:
            yield lambda: replica.change_seqno != seqno
            return None
        elif status != txn.UNCHANGED:
            raise Refused(f"OVSDB refuses the change: {txn.get_error()}")
        return written

    # --- what is written; each reads the rows anew ----

    def _write_adoption(
        self, txn: Transaction, name: str, target: str
    ) -> tuple[Change, ...]:
        txn.add_comment(f"isat: adopt {name}")
        bridge = self._replica.bridge(name)
        bridge.verify("controller")
        check_owner(bridge, target)
        controller = controller_of(bridge, target)
        settings = settings_of(bridge, controller, adoption.NAMES)
        changes = adoption.adopting(settings, target)
        if changes:
            memory = adoption.remembered(memory_of(bridge), changes)
            bridge.verify("external_ids")
            bridge.setkey("external_ids", adoption.MEMORY, memory)
        write(txn, bridge, controller, changes)
        return changes

    def _write_release(self, txn: Transaction, name: str) -> tuple[str, ...]:
        txn.add_comment(f"isat: release {name}")
        bridge = self._replica.bridge(name)
        if adoption.MEMORY not in bridge.external_ids:
            raise Refused(f"bridge {name} is not adopted", f"isat adopt {name}")
        bridge.verify("controller")
        memory = memory_of(bridge)
        controller = controller_of(bridge, adoption.target_of(memory))
        settings = settings_of(bridge, controller, [past.name for past in memory])
        changes, left = adoption.releasing(settings, memory)
        bridge.verify("external_ids")
        bridge.delkey("external_ids", adoption.MEMORY)
        write(txn, bridge, controller, changes)
        return (*adoption.in_words(changes), *left)

    def _check_deaf(self, name: str, ifname: str) -> None:
        row = self._replica.interface(name, ifname)
        ears = self._replica.hearing()
        if ears is None:
            raise Refused("it cannot be told whether it is deaf: no ovs-vswitchd.pid")
        userspace = self._replica.bridge(name).datapath_type == USERSPACE
        if not is_system(row.type) or not userspace:
            raise Refused("only a system interface in the userspace datapath goes deaf")
        if not ears.is_deaf_to(ifname, first(row.ifindex) or 0):
            raise Refused("it is not deaf: there is nothing to heal")

    def _move_away(self, name: str, ifname: str) -> bool:
        row = self._replica.interface(name, ifname)
        port_no = first(row.ofport)
        if port_no is None or not 0 < port_no <= LAST_REQUEST:
            raise Refused("it has no OpenFlow port number to keep")
        for column in ("ofport", "ofport_request", "external_ids"):
            row.verify(column)
        remember_port(row, port_no)
        row.ofport_request = [spare_port(self._replica.interfaces(name))]
        return True

    def _move_back(self, name: str, ifname: str) -> int:
        row = self._replica.interface(name, ifname)
        port_no, _ = port_of(row)
        row.ofport_request = [port_no]
        return port_no

    def _restore(self, name: str, ifname: str) -> bool:
        row = self._replica.interface(name, ifname)
        _, request = port_of(row)
        row.ofport_request = [] if request is None else [request]
        row.delkey("external_ids", HEALING)
        return True


class Job:
    """A request that is being worked on, up to what it waits for now."""

    def __init__(self, request: Request, session: Session, deadline: float) -> None:
        self.request = request
        self.deadline = deadline
        self._report = session.report
        self._steps = request.steps(session)
        self._ready: Condition = lambda: True

    def advance(self, now: float) -> bool:
        """Go as far as possible; True when the answer has been given."""
        try:
            while self._ready():
                self._ready = next(self._steps)
        except StopIteration as done:
            self._tell(done.value)
        except Refused as refused:
            self._tell(self.request.refuse(refused))
        else:
            if now < self.deadline:
                return False
            self.give_up(late(REQUEST_LIMIT))
        return True

    def give_up(self, refused: Refused) -> None:
        self._steps.close()
        self._tell(self.request.refuse(refused))

    def _tell(self, event: Event) -> None:
        self._report(event)
        if self.request.answer is not None:
            self.request.answer(event)


# --- the database -------------------------------------------------------------------


class Replica(ovs.db.idl.Idl):  # type: ignore[misc]
    """Our copy of the database, and what we make of its rows.

    What was made of a row is kept until the row changes: otherwise each change in a
    bridge of 500 ports would cost 20 ms.
    """

    def __init__(self, remote: str) -> None:
        helper = ovs.db.idl.SchemaHelper(schema_json=ovsdb_rows.schema())
        helper.register_all()
        super().__init__(remote, helper, leader_only=False)
        # `ovs` has no public way to ask for these.
        self._session.reconnect.set_backoff(RECONNECT, RECONNECT)
        self._session.reconnect.set_probe_interval(PROBE)
        self._made: dict[Hashable, Any] = {}
        path = path_of(remote)
        self._run_directory = None if path is None else path.parent

    @property
    def is_connected(self) -> bool:
        """The copy is complete and follows the database."""
        follows = self.state == self.IDL_S_MONITORING
        return bool(follows and self._session.is_connected())

    def run(self) -> bool:
        changed = bool(super().run())
        if not self.is_connected:
            self._made.clear()  # the next copy is a new one
        return changed

    def notify(self, event: str, row: Row, updates: Row | None = None) -> None:
        """Called by `ovs` for each row that changed; `updates` has the old values."""
        self._made.pop(row.uuid, None)
        # What was made of other rows says this, too.
        if row._table.name == "Controller" or hasattr(updates, "datapath_id"):
            self._made.clear()

    def _once(self, row: Row, make: Callable[[Row], T]) -> T:
        """What `make` makes of a row; a table has one way to make something."""
        if row.uuid not in self._made:
            self._made[row.uuid] = make(row)
        made: T = self._made[row.uuid]
        return made

    # --- the picture ----

    def picture(self) -> BridgesSeen:
        bridges: list[Bridge] = []
        interfaces: list[Interface] = []
        for row in self._all("Bridge"):
            bridge, ports = self._once(row, with_ports)
            bridges.append(bridge)
            if bridge.datapath_id:
                found = self._interfaces(bridge.datapath_id, ports)
                interfaces += self._heard(row, found)
        return BridgesSeen(
            tuple(sorted(bridges, key=lambda bridge: bridge.name)),
            tuple(sorted(interfaces, key=lambda interface: interface.key)),
        )

    def _interfaces(
        self, datapath_id: int, ports: tuple[Hashable, ...]
    ) -> list[Interface]:
        make = partial(interface_of, datapath_id=datapath_id)
        found = []
        for port in self._rows("Port", ports):
            rows, vlans = self._once(port, with_interfaces)
            for row in self._rows("Interface", rows):
                made = self._once(row, make)
                if made is not None:
                    is_told = vlans != NO_VLANS
                    found.append(replace(made, vlans=vlans) if is_told else made)
        return found

    def _heard(self, bridge: Row, interfaces: list[Interface]) -> list[Interface]:
        """Mark the ports that ovs-vswitchd is deaf to."""
        ears = self.hearing() if bridge.datapath_type == USERSPACE else None
        if ears is None:
            return interfaces
        return [
            replace(one, deaf=True) if is_deaf(one, ears) else one for one in interfaces
        ]

    def hearing(self) -> Hearing | None:
        return None if self._run_directory is None else hearing(self._run_directory)

    # --- rows ----

    def _all(self, table: str) -> list[Row]:
        return list(self.tables[table].rows.values())

    def _rows(self, table: str, uuids: Iterable[Hashable]) -> Iterator[Row]:
        rows = self.tables[table].rows
        return (rows[uuid] for uuid in uuids if uuid in rows)

    @property
    def root(self) -> Row:
        """The one row of the table Open_vSwitch."""
        for row in self._all("Open_vSwitch"):
            return row
        raise Refused("the database is empty", "ovs-vsctl init")

    def bridge(self, name: str) -> Row:
        rows = {row.name: row for row in self._all("Bridge")}
        if name in rows:
            return rows[name]
        raise unknown("bridge", name, rows, f"ovs-vsctl add-br {shlex.quote(name)}")

    def interfaces(self, bridge_name: str) -> list[Row]:
        ports = self.bridge(bridge_name).ports
        return [row for port in ports for row in port.interfaces]

    def interface(self, bridge_name: str, ifname: str) -> Row:
        rows = {row.name: row for row in self.interfaces(bridge_name)}
        if ifname in rows:
            return rows[ifname]
        add = ("ovs-vsctl", "add-port", bridge_name, ifname)
        raise unknown(f"port of {bridge_name}", ifname, rows, shlex.join(add))

    def healing(self) -> list[tuple[str, str]]:
        """(bridge, ifname) of the heals that were begun and not finished."""
        return [
            (bridge.name, row.name)
            for bridge in self._all("Bridge")
            for row in self.interfaces(bridge.name)
            if HEALING in row.external_ids
        ]


def with_ports(row: Row) -> tuple[Bridge, tuple[Hashable, ...]]:
    return bridge_of(row), tuple(port.uuid for port in row.ports)


def with_interfaces(port: Row) -> tuple[tuple[Hashable, ...], Vlans]:
    return tuple(row.uuid for row in port.interfaces), vlans_of(port)


def is_deaf(interface: Interface, ears: Hearing) -> bool:
    kernels = is_system(interface.type) and interface.ifindex > 0
    return kernels and ears.is_deaf_to(interface.ifname, interface.ifindex)


def ask_for_answer(txn: Transaction) -> bool:
    """Change nothing, so that `next_cfg` alone goes up."""
    txn.add_op({"op": "comment", "comment": "isat: has ovs-vswitchd done everything?"})
    return True
