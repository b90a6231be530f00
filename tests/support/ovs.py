"""A private Open vSwitch in a network namespace of its own, for one test.

    with PrivateOvs() as ovs:
        ovs.add_bridge("br0", "fail_mode=secure")
        h1 = ovs.add_host("h1", "br0", "10.0.0.1/24", "02:00:00:00:00:01", ofport=1)
        controller = ovs.start("ryu-manager", "--ofp-listen-host", "127.0.0.1", ...)
        ovs.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653")
        ovs.run_in(h1.namespace, "ping", "-c1", "10.0.0.2")

Nothing of it is shared with the system's Open vSwitch: database, sockets and logs live
in a directory of their own, bridges and ports in a namespace of their own, where every
TCP port is free.  A namespace is named after the process that made it ("iov<pid>..."),
so whatever a killed test left is recognised and removed when the next one starts.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.wait import wait_until

PREFIX = "iov"
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NICENESS = -10  # ovs-ctl(8), --ovs-vswitchd-priority
PROGRAMS = ("ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ip", "ethtool", "setpriv")
COMMAND_LIMIT = 60.0  # seconds that one command may take
START_LIMIT = 20.0  # seconds that a daemon may take until it answers

_numbers = itertools.count()


class CommandFailed(AssertionError):
    """A command that must succeed did not; says which one and what it printed."""


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace with one interface, `eth0`, whose other end is a port of a bridge.

    port       name of the port, in the namespace of Open vSwitch
    ip         with its prefix length, as "10.0.0.1/24"; "" if the host has no address
    """

    name: str
    namespace: str
    port: str
    ip: str
    mac: str


def why_not() -> str:
    """What is missing to run a private Open vSwitch here, or ""."""
    if os.geteuid() != 0:
        return "not root: namespaces and Open vSwitch need it"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    if missing:
        return (
            f"not installed: {', '.join(missing)} (apt-get install openvswitch-switch)"
        )
    return "" if SCHEMA.exists() else f"{SCHEMA} does not exist"


class PrivateOvs:
    """ovsdb-server and ovs-vswitchd, begun and ended with the `with` statement."""

    def __init__(self) -> None:
        self.namespace = f"{PREFIX}{os.getpid()}n{next(_numbers)}"
        self.directory = Path()
        self._namespaces: list[str] = []
        self._children: list[subprocess.Popen[bytes]] = []
        self._ovsdb: subprocess.Popen[bytes] | None = None
        self._vswitchd: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        remove_leftovers()
        self.directory = Path(tempfile.mkdtemp(prefix=self.namespace + "-"))
        try:
            self.add_namespace(self.namespace)
            _must("ovsdb-tool", "create", str(self.database), str(SCHEMA))
            self.start_ovsdb()
            self.vsctl("--no-wait", "init")
            self.start_vswitchd()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    # --- where things are ----

    @property
    def db_socket(self) -> Path:
        return self.directory / "db.sock"

    @property
    def remote(self) -> str:
        """The database as Open vSwitch's programs name it."""
        return f"unix:{self.db_socket}"

    @property
    def database(self) -> Path:
        return self.directory / "conf.db"

    @property
    def unixctl(self) -> Path:
        return self.directory / "vswitchd.ctl"

    @property
    def environment(self) -> dict[str, str]:
        """Makes Open vSwitch's programs, a controller's included, use this instance."""
        here = str(self.directory)
        places = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
        return {**os.environ, "PATH": _path(), **dict.fromkeys(places, here)}

    # --- Open vSwitch's own programs ----

    def vsctl(self, *args: str) -> str:
        """ovs-vsctl; returns when ovs-vswitchd has done it (unless --no-wait)."""
        command = ("ovs-vsctl", "--timeout=30", f"--db={self.remote}", *args)
        return self.run(*command).stdout.rstrip("\n")

    def ofctl(self, *args: str) -> str:
        """ovs-ofctl with OpenFlow 1.3 and 1.4 allowed, as bundles need."""
        return self.run("ovs-ofctl", "-OOpenFlow13,OpenFlow14", *args).stdout

    def appctl(self, *args: str) -> str:
        return self.run("ovs-appctl", "-t", str(self.unixctl), *args).stdout

    # --- daemons ----

    def start_ovsdb(self) -> None:
        self._ovsdb = self._daemon(
            "ovsdb-server",
            str(self.database),
            f"--remote=p{self.remote}",
            f"--unixctl={self.directory / 'ovsdb.ctl'}",
        )
        wait_until(
            self._ovsdb_answers, within=START_LIMIT, why="ovsdb-server to answer"
        )

    def start_vswitchd(self) -> None:
        self._vswitchd = self._daemon(
            "ovs-vswitchd",
            self.remote,
            f"--unixctl={self.unixctl}",
            f"--pidfile={self.directory / 'ovs-vswitchd.pid'}",
            "--overwrite-pidfile",
        )
        wait_until(
            self._vswitchd_answers, within=START_LIMIT, why="ovs-vswitchd to answer"
        )

    def kill_ovsdb(self) -> None:
        """SIGKILL: what the switches hold stays, nobody can change or read settings."""
        _kill(self._ovsdb)

    def pause_ovsdb(self) -> None:
        """SIGSTOP: it lives, accepts connections, and answers nothing."""
        _signal(self._ovsdb, signal.SIGSTOP)

    def resume_ovsdb(self) -> None:
        _signal(self._ovsdb, signal.SIGCONT)

    def pause_vswitchd(self) -> None:
        """SIGSTOP: nothing is forwarded, and no OpenFlow message answered."""
        _signal(self._vswitchd, signal.SIGSTOP)

    def resume_vswitchd(self) -> None:
        _signal(self._vswitchd, signal.SIGCONT)

    def kill_vswitchd(self) -> None:
        """SIGKILL: with the userspace datapath nothing is forwarded from now on."""
        _kill(self._vswitchd)

    # --- bridges and hosts ----

    def add_bridge(self, name: str, *settings: str) -> None:
        """A bridge in the userspace datapath; settings as "fail_mode=secure"."""
        columns = ("datapath_type=netdev", *settings)
        self.vsctl("add-br", name, "--", "set", "bridge", name, *columns)

    def add_host(
        self,
        name: str,
        bridge: str,
        ip: str,
        mac: str,
        *,
        ofport: int | None = None,
    ) -> Host:
        """A host behind a veth.  The port is named as the host, and is up."""
        host = Host(name, f"{self.namespace}-{name}", name, ip, mac)
        self.add_namespace(host.namespace)
        self.add_veth(host)
        request = ("--", "set", "interface", name, f"ofport_request={ofport}")
        self.vsctl("add-port", bridge, name, *(request if ofport else ()))
        return host

    def add_veth(self, host: Host) -> None:
        """The host's cable; alone, it repeats what someone does who re-creates it."""
        self.run(
            *("ip", "link", "add", host.port, "type", "veth"),
            *("peer", "name", "eth0", "address", host.mac, "netns", host.namespace),
        )
        # Nobody computes checksums between a veth and the userspace datapath.
        self.run_in(host.namespace, "ethtool", "-K", "eth0", "tx", "off")
        if host.ip:
            self.run_in(host.namespace, "ip", "address", "add", host.ip, "dev", "eth0")
        self.run_in(host.namespace, "ip", "link", "set", "eth0", "up")
        self.run("ip", "link", "set", host.port, "up")

    def add_namespace(self, name: str) -> None:
        _must("ip", "netns", "add", name)
        self._namespaces.append(name)
        self.run_in(name, "ip", "link", "set", "lo", "up")

    # --- programs inside ----

    def run(
        self, *command: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program in the namespace of Open vSwitch."""
        return self.run_in(self.namespace, *command, check=check)

    def run_in(
        self, namespace: str, *command: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        inside = ("ip", "netns", "exec", namespace, *command)
        return _run(*inside, check=check, environment=self.environment)

    def start(
        self,
        *command: str,
        namespace: str | None = None,
        log: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a program inside; it ends with this Open vSwitch at the latest.

        namespace    that of Open vSwitch unless told
        log          its output goes to this file of `directory`, else "<program>.log"
        environment  variables besides `self.environment`
        """
        inside = ("ip", "netns", "exec", namespace or self.namespace)
        # A test that is killed must not leave daemons behind.
        bound = ("setpriv", "--pdeathsig", "KILL")
        name = log or f"{Path(command[0]).name}.log"
        with (self.directory / name).open("ab") as output:
            child = subprocess.Popen(
                (*inside, *bound, *command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**self.environment, **(environment or {})},
            )
        self._children.append(child)
        return child

    def log(self, name: str) -> str:
        """What a started program printed."""
        return (self.directory / name).read_text(errors="replace")

    def _daemon(self, *command: str) -> subprocess.Popen[bytes]:
        """At the niceness that ovs-ctl gives it."""
        child = self.start(*command, "--no-chdir", "-vconsole:info")
        os.setpriority(os.PRIO_PROCESS, child.pid, NICENESS)
        return child

    def _ovsdb_answers(self) -> bool:
        _must_live(self._ovsdb, self.directory / "ovsdb-server.log")
        asked = self.run("ovsdb-client", "list-dbs", self.remote, check=False)
        return asked.returncode == 0

    def _vswitchd_answers(self) -> bool:
        """It has read the database: what is configured there is really there."""
        _must_live(self._vswitchd, self.directory / "ovs-vswitchd.log")
        asked = self.run(
            *("ovs-vsctl", "--timeout=2", f"--db={self.remote}"),
            *("set", "Open_vSwitch", ".", f"external_ids:started={next(_numbers)}"),
            check=False,
        )
        return asked.returncode == 0

    def _end(self) -> None:
        for child in reversed(self._children):
            _kill(child)
        for namespace in reversed(self._namespaces):
            _run("ip", "netns", "delete", namespace, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def remove_leftovers() -> None:
    """Delete the namespaces and directories of tests whose process is gone."""
    for line in _run("ip", "netns", "list", check=False).stdout.splitlines():
        if _is_left(name := line.split(" ")[0]):
            _run("ip", "netns", "delete", name, check=False)
    for directory in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_left(directory.name):
            shutil.rmtree(directory, ignore_errors=True)


def _is_left(name: str) -> bool:
    match = re.match(rf"{PREFIX}(\d+)n\d", name)
    return match is not None and not Path(f"/proc/{match[1]}").exists()


def _run(
    *command: str,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=COMMAND_LIMIT,
        env=environment or {**os.environ, "PATH": _path()},
        check=False,
    )
    if check and done.returncode != 0:
        raise CommandFailed(
            f"{' '.join(command)}: exit status {done.returncode}\n"
            f"{done.stdout}{done.stderr}"
        )
    return done


def _must(*command: str) -> None:
    _run(*command)


def _must_live(child: subprocess.Popen[bytes] | None, log: Path) -> None:
    if child is not None and child.poll() is not None:
        said = log.read_text(errors="replace")
        raise CommandFailed(f"{log.stem} ended with {child.returncode}:\n{said}")


def _kill(child: subprocess.Popen[bytes] | None) -> None:
    """End a process that we started, by its pid, and wait until it is gone."""
    if child is not None and child.poll() is None:
        _signal(child, signal.SIGKILL)
        child.wait(COMMAND_LIMIT)


def _signal(child: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if child is not None:
        child.send_signal(number)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:{SEARCH_PATH}"
