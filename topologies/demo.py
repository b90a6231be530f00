"""What `./run demo` runs: isat at work on a small network, told in measured figures.

    /usr/bin/python3 -m topologies.demo           the story, then all is gone again
    /usr/bin/python3 -m topologies.demo --stay    the story, then it stays until Ctrl-C

The network is topologies/linear.py, run by Mininet in a process of its own; the
controller is an ordinary `ryu-manager controller/app.py`, asked by `isat`.

Standard library only: it runs under the system's Python, where Mininet is.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from typing import NoReturn

from topologies import marks
from topologies.emulation import ROOT
from topologies.stage import Failed, Stage, Tell, require_everything, stage
from topologies.story import story

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TAIL = 20  # lines of the controller's log that a failure shows


def stay(here: Stage) -> None:
    """Say how to look around, until Ctrl-C."""
    first, tap = here.network.hosts[0], here.network.taps[-1]
    bridge = here.bridges[0]
    shells = "\n".join(
        f"  mnexec -a {here.emulation.pids[host.name]} bash    # {host.name}, {host.ip}"
        for host in here.network.hosts
    )
    print(
        f"""
It stays until Ctrl-C.  In another terminal, as root, in {ROOT}:

  export ISAT_SOCKET={here.controller.socket}
  .venv/bin/isat status
  .venv/bin/isat hosts
  .venv/bin/isat explain {bridge}
  ovs-ofctl -O OpenFlow13 dump-flows {bridge}

a shell in a host (then: ping {here.host(6).ip}; tcpdump -n):

{shells}

let the process behind a tap ping:

  python3 topologies/taphost.py {tap.name} ping {first.ip}
""",
        flush=True,
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("\ntaking it down", flush=True)


def interrupted(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def perform(staying: bool, tell: Tell) -> int:
    """The whole demo; whatever happens, nothing of it stays."""
    require_everything()
    removed: Counter[str] = Counter()
    with marks.new_run(removed) as run:
        os.environ.update(run.environment)  # of whatever is started from now on
        if removed:
            counted = ", ".join(f"{many} {what}" for what, many in removed.items())
            tell("note", f"removed what an earlier demo had left: {counted}")
        try:
            with stage(run, tell) as here:
                story(here, tell)
                if staying:
                    stay(here)
        except Failed as failed:
            complain(failed, run)
            return 1
        finally:
            let_nobody_interrupt()
    tell("end", "everything held, and nothing is left behind")
    return 0


def let_nobody_interrupt() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def complain(failed: Failed, run: marks.Run | None = None) -> None:
    """What, why, what to type; and what the controller said last."""
    print(f"demo: {failed.what}", file=sys.stderr)
    print(f"      why:  {failed.why}", file=sys.stderr)
    if failed.hint:
        print(f"      type: {failed.hint}", file=sys.stderr)
    log = run.directory / "controller.log" if run else None
    if log and log.exists():
        print("the last lines of the controller's log:", file=sys.stderr)
        for line in log.read_text(errors="replace").splitlines()[-TAIL:]:
            print(f"  {line}", file=sys.stderr)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./run demo", description="isat at work on a small network, in figures."
    )
    parser.add_argument(
        "--stay", action="store_true", help="leave it running until Ctrl-C"
    )
    given = parser.parse_args(argv)
    for number in SIGNALS:
        signal.signal(number, interrupted)
    began = time.monotonic()

    def tell(what: str, text: str) -> None:
        print(f"[{time.monotonic() - began:5.1f}s] {what:<10} {text}", flush=True)

    try:
        return perform(given.stay, tell)
    except marks.Taken as taken:
        pid = str(taken)
        complain(
            Failed("another demo is running", f"it is process {pid}", f"kill {pid}")
        )
        return 1
    except Failed as failed:
        complain(failed)
        return 1
    except KeyboardInterrupt:
        print("\nended; nothing is left behind", flush=True)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
