"""Commands on files: a saved view, and a configuration."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from controller.cli.client import ask
from controller.cli.failure import FAILED, INVALID, Failure
from controller.cli.show import as_json
from controller.text import safe

if TYPE_CHECKING:
    from flows.view import View


def view(arguments: Namespace) -> int:
    answer = ask(arguments.socket, "view")
    if arguments.save:
        save(arguments.save, answer)
    else:
        as_json(answer)
    return 0


def save(path: str, document: object) -> None:
    """Whole or not at all: an existing file is replaced only by a complete one."""
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "x", encoding="ascii") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
        os.replace(beside, path)
    except OSError as error:
        raise Failure(f"{path!a}", str(error.strerror), status=FAILED) from None


def flows(arguments: Namespace) -> int:
    from flows.compile import compile_flows
    from flows.openflow import texts

    believed = load(arguments.view)
    chosen = datapaths(believed, arguments.datapath, f"{arguments.view!a}")
    compiled = {dpid: compile_flows(believed, dpid) for dpid in chosen}
    if arguments.json:
        as_json(
            {
                f"{dpid:016x}": texts(entries.values()).splitlines()
                for dpid, entries in compiled.items()
            }
        )
        return 0
    for dpid, entries in compiled.items():
        if len(compiled) > 1:
            print(f"# datapath {dpid:016x}")
        sys.stdout.write(texts(entries.values()))
    return 0


def load(path: str) -> View:
    from flows.document import DocumentError, from_json

    try:
        with sys.stdin if path == "-" else open(path, encoding="utf-8") as file:
            document: Any = json.load(file)
    except OSError as error:
        raise Failure(f"{path!a}", str(error.strerror), status=INVALID) from None
    except ValueError as error:
        hint = "a saved view is what `isat view --save FILE` writes"
        raise Failure(f"{path!a}", f"not JSON: {error}", hint, status=INVALID) from None
    try:
        return from_json(document)
    except DocumentError as error:
        raise Failure(f"{path!a}", str(error), status=INVALID) from None


def datapaths(believed: View, wanted: str | None, path: str) -> list[int]:
    """The switches of a view; or the one that is wanted, by name or by number."""
    from flows.view import switch_name

    known = sorted({key.datapath_id for key in believed.ports})
    if wanted is None:
        return known
    names = {dpid: switch_name(believed, dpid) for dpid in known}
    named = [dpid for dpid in known if names[dpid] == wanted]
    if found := named or [dpid for dpid in known if is_number(wanted, dpid)]:
        return found[:1]
    there = ", ".join(f"{dpid:x} {safe(names[dpid])}".strip() for dpid in known)
    raise Failure(path, f"no switch {wanted!a}", f"there are: {there or 'none'}")


def is_number(text: str, datapath_id: int) -> bool:
    try:
        return int(text, 16) == datapath_id
    except ValueError:
        return False


def check_config(arguments: Namespace) -> int:
    from controller.config import ConfigError, idle, load

    try:
        config = load(arguments.file)
    except ConfigError as error:
        if arguments.json:
            mistakes = [asdict(mistake) for mistake in error.mistakes]
            as_json({"ok": False, "mistakes": mistakes, "warnings": []})
            return INVALID
        raise Failure("check-config", f"not usable\n{error}", status=INVALID) from None
    if arguments.json:
        as_json({"ok": True, "mistakes": [], "warnings": [*idle(config)]})
    else:
        counts = f"{len(config.bridges)} bridges, {len(config.bindings)} bindings"
        print(f"{safe(arguments.file)}: good ({counts})")
        for line in idle(config):
            print(f"warning: {line}")
    return 0
