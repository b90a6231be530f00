"""./run bench: measure isat against its targets, and against others in the same run.

Each figure is one line: what was measured, its target, and whether it is met or missed.
Names choose some of the benches; how far long work is goes to standard error.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import profiles, report
from tests.bench.benches import BENCHES, Bench, named
from tests.bench.figures import Figure, Run

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PY_SPY = ROOT / ".venv/py-spy/bin/py-spy"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="benches:\n"
        + "\n".join(f"  {bench.name:11} {bench.title}" for bench in BENCHES),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument(
        "--share",
        type=float,
        default=1.0,
        metavar="PART",
        help="of the full size, as 0.1: quicker, and no answer to the targets",
    )
    parser.add_argument(
        "--write",
        action="store_true",
        help="write docs/benchmarks.md and its pictures; with names, their parts",
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="instead, watch its Python processes, and write where the time of isat's"
        " goes to docs/profiles/NAME.md (needs ./run setup --bench)",
    )
    return parser


def measured(bench: Bench, run: Run, told: bool) -> list[Figure]:
    """Its figures, each told as soon as it is there."""
    figures = []
    if told:
        print(f"\n{bench.name}: {bench.title}")
    for figure in bench.measure(run):
        figures.append(figure)
        if told:
            print(report.line(figure), flush=True)
    return figures


def write(found: report.Found) -> None:
    titles = {bench.name: bench.title for bench in BENCHES}
    page = DOCS / report.PAGE
    before = page.read_text() if page.exists() else ""
    profiled = [name for name in titles if (DOCS / report.profile_of(name)).exists()]
    for name, content in report.files(found, titles, today(), before, profiled):
        (DOCS / name).write_text(content)


def profile(bench: Bench, share: float) -> int:
    """What is measured while it is watched is slower, and is not written down."""
    if not PY_SPY.exists():
        parser().error("--profile needs py-spy: ./run setup --bench installs it")
    how = ("--subprocesses", "--nonblocking", "--function", "--format", "raw")
    measuring = (sys.executable, "-m", "tests.bench", bench.name, f"--share={share}")
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "stacks")
        words = (PY_SPY, "record", *how, "--output", file, "--", *measuring)
        done = subprocess.run(words)
        if done.returncode == 0:
            # A name that py-spy has read while it was being changed is no text.
            seen = file.read_text(errors="replace")
            text = profiles.page(bench.name, seen, report.machine(), today())
            page = DOCS / report.profile_of(bench.name)
            page.parent.mkdir(exist_ok=True)
            page.write_text(text)
            write({})  # the link to it
    return done.returncode


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def main(argv: Sequence[str] | None = None) -> int:
    """0 when everything was measured, whatever the verdicts; 2 for an unknown name."""
    arguments = parser().parse_args(argv)
    try:
        chosen = named(arguments.names)
    except KeyError as error:
        parser().error(
            f"no bench {error}: there are {', '.join(b.name for b in BENCHES)}"
        )
    if arguments.profile:
        return max(profile(bench, arguments.share) for bench in chosen)
    run = Run(arguments.share)
    if not arguments.json:
        print(report.machine())
    found = {}
    for bench in chosen:
        found[bench.name] = measured(bench, run, told=not arguments.json)
        if arguments.write:  # at once: another may fail, after hours
            write(found)
    if arguments.json:
        print(json.dumps(report.to_json(found), indent=2))
    else:
        print(f"\n{report.summary(found)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
