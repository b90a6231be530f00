"""Commands that become another program."""

from __future__ import annotations

import os
import sys
from argparse import Namespace

from controller.cli.show import as_json


def run(arguments: Namespace) -> int:
    """ryu-manager with our application; what else was typed goes to it."""
    flags: list[str] = []
    if arguments.isat_config:
        flags += ["--isat-config", arguments.isat_config]
    if socket := arguments.socket or os.environ.get("ISAT_SOCKET"):
        flags += ["--isat-socket", socket]
    rest = [word for word in arguments.rest if word != "--"]
    start = "from ryu.cmd.manager import main; main()"
    os.execv(
        sys.executable,
        # -P: a folder "controller" of somebody else's may be where we are.
        [sys.executable, "-P", "-c", start, *flags, *rest, "controller.app"],
    )


def mirror(arguments: Namespace) -> int:
    from controller.netlink.helper import main

    return main(arguments.rest)


def version(arguments: Namespace) -> int:
    from importlib.metadata import version as version_of

    found = version_of("isat")
    if arguments.json:
        as_json({"version": found})
    else:
        print(f"isat {found}")
    return 0
