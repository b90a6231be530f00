"""The MAC address of a virtual machine, from the command line of its QEMU.

A network card has two sides: a backend (-netdev, -net tap) that holds the tap, and a
device (-device, -net nic) that has the guest's address; -nic is both.  See qemu(1),
"Network options".  The tap's own address is the host's side and says nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

OCTETS = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}", re.ASCII)
FIRST = {"netdev": "type", "nic": "type", "net": "type", "device": "driver"}
BACKENDS = {"tap", "bridge"}  # "bridge" is a tap that a helper program makes
NAMES = {"ifname", "fd", "fds"}  # which tap it is
HUB = "0"  # the `vlan` of -net without one

Options = dict[str, str]


def guest_mac(
    argv: Sequence[str], ifname: str, fds: Sequence[int], alone: bool = False
) -> str | None:
    """The guest's address behind tap `ifname`, open in QEMU as descriptors `fds`.

    libvirt opens the tap itself and tells QEMU only the descriptors; and where the
    kernel chose the name, the command line does not have it: then it must be the only
    tap (`alone`).  None unless there is exactly one address for it.
    """
    given = list(options_of(argv))
    backends = [item for item in given if item[1].get("type") in BACKENDS]
    ours = [item for item in backends if holds(item[1], ifname, fds)]
    if alone and not ours:
        ours = [item for item in backends if NAMES.isdisjoint(item[1])]
    found = {mac for item in ours for mac in addresses(*item, given)}
    return octets(found.pop()) if len(found) == 1 else None


def options_of(argv: Sequence[str]) -> Iterator[tuple[str, Options]]:
    """The options about network cards: which, and what it says."""
    for name, value in pairwise(argv):
        option = name.removeprefix("-").removeprefix("-")
        if name.startswith("-") and option in FIRST:
            yield option, parsed(value, FIRST[option])


def parsed(text: str, first: str) -> Options:
    """ "tap,id=n0" or, from QEMU 6.0 on, {"type":"tap","id":"n0"}."""
    return from_json(text) if text.startswith("{") else key_values(text, first)


def from_json(text: str) -> Options:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {k: str(v) for k, v in value.items() if isinstance(v, str | int)}


def key_values(text: str, first: str) -> Options:
    """Comma-separated key=value, the first key may be left out; ",," is a comma."""
    head, *rest = (part.replace("\0", ",") for part in split(text))
    pairs = [head if "=" in head else f"{first}={head}", *rest]
    return {key: value for key, _, value in (pair.partition("=") for pair in pairs)}


def split(text: str) -> list[str]:
    """No argument holds a NUL: it stands for the comma that does not separate."""
    return text.replace(",,", "\0").split(",")


def holds(backend: Options, ifname: str, fds: Sequence[int]) -> bool:
    """It opens the tap by its name, or has been given it open."""
    if "ifname" in backend:
        return backend["ifname"] == ifname
    given = {backend.get("fd", ""), *backend.get("fds", "").split(":")}
    return not given.isdisjoint(map(str, fds))


def addresses(
    option: str, backend: Options, given: Sequence[tuple[str, Options]]
) -> list[str]:
    """What the cards in front of a backend give as their address."""
    if option == "nic":
        return [backend.get("mac", "")]
    cards = [card for name, card in given if is_in_front(name, card, option, backend)]
    return [card.get("mac", card.get("macaddr", "")) for card in cards]


def is_in_front(name: str, card: Options, option: str, backend: Options) -> bool:
    if name != "device" and (name, card.get("type")) != ("net", "nic"):
        return False
    if option == "netdev":
        return "id" in backend and card.get("netdev") == backend["id"]
    return name == "net" and hub(card) == hub(backend)


def hub(options: Options) -> str:
    """-net joins all its cards and backends by default, before QEMU 3.0 by `vlan`."""
    return options.get("vlan", HUB)


def octets(address: str) -> str | None:
    """ "02:00:00:00:00:01" as we write it, None for anything but six octets."""
    said = address.lower().replace("-", ":")
    return said if OCTETS.fullmatch(said) else None
