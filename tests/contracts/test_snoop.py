"""DHCP through a real switch: leases that are overheard, and servers that are none."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from controller.ethernet import octets
from tests.contracts.test_end_to_end import SOON, Controller, pings
from tests.support.dhcp import (
    ACK,
    DISCOVER,
    NAK,
    OFFER,
    RELEASE,
    REPLY,
    REQUEST,
    SOLICIT,
    DhcpEar,
    association,
    dhcp,
    dhcp6,
)
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

ROOT = Path(__file__).parents[2]
SERVER, CLIENT, ROGUE = (f"02:00:00:00:00:0{n}" for n in (1, 2, 3))
SERVER_IP, LEASED, ROGUE_IP = "10.0.0.1", "10.0.0.2", "10.0.0.3"
LEASED6 = "fd00::22"


class Lab:
    """A server at the port that the operator names, a client, and a rogue; nobody is
    shown by the kernel.  The client has no address yet."""

    def __init__(self, ovs: PrivateOvs, guard: str = "enforce") -> None:
        self.ovs = ovs
        ovs.add_bridge("br0", "fail_mode=secure")
        self.server = ovs.add_host("h1", "br0", f"{SERVER_IP}/24", SERVER, ofport=1)
        self.client = ovs.add_host("h2", "br0", "", CLIENT, ofport=2)
        self.rogue = ovs.add_host("h3", "br0", f"{ROGUE_IP}/24", ROGUE, ofport=3)
        self.controller = Controller(
            ovs,
            f"guard: {guard}\n"
            "bridges: {br0: {ports: {h1: {dhcp_server: true}}}}\n"
            f"sources: {{ovsdb: '{ovs.remote}', netlink: false}}\n",
        )
        self.controller.start()
        wait_until(self.both_are_known, within=SOON, why="two hosts")

    def both_are_known(self) -> bool:
        pings(self.ovs, self.rogue, SERVER_IP)
        return {SERVER_IP, ROGUE_IP} <= self.controller.answered().keys()

    def send(self, host: Host, *frames: bytes) -> None:
        """For half a second, each some 25 times."""
        script = str(ROOT / "tests/support/liar6.py")
        octets = [frame.hex() for frame in frames]
        self.ovs.run_in(host.namespace, sys.executable, script, "0.5", *octets)

    def exchange(self, seconds: int = 3600) -> None:
        """The client asks, and the server grants; DHCP and DHCPv6."""
        asks = dhcp(DISCOVER, client=CLIENT), dhcp6(SOLICIT, client=CLIENT)
        self.send(self.client, *asks)
        options = association((LEASED6, seconds))
        self.send(
            self.server,
            granted(LEASED, seconds),
            dhcp6(REPLY, client=CLIENT, eth_src=SERVER, options=options),
        )
        wait_until(
            lambda: {LEASED, LEASED6} <= self.leases().keys(), within=SOON, why="leases"
        )

    def leases(self) -> dict[str, Any]:
        rows = self.controller.isat("hosts") or []
        return {row["ip"]: row for row in rows if row["origin"] == "dhcp"}

    def address(self, ip: str) -> None:
        words = ("ip", "addr", "add", f"{ip}/24", "dev", "eth0")
        self.ovs.run_in(self.client.namespace, *words)


def granted(
    ip: str, seconds: int, eth_src: str = SERVER, src: str = SERVER_IP
) -> bytes:
    return dhcp(
        ACK, client=CLIENT, yiaddr=ip, seconds=seconds, eth_src=eth_src, src=src
    )


@pytest.fixture
def lab(ovs: PrivateOvs) -> Lab:
    return Lab(ovs)


def test_a_lease_is_overheard_and_its_holder_served(lab: Lab) -> None:
    lab.exchange()
    row = lab.leases()[LEASED]
    assert (row["lladdr"], row["port"]) == (CLIENT, "h2")
    assert 3000 < row["leased"] <= 3600
    lab.address(LEASED)
    assert pings(lab.ovs, lab.client, SERVER_IP)
    assert pings(lab.ovs, lab.rogue, LEASED)


def test_who_has_a_lease_uses_no_other_address(lab: Lab) -> None:
    lab.exchange()
    lab.address("10.0.0.66")
    assert not pings(lab.ovs, lab.client, SERVER_IP)
    lab.address(LEASED)
    wait_until(
        lambda: pings(lab.ovs, lab.client, SERVER_IP, "-I", LEASED),
        within=SOON,
        why="Linux asks again",
    )
    assert not pings(lab.ovs, lab.client, SERVER_IP, "-I", "10.0.0.66")


def test_a_server_that_nobody_named_is_heard_by_nobody_and_told(lab: Lab) -> None:
    ear = DhcpEar(lab.ovs, lab.client)
    offer = dhcp(OFFER, client=CLIENT, yiaddr="10.0.0.66", eth_src=ROGUE, src=ROGUE_IP)
    rogue6 = dhcp6(
        REPLY,
        client=CLIENT,
        eth_src=ROGUE,
        src="fe80::ff:fe00:3",
        options=association(("fd00::66", 60)),
    )
    lab.send(lab.rogue, offer, granted("10.0.0.66", 60, ROGUE, ROGUE_IP), rogue6)
    lab.send(lab.server, granted(LEASED, 3600))

    wait_until(lambda: ear.heard(68), within=SOON, why="the true server")
    lab.exchange()
    assert ear.heard(546)  # of the true one: the rogue's would have come before
    assert set(lab.leases()) == {LEASED, LEASED6}
    rows = lab.controller.isat("conflicts")
    told = [(row["lladdr"], row["sends"], row["dropped"]) for row in rows]
    assert (ROGUE, "DHCP server message", True) in told
    assert "rogue DHCP server" in lab.ovs.log("isat.log")


def test_who_asks_in_the_name_of_another_binds_and_cuts_off_nobody(lab: Lab) -> None:
    """The server answers to the client, which has its address from elsewhere."""
    lab.address("10.0.0.22")
    assert pings(lab.ovs, lab.client, SERVER_IP)
    question = dhcp(REQUEST, client=CLIENT)
    refused = dhcp(NAK, client=CLIENT, eth_src=SERVER, src=SERVER_IP)
    lab.send(lab.rogue, question[:6] + octets(ROGUE) + question[12:])
    lab.send(lab.server, granted(LEASED, 3600), refused)

    def overheard() -> int:
        counters = (lab.controller.isat("status") or {}).get("counters", {})
        return int(counters.get("DHCP: an answer to nobody", 0))

    wait_until(overheard, within=SOON, why="the server's answer")
    assert lab.leases() == {}
    assert pings(lab.ovs, lab.client, SERVER_IP)


def test_a_rogue_server_is_told_and_heard_where_it_is_only_watched(
    ovs: PrivateOvs,
) -> None:
    lab = Lab(ovs, "watch")
    ear = DhcpEar(ovs, lab.client)
    lab.send(lab.rogue, granted("10.0.0.66", 60, ROGUE, ROGUE_IP))
    wait_until(lambda: ear.heard(68), within=SOON, why="the rogue")

    def told() -> list[Any]:
        rows = lab.controller.isat("conflicts") or []
        return [row for row in rows if row["sends"] == "DHCP server message"]

    wait_until(told, within=SOON, why="a conflict")
    assert not told()[0]["dropped"]
    assert lab.leases() == {}


def test_a_lease_outlives_the_controller(lab: Lab) -> None:
    lab.exchange()
    lab.address(LEASED)
    assert pings(lab.ovs, lab.client, SERVER_IP)
    before = lab.leases()[LEASED]["leased"]
    lab.controller.kill()
    assert pings(lab.ovs, lab.client, SERVER_IP)
    lab.controller.start()
    wait_until(lambda: LEASED in lab.leases(), within=SOON, why="the lease")
    assert 0 < lab.leases()[LEASED]["leased"] < before


def test_a_lease_that_is_given_back_is_over(lab: Lab) -> None:
    lab.exchange()
    lab.address(LEASED)
    assert pings(lab.ovs, lab.client, SERVER_IP)
    back = dhcp(RELEASE, client=CLIENT, ciaddr=LEASED, src=LEASED)
    lab.send(lab.rogue, back)
    assert LEASED in lab.leases()
    lab.send(lab.client, back)
    wait_until(lambda: LEASED not in lab.leases(), within=SOON, why="the end")
    assert LEASED6 in lab.leases()


def test_a_lease_that_ends_is_over(lab: Lab) -> None:
    lab.exchange(seconds=20)
    wait_until(lambda: not lab.leases(), within=60, why="the end of the lease")
