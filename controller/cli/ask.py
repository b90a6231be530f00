"""Commands that show an answer of the running controller."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from controller.cli.client import ask
from controller.cli.show import ago, as_json, table
from controller.text import safe


def status(arguments: Namespace) -> int:
    answer = ask(arguments.socket, "status")
    if arguments.json:
        as_json(answer)
        return 0
    port, seconds = answer["listening"], answer["uptime"]
    local = "".join(f", {safe(to)}" for to in answer["targets"][1:])
    print(f"isat {answer['version']}, up {seconds:.0f} s, OpenFlow port {port}{local}")
    for name, state in sorted(answer["sources"].items()):
        print(f"{name}: {safe(state)}")
    print()
    table(
        ["SWITCH", "DATAPATH", "PORTS", "FLOWS", "ADOPTED"],
        [
            [s["name"], s["datapath_id"], s["ports"], s["flows"], s["adopted"]]
            for s in answer["switches"]
        ],
    )
    if answer["rules"]:
        print()
        table(
            ["MODE", "FOR", "THROUGH", "WRITTEN"],
            [rule(row) for row in answer["rules"]],
        )
    print()
    for name, count in sorted(answer["counters"].items()):
        print(f"{count:8}  {safe(name)}")
    for row in answer["limits"]:
        print(safe(limit(row)))
    for warning in answer["warnings"]:
        print(f"warning: {safe(warning)}")
    return 0


def rule(row: dict[str, Any]) -> list[object]:
    absent = ", missing" if row["missing"] else ""
    return [row["mode"], row["for"], f"{row['through']}{absent}", row["where"]]


def limit(row: dict[str, Any]) -> str:
    over = "" if row["since"] is None else f", and goes on, since {ago(row['since'])}"
    rate = f"more than {row['per_second']} a second"
    return (
        f"limit: {row['port']}: {row['budget']}, {rate}: {row['dropped']} dropped{over}"
    )


def hosts(arguments: Namespace) -> int:
    rows = ask(arguments.socket, "hosts")
    if arguments.json:
        as_json(rows)
        return 0
    table(
        [
            *("ADDRESS", "LLADDR", "VLAN", "PORT", "HOST"),
            *("SAID BY", "STATE", "SEEN", "ANSWERED"),
        ],
        [
            [
                row["ip"],
                row["lladdr"],
                vlan(row),
                place(row),
                row["host"],
                said_by(row),
                row["state"],
                ago(row["confirmed"]),
                answered(row),
            ]
            for row in rows
        ],
    )
    return 0


def vlan(row: dict[str, Any]) -> str:
    """ "10 (access 10)": of the address, and what its port is; "-" is untagged."""
    port = f" ({row['vlans']})" if row.get("vlans") else ""
    return f"{row['vlan'] or '-'}{port}"


def said_by(row: dict[str, Any]) -> str:
    """ "dhcp, for 3540 s": the origin, and how long a lease goes on."""
    left = row["leased"]
    return row["origin"] if left is None else f"{row['origin']}, for {left:.0f} s"


def answered(row: dict[str, Any]) -> str:
    return "yes" if row["answered"] else f"no: {row['why_not']}"


def place(row: dict[str, Any]) -> str:
    """The port's name says the switch, in Mininet; elsewhere the bridge helps."""
    if row.get("overlay"):
        return f"overlay {row['overlay']}"
    if row["port_no"] is None and not row["port"]:  # a station that was never seen
        return ""
    port, switch = row["port"] or row["port_no"], row["switch"] or row["datapath_id"]
    return str(port) if str(port).startswith(f"{switch}-") else f"{switch}:{port}"


def ports(arguments: Namespace) -> int:
    rows = ask(arguments.socket, "ports")
    if arguments.json:
        as_json(rows)
        return 0
    has_vlans = any(row["vlans"] for row in rows)
    table(
        [
            *("SWITCH", "PORT_NO", "PORT", "UP", "ROLE", "LEADS TO", "WHY", "STATIONS"),
            *(["VLANS"] if has_vlans else []),
        ],
        [
            [
                row["switch"] or row["datapath_id"],
                row["port_no"],
                row["port"],
                row["up"],
                row["role"],
                row["leads_to"],
                row["why"],
                row["stations"],
                *([row["vlans"] or "all"] if has_vlans else []),
            ]
            for row in rows
        ],
    )
    return 0


def conflicts(arguments: Namespace) -> int:
    rows = ask(arguments.socket, "conflicts")
    if arguments.json:
        as_json(rows)
        return 0
    table(
        ["KIND", "WHO", "AT", "CLAIMS", "OF", "AT", "SAID BY", "SINCE", "PACKETS"],
        [
            [
                row["kind"],
                row["lladdr"] or "many",
                place(row),
                row["ip"] or row["sends"] or "its own address",
                row["against"]["lladdr"] or "nobody",
                place(row["against"]),
                row["against"]["origin"],
                ago(row["since"]) if row["since"] is not None else None,
                packets(row),
            ]
            for row in rows
        ],
    )
    return 0


def packets(row: dict[str, Any]) -> str:
    """ "3 reply, 1 request, dropped"; of two who were only learned from, nothing."""
    counts = [f"{count} {kind}" for kind, count in sorted(row["counts"].items())]
    return ", ".join([*counts, *(["dropped"] if row["dropped"] else [])])


def conflict_line(row: dict[str, Any]) -> str:
    what = f"says that it has {row['ip']}" if row["ip"] else "is known elsewhere"
    what = f"sends: {row['sends']}" if row["sends"] else what
    against = row["against"]
    rival = f", which {against['lladdr']} holds" if against["lladdr"] else ""
    since = f", since {ago(row['since'])}" if row["since"] is not None else ""
    said = f" ({packets(row)})" if packets(row) else ""
    return f"{row['lladdr']} at {place(row)} {what}{rival}{since}{said}"


def adopt(arguments: Namespace) -> int:
    return changed(arguments, "adopt", "is adopted", "was adopted before")


def release(arguments: Namespace) -> int:
    return changed(arguments, "release", "is released", "had nothing to undo")


def changed(arguments: Namespace, question: str, done: str, nothing: str) -> int:
    answer = ask(arguments.socket, question, bridge=arguments.bridge)
    if arguments.json:
        as_json(answer)
        return 0
    print(f"{safe(answer['bridge'])} {done if answer['changes'] else nothing}")
    for change in answer["changes"]:
        print(f"  {safe(change)}")
    return 0
