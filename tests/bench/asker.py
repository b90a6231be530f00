"""Ask for an address every millisecond, and write down each question and each answer.

    python -m tests.bench.asker eth0 10.0.0.1 02:00:00:00:00:01

A line of input is the address to ask for from now on; an empty one is silence.  Each
line of output is "asked" or "answered", seconds on CLOCK_MONOTONIC, and the address.
An answer's time is that of the kernel, when the frame arrived (SO_TIMESTAMPNS).
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time
from ipaddress import IPv4Address

from topologies.probe import ETH_P_ARP, PACKET_OUTGOING, packet_socket
from topologies.taphost import ARP_REPLY, Me, mac_address, question, read_arp

ORDERS = 0  # standard input
EVERY = 0.001  # seconds
SO_TIMESTAMPNS = 35  # asm-generic/socket.h; also the type of its message
TIMESPEC = struct.Struct("@ll")


def arrived(ancillary: list[tuple[int, int, bytes]]) -> float:
    """On CLOCK_MONOTONIC; the kernel tells it on CLOCK_REALTIME."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = TIMESPEC.unpack(data)
            arrival: float = seconds + nanoseconds / 1e9
            return time.monotonic() - (time.time() - arrival)
    return time.monotonic()


def hear(line: socket.socket) -> None:
    """Every frame that waits there."""
    while True:
        try:
            frame, ancillary, _, sender = line.recvmsg(256, 64)
        except BlockingIOError:
            return
        arp = read_arp(frame)
        if arp and arp.op == ARP_REPLY and sender[2] != PACKET_OUTGOING:
            say("answered", arrived(ancillary), str(arp.spa))


def say(what: str, at: float, ip: str) -> None:
    print(what, f"{at:.6f}", ip, flush=True)


def ask(interface: str, me: Me) -> None:
    target, due = "", time.monotonic()
    with packet_socket(interface, ETH_P_ARP) as line:
        line.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        while True:
            wait = max(0.0, due - time.monotonic()) if target else None
            readable = select.select([line.fileno(), ORDERS], [], [], wait)[0]
            hear(line)
            if ORDERS in readable:
                orders = os.read(ORDERS, 4096).decode().splitlines()
                if not orders:
                    return
                target, due = orders[-1], time.monotonic()
            if target and time.monotonic() >= due:
                say("asked", time.monotonic(), target)
                line.send(question(me, IPv4Address(target)))
                due = max(due + EVERY, time.monotonic())


if __name__ == "__main__":
    ask(sys.argv[1], Me(IPv4Address(sys.argv[2]), mac_address(sys.argv[3])))
