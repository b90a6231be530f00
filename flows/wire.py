"""Flows as OpenFlow 1.3 messages, and a switch's answers as values.

Octets in, octets out: no socket, no framework.  Section numbers are those of the
OpenFlow 1.3.5 specification; bundles are the ONF's extension 230 to it, and the actions
that move fields, resubmit to a table and tell the controller by a meter are Open
vSwitch's (nicira-ext.h).  Meters are in `flows.wire_meters`, groups in
`flows.wire_groups`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import starmap
from struct import Struct, error, pack
from typing import Any, NamedTuple, TypeVar

from flows.fields import BY_TYPE, FIELDS, Field
from flows.openflow import (
    CONTROLLER,
    ETH_VLAN,
    OXM_ORDER,
    Action,
    Anew,
    Flow,
    GotoTable,
    Group,
    Match,
    Metered,
    Move,
    Output,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    Tell,
    Through,
)

T = TypeVar("T")

VERSION = 4  # OpenFlow 1.3
EXPERIMENTER, PACKET_IN, PACKET_OUT, FLOW_MOD = 4, 10, 13, 14
MULTIPART_REQUEST, BARRIER_REQUEST = 18, 20
ADD, DELETE = 0, 3  # ofp_flow_mod_command
APPLY_ACTIONS, GOTO_TABLE, METER = 4, 1, 6  # ofp_instruction_type
ACTION_OUTPUT, ACTION_GROUP, ACTION_SET_FIELD = 0, 22, 25
ACTION_PUSH_VLAN, ACTION_POP_VLAN = 17, 18
ACTION_EXPERIMENTER = 0xFFFF
MULTIPART_FLOW, MULTIPART_AGGREGATE = 1, 2
MATCH_OXM = 1
ALL_TABLES = 0xFF  # OFPTT_ALL
ANY = 0xFFFFFFFF  # OFPP_ANY, OFPG_ANY
NO_BUFFER = 0xFFFFFFFF
WHOLE_PACKET = 0xFFFF  # OFPCML_NO_BUFFER
ALL_ONES = (1 << 64) - 1

NICIRA, REG_MOVE, RESUBMIT_TABLE, CONTROLLER2 = 0x00002320, 6, 14, 37
THE_IN_PORT = 0xFFF8  # OFPP_IN_PORT, as NXAST_RESUBMIT_TABLE has it
MAX_LEN, METER_ID = 0, 5  # nx_action_controller2_prop_type
ONF, BUNDLE_CONTROL, BUNDLE_ADD = 0x4F4E4600, 2300, 2301
BUNDLE_OPEN, BUNDLE_CLOSE, BUNDLE_COMMIT, BUNDLE_DISCARD = 0, 2, 4, 6
BUNDLE_OPENED, BUNDLE_CLOSED, BUNDLE_COMMITTED, BUNDLE_DISCARDED = 1, 3, 5, 7
ATOMIC_AND_ORDERED = 1 | 2

LONGEST = 0xFFFF  # octets of a message: its length field has 16 bits
REMEMBERED = 1 << 12  # TLVs whose octets are kept for the next flow

HEADER = Struct("!BBHI")  # version, type, length, xid
FLOW_MOD_HEAD = Struct("!BBHIQQBBHHHIIIHxx")  # the header of the message included
pack_flow_mod = FLOW_MOD_HEAD.pack
MATCH_HEAD = Struct("!HH")
PADDING = tuple(bytes(n) for n in range(8))
GOTO_TABLES = tuple(pack("!HHB3x", GOTO_TABLE, 8, table) for table in range(256))
FLOW_REQUEST = Struct("!HH4xB3xII4xQQ")  # the header of the multipart message included
FLOW_ENTRY = Struct("!2xBxIIH6x4xQQ8xHH")  # the header of its match included
ENTRY_HEAD = Struct("!HB21xQ")  # of a flow entry: length, table, and cookie
AGGREGATE = Struct("!QQI4x")
BUNDLE_REPLY = Struct("!IIIHxx")
TLV = Struct("!HBB")  # oxm_class, oxm_field and hasmask, length


class TooLong(ValueError):
    """A message of more than 65535 octets, which OpenFlow cannot carry."""


class Malformed(ValueError):
    """A switch's answer that cannot be read."""


# --- messages -----------------------------------------------------------------------


def message(kind: int, body: bytes, xid: int) -> bytes:
    return HEADER.pack(VERSION, kind, fitting(HEADER.size + len(body)), xid) + body


def fitting(length: int) -> int:
    if length > LONGEST:
        raise TooLong(f"an OpenFlow message has at most {LONGEST} octets, not {length}")
    return length


def flow_mod(flow: Flow, *, cookie: int = 0, xid: int = 0) -> bytes:
    """OFPFC_ADD: install the flow, in place of one with the same match (6.4).

    cookie  another one than the flow's own
    """
    octets = match(flow.match) + instructions(flow.actions)
    length = fitting(FLOW_MOD_HEAD.size + len(octets))
    cookie, timeout, priority = cookie or flow.cookie, flow.timeout, flow.priority
    head = pack_flow_mod(
        VERSION, FLOW_MOD, length, xid, cookie, 0, flow.table, ADD,
        0, timeout, priority, NO_BUFFER, ANY, ANY, 0,
    )  # fmt: skip
    return head + octets


def delete_by_cookie(cookie: int, mask: int = ALL_ONES, *, xid: int = 0) -> bytes:
    """OFPFC_DELETE: whatever has this cookie, in any table."""
    length = FLOW_MOD_HEAD.size + len(ANYTHING)
    head = pack_flow_mod(
        VERSION, FLOW_MOD, length, xid, cookie, mask, ALL_TABLES, DELETE,
        0, 0, 0, NO_BUFFER, ANY, ANY, 0,
    )  # fmt: skip
    return head + ANYTHING


def bundle(bundle_id: int, messages: Iterable[bytes], *, xid: int) -> Iterator[bytes]:
    """The messages as one change: open, add, commit.

    What fails at the commit (a full table, an unknown port) undoes the whole change.
    But a message that the switch cannot even read is refused when it is added, and
    the others are committed without it; see `prepare`.
    """
    yield from opened(bundle_id, messages, xid)
    yield commit(bundle_id, xid=xid)


def prepare(bundle_id: int, messages: Iterable[bytes], *, xid: int) -> Iterator[bytes]:
    """The messages as one change, complete but not yet in effect.

    When the switch has told BUNDLE_CLOSED: `commit`, if no error came before it, else
    `discard`.  So nothing at all is changed unless everything can be.
    """
    yield from opened(bundle_id, messages, xid)
    yield bundle_control(bundle_id, BUNDLE_CLOSE, xid)


def opened(bundle_id: int, messages: Iterable[bytes], xid: int) -> Iterator[bytes]:
    """All bear the same xid (EXT-230 asks it of a message and what wraps it), so that
    an error names the bundle by its xid and the message by the octets it quotes."""
    yield bundle_control(bundle_id, BUNDLE_OPEN, xid)
    about = pack("!IIIIHH", xid, ONF, BUNDLE_ADD, bundle_id, 0, ATOMIC_AND_ORDERED)
    size, same = 4 + len(about), pack("!I", xid)
    for inner in messages:
        head = pack("!BBH", VERSION, EXPERIMENTER, fitting(size + len(inner)))
        yield b"".join((head, about, inner[:4], same, inner[8:]))


def commit(bundle_id: int, *, xid: int) -> bytes:
    return bundle_control(bundle_id, BUNDLE_COMMIT, xid)


def discard(bundle_id: int, *, xid: int) -> bytes:
    return bundle_control(bundle_id, BUNDLE_DISCARD, xid)


def bundle_control(bundle_id: int, step: int, xid: int) -> bytes:
    fields = (ONF, BUNDLE_CONTROL, bundle_id, step, ATOMIC_AND_ORDERED)
    return message(EXPERIMENTER, pack("!IIIHH", *fields), xid)


def with_xid(inner: bytes, xid: int) -> bytes:
    return inner[:4] + pack("!I", xid) + inner[8:]


def barrier_request(xid: int) -> bytes:
    return message(BARRIER_REQUEST, b"", xid)


def packet_out(
    data: bytes, *actions: Action, in_port: int = CONTROLLER, xid: int = 0
) -> bytes:
    """Send a frame.  Open vSwitch sends nothing out of `in_port` itself (5.12)."""
    octets = b"".join(map(action, actions))
    head = pack("!IIH6x", NO_BUFFER, in_port, fitting(len(octets)))
    return message(PACKET_OUT, head + octets + data, xid)


def flow_stats_request(
    cookie: int, mask: int = ALL_ONES, *, table: int = ALL_TABLES, xid: int = 0
) -> bytes:
    """Which flows have this cookie under this mask?"""
    return stats_request(MULTIPART_FLOW, cookie, mask, table, xid)


def aggregate_stats_request(
    cookie: int, mask: int = ALL_ONES, *, table: int = ALL_TABLES, xid: int = 0
) -> bytes:
    """How many flows have this cookie under this mask?"""
    return stats_request(MULTIPART_AGGREGATE, cookie, mask, table, xid)


def stats_request(kind: int, cookie: int, mask: int, table: int, xid: int) -> bytes:
    head = FLOW_REQUEST.pack(kind, 0, table, ANY, ANY, cookie, mask)
    return message(MULTIPART_REQUEST, head + ANYTHING, xid)


# --- match, instructions, actions ---------------------------------------------------


def match(fields: Match) -> bytes:
    octets = b"".join(starmap(oxm_tlv, fields))
    size = MATCH_HEAD.size + len(octets)
    return MATCH_HEAD.pack(MATCH_OXM, size) + octets + PADDING[-size % 8]


@lru_cache(maxsize=REMEMBERED)
def oxm_tlv(name: str, text: str) -> bytes:
    field = FIELDS[name]
    value, mask = field.read(text)
    octets = value.to_bytes(field.width, "big")
    has_mask = mask != field.ones
    if has_mask:
        octets += mask.to_bytes(field.width, "big")
    number = field.number << 1 | has_mask
    return TLV.pack(field.oxm_class, number, len(octets)) + octets


ANYTHING = match(())


def instructions(actions: tuple[Action, ...]) -> bytes:
    """OFPIT_METER, OFPIT_APPLY_ACTIONS and OFPIT_GOTO_TABLE; none means drop (5.4)."""
    before, applied, after = b"", b"", b""
    for step in actions:
        if isinstance(step, GotoTable):
            after += GOTO_TABLES[step.table]
        elif isinstance(step, Metered):
            before += pack("!HHI", METER, 8, step.meter_id)
        else:
            applied += ENCODED[type(step)](step)
    if applied:
        applied = pack("!HH4x", APPLY_ACTIONS, fitting(8 + len(applied))) + applied
    return before + applied + after


def action(step: Action) -> bytes:
    """Nothing for what is an instruction (`instructions`)."""
    encode = ENCODED.get(type(step))
    return encode(step) if encode else b""


def output(step: Output) -> bytes:
    max_len = WHOLE_PACKET if step.port_no == CONTROLLER else 0
    return pack("!HHIH6x", ACTION_OUTPUT, 16, step.port_no, max_len)


def through(step: Through) -> bytes:
    return b"".join(ENCODED[type(one)](one) for one in step.steps)


def push_vlan(step: PushVlan) -> bytes:
    return pack("!HHH2x", ACTION_PUSH_VLAN, 8, ETH_VLAN)


def pop_vlan(step: PopVlan) -> bytes:
    return pack("!HH4x", ACTION_POP_VLAN, 8)


def set_field(step: SetField) -> bytes:
    tlv = oxm_tlv(step.field, step.value)
    rest = -(MATCH_HEAD.size + len(tlv)) % 8
    length = MATCH_HEAD.size + len(tlv) + rest
    return MATCH_HEAD.pack(ACTION_SET_FIELD, length) + tlv + PADDING[rest]


def reg_move(step: Move) -> bytes:
    return moved(step.source, step.target, step.bits)


@lru_cache(maxsize=REMEMBERED)
def moved(source: str, target: str, bits: int) -> bytes:
    one, other = FIELDS[source], FIELDS[target]
    fields = nxm_header(one) + nxm_header(other)
    return nicira(REG_MOVE, pack("!HHH", bits or one.bits, 0, 0) + fields)


def resubmit(step: Resubmit) -> bytes:
    return nicira(RESUBMIT_TABLE, pack("!HB3x", THE_IN_PORT, step.table))


def group(step: Group) -> bytes:
    return pack("!HHI", ACTION_GROUP, 8, step.group_id)


def anew(step: Anew) -> bytes:
    return group(step.group)


def tell(step: Tell) -> bytes:
    """The whole packet.  Properties are type, length and value, padded to 8 octets."""
    max_len = pack("!HHH2x", MAX_LEN, 6, WHOLE_PACKET)
    meter = pack("!HHI", METER_ID, 8, step.meter_id)
    return nicira(CONTROLLER2, bytes(6) + max_len + meter)


def nicira(subtype: int, body: bytes) -> bytes:
    length = 10 + len(body)
    head = pack("!HHIH", ACTION_EXPERIMENTER, length, NICIRA, subtype)
    return head + body


def nxm_header(field: Field) -> bytes:
    return TLV.pack(field.oxm_class, field.number << 1, field.width)


ENCODED: dict[type[Action], Callable[[Any], bytes]] = {
    Output: output,
    Through: through,
    SetField: set_field,
    Move: reg_move,
    PushVlan: push_vlan,
    PopVlan: pop_vlan,
    Resubmit: resubmit,
    Group: group,
    Anew: anew,
    Tell: tell,
}


# --- what a switch answers ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Installed:
    """One flow that a switch holds (OFPMP_FLOW, 7.3.5.2), without its actions.

    duration      seconds since it was installed
    packet_count  since it was installed
    match         as in `Flow`; a field that this controller does not use is named by
                  its class and number, as "0x8000:40", with its octets for a value
    """

    table: int
    priority: int
    cookie: int
    packet_count: int
    duration: float
    match: Match


@dataclass(frozen=True, slots=True)
class Aggregate:
    """How much there is (OFPMP_AGGREGATE, 7.3.5.3)."""

    packet_count: int
    byte_count: int
    flow_count: int


def bundle_step(body: bytes) -> tuple[int, int] | None:
    """bundle_id and what became of it, as BUNDLE_CLOSED; None if the body of this
    OFPT_EXPERIMENTER message tells of something else."""
    if len(body) < BUNDLE_REPLY.size:
        return None
    experimenter, kind, bundle_id, step = BUNDLE_REPLY.unpack_from(body)
    is_reply = (experimenter, kind) == (ONF, BUNDLE_CONTROL)
    return (bundle_id, step) if is_reply else None


def flow_stats(body: bytes) -> list[Installed]:
    """The body of an OFPMP_FLOW reply: what follows the header of the multipart
    message.  A big table comes in several such messages."""
    return [installed(body[start:end]) for start, end in entries(body)]


def listed(
    body: bytes, tables: Container[int], read: Callable[[bytes], T | None]
) -> tuple[list[int], list[T]]:
    """Likewise, in a fraction of the time: cookies of all, and those entries of some
    tables that are read as something."""
    cookies: list[int] = []
    some: list[T] = []
    head, start, size, least = ENTRY_HEAD.unpack_from, 0, len(body), FLOW_ENTRY.size
    while start < size:
        if size - start < least:
            raise bad_length(start, size)
        length, table, cookie = head(body, start)
        end = start + length
        if length < least or end > size:
            raise bad_length(start, size)
        cookies.append(cookie)
        if table in tables and (found := read(body[start:end])):
            some.append(found)
        start = end
    return cookies, some


def entries(body: bytes) -> Iterator[tuple[int, int]]:
    """Where each entry begins and ends: its first 16 bits are its length."""
    start, size, least = 0, len(body), FLOW_ENTRY.size
    while start < size:
        end = start + int.from_bytes(body[start : start + 2], "big")
        if end < start + least or end > size:
            raise bad_length(start, size)
        yield start, end
        start = end


def bad_length(start: int, size: int) -> Malformed:
    return Malformed(f"flow entry at octet {start} of {size}: bad length")


def entry_match(entry: bytes) -> tuple[int, int, bytes]:
    """table, cookie, and the fields of its match as they are."""
    table, _, _, _, cookie, _, kind, size = FLOW_ENTRY.unpack_from(entry)
    end = FLOW_ENTRY.size - 4 + size
    if kind != MATCH_OXM or size < 4 or end > len(entry):
        raise Malformed(f"flow {cookie:#x}: bad match")
    return table, cookie, entry[FLOW_ENTRY.size : end]


def installed(entry: bytes) -> Installed:
    table, seconds, nanoseconds, priority, cookie, packets, kind, size = (
        FLOW_ENTRY.unpack_from(entry)
    )
    end = FLOW_ENTRY.size - 4 + size
    if kind != MATCH_OXM or size < 4 or end > len(entry):
        raise Malformed(f"flow {cookie:#x}: bad match")
    fields = read_match(entry[FLOW_ENTRY.size : end])
    return Installed(
        table, priority, cookie, packets, seconds + nanoseconds / 1e9, fields
    )


def aggregate_stats(body: bytes) -> Aggregate:
    try:
        return Aggregate(*AGGREGATE.unpack_from(body))
    except error:
        raise Malformed(f"an aggregate of {len(body)} octets") from None


def read_match(octets: bytes) -> Match:
    """OXM TLVs as names and values, in the order that flows of ours have them."""
    fields = [read_tlv(tlv) for tlv in tlvs(octets)]
    last = len(OXM_ORDER)
    return tuple(sorted(fields, key=lambda pair: OXM_ORDER.get(pair[0], last)))


def tlvs(octets: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(octets):
        if len(octets) < start + 4 or octets[start + 3] == 0:
            raise Malformed(f"OXM field at octet {start} of {len(octets)}: no value")
        end = start + 4 + octets[start + 3]
        if end > len(octets):
            raise Malformed(f"OXM field at octet {start} of {len(octets)}: cut off")
        yield octets[start:end]
        start = end


@lru_cache(maxsize=REMEMBERED)
def read_tlv(tlv: bytes) -> tuple[str, str]:
    oxm_class, number, _ = TLV.unpack_from(tlv)
    number, has_mask = number >> 1, number & 1
    value = tlv[TLV.size :]
    field = BY_TYPE.get((oxm_class, number))
    if field is None:
        return f"{oxm_class:#06x}:{number}", value.hex()
    if len(value) != field.width << has_mask:
        raise Malformed(f"{field.name}: a value of {len(value)} octets")
    number = int.from_bytes(value[: field.width], "big")
    mask = int.from_bytes(value[field.width :], "big") if has_mask else field.ones
    return field.name, field.show(number, mask)


# --- what a switch sends by itself ----------------------------------------------------

PACKET_IN_TABLE, PACKET_IN_COOKIE, PACKET_IN_MATCH = 15, 16, 24  # octets before (7.4.1)
EXPERIMENTER_ERROR = 0xFFFF  # OFPET_EXPERIMENTER (7.4.4)
IN_PORT = b"\x80\x00\x00"  # OFPXMC_OPENFLOW_BASIC, OFPXMT_OFB_IN_PORT << 1


def packet_in_table(message: bytes) -> int:
    """The table of the flow that has sent an OFPT_PACKET_IN."""
    return message[PACKET_IN_TABLE]


def packet_in(message: bytes) -> tuple[int, int, bytes]:
    """cookie, in_port and data of an OFPT_PACKET_IN; in_port is 0 if it names none."""
    cookie = int.from_bytes(message[PACKET_IN_COOKIE:PACKET_IN_MATCH])
    size = int.from_bytes(message[PACKET_IN_MATCH + 2 : PACKET_IN_MATCH + 4])
    fields = message[PACKET_IN_MATCH + 4 : PACKET_IN_MATCH + size]
    ports = (tlv[TLV.size :] for tlv in tlvs(fields) if tlv[:3] == IN_PORT)
    in_port = int.from_bytes(next(ports, b""))
    return cookie, in_port, message[PACKET_IN_MATCH + -(-size // 8) * 8 + 2 :]


def xid_of(message: bytes) -> int:
    """Of any message (7.1): a reply has that of its request."""
    return int.from_bytes(message[4:8])


class Refusal(NamedTuple):
    """What a switch has refused.

    kind          ofp_error_type
    code          what of that kind; of an experimenter's error, its exp_type
    experimenter  whose it is, 0 of any other
    """

    kind: int
    code: int
    experimenter: int


def refusal(message: bytes) -> Refusal:
    """An OFPT_ERROR (7.4.4)."""
    kind, code = (int.from_bytes(message[at : at + 2]) for at in (8, 10))
    whose = message[12:16] if kind == EXPERIMENTER_ERROR else b""
    return Refusal(kind, code, int.from_bytes(whose))


def multipart_kind(message: bytes) -> int:
    """ofp_multipart_type of an OFPT_MULTIPART_REPLY."""
    return int.from_bytes(message[8:10])


def multipart_header(message: bytes) -> tuple[int, int]:
    """xid, and flags of an OFPT_MULTIPART_REPLY (7.3.5)."""
    return xid_of(message), int.from_bytes(message[10:12])
