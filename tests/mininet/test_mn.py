"""Every network starts with Debian's `mn --custom`, and its hosts reach each other."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.ovs import PrivateOvs
from topologies import linear

pytestmark = [pytest.mark.root, pytest.mark.ovs, pytest.mark.mininet]

HERE = Path(linear.__file__).parent


@pytest.fixture(scope="module")
def gentle(ovs: PrivateOvs) -> Path:
    """If `mn` fails it kills every ryu-manager of this machine; not from a test."""
    custom = ovs.directory / "gentle.py"
    custom.write_text("cleanup = lambda: None\n")
    return custom


def mn(
    ovs: PrivateOvs, gentle: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    return ovs.run("mn", "--custom", str(gentle), *options, check=False)


@pytest.mark.parametrize("name", ["tutorial", "single", "linear", "tree"])
def test_all_hosts_and_taps_reach_each_other_through_learning_switches(
    name: str, ovs: PrivateOvs, gentle: Path
) -> None:
    custom = ("--custom", f"{HERE}/{name}.py", "--topo", name)
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")

    done = mn(ovs, gentle, *custom, *switch, "--test", "pingall")

    assert "*** Results: 0% dropped" in done.stderr + done.stdout
    assert done.returncode == 0
    assert ovs.vsctl("list-br") == ""


@pytest.mark.parametrize(
    "name", ["tutorial", "single", "linear", "tree", "two_islands"]
)
def test_it_starts_with_the_options_of_the_documentation(
    name: str, ovs: PrivateOvs, gentle: Path
) -> None:
    custom = ("--custom", f"{HERE}/{name}.py", "--topo", name)
    switch = ("--switch", "ovs,protocols=OpenFlow13,datapath=user")

    done = mn(ovs, gentle, *custom, *switch, "--controller", "remote", "--test", "none")

    assert "*** Done" in done.stderr + done.stdout
    assert done.returncode == 0


def test_the_network_is_found_beside_its_file_from_a_relative_path(
    ovs: PrivateOvs, gentle: Path
) -> None:
    command = (
        f"cd {HERE} && mn --custom {gentle} --custom single.py --topo single "
        "--switch ovsbr,datapath=user --controller none --test none"
    )

    done = ovs.run("sh", "-c", command, check=False)

    assert "h1 h2 h3 h4" in done.stderr + done.stdout
    assert done.returncode == 0


def test_at_the_prompt_a_tap_pings_like_a_host(ovs: PrivateOvs, gentle: Path) -> None:
    script = ovs.directory / "lesson"
    script.write_text("tap0 ping -c1 tap1\n")
    custom = ("--custom", f"{HERE}/tutorial.py", "--topo", "tutorial")
    switch = ("--switch", "ovsbr,datapath=user", "--controller", "none")

    done = mn(ovs, gentle, *custom, *switch, "--test", "pingall", "--post", str(script))

    said = done.stderr + done.stdout
    assert "bytes from 10.0.0.2: icmp_seq=1" in said
    assert done.returncode == 0
