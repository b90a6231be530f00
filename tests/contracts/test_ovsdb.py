"""The OVSDB edge against a real Open vSwitch: pictures, adopting, healing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from controller.adoption import DEFAULT_TARGET, MEMORY, SAFETY
from controller.events import (
    BridgeAdopted,
    BridgeRefused,
    BridgeReleased,
    BridgesSeen,
    Event,
    OvsdbLost,
    PortHealed,
    PortNotHealed,
)
from controller.sources import ovsdb
from controller.sources.ovsdb import MAX_REQUESTS, Ovsdb
from controller.sources.ovsdb_refusals import unreachable
from controller.sources.ovsdb_rows import HEALING
from flows.view import LOCAL_PORT, NO_VLANS, Bridge, Interface, Vlans
from tests.support.heard import Heard
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

CHECKOUT = Path(__file__).parents[2]
MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
HIDDEN = "priority=18000"  # of the flows that in-band control adds


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def edge(ovs: PrivateOvs, heard: Heard) -> Iterator[Ovsdb]:
    running = Ovsdb(heard, remote=ovs.remote)
    running.start()
    yield running
    running.stop()


def bridge(picture: BridgesSeen, name: str) -> Bridge:
    return next(bridge for bridge in picture.bridges if bridge.name == name)


def interface(picture: BridgesSeen, ifname: str) -> Interface:
    return next(one for one in picture.interfaces if one.ifname == ifname)


def has(ifname: str, **facts: object) -> Any:
    """A condition on a picture: the port is there, and these are its facts."""

    def holds(picture: BridgesSeen) -> bool:
        return any(
            one.ifname == ifname
            and all(getattr(one, name) == fact for name, fact in facts.items())
            for one in picture.interfaces
        )

    return holds


def lacks(ifname: str) -> Any:
    return lambda picture: not has(ifname)(picture)


def two_hosts(ovs: PrivateOvs) -> tuple[Host, Host]:
    ovs.add_bridge("br0")
    first = ovs.add_host("h1", "br0", "10.0.0.1/24", MAC[0], ofport=1)
    return first, ovs.add_host("h2", "br0", "10.0.0.2/24", MAC[1])


def reaches(ovs: PrivateOvs, host: Host, ip: str) -> bool:
    # An entry that an earlier, failed ping left would be asked for again in a second.
    ovs.run_in(host.namespace, "ip", "neighbor", "flush", "all")
    ping = ("ping", "-c1", "-W1", ip)
    return ovs.run_in(host.namespace, *ping, check=False).returncode == 0


def configuration(ovs: PrivateOvs) -> list[object]:
    """The rows of Bridge and Controller, without uuids and what changes by itself."""
    found: list[object] = []
    for table in ("bridge", "controller"):
        read = json.loads(ovs.vsctl("--format=json", "list", table))
        passing = ("_uuid", "ports", "controller", "status", "is_connected", "role")
        for row in read["data"]:
            named = zip(read["headings"], row, strict=True)
            found.append({name: v for name, v in named if name not in passing})
    return found


# --- the picture --------------------------------------------------------------------


def test_a_bridge_is_seen_with_its_datapath_id_and_its_own_interface(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0", "other_config:datapath-id=00000000000000aa")

    picture = heard.picture(has("br0"))

    assert picture.bridges == (Bridge(datapath_id=0xAA, name="br0"),)
    [own] = picture.interfaces
    assert (own.datapath_id, own.port_no, own.type) == (0xAA, LOCAL_PORT, "internal")


def test_a_bridge_that_goes_is_seen_no_more(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.add_bridge("br1")
    heard.picture(has("br1"))

    ovs.vsctl("del-br", "br1")

    picture = heard.picture(lacks("br1"))
    assert [bridge.name for bridge in picture.bridges] == ["br0"]


def test_a_port_is_seen_with_its_number_and_the_kernels_ifindex(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.add_host("h1", "br0", "", MAC[0], ofport=7)

    found = interface(heard.picture(has("h1")), "h1")

    ifindex = ovs.run("cat", "/sys/class/net/h1/ifindex").stdout
    assert (found.port_no, found.type, found.deaf) == (7, "", False)
    assert found.ifindex == int(ifindex)


def test_a_port_is_seen_with_its_vlans_as_they_change(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    assert interface(heard.picture(has("h2")), "h2").vlans == NO_VLANS

    def becomes(expected: Vlans) -> None:
        heard.picture(lambda seen: interface(seen, "h2").vlans == expected)

    ovs.vsctl("set", "port", "h2", "tag=5")
    becomes(Vlans(5))
    ovs.vsctl("set", "port", "h2", "trunks=[7,6]", "vlan_mode=native-untagged")
    becomes(Vlans(5, (6, 7), "native-untagged"))
    ovs.vsctl("clear", "port", "h2", "tag", "trunks", "vlan_mode")
    becomes(NO_VLANS)


def test_a_port_that_goes_is_seen_no_more_and_has_a_new_row_when_it_comes_back(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    before = interface(heard.picture(has("h2")), "h2")

    ovs.vsctl("del-port", "h2")
    heard.picture(lacks("h2"))
    ovs.vsctl("add-port", "br0", "h2")

    assert interface(heard.picture(has("h2")), "h2").row != before.row


def test_patch_ports_name_each_other(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    for here, there in (("0", "1"), ("1", "0")):
        ovs.add_bridge(f"br{here}")
        ovs.vsctl(
            *("add-port", f"br{here}", f"p{here}", "--"),
            *("set", "interface", f"p{here}", "type=patch", f"options:peer=p{there}"),
        )

    picture = heard.picture(lambda seen: has("p0")(seen) and has("p1")(seen))

    ends = {one.ifname: (one.type, one.peer) for one in picture.interfaces}
    assert (ends["p0"], ends["p1"]) == (("patch", "p1"), ("patch", "p0"))


def test_an_internal_port_is_seen_as_such(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.vsctl("add-port", "br0", "i0", "--", "set", "interface", "i0", "type=internal")

    heard.picture(has("i0", type="internal", deaf=False))


def test_a_port_is_left_out_until_its_interface_exists(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.vsctl("add-port", "br0", "late0")
    ovs.add_bridge("br1")
    assert lacks("late0")(heard.picture(has("br1")))

    ovs.run("ip", "link", "add", "late0", "type", "veth", "peer", "name", "late1")

    heard.picture(has("late0", deaf=False))


def test_a_bridge_that_ovs_vswitchd_has_not_made_yet_has_no_datapath_id_and_no_ports(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.kill_vswitchd()
    ovs.vsctl("--no-wait", "add-br", "br0")

    picture = heard.picture(lambda seen: seen.bridges)

    assert bridge(picture, "br0").datapath_id == 0
    assert picture.interfaces == ()


def test_a_bridge_that_changes_its_datapath_id_takes_its_ports_along(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    heard.picture(has("h2"))

    ovs.vsctl("set", "bridge", "br0", "other_config:datapath-id=00000000000000bb")

    picture = heard.picture(has("h2", datapath_id=0xBB))
    assert {one.datapath_id for one in picture.interfaces} == {0xBB}


def test_settings_that_matter_are_seen_as_they_change(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.vsctl("set-controller", "br0", "tcp:10.0.0.9", "ptcp:6634")
    heard.picture(lambda seen: any(b.controllers for b in seen.bridges))
    row = ovs.vsctl(
        *("--bare", "--columns=_uuid"), "find", "controller", 'target="tcp:10.0.0.9"'
    )
    ovs.vsctl("set", "controller", row, 'target="tcp:10.0.0.8"')
    ovs.vsctl("set-fail-mode", "br0", "secure")

    picture = heard.picture(lambda seen: bridge(seen, "br0").fail_mode == "secure")

    assert bridge(picture, "br0").controllers == ("ptcp:6634", "tcp:10.0.0.8")


def test_what_does_not_matter_is_not_reported(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    heard.picture(has("h2"))

    for number in range(5):
        ovs.vsctl("set", "interface", "h2", f"external_ids:x={number}")
    ovs.vsctl("del-port", "h1")

    heard.picture(lacks("h1"))
    assert all(one != other for one, other in pairwise(heard.of(BridgesSeen)))


@pytest.mark.parametrize(
    "ifname", ["hé", "\"q'", "{json}", "-x", "a,b", "\x1b[31m", "$(id)", "a\u2028b"]
)
def test_a_name_with_odd_characters_is_reported_as_it_is(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, ifname: str
) -> None:
    ovs.add_bridge("br0")
    ovs.run("ip", "link", "add", "name", ifname, "type", "veth", "peer", "name", "far")
    ovs.vsctl("--", "add-port", "br0", ifname)

    heard.picture(has(ifname, deaf=False))


def test_open_vswitch_itself_refuses_a_name_that_is_not_utf_8(ovs: PrivateOvs) -> None:
    ovs.add_bridge("br0")
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")

    with pytest.raises(AssertionError, match="not a valid UTF-8 string"):
        ovs.vsctl("add-port", "br0", name)


# --- adopting -----------------------------------------------------------------------


def test_adopting_sets_everything_that_safety_needs(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")

    edge.adopt("br0")

    changes = heard.take(BridgeAdopted).changes
    assert f"controller: (unset) -> {DEFAULT_TARGET}" in changes
    for name, value in SAFETY.items():
        table, _, column = name.rpartition(".")
        found = ovs.vsctl("get", table or "bridge", row_of(ovs, table), column)
        assert found.strip('"') == str(value), name


def row_of(ovs: PrivateOvs, table: str) -> str:
    return ovs.vsctl("get", "bridge", "br0", "controller")[1:-1] if table else "br0"


def test_an_adopted_bridge_is_seen_as_adopted(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")

    edge.adopt("br0", "tcp:127.0.0.1:6699")

    picture = heard.picture(lambda seen: seen.bridges and bridge(seen, "br0").adopted)
    found = bridge(picture, "br0")
    assert (found.fail_mode, found.disable_in_band) == ("secure", True)
    assert found.controllers == ("tcp:127.0.0.1:6699",)


def test_adopting_takes_away_the_hidden_flows_of_in_band_control(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.vsctl("set-controller", "br0", DEFAULT_TARGET)
    wait_until(lambda: HIDDEN in ovs.appctl("bridge/dump-flows", "br0"))

    edge.adopt("br0")

    heard.take(BridgeAdopted)
    assert HIDDEN not in ovs.appctl("bridge/dump-flows", "br0")


def test_adopting_twice_changes_nothing_and_says_so(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    edge.adopt("br0")
    heard.take(BridgeAdopted)
    before = configuration(ovs)

    edge.adopt("br0")

    assert heard.take(BridgeAdopted).changes == ()
    assert configuration(ovs) == before


@pytest.mark.parametrize("fail_mode", ["secure", "standalone"])
def test_the_first_controller_costs_the_flows_made_by_hand_and_that_is_said(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, fail_mode: str
) -> None:
    ovs.add_bridge("br0", f"fail_mode={fail_mode}")
    ovs.ofctl("add-flow", "br0", "priority=7,actions=drop")

    edge.adopt("br0")

    assert heard.take(BridgeAdopted).changes[-1].startswith("flows: all deleted")
    assert "priority=7" not in ovs.ofctl("dump-flows", "br0")


@pytest.mark.parametrize("fail_mode", ["secure", "standalone"])
def test_a_bridge_that_has_our_controller_keeps_the_flows_made_by_hand(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, fail_mode: str
) -> None:
    ovs.add_bridge("br0", f"fail_mode={fail_mode}")
    ovs.vsctl("set-controller", "br0", DEFAULT_TARGET)
    ovs.ofctl("add-flow", "br0", "priority=7,actions=drop")

    edge.adopt("br0")

    assert "flows" not in str(heard.take(BridgeAdopted).changes)
    assert "priority=7" in ovs.ofctl("dump-flows", "br0")


BEFORE = {
    "new": ((), ()),
    "with settings": (
        ("fail_mode=standalone", "protocols=OpenFlow10,OpenFlow14"),
        (),
    ),
    "with our controller": (
        ("other_config:disable-in-band=false", "external_ids:mine=yes"),
        ("max_backoff=3000", "connection_mode=in-band", "inactivity_probe=9000"),
    ),
}


@pytest.mark.parametrize("kind", BEFORE)
def test_releasing_undoes_exactly_what_adopting_did(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, kind: str
) -> None:
    settings, controller = BEFORE[kind]
    ovs.add_bridge("br0", *settings)
    if controller:
        ovs.vsctl("set-controller", "br0", DEFAULT_TARGET)
        ovs.vsctl("set", "controller", "br0", *controller)
    before = configuration(ovs)
    edge.adopt("br0")
    heard.take(BridgeAdopted)
    assert configuration(ovs) != before

    edge.release("br0")

    heard.take(BridgeReleased)
    assert configuration(ovs) == before


def test_releasing_leaves_what_somebody_changed_since(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    edge.adopt("br0")
    heard.take(BridgeAdopted)
    ovs.vsctl("set", "controller", "br0", "max_backoff=2000")
    ovs.vsctl("set-fail-mode", "br0", "standalone")

    edge.release("br0")

    changes = heard.take(BridgeReleased).changes
    assert "fail_mode: left at standalone, which is not what adopting had set" in (
        changes
    )
    assert ovs.vsctl("get", "bridge", "br0", "fail_mode") == "standalone"


def test_a_passive_target_is_nobodys_controller_and_stays(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.vsctl("set-controller", "br0", "ptcp:6634")

    edge.adopt("br0")
    heard.take(BridgeAdopted)
    assert ovs.vsctl("get-controller", "br0").split() == ["ptcp:6634", DEFAULT_TARGET]
    edge.release("br0")

    heard.take(BridgeReleased)
    assert ovs.vsctl("get-controller", "br0") == "ptcp:6634"


def test_a_bridge_of_another_controller_is_refused_and_left_as_it_is(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.vsctl("set-controller", "br0", "tcp:10.0.0.9:6653")
    before = configuration(ovs)

    edge.adopt("br0")

    refused = heard.take(BridgeRefused)
    assert "belongs to another controller: tcp:10.0.0.9:6653" in refused.why
    assert "ovs-vsctl del-controller br0" in refused.hint
    assert configuration(ovs) == before


@pytest.mark.parametrize(
    ("name", "hint"),
    [("br1", "did you mean 'br0'?"), ("xyzzy", "there is: 'br0'")],
    ids=["near", "far"],
)
def test_a_bridge_that_does_not_exist_is_refused_with_the_name_that_was_meant(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, name: str, hint: str
) -> None:
    ovs.add_bridge("br0")

    edge.adopt(name)

    refused = heard.take(BridgeRefused)
    assert refused == BridgeRefused(name, f"there is no bridge {name!r}", hint)


def test_where_there_is_no_bridge_at_all_the_way_to_make_one_is_told(
    edge: Ovsdb, heard: Heard
) -> None:
    edge.release("br0")

    assert heard.take(BridgeRefused).hint == "ovs-vsctl add-br br0"


@pytest.mark.parametrize("target", ["", "ptcp:6653", "127.0.0.1", "tcp:"])
def test_a_target_that_no_switch_can_connect_to_is_refused(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, target: str
) -> None:
    ovs.add_bridge("br0")

    edge.adopt("br0", target)

    assert DEFAULT_TARGET in heard.take(BridgeRefused).hint


def test_a_bridge_that_is_not_adopted_cannot_be_released(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")

    edge.release("br0")

    assert heard.take(BridgeRefused) == BridgeRefused(
        "br0", "bridge br0 is not adopted", "isat adopt br0"
    )


def test_a_memory_that_somebody_edited_is_refused_with_the_way_out(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0", f"external_ids:{MEMORY}=nonsense")

    edge.release("br0")

    hint = heard.take(BridgeRefused).hint
    assert hint == f"ovs-vsctl remove bridge br0 external_ids isat-adopted {MEMORY}"


def test_the_answer_goes_to_the_one_who_asked_and_into_the_report(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    answers: list[Event] = []

    edge.adopt("br0", answer=answers.append)

    adopted = heard.take(BridgeAdopted)
    assert wait_until(lambda: answers) == [adopted]


def test_without_ovs_vswitchd_adopting_is_given_up_and_says_what_remains(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovsdb, "REQUEST_LIMIT", 0.2)
    ovs.add_bridge("br0")
    ovs.kill_vswitchd()

    edge.adopt("br0")

    assert "takes effect when it runs again" in heard.take(BridgeRefused).why


# --- healing ------------------------------------------------------------------------


def recreate(ovs: PrivateOvs, host: Host) -> None:
    ovs.run("ip", "link", "delete", host.port)
    ovs.add_veth(host)


def move_away_and_back(ovs: PrivateOvs, host: Host) -> None:
    ovs.run("ip", "link", "set", host.port, "netns", host.namespace)
    back = ("ip", "link", "set", host.port, "netns", ovs.namespace)
    ovs.run_in(host.namespace, *back)
    ovs.run("ip", "link", "set", host.port, "up")


@pytest.mark.parametrize("fate", [recreate, move_away_and_back])
def test_a_port_whose_interface_was_replaced_is_deaf_and_healing_restores_it(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, fate: Any
) -> None:
    first, second = two_hosts(ovs)
    assert reaches(ovs, first, "10.0.0.2")
    before = interface(heard.picture(has("h2")), "h2")

    fate(ovs, second)
    heard.picture(has("h2", deaf=True))
    assert not reaches(ovs, first, "10.0.0.2")
    edge.heal("br0", "h2")

    heard.take(PortHealed)
    assert reaches(ovs, first, "10.0.0.2")
    after = interface(heard.picture(has("h2", deaf=False)), "h2")
    assert (after.port_no, after.row) == (before.port_no, before.row)


def test_a_tap_whose_process_started_anew_is_healed(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    start_tap(ovs, "tap0")
    ovs.vsctl("add-port", "br0", "tap0")
    heard.picture(has("tap0", deaf=False))

    ovs.run("ip", "link", "delete", "tap0")
    start_tap(ovs, "tap0")
    heard.picture(has("tap0", deaf=True))
    edge.heal("br0", "tap0")

    heard.take(PortHealed)
    heard.picture(has("tap0", deaf=False))


def start_tap(ovs: PrivateOvs, ifname: str) -> None:
    ovs.run("ip", "tuntap", "add", ifname, "mode", "tap")
    ovs.run("ip", "link", "set", ifname, "up")


def test_healing_keeps_every_setting_of_the_port(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    _, second = two_hosts(ovs)
    ovs.vsctl("set", "port", "h2", "tag=5", "vlan_mode=access", "external_ids:a=b")
    ovs.vsctl("set", "interface", "h2", "external_ids:c=d", "other_config:e=f")
    ovs.vsctl(
        *("--id=@p", "get", "port", "h2", "--"),
        *("--id=@m", "create", "mirror", "name=m", "select_src_port=@p", "--"),
        *("set", "bridge", "br0", "mirrors=@m"),
    )
    before = port_settings(ovs, "h2")

    recreate(ovs, second)
    heard.picture(has("h2", deaf=True))
    edge.heal("br0", "h2")

    heard.take(PortHealed)
    assert port_settings(ovs, "h2") == before


def port_settings(ovs: PrivateOvs, ifname: str) -> list[str]:
    columns = "ofport,ofport_request,external_ids,other_config,type,options"
    return [
        ovs.vsctl("list", "port", ifname),
        ovs.vsctl(f"--columns={columns}", "list", "interface", ifname),
        ovs.vsctl("--columns=select_src_port", "list", "mirror"),
    ]


def test_a_healthy_port_is_not_touched(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    seen = heard.picture(has("h2"))
    log = ovs.log("ovs-vswitchd.log")

    edge.heal("br0", "h2")

    assert "nothing to heal" in heard.take(PortNotHealed).why
    assert "deleted interface h2" not in ovs.log("ovs-vswitchd.log")[len(log) :]
    assert heard.of(BridgesSeen)[-1] == seen


def test_a_port_that_somebody_else_listens_to_is_found_deaf_all_the_same(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    _, second = two_hosts(ovs)
    listen = "import socket,signal; s=socket.socket(17,3,768); s.bind(('h2',0));"
    recreate(ovs, second)

    # As lldpd or tcpdump would: a packet socket bound to the new interface.
    ovs.start(
        sys.executable, "-c", f"{listen} print('bound',flush=True);signal.pause()"
    )

    heard.picture(has("h2", deaf=True))
    edge.heal("br0", "h2")
    heard.take(PortHealed)


def test_a_port_whose_interface_is_gone_is_not_called_deaf(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    heard.picture(has("h2"))

    ovs.run("ip", "link", "delete", "h2")

    heard.picture(has("h2", ifindex=0, deaf=False))


def test_a_restart_of_ovs_vswitchd_leaves_no_port_deaf(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    _, second = two_hosts(ovs)
    recreate(ovs, second)
    heard.picture(has("h2", deaf=True))

    ovs.kill_vswitchd()
    ovs.start_vswitchd()

    heard.picture(has("h2", deaf=False))
    edge.heal("br0", "h2")
    assert "nothing to heal" in heard.take(PortNotHealed).why


def test_an_internal_port_cannot_be_healed(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.add_bridge("br0")

    edge.heal("br0", "br0")

    assert "only a system interface" in heard.take(PortNotHealed).why


def test_a_port_that_does_not_exist_cannot_be_healed(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)

    edge.heal("br0", "h3")

    assert heard.take(PortNotHealed).why == "there is no port of br0 'h3'"


@pytest.mark.parametrize("request_before", ["null", "2"])
def test_a_heal_that_a_killed_controller_left_half_done_is_finished_at_the_start(
    ovs: PrivateOvs, heard: Heard, request_before: str
) -> None:
    two_hosts(ovs)
    note = f'external_ids:{HEALING}="[2, {request_before}]"'
    ovs.vsctl("set", "interface", "h2", "ofport_request=65279", note)

    edge = Ovsdb(heard, remote=ovs.remote)
    edge.start()

    assert heard.take(PortHealed) == PortHealed("br0", "h2")
    edge.stop()
    requested = "[]" if request_before == "null" else request_before
    assert ovs.vsctl("get", "interface", "h2", "ofport").strip() == "2"
    assert ovs.vsctl("get", "interface", "h2", "ofport_request") == requested
    assert ovs.vsctl("get", "interface", "h2", "external_ids") == "{}"


# --- the connection -----------------------------------------------------------------


def test_no_socket_is_said_once_and_a_server_that_comes_is_found(
    ovs: PrivateOvs, heard: Heard
) -> None:
    ovs.add_bridge("br0")
    ovs.kill_ovsdb()
    ovs.db_socket.unlink()
    edge = Ovsdb(heard, remote=ovs.remote)
    edge.start()
    assert "Open vSwitch does not run" in heard.take(OvsdbLost).why

    ovs.start_ovsdb()

    heard.picture(has("br0"))
    edge.stop()
    assert len(heard.of(OvsdbLost)) == 1


def test_what_is_asked_for_without_a_server_is_refused(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    ovs.kill_ovsdb()
    lost = heard.take(OvsdbLost)

    edge.adopt("br0")

    assert heard.take(BridgeRefused).why == lost.why


def test_after_a_restart_of_the_server_changes_are_seen_again(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    heard.picture(has("h2"))

    ovs.kill_ovsdb()
    ovs.start_ovsdb()
    ovs.vsctl("del-port", "h2")

    heard.picture(lacks("h2"))
    edge.adopt("br0")
    heard.take(BridgeAdopted)


def test_after_a_loss_the_picture_is_reported_again_though_nothing_changed(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard
) -> None:
    two_hosts(ovs)
    before = heard.picture(has("h2"))

    ovs.kill_ovsdb()
    assert "ovsdb-server has ended" in heard.take(OvsdbLost).why
    ovs.start_ovsdb()

    assert heard.take(BridgesSeen) == before


def test_a_server_that_hangs_is_lost_and_found_again(
    ovs: PrivateOvs, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovsdb, "PROBE", 1000)  # the least that `ovs` allows
    monkeypatch.setattr(ovsdb, "LOST_AFTER", 0.1)
    monkeypatch.setattr(ovsdb, "MUTE_AFTER", 0.1)
    ovs.add_bridge("br0")
    edge = Ovsdb(heard, remote=ovs.remote)
    edge.start()
    before = heard.take(BridgesSeen)

    ovs.pause_ovsdb()
    assert "ovsdb-server does not answer" in heard.take(OvsdbLost).why
    ovs.resume_ovsdb()

    assert heard.take(BridgesSeen) == before
    edge.stop()


def test_a_heal_that_ovs_vswitchd_does_not_finish_goes_on_when_asked_again(
    ovs: PrivateOvs, edge: Ovsdb, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, second = two_hosts(ovs)
    recreate(ovs, second)
    heard.picture(has("h2", deaf=True))
    monkeypatch.setattr(ovsdb, "REQUEST_LIMIT", 0.2)
    ovs.pause_vswitchd()
    edge.heal("br0", "h2")
    assert "has not done it" in heard.take(PortNotHealed).why
    monkeypatch.undo()

    ovs.resume_vswitchd()
    edge.heal("br0", "h2")

    heard.take(PortHealed)
    assert has("h2", port_no=2, deaf=False)(heard.picture(has("h2", deaf=False)))


def test_a_socket_that_one_may_not_open_is_said(ovs: PrivateOvs) -> None:
    os.seteuid(65534)
    try:
        why = unreachable(ovs.remote)
    finally:
        os.seteuid(0)

    assert why == f"{ovs.db_socket}: no right to open it (run as root)"


def test_requests_beyond_the_bound_are_refused_at_once(heard: Heard) -> None:
    edge = Ovsdb(heard, remote="unix:/nonexistent/db.sock")
    for _ in range(MAX_REQUESTS):
        edge.adopt("br0", answer=heard)
    assert heard.events == []

    edge.adopt("br1", answer=heard)

    assert heard.take(BridgeRefused, within=0).name == "br1"
    edge.stop()


def test_stopping_answers_those_who_still_wait(heard: Heard) -> None:
    edge = Ovsdb(heard, remote="unix:/nonexistent/db.sock")
    edge.adopt("br0", answer=heard)
    edge.stop()

    edge.heal("br1", "h1", answer=heard)

    assert [event.why for event in heard.events if hasattr(event, "why")] == [
        "the connection to OVSDB is being closed",
        "the connection to OVSDB is being closed",
    ]


@pytest.mark.parametrize("threads", ["green", "native"])
def test_under_ryu_manager_the_edge_works_and_lets_green_threads_run(
    ovs: PrivateOvs, threads: str
) -> None:
    ovs.add_bridge("br0")
    program = ("-W", "ignore", "-m", "tests.contracts.ovsdb_under_eventlet")

    child = ovs.start(
        *(sys.executable, *program, threads, ovs.remote, "br0"),
        log="edge.log",
        environment={"PYTHONPATH": str(CHECKOUT)},
    )

    wait_until(lambda: child.poll() is not None, within=30, why="the program to end")
    assert child.returncode == 0, ovs.log("edge.log")
    assert {"BridgesSeen", "BridgeAdopted"} <= set(ovs.log("edge.log").split())
