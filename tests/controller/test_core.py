"""The controller without its edges: events in, commands out."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address
from ipaddress import IPv4Address as IP

import pytest

from controller.commands import (
    AdoptBridge,
    ChangeFlows,
    Command,
    CountFlows,
    CountHits,
    HealPort,
    ListFlows,
    SendPacket,
)
from controller.core import AUDIT, AWAY, AWAY_MAX, PATIENCE, QUESTIONS_MAX, Core
from controller.events import (
    ArpSeen,
    Binding,
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    Event,
    FlowsCounted,
    FlowsListed,
    FrameSeen,
    KernelChanged,
    KernelFact,
    KernelLost,
    KernelSynced,
    OvsdbLost,
    PortGone,
    SwitchGone,
    SwitchReady,
)
from controller.liveness import TICK, witness
from controller.packets import parse
from controller.policy import Policy
from flows.compile import compile_flows
from flows.openflow import BROADCAST, Flow
from flows.pipeline import TABLE_IDS
from flows.view import Address, Bridge, Interface, Limits, Link, Namespace, Neighbor
from tests.facts import H1, H2, H3, S1, S2, Fact, ifindex, interface, kernel_host, ports

NONE: frozenset[int] = frozenset()
LATER = 1000.0  # seconds: everything heard before is old


def arp(
    spa: str, tpa: str = "10.0.0.9", *, in_port: int = 1, sha: str = H1, op: int = 1
) -> ArpSeen:
    return ArpSeen(
        S1, in_port, 0, sha, BROADCAST, op, sha, IP(spa), "00:00:00:00:00:00", IP(tpa)
    )


def kernel(facts: Iterable[Fact]) -> KernelSynced:
    kinds = Link | Address | Namespace
    told: list[KernelFact] = [fact for fact in facts if isinstance(fact, kinds)]
    return KernelSynced(tuple(told))


def changes(commands: Iterable[Command]) -> list[ChangeFlows]:
    return [command for command in commands if isinstance(command, ChangeFlows)]


def connected(*events: Event, policy: Policy | None = None) -> Core:
    """A core with one empty switch of three ports."""
    core = Core(policy)
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    core.handle([FlowsListed(S1, NONE), *events], now=0.1)
    return core


def held(core: Core, datapath_id: int = S1) -> frozenset[int]:
    return frozenset(compile_flows(core.view, datapath_id))


def bindings(core: Core, datapath_id: int = S1) -> tuple[Binding, ...]:
    """What an edge would read back from the switch."""
    flows = compile_flows(core.view, datapath_id).values()
    return tuple(binding(f) for f in flows if dict(f.match).keys() >= PLACE)


PLACE = {"in_port", "reg1", "eth_src"}


def binding(flow: Flow) -> Binding:
    match = dict(flow.match)
    ip = IP(match["arp_spa"]) if "arp_spa" in match else None
    vlan, in_port = int(match["reg1"]), int(match["in_port"])
    return Binding(flow.cookie, in_port, vlan, match["eth_src"], ip)


def test_a_new_switch_is_first_asked_what_it_holds() -> None:
    assert Core().handle([SwitchReady(S1, ())], now=0.0) == [ListFlows(S1)]


def test_an_empty_switch_receives_the_pipeline() -> None:
    core = Core()
    core.handle([SwitchReady(S1, tuple(ports(S1, 1)))], now=0.0)
    [change] = changes(core.handle([FlowsListed(S1, NONE)], now=0.1))
    assert {flow.table for flow in change.plan.add} == set(TABLE_IDS.values())


def test_one_arp_packet_changes_its_senders_flows_and_saying_it_again_nothing() -> None:
    core = connected()
    [change] = changes(core.handle([arp("10.0.0.1")], now=0.2))
    tables = ("source", "guard", "arp", "arp", "arp", "arp", "forward")
    added = sorted(flow.table for flow in change.plan.add)
    assert added == [TABLE_IDS[name] for name in tables]
    assert change.plan.delete == ()
    assert core.handle([arp("10.0.0.1")], now=0.3) == []


def test_a_port_that_goes_takes_exactly_its_hosts_flows() -> None:
    core = connected()
    [learned] = changes(core.handle([arp("10.0.0.1")], now=0.2))
    [gone] = changes(core.handle([PortGone(S1, 1)], now=0.3))
    hosts = {flow.cookie for flow in learned.plan.add}
    assert hosts < set(gone.plan.delete)
    # And its admission, and the list of ports to flood to.
    assert len(gone.plan.delete) - len(hosts) == 2


def test_a_switch_that_is_gone_is_not_spoken_to() -> None:
    core = connected()
    core.handle([SwitchGone(S1)], now=0.2)
    assert core.handle([PortGone(S1, 1)], now=0.3) == []


# --- who must have spoken before flows may be changed -------------------------------


def awaiting(*names: str) -> Policy:
    return Policy(awaited=frozenset(names))


def test_nothing_is_changed_before_every_source_has_spoken() -> None:
    core = Core(awaiting("netlink", "ovsdb"))
    core.handle([SwitchReady(S1, ())], now=0.0)
    assert not changes(core.handle([FlowsListed(S1, NONE)], now=0.1))
    assert not changes(core.handle([KernelSynced(())], now=0.2))
    assert changes(core.handle([BridgesSeen((), ())], now=0.3))


def test_a_source_that_cannot_be_had_is_not_waited_for() -> None:
    core = Core(awaiting("netlink", "ovsdb"))
    core.handle([SwitchReady(S1, ()), FlowsListed(S1, NONE)], now=0.0)
    lost: list[Event] = [KernelLost("no such program"), OvsdbLost("no such socket")]
    assert changes(core.handle(lost, now=0.1))
    assert core.sources == {"netlink": "no such program", "ovsdb": "no such socket"}


def test_nobody_is_waited_for_beyond_patience() -> None:
    core = Core(awaiting("netlink"))
    core.handle([SwitchReady(S1, ()), FlowsListed(S1, NONE)], now=0.0)
    deadline = core.deadline()
    assert deadline is not None and deadline <= PATIENCE
    assert changes(core.handle([], now=PATIENCE))
    later = core.deadline()
    assert later is not None and later > PATIENCE, "nor is that looked at again"


LOCAL = "unix:/run/isat/openflow.sock"


@pytest.mark.parametrize("target", ["tcp:127.0.0.1:6653", "tcp:127.0.0.1", LOCAL])
def test_a_switch_with_flows_waits_until_its_siblings_have_told_theirs(
    target: str,
) -> None:
    bridges = BridgesSeen(
        (Bridge(S1, "s1"), Bridge(S2, "s2", controllers=(target,))), ()
    )
    policy = awaiting("ovsdb")
    core = Core(replace(policy, targets=(*policy.targets, LOCAL)))
    stale = frozenset({0x15A7 << 48 | 1})
    core.handle([bridges, SwitchReady(S1, ()), FlowsListed(S1, stale)], now=0.0)
    assert not changes(core.handle([], now=0.1))
    core.handle([SwitchReady(S2, ())], now=0.2)
    both = changes(core.handle([FlowsListed(S2, NONE)], now=0.3))
    assert [change.datapath_id for change in both] == [S1, S2]


# --- a restart loses nothing --------------------------------------------------------


def test_a_restarted_controller_believes_its_own_flows_and_changes_none() -> None:
    before = connected(arp("10.0.0.1"), arp("10.0.0.2", in_port=2, sha=H2))
    after = Core()
    after.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    listed = FlowsListed(S1, held(before), bindings(before))
    assert not changes(after.handle([listed], now=0.1))
    assert held(after) == held(before)


def test_a_flow_that_we_would_not_have_written_is_not_believed() -> None:
    before = connected(arp("10.0.0.1"))
    forged = tuple(
        Binding(b.cookie ^ 1, b.in_port, b.vlan, b.lladdr, b.ip)
        for b in bindings(before)
    )
    after = Core()
    after.handle([SwitchReady(S1, tuple(ports(S1, 1)))], now=0.0)
    after.handle([FlowsListed(S1, NONE, forged)], now=0.1)
    assert not after.view.stations


def test_what_was_read_back_is_looked_at_at_once() -> None:
    before = connected(arp("10.0.0.1"))
    after = Core()
    after.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=LATER)
    listed = FlowsListed(S1, held(before), bindings(before))
    after.handle([listed], now=LATER)
    commands = after.handle([], now=LATER + TICK)
    assert any(isinstance(command, CountHits) for command in commands)


def test_what_was_read_back_is_counted_by_the_flows_that_are_there() -> None:
    before = connected(
        arp("10.0.0.1"),
        arp("10.0.0.3"),
        arp("10.0.0.2", in_port=2, sha=H2),
        FrameSeen(S1, 3, 0, H3),
    )
    after = Core()
    after.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=LATER)
    listed = FlowsListed(S1, held(before), bindings(before))
    after.handle([listed], now=LATER + TICK)

    watched = {one.cookie for one in after.liveness.watches.values()}
    counted = {one.cookie for one in bindings(before) if one.ip or one.lladdr == H3}
    assert len(counted) == 4
    assert watched == counted
    assert all(
        one.cookie
        == witness(after.view.stations[one.subject.station], one.subject.ip).cookie
        for one in after.liveness.watches.values()
    )


def test_limits_hold_for_what_was_read_back() -> None:
    before = connected(*(arp(f"10.0.0.{n}") for n in range(1, 6)))
    after = Core(Policy(limits=Limits(bindings_per_port=3)))
    after.handle([SwitchReady(S1, tuple(ports(S1, 1)))], now=0.0)
    after.handle([FlowsListed(S1, held(before), bindings(before))], now=0.1)

    [station] = after.view.stations.values()
    assert len(station.claims) == 3
    assert sum(after.view.bound.values()) == 3


def test_a_switch_that_is_back_soon_costs_what_has_changed_meanwhile() -> None:
    core = connected(arp("10.0.0.1"), arp("10.0.0.2", in_port=2, sha=H2))
    compiled = core.channels[S1].compiled
    core.handle([SwitchGone(S1)], now=1.0)
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=1.0 + AWAY / 2)
    lost, *rest = sorted(held(core))
    stale = 0x15A7 << 48 | 1
    listed = FlowsListed(S1, frozenset([stale, *rest]))
    [change] = changes(core.handle([listed], now=2.0 + AWAY / 2))

    assert core.channels[S1].compiled is compiled
    assert [flow.cookie for flow in change.plan.add] == [lost]
    assert change.plan.delete == (stale,)
    assert frozenset(compiled.cookies) == held(core)


def test_a_switch_that_stays_away_is_forgotten() -> None:
    core = connected(arp("10.0.0.1"))
    compiled = core.channels[S1].compiled
    core.handle([SwitchGone(S1)], now=1.0)
    deadline = core.deadline()
    assert deadline is not None and deadline <= 1.0 + AWAY
    core.handle([], now=1.0 + AWAY)
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=2.0 + AWAY)
    assert core.channels[S1].compiled is not compiled


def test_flows_are_kept_in_mind_of_few_switches_that_are_gone() -> None:
    core = Core()
    for datapath_id in range(1, 3 * AWAY_MAX):
        core.handle([SwitchReady(datapath_id, ())], now=0.0)
        core.handle([SwitchGone(datapath_id)], now=0.0)
    assert len(core._away) == AWAY_MAX


def test_a_switch_that_only_reconnects_does_not_bring_back_what_was_forgotten() -> None:
    core = connected(arp("10.0.0.1"), BridgesSeen((Bridge(S1, "s1"),), ()))
    old, memory = held(core), bindings(core)
    core.handle([SwitchGone(S1)], now=1.0)
    core.handle([SwitchReady(S1, tuple(ports(S1, 2, 3)))], now=2.0)
    core.handle([SwitchGone(S1)], now=3.0)
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=4.0)
    [change] = changes(core.handle([FlowsListed(S1, old, memory)], now=5.0))
    assert not core.view.stations
    assert set(change.plan.delete) == old - held(core)


# --- what the switch refuses or loses -----------------------------------------------


def test_a_refused_change_is_looked_into_and_tried_again() -> None:
    core = connected()
    assert core.handle([ChangeFailed(S1, "OFPFMFC_TABLE_FULL")], now=1.0) == []
    assert core.handle([], now=1.2) == [ListFlows(S1)]
    assert changes(core.handle([FlowsListed(S1, NONE)], now=1.3))


def test_flows_that_somebody_deleted_are_noticed_and_put_back() -> None:
    core = connected()
    counted = core.handle([], now=0.1 + AUDIT)
    assert CountFlows(S1) in counted
    missing = FlowsCounted(S1, len(held(core)) - 1)
    assert core.handle([missing], now=11.0) == [ListFlows(S1)]
    lost = min(held(core))
    listed = FlowsListed(S1, held(core) - {lost})
    [change] = changes(core.handle([listed], now=11.1))
    assert [flow.cookie for flow in change.plan.add] == [lost]


def test_a_count_that_is_right_changes_nothing() -> None:
    core = connected()
    core.handle([], now=0.1 + AUDIT)
    assert core.handle([FlowsCounted(S1, len(held(core)))], now=11.0) == []


# --- answers by packet-out ----------------------------------------------------------


def test_a_question_that_overtakes_the_answers_flow_is_answered_by_packet_out() -> None:
    core = connected(arp("10.0.0.1"))
    news, question = arp("10.0.0.2", in_port=2, sha=H2), arp("10.0.0.3", "10.0.0.2")
    commands = core.handle([news, question], now=1.0)
    [answer] = [c for c in commands if isinstance(c, SendPacket)]
    assert (answer.datapath_id, answer.port_no) == (S1, 1)
    reply = parse(S1, 1, answer.data)
    assert isinstance(reply, ArpSeen)
    assert (reply.op, reply.spa, reply.sha) == (2, IP("10.0.0.2"), H2)
    assert (reply.tpa, reply.eth_dst) == (IP("10.0.0.3"), H1)


def test_a_question_that_the_switch_has_answered_is_not_answered_again() -> None:
    core = connected(arp("10.0.0.1"), arp("10.0.0.2", in_port=2, sha=H2))
    commands = core.handle([arp("10.0.0.3", "10.0.0.2")], now=1.0)
    assert not [c for c in commands if isinstance(c, SendPacket)]


def test_an_owner_is_never_answered_about_its_own_address() -> None:
    core = connected()
    probe = arp("0.0.0.0", "10.0.0.1")
    commands = core.handle([arp("10.0.0.1"), probe], now=1.0)
    assert not [c for c in commands if isinstance(c, SendPacket)]


# --- liveness: tests/controller/test_liveness.py ------------------------------------


def refusing() -> Core:
    """Its switch has the pipeline, and no room for the flows of two hosts."""
    core = connected()
    core.handle([ChangeDone(S1)], now=0.2)
    core.handle([arp("10.0.0.1"), arp("10.0.0.2", in_port=2, sha=H2)], now=1.0)
    core.handle([ChangeFailed(S1, "OFPFMFC_TABLE_FULL")], now=1.1)
    return core


def test_a_switch_without_room_for_a_flow_is_answered_for_by_packet_out() -> None:
    core = refusing()
    for now in (1.15, 1.2, 1.3):  # it waits, is asked what it has, refuses once more
        [answer] = sent(core.handle([arp("10.0.0.1", "10.0.0.2")], now))
        assert (answer.datapath_id, answer.port_no) == (S1, 1)
        if now == 1.2:
            base = held(connected())
            assert changes(core.handle([FlowsListed(S1, base)], now=1.25))
    core.handle([ChangeFailed(S1, "OFPFMFC_TABLE_FULL")], now=1.35)
    assert sent(core.handle([arp("10.0.0.1", "10.0.0.2")], now=1.4))


def test_a_switch_that_has_room_again_answers_by_itself() -> None:
    core = refusing()
    core.handle([], now=1.2)
    core.handle([FlowsListed(S1, held(connected()))], now=1.3)
    core.handle([ChangeDone(S1)], now=1.4)
    assert not sent(core.handle([arp("10.0.0.1", "10.0.0.2")], now=1.5))


def test_what_a_switch_confirmed_before_it_refused_is_not_answered_twice() -> None:
    core = connected()
    core.handle([ChangeDone(S1)], now=0.2)
    core.handle([arp("10.0.0.2", in_port=2, sha=H2)], now=1.0)
    core.handle([arp("10.0.0.1")], now=1.1)
    core.handle([ChangeDone(S1), ChangeFailed(S1, "OFPFMFC_TABLE_FULL")], now=1.2)
    assert not sent(core.handle([arp("10.0.0.1", "10.0.0.2")], now=1.3))
    back = arp("10.0.0.2", "10.0.0.1", in_port=2, sha=H2)
    assert sent(core.handle([back], now=1.4))


def sent(commands: Iterable[Command]) -> list[SendPacket]:
    return [command for command in commands if isinstance(command, SendPacket)]


# --- bridges of this host -----------------------------------------------------------


# --- hearsay ----------------------------------------------------------------------


def test_since_when_the_kernel_lists_an_address_is_remembered() -> None:
    core = Core()
    row = Address(0, 3, IPv4Address("10.0.0.1"), 24)
    core.handle([KernelSynced((row,))], now=1.0)
    core.handle([KernelSynced((row,))], now=5.0)
    core.handle([KernelChanged(((row.key, replace(row, prefixlen=8)),))], now=6.0)
    assert core.listed == {row.key: 1.0}
    core.handle([KernelChanged(((row.key, None),))], now=7.0)
    core.handle([KernelChanged(((row.key, row),))], now=8.0)
    assert core.listed == {row.key: 8.0}


def told(ip: str, lladdr: str = H2, *, at: tuple[int, int] = (S1, 1)) -> KernelChanged:
    """A row in the neighbor table of the host behind a port."""
    row = Neighbor(0, ifindex(*at), IP(ip), lladdr)
    return KernelChanged(((row.key, row),))


def with_gateway() -> Core:
    """h0 behind port 1, by the kernel's word; H2 was seen at port 2."""
    facts = kernel_host(S1, 1, H1, "10.0.0.1")
    rows = tuple(fact for fact in facts if isinstance(fact, Interface))
    seen = FrameSeen(S1, 2, 0, H2)
    return connected(BridgesSeen((Bridge(S1, "s1"),), rows), kernel(facts), seen)


def test_a_station_that_a_neighbor_table_names_is_asked_once() -> None:
    core = with_gateway()
    [probe] = sent(core.handle([told("10.0.0.2")], now=1.0))
    asked = parse(S1, 2, probe.data)
    assert isinstance(asked, ArpSeen)
    assert (asked.eth_dst, asked.spa, asked.tpa) == (H2, IP(0), IP("10.0.0.2"))
    assert not sent(core.handle([told("10.0.0.2", H3)], now=2.0))  # never seen
    assert not core.network.holders.get((core.network.domain(S1, 0), IP("10.0.0.2")))

    core.handle([arp("10.0.0.2", in_port=2, sha=H2, op=2)], now=3.0)
    assert not sent(core.handle([told("10.0.0.2")], now=4.0))  # it has said so itself


def test_what_the_kernel_lists_is_asked_of_nobody() -> None:
    core = with_gateway()
    assert not sent(core.handle([told("10.0.0.1")], now=1.0))
    assert not sent(core.handle([told("10.0.0.9", H1)], now=1.0))


def test_a_full_neighbor_table_causes_few_questions() -> None:
    core = with_gateway()
    many = [told(f"10.0.1.{n}") for n in range(200)]
    assert len(sent(core.handle(many, now=1.0))) == QUESTIONS_MAX


def test_neighbor_tables_change_no_flow_and_cause_no_compilation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core = with_gateway()
    before = compile_flows(core.view, S1)
    monkeypatch.setattr(core.channels[S1].compiled, "update", None)
    assert not changes(core.handle([told("10.0.0.2")], now=1.0))
    assert compile_flows(core.view, S1) == before


def test_a_bridge_of_the_configuration_is_adopted_once() -> None:
    core = Core(Policy(adopt=("br0",)))
    seen = BridgesSeen((Bridge(S1, "br0"), Bridge(S2, "br1")), ())
    assert core.handle([seen], now=0.0) == [AdoptBridge("br0")]
    assert core.handle([seen], now=0.1) == []


def test_a_port_whose_interface_was_made_anew_is_healed_once() -> None:
    core = connected()
    seen = BridgesSeen((Bridge(S1, "s1"),), (interface(S1, 1, deaf=True),))
    assert HealPort("s1", "s1-eth1") in core.handle([seen], now=1.0)
    assert core.handle([seen], now=1.1) == []


def test_a_deaf_port_of_a_switch_that_is_not_ours_is_left_alone() -> None:
    core = Core()
    seen = BridgesSeen((Bridge(S1, "s1"),), (interface(S1, 1, deaf=True),))
    assert core.handle([seen], now=1.0) == []


def test_a_deaf_port_is_healed_when_its_switch_comes_later() -> None:
    core = Core()
    seen = BridgesSeen((Bridge(S1, "s1"),), (interface(S1, 1, deaf=True),))
    core.handle([seen], now=1.0)
    ready = SwitchReady(S1, tuple(ports(S1, 1)))
    assert HealPort("s1", "s1-eth1") in core.handle([ready], now=2.0)


def test_an_address_has_no_more_candidates_than_are_kept() -> None:
    """Who comes too late is still known to be there, and forwarded to."""
    core = connected(policy=Policy(limits=Limits(candidates_per_address=3)))
    crowd = [f"02:00:00:00:01:{n:02x}" for n in range(9)]
    core.handle([arp("10.0.0.1", sha=one) for one in crowd[:5]], now=0.2)
    for n, one in enumerate(crowd[5:]):
        core.handle([arp("10.0.0.1", sha=one)], now=0.3 + n)
    [holder] = core.network.holders.values()
    assert len(holder.candidates) == 3
    assert {station.lladdr for station in core.view.stations.values()} == {*crowd}
    assert core.counters["claims of an address that too many claim"] == 6
    assert core.handle([arp("10.0.0.2", sha=crowd[8])], now=9.0)  # of another address
    assert len(core.network.holders) == 2
