"""Netlink messages and their attributes: octets to pieces and back (linux/netlink.h).

In host byte order, as netlink is: a conversation within one machine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, NamedTuple

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR = 0x1, 0x4, 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG = 1
NLA_TYPE_MASK = 0x3FFF

NLMSGHDR = struct.Struct("=IHHII")  # len, type, flags, seq, pid
NLATTR = struct.Struct("=HH")  # nla_len, nla_type
U8, U16, U32 = struct.Struct("=B"), struct.Struct("=H"), struct.Struct("=I")
S32, U64 = struct.Struct("=i"), struct.Struct("=Q")
U16_BE, U32_BE = struct.Struct(">H"), struct.Struct(">I")

Reader = Callable[[bytes], Any]


class Malformed(ValueError):
    """A message that is not what its header says.  Nothing of it is believed."""


class Message(NamedTuple):
    """One netlink message: its header's fields and what follows the header."""

    type: int
    flags: int
    seq: int
    body: bytes


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


# --- values of attributes -----------------------------------------------------------


def text(data: bytes) -> str:
    """A name as the kernel stores it: any octets, up to the first NUL."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def lladdr(data: bytes) -> str:
    """A link-layer address of any length as "02:00:00:00:00:01"."""
    return data.hex(":")


def u8(data: bytes) -> int:
    return int(U8.unpack(data)[0])


def u16(data: bytes) -> int:
    return int(U16.unpack(data)[0])


def be16(data: bytes) -> int:
    return int(U16_BE.unpack(data)[0])


def u32(data: bytes) -> int:
    return int(U32.unpack(data)[0])


def be32(data: bytes) -> int:
    return int(U32_BE.unpack(data)[0])


def s32(data: bytes) -> int:
    return int(S32.unpack(data)[0])


def be64(data: bytes) -> int:
    (value,) = struct.unpack(">Q", data)
    return int(value)


def ipv4(data: bytes) -> str:
    return inet_ntop(AF_INET, data)


def ipv6(data: bytes) -> str:
    return inet_ntop(AF_INET6, data)


def ip(data: bytes) -> str:
    """IPv4 or IPv6, told apart by their length."""
    return ipv4(data) if len(data) == 4 else ipv6(data)


Fields = dict[int, tuple[str, Reader]]


def read(fields: Fields, data: bytes, at: int = 0) -> dict[str, Any]:
    """The attributes from `at` on that `fields` names, read."""
    found: dict[str, Any] = {}
    end = len(data)
    unpack = NLATTR.unpack_from
    while at + 4 <= end:
        length, kind = unpack(data, at)
        if length < 4 or at + length > end:
            raise Malformed(f"nla_len {length} at {at} of {end} octets")
        field = fields.get(kind & NLA_TYPE_MASK)
        if field is not None:  # of forty attributes of a link, thirteen are
            found[field[0]] = field[1](data[at + 4 : at + length])
        at += (length + 3) & ~3
    return found


# --- errors -------------------------------------------------------------------------


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


# --- writing ------------------------------------------------------------------------


def attribute(kind: int, payload: bytes) -> bytes:
    return NLATTR.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def encode(kind: int, flags: int, seq: int, body: bytes) -> bytes:
    """A request; the kernel fills in our port."""
    return NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags, seq, 0) + body
