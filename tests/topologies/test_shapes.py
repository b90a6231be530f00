"""Shapes of any size: they are what their names say, and mn takes them by name."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from topologies import shapes
from topologies.network import End, Network, has_loop, islands

# shape, size, switches, hosts, cables
SIZES: tuple[tuple[Callable[..., Network], tuple[int, ...], int, int, int], ...] = (
    (shapes.ring, (3,), 3, 3, 3),
    (shapes.ring, (20,), 20, 20, 20),
    (shapes.mesh, (2,), 2, 2, 1),
    (shapes.mesh, (6,), 6, 6, 15),
    (shapes.row, (1,), 1, 1, 0),
    (shapes.row, (50,), 50, 50, 49),
    (shapes.tree, (1, 4), 1, 4, 0),
    (shapes.tree, (3, 3), 13, 27, 12),
    (shapes.fat_tree, (2,), 5, 2, 4),
    (shapes.fat_tree, (4,), 20, 16, 32),
    (shapes.islands, (3,), 6, 6, 6),
)
IDS = [f"{row[0].__name__}-{'x'.join(map(str, row[1]))}" for row in SIZES]
LOOPS = {"ring", "mesh", "fat_tree", "islands"}


def ends(network: Network, switch: str) -> list[int]:
    """The ports of a switch that something is plugged into."""
    used = [station.at for station in network.stations]
    used += [end for link in network.links for end in link]
    return sorted(end.port for end in used if end.switch == switch)


@pytest.mark.parametrize(
    ("shape", "size", "switches", "hosts", "cables"), SIZES, ids=IDS
)
def test_a_shape_has_as_many_nodes_and_cables_as_its_name_says(
    shape: Callable[..., Network],
    size: tuple[int, ...],
    switches: int,
    hosts: int,
    cables: int,
) -> None:
    network = shape(*size)

    assert network.name == shape.__name__
    assert len(network.switches) == switches
    assert len(network.hosts) == hosts
    assert len(network.links) == cables
    assert len(islands(network)) == (2 if network.name == "islands" else 1)
    if cables > 4:
        assert has_loop(network) == (network.name in LOOPS)


@pytest.mark.parametrize("network", [row[0](*row[1]) for row in SIZES], ids=IDS)
def test_ports_of_a_switch_have_no_gap_and_hosts_come_first(network: Network) -> None:
    for switch in network.switches:
        used = ends(network, switch.name)
        assert used == list(range(1, len(used) + 1))
    for host in network.hosts:
        mine = [h.at.port for h in network.hosts if h.at.switch == host.at.switch]
        assert mine == list(range(1, len(mine) + 1))


def test_every_switch_of_a_fat_tree_uses_k_ports() -> None:
    network = shapes.fat_tree(4)
    assert {len(ends(network, switch.name)) for switch in network.switches} == {4}


def test_no_two_pods_of_a_fat_tree_are_joined_but_from_above() -> None:
    above = {"s1", "s2", "s3", "s4"}
    without = replace(
        shapes.fat_tree(4),
        links=tuple(
            link for link in shapes.fat_tree(4).links if link.one.switch not in above
        ),
    )
    assert Counter(map(len, islands(without))) == {1: 4, 4: 4}


def test_hosts_of_a_tree_are_below_its_lowest_switches() -> None:
    places = [host.at.switch for host in shapes.tree(2, 3).hosts]
    assert places == ["s2"] * 3 + ["s3"] * 3 + ["s4"] * 3


def test_bridges_join_two_islands_at_free_ports_into_one_network_with_a_loop() -> None:
    apart = shapes.islands(3)
    joined = replace(apart, links=apart.links + shapes.bridges(3))
    assert shapes.bridges(3)[0] == (End("s1", 4), End("s4", 4))
    assert len(islands(joined)) == 1
    assert len(joined.links) == len(joined.switches) + 2


def test_many_hosts_get_addresses_of_a_larger_subnet() -> None:
    network = shapes.mesh(2)
    assert (network.prefixlen, network.hosts[1].ip) == (24, "10.0.0.2")
    network = shapes.ring(300)
    assert (network.prefixlen, network.hosts[-1].ip) == (16, "10.0.1.44")
    assert network.hosts[-1].mac == "02:00:00:00:01:2c"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda: shapes.ring(2), "ring: 2 switches; write a whole number from 3 on"),
        (lambda: shapes.mesh(1), "mesh: 1 switches; write a whole number from 2 on"),
        (lambda: shapes.row(0), "row: 0 switches; write a whole number from 1 on"),
        (lambda: shapes.tree(0, 2), "tree: 0 levels; write a whole number from 1 on"),
        (lambda: shapes.tree(2, 0), "tree: 0 branches; write a whole number"),
        (lambda: shapes.fat_tree(3), "fat_tree,3: half of .* lead up: use 4"),
        (lambda: shapes.islands(2), "islands: 2 switches each; write a whole number"),
        (lambda: shapes.tree(2, 1000), "1000000 hosts; there is room for 65534"),
    ],
)
def test_a_size_that_makes_no_such_shape_is_refused(
    wrong: Callable[[], Network], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        wrong()


def test_mn_can_read_the_file_from_any_directory(tmp_path: Path) -> None:
    """`mn --custom` executes the text, and knows no more than the file's name."""
    file = str(Path(shapes.__file__))
    read = (
        "customs = {}; "
        f"exec(compile(open({file!r}).read(), {file!r}, 'exec'), customs, customs); "
        "print(sorted(customs['topos']))"
    )
    done = subprocess.run(
        (sys.executable, "-I", "-c", read),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    names = sorted(shape.__name__ for shape in shapes.SHAPES)
    assert (done.stdout, done.stderr) == (f"{names}\n", "")
