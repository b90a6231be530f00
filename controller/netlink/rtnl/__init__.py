"""rtnetlink messages to rows and back (RFC 3549; linux/rtnetlink.h), a module a table.

Decoding ends in a value, in None for a message that no table is made of, or in
`Malformed`.  Names are those of the kernel's headers.
"""

from __future__ import annotations

import struct

from controller.netlink.rtnl import (
    addr,
    link,
    neigh,
    netconf,
    nexthop,
    nsid,
    route,
    rule,
    tc,
)
from controller.netlink.rtnl.framing import Malformed, Message, messages
from controller.netlink.rtnl.table import Decoder, NsidMessage, Record, Table, Value

__all__ = [
    "DECODERS",
    "TABLES",
    "Malformed",
    "Message",
    "NsidMessage",
    "Record",
    "Table",
    "Value",
    "decode",
    "messages",
]

# In the order in which a picture is told.
TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        nsid.TABLE,
        link.TABLE,
        addr.TABLE,
        neigh.NEIGH,
        neigh.FDB,
        route.TABLE,
        rule.TABLE,
        nexthop.TABLE,
        netconf.TABLE,
        tc.TABLE,
    )
}
DECODERS: dict[int, Decoder] = {
    kind: decoder
    for table in TABLES.values()
    for kind, decoder in table.decoders.items()
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
    except (struct.error, ValueError, OverflowError) as error:
        raise Malformed(f"nlmsg_type {message.type}: {error}") from error
