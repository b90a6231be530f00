"""A hundred thousand entries into a real switch, beside `ovs-ofctl --bundle`.

The same entries, in alternating rounds, into the same empty bridge of a private Open
vSwitch.  isat's part is all that it does with a plan: octets, a bundle, in pieces, and
the barrier behind it has been answered; nothing is remembered of earlier rounds.  Of
ovs-ofctl it is the whole process, from the file with their text.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

from controller.reconcile import Plan
from controller.sources.openflow import messages_of, pieces
from flows import wire
from flows.compile import compile_flows
from flows.openflow import texts
from tests.bench.figures import Figure, Run, percentile, spread
from tests.bench.turns import SWITCH, heard
from tests.support.openflow import Channel, errors
from tests.support.ovs import PrivateOvs

ENTRIES = 100_000
OF_A_HOST = 7  # entries
ROUNDS = 5
BUNDLE = 1


def measure(run: Run) -> Iterator[Figure]:
    entries = entries_of(run.of(ENTRIES, least=500))
    ours, theirs = [], []
    with PrivateOvs() as ovs:
        ovs.add_bridge("br0", "fail_mode=secure")
        file = ovs.directory / "flows.txt"
        file.write_text(texts(entries.add))
        for round_ in range(run.of(ROUNDS, least=1)):
            run.tell(f"round {round_ + 1}: {len(entries.add):,} entries, both ways")
            ours.append(by_isat(ovs, entries))
            theirs.append(by_ovs_ofctl(ovs, file, len(entries.add)))
    what = f"{len(entries.add):,} entries into a switch"
    yield from spread(f"{what}: isat", ours, "s")
    yield from spread(f"{what}: ovs-ofctl --bundle add-flows", theirs, "s")
    ratios = [mine / its for mine, its in zip(ours, theirs, strict=True)]
    yield Figure(
        f"{what}: isat beside ovs-ofctl", percentile(ratios, 50), "times its time",
        at_most=1.0, note=f"median of {len(ratios)} rounds",
    )  # fmt: skip


def entries_of(number: int) -> Plan:
    """What a switch is told that has heard so many hosts, and holds nothing yet."""
    flows = compile_flows(heard(number // OF_A_HOST).core.view, SWITCH)
    return Plan(tuple(flows.values()), ())


def by_isat(ovs: PrivateOvs, entries: Plan) -> float:
    """Seconds."""
    wire.oxm_tlv.cache_clear()
    wire.moved.cache_clear()
    gc.collect()
    with Channel(ovs.directory / "br0.mgmt") as channel:
        began = time.perf_counter()
        before, messages, after = messages_of(entries)
        assert not before and not after, "meters, which ovs-ofctl was not given"
        octets = pieces(wire.bundle(BUNDLE, messages, xid=BUNDLE))
        refused = errors(channel.ask_for_all(octets))
        took = time.perf_counter() - began
    assert not refused
    empty(ovs, len(entries.add))
    return took


def by_ovs_ofctl(ovs: PrivateOvs, file: Path, number: int) -> float:
    """Seconds."""
    command = ("ovs-ofctl", "-OOpenFlow14", "--bundle", "add-flows", "br0", str(file))
    began = time.perf_counter()
    ovs.run(*command)
    took = time.perf_counter() - began
    empty(ovs, number)
    return took


def empty(ovs: PrivateOvs, number: int) -> None:
    """All of them are there, and then none."""
    assert f"flow_count={number}" in ovs.ofctl("dump-aggregate", "br0")
    ovs.ofctl("del-flows", "br0")
