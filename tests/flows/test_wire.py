"""Flows as OpenFlow 1.3 messages: golden octets, and Ryu's own reading of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import arp, wire
from flows.fields import FIELDS
from flows.openflow import (
    CONTROLLER,
    ETH_ARP,
    OWNER,
    OWNER_MASK,
    OXM_ORDER,
    Action,
    Flow,
    GotoTable,
    Metered,
    Move,
    Output,
    PopVlan,
    PushVlan,
    SetField,
    Through,
    oxm,
)
from tests import strategies
from tests.packets import H2
from tests.support.ryu13 import (
    ProtocolDesc,
    ofproto_parser,
    ofproto_v1_3,
    ofproto_v1_3_parser,
)

FLOOD = Flow(6, 0, (), (Output(1), Output(2)))
DROP = Flow(0, 400, oxm(eth_type=ETH_ARP, arp_spa="127.0.0.0/8"), ())


def octets(text: str) -> bytes:
    """Hexadecimal, with comments after '#'."""
    return bytes.fromhex("".join(line.partition("#")[0] for line in text.splitlines()))


# --- golden octets ------------------------------------------------------------------


def test_the_answer_to_an_arp_request_is_encoded_as_the_specification_says() -> None:
    flow = arp.answer(3, 5, IPv4Address("10.0.0.2"), H2)

    assert wire.flow_mod(flow, xid=7) == flow_header(flow) + octets(
        """
        0001 002a                          # OFPMT_OXM, without padding
        00010204 00000005                  # NXM_NX_REG1
        80000606 ffffffffffff              # eth_dst
        80000a02 0806                      # eth_type
        80002a02 0001                      # arp_op
        80002e04 0a000002                  # arp_tpa
        000000000000
        0004 00a0 00000000                 # OFPIT_APPLY_ACTIONS
        ffff 0018 00002320 0006 0030 0000 0000 80000806 80000606  # eth_src->eth_dst
        0019 0010 80000806 020000000002 0000                      # eth_src
        0019 0010 80002a02 0002 000000000000                      # arp_op
        ffff 0018 00002320 0006 0030 0000 0000 80003006 80003206  # arp_sha->arp_tha
        0019 0010 80003006 020000000002 0000                      # arp_sha
        ffff 0018 00002320 0006 0020 0000 0000 80002c04 80002e04  # arp_spa->arp_tpa
        0019 0010 80002c04 0a000002 00000000                      # arp_spa
        0000 0010 fffffff8 0000 000000000000                      # OFPP_IN_PORT
        """
    )


def flow_header(flow: Flow) -> bytes:
    return octets(
        f"""
        04 0e 0100 00000007                # OFPT_FLOW_MOD
        {flow.cookie:016x} 0000000000000000
        03 00 0000 0000 0064               # table, OFPFC_ADD, no timeouts, priority
        ffffffff ffffffff ffffffff 0000 0000
        """
    )


def test_the_vlan_identifier_is_moved_without_the_bit_above_it() -> None:
    assert wire.action(Move("vlan_vid", "reg1", bits=12)) == octets(
        "ffff 0018 00002320 0006 000c 0000 0000 80000c02 00010204"
    )


def test_a_tag_is_pushed_and_popped_as_the_specification_says() -> None:
    assert wire.action(PushVlan()) == octets("0011 0008 8100 0000")
    assert wire.action(PopVlan()) == octets("0012 0008 00000000")


def test_a_far_end_of_a_tunnel_is_its_key_its_address_and_an_output() -> None:
    assert wire.action(Through(9, 5000, "192.0.2.2")) == octets(
        """
        0019 0010 80004c08 0000000000001388        # tunnel_id
        0019 0010 00014004 c0000202 00000000       # NXM_NX_TUN_IPV4_DST
        0000 0010 00000009 0000 000000000000       # OFPAT_OUTPUT
        """
    )
    assert wire.action(Through(9, 5000, "2001:db8::2")) == octets(
        """
        0019 0010 80004c08 0000000000001388
        0019 0010 00014004 00000000 00000000       # not to one of IPv4
        0019 0018 0001dc10 20010db8000000000000000000000002  # NXM_NX_TUN_IPV6_DST
        0000 0010 00000009 0000 000000000000
        """
    )
    assert str(Through(9, 5000, "192.0.2.2")) == (
        "set_field:0x1388->tun_id,set_field:192.0.2.2->tun_dst,output:9"
    )


def test_what_comes_out_of_a_tunnel_is_known_by_its_key_and_its_sender() -> None:
    fields = oxm(in_port=9, tunnel_id="0x1388", tun_ipv4_src="192.0.2.1")
    assert wire.match(fields) == octets(
        """
        0001 0020
        80000004 00000009 80004c08 0000000000001388 00013e04 c0000201
        """
    )


def test_only_the_controller_is_told_how_much_of_a_packet_to_take() -> None:
    assert wire.action(Output(CONTROLLER)) == octets(
        "0000 0010 fffffffd ffff 000000000000"
    )
    assert wire.action(Output(3)) == octets("0000 0010 00000003 0000 000000000000")


def test_a_flow_without_actions_has_no_instructions() -> None:
    assert wire.instructions(()) == b""
    assert wire.instructions((GotoTable(1),)) == octets("0001 0008 01 000000")


def test_deleting_by_cookie_names_every_table_port_and_group() -> None:
    assert wire.delete_by_cookie(0x15A7_0000_0000_0001, xid=9) == octets(
        """
        04 0e 0038 00000009
        15a7000000000001 ffffffffffffffff
        ff 03 0000 0000 0000 ffffffff ffffffff ffffffff 0000 0000
        0001 0004 00000000
        """
    )


def test_a_bundle_opens_adds_and_commits_under_one_xid() -> None:
    inner = wire.delete_by_cookie(1, xid=1)

    opened, added, committed = wire.bundle(3, [inner], xid=7)

    assert opened == octets("04 04 0018 00000007 4f4e4600 000008fc 00000003 0000 0003")
    assert added == (
        octets("04 04 0050 00000007 4f4e4600 000008fd 00000003 0000 0003")
        + wire.delete_by_cookie(1, xid=7)
    )
    assert committed == wire.commit(3, xid=7)


def test_a_prepared_bundle_is_closed_and_not_committed() -> None:
    *_, closed = wire.prepare(3, [], xid=7)

    assert closed == octets("04 04 0018 00000007 4f4e4600 000008fc 00000003 0002 0003")


def test_a_closed_bundle_is_committed_or_discarded() -> None:
    assert wire.commit(3, xid=8) == octets(
        "04 04 0018 00000008 4f4e4600 000008fc 00000003 0004 0003"
    )
    assert wire.discard(3, xid=8) == octets(
        "04 04 0018 00000008 4f4e4600 000008fc 00000003 0006 0003"
    )


def test_a_switch_tells_what_became_of_a_bundle() -> None:
    closed = octets("4f4e4600 000008fc 00000003 0003 0003")

    assert wire.bundle_step(closed) == (3, wire.BUNDLE_CLOSED)
    assert wire.bundle_step(closed[:8]) is None
    assert wire.bundle_step(octets("00002320 0000000f 00000003 0003 0003")) is None


def test_a_packet_out_carries_the_frame_and_where_it_goes() -> None:
    assert (
        wire.packet_out(b"frame", Output(3), xid=1)
        == octets(
            """
        04 0d 002d 00000001 ffffffff fffffffd 0010 000000000000
        0000 0010 00000003 0000 000000000000
        """
        )
        + b"frame"
    )


def test_requests_for_statistics_ask_by_cookie_and_mask() -> None:
    rest = octets(
        """
        0000 00000000 ff 000000 ffffffff ffffffff 00000000
        15a7000000000000 ffff000000000000 0001 0004 00000000
        """
    )
    flows = wire.flow_stats_request(OWNER << 48, OWNER_MASK, xid=2)
    total = wire.aggregate_stats_request(OWNER << 48, OWNER_MASK, xid=2)

    assert flows == octets("04 12 0038 00000002 0001") + rest
    assert total == octets("04 12 0038 00000002 0002") + rest
    assert wire.barrier_request(5) == octets("04 14 0008 00000005")


# --- what cannot be encoded -----------------------------------------------------------


def test_a_flow_of_more_octets_than_a_message_holds_is_refused_by_name() -> None:
    outputs = tuple(Output(port_no) for port_no in range(1, 4200))

    with pytest.raises(wire.TooLong, match="65535"):
        wire.flow_mod(Flow(0, 0, (), outputs))


def test_a_message_that_does_not_fit_into_a_bundle_is_refused_by_name() -> None:
    outputs = tuple(Output(port_no) for port_no in range(1, 4092))
    longest = wire.flow_mod(Flow(0, 0, (), outputs))

    with pytest.raises(wire.TooLong, match="65535"):
        list(wire.bundle(1, [longest], xid=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arp_spa", "10.0.0.300"),
        ("arp_spa", "10.0.0.0/33"),
        ("eth_src", "02:00:00:00:01"),
        ("arp_op", "65536"),
        ("arp_op", "-1"),
        ("in_port", "eth0"),
    ],
)
def test_a_value_that_is_none_of_its_field_is_refused_with_its_name(
    name: str, value: str
) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        wire.oxm_tlv(name, value)


def test_bits_outside_of_a_mask_are_no_part_of_the_value() -> None:
    assert wire.oxm_tlv("arp_spa", "10.1.2.3/8") == wire.oxm_tlv(
        "arp_spa", "10.0.0.0/255.0.0.0"
    )


def test_every_field_that_a_flow_may_match_can_be_encoded() -> None:
    assert set(OXM_ORDER) == set(FIELDS)


# --- what Ryu reads -----------------------------------------------------------------

DATAPATH = ProtocolDesc(ofproto_v1_3.OFP_VERSION)


@given(strategies.flows())
def test_ryu_reads_the_flow_that_was_written(flow: Flow) -> None:
    read = by_ryu(wire.flow_mod(flow, xid=3))

    assert (read.cookie, read.table_id, read.priority) == (
        flow.cookie,
        flow.table,
        flow.priority,
    )
    assert (read.command, read.flags, read.xid) == (ofproto_v1_3.OFPFC_ADD, 0, 3)
    assert dict(read.match.items()) == dict(ryu_match(flow).items())


@given(strategies.flows())
def test_ryu_writes_the_same_instructions(flow: Flow) -> None:
    written = bytearray()
    for instruction in ryu_instructions(flow):
        instruction.serialize(written, len(written))

    assert wire.instructions(flow.actions) == bytes(written)


def by_ryu(message: bytes) -> Any:
    version, kind, length, xid = ofproto_parser.header(message)
    return ofproto_parser.msg(DATAPATH, version, kind, length, xid, message)


IN_RYU = {"ip_ttl": "nw_ttl"}  # it has Open vSwitch's field by Open vSwitch's name


def ryu_match(flow: Flow) -> Any:
    fields = {IN_RYU.get(n, n): ryu_value(n, text) for n, text in flow.match}
    match = ofproto_v1_3_parser.OFPMatch(**fields)
    buffer = bytearray()
    match.serialize(buffer, 0)
    return ofproto_v1_3_parser.OFPMatch.parser(bytes(buffer), 0)


def ryu_value(name: str, text: str) -> Any:
    value, slash, mask = text.partition("/")
    if slash and mask.isdigit():
        network = IPv6Network if ":" in value else IPv4Network
        return tuple(network(text, strict=False).with_netmask.split("/"))
    if ":" in value or "." in value:
        return (value, mask) if slash else value
    return (int(value, 0), int(mask, 0)) if slash else int(value, 0)


def ryu_instructions(flow: Flow) -> Iterator[Any]:
    parser = ofproto_v1_3_parser
    steps = [a for a in flow.actions if not isinstance(a, GotoTable | Metered)]
    for action in flow.actions:
        if isinstance(action, Metered):
            yield parser.OFPInstructionMeter(action.meter_id)
    actions = [ryu_action(a) for a in steps]
    if actions:
        apply = ofproto_v1_3.OFPIT_APPLY_ACTIONS
        yield parser.OFPInstructionActions(apply, actions)
    for action in flow.actions:
        if isinstance(action, GotoTable):
            yield parser.OFPInstructionGotoTable(action.table)


def ryu_action(action: Action) -> Any:
    parser = ofproto_v1_3_parser
    match action:
        case SetField(name, text):
            known_as = IN_RYU.get(name, name)
            return parser.OFPActionSetField(**{known_as: ryu_value(name, text)})
        case Move(source, target, bits):
            width = bits or FIELDS[source].bits
            return parser.NXActionRegMove(source, target, width)
        case Output(port_no):
            whole = ofproto_v1_3.OFPCML_NO_BUFFER if port_no == CONTROLLER else 0
            return parser.OFPActionOutput(port_no, whole)


# --- what a switch answers ------------------------------------------------------------


def entry(flow: Flow, match: bytes | None = None) -> bytes:
    """One flow of an OFPMP_FLOW reply: 42 packets, installed 1.5 seconds ago."""
    tail = (wire.match(flow.match) if match is None else match) + wire.instructions(
        flow.actions
    )
    head = struct.pack("!HBxII", 48 + len(tail), flow.table, 1, 500_000_000)
    head += struct.pack("!HHHH4x", flow.priority, 0, 0, 0)
    return head + struct.pack("!QQQ", flow.cookie, 42, 4242) + tail


@given(strategies.flows())
def test_what_was_written_is_read_back(flow: Flow) -> None:
    canonical = tuple(
        (name, FIELDS[name].show(*FIELDS[name].read(text))) for name, text in flow.match
    )

    [first, second] = wire.flow_stats(entry(DROP) + entry(flow))

    assert first == wire.Installed(0, 400, DROP.cookie, 42, 1.5, DROP.match)
    assert second == wire.Installed(
        flow.table, flow.priority, flow.cookie, 42, 1.5, canonical
    )


def test_a_field_that_we_do_not_use_keeps_its_number_and_octets() -> None:
    match = octets(
        "0001 001a 80000004 00000001 80001a02 0050 8001020400000007 000000000000"
    )

    [installed] = wire.flow_stats(entry(FLOOD, match))

    assert installed.match == (
        ("in_port", "1"),
        ("0x8000:13", "0050"),
        ("0x8001:1", "00000007"),
    )


@pytest.mark.parametrize(
    "match",
    [
        "0001 0008 80000c00 0000000000000000",  # a value of no octets, for ever
        "0001 000a 80000004 0000 000000000000",  # a value that is cut off
        "0001 0006 8000 0000",  # half a TLV header
        "0001 000a 80000002 0001 000000000000",  # in_port has four octets
        "0001 ffff 00000000",
        "0001 0003 00000000",
        "0000 0004 00000000",  # OFPMT_STANDARD
    ],
)
def test_an_unreadable_match_is_one_named_error(match: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.flow_stats(entry(FLOOD, octets(match)))


def test_a_cut_off_answer_is_one_named_error() -> None:
    whole = entry(FLOOD)

    for length in range(1, len(whole)):
        with pytest.raises(wire.Malformed):
            wire.flow_stats(whole[:length])
    with pytest.raises(wire.Malformed):
        wire.aggregate_stats(bytes(23))


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_what_a_switch_refuses_is_read_as_ryu_writes_it(
    kind: int, code: int, xid: int
) -> None:
    written = ofproto_v1_3_parser.OFPErrorMsg(
        ProtocolDesc(version=4), type_=kind, code=code, data=b"x"
    )
    written.xid = xid
    written.serialize()
    octets = bytes(written.buf)
    assert wire.refusal(octets) == (kind, code, 0)
    assert wire.xid_of(octets) == xid


def test_what_an_experimenter_refuses_is_its_own() -> None:
    body = struct.pack("!HHI", 0xFFFF, 2305, 0x4F4E4600)  # ONF, EXT-230: bundle exists
    assert wire.refusal(wire.message(1, body, 7)) == (0xFFFF, 2305, 0x4F4E4600)


def test_an_aggregate_says_how_much_there_is() -> None:
    body = struct.pack("!QQI4x", 5, 500, 2)

    assert wire.aggregate_stats(body) == wire.Aggregate(5, 500, 2)


def test_no_flows_are_an_answer_too() -> None:
    assert wire.flow_stats(b"") == []


def test_of_a_long_list_only_the_cookies_are_read_but_of_some_tables() -> None:
    flows = [DROP, FLOOD, Flow(7, 1, (), (GotoTable(8),))]
    body = b"".join(map(entry, flows))
    cookies = [flow.cookie for flow in flows]
    listed = partial(wire.listed, read=wire.installed)
    assert listed(body, {7}) == (cookies, wire.flow_stats(entry(flows[2])))
    assert listed(body, range(255)) == (cookies, wire.flow_stats(body))
    assert wire.listed(body, {7}, lambda octets: None) == (cookies, [])
    with pytest.raises(wire.Malformed):
        listed(body[:-1], {7})
    with pytest.raises(wire.Malformed):
        listed(body[:-40], {7})
