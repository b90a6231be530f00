"""Those who watch a switch from outside; what they say has the time of one clock."""

from __future__ import annotations

import json
import re
import select
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from controller.netlink import rtnl
from controller.netlink.rtnl.link import IFF_LOWER_UP, IFF_UP, RTM_DELLINK
from flows.pipeline import TABLE_IDS
from tests.bench.fixture import link_events, named
from tests.bench.stage import PATIENCE, ROOT, end
from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until

STILL = 50  # questions without an answer that count as the end of answers


@dataclass(frozen=True, slots=True)
class Said:
    """at     seconds on CLOCK_MONOTONIC
    about  an address, or an interface
    """

    at: float
    what: str
    about: str


class Heard:
    """What somebody has said so far, in order; another thread may add to it."""

    def __init__(self) -> None:
        self.said: list[Said] = []

    def find(self, what: str, about: str, since: float) -> Said | None:
        """The first one of its kind since a moment."""
        found = None
        for said in reversed(self.said):
            if said.at < since:
                break
            if (said.what, said.about) == (what, about):
                found = said
        return found

    def wait(self, what: str, about: str, since: float) -> Said:
        found = wait_until(
            lambda: self.find(what, about, since),
            within=PATIENCE,
            why=f"{about} to be {what}",
        )
        assert found is not None
        return found


class Witness(Heard, ABC):
    """A process whose lines are read by a thread of ours as they come."""

    def __init__(self, command: Sequence[str], env: dict[str, str] | None = None):
        super().__init__()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=ROOT, text=True, bufsize=1, env=env,
        )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._orders, self._lines = self._process.stdin, self._process.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._lines:
            self.hear(line, time.monotonic())

    @abstractmethod
    def hear(self, line: str, now: float) -> None:
        """One line, and when it came."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
        self._reader.join(PATIENCE)
        self._orders.close()
        self._lines.close()


class Asker(Witness):
    """tests/bench/asker.py in a host: "asked" and "answered"."""

    def __init__(
        self, inside: Sequence[str], interface: str, ip: str, mac: str
    ) -> None:
        words = ("setpriv", "--pdeathsig", "KILL", sys.executable)
        super().__init__(
            (*inside, *words, "-m", "tests.bench.asker", interface, ip, mac)
        )

    def hear(self, line: str, now: float) -> None:
        what, at, *ip = line.split()
        self.said.append(Said(float(at), what, " ".join(ip)))

    def ask_for(self, ip: str) -> None:
        self._orders.write(f"{ip}\n")

    def answers(self, ip: str, since: float) -> list[float]:
        return [s.at for s in self.said
                if (s.what, s.about) == ("answered", ip) and s.at >= since]  # fmt: skip

    def wait_for_silence(self, ip: str, since: float) -> None:
        """Until so many questions after a moment, and after the last answer."""

        def is_silent() -> bool:
            last = max([since, *self.answers(ip, since)])
            asked = [s for s in self.said[-4 * STILL :] if s.what == "asked"]
            return sum(s.at > last for s in asked) >= STILL

        wait_until(is_silent, within=PATIENCE, why=f"no answer for {ip}")


class FlowMonitor(Witness):
    """`ovs-ofctl monitor` of the table that answers ARP: "ADDED" and "DELETED".

    Open vSwitch tells of a flow when it has changed its table; the time is when its
    line was read here.
    """

    EVENT = re.compile(
        r"event=(ADDED|DELETED) .*cookie=(0x\w+) .*arp_tpa=([\d.]+),arp_op=1\b"
    )

    def __init__(self, ovs: PrivateOvs, bridge: str) -> None:
        self.cookies: dict[str, str] = {}  # of the last flow told of, by address
        self._watches = threading.Event()
        inside = ("ip", "netns", "exec", ovs.namespace)
        bound = ("setpriv", "--pdeathsig", "KILL")
        watch = ("monitor", bridge, f"watch:table={TABLE_IDS['arp']},!initial")
        super().__init__(
            (*inside, *bound, "ovs-ofctl", "-OOpenFlow13", *watch), env=ovs.environment
        )

    def __enter__(self) -> Self:
        """What has changed before the switch has taken the order is not told."""
        why = "the switch to say that it is watched"
        wait_until(self._watches.is_set, within=PATIENCE, why=why)
        return self

    def hear(self, line: str, now: float) -> None:
        if "FLOW_MONITOR reply" in line:
            self._watches.set()
        event = self.EVENT.search(line)
        if event and "in_port" not in line:
            self.cookies[event[3]] = event[2]
            self.said.append(Said(now, event[1], event[3]))


class Listener(Heard, ABC):
    """A socket that is read by a thread of ours."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.socket = sock
        self._ending, ending = socket.socketpair()
        self._reader = threading.Thread(target=self._read, args=(ending,), daemon=True)
        self._reader.start()

    def _read(self, ending: socket.socket) -> None:
        with ending:
            while ending not in select.select([self.socket, ending], [], [])[0]:
                self.hear(self.socket.recv(1 << 16), time.monotonic())

    @abstractmethod
    def hear(self, octets: bytes, now: float) -> None:
        """One datagram, and when it came."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()
        self._reader.join(PATIENCE)
        self.socket.close()


class Links(Listener):
    """rtnetlink's messages about links: "admin down", "link up", "deleted", ..."""

    def __init__(self, ovs: PrivateOvs) -> None:
        super().__init__(link_events(named(ovs.namespace)))

    def hear(self, octets: bytes, now: float) -> None:
        for message in rtnl.messages(octets):
            value = rtnl.decode(message)
            if isinstance(value, rtnl.Record) and value.table == "link":
                name = value.row.ifname
                self.said += (Said(now, what, name) for what in news(message, value))


def news(message: rtnl.Message, link: rtnl.Record) -> tuple[str, ...]:
    if message.type == RTM_DELLINK:
        return ("deleted",)
    flags = link.row.ifi_flags
    admin = "admin up" if flags & IFF_UP else "admin down"
    return admin, "link up" if flags & IFF_LOWER_UP else "link down"


class Database(Listener):
    """The rows of OVSDB's Interface table, told by the server (RFC 7047, 4.1.5, 4.1.6).

    "admin up", "link down", ... of each row that changed, and "error" for one that has
    lost its interface.
    """

    COLUMNS = ("name", "admin_state", "link_state", "error")
    _rest = ""

    def __init__(self, ovs: PrivateOvs) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(str(ovs.db_socket))
        columns = {"Interface": {"columns": self.COLUMNS}}
        request = {"method": "monitor", "id": 1,
                   "params": ["Open_vSwitch", None, columns]}  # fmt: skip
        sock.sendall(json.dumps(request).encode())
        super().__init__(sock)

    def hear(self, octets: bytes, now: float) -> None:
        """Objects one after the other, in pieces of any size."""
        self._rest += octets.decode()
        while self._rest:
            try:
                message, length = json.JSONDecoder().raw_decode(self._rest)
            except ValueError:  # the rest of it follows
                return
            self._rest = self._rest[length:]
            self._take(message, now)

    def _take(self, message: Any, now: float) -> None:
        if message.get("method") == "echo":
            reply = {"result": message["params"], "id": message["id"], "error": None}
            self.socket.sendall(json.dumps(reply).encode())
        if message.get("method") != "update":
            return
        for change in message["params"][1].get("Interface", {}).values():
            row = change.get("new")
            if row is not None:
                self.said += (Said(now, what, row["name"]) for what in states(row))


def states(row: dict[str, Any]) -> Iterator[str]:
    """An optional column is a string, or an empty set: RFC 7047, 5.1."""
    for what in ("admin", "link"):
        if isinstance(state := row[f"{what}_state"], str):
            yield f"{what} {state}"
    if isinstance(row["error"], str):
        yield "error"
