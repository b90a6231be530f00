"""Who holds an address, by which evidence, and what would become of a question for it.

Everything is computed from a view, so that a saved one answers as the running
controller does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Any, NamedTuple

from flows.compile import compile_flows
from flows.dispute import Kind, Said, contradiction
from flows.evidence import evidence
from flows.hearsay import Hearsay, gathered, tellers_of
from flows.nd import solicited_node
from flows.nd_guard import ICMPV6, NO_LLADDR, SOLICITATION
from flows.network import Network, network
from flows.openflow import BROADCAST, CONTROLLER, IN_PORT, Flow
from flows.parties import Candidate, Domain, Holder, Located
from flows.pipeline import TABLE_NAMES
from flows.proxy import GATEWAY, OFF
from flows.ruled import row as ruled_row
from flows.ruled import ruled
from flows.shown import kernel_hosts
from flows.simulate import VLAN_PRESENT, Datapath, Header, Packet
from flows.view import (
    AddressKey,
    IPAddress,
    PortKey,
    Proxy,
    Silence,
    StationKey,
    View,
    namespace_name,
    switch_name,
)

NOBODY = "0.0.0.0"  # the sender of a probe (RFC 5227, 1.1)
NOT_YET_KNOWN = "02:00:00:00:00:00"  # who asks at a port where nobody is known
SWITCHES_MAX = 64  # that a question is followed through
TOLD = 8  # ports that are named

Row = dict[str, Any]


class WhyError(ValueError):
    """A name that is nobody's: where, what, and what to write."""

    def __init__(self, where: str, problem: str, hint: str = "") -> None:
        self.where, self.problem, self.hint = where, problem, hint
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: at a port, on a VLAN, with an address or, as a probe, without."""

    port: PortKey
    lladdr: str
    vlan: int = 0
    ip: IPAddress | None = None


NEVER: Mapping[AddressKey, float] = MappingProxyType({})
Life = tuple[str, float]  # a claim's state, and its last sign of life that is proven
Lives = Callable[[StationKey, IPAddress, float], Life]


class Told(NamedTuple):
    """What is known of an address beside the view: see `why`."""

    lives: Lives
    listed: Mapping[AddressKey, float]


def as_heard(key: StationKey, ip: IPAddress, heard: float) -> Life:
    """A saved view does not say what came after it."""
    return "confirmed", heard


def why(
    view: View,
    text: str,
    asker: str = "",
    now: float | None = None,
    lives: Lives = as_heard,
    listed: Mapping[AddressKey, float] = NEVER,
) -> list[Row]:
    """A row for each domain in which somebody holds the address, at least one.

    asker   name of a host or a port, or an address; "" for no question
    now     seconds on the clock of the view; None if it is a saved one
    lives   tells of signs of life that are no facts of the view
    listed  since when the kernel has listed an address, on the same clock
    """
    ip, known, tell = address(text), network(view), Told(lives, listed)
    asks = named(view, known, asker, ip.version) if asker else None
    about = [holder for (_, held), holder in known.holders.items() if held == ip]
    rumors = rumored(view, ip)
    domains = {holder.domain for holder in about} | {one.domain for one in rumors}
    asked_in_vain = (key for key in view.sponges if key.ip == ip)
    domains |= {known.domain(key.datapath_id, key.vlan) for key in asked_in_vain}
    domains |= {where.domain for where, _ in silences(known, ip)}
    if asks is not None:
        domains.add(known.domain(asks.port.datapath_id, asks.vlan))
    by_domain = {holder.domain: holder for holder in about}
    rows = [
        row(view, known, ip, by_domain.get(domain), domain, rumors, asks, now, tell)
        for domain in sorted(domains)
    ]
    return rows or [row(view, known, ip, None, None, [], None, now, tell)]


def address(text: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError:
        hint = "write one address, as 10.0.0.1"
        raise WhyError(f"address {text!a:.60}", "no IP address", hint) from None


def rumored(view: View, ip: IPAddress) -> list[Hearsay]:
    rows = (row for row in view.neighbors.values() if row.ip == ip)
    return gathered(rows, tellers_of(kernel_hosts(view)))


def row(
    view: View,
    known: Network,
    ip: IPAddress,
    holder: Holder | None,
    domain: Domain | None,
    rumors: Sequence[Hearsay],
    asks: Asker | None,
    now: float | None,
    tell: Told,
) -> Row:
    told = [hearsay(view, one) for one in rumors if one.domain == domain]
    is_asked = asks and domain == known.domain(asks.port.datapath_id, asks.vlan)
    rules = [*ruled(view, known, domain, ip)]
    silent = silence(holder, [rule for _, rule in rules])
    return {
        "ip": str(ip),
        "unanswered": list(sponged(view, known, ip, domain, now)),
        "vlan": domain.vlan if domain else 0,
        "lladdr": holder.winner.lladdr if holder else "",
        "answered": not silent,
        "why_not": silent,
        "rules": [ruled_row(*one, domain, holder) for one in rules],
        "candidates": list(candidates(view, known, holder, now, tell)),
        "silent": [
            silent_row(view, where, one, now)
            for where, one in silences(known, ip)
            if where.domain == domain
        ],
        "hearsay": told,
        "flows": [
            flow_row(view, *item)
            for item in answers(view, known, ip, domain)
            if not silent
        ],
        "asked": asked(view, known, ip, asks) if asks and is_asked else None,
    }


def silence(holder: Holder | None, rules: Sequence[Proxy]) -> str:
    """Why nobody is answered for; "" if somebody is."""
    modes = {rule.mode for rule in rules}
    if GATEWAY in modes:
        return ""
    if modes == {OFF}:
        return " and ".join(f"off by {rule.where}" for rule in rules)
    if holder is None:
        return "nobody is known to hold it"
    if holder.ip.version == 6 and holder.winner.router is None:
        return holder.silent_because or "it has not told yet whether it is a router"
    return holder.silent_because


def sponged(
    view: View, known: Network, ip: IPAddress, domain: Domain | None, now: float | None
) -> Iterator[Row]:
    """Where nobody is asked for it at present, as it did not answer."""
    for key, one in view.sponges.items():
        place = known.domain(key.datapath_id, key.vlan)
        if key.ip == ip and place == domain:
            yield {
                "switch": switch_name(view, key.datapath_id) or f"{key.datapath_id:x}",
                "asked": one.asked,
                "since": age(one.since, now),
                "for": None if now is None else round(max(0.0, one.until - now), 1),
            }


def hearsay(view: View, one: Hearsay) -> Row:
    tables = [f"{namespace_name(view, t.nsid)} {t.ifname}" for t in one.tellers]
    return {"lladdr": one.lladdr, "told_by": tables}


def silences(known: Network, ip: IPAddress) -> Iterator[tuple[Located, Silence]]:
    """Who held it, and has not answered when asked."""
    for where in known.located.values():
        for one in where.station.silent if where.station else ():
            if one.ip == ip:
                yield where, one


def silent_row(view: View, where: Located, one: Silence, now: float | None) -> Row:
    port = port_name(view, where.port)
    return {"lladdr": where.lladdr, "port": port, "since": age(one.since, now)}


def candidates(
    view: View,
    known: Network,
    holder: Holder | None,
    now: float | None,
    tell: Told,
) -> Iterator[Row]:
    """The one that is believed first."""
    if holder is None:
        return
    for one in holder.candidates:
        key = StationKey(one.port.datapath_id, holder.domain.vlan, one.lladdr)
        state, alive_at = tell.lives(key, holder.ip, one.confirmed_at or 0.0)
        yield {
            "lladdr": one.lladdr,
            "port": port_name(view, one.port),
            "origin": one.origin.name.lower(),
            "vouched": one.vouched,
            "state": state,
            "confirmed": None if one.confirmed_at is None else age(alive_at, now),
            "since": age(since(known, holder, one, tell.listed), now),
            "because": evidence(
                one, view, known, holder.domain.vlan, holder.domain.island
            ),
        }


def since(
    known: Network, holder: Holder, one: Candidate, listed: Mapping[AddressKey, float]
) -> float | None:
    """When it was last news that this one holds the address; None if nobody can tell:
    the operator's word has no age."""
    if one.confirmed_at is not None:
        return one.confirmed_at
    where = known.located.get((holder.domain, one.lladdr))
    link = where.link if where else None
    if link is None:
        return None
    return listed.get(AddressKey(link.nsid, link.ifindex, holder.ip))


def age(then: float | None, now: float | None) -> float | None:
    return None if then is None or now is None else round(max(0.0, now - then), 1)


def port_name(view: View, key: PortKey) -> str:
    """The port's name says the switch, in Mininet; elsewhere the bridge helps."""
    port = view.ports.get(key)
    name = port.ifname if port else str(key.port_no)
    switch = switch_name(view, key.datapath_id) or f"{key.datapath_id:x}"
    return name if name.startswith(f"{switch}-") else f"{switch}:{name}"


def answers(
    view: View, known: Network, ip: IPAddress, domain: Domain | None
) -> Iterator[tuple[int, Flow]]:
    """The flows that answer for it, at every switch of its domain that is known."""
    switches = sorted({key.datapath_id for key in view.ports})
    near = [
        datapath_id
        for datapath_id in switches
        if domain is None or known.domain(datapath_id, 0).island == domain.island
    ]
    for datapath_id in near[:SWITCHES_MAX]:
        for flow in compile_flows(view, datapath_id, known).values():
            if flow.subject == ip and flow.note.startswith("answer"):
                yield datapath_id, flow


def flow_row(view: View, datapath_id: int, flow: Flow) -> Row:
    return {
        "switch": switch_name(view, datapath_id) or f"{datapath_id:x}",
        "table": flow.table,
        "name": TABLE_NAMES[flow.table],
        "cookie": f"{flow.cookie:#x}",
        "flow": flow.text,
        "says": flow.note,
    }


# --- who asks -----------------------------------------------------------------------


def named(view: View, known: Network, text: str, version: int) -> Asker:
    """A port (`s1-eth1`, `s1:eth1`), a host by its namespace, or an address.

    version  of IP, of the address that is asked with
    """
    alike = [k for k in sorted(view.ports) if text in port_names(view, k)]
    at = [k for k in alike if text == number_of(k)] or alike
    if len(at) > 1:
        choice = ", ".join(port_name(view, key) for key in at[:TOLD])
        raise WhyError(f"port {text!a}", "several have that name", f"one of: {choice}")
    if at:
        return at_port(known, at[0], version)
    for where in known.located.values():
        if text in host_names(view, known, where):
            return station(known, where, text, version)
    hint = "write a port as `isat ports` names it, a host, or an address"
    raise WhyError(f"--from {text!a:.60}", "no such port and no such host", hint)


def port_names(view: View, key: PortKey) -> set[str]:
    name, switch = view.ports[key].ifname, switch_name(view, key.datapath_id)
    return {name, f"{switch}:{name}", f"{switch}:{key.port_no}", number_of(key)}


def number_of(key: PortKey) -> str:
    """What means this port alone, whatever bridges and ports are called."""
    return f"{key.datapath_id:x}:{key.port_no}"


def host_names(view: View, known: Network, where: Located) -> set[str]:
    names = {where.lladdr, *(str(ip) for ip in held_by(known, where))}
    if where.link is not None and where.has_table:
        names.add(namespace_name(view, where.link.nsid))
    return names


def held_by(known: Network, where: Located) -> list[IPAddress]:
    return sorted(
        (
            ip
            for (domain, ip), holder in known.holders.items()
            if domain == where.domain and holder.winner.lladdr == where.lladdr
        ),
        key=lambda ip: (ip.version, int(ip)),
    )


def at_port(known: Network, key: PortKey, version: int) -> Asker:
    there = (w for w in known.located.values() if w.port == key)
    first = min(there, key=lambda w: (w.domain, w.lladdr), default=None)
    if first is not None:
        return station(known, first, "", version)
    return Asker(key, NOT_YET_KNOWN, known.pvid(key) or 0)


def station(known: Network, where: Located, text: str, version: int) -> Asker:
    """With the address that it was named by, or its first."""
    mine = [ip for ip in held_by(known, where) if ip.version == version]
    chosen = next((ip for ip in mine if str(ip) == text), mine[0] if mine else None)
    return Asker(where.port, where.lladdr, where.domain.vlan, chosen)


# --- the question -------------------------------------------------------------------


def asked(view: View, known: Network, ip: IPAddress, asker: Asker) -> Row:
    """What becomes of an ARP request or a neighbor solicitation now."""
    way = Way(view, known)
    is_tagged = asker.vlan not in (0, known.pvid(asker.port))
    way.follow(asker.port.datapath_id, question(ip, asker, is_tagged))
    return {
        "from": port_name(view, asker.port),
        "lladdr": asker.lladdr,
        "ip": str(asker.ip) if asker.ip else "",
        "vlan": asker.vlan,
        "tagged": is_tagged,
        "answer": way.told,
        "ports": [port_name(view, key) for key in way.reached],
        "says": outcome(view, known, ip, asker, way),
        "flows": [flow_row(view, *item) for item in way.met],
    }


def question(ip: IPAddress, asker: Asker, is_tagged: bool) -> Packet:
    tag = {"vlan_vid": hex(VLAN_PRESENT | asker.vlan)} if is_tagged else {}
    frame = {"in_port": str(asker.port.port_no), "eth_src": asker.lladdr, **tag}
    if isinstance(ip, IPv6Address):
        return frame | solicitation(ip, asker)
    return frame | {
        "eth_dst": BROADCAST,
        "eth_type": "0x806",
        "arp_op": "1",
        "arp_sha": asker.lladdr,
        "arp_spa": str(asker.ip) if asker.ip else NOBODY,
        "arp_tha": "00:00:00:00:00:00",
        "arp_tpa": str(ip),
    }


def solicitation(ip: IPv6Address, asker: Asker) -> dict[str, str]:
    """RFC 4861, 4.3; without an address duplicate address detection (RFC 4862)."""
    group = solicited_node(ip)
    return {
        "eth_dst": "33:33:" + group.packed[-4:].hex(":"),
        "eth_type": "0x86dd",
        "ip_proto": str(ICMPV6),
        "ip_ttl": "255",
        "ipv6_src": str(asker.ip or "::"),
        "ipv6_dst": str(group),
        "icmpv6_type": str(SOLICITATION),
        "icmpv6_code": "0",
        "ipv6_nd_target": str(ip),
        "ipv6_nd_sll": asker.lladdr if asker.ip else NO_LLADDR,
        "nd_reserved": "0x0",
        "nd_options_type": "1" if asker.ip else "0",
    }


@dataclass(slots=True)
class Way:
    """A frame on its way through the switches of an island.

    met      the flows that it met, with their switch
    answer   what came back to the one who asked
    reached  ports that it left by, uplinks not counted
    is_told  the controller got a copy
    """

    view: View
    known: Network
    met: list[tuple[int, Flow]] = field(default_factory=list)
    answer: Packet | None = None
    reached: list[PortKey] = field(default_factory=list)
    is_told: bool = False

    @property
    def told(self) -> str:
        """The link-layer address that was answered; "" if none was."""
        answer = self.answer or {}
        return answer.get("arp_sha") or answer.get("ipv6_nd_tll", "")

    def follow(self, datapath_id: int, packet: Packet) -> None:
        todo, passed = [(datapath_id, packet)], 0
        while todo and passed < SWITCHES_MAX:
            here, arriving = todo.pop(0)
            passed += 1
            flows = compile_flows(self.view, here, self.known).values()
            datapath = Traced(flows)
            sent = datapath.receive(arriving)
            self.met += [(here, flow) for flow in datapath.met]
            for port_no, leaving in sent:
                todo += self.leave(PortKey(here, port_no), leaving)

    def leave(self, key: PortKey, packet: Packet) -> Iterator[tuple[int, Packet]]:
        if key.port_no == CONTROLLER:
            self.is_told = True
        elif key.port_no == IN_PORT:
            self.answer = packet
        elif key in self.known.fabric.uplinks:
            for far, arriving in self.known.fabric.beyond(key, packet):
                yield far.datapath_id, arriving
        else:
            self.reached.append(key)


class Traced(Datapath):
    """A datapath that remembers the flows of one packet."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        super().__init__(flows)
        self.met: list[Flow] = []

    def lookup(self, table: int, header: Header) -> Flow | None:
        found = super().lookup(table, header)
        if found is not None:
            self.met.append(found)
        return found


def outcome(view: View, known: Network, ip: IPAddress, asker: Asker, way: Way) -> str:
    told = "; the controller is told" if way.is_told else ""
    if way.answer is not None:
        return f"the switch answers: {ip} is at {way.told}{told}"
    if way.reached:
        names = [port_name(view, key) for key in way.reached[:TOLD]]
        more = len(way.reached) - TOLD
        also = f" and {more} more" if more > 0 else ""
        return f"it is asked for at {', '.join(names)}{also}{told}"
    if way.is_told:
        return f"the question is dropped and reported: {refused(view, known, asker)}"
    last = f": {way.met[-1][1].note}" if way.met else ""
    return f"the question goes nowhere{last}"


def refused(view: View, known: Network, asker: Asker) -> str:
    ip = asker.ip if isinstance(asker.ip, IPv4Address) else None
    said = Said(asker.port, asker.vlan, asker.lladdr, Kind.REQUEST, ip)
    found = contradiction(known, said)
    if found is None or not found.rival:
        return "who asks is not known to the kernel or the configuration"
    where = f" at {port_name(view, found.port)}" if found.port else ""
    return f"who asks contradicts {found.rival}{where}"
