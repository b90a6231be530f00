"""Who may import whom: the arrows of docs/explanation/how-it-works.md, checked."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"controller", "flows", "topologies"}
STDLIB = set(sys.stdlib_module_names) | {"__future__"}

LIBRARIES_OF = {  # each library is known to one module
    "controller/sources/openflow.py": {"ryu"},
    "controller/sources/openflow_channel.py": {"ryu"},  # Ryu's own, in better
    "controller/options.py": {"ryu", "oslo_config"},  # flags are Ryu's configuration
    "controller/sources/ovsdb.py": {"ovs"},
    "controller/config.py": {"yaml"},
    "controller/learn.py": {"immutables"},
    "topologies/mn.py": {"mininet"},
    "topologies/emulation.py": {"mininet"},
}
FLOWS_MAY = STDLIB | {"flows", "immutables"}
SIDE_EFFECTS = {"time", "socket", "select", "threading", "subprocess", "random", "os"}
PURE = [
    "flows",
    "controller/adoption.py",
    "controller/arrivals.py",
    "controller/attacks.py",
    "controller/channel.py",
    "controller/commands.py",
    "controller/conflicts.py",
    "controller/core.py",
    "controller/defence.py",
    "controller/eventlog.py",
    "controller/events.py",
    "controller/flapping.py",
    "controller/forwarding.py",
    "controller/fullness.py",
    "controller/heal.py",
    "controller/learn.py",
    "controller/liveness.py",
    "controller/memories.py",
    "controller/moves.py",
    "controller/overruns.py",
    "controller/packets.py",
    "controller/policy.py",
    "controller/prompt.py",
    "controller/replies.py",
    "controller/questions.py",
    "controller/waiting.py",
    "controller/reconcile.py",
    "controller/rivals.py",
    "controller/text.py",
]
RIM = {"controller.sources", "controller.northbound", "controller.cli"}
MAY_KNOW_THE_RIM = {"controller/app.py", "controller/runtime.py"}


def imports(path: Path) -> Iterator[str]:
    """Full names, as "controller.sources.netlink"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def libraries(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def modules(*roots: str) -> list[str]:
    paths = [ROOT / root for root in roots]
    files = [
        f for p in paths for f in ([p] if p.is_file() else sorted(p.rglob("*.py")))
    ]
    return [file.relative_to(ROOT).as_posix() for file in files]


def test_the_rules_speak_of_modules_that_exist() -> None:
    for name in [*LIBRARIES_OF, *PURE, *MAY_KNOW_THE_RIM]:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("name", modules("flows"))
def test_the_compiler_knows_the_standard_library_and_itself(name: str) -> None:
    assert libraries(ROOT / name) <= FLOWS_MAY


@pytest.mark.parametrize("name", modules("controller/netlink"))
def test_the_mirror_knows_the_standard_library_and_itself(name: str) -> None:
    others = {
        found for found in imports(ROOT / name) if found.startswith("controller.")
    }
    assert libraries(ROOT / name) <= STDLIB | {"controller"}
    assert {
        found for found in others if not found.startswith("controller.netlink")
    } <= {"controller.netlink"}


@pytest.mark.parametrize("name", modules("topologies"))
def test_topologies_know_nothing_of_the_controller(name: str) -> None:
    allowed = STDLIB | {"topologies"} | LIBRARIES_OF.get(name, set())
    assert libraries(ROOT / name) <= allowed


@pytest.mark.parametrize("name", modules(*PURE))
def test_the_core_has_no_clock_no_socket_and_no_chance(name: str) -> None:
    assert not libraries(ROOT / name) & SIDE_EFFECTS


@pytest.mark.parametrize("name", modules("controller"))
def test_each_library_is_known_to_one_module(name: str) -> None:
    third_party = libraries(ROOT / name) - STDLIB - OURS
    assert third_party <= LIBRARIES_OF.get(name, set())


@pytest.mark.parametrize("name", modules(*PURE))
def test_nothing_below_calls_above(name: str) -> None:
    above = {
        found
        for found in imports(ROOT / name)
        for rim in (*RIM, "controller.runtime", "controller.app")
        if found == rim or found.startswith(f"{rim}.")
    }
    assert not above


@pytest.mark.parametrize("name", modules("controller/sources"))
def test_sources_do_not_know_each_other(name: str) -> None:
    own_family = name.removesuffix(".py").replace("/", ".").partition("_")[0]
    siblings = {
        found
        for found in imports(ROOT / name)
        if found.startswith("controller.sources.") and name.startswith("controller")
    }
    helpers = {"controller.sources.vswitchd"}  # asks the same host's ovs-vswitchd
    assert all(
        any(found.startswith(known) for known in {own_family, *helpers})
        for found in siblings
    )


@pytest.mark.parametrize("name", modules("flows", "controller", "topologies"))
def test_every_module_says_in_its_first_line_what_it_does(name: str) -> None:
    text = (ROOT / name).read_text()
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), name
