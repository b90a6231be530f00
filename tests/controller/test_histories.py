"""Whatever happened before, only the present view decides the flows."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.commands import ChangeFlows, Command, CountHits, ListFlows
from controller.core import Core
from controller.door import TOGETHER
from controller.events import (
    ArpSeen,
    BridgesSeen,
    ChangeDone,
    ChangeFailed,
    Event,
    FlowsListed,
    FrameSeen,
    HitsCounted,
    KernelChanged,
    KernelSynced,
    NdSeen,
    PortChanged,
    PortGone,
    SwitchGone,
    SwitchReady,
)
from controller.policy import Policy
from flows.compile import compile_flows
from flows.nd import solicited_node
from flows.openflow import Flow, is_ours
from flows.trust import Mode
from flows.view import (
    Address,
    Bridge,
    Guard,
    Interface,
    Link,
    Namespace,
    Neighbor,
    Overlay,
    Router,
    Vlans,
)
from tests.facts import S1, S2, bridged_tap, cable, ifindex, kernel_host, overlay, port

switches = st.sampled_from([S1, S2])
numbers = st.integers(1, 4)
macs = st.integers(1, 4).map(lambda n: f"02:00:00:00:00:0{n}")
ips = st.integers(1, 5).map(lambda n: IPv4Address(f"10.0.0.{n}"))
vlans = st.sampled_from([0, 0, 7])

WORLD = [
    *cable((S1, 4), (S2, 4)),
    *kernel_host(S1, 1, "02:00:00:00:00:01", "10.0.0.1", "10.0.0.2", nsid=0),
    *kernel_host(S2, 1, "02:00:00:00:00:02", "10.0.0.3", "fd00::3", nsid=1),
    *bridged_tap(S2, 2, "02:00:00:00:00:03"),
    Router(1, ifindex(S2, 1), True),
    *(
        Neighbor(0, ifindex(S1, 1), IPv4Address(f"10.0.0.{n}"), f"02:00:00:00:00:0{n}")
        for n in range(1, 5)
    ),
]
KINDS = Link | Address | Namespace | Neighbor | Router
KERNEL = [f for f in WORLD if isinstance(f, KINDS)]
ROWS = tuple(f for f in WORLD if isinstance(f, Interface))
OF_VLANS = tuple(
    replace(row, vlans=vlans)
    for row in ROWS
    for vlans in (Vlans(7), Vlans(None, (7,)), Vlans(7, (), "native-untagged"))
)
BRIDGES = tuple({f.datapath_id: f for f in WORLD if isinstance(f, Bridge)}.values())


def arp(
    s: int, n: int, vlan: int, mac: str, spa: IPv4Address, tpa: IPv4Address
) -> Event:
    return ArpSeen(s, n, vlan, mac, "ff:ff:ff:ff:ff:ff", 1, mac, spa, "", tpa)


def nd(
    s: int, n: int, vlan: int, mac: str, ip: int, target: int, kind: int, flags: int
) -> Event:
    """A solicitation from ip, or an advertisement of target; 0 stands for ::."""
    src, about = (IPv6Address(f"fd00::{one}" if one else "::") for one in (ip, target))
    group = solicited_node(about)
    to = "33:33:" + group.packed[-4:].hex(":")
    lladdr = mac if ip else ""
    return NdSeen(s, n, vlan, mac, to, kind, src, group, about, lladdr, flags, True)


facts = st.sampled_from(KERNEL)
events = st.one_of(
    st.builds(arp, switches, numbers, vlans, macs, ips, ips),
    st.builds(
        nd,
        switches,
        numbers,
        vlans,
        macs,
        st.integers(0, 5),
        st.integers(1, 5),
        st.sampled_from([135, 136]),
        st.sampled_from([0, 0x80000000]),
    ),
    st.builds(FrameSeen, switches, numbers, vlans, macs),
    st.builds(
        lambda s, n, up: PortChanged(port(s, n, up=up)),
        switches,
        numbers,
        st.booleans(),
    ),
    st.builds(PortGone, switches, numbers),
    st.builds(SwitchGone, switches),
    st.builds(
        lambda s, n: SwitchReady(s, tuple(port(s, k) for k in sorted(n))),
        switches,
        st.sets(numbers),
    ),
    st.builds(ChangeFailed, switches, st.just("OFPFMFC_TABLE_FULL")),
    st.builds(lambda f: KernelChanged(((f.key, f),)), facts),
    st.builds(lambda f: KernelChanged(((f.key, None),)), facts),
    st.builds(lambda some: KernelSynced(tuple(some)), st.lists(facts, unique=True)),
    st.builds(
        lambda rows: BridgesSeen(BRIDGES, tuple(rows)),
        st.lists(st.sampled_from(ROWS + OF_VLANS), unique=True),
    ),
)  # fmt: skip
pauses = st.sampled_from([0.0, 0.5, 1.0, 400.0])


class Switch:
    """An OpenFlow table that does what it is told, and what OpenFlow 1.3, 6.4 says."""

    def __init__(self) -> None:
        self.flows: dict[object, Flow] = {}

    def obey(self, change: ChangeFlows) -> None:
        for flow in change.plan.add:  # OFPFC_ADD replaces an equal match
            self.flows[flow.key] = flow
        gone = set(change.plan.delete)
        self.flows = {k: f for k, f in self.flows.items() if f.cookie not in gone}

    @property
    def cookies(self) -> frozenset[int]:
        return frozenset(flow.cookie for flow in self.flows.values())


class Lab:
    """Two switches and a controller, wired together without a wire."""

    def __init__(self, mode: str, overlays: tuple[Overlay, ...] = ()) -> None:
        policy = Policy(guards=(Guard(mode),), defend=True, overlays=overlays)
        self.core = Core(policy)
        self.switches = {S1: Switch(), S2: Switch()}

    def tell(self, event: Event, now: float) -> None:
        self._handle([event], now)

    def wait(self, now: float) -> None:
        self._handle([], now)

    def _handle(self, events: list[Event], now: float) -> None:
        todo = [events]
        while todo:
            for command in self.core.handle(todo.pop(0), now):
                todo += [[answer] for answer in self.perform(command)]

    def perform(self, command: Command) -> list[Event]:
        match command:
            case ChangeFlows(datapath_id):
                self.switches[datapath_id].obey(command)
                return [ChangeDone(datapath_id)]
            case ListFlows(datapath_id):
                return [FlowsListed(datapath_id, self.switches[datapath_id].cookies)]
            case CountHits(datapath_id, cookies):
                return [HitsCounted(datapath_id, tuple((c, 0) for c in cookies))]
            case _:
                pass
        return []


def after(
    history: list[tuple[Event, float]],
    mode: str = "learn",
    overlays: tuple[Overlay, ...] = (),
) -> tuple[Lab, float]:
    """The lab when all of this has happened, and what time it is then."""
    lab, now = Lab(mode, overlays), 0.0
    for event, pause in history:
        now += pause
        lab.tell(event, now)
    return lab, now


BLUE = overlay("blue", 5000, (S1, 3), (S2, 3))
histories = st.lists(st.tuples(events, pauses), max_size=30)
modes = st.sampled_from([str(mode) for mode in Mode])


def ours(lab: Lab) -> dict[object, tuple[int, set[object]]]:
    """Where each station is that was heard, and what it claims."""
    return {
        station.key: (station.port_no, {claim.ip for claim in station.claims})
        for station in lab.core.view.stations.values()
    }


@settings(max_examples=100, deadline=None)
@given(histories)
def test_who_watches_believes_what_who_learns_believes(
    history: list[tuple[Event, float]],
) -> None:
    """Until something ages: then a rival's own flow, which watching has not, tells."""
    short = [(event, min(pause, 0.5)) for event, pause in history]
    assert ours(after(short, "watch")[0]) == ours(after(short)[0])


packets = st.one_of(
    st.builds(arp, st.just(S1), numbers, vlans, macs, ips, ips),
    st.builds(FrameSeen, st.just(S1), numbers, vlans, macs),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(packets, pauses), max_size=40))
def test_where_it_is_enforced_on_no_two_stations_claim_one_address(
    history: list[tuple[Event, float]],
) -> None:
    ready = SwitchReady(S1, tuple(port(S1, n) for n in range(1, 5)))
    lab, _ = after([(ready, 0.0), *history], "enforce")
    claims = [
        (station.vlan, claim.ip)
        for station in lab.core.view.stations.values()
        for claim in station.claims
    ]
    assert len(claims) == len(set(claims))


@settings(max_examples=100, deadline=None)
@given(histories, modes)
def test_conflicts_that_are_told_stay_within_their_bounds(
    history: list[tuple[Event, float]], mode: str
) -> None:
    lab, now = after(history, mode)
    table = lab.core.conflicts
    assert all(row.told_at is None or row.told_at <= now for row in table.rows.values())
    assert all(row.said.at == key.at for key, row in table.rows.items())
    if mode == "learn":  # told of by name, and nothing is done about them
        assert all(row.mode is Mode.LEARN for row in table.rows.values())


@settings(max_examples=150, deadline=None)
@given(histories, modes, st.sampled_from([(), (BLUE,)]))
def test_a_switch_that_obeys_every_plan_holds_exactly_what_the_view_yields(
    history: list[tuple[Event, float]], mode: str, overlays: tuple[Overlay, ...]
) -> None:
    lab, now = after(history, mode, overlays)
    for datapath_id in (S1, S2):
        ports = lab.core.view.ports.values()
        mine = tuple(port for port in ports if port.datapath_id == datapath_id)
        lab.tell(SwitchReady(datapath_id, mine), now)
    lab.wait(now + TOGETHER)
    for datapath_id, switch in lab.switches.items():
        wanted = compile_flows(lab.core.view, datapath_id)
        assert {f.text for f in switch.flows.values()} == {
            f.text for f in wanted.values()
        }
        assert all(map(is_ours, switch.cookies))


@settings(max_examples=50, deadline=None)
@given(histories)
def test_saying_nothing_new_changes_nothing(
    history: list[tuple[Event, float]],
) -> None:
    lab, now = after(history)
    again = [PortChanged(p) for p in lab.core.view.ports.values()]
    commands = lab.core.handle(again, now)
    assert not [c for c in commands if isinstance(c, ChangeFlows)]


@settings(max_examples=100, deadline=None)
@given(histories)
def test_the_index_of_crowds_is_what_a_count_would_find(
    history: list[tuple[Event, float]],
) -> None:
    lab, _ = after(history)
    counted: dict[object, int] = {}
    for station in lab.core.view.stations.values():
        counted[station.port] = counted.get(station.port, 0) + 1
    assert dict(lab.core.view.crowds) == counted
