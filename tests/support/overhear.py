"""How many lies of `tests/support/attacker.py` reach the namespace it is started in.

Prints "ready", and when the honest frame comes that ends the attack, how many lies came
before it, as JSON: {"arp": 0, "mac": 0, "ip": 0}.
"""

from __future__ import annotations

import json
import socket
import sys

END = b"\x88\xb5"
LIE = b"isat-lie"


def kind_of(frame: bytes, liar: bytes, gateway: bytes) -> str | None:
    eth_type = frame[12:14]
    if eth_type == b"\x08\x06" and frame[22:28] == liar and frame[28:32] == gateway:
        return "arp"
    if LIE in frame:
        return "ip" if eth_type == b"\x08\x00" else "mac"
    return None


def main(liar: str, gateway: str) -> None:
    mac, ip = bytes.fromhex(liar.replace(":", "")), socket.inet_aton(gateway)
    heard = {"arp": 0, "mac": 0, "ip": 0}
    every = 3  # ETH_P_ALL, linux/if_ether.h
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(every))
    listener.bind(("eth0", every))
    print("ready", flush=True)
    while (frame := listener.recv(2048))[12:14] != END:
        kind = kind_of(frame, mac, ip)
        if kind is not None:
            heard[kind] += 1
    print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
