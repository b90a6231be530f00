"""python -m controller.cli.reference: the commands as docs/reference has them."""

from __future__ import annotations

from collections.abc import Iterator

from controller.cli.parser import (
    COMMANDS,
    Argument,
    Command,
    arguments_of,
    description_of,
)


def lines() -> Iterator[str]:
    for command in COMMANDS:
        yield f"### `isat {command.name}`"
        yield ""
        yield description_of(command).replace("\n", " ")
        yield ""
        rows = [row(argument) for argument in arguments_of(command)]
        if rows:
            yield "| argument | meaning |"
            yield "| --- | --- |"
            yield from rows
            yield ""
        yield from example(command)


def row(argument: Argument) -> str:
    options = argument.options
    name, metavar = argument.names[0], options.get("metavar", "")
    if not name.startswith("-"):
        name = metavar or "\\|".join(options.get("choices", [])) or name.upper()
    elif metavar:
        name = f"{name} {metavar}"
    return f"| `{name}` | {options['help']} |"


def example(command: Command) -> Iterator[str]:
    if command.examples:
        yield from ("```text", *command.examples, "```", "")


if __name__ == "__main__":
    print("\n".join(lines()).rstrip())
