"""The frame by which a port finds out whether it leads back to us.

An LLDP data unit (IEEE 802.1AB, 8), so that who captures it can read whose it is, sent
to a group of our own: LLDP's addresses are for one cable, and a loop may pass bridges
that keep them back.  It is told from others by an organizationally specific TLV with a
digest that only this process can make (HMAC-SHA-256, RFC 2104, cut to 16 octets), and
it is worth something for a few seconds: a host that sends it again elsewhere closes no
port but those that it is connected to itself.
"""

from __future__ import annotations

import hmac
from struct import Struct

from controller.ethernet import framed, octets
from flows.admit import TRIAL
from flows.forward import CONTROLLER_LLADDR
from flows.openflow import ETH_LLDP
from flows.view import Port, PortKey

CHASSIS_ID, PORT_ID, TTL, ORGANIZATION = 1, 2, 3, 127  # types, IEEE 802.1AB, 8.4
LOCAL = b"\x07"  # chassis and port ids that are locally assigned
KIND = octets("02:69:73") + b"\x01"  # no assigned OUI has this bit; subtype 1
SAID = Struct("!QIQ")  # datapath_id, port_no, milliseconds
DIGEST = 16  # octets
FRESH = 5.0  # seconds

TARGET = octets(TRIAL)


def write(secret: bytes, port: Port, now: float) -> bytes:
    """The frame that goes out by this port.  `now` is in seconds, monotonic."""
    said = SAID.pack(port.datapath_id, port.port_no, int(now * 1000))
    chassis = f"isat {port.datapath_id:016x}".encode()
    unit = (
        tlv(CHASSIS_ID, LOCAL + chassis)
        + tlv(PORT_ID, LOCAL + str(port.port_no).encode())
        + tlv(TTL, int(FRESH).to_bytes(2, "big"))
        + tlv(ORGANIZATION, KIND + said + digest(secret, said))
        + tlv(0, b"")
    )
    is_usable = port.lladdr and any(octets(port.lladdr))
    source = port.lladdr if is_usable else CONTROLLER_LLADDR
    return framed(unit, eth_dst=TRIAL, eth_src=source, eth_type=ETH_LLDP, vlan=0)


def read(secret: bytes, unit: bytes, now: float) -> PortKey | None:
    """Who has sent this unit; None if we have not, or too long ago."""
    at = 0
    while at + 2 <= len(unit):
        head = int.from_bytes(unit[at : at + 2], "big")
        kind, length = head >> 9, head & 0x1FF
        value = unit[at + 2 : at + 2 + length]
        if kind == 0 or len(value) < length:
            return None
        if kind == ORGANIZATION and value[:4] == KIND:
            return sender(secret, value[4:], now)
        at += 2 + length
    return None


def sender(secret: bytes, value: bytes, now: float) -> PortKey | None:
    said, shown = value[: SAID.size], value[SAID.size :]
    if not hmac.compare_digest(shown, digest(secret, said)):
        return None
    datapath_id, port_no, milliseconds = SAID.unpack(said)
    is_fresh = 0 <= now - milliseconds / 1000 <= FRESH
    return PortKey(datapath_id, port_no) if is_fresh else None


def digest(secret: bytes, said: bytes) -> bytes:
    return hmac.digest(secret, said, "sha256")[:DIGEST]


def tlv(kind: int, value: bytes) -> bytes:
    return (kind << 9 | len(value)).to_bytes(2, "big") + value
