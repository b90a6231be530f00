"""What an event makes of the tables, namespaces in our numbering."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controller.netlink import rtnl
from controller.netlink.kernel import Kernel, placed
from controller.netlink.rtnl.addr import RTM_DELADDR
from controller.netlink.rtnl.link import RTM_DELLINK, Link
from controller.netlink.rtnl.neigh import RTM_DELNEIGH, Fdb, FdbKey, supersedes
from controller.netlink.rtnl.netconf import RTM_DELNETCONF, Netconf
from controller.netlink.rtnl.nexthop import RTM_DELNEXTHOP
from controller.netlink.rtnl.nsid import RTM_DELNSID
from controller.netlink.rtnl.route import RTM_DELROUTE
from controller.netlink.rtnl.rule import RTM_DELRULE
from controller.netlink.rtnl.tc import RTM_DELQDISC, RTM_DELTCLASS
from controller.netlink.tables import (
    NSIDS,
    OWN,
    Change,
    Interface,
    Key,
    Namespace,
    Place,
    Row,
    Scope,
    Tables,
    inherit,
)

DELETIONS = {
    *(RTM_DELLINK, RTM_DELADDR, RTM_DELNEIGH, RTM_DELNSID),
    *(RTM_DELROUTE, RTM_DELRULE, RTM_DELNEXTHOP, RTM_DELNETCONF),
    *(RTM_DELQDISC, RTM_DELTCLASS),
}


class Event(NamedTuple):
    """One message about a row of a table.

    nsid  the namespace it came from
    gone  RTM_DEL*
    """

    nsid: int
    gone: bool
    value: rtnl.Value

    @property
    def scope(self) -> Scope:
        """What it is about."""
        if isinstance(self.value, rtnl.NsidMessage):
            return NSIDS
        return Scope(self.value.table, self.nsid)


class Interpreter:
    """Applies events; asks the kernel how other namespaces number each other.

    unsure  interfaces of which an event did not tell enough: to be asked for
    """

    def __init__(self, kernel: Kernel) -> None:
        self.unsure: dict[Place, None] = {}
        self._kernel = kernel
        self._numbering: dict[int, dict[int, int]] = {}

    def events(self, told: int, datagram: bytes) -> list[Event]:
        """The events of a datagram from namespace `told`."""
        nsid = self._kernel.ours(told)
        return [
            Event(nsid, message.type in DELETIONS, value)
            for message in rtnl.messages(datagram)
            if (value := rtnl.decode(message)) is not None
        ]

    def forget(self) -> None:
        """Events have been missed."""
        self._numbering.clear()

    def apply(self, tables: Tables, event: Event) -> Iterator[Change]:
        value = event.value
        if isinstance(value, rtnl.NsidMessage):
            yield from self._apply_nsid(tables, event, value)
            return
        yield from known(tables, event.nsid)
        if value.table == "link":
            yield from self._apply_link(tables, event, value)
        elif is_followed(tables, event.scope):
            row = None if event.gone else value.row
            if isinstance(row, Netconf):
                row = merged(tables.rows(*event.scope).get(value.key), row)
            elif isinstance(row, Fdb):
                for old in superseded(tables, event.nsid, value.key, row):
                    yield from tables.drop(event.scope, old)
            yield from put_or_drop(tables, event.scope, value.key, row)

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
            yield from tables.drop_namespace(value.nsid)
        else:
            yield from known(tables, self._kernel.ours(value.nsid))

    def _apply_link(
        self, tables: Tables, event: Event, value: rtnl.Record
    ) -> Iterator[Change]:
        scope, index = event.scope, value.key
        if event.gone:
            yield from tables.drop(scope, index)
            return
        link: Link = value.row
        old = tables.interface(event.nsid, index)
        peer_nsid = self._peer_nsid(event.nsid, link)
        if peer_nsid is None and link.link:
            self.unsure[event.nsid, index] = None
            peer_nsid = peer_nsid_as_before(old, link)
        new = Interface(placed(link, peer_nsid))
        yield from tables.put(scope, index, inherit(old, new))

    def _peer_nsid(self, nsid: int, link: Link) -> int | None:
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


def known(tables: Tables, nsid: int) -> Iterator[Change]:
    """There is such a namespace; its name and its rows have to be found out."""
    if nsid != OWN and nsid not in tables.rows(*NSIDS):
        yield from tables.put(NSIDS, nsid, Namespace())


def is_followed(tables: Tables, scope: Scope) -> bool:
    """Of what could never be read from inside, events alone are half the truth."""
    return rtnl.TABLES[scope.table].by_nsid or tables.holds(scope)


def peer_nsid_as_before(old: Interface | None, new: Link) -> int | None:
    """The best guess until the kernel has been asked: nothing has moved."""
    return old.link.link_netnsid if old and old.link.link == new.link else None


def merged(old: Row | None, new: Netconf) -> Netconf | None:
    """None for a part of what was never told whole: it will be read."""
    if isinstance(old, Netconf):
        return new.merged_into(old)
    return None if new.forwarding is None or new.proxy_neigh is None else new


def superseded(tables: Tables, nsid: int, key: FdbKey, row: Fdb) -> tuple[FdbKey, ...]:
    """What is no longer so since this is."""
    others = tables.beyond((nsid, key.ndm_ifindex)).get(key.lladdr, ())
    return tuple(old for old in others if supersedes(key, row, old))


def put_or_drop(
    tables: Tables, scope: Scope, key: Key, row: Row | None
) -> Iterator[Change]:
    if row is None:
        return tables.drop(scope, key)
    return tables.put(scope, key, row)
