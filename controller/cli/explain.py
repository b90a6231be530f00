"""Every flow of a bridge as a sentence, with the facts that it comes from.

The flow's cookie is its digest, so the flow that the controller would compile from
what it believes now, and the flow that the switch holds, are found by one number.
"""

from __future__ import annotations

import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from controller.cli.client import ask
from controller.cli.failure import Failure
from controller.cli.files import datapaths, load
from controller.cli.show import as_json
from controller.text import safe
from flows.compile import compile_flows
from flows.document import from_json
from flows.evidence import evidence
from flows.network import Network, network
from flows.openflow import Flow, is_ours
from flows.parties import Candidate
from flows.pipeline import TABLE_IDS, TABLE_NAMES
from flows.view import PortKey, View, switch_name

LIMIT = 60.0  # seconds that ovs-ofctl may take
COOKIE = re.compile(r"cookie=(0x[0-9a-f]+)")
TABLE = re.compile(r"\btable=(\d+)")
PACKETS = re.compile(r"n_packets=(\d+)")
RULE = re.compile(r"(?:priority=|actions=).*")


@dataclass(frozen=True, slots=True)
class Held:
    """One line of `ovs-ofctl dump-flows`."""

    cookie: int
    table: int
    packets: int | None
    rule: str


def explain(arguments: Namespace) -> int:
    if arguments.view:
        believed, whose = load(arguments.view), f"{arguments.view!a}"
    else:
        believed, whose = from_json(ask(arguments.socket, "view")), "the controller"
    [datapath_id] = datapaths(believed, arguments.bridge, whose)
    dump = sys.stdin.read() if arguments.dump else dump_flows(believed, datapath_id)
    wanted = table_id(arguments.table)
    held = [row for row in read_dump(dump) if wanted in (None, row.table)]
    rows = list(explained(believed, datapath_id, held))
    if arguments.json:
        as_json(rows)
    else:
        show(rows)
    return 0


def dump_flows(believed: View, datapath_id: int) -> str:
    name = bridge_name(believed, datapath_id)
    command = ["ovs-ofctl", "-O", "OpenFlow13", "dump-flows", name]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=LIMIT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure("ovs-ofctl", str(error)) from None
    if done.returncode:
        hint = "or give it the flows: ovs-ofctl dump-flows ... | isat explain BRIDGE -"
        raise Failure(f"bridge {name!a}", done.stderr.strip(), hint)
    return done.stdout


def bridge_name(believed: View, datapath_id: int) -> str:
    name = switch_name(believed, datapath_id)
    if not name:
        hint = "give me its flows: ovs-ofctl dump-flows ... | isat explain ID -"
        raise Failure(f"switch {datapath_id:x}", "not a bridge of this host", hint)
    return name


def table_id(text: str | None) -> int | None:
    if text is None:
        return None
    if text.isdecimal():
        return int(text)
    if text not in TABLE_IDS:
        hint = f"the tables are {', '.join(TABLE_IDS)}"
        raise Failure("--table", f"no table {text!a}", hint)
    return TABLE_IDS[text]


def read_dump(dump: str) -> Iterator[Held]:
    for line in dump.splitlines():
        rule = RULE.search(line)
        if rule is None:
            continue
        cookie, table, packets = (p.search(line) for p in (COOKIE, TABLE, PACKETS))
        yield Held(
            int(cookie[1], 16) if cookie else 0,
            int(table[1]) if table else 0,
            int(packets[1]) if packets else None,
            rule[0],
        )


Row = dict[str, object]


def explained(believed: View, datapath_id: int, held: Iterable[Held]) -> Iterator[Row]:
    conclusions = network(believed)
    flows = compile_flows(believed, datapath_id, conclusions)
    for row in held:
        yield {
            "table": row.table,
            "name": table_name(row.table),
            "cookie": f"{row.cookie:#x}",
            "packets": row.packets,
            "flow": row.rule,
            **meaning(row, flows, believed, conclusions, datapath_id),
        }


def meaning(
    row: Held,
    flows: Mapping[int, Flow],
    believed: View,
    conclusions: Network,
    datapath_id: int,
) -> Row:
    """whose  "isat", "isat, outdated" or "foreign"; says; because"""
    if not is_ours(row.cookie):
        return {"whose": "foreign", "says": "not ours: left alone", "because": []}
    flow = flows.get(row.cookie)
    if flow is None:
        says = "what it says is not believed any more; it is about to go"
        return {"whose": "isat, outdated", "says": says, "because": []}
    because = list(reasons(flow, believed, conclusions, datapath_id))
    return {"whose": "isat", "says": flow.note, "because": because}


def reasons(
    flow: Flow, believed: View, conclusions: Network, datapath_id: int
) -> Iterator[str]:
    """The facts about the flow's subject, in words."""
    island = conclusions.domain(datapath_id, 0).island
    if isinstance(flow.subject, IPv4Address | IPv6Address):
        for (domain, ip), holder in conclusions.holders.items():
            if ip == flow.subject and domain.island == island:
                for candidate in holder.candidates:
                    yield evidence(
                        candidate, believed, conclusions, domain.vlan, island
                    )
    elif isinstance(flow.subject, str):
        for (domain, lladdr), where in conclusions.located.items():
            if lladdr == flow.subject and domain.island == island:
                candidate = Candidate(lladdr, where.port, where.origin)
                yield evidence(candidate, believed, conclusions, domain.vlan, island)
    elif isinstance(flow.subject, int):
        yield from about_port(flow.subject, believed, conclusions, datapath_id)


def about_port(
    port_no: int, believed: View, conclusions: Network, datapath_id: int
) -> Iterator[str]:
    key = PortKey(datapath_id, port_no)
    segment, far = conclusions.fabric.segment(key), conclusions.fabric.uplinks.get(key)
    if segment is not None:
        name, at = believed.ports[key].ifname, segment.ends[key]
        yield (
            f"the configuration has {name} as an end of the overlay {segment.name},"
            f" VNI {segment.vni}, at {at}"
        )
        for other, address in segment.others(key):
            whose = switch_name(believed, other.datapath_id) or f"{other.datapath_id:x}"
            yield f"and {believed.ports[other].ifname} of {whose}, at {address}"
    elif far is not None:
        near, end = believed.ports[key], believed.ports[far]
        yield f"{near.ifname} and {end.ifname} are the two ends of one cable"


def table_name(table: int) -> str:
    return TABLE_NAMES.get(table, "")


def show(rows: Iterable[Row]) -> None:
    heading = None
    for row in rows:
        if row["table"] != heading:
            heading = row["table"]
            print(f"table {heading} {row['name']}")
        count = "" if row["packets"] is None else f"  [{row['packets']} packets]"
        whose = "" if row["whose"] == "isat" else f"{row['whose']}: "
        print(f"  {whose}{safe(str(row['says']))}{count}")
        print(f"      {safe(str(row['flow']))}")
        because = row["because"]
        for reason in because if isinstance(because, list) else []:
            print(f"      because {safe(reason)}")
