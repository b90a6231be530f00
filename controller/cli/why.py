"""Who holds an address and why, from the running controller or from a saved view."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from controller.cli.ask import conflict_line
from controller.cli.client import ask
from controller.cli.failure import Failure
from controller.cli.files import load
from controller.cli.show import ago, as_json
from controller.text import safe

Row = dict[str, Any]


def why(arguments: Namespace) -> int:
    asker = getattr(arguments, "from") or ""
    if arguments.view:
        answer = from_file(arguments.view, arguments.ip, asker)
    else:
        details = {"ip": arguments.ip, "from": asker}
        answer = ask(arguments.socket, "why", **details)
    if arguments.json:
        as_json(answer)
        return 0
    for row in answer["held"]:
        show(row)
    for conflict in answer["conflicts"]:
        print(f"conflict: {safe(conflict_line(conflict))}")
    return 0


def from_file(name: str, ip: str, asker: str) -> Row:
    from flows.why import WhyError, why

    try:
        return {"held": why(load(name), ip, asker), "conflicts": []}
    except WhyError as error:
        raise Failure(error.where, error.problem, error.hint) from None


def show(row: Row) -> None:
    tag = f" on VLAN {row['vlan']}" if row["vlan"] else ""
    if row["candidates"]:
        print(safe(f"{row['ip']}{tag} is at {row['lladdr']}"))
    elif row["answered"]:
        print(safe(f"{row['ip']}{tag} is answered for, and is nobody's"))
    else:
        print(safe(f"{row['ip']}{tag}: nobody is known to hold it"))
    for one in row["candidates"]:
        print(f"  {safe(candidate(one, is_first=one is row['candidates'][0]))}")
    for one in row["silent"]:
        print(f"  {safe(silence(one))}")
    for one in row["hearsay"]:
        tables = " and ".join(one["told_by"])
        says = f"the neighbor table of {tables} says {one['lladdr']}"
        print(f"  {safe(says)}")
    for one in row["rules"]:
        print(f"  {safe(rule(one))}")
    for one in row["unanswered"]:
        print(f"  {safe(unanswered(one))}")
    show_answer(row)
    if row["asked"]:
        show_question(row["asked"])


def unanswered(one: Row) -> str:
    """ "nobody answers at br0: 6 questions, the first 5 s ago; not asked for 9 s"."""
    asked = f"nobody answers at {one['switch']}: {one['asked']} questions"
    if one["since"] is None:
        return f"{asked}; nobody is asked for it for a while"
    left = f"nobody is asked for it for another {one['for']:.0f} s"
    return f"{asked}, the first {ago(one['since'])}; {left}"


def candidate(one: Row, *, is_first: bool) -> str:
    """Evidence, since when, and the last sign of life, which facts do not need."""
    place = "" if is_first else "also: "
    ages = [
        f"{word} {ago(one[word])}"
        for word in ("since", "confirmed")
        if one[word] is not None
    ]
    asked = ", is being asked" if one["state"] == "probing" else ""
    doubt = "" if one["vouched"] else ", which the kernel does not list"
    return f"{place}{one['because']}{doubt}{', '.join(['', *ages])}{asked}"


def silence(one: Row) -> str:
    since = f" {ago(one['since'])}" if one["since"] is not None else ""
    return f"{one['lladdr']} at {one['port']} held it, and fell silent{since}"


def rule(one: Row) -> str:
    where = f" ({one['where']})" if one["where"] else ""
    return f"mode {one['mode']}{where} at {one['switch']}: {one['says']}"


def show_answer(row: Row) -> None:
    if not row["answered"]:
        if row["candidates"]:
            print(f"  not answered: {safe(row['why_not'])}")
        return
    for flow in row["flows"]:
        where = f"{flow['switch']}, table {flow['table']} {flow['name']}"
        print(f"  answered by {safe(where)}, cookie {flow['cookie']}")
        print(f"    {safe(flow['flow'])}")


def show_question(asked: Row) -> None:
    who = f"{asked['lladdr']}{' with ' if asked['ip'] else ''}{asked['ip']}"
    tag = f", with the tag of VLAN {asked['vlan']}" if asked["tagged"] else ""
    place = safe(f"{asked['from']} by {who}{tag}")
    print(f"  asked from {place}: {safe(asked['says'])}")
    for flow in asked["flows"]:
        where = f"{flow['switch']}, table {flow['table']} {flow['name']}"
        print(f"    {safe(where)}: {safe(flow['says'])}")
