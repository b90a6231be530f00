"""The way between two interfaces, from the running controller or from a saved view."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from controller.cli.client import ask
from controller.cli.failure import FAILED, Failure
from controller.cli.files import load
from controller.cli.show import as_json, table
from controller.text import safe


def path(arguments: Namespace) -> int:
    """Exit status 0 only if a frame can take this way."""
    one, other = getattr(arguments, "from"), arguments.to
    if arguments.view:
        answer = from_file(arguments.view, one, other)
    else:
        answer = ask(arguments.socket, "path", **{"from": one, "to": other})
    if arguments.json:
        as_json(answer)
    else:
        show(answer)
    return FAILED if answer["problem"] else 0


def from_file(name: str, one: str, other: str) -> dict[str, Any]:
    from flows.path import PathError, told

    try:
        return told(load(name), one, other)
    except PathError as error:
        raise Failure(error.where, error.problem, error.hint) from None


def show(answer: dict[str, Any]) -> None:
    if answer["hops"]:
        table(
            ["INTERFACE", "NAMESPACE", "WHAT", "UP", "THEN"],
            [
                [hop["interface"], hop["namespace"], what(hop), state(hop), hop["then"]]
                for hop in answer["hops"]
            ],
        )
    if answer["problem"]:
        print(safe(answer["problem"]))


def what(hop: dict[str, Any]) -> str:
    port = f", port {hop['port_no']} of {hop['switch']}" if hop["port_no"] else ""
    return f"{hop['what']}{port}"


def state(hop: dict[str, Any]) -> str:
    return "yes" if hop["up"] else f"no: {hop['why_down']}"
