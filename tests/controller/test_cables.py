"""What the log says of cables between switches."""

from __future__ import annotations

from controller.cables import news
from controller.commands import TellNews
from controller.core import Core
from controller.eventlog import line
from controller.events import BridgesSeen, KernelSynced, SwitchReady
from flows.network import network
from flows.view import Bridge, Interface, Link, Port, View
from tests.facts import cable, overlay, ports, view_of

NONE = View()
PAIR = view_of(cable((1, 1), (2, 2)))
RING = view_of(cable((1, 1), (2, 2)), cable((2, 1), (3, 2)), cable((3, 1), (1, 2)))


def told(before: View, now: View) -> list[str]:
    return list(news(network(before).fabric, network(now).fabric, now))


def test_a_cable_that_is_new_is_told_with_both_ends() -> None:
    assert told(NONE, PAIR) == [
        "the cable from s1-eth1 to s2-eth2 is known",
        "broadcasts take 1 of 1 cables",
    ]


def test_a_cable_that_is_gone_is_told() -> None:
    assert told(RING, PAIR)[:2] == [
        "the cable from s1:2 to 3:1 is gone",
        "the cable from s2:1 to 3:2 is gone",
    ]


def test_where_the_tree_stays_nothing_is_said_of_it() -> None:
    assert told(PAIR, PAIR) == []
    assert told(PAIR, RING)[-1] == "broadcasts take 2 of 3 cables"


def test_of_many_cables_only_their_number_is_told() -> None:
    many = view_of(*(cable((n, 1), (n + 1, 2)) for n in range(1, 11)))
    assert told(NONE, many)[0] == "10 cables between switches are known"


def test_an_end_of_an_overlay_is_told_when_it_comes_and_when_it_goes() -> None:
    blue = overlay("blue", 5000, (1, 9), (2, 9))
    one, both = view_of(blue, ports(1, 9)), view_of(blue, ports(1, 9), ports(2, 9))
    assert told(view_of(blue), one)[0] == (
        "the cable from 1:s1-eth9 to the overlay blue is known"
    )
    assert told(one, both) == [
        "the cable from 2:s2-eth9 to the overlay blue is known",
        "broadcasts take 2 of 2 cables",
    ]
    assert told(both, one)[0] == "the cable from 2:9 to the overlay blue is gone"


def test_it_is_in_the_log_with_its_cause() -> None:
    core, facts = Core(), cable((1, 1), (2, 2))
    ports = [row for row in facts if isinstance(row, Port)]
    rows = tuple(row for row in facts if isinstance(row, Interface))
    kernel = tuple(row for row in facts if isinstance(row, Link))
    events = [SwitchReady(port.datapath_id, (port,)) for port in ports]
    bridges = tuple(row for row in facts if isinstance(row, Bridge))
    core.handle([*events, BridgesSeen(bridges, rows)], now=0.0)
    synced = KernelSynced(kernel)
    commands = core.handle([synced], now=0.1)
    assert TellNews("the cable from s1-eth1 to s2-eth2 is known") in commands
    assert "the cable from s1-eth1" in line([synced], commands)
