"""What flows remember is read the same, however many of them are alike."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.events import Binding
from controller.memories import flow_of
from controller.sources.openflow_memory import Reader, binding
from flows import wire
from flows.openflow import Flow, Match
from flows.pipeline import TABLE_IDS
from tests.controller.test_memories import bindings

GUARD = TABLE_IDS["guard"]


def entry(flow: Flow, match: Match | None = None) -> bytes:
    """As a switch lists it (OFPMP_FLOW); maybe with its fields in another order."""
    rest = wire.match(flow.match if match is None else match)
    length = 48 + len(rest)
    numbers = (length, flow.table, 1, 2, flow.priority, 0, 0, 0, flow.cookie, 3, 4)
    return struct.pack("!HBxIIHHHH4xQQQ", *numbers) + rest


@given(st.lists(bindings, max_size=12), st.randoms(use_true_random=False))
def test_bindings_are_read_as_one_by_one(some: list[Binding], chance: Random) -> None:
    read = Reader()
    for one in some:
        flow = flow_of(replace(one, leased_until=None) if one.ip is None else one)
        fields = [*flow.match]
        chance.shuffle(fields)
        octets = entry(flow, tuple(fields))
        assert read(octets) == binding(wire.installed(octets))


@pytest.mark.parametrize("first", range(3))
def test_matches_of_one_length_are_told_apart(first: int) -> None:
    match: Match = (
        ("in_port", "1"),
        ("reg1", "0x0"),
        ("eth_src", "02:00:00:00:00:01"),
        ("eth_type", "0x806"),
        ("arp_spa", "10.0.0.1"),
    )
    other = tuple(("arp_tpa", v) if n == "arp_spa" else (n, v) for n, v in match)
    third = tuple(
        ("eth_type", "0x800") if n == "eth_type" else (n, v) for n, v in match
    )
    kinds = [match, other, third]
    read = Reader()
    for fields in (kinds[first], *kinds, *(tuple(p) for p in permutations(match))):
        octets = entry(Flow(GUARD, 1, fields, ()))
        assert read(octets) == binding(wire.installed(octets))


def test_what_remembers_nothing_is_none() -> None:
    assert Reader()(entry(Flow(GUARD, 1, (("in_port", "1"),), ()))) is None


def test_a_match_that_is_cut_off_is_malformed() -> None:
    with pytest.raises(wire.Malformed):
        Reader()(entry(Flow(GUARD, 1, (("in_port", "1"),), ()))[:-8])
