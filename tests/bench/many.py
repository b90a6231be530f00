"""Ten thousand interfaces, addresses and neighbors in one namespace.

Ours is `isat mirror --once`, from the start of the process to its end; theirs `ip -j -d
link`, `ip -j -d addr` and `ip -j neigh` for the same tables, three processes, summed.
They alternate, and both write to /dev/null.  Memory is the growth of a following
mirror's resident set (VmRSS, proc(5)) over that of one in an empty namespace.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Figure, Run, percentile
from tests.bench.fixture import ip_batch
from tests.netlink.lab import ROOT, Lab, new_lab, reader

INTERFACES = 10_000  # of them a tenth macvlans and a tenth taps, the rest veths
PER_INTERFACE = 3072  # octets
ROUNDS = 5
LIMIT = 120.0  # seconds
TABLES = ("--table", "link,addr,neigh")
FOLLOWED: dict[str, tuple[str, ...]] = {"these tables": TABLES, "all tables": ()}
THEIRS = (("link",), ("addr",), ("neigh",))
PIECE = 2000  # lines of one batch


def measure(run: Run) -> Iterator[Figure]:
    interfaces = run.of(INTERFACES, least=30)
    with new_lab() as lab:
        before = [rss_of_follower(lab.own, *tables) for tables in FOLLOWED.values()]
        run.tell(f"making {interfaces:,} interfaces, addresses and neighbors")
        fill(lab.own, interfaces)
        yield from dumps(lab, run.of(ROUNDS, least=1), interfaces, run)
        run.tell("following them")
        after = [rss_of_follower(lab.own, *tables) for tables in FOLLOWED.values()]
    for what, empty, full in zip(FOLLOWED, before, after, strict=True):
        yield Figure(
            f"memory of a mirror that follows {what}, for each interface",
            (full - empty) / interfaces, "octets", at_most=PER_INTERFACE,
            note=f"{full - empty >> 20} MiB more than in an empty namespace",
        )  # fmt: skip


def dumps(lab: Lab, rounds: int, interfaces: int, run: Run) -> Iterator[Figure]:
    ours, theirs = [], []
    for number in range(rounds):
        run.tell(f"reading them, round {number + 1} of {rounds}")
        ours.append(seconds(mirror(lab)))
        theirs.append(sum(seconds(ip_j(lab, words)) for words in THEIRS))
    peer = percentile(theirs, 50)
    what = f"{interfaces:,} interfaces, addresses and neighbors"
    yield Figure(f"{what}: ip -j -d", peer, "s", note=f"median of {rounds}")
    yield Figure(
        f"{what}: isat mirror --once", percentile(ours, 50), "s",
        at_most=peer, note=f"median of {rounds}, alternating",
    )  # fmt: skip


def mirror(lab: Lab) -> list[str]:
    words = (sys.executable, "-m", "controller.netlink", "--once", *TABLES)
    return lab.command(lab.own, *words)


def ip_j(lab: Lab, words: tuple[str, ...]) -> list[str]:
    return ["ip", "-n", lab.own, "-j", "-d", *words]


def seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, timeout=LIMIT, cwd=ROOT
    )
    return time.perf_counter() - began


def rss_of_follower(namespace: str, *options: str) -> int:
    """Octets, once its first picture has been read."""
    with reader(namespace, *options) as following:
        following.synced()
        return rss(following.pid)


def rss(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


# --- what there is to read ----------------------------------------------------------


def fill(namespace: str, interfaces: int) -> None:
    """As many of each: the interface with its address, a neighbor of the first."""
    made = [*links(interfaces)]
    in_pieces(namespace, made)
    ip_batch(namespace, "link set v0 up\nlink set w0 up\n")
    names = [name for line in made for name in names_in(line)]
    in_pieces(namespace, [
        f"address add {ip(n, 10)}/32 dev {name}" for n, name in enumerate(names)
    ])  # fmt: skip
    in_pieces(namespace, [
        f"neigh add {ip(n, 11)} lladdr {lladdr(n)} dev v0"
        for n in range(len(names))
    ])  # fmt: skip


def links(interfaces: int) -> Iterator[str]:
    """Lines of ip -batch."""
    tenth = interfaces // 10
    for n in range((interfaces - 2 * tenth) // 2):
        yield f"link add v{n} type veth peer name w{n}"
    for n in range(tenth):
        yield f"link add m{n} link v0 type macvlan mode bridge"
    for n in range(tenth):
        yield f"tuntap add t{n} mode tap"


def names_in(line: str) -> list[str]:
    words = line.split()
    return [words[2], words[-1]] if "veth" in words else [words[2]]


def in_pieces(namespace: str, lines: list[str]) -> None:
    for start in range(0, len(lines), PIECE):
        ip_batch(namespace, "\n".join(lines[start : start + PIECE]) + "\n")


def ip(n: int, first: int) -> str:
    return f"{first}.{n >> 16}.{n >> 8 & 0xFF}.{n & 0xFF}"


def lladdr(n: int) -> str:
    return f"02:00:00:{n >> 16:02x}:{n >> 8 & 0xFF:02x}:{n & 0xFF:02x}"
