"""Questions to the kernel and their answers as rows, namespaces in our numbering.

Each namespace numbers the others for itself.  A dump asked with *_TARGET_NETNSID tells
IFLA_LINK_NETNSID in the numbering of the asker, an event in that of the namespace it
comes from (`numbering`).  Our own namespace is -1 here, also after the kernel has given
it a number of its own because a link elsewhere leads to it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from controller.netlink import rtnl
from controller.netlink.doors import (
    Between,
    Door,
    Doors,
    OwnDoors,
    nsid_of,
    settings_here,
)
from controller.netlink.rtnl import link as links
from controller.netlink.rtnl import nsid as nsids
from controller.netlink.rtnl.link import Link
from controller.netlink.rtnl.table import Request
from controller.netlink.settings import ipv4_conf
from controller.netlink.sockets import Interrupted, Lost, Refused, RequestSocket
from controller.netlink.tables import (
    IPV4_CONF,
    NSIDS,
    OWN,
    Interface,
    Namespace,
    Rows,
    Scope,
)

DUMP_ATTEMPTS = 20  # of a table that changes while it is read


class Kernel:
    """What can be asked of rtnetlink.  Two sockets: a dump may last while we ask.

    doors  into other namespaces, for the tables that can be read only inside; those
           that this process may open itself unless given
    """

    def __init__(self, doors: Doors | None = None) -> None:
        self._dumps = RequestSocket()
        self._asks = RequestSocket()
        self._doors = doors or OwnDoors()
        self._inside: Inside | None = None
        self._own_namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._own_settings = settings_here()
        self._own_nsid = OWN
        self._others: set[int] = set()  # known not to be our own

    def close(self) -> None:
        self.leave()
        self._dumps.close()
        self._asks.close()
        self._doors.close()
        os.close(self._own_namespace)
        if self._own_settings is not None:
            os.close(self._own_settings)

    def ours(self, nsid: int) -> int:
        """An nsid of our numbering, -1 if it turns out to be our own namespace."""
        if nsid == OWN or nsid in self._others:
            return nsid
        if self._own_nsid == OWN:
            self._own_nsid = nsid_of(self._asks, self._own_namespace)
        if nsid == self._own_nsid:
            return OWN
        self._others.add(nsid)
        return nsid

    def forget(self, nsid: int) -> None:
        """The number has been given, or taken away: it may mean another namespace."""
        self._others.discard(nsid)

    def nsid_of(self, *of: tuple[int, int]) -> int:
        """NETNSA_FD or NETNSA_PID to nsid; -1 for a namespace without one."""
        value = rtnl.decode(self._asks.ask(nsids.RTM_GETNSID, nsids.get_nsid(*of)))
        if not isinstance(value, rtnl.NsidMessage):
            raise rtnl.Malformed("RTM_GETNSID was answered by something else")
        return value.nsid

    def link(self, nsid: int, ifi_index: int) -> Link | None:
        """One interface as it is now; None if it, or its namespace, is gone."""
        body = links.get_link(ifi_index, target(nsid))
        try:
            value = rtnl.decode(self._asks.ask(links.RTM_GETLINK, body))
        except Refused as error:
            if not error.is_final:
                raise
            return None
        if isinstance(value, rtnl.Record) and isinstance(value.row, Link):
            return self._placed(nsid, value.row)
        return None

    def numbering(self, nsid: int) -> dict[int, int]:
        """The numbers that namespace `nsid` gives to others: theirs to ours."""
        there = (nsids.NETNSA_TARGET_NSID, nsid)
        theirs_to_ours: dict[int, int] = {}
        try:
            for rows in self._asks.dump(nsids.RTM_GETNSID, nsids.get_nsid(there)):
                for value in map(rtnl.decode, rows):
                    if isinstance(value, rtnl.NsidMessage) and value.current != OWN:
                        theirs_to_ours[value.nsid] = self.ours(value.current)
            me = self.nsid_of(there, (nsids.NETNSA_FD, self._own_namespace))
        except Refused as error:
            if not error.is_final:
                raise
            return {}
        return theirs_to_ours | {me: OWN}

    # --- whole tables -----------------------------------------------------------------

    def rows(self, scope: Scope, between: Between) -> Rows:
        """All rows of one table of one namespace; `between` runs now and then.

        Of a family that this kernel has not (`ipv6.disable=1`) there are none.  Raises
        Refused if they are not ours to read, Lost if they never stand still.
        """
        if scope.table == IPV4_CONF:
            return dict(ipv4_conf(self._settings(scope.nsid, between)))
        for _ in range(DUMP_ATTEMPTS):
            try:
                if scope == NSIDS:
                    return self._namespaces(between)
                return self._read(scope, between)
            except Interrupted:
                between()
        raise Lost(f"table {scope.table} changed during {DUMP_ATTEMPTS} dumps")

    def _namespaces(self, between: Between) -> Rows:
        """All that have a number.  If we get one later, it is none of these: so to ask
        once for our own does for all of them."""
        numbers: set[int] = set()
        for kind, body in rtnl.TABLES["nsid"].dumps(None):
            for messages in self._dumps.dump(kind, body):
                for value in map(rtnl.decode, messages):
                    if isinstance(value, rtnl.NsidMessage):
                        numbers.add(value.nsid)
                between()
        self._own_nsid = nsid_of(self._asks, self._own_namespace)
        self._others |= numbers - {self._own_nsid}
        return {number: Namespace() for number in sorted(numbers - {self._own_nsid})}

    def leave(self) -> None:
        """Close the door to the namespace that was read last."""
        if self._inside is not None:
            self._inside.close()
            self._inside = None

    def _read(self, scope: Scope, between: Between) -> Rows:
        table = rtnl.TABLES[scope.table]
        asked = self._dumps
        if scope.nsid != OWN and not table.by_nsid:
            asked = self._enter(scope.nsid, between).asked
        rows: Rows = {}
        count, lacking = 0, []
        for kind, body in requests(table, scope.nsid, rows):
            count += 1
            try:
                for messages in asked.dump(kind, body):
                    for message in messages:
                        self._keep(rows, scope, rtnl.decode(message))
                    between()
            except Refused as error:
                if not error.is_lack:
                    raise
                lacking.append(error)
        if len(lacking) == count:
            raise lacking[0]
        return rows

    def _keep(self, rows: Rows, scope: Scope, value: rtnl.Value | None) -> None:
        if value is None:
            return
        assert isinstance(value, rtnl.Record)
        table, key, row = value
        if table == "link":
            rows[key] = Interface(self._placed(scope.nsid, row))
        elif row is not None:
            rows[key] = row

    def _placed(self, nsid: int, link: Link) -> Link:
        """A dumped link of namespace `nsid` with `link_netnsid` filled in."""
        told = link.link_netnsid
        return placed(link, nsid if told is None else self.ours(told))

    def _settings(self, nsid: int, between: Between) -> int:
        own = nsid == OWN
        found = self._own_settings if own else self._enter(nsid, between).door.settings
        if found is None:
            raise Refused(errno.EOPNOTSUPP, "no /proc/sys/net/ipv4/conf is mounted")
        return found

    def _enter(self, nsid: int, between: Between) -> Inside:
        if self._inside is None or self._inside.nsid != nsid:
            self.leave()
            self._inside = Inside(nsid, self._doors.open(nsid, between))
        return self._inside


class Inside:
    """An open door and the socket to ask through."""

    def __init__(self, nsid: int, door: Door) -> None:
        self.nsid = nsid
        self.door = door
        self.asked = RequestSocket(door.sock)

    def close(self) -> None:
        self.door.close()


def requests(table: rtnl.Table, nsid: int, rows: Rows) -> Iterator[Request]:
    """Those that read a table; `rows` is what they have brought so far."""
    yield from table.dumps(target(nsid))
    yield from table.further(rows)


def target(nsid: int) -> int | None:
    """What *_TARGET_NETNSID is to say."""
    return None if nsid == OWN else nsid


def placed(link: Link, link_netnsid: int | None) -> Link:
    """`link_netnsid` as given, or None where there is nothing at the other end yet."""
    if not link.link:  # absent, or 0: half of a veth pair, a tunnel on no device
        if link.link is None and link.link_netnsid is None:
            return link
        return link._replace(link=None, link_netnsid=None)
    return link._replace(link_netnsid=link_netnsid)
