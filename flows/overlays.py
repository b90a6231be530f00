"""Segments that switches have in common, through tunnels that flows tell where to lead.

    s1:vx0 --- blue, VNI 5000 --- s3:vx0
                    |
                  s2:vx0

Each switch has one tunnel port into a segment, and each frame bears the address of the
end that it is for.  So a segment is a switch that nobody controls and that sends on to
everybody: for broadcasts it is a node of the graph, with a cable to each end.  A frame
for one host goes to the end that is on its way, as if there were a cable to each.

The device of an end may also be one of the kernel: then it is not flows that say where
a frame goes, but the device's own table, which is kept as flows would say it
(`flows.beyond`).  To the other ends this makes no difference.

A frame is never sent into a segment by who has got it from there (OpenFlow 1.3, 5.12):
whoever sends a broadcast into it sends it to all.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from flows.chains import TUNNELS
from flows.tracked import Tracked
from flows.view import (
    OWN_NAMESPACE,
    Interface,
    Link,
    LinkKey,
    Overlay,
    OverlayEnd,
    Port,
    PortKey,
)

FIRST = 1 << 64  # what stands for a segment's datapath_id: switches have lesser ones

Ports = Tracked[PortKey, Port]
Interfaces = Tracked[PortKey, Interface]
Links = Tracked[LinkKey, Link]


@dataclass(frozen=True, slots=True)
class Segment:
    """What is there of an overlay.

    number  in place of a datapath_id
    ends    underlay addresses, by the ports of switches that are connected
    live    those of them that frames pass
    absent  ends of which no connected switch has the port
    unfit   those that flows cannot tell where to lead
    led     ends that are VXLAN devices of this host's kernel, with their names
    """

    number: int
    name: str
    vni: int
    ends: Mapping[PortKey, str]
    live: frozenset[PortKey]
    absent: tuple[OverlayEnd, ...] = ()
    unfit: tuple[OverlayEnd, ...] = ()
    led: Mapping[PortKey, str] = field(default_factory=dict)

    @property
    def switches(self) -> frozenset[int]:
        """Datapath_ids of those that are connected."""
        return frozenset(end.datapath_id for end in self.ends)

    def others(self, here: PortKey) -> Iterator[tuple[PortKey, str]]:
        """The ends beside this one, with their addresses."""
        return ((end, to) for end, to in self.ends.items() if end != here)

    def beyond(
        self, port: PortKey, packet: Mapping[str, str]
    ) -> Iterator[tuple[PortKey, Mapping[str, str]]]:
        """Where a packet comes in that one end has sent, and as what; from a device
        of the kernel it may be everywhere."""
        inner = {name: v for name, v in packet.items() if name not in TUN_DST}
        to = next((packet[name] for name in TUN_DST if name in packet), "")
        sender = {tun_src(self.ends[port]): self.ends[port]}
        for end, address in self.others(port):
            if address == to or port in self.led:
                outer = {} if end in self.led else sender
                yield end, {**inner, **outer, "in_port": str(end.port_no)}


Segments = Mapping[int, Segment]

TUN_DST = ("tun_ipv4_dst", "tun_ipv6_dst")


def tun_src(address: str) -> str:
    return "tun_ipv6_src" if ":" in address else "tun_ipv4_src"


def is_segment(datapath_id: int) -> bool:
    return datapath_id >= FIRST


def segments(
    ports: Ports,
    interfaces: Interfaces,
    links: Links,
    overlays: tuple[Overlay, ...],
    dead: Container[PortKey] = (),
) -> Segments:
    """A port is in one of them, and a switch and an address are once in each.

    dead  ports that no frame passes
    """
    if not overlays:
        return {}
    named = {(port.datapath_id, port.ifname): key for key, port in ports.items()}
    taken: set[PortKey] = set()
    found: dict[int, Segment] = {}
    for number, overlay in enumerate(overlays, FIRST):
        ends: dict[PortKey, str] = {}
        led: dict[PortKey, str] = {}
        absent: list[OverlayEnd] = []
        unfit: list[OverlayEnd] = []
        seen: set[object] = set()
        for end in overlay.ends:
            key = named.get((end.datapath_id, end.port))
            if key is None:
                absent.append(end)
                continue
            row = interfaces.get(key)
            by_kernel = row is not None and is_led(row, links, overlay, end)
            is_again = {key, end.datapath_id, end.address} & (seen | taken)
            if is_again or not (by_kernel or leads_anywhere(row)):
                unfit.append(end)
                continue
            seen |= {end.datapath_id, end.address}
            ends[key] = str(end.address)
            if by_kernel:
                led[key] = end.port
        taken |= ends.keys()
        live = frozenset(key for key in ends if key not in dead)
        missing = tuple(absent), tuple(unfit)
        found[number] = Segment(
            *(number, overlay.name, overlay.vni, ends, live), *missing, led
        )
    return found


def leads_anywhere(row: Interface | None) -> bool:
    """Flows may say where it leads, as far as OVSDB tells of it."""
    if row is None:
        return True
    is_free = row.tunnel.remote == row.tunnel.key == "flow"
    return row.type in TUNNELS and is_free


def is_led(row: Interface, links: Links, overlay: Overlay, end: OverlayEnd) -> bool:
    """It is a VXLAN device of the kernel, made for this end and for no other far end:
    `ip link add NAME type vxlan id VNI local ADDRESS dstport PORT nolearning`."""
    link = links.get(LinkKey(OWN_NAMESPACE, row.ifindex))
    if link is None or link.kind != "vxlan":
        return False
    made_for = link.tunnel.key, link.tunnel.local, link.tunnel.remote
    return made_for == (str(overlay.vni), str(end.address), "")
