"""What an event makes of the tables, namespaces in our numbering."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from controller.netlink import rtnl
from controller.netlink.kernel import Kernel, placed
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

DELETIONS = {rtnl.RTM_DELLINK, rtnl.RTM_DELADDR, rtnl.RTM_DELNEIGH, rtnl.RTM_DELNSID}


class Event(NamedTuple):
    """One message about a row of a table.

    nsid  the namespace it came from
    gone  RTM_DEL*
    """

    nsid: int
    gone: bool
    value: rtnl.Value


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
        nsid, value = event.nsid, event.value
        if isinstance(value, rtnl.NsidMessage):
            yield from self._apply_nsid(tables, event, value)
            return
        yield from known(tables, nsid)
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
            yield from tables.drop_namespace(value.nsid)
        else:
            yield from known(tables, self._kernel.ours(value.nsid))

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
            self.unsure[event.nsid, index] = None
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


def known(tables: Tables, nsid: int) -> Iterator[Change]:
    """There is such a namespace; its name and its rows have to be found out."""
    if nsid != OWN and nsid not in tables.rows(*NSIDS):
        yield from tables.put(NSIDS, nsid, Namespace())


def peer_nsid_as_before(old: Interface | None, new: rtnl.Link) -> int | None:
    """The best guess until the kernel has been asked: nothing has moved."""
    return old.link.link_netnsid if old and old.link.link == new.link else None


def put_or_drop(
    tables: Tables, scope: Scope, key: Key, row: Row | None
) -> Iterator[Change]:
    if row is None:
        return tables.drop(scope, key)
    return tables.put(scope, key, row)
