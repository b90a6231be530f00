"""What Mininet makes of a network.  The only module that imports Mininet.

Debian's Mininet lives in the system's Python, so nothing of the controller does this:
`mn --custom` comes here through the `topos` of a network's file, and everybody else
through emulation.py, which runs this module as a process:

    /usr/bin/python3 -m topologies.mn

It reads one JSON line, what to build; answers with a line of process identifiers; then
answers every further line, the first of which may be to start the switches; and takes
the network down when its standard input ends.  So a network does not outlive whoever
wanted it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from mininet.link import Intf, Link, TCIntf
from mininet.log import error, setLogLevel
from mininet.net import Mininet
from mininet.node import Host, OVSSwitch, RemoteController
from mininet.topo import Topo
from mininet.util import quietRun, specialClass

from topologies.network import End, Network, from_json
from topologies.network import Link as Cable

TAPHOST = Path(__file__).with_name("taphost.py")
STOP_LIMIT = 5.0  # seconds that a tap's process may take to end

# mypy sees no types in Mininet.
# mypy: disable-error-code="misc, no-untyped-call"


class NetworkTopo(Topo):
    """A network in Mininet's own terms, for `mn --topo` and for `Mininet(topo=...)`."""

    def build(self, network: Network, port_mark: str = "") -> None:
        """port_mark: see `build` below."""
        self.port_mark, self.marked = port_mark, 0
        for switch in network.switches:
            self.addSwitch(switch.name, dpid=f"{switch.dpid:x}")
        for host in network.hosts:
            ip = f"{host.ip}/{network.prefixlen}"
            self.addHost(
                host.name, cls=QuietHost, ip=ip, mac=host.mac, ipv6=network.ipv6
            )
            self.plug(host.name, host.at, cls2=SwitchPort, **self.marks("addr2"))
        for tap in network.taps:
            self.addHost(tap.name, cls=TapNode, ip=tap.ip, mac=tap.mac)
            self.plug(tap.name, tap.at, cls=TapLink)
        for one, other in network.links:
            ends = {"cls1": SwitchPort, "cls2": SwitchPort}
            ends.update(self.marks("addr1", "addr2"))
            self.addLink(one.switch, other.switch, one.port, other.port, **ends)

    def marks(self, *ends: str) -> dict[str, Any]:
        """The hardware addresses of these ends of a cable."""
        first, self.marked = self.marked, self.marked + len(ends)
        if not self.port_mark:
            return {}
        return {
            end: f"{self.port_mark}:{number:02x}"
            for number, end in enumerate(ends, start=first)
        }

    def plug(self, station: str, at: End, **options: Any) -> None:
        self.addLink(station, at.switch, port1=0, port2=at.port, **options)


# --- nodes ----------------------------------------------------------------------


class QuietHost(Host):
    """A host that says nothing by itself, and whose TCP works on every datapath."""

    def startShell(self, *args: Any, **options: Any) -> None:
        super().startShell(*args, **options)
        if not self.params.get("ipv6"):
            # Before there is an interface: MLD and ND would be the first to speak.
            names = ("all", "default")
            off = " ".join(f"net.ipv6.conf.{name}.disable_ipv6=1" for name in names)
            self.cmd("sysctl -qw", off)

    def config(self, **params: Any) -> Any:
        result = super().config(**params)
        for intf in self.intfList():
            if _through_userspace(intf):
                self.checksum_in_software(intf)
        return result

    def checksum_in_software(self, intf: Intf) -> None:
        """Nobody computes checksums between a veth and the userspace datapath."""
        said = self.cmd("ethtool -K", intf, "tx off")
        if "not found" in said:
            error(f"*** {self}: TCP will not work: apt-get install ethtool\n")


def _through_userspace(intf: Intf) -> bool:
    nodes = (intf.link.intf1.node, intf.link.intf2.node) if intf.link else ()
    return any(getattr(node, "datapath", "") == "user" for node in nodes)


class TapNode(Host):
    """A shell beside the process of a tap; `ping` in it is asked of that process."""

    def __init__(self, name: str, **params: Any) -> None:
        super().__init__(name, inNamespace=False, **params)
        self.process = subprocess.Popen(
            (*self.taphost, params["ip"], params["mac"], "--until-eof"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for Mininet
        )
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            error(f"*** {name} has no process: see above\n")
        self.cmd(f'ping() {{ {" ".join(self.taphost)} ping "$@"; }}')

    @property
    def taphost(self) -> tuple[str, ...]:
        return (sys.executable, str(TAPHOST), self.name)

    def config(self, **_params: Any) -> dict[str, Any]:
        """Its addresses are told to the process; the shell's namespace has others."""
        return {}

    def IP(self, intf: Intf | None = None) -> str:
        return str(self.params["ip"])

    def MAC(self, intf: Intf | None = None) -> str:
        return str(self.params["mac"])

    def terminate(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_LIMIT)
        super().terminate()


class MarkedSwitch(OVSSwitch):
    """A bridge that says whose it is."""

    def __init__(
        self,
        name: str,
        external_ids: dict[str, str],
        settings: dict[str, str],
        **params: Any,
    ) -> None:
        super().__init__(name, **params)
        self.settings = {
            **settings,
            **{f"external_ids:{key}": it for key, it in external_ids.items()},
        }

    def bridgeOpts(self) -> str:
        given = (f" {column}={value}" for column, value in self.settings.items())
        return str(super().bridgeOpts()) + "".join(given)


class Target(RemoteController):
    """An address for the switches; whoever listens there, or will, is no concern."""

    def checkListening(self) -> None:
        pass


# --- interfaces -------------------------------------------------------------------


class SwitchPort(TCIntf):
    """The switch's end of a cable: a port and no host, so its kernel must be silent."""

    is_configured = False

    def config(self, **limits: Any) -> Any:
        """Mininet asks for it again when the switch has it, since Open vSwitch may have
        taken limits away; without limits that is a process or two for nothing, at each
        port, while the switches connect."""
        if self.is_configured and not limits:
            return {}
        self.is_configured = True
        switch = Path(f"/proc/sys/net/ipv6/conf/{self.name}/disable_ipv6")
        if switch.exists():
            switch.write_text("1")
        return super().config(**limits)


class FarEnd(Intf):
    """The process's end of a tap: a file descriptor, which nobody can configure."""

    def config(self, **_params: Any) -> dict[str, Any]:
        return {}

    def IP(self) -> str:
        return str(self.node.IP())

    def MAC(self) -> str:
        return str(self.node.MAC())

    updateIP, updateMAC = IP, MAC  # at Mininet's prompt a name becomes an address

    def status(self) -> str:
        return "OK" if self.node.process.poll() is None else "MISSING"


class TapLink(Link):
    """A tap, which its process has made already, plugged into a switch."""

    def __init__(
        self, node1: TapNode, node2: OVSSwitch, port1: int, port2: int, **_options: Any
    ) -> None:
        self.intf1 = FarEnd(node1.name, node=node1, port=port1, link=self)
        self.intf2 = SwitchPort(node1.name, node=node2, port=port2, link=self)

    def delete(self) -> None:
        """The interface goes when its process does."""
        for intf in (self.intf1, self.intf2):
            intf.node.delIntf(intf)


# --- for `mn`, when it is interrupted -----------------------------------------------


def remove(network: Network) -> None:
    """Bridges and cables by their names, which `mn` took without asking, too.

    Hosts and taps go with their processes, and these with `mn`.
    """
    for switch in network.switches:
        quietRun(f"ovs-vsctl --timeout=20 --if-exists del-br {switch.name}")
    for one, _other in (link.port_interfaces for link in network.links):
        quietRun(f"ip link delete {one}")


# --- for other programs: a network without the command mn ----------------------


class Refused(Exception):
    """What cannot be built, in one line."""


def build(
    network: Network,
    *,
    controller: str = "",
    datapath: str = "kernel",
    fail_mode: str = "secure",
    external_ids: dict[str, str] | None = None,
    settings: dict[str, str] | None = None,
    port_mark: str = "",
) -> Mininet:
    """A network that is not there yet.

    controller    "127.0.0.1:6653", or "" for none
    datapath      "kernel" or "user"
    external_ids  put on every bridge
    settings      of every bridge, in words of OVSDB: {"rstp_enable": "true"}
    port_mark     the first five octets of the hardware addresses of the switches' ends
                  of cables, which are so marked from the moment they exist; else random
    """
    refuse_taken_names(network)
    # Mininet's own initialization raises limits of the whole machine for good.
    Mininet.inited = True
    switch = {
        "failMode": fail_mode,
        "datapath": datapath,
        "protocols": "OpenFlow13",
        "external_ids": external_ids or {},
        "settings": settings or {},
    }
    mininet = Mininet(
        topo=NetworkTopo(network, port_mark),
        switch=specialClass(MarkedSwitch, defaults=switch),
        controller=None,
        build=False,
    )
    if controller:
        ip, port = controller.rsplit(":", 1)
        mininet.addController("c0", Target, ip=ip, port=int(port))
    return mininet


def refuse_taken_names(network: Network) -> None:
    """Mininet deletes a bridge whose name it wants."""
    there = bridges().union(path.name for path in LINKS.iterdir())
    if taken := sorted(there.intersection(network.interfaces)):
        raise Refused(f"there are interfaces of these names already: {' '.join(taken)}")


def bridges() -> set[str]:
    """The names of those that Open vSwitch has."""
    listed = subprocess.run(
        ("ovs-vsctl", "--timeout=10", "list-br"), capture_output=True, text=True
    )
    if listed.returncode != 0:
        raise Refused(f"Open vSwitch does not answer: {listed.stderr.strip()}")
    return set(listed.stdout.split())


LINKS = Path("/sys/class/net")


def make(mininet: Mininet) -> dict[str, Any]:
    """Its nodes and cables, and who is who; the switches are not there yet."""
    mininet.build()
    taps = [node for node in mininet.hosts if isinstance(node, TapNode)]
    if dead := [node.name for node in taps if node.process.poll() is not None]:
        raise Refused(f"these taps have no process: {' '.join(dead)}")
    return {
        "pids": {node.name: node.pid for node in mininet.hosts + mininet.switches},
        "holders": {node.name: node.process.pid for node in taps},
    }


def start(mininet: Mininet) -> dict[str, Any]:
    """The switches; Mininet itself would not notice a failure."""
    mininet.start()
    there = bridges()
    if absent := [node.name for node in mininet.switches if node.name not in there]:
        raise Refused(f"Open vSwitch has not made {' '.join(absent)}")
    return {"started": True}


def plug(mininet: Mininet, cables: list[Cable]) -> dict[str, Any]:
    """Between switches that are there, at ports that are free; Open vSwitch is told of
    all ends at once, and has them when this returns."""
    ends = {"cls1": SwitchPort, "cls2": SwitchPort}
    added = [
        mininet.addLink(
            one.switch, other.switch, one.port, other.port,
            **ends, **mininet.topo.marks("addr1", "addr2"),
        )
        for one, other in cables
    ]  # fmt: skip
    words = [
        f"-- add-port {intf.node} {intf}{intf.node.intfOpts(intf)}"
        for link in added
        for intf in (link.intf1, link.intf2)
    ]
    done = subprocess.run(
        ("ovs-vsctl", "--timeout=30", *" ".join(words).split()),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Refused(f"Open vSwitch has not taken the cables: {done.stderr.strip()}")
    return {"plugged": len(added)}


def obey(mininet: Mininet, order: dict[str, Any]) -> dict[str, Any]:
    """One request: start the switches, plug in cables, a command in the shell of a
    node, or a ping of all by all."""
    if "start" in order:
        return start(mininet)
    if "plug" in order:
        return plug(mininet, [Cable(*(End(*end) for end in c)) for c in order["plug"]])
    if "node" in order:
        return {"output": mininet[order["node"]].cmd(order["command"])}
    return {"lost": mininet.pingAll(timeout=order["pingall"])}


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def main() -> int:
    setLogLevel("warning")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    order = json.loads(sys.stdin.readline())
    try:
        mininet = build(from_json(json.dumps(order.pop("network"))), **order)
    except Refused as refused:
        say({"refused": str(refused)})
        return 1
    try:
        say(make(mininet))
        for line in sys.stdin:
            say(obey(mininet, json.loads(line)))
    except Exception as problem:
        say({"refused": str(problem)})
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        mininet.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
