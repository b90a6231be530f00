"""What rows of OVSDB mean: as facts of the view, and as settings of a bridge.

A row has an attribute for each column of ovs-vswitchd.conf.db(5); an optional column is
a list of at most one value.  Knows no library: `controller.sources.ovsdb` has the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from controller import adoption
from controller.adoption import Change, Settings, Value
from flows.view import LOCAL_PORT, NO_TUNNEL, Bridge, Interface, Tunnel, Vlans

Row = Any
Transaction = Any  # of ovs.db.idl
T = TypeVar("T")

OVS_LOCAL = 65534  # OFPP_LOCAL as OpenFlow 1.0 writes it, and OVSDB with it
LAST_REQUEST = 65279  # the highest ofport_request that the schema allows
HEALING = "isat-healing"  # key in external_ids: a heal is under way; what to restore
USERSPACE = "netdev"  # datapath_type
UDP_PORTS = {"vxlan": 4789, "geneve": 6081}  # RFC 7348, RFC 8926
MAPS = ("other_config", "external_ids")
SETS = ("protocols",)


def optional(kind: str) -> dict[str, Any]:
    return {"type": {"key": kind, "min": 0, "max": 1}}


def several(kind: object) -> dict[str, Any]:
    return {"type": {"key": kind, "min": 0, "max": "unlimited"}}


def rows_of(table: str) -> dict[str, Any]:
    return several({"type": "uuid", "refTable": table})


STRING: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
MAP = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}

TABLES: dict[str, dict[str, Any]] = {  # the part of vswitch.ovsschema that we replicate
    "Open_vSwitch": {
        "bridges": rows_of("Bridge"),
        "next_cfg": INTEGER,
        "cur_cfg": INTEGER,
    },
    "Bridge": {
        "name": STRING,
        "datapath_id": optional("string"),
        "datapath_type": STRING,
        "fail_mode": optional("string"),
        "protocols": several("string"),
        "controller": rows_of("Controller"),
        "ports": rows_of("Port"),
        "other_config": MAP,
        "external_ids": MAP,
    },
    "Port": {
        "name": STRING,
        "interfaces": rows_of("Interface"),
        "tag": optional("integer"),
        "trunks": several("integer"),
        "vlan_mode": optional("string"),
        "other_config": MAP,
    },
    "Interface": {
        "name": STRING,
        "type": STRING,
        "options": MAP,
        "ifindex": optional("integer"),
        "ofport": optional("integer"),
        "ofport_request": optional("integer"),
        "link_resets": optional("integer"),  # changes when an interface comes back
        "error": optional("string"),
        "external_ids": MAP,
    },
    "Controller": {
        "target": STRING,
        "connection_mode": optional("string"),
        "max_backoff": optional("integer"),
        "inactivity_probe": optional("integer"),
        "controller_rate_limit": optional("integer"),
        "controller_burst_limit": optional("integer"),
    },
}
ROOTS = ("Open_vSwitch", "Bridge")  # their rows live without being referred to


def schema() -> dict[str, Any]:
    tables = {
        name: {"columns": columns, "isRoot": name in ROOTS}
        for name, columns in TABLES.items()
    }
    return {"name": "Open_vSwitch", "version": "8.0.0", "tables": tables}


def first(values: list[T]) -> T | None:
    """The value of an optional column."""
    return values[0] if values else None


# --- facts of the view --------------------------------------------------------------


def bridge_of(row: Row) -> Bridge:
    return Bridge(
        datapath_id=int(first(row.datapath_id) or "0", 16),
        name=row.name,
        fail_mode=first(row.fail_mode) or "",
        disable_in_band=row.other_config.get("disable-in-band") == "true",
        controllers=targets_of(row),
        adopted=row.external_ids.get("isat-adopted") == "true",
    )


def interface_of(row: Row, datapath_id: int) -> Interface | None:
    """None while it has no OpenFlow port: not opened yet, or it could not be."""
    ofport = first(row.ofport)
    if ofport is None or not 0 < ofport <= OVS_LOCAL:
        return None
    return Interface(
        datapath_id=datapath_id,
        port_no=LOCAL_PORT if ofport == OVS_LOCAL else ofport,
        ifname=row.name,
        ifindex=first(row.ifindex) or 0,
        type="" if is_system(row.type) else row.type,
        peer=row.options.get("peer", "") if row.type == "patch" else "",
        row=str(row.uuid),
        tunnel=tunnel_of(row),
    )


def vlans_of(port: Row) -> Vlans:
    mode = first(port.vlan_mode) or ""
    priority_tags = port.other_config.get("priority-tags", "")
    return Vlans(first(port.tag), tuple(sorted(port.trunks)), mode, priority_tags)


def tunnel_of(row: Row) -> Tunnel:
    """options of ovs-vswitchd.conf.db(5), "Tunnel Options"; only tunnels have these."""
    options = row.options
    if "remote_ip" not in options:
        return NO_TUNNEL
    port = options.get("dst_port", "")
    return Tunnel(
        local=options.get("local_ip", ""),
        remote=options["remote_ip"],
        key=options.get("key") or options.get("in_key") or "0",
        port=int(port) if port.isdecimal() else UDP_PORTS.get(row.type, 0),
    )


def is_system(kind: str) -> bool:
    """An interface that the system has made, and Open vSwitch only opens."""
    return kind in ("", "system")


def targets_of(row: Row) -> tuple[str, ...]:
    return tuple(sorted(controller.target for controller in row.controller))


# --- settings of a bridge -----------------------------------------------------------


def controller_of(bridge: Row, target: str | None) -> Row | None:
    """The Controller row with this target; with None, that of any real controller."""
    for controller in sorted(bridge.controller, key=lambda row: str(row.target)):
        if target is None:
            if adoption.is_active(controller.target):
                return controller
        elif adoption.same_target(controller.target, target):
            return controller
    return None


def settings_of(bridge: Row, controller: Row | None, names: Iterable[str]) -> Settings:
    return {name: setting(bridge, controller, name) for name in names}


def setting(bridge: Row, controller: Row | None, name: str) -> Value:
    if name == adoption.CONTROLLER:
        return None if controller is None else str(controller.target)
    row, column, key = place_of(bridge, controller, name)
    if row is None:
        return None
    value = getattr(row, column)
    if key:
        return str(value[key]) if key in value else None
    if column in SETS:
        return tuple(sorted(value)) or None
    found: Value = first(value)
    return found


def place_of(
    bridge: Row, controller: Row | None, name: str
) -> tuple[Row | None, str, str]:
    """Row, column and key that a setting's name stands for."""
    inner = name.removeprefix(f"{adoption.CONTROLLER}.")
    column, _, key = inner.partition(":")
    return (bridge if inner == name else controller), column, key


def memory_of(bridge: Row) -> tuple[Change, ...]:
    """What adopting has changed; ValueError if somebody has edited that."""
    return adoption.recalled(bridge.external_ids.get(adoption.MEMORY))


def write(
    txn: Transaction, bridge: Row, controller: Row | None, changes: Iterable[Change]
) -> None:
    """Write changes, provided that nobody has written there since we looked."""
    for change in changes:
        if change.name == adoption.CONTROLLER:
            controller = write_controller(txn, bridge, controller, change)
        else:
            write_setting(*place_of(bridge, controller, change.name), change.after)


def write_controller(
    txn: Transaction, bridge: Row, controller: Row | None, change: Change
) -> Row | None:
    """Add the Controller row, or take it away; OVSDB deletes what nobody refers to."""
    others = [row for row in bridge.controller if row is not controller]
    bridge.verify("controller")
    if change.after is None:
        bridge.controller = others
        return None
    added = txn.insert(txn.idl.tables["Controller"])
    added.target = change.after
    bridge.controller = [*others, added]
    return added


def write_setting(row: Row, column: str, key: str, value: Value) -> None:
    row.verify(column)
    if not key:
        setattr(row, column, as_column(value))
    elif value is None:
        row.delkey(column, key)
    else:
        row.setkey(column, key, value)


def as_column(value: Value) -> list[Any]:
    if isinstance(value, tuple):
        return list(value)
    return [] if value is None else [value]


# --- healing ------------------------------------------------------------------------


def remember_port(row: Row, port_no: int) -> None:
    """Note the OpenFlow port, and which one was asked for, until the heal is done."""
    before = json.dumps([port_no, first(row.ofport_request)])
    row.setkey("external_ids", HEALING, before)


def remembered_port(row: Row) -> tuple[int, int | None]:
    """What `remember_port` noted; ValueError if it is not that."""
    match json.loads(row.external_ids.get(HEALING, "null")):
        case [int(port_no), None]:
            return port_no, None
        case [int(port_no), int(request)]:
            return port_no, request
    raise ValueError(f"external_ids:{HEALING} is not a pair of port numbers")


def spare_port(interfaces: Iterable[Row]) -> int:
    """The highest number that no port of a bridge has or asks for."""
    taken: set[int] = set()
    for row in interfaces:
        taken.update(row.ofport, row.ofport_request)
    return next(number for number in range(LAST_REQUEST, 0, -1) if number not in taken)
