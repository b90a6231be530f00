"""Where the time of our processes goes: what py-spy has counted, as a short table.

py-spy looks a hundred times a second at what each process is doing, and writes down
each stack with the number of times that it was seen (`--format raw`):

    process 7:"python ...";process 9:"...";main (ryu/cmd/manager.py);handle (...) 42

A flame graph of these is half a megabyte; the table is what one looks for in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

MOST = 25  # functions that are listed
# Processes count some of whose stacks have been here; the first of these that any has.
OURS = ("controller/runtime.py", "controller/", "flows/")
HEAD = """\
# Where the time goes: {name}

`./run bench {name} --profile` writes this page ({machine}; {day}): {count:,} looks
of py-spy at isat's processes. "Own" is what a function does itself, with the
system calls that it makes; "with all" is with what it calls, too.

| own | with all | function | file |
|--:|--:|---|---|
"""

Stack = tuple[str, ...]  # functions, the outermost first
RECORD = re.compile(r"(.+?) ([0-9]+)\n", re.DOTALL)  # a command may have many lines
PROCESS = re.compile(r'process ([0-9]+):"')


def stacks(text: str) -> Iterator[tuple[str, Stack, int]]:
    """The process, its stack, and how often it was seen.  A process stands behind those
    that have started it.  py-spy stops nobody, and now and then reads what is being
    written: such a record is left out."""
    for record in RECORD.finditer(text):
        frames, count = record.groups()
        *_, last = [None, *PROCESS.finditer(frames)]
        if last is not None:
            _, _, functions = frames[last.end() :].partition('";')
            if functions:
                yield last[1], tuple(functions.split(";")), int(count)


def ours(text: str) -> list[tuple[Stack, int]]:
    rows = [*stacks(text)]
    for place in OURS:
        chosen = {process for process, stack, _ in rows if has_been(stack, place)}
        if chosen:
            return [(stack, n) for process, stack, n in rows if process in chosen]
    return []


def has_been(stack: Stack, place: str) -> bool:
    return any(f"({place}" in function for function in stack)


def table(rows: Iterable[tuple[Stack, int]]) -> Iterator[str]:
    """The functions that take most of the time themselves."""
    own, whole, total = Counter[str](), Counter[str](), 0
    for stack, count in rows:
        own[stack[-1]] += count
        total += count
        for function in {*stack}:
            whole[function] += count
    for function, count in own.most_common(MOST):
        name, _, file = function.removesuffix(")").partition(" (")
        shares = f"{count / total:.1%} | {whole[function] / total:.1%}"
        yield f"| {shares} | `{name}` | {file} |"


def page(name: str, text: str, machine: str, day: str) -> str:
    """text  what py-spy has written"""
    rows = ours(text)
    count = sum(count for _, count in rows)
    head = HEAD.format(name=name, machine=machine, day=day, count=count)
    return head + "".join(f"{line}\n" for line in table(rows))
