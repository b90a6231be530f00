"""Send frames again and again from the namespace this is started in, or answer probes.

    python tests/support/liar6.py SECONDS FRAME...     each in hexadecimal
    python tests/support/liar6.py SECONDS contest MAC  says of each address that
                                                       somebody probes for: it is mine

The standard library only: it runs as a program of its own.
"""

from __future__ import annotations

import socket
import sys
import time

PAUSE = 0.02  # seconds between two rounds
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ETH_ALL_NODES = bytes.fromhex("333300000001")
NOBODY = bytes(16)


def main(seconds: str, *told: str) -> None:
    line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    line.bind(("eth0", 3))
    end = time.monotonic() + float(seconds)
    print("ready", flush=True)
    if told[0] == "contest":
        contest(line, bytes.fromhex(told[1].replace(":", "")), end)
        return
    while time.monotonic() < end:
        for frame in told:
            line.send(bytes.fromhex(frame))
        time.sleep(PAUSE)


def contest(line: socket.socket, own: bytes, end: float) -> None:
    """dos-new-ip6 of thc-ipv6."""
    line.settimeout(0.1)
    while time.monotonic() < end:
        try:
            data = line.recv(2048)
        except TimeoutError:
            continue
        is_probe = data[12:14] == b"\x86\xdd" and data[54] == 135
        if is_probe and data[22:38] == NOBODY and data[6:12] != own:
            line.send(advertisement(own, data[62:78]))
            print(data[62:78].hex(), flush=True)


def advertisement(own: bytes, target: bytes) -> bytes:
    body = b"\x88\0\0\0" + b"\x20\0\0\0" + target + b"\x02\x01" + own
    pseudo = target + ALL_NODES + len(body).to_bytes(4, "big") + b"\0\0\0\x3a"
    both = pseudo + body
    total = sum(int.from_bytes(both[n : n + 2], "big") for n in range(0, len(both), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + (total ^ 0xFFFF).to_bytes(2, "big") + body[4:]
    head = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x3a\xff"
    return ETH_ALL_NODES + own + b"\x86\xdd" + head + target + ALL_NODES + body


if __name__ == "__main__":
    main(*sys.argv[1:])
