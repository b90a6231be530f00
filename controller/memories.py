"""Flows that a switch holds as what an earlier life of this controller knew.

A binding is believed if this controller would have written exactly its flow, as its
cookie is its digest (docs/decisions/0003).  Most of them differ in names alone.
"""

from __future__ import annotations

from dataclasses import replace

from controller.events import Binding
from controller.liveness import witness
from flows import leases
from flows.openflow import Flow, cookie_of
from flows.pipeline import TABLE_IDS
from flows.stencils import ADDRESSES, ENDS, LLADDRS, PORTS, Stencil, called, kind_of
from flows.stencils import stencil as stencil_of
from flows.view import Claim, Station

Shape = tuple[object, ...]


class Memories:
    """Which bindings are genuine."""

    def __init__(self) -> None:
        self._made: dict[Shape, Stencil | None] = {}

    def is_genuine(self, one: Binding) -> bool:
        if one.leased_until is not None and one.ip is None:
            return False
        shape = shape_of(one)
        if shape not in self._made:
            self._made[shape] = made(one)
        stencil = self._made[shape]
        if stencil is None:
            return flow_of(one).cookie == one.cookie
        return cookie_of(stencil.filled(names_of(one))) == one.cookie


def flow_of(one: Binding) -> Flow:
    """The flow that remembers it."""
    if one.leased_until is not None:
        assert one.ip is not None
        return leases.lease(
            *(TABLE_IDS["leases"], one.in_port, one.vlan, one.lladdr),
            *(one.ip, int(one.leased_until)),
        )
    claims = (Claim(one.ip, 0.0, one.router),) if one.ip else ()
    station = Station(0, one.vlan, one.lladdr, one.in_port, 0.0, claims)
    return witness(station, one.ip)


def shape_of(one: Binding) -> Shape:
    kind = None if one.ip is None else kind_of(one.ip)
    return one.vlan, kind, one.router, one.leased_until is None


def made(one: Binding) -> Stencil | None:
    """Of the flows of bindings like this."""
    first, second = (stand_in(one, number) for number in (0, 1))
    stencil = stencil_of([flow_of(first).text], names_of(first))
    proof = flow_of(second).text
    return stencil if stencil.texts(names_of(second)) == [proof] else None


def stand_in(one: Binding, number: int) -> Binding:
    """A binding like this of somebody who does not exist."""
    return replace(
        one,
        in_port=PORTS[number],
        lladdr=LLADDRS[number],
        ip=None if one.ip is None else ADDRESSES[kind_of(one.ip)][number],
        leased_until=None if one.leased_until is None else float(ENDS[number]),
    )


def names_of(one: Binding) -> tuple[str, ...]:
    return called(one.in_port, one.lladdr, one.leased_until, one.ip)
