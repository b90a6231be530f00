"""Random networks whose cables fail and come back while everybody talks.

After everything that one switch does, whatever the others have done yet, no broadcast
comes twice to anybody, nor back, and no frame for one host comes twice to him.  It may
go in a circle, or be heard twice by others, while one switch does as before and the
next one as after, until the last has done what it was told; but where islands are
joined, or somebody is new, not even that.  Then everything arrives, once, and everybody
is known where he is.  Frames go through the flows of all switches.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import pairwise

import pytest

from controller.events import ArpSeen, Event
from flows.openflow import CONTROLLER, IN_PORT
from flows.simulate import Datapath, Packet
from flows.view import PortKey
from tests.facts import Fact, interface, kernel_host, port
from tests.packets import announcement, frame
from tests.support.plant import TUNNEL, Ends, Plant
from tests.support.wild import SEEDS, Wild, components, wild

# Thousands of turns; what they pass through is counted where other tests do.
pytestmark = pytest.mark.uncounted

HOPS_MAX = 3000  # of all copies of one frame
PAIRS = 12  # of hosts that are drawn after each change of a switch
STEPS = 40  # that failures, repairs and switches take, for each seed
BROADCAST = "ff:ff:ff:ff:ff:ff"
EXPERIMENTAL = 0x88B5  # IEEE 802, 9.2.4


@dataclass(frozen=True, slots=True)
class Host:
    at: PortKey
    lladdr: str
    ip: str


@dataclass(slots=True)
class Journey:
    """What became of one frame.

    told     packets that the controller was told of, and where they came in
    circles  copies that came back to where they had been
    """

    arrived: Counter[PortKey] = field(default_factory=Counter)
    hops: int = 0
    circles: int = 0
    told: list[tuple[PortKey, Packet]] = field(default_factory=list)


class Crowd(Plant):
    """Every other host is one that the kernel shows; the others have to speak."""

    def __init__(
        self,
        shape: Wild,
        overlays: Sequence[Collection[int]] = (),
        kernels: Collection[int] = (),
    ) -> None:
        seen: Counter[int] = Counter()
        self.hosts: list[Host] = []
        facts: list[Fact] = []
        for n, switch in enumerate(shape.hosts, 1):
            seen[switch] += 1
            at = PortKey(switch, seen[switch])
            host = Host(at, f"02:00:00:00:00:{n:02x}", f"10.0.0.{n}")
            self.hosts.append(host)
            if n % 2:
                facts += kernel_host(*at, host.lladdr, host.ip, nsid=n)
            else:
                facts += [port(*at), interface(*at)]
        self.at_port = {host.at: host.lladdr for host in self.hosts}
        self.shape = shape
        self.due: deque[Event] = deque()  # what the controller will be told
        self.far: dict[PortKey, PortKey] = {}
        super().__init__(
            *(shape.switches, shape.cables, facts, shape.islands, overlays),
            kernels=kernels,
        )
        for one, other in self.ends:
            self.far[PortKey(*one)], self.far[PortKey(*other)] = (
                PortKey(*other),
                PortKey(*one),
            )

    # --- frames -----------------------------------------------------------------------

    def datapath(self, n: int, hashed: int = 0) -> Datapath:
        down = {p for ends in self.cut for m, p in ends if m == n}
        return Datapath(self.switches[n].flows.values(), down, hashed)

    def send(self, host: Host, packet: Packet, hashed: int = 0) -> Journey:
        """Each copy has its own way behind it: who is on it twice is in a circle."""
        journey = Journey()
        ahead = deque([(host.at, packet, frozenset[PortKey]())])
        failed = {PortKey(*end) for ends in self.cut for end in ends}
        while ahead:
            at, packet, way = ahead.popleft()
            journey.hops += 1
            assert journey.hops < HOPS_MAX, "a storm"
            if at in way:
                is_astray = packet["eth_dst"] != BROADCAST and self.is_behind
                assert is_astray, f"in a circle: {host}, {packet}, {at}"
                journey.circles += 1
                continue
            way |= {at}
            given = {**packet, "in_port": str(at.port_no)}
            for port_no, sent in self.datapath(at.datapath_id, hashed).receive(given):
                if port_no == CONTROLLER:
                    journey.told.append((at, given))
                    continue
                out = at if port_no == IN_PORT else PortKey(at.datapath_id, port_no)
                if port_no >= TUNNEL:
                    there = self.beyond(out, sent) if out not in failed else ()
                    ahead += ((*one, way) for one in there if one[0] not in failed)
                elif out not in self.far:
                    journey.arrived[out] += 1
                elif out not in failed:
                    ahead.append((self.far[out], sent, way))
        to = packet["eth_dst"]
        for heard_at, copies in journey.arrived.items():
            is_for_it = to == BROADCAST or self.at_port.get(heard_at) == to
            assert copies == 1 or (self.is_behind and not is_for_it), "a copy"
        return journey

    def broadcast(self, host: Host) -> Journey:
        return self.send(host, plain(host, BROADCAST))

    def reached(self, host: Host) -> set[PortKey]:
        """Who should hear it."""
        works = [(a[0], b[0]) for a, b in self.ends if (a, b) not in self.cut]
        segments: dict[int, list[int]] = {}
        for (n, port_no), in self.into:  # fmt: skip
            if ((n, port_no),) not in self.cut:
                segments.setdefault(port_no, []).append(n)
        works += [pair for ends in segments.values() for pair in pairwise(ends)]
        island = components(self.switches, works)
        mine = island[host.at.datapath_id]
        return {o.at for o in self.hosts if island[o.at.datapath_id] == mine} - {
            host.at
        }

    def announce(self, host: Host) -> None:
        """What the controller is told of it."""
        packet = announcement(in_port=host.at.port_no, sha=host.lladdr, ip=host.ip)
        for at, heard in self.send(host, packet).told:
            ip = IPv4Address(heard["arp_spa"])
            self.due.append(
                ArpSeen(
                    *(*at, 0, heard["eth_src"], heard["eth_dst"], 1),
                    *(heard["arp_sha"], ip, heard["arp_tha"], ip),
                )
            )

    # --- what happens -----------------------------------------------------------------

    def turn(self, ends: Ends) -> None:
        """It fails, or works again, and the switches will tell."""
        self.cut ^= {ends}
        self.due += self.set_up(ends, ends not in self.cut)

    def tell_next(self) -> None:
        self.tell(self.due.popleft())

    def waiting(self) -> list[int]:
        return [n for n, switch in self.switches.items() if switch.told]

    @property
    def is_behind(self) -> bool:
        """A switch has not done yet what it was told."""
        return bool(self.waiting())

    def settle(self) -> None:
        while self.due:
            self.tell_next()
        super().settle()

    def go_on(self, chance: random.Random) -> None:
        if self.due:
            self.tell_next()
        else:
            self.obey(chance.choice(self.waiting()))

    def islands(self) -> dict[int, int]:
        works = ((a[0], b[0]) for a, b in self.ends if (a, b) not in self.cut)
        return components(self.switches, works)

    def strangers(
        self, before: Mapping[int, int], chance: random.Random
    ) -> Iterator[tuple[Host, Host]]:
        """Some pairs of hosts that did not reach each other."""
        for _ in range(PAIRS):
            one, other = chance.sample(self.hosts, 2)
            if before[one.at.datapath_id] != before[other.at.datapath_id]:
                yield one, other

    def look(self, chance: random.Random) -> None:
        """Some host broadcasts, and some say something to others."""
        self.broadcast(chance.choice(self.hosts))
        for _ in range(3):
            one, other = chance.sample(self.hosts, 2)
            hashed = chance.randrange(16)
            self.send(one, plain(one, other.lladdr), hashed)


def plain(host: Host, eth_dst: str) -> Packet:
    return frame(
        in_port=host.at.port_no,
        eth_src=host.lladdr,
        eth_dst=eth_dst,
        eth_type=EXPERIMENTAL,
    )


def everybody(crowd: Crowd) -> Iterator[tuple[str, PortKey]]:
    for where in crowd.core.network.located.values():
        yield where.lladdr, where.port


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_fails_nothing_comes_twice_and_in_the_end_all_arrives(
    seed: int,
) -> None:
    run(Crowd(wild(seed)), random.Random(seed))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nor_where_there_are_overlays_beside_cables(seed: int) -> None:
    shape, chance = wild(seed, most=12), random.Random(seed)
    numbers = range(1, shape.switches + 1)
    overlays = [
        chance.sample(numbers, chance.randint(2, min(6, shape.switches)))
        for _ in range(chance.randint(1, 3))
    ]
    # Of some networks nothing but overlays joins the halves.
    cables = tuple(c for c in shape.cables if seed % 2 or c[0] % 2 == c[1] % 2)
    shape = replace(shape, cables=cables, islands=frozenset())
    # And some switches have devices of the kernel for their ends.
    another = random.Random(f"kernels {seed}")
    kernels = another.sample(numbers, another.randint(0, shape.switches))
    run(Crowd(shape, overlays, kernels if seed % 3 else ()), chance)


@pytest.mark.parametrize("seed", range(18, 42, 3))
def test_where_islands_are_joined_nobody_is_reached_by_two_ways(seed: int) -> None:
    """Some switches know who is on the other side, and some ask everywhere for him."""
    crowd, chance = Crowd(wild(seed)), random.Random(seed)
    crowd.settle()
    for host in crowd.hosts:
        crowd.announce(host)
    crowd.settle()
    for ends in chance.sample(crowd.ends, len(crowd.ends) // 2):
        whole = crowd.islands()
        if ends not in crowd.cut:
            crowd.turn(ends)
        before = crowd.islands()
        crowd.settle()
        if before == whole:
            continue
        crowd.turn(ends)
        while crowd.due or crowd.waiting():
            crowd.go_on(chance)
            for one, other in crowd.strangers(before, chance):
                packet = plain(one, other.lladdr)
                assert not crowd.send(one, packet, chance.randrange(16)).circles
        crowd.settle()


def run(crowd: Crowd, chance: random.Random) -> None:
    crowd.settle()
    for host in crowd.hosts:
        crowd.announce(host)
    crowd.settle()
    truth = {host.lladdr: host.at for host in crowd.hosts}
    assert {*everybody(crowd)} == {*truth.items()}
    for _ in range(STEPS):
        if crowd.due and chance.random() < 0.5:
            crowd.tell_next()
        elif crowd.waiting() and chance.random() < 0.85:
            crowd.obey(chance.choice(crowd.waiting()))
        else:
            crowd.turn(chance.choice([*crowd.ends, *crowd.into]))
        crowd.look(chance)
    crowd.settle()
    assert {*everybody(crowd)} == {*truth.items()}
    for host in chance.sample(crowd.hosts, min(4, len(crowd.hosts))):
        heard = crowd.reached(host)
        assert {*crowd.broadcast(host).arrived} == heard
        for other in crowd.hosts:
            if other is not host:
                packet = plain(host, other.lladdr)
                sent = {*crowd.send(host, packet, chance.randrange(16)).arrived}
                # Who is on another island is looked for everywhere.
                assert sent == ({other.at} if other.at in heard else heard)
