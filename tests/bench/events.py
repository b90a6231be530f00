"""Link events a second: what one core decodes, and what a whole mirror takes in.

Aliases, MTUs and states of interfaces change, each an RTM_NEWLINK or two.  The mirror
reads them from its socket, decodes, applies and says them as JSON lines; counted is its
CPU time, user and system (proc(5): utime, stime), for every event that its socket was
sent.  Decoding alone is measured in this process, of the same messages.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from controller.netlink import rtnl
from tests.bench.figures import Figure, Run, percentile
from tests.bench.fixture import Kernel, ip_batch, link_events, named
from tests.netlink.lab import Reader, new_lab, reader

CHANGES = 15_000
PAIRS = 50
FASTER_THAN = 20_000  # events a second
RECEIVE_BUFFER = 64 << 20  # octets: nothing may be lost
ROUNDS = 5
TICKS = os.sysconf("SC_CLK_TCK")  # a second


def measure(run: Run) -> Iterator[Figure]:
    changes = run.of(CHANGES, least=40)
    with new_lab() as lab:
        ip_batch(lab.own, "".join(pair(n) for n in range(PAIRS)))
        options = ("--table", "link", "--receive-buffer", str(RECEIVE_BUFFER))
        with (
            link_events(named(lab.own), RECEIVE_BUFFER) as heard,
            reader(lab.own, *options) as mirror,
        ):
            mirror.synced()
            before = cpu_seconds(mirror.pid)
            run.tell(f"{changes:,} changes of interfaces")
            with closing(Kernel(named(lab.own))) as kernel:
                change(kernel, changes)
            seen = mirror.wait(lambda: has_ended(mirror), "the last change", 60)
            spent = max(cpu_seconds(mirror.pid) - before, 1 / TICKS)
            assert seen and not mirror.said("dirty"), "events were lost"
            heard.setblocking(False)
            datagrams = heard_by(heard)
    yield from decoding(datagrams, run)
    yield Figure(
        "a mirror reads, decodes, applies and says", len(datagrams) / spent, "events/s",
        at_least=FASTER_THAN,
        note=f"{len(datagrams):,} events, {spent:.2f} s of CPU, all of the process",
    )  # fmt: skip


def pair(n: int) -> str:
    return f"link add v{n} up type veth peer name w{n}\nlink set w{n} up\n"


def change(kernel: Kernel, changes: int) -> None:
    """Most are of one interface; every tenth takes a pair's carrier, or gives it."""
    for number in range(changes):
        ifname = f"v{number % PAIRS}"
        if number % 10 == 9:
            kernel.set_up(ifname, up=number // PAIRS % 2 == 1)
        elif number % 2:
            kernel.set_mtu(ifname, 1400 + number // PAIRS % 100)
        else:
            kernel.set_alias(ifname, f"number {number}")
    kernel.set_up("v0", up=True)
    kernel.set_alias("v0", "the end")


def has_ended(mirror: Reader) -> bool:
    return any(
        said.get("value", {}).get("ifalias") == "the end" for said in mirror.lines[-99:]
    )


def cpu_seconds(pid: int) -> float:
    """utime and stime of a process with one thread: fields 14 and 15 of proc(5)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


# --- the same events, decoded here --------------------------------------------------


def heard_by(heard: socket.socket) -> list[bytes]:
    """What waits there: one event each."""
    datagrams = []
    while True:
        try:
            datagrams.append(heard.recv(1 << 16))
        except BlockingIOError:
            return datagrams


def decoding(datagrams: list[bytes], run: Run) -> Iterator[Figure]:
    rates = []
    for _ in range(run.of(ROUNDS, least=1)):
        began = time.process_time()
        for datagram in datagrams:
            for message in rtnl.messages(datagram):
                rtnl.decode(message)
        rates.append(len(datagrams) / (time.process_time() - began))
    yield Figure("decoding alone", percentile(rates, 50), "events/s",
                 note="median; CPU time")  # fmt: skip
