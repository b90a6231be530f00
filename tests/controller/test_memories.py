"""What a switch holds is believed if we would have written exactly that."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from controller.events import Binding
from controller.learn import recover, recover_all
from controller.memories import Memories, flow_of
from flows.view import Fixed, Limits, StationKey, Vlans
from tests import strategies
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    S3,
    cable,
    heard_host,
    interface,
    kernel_host,
    ports,
    view_of,
)

bindings = st.builds(
    Binding,
    st.just(0),
    strategies.port_numbers,
    strategies.vlans,
    strategies.stations_lladdrs,
    st.none() | strategies.addresses,
    st.none() | st.booleans(),
    st.none() | st.integers(0, (1 << 32) - 1).map(float),
)


@given(st.lists(bindings, max_size=8))
def test_a_binding_is_believed_by_the_cookie_of_its_flow(some: list[Binding]) -> None:
    memories = Memories()
    for one in some:
        if one.ip is None:
            one = replace(one, leased_until=None)
        cookie = flow_of(one).cookie
        assert memories.is_genuine(replace(one, cookie=cookie))
        assert not memories.is_genuine(replace(one, cookie=cookie ^ 1))


def test_a_lease_of_no_address_is_none() -> None:
    nothing = Binding(1, 1, 0, "02:00:00:00:00:01", leased_until=5.0)
    assert not Memories().is_genuine(nothing)


LAB: tuple[Any, ...] = (
    cable((S2, 9), (S3, 9)),
    *(ports(number, 1, 2, 3) for number in (S1, S2, S3)),
    interface(S1, 3, vlans=Vlans(5)),
)
ips = st.sampled_from([ip_address(f"10.0.0.{n}") for n in (1, 2, 3)])
several = st.sampled_from([*(f"10.0.0.{n}" for n in (1, 2, 3))])
someone = st.sampled_from([H1, H2, H3])
places = (st.sampled_from([S1, S3]), st.integers(1, 3), someone)
facts = st.lists(
    st.builds(heard_host, *places, several)
    | st.builds(kernel_host, *places, several)
    | st.builds(Fixed, st.just(0), ips, someone),
    max_size=2,
)
tight = st.builds(
    Limits,
    stations_per_port=st.integers(1, 3),
    addresses_per_station=st.integers(1, 2),
    bindings_per_port=st.integers(1, 2),
)
rows = st.lists(
    st.tuples(
        st.builds(
            StationKey,
            st.sampled_from([S1, S1, S2]),
            st.sampled_from([0, 0, 5]),
            st.sampled_from([H1, H2, H3]),
        ),
        st.lists(
            st.builds(
                partial(Binding, 0),
                st.sampled_from([1, 1, 1, 1, 2, 3]),
                st.just(0),
                st.just(""),
                ips | ips | st.none(),
                st.just(None),
                st.sampled_from([None] * 5 + [900.0]),
            ),
            min_size=1,
            max_size=4,
        ),
    ),
    max_size=4,
    unique_by=lambda row: row[0],
)


@settings(max_examples=400)
@example(
    [Fixed(0, ip_address("10.0.0.1"), H1)],
    Limits(),
    [(StationKey(S1, 0, H1), [Binding(0, 1, 0, H1, ip_address("10.0.0.2"))])],
)
@given(facts, tight, rows)
def test_many_stations_are_recovered_as_one_after_the_other(
    known: list[Any],
    limits: Limits,
    told: list[tuple[StationKey, list[Binding]]],
) -> None:
    view = view_of(*LAB, *known, limits)
    one_by_one = view
    for key, ones in told:
        one_by_one = recover(one_by_one, key, ones, 5.0)
    together = recover_all(view, told, 5.0)
    assert together == one_by_one
    assert (together.crowds, together.bound) == (one_by_one.crowds, one_by_one.bound)
