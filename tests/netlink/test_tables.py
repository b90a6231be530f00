"""Rows that come, change and go, and what goes with them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.netlink.rtnl.addr import Addr, AddrKey
from controller.netlink.rtnl.link import Link
from controller.netlink.rtnl.tc import Tc, TcKey
from controller.netlink.tables import (
    NSIDS,
    OWN,
    Change,
    Holder,
    Interface,
    Key,
    Namespace,
    Row,
    Scope,
    Tables,
)

LINKS, ADDRS = Scope("link", OWN), Scope("addr", OWN)
VETH = Interface(Link("v", 1, 0x1003, link=7, link_netnsid=0, kind="veth"))
TAP = Interface(
    Link("t", 1, 0x1003, carrier=True, kind="tun"), holder=Holder(7, "qemu", 1)
)
A1 = AddrKey(2, 3, 24, "10.0.0.1", "10.0.0.1")
ADDR = Addr(0x80, 0)


def filled(*rows: tuple[Scope, Key, Row]) -> Tables:
    tables = Tables()
    for scope, key, row in rows:
        assert list(tables.put(scope, key, row))
    return tables


def test_the_same_row_again_is_no_change() -> None:
    tables = filled((LINKS, 3, VETH))
    assert list(tables.put(LINKS, 3, VETH)) == []


def test_an_interface_takes_its_addresses_along_first() -> None:
    tables = filled((LINKS, 3, VETH), (LINKS, 4, TAP), (ADDRS, A1, ADDR))
    gone = list(tables.drop(LINKS, 3))
    assert [change.key for change in gone] == [A1, 3]
    assert [*tables.rows("link", OWN)] == [4]


def test_a_qdisc_takes_its_own_classes_along_first() -> None:
    tc, other = Scope("tc", OWN), Scope("tc", 0)
    htb, top = Tc(0xFFFFFFFF, "htb", defcls=1), Tc(0xFFFFFFFF, "htb", rate=1, ceil=1)
    qdisc, one = TcKey(3, 0x50000), TcKey(3, 0x50001)
    child = Tc(one.tcm_handle, "netem")
    tables = filled(
        *((tc, key, htb) for key in (qdisc, TcKey(4, 0x50000), TcKey(3, 0x60000))),
        *((tc, key, top) for key in (one, TcKey(4, 0x50001), TcKey(3, 0x60001))),
        (tc, TcKey(3, 0x100000), child),
        (other, one, top),
    )
    gone = [change.key for change in tables.drop(tc, qdisc)]
    assert gone == [one, qdisc]
    assert [change.key for change in tables.drop(tc, TcKey(4, 0x50001))] == [
        TcKey(4, 0x50001)
    ]


def test_an_interface_takes_its_traffic_control_along() -> None:
    tc, key = Scope("tc", OWN), TcKey(3, 0x50000)
    tables = filled((LINKS, 3, VETH), (tc, key, Tc(0xFFFFFFFF, "htb", defcls=1)))
    assert [change.key for change in tables.drop(LINKS, 3)] == [key, 3]


def test_a_namespace_takes_everything_along_and_is_last() -> None:
    tables = filled(
        (NSIDS, 0, Namespace("h1", "netns")),
        (Scope("link", 0), 3, VETH),
        (Scope("addr", 0), A1, ADDR),
        (LINKS, 3, VETH),
    )
    gone = [change.scope.table for change in tables.drop_namespace(0)]
    assert gone == ["addr", "link", "nsid"]
    assert not tables.has_links_of(0)
    assert [*tables.rows("link", OWN)] == [3]


def test_who_leads_to_an_interface_is_found_by_it() -> None:
    tables = filled((LINKS, 3, VETH))
    assert tables.leading_to((0, 7)) == ((OWN, 3),)
    moved = VETH._replace(link=VETH.link._replace(link=9))
    assert list(tables.put(LINKS, 3, moved))
    assert tables.leading_to((0, 7)) == ()
    assert tables.leading_to((0, 9)) == ((OWN, 3),)
    assert list(tables.drop(LINKS, 3))
    assert tables.leading_to((0, 9)) == ()


def test_a_dump_knows_no_holder_and_does_not_take_it_away() -> None:
    tables = filled((LINKS, 4, TAP))
    bare = TAP._replace(holder=None)
    assert list(tables.replace_scope(LINKS, {4: bare})) == []


def test_a_tap_without_a_process_has_no_holder() -> None:
    tables = filled((LINKS, 4, TAP))
    idle = Interface(TAP.link._replace(carrier=False))
    [change] = tables.replace_scope(LINKS, {4: idle})
    assert change.row == idle


def test_a_namespace_that_a_dump_lacks_goes_with_all_its_rows() -> None:
    tables = filled((NSIDS, 0, Namespace()), (Scope("link", 0), 3, VETH))
    gone = [change.scope.table for change in tables.replace_scope(NSIDS, {})]
    assert gone == ["link", "nsid"]


rows = st.dictionaries(
    st.tuples(st.integers(-1, 2), st.integers(1, 4)),
    st.builds(
        lambda mtu, link, nsid: Interface(
            Link("v", 1, 0, mtu=mtu, link=link, link_netnsid=nsid)
        ),
        st.integers(0, 2),
        st.integers(1, 4),
        st.integers(-1, 2),
    ),
)


def tables_of(links: dict[tuple[int, int], Interface]) -> Tables:
    tables = Tables()
    for (nsid, index), row in links.items():
        if nsid != OWN and nsid not in tables.nsids():
            assert list(tables.put(NSIDS, nsid, Namespace()))
        assert list(tables.put(Scope("link", nsid), index, row))
    return tables


def applied(changes: list[Change], state: dict[tuple[Scope, Key], Row]) -> None:
    """What a reader of the changes does; a `new` is new, a `change` is not."""
    for op, scope, key, row in changes:
        assert (op == "new") == ((scope, key) not in state)
        if op == "del":
            del state[scope, key]
        else:
            state[scope, key] = row


def everything(tables: Tables) -> dict[tuple[Scope, Key], Row]:
    return {(c.scope, c.key): c.row for c in tables.everything()}


@given(rows, rows)
def test_the_changes_lead_from_one_picture_to_the_other(
    before: dict[tuple[int, int], Interface], after: dict[tuple[int, int], Interface]
) -> None:
    tables, fresh = tables_of(before), tables_of(after)
    state = everything(tables)

    applied(list(tables.become(fresh)), state)

    assert state == everything(fresh) == everything(tables)
    for nsid in range(-1, 3):
        for index in range(1, 5):
            place = (nsid, index)
            assert {*tables.leading_to(place)} == {*fresh.leading_to(place)}
