"""The table of benches: a name to type, a sentence, and what measures it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.bench import (
    attacks,
    channel,
    day,
    events,
    fabric,
    failures,
    flood,
    fuzz,
    hostile,
    many,
    moves,
    namespaces,
    ratios,
    responder,
    scale,
    shapes,
    siege,
    signals,
    tls,
    turns,
    view,
    wild,
)
from tests.bench.figures import Figure, Run


@dataclass(frozen=True, slots=True)
class Bench:
    """measure  yields its figures one by one, and leaves nothing behind"""

    name: str
    title: str
    measure: Callable[[Run], Iterator[Figure]]


BENCHES = (
    Bench("ratios", "Our own parts beside what they replace.", ratios.measure),
    Bench("turns", "What one change costs, as a network grows.", turns.measure),
    Bench("scale", "A hundred thousand entries, hosts and bindings.", scale.measure),
    Bench("fabric", "A hundred switches, a thousand hosts.", fabric.measure),
    Bench("many", "A host of ten thousand interfaces.", many.measure),
    Bench("namespaces", "A thousand namespaces, a veth in each.", namespaces.measure),
    Bench("events", "Link events that a core takes in.", events.measure),
    Bench("view", "From the kernel to the controller's view.", view.measure),
    Bench("signals", "Netlink beside PORT_STATUS and OVSDB.", signals.measure),
    Bench("responder", "Answers in the switch, end to end.", responder.measure),
    Bench("channel", "Packet-ins, beside other controllers.", channel.measure),
    Bench("shapes", "All ping all in Mininet, in any shape.", shapes.measure),
    Bench("failures", "A cable fails: until traffic gets on.", failures.measure),
    Bench("moves", "A host moves: until it is reached again.", moves.measure),
    Bench("wild", "Cables of random networks fail, and all talk.", wild.measure),
    Bench("attacks", "Real attack tools beside a learning switch.", attacks.measure),
    Bench("day", "Hosts that come, go, sleep and die, judged by a model.", day.measure),
    Bench("flood", "One port floods: what others notice.", flood.measure),
    Bench("fuzz", "A million damaged messages for the decoder.", fuzz.measure),
    Bench("hostile", "A million damaged messages of a switch.", hostile.measure),
    Bench("siege", "A controller that runs, under a million of these.", siege.measure),
    Bench("tls", "A switch that reconnects a hundred times.", tls.measure),
)


def named(names: Sequence[str]) -> list[Bench]:
    """In the order of the table; KeyError for a name that is not in it."""
    by_name = {bench.name: bench for bench in BENCHES}
    for name in names:
        by_name[name]
    return [bench for bench in BENCHES if not names or bench.name in names]
