"""Real kernels where rules say how they are answered: by a gateway in the switch, by
way of a firewall, by way of the router of isolated ports, or not at all."""

from __future__ import annotations

import json
from ipaddress import IPv6Address
from typing import Any

import pytest

from controller.events import NdSeen
from controller.ndp import advertisement, solicitation
from controller.packets import parse
from flows.nd import solicited_node
from tests.contracts.test_end_to_end import SOON, Controller, answers_for, dump, pings
from tests.support.nd import ask
from tests.support.ovs import Host, PrivateOvs
from tests.support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ovs]

H1, H2, MIDDLE = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:0f"
GATEWAY, IP, IP6 = "02:00:00:00:00:fe", "10.0.0.254", "fd00::fe"
OUT, IN, OUT6, IN6 = "10.0.0.1", "10.0.0.130", "fd00::1", "fd00::1:2"
ROUTES = (
    *("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"),
    *("net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0"),
    *("net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.eth0.rp_filter=0"),
)


class Lab:
    """br0, adopted: h1 and h2, and a third host at port 3 that may forward."""

    def __init__(self, ovs: PrivateOvs, *rules: str) -> None:
        self.ovs = ovs
        ovs.add_bridge("br0")
        self.h1 = self.host("h1", OUT, OUT6, H1, 1)
        self.h2 = self.host("h2", IN, IN6, H2, 2)
        lines = "".join(f"  - {rule}\n" for rule in rules)
        self.controller = Controller(
            ovs,
            f"proxy:\n{lines}bridges: {{br0: {{}}}}\n"
            f"sources: {{ovsdb: '{ovs.remote}'}}\n",
        )
        self.controller.start()
        self.wait(lambda: "priority=0" in dump(ovs), "the pipeline")

    def host(self, name: str, ip: str, ip6: str, mac: str, number: int) -> Host:
        made = self.ovs.add_host(name, "br0", f"{ip}/24", mac, ofport=number)
        self.run(made, "ip", "addr", "add", f"{ip6}/64", "dev", "eth0", "nodad")
        return made

    def add_middle(self) -> Host:
        """Who forwards between the others."""
        middle = self.host("mid", "10.0.0.5", "fd00::5", MIDDLE, 3)
        self.run(middle, "sysctl", "-qw", *ROUTES)
        return middle

    def run(self, host: Host, *words: str, check: bool = True) -> str:
        return self.ovs.run_in(host.namespace, *words, check=check).stdout

    def wait(self, condition: Any, why: str) -> None:
        wait_until(condition, within=SOON, why=why)

    def pings(self, host: Host, ip: str) -> bool:
        version = ("-6",) if ":" in ip else ()
        return pings(self.ovs, host, ip, *version)

    def neighbor(self, host: Host, ip: str) -> str:
        rows = json.loads(self.run(host, "ip", "-j", "neigh", "show", ip) or "[]")
        return str(rows[0].get("lladdr", "")) if rows else ""

    def forget(self, host: Host) -> None:
        self.run(host, "ip", "neigh", "flush", "all")

    def forwarded(self, host: Host) -> dict[int, int]:
        """Packets that this kernel has passed on, by IP version."""
        v4 = self.run(host, "cat", "/proc/net/snmp").splitlines()
        names, values = (line.split()[1:] for line in v4 if line.startswith("Ip:"))
        ours = dict(zip(names, map(int, values), strict=True))
        v6 = dict(map(str.split, self.run(host, "cat", "/proc/net/snmp6").splitlines()))
        return {4: ours["ForwDatagrams"], 6: int(v6["Ip6OutForwDatagrams"])}

    def why(self, ip: str, *words: str) -> dict[str, Any]:
        [row] = self.controller.isat("why", ip, *words)["held"]
        return dict(row)


# --- a gateway that is nowhere but in the switch --------------------------------------


GATEWAYS = (
    f"{{mode: gateway, ip: {IP}, lladdr: '{GATEWAY}'}}",
    f"{{mode: gateway, ip: '{IP6}', lladdr: '{GATEWAY}'}}",
)


@pytest.fixture
def gateway(ovs: PrivateOvs) -> Lab:
    lab = Lab(ovs, *GATEWAYS)
    lab.wait(lambda: answers_for(ovs, IP), "the gateway")
    return lab


def test_a_gateway_with_nothing_behind_it_answers_pings(gateway: Lab) -> None:
    """The kernel has checked every checksum; and so it is without a controller."""
    for ip in (IP, IP6):
        assert gateway.pings(gateway.h1, ip)
        assert gateway.neighbor(gateway.h1, ip) == GATEWAY
    gateway.controller.kill()
    gateway.forget(gateway.h2)
    for ip in (IP, IP6):
        assert gateway.pings(gateway.h2, ip)


def test_a_gateway_answers_who_asks_whether_it_lives(gateway: Lab) -> None:
    """A unicast poll of a kernel that doubts: its neighbor is confirmed."""
    for ip in (IP, IP6):
        assert gateway.pings(gateway.h1, ip)
        words = ("ip", "neigh", "replace", ip, "lladdr", GATEWAY, "dev", "eth0")
        gateway.run(gateway.h1, *words, "nud", "probe")
        gateway.wait(
            lambda ip=ip: (
                "REACHABLE" in gateway.run(gateway.h1, "ip", "neigh", "show", ip)
            ),
            f"{ip} is reachable",
        )


def test_nobody_takes_a_gateways_address(gateway: Lab) -> None:
    """Who tries finds it taken; who takes it all the same is told of, not heard."""
    lab = gateway
    assert lab.pings(lab.h1, IP)
    probe = ("arping", "-D", "-q", "-c2", "-w3", "-I", "eth0", IP)
    done = lab.ovs.run_in(lab.h2.namespace, *probe, check=False)
    assert done.returncode == 1
    lab.run(lab.h2, "ip", "addr", "add", f"{IP6}/64", "dev", "eth0")
    lab.wait(
        lambda: "dadfailed" in lab.run(lab.h2, "ip", "addr", "show", "dev", "eth0"),
        "a duplicate",
    )
    lab.run(lab.h2, "ip", "addr", "add", f"{IP}/24", "dev", "eth0")
    lab.run(lab.h2, "arping", "-q", "-U", "-c1", "-I", "eth0", IP, check=False)

    def told() -> list[Any]:
        rows = lab.controller.isat("conflicts") or []
        return [row for row in rows if row["ip"] == IP and row["lladdr"] == H2]

    lab.wait(told, "the conflict")
    assert told()[0]["against"]["lladdr"] == GATEWAY
    assert told()[0]["dropped"]
    assert lab.neighbor(lab.h1, IP) == GATEWAY
    assert lab.pings(lab.h1, IP)


def test_why_names_the_rule_and_its_line(gateway: Lab) -> None:
    row = gateway.why(IP, "--from", "h1")
    assert row["answered"]
    [rule] = row["rules"]
    assert (rule["mode"], rule["switch"]) == ("gateway", "br0")
    assert rule["where"].endswith("isat.yaml:2")
    assert row["asked"]["says"].startswith(f"the switch answers: {IP} is at {GATEWAY}")
    row = gateway.why(IP6, "--from", "h1")
    assert row["asked"]["answer"] == GATEWAY
    rules = gateway.controller.isat("status")["rules"]
    assert [rule["through"] for rule in rules] == [GATEWAY, GATEWAY]
    flows = gateway.controller.isat("explain", "br0", "--table", "gateway")
    says = f"answer who has {IP}: the gateway is at {GATEWAY}"
    assert says in {flow["says"] for flow in flows}


# --- a firewall in between ------------------------------------------------------------


def wall(fail: str) -> tuple[str, ...]:
    return tuple(
        f"{{mode: interpose, prefix: '{prefix}', lladdr: '{MIDDLE}', fail: {fail}}}"
        for prefix in ("10.0.0.128/25", "fd00::1:0/112")
    )


def behind(ovs: PrivateOvs, fail: str = "closed") -> tuple[Lab, Host]:
    lab = Lab(ovs, *wall(fail))
    firewall = lab.add_middle()
    lab.wait(lambda: answers_across(lab), "the firewall is known")
    return lab, firewall


def answers_across(lab: Lab) -> bool:
    return f"set_field:{MIDDLE}->eth_dst" in dump(lab.ovs)


def test_both_directions_pass_through_the_firewall(ovs: PrivateOvs) -> None:
    lab, firewall = behind(ovs)
    for version, out, protected in ((4, OUT, IN), (6, OUT6, IN6)):
        before = lab.forwarded(firewall)[version]
        assert lab.pings(lab.h1, protected)
        assert lab.pings(lab.h2, out)
        # Three requests and three replies each time, and all of them through it.
        assert lab.forwarded(firewall)[version] - before >= 12
    assert lab.neighbor(lab.h1, IN) == MIDDLE
    assert lab.neighbor(lab.h2, OUT) == MIDDLE
    assert lab.neighbor(firewall, IN) == H2
    assert lab.neighbor(firewall, OUT) == H1


def test_the_switch_says_what_the_firewall_would(ovs: PrivateOvs) -> None:
    """Octet by octet, whether all are asked or one."""
    lab, _ = behind(ovs)
    for eth_dst in ("", H2, MIDDLE):
        asked = solicits(OUT6, IN6, eth_dst)
        heard = parse(1, 1, asked)
        assert isinstance(heard, NdSeen)
        told = ask(ovs, lab.h1, asked, until=IN)
        expected = advertisement(heard, lladdr=MIDDLE, router=False)
        assert [frame.data for frame in told] == [expected]


def solicits(src: str, target: str, eth_dst: str) -> bytes:
    group = solicited_node(IPv6Address(target))
    return solicitation(
        eth_src=H1,
        eth_dst=eth_dst or "33:33:" + group.packed[-4:].hex(":"),
        src=IPv6Address(src),
        dst=IPv6Address(target) if eth_dst else group,
        target=IPv6Address(target),
    )


def test_who_knows_better_does_not_get_past_the_firewall(ovs: PrivateOvs) -> None:
    lab, firewall = behind(ovs)
    for version, ip in ((4, IN), (6, IN6)):
        words = ("ip", "neigh", "replace", ip, "lladdr", H2, "dev", "eth0")
        lab.run(lab.h1, *words, "nud", "permanent")
        before = lab.forwarded(firewall)[version]
        assert lab.pings(lab.h1, ip)
        assert lab.forwarded(firewall)[version] - before >= 6


def test_without_its_firewall_nothing_crosses_and_why_says_so(ovs: PrivateOvs) -> None:
    lab, firewall = behind(ovs)
    assert lab.pings(lab.h1, IN)
    lab.run(firewall, "ip", "link", "set", "eth0", "down")
    lab.wait(lambda: not answers_across(lab), "the firewall is gone")
    for host, ip in ((lab.h1, IN), (lab.h2, OUT), (lab.h1, IN6)):
        lab.forget(host)
        assert not lab.pings(host, ip)
    row = lab.why(IN, "--from", "h1")
    [rule] = row["rules"]
    missing = f"{MIDDLE} is not known to be there"
    assert missing in rule["says"] and "nothing passes" in rule["says"]
    assert missing in row["asked"]["says"]
    lab.run(firewall, "ip", "link", "set", "eth0", "up")
    lab.wait(lambda: lab.pings(lab.h1, IN), "the firewall is back")


def test_an_open_rule_lets_all_pass_without_its_firewall(ovs: PrivateOvs) -> None:
    lab = Lab(ovs, *wall("open"))
    lab.wait(lambda: lab.pings(lab.h1, IN), "a way")
    assert lab.neighbor(lab.h1, IN) == H2
    firewall = lab.add_middle()
    lab.wait(lambda: answers_across(lab), "the firewall is known")
    lab.forget(lab.h1)
    assert lab.pings(lab.h1, IN)
    assert lab.neighbor(lab.h1, IN) == MIDDLE
    lab.run(firewall, "ip", "link", "set", "eth0", "down")
    lab.wait(lambda: not answers_across(lab), "the firewall is gone")
    for ip in (IN, IN6):
        lab.forget(lab.h1)
        assert lab.pings(lab.h1, ip)
        assert lab.neighbor(lab.h1, ip) == H2
    [rule] = lab.why(IN, "--from", "h1")["rules"]
    assert f"{MIDDLE} is not known to be there" in rule["says"]


# --- ports that are isolated ----------------------------------------------------------


def test_neighbors_of_a_private_bridge_meet_through_their_router(
    ovs: PrivateOvs,
) -> None:
    lab = Lab(ovs, "{mode: private, bridge: br0, port: mid}")
    router = lab.add_middle()
    lab.wait(lambda: f"reached through {MIDDLE}" in explained(lab), "the router")
    for version, ip in ((4, IN), (6, IN6)):
        before = lab.forwarded(router)[version]
        assert lab.pings(lab.h1, ip)
        assert lab.forwarded(router)[version] - before >= 6
        assert lab.pings(router, ip)
    assert lab.neighbor(lab.h1, IN) == MIDDLE
    assert lab.pings(lab.h1, "10.0.0.5")
    row = lab.why(IN, "--from", "h1")
    assert [rule["mode"] for rule in row["rules"]] == ["private"]
    assert MIDDLE in row["rules"][0]["says"]
    assert MIDDLE in row["asked"]["says"]


def test_neighbors_of_a_private_bridge_without_a_router_do_not_meet(
    ovs: PrivateOvs,
) -> None:
    lab = Lab(ovs, "{mode: private, bridge: br0, promiscuous: [mid]}")
    free = lab.add_middle()
    lab.wait(lambda: lab.pings(lab.h1, "10.0.0.5"), "who is not isolated")
    words = ("ip", "neigh", "replace", IN, "lladdr", H2, "dev", "eth0")
    lab.run(lab.h1, *words, "nud", "permanent")
    assert not lab.pings(lab.h1, IN)
    assert not lab.pings(lab.h1, IN6)
    assert lab.pings(lab.h2, "fd00::5")
    assert lab.pings(free, IN)


def explained(lab: Lab) -> str:
    rows = lab.controller.isat("explain", "br0") or []
    return "\n".join(row["says"] for row in rows)


# --- no answers -----------------------------------------------------------------------


def test_where_answers_are_off_the_hosts_answer_themselves(ovs: PrivateOvs) -> None:
    lab = Lab(ovs, "{mode: off, bridge: br0}", f"{{mode: host, prefix: {OUT}/32}}")
    lab.wait(lambda: answers_for(ovs, OUT), "the exception")
    assert not answers_for(ovs, IN)
    assert lab.pings(lab.h1, IN)
    assert lab.neighbor(lab.h1, IN) == H2
    row = lab.why(IN, "--from", "h1")
    assert not row["answered"]
    assert row["why_not"].startswith("off by") and row["why_not"].endswith(
        "isat.yaml:2"
    )
    assert row["asked"]["says"].startswith("it is asked for at br0:h2")
