"""What the controller tells of itself, as plain JSON values.

Pure but for `adopt` and `release`: every answer is read off the view, the conclusions
drawn from it, and the core's counters.  Field names are the schema of `isat ... --json`
(docs/reference/command-line.md); they are kept from version to version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any, Protocol

from controller import attacks, fullness, overruns
from controller.channel import Channel
from controller.config import Config, idle
from controller.conflicts import Conflict
from controller.core import Core
from controller.events import BridgeRefused, Event
from controller.liveness import PROBES, State, Subject
from controller.northbound import modes
from controller.northbound.links import links, trees
from controller.northbound.ports import attachment, chain_of, ports, shown_dpid
from controller.northbound.server import Json, Refused
from flows import budgets, groups
from flows.document import to_json
from flows.hearsay import Hearsay, gathered, tellers_of
from flows.parties import Candidate, Domain, Holder, Located
from flows.path import PathError, told
from flows.shown import kernel_hosts
from flows.trust import Mode
from flows.view import (
    INFINITY,
    IPAddress,
    PortKey,
    Silence,
    StationKey,
    View,
    namespace_name,
    switch_name,
)
from flows.vlans import unfollowed
from flows.why import Life, WhyError
from flows.why import why as explained

OFF = "off"  # by the configuration
SIBLINGS_TOLD = 64  # what interfaces of one host may say of each other's addresses
PATIENCE = 15.0  # seconds for OVSDB and ovs-vswitchd to follow

Tell = Callable[[Event], None]


class Running(Protocol):
    """What is asked about: `controller.runtime.Runtime`, as seen from here."""

    config: Config
    core: Core
    listening: int
    targets: tuple[str, ...]
    started_at: float

    @property
    def counters(self) -> dict[str, int]: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def adopt(self, name: str, answer: Tell | None = None) -> None: ...
    def release(self, name: str, answer: Tell | None = None) -> None: ...


def answer(runtime: Running, asked: Json) -> object:
    """Raises Refused if there is no such question, or no good answer."""
    ask = str(asked["ask"])
    if ask not in QUESTIONS:
        near = get_close_matches(ask, QUESTIONS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"ask {', '.join(QUESTIONS)}"
        raise Refused("question", f"unknown question {ask!a}", hint)
    return QUESTIONS[ask](runtime, asked)


# --- status -------------------------------------------------------------------------


def status(runtime: Running, _: Json) -> Json:
    core = runtime.core
    try:
        release = version("isat")
    except PackageNotFoundError:  # run from a checkout that was never installed
        release = "unknown"
    return {
        "version": release,
        "uptime": round(time.monotonic() - runtime.started_at, 3),
        "listening": runtime.listening,
        "targets": runtime.targets,
        "sources": {"netlink": OFF, "ovsdb": OFF, **core.sources},
        "switches": [switch(core, *item) for item in sorted(core.channels.items())],
        "counters": {
            **core.counters,
            **core.conflicts.counters,
            **core.questions.counters,
            **core.loops.counters,
            **core.links.counters,
            **core.forwarding.counters,
            "cables that LLDP has shown": len(core.view.adjacencies),
            "ports that wait until they are tried": len(core.network.held),
            "ports that lead back to us": len(core.network.loops),
            **core.questions.waiting.counters,
            **core.overruns.counters,
            "targets that are sponged": len(core.view.sponges),
            "ports with as many stations as are kept": len(core.network.full),
            "ports with as many bindings as are kept": len(bound_ports(core.view)),
            "stations with as many addresses as are kept": len(
                fullness.full_here(core.view)
            ),
            **core.attacks.counters,
            **core.liveness.counters,
            **states(core),
            **core.attempts.counters,
            **core.moves.counters,
            **core.leases.counters,
            **core.defence.counters,
            **core.arrivals.counters,
            **core.flapping.counters,
            "stations that are on trial": core.flapping.on_trial(time.monotonic()),
            **runtime.counters,
        },
        "limits": list(limits(core, time.monotonic())),
        "rules": modes.rules(core),
        "warnings": [*warnings(runtime), *modes.warnings(core)],
    }


def switch(core: Core, datapath_id: int, channel: Channel) -> Json:
    bridge = core.view.bridges.get(datapath_id)
    return {
        "datapath_id": shown_dpid(datapath_id),
        "name": switch_name(core.view, datapath_id),
        "ports": sum(key.datapath_id == datapath_id for key in core.view.ports),
        "flows": None if channel.installed is None else len(channel.installed),
        "groups": groups_of(channel),
        "adopted": bool(bridge and bridge.adopted),
        "refused": channel.last_refusal,
        "shut": bool(channel.door.held),
        "lets_in": channel.door.lets.value,
    }


def groups_of(channel: Channel) -> int | None:
    is_told = channel.installed is not None
    return sum(map(groups.is_ours, channel.groups)) if is_told else None


def bound_ports(view: View) -> list[PortKey]:
    most = view.limits.bindings_per_port
    return [key for key, count in view.bound.items() if count >= most]


def limits(core: Core, now: float) -> Iterator[Json]:
    """Budgets of ports that were ever exceeded since this controller has started."""
    for (datapath_id, number), row in sorted(core.overruns.rows.items()):
        if not row.total:
            continue
        budget = budgets.budget_of(number)
        yield {
            "port": overruns.place(core.view, datapath_id, number),
            "budget": budgets.IN_WORDS[budget],
            "per_second": budgets.rate(core.view.limits, budget),
            "dropped": row.total,
            "since": age(row.since, now),
        }


def warnings(runtime: Running) -> Iterator[str]:
    """What an operator should know, each with what to type."""
    core = runtime.core
    if not core.channels:
        yield (
            f"no switch is connected to port {runtime.listening};"
            f" type: isat adopt BRIDGE"
        )
    for name, state in core.sources.items():
        if state not in ("ok", "starting"):
            yield f"without {name}: {state}"
    yield from idle(runtime.config)
    yield from runtime.notes
    for datapath_id in sorted(core.channels):
        name = switch_name(core.view, datapath_id) or shown_dpid(datapath_id)
        is_told = core.channels[datapath_id].installed is not None
        if is_told and not budgets.has_meters(core.view, datapath_id):
            yield f"{name!a} has no meters, so that its ports have no budgets"
        bridge = core.view.bridges.get(datapath_id)
        if bridge is None:
            continue
        if not bridge.disable_in_band:
            yield (
                f"{bridge.name!a}: in-band control is on, so hidden flows bypass ours;"
                f" type: isat adopt {bridge.name}"
            )
        if bridge.fail_mode != "secure":
            yield (
                f"{bridge.name!a}: without a controller its flows would be deleted"
                f" (fail_mode is not secure); type: isat adopt {bridge.name}"
            )
    for key, problem in unfollowed(core.view, core.network.fabric):
        if key.datapath_id in core.channels:
            yield f"{core.view.interfaces[key].ifname!a}: {problem}"
    yield from fullness.warnings(core.view, core.network)


# --- hosts --------------------------------------------------------------------------


def hosts(runtime: Running, _: Json) -> list[Json]:
    """One row for each address, then the stations that hold none."""
    core, now = runtime.core, time.monotonic()
    rumors = rumored(core)
    rows = []
    for key, holder in core.network.holders.items():
        rows.append(host(core, holder, rumors.pop(key, []), now))
    for about in rumors.values():
        rows.append(rumor(core, about))
    rows += [silence(core, where, one, now) for where, one in unanswered(core)]
    held = {
        (holder.domain, candidate.lladdr)
        for holder in core.network.holders.values()
        for candidate in holder.candidates
    }
    held |= {one.place for about in rumors.values() for one in about}
    held |= {(where.domain, where.lladdr) for where, _ in unanswered(core)}
    for place, where in core.network.located.items():
        if place not in held:
            rows.append(station(core, where, now))
    return sorted(rows, key=by_address)


Rumors = dict[tuple[Domain, IPAddress], list[Hearsay]]


def rumored(core: Core) -> Rumors:
    """What neighbor tables say, by the address that it is about."""
    found: Rumors = {}
    tellers = tellers_of(kernel_hosts(core.view))
    for one in gathered(core.view.neighbors.values(), tellers):
        found.setdefault((one.domain, one.ip), []).append(one)
    for about in found.values():
        about.sort(key=lambda one: (one.tellers[0].key, one.lladdr))
    return found


def by_address(row: Json) -> tuple[object, ...]:
    ip = str(row["ip"] or "")
    octets = [int(part) for part in ip.split(".")] if "." in ip else []
    return (not ip, ":" in ip, octets, ip, str(row["lladdr"]), str(row["vlan"]))


def host(core: Core, holder: Holder, rumors: list[Hearsay], now: float) -> Json:
    best, known = holder.winner, {c.lladdr for c in holder.candidates}
    differing = [one for one in rumors if one.lladdr not in known]
    where = core.network.located.get((holder.domain, best.lladdr))
    return {
        "ip": str(holder.ip),
        "lladdr": best.lladdr,
        "vlan": holder.domain.vlan,
        **attachment(core.view, best.port),
        "host": host_name(core.view, where, best.port),
        "origin": best.origin.name.lower(),
        "leased": remaining(best.leased_until, now),
        "told_by": [],
        "state": state(core, holder, best).value,
        "confirmed": age(alive_at(core, holder, best), now),
        "answered": not (why_not := why_silent(core, holder)),
        "why_not": why_not,
        "others": [
            *(other(core.view, c) for c in holder.candidates[1:]),
            *(other_rumor(core, one) for one in differing),
        ],
    }


def rumor(core: Core, about: list[Hearsay]) -> Json:
    """An address that nobody has said to hold, and no kernel lists."""
    best = about[0]
    where = core.network.located.get(best.place)
    tables = " and ".join(told_by(core.view, best))
    return {
        "ip": str(best.ip),
        "lladdr": best.lladdr,
        "vlan": best.domain.vlan,
        **place_of(core.view, where),
        "host": host_name(core.view, where, where.port) if where else "",
        "origin": best.origin.name.lower(),
        "leased": None,
        "told_by": told_by(core.view, best),
        "state": None,
        "confirmed": None,
        "answered": False,
        "why_not": f"only the neighbor table of {tables} says so",
        "others": [other_rumor(core, one) for one in about[1:]],
    }


def other_rumor(core: Core, one: Hearsay) -> Json:
    return {
        "lladdr": one.lladdr,
        **place_of(core.view, core.network.located.get(one.place)),
        "origin": one.origin.name.lower(),
        "told_by": told_by(core.view, one),
    }


def told_by(view: View, one: Hearsay) -> list[str]:
    return [f"{namespace_name(view, t.nsid)} {t.ifname}" for t in one.tellers]


def place_of(view: View, where: Located | None) -> Json:
    """Where a station is, if it was ever seen."""
    if where is not None:
        return attachment(view, where.port)
    return {"datapath_id": None, "switch": "", "port_no": None, "port": "", "vlans": ""}


def why_silent(core: Core, holder: Holder) -> str:
    """Why nobody answers for it; "" if the switches do."""
    silent = holder.silent_because or unanswerable(holder)
    return modes.silence(core, holder) or silent


def unanswerable(holder: Holder) -> str:
    """What is missing for an answer although it is clear who holds the address."""
    if holder.ip.version == 6 and holder.winner.router is None:
        return "it has not told yet whether it is a router"
    return ""


def station(core: Core, where: Located, now: float) -> Json:
    heard = where.station.heard_at if where.station else None
    return {
        "ip": None,
        "lladdr": where.lladdr,
        "vlan": where.domain.vlan,
        **attachment(core.view, where.port),
        "host": host_name(core.view, where, where.port),
        "origin": where.origin.name.lower(),
        "leased": None,
        "told_by": [],
        "state": None,
        "confirmed": age(heard, now),
        "answered": False,
        "why_not": "it holds no address that is known",
        "others": [],
    }


# --- who lives ----------------------------------------------------------------------


def states(core: Core) -> dict[str, int]:
    """How many addresses that were heard are in which state."""
    stations = core.view.stations.values()
    counts = dict.fromkeys((f"addresses {one}" for one in State), 0)
    counts["addresses silent"] = sum(len(station.silent) for station in stations)
    for row in stations:
        for claim in row.claims:
            found = core.liveness.state(Subject(row.key, claim.ip))
            counts[f"addresses {found}"] += 1
    return counts


def state(core: Core, holder: Holder, one: Candidate) -> State:
    """What the kernel lists is confirmed as long as it does."""
    return core.liveness.state(subject(holder, one))


def alive_at(core: Core, holder: Holder, one: Candidate) -> float | None:
    if one.confirmed_at is None:
        return None
    return core.liveness.alive_at(subject(holder, one), one.confirmed_at)


def subject(holder: Holder, one: Candidate) -> Subject:
    key = StationKey(one.port.datapath_id, holder.domain.vlan, one.lladdr)
    return Subject(key, holder.ip)


def unanswered(core: Core) -> Iterator[tuple[Located, Silence]]:
    """Addresses whose holder has fallen silent, unless another holds them now."""
    for where in core.network.located.values():
        for one in where.station.silent if where.station else ():
            if (where.domain, one.ip) not in core.network.holders:
                yield where, one


def silence(core: Core, where: Located, one: Silence, now: float) -> Json:
    row, ago = station(core, where, now), age(one.since, now)
    return {
        **row,
        "ip": str(one.ip),
        "state": State.SILENT.value,
        "why_not": f"silent: it has not answered {PROBES} probes, {ago:.0f} s ago",
    }


def other(view: View, candidate: Candidate) -> Json:
    return {
        "lladdr": candidate.lladdr,
        **attachment(view, candidate.port),
        "origin": candidate.origin.name.lower(),
        "told_by": [],
    }


def remaining(until: float | None, now: float) -> float | None:
    """Seconds until a lease ends; None if there is none, or it has no end."""
    is_endless = until is None or until >= INFINITY
    return None if is_endless or until is None else round(max(0.0, until - now), 1)


def age(then: float | None, now: float) -> float | None:
    """Seconds since; None for what does not age, because the kernel vouches for it."""
    return None if then is None else round(max(0.0, now - then), 1)


def host_name(view: View, where: Located | None, key: PortKey) -> str:
    """The name a person knows the host by: its namespace, or the holder of its tap."""
    if where is not None and where.link is not None:
        link = where.link
        return namespace_name(view, link.nsid) if where.has_table else link.holder
    ends = chain_of(view, key).ends
    return ends[0][-1].holder if len(ends) == 1 else ""


# --- who contradicts what is known ----------------------------------------------------


def conflicts(runtime: Running, _: Json) -> list[Json]:
    """What guarded ports have met, the latest first, then all other rivals."""
    core, now = runtime.core, time.monotonic()
    rows = [conflict(core.view, row, now) for row in core.conflicts.told()]
    known = {parties(row) for row in rows}
    rivals = (r for h in core.network.holders.values() for r in rivalry(core.view, h))
    return [
        *(pattern(core.view, row, now) for row in core.attacks.told()),
        *rows,
        *(r for r in rivals if parties(r) not in known),
        *several(core),
    ]


def parties(row: Json) -> tuple[object, ...]:
    """Who disagrees, on what."""
    against: Any = row["against"]
    return frozenset((row["lladdr"], against["lladdr"])), row["ip"], row["vlan"]


def pattern(view: View, row: attacks.Row, now: float) -> Json:
    """counts: how many different things make it an attack, by what they are."""
    suspect = row.suspect
    return {
        "kind": str(suspect.attack),
        "lladdr": suspect.lladdr,
        **attachment(view, suspect.at),
        "vlan": suspect.vlan,
        "ip": None,
        "against": {"lladdr": "", **place_of(view, None), "origin": ""},
        "counts": {attacks.PATTERNS[suspect.attack].things: row.count},
        "since": age(row.since, now),
        "last": age(row.last, now),
        "dropped": False,
    }


def conflict(view: View, row: Conflict, now: float) -> Json:
    """counts: packets by kind that reached the controller; since, last: seconds ago."""
    found = row.found
    return {
        "kind": row.name,
        "lladdr": row.said.lladdr,
        **attachment(view, row.said.at),
        "vlan": row.said.vlan,
        "ip": str(found.ip) if found.ip else None,
        "sends": row.sends,
        "against": {
            "lladdr": found.rival,
            **(attachment(view, found.port) if found.port else place_of(view, None)),
            "origin": found.origin.name.lower() if found.origin else "",
        },
        "counts": {str(kind): count for kind, count in row.counts.items()},
        "since": age(row.since, now),
        "last": age(row.last, now),
        "dropped": row.mode is Mode.ENFORCE,
    }


def rivalry(view: View, holder: Holder) -> Iterator[Json]:
    """Others who say, or of whom the kernel says, that they hold the same address."""
    best = holder.winner
    for one in holder.candidates[1:]:
        if one.lladdr != best.lladdr:
            yield {
                "kind": "rivals",
                "lladdr": one.lladdr,
                **attachment(view, one.port),
                "vlan": holder.domain.vlan,
                "ip": str(holder.ip),
                "sends": "",
                "against": {
                    "lladdr": best.lladdr,
                    **attachment(view, best.port),
                    "origin": best.origin.name.lower(),
                },
                "counts": {},
                "since": None,
                "last": None,
                "dropped": False,
            }


def several(core: Core) -> Iterator[Json]:
    """What interfaces of one host in one segment may say of each other's addresses;
    `dropped` if the switch sees to it that they do not."""
    settled = core.view.nics.arp_ignore and core.view.nics.arp_announce
    rows = (one for one in core.network.siblings.values() if one.ip.version == 4)
    for one in islice(rows, SIBLINGS_TOLD):
        yield {
            "kind": "ARP flux",
            "lladdr": one.lladdr,
            **attachment(core.view, one.port),
            "vlan": one.owner.domain.vlan,
            "ip": str(one.ip),
            "sends": "",
            "against": {
                "lladdr": one.owner.lladdr,
                **attachment(core.view, one.owner.port),
                "origin": one.owner.origin.name.lower(),
            },
            "counts": {},
            "since": None,
            "last": None,
            "dropped": bool(settled),
        }


def why(runtime: Running, asked: Json) -> Json:
    ip, asker = asked.get("ip"), asked.get("from", "")
    if not isinstance(ip, str) or not isinstance(asker, str):
        raise Refused("question", 'without {"ip": "...", "from": "..."}')
    try:
        core = runtime.core
        lives = partial(life, core)
        held = explained(core.view, ip, asker, time.monotonic(), lives, core.listed)
    except WhyError as error:
        raise Refused(error.where, error.problem, error.hint) from None
    about = [row for row in conflicts(runtime, {}) if concerns(row, held)]
    return {"held": held, "conflicts": about}


def life(core: Core, key: StationKey, ip: IPAddress, heard: float) -> Life:
    about = Subject(key, ip)
    return core.liveness.state(about).value, core.liveness.alive_at(about, heard)


def concerns(row: Json, held: list[Json]) -> bool:
    """A claim to the address, or a theft of the hardware address of who holds it."""
    ips = {one["ip"] for one in held}
    return row["ip"] in ips or (
        row["ip"] is None and row["lladdr"] in {one["lladdr"] for one in held}
    )


# --- the way between two interfaces -------------------------------------------------


def path(runtime: Running, asked: Json) -> Json:
    one, other = asked.get("from"), asked.get("to")
    if not isinstance(one, str) or not isinstance(other, str):
        raise Refused("question", 'without {"from": "...", "to": "..."}')
    try:
        return told(runtime.core.view, one, other)
    except PathError as error:
        raise Refused(error.where, error.problem, error.hint) from None


# --- the view, and what is asked to be done -----------------------------------------


def view(runtime: Running, _: Json) -> object:
    return to_json(runtime.core.view)


def adopt(runtime: Running, asked: Json) -> Json:
    return outcome(runtime.adopt, asked)


def release(runtime: Running, asked: Json) -> Json:
    return outcome(runtime.release, asked)


def outcome(act: Callable[[str, Tell], None], asked: Json) -> Json:
    """Ask OVSDB's edge, and wait for what it reports."""
    name = asked.get("bridge")
    if not isinstance(name, str):
        raise Refused("question", 'without {"bridge": "..."}')
    told, events = threading.Event(), list[Event]()

    def tell(event: Event) -> None:
        events.append(event)
        told.set()

    act(name, tell)
    if not told.wait(PATIENCE):
        raise Refused(f"bridge {name!a}", f"no answer from OVSDB in {PATIENCE:g} s")
    event = events[0]
    if isinstance(event, BridgeRefused):
        raise Refused(f"bridge {name!a}", event.why, event.hint)
    return {"bridge": name, "changes": list(getattr(event, "changes", ()))}


QUESTIONS: dict[str, Callable[[Running, Json], object]] = {
    "status": status,
    "hosts": hosts,
    "ports": lambda runtime, _: ports(runtime.core),
    "links": lambda runtime, _: links(runtime.core),
    "tree": lambda runtime, _: trees(runtime.core),
    "path": path,
    "conflicts": conflicts,
    "why": why,
    "view": view,
    "adopt": adopt,
    "release": release,
}
