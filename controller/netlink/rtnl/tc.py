"""Table `tc`: queueing disciplines and classes (struct tcmsg, TCA_*; linux/rtnetlink.h,
linux/pkt_sched.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from controller.netlink.rtnl.framing import U64, Malformed, attributes, text
from controller.netlink.rtnl.table import Record, Request, Table

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTCLASS, RTM_DELTCLASS, RTM_GETTCLASS = 40, 41, 42
RTNLGRP_TC = 4
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_HTB_PARMS, TCA_HTB_INIT, TCA_HTB_RATE64, TCA_HTB_CEIL64 = 1, 2, 6, 7
TCA_TBF_PARMS, TCA_TBF_RATE64 = 1, 4
TC_H_MAJ_MASK, TC_H_MIN_MASK = 0xFFFF0000, 0x0000FFFF

TCMSG = struct.Struct("=B3xiIII")  # family, ifindex, handle, parent, info
TC_HTB_GLOB = struct.Struct("=5I")  # version, rate2quantum, defcls, debug, direct_pkts
RATE = struct.Struct("=8xI")  # of struct tc_ratespec, which begins both *_PARMS
CEIL = struct.Struct("=20xI")  # of the second one in struct tc_htb_opt


class TcKey(NamedTuple):
    """tcm_handle  major:minor, sixteen bits each; the minor of a qdisc is 0"""

    tcm_ifindex: int
    tcm_handle: int

    @property
    def is_class(self) -> bool:
        return bool(self.tcm_handle & TC_H_MIN_MASK)

    @property
    def qdisc(self) -> int:
        """The handle of the qdisc that it is, or that it is a class of."""
        return self.tcm_handle & TC_H_MAJ_MASK


class Tc(NamedTuple):
    """A qdisc, or a class of htb.

    tcm_parent  what it is in: a class, or TC_H_ROOT, 0xFFFFFFFF
    kind        TCA_KIND: "htb", "tbf", "fq_codel", ...
    defcls      of a qdisc htb: minor of the class of what no filter has chosen one for
    rate        of a class of htb, and of tbf: octets per second
    ceil        of a class of htb: the same, with what others lend
    """

    tcm_parent: int
    kind: str
    defcls: int | None = None
    rate: int | None = None
    ceil: int | None = None


def has_classes(key: TcKey, row: Tc) -> bool:
    """It is a qdisc whose classes are kept."""
    return row.kind == "htb" and not key.is_class


def decode_qdisc(body: bytes) -> Record | None:
    """RTM_*QDISC; None for one that nobody has configured, which has no handle."""
    ifindex, handle, parent, kind, options = opened(body)
    if not handle:
        return None
    row = Tc(parent, kind)
    if kind == "htb" and TCA_HTB_INIT in options:
        _, _, defcls, _, _ = TC_HTB_GLOB.unpack_from(options[TCA_HTB_INIT])
        row = row._replace(defcls=defcls)
    elif kind == "tbf" and TCA_TBF_PARMS in options:
        rate = RATE.unpack_from(options[TCA_TBF_PARMS])
        row = row._replace(rate=wide(options, TCA_TBF_RATE64, rate))
    return Record("tc", TcKey(ifindex, handle), row)


def decode_class(body: bytes) -> Record | None:
    """RTM_*TCLASS; None for those of other kinds than htb: they have no rate, or are
    made by packets."""
    ifindex, handle, parent, kind, options = opened(body)
    key = TcKey(ifindex, handle)
    if kind != "htb" or not key.is_class:
        return None
    row = Tc(parent, kind)
    if TCA_HTB_PARMS in options:
        parms = options[TCA_HTB_PARMS]
        row = row._replace(
            rate=wide(options, TCA_HTB_RATE64, RATE.unpack_from(parms)),
            ceil=wide(options, TCA_HTB_CEIL64, CEIL.unpack_from(parms)),
        )
    return Record("tc", key, row)


def opened(body: bytes) -> tuple[int, int, int, str, dict[int, bytes]]:
    """ifindex, handle, parent, kind, and of htb and tbf what is in TCA_OPTIONS."""
    _, ifindex, handle, parent, _ = TCMSG.unpack_from(body)
    found = dict(attributes(body, TCMSG.size))
    if ifindex <= 0 or TCA_KIND not in found:
        raise Malformed(f"traffic control of interface {ifindex} has no TCA_KIND")
    kind = text(found[TCA_KIND])
    options = found.get(TCA_OPTIONS, b"") if kind in ("htb", "tbf") else b""
    return ifindex, handle, parent, kind, dict(attributes(options))


def wide(options: Mapping[int, bytes], kind: int, narrow: tuple[int]) -> int:
    """*_RATE64 tells a rate that 32 bits do not hold; it is absent for others."""
    value, *_ = U64.unpack(options[kind]) if kind in options else narrow
    return int(value)


def dumps(target: int | None) -> tuple[Request, ...]:
    return ((RTM_GETQDISC, TCMSG.pack(0, 0, 0, 0, 0)),)


def dumps_of_classes(rows: Mapping[Any, Any]) -> Iterable[Request]:
    """The kernel lists classes of one interface only."""
    return [
        (RTM_GETTCLASS, TCMSG.pack(0, key.tcm_ifindex, 0, key.tcm_handle, 0))
        for key, row in rows.items()
        if has_classes(key, row)
    ]


TABLE = Table(
    "tc",
    (RTNLGRP_TC,),
    dumps,
    {
        RTM_NEWQDISC: decode_qdisc,
        RTM_DELQDISC: decode_qdisc,
        RTM_NEWTCLASS: decode_class,
        RTM_DELTCLASS: decode_class,
    },
    torn=True,
    further=dumps_of_classes,
    is_own=True,
)
