#!/usr/bin/python3
"""A host that is a process behind /dev/net/tun: it answers ARP and ICMP echo.

    taphost.py tap0 10.0.0.7 02:00:00:00:00:07    be that host, until SIGTERM
    taphost.py tap0 ping 10.0.0.1                 let the host behind tap0 ping

The kernel's end of a tap is an interface like any other, which a switch can hold; what
the switch sends there this process reads, and what the process writes the switch gets.
Such is the network card of a virtual machine.

The host speaks IPv4 over Ethernet and no more: whatever is not ARP for it, or ICMP echo
to it, is ignored.  It announces its address (RFC 5227, 2.3) when its carrier comes up
and again when a switch takes its interface, since nobody heard it before.  It keeps no
ARP cache: each ping begins with a question.

Standard library only: it runs beside Mininet, under the system's Python.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

BROADCAST = b"\xff" * 6
NOBODY = bytes(6)
ETH_P_IP = 0x0800  # linux/if_ether.h
ETH_P_ARP = 0x0806
ARP_REQUEST, ARP_REPLY = 1, 2  # ar$op, RFC 826
ECHO_REPLY, ECHO_REQUEST = 0, 8  # ICMP types, RFC 792
IPPROTO_ICMP = 1
FRAGMENT = 0x3FFF  # more fragments, or an offset: RFC 791, 3.1
TTL = 64  # RFC 1340

ANNOUNCE_NUM = 2  # RFC 5227, 1.1
ANNOUNCE_INTERVAL = 2.0  # seconds

LONGEST_FRAME = 65536  # octets; a tap gives one frame per read
LONGEST_REQUEST = 256  # octets that a client may send
MOST_PINGS = 8  # clients that may wait at a time
MOST_ECHOES = 1000  # that one client may ask for
START_LIMIT = 2.0  # seconds that whoever asks waits for the host to begin
PAYLOAD = bytes(range(56))  # as much as ping(8) sends

TUNSETIFF = 0x400454CA  # linux/if_tun.h
TUNSETPERSIST = 0x400454CB
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914  # linux/sockios.h
IFF_UP, IFF_RUNNING, IFF_PROMISC = 0x1, 0x40, 0x100  # linux/if.h
RTMGRP_LINK = 1  # linux/rtnetlink.h
UCRED = "3i"  # pid, uid, gid: struct ucred, unix(7)

# --- packets --------------------------------------------------------------------


class Me(NamedTuple):
    """Who the host is: protocol address and link-layer address (six octets)."""

    ip: IPv4Address
    mac: bytes


class Arp(NamedTuple):
    """An ARP packet for IPv4 over Ethernet; fields as in RFC 826."""

    op: int
    sha: bytes
    spa: IPv4Address
    tha: bytes
    tpa: IPv4Address


class Echo(NamedTuple):
    """ICMP echo or echo reply (RFC 792) and the addresses it came with.

    rest  identifier, sequence number and data: whatever follows the checksum
    """

    type: int
    eth_src: bytes
    src: IPv4Address
    rest: bytes


def checksum(data: bytes) -> int:
    """RFC 1071; 0 over data that contains its own right checksum."""
    words = struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2))
    total: int = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(dst: bytes, src: bytes, ethertype: int, payload: bytes) -> bytes:
    return dst + src + struct.pack("!H", ethertype) + payload


def arp_frame(dst: bytes, arp: Arp) -> bytes:
    fixed = struct.pack("!HHBBH", 1, ETH_P_IP, 6, 4, arp.op)
    addresses = arp.sha + arp.spa.packed + arp.tha + arp.tpa.packed
    return ethernet(dst, arp.sha, ETH_P_ARP, fixed + addresses)


def read_arp(frame: bytes) -> Arp | None:
    """The ARP packet in an untagged frame; None if it is not one, or not sound."""
    if len(frame) < 42 or frame[12:20] != b"\x08\x06\x00\x01\x08\x00\x06\x04":
        return None
    op, sha, spa, tha, tpa = struct.unpack_from("!H6s4s6s4s", frame, 20)
    if sha[0] & 1 or sha == NOBODY:
        return None
    return Arp(op, sha, IPv4Address(spa), tha, IPv4Address(tpa))


def announcement(me: Me) -> bytes:
    """Sender and target are the address that is announced (RFC 5227, 1.1)."""
    return arp_frame(BROADCAST, Arp(ARP_REQUEST, me.mac, me.ip, NOBODY, me.ip))


def question(me: Me, target: IPv4Address) -> bytes:
    return arp_frame(BROADCAST, Arp(ARP_REQUEST, me.mac, me.ip, NOBODY, target))


def arp_answer(me: Me, frame: bytes) -> bytes | None:
    """What the owner of an address replies (RFC 826; to a probe: RFC 5227, 2.6)."""
    arp = read_arp(frame)
    if arp is None or arp.op != ARP_REQUEST or arp.tpa != me.ip or arp.spa == me.ip:
        return None
    return arp_frame(arp.sha, Arp(ARP_REPLY, me.mac, me.ip, arp.sha, arp.spa))


def icmp_frame(
    me: Me, dst_mac: bytes, dst: IPv4Address, kind: int, rest: bytes
) -> bytes:
    sum_of_message = checksum(struct.pack("!BBH", kind, 0, 0) + rest)
    message = struct.pack("!BBH", kind, 0, sum_of_message) + rest
    return ethernet(dst_mac, me.mac, ETH_P_IP, ip_header(me.ip, dst, message) + message)


def ip_header(src: IPv4Address, dst: IPv4Address, payload: bytes) -> bytes:
    length = 20 + len(payload)
    start = struct.pack("!BBHHHBB", 0x45, 0, length, 0, 0, TTL, IPPROTO_ICMP)
    addresses = src.packed + dst.packed
    return start + struct.pack("!H", checksum(start + addresses)) + addresses


def read_echo(me: Me, frame: bytes) -> Echo | None:
    """The ICMP echo in a frame to this host; None if it is not one, or not sound."""
    if frame[:6] != me.mac or frame[12:14] != b"\x08\x00":
        return None
    packet = _ip_packet(frame[14:])
    header = (packet[0] & 0xF) * 4 if packet else 0
    message = packet[header:]
    if len(message) < 8 or checksum(message) or IPv4Address(packet[16:20]) != me.ip:
        return None
    if packet[9] != IPPROTO_ICMP or message[0] not in (ECHO_REQUEST, ECHO_REPLY):
        return None
    return Echo(message[0], frame[6:12], IPv4Address(packet[12:16]), message[4:])


def _ip_packet(data: bytes) -> bytes:
    """The packet without Ethernet's padding; empty if broken, or a fragment."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return b""
    header, (length,) = (data[0] & 0xF) * 4, struct.unpack_from("!H", data, 2)
    (fragment,) = struct.unpack_from("!H", data, 6)
    whole = 20 <= header <= length <= len(data) and not fragment & FRAGMENT
    return data[:length] if whole and not checksum(data[:header]) else b""


def echo_answer(me: Me, frame: bytes) -> bytes | None:
    """The sender's own data back to the sender (RFC 792; RFC 1122, 3.2.2.6)."""
    echo = read_echo(me, frame)
    if echo is None or echo.type != ECHO_REQUEST or echo.src.is_multicast:
        return None
    return icmp_frame(me, echo.eth_src, echo.src, ECHO_REPLY, echo.rest)


# --- the host, without a socket or a clock --------------------------------------


class Result(NamedTuple):
    """What became of one echo.

    milliseconds  until its reply; None if there was none in time
    """

    sequence: int
    milliseconds: float | None


@dataclass(slots=True)
class Ping:
    """Echo requests to one target, one at a time; the first asks for its address too.

    wait      seconds until an echo counts as lost
    interval  seconds between two echoes
    told      called with each result, and with None at the end; false: nobody listens
    """

    target: IPv4Address
    count: int
    wait: float
    interval: float
    identifier: int
    told: Callable[[Result | None], bool]
    lladdr: bytes = b""
    sequence: int = 0
    sent_at: float = 0.0
    waiting: bool = False
    next_at: float = 0.0

    @property
    def over(self) -> bool:
        return not self.waiting and self.sequence >= self.count

    def due(self, me: Me, now: float) -> Iterator[bytes]:
        if self.waiting and now >= self.sent_at + self.wait:
            self.result(None, now)
        if not self.waiting and not self.over and now >= self.next_at:
            self.sequence += 1
            self.waiting, self.sent_at = True, now
            yield self.echo(me) if self.lladdr else question(me, self.target)

    def echo(self, me: Me) -> bytes:
        rest = struct.pack("!HH", self.identifier, self.sequence & 0xFFFF) + PAYLOAD
        return icmp_frame(me, self.lladdr, self.target, ECHO_REQUEST, rest)

    def result(self, milliseconds: float | None, now: float) -> None:
        self.waiting = False
        self.next_at = max(now, self.sent_at + self.interval)
        if not self.told(Result(self.sequence, milliseconds)):
            self.count = 0

    def heard(self, me: Me, frame: bytes, now: float) -> Iterator[bytes]:
        arp = read_arp(frame)
        if arp and self.waiting and not self.lladdr and arp.spa == self.target:
            self.lladdr = arp.sha
            yield self.echo(me)
        echo = read_echo(me, frame)
        if self.waiting and echo and self.is_mine(echo):
            self.result((now - self.sent_at) * 1000, now)

    def is_mine(self, echo: Echo) -> bool:
        wanted = struct.pack("!HH", self.identifier, self.sequence & 0xFFFF)
        come = (echo.type, echo.src, echo.rest[:4])
        return come == (ECHO_REPLY, self.target, wanted)

    @property
    def deadline(self) -> float:
        return self.sent_at + self.wait if self.waiting else self.next_at


@dataclass(slots=True)
class TapHost:
    """What the host says, given what it hears and when.

    ready          carrier is up; a switch has taken the interface
    announcements  seconds on the caller's clock at which one is due
    """

    me: Me
    ready: tuple[bool, bool] = (False, False)
    announcements: list[float] = field(default_factory=list)
    pings: list[Ping] = field(default_factory=list)

    def link(self, carrier: bool, taken: bool, now: float) -> None:
        """Announce when there is carrier, and again when somebody new can hear it."""
        was, self.ready = self.ready, (carrier, taken)
        if not carrier:
            self.announcements = []
        elif not was[0] or taken > was[1]:
            self.announcements = [
                now + number * ANNOUNCE_INTERVAL for number in range(ANNOUNCE_NUM)
            ]

    def receive(self, frame: bytes, now: float) -> Iterator[bytes]:
        if frame[:6] not in (self.me.mac, BROADCAST):
            return
        if answer := arp_answer(self.me, frame) or echo_answer(self.me, frame):
            yield answer
        for ping in self.pings:
            yield from ping.heard(self.me, frame, now)

    def due(self, now: float) -> Iterator[bytes]:
        while self.announcements and now >= self.announcements[0]:
            self.announcements.pop(0)
            yield announcement(self.me)
        for ping in self.pings:
            yield from ping.due(self.me, now)
        for ping in [ping for ping in self.pings if ping.over]:
            self.pings.remove(ping)
            ping.told(None)

    def deadline(self) -> float | None:
        times = self.announcements[:1] + [ping.deadline for ping in self.pings]
        return min(times, default=None)


# --- the kernel's side ----------------------------------------------------------


class TapError(Exception):
    """What went wrong and what to type, in one line."""


def open_tap(name: str, persist: bool) -> int:
    """Hold the tap open, made if it is not there; it goes when the process does."""
    try:
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(tap, TUNSETIFF, _ifreq(name, IFF_TAP | IFF_NO_PI))
        if persist:
            fcntl.ioctl(tap, TUNSETPERSIST, 1)
        _bring_up(name)
    except OSError as error:
        raise TapError(_why_no_tap(name, error)) from error
    return tap


def _ifreq(name: str, flags: int) -> bytes:
    return struct.pack("16sH14x", os.fsencode(name), flags)


def _why_no_tap(name: str, error: OSError) -> str:
    hints = {
        errno.EPERM: "only root may hold a tap: run it as root",
        errno.EACCES: "only root may hold a tap: run it as root",
        errno.EBUSY: f"another process holds it; which one: grep -l {name} "
        "/proc/[0-9]*/fdinfo/*",
        errno.ENOENT: "this kernel has no tun module: modprobe tun",
        errno.EINVAL: f"an interface of this name is not a tap: ip -d link show {name}",
    }
    hint = hints.get(error.errno or 0, "see ip -d link show")
    return f"cannot hold {name}: {error.strerror}: {hint}"


def _bring_up(name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = _flags(any_socket, name)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, _ifreq(name, flags | IFF_UP))


def _flags(any_socket: socket.socket, name: str) -> int:
    answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, _ifreq(name, 0))
    flags: int = struct.unpack_from("16sH", answer)[1]
    return flags


class LinkWatch:
    """Whether the interface has carrier and whether a switch has taken it.

    A datapath in the kernel enslaves its interfaces; one in userspace sets them
    promiscuous.  rtnetlink tells that something changed, the interface tells what.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.events = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK
        )
        self.events.bind((0, RTMGRP_LINK))

    def state(self) -> tuple[bool, bool]:
        self._drain()
        try:
            flags = _flags(self.events, self.name)
        except OSError as error:
            raise TapError(f"{self.name} was deleted: {error.strerror}") from error
        taken = (
            flags & IFF_PROMISC or Path(f"/sys/class/net/{self.name}/master").exists()
        )
        return bool(flags & IFF_RUNNING), bool(taken)

    def _drain(self) -> None:
        """What the messages say does not matter, nor how many were lost (ENOBUFS)."""
        while True:
            try:
                self.events.recv(LONGEST_FRAME)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


# --- its clients: others who want the host to ping -------------------------------


def control_address(name: str) -> bytes:
    """An abstract socket (unix(7)): no file to leave behind, one per namespace."""
    return b"\0isat-taphost/" + os.fsencode(name)


class Control:
    """One request is one datagram, and so is every answer; only the owner may ask."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(control_address(name))
        self.socket.setblocking(False)
        self.requests = 0

    def receive(self, host: TapHost, now: float) -> None:
        space = socket.CMSG_SPACE(struct.calcsize(UCRED))
        request, ancillary, _, client = self.socket.recvmsg(LONGEST_REQUEST, space)
        try:
            _allowed(ancillary)
            if len(host.pings) >= MOST_PINGS:
                raise ValueError(f"{MOST_PINGS} pings are under way already")
            self.requests += 1
            ping = _requested(request, self.requests & 0xFFFF, self.teller(client), now)
        except (ValueError, KeyError, TypeError) as error:
            self.tell(client, {"problem": str(error)})
            return
        host.pings.append(ping)

    def teller(self, client: bytes) -> Callable[[Result | None], bool]:
        def told(result: Result | None) -> bool:
            return self.tell(client, result._asdict() if result else {"over": True})

        return told

    def tell(self, client: bytes, answer: dict[str, Any]) -> bool:
        """False if the client has gone away, or does not read."""
        try:
            self.socket.sendto(json.dumps(answer).encode(), client)
        except OSError:
            return False
        return True


def _allowed(ancillary: list[tuple[int, int, bytes]]) -> None:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            _, uid, _ = struct.unpack(UCRED, data)
            if uid in (0, os.geteuid()):
                return
    raise ValueError("only root and the owner of the process may ask it")


def _requested(
    request: bytes,
    identifier: int,
    told: Callable[[Result | None], bool],
    now: float,
) -> Ping:
    given = json.loads(request)
    return Ping(
        target=IPv4Address(given["target"]),
        count=min(int(given["count"]), MOST_ECHOES),
        wait=float(given["wait"]),
        interval=float(given["interval"]),
        identifier=identifier,
        told=told,
        next_at=now,
    )


# --- the process ----------------------------------------------------------------


def run(name: str, me: Me, persist: bool, until_eof: bool) -> None:
    """Be the host until SIGTERM, SIGINT or SIGHUP; with until_eof, or stdin's end."""
    watch, tap, host = LinkWatch(name), open_tap(name, persist), TapHost(me)
    control = Control(name)
    events, requests = watch.events.fileno(), control.socket.fileno()
    stdin = [sys.stdin.fileno()] if until_eof else []
    host.link(*watch.state(), time.monotonic())
    print(f"{me.ip} is-at {me.mac.hex(':')} behind {name}", flush=True)
    while True:
        write(tap, host.due(time.monotonic()))
        readable = wait([tap, events, requests, *stdin], host.deadline())
        if tap in readable:
            write(tap, answers(host, tap))
        if events in readable:
            host.link(*watch.state(), time.monotonic())
        if requests in readable:
            control.receive(host, time.monotonic())
        if readable.intersection(stdin) and not os.read(stdin[0], LONGEST_REQUEST):
            return


def wait(watched: list[int], deadline: float | None) -> set[int]:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    return set(select.select(watched, [], [], left)[0])


def answers(host: TapHost, tap: int) -> Iterator[bytes]:
    try:
        frame = os.read(tap, LONGEST_FRAME)
    except BlockingIOError:
        return
    except OSError as error:
        raise TapError(f"its interface was deleted: {error.strerror}") from error
    yield from host.receive(frame, time.monotonic())


def write(tap: int, frames: Iterable[bytes]) -> None:
    for frame in frames:
        try:
            os.write(tap, frame)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EAGAIN):  # it is down, or full
                raise


def ask(name: str, target: str, count: int, pause: float, patience: float) -> int:
    """Let the host behind the tap ping, print it as ping(8) does, return its status."""
    request = {"target": target, "count": count, "wait": patience, "interval": pause}
    received = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind("")  # any free abstract address
        client.settimeout(pause + patience + 5)
        for result in _results(client, name, request):
            received += result.milliseconds is not None
            print(_line(target, result), flush=True)
    lost = 100 - received * 100 // count
    print(f"{count} packets transmitted, {received} received, {lost}% packet loss")
    return 0 if received == count else 1


def _results(
    client: socket.socket, name: str, request: dict[str, Any]
) -> Iterator[Result]:
    try:
        _send(client, name, json.dumps(request).encode())
        while "over" not in (told := json.loads(client.recv(LONGEST_REQUEST))):
            if "problem" in told:
                raise TapError(f"the process that holds {name}: {told['problem']}")
            yield Result(**told)
    except (ConnectionRefusedError, TimeoutError) as error:
        raise TapError(
            f"no taphost.py answers for {name} in this network namespace; "
            f"start one: taphost.py {name} 10.0.0.7 02:00:00:00:00:07 &"
        ) from error


def _send(client: socket.socket, name: str, request: bytes) -> None:
    """Patiently: the process may have been started a moment ago."""
    deadline = time.monotonic() + START_LIMIT
    while True:
        try:
            client.sendto(request, control_address(name))
            return
        except ConnectionRefusedError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


def _line(target: str, result: Result) -> str:
    if result.milliseconds is None:
        return f"no answer from {target}: icmp_seq={result.sequence}"
    return (
        f"{len(PAYLOAD) + 8} bytes from {target}: icmp_seq={result.sequence} "
        f"time={result.milliseconds:.2f} ms"
    )


def mac_address(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}", text):
        raise argparse.ArgumentTypeError(
            f"'{text}' is not six octets as 02:00:00:00:00:07"
        )
    octets = bytes.fromhex(text.replace(":", ""))
    if octets[0] & 1 or octets == NOBODY:
        raise argparse.ArgumentTypeError(f"{text} is not the address of one station")
    return octets


def interface_name(text: str) -> str:
    octets = os.fsencode(text)
    if not 0 < len(octets) < 16 or b"/" in octets:
        raise argparse.ArgumentTypeError(f"'{text}' is not a name of 1 to 15 octets")
    return text


def echo_count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MOST_ECHOES:
        raise argparse.ArgumentTypeError(f"{count} is not one of 1 to {MOST_ECHOES}")
    return count


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="taphost.py",
        description="Be a host behind a tap, or let the host behind a tap ping.",
        epilog="Instead of IP MAC: ping [-c COUNT] [-i SECONDS] [-W SECONDS] TARGET",
    )
    parser.add_argument("name", type=interface_name, help="the tap, made if need be")
    if argv[1:2] == ["ping"]:
        return _ask(parser, argv)
    parser.add_argument("ip", type=IPv4Address, help="its protocol address")
    parser.add_argument("mac", type=mac_address, help="its link-layer address")
    parser.add_argument("--persist", action="store_true", help="the tap stays behind")
    parser.add_argument(
        "--until-eof", action="store_true", help="end when standard input ends"
    )
    given = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _end)
    run(given.name, Me(given.ip, given.mac), given.persist, given.until_eof)
    return 0


def _ask(parser: argparse.ArgumentParser, argv: list[str]) -> int:
    parser.add_argument("ping")
    parser.add_argument("target", type=IPv4Address)
    parser.add_argument("-c", dest="count", type=echo_count, default=3)
    parser.add_argument("-i", dest="pause", type=float, default=0.2)
    parser.add_argument("-W", dest="patience", type=float, default=1.0)
    given = parser.parse_args(argv)
    return ask(given.name, str(given.target), given.count, given.pause, given.patience)


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except TapError as error:
        sys.exit(f"taphost: {error}")
