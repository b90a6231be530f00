"""Shell completion, made from the table of commands."""

from __future__ import annotations

from argparse import Namespace

from controller.cli.parser import COMMANDS, Command, arguments_of

BASH = """\
# bash completion of isat; put it where bash-completion looks, or source it:
#   isat completion bash > /etc/bash_completion.d/isat
_isat() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" words
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands} --help"
    else
        case "${{COMP_WORDS[1]}}" in
{cases}
            *) words="" ;;
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _isat isat
"""

ZSH = """\
#compdef isat
# zsh completion of isat: isat completion zsh > "${{fpath[1]}}/_isat"
if (( CURRENT == 2 )); then
    local -a commands=(
{commands}
    )
    _describe command commands
else
    case "${{words[2]}}" in
{cases}
    esac
    _files
fi
"""


def completion(arguments: Namespace) -> int:
    print({"bash": bash, "zsh": zsh, "fish": fish}[arguments.shell](), end="")
    return 0


def words(command: Command) -> list[str]:
    """Everything that may follow: options, and the values of a fixed choice."""
    found = ["--help"]
    for argument in arguments_of(command):
        found += [name for name in argument.names if name.startswith("-")]
        found += argument.options.get("choices", [])
    return found


def bash() -> str:
    cases = (f'{" " * 12}{c.name}) words="{" ".join(words(c))}" ;;' for c in COMMANDS)
    return BASH.format(
        commands=" ".join(c.name for c in COMMANDS), cases="\n".join(cases)
    )


def zsh() -> str:
    names = (f"        {quoted(f'{c.name}:{c.help}')}" for c in COMMANDS)
    cases = (f"        {c.name}) compadd -- {' '.join(words(c))} ;;" for c in COMMANDS)
    return ZSH.format(commands="\n".join(names), cases="\n".join(cases))


def fish() -> str:
    where = "~/.config/fish/completions/isat.fish"
    lines = [f"# fish completion of isat: isat completion fish > {where}", ""]
    for command in COMMANDS:
        first = "complete -c isat -n __fish_use_subcommand -f"
        lines.append(f"{first} -a {command.name} -d {quoted(command.help)}")
        seen = f"complete -c isat -n '__fish_seen_subcommand_from {command.name}'"
        for word in words(command):
            option = f"-l {word[2:]}" if word.startswith("--") else f"-a {quoted(word)}"
            lines.append(f"{seen} {option}")
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
