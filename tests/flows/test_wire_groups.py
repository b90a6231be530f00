"""Groups as OpenFlow 1.3 messages: golden octets, and Ryu's reading."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import wire, wire_groups
from flows.openflow import Anew, Bucket, Group, GroupKind, Output, Resubmit, Through
from tests.flows.test_wire import octets
from tests.flows.test_wire_meters import DATAPATH, answer
from tests.support.ryu13 import ofproto_v1_3_parser

DETOUR = Group(
    0x15A74711,
    GroupKind.FAST_FAILOVER,
    (Bucket(Output(3), watch_port=3), Bucket(Output(4), watch_port=4)),
)
PORTS = st.integers(1, 0xFF00)

FAR = st.builds(
    Through,
    PORTS,
    st.integers(0, (1 << 24) - 1),
    st.sampled_from(["192.0.2.2", "255.255.255.255", "2001:db8::2", "::"]),
)

groups = st.builds(
    Group,
    st.integers(0, 0xFFFFFF00),
    st.sampled_from(GroupKind),
    st.lists(
        st.builds(
            Bucket,
            st.builds(Output, PORTS) | st.builds(Resubmit, st.integers(0, 254)) | FAR,
            st.just(0) | PORTS,
        ),
        max_size=8,
    ).map(tuple),
)


def described(group: Group) -> bytes:
    """The body of an OFPMP_GROUP_DESC reply: as a group-mod, with its own length."""
    body = wire_groups.put_group(group)[8:]
    return struct.pack("!H", len(body)) + body[2:]


def test_a_group_is_an_action_by_its_number() -> None:
    assert wire.action(DETOUR) == octets("0016 0008 15a74711")
    assert wire.action(Anew(1)) == octets("0016 0008 15a70001")


def test_a_fast_failover_group_watches_the_ports_that_it_sends_to() -> None:
    assert wire_groups.put_group(DETOUR, xid=7) == octets(
        """
        04 0f 0050 00000007                        # OFPT_GROUP_MOD
        8000 03 00 15a74711                        # add or modify, OFPGT_FF
        0020 0000 00000003 ffffffff 00000000       # watch_port 3, OFPG_ANY
        0000 0010 00000003 0000 000000000000       # OFPAT_OUTPUT
        0020 0000 00000004 ffffffff 00000000
        0000 0010 00000004 0000 000000000000
        """
    )


def test_a_group_with_one_bucket_goes_on_in_a_table() -> None:
    assert wire_groups.put_group(Anew(1).group, xid=7) == octets(
        """
        04 0f 0030 00000007                # OFPT_GROUP_MOD
        8000 01 00 15a70001                # add or modify, OFPGT_SELECT
        0020 0001 ffffffff ffffffff 00000000
        ffff 0010 00002320 000e fff8 01 000000
        """
    )


def test_a_group_is_deleted_by_its_number() -> None:
    assert wire_groups.delete_group(0x15A74711, xid=7) == octets(
        "04 0f 0010 00000007 0002 00 00 15a74711"
    )


def test_a_group_is_written_as_ovs_ofctl_takes_it() -> None:
    assert DETOUR.text == (
        "group_id=363284241,type=ff,bucket=watch_port:3,actions=output:3"
        ",bucket=watch_port:4,actions=output:4"
    )
    assert str(DETOUR) == "group:363284241"


def in_ryu(one: Bucket, weight: int) -> Any:
    does = one.action
    match does:
        case Output(port_no):
            steps = [ofproto_v1_3_parser.OFPActionOutput(port_no, 0)]
        case Through(port_no, tunnel_id, to):
            where = [("tun_ipv4_dst", to)]
            if ":" in to:
                where = [("tun_ipv4_dst", "0.0.0.0"), ("tun_ipv6_dst", to)]
            fields = [("tunnel_id", tunnel_id), *where]
            steps = [
                *(ofproto_v1_3_parser.OFPActionSetField(**{k: v}) for k, v in fields),
                ofproto_v1_3_parser.OFPActionOutput(port_no, 0),
            ]
        case Resubmit(table):
            in_port = wire.THE_IN_PORT
            steps = [ofproto_v1_3_parser.NXActionResubmitTable(in_port, table)]
    watched = one.watch_port or wire.ANY
    return ofproto_v1_3_parser.OFPBucket(weight, watched, wire.ANY, steps)


@given(groups)
def test_what_is_sent_is_what_ryu_would_send(group: Group) -> None:
    weight = int(group.kind is GroupKind.SELECT)
    buckets = [in_ryu(one, weight) for one in group.buckets]
    theirs = ofproto_v1_3_parser.OFPGroupMod(
        DATAPATH, wire_groups.ADD_OR_MODIFY, group.kind, group.group_id, buckets
    )
    theirs.set_xid(7)
    theirs.serialize()

    assert wire_groups.put_group(group, xid=7) == bytes(theirs.buf)


@given(st.lists(groups))
def test_what_a_switch_says_of_its_groups_is_what_it_was_told(
    some: list[Group],
) -> None:
    body = b"".join(map(described, some))

    assert [*wire_groups.descs(body)] == some
    assert [one.group_id for one in answer(wire_groups.MULTIPART_DESC, body)] == [
        one.group_id for one in some
    ]


@pytest.mark.parametrize(
    "change",
    [
        (2, "02"),  # OFPGT_INDIRECT
        (10, "0001"),  # a weight
        (16, "00000005"),  # watch_group
        (24, "0019"),  # another action
    ],
)
def test_a_group_of_another_kind_is_none_that_we_would_have_made(
    change: tuple[int, str],
) -> None:
    body = bytearray(described(DETOUR))
    at, octets_ = change[0], bytes.fromhex(change[1])
    body[at : at + len(octets_)] = octets_

    [found] = wire_groups.descs(bytes(body))

    assert (found.group_id, found.buckets) == (DETOUR.group_id, ())


@pytest.mark.parametrize(
    "body",
    [
        b"\0",
        bytes(8),
        struct.pack("!HBxI", 9, 1, 1),
        struct.pack("!HBxIHHII4x", 24, 1, 1, 15, 0, 0, 0),
        struct.pack("!HBxIHHII4x", 24, 1, 1, 17, 0, 0, 0),
        struct.pack("!HBxIH", 10, 1, 1, 16),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(wire.Malformed):
        list(wire_groups.descs(body))
