"""What is written by a stencil is what the tables would write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import stencils
from flows.compile import Common, Compiled, FlowConflict, compile_flows
from flows.network import network
from flows.openflow import Output, flow, oxm
from flows.parties import Located
from flows.pipeline import PIPELINE, Table
from flows.view import Claim, Guard, Limits, Proxy, Station, View, Vlans
from tests import strategies
from tests.facts import (
    H1,
    H3,
    S1,
    S2,
    cable,
    heard_host,
    interface,
    kernel_host,
    ports,
    view_of,
)

MANY = 40
ROUTER = heard_host(S1, 1, "02:00:00:00:02:01", "fe80::1", router=True)


def lladdr(number: int, at: int = S1) -> str:
    return f"02:00:00:00:{at:02x}:{number:02x}"


def crowd(*ips: str, at: int = S1, of: int = 1, vlan: int = 0) -> list[Any]:
    """Hosts at two ports; of so many only one."""
    return [
        fact
        for n in range(1, MANY + 1, of)
        for fact in heard_host(
            *(at, 1 + n // 2 % 2, lladdr(n, at)),
            *(ip.format(n) for ip in ips),
            vlan=vlan,
            router=None if n % 3 else bool(n % 2),
        )
    ]


LEASED = Station(S1, 0, H3, 3, 0.0, (Claim(ip_address("10.0.9.9"), 0.0, None, 900.0),))


def leased(view: View) -> View:
    """Everybody has leases."""
    stations = view.stations
    for key, row in stations.items():
        claims = tuple(
            Claim(one.ip, one.confirmed_at, one.router, 1000.5 + number)
            for number, one in enumerate(row.claims)
        )
        stations = stations.set(key, replace(row, claims=claims))
    return replace(view, stations=stations)


IPV4 = view_of(ports(S1, 1, 2), crowd("10.0.1.{}"))
IPV6 = view_of(ports(S1, 1, 2), crowd("fd00::{}", "fe80::1:{}"), ROUTER)
ACCESS = interface(S1, 1, vlans=Vlans(5))  # told VLAN 5 alone, and without a tag
MIXED = {
    "some ports take off the tag": view_of(
        *(ports(S1, 1, 2), ports(S2, 1), crowd("10.0.1.{}", vlan=5), ACCESS)
    ),
    "some have as many addresses as are kept": view_of(
        *(ports(S1, 1, 2), crowd("10.0.1.{}"), crowd("10.0.1.{}", "10.0.2.{}", of=3)),
        Limits(addresses_per_station=2),
    ),
    "the kernel lists only some of the addresses": view_of(
        *(kernel_host(S1, n, lladdr(n), f"10.0.2.{n}", nsid=n) for n in range(1, 9)),
        *(heard_host(S1, n, lladdr(n), f"10.0.1.{n}") for n in range(1, 9)),
        crowd("10.0.3.{}"),
    ),
    "some are behind another switch": view_of(
        cable((S1, 9), (S2, 9)),
        crowd("10.0.1.{}"),
        crowd("10.0.4.{}", at=S2, of=2),
    ),
    "some have leases": view_of(crowd("10.0.1.{}", "fd00::{}"), LEASED),
}
LOCAL = view_of(
    ports(S1, 1),
    *(heard_host(S1, 0xFFFFFFFE, f"02:00:00:00:03:{n:02x}") for n in range(MANY)),
)


COMMON = len(Common)  # parts that concern all


class Written(Compiled):
    """How many parts the tables were asked for."""

    parts = 0

    def _written(self, switch: Any, part: Any) -> Any:
        self.parts += 1
        return super()._written(switch, part)


@pytest.fixture(autouse=True)
def at_once() -> Iterator[None]:
    """Stencils, however few they are for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stencils, "WORTH", 1)
        yield


def plain(view: View) -> View:
    return replace(view, guards=(), proxies=())


@given(
    strategies.views() | strategies.views().map(plain),
    st.sampled_from([1, 2, 3]),
    st.data(),
)
def test_a_switch_that_holds_some_is_told_the_others(
    view: View, datapath_id: int, data: st.DataObject
) -> None:
    known = network(view)
    flows = compile_flows(view, datapath_id, known)
    lost = data.draw(st.sets(st.sampled_from(sorted(flows))))
    compiled = Compiled(datapath_id)
    difference = compiled.update(view, known, (flows.keys() - lost) | {1, 2})
    assert {*compiled.cookies} == {*flows}
    assert {entry.cookie: entry for entry in difference.added} == {
        cookie: flows[cookie] for cookie in lost
    }
    assert difference.removed == (1, 2)


@pytest.mark.parametrize("view", [IPV4, IPV6, LOCAL, leased(IPV4), leased(IPV6)])
def test_who_is_known_like_others_is_not_written(view: View) -> None:
    flows = compile_flows(view, S1)
    compiled = Written(S1)
    difference = compiled.update(view, network(view), flows.keys())
    assert (difference.added, difference.removed) == ((), ())
    assert {*compiled.cookies} == {*flows}
    assert compiled.parts == COMMON


@pytest.mark.parametrize("why", MIXED)
@pytest.mark.parametrize("datapath_id", [S1, S2])
def test_who_differs_by_more_than_names_is_told_apart(
    why: str, datapath_id: int
) -> None:
    view = MIXED[why]
    for one in (view, leased(view)):
        flows = compile_flows(one, datapath_id)
        compiled = Written(datapath_id)
        difference = compiled.update(one, network(one), flows.keys())
        assert (difference.added, difference.removed) == ((), ())
        assert {*compiled.cookies} == {*flows}
        assert compiled.parts == COMMON + several(one)


def several(view: View) -> int:
    """Addresses that more than one may hold are written."""
    return sum(len(row.candidates) > 1 for row in network(view).holders.values())


@pytest.mark.parametrize(
    "rule", [Guard("watch", "", ""), Proxy("off"), Proxy("private", "")]
)
def test_where_names_count_all_are_written(rule: Guard | Proxy) -> None:
    view = view_of(ports(S1, 1, 2), crowd("10.0.1.{}"), rule)
    compiled = Written(S1)
    compiled.update(view, network(view), compile_flows(view, S1).keys())
    assert compiled.parts == COMMON + 2 * MANY


def test_the_first_of_a_kind_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stencils, "WORTH", 4)
    compiled = Written(S1)
    compiled.update(IPV4, network(IPV4), compile_flows(IPV4, S1).keys())
    assert (
        compiled.parts == COMMON + 3 + 3 * 3
    )  # stations, and three kinds of addresses


def test_kinds_beyond_the_bound_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stencils, "SHAPES_MAX", 1)
    compiled = Written(S1)
    flows = compile_flows(IPV6, S1)
    compiled.update(IPV6, network(IPV6), flows.keys())
    assert compiled.parts > MANY
    assert {*compiled.cookies} == {*flows}


def by_name(switch: Any, here: Any, where: Located) -> Any:
    """Nobody can tell from two stations what this writes for a third."""
    number = int(where.lladdr[-2:], 16) % 7
    yield flow(here.table_id, number, oxm(eth_src=where.lladdr), note="by name")


def all_alike(switch: Any, here: Any, where: Located) -> Any:
    port_no = where.port.port_no
    yield flow(here.table_id, 1, oxm(eth_type=1), Output(port_no), note="alike")


def nothing(switch: Any, here: Any) -> Any:
    return iter(())


def test_a_stencil_that_does_not_fit_a_second_is_none() -> None:
    matches = frozenset({"eth_src"})
    pipeline = (Table("one", matches, nothing, of_station=by_name),)
    view = view_of(ports(S1, 1, 2), crowd())
    flows = compile_flows(view, S1, pipeline=pipeline)
    compiled = Compiled(S1, pipeline)
    difference = compiled.update(view, network(view), flows.keys())
    assert (difference.added, difference.removed) == ((), ())


def test_a_conflict_between_two_stencils_is_seen() -> None:
    matches = frozenset({"eth_type"})
    pipeline = (Table("one", matches, nothing, of_station=all_alike),)
    alone = [view_of(heard_host(S1, port_no, H1)) for port_no in (1, 2)]
    held = {c for one in alone for c in compile_flows(one, S1, pipeline=pipeline)}
    view = view_of(ports(S1, 1, 2), crowd())
    with pytest.raises(FlowConflict, match="two flows"):
        Compiled(S1, pipeline).update(view, network(view), held)


def test_the_names_of_those_who_do_not_exist_are_no_part_of_any_other_word() -> None:
    words = [
        word
        for kind in stencils.ADDRESSES.values()
        for number in (0, 1)
        for word in stencils.called(
            *(stencils.PORTS[number], stencils.LLADDRS[number]),
            *(stencils.ENDS[number], kind[number]),
        )
        if len(word) >= stencils.LEAST
    ]
    texts = [entry.text for view in (IPV4, IPV6) for entry in flows_of(view)]
    assert not [word for word in words for text in texts if word in text]


def flows_of(view: View) -> Any:
    return compile_flows(view, S1, pipeline=PIPELINE).values()
