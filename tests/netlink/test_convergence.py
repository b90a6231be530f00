"""Whatever happens in three namespaces, the mirror comes to what `ip` says of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.netlink.lab import Lab, Reader, differences, new_lab, reader
from tests.support.seeds import fresh
from tests.support.wait import NeverTrue

pytestmark = pytest.mark.root

ROUNDS = 4
OPERATIONS = 50  # per round; about every fifth is one the kernel refuses
SETTLED = 15.0  # seconds: the hold-off after many losses is 2
SMALL = "16384"  # octets for events: some fourteen of them

# What is taken out of the mirror to see whether it is missed.
# To wait with the dump empties the queue, too, as events go on to be read meanwhile.
NO_DRAIN = """
from controller.netlink import mirror
from controller.netlink.sockets import EventSocket
EventSocket.drain = lambda self: None
mirror.HOLD_OFF = 0.0
"""
NO_IMPLIED = """
from controller.netlink import mirror
mirror.IMPLIED = {}
"""
WRONG_WITHIN = 20  # rounds
WRONG_AFTER = 5.0  # seconds: the hold-off is 2, the audit comes after 30

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


def change_route(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    verb = dice.choice(("add", "add", "replace", "append", "del"))
    dst = dice.choice(("10.7.0.0/16", "10.8.0.0/16", "fd07::/64"))
    near = "fd00::9" if ":" in dst else dice.choice(("10.1.0.9", "10.2.0.9"))
    metric = dice.choice((("metric", "7"), ()))
    way = dice.choice((("via", near), ("dev", dice.choice(LINKS)), ("nhid", "4")))
    return ("route", verb, dst, *way, *metric)


def add_ways(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    ways = ("nexthop", "via", "10.1.0.9", "nexthop", "via", "10.2.0.9", "weight", "3")
    return ("route", "replace", "10.9.0.0/16", *ways)


def change_rule(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    source = dice.choice(("10.1.0.0/16", "10.2.0.1", "fd00::/64"))
    interface = dice.choice((("iif", dice.choice(LINKS)), ()))
    return ("rule", dice.choice(("add", "del")), "from", source, *interface,
            "table", str(dice.choice((77, 78))))  # fmt: skip


def change_nexthop(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    if dice.random() < 0.3:
        return ("nexthop", "del", "id", "4")
    return ("nexthop", "replace", "id", "4", "via", "10.1.0.9",
            "dev", dice.choice(LINKS))  # fmt: skip


def set_forwarding(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    """Not a command of ip(8): see `disturb`."""
    name = dice.choice(("all", "default", *LINKS))
    setting = dice.choice(("forwarding", "proxy_arp", "rp_filter"))
    return ("sysctl", f"net/ipv4/conf/{name}/{setting}={dice.randrange(2)}")


def change_fdb(dice: random.Random, lab: Lab) -> tuple[str, ...]:
    """One of bridge(8)."""
    octets = f"02:00:00:00:02:{dice.randrange(4):02x}"
    verb = dice.choice(("replace", "replace", "del"))
    return (
        "fdb",
        verb,
        octets,
        "dev",
        dice.choice((*NAMES, "tap0")),
        "master",
        "static",
    )


CHOICES: tuple[Operation, ...] = (
    *(add_pair, add_bridge, add_macvlan, add_tap, delete, move),
    *(switch, switch, switch, rename, set_address, set_mtu, set_alias, enslave),
    *(add_address, add_address, add_address, delete_address),
    *(set_neighbor, set_neighbor, delete_neighbor),
    *(change_route, change_route, change_route, add_ways, change_rule),
    *(change_nexthop, set_forwarding, change_fdb, change_fdb),
)


def disturb(dice: random.Random, lab: Lab) -> None:
    """One operation in one of the namespaces; the kernel may refuse it."""
    where = dice.choice((lab.own, lab.h1, lab.h2))
    words = dice.choice(CHOICES)(dice, lab)
    program = {"fdb": ("bridge", "-n", where), "sysctl": ("ip", "netns", "exec", where)}
    command = (*program.get(words[0], ("ip", "-n", where)), *words)
    subprocess.run(command, capture_output=True, timeout=60)


def disturb_all(dice: random.Random, lab: Lab) -> None:
    for _ in range(OPERATIONS):
        disturb(dice, lab)


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        lab.veth("a2", lab.own, "eth0", lab.h2)
        yield lab


def settle(mirror: Reader, lab: Lab, within: float = SETTLED) -> None:
    try:
        mirror.wait(lambda: not differences(mirror, lab), "equal to ip", within)
    except NeverTrue as error:
        raise NeverTrue("\n".join(differences(mirror, lab))) from error


@pytest.mark.parametrize("seed", [1, 2, fresh])
def test_events_alone_keep_it_right(lab: Lab, seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    with reader(lab.own) as mirror:
        mirror.synced()
        for _ in range(ROUNDS):
            disturb_all(dice, lab)
            settle(mirror, lab)
        assert mirror.said("dirty") == []
        assert mirror.syncs() == 1


def disturb_while_it_sleeps(dice: random.Random, lab: Lab, mirror: Reader) -> None:
    """More happens than its buffer can hold."""
    os.kill(mirror.pid, signal.SIGSTOP)
    disturb_all(dice, lab)
    os.kill(mirror.pid, signal.SIGCONT)


@pytest.mark.parametrize("seed", [11, 12, fresh])
def test_losses_do_not_make_it_wrong(lab: Lab, seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)
    with reader(lab.own, "--receive-buffer", SMALL) as mirror:
        mirror.synced()
        for _ in range(ROUNDS):
            disturb_while_it_sleeps(dice, lab, mirror)
            settle(mirror, lab)
            disturb_while_it_sleeps(dice, lab, mirror)
            disturb_all(dice, lab)
            settle(mirror, lab)
        assert mirror.said("dirty")


def test_without_emptying_the_queue_first_it_is_wrong(lab: Lab) -> None:
    """Old news is taken for new, and further losses stay hidden: this test can see."""
    dice = random.Random(21)
    with reader(lab.own, "--receive-buffer", SMALL, without=NO_DRAIN) as mirror:
        mirror.synced()
        with pytest.raises(NeverTrue):
            for _ in range(WRONG_WITHIN):
                disturb_while_it_sleeps(dice, lab, mirror)
                settle(mirror, lab, WRONG_AFTER)


def test_without_reading_again_what_is_implied_it_is_wrong(lab: Lab) -> None:
    """The kernel changes much in silence: this test can see."""
    dice = random.Random(22)
    with reader(lab.own, without=NO_IMPLIED) as mirror:
        mirror.synced()
        with pytest.raises(NeverTrue):
            for _ in range(WRONG_WITHIN):
                disturb_all(dice, lab)
                settle(mirror, lab, WRONG_AFTER)
