"""What `isat` prints, and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from controller.cli.parser import COMMANDS
from controller.runtime import Runtime
from flows.compile import compile_flows
from flows.dispute import Kind, Said, contradiction
from flows.document import from_json, to_json
from flows.network import network
from flows.openflow import texts
from flows.pipeline import TABLE_IDS
from flows.trust import Mode
from flows.view import Namespace, NamespaceKey, Neighbor, PortKey, Station, View
from tests.cli.conftest import Isat
from tests.facts import H1, H2, S1, S2, cable, heard_host, ifindex, kernel_host, view_of
from tests.support.asked import small_lab

ISAT = (sys.executable, "-m", "controller.cli")
HEAVY = {"ryu", "eventlet", "ovs", "yaml", "immutables", "subprocess", "asyncio"}


def saved(view: View, path: Path) -> str:
    path.write_text(json.dumps(to_json(view)))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return saved(small_lab(), tmp_path / "lab.json")


# --- help, and a wrong command line -------------------------------------------------


def test_help_loads_nothing_that_takes_time() -> None:
    """150 ms is the promise; a list of modules does not depend on the machine."""
    look = (
        "import sys\n"
        "from controller.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        (sys.executable, "-c", look), capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}

    assert "argparse" in loaded
    assert not loaded & HEAVY


def test_help_names_every_command_and_every_exit_status(isat: Isat) -> None:
    said = isat("--help")

    assert said.status == 0
    for command in COMMANDS:
        assert re.search(rf"^    {command.name}\s", said.out, re.MULTILINE)
    for status in range(5):
        assert f"\n  {status}  " in said.out


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.name != "mirror"])
def test_every_command_has_its_own_help(isat: Isat, command: object) -> None:
    assert isat(command.name, "--help").status == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words",
    [("hots",), ("hosts", "--jason"), ("explain",), ("completion", "tcsh"), ()],
    ids=str,
)
def test_a_wrong_command_line_ends_with_2(isat: Isat, words: tuple[str, ...]) -> None:
    assert isat(*words).status == 2


# --- asking a controller --------------------------------------------------------------


def test_hosts_are_a_table_with_aligned_columns(isat: Isat, lab: Runtime) -> None:
    said = isat("hosts")

    assert said.status == 0
    assert said.rows[0][:3] == ["ADDRESS", "LLADDR", "VLAN"]
    assert said.rows[1][:8] == [
        *("10.0.0.1", H1, "-", "s1-eth1", "h0", "kernel", "confirmed", "now")
    ]
    assert said.rows[2][:2] == ["10.0.0.2", H2]
    starts = {line.index("02:00") for line in said.out.splitlines()[1:]}
    assert len(starts) == 1


def test_a_host_that_was_never_seen_has_no_port(isat: Isat, lab: Runtime) -> None:
    row = Neighbor(0, ifindex(S1, 1), ip_address("10.0.0.9"), "02:00:00:00:00:09")
    view = lab.core.view
    lab.core.view = replace(view, neighbors=view.neighbors.set(row.key, row))
    last = isat("hosts").rows[-1]
    assert last[:4] == ["10.0.0.9", row.lladdr, "-", "-"]
    assert "neighbor" in last


def test_ports_tell_what_they_lead_to(isat: Isat, lab: Runtime) -> None:
    assert "h0 h0-eth0" in isat("ports").out


def test_the_status_ends_with_warnings(isat: Isat, lab: Runtime) -> None:
    said = isat("status")

    assert "OpenFlow port 6653" in said.out
    assert said.out.splitlines()[-1].startswith("warning: 's1'")


@pytest.mark.parametrize("command", ["status", "hosts", "ports", "tree", "view"])
def test_what_prints_data_prints_json_for_programs(
    isat: Isat, lab: Runtime, command: str
) -> None:
    said = isat(command, "--json")

    assert said.status == 0
    assert said.json


def test_links_tell_both_ends_and_whether_broadcasts_take_them(
    isat: Isat, lab: Runtime
) -> None:
    lab.core.view = view_of(cable((S1, 1), (S2, 2)))
    lab.core.network = network(lab.core.view)
    assert isat("links").rows[1][:4] == ["s1-eth1", "s2-eth2", "veth", "yes"]
    [row] = isat("links", "--json").json
    assert row["broadcasts"] == "not yet"
    assert "s1-eth1 to s2-eth2: not yet" in isat("tree").out


def test_odd_octets_in_a_name_do_not_reach_the_terminal(
    isat: Isat, lab: Runtime
) -> None:
    odd = Namespace(0, "h0\x1b[31m\udcff\u202e")
    view = lab.core.view
    names = view.namespaces.set(NamespaceKey(0), odd)
    lab.core.view = replace(view, namespaces=names)

    assert r"h0\x1b[31m\udcff\u202e" in isat("hosts").out
    assert isat("hosts", "--json").json[0]["host"] == odd.name


ODD = "h0\x1b[31m\udcff\u202e\"'\\"


def odd(view: View) -> View:
    """The same view with every name odd."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return list(map(renamed, value))
        is_name = isinstance(value, str) and re.match(r"(s1|h0)\b", value)
        return value + ODD if is_name else value

    return from_json(renamed(to_json(view)))


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("status",), 0),
        (("hosts",), 0),
        (("ports",), 0),
        (("path", f"h0-eth0{ODD}", f"s1-eth2{ODD}"), 0),
        (("path", f"no{ODD}", f"s1-eth2{ODD}"), 1),
        (("why", "10.0.0.1", "--from", "10.0.0.2"), 0),
        (("why", "10.0.0.1", "--from", f"no{ODD}"), 1),
        (("explain", f"s1{ODD}", "-"), 0),
        (("explain", f"no{ODD}", "-"), 1),
        (("adopt", f"no{ODD}"), 1),
        (("flows", "--view", f"no{ODD}"), 4),
        (("check-config", f"no{ODD}"), 4),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
def test_whatever_is_called_oddly_no_output_is_odd(
    isat: Isat, lab: Runtime, words: tuple[str, ...], status: int
) -> None:
    lab.core.view = odd(lab.core.view)
    lab.core.network = network(lab.core.view)

    said = isat(*words, stdin=dump(lab.core.view))

    assert said.status == status
    assert r"\x1b[31m\udcff\u202e" in said.out + said.err
    assert all(c.isprintable() or c == "\n" for c in said.out + said.err)


def test_no_controller_ends_with_3_and_what_to_type(isat: Isat) -> None:
    said = isat("hosts")

    assert (said.status, said.out) == (3, "")
    assert "No such file or directory" in said.err
    assert "isat run" in said.err


def test_a_refusal_ends_with_1_and_its_hint(isat: Isat, lab: Runtime) -> None:
    said = isat("adopt", "br0")

    assert (said.status, said.out) == (1, "")
    assert said.err.startswith("isat: bridge 'br0': ")
    assert "sources.ovsdb" in said.err


# --- saved views ----------------------------------------------------------------------


def test_a_view_that_is_saved_compiles_to_what_the_switch_holds(
    isat: Isat, lab: Runtime, tmp_path: Path
) -> None:
    file = str(tmp_path / "saved.json")

    assert isat("view", "--save", file).status == 0
    said = isat("flows", "--view", file)

    assert said.out == texts(compile_flows(lab.core.view, S1).values())
    assert {path.name for path in tmp_path.iterdir()} == {"saved.json", "isat.sock"}


def test_a_view_can_come_from_standard_input(isat: Isat) -> None:
    said = isat("flows", "--view", "-", stdin=json.dumps(to_json(small_lab())))

    assert said.out == texts(compile_flows(small_lab(), S1).values())


@pytest.mark.parametrize("name", ["2", "s2", "0x2", "0000000000000002"])
def test_one_switch_of_several_is_chosen_by_name_or_number(
    isat: Isat, tmp_path: Path, name: str
) -> None:
    view = view_of(cable((S1, 1), (S2, 1)), heard_host(S2, 2, H2, "10.0.0.2"))
    said = isat(
        "flows", "--view", saved(view, tmp_path / "two.json"), "--datapath", name
    )

    assert said.out == texts(compile_flows(view, S2).values())


def test_a_switch_that_is_not_there_is_answered_by_those_that_are(
    isat: Isat, file: str
) -> None:
    said = isat("flows", "--view", file, "--datapath", "s9")

    assert said.status == 1
    assert "no switch 's9'" in said.err
    assert "there are: 1 s1" in said.err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("not json", "not JSON"),
        ("{}", "no 'isat_view' in it"),
        ('{"isat_view": 99}', "version 99"),
        ('{"isat_view": 1, "ports": 5}', "not a list"),
    ],
)
def test_a_file_that_is_no_view_ends_with_4(
    isat: Isat, tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "bad.json").write_text(text)

    said = isat("flows", "--view", str(tmp_path / "bad.json"))

    assert (said.status, said.out) == (4, "")
    assert problem in said.err


def test_a_reader_who_has_seen_enough_is_no_failure(file: str) -> None:
    many = " | ".join([f"{' '.join(ISAT)} flows --view {file}", "head -n1"])
    done = subprocess.run(
        ("bash", "-o", "pipefail", "-c", many),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cookie=0x15a7")


# --- paths --------------------------------------------------------------------------


@pytest.mark.usefixtures("lab")
def test_a_path_is_a_line_for_each_hop(isat: Isat) -> None:
    said = isat("path", "h0-eth0", "s1")

    assert said.status == 0
    assert [row[0] for row in said.rows] == ["INTERFACE", "h0-eth0", "s1-eth1", "s1"]
    assert "veth, port 1 of s1" in said.out
    assert isat("path", "h0-eth0", "s1", "--json").json["problem"] == ""


def test_a_path_can_be_looked_for_in_a_file(isat: Isat, file: str) -> None:
    assert isat("path", "h0-eth0", "s1", "--view", file).status == 0


def test_a_path_that_there_is_not_ends_with_1_and_says_where(
    isat: Isat, tmp_path: Path
) -> None:
    cut = saved(view_of(kernel_host(S1, 1, H1, up=False)), tmp_path / "cut.json")
    said = isat("path", "h0-eth0", "s1-eth1", "--view", cut)

    assert said.status == 1
    assert "no: it has no carrier" in said.out
    assert said.out.splitlines()[-1].startswith("the way ends at h0:h0-eth0")


def test_a_name_that_nobody_has_is_an_error_with_what_to_write(
    isat: Isat, file: str
) -> None:
    said = isat("path", "h0-eth7", "s1", "--view", file)

    assert (said.status, said.out) == (1, "")
    assert "interface 'h0-eth7'" in said.err and "h0:h0-eth0" in said.err


# --- why, and conflicts ---------------------------------------------------------------


def test_why_tells_the_evidence_the_flow_and_what_becomes_of_a_question(
    isat: Isat, lab: Runtime
) -> None:
    said = isat("why", "10.0.0.1", "--from", "10.0.0.2")

    assert said.status == 0
    first, because, answered, flow, asked, *met = said.out.splitlines()
    assert first == f"10.0.0.1 is at {H1}"
    assert because.startswith(f"  the kernel: h0-eth0 in h0 is {H1}")
    assert answered.startswith(f"  answered by s1, table {ARP} arp, cookie 0x15a7")
    assert "arp_tpa=10.0.0.1" in flow
    assert asked == (
        f"  asked from s1-eth2 by {H2} with 10.0.0.2:"
        f" the switch answers: 10.0.0.1 is at {H1}"
    )
    assert met[-1].strip().startswith(f"s1, table {ARP} arp: answer who has 10.0.0.1")


def test_why_is_answered_from_a_file_without_ages(isat: Isat, file: str) -> None:
    said = isat("why", "10.0.0.2", "--view", file)

    assert said.status == 0
    assert said.out.splitlines()[1] == f"  {H2} said so itself at s1-eth2"
    nobody = isat("why", "10.0.0.99", "--view", file, "--json").json
    assert nobody["held"][0]["why_not"] == "nobody is known to hold it"
    wrong = isat("why", "10.0.0.2", "--from", "h9", "--view", file)
    assert (wrong.status, "no such port" in wrong.err) == (1, True)


def test_rivals_for_an_address_are_conflicts_even_where_nobody_guards(
    isat: Isat, lab: Runtime
) -> None:
    rival = heard_host(S1, 2, H2, "10.0.0.1")[-1]
    assert isinstance(rival, Station)
    stations = lab.core.view.stations.set(rival.key, rival)
    lab.core.view = replace(lab.core.view, stations=stations)
    lab.core.network = network(lab.core.view)

    [row] = isat("conflicts", "--json").json
    assert (row["lladdr"], row["port"], row["ip"]) == (H2, "s1-eth2", "10.0.0.1")
    assert (row["against"]["lladdr"], row["against"]["origin"]) == (H1, "kernel")
    assert isat("conflicts").rows[1][:5] == ["rivals", H2, "s1-eth2", "10.0.0.1", H1]
    assert f"conflict: {H2} at s1-eth2 says that" in isat("why", "10.0.0.1").out


def test_what_a_guarded_port_has_met_is_told_with_its_counts(
    isat: Isat, lab: Runtime
) -> None:
    heard = Said(PortKey(S1, 2), 0, H2, Kind.REPLY, IPv4Address("10.0.0.1"))
    found = contradiction(lab.core.network, heard)
    assert found is not None
    now = time.monotonic()
    for _ in range(3):
        lab.core.conflicts.note(heard, found, Mode.ENFORCE, now - 9.0)
    assert isat("conflicts", "--json").json == []  # it may settle
    lab.core.conflicts.due(lab.core.network, now)

    [row] = isat("conflicts", "--json").json
    assert (row["counts"], row["dropped"]) == ({"reply": 3}, True)
    assert row["since"] == pytest.approx(9.0, abs=2.0)
    assert "3 reply, dropped" in isat("conflicts").out
    counters = isat("status", "--json").json["counters"]
    assert (counters["conflicts"], counters["contradicting: reply"]) == (1, 3)


# --- explaining -----------------------------------------------------------------------

ARP = TABLE_IDS["arp"]

FOREIGN = " cookie=0x7, table=0, n_packets=3, n_bytes=9, priority=5,ip actions=NORMAL\n"
OUTDATED = " cookie=0x15a7000000000001, table=3, n_packets=0, priority=9 actions=drop\n"


def dump(view: View) -> str:
    """As `ovs-ofctl dump-flows` would print what the switch should hold."""
    flows = compile_flows(view, S1).values()
    lines = (
        f" cookie={f.cookie:#x}, duration=1.5s, table={f.table}, n_packets=2,"
        f" n_bytes=84, priority={f.text.partition('priority=')[2]}\n"
        for f in flows
    )
    return "NXST_FLOW reply (xid=0x4):\n" + "".join(lines)


def test_every_flow_is_a_sentence_with_its_facts(isat: Isat, lab: Runtime) -> None:
    flows = compile_flows(lab.core.view, S1)

    said = isat("explain", "s1", "-", "--json", stdin=dump(lab.core.view))

    assert [row["says"] for row in said.json] == [f.note for f in flows.values()]
    assert all(row["whose"] == "isat" and row["packets"] == 2 for row in said.json)
    [answer] = [row for row in said.json if "answer who has 10.0.0.1" in row["says"]]
    assert answer["name"] == "arp"
    assert any("h0-eth0 in h0" in reason for reason in answer["because"])


def test_flows_of_others_are_marked(isat: Isat, lab: Runtime) -> None:
    said = isat("explain", "s1", "-", "--json", stdin=FOREIGN + OUTDATED)

    assert [(row["whose"], row["packets"]) for row in said.json] == [
        ("foreign", 3),
        ("isat, outdated", 0),
    ]
    assert "foreign: not ours" in isat("explain", "s1", "-", stdin=FOREIGN).out


def test_one_table_can_be_chosen(isat: Isat, lab: Runtime) -> None:
    words = ("explain", "s1", "-", "--json", "--table")

    by_name = isat(*words, "arp", stdin=dump(lab.core.view))
    by_number = isat(*words, str(ARP), stdin=dump(lab.core.view))

    assert {row["table"] for row in by_name.json} == {ARP}
    assert by_name.json == by_number.json
    assert isat(*words, "arq").status == 1


def test_a_saved_view_explains_without_a_controller(isat: Isat, file: str) -> None:
    said = isat("explain", "s1", "-", "--view", file, stdin=dump(small_lab()))

    assert said.status == 0
    assert "answer who has 10.0.0.1: it is at" in said.out
    assert "[2 packets]" in said.out
    assert "because" in said.out


# --- configuration, completion, version -----------------------------------------------


def test_a_good_configuration_is_called_good(isat: Isat, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("bridges: {br0: {}}\n")

    said = isat("check-config", str(tmp_path / "lab.yaml"))

    assert said.status == 0
    assert "good (1 bridges, 0 bindings)" in said.out


def test_what_does_nothing_is_good_and_warned_of(isat: Isat, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("defend: true\nbridges: {br0: {guard: learn}}\n")

    said = isat("check-config", str(tmp_path / "lab.yaml"))
    told = isat("check-config", "--json", str(tmp_path / "lab.yaml"))

    assert (said.status, told.status, told.json["ok"]) == (0, 0, True)
    [line] = told.json["warnings"]
    assert "write 'guard: watch'" in line
    assert f"warning: {line}" in said.out


def test_a_bad_configuration_ends_with_4_and_all_mistakes(
    isat: Isat, tmp_path: Path
) -> None:
    (tmp_path / "lab.yaml").write_text("bridgs: {}\nliveness: {silent_after: 1}\n")

    said = isat("check-config", str(tmp_path / "lab.yaml"))
    told = isat("check-config", "--json", str(tmp_path / "lab.yaml"))

    assert (said.status, said.out, told.status) == (4, "", 4)
    assert "lab.yaml:1: unknown key 'bridgs'\n  did you mean" in said.err
    assert [m["problem"] for m in told.json["mistakes"]] == [
        "unknown key 'bridgs'",
        "1 is too small",
    ]


def complete(line: str) -> set[str]:
    words = line.split(" ")
    script = (
        f"source <({' '.join(ISAT)} completion bash);"
        f"COMP_WORDS=({' '.join(words) or ''} '');"
        f"COMP_CWORD={len(words) - 1}; _isat; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(
        ("bash", "-c", script), capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_bash_completes_commands_and_their_options() -> None:
    assert {c.name for c in COMMANDS} <= complete("isat ")
    assert complete("isat com") == {"completion"}
    assert complete("isat completion f") == {"fish"}
    assert complete("isat hosts --j") == {"--json"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_is_told_of_every_command(isat: Isat, shell: str) -> None:
    said = isat("completion", shell)

    for command in COMMANDS:
        assert re.search(rf"\b{command.name}\b", said.out)


def test_the_version_can_be_told(isat: Isat) -> None:
    assert isat("version").out.startswith("isat ")
    assert re.fullmatch(r"\d+\.\d+\.\d+", isat("version", "--json").json["version"])
