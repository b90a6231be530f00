"""The decoder under damaged messages: every end is a value or Malformed, and soon.

The kinds of messages are those of rtnl's table of decoders; the seeds are what this
kernel answers to dumps, in a namespace that holds something of everything.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from heapq import nlargest
from operator import itemgetter

from controller.netlink import rtnl
from controller.netlink.sockets import open_route_socket
from tests.bench.figures import Figure, Run
from tests.bench.fixture import inside, ip_batch, named
from tests.netlink.lab import Lab, new_lab

MESSAGES = 1_000_000
PIECE = 20_000  # messages between two words about how far it is
SLOWEST, AGAIN = 20, 3  # messages of a piece that are tried again, and how often
LONGEST = 65_535  # octets of a body
HEADER, SIZE = struct.Struct("=IHHII"), 1 << 18
NLM_F_REQUEST_DUMP, NLMSG_DONE, NLMSG_ERROR = 0x301, 3, 2

SOMETHING_OF_EVERYTHING = """\
link set lo up
link add v1 type veth peer name v2
link add m1 link v1 type macvlan mode bridge
link add b1 type bridge
link add v3 type veth peer name v4
link set v3 master b1
link add x1 type vxlan id 7 dstport 4789 local 127.0.0.1
link set v1 up alias something
link set v2 up
link set v3 up
link set v4 up
link set b1 up
link property add dev v1 altname another-name-of-it
tuntap add t1 mode tap user 1000
address add 10.0.0.1/24 dev v1 label v1:x
address add 10.0.1.1 peer 10.0.1.2/32 dev v1
address add fd00::1/64 dev v1 nodad
neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev v1
neigh add fd00::2 lladdr 02:00:00:00:00:02 dev v1
neigh add proxy 10.0.0.9 dev v1
nexthop add id 1 via 10.0.0.2 dev v1
nexthop add id 2 blackhole
nexthop add id 3 group 1
route add 10.1.0.0/16 via 10.0.0.2
route add 10.2.0.0/16 nexthop via 10.0.0.2 weight 2 nexthop dev v1
route add 10.3.0.0/16 nhid 3
route add blackhole 10.4.0.0/16
route add fd01::/64 via fd00::2 metric 7
rule add from 10.0.0.0/8 iif v1 fwmark 1 lookup 100
"""


def measure(run: Run) -> Iterator[Figure]:
    with new_lab() as lab:
        seeds = captured(lab)
    kinds = ", ".join(f"{count} of type {kind}" for kind, count in census(seeds))
    run.tell(f"{len(seeds)} messages of this kernel: {kinds}")
    messages = run.of(MESSAGES, least=1000)
    ends, worst, times = attempted(seeds, messages, run)
    values = sum(n for name, n in ends.items() if name not in ("Malformed", "None"))
    others = {name for name in ends if name.startswith("!")}
    yield Figure("messages decoded", messages, "", at_least=messages,
                 note=f"{len(rtnl.DECODERS)} types")  # fmt: skip
    yield Figure("ended in a value", values, "")
    yield Figure("ended in nothing that concerns a table", ends["None"], "")
    yield Figure("ended in Malformed", ends["Malformed"], "")
    yield Figure("ended in anything else", sum(ends[name] for name in others), "",
                 at_most=0, note=", ".join(sorted(others)))  # fmt: skip
    yield Figure("median time for a message", times, "us")
    yield Figure("worst time for a message", worst, "ms", at_most=50,
                 note=f"the least of {AGAIN + 1} times")  # fmt: skip


def census(seeds: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    return sorted(Counter(kind for kind, _ in seeds).items())


# --- seeds --------------------------------------------------------------------------


def captured(lab: Lab) -> list[tuple[int, bytes]]:
    """Type and body of messages: what dumps say, and its deletions."""
    ip_batch(lab.own, SOMETHING_OF_EVERYTHING)
    lab.veth("f1", lab.own, "f2", lab.h1)
    with inside(named(lab.own)):
        requests = [r for table in rtnl.TABLES.values() for r in table.dumps(None)]
        found = [message for request in requests for message in dumped(*request)]
    return [(kind, message.body) for message in found for kind in kinds(message.type)]


def kinds(new: int) -> list[int]:
    """RTM_NEW* and RTM_DEL* follow each other: linux/rtnetlink.h."""
    return [kind for kind in (new, new + 1) if kind in rtnl.DECODERS]


def dumped(kind: int, body: bytes) -> list[rtnl.Message]:
    with open_route_socket() as sock:
        sock.settimeout(5)
        sock.send(HEADER.pack(16 + len(body), kind, NLM_F_REQUEST_DUMP, 1, 0) + body)
        return list(answers(sock))


def answers(sock: socket.socket) -> Iterator[rtnl.Message]:
    while True:
        for message in rtnl.messages(sock.recv(SIZE)):
            if message.type in (NLMSG_DONE, NLMSG_ERROR):
                return
            yield message


# --- damage -------------------------------------------------------------------------


def attempted(
    seeds: list[tuple[int, bytes]], messages: int, run: Run
) -> tuple[Counter[str], float, float]:
    """How they ended, the worst time in ms, and the median of the pieces' in us.

    The slowest of each piece are tried again: what the machine did meanwhile does not
    count, what the message takes does.
    """
    chance = random.Random(messages)
    ends: Counter[str] = Counter()
    worst, means = 0.0, []
    for start in range(0, messages, PIECE):
        many = min(PIECE, messages - start)
        damaged = [damage(chance, *chance.choice(seeds)) for _ in range(many)]
        times = [tried(message, ends) for message in damaged]
        pairs = zip(times, damaged, strict=True)
        slowest = nlargest(SLOWEST, pairs, key=itemgetter(0))
        worst = max(worst, *(least(took, message) for took, message in slowest))
        means.append(sorted(times)[many // 2])
        if start % (10 * PIECE) == 0:
            run.tell(f"{start + many:,} of {messages:,} messages")
    return ends, worst * 1e3, sorted(means)[len(means) // 2] * 1e6


def least(took: float, message: rtnl.Message) -> float:
    """Seconds, of the first time and some more."""
    return min(took, *(tried(message, Counter()) for _ in range(AGAIN)))


def tried(message: rtnl.Message, ends: Counter[str]) -> float:
    """Seconds that it took to decode."""
    began = time.perf_counter()
    try:
        end = type(rtnl.decode(message)).__name__.removesuffix("Type")
    except rtnl.Malformed:
        end = "Malformed"
    except Exception as error:  # what must not happen is what is looked for
        end = f"!{type(error).__name__}"
    took = time.perf_counter() - began
    ends[end] += 1
    return took


def damage(chance: random.Random, kind: int, body: bytes) -> rtnl.Message:
    """One message with a few faults of the kinds that there are."""
    octets = bytearray(body)
    for _ in range(chance.choice(HOW_MANY)):
        chance.choice(FAULTS)(chance, octets)
    if chance.random() < 0.05:  # of another type than its body
        kind = chance.choice(sorted(rtnl.DECODERS))
    return rtnl.Message(kind, 0, 0, bytes(octets[:LONGEST]))


def one_octet(chance: random.Random, octets: bytearray) -> None:
    if octets:
        octets[chance.randrange(len(octets))] = chance.randrange(256)


def one_bit(chance: random.Random, octets: bytearray) -> None:
    if octets:
        octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)


def cut_off(chance: random.Random, octets: bytearray) -> None:
    del octets[chance.randint(0, len(octets)) :]


def piece_out(chance: random.Random, octets: bytearray) -> None:
    at = chance.randint(0, len(octets))
    del octets[at : at + chance.randint(1, 8)]


def piece_in(chance: random.Random, octets: bytearray) -> None:
    at = chance.randint(0, len(octets))
    octets[at:at] = chance.randbytes(chance.randint(1, 8))


def repeated(chance: random.Random, octets: bytearray) -> None:
    """A part of it, again and again: many attributes, deep nests."""
    at = chance.randint(0, len(octets))
    part = octets[at : at + chance.randint(4, 64)]
    if chance.random() < 0.02:
        part *= chance.randint(1, 1000)
    octets[at:at] = part


def extreme_length(chance: random.Random, octets: bytearray) -> None:
    """nla_len, if it falls on one."""
    at = chance.randint(0, len(octets)) // 4 * 4
    octets[at : at + 2] = chance.choice(EXTREMES)


EXTREMES = (b"\0\0", b"\1\0", b"\3\0", b"\4\0", b"\5\0", b"\xff\xff", b"\0\x80")
HOW_MANY = (1, 1, 1, 1, 2, 3, 8)
FAULTS = (  # half of them leave the structure as it is
    one_octet,
    one_octet,
    one_octet,
    one_bit,
    one_bit,
    cut_off,
    piece_out,
    piece_in,
    repeated,
    extreme_length,
)
