"""Table `link`: interfaces (struct ifinfomsg, IFLA_*; linux/if_link.h, linux/if.h)."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

from controller.netlink.rtnl.framing import (
    S32,
    U32,
    Fields,
    Malformed,
    Reader,
    attribute,
    attributes,
    be16,
    be32,
    ip,
    ipv4,
    ipv6,
    lladdr,
    read,
    s32,
    text,
    u8,
    u16,
    u32,
)
from controller.netlink.rtnl.table import Record, Request, Table

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTNLGRP_LINK = 1
RTEXT_FILTER_SKIP_STATS = 0x8

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

IFINFOMSG = struct.Struct("=BxHiII")  # family, type, index, flags, change


class Link(NamedTuple):
    """An interface.

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


# --- kinds --------------------------------------------------------------------------

TUN_TYPES = {1: "tun", 2: "tap"}  # IFF_TUN, IFF_TAP
MACVLAN_MODES = {1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}
VLAN_PROTOCOLS = {0x8100: "802.1Q", 0x88A8: "802.1ad"}


def named(names: dict[int, str], number: Reader) -> Reader:
    """A number in words, or as digits if there is no word for it."""

    def word(data: bytes) -> str:
        value: int = number(data)
        return names.get(value, str(value))

    return word


GRE: Fields = {  # IFLA_GRE_*, linux/if_tunnel.h
    1: ("link", u32),
    4: ("ikey", be32),
    5: ("okey", be32),
    6: ("local", ip),
    7: ("remote", ip),
    8: ("ttl", u8),
}
IPTUN: Fields = {  # IFLA_IPTUN_*, linux/if_tunnel.h
    1: ("link", u32),
    2: ("local", ip),
    3: ("remote", ip),
    4: ("ttl", u8),
}
INFO_DATA: dict[str, Fields] = {
    "tun": {  # IFLA_TUN_*
        1: ("owner", u32),
        2: ("group", u32),
        3: ("type", named(TUN_TYPES, u8)),
        4: ("pi", u8),
        5: ("vnet_hdr", u8),
        6: ("persist", u8),
        7: ("multi_queue", u8),
        8: ("num_queues", u32),
        9: ("num_disabled_queues", u32),
    },
    "vlan": {  # IFLA_VLAN_*
        1: ("id", u16),
        5: ("protocol", named(VLAN_PROTOCOLS, be16)),
    },
    "macvlan": {1: ("mode", named(MACVLAN_MODES, u32))},  # IFLA_MACVLAN_MODE
    "vxlan": {  # IFLA_VXLAN_*
        1: ("id", u32),
        2: ("group", ipv4),
        3: ("link", u32),
        4: ("local", ipv4),
        7: ("learning", u8),
        11: ("proxy", u8),
        15: ("port", be16),
        16: ("group6", ipv6),
        17: ("local6", ipv6),
        25: ("collect_metadata", u8),
    },
    "bridge": {  # IFLA_BR_*; times in hundredths of a second
        1: ("forward_delay", u32),
        4: ("ageing_time", u32),
        5: ("stp_state", u32),
        6: ("priority", u16),
        7: ("vlan_filtering", u8),
        9: ("group_fwd_mask", u16),
        23: ("mcast_snooping", u8),
        39: ("vlan_default_pvid", u16),
    },
    "ipip": IPTUN,
    "sit": IPTUN,
    "gre": GRE,
    "gretap": GRE,
    "ip6gre": GRE,
    "ip6gretap": GRE,
}


class LinkInfo(NamedTuple):
    """IFLA_LINKINFO: kind, slave_kind and what INFO_DATA knows of the kind."""

    kind: str | None
    slave_kind: str | None
    info: tuple[tuple[str, int | str], ...]


@lru_cache(maxsize=1024)  # most links of a host are alike in this
def link_info(data: bytes) -> LinkInfo:
    nested = dict(attributes(data))
    kind = text(nested[IFLA_INFO_KIND]) if IFLA_INFO_KIND in nested else None
    slave = nested.get(IFLA_INFO_SLAVE_KIND)
    known = INFO_DATA.get(kind or "", {})
    info = read(known, nested.get(IFLA_INFO_DATA, b""))
    return LinkInfo(kind, None if slave is None else text(slave), tuple(info.items()))


def operstate(data: bytes) -> str:
    state = u8(data)
    return OPERSTATES[state] if state < len(OPERSTATES) else str(state)


def alt_names(data: bytes) -> tuple[str, ...]:
    return tuple(
        text(value) for kind, value in attributes(data) if kind == IFLA_ALT_IFNAME
    )


FIELDS: Fields = {
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
    IFLA_LINKINFO: ("linkinfo", link_info),
    IFLA_WIRELESS: ("wireless", bytes),
}
NO_INFO = LinkInfo(None, None, ())


# --- messages -----------------------------------------------------------------------


def decode(body: bytes) -> Record | None:
    """RTM_*LINK of an interface; None for a bridge port's or a wireless event.

    A link that moves to another namespace ends here and begins there.
    """
    family, ifi_type, index, flags, _ = IFINFOMSG.unpack_from(body)
    if family != 0:  # AF_BRIDGE: RTM_DELLINK means "left the bridge"
        return None
    fields = read(FIELDS, body, IFINFOMSG.size)
    if "wireless" in fields:
        return None
    if index <= 0 or "ifname" not in fields:
        raise Malformed(f"interface {index} has no name")
    fields |= fields.pop("linkinfo", NO_INFO)._asdict()
    return Record("link", index, Link(ifi_type=ifi_type, ifi_flags=flags, **fields))


def get_link(ifi_index: int = 0, target: int | None = None) -> bytes:
    """Body of RTM_GETLINK: one interface, or a dump with 0; in namespace `target`."""
    body = IFINFOMSG.pack(0, 0, ifi_index, 0, 0)
    body += attribute(IFLA_EXT_MASK, U32.pack(RTEXT_FILTER_SKIP_STATS))
    if target is not None:
        body += attribute(IFLA_TARGET_NETNSID, S32.pack(target))
    return body


def dumps(target: int | None) -> tuple[Request, ...]:
    return ((RTM_GETLINK, get_link(target=target)),)


TABLE = Table(
    "link",
    (RTNLGRP_LINK,),
    dumps,
    {RTM_NEWLINK: decode, RTM_DELLINK: decode},
    by_nsid=True,
)
