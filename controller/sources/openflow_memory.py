"""A switch's flows as what an earlier life of this controller knew.

Which flows these are, see docs/decisions/0003; whether they are genuine is for the
core.  Thousands of them have the same fields at the same places: so where the values of
one stand, those of the next stand, too, if all between them is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from controller.events import Binding
from flows import leases, nd_known, wire
from flows.pipeline import TABLE_IDS
from flows.view import IPAddress

MEMORIES = {TABLE_IDS[name] for name in ("source", "guard", "nd_known", "leases")}
NEEDED = {"in_port", "reg1", "eth_src"}
SIMPLE = {*NEEDED, "eth_type", "arp_spa", "arp_sha"}
CONSTANT = {"eth_type"}
LAYOUTS_MAX = 64  # there are as many as there are kinds of such flows


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the values of a match stand, in octets from its beginning.

    mask   of the bits that all of this layout have in common, as one number
    common these bits
    """

    mask: int
    common: int
    in_port: slice
    vlan: slice
    lladdr: slice
    ip: slice | None

    def read(self, cookie: int, octets: bytes) -> Binding | None:
        """None if the match is of another layout."""
        if int.from_bytes(octets) & self.mask != self.common:
            return None
        ip = self.ip and IPv4Address(int.from_bytes(octets[self.ip]))
        return Binding(
            cookie,
            int.from_bytes(octets[self.in_port]),
            int.from_bytes(octets[self.vlan]),
            octets[self.lladdr].hex(":"),
            ip,
        )


class Reader:
    """Reads flow entries of one list."""

    def __init__(self) -> None:
        self._layouts: dict[tuple[int, int], Layout] = {}

    def __call__(self, entry: bytes) -> Binding | None:
        """None if it remembers nothing.  Raises `wire.Malformed`."""
        table, cookie, octets = wire.entry_match(entry)
        layout = self._layouts.get((table, len(octets)))
        found = layout.read(cookie, octets) if layout else None
        return found or self._read(entry, octets)

    def _read(self, entry: bytes, octets: bytes) -> Binding | None:
        """One of a layout that is not known."""
        told = wire.installed(entry)
        if not is_memory(told):
            return None
        layout = layout_of(octets)
        if layout is not None and len(self._layouts) < LAYOUTS_MAX:
            self._layouts[told.table, len(octets)] = layout
        return binding(told)


def layout_of(octets: bytes) -> Layout | None:
    """None if there is more in it than numbers can tell."""
    at, places = 0, dict[str, slice]()
    mask = bytearray(b"\xff" * len(octets))
    for tlv in wire.tlvs(octets):
        name, text = wire.read_tlv(tlv)
        if name not in SIMPLE or "/" in text:
            return None
        value = slice(at + wire.TLV.size, at + len(tlv))
        if name not in CONSTANT:
            mask[value] = bytes(value.stop - value.start)
        places[name] = value
        at += len(tlv)
    bits = int.from_bytes(mask)
    common = int.from_bytes(octets) & bits
    in_port, vlan, lladdr = (places[name] for name in ("in_port", "reg1", "eth_src"))
    return Layout(bits, common, in_port, vlan, lladdr, places.get("arp_spa"))


def is_memory(entry: wire.Installed) -> bool:
    fields = dict(entry.match)
    return entry.table in MEMORIES and fields.keys() >= NEEDED


def binding(entry: wire.Installed) -> Binding:
    fields: dict[str, str] = dict(entry.match)
    return Binding(
        entry.cookie,
        int(fields["in_port"], 0),
        int(fields["reg1"], 0),
        fields["eth_src"],
        address(fields),
        nd_known.router_in(fields),
        leases.end_in(fields),
    )


def address(fields: dict[str, str]) -> IPAddress | None:
    """The protocol address that a guard flow matches."""
    if "arp_spa" in fields:
        return IPv4Address(fields["arp_spa"])
    return nd_known.ip_in(fields)
