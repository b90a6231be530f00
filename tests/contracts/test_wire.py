"""Open vSwitch takes our octets for the flows that our text says."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows import arp, forward, guard, source, wire, wire_groups
from flows.openflow import (
    CONTROLLER,
    ETH_ARP,
    GROUP_BIT,
    OWNER,
    OWNER_MASK,
    TO_NOBODY,
    Anew,
    Bucket,
    Flow,
    GotoTable,
    Group,
    GroupKind,
    Move,
    Output,
    SetField,
    Through,
    oxm,
    texts,
)
from flows.view import LOCAL_PORT
from tests import strategies
from tests.packets import H1, H2
from tests.support.openflow import Channel, Message, errors, multipart
from tests.support.ovs import PrivateOvs

pytestmark = [pytest.mark.root, pytest.mark.ovs]

IP = IPv4Address("10.0.0.2")
SHAPES = (
    arp.answer(3, 5, IP, H2),
    arp.owner(3, 1, 0, IP, GotoTable(5)),
    arp.announcement(3, 0, IP, GotoTable(5)),
    guard.known(2, 1, 5, H1, IP, GotoTable(3)),
    source.known(1, 1, 0, H1, GotoTable(2)),
    forward.unicast(5, 0, H1, Output(1)),
    Flow(
        0,
        100,
        oxm(vlan_vid="0x1000/0x1000"),
        (Move("vlan_vid", "reg1", bits=12), GotoTable(1)),
    ),
    Flow(0, 400, oxm(eth_src=f"{GROUP_BIT}/{GROUP_BIT}"), ()),
    Flow(0, 380, oxm(eth_dst="01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"), ()),
    Flow(2, 400, oxm(eth_type=ETH_ARP, arp_spa="224.0.0.0/4"), ()),
    Flow(2, 140, oxm(eth_type=ETH_ARP, arp_op=1, arp_spa="0.0.0.0", reg0=1), ()),
    Flow(1, 0, (), (Output(CONTROLLER), GotoTable(2))),
    Flow(1, 200, oxm(in_port=LOCAL_PORT), (SetField("reg0", "1"), GotoTable(2))),
    Flow(6, 0, (), tuple(map(Output, (1, 2, 3, LOCAL_PORT)))),
    Flow(6, 1, oxm(in_port=1), (*TO_NOBODY, Output(3), Through(2, 5000, "192.0.2.2"))),
    Flow(6, 1, oxm(in_port=2), (Through(2, 5000, "2001:db8::2"), Output(3))),
    Flow(
        0,
        50,
        oxm(in_port=2, tunnel_id="0x1388", tun_ipv4_src="192.0.2.1"),
        (GotoTable(1),),
    ),
    Flow(
        0,
        50,
        oxm(in_port=2, tunnel_id="0x1388", tun_ipv6_src="2001:db8::1"),
        (GotoTable(1),),
    ),
)


@pytest.fixture
def switch(ovs: PrivateOvs) -> Iterator[Channel]:
    ovs.add_bridge("br0", "fail_mode=secure")
    with Channel(ovs.directory / "br0.mgmt") as channel:
        yield channel


def installed(switch: Channel) -> list[wire.Installed]:
    return wire.flow_stats(multipart(switch.ask(wire.flow_stats_request(0, 0))))


def is_equal(ovs: PrivateOvs, flows: Iterable[Flow]) -> bool:
    """diff-flows ends with 2 and prints the differences if there are any."""
    file = ovs.directory / "flows.txt"
    file.write_text(texts(flows))
    command = ("ovs-ofctl", "-OOpenFlow13", "diff-flows", "br0", str(file))
    compared = ovs.run(*command, check=False)
    assert compared.returncode in (0, 2), compared.stderr
    return compared.returncode == 0


def test_every_shape_of_flow_arrives_as_its_text_says(
    ovs: PrivateOvs, switch: Channel
) -> None:
    assert switch.ask(*map(wire.flow_mod, SHAPES)) == []

    assert is_equal(ovs, SHAPES)
    assert not is_equal(ovs, SHAPES[1:])


@given(batch=st.lists(strategies.flows(), min_size=1, max_size=40))
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_flow_arrives_as_its_text_says(
    ovs: PrivateOvs, switch: Channel, batch: list[Flow]
) -> None:
    flows = {flow.key: flow for flow in batch}.values()
    messages = [wire.flow_mod(flow) for flow in flows]

    assert switch.ask(wire.delete_by_cookie(0, 0), *messages) == []

    assert is_equal(ovs, flows)


def test_what_a_switch_holds_is_read_back_as_it_was_meant(switch: Channel) -> None:
    switch.ask(*map(wire.flow_mod, SHAPES))

    held = installed(switch)

    assert {(f.table, f.priority, f.match, f.cookie) for f in held} == {
        (*flow.key, flow.cookie) for flow in SHAPES
    }
    assert {f.packet_count for f in held} == {0}
    assert all(0 <= f.duration < 60 for f in held)


def test_our_flows_are_counted_and_deleted_by_their_cookies(switch: Channel) -> None:
    foreign = wire.flow_mod(SHAPES[0])
    foreign = foreign[:8] + struct.pack("!Q", 0x99) + foreign[16:]
    switch.ask(foreign, *map(wire.flow_mod, SHAPES[1:]))
    counted = wire.aggregate_stats_request(OWNER << 48, OWNER_MASK)

    before = wire.aggregate_stats(multipart(switch.ask(counted)))
    switch.ask(wire.delete_by_cookie(SHAPES[1].cookie))
    after = wire.aggregate_stats(multipart(switch.ask(counted)))
    switch.ask(wire.delete_by_cookie(OWNER << 48, OWNER_MASK))

    assert before.flow_count == len(SHAPES) - 1
    assert after.flow_count == len(SHAPES) - 2
    assert [flow.cookie for flow in installed(switch)] == [0x99]


WAYS = tuple(Bucket(Output(port), watch_port=port) for port in (1, 2))
DETOUR = Group(0x15A74711, GroupKind.FAST_FAILOVER, WAYS)
SHARED = Group(0x15A74712, GroupKind.SELECT, WAYS)
FAR_ENDS = tuple(
    Bucket(Through(3, 5000, address), watch_port=3)
    for address in ("192.0.2.2", "2001:db8::3")
)
OVERLAID = Group(0x15A74713, GroupKind.SELECT, (*FAR_ENDS, *WAYS))
BY_GROUP = Flow(6, 9, oxm(eth_dst=H1), (DETOUR,))


def groups(switch: Channel) -> list[Group]:
    answers = switch.ask(wire_groups.desc_request(1))
    return sorted(wire_groups.descs(multipart(answers)), key=lambda one: one.group_id)


def in_words(ovs: PrivateOvs) -> list[str]:
    """As `ovs-ofctl dump-groups` has them, without the heading and empty weights."""
    dumped = ovs.ofctl("-OOpenFlow13", "dump-groups", "br0").splitlines()[1:]
    return sorted(line.strip().replace("weight:0,", "") for line in dumped)


def test_groups_arrive_as_they_are_written_and_are_read_back_so(
    ovs: PrivateOvs, switch: Channel
) -> None:
    wanted = [Anew(1).group, DETOUR, SHARED, OVERLAID]

    assert switch.ask(*map(wire_groups.put_group, wanted)) == []

    assert groups(switch) == wanted
    told = ovs.directory / "groups.txt"
    told.write_text("".join(f"{group.text}\n" for group in wanted))
    before = in_words(ovs)
    ovs.ofctl("-OOpenFlow13", "del-groups", "br0")
    ovs.ofctl("-OOpenFlow13", "add-groups", "br0", str(told))
    assert in_words(ovs) == before
    assert groups(switch) == wanted


def test_a_group_is_put_again_without_its_flows_being_touched(
    ovs: PrivateOvs, switch: Channel
) -> None:
    switch.ask(wire_groups.put_group(DETOUR), wire.flow_mod(BY_GROUP))
    other = Group(DETOUR.group_id, DETOUR.kind, WAYS[:1])

    assert switch.ask(wire_groups.put_group(other)) == []

    assert groups(switch) == [other]
    assert is_equal(ovs, [BY_GROUP])


def test_a_bundle_makes_groups_before_their_flows_and_deletes_them_after(
    ovs: PrivateOvs, switch: Channel
) -> None:
    put = [wire_groups.put_group(DETOUR), wire.flow_mod(BY_GROUP)]
    delete = [
        wire.delete_by_cookie(BY_GROUP.cookie),
        wire_groups.delete_group(DETOUR.group_id),
    ]
    without_group = [wire.flow_mod(BY_GROUP)]

    refused = switch.ask(*wire.bundle(1, without_group, xid=41))
    first = switch.ask(*wire.bundle(2, put, xid=42))
    held = groups(switch)
    second = switch.ask(*wire.bundle(3, delete, xid=43))

    assert errors(refused)[0] == (41, 2, 9)  # OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP
    assert errors(first + second) == []
    assert held == [DETOUR]
    assert groups(switch) == []
    assert is_equal(ovs, [])


def steps(answers: list[Message]) -> list[int]:
    """What the switch says has become of the bundle."""
    told = [wire.bundle_step(a.body) for a in answers if a.kind == wire.EXPERIMENTER]
    return [step for _, step in filter(None, told)]


def test_a_bundle_changes_everything_at_once(ovs: PrivateOvs, switch: Channel) -> None:
    switch.ask(wire.flow_mod(SHAPES[0]))
    changes = [
        *map(wire.flow_mod, SHAPES[1:]),
        wire.delete_by_cookie(SHAPES[0].cookie),
    ]

    answers = switch.ask(*wire.bundle(1, changes, xid=42))

    assert steps(answers) == [wire.BUNDLE_OPENED, wire.BUNDLE_COMMITTED]
    assert errors(answers) == []
    assert is_equal(ovs, SHAPES[1:])


def test_a_prepared_bundle_waits_for_its_commit(
    ovs: PrivateOvs, switch: Channel
) -> None:
    closed = switch.ask(*wire.prepare(1, map(wire.flow_mod, SHAPES), xid=42))
    before = installed(switch)
    committed = switch.ask(wire.commit(1, xid=43))

    assert steps(closed) == [wire.BUNDLE_OPENED, wire.BUNDLE_CLOSED]
    assert before == []
    assert steps(committed) == [wire.BUNDLE_COMMITTED]
    assert is_equal(ovs, SHAPES)


def test_a_message_that_cannot_be_read_is_refused_before_the_commit(
    ovs: PrivateOvs, switch: Channel
) -> None:
    no_prerequisite = Flow(0, 1, oxm(arp_op=1), ())
    switch.ask(wire.flow_mod(SHAPES[0]))
    changes = [
        wire.flow_mod(SHAPES[1]),
        wire.flow_mod(no_prerequisite),
        wire.delete_by_cookie(SHAPES[0].cookie),
    ]

    refused = switch.ask(*wire.prepare(1, changes, xid=42))
    discarded = switch.ask(wire.discard(1, xid=43))

    bad_prerequisite = (42, 4, 9)  # OFPET_BAD_MATCH, OFPBMC_BAD_PREREQ
    assert errors(refused) == [bad_prerequisite]
    assert steps(refused + discarded)[-2:] == [
        wire.BUNDLE_CLOSED,
        wire.BUNDLE_DISCARDED,
    ]
    assert is_equal(ovs, SHAPES[:1])


def test_a_commit_that_fails_changes_nothing(ovs: PrivateOvs, switch: Channel) -> None:
    ovs.vsctl(
        *("--", "--id=@full", "create", "Flow_Table", "flow_limit=1"),
        *(
            "overflow_policy=refuse",
            "--",
            "set",
            "bridge",
            "br0",
            "flow_tables:6=@full",
        ),
    )
    one, other = Flow(6, 1, (), ()), Flow(6, 2, (), ())
    switch.ask(wire.flow_mod(SHAPES[0]))
    changes = [
        wire.flow_mod(one),
        wire.delete_by_cookie(SHAPES[0].cookie),
        wire.flow_mod(other),
    ]

    refused = switch.ask(*wire.bundle(1, changes, xid=42))

    table_full, message_failed = (5, 1), (0xFFFF, 2313)  # the second is EXT-230's
    assert errors(refused) == [(42, *table_full), (42, *message_failed)]
    assert steps(refused) == [wire.BUNDLE_OPENED]
    assert is_equal(ovs, SHAPES[:1])


def test_a_frame_sent_by_packet_out_leaves_by_its_port(
    ovs: PrivateOvs, switch: Channel
) -> None:
    frame = bytes.fromhex("ffffffffffff 020000000001 88b5") + bytes(46)

    ovs.run("ip", "link", "set", "br0", "up")

    assert switch.ask(wire.packet_out(frame, Output(LOCAL_PORT))) == []

    described = ovs.ofctl("dump-ports", "br0", "LOCAL")
    assert "tx pkts=1," in described, described
