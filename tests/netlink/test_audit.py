"""What no event tells: found by asking, sooner or later; the clock is the test's."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from socket import AF_INET

import pytest

from controller.netlink.kernel import Kernel
from controller.netlink.mirror import AUDIT_INTERVAL, HOLD_OFF, Mirror
from controller.netlink.rtnl.addr import AddrKey
from controller.netlink.rtnl.link import RTM_GETLINK, get_link
from controller.netlink.rtnl.neigh import NeighKey
from controller.netlink.sockets import Interrupted, RequestSocket
from controller.netlink.tables import OWN, Change, Interface, Scope
from tests.netlink.lab import Lab, inside, ip, ip_json, new_lab
from tests.support.wait import wait_until

pytestmark = pytest.mark.root

LINKS = Scope("link", OWN)
NETLINK_KOBJECT_UEVENT = 15  # linux/netlink.h; text, not messages


class Ear:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.syncs: list[int] = []
        self.losses: list[str] = []
        self.notes: list[str] = []
        self.audits: list[dict[str, int]] = []

    def change(self, change: Change) -> None:
        self.changes.append(change)

    def sync(self, generation: int) -> None:
        self.syncs.append(generation)

    def dirty(self, why: str, losses: dict[str, int]) -> None:
        self.losses.append(why)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def audit(self, fixed: dict[str, int]) -> None:
        self.audits.append(fixed)

    def flush(self) -> None:
        """Nothing waits here."""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        lab.veth("a1", lab.own, "eth0", lab.h1)
        yield lab


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def mirror(lab: Lab, ear: Ear) -> Iterator[Mirror]:
    """In the lab's own namespace, and in step with it at time 0."""
    with inside(lab.own):
        mirror = Mirror(ear)
    with contextlib.closing(mirror):
        run(mirror, lambda: bool(ear.syncs), until=0.0)
        yield mirror


def run(mirror: Mirror, condition: Callable[[], bool], until: float) -> None:
    """Turn until the condition holds.  When nothing waits to be read, the clock of
    the test goes on to what is due next, up to `until`."""
    clock = [0.0]

    def turn() -> bool:
        mirror.turn(clock[0])
        if not select.select([mirror], [], [], 0)[0]:
            clock[0] = max(clock[0], min(mirror.deadline() or until, until))
        return condition()

    wait_until(turn, within=10, why="what the test waits for")


def alias_of(mirror: Mirror, ifname: str) -> str | None:
    for row in mirror.tables.rows(*LINKS).values():
        if isinstance(row, Interface) and row.link.ifname == ifname:
            return row.link.ifalias
    return None


def test_the_audit_finds_what_the_kernel_changed_in_silence(
    lab: Lab, ear: Ear, mirror: Mirror
) -> None:
    """An alias of a device that is down has no event."""
    ip("-n", lab.own, "link", "set", "lo", "alias", "quiet")
    run(mirror, lambda: mirror.deadline() == AUDIT_INTERVAL, until=AUDIT_INTERVAL - 1)
    assert alias_of(mirror, "lo") is None
    run(mirror, lambda: alias_of(mirror, "lo") == "quiet", until=AUDIT_INTERVAL)
    assert ear.audits == []  # known to be silent: not a mistake of ours


def test_a_correction_of_what_events_should_have_told_is_counted(
    lab: Lab, ear: Ear, mirror: Mirror
) -> None:
    """A row that vanished without an event stands for a rule that we do not know."""
    ip("-n", lab.own, "link", "set", "lo", "up")
    run(mirror, lambda: "127.0.0.1" in addresses(mirror), until=1.0)
    lost = list(mirror.tables.drop(LINKS, 1))
    assert "127.0.0.1" not in addresses(mirror)

    run(mirror, lambda: bool(ear.audits), until=AUDIT_INTERVAL)

    [counted] = ear.audits
    gone = Counter(change.scope.table for change in lost)
    assert gone["link"] == 1
    assert gone["addr"] >= 1
    assert {table: n for table, n in counted.items() if n} == gone
    assert "127.0.0.1" in addresses(mirror)


def addresses(mirror: Mirror) -> set[str]:
    keys = mirror.tables.rows("addr", OWN)
    return {key.local for key in keys if isinstance(key, AddrKey)}


def test_an_audit_of_a_quiet_host_finds_nothing(
    lab: Lab, ear: Ear, mirror: Mirror
) -> None:
    for namespace in (lab.own, lab.h1):
        wait_until(partial(dad_is_over, namespace), within=15, why="addresses")
    run(mirror, lambda: mirror.deadline() == AUDIT_INTERVAL, until=10.0)
    said = len(ear.changes)
    run(
        mirror,
        lambda: mirror.deadline() == 2 * AUDIT_INTERVAL,
        until=2 * AUDIT_INTERVAL - 1,
    )
    assert ear.audits == []
    assert ear.changes[said:] == []


def dad_is_over(namespace: str) -> bool:
    """Its one interface has a link-local address that nobody else has (RFC 4862)."""
    rows = ip_json("-n", namespace, "-6", "addr", "show", "up")
    addresses = [address for row in rows for address in row["addr_info"]]
    return bool(addresses) and not any(a.get("tentative") for a in addresses)


def test_a_message_that_makes_no_sense_makes_everything_be_read_again(
    lab: Lab, ear: Ear, mirror: Mirror
) -> None:
    """The kernel's own datagrams of another protocol, on the descriptor of ours."""
    with inside(lab.own):
        uevents = socket.socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT
        )
    with uevents:
        uevents.bind((0, 1))
        uevents.setblocking(False)
        os.dup2(uevents.fileno(), mirror.fileno())
    ip("-n", lab.own, "link", "add", "br7", "type", "bridge")

    run(mirror, lambda: bool(ear.losses), until=0.0)
    due = mirror.deadline()
    assert due is not None and due >= HOLD_OFF  # until then there is nothing to do
    run(mirror, lambda: ear.syncs == [1, 2], until=due)

    assert len(ear.losses) == 1
    links = mirror.tables.rows(*LINKS).values()
    assert "br7" in {row.link.ifname for row in links if isinstance(row, Interface)}


def test_neighbors_of_other_namespaces_are_heard(
    lab: Lab, ear: Ear, mirror: Mirror
) -> None:
    """There is no dump of them; an event of each is all there is."""
    for namespace, link in ((lab.own, "a1"), (lab.h1, "eth0")):
        ip("-n", namespace, "neigh", "add", "10.1.0.9", "dev", link,
           "lladdr", "02:00:00:00:00:09", "nud", "permanent")  # fmt: skip
    run(mirror, lambda: neighbors(mirror) == {OWN, 0}, until=1.0)

    for namespace, link in ((lab.own, "a1"), (lab.h1, "eth0")):
        ip("-n", namespace, "neigh", "del", "10.1.0.9", "dev", link)
    run(mirror, lambda: not neighbors(mirror), until=2.0)


def neighbors(mirror: Mirror) -> set[int]:
    """The namespaces in which 10.1.0.9 is a known neighbor."""
    key = NeighKey(AF_INET, 2, "10.1.0.9")
    return {nsid for nsid in (OWN, 0) if key in mirror.tables.rows("neigh", nsid)}


def test_a_dump_that_is_larger_than_the_buffer_is_read_again_with_more_room(
    lab: Lab,
) -> None:
    """What was cut off is gone; a message with all altnames there can be has 60 KB."""
    names = {f"{number:03}".ljust(117, "x") for number in range(496)}
    for first in range(0, 496, 8):  # ip(8) has no room for more in one request
        eight = sorted(names)[first : first + 8]
        words = [word for name in eight for word in ("altname", name)]
        ip("-n", lab.own, "link", "property", "add", "dev", "a1", *words)
    for number in range(20):
        ip("-n", lab.own, "link", "add", f"b{number}", "type", "bridge")
    with inside(lab.own):
        requests, kernel = RequestSocket(), Kernel()
    with contextlib.closing(requests), contextlib.closing(kernel):
        with pytest.raises(Interrupted):
            list(requests.dump(RTM_GETLINK, get_link()))
        rows = kernel.rows(LINKS, lambda: None)
    links = [row.link for row in rows.values() if isinstance(row, Interface)]
    assert {*names} in [{*link.altnames} for link in links]
    assert {f"b{number}" for number in range(20)} <= {link.ifname for link in links}
