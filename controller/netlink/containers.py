"""Which container a process is in, from its cgroups as /proc/PID/cgroup lists them.

Version 1 has a line for each hierarchy, version 2 one.  A process that looks from
inside a cgroup namespace sees "/", and no container.
"""

from __future__ import annotations

import re

DIGITS = 12  # of an id, as `docker ps` and `crictl ps` show it
ESCAPE = re.compile(r"\\x([0-9a-f]{2})")  # systemd.unit(5)

# Where runtimes put a container, and what of the path is its id or its name.
RUNTIMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])",  # docker, podman, containerd, CRI-O
        r"/lxc(?:\.payload)?/([^/\n]+)",  # LXC 2 and 3
        r"/lxc\.payload\.([^/\n]+)",  # LXC 4, LXD, Incus
        r"/machine-(?!qemu\\x2d)([^/\n]+)\.scope",  # systemd-nspawn, libvirt's LXC
        r"/systemd-nspawn@([^/\n]+)\.service",
    )
)
ID = re.compile(r"[0-9a-f]{64}")


def container_of(cgroups: str) -> str | None:
    """Its name, or the first digits of its id; of nested ones the innermost."""
    found = [match for path in cgroups.splitlines() for match in matches(path)]
    if not found:
        return None
    name = max(found, key=lambda match: match.start(1))[1]
    return name[:DIGITS] if ID.fullmatch(name) else unescaped(name)


def matches(path: str) -> list[re.Match[str]]:
    return [match for pattern in RUNTIMES for match in pattern.finditer(path)]


def unescaped(unit: str) -> str:
    """A name as systemd writes it into the name of a unit: "-" is "\\x2d"."""
    return ESCAPE.sub(lambda match: chr(int(match[1], 16)), unit)
