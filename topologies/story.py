"""The story of the demo: each step is a sentence with figures, or has failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from topologies.network import Host, Station
from topologies.stage import (
    PATIENCE,
    PROBE,
    Failed,
    Stage,
    Tell,
    Witness,
    controller_hits,
    until,
)

QUIET = 0.5  # seconds without an answer that count as the end of answers
SENTENCES = 3  # of those about one address that are shown
EVERY = 2.0  # milliseconds between two questions of the asker


def story(here: Stage, tell: Tell) -> None:
    """Tell it; Failed with the first step that does not hold."""
    tell("known", known_before_they_speak(here))
    tell("known", taps_announce_themselves(here))
    here.watch()
    tell("first ping", first_ping(here))
    tell("all pairs", everybody_asks_everybody(here))
    tell("silence", silence(here))
    for line in explained(here):
        tell("explained", line)
    known, before = here.answered(), here.flows()
    tell("killed", controller_killed(here))
    tell("back", controller_back(here, before, known))
    tell("tap", tap_killed(here))
    tell("tap", tap_held_again(here))


# --- before anybody speaks ------------------------------------------------------

TX_PACKETS = 9  # column of /proc/net/dev, net/core/net-procfs.c


def known_before_they_speak(here: Stage) -> str:
    """The kernel tells of both ends of a veth, across namespaces."""
    hosts = {host.ip for host in here.network.hosts}
    began = time.monotonic()
    until(
        lambda: hosts <= here.answered(),
        f"not all of {len(hosts)} hosts became known",
        "isat status; isat hosts",
    )
    took = (time.monotonic() - began) * 1000
    sent = {host.name: frames_sent(here, host) for host in here.network.hosts}
    if speakers := [name for name, frames in sent.items() if frames]:
        raise Failed("hosts have spoken already", f"{', '.join(speakers)} sent frames")
    if others := [ip for ip in hosts if here.rows()[ip]["origin"] != "kernel"]:
        raise Failed("hosts are known from elsewhere", f"not by the kernel: {others}")
    return (
        f"{len(hosts)} of {len(hosts)} hosts, from the kernel, {took:.0f} ms after "
        f"Mininet was done; frames that they have sent: {sum(sent.values())}"
    )


def frames_sent(here: Stage, host: Host) -> int:
    """By the kernel's own counter, which began when the interface did."""
    # Not /sys/class/net: in a container that may be another namespace's.
    for line in here.emulation.run(host.name, "cat", "/proc/net/dev").stdout.split(
        "\n"
    ):
        name, _, counters = line.partition(":")
        if name.strip() == host.interface:
            return int(counters.split()[TX_PACKETS])
    raise Failed(f"{host.name} has no {host.interface}", "it is not in /proc/net/dev")


def taps_announce_themselves(here: Stage) -> str:
    """What holds a tap is known by what it says: RFC 5227's announcement."""
    taps = {tap.ip for tap in here.network.taps}
    until(
        lambda: taps <= here.answered(), "the taps did not become known", "isat hosts"
    )
    return f"{len(taps)} of {len(taps)} taps, by their announcements (RFC 5227)"


def first_ping(here: Stage) -> str:
    far = here.host(6)
    first, *later = round_trips(here, here.host(1), far, count=4)
    return (
        f"{here.host(1).name} -> {far.name} across {len(here.bridges)} switches: "
        f"{first:.2f} ms, then {sorted(later)[1]:.2f} ms"
    )


def round_trips(here: Stage, host: Host, to: Station, count: int) -> list[float]:
    """Milliseconds, as ping(8) measures them; Failed if one is lost."""
    said = here.emulation.run(
        host.name, "ping", "-n", f"-c{count}", "-i0.1", "-W2", to.ip
    ).stdout
    times = [float(found) for found in re.findall(r"time=([\d.]+) ms", said)]
    if len(times) != count:
        raise Failed(
            f"{host.name} does not reach {to.name}",
            f"{len(times)} of {count} pings were answered",
            "isat hosts; isat explain " + to.at.switch,
        )
    return times


def everybody_asks_everybody(here: Stage) -> str:
    before = here.counts()
    here.flush()
    lost = here.emulation.pingall()
    if lost:
        raise Failed("not everybody reaches everybody", f"{lost:.0f} % of pings lost")
    told = here.counts() - before
    if told["not_for_it"]:
        raise Failed(
            "broadcasts reached hosts that were not asked", f"{told['not_for_it']} did"
        )
    pairs = len(here.network.stations) * (len(here.network.stations) - 1)
    return (
        f"{pairs} of {pairs} pings; {told['asked']} ARP questions, broadcasts that "
        f"reached hosts not asked: {told['not_for_it']}"
    )


def silence(here: Stage) -> str:
    """Nothing changes, so nobody tells the controller anything."""
    here.flush()
    packet_ins, hits = here.controller.packet_ins(), controller_hits(here.bridges)
    before = here.counts()
    pinged = everybody_pings_the_next(here, count=60)
    told = here.counts() - before
    new = here.controller.packet_ins() - packet_ins
    new_hits = controller_hits(here.bridges) - hits
    if new or new_hits:
        raise Failed(
            "packets went to the controller although nothing changed",
            f"{new} by its own count, {new_hits} by the switches'",
            f"ovs-ofctl dump-flows {here.bridges[0]} | grep CONTROLLER",
        )
    return (
        f"{pinged} pings and {told['asked']} ARP questions in 3 s; "
        f"packet-ins: {new} (the switches' own count: {new_hits})"
    )


def everybody_pings_the_next(here: Stage, count: int) -> int:
    """All hosts at once, each the next; Failed if one echo is lost."""
    hosts = here.network.hosts
    pings = [
        start_ping(here, host, hosts[(number + 1) % len(hosts)], count)
        for number, host in enumerate(hosts)
    ]
    received = sum(finished_ping(ping) for ping in pings)
    if received != count * len(hosts):
        lost = count * len(hosts) - received
        raise Failed("pings were lost", f"{lost} of {count * len(hosts)}")
    return received


def start_ping(
    here: Stage, host: Host, to: Station, count: int
) -> subprocess.Popen[str]:
    words = ("ping", "-n", "-q", f"-c{count}", "-i0.05", "-W2", to.ip)
    return subprocess.Popen(
        here.emulation.inside(host.name, *words),
        stdout=subprocess.PIPE,
        text=True,
    )


def finished_ping(ping: subprocess.Popen[str]) -> int:
    said, _ = ping.communicate(timeout=PATIENCE)
    return int(re.findall(r"(\d+) received", said)[0])


def explained(here: Stage) -> Iterator[str]:
    """Flows of one switch in words, and the fact that they come from."""
    bridge, subject = here.bridges[0], here.host(6).ip
    flows = here.controller.ask("explain", bridge)
    names = rf"\b({subject}|{here.host(6).mac})\b"
    about = [flow for flow in flows if re.search(names, flow["says"])]
    because = [reason for flow in about for reason in flow["because"]]
    if not because:
        raise Failed(f"no flow of {bridge} is explained", f"none is about {subject}")
    yield f"isat explain {bridge}: {len(flows)} flows, {len(about)} about {subject}:"
    for flow in about[:SENTENCES]:
        yield f"  table {flow['name']}: {flow['says']}"
    yield f"  because {because[0]}"


def controller_killed(here: Stage) -> str:
    """Forwarding and answers are the switches', and fail_mode=secure keeps them."""
    during = start_ping(here, here.host(1), here.host(6), count=40)
    here.controller.kill()
    here.flush()
    before = here.counts()
    pinged = everybody_pings_the_next(here, count=10)
    taps = [round_trips(here, here.host(3), tap, count=2) for tap in here.network.taps]
    told = here.counts() - before
    if finished_ping(during) != 40:
        raise Failed("pings were lost while the controller was killed", "h1 to h6")
    if told["questions"] or told["not_for_it"] or told["answered"] < told["asked"]:
        raise Failed("the switches did not answer all questions", f"{dict(told)}")
    total = 40 + pinged + sum(map(len, taps))
    return (
        f"SIGKILL: {total} of {total} pings, {told['asked']} ARP questions after a "
        f"neighbor flush, {told['asked']} answered by the switches"
    )


def controller_back(here: Stage, before: dict[str, float], known: set[str]) -> str:
    began = time.monotonic()
    here.controller.start()
    until(lambda: everything_known(here, known), "the controller has not recovered")
    took = time.monotonic() - began
    after, counters = here.flows(), here.controller.counters()
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    renewed = [
        flow for flow in after.keys() & before.keys() if after[flow] < before[flow]
    ]
    changed = counters["flows added"] + counters["flows deleted"]
    if gone or new or renewed or changed:
        raise Failed(
            "flows had to change after the controller was back",
            f"{len(gone)} gone, {len(new)} new, {len(renewed)} added again, "
            f"{changed} changes by its own count: {sorted(gone | new)[:2]}",
        )
    return (
        f"all known again {took:.1f} s after its start; of {len(after)} flows "
        f"{changed} had to change"
    )


def everything_known(here: Stage, known: set[str]) -> bool:
    status = here.controller.ask("status")
    if status is None or any(state != "ok" for state in status["sources"].values()):
        return False
    listed = [switch for switch in status["switches"] if switch["flows"] is not None]
    return len(listed) == len(here.bridges) and known <= here.answered()


def tap_killed(here: Stage) -> str:
    """An answer lives no longer than what it comes from."""
    tap, asker = here.tap(1), here.host(5)
    inside = (sys.executable, str(PROBE), "ask", asker.interface, asker.ip, asker.mac)
    words = here.emulation.inside(asker.name, *inside, tap.ip, "--every", str(EVERY))
    asking = Witness(*words)
    try:
        until(lambda: asking.ask()["answers"] >= 50, f"{tap.name} is not answered for")
        killed = time.monotonic()
        os.kill(here.emulation.holders[tap.name], signal.SIGKILL)
        until(
            lambda: time.monotonic() - max(asking.ask()["last_answer"], killed) > QUIET,
            f"{tap.name} is answered for although nobody holds it",
            "isat hosts; isat mirror --once",
        )
        last = asking.ask()["last_answer"]
    finally:
        asking.end()
    if tap.ip in here.answered():
        raise Failed(f"{tap.ip} is still listed as answered", "see isat hosts")
    took = max(0.0, last - killed) * 1000
    return (
        f"its process killed, the last answer for {tap.ip} came {took:.0f} ms later "
        f"({asker.name} asked every {EVERY:g} ms)"
    )


def tap_held_again(here: Stage) -> str:
    """Open vSwitch does not notice that a name means another interface now."""
    tap = here.tap(1)
    began = time.monotonic()
    here.hold(tap)
    hint = f"ovs-vsctl list interface {tap.name}; isat ports"
    until(lambda: tap.ip in here.answered(), f"{tap.name} is not known again", hint)
    took = time.monotonic() - began
    round_trips(here, here.host(1), tap, count=2)
    return (
        f"a new process holds it: its port was healed, {tap.ip} is answered for again "
        f"after {took:.1f} s"
    )
