"""How many pings of others reach the namespace it is started in.

    python tests/support/eavesdrop.py ADDRESS...

Prints "ready"; and when it is told to end (SIGTERM), how many requests and replies came
that are from or to one of these addresses.  The standard library only: it runs as a
program of its own.
"""

from __future__ import annotations

import signal
import socket
import sys
from types import FrameType
from typing import NoReturn

EVERY = 3  # ETH_P_ALL, linux/if_ether.h
OUTGOING = 4  # PACKET_OUTGOING, linux/if_packet.h
IPV4, IPV6 = b"\x08\x00", b"\x86\xdd"
ICMP, ICMPV6 = 1, 58
ECHO, ECHO6 = (0, 8), (128, 129)  # types of reply and request


class Ended(Exception):
    """SIGTERM."""


def end(number: int, frame: FrameType | None) -> NoReturn:
    raise Ended


def parties(frame: bytes) -> set[bytes]:
    """Of a ping; nobody's of anything else."""
    if len(frame) > 54 and frame[12:14] == IPV6 and frame[20] == ICMPV6:
        return {frame[22:38], frame[38:54]} if frame[54] in ECHO6 else set()
    if len(frame) > 34 and frame[12:14] == IPV4 and frame[23] == ICMP:
        return {frame[26:30], frame[30:34]} if frame[34] in ECHO else set()
    return set()


def octets(ip: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip)


def main(*watched: str) -> None:
    others, heard = {octets(ip) for ip in watched}, 0
    signal.signal(signal.SIGTERM, end)
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY))
    listener.bind(("eth0", EVERY))
    print("ready", flush=True)
    try:
        while True:
            frame, place = listener.recvfrom(2048)
            if place[2] != OUTGOING and parties(frame) & others:
                heard += 1
    except Ended:
        print(heard, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
