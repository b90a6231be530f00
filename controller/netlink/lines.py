"""The JSON lines in which a mirror speaks: one object a line, ASCII.

    {"hello": {"version": 1, "pid": 7, "tables": [...], "kernel": "6.1.0"}}
    {"op": "new", "table": "link", "key": {...}, "value": {...}}
    {"op": "change", ...}             `value` is the whole row, not the difference
    {"op": "del", "table": "link", "key": {...}}
    {"sync": 1}                       what was said so far is a complete picture
    {"dirty": "ENOBUFS", "losses": {"overrun": 1, "malformed": 0, ...}}
                                      something was missed; a sync follows
    {"reset": true}                   forget everything; a snapshot and a sync follow
    {"audit": {"link": 1, ...}}       rows corrected so far that no event announced
    {"note": "..."}                   what cannot be seen, and which right it needs
    {"fdb": {"device": "vx0", ...}}   what was asked for has been done (forwarding.py)

A name may hold any octets: those that are not UTF-8 are "\\udcXX" (surrogateescape).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from controller.netlink.rtnl.link import Link
from controller.netlink.tables import Change, Interface, Key, Namespace, Row, Scope

VERSION = 1
Object = dict[str, Any]

LINK_FIELDS = Link._fields
# Rows are made of rows of scalars: to look for circles would take a third of the time.
_encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode


def line(value: Object) -> bytes:
    return _encode(value).encode("ascii") + b"\n"


def hello(tables: Iterable[str], capabilities: Iterable[str]) -> Object:
    return {
        "hello": {
            "version": VERSION,
            "pid": os.getpid(),
            "tables": list(tables),
            "capabilities": list(capabilities),
            "kernel": os.uname().release,
        }
    }


def change(change: Change) -> Object:
    """A change of a row; what the kernel does not tell is left out."""
    op, scope, key, row = change
    said: Object = {"op": op, "table": scope.table, "key": key_of(scope, key)}
    if op != "del":
        said["value"] = value_of(row)
    return said


def key_of(scope: Scope, key: Key) -> Object:
    """All fields, always: null where the kernel gives none."""
    if isinstance(key, int):
        name = "nsid" if scope.table == "nsid" else "ifi_index"
        return {"nsid": scope.nsid, name: key} if name != "nsid" else {name: key}
    fields = key._asdict()
    if "nexthops" in fields:
        fields["nexthops"] = [hop._asdict() for hop in key.nexthops]
    return {"nsid": scope.nsid, **fields}


def value_of(row: Row) -> Object:
    if isinstance(row, Interface):
        return link_value(row)
    if isinstance(row, Namespace):
        return {"name": row.name, "kind": row.kind}
    value = {
        name: said
        for name, said in row._asdict().items()
        if said is not None and said != ()
    }
    if "metrics" in value:
        value["metrics"] = dict(row.metrics)
    return value


def link_value(row: Interface) -> Object:
    link = row.link
    value: Object = {
        name: said
        for name in LINK_FIELDS
        if (said := getattr(link, name)) is not None and said != ()
    }
    if link.info:
        value["info"] = dict(link.info)
    if row.holder:
        value["holder"] = value_of(row.holder)
    return value
