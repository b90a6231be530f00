"""Attack tools that Debian has: how each is started, what it does, what isat calls it.

`./run setup --attacks` installs them; nobody needs them but the tests and the bench
about them.  They run in the namespace of `attack_stage`'s attacker, and only there.

    python -m tests.support.attack_tools

prints the table of docs/explanation/attacks.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Harm(StrEnum):
    """What victims notice, or do not."""

    NEIGHBOR = "takes the attacker for a neighbor"
    ROUTER = "changes its routers"
    ROUTE = "sends by way of the attacker"
    ADDRESS = "takes an address of the attacker's"
    DENIED = "is denied a new address"
    LOST = "loses packets"
    OVERHEARD = "is overheard"


@dataclass(frozen=True, slots=True)
class Tool:
    """name     of the program
    package  of Debian, that it is in
    command  the words after it; {alice} is an IPv4 address, {alice6} an IPv6 address,
             {alice_link} a link-local one; {far6} is behind the gateway
    does     in words
    harms    what it does to the victims of a learning switch
    kinds    what isat calls it, each of them
    """

    name: str
    package: str
    command: str
    does: str
    harms: frozenset[Harm]
    kinds: frozenset[str]

    @property
    def program(self) -> str | None:
        path = f"{os.environ.get('PATH', '')}:{SEARCH_PATH}"
        return shutil.which(self.name, path=path)


def some(*values: str) -> frozenset[str]:
    return frozenset(values)


def harm(*values: Harm) -> frozenset[Harm]:
    return frozenset(values)


TOOLS = (
    Tool(
        "arpspoof",
        "dsniff",
        "-i eth0 -r -t {alice} {gateway}",
        "tells a host and its gateway that it is the other",
        harm(Harm.NEIGHBOR, Harm.LOST, Harm.OVERHEARD),
        some("ARP spoofing"),
    ),
    Tool(
        "ettercap",
        "ettercap-text-only",
        "-T -q -i eth0 -M arp:remote /{gateway}// /{alice}//",
        "the same, and passes on what it reads",
        harm(Harm.NEIGHBOR, Harm.OVERHEARD),
        some("ARP spoofing"),
    ),
    Tool(
        "macof",
        "dsniff",
        "-i eth0 -n 200000",
        "sends frames of 200,000 stations that do not exist",
        harm(),
        some("MAC flood"),
    ),
    Tool(
        "arp-scan",
        "arp-scan",
        "-I eth0 -r 1 10.0.0.0/24",
        "asks for every address of the subnet",
        harm(),
        some("ARP scan"),
    ),
    Tool(
        "atk6-fake_advertise6",
        "thc-ipv6",
        "-w 1 eth0 {gateway6}",
        "advertises the gateway's address to all",
        harm(Harm.NEIGHBOR, Harm.LOST, Harm.OVERHEARD),
        some("ND spoofing"),
    ),
    Tool(
        "atk6-parasite6",
        "thc-ipv6",
        "-l eth0",
        "answers every solicitation",
        harm(Harm.NEIGHBOR, Harm.LOST, Harm.OVERHEARD),
        some("ND spoofing"),
    ),
    Tool(
        "atk6-dos-new-ip6",
        "thc-ipv6",
        "eth0",
        "objects to every address that somebody wants to take",
        harm(Harm.DENIED),
        some("DAD denial of service"),
    ),
    Tool(
        "atk6-fake_router26",
        "thc-ipv6",
        "-A 2001:db8:bad::/64 -i 1 eth0",
        "says that it is a router, and gives out a prefix",
        harm(Harm.ROUTER, Harm.ROUTE, Harm.ADDRESS),
        some("rogue router advertisement"),
    ),
    Tool(
        "atk6-kill_router6",
        "thc-ipv6",
        "eth0 {gateway_link}",
        "says in the gateway's name that it is a router no more",
        harm(Harm.ROUTER),
        some("rogue router advertisement"),
    ),
    Tool(
        "atk6-redir6",
        "thc-ipv6",
        "eth0 {alice6} {far6} {gateway_link} {mallory_link}",
        "says in the gateway's name that the attacker is the better way",
        harm(Harm.ROUTE),
        some("rogue redirect"),
    ),
)


def missing(tools: Iterable[Tool] = TOOLS) -> str:
    """What to do about those that are not installed, or ""."""
    names = [tool.name for tool in tools if tool.program is None]
    if not names:
        return ""
    return f"not installed: {', '.join(names)}; ./run setup --attacks installs them"


# --- the page -------------------------------------------------------------------------


def rows() -> Iterator[tuple[str, ...]]:
    yield (
        "tool",
        "what it does",
        "`simple_switch_13`: a victim",
        "`learn`, `watch`",
        "`enforce`",
    )
    yield ("---",) * 5
    for tool in TOOLS:
        done = ", ".join(sorted(tool.harms)) or "notices nothing"
        told = f"told: {', '.join(sorted(tool.kinds))}"
        yield f"`{tool.name}`", tool.does, done, told, f"nothing happens; {told}"


if __name__ == "__main__":
    for row in rows():
        print(f"| {' | '.join(row)} |")
