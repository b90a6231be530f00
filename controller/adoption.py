"""What adopting a bridge sets in OVSDB, and how releasing it undoes exactly that.

Pure: `controller.sources.ovsdb` reads the settings of a bridge and writes the changes.
A setting has the name that ovs-vswitchd.conf.db(5) gives it: a column of the Bridge
table ("fail_mode"), a key in one ("other_config:disable-in-band"), or a column of the
bridge's Controller row ("controller.max_backoff"); "controller" is the row's target.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Value = str | int | tuple[str, ...] | None  # None: unset, Open vSwitch has a default
Settings = Mapping[str, Value]

DEFAULT_TARGET = "tcp:127.0.0.1:6653"
OPENFLOW_PORT = "6653"  # what a target without a port means
ACTIVE_METHODS = ("tcp", "ssl", "unix")

CONTROLLER = "controller"
SAFETY: dict[str, Value] = {
    # Without a controller the flows stay; "standalone" deletes them after 15 s.
    "fail_mode": "secure",
    # In-band control adds hidden flows (priority 180000) that bypass every table of
    # ours: a host that uses the bridge's own MAC address could poison its neighbors.
    "other_config:disable-in-band": "true",
    "controller.connection_mode": "out-of-band",
    # ms between attempts to connect: a controller that is back is used in a second.
    "controller.max_backoff": 1000,
    # ms of silence before the switch asks; Open vSwitch has a floor of 5 s.
    "controller.inactivity_probe": 5000,
    # Packet-ins a second.  Beyond it Open vSwitch queues by port and serves the ports
    # in turn, so that one port's flood costs the others nothing.  The controller
    # handles several thousand a second; a network where nothing changes sends none.
    "controller.controller_rate_limit": 1000,
    # Packet-ins at once: this many hosts may wake in the same instant.
    "controller.controller_burst_limit": 250,
    "external_ids:isat-adopted": "true",
}
PROTOCOLS, PROTOCOL = "protocols", "OpenFlow13"
NAMES = (CONTROLLER, PROTOCOLS, *SAFETY)  # of all settings
DEFAULTS = {  # what Open vSwitch does while the setting is unset
    "fail_mode": "standalone",
    "other_config:disable-in-band": "false",
    "controller.connection_mode": "in-band",
    "controller.max_backoff": "8000",
    "controller.inactivity_probe": "5000",
    "controller.controller_rate_limit": "no limit",
    "controller.controller_burst_limit": "no limit",
}
FLUSHED = "flows: all deleted, as with the first controller and without the last"
MEMORY = "isat-before"  # key in external_ids: what adopting changed, as JSON


@dataclass(frozen=True, slots=True)
class Change:
    """One setting, before and after; reads "fail_mode: standalone -> secure"."""

    name: str
    before: Value
    after: Value

    def __str__(self) -> str:
        before, after = shown(self.name, self.before), shown(self.name, self.after)
        return f"{self.name}: {before} -> {after}"


def in_words(changes: tuple[Change, ...]) -> tuple[str, ...]:
    """The changes, and what Open vSwitch does on its own when it sees them."""
    flushed = any(change.name == CONTROLLER for change in changes)
    return (*map(str, changes), *((FLUSHED,) if flushed else ()))


def adopting(now: Settings, target: str) -> tuple[Change, ...]:
    """The changes that make a bridge safe to control; none if it is already."""
    return tuple(
        Change(name, now.get(name), value)
        for name, value in wanted(now, target).items()
        if now.get(name) != value
    )


def wanted(now: Settings, target: str) -> dict[str, Value]:
    found = now.get(CONTROLLER)
    return {
        CONTROLLER: target if found is None else found,
        PROTOCOLS: with_protocol(now.get(PROTOCOLS)),
        **SAFETY,
    }


def with_protocol(protocols: Value) -> Value:
    """OpenFlow 1.3 besides what is allowed; unset allows every version."""
    if not isinstance(protocols, tuple) or PROTOCOL in protocols:
        return protocols
    return tuple(sorted((*protocols, PROTOCOL)))


def releasing(
    now: Settings, memory: tuple[Change, ...]
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    """What takes back each remembered change, and words about what was left alone.

    A setting that somebody has changed since is not ours to take back.
    """
    ours = [past for past in memory if now.get(past.name) == past.after]
    goes = any(past.name == CONTROLLER and past.before is None for past in ours)
    undone = tuple(
        Change(past.name, past.after, past.before)
        for past in ours
        if not (goes and past.name.startswith(f"{CONTROLLER}."))
    )
    left = tuple(
        f"{past.name}: left at {shown(past.name, now.get(past.name))}, "
        "which is not what adopting had set"
        for past in memory
        if past not in ours
    )
    return undone, left


def target_of(memory: tuple[Change, ...]) -> str | None:
    """The target that adopting has set, None if there was one before."""
    after = {past.name: past.after for past in memory}.get(CONTROLLER)
    return None if after is None else str(after)


def remembered(memory: tuple[Change, ...], changes: tuple[Change, ...]) -> str:
    """The memory after more changes, as JSON: what was before the first of them."""
    pairs = {past.name: [past.before, past.after] for past in memory}
    for change in changes:
        first = pairs.get(change.name, [change.before])[0]
        pairs[change.name] = [first, change.after]
    return json.dumps(pairs)


def recalled(text: str | None) -> tuple[Change, ...]:
    """The memory that `remembered` wrote; ValueError if that is not what it is."""
    if text is None:
        return ()
    pairs = json.loads(text)
    if not isinstance(pairs, dict):
        raise ValueError("not an object")
    return tuple(change_of(name, pair) for name, pair in pairs.items())


def change_of(name: str, pair: object) -> Change:
    match pair:
        case [before, after]:
            return Change(name, value_of(before), value_of(after))
    raise ValueError(f"{name}: not a pair of values: {pair!r}")


def value_of(read: object) -> Value:
    """A value as JSON has it, where a set of protocols is a list."""
    if isinstance(read, list) and all(isinstance(word, str) for word in read):
        return tuple(read)
    if read is None or isinstance(read, str | int):
        return read
    raise ValueError(f"not the value of a setting: {read!r}")


def shown(name: str, value: Value) -> str:
    if value is None:
        default = DEFAULTS.get(name)
        return f"{default} (the default)" if default else "(unset)"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def foreign(targets: tuple[str, ...], target: str) -> tuple[str, ...]:
    """The controllers that are somebody else's, among those the switch connects to."""
    return tuple(
        other
        for other in targets
        if is_active(other) and not same_target(other, target)
    )


def is_active(target: str) -> bool:
    """The switch connects to it; with "ptcp" and the like it only listens."""
    return method(target) in ACTIVE_METHODS


def same_target(one: str, other: str) -> bool:
    return with_port(one) == with_port(other)


def is_among(target: str, ours: Iterable[str]) -> bool:
    return any(same_target(target, one) for one in ours)


def with_port(target: str) -> str:
    """The target in full: a port that is left out is that of OpenFlow."""
    address = target.partition(":")[2]
    has_port = ":" in address.rpartition("]")[2]  # [2001:db8::1]:6653
    return (
        target if has_port or method(target) == "unix" else f"{target}:{OPENFLOW_PORT}"
    )


def method(target: str) -> str:
    return target.partition(":")[0]
