"""Figures for people, for programs and for the page docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.figures import Figure
from tests.bench.plot import curves, distributions

Json = dict[str, Any]
Found = Mapping[str, Sequence[Figure]]  # by the name of the bench

PAGE = "benchmarks.md"
HEAD = """\
# Benchmarks

Measured by `./run bench --write`, which writes this page: figures, verdicts and
pictures are what a run found, nothing is set by hand.  With names only these are
measured, and the others stay as they were found before.  A figure with a target is met
or missed; one without is there to be compared with, and was measured in the same run.
Absolute times are of this machine and of how busy it was; ratios say more.

"""


def machine() -> str:
    """What the figures are figures of."""
    cores = len(os.sched_getaffinity(0))
    return (
        f"{processor()}, {cores} cores, {memory_gib():.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}"
    )


def processor() -> str:
    return field_of("/proc/cpuinfo", "model name") or platform.machine()


def memory_gib() -> float:
    return int((field_of("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20


def field_of(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


# --- text -----------------------------------------------------------------------------


def line(figure: Figure) -> str:
    told = f"{figure.value:>16} {figure.target:>18} {figure.verdict:6}  {figure.what}"
    return f"{told} ({figure.note})" if figure.note else told


def summary(found: Found) -> str:
    verdicts = [figure.verdict for figures in found.values() for figure in figures]
    return f"{verdicts.count('met')} met, {verdicts.count('missed')} missed"


# --- JSON -----------------------------------------------------------------------------


def to_json(found: Found) -> Json:
    return {
        "machine": machine(),
        "benches": {name: [*map(object_of, rows)] for name, rows in found.items()},
    }


def object_of(figure: Figure) -> Json:
    bounds = {"at_most": figure.at_most, "at_least": figure.at_least}
    return {
        "what": figure.what,
        "measured": figure.measured,
        "unit": figure.unit,
        **{name: bound for name, bound in bounds.items() if bound is not None},
        **{k: v for k in ("verdict", "note") if (v := getattr(figure, k))},
    }


# --- the page -------------------------------------------------------------------------


def page(
    found: Found,
    titles: Mapping[str, str],
    day: str,
    before: str = "",
    profiled: Collection[str] = (),
) -> str:
    """titles  the sentence that each bench is about, by name, in the page's order
    before    the page as it is: what was not measured again stays
    profiled  benches of which there is a profile
    """
    parts = sections(before)
    for name, figures in found.items():
        stamp = f"{machine()}; {day}.  {summary({name: figures}).capitalize()}."
        parts[name] = f"{titles[name]}\n\n{stamp}\n\n{table(figures)}"
        if plotted(figures):
            parts[name] += f"\n![Distributions]({picture_of(name)})\n"
        if growing(figures):
            parts[name] += f"\n![What grows with the network]({curves_of(name)})\n"
    for name in profiled:
        link = f"\n[Where the time goes]({profile_of(name)})\n"
        if link not in parts.get(name, link):
            parts[name] += link
    told = (f"\n## {name}\n\n{parts[name]}" for name in titles if name in parts)
    return HEAD + "".join(told).lstrip("\n")


def sections(page: str) -> dict[str, str]:
    """What stands below each of its headings."""
    _, *parts = page.split("\n## ")
    found = (part.partition("\n\n") for part in parts)
    return {name: text.rstrip("\n") + "\n" for name, _, text in found}


def table(figures: Sequence[Figure]) -> str:
    rows = ["| what | measured | target | verdict |", "|---|--:|--:|---|"]
    for figure in figures:
        what = f"{figure.what} ({figure.note})" if figure.note else figure.what
        cells = (what.replace("|", r"\|"), figure.value, figure.target, figure.verdict)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def picture_of(name: str) -> str:
    """Beside the page."""
    return f"pictures/bench-{name}.svg"


def curves_of(name: str) -> str:
    return f"pictures/bench-{name}-growth.svg"


def profile_of(name: str) -> str:
    """Where the time goes: written by `./run bench NAME --profile`."""
    return f"profiles/{name}.md"


def growing(figures: Sequence[Figure]) -> dict[str, list[tuple[float, float]]]:
    """Hosts and microseconds, by what was measured at several sizes of a network."""
    found: dict[str, list[tuple[float, float]]] = {}
    for one in figures:
        if one.point is not None:
            name, hosts = one.point
            found.setdefault(name, []).append((hosts, one.measured))
    return found


def plotted(figures: Sequence[Figure]) -> dict[str, tuple[float, ...]]:
    """Milliseconds, by what was measured."""
    return {
        f.what.removesuffix(": p50"): f.samples
        for f in figures
        if f.samples and f.unit == "ms"
    }


def files(
    found: Found,
    titles: Mapping[str, str],
    day: str,
    before: str,
    profiled: Collection[str] = (),
) -> Iterator[tuple[str, str]]:
    """Path below docs/, and content."""
    yield PAGE, page(found, titles, day, before, profiled)
    for name, figures in found.items():
        if series := plotted(figures):
            yield picture_of(name), distributions(series)
        if points := growing(figures):
            yield curves_of(name), curves(points)
