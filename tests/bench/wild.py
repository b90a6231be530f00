"""Random networks, in which cables fail and come back while everybody talks.

Each seed is a network of three to thirty bridges (a private Open vSwitch, userspace
datapath) with random cables, some of them double and some of them down at first, and
hosts, of which the kernel shows every other one.  Each host sends to another one and,
in turns, to everybody; then cables fail or are mended, one after another, and some
pairs of hosts whose frames take the cable send one every 2 ms.

Loss is the time in which what such a pair sent got lost, from before the kernel is told
to set the cable down.  Where the switch that sends into the cable has another way
(`flows.ways`), it goes round by itself; else the controller has to find one.  Where no
way is left, nothing is judged.  A cable that is mended should cost nothing.

When all is quiet, what the controller says is compared: with the truth, who is where;
with each of some switches, the flows it holds; and for a broadcast and frames for one,
hop by hop with Open vSwitch (ofproto/trace), what the flows of all switches do in the
simulator, and that who is reached is who should be.

Duplicates are frames that came to somebody more than once.  A storm is a network in
which more frames pass the cables than twice what is needed, or in which somebody hears
a broadcast a hundred times.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from flows.compile import compile_flows
from flows.network import Network, network
from flows.openflow import CONTROLLER, IN_PORT, Flow, Group, is_ours
from flows.simulate import Datapath, Packet
from flows.view import PortKey, View
from flows.ways import BUCKETS_MAX, Ways, ways
from tests.bench.figures import Figure, Run, number, percentile, spread
from tests.packets import frame
from tests.support.ground import Ground, Host, bridge
from tests.support.ovs import PrivateOvs
from tests.support.talk import EVERY, ON_ITS_WAY, SLOWLY, STORM, Pair, Talk, partners
from tests.support.trace import Shared, plainly, trace
from tests.support.wait import NeverTrue, wait_until
from tests.support.wild import SEEDS, SWITCHES_MOST, components, wild
from tests.support.wires import Wire

CHANGES = 8  # failures and repairs of each network
PAIRS = 6  # that are looked at, of each change
AT_MOST = 50.0  # ms that may be lost, where there is another way
PATIENCE = 20.0  # seconds: beyond, something is broken, not slow
STEADY = 25  # frames that arrive one after another
AFTER = 0.3  # seconds that a change is watched at least
NEEDLESS = 2.0  # times the frames that are needed
OTHERS = (
    200  # frames a second and cable that nobody counts: hosts' own, and the kernel's
)
EXPERIMENTAL = 0x88B5
BROADCAST = "ff:ff:ff:ff:ff:ff"


@dataclass(slots=True)
class Found:
    """lost     milliseconds of each failure, by who could find another way
    mistakes what the controller, the switches or the simulator say, and is not so
    """

    lost: dict[str, list[float]] = field(default_factory=dict)
    failures: int = 0
    repairs: int = 0
    broadcasts: int = 0
    copies: int = 0
    most_copies: int = 0
    storms: int = 0
    needless: float = 0.0
    compared: int = 0
    mistakes: list[str] = field(default_factory=list)


IN_SWITCH = "a cable fails, and its switch has another way"
BY_CONTROLLER = "a cable fails, and the controller has to find another way"
MENDED = "a cable is mended"


def measure(run: Run) -> Iterator[Figure]:
    seeds = run.of(SEEDS, least=1)
    most = run.of(SWITCHES_MOST, least=5)
    found = Found()
    for n in range(seeds):
        seed = n * SEEDS // seeds
        shape = wild(seed, most)
        run.tell(f"seed {seed}: {shape.switches} switches, {len(shape.cables)} cables")
        with PrivateOvs() as ovs, Ground(ovs, shape) as ground:
            Turmoil(ground, found, seed).run(run.of(CHANGES))
    yield from figures(found, seeds)


def figures(found: Found, seeds: int) -> Iterator[Figure]:
    told = f"of {seeds} networks, {found.failures} failures, {found.repairs} repairs"
    sent = f"{number(found.broadcasts)} broadcasts; most: {found.most_copies}"
    yield Figure("copies of a frame at one host", found.copies, "", 0, note=sent)
    yield Figure("storms", found.storms, "", 0, note=told)
    yield Figure(
        "frames on cables, beside what is needed: at most", found.needless, "x",
        NEEDLESS,
    )  # fmt: skip
    yield Figure(
        "wrong flows, places and ways", len(found.mistakes), "", 0,
        note="; ".join(found.mistakes[:2]) or f"of {number(found.compared)} compared",
    )  # fmt: skip
    for what, times in sorted(found.lost.items()):
        half, most = spread(f"{what}: lost", times, "ms")
        yield half
        yield Figure(most.what, most.measured, "ms", AT_MOST, note=most.note)
        worst, late = max(times), sum(one > AT_MOST for one in times)
        beyond = f"{late} of {len(times)} are beyond"
        yield Figure(f"{what}: lost: max", worst, "ms", AT_MOST, note=beyond)


class Turmoil:
    """One network."""

    def __init__(self, ground: Ground, found: Found, seed: int) -> None:
        self.ground, self.found = ground, found
        self.chance = random.Random(seed)
        self.works = ground.shape.cables

    def run(self, changes: int) -> None:
        ground, found = self.ground, self.found
        self.compare()
        with Talk(ground, ground.shape.seed) as talk:
            talk.begin(partners(ground.hosts, self.chance), SLOWLY)
            for _ in range(changes):
                before, began, sent = ground.passed(), time.monotonic(), sent_by(talk)
                self.change(talk)
                needed = needed_of(ground, sent, sent_by(talk))
                spent = OTHERS * (time.monotonic() - began) * len(ground.shape.cables)
                ratio = max(0.0, ground.passed() - before - spent) / max(1, needed)
                found.needless = max(found.needless, ratio)
                found.storms += ratio > NEEDLESS or talk.most_copies >= STORM
                talk.forget()
            found.broadcasts += talk.broadcasts
            found.most_copies = max(found.most_copies, talk.most_copies)

    def change(self, talk: Talk) -> None:
        ground = self.ground
        cable = self.choose()
        is_failure = cable not in ground.cut
        known = self.ways()
        after = self.islands(ground.cut ^ {cable})
        before = self.islands(ground.cut)
        pairs = self.pairs(cable, before, after)
        streams = talk.begin(pairs)
        names = ground.ends(cable) if is_failure else ()
        taps = [Wire(ground.ovs.namespace, name, 0) for name in names]
        try:
            for stream in streams:
                wait_until(
                    lambda stream=stream: stream.goes_on(STEADY, 0.0),  # type: ignore[misc]
                    within=PATIENCE,
                    why=f"{stream.pair} before a change",
                )
            through = {pair for tap in taps for pair in crossing(tap)}
        finally:
            for tap in taps:
                tap.close()
        since = time.monotonic()
        ground.turn(cable)
        for stream in streams:
            wait_until(
                lambda stream=stream: stream.goes_on(STEADY, since),  # type: ignore[misc]
                within=PATIENCE,
                why=f"{stream.pair} after a change",
            )
        self.compare()
        rest = since + AFTER - time.monotonic()
        time.sleep(max(0.0, rest))
        talk.end(streams)
        time.sleep(ON_ITS_WAY)
        self.judge(cable, is_failure, known, streams, through, since)
        self.found.copies += sum(stream.copies for stream in talk.all_streams)
        self.found.copies += sum(times - 1 for times in talk.copies.values())

    def judge(
        self,
        cable: int,
        is_failure: bool,
        known: Ways,
        streams: Sequence[object],
        through: set[tuple[str, str]],
        since: float,
    ) -> None:
        by_class: dict[str, float] = {}
        for stream in streams:
            one, other = stream.pair  # type: ignore[attr-defined]
            if is_failure and (one.lladdr, other.lladdr) not in through:
                continue
            what = self.kind(cable, known, one, other) if is_failure else MENDED
            lost = stream.lost(since - EVERY) * 1e3  # type: ignore[attr-defined]
            by_class[what] = max(by_class.get(what, 0.0), lost)
        for what, worst in by_class.items():
            self.found.lost.setdefault(what, []).append(worst)
        self.found.failures += is_failure
        self.found.repairs += not is_failure

    def kind(self, cable: int, known: Ways, one: Host, other: Host) -> str:
        """Who can find another way for what goes from one to the other."""
        goal = other.at.datapath_id
        for end in self.both_ends(cable):
            far, mine = self.ground.far[end].datapath_id, end.datapath_id
            way = known[mine].get(goal)
            if way is None or end.port_no not in way.ports:
                continue
            is_on_it = mine == one.at.datapath_id or mine in known[one.at.datapath_id]
            if is_on_it and far != one.at.datapath_id:
                has_other = len(way.ports) > 1 or way.detour is not None
                return IN_SWITCH if has_other else BY_CONTROLLER
        return IN_SWITCH

    # --- what is chosen ---------------------------------------------------------------

    def choose(self) -> int:
        """As often as not one that is down, if there is one."""
        down = sorted(self.ground.cut)
        up = [n for n in range(len(self.works)) if n not in self.ground.cut]
        is_repair = not up or (down and self.chance.random() < 0.45)
        return self.chance.choice(down if is_repair else up)

    def islands(self, cut: set[int]) -> dict[int, int]:
        works = [ends for n, ends in enumerate(self.works) if n not in cut]
        return components(self.ground.numbers, works)

    def both_ends(self, cable: int) -> list[PortKey]:
        names = [(a, b) for a, b in self.ground.far.items()]
        one = names[2 * cable][0]
        return [one, self.ground.far[one]]

    def pairs(
        self, cable: int, before: dict[int, int], after: dict[int, int]
    ) -> list[Pair]:
        """Those that it may concern, and who reach each other before and after."""
        alike = [
            (one, other)
            for one, other in permutations(self.ground.hosts, 2)
            if before[one.at.datapath_id] == before[other.at.datapath_id]
            and after[one.at.datapath_id] == after[other.at.datapath_id]
        ]
        near = [pair for pair in alike if self.may_take(cable, pair)]
        some = near or alike
        return self.chance.sample(some, min(PAIRS, len(some)))

    def may_take(self, cable: int, pair: Pair) -> bool:
        """The cable, that works or will, is on a shortest path."""
        working = self.ground.cut - {cable}
        hops = {n: distances(self.works, working, n) for n in self.works[cable]}
        start, goal = (host.at.datapath_id for host in pair)
        if start == goal:
            return False
        whole = distances(self.works, working, start).get(goal)
        a, b = self.works[cable]
        return whole is not None and whole in (
            hops[a].get(start, 99) + 1 + hops[b].get(goal, 99),
            hops[b].get(start, 99) + 1 + hops[a].get(goal, 99),
        )

    def ways(self) -> Ways:
        cut = self.ground.cut
        exits: dict[int, list[tuple[PortKey, PortKey]]] = {
            n: [] for n in self.ground.numbers
        }
        for n in range(len(self.works)):
            one, other = self.both_ends(n)
            if n not in cut and one.datapath_id != other.datapath_id:
                exits[one.datapath_id].append((one, other))
                exits[other.datapath_id].append((other, one))
        return ways(exits)

    # --- what is compared -------------------------------------------------------------

    def compare(self) -> None:
        """When all is quiet it must be so."""
        found: list[str] = []

        def is_right() -> bool:
            found[:] = self.mistakes()
            return not found

        try:
            wait_until(is_right, within=PATIENCE, why="all to be as it should")
        except NeverTrue:
            self.found.mistakes += [f"seed {self.ground.shape.seed}: {found[0]}"]

    def mistakes(self) -> list[str]:
        view = self.ground.view()
        known = network(view)
        wrong = [*self.misplaced(view, known)]
        if wrong:
            return wrong
        flows = {n: compile_flows(view, n, known) for n in self.ground.numbers}
        for n in self.chance.sample(list(flows), min(3, len(flows))):
            if held(self.ground, n) != {*flows[n]}:
                return [f"{bridge(n)} holds other flows"]
            self.found.compared += 1
        return [*self.astray({n: list(some.values()) for n, some in flows.items()})]

    def misplaced(self, view: View, known: Network) -> Iterator[str]:
        truth = {host.lladdr: host.at for host in self.ground.hosts}
        told = {
            where.lladdr: where.port
            for where in known.located.values()
            if where.lladdr in truth
        }
        if told != truth:
            yield f"wrong places: {dict({*told.items()} ^ {*truth.items()})}"
        if {*known.fabric.uplinks.items()} != {*self.ground.far.items()}:
            yield "wrong cables"
        if known.tree != known.fabric.tree:
            yield "the tree is not open"
        if [*filter(lambda row: row.port in self.ground.far, view.stations.values())]:
            yield "somebody is known at a cable"
        up = {key for key in self.ground.far if view.ports[key].up}
        failed = {end for n in self.ground.cut for end in self.both_ends(n)}
        if up != {*self.ground.far} - failed:
            yield "wrong cables are up"

    def astray(self, flows: dict[int, list[Flow]]) -> Iterator[str]:
        """Frames of which simulator, switches, or truth say another thing."""
        hosts = self.chance.sample(self.ground.hosts, min(3, len(self.ground.hosts)))
        island = self.islands(self.ground.cut)
        one = hosts[0]
        mine = island[one.at.datapath_id]
        heard = {
            other.at
            for other in self.ground.hosts
            if other is not one and island[other.at.datapath_id] == mine
        }
        goals = [(BROADCAST, heard)]
        for other in hosts[1:]:
            goals.append((other.lladdr, {other.at} if other.at in heard else heard))
        for eth_dst, expected in goals:
            arrived, wrong = self.follow(flows, one, eth_dst)
            if wrong:
                yield wrong
            elif arrived != Counter(expected):
                yield f"{eth_dst} comes to {dict(arrived)}, not to {expected}"

    def follow(
        self, flows: dict[int, list[Flow]], one: Host, eth_dst: str
    ) -> tuple[Counter[PortKey], str]:
        arrived: Counter[PortKey] = Counter()
        ahead: list[tuple[PortKey, Packet]] = [(one.at, plain(one, eth_dst))]
        seen: set[PortKey] = set()
        failed = {end for n in self.ground.cut for end in self.both_ends(n)}
        while ahead:
            at, packet = ahead.pop()
            if at in seen:
                return arrived, f"{eth_dst} goes in a circle"
            seen.add(at)
            given = {**packet, "in_port": str(at.port_no)}
            down = {end.port_no for end in failed if end.datapath_id == at.datapath_id}
            mine = flows[at.datapath_id]
            told = [
                plainly(at.port_no, Datapath(mine, down, n).receive(given))
                for n in range(1 if eth_dst == BROADCAST else BUCKETS_MAX)
            ]
            self.found.compared += 1
            try:
                real = trace(self.ground.ovs, bridge(at.datapath_id), given)
            except Shared as shared:
                if shared.group_id not in group_ids(mine, eth_dst):
                    return arrived, f"{bridge(at.datapath_id)} uses {shared.group_id}"
                real = self.chance.choice(told)
            if not any(alike(real, one) for one in told):
                return arrived, f"{bridge(at.datapath_id)} does {real}, not {told[0]}"
            for port_no, sent in real:
                if port_no == CONTROLLER:
                    continue
                out = at if port_no == IN_PORT else PortKey(at.datapath_id, port_no)
                far = self.ground.far.get(out)
                if far is None:
                    arrived[out] += 1
                elif out not in failed:
                    ahead.append((far, sent))
        return arrived, ""


def group_ids(flows: Sequence[Flow], eth_dst: str) -> set[int]:
    """What the flows for a station may choose by."""
    return {
        action.group_id
        for entry in flows
        if ("eth_dst", eth_dst) in entry.match
        for action in entry.actions
        if isinstance(action, Group)
    }


def alike(
    real: Sequence[tuple[int, Packet]], told: Sequence[tuple[int, Packet]]
) -> bool:
    return [(port, dict(packet)) for port, packet in real] == told


def plain(host: Host, eth_dst: str) -> Packet:
    return frame(
        in_port=host.at.port_no,
        eth_src=host.lladdr,
        eth_dst=eth_dst,
        eth_type=EXPERIMENTAL,
    )


def held(ground: Ground, n: int) -> set[int]:
    dumped = ground.ovs.ofctl("-OOpenFlow13", "dump-flows", bridge(n))
    rows = [row for row in dumped.splitlines() if "cookie=" in row]
    cookies = {int(row.partition("cookie=")[2].partition(",")[0], 16) for row in rows}
    return {cookie for cookie in cookies if is_ours(cookie)}


def crossing(tap: Wire) -> set[tuple[str, str]]:
    """Who sends to whom through a cable."""
    found = {
        (text(data[6:12]), text(data[:6]))
        for data in tap.heard()
        if data[12:14] == EXPERIMENTAL.to_bytes(2, "big")
    }
    return found


def text(octets: bytes) -> str:
    return octets.hex(":")


def distances(
    cables: Sequence[tuple[int, int]], cut: set[int], start: int
) -> dict[int, int]:
    hops, ahead = {start: 0}, [start]
    while ahead:
        here = ahead.pop(0)
        for n, ends in enumerate(cables):
            if n not in cut and here in ends:
                [far] = [end for end in ends if end != here] or [here]
                if far not in hops:
                    hops[far] = hops[here] + 1
                    ahead.append(far)
    return hops


def sent_by(talk: Talk) -> tuple[dict[int, tuple[Pair, int]], int]:
    streams = talk.all_streams
    return {one.number: (one.pair, len(one.sent)) for one in streams}, talk.broadcasts


def needed_of(
    ground: Ground,
    before: tuple[dict[int, tuple[Pair, int]], int],
    after: tuple[dict[int, tuple[Pair, int]], int],
) -> int:
    """Frames on cables, if each took the longest of shortest paths that may be."""
    ratio = len(ground.shape.cables)
    frames = 0
    for n, (pair, sent) in after[0].items():
        earlier = before[0].get(n, (pair, 0))[1]
        hops = distances(ground.shape.cables, ground.cut, pair[0].at.datapath_id)
        # Who is on another island is looked for everywhere.
        frames += (sent - earlier) * (hops.get(pair[1].at.datapath_id, ratio) + 1)
    return frames + (after[1] - before[1]) * ratio


_ = percentile
