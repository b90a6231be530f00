"""A thousand namespaces, a veth into each: who is at the far ends?

Each far end has a name, a hardware address and an address, read from one namespace by
its nsid.  The time of the whole process is that from its start to its end, with
`--once`.  What reading takes is that less the time of the same process where there is
nothing to read; the two alternate.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.figures import Figure, Run, percentile
from tests.bench.fixture import ip_batch
from tests.netlink.lab import ROOT, Lab, new_lab

NAMESPACES = 1000
ROUNDS = 5
WITHIN = 0.5  # seconds
TABLES = ("--once", "--table", "nsid,link,addr")

Json = dict[str, Any]


def measure(run: Run) -> Iterator[Figure]:
    number = run.of(NAMESPACES, least=5)
    rounds = run.of(ROUNDS, least=1)
    with new_lab() as lab:
        run.tell(f"making {number:,} namespaces")
        fill(lab, number)
        run.tell("reading them")
        read = [(once(lab, lab.h2), once(lab, lab.own)) for _ in range(rounds)]
    for _, (_, lines) in read:
        assert resolved(lines) == number, f"{resolved(lines)} of {number} far ends"
    what = f"{number:,} far ends: name, MAC, addresses"
    note = f"median of {rounds}"
    reading = percentile([took - empty for (empty, _), (took, _) in read], 50)
    yield Figure(what, reading, "s", at_most=WITHIN, note=note)
    whole = percentile([took for _, (took, _) in read], 50)
    yield Figure(f"{what}, with the start of the process", whole, "s", note=note)


def fill(lab: Lab, number: int) -> None:
    names = [lab.add(f"n{n}") for n in range(number)]
    ip_batch(lab.own, "".join(
        f"link add v{n} type veth peer name eth0 netns {name}\n"
        for n, name in enumerate(names)
    ))  # fmt: skip
    for n, name in enumerate(names):
        address = f"10.{n >> 8}.{n & 0xFF}.1/24"
        ip_batch(name, f"link set eth0 up\naddress add {address} dev eth0\n")
    ip_batch(lab.own, "".join(f"link set v{n} up\n" for n in range(number)))


def once(lab: Lab, namespace: str) -> tuple[float, list[Json]]:
    """Seconds, and what was said."""
    command = lab.command(
        namespace, sys.executable, "-m", "controller.netlink", *TABLES
    )
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, cwd=ROOT, check=True)
    took = time.monotonic() - began
    return took, [json.loads(line) for line in done.stdout.splitlines()]


def resolved(lines: list[Json]) -> int:
    """Veths of ours whose far end is known with name, MAC and an address."""
    links = {tuple(s["key"].values()): s["value"] for s in rows(lines, "link")}
    held = {(s["key"]["nsid"], s["key"]["ifa_index"]) for s in rows(lines, "addr")}
    far_ends = [
        (link.get("link_netnsid"), link.get("link"))
        for (nsid, _), link in links.items()
        if nsid == -1 and link.get("kind") == "veth"
    ]
    return sum(
        place in held and bool(links[place]["ifname"] and links[place]["address"])
        for place in far_ends
        if place in links
    )


def rows(lines: list[Json], table: str) -> Iterator[Json]:
    return (said for said in lines if said.get("table") == table)
