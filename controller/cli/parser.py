"""What may be typed after `isat`, as one table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

EPILOG = """\
examples:
  isat run                              start the controller, as ryu-manager would
  isat hosts                            who holds which address, and who says so
  isat why 10.0.0.2 --from h1           why it is answered so, or not at all
  isat conflicts                        who claims what is somebody else's
  isat path h1:eth0 tap7                the way between them, hop by hop
  isat explain s1                       every flow of bridge s1, in words
  ovs-ofctl dump-flows s1 | isat explain s1 -
                                        the same for flows that you have already
  isat view --save lab.json             what the controller believes, in a file
  isat flows --view lab.json            what a switch should hold, for ovs-ofctl

exit status:
  0  done
  1  it could not be done
  2  the command line is wrong
  3  no controller can be reached
  4  a configuration or a saved view is wrong
"""


@dataclass(frozen=True, slots=True)
class Argument:
    """One positional argument or option, in argparse's words."""

    names: tuple[str, ...]
    options: dict[str, Any]


def arg(*names: str, **options: Any) -> Argument:
    return Argument(names, options)


@dataclass(frozen=True, slots=True)
class Command:
    """name, one line of help, "module:function" to run, and its arguments.

    asks       it talks to a running controller
    data       it prints data, so that --json is offered
    passes_on  what it does not know is for the program that it becomes
    examples   lines that one may type
    """

    name: str
    help: str
    run: str
    arguments: tuple[Argument, ...] = ()
    asks: bool = True
    data: bool = True
    passes_on: bool = False
    description: str = ""
    examples: tuple[str, ...] = ()


BRIDGE = arg("bridge", help="name of a bridge of this host, or a datapath_id")
DATAPATH = arg(
    "--datapath",
    metavar="ID",
    help="one switch of several: a datapath_id in hexadecimal, or a bridge's name",
)

COMMANDS: tuple[Command, ...] = (
    Command(
        "run",
        "start the controller under ryu-manager",
        "controller.cli.run:run",
        (arg("--isat-config", metavar="FILE", help="the policy, a YAML file"),),
        data=False,
        passes_on=True,
        description="Other flags, and further applications, go to ryu-manager.",
        examples=(
            "isat run",
            "isat run --isat-config lab.yaml --ofp-tcp-listen-port 6654",
            "isat run ryu.app.ofctl_rest",
        ),
    ),
    Command(
        "status",
        "how the controller, its sources and its switches are",
        "controller.cli.ask:status",
    ),
    Command(
        "hosts",
        "who holds which address, where, who says so, and is it answered for",
        "controller.cli.ask:hosts",
    ),
    Command(
        "ports",
        "every port of every switch, and what it leads to",
        "controller.cli.ask:ports",
    ),
    Command(
        "links",
        "every cable between two switches: its cost, and whether broadcasts take it",
        "controller.cli.links:links",
    ),
    Command(
        "tree",
        "the tree of cables that broadcasts take, drawn from its root",
        "controller.cli.links:tree",
        description=(
            "One tree for each group of switches that reach each other. Below it are"
            " the cables that are not of it, each with the reason."
        ),
    ),
    Command(
        "path",
        "the way between two interfaces, hop by hop, and where it is cut",
        "controller.cli.path:path",
        (
            arg("from", metavar="FROM", help="an interface, as `eth0` or `h1:eth0`"),
            arg("to", metavar="TO", help="another one, or a port or bridge"),
            arg(
                "--view",
                metavar="FILE",
                help="look into a saved view instead of asking the controller",
            ),
        ),
        description=(
            "A namespace or a bridge may stand before the name; `:eth0` is eth0 of this"
            " host's own namespace. No switch has to be connected."
        ),
        examples=(
            "isat path h1:eth0 h2:eth0",
            "isat path tap7 br-ex",
            "isat path tap7 h1:eth0 --view lab.json",
        ),
    ),
    Command(
        "why",
        "who holds an address, by which evidence, and what a question for it meets",
        "controller.cli.why:why",
        (
            arg("ip", metavar="IP", help="the address"),
            arg(
                "--from",
                metavar="WHO",
                help="ask from there: a host, an address of one, or a port",
            ),
            arg(
                "--view",
                metavar="FILE",
                help="look into a saved view instead of asking the controller",
            ),
        ),
        description=(
            "Nothing is sent: the question is put to the flows that the view compiles"
            " to, switch by switch."
        ),
        examples=(
            "isat why 10.0.0.2",
            "isat why 10.0.0.2 --from h1",
            "isat why 10.0.0.2 --from s1-eth3 --view lab.json",
        ),
    ),
    Command(
        "conflicts",
        "who contradicts what is known, where, since when and how often",
        "controller.cli.ask:conflicts",
        description=(
            "Attacks by name: what an attacker does in many packets (a MAC flood, a"
            " scan, denying others their addresses), and who says what somebody else is"
            " known to hold. At ports with `guard: watch` or `enforce` each"
            " contradiction is counted, at others as far as it is news. Rivals of"
            " whom nobody can say who is right come last."
        ),
    ),
    Command(
        "explain",
        "every flow a bridge holds, in words, with the facts it comes from",
        "controller.cli.explain:explain",
        (
            BRIDGE,
            arg(
                "dump",
                nargs="?",
                metavar="-",
                choices=["-"],
                help="read the flows from standard input, as ovs-ofctl prints them",
            ),
            arg("--table", metavar="NAME", help="one table, by name or table_id"),
            arg(
                "--view",
                metavar="FILE",
                help="explain by a saved view instead of asking the controller",
            ),
        ),
        description="Flows that are not of this controller are marked as foreign.",
        examples=(
            "isat explain s1",
            "isat explain s1 --table arp",
            "ovs-ofctl dump-flows s1 | isat explain s1 - --view lab.json",
        ),
    ),
    Command(
        "view",
        "what the controller believes, as JSON",
        "controller.cli.files:view",
        (arg("--save", metavar="FILE", help="write it to a file"),),
    ),
    Command(
        "flows",
        "compile a saved view to flows for ovs-ofctl; needs no switch",
        "controller.cli.files:flows",
        (
            arg(
                "--view",
                metavar="FILE",
                required=True,
                help="from `isat view --save`; - is standard input",
            ),
            DATAPATH,
        ),
        asks=False,
        description=(
            "The output is what `ovs-ofctl -O OpenFlow13 add-flows` and `diff-flows`"
            " take."
        ),
        examples=(
            "isat flows --view lab.json --datapath s1 > s1.flows",
            "ovs-ofctl -O OpenFlow13 diff-flows s1 s1.flows",
        ),
    ),
    Command(
        "mirror",
        "what the kernel knows of links and addresses, as JSON lines",
        "controller.cli.run:mirror",
        asks=False,
        data=False,
        passes_on=True,
    ),
    Command(
        "adopt",
        "set what a bridge needs to be controlled safely, and say what was changed",
        "controller.cli.ask:adopt",
        (arg("bridge", help="name of a bridge of this host"),),
    ),
    Command(
        "release",
        "undo what `isat adopt` has set",
        "controller.cli.ask:release",
        (arg("bridge", help="name of a bridge of this host"),),
    ),
    Command(
        "check-config",
        "say what is wrong with a configuration, without using it",
        "controller.cli.files:check_config",
        (arg("file", metavar="FILE", help="the policy, a YAML file"),),
        asks=False,
    ),
    Command(
        "completion",
        "print what makes a shell complete `isat` commands",
        "controller.cli.completion:completion",
        (arg("shell", choices=["bash", "zsh", "fish"], help="which shell"),),
        asks=False,
        data=False,
    ),
    Command(
        "version",
        "print the version",
        "controller.cli.run:version",
        asks=False,
    ),
)

SOCKET = arg(
    "--socket",
    metavar="PATH",
    help="where the controller listens (its --isat-socket; or set ISAT_SOCKET)",
)
JSON = arg("--json", action="store_true", help="print JSON, for programs")


def arguments_of(command: Command) -> Iterable[Argument]:
    if command.asks:
        yield SOCKET
    if command.data:
        yield JSON
    yield from command.arguments


def description_of(command: Command) -> str:
    first = f"{command.help[:1].upper()}{command.help[1:]}."
    return f"{first}\n{command.description}".rstrip()


def examples_of(command: Command) -> str | None:
    if not command.examples:
        return None
    return "\n".join(["examples:", *(f"  {line}" for line in command.examples)])


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="isat",
        description="Ask the controller of Open vSwitch bridges that answers ARP in"
        " the switch.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=None, passes_on=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.help,
            description=description_of(command),
            epilog=examples_of(command),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            add_help=command.name != "mirror",  # which explains itself
        )
        sub.set_defaults(
            command=command.name, run=command.run, passes_on=command.passes_on
        )
        for argument in arguments_of(command):
            sub.add_argument(*argument.names, **argument.options)
    return parser
