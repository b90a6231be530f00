"""The view as JSON, and back: what `isat view --save` writes.

    {"isat_view": 1, "ports": [{"datapath_id": 1, "port_no": 1, ...}, ...], ...}

The fields are those of `flows.view`, found by looking at its types, so that a new fact
needs no line here.  An index of the view is not a fact and is not in the document.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from immutables import Map

from flows.tracked import Tracked
from flows.view import (
    LOCAL_PORT,
    IPAddress,
    IPNetwork,
    Link,
    Port,
    Proxy,
    View,
    bound_of,
    crowds_of,
)

VERSION = 1
MARK = "isat_view"
INDEXES = {"crowds", "bound"}
LLADDRS = {"lladdr", "guest_lladdr"}

RANGES = {
    "datapath_id": (0, (1 << 64) - 1),
    "port_no": (1, LOCAL_PORT),
    "vlan": (0, 4095),
    "tag": (0, 4095),
    "trunks": (0, 4095),
    "prefixlen": (0, 128),
    "vni": (0, (1 << 24) - 1),
    "nsid": (-1, (1 << 31) - 1),
    "ifindex": (0, (1 << 31) - 1),
    "rate": (1, 8 * ((1 << 64) - 1)),
}
LLADDR = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")
GREATEST = sys.float_info.max  # json.loads takes NaN and Infinity for numbers
IN_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    NoneType: "null",
}
WITHOUT_LLADDR = {Port, Link, Proxy}  # not everything has one: then it is ""

Json = Any  # what json.loads returns


class DocumentError(ValueError):
    """A document that is no view: where, what, and what would be right."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        self.where, self.problem, self.hint = where, problem, hint
        super().__init__(f"{where}: {problem}" + (f" ({hint})" if hint else ""))


def to_json(view: View) -> dict[str, Json]:
    """Values that json.dumps takes; equal views give equal documents."""
    facts = {
        field.name: as_json(getattr(view, field.name))
        for field in fields(view)
        if field.name not in INDEXES
    }
    return {MARK: VERSION, **facts}


def as_json(value: object) -> Json:
    if isinstance(value, Map | Tracked):
        return [as_json(value[key]) for key in sorted(value, key=by_kind)]
    if isinstance(value, tuple):
        return [as_json(item) for item in value]
    if isinstance(value, IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return str(value)
    if is_dataclass(value):
        return {f.name: as_json(getattr(value, f.name)) for f in fields(value)}
    return value


def by_kind(key: object) -> tuple[object, ...]:
    """IPv4 and IPv6 addresses do not compare: order them by version first."""
    if isinstance(key, Iterable):
        return tuple(
            (part.version, int(part))
            if isinstance(part, IPv4Address | IPv6Address)
            else part
            for part in key
        )
    return (key,)


def from_json(document: Json) -> View:
    """The view of a document.  Raises DocumentError."""
    if not isinstance(document, dict) or MARK not in document:
        hint = "a saved view is what `isat view --save FILE` writes"
        raise DocumentError("document", f"no {MARK!r} in it", hint)
    version = document[MARK]
    if version != VERSION or isinstance(version, bool):
        hint = f"this release reads version {VERSION}"
        raise DocumentError(MARK, f"version {version!a:.40}", hint)
    types = hints(View)
    names = [name for name in types if name not in INDEXES]
    facts = {k: v for k, v in document.items() if k != MARK}
    refuse_unknown(facts, names, "document")
    found = {name: table(types[name], facts[name], name) for name in facts}
    if "stations" in found:
        found["crowds"] = crowds_of(found["stations"])
        found["bound"] = bound_of(found["stations"])
    return View(**found)


def table(kind: Any, value: Json, where: str) -> Any:
    """One field of the view: a map of rows by their key, a tuple, or one row."""
    made = get_origin(kind)
    if made not in (Map, Tracked):
        return read(kind, value, where)
    row_type = get_args(kind)[1]
    rows: dict[object, Any] = {}
    for n, item in listed(value, where):
        found = read(row_type, item, f"{where}[{n}]")
        if rows.setdefault(key_of(found), found) is not found:
            hint = "each fact is stated once"
            raise DocumentError(f"{where}[{n}]", "the key of an earlier row", hint)
    return made(rows)


def key_of(row: Any) -> object:
    """A bridge is known by its datapath_id; every other row has a key of its own."""
    return row.key if hasattr(type(row), "key") else row.datapath_id


def listed(value: Json, where: str) -> Iterable[tuple[int, Json]]:
    if not isinstance(value, list):
        raise DocumentError(where, f"{value!a:.40} is not a list", "write [...]")
    return enumerate(value)


def read(kind: Any, value: Json, where: str) -> Any:
    """A value of this type.  Raises DocumentError."""
    if is_dataclass(kind):
        return row(kind, value, where)
    if kind == IPAddress:
        return address(value, where)
    if kind == IPNetwork | None:
        return None if value is None else prefix(value, where)
    if get_origin(kind) is tuple:
        item = get_args(kind)[0]
        return tuple(read(item, v, f"{where}[{n}]") for n, v in listed(value, where))
    return plain(kind, value, where)


def row(kind: Any, value: Json, where: str) -> Any:
    if not isinstance(value, dict):
        hint = 'write {"KEY": VALUE, ...}'
        raise DocumentError(where, f"{value!a:.40} is not a {kind.__name__}", hint)
    types = hints(kind)
    refuse_unknown(value, types, where)
    for field in fields(kind):
        if (
            field.name not in value
            and field.default is MISSING is field.default_factory
        ):
            hint = f"a {kind.__name__} needs it: {fields_of(kind)}"
            raise DocumentError(where, f"without {field.name!r}", hint)
    found = {name: read(types[name], v, f"{where}.{name}") for name, v in value.items()}
    for name, item in found.items():
        refuse_impossible(kind, name, item, f"{where}.{name}")
    return kind(**found)


def fields_of(kind: Any) -> str:
    return ", ".join(field.name for field in fields(kind))


def refuse_impossible(kind: Any, name: str, value: object, where: str) -> None:
    """What no switch, kernel or packet could have said."""
    several = value if isinstance(value, tuple) else (value,)
    for number in several if name in RANGES else ():
        least, most = RANGES[name]
        if isinstance(number, int) and not least <= number <= most:
            raise DocumentError(where, f"{number} is not within {least} to {most}")
    empty = value == "" and kind in WITHOUT_LLADDR
    if name in LLADDRS and not empty and not LLADDR.fullmatch(str(value)):
        hint = 'write six octets in lower case, as "02:00:00:00:00:01"'
        raise DocumentError(where, f"{value!a:.40} is no link-layer address", hint)


def refuse_unknown(given: Mapping[str, Json], known: Iterable[str], where: str) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            )
            raise DocumentError(where, f"unknown key {name!a}", hint)


def address(value: Json, where: str) -> IPAddress:
    try:
        return ip_address(value) if isinstance(value, str) else ip_address("")
    except ValueError:
        hint = 'write it as "192.0.2.1"'
        raise DocumentError(
            where, f"{value!a:.40} is not an IP address", hint
        ) from None


def prefix(value: Json, where: str) -> IPNetwork:
    try:
        return ip_network(value) if isinstance(value, str) else ip_network("")
    except ValueError:
        hint = 'write it as "192.0.2.0/24"'
        raise DocumentError(where, f"{value!a:.40} is no prefix", hint) from None


def plain(kind: Any, value: Json, where: str) -> Any:
    """str, int, float, bool, or one of several of these and None."""
    union = get_origin(kind) in (Union, UnionType)
    allowed = get_args(kind) if union else (kind,)
    given = type(value)  # not isinstance: bool is a kind of int to Python
    if given in (int, float) and float in allowed and abs(value) <= GREATEST:
        return float(value)
    if given in allowed and given is not float:
        return value
    names = " or ".join(IN_WORDS[t] for t in allowed)
    raise DocumentError(where, f"{value!a:.40} is not {names}")


@cache
def hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
