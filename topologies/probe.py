#!/usr/bin/python3
"""Listen and ask at one interface: a witness that is neither host nor switch.

    probe.py count h1-eth0 10.0.0.1               what passes, and who was asked
    probe.py count tap1 10.0.0.7 --far            the same for the process behind a tap
    probe.py ask h1-eth0 10.0.0.1 02:00:00:00:00:01 10.0.0.7 --every 2

It prints one JSON line when it is ready, and another for every line that it reads; it
ends with its standard input.  Standard library only: it runs in any host.
"""

from __future__ import annotations

import argparse
import errno
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address
from pathlib import Path

if not __package__:  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from topologies.taphost import (
    ARP_REPLY,
    ARP_REQUEST,
    BROADCAST,
    LONGEST_FRAME,
    Arp,
    Me,
    mac_address,
    question,
    read_arp,
)

ETH_P_ALL, ETH_P_ARP = 0x0003, 0x0806  # linux/if_ether.h
PACKET_OUTGOING = 4  # linux/if_packet.h
SOL_PACKET, PACKET_STATISTICS = 263, 6
RECEIVE_BUFFER = 8 << 20  # octets


@dataclass(slots=True)
class Counts:
    """What a station has said and heard.

    sent           frames of any kind
    asked          ARP requests that it broadcast; announcements are not questions
    answered       ARP replies that it heard
    heard          frames of any kind
    questions      broadcast ARP requests it heard that ask for its own address
    polls          unicast ones: whoever sends them knows it already (RFC 1122, 2.3.2.1)
    not_for_it     ARP requests it heard that ask for somebody else's address
    announcements  ARP requests it heard for the address of their own sender
    missed         frames that passed while nobody counted: then nothing above is sure
    """

    sent: int = 0
    asked: int = 0
    answered: int = 0
    heard: int = 0
    questions: int = 0
    polls: int = 0
    not_for_it: int = 0
    announcements: int = 0
    missed: int = 0

    def frame(self, frame: bytes, from_station: bool, ip: IPv4Address) -> None:
        arp = read_arp(frame)
        if from_station:
            self.sent += 1
            self.asked += is_question(arp) and is_broadcast(frame)
            return
        self.heard += 1
        if arp is None:
            return
        if arp.op == ARP_REPLY:
            self.answered += 1
        elif not is_question(arp):
            self.announcements += 1
        elif arp.tpa != ip:
            self.not_for_it += 1
        elif is_broadcast(frame):
            self.questions += 1
        else:
            self.polls += 1


def is_question(arp: Arp | None) -> bool:
    return arp is not None and arp.op == ARP_REQUEST and arp.spa != arp.tpa


def is_broadcast(frame: bytes) -> bool:
    return frame[:6] == BROADCAST


@dataclass(slots=True)
class Answers:
    """How a target's answers come, or no longer come.

    asked         questions so far
    answers       replies so far
    last_answer   when the last one came: seconds on the system's monotonic clock
    last_mac      what it said
    """

    asked: int = 0
    answers: int = 0
    last_answer: float = 0.0
    last_mac: str = ""

    def frame(self, frame: bytes, target: IPv4Address, now: float) -> None:
        arp = read_arp(frame)
        if arp and arp.op == ARP_REPLY and arp.spa == target:
            self.answers += 1
            self.last_answer = now
            self.last_mac = arp.sha.hex(":")


def packet_socket(interface: str, ethertype: int) -> socket.socket:
    listener = socket.socket(
        socket.AF_PACKET,
        socket.SOCK_RAW | socket.SOCK_NONBLOCK,
        socket.htons(ethertype),
    )
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    listener.bind((interface, ethertype))
    return listener


def drain(listener: socket.socket, take: Callable[[bytes, bool], None]) -> None:
    """Every frame that is there; True with it if it left through the interface."""
    while True:
        try:
            frame, address = listener.recvfrom(LONGEST_FRAME)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # told once when the interface goes
                raise
            return
        take(frame, address[2] == PACKET_OUTGOING)


def missed(listener: socket.socket) -> int:
    """Frames the kernel had no room for since the last call (tp_drops, packet(7))."""
    statistics = listener.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
    drops: int = struct.unpack("II", statistics)[1]
    return drops


def say(value: Counts | Answers) -> None:
    print(json.dumps(asdict(value)), flush=True)


def count(interface: str, ip: IPv4Address, far: bool) -> None:
    counts = Counts()

    def take(frame: bytes, outgoing: bool) -> None:
        counts.frame(frame, outgoing != far, ip)

    with packet_socket(interface, ETH_P_ALL) as listener:
        say(counts)
        while True:
            readable, _, _ = select.select([listener, sys.stdin], [], [])
            drain(listener, take)
            if sys.stdin in readable:
                if not sys.stdin.readline():
                    return
                counts.missed += missed(listener)
                say(counts)


def ask(interface: str, me: Me, target: IPv4Address, every: float) -> None:
    answers, frame = Answers(), question(me, target)

    def take(frame: bytes, outgoing: bool) -> None:
        if not outgoing:
            answers.frame(frame, target, time.monotonic())

    with packet_socket(interface, ETH_P_ARP) as line:
        say(answers)
        due = time.monotonic()
        while True:
            left = max(0.0, due - time.monotonic())
            readable, _, _ = select.select([line, sys.stdin], [], [], left)
            drain(line, take)
            if sys.stdin in readable:
                if not sys.stdin.readline():
                    return
                say(answers)
            if time.monotonic() >= due:
                line.send(frame)
                answers.asked += 1
                due += every


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="probe.py", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    counting = verbs.add_parser("count", help="count what passes at an interface")
    asking = verbs.add_parser("ask", help="ask for an address again and again")
    for verb in (counting, asking):
        verb.add_argument("interface")
        verb.add_argument("ip", type=IPv4Address, help="of the station there")
    counting.add_argument(
        "--far", action="store_true", help="the station is behind the interface: a tap"
    )
    asking.add_argument("mac", type=mac_address, help="of the station there")
    asking.add_argument("target", type=IPv4Address)
    asking.add_argument("--every", type=float, default=2.0, help="milliseconds")
    given = parser.parse_args(argv)
    if given.verb == "count":
        count(given.interface, given.ip, given.far)
    else:
        me = Me(given.ip, given.mac)
        ask(given.interface, me, given.target, given.every / 1000)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
