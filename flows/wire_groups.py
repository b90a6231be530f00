"""Groups as OpenFlow 1.3 messages, and a switch's answers as values.

Octets in, octets out, as in `flows.wire`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from struct import Struct, error, pack

from flows.openflow import Bucket, Group, GroupKind, Output, Resubmit, Through
from flows.wire import (
    ACTION_OUTPUT,
    ANY,
    MULTIPART_REQUEST,
    Malformed,
    action,
    message,
)

GROUP_MOD = 15
ADD_OR_MODIFY = 0x8000  # a command of Open vSwitch's
DELETE = 2  # OFPGC_DELETE
MULTIPART_DESC = 7  # OFPMP_GROUP_DESC

MOD_HEAD = Struct("!HBxI")  # command or length, type, group_id
BUCKET = Struct("!HHII4x")  # length, weight, watch_port, watch_group
OUTPUT = Struct("!HHIH6x")  # type, length, port_no, max_len
KINDS = {*GroupKind}


def put_group(group: Group, *, xid: int = 0) -> bytes:
    """Make the group, or give it these buckets; flows that use it stay."""
    buckets = b"".join(bucket(one, group.kind) for one in group.buckets)
    head = MOD_HEAD.pack(ADD_OR_MODIFY, group.kind, group.group_id)
    return message(GROUP_MOD, head + buckets, xid)


def delete_group(group_id: int, *, xid: int = 0) -> bytes:
    """OFPGC_DELETE: the switch deletes the flows that use it, too (6.7)."""
    return message(GROUP_MOD, MOD_HEAD.pack(DELETE, 0, group_id), xid)


def bucket(one: Bucket, kind: GroupKind) -> bytes:
    """A weight is of select groups alone (7.3.4.2)."""
    octets = action(one.action)
    weight = 1 if kind is GroupKind.SELECT else 0
    size = BUCKET.size + len(octets)
    return BUCKET.pack(size, weight, one.watch_port or ANY, ANY) + octets


def desc_request(xid: int) -> bytes:
    """OFPMP_GROUP_DESC: which groups are there?"""
    return message(MULTIPART_REQUEST, pack("!HH4x", MULTIPART_DESC, 0), xid)


# --- what a switch answers ------------------------------------------------------------


def descs(body: bytes) -> Iterator[Group]:
    """The groups of an OFPMP_GROUP_DESC reply; one that we would not have made has no
    buckets."""
    start = 0
    while start < len(body):
        size, kind, group_id = head_of(MOD_HEAD, body, start)
        end = start + size
        if size < MOD_HEAD.size or end > len(body):
            raise Malformed(f"group at octet {start} of {len(body)}: bad length")
        found = [*buckets(body[start + MOD_HEAD.size : end], kind)]
        known = tuple(one for one in found if one is not None)
        is_alike = kind in KINDS and len(known) == len(found)
        told = GroupKind(kind) if kind in KINDS else GroupKind.SELECT
        yield Group(group_id, told, known if is_alike else ())
        start = end


def buckets(octets: bytes, kind: int) -> Iterator[Bucket | None]:
    """None for one that is none of ours."""
    start = 0
    while start < len(octets):
        size, weight, port_no, group_id = head_of(BUCKET, octets, start)
        end = start + size
        if size < BUCKET.size or end > len(octets):
            raise Malformed(f"bucket at octet {start} of {len(octets)}: bad length")
        does = action_of(octets[start + BUCKET.size : end])
        is_plain = group_id == ANY and weight == (kind == GroupKind.SELECT)
        watched = 0 if port_no == ANY else port_no
        yield Bucket(does, watched) if does is not None and is_plain else None
        start = end


def action_of(octets: bytes) -> Output | Through | Resubmit | None:
    """What a bucket does, if it is what we give to buckets."""
    if len(octets) == OUTPUT.size:
        kind, _, port_no, _ = OUTPUT.unpack(octets)
        if kind == ACTION_OUTPUT:
            return Output(port_no)
        table = octets[TABLE_OF_RESUBMIT]
        if octets == action(Resubmit(table)):
            return Resubmit(table)
    address = ADDRESS_OF_THROUGH.get(len(octets))
    if address is None:
        return None
    port_no = OUTPUT.unpack(octets[-OUTPUT.size :])[2]
    tunnel_id = int.from_bytes(octets[TUNNEL_ID_OF_THROUGH])
    found = Through(port_no, tunnel_id, str(ip_address(octets[address])))
    return found if octets == action(found) else None


# Of what leaves through a tunnel: octets of its two fields, by how long all of it is.
TUNNEL_ID_OF_THROUGH = slice(8, 16)
ADDRESS_OF_THROUGH = {48: slice(24, 28), 72: slice(40, 56)}
TABLE_OF_RESUBMIT = 12  # octets of an NXAST_RESUBMIT_TABLE before its table


def head_of(head: Struct, octets: bytes, start: int) -> tuple[int, ...]:
    try:
        return head.unpack_from(octets, start)
    except error:
        raise Malformed(f"group at octet {start} of {len(octets)}: cut off") from None
