"""Every network starts with Debian's `mn --custom`, and its hosts reach each other."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.ovs import PrivateOvs
from tests.support.wait import wait_until
from topologies import linear

pytestmark = [pytest.mark.root, pytest.mark.ovs, pytest.mark.mininet]

HERE = Path(linear.__file__).parent


def mn(ovs: PrivateOvs, *options: str) -> subprocess.CompletedProcess[str]:
    return ovs.run("mn", *options, check=False)


@pytest.mark.parametrize("name", ["tutorial", "single", "linear", "tree"])
def test_all_hosts_and_taps_reach_each_other_through_learning_switches(
    name: str, ovs: PrivateOvs
) -> None:
    custom = ("--custom", f"{HERE}/{name}.py", "--topo", name)
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")

    done = mn(ovs, *custom, *switch, "--test", "pingall")

    assert "*** Results: 0% dropped" in done.stderr + done.stdout
    assert done.returncode == 0
    assert ovs.vsctl("list-br") == ""


@pytest.mark.parametrize(
    "name", ["tutorial", "single", "linear", "tree", "two_islands"]
)
def test_it_starts_with_the_options_of_the_documentation(
    name: str, ovs: PrivateOvs
) -> None:
    custom = ("--custom", f"{HERE}/{name}.py", "--topo", name)
    switch = ("--switch", "ovs,protocols=OpenFlow13,datapath=user")

    done = mn(ovs, *custom, *switch, "--controller", "remote", "--test", "none")

    assert "*** Done" in done.stderr + done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("size", ["row,3", "tree,2,2"])
def test_a_shape_has_the_size_that_mn_is_told(size: str, ovs: PrivateOvs) -> None:
    custom = ("--custom", f"{HERE}/shapes.py", "--topo", size)
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")

    done = mn(ovs, *custom, *switch, "--test", "pingall")

    said = done.stderr + done.stdout
    assert "Adding switches:\ns1 s2 s3 \n" in said
    assert "*** Results: 0% dropped" in said
    assert done.returncode == 0
    assert ovs.vsctl("list-br") == ""


def test_a_size_that_makes_no_shape_is_refused_with_what_to_write(
    ovs: PrivateOvs,
) -> None:
    done = mn(ovs, "--custom", f"{HERE}/shapes.py", "--topo", "ring,2")

    assert "ring: 2 switches; write a whole number from 3 on" in (
        done.stderr + done.stdout
    )
    assert ovs.vsctl("list-br") == ""


def test_cables_can_be_limited_by_mininets_own_option(ovs: PrivateOvs) -> None:
    script = ovs.directory / "transfer"
    transfer = "iperf -c 10.0.0.6 -t 1 2>/dev/null | grep Mbits"
    script.write_text(
        "h6 iperf -s -P 1 >/dev/null &\n"
        f"h1 until {transfer}; do sleep 0.1; done\n"
        "h6 wait\n"
    )
    custom = ("--custom", f"{HERE}/linear.py", "--topo", "linear")
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")
    link = ("--link", "tc,bw=10")

    done = mn(ovs, *custom, *switch, *link, "--test", "none", "--post", str(script))

    speed = re.search(r"([\d.]+) Mbits/sec", done.stderr + done.stdout)
    assert speed is not None and float(speed[1]) < 20
    assert done.returncode == 0


def test_hosts_speak_ipv6_if_mn_is_told_so(ovs: PrivateOvs) -> None:
    script = ovs.directory / "addresses"
    script.write_text("h1 ip -6 -brief address show dev h1-eth0\n")
    custom = ("--custom", f"{HERE}/single.py", "--topo", "single,ipv6=1")
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")

    done = mn(ovs, *custom, *switch, "--test", "none", "--post", str(script))

    assert "fe80::ff:fe00:1/64" in done.stderr + done.stdout
    assert done.returncode == 0


def test_the_network_is_found_beside_its_file_from_a_relative_path(
    ovs: PrivateOvs,
) -> None:
    command = (
        f"cd {HERE} && mn --custom single.py --topo single "
        "--switch ovsbr,datapath=user --controller none --test none"
    )

    done = ovs.run("sh", "-c", command, check=False)

    assert "h1 h2 h3 h4" in done.stderr + done.stdout
    assert done.returncode == 0


def test_an_interrupted_mn_removes_its_own_network_and_nothing_else(
    ovs: PrivateOvs, tmp_path: Path
) -> None:
    """Mininet's own cleanup would kill whatever is called ryu-manager."""
    bystander = tmp_path / "ryu-manager"
    shutil.copy("/bin/sleep", bystander)
    ovs.add_bridge("s9")
    custom = ("--custom", f"{HERE}/linear.py", "--topo", "linear")
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")
    inside = ("ip", "netns", "exec", ovs.namespace)
    with (
        subprocess.Popen((bystander, "600")) as ryu,
        subprocess.Popen(
            (*inside, "mn", *custom, *switch, "--test", "pingall"),
            env=ovs.environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as interrupted,
    ):
        assert interrupted.stderr is not None
        while "Ping: testing" not in interrupted.stderr.readline():
            assert interrupted.poll() is None
        interrupted.send_signal(signal.SIGINT)
        interrupted.communicate(timeout=60)
        still_there = ryu.poll() is None
        ryu.kill()
    bridges = ovs.vsctl("list-br")
    ovs.vsctl("del-br", "s9")

    assert still_there
    assert bridges == "s9"
    wait_until(  # the kernel takes a dead namespace down when it has time
        lambda: not re.search(r"-eth\d|tap\d", ovs.run("ip", "-br", "link").stdout),
        within=20,
    )


def test_at_the_prompt_a_tap_pings_like_a_host(ovs: PrivateOvs) -> None:
    script = ovs.directory / "lesson"
    script.write_text("tap0 ping -c1 tap1\n")
    custom = ("--custom", f"{HERE}/tutorial.py", "--topo", "tutorial")
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")

    done = mn(ovs, *custom, *switch, "--test", "pingall", "--post", str(script))

    said = done.stderr + done.stdout
    assert "bytes from 10.0.0.2: icmp_seq=1" in said
    assert done.returncode == 0
