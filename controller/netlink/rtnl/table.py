"""What each table of rtnetlink has to say for itself, and what a message becomes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple


class Record(NamedTuple):
    """What a message says of one row.

    key  hashable, and unlike that of every other row of its table and namespace
    row  a frozen value; None if the message says that there is none
    """

    table: str
    key: Any
    row: Any


class NsidMessage(NamedTuple):
    """RTM_NEWNSID or RTM_DELNSID.

    nsid     the number that the namespace which tells this gives to another
    current  asked with NETNSA_TARGET_NSID: the number that we give to that other
    """

    nsid: int
    current: int = -1  # NETNSA_NSID_NOT_ASSIGNED


Value = Record | NsidMessage
Decoder = Callable[[bytes], Value | None]
Request = tuple[int, bytes]  # RTM_GET* and its body
Change = tuple[int, int, bytes]  # RTM_NEW* or RTM_DEL*, NLM_F_* and the body


def nothing(rows: Mapping[Any, Any]) -> Iterable[Request]:
    """These are all."""
    return ()


class Table(NamedTuple):
    """One table of rtnetlink.

    groups    RTNLGRP_* that tell of it
    dumps     the requests that read all of it; of another namespace if given its nsid
    decoders  by RTM_NEW* and RTM_DEL*
    by_nsid   can be dumped of another namespace from here (*_TARGET_NETNSID)
    torn      the kernel does not say (NLM_F_DUMP_INTR) when a dump missed rows
              because others came and went
    further   requests that follow from the rows that the first ones brought
    is_own    of our own namespace only
    """

    name: str
    groups: tuple[int, ...]
    dumps: Callable[[int | None], tuple[Request, ...]]
    decoders: Mapping[int, Decoder]
    by_nsid: bool = False
    torn: bool = False
    further: Callable[[Mapping[Any, Any]], Iterable[Request]] = nothing
    is_own: bool = False
