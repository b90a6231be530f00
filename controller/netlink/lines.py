"""The JSON lines in which a mirror speaks: one object a line, ASCII.

    {"hello": {"version": 1, "pid": 7, "tables": [...], "kernel": "6.1.0"}}
    {"op": "new", "table": "link", "key": {...}, "value": {...}}
    {"op": "change", ...}             `value` is the whole row, not the difference
    {"op": "del", "table": "link", "key": {...}}
    {"sync": 1}                       what was said so far is a complete picture
    {"dirty": "ENOBUFS"}              something was missed; a sync follows
    {"reset": true}                   forget everything; a snapshot and a sync follow
    {"audit": {"link": 1, ...}}       rows corrected so far that no event announced
    {"note": "..."}                   what cannot be seen, and which right it needs

A name may hold any octets: those that are not UTF-8 are "\\udcXX" (surrogateescape).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from controller.netlink import rtnl
from controller.netlink.tables import Change, Interface, Key, Namespace, Row, Scope

VERSION = 1
Object = dict[str, Any]

LINK_FIELDS = tuple(rtnl.Link.__dataclass_fields__)
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


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
    if isinstance(key, rtnl.AddrKey | rtnl.NeighKey):
        return {"nsid": scope.nsid, **key._asdict()}
    if scope.table == "nsid":
        return {"nsid": key}
    return {"nsid": scope.nsid, "ifi_index": key}


def value_of(row: Row) -> Object:
    if isinstance(row, Interface):
        return link_value(row)
    if isinstance(row, Namespace):
        return {"name": row.name, "kind": row.kind}
    return {
        name: value
        for name in row.__dataclass_fields__
        if (value := getattr(row, name)) is not None
    }


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
        value["holder"] = row.holder
    return value
