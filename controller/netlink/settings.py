"""Table `ipv4_conf`: how an interface answers ARP, from /proc/sys/net/ipv4/conf.

The kernel tells of no change of these and lists them nowhere else
(Documentation/networking/ip-sysctl.rst): they are read when somebody asks for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from controller.netlink.rtnl.framing import text

NUMBER_MAX = 32  # octets of a file


class Ipv4ConfKey(NamedTuple):
    """ifname: "all" and "default" are no interfaces; no interface has these names."""

    ifname: str


class Ipv4Conf(NamedTuple):
    """What holds for an interface is the greater of its own value and that of "all".

    arp_accept    learn from ARP that nobody asked for: 0 no, 1 all, 2 same subnet
    arp_announce  0 any address as sender, 1 of the subnet, 2 the best
    arp_filter    1: answer only if packets to the asker would leave here
    arp_ignore    answer for 0 any local address, 1 only this interface's, 8 none
    """

    arp_accept: int
    arp_announce: int
    arp_filter: int
    arp_ignore: int


NAMES = Ipv4Conf._fields


def ipv4_conf(directory: int) -> Iterator[tuple[Ipv4ConfKey, Ipv4Conf]]:
    """Every row; `directory` is open, and of the namespace that is asked about."""
    for name in os.listdir(directory):
        try:
            numbers = [read_number(directory, f"{name}/{field}") for field in NAMES]
        except (FileNotFoundError, NotADirectoryError):
            continue  # the interface has just gone
        yield Ipv4ConfKey(text(os.fsencode(name))), Ipv4Conf(*numbers)


def read_number(directory: int, path: str) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return int(os.read(fd, NUMBER_MAX))
    finally:
        os.close(fd)
