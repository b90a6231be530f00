"""OpenFlow messages that no switch would send: turned away, or read, and soon.

The seeds are one of everything that a switch may send; the faults are those of the
decoder's bench.  What passes the check goes to Ryu's parser, as it would for another
application that listens.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Iterator

from controller.sources.openflow_check import HEADER, Unacceptable, check
from tests.bench.figures import Figure, Run
from tests.bench.fuzz import AGAIN, FAULTS, HOW_MANY, LONGEST
from tests.sources.test_openflow_check import GOOD, Hung, alarm
from tests.support.ryu13 import ProtocolDesc, ofproto_parser, ofproto_v1_3

MESSAGES = 1_000_000
PIECE = 100_000  # messages between two words about how far it is
LONG = 0.01  # seconds: what took longer is tried again


def measure(run: Run) -> Iterator[Figure]:
    chance, ends = random.Random(1), Counter[str]()
    seeds, messages = list(GOOD.values()), run.of(MESSAGES, least=1000)
    worst, began = 0.0, time.perf_counter()
    logging.disable(logging.CRITICAL)  # Ryu prints a page for each
    try:
        for number in range(messages):
            worst = max(worst, again(damaged(chance, chance.choice(seeds)), ends))
            if number % PIECE == 0:
                run.tell(f"{number:,} of {messages:,} messages")
    finally:
        logging.disable(logging.NOTSET)
    mean = (time.perf_counter() - began) / messages
    yield Figure("messages tried", messages, "", at_least=messages)
    yield Figure("turned away", ends["turned away"], "")
    yield Figure("passed on, and read by Ryu's parser", ends["read"], "")
    yield Figure("passed on, and no message to Ryu's parser either", ends["unread"], "")
    yield Figure("ended in anything else", ends["other"], "", at_most=0)
    yield Figure("mean time for a message, with making it", mean * 1e6, "us")
    yield Figure("worst time for a message", worst * 1e3, "ms", at_most=100,
                 note=f"the least of {AGAIN + 1} times")  # fmt: skip


def damaged(chance: random.Random, seed: bytes) -> bytes:
    octets = bytearray(seed)
    for _ in range(chance.choice(HOW_MANY)):
        chance.choice(FAULTS)(chance, octets)
    octets[LONGEST:] = b""
    octets += bytes(max(0, HEADER.size - len(octets)))
    octets[2:4] = len(octets).to_bytes(2)  # the channel cuts by it
    return bytes(octets)


def again(message: bytes, ends: Counter[str]) -> float:
    """Seconds; the least of several times, if the first took long."""
    took = tried(message, ends)
    if took < LONG:
        return took
    return min(took, *(tried(message, Counter()) for _ in range(AGAIN)))


def tried(message: bytes, ends: Counter[str]) -> float:
    began = time.perf_counter()
    ends[end_of(message)] += 1
    return time.perf_counter() - began


def end_of(message: bytes) -> str:
    try:
        check(message, is_greeted=True)
    except Unacceptable:
        return "turned away"
    except Exception:  # what must not happen is what is looked for
        return "other"
    version, kind, length, xid = HEADER.unpack_from(message)
    switch = ProtocolDesc(ofproto_v1_3.OFP_VERSION)
    try:
        with alarm():
            parsed = ofproto_parser.msg(switch, version, kind, length, xid, message)
    except Hung:
        return "other"
    except Exception:  # of Ryu's: the channel closes who caused it
        return "unread"
    return "read" if parsed else "unread"
