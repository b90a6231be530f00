"""A configuration is read as a whole, or refused with every mistake in it."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from controller.config import (
    MAX_BYTES,
    OVSDB,
    SCHEMA,
    Config,
    ConfigError,
    Liveness,
    Sources,
    as_markdown,
    idle,
    json_schema,
    load,
    parse,
)
from controller.overlaying import ENDS_MAX
from controller.schema import Mistake
from flows.view import Fixed, Guard, Limits, Overlay, OverlayEnd


def mistakes(text: str | bytes) -> tuple[Mistake, ...]:
    encoded = text.encode() if isinstance(text, str) else text
    with pytest.raises(ConfigError) as refused:
        parse(encoded, "lab.yaml")
    return refused.value.mistakes


def only_mistake(text: str | bytes) -> Mistake:
    [mistake] = mistakes(text)
    return mistake


def test_the_guard_is_chosen_for_all_for_a_bridge_and_for_a_port() -> None:
    text = b"""
guard: watch
bridges:
  br0: {guard: enforce, ports: {uplink: {guard: learn}, tap0: {}}}
  br1:
"""
    config = parse(text, "lab.yaml")
    assert config.bridges == ("br0", "br1")
    assert config.guards == (
        Guard("watch"),
        Guard("enforce", "br0"),
        Guard("learn", "br0", "uplink"),
    )


# --- what is understood ------------------------


def test_a_complete_file_becomes_a_value() -> None:
    text = b"""
bridges:
  br0: {}
  br-lab:
bindings:
  - {ip: 10.0.0.5, lladdr: "02:00:00:00:00:05", vlan: 7}
  - {ip: "2001:db8::5", lladdr: 02:AA:00:00:00:05}
limits: {stations_per_port: 10, addresses_per_station: 2}
liveness: {silent_after: 60}
sources: {netlink: false, ovsdb: "unix:/run/db.sock"}
"""
    assert parse(text, "lab.yaml") == Config(
        bridges=("br0", "br-lab"),
        bindings=(
            Fixed(7, IPv4Address("10.0.0.5"), "02:00:00:00:00:05"),
            Fixed(0, IPv6Address("2001:db8::5"), "02:aa:00:00:00:05"),
        ),
        limits=Limits(10, 2),
        liveness=Liveness(60),
        sources=Sources(False, "unix:/run/db.sock"),
    )


@pytest.mark.parametrize("text", [b"", b"# nothing yet\n", b"bridges:\nlimits:\n"])
def test_what_is_left_out_has_its_default(text: bytes) -> None:
    assert parse(text, "lab.yaml") == Config()


@pytest.mark.parametrize(
    ("written", "meant"),
    [("false", ""), ("no", ""), ("true", OVSDB), ("tcp:127.0.0.1:6640",) * 2],
)
def test_the_database_can_be_switched_off_or_be_elsewhere(
    written: str, meant: str
) -> None:
    config = parse(f"sources: {{ovsdb: {written}}}".encode(), "lab.yaml")

    assert config.sources.ovsdb == meant


def test_a_link_layer_address_needs_no_quotes_though_yaml_takes_it_for_a_number() -> (
    None
):
    """10:20:30:40:50:52 is a number to base 60 in YAML 1.1."""
    text = b"bindings: [{ip: 10.0.0.5, lladdr: 10:20:30:40:50:52}]"

    assert parse(text, "lab.yaml").bindings[0].lladdr == "10:20:30:40:50:52"


def test_an_alias_stands_for_what_it_names() -> None:
    text = b"""
bindings:
  - {ip: 10.0.0.5, lladdr: &station "02:00:00:00:00:05"}
  - {ip: 10.0.0.6, lladdr: *station}
"""
    assert parse(text, "lab.yaml").bindings[1].lladdr == "02:00:00:00:00:05"


# --- what is refused, and how ------------------------


@pytest.mark.parametrize(
    ("text", "where", "problem", "hint"),
    [
        ("bridgs: {}", "lab.yaml:1", "unknown key 'bridgs'", "did you mean 'bridges'?"),
        (
            "silent_after: 60",
            "lab.yaml:1",
            "unknown key 'silent_after'",
            "'liveness.silent_after'",
        ),
        ("x: 1", "lab.yaml:1", "unknown key 'x'", "known keys: bridges, bindings"),
        (
            "bridges:\n  br0: {proxy_arp: true}",
            "lab.yaml:2 bridges.br0",
            "unknown key 'proxy_arp'",
            "known keys: guard, router, dhcp_server, ports",
        ),
        ("guard: wacht", "lab.yaml:1 guard", "'wacht' is none of", "mean 'watch'?"),
        ("guard: off", "lab.yaml:1 guard", "'off' is none", "learn, watch or enf"),
        (
            "bridges:\n  br0:\n    ports: {tap0: enforce}",
            "lab.yaml:3 bridges.br0.ports.tap0",
            "'enforce' stands where a section belongs",
            "keys guard",
        ),
        ("bridges: {a/b: {}}", "lab.yaml:1 bridges", "'a/b' cannot be", "list-br"),
        ("bridges: [br0]", "lab.yaml:1 bridges", "a list stands where a", "one key"),
        ("limits: 5", "lab.yaml:1 limits", "'5' stands where a section", "keys"),
        ("bindings: {}", "lab.yaml:1 bindings", "where a list belongs", "'- '"),
        (
            "liveness:\n  silent_after: 5",
            "lab.yaml:2 liveness.silent_after",
            "5 is too small",
            "10 to 86400 seconds",
        ),
        (
            "liveness: {silent_after: 90000}",
            "liveness.silent_after",
            "90000 is too great",
            "86400",
        ),
        (
            "liveness: {silent_after: 5m}",
            "liveness.silent_after",
            "not a whole number",
            "in 5:",
        ),
        (
            'liveness: {silent_after: "60"}',
            "silent_after",
            "not a whole",
            "without quotes: 60",
        ),
        (
            "liveness: {silent_after: 010}",
            "silent_after",
            "not a whole number",
            "as in 10:",
        ),
        (
            "liveness: {silent_after: 1:30}",
            "silent_after",
            "not a whole number",
            "86400 seconds",
        ),
        (
            "liveness: {silent_after: 1e2}",
            "silent_after",
            "not a whole number",
            "86400 seconds",
        ),
        (
            "liveness: {silent_after: }",
            "silent_after",
            "nothing stands where",
            "leave the key out",
        ),
        (
            "liveness: {silent_after: [60]}",
            "silent_after",
            "a list stands where",
            "86400 seconds",
        ),
        ("sources: {netlink: 'true'}", "netlink", "neither true", "without quotes"),
        ("sources: {ovsdb: 6640}", "sources.ovsdb", "no place of an OVSDB", "unix:"),
        ("? [a]\n: 1", "lab.yaml:1", "a list stands where a name belongs", "keys"),
    ],
)
def test_a_mistake_says_where_it_is_what_it_is_and_what_to_write(
    text: str, where: str, problem: str, hint: str
) -> None:
    mistake = only_mistake(text)

    assert mistake.where.startswith("lab.yaml:") and mistake.where.endswith(where)
    assert problem in mistake.problem
    assert hint in mistake.hint


@pytest.mark.parametrize(
    ("ip", "hint"),
    [
        ("10.0.0.5/24", "10.0.0.5"),
        ("10.0.0.05", "10.0.0.5"),
        ("10.0.0", "like 192.0.2.5"),
        ("224.0.0.1", "that host's own address"),
        ("0.0.0.0", "that host's own address"),
        ("127.0.0.1", "that host's own address"),
        ("255.255.255.255", "that host's own address"),
        ("'::ffff:10.0.0.5'", "that host's own address"),
    ],
)
def test_an_address_that_no_host_can_hold_is_refused(ip: str, hint: str) -> None:
    text = f'bindings: [{{ip: {ip}, lladdr: "02:00:00:00:00:05"}}]'

    mistake = only_mistake(text)

    assert mistake.where == "lab.yaml:1 bindings[0].ip"
    assert hint in mistake.hint


@pytest.mark.parametrize(
    ("lladdr", "hint"),
    [
        ("02-00-00-00-00-05", 'write it as "02:00:00:00:00:05"'),
        ("0200.0000.0005", 'write it as "02:00:00:00:00:05"'),
        ("'020000000005'", 'write it as "02:00:00:00:00:05"'),
        ("2:0:0:0:0:5", 'write it as "02:00:00:00:00:05"'),
        ("02:00:00:00:00", 'write six octets, like "02:00:00:00:00:05"'),
        ("01:00:00:00:00:05", "its first octet must be even"),
        ("00:00:00:00:00:00", "write the host's own"),
    ],
)
def test_a_link_layer_address_in_another_form_is_shown_in_ours(
    lladdr: str, hint: str
) -> None:
    mistake = only_mistake(f"bindings: [{{ip: 10.0.0.5, lladdr: {lladdr}}}]")

    assert mistake.where == "lab.yaml:1 bindings[0].lladdr"
    assert hint in mistake.hint


def test_two_bindings_of_one_address_are_refused_with_both_lines() -> None:
    text = """
bindings:
  - {ip: 10.0.0.5, lladdr: "02:00:00:00:00:05"}
  - {ip: 10.0.0.5, lladdr: "02:00:00:00:00:05", vlan: 7}
  - {ip: 10.0.0.5, lladdr: "02:00:00:00:00:06"}
"""
    mistake = only_mistake(text)

    assert mistake.where == "lab.yaml:5 bindings[2]"
    assert mistake.problem == "10.0.0.5 again; line 3 has it already"


def ours(rule: str, binding: str) -> str:
    return f"""
proxy:
  - {{mode: gateway, ip: 10.0.0.1, lladdr: "02:00:00:00:00:aa"{rule}}}
bindings:
  - {{ip: 10.0.0.5, lladdr: "02:00:00:00:00:05"}}
  - {{ip: 10.0.0.1, {binding}}}
"""


@pytest.mark.parametrize(
    ("rule", "vlan"), [("", ""), (", vlan: 7", ", vlan: 7"), ("", ", vlan: 7")]
)
def test_a_gateway_that_is_vouched_for_elsewhere_is_refused_with_both_lines(
    rule: str, vlan: str
) -> None:
    mistake = only_mistake(ours(rule, f'lladdr: "02:00:00:00:00:06"{vlan}'))

    assert mistake.where == "lab.yaml:6 bindings[1]"
    assert mistake.problem == (
        f"10.0.0.1{' in VLAN 7' if vlan else ''} is vouched for at 02:00:00:00:00:06,"
        " but line 3 has it answered as a gateway's, 02:00:00:00:00:aa"
    )
    assert "write lladdr: 02:00:00:00:00:aa here" in mistake.hint


@pytest.mark.parametrize(
    ("rule", "binding"),
    [
        ("", 'lladdr: "02:00:00:00:00:aa"'),
        (", vlan: 7", 'lladdr: "02:00:00:00:00:06"'),
        (", bridge: br1", 'lladdr: "02:00:00:00:00:06"'),
    ],
    ids=["the same station", "another VLAN", "on one bridge alone"],
)
def test_a_gateway_may_be_vouched_for_where_nothing_speaks_against_it(
    rule: str, binding: str
) -> None:
    assert len(parse(ours(rule, binding).encode(), "lab.yaml").bindings) == 2


@pytest.mark.parametrize(
    ("text", "is_idle"),
    [
        ("defend: true", True),
        ("defend: true\nguard: learn", True),
        ("defend: true\nguard: watch", False),
        ("defend: true\nbridges: {br0: {ports: {h1: {guard: enforce}}}}", False),
        ("guard: learn", False),
    ],
)
def test_to_defend_where_nobody_guards_is_told_to_do_nothing(
    text: str, is_idle: bool
) -> None:
    assert bool([*idle(parse(text.encode(), "lab.yaml"))]) is is_idle


# --- overlays -------------------------------------------------------------------------

ONE, OTHER = "000000000000000a", "00005254000000b1"


def overlay(*ends: tuple[str, str, str], name: str = "blue", vni: object = 5000) -> str:
    rows = "".join(
        f"      - {{datapath_id: {s}, port: {p}, address: {a}}}\n" for s, p, a in ends
    )
    return f"  - name: {name}\n    vni: {vni}\n    ends:\n{rows}"


NEAR, FAR = (ONE, "vx0", "192.0.2.1"), (OTHER, "vx0", "192.0.2.2")
SECOND = (ONE, "vx1", "192.0.2.1"), (OTHER, "vx1", "192.0.2.2")


def test_an_overlay_is_its_name_its_vni_and_its_ends() -> None:
    text = f"overlays:\n{overlay(NEAR, FAR)}"
    assert parse(text.encode(), "lab.yaml").overlays == (
        Overlay(
            "blue",
            5000,
            (
                OverlayEnd(10, "vx0", IPv4Address("192.0.2.1")),
                OverlayEnd(0x5254000000B1, "vx0", IPv4Address("192.0.2.2")),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("overlays", "where", "problem", "hint"),
    [
        (
            overlay(NEAR),
            "lab.yaml:2 overlays[0]",
            "an overlay with one end",
            "name at least two",
        ),
        (
            overlay(("10", "vx0", "192.0.2.1"), FAR),
            "lab.yaml:5 overlays[0].ends[0].datapath_id",
            "'10' is no datapath_id",
            "write all 16 hexadecimal digits, like 0000000000000010",
        ),
        (
            overlay(NEAR, FAR, (ONE, "vx1", "192.0.2.3")),
            "lab.yaml:7 overlays[0].ends[2]",
            "an end of the switch 000000000000000a again; line 5 has it already",
            "keep one of lines 5 and 7",
        ),
        (
            overlay(NEAR, (OTHER, "vx0", "192.0.2.1")),
            "lab.yaml:6 overlays[0].ends[1]",
            "the address 192.0.2.1 again",
            "options:local_ip",
        ),
        (
            overlay(NEAR, (OTHER, "vx0", "2001:db8::2")),
            "lab.yaml:6 overlays[0].ends[1]",
            "2001:db8::2 is of another version of IP than 192.0.2.1",
            "write addresses of one version",
        ),
        (
            overlay(NEAR, (OTHER, "vx0", "224.0.0.1")),
            "lab.yaml:6 overlays[0].ends[1].address",
            "224.0.0.1 is a multicast group",
            "options:local_ip",
        ),
        (
            overlay(NEAR, FAR, vni=1 << 24),
            "lab.yaml:3 overlays[0].vni",
            "16777216 is too great",
            "write a whole number, 1 to 16777215",
        ),
        (
            overlay(NEAR, FAR) + overlay(*SECOND, name="red"),
            "lab.yaml:7 overlays[1]",
            "blue has the VNI 5000 already",
            "write another number",
        ),
        (
            overlay(NEAR, FAR) + overlay(*SECOND, vni=6),
            "lab.yaml:7 overlays[1]",
            "the overlay blue again; line 2 has it already",
            "keep one of lines 2 and 7",
        ),
        (
            overlay(NEAR, FAR)
            + overlay(NEAR, (OTHER, "vx1", "192.0.2.2"), name="red", vni=6),
            "lab.yaml:7 overlays[1]",
            "the port vx0 of 000000000000000a is an end of blue already",
            "add another tunnel port",
        ),
        (
            overlay(NEAR, FAR)
            + overlay(
                (ONE, "vx1", "2001:db8::1"),
                ("000000000000000c", "vx1", "2001:db8::3"),
                name="red",
                vni=6,
            ),
            "lab.yaml:7 overlays[1]",
            "the switch 000000000000000a has ends of IPv4 and of IPv6",
            "addresses of one version in all its overlays",
        ),
    ],
)
def test_a_mistake_in_an_overlay_is_told(
    overlays: str, where: str, problem: str, hint: str
) -> None:
    mistake = only_mistake(f"overlays:\n{overlays}")
    assert (mistake.where, mistake.problem) == (where, problem)
    assert hint in mistake.hint


def test_an_overlay_has_no_more_ends_than_a_broadcast_may_be_copied_to() -> None:
    ends = [(f"{n:016x}", "vx0", f"192.0.2.{n}") for n in range(1, ENDS_MAX + 2)]
    mistake = only_mistake(f"overlays:\n{overlay(*ends)}")
    assert mistake.problem == f"{ENDS_MAX + 1} ends"


def test_the_overlay_that_the_documentation_shows_is_understood() -> None:
    page = Path(__file__).parents[2] / "docs/how-to/join-hosts.md"
    [shown] = re.findall(r"```yaml\n(overlays:.*?)```", page.read_text(), re.DOTALL)
    [blue] = parse(shown.encode(), "lab.yaml").overlays
    assert [end.datapath_id for end in blue.ends] == [1, 2, 3]


def test_a_switch_has_no_more_other_ends_in_all_its_overlays() -> None:
    text = "overlays:\n"
    for k in range(5):
        ends = [(f"{n:016x}", f"vx{k}", f"192.0.2.{n}") for n in range(1, ENDS_MAX + 1)]
        text += overlay(*ends, name=f"o{k}", vni=k + 1)
    mistake = only_mistake(text)
    assert "has more than 256 other ends in all its overlays" in mistake.problem


def test_a_key_that_is_written_twice_is_refused_with_both_lines() -> None:
    mistake = only_mistake("bridges: {}\nliveness: {}\nbridges: {}\n")

    assert mistake.where == "lab.yaml:3"
    assert mistake.problem == "the key 'bridges' again; line 1 has it already"


def test_a_key_that_is_missing_is_named() -> None:
    mistake = only_mistake("bindings:\n  - ip: 10.0.0.5\n")

    assert mistake.where == "lab.yaml:2 bindings[0]"
    assert "'lladdr' is missing" in mistake.problem
    assert '"02:00:00:00:00:05"' in mistake.hint


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file() -> None:
    found = mistakes(
        "liveness: {silent_after: 1}\nsources: {netlink: 2}\nliveness: {}\nx: 1"
    )

    assert [mistake.where.split()[0] for mistake in found] == [
        "lab.yaml:1",
        "lab.yaml:2",
        "lab.yaml:3",
        "lab.yaml:4",
    ]


def test_of_very_many_mistakes_the_first_twenty_are_told() -> None:
    text = "bridges: {" + ", ".join(f"b/{n}: {{}}" for n in range(30)) + "}"

    with pytest.raises(ConfigError) as refused:
        parse(text.encode(), "lab.yaml")

    assert len(refused.value.mistakes) == 30
    assert str(refused.value).count("cannot be the name") == 20
    assert str(refused.value).endswith("and 10 more")


# --- what is not YAML, or too much of it ------------------------


@pytest.mark.parametrize(
    ("text", "line", "hint"),
    [
        ("liveness:\n\tsilent_after: 60", 2, "spaces, never with tabs"),
        ("liveness: {silent_after: 60", 1, "'}'"),
        ("bindings: [1", 1, "']'"),
        ("x: 'never closed\n", 2, "a quote or a bracket is not closed"),
        ("x: a: b", 1, "belongs in quotes"),
        ("a: 1\n---\nb: 1", 2, "remove '---'"),
        ("x: *nobody", 1, "if it begins with '*'"),
        ("limits:\n  a: 1\n b: 1", 3, "same column"),
        ("x\ny: 1", 2, ""),
        ("x: \x01", 1, "remove it"),
        (b"x: 1\ny: \xff", 2, "save the file as UTF-8"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(
    text: str | bytes, line: int, hint: str
) -> None:
    mistake = only_mistake(text)

    assert mistake.where == f"lab.yaml:{line}"
    assert hint in mistake.hint


def test_a_tag_constructs_nothing() -> None:
    mistake = only_mistake(
        "liveness: {silent_after: !!python/object/apply:os.getpid []}"
    )

    assert mistake.where == "lab.yaml:1 liveness.silent_after"


def laughs() -> str:
    """Nine names, each nine times the one before: 387 million values in 300 bytes."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for one, before in zip("bcdefghi", "abcdefgh", strict=True):
        lines.append(f"{one}: &{one} [{','.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (laughs(), "aliases stand for more than"),
        ("bindings: &a [*a]", "aliases stand for more than"),
        ("[" * 100_000, "sections and lists inside each other"),
        ("#" * (MAX_BYTES + 1), "longer than"),
    ],
    ids=["many aliases", "an alias of itself", "deep", "long"],
)
def test_a_file_that_would_take_all_memory_is_refused(text: str, problem: str) -> None:
    assert problem in only_mistake(text).problem


# --- files ------------------------


def test_a_file_that_cannot_be_read_is_a_mistake_like_any_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "none.yaml")

    [mistake] = refused.value.mistakes
    assert mistake.where == str(tmp_path / "none.yaml")
    assert mistake.problem == "No such file or directory"


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text("bridgs: {}\n")

    with pytest.raises(ConfigError, match=r"lab\.yaml:1: unknown key 'bridgs'\n  did"):
        load(tmp_path / "lab.yaml")


# --- what is generated from the schema ------------------------


def test_every_key_stands_in_the_reference_table_with_its_default() -> None:
    table = as_markdown()

    for row in SCHEMA.rows(""):
        assert f"| `{row.path}` | {row.words} |" in table
    assert (
        "| `liveness.silent_after` | a whole number, 10 to 86400 seconds | `30` |"
        in table
    )


def test_the_json_schema_knows_every_section_and_its_bounds() -> None:
    schema = json.loads(json.dumps(json_schema()))

    assert list(schema["properties"]) == [key.name for key in SCHEMA.keys]
    silent_after = schema["properties"]["liveness"]["properties"]["silent_after"]
    assert (silent_after["minimum"], silent_after["maximum"]) == (10, 86_400)
    assert schema["properties"]["bindings"]["items"]["required"] == ["ip", "lladdr"]
