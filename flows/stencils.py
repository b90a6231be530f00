"""Cookies of what is written alike for many, without writing it for each.

Most stations are known in the same way as thousands of others, and so are most
addresses: their flows differ in the names alone.  So a stencil is made of the flows
that the tables write for two who do not exist, and filled in with the names of those
who do.  What the tables would write stays the definition: a stencil of the first that
does not give the flows of the second is none, and where rules or guards look at single
names no stencils are made.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from flows.fields import words
from flows.guard import is_full
from flows.nd import solicited_node
from flows.openflow import PORT_NAMES, Flow
from flows.parties import Holder, Located
from flows.switch import Switch
from flows.view import IPAddress, PortKey

SHAPES_MAX = 1 << 12  # as many are told apart in one compilation; others are written
LEAST = 6  # letters of a name that is looked for: no other word has it in it
WORTH = 4  # to make a stencil costs as much as to write two, and to fill it in

Names = tuple[str, ...]  # all that the flows of one part may call it

LLADDRS = "fe:dc:ba:98:76:54", "ce:5f:71:a3:b6:ed"
PORTS = 0xFEDCB987, 0xDECAFABE
ENDS = 0x6F5E4D3C, 0x71829AB4
ADDRESSES: dict[object, tuple[IPAddress, IPAddress]] = {
    (4, False): (IPv4Address("251.197.233.149"), IPv4Address("247.191.163.211")),
    (6, False): (
        IPv6Address("2a0c:b1d2:e3f4:a5b6:c7d8:e9fa:1b2c:3d4e"),
        IPv6Address("fdbe:c2e3:f4a5:b6c7:d8e9:fab1:2d3c:4e5f"),
    ),
    (6, True): (
        IPv6Address("fea1:b2c3:d4e5:f6a7:b8c9:dafb:1c2d:3e4f"),
        IPv6Address("fe9f:a8b7:c6d5:e4f3:a2b1:c9d8:e7f6:1a2b"),
    ),
}


@dataclass(frozen=True, slots=True)
class Stencil:
    """Lines with holes.

    lines  a format, of all flows of a part
    holes  which names fill it in, in their order
    """

    lines: str
    holes: tuple[int, ...]

    def texts(self, names: Names) -> list[str]:
        filled = self.filled(names)
        return filled.split("\n") if filled else []

    def filled(self, names: Names) -> str:
        return self.lines % tuple([names[hole] for hole in self.holes])


class Stencils:
    """Those of one compilation.

    write  what the tables hold of a station or an address
    """

    def __init__(
        self, switch: Switch, write: Callable[[Located | Holder], Iterable[Flow]]
    ) -> None:
        self._switch, self._write = switch, write
        self._is_plain = is_plain(switch)
        self._met = Counter[Hashable]()
        self._made: dict[Hashable, Stencil | None] = {}

    def texts(self, one: Located | Holder) -> list[str] | None:
        """Of its flows; None if they must be written."""
        shape = self._shape(one) if self._is_plain else None
        if shape is None:
            return None
        if shape not in self._made and not self._makes(shape, one):
            return None
        stencil = self._made[shape]
        return None if stencil is None else stencil.texts(names_of(one))

    def _makes(self, shape: Hashable, one: Located | Holder) -> bool:
        """Not yet for the first few, who may be all."""
        if shape in self._met or len(self._met) < SHAPES_MAX:
            self._met[shape] += 1
        if self._met[shape] < WORTH:
            return False
        self._made[shape] = self._stencil(one)
        return True

    def _shape(self, one: Located | Holder) -> Hashable:
        """All that its flows come from but names; None if more than one may hold it."""
        if isinstance(one, Located):
            if self._switch.is_new_here(one):
                return None
            limit = self._switch.view.limits.addresses_per_station
            return one.domain, self._place(one.port), is_full(one.station, limit)
        if len(one.candidates) != 1:
            return None
        [holds] = one.candidates
        is_leased = holds.leased_until is not None
        known = (holds.origin, holds.vouched, holds.router, is_leased, holds.is_beside)
        place = self._place(holds.port)
        return one.domain, place, kind_of(one.ip), one.answered, known

    def _place(self, port: PortKey) -> Hashable:
        """Elsewhere all ports are alike, and here those of all VLANs."""
        if not self._switch.here(port):
            return port.datapath_id
        return port if self._is_named(port) else None

    def _is_named(self, port: PortKey) -> bool:
        return port.port_no in PORT_NAMES or port in self._switch.network.vlans

    def _stencil(self, one: Located | Holder) -> Stencil | None:
        first, second = (self._stand_in(one, number) for number in (0, 1))
        made = stencil([flow.text for flow in self._write(first)], names_of(first))
        proof = [flow.text for flow in self._write(second)]
        return made if made.texts(names_of(second)) == proof else None

    def _stand_in(self, one: Located | Holder, number: int) -> Located | Holder:
        """Somebody who does not exist, in its place."""
        lladdr = LLADDRS[number]
        if isinstance(one, Located):
            port = self._stand_in_port(one.port, number)
            return replace(one, lladdr=lladdr, port=port)
        [holds] = one.candidates
        port = self._stand_in_port(holds.port, number)
        end = None if holds.leased_until is None else float(ENDS[number])
        holds = replace(holds, lladdr=lladdr, port=port, leased_until=end)
        ip = ADDRESSES[kind_of(one.ip)][number]
        return replace(one, ip=ip, candidates=(holds,))

    def _stand_in_port(self, port: PortKey, number: int) -> PortKey:
        return port if self._is_named(port) else port._replace(port_no=PORTS[number])


def is_plain(switch: Switch) -> bool:
    """Nobody is treated by name."""
    return not switch.network.trust.modes and not switch.rules.rows


def kind_of(ip: IPAddress) -> tuple[int, bool]:
    """A router speaks from its link-local address (RFC 4861, 6.1.2)."""
    return (4, False) if isinstance(ip, IPv4Address) else (6, ip.is_link_local)


def names_of(one: Located | Holder) -> Names:
    if isinstance(one, Located):
        return called(one.port.port_no, one.lladdr)
    [holds] = one.candidates
    return called(holds.port.port_no, holds.lladdr, holds.leased_until, one.ip)


def called(
    port_no: int, lladdr: str, until: float | None = None, ip: IPAddress | None = None
) -> Names:
    """How flows call a station and its port, the end of a lease, and an address."""
    if ip is None:
        return str(port_no), lladdr
    end = "" if until is None else hex(int(until))
    if isinstance(ip, IPv4Address):
        return str(port_no), lladdr, end, str(ip)
    octets = lladdr.replace(":", "")
    numbers = (int(octets[:4], 16), int(octets[4:], 16), *words(int(ip)))
    group = str(solicited_node(ip))
    return str(port_no), lladdr, end, str(ip), group, *map(hex, numbers)


def stencil(texts: Sequence[str], names: Names) -> Stencil:
    """These lines, with holes where they have one of the names."""
    holes = {name: number for number, name in enumerate(names) if len(name) >= LEAST}
    longest_first = sorted(holes, key=len, reverse=True)
    pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", "\n".join(texts))
    lines = "%s".join(piece.replace("%", "%%") for piece in pieces[::2])
    return Stencil(lines, tuple(holes[piece] for piece in pieces[1::2]))
