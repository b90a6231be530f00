"""The command `isat`: ask a running controller, or work on files without one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

from controller.cli.failure import Failure
from controller.cli.parser import make_parser

FAILED, USAGE = 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status, as `isat --help` lists them."""
    if isinstance(sys.stdout, TextIOWrapper):  # a name may have any character
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = make_parser()
    arguments, rest = parser.parse_known_args(argv)
    arguments.rest = rest
    if arguments.command is None:
        parser.print_help()
        return USAGE
    if rest and not arguments.passes_on:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    module, _, function = arguments.run.partition(":")
    try:
        status: int = getattr(import_module(module), function)(arguments)
        sys.stdout.flush()
    except Failure as failure:
        print(f"isat: {failure}", file=sys.stderr)
        return failure.status
    except BrokenPipeError:  # `isat flows | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    return status
