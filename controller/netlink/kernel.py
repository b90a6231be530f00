"""Questions to the kernel and their answers as rows, namespaces in our numbering.

Each namespace numbers the others for itself.  A dump asked with *_TARGET_NETNSID tells
IFLA_LINK_NETNSID in the numbering of the asker, an event in that of the namespace it
comes from (`numbering`).  Our own namespace is -1 here, also after the kernel has given
it a number of its own because a link elsewhere leads to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

from controller.netlink import rtnl
from controller.netlink.sockets import Interrupted, Lost, Refused, RequestSocket
from controller.netlink.tables import OWN, Interface, Key, Namespace, Row, Rows, Scope

DUMP_ATTEMPTS = 20  # of a table that changes while it is read


class Kernel:
    """What can be asked of rtnetlink.  Two sockets: a dump may last while we ask."""

    def __init__(self) -> None:
        self._dumps = RequestSocket()
        self._asks = RequestSocket()
        self._own_namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self._own_nsid = OWN
        self._others: set[int] = set()  # known not to be our own

    def close(self) -> None:
        self._dumps.close()
        self._asks.close()
        os.close(self._own_namespace)

    def ours(self, nsid: int) -> int:
        """An nsid of our numbering, -1 if it turns out to be our own namespace."""
        if nsid == OWN or nsid in self._others:
            return nsid
        if self._own_nsid == OWN:
            self._own_nsid = self.nsid_of((rtnl.NETNSA_FD, self._own_namespace))
        if nsid == self._own_nsid:
            return OWN
        self._others.add(nsid)
        return nsid

    def forget(self, nsid: int) -> None:
        """The number has been given, or taken away: it may mean another namespace."""
        self._others.discard(nsid)

    def nsid_of(self, *of: tuple[int, int]) -> int:
        """NETNSA_FD or NETNSA_PID to nsid; -1 for a namespace without one."""
        value = rtnl.decode(self._asks.ask(rtnl.RTM_GETNSID, rtnl.get_nsid(*of)))
        if not isinstance(value, rtnl.NsidMessage):
            raise rtnl.Malformed("RTM_GETNSID was answered by something else")
        return value.nsid

    def link(self, nsid: int, ifi_index: int) -> rtnl.Link | None:
        """One interface as it is now; None if it, or its namespace, is gone."""
        body = rtnl.get_link(ifi_index, None if nsid == OWN else nsid)
        try:
            value = rtnl.decode(self._asks.ask(rtnl.RTM_GETLINK, body))
        except Refused as error:
            if not error.is_final:
                raise
            return None
        return (
            self._placed(nsid, value.row)
            if isinstance(value, rtnl.LinkMessage)
            else None
        )

    def numbering(self, nsid: int) -> dict[int, int]:
        """The numbers that namespace `nsid` gives to others: theirs to ours."""
        target = (rtnl.NETNSA_TARGET_NSID, nsid)
        theirs_to_ours: dict[int, int] = {}
        try:
            for rows in self._asks.dump(rtnl.RTM_GETNSID, rtnl.get_nsid(target)):
                for value in map(rtnl.decode, rows):
                    if isinstance(value, rtnl.NsidMessage) and value.current != OWN:
                        theirs_to_ours[value.nsid] = self.ours(value.current)
            me = self.nsid_of(target, (rtnl.NETNSA_FD, self._own_namespace))
        except Refused as error:
            if not error.is_final:
                raise
            return {}
        return theirs_to_ours | {me: OWN}

    def rows(self, scope: Scope, between: Callable[[], object]) -> Rows:
        """All rows of one table of one namespace; `between` runs now and then."""
        for _ in range(DUMP_ATTEMPTS):
            try:
                return dict(self._read(scope, between))
            except Interrupted:
                between()
        raise Lost(f"table {scope.table} changed during {DUMP_ATTEMPTS} dumps")

    def _read(
        self, scope: Scope, between: Callable[[], object]
    ) -> list[tuple[Key, Row]]:
        kind, body = request(scope)
        found: list[tuple[Key, Row]] = []
        for messages in self._dumps.dump(kind, body):
            for value in map(rtnl.decode, messages):
                if value is not None:
                    found += self._row(scope.nsid, value)
            between()
        return found

    def _row(self, nsid: int, value: rtnl.Value) -> Iterator[tuple[Key, Row]]:
        if isinstance(value, rtnl.LinkMessage):
            yield value.ifi_index, Interface(self._placed(nsid, value.row))
        elif isinstance(value, rtnl.NsidMessage):
            if (ours := self.ours(value.nsid)) != OWN:
                yield ours, Namespace()
        elif value.row is not None:
            yield value.key, value.row

    def _placed(self, nsid: int, link: rtnl.Link) -> rtnl.Link:
        """A dumped link of namespace `nsid` with `link_netnsid` filled in."""
        told = link.link_netnsid
        return placed(link, nsid if told is None else self.ours(told))


def placed(link: rtnl.Link, link_netnsid: int | None) -> rtnl.Link:
    """`link_netnsid` as given, or None where there is nothing at the other end yet."""
    if not link.link:  # absent, or 0: half of a veth pair, a tunnel on no device
        if link.link is None and link.link_netnsid is None:
            return link
        return replace(link, link=None, link_netnsid=None)
    return replace(link, link_netnsid=link_netnsid)


def request(scope: Scope) -> tuple[int, bytes]:
    """Type and body of the dump that reads a scope."""
    target = None if scope.nsid == OWN else scope.nsid
    if scope.table == "link":
        return rtnl.RTM_GETLINK, rtnl.get_link(target=target)
    if scope.table == "addr":
        return rtnl.RTM_GETADDR, rtnl.get_addr(target)
    if scope.table == "neigh":
        return rtnl.RTM_GETNEIGH, rtnl.get_neigh()
    return rtnl.RTM_GETNSID, rtnl.get_nsid()
