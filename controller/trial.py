"""The frame by which a port finds out where it leads, and reading what comes in.

An LLDP data unit (IEEE 802.1AB, 8), so that who captures it can read whose it is.  It
is sent to one of two addresses.  A group of our own passes switches of others: who
hears it is in the same segment.  LLDP's own, that of the nearest bridge, is kept back
by every bridge that follows the standard: who hears it is at the other end of a cable.

Ours is told from others by an organizationally specific TLV with a digest that only
this process can make (HMAC-SHA-256, RFC 2104, cut to 16 octets), over all that it says:
which of the two it is, by which port it went out, when, and which in turn it is.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from controller.ethernet import framed, octets
from flows.admit import NEAREST, TRIAL
from flows.forward import CONTROLLER_LLADDR
from flows.openflow import ETH_LLDP
from flows.view import Port, PortKey

CHASSIS_ID, PORT_ID, TTL, ORGANIZATION = 1, 2, 3, 127  # types, IEEE 802.1AB, 8.4
LOCAL = b"\x07"  # chassis and port ids that are locally assigned
OUI = octets("02:69:73")  # no assigned one has this bit
SAID = Struct("!QIQI")  # datapath_id, port_no, milliseconds, serial number
DIGEST = 16  # octets
LIFETIME = 5  # seconds that it tells others; we believe it for less


class Reach(IntEnum):
    """How far a frame gets: the subtype of its TLV."""

    SEGMENT = 1
    CABLE = 2


@dataclass(frozen=True, slots=True)
class Trial:
    """What a frame of ours says.

    sender   the port that it went out by
    sent_at  seconds on the monotonic clock of this process, whole milliseconds
    serial   modulo 2**32: no two of one process say the same
    """

    reach: Reach
    sender: PortKey
    sent_at: float
    serial: int

    def age(self, now: float) -> float:
        """Seconds on its way, at least 0 if it was not sent in the future."""
        milliseconds = int(now * 1000) - round(self.sent_at * 1000)
        return milliseconds / 1000


def write(
    secret: bytes, port: Port, now: float, reach: Reach = Reach.SEGMENT, serial: int = 0
) -> bytes:
    """The frame that goes out by this port.  `now` is in seconds, monotonic."""
    said = SAID.pack(port.datapath_id, port.port_no, int(now * 1000), serial)
    kind = OUI + bytes([reach])
    chassis = f"isat {port.datapath_id:016x}".encode()
    unit = (
        tlv(CHASSIS_ID, LOCAL + chassis)
        + tlv(PORT_ID, LOCAL + str(port.port_no).encode())
        + tlv(TTL, LIFETIME.to_bytes(2, "big"))
        + tlv(ORGANIZATION, kind + said + digest(secret, kind + said))
        + tlv(0, b"")
    )
    to, source = addresses(port, reach)
    return framed(unit, eth_dst=to, eth_src=source, eth_type=ETH_LLDP, vlan=0)


def addresses(port: Port, reach: Reach) -> tuple[str, str]:
    """Destination and source.  What is for the nearest bridge has a source by which
    switches tell it from LLDP of others, which the controller need not see."""
    if reach is Reach.CABLE:
        return NEAREST, CONTROLLER_LLADDR
    is_usable = port.lladdr and any(octets(port.lladdr))
    return TRIAL, port.lladdr if is_usable else CONTROLLER_LLADDR


def read(secret: bytes, unit: bytes) -> Trial | None:
    """What this unit says; None if it is not ours, or not whole."""
    at = 0
    while at + 2 <= len(unit):
        head = int.from_bytes(unit[at : at + 2], "big")
        kind, length = head >> 9, head & 0x1FF
        value = unit[at + 2 : at + 2 + length]
        if kind == 0 or len(value) < length:
            return None
        if kind == ORGANIZATION and value[: len(OUI)] == OUI:
            return said(secret, value)
        at += 2 + length
    return None


def said(secret: bytes, value: bytes) -> Trial | None:
    start = len(OUI) + 1
    end = start + SAID.size
    if not hmac.compare_digest(value[end:], digest(secret, value[:end])):
        return None
    datapath_id, port_no, milliseconds, serial = SAID.unpack(value[start:end])
    reach, sender = Reach(value[start - 1]), PortKey(datapath_id, port_no)
    return Trial(reach, sender, milliseconds / 1000, serial)


def digest(secret: bytes, over: bytes) -> bytes:
    return hmac.digest(secret, over, "sha256")[:DIGEST]


def tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2, "big") + value
