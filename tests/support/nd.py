"""Speak and hear neighbor discovery in a namespace, octet by octet.

with Ear(ovs, h2) as ear:
    [answer] = ask(ovs, h1, solicitation(...), until="10.0.0.2")
    assert not ear.heard(NS)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address

from controller.packets import arp_request
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

SOON = 10.0  # seconds: beyond, something is broken, not slow

# Each ICMPv6 message that arrives, as {"vlan": 0, "data": "..."}; what was sent is left
# out.  The kernel takes the tag off the frame and tells it beside.
HEAR = """
import json, socket, struct
def listen():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.bind(("eth0", 3))
    s.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
    return s
def frames(s):
    while True:
        data, beside, _, address = s.recvmsg(65536, 1024)
        if address[2] == socket.PACKET_OUTGOING:
            continue
        aux = struct.unpack("IIIHHHH", beside[0][2])
        yield (aux[5] & 0xfff if aux[0] & 0x10 else 0), data
"""
TELL = (
    HEAR
    + """
s = listen()
print("listening", flush=True)
for vlan, data in frames(s):
    if data[12:14] == b"\\x86\\xdd" and data[20] == 58:
        print(json.dumps({"vlan": vlan, "data": data.hex()}), flush=True)
"""
)
# Sends the frames, then an ARP request that the switch answers, and when it has, the
# same again: what the switch answers itself has come by then.  Frames that arrive
# together may overtake each other in a switch; the second request comes after them all.
# `wanted` advertisements are waited for besides.
ASK = (
    HEAR
    + """
import sys
s, wanted = listen(), int(sys.argv[1])
s.settimeout(float(sys.argv[2]))
for frame in sys.argv[3:]:
    s.send(bytes.fromhex(frame))
found, answered = [], 0
try:
    for vlan, data in frames(s):
        if data[12:14] == b"\\x08\\x06" and data[21] == 2:
            answered += 1
            if answered == 1:
                s.send(bytes.fromhex(sys.argv[-1]))
        if data[12:14] == b"\\x86\\xdd" and data[20] == 58 and data[54] == 136:
            found.append({"vlan": vlan, "data": data.hex()})
        if answered > 1 and len(found) >= wanted:
            break
except TimeoutError:
    pass
print(json.dumps(found))
"""
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame with ICMPv6 that arrived, without its tag."""

    vlan: int
    data: bytes

    @property
    def kind(self) -> int:
        """ICMPv6 type."""
        return self.data[54]


def read(line: str) -> Frame:
    told = json.loads(line)
    return Frame(told["vlan"], bytes.fromhex(told["data"]))


def ask(
    ovs: PrivateOvs, host: Host, *frames: bytes, until: str, wanted: int = 0
) -> list[Frame]:
    """The advertisements that these frames bring back to this host.

    until   an IPv4 address that the switch answers for
    wanted  advertisements that come later than what the switch answers itself
    """
    last = arp_request(eth_src=host.mac, tpa=IPv4Address(until))
    words = (sys.executable, "-c", ASK, str(wanted), str(SOON))
    octets = [frame.hex() for frame in (*frames, last)]
    told = ovs.run_in(host.namespace, *words, *octets).stdout
    return [Frame(one["vlan"], bytes.fromhex(one["data"])) for one in json.loads(told)]


class Ear:
    """Hears what ICMPv6 a host receives."""

    def __init__(self, ovs: PrivateOvs, host: Host) -> None:
        self.ovs, self.log = ovs, f"ear-{host.name}.log"
        command = (sys.executable, "-c", TELL)
        self.process: subprocess.Popen[bytes] = ovs.start(
            *command, namespace=host.namespace, log=self.log
        )
        wait_until(lambda: "listening" in ovs.log(self.log), within=SOON, why="an ear")

    def heard(self, is_meant: Callable[[Frame], bool] = bool) -> list[Frame]:
        lines = self.ovs.log(self.log).splitlines(keepends=True)
        whole = [line for line in lines if line.startswith("{") and line[-1] == "\n"]
        return [frame for frame in map(read, whole) if is_meant(frame)]
