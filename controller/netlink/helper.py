"""The mirror as a process: `isat mirror`, and the controller's helper (--fd).

One thread, one poll loop: events of the kernel, the reader of our lines, the time.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import os
import select
import sys
import time
from collections.abc import Iterable, Sequence
from functools import partial

from controller.netlink import rights, service
from controller.netlink.doors import Doorkeeper, Doors
from controller.netlink.forwarding import Forwarding, Garbled
from controller.netlink.mirror import Mirror, is_read_from_here
from controller.netlink.output import Output
from controller.netlink.sockets import RECEIVE_BUFFER
from controller.netlink.speaker import Filter, Speaker
from controller.netlink.tables import FOLLOWED, IPV4_CONF, TABLES, Change, Tables

LONGEST_WAIT = 60.0  # seconds
RARELY = 50_000, 20, 100  # collections of garbage: tables are large, and hold no cycles

EPILOG = """\
Each line is a JSON object: "new", "change" and "del" of rows, {"sync": N} when what was
said so far is a complete picture, {"dirty": why} when something was missed and all is
read again.  Names of fields are rtnetlink's.  nsid -1 is the namespace it runs in; the
others are those that a veth, or anything else, connects with it.

examples:
  isat mirror --once --table link,addr     what is there now
  isat mirror --namespace h1               what happens in Mininet's h1, as it happens
  isat mirror --once | jq -r 'select(.table == "link") | .value.ifname'
"""


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="isat mirror",
        description="Print the interfaces, addresses, neighbors and routes of all "
        "network namespaces within reach, then every change.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--once", action="store_true", help="one snapshot, then end")
    mode.add_argument("--follow", action="store_true", help="go on (the default)")
    parser.add_argument(
        "--table",
        type=tables,
        default=frozenset(FOLLOWED),
        metavar="TABLE,...",
        help=f"of {', '.join(TABLES)} (default: all but {IPV4_CONF}, of which the "
        "kernel tells no changes)",
    )
    parser.add_argument(
        "--namespace", default="", metavar="NAME|NSID", help="of one namespace only"
    )
    parser.add_argument(
        "--interface", default="", metavar="NAME", help="of interfaces of this name"
    )
    parser.add_argument(
        "--no-holders",
        action="store_true",
        help="do not look for the processes behind taps: keeps fewer rights",
    )
    parser.add_argument(
        "--program",
        type=devices,
        default=(),
        metavar="DEVICE,...",
        help="VXLAN devices of this namespace whose forwarding databases (`bridge "
        "fdb`) readers at a socket may write: a controller, for its overlays",
    )
    parser.add_argument(
        "--receive-buffer",
        type=int,
        default=RECEIVE_BUFFER,
        metavar="OCTETS",
        help="for events that wait to be read (default: %(default)s)",
    )
    parser.add_argument(
        "--listen",
        metavar="PATH",
        help="offer all this at a unix socket instead, a mirror for each who connects",
    )
    parser.add_argument(
        "--owner",
        type=user,
        default=os.geteuid(),
        metavar="USER",
        help="who may connect to it besides root (default: who starts it)",
    )
    parser.add_argument(
        "--fd",
        type=int,
        metavar="N",
        help="speak to descriptor N; end when it is closed, or with the parent",
    )
    return parser


def tables(text: str) -> frozenset[str]:
    names = frozenset(text.split(","))
    unknown = sorted(names - {*TABLES})
    if unknown:
        raise argparse.ArgumentTypeError(
            f"unknown table {unknown[0]!r}: write some of {','.join(TABLES)}"
        )
    return names


def devices(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def user(text: str) -> int:
    try:
        return service.uid_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def main(argv: Sequence[str] | None = None) -> int:
    """0 at the end of the reader or of --once, 1 if there is no rtnetlink, 2 if asked
    for what there is not, 130 at Ctrl-C."""
    options = parser().parse_args(argv)
    try:
        if options.listen is not None:
            return service.listen(
                options.listen, options.owner, partial(serve, options)
            )
        return run(options)
    except (BrokenPipeError, ConnectionResetError):
        return 0
    except Garbled as error:
        print(f"isat mirror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"isat mirror: {error}", file=sys.stderr)
        return 1


def serve(options: argparse.Namespace, fd: int) -> int:
    """One reader of `--listen`, in a process of its own."""
    options.fd = fd
    try:
        return run(options)
    except (BrokenPipeError, ConnectionResetError):
        return 0
    except Garbled as error:
        print(f"isat mirror: {error}", file=sys.stderr)
        return 1


def run(options: argparse.Namespace) -> int:
    gc.set_threshold(*RARELY)
    output = Output(sys.stdout.fileno() if options.fd is None else options.fd)
    only = Filter(options.table, options.namespace, options.interface)
    forwarding = Forwarding(options.program)
    speaker = Speaker(output, only, forwarding.changed)
    doors = doorkeeper(options.table)
    here = ("fdb",) if options.program else ()
    mirror = Mirror(speaker, options.table, options.receive_buffer, doors, here)
    speaker.tables = forwarding.tables = mirror.tables
    rights.call_this_process("isat-mirror")
    wanted = rights.TO_MIRROR
    if not options.no_holders:
        wanted |= rights.TO_SEE_HOLDERS
    speaker.hello(rights.keep_only(wanted))
    if options.fd is not None:
        rights.end_with_parent()
    with (
        contextlib.closing(output),
        contextlib.closing(mirror),
        contextlib.closing(forwarding),
    ):
        loop(mirror, speaker, forwarding, output, options.once)
    return 0


def doorkeeper(tables: frozenset[str]) -> Doors | None:
    """A process that may enter namespaces, if that is needed and ours to give."""
    if all(is_read_from_here(table) for table in tables - {"nsid"}):
        return None
    return Doorkeeper() if rights.permitted() >= rights.TO_ENTER else None


def loop(
    mirror: Mirror,
    speaker: Speaker,
    forwarding: Forwarding,
    output: Output,
    once: bool,
) -> None:
    """Until the reader has gone; or, if `once`, has read one snapshot."""
    poll = select.poll()
    poll.register(mirror, select.POLLIN)
    while not (once and speaker.synced and not output.waiting):
        wish = select.POLLOUT if output.waiting else 0
        poll.register(output.fd, wish | output.end_of_reader)
        deadlines = mirror.deadline(), forwarding.deadline() if speaker.synced else None
        for fd, events in poll.poll(timeout(earliest(*deadlines))):
            if fd == output.fd and events & ~select.POLLOUT:
                if (data := output.heard()) is None:
                    return
                forwarding.hear(data)
        if not (once and speaker.synced):
            mirror.turn(time.monotonic())
        now = time.monotonic()
        if speaker.synced and is_due(forwarding, now) and not is_readable(mirror):
            for report in forwarding.turn(now):
                speaker.say({"fdb": report})
        output.flush()
        speaker.recover()


def earliest(*times: float | None) -> float | None:
    return min((time for time in times if time is not None), default=None)


def is_due(forwarding: Forwarding, now: float) -> bool:
    deadline = forwarding.deadline()
    return deadline is not None and deadline <= now


def is_readable(mirror: Mirror) -> bool:
    """Events wait that its tables do not know of."""
    poll = select.poll()
    poll.register(mirror, select.POLLIN)
    return bool(poll.poll(0))


def timeout(deadline: float | None) -> int | None:
    """Milliseconds for poll(2), rounded up; None to wait for events only."""
    if deadline is None:
        return None
    wait = min(max(deadline - time.monotonic(), 0.0), LONGEST_WAIT)
    return math.ceil(wait * 1000)


class Silence:
    """A sink for those who look at the tables themselves."""

    def __init__(self) -> None:
        self.synced = False

    def change(self, change: Change) -> None:
        """The tables have it."""

    def sync(self, generation: int) -> None:
        self.synced = True

    def dirty(self, why: str, losses: dict[str, int]) -> None:
        self.synced = False

    def note(self, text: str) -> None:
        """Fewer rows, or fewer names, then."""

    def audit(self, fixed: dict[str, int]) -> None:
        """What was wrong is right now."""

    def flush(self) -> None:
        """Nothing waits."""


def snapshot(names: Iterable[str] = FOLLOWED) -> Tables:
    """The tables as they are now, read in this process with the rights it has."""
    sink = Silence()
    mirror = Mirror(sink, names)
    try:
        while not sink.synced:
            wait = timeout(mirror.deadline())
            select.select([mirror], [], [], None if wait is None else wait / 1000)
            mirror.turn(time.monotonic())
    finally:
        mirror.close()
    return mirror.tables
