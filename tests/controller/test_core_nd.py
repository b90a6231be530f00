"""The controller without its edges, when neighbor discovery is what it hears."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv6Address

from controller.commands import ChangeFlows, Command, CountHits, SendPacket
from controller.core import Core
from controller.eventlog import line
from controller.events import (
    Binding,
    BridgesSeen,
    Event,
    FlowsListed,
    FrameSeen,
    HitsCounted,
    KernelChanged,
    KernelSynced,
    NdSeen,
    SwitchReady,
)
from controller.liveness import TICK, Subject
from controller.ndp import advertisement as answer_to
from controller.packets import parse
from controller.policy import Policy
from flows.compile import compile_flows
from flows.forward import CONTROLLER_IP, CONTROLLER_LLADDR
from flows.nd import solicited_node
from flows.nd_known import ip_in, router_in
from flows.pipeline import TABLE_IDS
from flows.view import (
    Address,
    Bridge,
    Guard,
    Interface,
    Link,
    Namespace,
    Neighbor,
    Silence,
    StationKey,
)
from tests.facts import H1, H2, S1, ifindex, kernel_host, ports

NONE: frozenset[int] = frozenset()
LATER = 1000.0  # seconds: everything heard before is old


def solicits(
    src: str, target: str = "fd00::9", *, in_port: int = 1, lladdr: str = H1
) -> NdSeen:
    about = IPv6Address(target)
    option = "" if src == "::" else lladdr
    group = solicited_node(about)
    return NdSeen(
        *(S1, in_port, 0, lladdr, "33:33:" + group.packed[-4:].hex(":"), 135),
        *(IPv6Address(src), group, about, option, 0, True),
    )


def advertises(
    ip: str, *, in_port: int = 1, lladdr: str = H1, router: bool = False
) -> NdSeen:
    holder, flags = IPv6Address(ip), 0xA0000000 if router else 0x20000000
    all_nodes = ("33:33:00:00:00:01", 136, holder, IPv6Address("ff02::1"), holder)
    return NdSeen(S1, in_port, 0, lladdr, *all_nodes, lladdr, flags, True)


def connected(*events: Event) -> Core:
    """A core with one empty switch of three ports."""
    core = Core()
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    core.handle([FlowsListed(S1, NONE), *events], now=0.1)
    return core


def changes(commands: Iterable[Command]) -> list[ChangeFlows]:
    return [command for command in commands if isinstance(command, ChangeFlows)]


def sent(commands: Iterable[Command]) -> list[SendPacket]:
    return [command for command in commands if isinstance(command, SendPacket)]


def claims(core: Core) -> dict[str, bool | None]:
    return {
        str(claim.ip): claim.router
        for station in core.view.stations.values()
        for claim in station.claims
    }


# --- learning -----------------------------------------------------------------------


def test_a_solicitation_teaches_who_its_source_is() -> None:
    assert claims(connected(solicits("fd00::1"))) == {"fd00::1": None}


def test_an_advertisement_teaches_who_its_target_is() -> None:
    assert claims(connected(advertises("fd00::1"))) == {"fd00::1": False}
    assert claims(connected(advertises("fe80::1", router=True))) == {"fe80::1": True}


def test_duplicate_address_detection_places_the_station_and_claims_nothing() -> None:
    core = connected(solicits("::", "fd00::1"))

    [station] = core.view.stations.values()
    assert (station.lladdr, station.claims) == (H1, ())


def test_a_solicitation_leaves_it_known_whether_its_source_is_a_router() -> None:
    core = connected(advertises("fe80::1", router=True), solicits("fe80::1"))
    assert claims(core) == {"fe80::1": True}


def test_who_becomes_a_router_is_answered_for_as_one() -> None:
    core = connected(advertises("fe80::1"))
    [change] = changes(core.handle([advertises("fe80::1", router=True)], now=0.2))

    assert claims(core) == {"fe80::1": True}
    assert {flow.table for flow in change.plan.add} == {
        TABLE_IDS["nd_guard"],
        TABLE_IDS["nd_known"],
        TABLE_IDS["nd"],
    }


def test_saying_it_again_changes_nothing() -> None:
    core = connected(advertises("fd00::1"))
    view = core.view
    assert not changes(core.handle([advertises("fd00::1")], now=0.2))
    assert core.view is view


def test_what_the_kernel_states_is_not_kept_as_hearsay() -> None:
    core = shown(solicits("fd00::1"), advertises("fd00::1"))
    assert not core.view.stations


def test_a_station_of_an_enforced_port_is_not_moved_by_what_others_say() -> None:
    core = Core(Policy(guards=(Guard("enforce"),)))
    core.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    core.handle([FlowsListed(S1, NONE)], now=0.0)
    core.handle([BridgesSeen((Bridge(S1, "s1"),), ())], now=0.1)
    core.handle([advertises("fd00::1")], now=0.2)
    core.handle([advertises("fd00::1", in_port=3)], now=20.0)
    [station] = core.view.stations.values()
    assert station.port_no == 1


def shown(*events: Event) -> Core:
    """h0 behind port 1, by the kernel's word."""
    facts = kernel_host(S1, 1, H1, "fd00::1")
    rows = tuple(fact for fact in facts if isinstance(fact, Interface))
    kinds = Link | Address | Namespace
    kernel = KernelSynced(tuple(fact for fact in facts if isinstance(fact, kinds)))
    return connected(BridgesSeen((Bridge(S1, "s1"),), rows), kernel, *events)


# --- answers by packet-out  ---


def test_a_question_that_overtakes_the_answers_flow_is_answered_by_packet_out() -> None:
    core = connected(advertises("fd00::1"))
    news = advertises("fd00::2", in_port=2, lladdr=H2)
    question = solicits("fd00::1", "fd00::2")

    [answer] = sent(core.handle([news, question], now=1.0))

    assert (answer.datapath_id, answer.port_no) == (S1, 1)
    assert answer.data == answer_to(question, lladdr=H2, router=False)


def test_a_question_that_the_switch_has_answered_is_not_answered_again() -> None:
    core = connected(advertises("fd00::2", in_port=2, lladdr=H2))
    assert not sent(core.handle([solicits("fd00::1", "fd00::2")], now=1.0))
    assert not sent(core.handle([solicits("::", "fd00::2")], now=1.0))


def test_a_probe_without_any_option_is_answered_with_the_option_too() -> None:
    """The switch has made no option of it; RFC 4861, 7.2.4 asks for one."""
    core = connected(advertises("fd00::2", in_port=2, lladdr=H2))
    probe = bare(solicits("::", "fd00::2"))

    [answer] = sent(core.handle([probe], now=1.0))

    told = parse(S1, 1, answer.data)
    assert isinstance(told, NdSeen)
    assert (told.eth_dst, told.lladdr) == ("33:33:00:00:00:01", H2)


def bare(asked: NdSeen) -> NdSeen:
    return replace(asked, lladdr="", has_room=False)


def test_a_question_without_the_option_is_answered_once() -> None:
    """Two tables tell of it, if its sender is new."""
    core = connected(advertises("fd00::2", in_port=2, lladdr=H2))
    question = bare(solicits("fd00::1", "fd00::2"))

    [answer] = sent(core.handle([question, question], now=1.0))

    assert answer.data == answer_to(question, lladdr=H2, router=False)


def test_what_is_not_ours_to_answer_is_not_answered() -> None:
    core = connected(
        advertises("fd00::2", in_port=2, lladdr=H2), solicits("fd00::3", in_port=3)
    )
    for question in (
        solicits("::", "fd00::2", in_port=2, lladdr=H2),  # of the owner
        solicits("fd00::1", "fd00::3", in_port=2),  # perhaps a router
        solicits("fd00::1", "fd00::99"),  # unknown
    ):
        said = sent(core.handle([question], now=1.0))
        assert question.in_port not in {command.port_no for command in said}


# --- liveness -------------------------------------------------------------------------


def counts(core: Core, packets: int, now: float) -> list[Command]:
    """Every counter that is wanted says so many packets."""
    commands: list[Command] = []
    for asked in [c for c in core.handle([], now) if isinstance(c, CountHits)]:
        told = tuple((cookie, packets) for cookie in asked.cookies)
        commands += core.handle([HitsCounted(S1, told)], now)
    return commands


def test_an_old_claim_is_asked_about_by_a_unicast_solicitation() -> None:
    core = connected(advertises("fd00::1"))

    [probe] = sent(counts(core, 0, LATER))

    asked = parse(S1, 1, probe.data)
    assert isinstance(asked, NdSeen)
    assert (asked.eth_src, asked.eth_dst) == (CONTROLLER_LLADDR, H1)
    assert (asked.src, asked.lladdr) == (CONTROLLER_IP, CONTROLLER_LLADDR)
    assert asked.dst == asked.target == IPv6Address("fd00::1")


def test_a_claim_whose_flow_has_counted_is_confirmed() -> None:
    core = connected(advertises("fd00::1"))
    counts(core, 0, LATER)
    before = core.view
    assert not sent(counts(core, 1, LATER + 1))
    assert core.view is before
    subject = Subject(StationKey(S1, 0, H1), IPv6Address("fd00::1"))
    assert core.liveness.alive_at(subject, heard=0.1) == LATER


def test_a_claim_that_nobody_confirms_is_silent_after_three_probes() -> None:
    core = connected(advertises("fd00::1"))
    probes = [sent(counts(core, 0, LATER + second)) for second in range(4)]
    assert [len(some) for some in probes] == [1, 1, 1, 0]
    assert claims(core) == {}
    [station] = core.view.stations.values()
    assert station.silent == (Silence(IPv6Address("fd00::1"), LATER + 3),)


def test_a_check_of_a_flow_that_was_replaced_forgets_nobody() -> None:
    """It has become a router meanwhile: another flow counts for it now."""
    core = connected(advertises("fd00::1"))
    for second in range(3):
        counts(core, 0, LATER + second)
    core.handle([advertises("fd00::1", router=True)], LATER + 2.5)
    counts(core, 0, LATER + 4)
    assert claims(core) == {"fd00::1": True}


# --- restart, hearsay, the log ------------------------------------------------------


def test_a_restarted_controller_believes_its_own_flows_and_changes_none() -> None:
    before = connected(
        advertises("fd00::1"),
        advertises("fe80::1", router=True),
        solicits("fd00::2", in_port=2, lladdr=H2),
    )
    flows = compile_flows(before.view, S1)
    memory = tuple(
        Binding(
            flow.cookie,
            int(match["in_port"]),
            int(match["reg1"]),
            match["eth_src"],
            ip_in(match),
            router_in(match),
        )
        for flow in flows.values()
        if {"in_port", "reg1", "eth_src"} <= (match := dict(flow.match)).keys()
    )
    after = Core()
    after.handle([SwitchReady(S1, tuple(ports(S1, 1, 2, 3)))], now=0.0)
    listed = FlowsListed(S1, frozenset(flows), memory)

    commands = after.handle([listed], now=TICK)
    assert not changes(commands)
    assert claims(after) == {"fd00::1": False, "fe80::1": True, "fd00::2": None}
    assert any(isinstance(command, CountHits) for command in commands)


def test_a_station_that_a_neighbor_table_names_is_asked_once() -> None:
    core = shown(FrameSeen(S1, 2, 0, H2))
    row = Neighbor(0, ifindex(S1, 1), IPv6Address("fd00::2"), H2)

    [probe] = sent(core.handle([KernelChanged(((row.key, row),))], now=1.0))

    asked = parse(S1, 2, probe.data)
    assert isinstance(asked, NdSeen)
    assert asked.target == IPv6Address("fd00::2")


def test_the_log_tells_what_was_heard() -> None:
    core = connected()
    for event, told in (
        (solicits("fd00::1"), "fd00::1 (02:00:00:00:00:01, 1:1) solicits fd00::9"),
        (advertises("fd00::2"), "fd00::2 is-at 02:00:00:00:00:01 (1:1)"),
    ):
        assert line([event], core.handle([event], now=1.0)).startswith(told)
