"""DHCP and DHCPv6 messages, octet by octet, and who hears them."""

from __future__ import annotations

import sys
from ipaddress import IPv4Address, IPv6Address
from struct import pack

from controller.ethernet import framed, octets
from flows.openflow import BROADCAST, ETH_IPV4, ETH_IPV6
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)  # RFC 2132, 9.6
SOLICIT, ADVERTISE, REQUEST6, REPLY, RELEASE6 = 1, 2, 3, 7, 8  # RFC 8415, 7.3
COOKIE = bytes((99, 130, 83, 99))

# A line for each UDP datagram to a DHCP client that arrives: its destination port.
HEAR = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 3))
print("listening", flush=True)
while True:
    data, address = s.recvfrom(65536)
    if address[2] == socket.PACKET_OUTGOING:
        continue
    at = {b"\\x08\\x00": (23, 36), b"\\x86\\xdd": (20, 56)}.get(data[12:14])
    if at and data[at[0]] == 17:
        print("udp", int.from_bytes(data[at[1]:at[1] + 2], "big"), flush=True)
"""


def dhcp(
    kind: int,
    *,
    client: str,
    yiaddr: str = "0.0.0.0",
    ciaddr: str = "0.0.0.0",
    seconds: int | None = None,
    eth_src: str = "",
    src: str = "0.0.0.0",
    options: bytes = b"",
    sname: bytes = b"",
    file: bytes = b"",
    vlan: int = 0,
) -> bytes:
    """From a server to its client if there is an `eth_src`, else the other way."""
    by_server = bool(eth_src)
    head = pack("!BBBBIHH", 2 if by_server else 1, 1, 6, 0, 0x1234, 0, 0x8000)
    ips = IPv4Address(ciaddr).packed + IPv4Address(yiaddr).packed + bytes(8)
    fixed = head + ips + octets(client).ljust(16, b"\0")
    body = fixed + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + COOKIE
    body += bytes((53, 1, kind)) if kind else b""
    body += pack("!BBI", 51, 4, seconds) if seconds is not None else b""
    body += options + b"\xff"
    ports = (67, 68) if by_server else (68, 67)
    datagram = pack("!HHHH", *ports, 8 + len(body), 0) + body
    ip = pack("!BBHHHBBH", 0x45, 0, 20 + len(datagram), 0, 0, 64, 17, 0)
    ip += IPv4Address(src).packed + b"\xff" * 4
    total = sum(int.from_bytes(ip[n : n + 2], "big") for n in range(0, 20, 2))
    ip = ip[:10] + (0xFFFF - (total % 0xFFFF)).to_bytes(2, "big") + ip[12:]
    return framed(
        ip + datagram,
        eth_dst=BROADCAST,
        eth_src=eth_src or client,
        eth_type=ETH_IPV4,
        vlan=vlan,
    )


def option6(kind: int, value: bytes) -> bytes:
    return pack("!HH", kind, len(value)) + value


def association(*addresses: tuple[str, int], status: int | None = None) -> bytes:
    """IA_NA (RFC 8415, 21.4) with addresses and their valid lifetimes."""
    inner = b""
    for ip, seconds in addresses:
        code = b"" if status is None else option6(13, pack("!H", status))
        value = IPv6Address(ip).packed + pack("!II", seconds // 2, seconds) + code
        inner += option6(5, value)
    return option6(3, pack("!III", 1, 0, 0) + inner)


def dhcp6(
    kind: int,
    *,
    client: str,
    eth_src: str = "",
    src: str = "fe80::1",
    options: bytes = b"",
    vlan: int = 0,
) -> bytes:
    """From a server to its client if there is an `eth_src`, else the other way."""
    by_server = bool(eth_src)
    body = bytes((kind, 1, 2, 3)) + option6(1, b"\0\3\0\1" + octets(client)) + options
    ports = (547, 546) if by_server else (546, 547)
    datagram = pack("!HHHH", *ports, 8 + len(body), 0xFFFF) + body
    dst = "fe80::99" if by_server else "ff02::1:2"
    head = pack("!IHBB", 6 << 28, len(datagram), 17, 64)
    head += IPv6Address(src).packed + IPv6Address(dst).packed
    return framed(
        head + datagram,
        eth_dst=client if by_server else "33:33:00:01:00:02",
        eth_src=eth_src or client,
        eth_type=ETH_IPV6,
        vlan=vlan,
    )


class DhcpEar:
    """Hears what UDP a host receives, by destination port."""

    def __init__(self, ovs: PrivateOvs, host: Host) -> None:
        self.ovs, self.log = ovs, f"dhcp-ear-{host.name}.log"
        command = (sys.executable, "-c", HEAR)
        ovs.start(*command, namespace=host.namespace, log=self.log)
        wait_until(lambda: "listening" in ovs.log(self.log), why="an ear")

    def heard(self, port: int) -> int:
        return self.ovs.log(self.log).count(f"udp {port}\n")
