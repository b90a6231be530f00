"""A liar in IPv6 at a port of a real switch: kernels, forged and hidden messages."""

from __future__ import annotations

import json
import sys
from ipaddress import IPv6Address
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from controller.ethernet import framed
from controller.ndp import announcement, checksum, solicitation
from flows.nd import ALL_NODES, ALL_NODES_LLADDR, solicited_node
from flows.openflow import ETH_IPV6
from tests.contracts.test_end_to_end import SOON, Controller, pings
from tests.support.nd import Ear, Frame
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

ROOT = Path(__file__).parents[2]
GATEWAY, VICTIM, LIAR = (f"02:00:00:00:00:0{n}" for n in (1, 2, 3))
GATEWAY_IP, VICTIM_IP, LIAR_IP = (IPv6Address(f"fd00::{n}") for n in (1, 2, 3))
LIAR_LINK = IPv6Address("fe80::ff:fe00:3")
GATEWAY_LINK = IPv6Address("fe80::ff:fe00:1")
SOURCES = {"shown": "netlink: true", "heard": "netlink: false"}
ROUTER, REDIRECT, ADVERTISEMENT, SOLICITATION = 134, 137, 136, 135
PREFIX = IPv6Address("2001:db8:5::")
PINGS = 60


class Lab:
    """A gateway, its client and a liar on one bridge."""

    def __init__(
        self, ovs: PrivateOvs, guard: str, sources: str = "shown", more: str = ""
    ) -> None:
        self.ovs = ovs
        ovs.add_bridge("br0", "fail_mode=secure")
        self.gateway = self.host("h1", GATEWAY, GATEWAY_IP, 1)
        self.victim = self.host("h2", VICTIM, VICTIM_IP, 2)
        self.liar = self.host("h3", LIAR, LIAR_IP, 3)
        self.controller = Controller(
            ovs,
            f"guard: {guard}\nbridges: {{br0: {{{more}}}}}\n"
            f"sources: {{ovsdb: '{ovs.remote}', {SOURCES[sources]}}}\n"
            f"defend: {'true' if guard == 'watch' else 'false'}\n",
        )
        self.controller.start()
        wait_until(self.all_are_known, within=SOON, why="three hosts")

    def host(self, name: str, mac: str, ip: IPv6Address, number: int) -> Host:
        host = self.ovs.add_host(name, "br0", "", mac, ofport=number)
        self.run(host, "ip", "addr", "add", f"{ip}/64", "dev", "eth0", "nodad")
        return host

    def run(self, host: Host, *words: str, check: bool = True) -> str:
        return self.ovs.run_in(host.namespace, *words, check=check).stdout

    def all_are_known(self) -> bool:
        for host in (self.victim, self.liar):
            for ip in (str(GATEWAY_IP), f"{GATEWAY_LINK}%eth0"):
                pings(self.ovs, host, ip, "-6")
        known = (GATEWAY_IP, GATEWAY_LINK, VICTIM_IP, LIAR_IP, LIAR_LINK)
        everybody = set(map(str, known))
        return everybody <= self.controller.answered(6).keys()

    def lie(self, seconds: float, *told: str) -> Any:
        script = str(ROOT / "tests/support/liar6.py")
        command = (sys.executable, script, str(seconds), *told)
        liar = self.ovs.start(*command, namespace=self.liar.namespace, log="liar.log")
        wait_until(lambda: "ready" in self.ovs.log("liar.log"), why="the liar")
        return liar

    def say(self, *frames: bytes) -> None:
        """For two seconds, each some fifty times a second."""
        assert self.lie(2, *(frame.hex() for frame in frames)).wait(SOON) == 0

    def neighbor(self, host: Host, ip: IPv6Address) -> str:
        """Whom a host takes for the holder of an address."""
        words = ("ip", "-6", "-j", "neigh", "show", str(ip), "dev", "eth0")
        rows = json.loads(self.run(host, *words) or "[]")
        return str(rows[0].get("lladdr", "")) if rows else ""

    def conflicts(self) -> list[Any]:
        return self.controller.isat("conflicts") or []

    def told(self, *, ip: IPv6Address | None = None, sends: str = "") -> Any:
        """The row about the liar and this, as soon as there is one."""

        def row() -> Any:
            rows = self.conflicts()
            wanted = (LIAR, "h3", str(ip) if ip else None, sends)
            return next(
                (
                    r
                    for r in rows
                    if (r["lladdr"], r["port"], r["ip"], r["sends"]) == wanted
                ),
                None,
            )

        wait_until(row, within=SOON, why=f"a conflict about {ip or sends}")
        return row()


def icmpv6(
    kind: int,
    rest: bytes,
    *,
    src: IPv6Address = LIAR_LINK,
    dst: IPv6Address = ALL_NODES,
) -> bytes:
    """An ICMPv6 message with its checksum."""
    body = pack("!BBH", kind, 0, 0) + rest
    found = checksum(src.packed, dst.packed, body)
    return body[:2] + found.to_bytes(2, "big") + body[4:]


def packet(
    protocol: int,
    body: bytes,
    *,
    src: IPv6Address = LIAR_LINK,
    dst: IPv6Address = ALL_NODES,
    eth_src: str = LIAR,
    eth_dst: str = ALL_NODES_LLADDR,
) -> bytes:
    head = pack("!IHBB", 6 << 28, len(body), protocol, 255) + src.packed + dst.packed
    return framed(
        head + body, eth_dst=eth_dst, eth_src=eth_src, eth_type=ETH_IPV6, vlan=0
    )


def router_advertisement(lladdr: str = LIAR, src: IPv6Address = LIAR_LINK) -> bytes:
    """RFC 4861, 4.2: I am your default router for half an hour; make yourselves
    addresses out of this prefix (4.6.2)."""
    prefix = pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0) + PREFIX.packed
    source = b"\1\1" + bytes.fromhex(lladdr.replace(":", ""))
    return icmpv6(ROUTER, pack("!BBHII", 64, 0, 1800, 0, 0) + prefix + source, src=src)


def redirect(target: IPv6Address) -> bytes:
    return icmpv6(REDIRECT, bytes(4) + target.packed + GATEWAY_IP.packed)


def fragment_header(following: int, offset: int, more: bool, number: int) -> bytes:
    return pack("!BBHI", following, 0, offset | more, number)


def fragmented(body: bytes, number: int = 7) -> list[bytes]:
    """RFC 8200, 4.5; the first fragment holds the type and no option."""
    first, rest = body[:16], body[16:]
    return [
        packet(44, fragment_header(58, 0, True, number) + first),
        packet(44, fragment_header(58, 16, False, number) + rest),
    ]


def behind_options(body: bytes) -> bytes:
    """Behind a hop-by-hop and a destination options header, which pad (RFC 7113)."""
    pad = b"\1\4\0\0\0\0"
    return packet(0, bytes((60, 0)) + pad + bytes((58, 0)) + pad + body)


def cut_in_the_headers(body: bytes, number: int = 9) -> list[bytes]:
    """The first fragment ends within a destination options header (RFC 7112)."""
    options = bytes((58, 1)) + b"\1\014" + bytes(12)
    whole = options + body
    return [
        packet(44, fragment_header(60, 0, True, number) + whole[:8]),
        packet(44, fragment_header(60, 8, False, number) + whole[8:]),
    ]


def kind_is(kind: int, lladdr: str = LIAR) -> Any:
    octets = bytes.fromhex(lladdr.replace(":", ""))
    return lambda frame: frame.kind == kind and frame.data[6:12] == octets


def is_from_liar(frame: Frame) -> bool:
    return frame.data[6:12] == bytes.fromhex(LIAR.replace(":", ""))


def lies() -> list[bytes]:
    """About the gateway, to its client."""
    group = solicited_node(VICTIM_IP)
    return [
        announcement(lladdr=LIAR, ip=GATEWAY_IP, router=False, vlan=0),
        announcement(lladdr=LIAR, ip=GATEWAY_LINK, router=True, vlan=0),
        solicitation(
            eth_src=LIAR,
            eth_dst="33:33:" + group.packed[-4:].hex(":"),
            src=GATEWAY_IP,
            dst=group,
            target=VICTIM_IP,
        ),
    ]


# --- enforced -------------------------------------------------------------------------


@pytest.mark.parametrize("sources", SOURCES)
def test_where_it_is_enforced_no_table_changes_and_no_ping_is_lost(
    ovs: PrivateOvs, sources: str
) -> None:
    lab = Lab(ovs, "enforce", sources)
    ear = Ear(ovs, lab.victim)
    liar = lab.lie(5, *(frame.hex() for frame in lies()))
    command = ("ping", "-6", "-c", str(PINGS), "-i", "0.05", "-W", "2", str(GATEWAY_IP))
    said = lab.run(lab.victim, *command, check=False)
    believed = {lab.neighbor(lab.victim, GATEWAY_IP)}
    while liar.poll() is None:
        believed.add(lab.neighbor(lab.victim, GATEWAY_IP))

    assert (believed, f"{PINGS} received" in said) == ({GATEWAY}, True)
    forged = [f for f in ear.heard(is_from_liar) if f.kind in (135, 136)]
    honest = [f for f in forged if f.data[22:38] in (LIAR_IP.packed, LIAR_LINK.packed)]
    assert len(forged) == len(honest)
    row = lab.told(ip=GATEWAY_IP)
    assert (row["against"]["lladdr"], row["dropped"]) == (GATEWAY, True)
    assert {"advertisement", "solicitation"} <= row["counts"].keys()
    assert pings(ovs, lab.liar, str(GATEWAY_IP), "-6")  # who lies is still a host


HIDDEN = {
    "plain": lambda: [packet(58, router_advertisement())],
    "behind options": lambda: [behind_options(router_advertisement())],
    "fragmented": lambda: fragmented(router_advertisement()),
    "cut in the headers": lambda: cut_in_the_headers(router_advertisement()),
    "redirect": lambda: [packet(58, redirect(LIAR_LINK))],
}


@pytest.mark.parametrize("how", HIDDEN)
def test_nobody_hears_a_rogue_router_however_it_hides(
    ovs: PrivateOvs, how: str
) -> None:
    """Of a kernel that would put together fragments of neighbor discovery."""
    lab = Lab(ovs, "enforce", "heard")
    conf = "net.ipv6.conf.eth0.suppress_frag_ndisc=0"
    lab.run(lab.victim, "sysctl", "-qw", conf)
    before = lab.run(lab.victim, "ip", "-6", "route")

    lab.say(*HIDDEN[how]())

    assert lab.run(lab.victim, "ip", "-6", "route") == before
    kinds = {
        **{"plain": "router advertisement", "behind options": "router advertisement"},
        "redirect": "redirect",
    }
    row = lab.told(sends=kinds.get(how, "hidden ICMPv6"))
    assert row["dropped"]
    assert f"{LIAR} at br0:h3 sends" in ovs.log("isat.log")


@pytest.mark.parametrize("how", ["plain", "behind options", "fragmented"])
def test_the_same_rogue_router_is_believed_where_nobody_guards(
    ovs: PrivateOvs, how: str
) -> None:
    lab = Lab(ovs, "learn", "heard")
    conf = "net.ipv6.conf.eth0.suppress_frag_ndisc=0"
    lab.run(lab.victim, "sysctl", "-qw", conf)
    lab.say(*HIDDEN[how]())
    assert f"default via {LIAR_LINK}" in lab.run(lab.victim, "ip", "-6", "route")


def test_long_pings_pass_in_fragments(ovs: PrivateOvs) -> None:
    lab = Lab(ovs, "enforce", "heard")
    assert pings(ovs, lab.victim, str(GATEWAY_IP), "-6", "-s", "4000")


def test_a_trusted_router_gives_addresses_that_work(ovs: PrivateOvs) -> None:
    """SLAAC: who makes itself an address is not cut off, at an enforced port."""
    lab = Lab(ovs, "enforce", "heard", "ports: {h1: {router: true}}")
    body = router_advertisement(GATEWAY, GATEWAY_LINK)
    frame = packet(58, body, src=GATEWAY_LINK, eth_src=GATEWAY)
    lab.liar, liar = lab.gateway, lab.liar
    lab.say(frame)
    made = [f"{PREFIX}ff:fe00:{n}" for n in (2, 3)]

    def works() -> bool:
        return pings(ovs, lab.victim, made[1], "-6", "-I", made[0])

    wait_until(works, within=SOON, why="the new addresses")
    wait_until(
        lambda: set(made) <= lab.controller.answered(6).keys(),
        within=SOON,
        why="claims",
    )
    assert lab.conflicts() == []
    assert pings(ovs, liar, made[0], "-6")


@pytest.mark.parametrize("sources", SOURCES)
def test_nobody_is_kept_from_a_new_address(ovs: PrivateOvs, sources: str) -> None:
    """dos-new-ip6: whatever is probed for, the liar says that it has it."""
    lab = Lab(ovs, "enforce", sources)
    liar = lab.lie(30, "contest", LIAR)
    new = "fd00::22"
    lab.run(lab.victim, "ip", "addr", "add", f"{new}/64", "dev", "eth0")

    def state() -> str:
        words = ("ip", "-6", "addr", "show", "dev", "eth0", "to", new)
        return lab.run(lab.victim, *words)

    wait_until(lambda: "tentative" not in state(), within=SOON, why="detection")
    assert "dadfailed" not in state()
    contested = IPv6Address(new).packed.hex()
    wait_until(lambda: contested in ovs.log("liar.log"), why="the liar has heard it")
    wait_until(
        lambda: lab.controller.answered(6).get(new) == VICTIM, within=SOON, why="claim"
    )
    assert pings(ovs, lab.gateway, new, "-6")
    # Where the kernel shows the liar, it has nothing to lose to anybody.
    rival = {"shown": "", "heard": VICTIM}[sources]
    assert lab.told(ip=IPv6Address(new))["against"]["lladdr"] == rival
    liar.terminate()
    liar.wait()


def test_the_same_liar_keeps_anybody_from_anything_where_nobody_guards(
    ovs: PrivateOvs,
) -> None:
    lab = Lab(ovs, "learn", "heard")
    liar = lab.lie(30, "contest", LIAR)
    lab.run(lab.victim, "ip", "addr", "add", "fd00::22/64", "dev", "eth0")
    words = ("ip", "-6", "addr", "show", "dev", "eth0", "dadfailed")
    wait_until(
        lambda: "fd00::22" in lab.run(lab.victim, *words), within=SOON, why="a failure"
    )
    liar.terminate()
    liar.wait()


# --- watched --------------------------------------------------------------------------


def test_where_it_is_watched_every_lie_is_told_and_the_owner_is_defended(
    ovs: PrivateOvs,
) -> None:
    lab = Lab(ovs, "watch")
    ear = Ear(ovs, lab.victim)

    lab.say(
        *lies(), packet(58, router_advertisement()), packet(58, redirect(LIAR_LINK))
    )

    for kind in (ROUTER, REDIRECT):
        assert ear.heard(kind_is(kind))
    row = lab.told(ip=GATEWAY_IP)
    assert (row["against"]["lladdr"], row["dropped"]) == (GATEWAY, False)
    assert not lab.told(sends="router advertisement")["dropped"]
    assert not lab.told(sends="redirect")["dropped"]
    wait_until(
        lambda: lab.neighbor(lab.victim, GATEWAY_IP) == GATEWAY, within=30, why="truth"
    )
    assert lab.controller.isat("status")["counters"]["announcements for owners"] >= 1
    assert pings(ovs, lab.victim, str(GATEWAY_IP), "-6")
