"""The view as JSON, and back."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from immutables import Map

from flows.document import INDEXES, DocumentError, from_json, to_json
from flows.view import (
    Ability,
    Address,
    Adjacency,
    Bridge,
    Claim,
    Echo,
    Fixed,
    Flooding,
    Fresh,
    Guard,
    Interface,
    Limits,
    Link,
    Namespace,
    Neighbor,
    Overlay,
    OverlayEnd,
    Port,
    Proxy,
    Router,
    Service,
    Shaper,
    Sponge,
    Station,
    Untried,
    View,
)
from tests import strategies
from tests.facts import view_of
from tests.packets import H1, H2

PORT = {"datapath_id": 1, "port_no": 2, "ifname": "h1", "lladdr": H1, "up": True}
STATION = {
    "datapath_id": 1,
    "vlan": 0,
    "lladdr": H1,
    "port_no": 2,
    "heard_at": 1.5,
    "claims": [{"ip": "10.0.0.1", "confirmed_at": 2}],
}


def document(**tables: object) -> dict[str, object]:
    return {"isat_view": 1, **tables}


# --- there and back -----------------------------------------------------------------


@given(strategies.views())
def test_a_view_comes_back_as_it_was(view: View) -> None:
    text = json.dumps(to_json(view))

    back = from_json(json.loads(text))

    assert back == view
    assert back.crowds == view.crowds


@given(strategies.views())
def test_equal_views_give_the_same_text(view: View) -> None:
    tables = {
        name: getattr(view, name) for name in to_json(view).keys() - {"isat_view"}
    }
    backwards: dict[str, Any] = {
        name: Map(reversed([*table.items()]))
        for name, table in tables.items()
        if isinstance(table, Map)
    }
    shuffled = replace(view, **backwards)

    assert json.dumps(to_json(shuffled)) == json.dumps(to_json(view))


def test_every_field_of_every_fact_is_in_the_document() -> None:
    facts = (
        Port(1, 2, "h1", H1, True),
        Ability(1, 65_535),
        Bridge(1, "br0"),
        Interface(1, 2, "h1", 7),
        Link(-1, 7, "h1"),
        Address(-1, 7, IPv6Address("fd00::1"), 64),
        Namespace(0, "red"),
        Neighbor(-1, 7, IPv4Address("10.0.0.2"), H2),
        Router(-1, 7, True),
        Shaper(-1, 7, 10_000_000),
        Flooding(1, (2,), (2,)),
        Station(1, 0, H1, 2, 1.0, (Claim(IPv4Address("10.0.0.1"), 2.0),)),
        Fresh(1, 0, H2, (2,)),
        Sponge(1, 0, IPv4Address("10.0.0.8"), 6, 1.0, 2.0),
        Echo(1, 3, 1, 4, 1.0),
        Adjacency(1, 3, 2, 4, 1.0),
        gone := Adjacency(1, 5, 2, 6, 1.0),
        Untried(1, 5, 1.0),
        Fixed(0, IPv4Address("10.0.0.9"), H2),
        Guard("watch", "br0", "h1"),
        Service("router", True, "br0", "h1"),
        Proxy("off", "br0", 7),
        Overlay("blue", 5000, (OverlayEnd(1, "vx0", IPv4Address("192.0.2.1")),)),
        Limits(),
    )

    view = view_of(*(fact for fact in facts if fact is not gone))
    written = to_json(replace(view, departed=view.departed.set(gone.key, gone)))

    assert list(written) == [
        "isat_view",
        *(field.name for field in fields(View) if field.name not in INDEXES),
    ]
    rows = [table[0] for table in written.values() if isinstance(table, list)]
    assert [*rows[-1]["ends"][0]] == [field.name for field in fields(OverlayEnd)]
    assert [list(row) for row in [*rows, written["limits"]]] == [
        [field.name for field in fields(fact)] for fact in facts
    ]


def test_addresses_are_written_as_people_write_them() -> None:
    station = Station(1, 0, H1, 2, 1.0, (Claim(IPv4Address("10.0.0.1"), 2.0),))

    [row] = to_json(view_of(station))["stations"]

    assert row["lladdr"] == H1
    assert row["claims"] == [
        {"ip": "10.0.0.1", "confirmed_at": 2.0, "router": None, "leased_until": None}
    ]


def test_a_name_of_odd_octets_survives_in_ascii() -> None:
    odd = b"tap\xff\x80".decode(errors="surrogateescape")
    view = view_of(Port(1, 2, odd, H1, True))

    text = json.dumps(to_json(view))

    assert text.isascii()
    assert from_json(json.loads(text)) == view


def test_what_is_left_out_is_as_the_view_begins() -> None:
    assert from_json(document()) == View()
    [link] = from_json(
        document(links=[{"nsid": -1, "ifindex": 7, "ifname": "h1"}])
    ).links.values()
    assert link == Link(-1, 7, "h1")


def test_a_whole_number_of_seconds_is_a_number_of_seconds() -> None:
    [station] = from_json(document(stations=[STATION])).stations.values()

    assert type(station.claims[0].confirmed_at) is float


# --- what is no view ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "where", "problem"),
    [
        ([], "document", "no 'isat_view' in it"),
        ({"ports": []}, "document", "no 'isat_view' in it"),
        ({"isat_view": 2}, "isat_view", "version 2"),
        ({"isat_view": True}, "isat_view", "version True"),
        ({"isat_view": "1"}, "isat_view", "version '1'"),
        (document(port=[]), "document", "unknown key 'port'"),
        (document(crowds=[]), "document", "unknown key 'crowds'"),
        (document(ports={}), "ports", "{} is not a list"),
        (document(ports=[5]), "ports[0]", "5 is not a Port"),
        (document(limits=[]), "limits", "[] is not a Limits"),
        (
            document(ports=[PORT | {"por_no": 2}]),
            "ports[0]",
            "unknown key 'por_no'",
        ),
        (
            document(ports=[PORT, {"datapath_id": 1}]),
            "ports[1]",
            "without 'port_no'",
        ),
        (document(ports=[PORT, PORT]), "ports[1]", "the key of an earlier row"),
        (
            document(stations=[STATION | {"claims": [{"ip": "10.0.0.1"}]}]),
            "stations[0].claims[0]",
            "without 'confirmed_at'",
        ),
        (
            document(bindings=[{"vlan": 0, "ip": "10.0.0.256", "lladdr": H1}]),
            "bindings[0].ip",
            "'10.0.0.256' is not an IP address",
        ),
        (
            document(bindings=[{"vlan": 0, "ip": 167772161, "lladdr": H1}]),
            "bindings[0].ip",
            "167772161 is not an IP address",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    given: Any, where: str, problem: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        from_json(given)

    assert (refused.value.where, refused.value.problem) == (where, problem)
    assert refused.value.hint
    assert str(refused.value) == f"{where}: {problem} ({refused.value.hint})"


def test_a_mistyped_key_is_answered_by_its_neighbor() -> None:
    with pytest.raises(DocumentError) as refused:
        from_json(document(ports=[PORT | {"por_no": 2}]))

    assert refused.value.hint == "did you mean 'port_no'?"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("port_no", "2", "'2' is not a whole number"),
        ("port_no", True, "True is not a whole number"),
        ("port_no", 2.0, "2.0 is not a whole number"),
        ("port_no", None, "None is not a whole number"),
        ("port_no", 0, "0 is not within 1 to 4294967294"),
        ("datapath_id", 1 << 64, f"{1 << 64} is not within 0 to {(1 << 64) - 1}"),
        ("up", 1, "1 is not true or false"),
        ("ifname", 7, "7 is not a text"),
        ("lladdr", "02:00", "'02:00' is no link-layer address"),
        ("lladdr", "02:00:00:00:00:AA", "'02:00:00:00:00:AA' is no link-layer address"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(
    field: str, value: object, problem: str
) -> None:
    with pytest.raises(DocumentError) as refused:
        from_json(document(ports=[PORT | {field: value}]))

    assert refused.value.where == f"ports[0].{field}"
    assert refused.value.problem == problem


@pytest.mark.parametrize("time", ["NaN", "Infinity", "-Infinity", "1" + "0" * 400])
def test_a_time_is_a_number_that_exists(time: str) -> None:
    text = json.dumps(document(stations=[STATION])).replace("1.5", time)

    with pytest.raises(DocumentError, match=r"heard_at.*is not a number"):
        from_json(json.loads(text))


def test_a_station_has_an_address_although_a_port_may_lack_one() -> None:
    assert from_json(document(ports=[PORT | {"lladdr": ""}])).ports
    with pytest.raises(DocumentError, match="link-layer address"):
        from_json(document(stations=[STATION | {"lladdr": ""}]))


ANY_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.sampled_from([*to_json(View())]), ANY_JSON)
def test_no_document_does_worse_than_being_refused(name: str, value: Any) -> None:
    """Whatever JSON stands where a table should."""
    try:
        view = from_json(document() | {name: value})
    except DocumentError as error:
        assert error.where
    else:
        assert from_json(to_json(view)) == view
