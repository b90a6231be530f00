"""A network in a process of its own: what is asked for is there, and goes again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from topologies import linear, single, tutorial, two_islands
from topologies.emulation import ROOT, NotEmulated
from topologies.network import End, Link

pytestmark = [pytest.mark.root, pytest.mark.ovs, pytest.mark.mininet]


def interfaces(ovs: PrivateOvs) -> set[str]:
    """The names in the namespace of Open vSwitch, lo apart."""
    listed = json.loads(ovs.run("ip", "-json", "link").stdout)
    return {link["ifname"] for link in listed} - {"lo", "ovs-netdev"}


def test_ports_and_addresses_are_those_of_the_value(
    ovs: PrivateOvs, emulated: Any
) -> None:
    with emulated(linear.NETWORK, fail_mode="standalone") as running:
        for station in linear.NETWORK.stations:
            port = ovs.vsctl("get", "interface", station.port_interface, "ofport")
            assert int(port) == station.at.port
        for host in linear.NETWORK.hosts:
            [link] = json.loads(
                running.run(
                    host.name, "ip", "-json", "address", "show", host.interface
                ).stdout
            )
            assert link["address"] == host.mac
            assert [
                (address["local"], address["prefixlen"])
                for address in link["addr_info"]
            ] == [(host.ip, 24)]
        for switch in linear.NETWORK.switches:
            dpid = ovs.vsctl("get", "bridge", switch.name, "datapath_id")
            assert int(dpid.strip('"'), 16) == switch.dpid


def test_two_islands_do_not_reach_each_other(emulated: Any) -> None:
    with emulated(two_islands.NETWORK, fail_mode="standalone") as running:
        assert running.run("h1", "ping", "-c1", "10.0.0.2").returncode == 0
        neighbors = running.run("h1", "ip", "neigh").stdout
        assert two_islands.NETWORK.station("h2").mac in neighbors
        assert two_islands.NETWORK.station("h4").mac not in neighbors


def test_tcp_works_through_the_userspace_datapath(emulated: Any) -> None:
    with emulated(linear.NETWORK, fail_mode="standalone") as running:
        running.command("h6", "iperf -s -P 1 >/dev/null &")  # for one client
        transfer = ("iperf", "-c", "10.0.0.6", "-n", "200K", "-y", "C")
        wait_until(
            lambda: running.run("h1", *transfer).stdout.strip(),
            within=20,
            why="iperf to transfer 200 kB",
        )


def test_nobody_speaks_before_somebody_is_asked(ovs: PrivateOvs, emulated: Any) -> None:
    with emulated(replace(linear.NETWORK, taps=()), fail_mode="standalone") as running:
        for host in linear.NETWORK.hosts:
            sent = running.run(
                host.name,
                "cat",
                f"/sys/class/net/{host.interface}/statistics/tx_packets",
            )
            assert sent.stdout == "0\n"


def test_hosts_speak_ipv6_when_the_network_does(emulated: Any) -> None:
    with emulated(
        replace(linear.NETWORK, ipv6=True), fail_mode="standalone"
    ) as running:
        addresses = running.run("h1", "ip", "-6", "address").stdout
        assert "fe80::ff:fe00:1/64" in addresses


def test_a_tap_answers_arp_and_ping_through_a_bridge_and_can_ask(emulated: Any) -> None:
    with emulated(linear.NETWORK, fail_mode="standalone") as running:
        assert running.run("h1", "ping", "-c2", "-i0.2", "10.0.0.8").returncode == 0
        assert (
            linear.NETWORK.station("tap2").mac
            in running.run("h1", "ip", "neigh").stdout
        )
        asked = running.command("tap1", "ping -c1 10.0.0.8")
        assert "1 packets transmitted, 1 received" in asked


def test_all_reach_all(emulated: Any) -> None:
    with emulated(linear.NETWORK, fail_mode="standalone") as running:
        assert running.pingall() == 0.0


def test_bridges_bear_marks_and_point_to_the_controller(
    ovs: PrivateOvs, emulated: Any
) -> None:
    options = {"controller": "127.0.0.1:6699", "external_ids": {"mark": "x1"}}
    with emulated(tutorial.NETWORK, **options):
        assert ovs.vsctl("get", "bridge", "s1", "external_ids:mark") == "x1"
        assert ovs.vsctl("get-controller", "s1") == "tcp:127.0.0.1:6699"
        assert ovs.vsctl("get-fail-mode", "s1") == "secure"


def test_the_switches_ends_of_cables_bear_marks(ovs: PrivateOvs, emulated: Any) -> None:
    with emulated(linear.NETWORK, port_mark="06:aa:bb:cc:dd"):
        links = json.loads(ovs.run("ip", "-json", "link").stdout)
        marked = {link["ifname"] for link in links if "06:aa:bb:cc:dd" in str(link)}
        hosts = {host.port_interface for host in linear.NETWORK.hosts}
        cables = {
            name for pair in linear.NETWORK.links for name in pair.port_interfaces
        }
        assert marked == hosts | cables


def test_bridges_have_the_settings_that_are_asked_for(
    ovs: PrivateOvs, emulated: Any
) -> None:
    with emulated(tutorial.NETWORK, settings={"rstp_enable": "true"}):
        assert ovs.vsctl("get", "bridge", "s1", "rstp_enable") == "true"


def test_hosts_are_there_before_the_switches_if_these_are_to_wait(
    ovs: PrivateOvs, emulated: Any
) -> None:
    with emulated(single.NETWORK, fail_mode="standalone", started=False) as running:
        assert ovs.vsctl("list-br") == ""
        assert running.run("h1", "ip", "link", "show", "h1-eth0").returncode == 0

        running.start()

        assert running.run("h1", "ping", "-c1", "10.0.0.2").returncode == 0


def test_cables_can_be_plugged_in_while_it_runs(ovs: PrivateOvs, emulated: Any) -> None:
    h1, h4 = two_islands.NETWORK.hosts[0], two_islands.NETWORK.hosts[3]
    network = replace(two_islands.NETWORK, hosts=(h1, replace(h4, ip="10.0.0.4")))
    before = interfaces(ovs)
    with emulated(network, fail_mode="standalone") as running:
        assert running.run("h1", "ping", "-c1", "-W1", "10.0.0.4").returncode == 1

        running.plug(Link(End("s1", 2), End("s2", 1)))

        assert ovs.vsctl("get", "interface", "s1-eth2", "ofport") == "2"
        assert running.run("h1", "ping", "-c1", "10.0.0.4").returncode == 0

        with pytest.raises(NotEmulated, match="s1-eth2"):
            running.plug(Link(End("s1", 2), End("s2", 3)))

    assert interfaces(ovs) == before


def test_nothing_stays_behind(ovs: PrivateOvs, emulated: Any) -> None:
    before = interfaces(ovs)
    with emulated(linear.NETWORK) as running:
        pids = [*running.pids.values(), *running.holders.values()]
        assert interfaces(ovs) == before | set(linear.NETWORK.interfaces)

    assert interfaces(ovs) == before
    assert ovs.vsctl("list-br") == ""
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_the_network_goes_with_the_process_that_wanted_it(ovs: PrivateOvs) -> None:
    """Nobody says goodbye: Mininet's standard input ends."""
    program = (
        "from topologies import single\n"
        "from topologies.emulation import Emulation\n"
        "with Emulation(single.NETWORK, datapath='user') as running:\n"
        "    print(running.pid, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        ("ip", "netns", "exec", ovs.namespace, sys.executable, "-c", program),
        cwd=ROOT,
        env=ovs.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as wanting:
        assert wanting.stdout is not None
        mininet = int(wanting.stdout.readline())
        assert ovs.vsctl("list-br") == "s1"
        wanting.kill()

    wait_until(lambda: not Path(f"/proc/{mininet}").exists(), within=20)
    assert ovs.vsctl("list-br") == ""
    assert interfaces(ovs) == set()


def test_names_that_are_taken_are_refused_and_left_alone(
    ovs: PrivateOvs, emulated: Any
) -> None:
    ovs.add_bridge("s2")
    try:
        with pytest.raises(NotEmulated, match="of these names already: s2"):
            emulated(linear.NETWORK).__enter__()
        assert ovs.vsctl("list-br") == "s2"
        assert interfaces(ovs) == {"s2"}
    finally:
        ovs.vsctl("del-br", "s2")


def test_a_python_without_mininet_is_told(emulated: Any, tmp_path: Path) -> None:
    running = emulated(tutorial.NETWORK)
    running._environment["PYTHONPATH"] = str(tmp_path)
    (tmp_path / "mininet.py").write_text("raise ImportError('no Mininet here')\n")

    with pytest.raises(NotEmulated, match="no Mininet here"):
        running.__enter__()


def test_a_tap_whose_process_dies_is_told_by_the_kernel(
    ovs: PrivateOvs, emulated: Any
) -> None:
    with emulated(tutorial.NETWORK, fail_mode="standalone") as running:
        os.kill(running.holders["tap1"], signal.SIGKILL)
        wait_until(lambda: "tap1" not in interfaces(ovs))
        asked = running.command("tap0", "ping -c1 -W0.3 10.0.0.2")
        assert "0 received" in asked
