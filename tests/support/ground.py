"""A random network of real bridges, hosts at them, and a controller that knows all.

All hosts talk from here, on the processors that the switches and the controller need.
The switches have the niceness that ovs-ctl gives them, and the controller has the same,
as docs/how-to/adopt-a-bridge.md advises for busy hosts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from controller.cli.client import ask
from flows.document import from_json
from flows.view import PortKey, View
from tests.bench.fixture import Kernel, ip_batch, named
from tests.contracts.test_end_to_end import SOON, Controller
from tests.support.frames import arp
from tests.support.ovs import NICENESS, PrivateOvs
from tests.support.plant import FAR, NEAR
from tests.support.wait import wait_until
from tests.support.wild import Wild
from tests.support.wires import SILENT, Wire

CONFIG = "bridges: {{{names}}}\nsources: {{ovsdb: '{remote}'}}\nloops: false\n"


@dataclass(frozen=True, slots=True)
class Host:
    """is_shown  the kernel shows it: else it has to speak"""

    number: int
    at: PortKey
    is_shown: bool

    @property
    def lladdr(self) -> str:
        return f"02:00:00:00:00:{self.number:02x}"

    @property
    def ip(self) -> str:
        return f"10.0.0.{self.number}"

    @property
    def end_lladdr(self) -> str:
        """Of the interface at the end of its cable."""
        return self.lladdr if self.is_shown else f"0a:00:00:00:00:{self.number:02x}"

    @property
    def link_local(self) -> str:
        """RFC 4291, appendix A; its kernel has it, if there is one."""
        return f"fe80::ff:fe00:{self.number:x}"

    @property
    def port(self) -> str:
        return f"w{self.number}"


def bridge(n: int) -> str:
    return f"br{n}"


def hosts_of(shape: Wild) -> Iterator[Host]:
    """Every other one is shown by the kernel."""
    seen: Counter[int] = Counter()
    for number, switch in enumerate(shape.hosts, 1):
        seen[switch] += 1
        yield Host(number, PortKey(switch, seen[switch]), number % 2 == 1)


class Ground:
    """Bridges, cables and hosts have the numbers that `shape` says.

    cut  numbers of the cables that are down
    far  the other end of each end of a cable
    """

    def __init__(self, ovs: PrivateOvs, shape: Wild) -> None:
        self.ovs, self.shape, self.cut = ovs, shape, {*shape.islands}
        self.hosts = [*hosts_of(shape)]
        self.far: dict[PortKey, PortKey] = {}
        for n, (a, b) in enumerate(shape.cables):
            one, other = PortKey(a, NEAR + n), PortKey(b, FAR + n)
            self.far |= {one: other, other: one}
        self.numbers = range(1, shape.switches + 1)
        self._add_bridges()
        self._add_interfaces()
        self._plug()
        self.wires = {
            host: Wire(self.namespace(host), self.interface(host), host.at.port_no)
            for host in self.hosts
        }
        self.kernel = Kernel(named(ovs.namespace))
        names = "".join(f"{bridge(n)}: {{}}, " for n in self.numbers)
        text = CONFIG.format(names=names, remote=ovs.remote)
        self.controller = Controller(ovs, text, niceness=NICENESS)

    def _add_bridges(self) -> None:
        words: list[str] = []
        for n in self.numbers:
            identity = f"other-config:datapath-id={n:016x}"
            settings = ("datapath_type=netdev", "fail_mode=secure", identity)
            words += ["--", "add-br", bridge(n), "--"]
            words += ["set", "bridge", bridge(n), *settings]
        self.ovs.vsctl(*words)

    def _add_interfaces(self) -> None:
        """Those who have to speak are in one namespace, whose kernel is silent."""
        far = f"{self.ovs.namespace}-far"
        self.ovs.add_namespace(far)
        here, there = "", ""
        for host in self.hosts:
            name, end = host.port, self.interface(host)
            space = self.namespace(host)
            if host.is_shown:
                self.ovs.add_namespace(space)
            far_end = f"name {end} address {host.end_lladdr} netns {space}"
            here += f"link add {name} type veth peer {far_end}\n"
            here += SILENT.format(name)
            there += "" if host.is_shown else SILENT.format(end)
        for n in range(len(self.shape.cables)):
            one, other = self.ends(n)
            here += f"link add {one} type veth peer name {other}\n"
            here += SILENT.format(other)
            here += f"link set {one} addrgenmode none arp off\n"
            here += "" if n in self.cut else f"link set {one} up\n"
        ip_batch(self.ovs.namespace, here)
        ip_batch(far, there)
        for host in self.hosts:
            if host.is_shown:
                up = f"address add {host.ip}/24 dev eth0\nlink set eth0 up\n"
                ip_batch(self.namespace(host), up)

    def _plug(self) -> None:
        words: list[str] = []
        plugged = [(host.at, host.port) for host in self.hosts]
        for n in range(len(self.shape.cables)):
            a, b = self.shape.cables[n]
            one, other = self.ends(n)
            plugged += [(PortKey(a, NEAR + n), one), (PortKey(b, FAR + n), other)]
        for at, name in plugged:
            words += ["--", "add-port", bridge(at.datapath_id), name, "--", "set"]
            words += ["interface", name, f"ofport_request={at.port_no}"]
        self.ovs.vsctl(*words)

    def namespace(self, host: Host) -> str:
        return f"{self.ovs.namespace}-{host.port if host.is_shown else 'far'}"

    def interface(self, host: Host) -> str:
        return "eth0" if host.is_shown else host.port

    def ends(self, cable: int) -> tuple[str, str]:
        return f"c{cable}-a", f"c{cable}-b"

    def __enter__(self) -> Self:
        self.controller.start()
        wait_until(self.knows_everybody, within=SOON, why="all to be known")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for wire in self.wires.values():
            wire.close()
        self.kernel.close()

    def knows_everybody(self) -> bool:
        known = {row["lladdr"] for row in self.ask("hosts") if row["answered"]}
        missing = [host for host in self.hosts if host.lladdr not in known]
        for host in missing:
            if not host.is_shown:
                self.announce(host)
        return not missing

    def announce(self, host: Host) -> None:
        self.wires[host].send(arp(sha=host.lladdr, spa=host.ip, tpa=host.ip))

    def ask(self, question: str) -> Any:
        return ask(self.controller.socket, question)

    def view(self) -> View:
        return from_json(self.ask("view"))

    def turn(self, cable: int) -> None:
        """It fails, or works again, when this returns."""
        self.cut ^= {cable}
        self.kernel.set_up(self.ends(cable)[0], cable not in self.cut)

    def passed(self) -> int:
        """Frames that have passed cables, in both directions."""
        ends = [
            f"/sys/class/net/{self.ends(n)[0]}/statistics/{way}_packets"
            for n in range(len(self.shape.cables))
            for way in ("tx", "rx")
        ]
        return sum(map(int, self.ovs.run("cat", *ends).stdout.split()))
