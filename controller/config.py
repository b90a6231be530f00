"""Read the configuration, and say what is wrong with it in the reader's words.

The file is read as a whole before anything is changed: either every value is right, or
all mistakes are told at once.  `python -m controller.config` prints the reference table
of keys, `python -m controller.config --json-schema` a JSON Schema for editors.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

import yaml

from controller import overlaying, proxying
from controller.schema import (
    Clash,
    Key,
    ListOf,
    ListOfScalars,
    Mistake,
    Named,
    Node,
    Notes,
    Scalar,
    Section,
    Wrong,
    choice,
    flag,
    integer,
    is_true,
)
from flows.proxy import MODES, at_bridge
from flows.trust import Mode
from flows.view import (
    Fixed,
    Guard,
    IPAddress,
    IPNetwork,
    Limits,
    Nics,
    Overlay,
    PacketIns,
    Proxy,
    Service,
)

MAX_BYTES = 1 << 20  # of the file
MAX_DEPTH = 20  # sections and lists inside each other
MAX_NODES = 200_000  # values, an alias counted as what it stands for
MAX_MISTAKES = 20  # told at once

# Where Open vSwitch's own programs look, too.
USUAL_OVSDB = "unix:/var/run/openvswitch/db.sock"
OVSDB = f"unix:{os.environ.get('OVS_RUNDIR', '/var/run/openvswitch')}/db.sock"


@dataclass(frozen=True, slots=True)
class Liveness:
    """How long what was heard in packets is believed.

    silent_after  seconds without a sign of life until it is not answered for
    forget_after  seconds until what is silent is forgotten
    """

    silent_after: int = 30
    forget_after: int = 300


@dataclass(frozen=True, slots=True)
class Links:
    """How cables are found that the kernel does not show.

    lldp   send LLDP by ports that may lead to another switch, and believe what comes in
    every  seconds between two trials of a port
    hold   seconds that who was heard at a port counts as being there
    """

    lldp: bool = True
    every: int = 10
    hold: int = 60


@dataclass(frozen=True, slots=True)
class PortPolicy:
    """What the file says of one port; the same as of a bridge."""

    guard: str = ""
    router: bool | None = None
    dhcp_server: bool | None = None


@dataclass(frozen=True, slots=True)
class Bridge:
    """What the file says of one bridge, and of its ports by name.

    guard   of all its ports; "" if the file does not say
    router  whether there are routers behind them; None if the file does not say
    dhcp_server  the same of DHCP servers
    """

    guard: str = ""
    router: bool | None = None
    dhcp_server: bool | None = None
    ports: Mapping[str, PortPolicy] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where facts come from besides the switches.

    netlink  the kernel of this host is read: by a helper process of ours (True), by a
             mirror that listens at "unix:PATH", or not at all (False)
    ovsdb    Open vSwitch's database, as "unix:PATH" or "tcp:IP:PORT"; "" is off
    """

    netlink: bool | str = True
    ovsdb: str = OVSDB

    @property
    def mirror(self) -> str:
        """Path of the socket of a mirror that others have started, or ""."""
        return (
            str(self.netlink).removeprefix("unix:") if self.netlink is not True else ""
        )


@dataclass(frozen=True, slots=True)
class Config:
    """The policy of one controller.  Without a file: all defaults.

    bridges   names of the bridges of this host to adopt at the start
    bindings  addresses that the operator vouches for
    guards    how closely ports are guarded; without any everybody is learned from
    services  behind which ports there are routers and DHCP servers
    confine   who has a lease has no other IPv4 address
    proxies   how questions are answered; without any for all hosts that are known
    defend    announce an address on behalf of its owner when others claim it
    loops     try ports that may lead anywhere whether they lead back to us
    links     how cables are found that the kernel does not show
    openflow  path of a unix socket where switches of this host connect, ""
    overlays  tunnels that flows tell where to lead
    """

    bridges: tuple[str, ...] = ()
    bindings: tuple[Fixed, ...] = ()
    guards: tuple[Guard, ...] = ()
    services: tuple[Service, ...] = ()
    proxies: tuple[Proxy, ...] = ()
    confine: bool = True
    defend: bool = False
    loops: bool = True
    links: Links = field(default_factory=Links)
    openflow: str = ""
    overlays: tuple[Overlay, ...] = ()
    limits: Limits = field(default_factory=Limits)
    nics: Nics = field(default_factory=Nics)
    liveness: Liveness = field(default_factory=Liveness)
    sources: Sources = field(default_factory=Sources)


class ConfigError(Exception):
    """Mistakes in a configuration; the file is not used at all."""

    def __init__(self, *mistakes: Mistake) -> None:
        self.mistakes = mistakes
        more = len(mistakes) - MAX_MISTAKES
        lines = [str(mistake) for mistake in mistakes[:MAX_MISTAKES]]
        super().__init__("\n".join([*lines, f"and {more} more"] if more > 0 else lines))


def load(path: str | Path) -> Config:
    """The configuration in a file.  Raises ConfigError with every mistake in it."""
    file = str(path)
    try:
        with open(path, "rb") as stream:
            text = stream.read(MAX_BYTES + 1)
    except OSError as error:
        hint = "name a file that can be read, or start without --isat-config"
        raise ConfigError(Mistake(file, str(error.strerror), hint)) from None
    return parse(text, file)


def parse(text: bytes, file: str) -> Config:
    if len(text) > MAX_BYTES:
        hint = "is it the file you meant? A configuration holds a few thousand lines"
        raise ConfigError(Mistake(file, f"longer than {MAX_BYTES} bytes", hint))
    notes = Notes(file, SCHEMA)
    config = SCHEMA.read(read_yaml(decoded(text, file), file), "", notes)
    if notes.mistakes:
        raise ConfigError(*notes.in_order)
    assert isinstance(config, Config)
    return config


def idle(config: Config) -> Iterator[str]:
    """What may be written, and does nothing; each with what to write instead."""
    if config.defend and all(guard.mode == Mode.LEARN for guard in config.guards):
        yield (
            "'defend: true' does nothing, as no port is guarded; write 'guard: watch',"
            " of all ports, a bridge or a port, or remove it"
        )


# --- values that only we have -------------------------------------------------------


def address(hint: str) -> Callable[[Node], IPAddress]:
    """What reads the address of one host."""

    def read(node: Node) -> IPAddress:
        text = node.text
        try:
            found = ip_address(text)
        except ValueError:
            raise Wrong(f"{text!r} is no IP address", ip_hint(text)) from None
        if problem := unfit(found):
            raise Wrong(f"{text} is {problem}", hint)
        return found

    return read


ip = address("a binding names one host: write that host's own address")
underlay = address("write the options:local_ip of the tunnel port")


def ip_hint(text: str) -> str:
    address = text.partition("/")[0]
    octets = address.split(".")
    if all(octet.isdigit() for octet in octets):
        address = ".".join(str(int(octet)) for octet in octets)
    try:
        return f"write one address, no prefix length, no zeros: {ip_address(address)}"
    except ValueError:
        return "write it like 192.0.2.5 or 2001:db8::5"


def prefix(node: Node) -> IPNetwork:
    text = node.text
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        hint = "write it like 192.0.2.0/24 or 2001:db8::/64"
        raise Wrong(f"{text!r} is no prefix", hint) from None
    if found.network_address != ip_address(text.partition("/")[0]):
        raise Wrong(f"{text} has bits set behind its length", f"write {found}")
    if found.prefixlen and (found.is_multicast or found.is_loopback):
        raise Wrong(f"{text} is no range of hosts", "write the range that hosts are in")
    return found


def unfit(address: IPAddress) -> str:
    """Why no host can hold this address, or ""."""
    reasons = {
        "the unspecified address": address.is_unspecified,
        "a loopback address": address.is_loopback,
        "a multicast group": address.is_multicast,
        "the broadcast address": address == IPv4Address("255.255.255.255"),
        "IPv4 in IPv6's clothes": isinstance(address, IPv6Address)
        and address.ipv4_mapped is not None,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def lladdr(node: Node) -> str:
    text = node.text.lower()
    if not MAC.fullmatch(text):
        raise Wrong(f"{node.text!r} is no link-layer address", mac_hint(text))
    if text == "00:00:00:00:00:00":
        raise Wrong("the address of zeros belongs to nobody", "write the host's own")
    if int(text[:2], 16) & 1:
        hint = "its first octet must be even: write the address of one interface"
        raise Wrong(f"{text} is a group address", hint)
    return text


def mac_hint(text: str) -> str:
    parts = re.split(r"[:.-]", text)
    digits = "".join(p.zfill(2) if len(parts) == 6 else p for p in parts)
    if re.fullmatch(r"[0-9a-f]{12}", digits):
        return f'write it as "{":".join(re.findall("..", digits))}"'
    return 'write six octets, like "02:00:00:00:00:05"'


def bridge_name(node: Node) -> str:
    name = node.text
    if not 1 <= len(name.encode()) <= 15 or re.search(r"[/\s]", name):
        problem = f"{name!r} cannot be the name of a bridge"
        raise Wrong(problem, "write a name as `ovs-vsctl list-br` prints it")
    return name


def overlay_name(node: Node) -> str:
    name = node.text
    if not 1 <= len(name.encode()) <= 15 or re.search(r"\s", name):
        problem = f"{name!a:.60} cannot be the name of an overlay"
        raise Wrong(problem, "write up to 15 letters or digits, without spaces")
    return name


def port_name(node: Node) -> str:
    """Not every port is an interface of the kernel, whose names have 15 octets."""
    name = node.text
    if not 1 <= len(name.encode()) <= 255 or not name.isprintable():
        problem = f"{name!a:.60} cannot be the name of a port"
        raise Wrong(problem, "write a name as `ovs-vsctl list-ports BRIDGE` prints it")
    return name


def remote(node: Node) -> str:
    text = node.text
    if node.tag == "bool":
        return OVSDB if is_true(node) else ""
    if not re.fullmatch(r"unix:.+|tcp:(\[[0-9a-fA-F:.]+\]|[0-9.]+):\d{1,5}", text):
        problem = f"{text!r} is no place of an OVSDB server"
        raise Wrong(problem, f"write {REMOTE.words}")
    return text


def mirror(node: Node) -> object:
    if node.tag == "str" and re.fullmatch(r"unix:/.+", node.text):
        return node.text
    return flag().parse(node)


def unix_path(node: Node) -> object:
    if not re.fullmatch(r"unix:/.+", node.text):
        problem = f"{node.text!r} is no place where a switch can connect"
        raise Wrong(problem, f"write {UNIX.words}")
    return node.text.removeprefix("unix:")


# --- the schema -----------------------------------------------------------------------

REMOTE = Scalar(
    '"unix:PATH", "tcp:IP:PORT", or false to do without',
    remote,
    {"type": ["string", "boolean"]},
)
MIRROR = Scalar(
    'true, false, or "unix:PATH" where `isat mirror --listen PATH` runs',
    mirror,
    {"type": ["string", "boolean"]},
)
UNIX = Scalar(
    '"unix:/PATH", in the run directory of Open vSwitch',
    unix_path,
    {"type": "string", "pattern": "^unix:/."},
)
IP = Scalar("an IPv4 or IPv6 address", ip, {"type": "string"})
UNDERLAY = Scalar("an IPv4 or IPv6 address", underlay, {"type": "string"})
PREFIX = Scalar(
    "a range of addresses, like 192.0.2.0/24 or 2001:db8::/64",
    prefix,
    {"type": "string"},
)
PORT_NAME = Scalar("the name of a port of the bridge", port_name, {"type": "string"})
OVERLAY_NAME = Scalar("a name of 1 to 15 octets", overlay_name, {"type": "string"})
BRIDGE_NAME = Scalar(
    "the name of an Open vSwitch bridge", bridge_name, {"type": "string"}
)
LLADDR = Scalar(
    'a link-layer address, like "02:00:00:00:00:05"',
    lladdr,
    {"type": "string", "pattern": f"^{MAC.pattern}$"},
)


def binding(ip: IPAddress, lladdr: str, vlan: int = 0) -> Fixed:
    return Fixed(vlan, ip, lladdr)


def place(value: object) -> object:
    """What no two bindings may share: an address in a VLAN has one holder."""
    assert isinstance(value, Fixed)
    return value.vlan, value.ip


def gateways_of_others(values: Mapping[str, Any]) -> Iterator[Clash]:
    """Addresses that are ours on all bridges, and that somebody else is vouched for."""
    rules = at_bridge(values.get("proxy", ()), "")
    for position, one in enumerate(values.get("bindings", ())):
        rule = rules.gateway(one.vlan, one.ip)
        if rule is not None and rule.lladdr != one.lladdr:
            yield Clash(
                position,
                f"{place_in_words(one)} is vouched for at {one.lladdr}, but"
                f" {proxying.line(rule)} has it answered as a gateway's,"
                f" {rule.lladdr}",
                f"write lladdr: {rule.lladdr} here, or remove one of the two, or give"
                " the rule the 'bridge' or 'vlan' that it is for",
            )


def place_in_words(value: object) -> str:
    assert isinstance(value, Fixed)
    return f"{value.ip} in VLAN {value.vlan}" if value.vlan else f"{value.ip}"


BINDING = Section(
    binding,
    (
        Key("ip", IP, "of whom", required=True),
        Key("lladdr", LLADDR, "the interface that holds it", required=True),
        Key("vlan", integer(0, 4094), "the VLAN it is in; 0 is untagged", "0"),
    ),
)

A_SECOND = integer(1, 1_000_000, "packets a second")
PACKET_INS = Section(
    PacketIns,
    (
        Key("arp", A_SECOND, "ARP with news", str(PacketIns().arp)),
        Key("nd", A_SECOND, "neighbor discovery with news", str(PacketIns().nd)),
        Key("dhcp", A_SECOND, "DHCP", str(PacketIns().dhcp)),
        Key("lldp", A_SECOND, "LLDP", str(PacketIns().lldp)),
        Key("other", A_SECOND, "frames of new senders", str(PacketIns().other)),
    ),
)

LIMITS = Section(
    Limits,
    (
        Key(
            "stations_per_port",
            integer(1, 1_000_000),
            "hardware addresses that are learned at one port",
            str(Limits().stations_per_port),
        ),
        Key(
            "addresses_per_station",
            integer(1, 65_536),
            "protocol addresses that are believed of one hardware address",
            str(Limits().addresses_per_station),
        ),
        Key(
            "bindings_per_port",
            integer(1, 1_000_000),
            "protocol addresses that are believed of all stations at one port",
            str(Limits().bindings_per_port),
        ),
        Key(
            "candidates_per_address",
            integer(2, 1_024),
            "stations that are kept as claiming the same address",
            str(Limits().candidates_per_address),
        ),
        Key(
            "neighbor_packets_per_second",
            A_SECOND,
            "ARP and neighbor discovery that one port may send",
            str(Limits().neighbor_packets_per_second),
        ),
        Key(
            "packet_ins_per_second",
            PACKET_INS,
            "copies that the controller is sent of what one port sends",
        ),
        Key(
            "unknown_targets_per_second",
            A_SECOND,
            "questions to everybody that one port may cause",
            str(Limits().unknown_targets_per_second),
        ),
        Key(
            "questions_unanswered",
            integer(1, 1_000),
            "questions without an answer, and nobody is asked any more for a while",
            str(Limits().questions_unanswered),
        ),
    ),
)


def one_of(*numbers: int) -> Scalar:
    words = " or ".join(map(str, numbers))

    def parse(node: Node) -> int:
        if node.tag != "int" or node.text not in map(str, numbers):
            raise Wrong(f"{node.text!r} is not {words}", f"write {words}")
        return int(node.text)

    return Scalar(words, parse, {"enum": list(numbers)})


NICS = Section(
    Nics,
    (
        Key(
            "arp_ignore",
            one_of(0, 1),
            "1: only the interface that has an address answers for it; 0: any",
            str(Nics().arp_ignore),
        ),
        Key(
            "arp_announce",
            one_of(0, 2),
            "2: an interface asks with an address of its own; 0: with any",
            str(Nics().arp_announce),
        ),
    ),
)

LIVENESS = Section(
    Liveness,
    (
        Key(
            "silent_after",
            integer(10, 86_400, "seconds"),
            "from the last sign of life, probes included, until a host that was only"
            " heard is not answered for",
            str(Liveness().silent_after),
        ),
        Key(
            "forget_after",
            integer(10, 86_400, "seconds"),
            "until a silent host is forgotten, and where it was",
            str(Liveness().forget_after),
        ),
    ),
)

LINKS = Section(
    Links,
    (
        Key(
            "lldp",
            flag(),
            "send LLDP by ports that may lead to another switch of ours, for all that"
            " the kernel shows",
            "true",
        ),
        Key(
            "every",
            integer(1, 3_600, "seconds"),
            "between two trials of such a port, and of those that `loops` is about; a"
            " cable is gone after three without an answer",
            str(Links().every),
        ),
        Key(
            "hold",
            integer(0, 86_400, "seconds"),
            "that a port where somebody was heard is no end of a cable, also if it goes"
            " down meanwhile",
            str(Links().hold),
        ),
    ),
)

SOURCES = Section(
    Sources,
    (
        Key("netlink", MIRROR, "read the kernel of this host", "true"),
        Key(
            "ovsdb", REMOTE, "read Open vSwitch's database, adopt bridges", USUAL_OVSDB
        ),
    ),
)


MODE = choice(*(str(mode) for mode in Mode))
PORT = Section(
    PortPolicy,
    (
        Key("guard", MODE, "the same for one port"),
        Key("router", flag(), "the same for one port"),
        Key("dhcp_server", flag(), "the same for one port"),
    ),
)
BRIDGE = Section(
    Bridge,
    (
        Key("guard", MODE, "the same for the ports of one bridge"),
        Key(
            "router",
            flag(),
            "there are routers behind its ports, whose advertisements pass a guard;"
            " without it the kernel tells which interfaces forward",
        ),
        Key(
            "dhcp_server",
            flag(),
            "there are DHCP servers or relays behind its ports; where nobody says so,"
            " DHCP is not overheard",
        ),
        Key("ports", Named(PORT_NAME, PORT), "ports that are guarded differently"),
    ),
)


PROXY = Section(
    proxying.rule,
    (
        Key("mode", choice(*MODES), "how questions are answered", required=True),
        Key("bridge", BRIDGE_NAME, "only those that come in at this bridge", "all"),
        Key(
            "vlan",
            integer(0, 4094),
            "only on this VLAN; 0 is untagged; of interpose always one, 0 if not told",
            "all",
        ),
        Key("prefix", PREFIX, "only for these addresses", "all"),
        Key("ip", IP, "of a gateway: the address that is ours"),
        Key(
            "lladdr",
            LLADDR,
            "of a gateway: its own; of interpose: the firewall's; of private: the"
            " router's that neighbors talk through",
        ),
        Key("port", PORT_NAME, "where that firewall or router is, alone"),
        Key("router", flag(), "a gateway calls itself a router, in IPv6", "true"),
        Key(
            "promiscuous",
            ListOfScalars(PORT_NAME),
            "of private: ports that everybody may talk to",
            "none",
        ),
        Key(
            "fail",
            choice("closed", "open"),
            "of interpose, where the firewall is not there: nothing crosses, or all",
            "closed",
        ),
    ),
    tells_where=True,
)


OVERLAY_END = Section(
    overlaying.end,
    (
        Key("datapath_id", overlaying.DATAPATH_ID, "of its switch", required=True),
        Key(
            "port",
            PORT_NAME,
            "its tunnel port there, with options:remote_ip=flow and options:key=flow,"
            " or a VXLAN device of this host's kernel",
            required=True,
        ),
        Key(
            "address",
            UNDERLAY,
            "where other ends send to, and what they are sent from",
            required=True,
        ),
    ),
)
OVERLAY = Section(
    overlaying.overlay,
    (
        Key("name", OVERLAY_NAME, "how it is shown", required=True),
        Key(
            "vni",
            integer(1, overlaying.VNI_MAX),
            "network identifier (VXLAN, Geneve), or another key, that flows set",
            required=True,
        ),
        Key(
            "ends",
            ListOf(
                OVERLAY_END,
                overlaying.switch_of,
                overlaying.switch_in_words,
                overlaying.clashes_of_ends,
            ),
            "its tunnel ports, one of each switch; two at the least",
            required=True,
        ),
    ),
)


def config(
    bridges: Mapping[str, Bridge] | None = None,
    guard: str = "",
    proxy: tuple[Proxy, ...] = (),
    **rest: object,
) -> Config:
    named = bridges or {}
    guards = (*guard_of(guard), *guards_of(named))
    return Config(
        tuple(named),
        guards=guards,
        services=tuple(services_of(named)),
        proxies=proxy,
        **rest,  # type: ignore[arg-type]
    )


def guards_of(bridges: Mapping[str, Bridge]) -> Iterator[Guard]:
    for name, bridge in bridges.items():
        yield from guard_of(bridge.guard, name)
        for port, policy in bridge.ports.items():
            yield from guard_of(policy.guard, name, port)


def services_of(bridges: Mapping[str, Bridge]) -> Iterator[Service]:
    for name, bridge in bridges.items():
        places: dict[str, Bridge | PortPolicy] = {"": bridge, **bridge.ports}
        for port, one in places.items():
            for kind, said in (("router", one.router), ("dhcp", one.dhcp_server)):
                if said is not None:
                    yield Service(kind, said, name, port)


def guard_of(mode: str, bridge: str = "", port: str = "") -> tuple[Guard, ...]:
    return (Guard(str(mode), bridge, port),) if mode else ()


SCHEMA = Section(
    config,
    (
        Key(
            "bridges",
            Named(BRIDGE_NAME, BRIDGE),
            "bridges of this host that are adopted when the controller starts",
            "none",
        ),
        Key(
            "bindings",
            ListOf(BINDING, place, place_in_words),
            "addresses that you vouch for: they win over whatever is heard or seen",
            "none",
        ),
        Key(
            "guard",
            MODE,
            "what is done where somebody contradicts what is known",
            "learn",
        ),
        Key(
            "confine",
            flag(),
            "at guarded ports, who has a DHCP lease may use no other IPv4 address",
            "true",
        ),
        Key(
            "defend",
            flag(),
            "at watched ports, announce an address for its owner when others claim it",
            "false",
        ),
        Key(
            "loops",
            flag(),
            "try ports that may lead anywhere, and close those that lead back to us",
            "true",
        ),
        Key("links", LINKS, "how cables are found that the kernel does not show"),
        Key(
            "proxy",
            ListOf(PROXY, proxying.place, proxying.place_in_words, proxying.clashes),
            "how questions are answered, where and for what; the nearest rule decides",
            "host, everywhere",
        ),
        Key(
            "openflow",
            UNIX,
            "a socket for the switches of this host, beside the port; adopted bridges"
            " connect there",
            "none",
        ),
        Key(
            "overlays",
            ListOf(
                OVERLAY, overlaying.name_of, overlaying.in_words, overlaying.clashes
            ),
            "segments through tunnels that flows tell where to lead",
            "none",
        ),
        Key("limits", LIMITS, "how much of one port is heard, and is kept"),
        Key("liveness", LIVENESS, "how long it is believed"),
        Key("nics", NICS, "what hosts with several interfaces in one segment may say"),
        Key("sources", SOURCES, "where facts come from besides the switches"),
    ),
    renamed={"ageing": "liveness: {silent_after: 30}, which counts the probes in"},
    clashes={"bindings": gateways_of_others},
)


def as_markdown() -> str:
    lines = ["| key | value | default | meaning |", "| --- | --- | --- | --- |"]
    for row in SCHEMA.rows(""):
        default = f"`{row.default}`" if row.default not in ("", "required") else ""
        default = default or row.default
        lines.append(f"| `{row.path}` | {row.words} | {default} | {row.help} |")
    return "\n".join(lines)


def json_schema() -> dict[str, object]:
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": "isat.yaml", **SCHEMA.json_schema()}


# --- YAML -----------------------------------------------------------------------------


def read_yaml(text: str, file: str) -> Node:
    """The file as nodes with their lines.  Nothing is constructed from tags."""
    try:
        root = Composer(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(syntax_mistake(error, file)) from None
    except yaml.reader.ReaderError as error:
        raise ConfigError(character_mistake(error, text, file)) from None
    if root is None:
        return Node("null", 1)
    return Tree(file).node(root)


class Composer(yaml.SafeLoader):
    """Composes nodes up to a depth, since it does so recursively."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = parent.start_mark if parent is not None else None
            raise yaml.composer.ComposerError(None, None, TOO_DEEP, mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


TOO_DEEP = f"more than {MAX_DEPTH} sections and lists inside each other"


class Tree:
    """Turns YAML's nodes into ours, aliases followed, within bounds."""

    def __init__(self, file: str) -> None:
        self.file, self.count, self.depth = file, 0, 0

    def node(self, node: yaml.Node) -> Node:
        line = node.start_mark.line + 1
        self.count += 1
        if self.count > MAX_NODES or self.depth > MAX_DEPTH:
            raise ConfigError(
                Mistake(
                    f"{self.file}:{line}",
                    f"aliases stand for more than {MAX_NODES} values",
                    "write the values out instead of '*alias'",
                )
            )
        tag = TAGS.get(node.tag, node.tag)
        if isinstance(node, yaml.ScalarNode):
            return Node(tag, line, node.value)
        self.depth += 1
        if isinstance(node, yaml.MappingNode):
            pairs = ((self.node(key), self.node(value)) for key, value in node.value)
            made = Node("map", line, pairs=tuple(pairs))
        else:
            made = Node("list", line, items=tuple(map(self.node, node.value)))
        self.depth -= 1
        return made


YAML_TAG = "tag:yaml.org,2002:"
TAGS = {f"{YAML_TAG}{name}": name for name in ("str", "int", "float", "bool", "null")}


def syntax_mistake(error: yaml.MarkedYAMLError, file: str) -> Mistake:
    mark = error.problem_mark or error.context_mark
    where = f"{file}:{mark.line + 1}" if mark else file
    said = error.problem or error.context or "not YAML"
    begun = error.context_mark
    if begun is not None and mark is not None and begun.line != mark.line:
        said += f" ({error.context}, which begins in line {begun.line + 1})"
    hints = (hint for words, hint in SYNTAX_HINTS if words in said)
    return Mistake(where, said, next(hints, SYNTAX_HINT))


SYNTAX_HINT = "see the line, and the one before it: indentation, ':' and ' ', quotes"
SYNTAX_HINTS = (
    ("\\t", "YAML is indented with spaces, never with tabs"),
    ("mapping values are not allowed", "a value with ': ' in it belongs in quotes"),
    ("expected a single document", "one file is one configuration: remove '---'"),
    ("undefined alias", "write the value itself, or in quotes if it begins with '*'"),
    ("expected ',' or '}'", "close the '{' with '}', with ', ' between the keys"),
    ("expected ',' or ']'", "close the '[' with ']', with ', ' between the elements"),
    ("expected <block end>", "begin all keys of one section in the same column"),
    ("could not find expected ':'", "write 'key: value', with a space after the ':'"),
    ("end of stream", "a quote or a bracket is not closed"),
    (TOO_DEEP, "no configuration needs that: is it the file you meant?"),
)


def decoded(text: bytes, file: str) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        mistake = Mistake(f"{file}:{line}", "not UTF-8", "save the file as UTF-8")
        raise ConfigError(mistake) from None


def character_mistake(error: yaml.reader.ReaderError, text: str, file: str) -> Mistake:
    line = text.count("\n", 0, error.position) + 1
    problem = f"the character U+{ord(text[error.position]):04X} cannot stand in YAML"
    return Mistake(f"{file}:{line}", problem, "remove it")


def main(arguments: list[str]) -> None:
    if arguments == ["--json-schema"]:
        print(json.dumps(json_schema(), indent=2))
    else:
        print(as_markdown())


if __name__ == "__main__":
    main(sys.argv[1:])
