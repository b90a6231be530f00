"""rtnetlink messages to values and back (RFC 3549; linux/netlink.h, rtnetlink.h).

Decoding ends in a value, in None for a message that no table is made of, or in
`Malformed`.  Names are those of the kernel's headers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop
from typing import NamedTuple

# --- linux/netlink.h ----------------------------------------------------------------

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG = 1
NLA_TYPE_MASK = 0x3FFF

# --- linux/rtnetlink.h --------------------------------------------------------------

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWNSID, RTM_DELNSID, RTM_GETNSID = 88, 89, 90

RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_NSID = 1, 3, 28
RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR = 5, 9
RTEXT_FILTER_SKIP_STATS = 0x8

# --- linux/if_link.h, linux/if.h ----------------------------------------------------

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK = 1, 3, 4, 5
IFLA_MASTER, IFLA_WIRELESS, IFLA_OPERSTATE, IFLA_LINKINFO = 10, 11, 16, 18
IFLA_IFALIAS, IFLA_GROUP, IFLA_EXT_MASK, IFLA_CARRIER = 20, 27, 29, 33
IFLA_LINK_NETNSID, IFLA_TARGET_NETNSID = 37, 46
IFLA_PROP_LIST, IFLA_ALT_IFNAME, IFLA_PERM_ADDRESS = 52, 53, 54
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND = 1, 2, 4
IFF_UP, IFF_LOWER_UP = 0x1, 0x10000

# RFC 2863 operational states in the words of ip-link(8), by IF_OPER_*
OPERSTATES = (
    "UNKNOWN",
    "NOTPRESENT",
    "DOWN",
    "LOWERLAYERDOWN",
    "TESTING",
    "DORMANT",
    "UP",
)

# --- linux/if_addr.h ----------------------------------------------------------------

IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST = 1, 2, 3, 4
IFA_FLAGS, IFA_TARGET_NETNSID, IFA_PROTO = 8, 10, 11
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40

# --- linux/neighbour.h --------------------------------------------------------------

NDA_DST, NDA_LLADDR = 1, 2
NUD_REACHABLE, NUD_STALE, NUD_DELAY, NUD_PROBE = 0x02, 0x04, 0x08, 0x10
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_PROXY, NTF_EXT_LEARNED, NTF_ROUTER = 0x08, 0x10, 0x80

# --- linux/net_namespace.h ----------------------------------------------------------

NETNSA_NSID, NETNSA_PID, NETNSA_FD = 1, 2, 3
NETNSA_TARGET_NSID, NETNSA_CURRENT_NSID = 4, 5
NETNSA_NSID_NOT_ASSIGNED = -1

# In host byte order, as netlink is: a conversation within one machine.
NLMSGHDR = struct.Struct("=IHHII")  # len, type, flags, seq, pid
NLATTR = struct.Struct("=HH")  # nla_len, nla_type
IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefixlen, flags, scope, index
NDMSG = struct.Struct("=B3xiHBB")  # family, ifindex, state, flags, type
RTGENMSG = struct.Struct("=B3x")  # family, padded
U8, U32, S32 = struct.Struct("=B"), struct.Struct("=I"), struct.Struct("=i")
U16, U16_BE = struct.Struct("=H"), struct.Struct(">H")


class Malformed(ValueError):
    """A message that is not what its header says.  Nothing of it is believed."""


class Message(NamedTuple):
    """One netlink message: its header's fields and what follows the header."""

    type: int
    flags: int
    seq: int
    body: bytes


# --- rows ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """An interface: struct ifinfomsg and IFLA_* (linux/if_link.h).

    ifname        any bytes but NUL, "/", ":" and white space, surrogateescape
    ifi_type      ARPHRD_*, linux/if_arp.h
    ifi_flags     IFF_*, linux/if.h
    operstate     RFC 2863, in the words of ip-link(8)
    link          IFLA_LINK: the veth's other end or the device below; None if absent
    link_netnsid  the namespace `link` is in, None if it is not told
    info          IFLA_INFO_DATA of the kinds in INFO_DATA
    """

    ifname: str
    ifi_type: int
    ifi_flags: int
    mtu: int = 0
    address: str | None = None
    perm_address: str | None = None
    operstate: str = "UNKNOWN"
    carrier: bool = False
    master: int | None = None
    link: int | None = None
    link_netnsid: int | None = None
    group: int = 0
    ifalias: str | None = None
    altnames: tuple[str, ...] = ()
    kind: str | None = None
    slave_kind: str | None = None
    info: tuple[tuple[str, int | str], ...] = ()


class AddrKey(NamedTuple):
    """What makes one address of a namespace different from another.

    local    the interface's own address: IFA_LOCAL, or IFA_ADDRESS without one
    address  IFA_ADDRESS: the same, or the peer's on a point-to-point link
    """

    ifa_family: int
    ifa_index: int
    ifa_prefixlen: int
    local: str
    address: str


@dataclass(frozen=True, slots=True)
class Addr:
    """A protocol address: struct ifaddrmsg and IFA_* (linux/if_addr.h)."""

    ifa_flags: int
    ifa_scope: int
    label: str | None = None
    broadcast: str | None = None
    proto: int = 0


class NeighKey(NamedTuple):
    """One row of the kernel's ARP or neighbor-discovery cache."""

    ndm_family: int
    ndm_ifindex: int
    dst: str


@dataclass(frozen=True, slots=True)
class Neigh:
    """What the kernel believes of a neighbor that it can reach (linux/neighbour.h).

    ndm_state  NUD_PERMANENT or NUD_STALE.  REACHABLE, DELAY and PROBE come and go
               without news of the neighbor (DELAY without an event): shown as STALE
    ndm_flags  of NTF_ROUTER and NTF_EXT_LEARNED
    """

    lladdr: str
    ndm_state: int
    ndm_flags: int


class LinkMessage(NamedTuple):
    """RTM_NEWLINK or RTM_DELLINK.

    A link that moves to another namespace ends here and begins there.
    """

    ifi_index: int
    row: Link


class AddrMessage(NamedTuple):
    """RTM_NEWADDR or RTM_DELADDR."""

    key: AddrKey
    row: Addr


class NeighMessage(NamedTuple):
    """RTM_NEWNEIGH or RTM_DELNEIGH; `row` is None if the kernel cannot reach it."""

    key: NeighKey
    row: Neigh | None


class NsidMessage(NamedTuple):
    """RTM_NEWNSID or RTM_DELNSID.

    nsid     the number that the namespace which tells this gives to another
    current  asked with NETNSA_TARGET_NSID: the number that we give to that other
    """

    nsid: int
    current: int = NETNSA_NSID_NOT_ASSIGNED


Value = LinkMessage | AddrMessage | NeighMessage | NsidMessage

# --- splitting ----------------------------------------------------------------------


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram, in order."""
    at, end = 0, len(datagram)
    while at + NLMSGHDR.size <= end:
        length, kind, flags, seq, _ = NLMSGHDR.unpack_from(datagram, at)
        if length < NLMSGHDR.size or at + length > end:
            raise Malformed(f"nlmsg_len {length} at {at} of {end} octets")
        yield Message(kind, flags, seq, datagram[at + NLMSGHDR.size : at + length])
        at += (length + 3) & ~3
    if at < end:
        raise Malformed(f"{end - at} octets behind the last message")


def attributes(data: bytes, at: int = 0) -> list[tuple[int, bytes]]:
    """Type and payload of each attribute from `at` on, in order."""
    found = []
    end = len(data)
    unpack = NLATTR.unpack_from
    while at + 4 <= end:
        length, kind = unpack(data, at)
        if length < 4 or at + length > end:
            raise Malformed(f"nla_len {length} at {at} of {end} octets")
        found.append((kind & NLA_TYPE_MASK, data[at + 4 : at + length]))
        at += (length + 3) & ~3
    return found


def text(data: bytes) -> str:
    """A name as the kernel stores it: any octets, up to the first NUL."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def lladdr(data: bytes) -> str:
    """A link-layer address of any length as "02:00:00:00:00:01"."""
    return data.hex(":")


def u32(data: bytes) -> int:
    return int(U32.unpack(data)[0])


def s32(data: bytes) -> int:
    return int(S32.unpack(data)[0])


def u16(data: bytes) -> int:
    return int(U16.unpack(data)[0])


def be16(data: bytes) -> int:
    return int(U16_BE.unpack(data)[0])


def u8(data: bytes) -> int:
    return int(U8.unpack(data)[0])


def ipv4(data: bytes) -> str:
    return inet_ntop(AF_INET, data)


def ipv6(data: bytes) -> str:
    return inet_ntop(AF_INET6, data)


# --- kinds --------------------------------------------------------------------------

TUN_TYPES = {1: "tun", 2: "tap"}  # IFF_TUN, IFF_TAP
MACVLAN_MODES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}


def tun_type(data: bytes) -> str:
    return TUN_TYPES.get(u8(data), str(u8(data)))


def macvlan_mode(data: bytes) -> str:
    return MACVLAN_MODES.get(u32(data), str(u32(data)))


Reader = Callable[[bytes], int | str]

INFO_DATA: dict[str, dict[int, tuple[str, Reader]]] = {
    "tun": {  # IFLA_TUN_*
        1: ("owner", u32),
        2: ("group", u32),
        3: ("type", tun_type),
        4: ("pi", u8),
        5: ("vnet_hdr", u8),
        6: ("persist", u8),
        7: ("multi_queue", u8),
        8: ("num_queues", u32),
        9: ("num_disabled_queues", u32),
    },
    "vlan": {1: ("id", u16)},  # IFLA_VLAN_ID
    "macvlan": {1: ("mode", macvlan_mode)},  # IFLA_MACVLAN_MODE
    "vxlan": {  # IFLA_VXLAN_*
        1: ("id", u32),
        2: ("group", ipv4),
        3: ("link", u32),
        4: ("local", ipv4),
        15: ("port", be16),
        16: ("group6", ipv6),
        17: ("local6", ipv6),
    },
}


def link_info(data: bytes) -> dict[str, object]:
    """IFLA_LINKINFO: kind, slave_kind and what INFO_DATA knows of the kind."""
    nested = dict(attributes(data))
    found: dict[str, object] = {}
    if IFLA_INFO_KIND in nested:
        found["kind"] = kind = text(nested[IFLA_INFO_KIND])
        known = INFO_DATA.get(kind)
        if known and IFLA_INFO_DATA in nested:
            found["info"] = info_data(known, nested[IFLA_INFO_DATA])
    if IFLA_INFO_SLAVE_KIND in nested:
        found["slave_kind"] = text(nested[IFLA_INFO_SLAVE_KIND])
    return found


def info_data(
    known: dict[int, tuple[str, Reader]], data: bytes
) -> tuple[tuple[str, int | str], ...]:
    return tuple(
        (known[kind][0], known[kind][1](value))
        for kind, value in attributes(data)
        if kind in known
    )


def operstate(data: bytes) -> str:
    state = u8(data)
    return OPERSTATES[state] if state < len(OPERSTATES) else str(state)


def alt_names(data: bytes) -> tuple[str, ...]:
    return tuple(
        text(value) for kind, value in attributes(data) if kind == IFLA_ALT_IFNAME
    )


LINK_FIELDS: dict[int, tuple[str, Callable[[bytes], object]]] = {
    IFLA_IFNAME: ("ifname", text),
    IFLA_MTU: ("mtu", u32),
    IFLA_ADDRESS: ("address", lladdr),
    IFLA_PERM_ADDRESS: ("perm_address", lladdr),
    IFLA_OPERSTATE: ("operstate", operstate),
    IFLA_CARRIER: ("carrier", lambda data: u8(data) == 1),
    IFLA_MASTER: ("master", u32),
    IFLA_LINK: ("link", u32),
    IFLA_LINK_NETNSID: ("link_netnsid", s32),
    IFLA_GROUP: ("group", u32),
    IFLA_IFALIAS: ("ifalias", text),
    IFLA_PROP_LIST: ("altnames", alt_names),
}


# --- decoding -----------------------------------------------------------------------


def link_message(body: bytes) -> LinkMessage | None:
    """RTM_*LINK of an interface; None for a bridge port's or a wireless event."""
    family, ifi_type, index, flags, _ = IFINFOMSG.unpack_from(body)
    if family != 0:  # AF_BRIDGE: RTM_DELLINK means "left the bridge"
        return None
    fields: dict[str, object] = {}
    for kind, data in attributes(body, IFINFOMSG.size):
        if kind in LINK_FIELDS:
            name, read = LINK_FIELDS[kind]
            fields[name] = read(data)
        elif kind == IFLA_LINKINFO:
            fields.update(link_info(data))
        elif kind == IFLA_WIRELESS:
            return None
    if index <= 0 or "ifname" not in fields:
        raise Malformed(f"interface {index} has no name")
    row = Link(ifi_type=ifi_type, ifi_flags=flags, **fields)  # type: ignore[arg-type]
    return LinkMessage(index, row)


def addr_message(body: bytes) -> AddrMessage | None:
    """RTM_*ADDR of IPv4 or IPv6; None for other families."""
    family, prefixlen, flags, scope, index = IFADDRMSG.unpack_from(body)
    if family not in (AF_INET, AF_INET6):
        return None
    found = dict(attributes(body, IFADDRMSG.size))
    if IFA_ADDRESS not in found and IFA_LOCAL not in found:
        raise Malformed(f"an address of interface {index} without an address")
    address = found.get(IFA_ADDRESS, found.get(IFA_LOCAL, b""))
    local = found.get(IFA_LOCAL, address)
    key = AddrKey(
        family, index, prefixlen, inet_ntop(family, local), inet_ntop(family, address)
    )
    return AddrMessage(key, addr_row(family, flags, scope, found))


def addr_row(family: int, flags: int, scope: int, found: dict[int, bytes]) -> Addr:
    """IFA_FLAGS has the 32 bits of which ifa_flags holds the lowest eight."""
    return Addr(
        ifa_flags=u32(found[IFA_FLAGS]) if IFA_FLAGS in found else flags,
        ifa_scope=scope,
        label=text(found[IFA_LABEL]) if IFA_LABEL in found else None,
        broadcast=(
            inet_ntop(family, found[IFA_BROADCAST]) if IFA_BROADCAST in found else None
        ),
        proto=u8(found[IFA_PROTO]) if IFA_PROTO in found else 0,
    )


NUD_PASSING = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE


def neigh_message(body: bytes) -> NeighMessage | None:
    """RTM_*NEIGH of the ARP or ND cache; None for the fdb, proxies and multicast."""
    family, index, state, flags, _ = NDMSG.unpack_from(body)
    if family not in (AF_INET, AF_INET6) or flags & NTF_PROXY or state & NUD_NOARP:
        return None
    found = dict(attributes(body, NDMSG.size))
    if NDA_DST not in found:
        raise Malformed(f"a neighbor of interface {index} without an address")
    key = NeighKey(family, index, inet_ntop(family, found[NDA_DST]))
    return NeighMessage(key, neigh_row(state, flags, found.get(NDA_LLADDR, b"")))


def neigh_row(state: int, flags: int, address: bytes) -> Neigh | None:
    """None while the kernel cannot send to it: NUD_INCOMPLETE, NUD_FAILED, NUD_NONE."""
    if not state & (NUD_PASSING | NUD_PERMANENT):
        return None
    return Neigh(
        lladdr=lladdr(address),
        ndm_state=NUD_PERMANENT if state & NUD_PERMANENT else NUD_STALE,
        ndm_flags=flags & (NTF_ROUTER | NTF_EXT_LEARNED),
    )


def nsid_message(body: bytes) -> NsidMessage:
    """RTM_*NSID; NETNSA_NSID_NOT_ASSIGNED answers a question for a stranger."""
    RTGENMSG.unpack_from(body)
    found = dict(attributes(body, RTGENMSG.size))
    if NETNSA_NSID not in found:
        raise Malformed("a network namespace without NETNSA_NSID")
    current = found.get(NETNSA_CURRENT_NSID)
    return NsidMessage(
        s32(found[NETNSA_NSID]),
        NETNSA_NSID_NOT_ASSIGNED if current is None else s32(current),
    )


DECODERS: dict[int, Callable[[bytes], Value | None]] = {
    RTM_NEWLINK: link_message,
    RTM_DELLINK: link_message,
    RTM_NEWADDR: addr_message,
    RTM_DELADDR: addr_message,
    RTM_NEWNEIGH: neigh_message,
    RTM_DELNEIGH: neigh_message,
    RTM_NEWNSID: nsid_message,
    RTM_DELNSID: nsid_message,
}


def decode(message: Message) -> Value | None:
    """What a message says; None if no table is made of it; else `Malformed`."""
    decoder = DECODERS.get(message.type)
    if decoder is None:
        return None
    try:
        return decoder(message.body)
    except Malformed:
        raise
    except (struct.error, ValueError) as error:
        raise Malformed(f"nlmsg_type {message.type}: {error}") from error


def error_of(message: Message) -> tuple[int, str]:
    """errno (0 for an acknowledgement) and the kernel's words: NLMSG_ERROR, extack."""
    try:
        code = -s32(message.body[:4])
        if message.type == NLMSG_DONE:
            at = 4
        else:
            at = 4 + NLMSGHDR.size
            if not message.flags & NLM_F_CAPPED:
                at += _padded(u32(message.body[4:8]) - NLMSGHDR.size)
        words = ""
        if message.flags & NLM_F_ACK_TLVS:
            words = text(dict(attributes(message.body, at)).get(NLMSGERR_ATTR_MSG, b""))
    except struct.error as error:
        raise Malformed(f"nlmsgerr: {error}") from error
    return code, words


def _padded(length: int) -> int:
    return (max(length, 0) + 3) & ~3


# --- encoding -----------------------------------------------------------------------


def attribute(kind: int, payload: bytes) -> bytes:
    return NLATTR.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def encode(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    """A request; the kernel fills in our port."""
    return NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags, seq, 0) + body


def get_link(ifi_index: int = 0, target: int | None = None) -> bytes:
    """Body of RTM_GETLINK: one interface, or a dump with 0; in namespace `target`."""
    body = IFINFOMSG.pack(0, 0, ifi_index, 0, 0)
    body += attribute(IFLA_EXT_MASK, U32.pack(RTEXT_FILTER_SKIP_STATS))
    if target is not None:
        body += attribute(IFLA_TARGET_NETNSID, S32.pack(target))
    return body


def get_addr(target: int | None = None) -> bytes:
    """Body of an RTM_GETADDR dump of all families, in namespace `target`."""
    body = IFADDRMSG.pack(0, 0, 0, 0, 0)
    if target is not None:
        body += attribute(IFA_TARGET_NETNSID, S32.pack(target))
    return body


def get_neigh() -> bytes:
    """Body of an RTM_GETNEIGH dump; there is none for another namespace."""
    return NDMSG.pack(0, 0, 0, 0, 0)


def get_nsid(*of: tuple[int, int]) -> bytes:
    """Body of RTM_GETNSID: of NETNSA_FD or NETNSA_PID, for NETNSA_TARGET_NSID."""
    return RTGENMSG.pack(0) + b"".join(
        attribute(kind, S32.pack(value)) for kind, value in of
    )
