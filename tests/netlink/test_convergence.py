"""Whatever happens in three namespaces, the mirror comes to what `ip` says of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.netlink.lab import Lab, Reader, differences, new_lab, reader

pytestmark = pytest.mark.root

ROUNDS = 4
OPERATIONS = 50  # per round; about every fifth is one the kernel refuses
SETTLED = 15.0  # seconds: the hold-off after many losses is 2

LINKS = ("v0", "v1", "v2", "w0", "w1", "w2", "br0", "mv0", "tap0", "a1", "a2", "eth0")
NAMES = ("v0", "v1", "v2", "w0", "w1", "w2")
ADDRESSES = ("10.1.0.1/24", "10.1.0.1/16", "10.2.0.1/24", "10.2.0.2/24", "fd00::7/64")

Operation = Callable[[random.Random, Lab], tuple[str, ...]]


def add_pair(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    one, other = dice.sample(NAMES, 2)
    there = dice.choice((lab.own, lab.h1, lab.h2))
    return ("link", "add", one, "type", "veth", "peer", "name", other, "netns", there)


def add_bridge(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("link", "add", "br0", "type", "bridge")


def add_macvlan(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("link", "add", "mv0", "link", dice.choice(NAMES), "type", "macvlan")


def add_tap(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("tuntap", "add", "tap0", "mode", "tap")


def delete(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("link", "del", dice.choice((*NAMES, "br0", "mv0", "tap0")))


def move(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    there = dice.choice((lab.own, lab.h1, lab.h2))
    return ("link", "set", dice.choice((*NAMES, "mv0", "tap0")), "netns", there)


def switch(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("link", "set", dice.choice(LINKS), dice.choice(("up", "up", "down")))


def rename(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("link", "set", dice.choice(NAMES), "name", dice.choice(NAMES))


def set_address(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    octets = f"02:00:00:00:00:{dice.randrange(256):02x}"
    return ("link", "set", dice.choice(LINKS), "address", octets)


def set_mtu(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    mtu = str(dice.randrange(1280, 1500))
    return ("link", "set", dice.choice(LINKS), "mtu", mtu)


def set_alias(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("link", "set", dice.choice(LINKS), "alias", f"n{dice.randrange(9)}")


def enslave(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    link = dice.choice((*NAMES, "tap0"))
    return ("link", "set", link, *dice.choice((("master", "br0"), ("nomaster",))))


def add_address(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("addr", "add", dice.choice(ADDRESSES), "dev", dice.choice(LINKS))


def delete_address(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("addr", "del", dice.choice(ADDRESSES), "dev", dice.choice(LINKS))


def set_neighbor(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    octets = f"02:00:00:00:01:{dice.randrange(256):02x}"
    state = dice.choice(("permanent", "stale", "reachable"))
    return ("neigh", "replace", "10.1.0.77", "dev", dice.choice(LINKS),
            "lladdr", octets, "nud", state)  # fmt: skip


def delete_neighbor(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    return ("neigh", "del", "10.1.0.77", "dev", dice.choice(LINKS))


CHOICES: tuple[Operation, ...] = (
    *(add_pair, add_bridge, add_macvlan, add_tap, delete, move),
    *(switch, switch, switch, rename, set_address, set_mtu, set_alias, enslave),
    *(add_address, add_address, add_address, delete_address),
    *(set_neighbor, set_neighbor, delete_neighbor),
)


def disturb(dice: random.Random, lab: Lab) -> None:
    """One operation in one of the namespaces; the kernel may refuse it."""
    where = dice.choice((lab.own, lab.h1, lab.h2))
    words = dice.choice(CHOICES)(dice, lab)
    subprocess.run(("ip", "-n", where, *words), capture_output=True, timeout=60)


def disturb_all(dice: random.Random, lab: Lab) -> None:
    for _ in range(OPERATIONS):
        disturb(dice, lab)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        lab.veth("a2", lab.own, "eth0", lab.h2)
        yield lab


def settle(mirror: Reader, lab: Lab) -> None:
    mirror.wait(lambda: not differences(mirror, lab), "equal to ip", SETTLED)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_events_alone_keep_it_right(lab: Lab, seed: int) -> None:
    dice = random.Random(seed)
    with reader(lab.own) as mirror:
        mirror.synced()
        for _ in range(ROUNDS):
            disturb_all(dice, lab)
            settle(mirror, lab)
        assert mirror.said("dirty") == []
        assert mirror.syncs() == 1


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_losses_do_not_make_it_wrong(lab: Lab, seed: int) -> None:
    dice = random.Random(seed)
    with reader(lab.own, "--receive-buffer", "4096") as mirror:
        mirror.synced()
        for _ in range(ROUNDS):
            os.kill(mirror.pid, signal.SIGSTOP)
            disturb_all(dice, lab)
            os.kill(mirror.pid, signal.SIGCONT)
            disturb_all(dice, lab)
            settle(mirror, lab)
        assert mirror.said("dirty")
