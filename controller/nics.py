"""Several interfaces of one host in one segment, in words."""

from __future__ import annotations

from controller.conflicts import port_in_words
from flows.shown import FarEnd
from flows.view import Nics, View, namespace_name

TOLD = 4  # interfaces, and addresses of each


def in_words(ends: tuple[FarEnd, ...], view: View) -> str:
    """ "h1 has several interfaces in one segment: eth0 at br0:a (10.0.0.1), ..."."""
    host = next(
        namespace_name(view, e.located.link.nsid) for e in ends if e.located.link
    )
    told = ", ".join(end_in_words(end, view) for end in ends[:TOLD])
    more = len(ends) - TOLD
    also = f" and {more} more" if more > 0 else ""
    return f"{host} has several interfaces in one segment: {told}{also}"


def end_in_words(end: FarEnd, view: View) -> str:
    name = end.located.link.ifname if end.located.link else end.located.lladdr
    ips = ", ".join(str(row.ip) for row in end.addresses[:TOLD]) or "no address"
    return f"{name} at {port_in_words(end.located.port, view)} ({ips})"


def settled_in_words(nics: Nics) -> str:
    answers = "only the one that has an address" if nics.arp_ignore else "any of them"
    asks = "its own" if nics.arp_announce else "any"
    return f"{answers} answers for it, each asks with {asks} address"
