"""What the mirror holds: rows by table, namespace and key, and how they differ.

A namespace is its nsid as seen from our own namespace; our own is -1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from controller.netlink import rtnl
from controller.netlink.rtnl.addr import AddrKey
from controller.netlink.rtnl.link import Link
from controller.netlink.rtnl.neigh import FdbKey, NeighKey, is_beyond
from controller.netlink.rtnl.netconf import NetconfKey
from controller.netlink.rtnl.nexthop import Nexthop
from controller.netlink.rtnl.nsid import NETNSA_NSID_NOT_ASSIGNED
from controller.netlink.rtnl.route import RouteKey
from controller.netlink.rtnl.rule import RuleKey
from controller.netlink.rtnl.tc import TcKey, has_classes
from controller.netlink.settings import Ipv4ConfKey

OWN = NETNSA_NSID_NOT_ASSIGNED
IPV4_CONF = "ipv4_conf"
FOLLOWED = tuple(rtnl.TABLES)  # the kernel tells of changes
TABLES = (*FOLLOWED, IPV4_CONF)  # in the order in which a picture is told
RANK = {table: number for number, table in enumerate(TABLES)}


class Namespace(NamedTuple):
    """A network namespace other than our own, by the name people know it by.

    name  "" while it is unknown
    kind  where the name is from: "netns" (/run/netns), "mininet", "container",
          "process", or "" without a name
    """

    name: str = ""
    kind: str = ""


class Holder(NamedTuple):
    """The process behind a tun or tap device; of several the one seen first.

    command    as in /proc/PID/comm: at most 15 octets
    queues     how many descriptors it has open of this device
    guest_mac  of the virtual machine, from the command line of its QEMU
    """

    pid: int
    command: str
    queues: int
    guest_mac: str | None = None


class Interface(NamedTuple):
    """A row of table `link`: what rtnetlink says, and who holds a tap open.

    holder  None if there is none, or it is unknown
    """

    link: Link
    holder: Holder | None = None


Key = Any  # int of a namespace or an interface; else a NamedTuple, its table's *Key
Row = Any  # Namespace, Interface, or the frozen value of its table
Rows = dict[Key, Row]
Place = tuple[int, int]  # nsid and ifi_index of an interface


class Scope(NamedTuple):
    """One table of one namespace: what one dump replaces."""

    table: str
    nsid: int


NSIDS = Scope("nsid", OWN)
DEPENDENT = (
    "addr",
    "neigh",
    "fdb",
    "netconf",
    "tc",
)  # their rows end with an interface
IN_A_NAMESPACE = (*(t for t in reversed(TABLES) if t not in ("nsid", "link")), "link")


def by_rank(scope: Scope) -> tuple[int, int]:
    """Namespaces, then interfaces, then what is said about them."""
    return RANK[scope.table], scope.nsid


class Change(NamedTuple):
    """One row that is new, different, or gone (with the row that it was)."""

    op: str
    scope: Scope
    key: Key
    row: Row


class Tables:
    """All rows.  Every method that changes them tells what changed, in order."""

    def __init__(self) -> None:
        self._rows: dict[Scope, Rows] = {}
        # How many addresses and neighbors an interface has, so that its end need not
        # look through those of all others.
        self._dependents: dict[int, dict[int, int]] = {}  # by nsid and ifi_index
        # Which interfaces name one as their `link`: a veth's other end, a macvlan.
        self._leading: dict[Place, tuple[Place, ...]] = {}
        # Where tunnels send: by nsid and ifi_index, and by station.
        self._beyond: dict[Place, dict[str, dict[FdbKey, None]]] = {}

    def scopes(self) -> tuple[Scope, ...]:
        return tuple(self._rows)

    def holds(self, scope: Scope) -> bool:
        """It has been read, be there any rows or not."""
        return scope in self._rows

    def has_links_of(self, nsid: int) -> bool:
        """The interfaces of this namespace have been read, be there any or not."""
        return self.holds(Scope("link", nsid))

    def rows(self, table: str, nsid: int) -> Rows:
        """Not to be changed by the caller."""
        return self._rows.get(Scope(table, nsid), {})

    def nsids(self) -> tuple[int, ...]:
        """Every namespace but our own."""
        return tuple(key for key in self.rows("nsid", OWN) if isinstance(key, int))

    def interface(self, nsid: int, ifi_index: int) -> Interface | None:
        row = self.rows("link", nsid).get(ifi_index)
        return row if isinstance(row, Interface) else None

    def leading_to(self, place: Place) -> tuple[Place, ...]:
        """The interfaces whose `link` is this one."""
        return self._leading.get(place, ())

    def beyond(self, place: Place) -> Mapping[str, Mapping[FdbKey, None]]:
        """The keys of table `fdb` that say where a tunnel sends, by lladdr."""
        return self._beyond.get(place, {})

    def everything(self) -> Iterator[Change]:
        """Each row as if it were new: nsid first, then the links, then the rest."""
        for scope in sorted(self._rows, key=by_rank):
            for key, row in self._rows[scope].items():
                yield Change("new", scope, key, row)

    def put(self, scope: Scope, key: Key, row: Row) -> Iterator[Change]:
        rows = self._rows.setdefault(scope, {})
        old = rows.get(key)
        if old == row:
            return
        rows[key] = row
        self._index(scope, key, old, row)
        yield Change("new" if old is None else "change", scope, key, row)

    def drop(self, scope: Scope, key: Key) -> Iterator[Change]:
        rows = self._rows.get(scope, {})
        if key not in rows:
            return
        row = rows.pop(key)
        self._index(scope, key, row, None)
        if scope.table == "link" and isinstance(key, int):
            yield from self._drop_dependents(scope.nsid, key)
        elif isinstance(key, TcKey) and has_classes(key, row):
            yield from self._drop_classes(scope, key)
        yield Change("del", scope, key, row)

    def drop_namespace(self, nsid: int) -> Iterator[Change]:
        """What is in it, its interfaces last; then the namespace itself."""
        for table in IN_A_NAMESPACE:
            yield from self.close(Scope(table, nsid))
        yield from self.drop(NSIDS, nsid)

    def close(self, scope: Scope) -> Iterator[Change]:
        """Nothing is known of this scope any more."""
        for key in tuple(self.rows(*scope)):
            yield from self.drop(scope, key)
        self._rows.pop(scope, None)

    def replace_scope(self, scope: Scope, fresh: Rows) -> Iterator[Change]:
        """Make one scope equal to `fresh`; what is gone goes first."""
        for key in tuple(self.rows(*scope)):
            if key not in fresh:
                yield from self._end(scope, key)
        yield from self.add_to_scope(scope, fresh)

    def add_to_scope(self, scope: Scope, fresh: Rows) -> Iterator[Change]:
        """What is in `fresh` is so; what is not may have been missed."""
        self._rows.setdefault(scope, {})
        for key, row in fresh.items():
            yield from self.put(scope, key, inherit(self.rows(*scope).get(key), row))

    def load(self, scope: Scope, rows: Rows) -> None:
        """Take the rows of a dump; a scope without rows has been read, too."""
        self._rows[scope] = rows
        for key, row in rows.items():
            self._index(scope, key, None, row)

    def become(self, fresh: Tables) -> Iterator[Change]:
        """Make everything equal to `fresh`: namespaces, then links, then the rest."""
        if not self._rows:
            self._rows, self._dependents = fresh._rows, fresh._dependents
            self._leading, self._beyond = fresh._leading, fresh._beyond
            yield from self.everything()
            return
        for nsid in self.nsids():
            if nsid not in fresh.rows("nsid", OWN):
                yield from self.drop_namespace(nsid)
        scopes = {*self._rows, *fresh._rows}
        for scope in sorted(scopes, key=by_rank):
            if fresh.holds(scope):
                yield from self.replace_scope(scope, fresh.rows(*scope))
            else:
                yield from self.close(scope)

    def _end(self, scope: Scope, key: Key) -> Iterator[Change]:
        """A row has gone; with a namespace everything in it."""
        if scope == NSIDS and isinstance(key, int):
            return self.drop_namespace(key)
        return self.drop(scope, key)

    def _drop_dependents(self, nsid: int, ifi_index: int) -> Iterator[Change]:
        """The kernel announces these before the interface's own end; if we missed it,
        an address must not outlive its interface."""
        for table in DEPENDENT:
            if not self._dependents.get(nsid, {}).get(ifi_index):
                return
            for key in tuple(self.rows(table, nsid)):
                if owner_of(key) == ifi_index:
                    yield from self.drop(Scope(table, nsid), key)

    def _drop_classes(self, scope: Scope, qdisc: TcKey) -> Iterator[Change]:
        """The kernel announces the end of a qdisc, and not that of its classes."""
        for key in tuple(self.rows(*scope)):
            if key.tcm_ifindex == qdisc.tcm_ifindex and key.qdisc == qdisc.tcm_handle:
                yield from self.drop(scope, key)

    def _index(self, scope: Scope, key: Key, old: Row | None, new: Row | None) -> None:
        """Keep what is found by something else than its key."""
        if isinstance(key, int):
            here = (scope.nsid, key)
            if (before := place_of_link(old)) != (after := place_of_link(new)):
                self._lead(here, before, after)
        elif (owner := owner_of(key)) > 0:
            step = (new is not None) - (old is not None)
            self._count(scope.nsid, owner, step)
            if isinstance(key, FdbKey):
                self._lead_beyond((scope.nsid, owner), key, new)

    def _lead(self, here: Place, before: Place | None, after: Place | None) -> None:
        if before is not None:
            rest = tuple(p for p in self._leading[before] if p != here)
            if rest:
                self._leading[before] = rest
            else:
                del self._leading[before]
        if after is not None:
            self._leading[after] = (*self._leading.get(after, ()), here)

    def _lead_beyond(self, place: Place, key: FdbKey, new: Row | None) -> None:
        if new is not None and is_beyond(key, new):
            stations = self._beyond.setdefault(place, {})
            stations.setdefault(key.lladdr, {})[key] = None
        elif key in (stations := self._beyond.get(place, {})).get(key.lladdr, ()):
            del stations[key.lladdr][key]
            if not stations[key.lladdr]:
                del stations[key.lladdr]
            if not stations:
                del self._beyond[place]

    def _count(self, nsid: int, owner: int, step: int) -> None:
        counts = self._dependents.setdefault(nsid, {})
        count = counts.get(owner, 0) + step
        if count:
            counts[owner] = count
        else:
            counts.pop(owner, None)
            if not counts:
                del self._dependents[nsid]


def place_of_link(row: Row | None) -> Place | None:
    """Where the `link` of an interface is, if that can be told."""
    if not isinstance(row, Interface) or row.link.link is None:
        return None
    nsid = row.link.link_netnsid
    return None if nsid is None else (nsid, row.link.link)


OWNERS: dict[type, str] = {  # which field of a key is the interface it belongs to
    AddrKey: "ifa_index",
    NeighKey: "ndm_ifindex",
    FdbKey: "ndm_ifindex",
    NetconfKey: "ifindex",
    TcKey: "tcm_ifindex",
}


def owner_of(key: Key) -> int:
    """ifi_index of the interface that a row goes with; 0 if it is of none alone."""
    field = OWNERS.get(type(key))
    return getattr(key, field) if field else 0


def interfaces_of(key: Key, row: Row) -> frozenset[int | str]:
    """The interfaces that a row speaks of, by ifi_index or by name."""
    match key:
        case int():
            found: tuple[int | str | None, ...] = (key,)
        case RouteKey():
            found = (key.oif, key.iif, *(hop.oif for hop in key.nexthops))
        case RuleKey():
            found = (key.iifname, key.oifname)
        case Ipv4ConfKey():
            found = (key.ifname,)
        case _:
            found = (row.oif if isinstance(row, Nexthop) else owner_of(key),)
    return frozenset(name for name in found if name)


def inherit(old: Row | None, new: Row) -> Row:
    """What rtnetlink does not tell, and was found out before, stays with the row."""
    if isinstance(new, Namespace) and isinstance(old, Namespace):
        return new if new.name else old
    if isinstance(new, Interface) and isinstance(old, Interface):
        held = old.holder and new.link.carrier and same_device(old.link, new.link)
        return new._replace(holder=old.holder) if held else new
    return new


def same_device(old: Link, new: Link) -> bool:
    """An ifindex can be used again by request: then name and address tell."""
    return (old.kind, old.ifname) == (new.kind, new.ifname)
