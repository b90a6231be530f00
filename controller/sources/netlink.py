"""The kernel of this host: rows of the netlink helper's tables to events.

The helper (`controller.netlink`) is another process, so that bursts of kernel messages
and the rights to hear them stay out of this one.  When it ends it is started again; the
last picture stays until the next one is complete.
"""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from controller.commands import SetForwarding
from controller.events import (
    Event,
    ForwardingSet,
    KernelChanged,
    KernelFact,
    KernelKey,
    KernelLost,
    KernelSynced,
)
from controller.sources.netlink_forwarding import Programmer
from controller.sources.netlink_shaping import Shaping
from controller.text import safe
from flows.view import (
    NO_TUNNEL,
    Address,
    AddressKey,
    Link,
    LinkKey,
    Namespace,
    NamespaceKey,
    Neighbor,
    NeighborKey,
    Router,
    RouterKey,
    Shaper,
    ShaperKey,
    Tunnel,
)

TABLES = "link,addr,neigh,netconf,nsid,tc"
READ_SIZE = 64 * 1024  # octets; some 300 rows, then other threads have their turn
LINE_MAX = 1024 * 1024  # octets; a link with 500 alternative names has 60 thousand
BACKOFF, BACKOFF_MAX = 0.1, 5.0  # seconds before the helper is started again
LOST_AFTER = 3  # starts without a picture
SILENCE_MAX = 30.0  # seconds without a line before the first picture is complete
END_TIMEOUT = 2.0  # seconds for the helper to end by itself
WHY_MAX = 2000  # octets of its standard error that are read

IFF_UP, IFF_LOWER_UP = 0x1, 0x10000  # linux/if.h
IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40  # linux/if_addr.h
AF_INET, AF_INET6 = 2, 10
NUD_PERMANENT, NTF_ROUTER = 0x80, 0x80  # linux/neighbour.h
NUD_NEWS = 0x02 | 0x04 | 0x08 | 0x10 | NUD_PERMANENT  # REACHABLE to PROBE: has a lladdr
OCTETS = len("02:00:00:00:00:01")

# The helper needs the standard library, and this package behind it.
START = (
    "import sys; sys.path.append(sys.argv.pop(1)); "
    "from controller.netlink.helper import main; sys.exit(main())"
)
HERE = str(Path(__file__).resolve().parents[2])

Json = dict[str, Any]
Change = tuple[KernelKey, KernelFact | None]
Picture = dict[tuple[type, KernelKey], KernelFact]  # keys of two types may be equal
log = logging.getLogger("isat.netlink")


class Garbled(Exception):
    """What was read is not what the helper says."""


class Netlink:
    """Keeps a helper running and reports what it says, from a thread of its own.

    at     where a mirror listens that somebody else has started (`isat mirror
           --listen`); "" to start one, with the rights that this process has
    program  VXLAN devices that it may write to
    notes  what the helper cannot see, and which right it would need
    """

    def __init__(
        self,
        report: Callable[[Event], None],
        *,
        at: str = "",
        python: str = sys.executable,
        options: Sequence[str] = (),
        program: Sequence[str] = (),
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._ended: Counter[str] = Counter()  # what helpers counted that have ended
        self._counts: dict[str, int] = {}  # what this one counts
        self._at = at
        self._noted: set[str] = set()
        self._report = report
        self._command = (python, "-I", "-S", "-c", START, HERE, "--table", TABLES)
        self._options = (*options, *program_options(program))
        self._programmer = Programmer()
        self._stopping = threading.Event()
        self._ours: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="netlink", daemon=True)

    @property
    def counters(self) -> dict[str, int]:
        """Rows that audits had to correct, by table (a rising count is a mistake of
        ours), and messages that were missed, by cause; helpers that had to be started
        again."""
        return dict(self._ended + Counter(self._counts))

    def start(self) -> None:
        self._thread.start()

    def set_forwarding(self, command: SetForwarding) -> None:
        """ForwardingSet follows: of the last one, if several are told at once."""
        self._programmer.want(command)

    def stop(self) -> None:
        """The helper ends when it sees the end of its reader."""
        self._stopping.set()
        if self._ours is not None:
            with suppress(OSError):  # it has just ended by itself
                self._ours.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        failures, pause, said = 0, BACKOFF, ""
        while not self._stopping.is_set():
            session, began = Session(self._report, self._learn), time.monotonic()
            why = self._live(session)
            if self._stopping.is_set():
                return
            self._ended += Counter({**self._counts, "netlink helpers ended": 1})
            self._counts = {}
            failures = 1 if session.synced else failures + 1
            if time.monotonic() > began + BACKOFF_MAX:
                pause = BACKOFF
            if why != said:
                log.warning("the netlink helper ended: %s", safe(why))
            said = why
            if failures == LOST_AFTER:
                self._report(KernelLost(f"the netlink helper does not start: {why}"))
            self._stopping.wait(pause)
            pause = min(2 * pause, BACKOFF_MAX)

    def _learn(self, said: Json) -> None:
        """What the helper says of itself."""
        if "hello" in said:
            self.notes = ()  # another helper may have other rights
        elif "fdb" in said:
            self._report(forwarding_set(said["fdb"]))
            self._programmer.go_on(said["fdb"]["heard"])
        elif "note" in said:
            self._note(said["note"])
        elif "audit" in said:
            self._count("netlink rows corrected", said["audit"])
        elif "dirty" in said:
            self._count("netlink losses", said["losses"])
            log.info("the netlink helper reads all again: %s", safe(said["dirty"]))

    def _note(self, text: str) -> None:
        if text not in self.notes:  # each once, and again after a reset
            self.notes += (text,)
        if text not in self._noted:
            self._noted.add(text)
            log.info("%s", safe(text))

    def _count(self, what: str, counts: dict[str, int]) -> None:
        self._counts |= {f"{what}: {name}": n for name, n in counts.items()}

    def _live(self, session: Session) -> str:
        """One helper from its beginning to its end; why it ended."""
        try:
            return self._join(session) if self._at else self._beget(session)
        except OSError as error:  # no room for a file, no descriptor left
            return str(error)

    def _join(self, session: Session) -> str:
        """A mirror that somebody else has started."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
            ours.setblocking(False)  # or we wait until there is room for us
            try:
                ours.connect(self._at)
            except OSError as error:
                return f"{self._at!a}: {error.strerror}"
            self._ours = ours
            why = self._listen(ours, session)
            self._ours = None
        return why or f"{self._at!a}: it has ended"

    def _beget(self, session: Session) -> str:
        with tempfile.TemporaryFile() as stderr:
            ours, theirs = socket.socketpair()
            with ours:
                try:
                    helper = self._spawn(theirs, stderr.fileno())
                finally:
                    theirs.close()
                self._ours = ours
                why = self._listen(ours, session)
                self._ours = None
            code = end(helper)
            return why or last_words(stderr) or f"it returned {code}"

    def _spawn(self, theirs: socket.socket, stderr: int) -> subprocess.Popen[bytes]:
        fd = theirs.fileno()
        return subprocess.Popen(
            (*self._command, "--fd", str(fd), *self._options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            pass_fds=(fd,),
        )

    def _listen(self, ours: socket.socket, session: Session) -> str:
        """Read to the end; "" unless it is us who end it."""
        try:
            while not self._stopping.is_set():
                ours.settimeout(None if session.synced else SILENCE_MAX)
                data = ours.recv(READ_SIZE)
                if not data:
                    break
                session.hear(data)
                if session.synced:
                    self._programmer.begin(ours)
                time.sleep(0)
        except TimeoutError:
            return f"it said nothing for {SILENCE_MAX:.0f} s"
        except (OSError, Garbled) as error:
            return str(error)
        finally:
            self._programmer.end()
        return ""


def program_options(devices: Sequence[str]) -> tuple[str, ...]:
    return (f"--program={','.join(devices)}",) if devices else ()


def forwarding_set(said: Json) -> ForwardingSet:
    done = said["done"]
    return ForwardingSet(
        said["device"],
        said["wanted"],
        said["right"],
        added=done.get("add", 0),
        moved=done.get("move", 0),
        removed=done.get("remove", 0),
        problem=said["problem"],
    )


def end(helper: subprocess.Popen[bytes]) -> int:
    """Wait for a helper whose reader has gone."""
    try:
        return helper.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        helper.kill()
        return helper.wait()


def last_words(stderr: Any) -> str:
    """The last line of a traceback says what went wrong."""
    size = stderr.seek(0, 2)
    stderr.seek(max(0, size - WHY_MAX))
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


class Session:
    """What one helper says, from its first line to its last."""

    def __init__(
        self, report: Callable[[Event], None], learn: Callable[[Json], None]
    ) -> None:
        self.synced = False
        self._report = report
        self._learn = learn
        self._rest = b""
        self._picture: Picture | None = {}  # None when complete
        self._addresses: dict[AddressKey, dict[tuple[int, str], Address]] = {}
        self._shaping: dict[ShaperKey, Shaping] = {}

    def hear(self, data: bytes) -> None:
        """The changes of one read are one event."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_MAX:
            raise Garbled(f"a line of more than {LINE_MAX} octets")
        changes: list[Change] = []
        try:
            for line in lines:
                self._line(json.loads(line), changes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Garbled(f"not a line of ours: {error!r}") from error
        if changes:
            self._report(KernelChanged(tuple(changes)))

    def _line(self, said: Any, changes: list[Change]) -> None:
        if "op" in said:
            for key, fact in self._changes(said):
                if self._picture is None:
                    changes.append((key, fact))
                elif fact is None:
                    self._picture.pop((type(key), key), None)
                else:
                    self._picture[type(key), key] = fact
        elif "sync" in said:
            self._sync()
        elif "reset" in said:
            changes.clear()
            self._picture = {}
            self._addresses.clear()
            self._shaping.clear()
        elif isinstance(said, dict):
            self._learn(said)
        else:
            raise TypeError("not an object")

    def _sync(self) -> None:
        """The first one completes a picture; later ones confirm what was said."""
        if self._picture is not None:
            picture, self._picture = self._picture, None
            self.synced = True
            self._report(KernelSynced(tuple(picture.values())))

    def _changes(self, said: Json) -> Iterator[Change]:
        key, value = said["key"], said.get("value")
        if said["table"] == "link":
            yield link_change(key, value)
        elif said["table"] == "nsid":
            nsid = NamespaceKey(key["nsid"])
            yield nsid, None if value is None else Namespace(*nsid, value["name"])
        elif said["table"] == "addr":
            yield self._address_change(key, value)
        elif said["table"] == "neigh":
            yield from neighbor_change(key, value)
        elif said["table"] == "netconf":
            yield from router_change(key, value)
        elif said["table"] == "tc":
            yield from self._shaper_change(key, value)

    def _address_change(self, key: Json, value: Json | None) -> Change:
        """The kernel may hold an address twice, with other prefixes or peers: it is
        there until the last of them goes."""
        ip = ip_address(key["local"])
        place = AddressKey(key["nsid"], key["ifa_index"], ip)
        variant = (key["ifa_prefixlen"], key["address"])
        rows = self._addresses.setdefault(place, {})
        if value is None:
            rows.pop(variant, None)
        else:
            unusable = value["ifa_flags"] & (IFA_F_TENTATIVE | IFA_F_DADFAILED)
            rows[variant] = Address(*place, key["ifa_prefixlen"], not unusable)
        if rows:
            return place, max(rows.values(), key=lambda row: row.usable)
        del self._addresses[place]
        return place, None

    def _shaper_change(self, key: Json, value: Json | None) -> Iterator[Change]:
        """Several rows make a rate, and most of them are of something else."""
        place = ShaperKey(key["nsid"], key["tcm_ifindex"])
        shaping = self._shaping.setdefault(place, Shaping())
        before = shaping.rate
        shaping.put(key["tcm_handle"], value)
        if shaping.rate != before:
            yield place, Shaper(*place, shaping.rate) if shaping.rate else None
        if not shaping:
            del self._shaping[place]


def link_change(key: Json, value: Json | None) -> Change:
    place = LinkKey(key["nsid"], key["ifi_index"])
    if value is None:
        return place, None
    address, holder = value.get("address", ""), value.get("holder", {})
    info = value.get("info", {})
    return place, Link(
        nsid=place.nsid,
        ifindex=place.ifindex,
        ifname=value["ifname"],
        kind=value.get("kind", ""),
        lladdr=address if len(address) == OCTETS else "",
        up=bool(value["ifi_flags"] & IFF_UP),
        lower_up=bool(value["ifi_flags"] & IFF_LOWER_UP),
        peer=value.get("link", 0),
        peer_nsid=value.get("link_netnsid"),
        master=value.get("master", 0),
        holder=holder_text(holder),
        guest_lladdr=holder.get("guest_mac", ""),
        tunnel=tunnel_of(info) if value.get("kind") == "vxlan" else NO_TUNNEL,
        filters_vlans=bool(info.get("vlan_filtering")),
    )


def holder_text(holder: Json) -> str:
    """The process behind a tap."""
    return f"{holder['command']}[{holder['pid']}]" if holder else ""


def tunnel_of(info: Json) -> Tunnel:
    return Tunnel(
        local=info.get("local") or info.get("local6") or "",
        remote=info.get("group") or info.get("group6") or "",
        key=str(info.get("id", 0)),
        port=info.get("port", 0),
    )


def neighbor_change(key: Json, value: Json | None) -> Iterator[Change]:
    """Proxy entries are about us, and entries for groups about nobody."""
    if key.get("proxy") or key["ndm_family"] not in (AF_INET, AF_INET6):
        return
    place = NeighborKey(key["nsid"], key["ndm_ifindex"], ip_address(key["dst"]))
    if place.ip.is_multicast:
        return
    yield place, None if value is None else neighbor(place, value)


def router_change(key: Json, value: Json | None) -> Iterator[Change]:
    """IPv6 of real interfaces; others stand for all, and for those to come."""
    if key["family"] == AF_INET6 and key["ifindex"] > 0:
        place = RouterKey(key["nsid"], key["ifindex"])
        forwards = value is not None and bool(value.get("forwarding"))
        yield place, None if value is None else Router(*place, forwards)


def neighbor(place: NeighborKey, value: Json) -> Neighbor | None:
    """None while the kernel does not know where the neighbor is, or no longer."""
    lladdr, state = value.get("lladdr", ""), value["ndm_state"]
    if len(lladdr) != OCTETS or not state & NUD_NEWS:
        return None
    router = bool(value.get("ndm_flags", 0) & NTF_ROUTER)
    return Neighbor(*place, lladdr, bool(state & NUD_PERMANENT), router)
