"""Say again and again that this host is a router (RFC 4861, 4.2).

    python tests/support/router.py fe80::1

Prints "ready" first.  The standard library only: it runs as a program of its own.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from pathlib import Path

EVERY = 0.5  # seconds; a real one takes 3 at least (RFC 4861, 6.2.1)
LIFETIME = 1800  # seconds
ADVERTISEMENT = 134
HOP_LIMIT = 255
ALL_NODES = "ff02::1"
SOURCE_LLADDR = b"\x01\x01"  # option 1, one unit of eight octets (4.6.1)


def main(source: str) -> None:
    own = Path("/sys/class/net/eth0/address").read_text().strip()
    lladdr, index = bytes.fromhex(own.replace(":", "")), socket.if_nametoindex("eth0")
    out = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOP_LIMIT)
    out.bind((source, 0, 0, index))
    head = struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, 0, LIFETIME, 0, 0)
    print("ready", flush=True)
    while True:
        out.sendto(head + SOURCE_LLADDR + lladdr, (ALL_NODES, 0, 0, index))
        time.sleep(EVERY)


if __name__ == "__main__":
    main(*sys.argv[1:])
