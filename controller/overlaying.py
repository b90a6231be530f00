"""Overlays, as the configuration says them: tunnels that flows tell where to lead."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from controller.schema import Clash, Node, Scalar, Wrong
from flows.view import IPAddress, Overlay, OverlayEnd

ENDS_MAX = 64  # of one overlay: a broadcast is copied to each where it comes in
COPIES_MAX = 256  # of one broadcast, that one switch sends to ends of all its overlays
VNI_MAX = (1 << 24) - 1  # RFC 7348, 5
DIGITS = 16  # of a datapath_id, as `ovs-vsctl` prints it


def datapath_id(node: Node) -> int:
    """Always all digits: 10 would be ten to one and sixteen to another."""
    text = node.text.lower()
    if not re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", text):
        short = re.fullmatch("(0x)?([0-9a-f]{1,16})", text)
        whole = f", like {short[2].zfill(DIGITS)}" if short else ""
        raise Wrong(
            f"{node.text!r} is no datapath_id",
            f"write all {DIGITS} hexadecimal digits{whole}, as `ovs-vsctl get bridge"
            " BRIDGE datapath_id` prints them",
        )
    return int(text, 16)


DATAPATH_ID = Scalar(
    f"a datapath_id of {DIGITS} hexadecimal digits",
    datapath_id,
    {"type": ["string", "integer"]},
)


def end(datapath_id: int, port: str, address: IPAddress) -> OverlayEnd:
    return OverlayEnd(datapath_id, port, address)


def overlay(name: str, vni: int, ends: tuple[OverlayEnd, ...]) -> Overlay:
    if len(ends) < 2:
        told = "no end" if not ends else "one end"
        hint = "name at least two, each with datapath_id, port and address"
        raise Wrong(f"an overlay with {told}", hint)
    return Overlay(name, vni, ends)


# --- what no two may share ------------------------------------------------------------


def switch_of(value: object) -> object:
    assert isinstance(value, OverlayEnd)
    return value.datapath_id


def switch_in_words(value: object) -> str:
    assert isinstance(value, OverlayEnd)
    return f"an end of the switch {value.datapath_id:016x}"


def clashes_of_ends(ends: tuple[OverlayEnd, ...]) -> Iterator[Clash]:
    if len(ends) > ENDS_MAX:
        hint = f"at most {ENDS_MAX} are taken: a broadcast is sent to each of them"
        yield Clash(ENDS_MAX, f"{len(ends)} ends", hint)
    seen: set[IPAddress] = set()
    for position, one in enumerate(ends):
        if one.address in seen:
            hint = "each end has its own: write the options:local_ip of its tunnel port"
            yield Clash(position, f"the address {one.address} again", hint)
        elif one.address.version != ends[0].address.version:
            yield Clash(
                position,
                f"{one.address} is of another version of IP than {ends[0].address}",
                "all ends must reach each other: write addresses of one version",
            )
        seen.add(one.address)


def name_of(value: object) -> object:
    assert isinstance(value, Overlay)
    return value.name


def in_words(value: object) -> str:
    assert isinstance(value, Overlay)
    return f"the overlay {value.name}"


def clashes(overlays: tuple[Overlay, ...]) -> Iterator[Clash]:
    """Of two that clash, the later one is told of."""
    copies = Counter[int]()
    vnis: dict[int, str] = {}
    ports: dict[tuple[int, str], str] = {}
    versions: dict[int, int] = {}
    for position, one in enumerate(overlays):
        if one.vni in vnis:
            hint = "frames of the two could not be told apart: write another number"
            other = vnis[one.vni]
            yield Clash(position, f"{other} has the VNI {one.vni} already", hint)
        vnis.setdefault(one.vni, one.name)
        for at in one.ends:
            copies[at.datapath_id] += len(one.ends) - 1
            if copies[at.datapath_id] > COPIES_MAX:
                yield Clash(
                    position,
                    f"the switch {at.datapath_id:016x} has more than {COPIES_MAX} other"
                    " ends in all its overlays",
                    "a broadcast is copied to each of them: leave it out of this one",
                )
                return
            key = at.datapath_id, at.port
            if key in ports:
                yield Clash(
                    position,
                    f"the port {at.port} of {at.datapath_id:016x} is an end of"
                    f" {ports[key]} already",
                    "a port is in one overlay: add another tunnel port to that switch",
                )
            ports.setdefault(key, one.name)
            if versions.setdefault(at.datapath_id, at.address.version) != (
                at.address.version
            ):
                yield Clash(
                    position,
                    f"the switch {at.datapath_id:016x} has ends of IPv4 and of IPv6",
                    "give it addresses of one version in all its overlays",
                )
