"""Networks as values: they can be built, and are what their drawings show."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import ModuleType

import pytest

from topologies import linear, two_islands
from topologies.network import (
    End,
    Host,
    Link,
    Network,
    Switch,
    Tap,
    from_json,
    has_loop,
    islands,
    renamed,
    to_json,
)

HERE = Path(linear.__file__).parent
NAMES = ("tutorial", "single", "linear", "tree", "two_islands")


@pytest.fixture(params=NAMES)
def module(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"topologies.{request.param}")


@pytest.fixture
def network(module: ModuleType) -> Network:
    value = module.NETWORK
    assert isinstance(value, Network)
    return value


def test_every_file_that_defines_a_network_is_among_those_tested_here() -> None:
    defining = (
        path for path in HERE.glob("*.py") if "\nNETWORK = " in path.read_text()
    )
    assert sorted(path.stem for path in defining) == sorted(NAMES)


def test_a_network_is_named_as_its_file(module: ModuleType) -> None:
    assert module.__name__ == f"topologies.{module.NETWORK.name}"


def test_mininet_finds_a_network_under_its_name(module: ModuleType) -> None:
    assert list(module.topos) == [module.NETWORK.name]


def test_no_network_has_a_loop(network: Network) -> None:
    assert not has_loop(network)


def test_the_drawing_shows_every_node(module: ModuleType, network: Network) -> None:
    nodes = {node.name for node in (*network.switches, *network.stations)}
    drawn = set(re.findall(r"\b(?:h|s|tap)\d+\b", module.__doc__ or ""))
    assert drawn == nodes


def test_the_drawing_shows_every_port_number(
    module: ModuleType, network: Network
) -> None:
    numbers = {int(found) for found in re.findall(r"\b\d\b", module.__doc__ or "")}
    ports = {station.at.port for station in network.stations}
    ports.update(end.port for link in network.links for end in link)
    assert ports <= numbers


def test_addresses_are_unique_in_an_island(network: Network) -> None:
    for island in islands(network):
        here = [
            station.ip for station in network.stations if station.at.switch in island
        ]
        assert len(set(here)) == len(here)


def test_addresses_are_of_one_subnet_and_of_single_stations(network: Network) -> None:
    subnet = IPv4Network(f"10.0.0.0/{network.prefixlen}")
    for station in network.stations:
        assert IPv4Address(station.ip) in subnet
        assert int(station.mac[:2], 16) & 0b11 == 0b10  # local, not group: IEEE 802


def test_port_numbers_of_a_switch_have_no_gap(network: Network) -> None:
    for switch in network.switches:
        ends = [station.at for station in network.stations]
        ends += [end for link in network.links for end in link]
        used = sorted(end.port for end in ends if end.switch == switch.name)
        assert used == list(range(1, len(used) + 1))


def test_two_islands_use_the_same_addresses_and_share_no_link() -> None:
    assert islands(two_islands.NETWORK) == (frozenset({"s1"}), frozenset({"s2"}))
    addresses = [host.ip for host in two_islands.NETWORK.hosts]
    assert addresses == ["10.0.0.1", "10.0.0.2"] * 2


def test_a_ring_is_a_loop() -> None:
    ring = replace(
        linear.NETWORK,
        hosts=(),
        taps=(),
        links=(*linear.NETWORK.links, Link(End("s3", 1), End("s1", 1))),
    )
    assert has_loop(ring)


def test_a_network_survives_the_way_through_json(network: Network) -> None:
    assert from_json(to_json(network)) == network


def test_a_renamed_network_has_other_names_wherever_they_meet_the_machine(
    network: Network,
) -> None:
    other = renamed(network, "x-", first_dpid=100)

    assert not set(other.interfaces) & set(network.interfaces)
    assert all(name.startswith("x-") for name in other.interfaces)
    assert [switch.dpid for switch in other.switches][:1] == [100]
    assert [host.name for host in other.hosts] == [host.name for host in network.hosts]


S1 = Switch("s1", 1)
H1 = Host("h1", "10.0.0.1", "02:00:00:00:00:01", End("s1", 1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"switches": (S1, Switch("s1", 2))}, "two nodes are named s1"),
        ({"switches": (S1, Switch("s2", 1))}, "two switches have the dpid 1"),
        ({"hosts": (H1, replace(H1, name="h2", at=End("s1", 2)))}, "02:00:00:00:00:01"),
        (
            {"taps": (Tap("t", "10.0.0.2", "02:00:00:00:00:02", H1.at),)},
            "port 1 is taken",
        ),
        ({"links": (Link(End("s1", 2), End("s9", 1)),)}, "no switch s9"),
        (
            {"taps": (Tap("a-name-too-long1", "10.0.0.2", "02::2", End("s1", 2)),)},
            "exceeds 15 octets",
        ),
    ],
    ids=["name", "dpid", "mac", "port", "switch", "length"],
)
def test_what_cannot_be_built_is_refused(wrong: dict[str, object], said: str) -> None:
    fields: dict[str, object] = {
        "name": "n",
        "switches": (S1,),
        "hosts": (H1,),
        **wrong,
    }
    with pytest.raises(ValueError, match=said):
        Network(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_mn_can_read_the_file_from_any_directory(name: str, tmp_path: Path) -> None:
    """`mn --custom` executes the text, and knows no more than the file's name."""
    read = (
        "customs = {}; "
        f"exec(compile(open({str(HERE / name)!r} + '.py').read(), "
        f"{str(HERE / name)!r} + '.py', 'exec'), customs, customs); "
        "print(list(customs['topos']))"
    )
    done = subprocess.run(
        (sys.executable, "-I", "-c", read),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"['{name}']\n", "")
