"""What the design assumes of the kernel's netlink sockets, asked of this kernel."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from controller.netlink import rtnl
from controller.netlink.rtnl import addr, framing, link
from controller.netlink.sockets import EventSocket, Lost, Refused, RequestSocket
from tests.netlink.lab import Lab, inside, ip, new_lab

pytestmark = pytest.mark.root

SMALLEST = 1  # octet; the kernel makes the least it can of it


@pytest.fixture
def lab() -> Iterator[Lab]:
    with new_lab() as lab:
        ip("-n", lab.own, "link", "add", "br9", "type", "bridge")
        ip("-n", lab.own, "link", "set", "br9", "up")
        yield lab


@contextlib.contextmanager
def listening(lab: Lab, receive_buffer: int) -> Iterator[EventSocket]:
    with inside(lab.own):
        events = EventSocket((link.RTNLGRP_LINK,), receive_buffer)
    with contextlib.closing(events):
        yield events


@contextlib.contextmanager
def asking(lab: Lab) -> Iterator[RequestSocket]:
    with inside(lab.own):
        requests = RequestSocket()
    with contextlib.closing(requests):
        yield requests


def test_a_group_that_this_kernel_has_not_is_no_obstacle(lab: Lab) -> None:
    """RTNLGRP_NEXTHOP before Linux 5.3, for instance."""
    with inside(lab.own):
        events = EventSocket((9999, link.RTNLGRP_LINK), SMALLEST)
    with contextlib.closing(events):
        set_alias(lab, 7)
        assert aliases(events) == [7]


def set_alias(lab: Lab, number: int) -> None:
    ip("-n", lab.own, "link", "set", "br9", "alias", str(number))


def aliases(events: EventSocket) -> list[int]:
    """What waits, in order; a loss is -1."""
    found: list[int] = []
    while True:
        try:
            received = events.read()
        except Lost:
            found.append(-1)
            continue
        if received is None:
            return found
        for value in map(rtnl.decode, rtnl.messages(received[1])):
            if isinstance(value, rtnl.Record) and value.row.ifalias:
                found.append(int(value.row.ifalias))


def test_a_loss_is_told_before_what_came_earlier_and_hides_the_next(lab: Lab) -> None:
    """So a queue has to be emptied before anything is read again (S1)."""
    with listening(lab, SMALLEST) as events:
        for number in range(20):
            set_alias(lab, number)
        with pytest.raises(Lost):
            events.read()
        set_alias(lab, 100)  # lost, too
        early = aliases(events)
        assert early == sorted(early) and early[0] == 0
        assert -1 not in early and 100 not in early

        set_alias(lab, 200)
        assert aliases(events) == [200]


def test_draining_passes_over_losses(lab: Lab) -> None:
    with listening(lab, SMALLEST) as events:
        for number in range(20):
            set_alias(lab, number)
        events.drain()
        set_alias(lab, 200)
        assert aliases(events) == [200]


def test_what_a_process_sends_us_is_not_believed(lab: Lab) -> None:
    """Root may write to any netlink socket."""
    lie = framing.encode(link.RTM_NEWLINK, 0, 0, link.IFINFOMSG.pack(0, 1, 7, 0, 0))
    with listening(lab, 1 << 20) as events:
        with inside(lab.own):
            liar = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        with liar:
            liar.sendto(lie, (events.sock.getsockname()[0], 0))
        assert events.read() is None
        set_alias(lab, 5)
        assert aliases(events) == [5]


def test_a_namespace_without_that_number_is_gone_for_good(lab: Lab) -> None:
    """And the refusal has the words of the kernel."""
    with asking(lab) as requests:
        for kind, body in (
            (link.RTM_GETLINK, link.get_link(target=77)),
            (addr.RTM_GETADDR, addr.get_addr(target=77)),
        ):
            with pytest.raises(Refused) as refused:
                list(requests.dump(kind, body))
            assert refused.value.is_final
            assert "target network namespace id" in str(refused.value)


def test_a_dump_that_is_given_up_does_not_mix_with_the_next(lab: Lab) -> None:
    for number in range(60):  # more than one datagram holds
        ip("-n", lab.own, "link", "add", f"b{number}", "type", "bridge")
    with asking(lab) as requests:
        dump = requests.dump(link.RTM_GETLINK, link.get_link())
        next(dump)
        dump.close()
        rows = [row for rows in requests.dump(addr.RTM_GETADDR, addr.get_addr())
                for row in rows]  # fmt: skip
        assert {row.type for row in rows} <= {addr.RTM_NEWADDR}
        value = rtnl.decode(requests.ask(link.RTM_GETLINK, link.get_link(1)))
        assert isinstance(value, rtnl.Record) and value.row.ifname == "lo"


def test_a_strict_socket_refuses_what_a_lax_one_ignores(lab: Lab) -> None:
    """A kernel that ignored IFA_TARGET_NETNSID would pass our addresses off as
    those of another namespace."""
    body = addr.get_addr() + framing.attribute(99, b"1234")
    with asking(lab) as requests, pytest.raises(Refused):
        list(requests.dump(addr.RTM_GETADDR, body))
