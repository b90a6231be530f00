"""What Open vSwitch would do with a packet: ofproto/trace, read back as packets.

    for port_no, sent in trace(ovs, "br0", arp_request(in_port=1, ...)):

The outcome has the form of `flows.simulate`, so that the two can be compared, except
that a packet sent back has the port's own number: see `plainly`.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator, Mapping

from flows.fields import FIELDS
from flows.openflow import CONTROLLER, IN_PORT, OXM_ORDER, in_ovs
from flows.view import LOCAL_PORT
from tests.support.ovs import PrivateOvs

Packet = Mapping[str, str]
Sent = list[tuple[int, Packet]]

PATIENCE = 10.0  # seconds that ovs-vswitchd may take for one answer
LOCAL_1_0 = 65534  # OFPP_LOCAL in OpenFlow 1.0, and in what ovs-appctl prints

# odp-util names header fields by their datapath keys.
OXM_OF = {
    ("eth", "src"): "eth_src",
    ("eth", "dst"): "eth_dst",
    ("arp", "sip"): "arp_spa",
    ("arp", "tip"): "arp_tpa",
    ("arp", "op"): "arp_op",
    ("arp", "sha"): "arp_sha",
    ("arp", "tha"): "arp_tha",
    ("ipv4", "src"): "ipv4_src",
    ("ipv4", "dst"): "ipv4_dst",
    ("icmp", "type"): "icmpv4_type",
    ("icmp", "code"): "icmpv4_code",
    ("ipv6", "src"): "ipv6_src",
    ("ipv6", "dst"): "ipv6_dst",
    ("icmpv6", "type"): "icmpv6_type",
    ("icmpv6", "code"): "icmpv6_code",
    ("nd", "target"): "ipv6_nd_target",
    ("nd", "sll"): "ipv6_nd_sll",
    ("nd", "tll"): "ipv6_nd_tll",
    ("nd_ext", "nd_reserved"): "nd_reserved",
    ("nd_ext", "nd_options_type"): "nd_options_type",
    ("ipv4", "ttl"): "ip_ttl",
    ("ipv6", "hlimit"): "ip_ttl",
}


class TraceFailed(AssertionError):
    """ovs-vswitchd refused, or said what this module cannot read."""


class Shared(TraceFailed):
    """A select group chooses by a hash, which is computed for real packets alone.

    group_id  of that group
    """

    def __init__(self, group_id: int) -> None:
        self.group_id = group_id
        super().__init__(f"group {group_id} chooses")


def trace(ovs: PrivateOvs, bridge: str, packet: Packet) -> Sent:
    """(port_no, packet) for each time that the packet leaves the bridge, in order.
    Raises Shared if one of several ports is chosen by a hash."""
    told = ask(ovs, "ofproto/trace", "--names", bridge, as_flow(packet))
    last = re.findall(r"^Datapath actions: (.*)$", told, re.MULTILINE)
    if len(last) != 1:
        raise TraceFailed(told)
    if last[0].startswith("hash("):
        raise Shared(int(re.findall(r"^ +group:(\d+)", told, re.MULTILINE)[-1]))
    return list(sent(last[0], packet, ports(ovs, bridge)))


def looked_at(ovs: PrivateOvs, bridge: str, packet: Packet) -> set[str]:
    """Which fields of the packet the datapath's entry for it tells apart."""
    told = ask(ovs, "ofproto/trace", bridge, as_flow(packet))
    [entry] = re.findall(r"^Megaflow: (.*)$", told, re.MULTILINE)
    words = {word.partition("=")[0] for word in entry.split(",")}
    return {name for name in packet if name.replace("eth_", "dl_") in words}


def plainly(in_port: int, outcome: Iterable[tuple[int, Packet]]) -> Sent:
    """The outcome of `simulate`, with the port's number in place of IN_PORT."""
    return [(in_port if port == IN_PORT else port, dict(p)) for port, p in outcome]


def as_flow(packet: Packet) -> str:
    """As ovs-ofctl writes a match; prerequisites come first."""
    fields = sorted(packet.items(), key=lambda item: OXM_ORDER[item[0]])
    return ",".join(f"{in_ovs(name)}={value}" for name, value in fields)


def ports(ovs: PrivateOvs, bridge: str) -> dict[str, int]:
    """port_no of each port of the bridge, by name."""
    shown = ask(ovs, "dpif/show")
    section = re.search(rf"^  {re.escape(bridge)}:\n((?:    .*\n?)*)", shown, re.M)
    if section is None:
        raise TraceFailed(f"no bridge {bridge} in\n{shown}")
    rows = re.findall(r"^    (\S+) (\d+)/", section[1], re.MULTILINE)
    numbers = {name: int(number) for name, number in rows}
    return {n: LOCAL_PORT if port == LOCAL_1_0 else port for n, port in numbers.items()}


def sent(
    actions: str, packet: Packet, numbers: Mapping[str, int]
) -> Iterator[tuple[int, Packet]]:
    """Follow the datapath actions: those which rewrite, and those which send."""
    header = {name: value for name, value in packet.items() if not is_zero(name, value)}
    for action in split(actions):
        name, _, arguments = action.partition("(")
        arguments = arguments.removesuffix(")")
        if action in numbers:
            yield numbers[action], fields_of(header)
        elif name == "userspace" and "controller(" in arguments:
            yield CONTROLLER, fields_of(header)
        elif name == "set":
            rewrite(arguments, header)
        elif action == "pop_vlan":
            del header["vlan_vid"]
        elif name == "push_vlan":
            vid = int(pairs(arguments)["vid"], 0)
            header["vlan_vid"] = hex(0x1000 | vid)
        elif action != "drop":
            raise TraceFailed(f"unknown datapath action {action!r} in {actions}")


def fields_of(header: Mapping[str, str]) -> Packet:
    """What of it the packet has: an advertisement has no source link-layer address."""
    numbers = {name: FIELDS[name].read(text)[0] for name, text in header.items()}
    return {
        name: text
        for name, text in header.items()
        if all(numbers.get(need, 0) in allowed for need, allowed in FIELDS[name].needs)
    }


def is_zero(name: str, value: str) -> bool:
    return name == "vlan_vid" and int(value, 0) == 0


def rewrite(arguments: str, header: dict[str, str]) -> None:
    """`arguments` as "eth(src=02:00:00:00:00:01,dst=...)", values maybe with masks."""
    key, _, inner = arguments.partition("(")
    for name, text in pairs(inner.removesuffix(")")).items():
        oxm_name = OXM_OF.get((key, name))
        if oxm_name is not None:
            field = FIELDS[oxm_name]
            value, mask = field.read(text)
            before, _ = field.read(header.get(oxm_name, field.show(0, field.ones)))
            header[oxm_name] = field.show(before & ~mask | value, field.ones)


def pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in split(text) if "=" in part)


def split(text: str) -> Iterator[str]:
    """At the commas that stand outside of all parentheses."""
    depth, start = 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    if text[start:]:
        yield text[start:]


def ask(ovs: PrivateOvs, command: str, *arguments: str) -> str:
    """ovs-appctl without its process: JSON-RPC over ovs-vswitchd's control socket."""
    request = {"id": 0, "method": command, "params": list(arguments)}
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(PATIENCE)
        control.connect(str(ovs.unixctl))
        control.sendall(json.dumps(request).encode())
        answer = receive(control)
    if answer["error"] is not None:
        raise TraceFailed(f"{command} {' '.join(arguments)}: {answer['error']}")
    return str(answer["result"])


def receive(control: socket.socket) -> dict[str, object]:
    """One JSON object; nothing but its own end tells where it ends."""
    octets = b""
    while part := control.recv(1 << 16):
        octets += part
        try:
            answer: dict[str, object] = json.loads(octets)
        except ValueError:
            continue
        return answer
    raise TraceFailed("ovs-vswitchd closed its control socket")
