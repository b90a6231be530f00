"""Ask for one address, again and again, and tell how long each answer took.

    python -m tests.bench.patience eth0 10.0.0.1 02:00:00:00:00:01 10.0.0.2 2.0

For so many seconds.  The output is a JSON array of milliseconds, from before the
question is sent until the kernel has the answer (SO_TIMESTAMPNS); null where none came.

Who asks stands for a machine of its own, so it has a processor when it wants one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from ipaddress import IPv4Address

from tests.bench.asker import SO_TIMESTAMPNS, arrived
from topologies.probe import ETH_P_ARP, PACKET_OUTGOING, packet_socket
from topologies.taphost import ARP_REPLY, Me, mac_address, question, read_arp

EVERY = 0.01  # seconds
GIVE_UP = 0.5  # seconds


def ask(line: socket.socket, me: Me, target: IPv4Address) -> float | None:
    began = time.monotonic()
    line.send(question(me, target))
    while time.monotonic() < began + GIVE_UP:
        try:
            frame, ancillary, _, sender = line.recvmsg(256, 64)
        except TimeoutError:
            return None
        arp = read_arp(frame)
        is_mine = arp and arp.op == ARP_REPLY and arp.spa == target
        if is_mine and sender[2] != PACKET_OUTGOING:
            return (arrived(ancillary) - began) * 1e3
    return None


def main(interface: str, ip: str, mac: str, target: str, seconds: str) -> None:
    me, end = Me(IPv4Address(ip), mac_address(mac)), time.monotonic() + float(seconds)
    found = []
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    with packet_socket(interface, ETH_P_ARP) as line:
        line.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        line.settimeout(GIVE_UP)
        while time.monotonic() < end:
            found.append(ask(line, me, IPv4Address(target)))
            time.sleep(EVERY)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
