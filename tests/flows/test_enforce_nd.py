"""What passes a guarded port in IPv6, and what does not."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.compile import compile_flows
from flows.dispute import (
    Contradiction,
    Kind,
    Said,
    contradiction,
    is_accepted,
    is_held_back,
)
from flows.network import network
from flows.openflow import CONTROLLER, IN_PORT
from flows.parties import Origin
from flows.simulate import simulate
from flows.view import (
    Address,
    Bridge,
    Fixed,
    Guard,
    PortKey,
    Router,
    Service,
    View,
)
from tests.facts import (
    H1,
    H2,
    H3,
    S1,
    S2,
    Fact,
    cable,
    heard_host,
    ifindex,
    kernel_host,
    ports,
    view_of,
)
from tests.packets import (
    Packet,
    advertisement,
    dad,
    frame,
    ipv6,
    nud,
    solicitation,
)

ENFORCE, WATCH = Guard("enforce"), Guard("watch")
STRANGER = "02:00:00:00:00:99"
VRRP = "00:00:5e:00:02:07"
ALL_NODES = "33:33:00:00:00:01"
OWN_LINK_LOCAL = "fe80::1"


def shown(port_no: int, lladdr: str, *ips: str, nsid: int) -> list[Fact]:
    """A namespace as `kernel_host`, with the prefix length of IPv6."""
    facts = kernel_host(S1, port_no, lladdr, *ips, nsid=nsid)
    return [replace(f, prefixlen=64) if isinstance(f, Address) else f for f in facts]


# Two hosts that the kernel shows, one that has spoken, and a port with nobody known.
LAB: tuple[Fact | list[Fact], ...] = (
    Bridge(S1, "s1"),
    [*ports(S1, 1, 2, 3, 4)],
    shown(1, H1, "fd00::1", OWN_LINK_LOCAL, nsid=0),
    shown(2, H2, "fd00::2", "fe80::2", nsid=1),
    heard_host(S1, 3, H3, "fd00::3", "fe80::3", router=False),
)
ENFORCED, WATCHED = view_of(*LAB, ENFORCE), view_of(*LAB, WATCH)


def where(view: View, packet: Packet, datapath_id: int = S1) -> list[int]:
    flows = compile_flows(view, datapath_id).values()
    return [port_no for port_no, _ in simulate(flows, packet)]


def is_refused(view: View, packet: Packet) -> bool:
    """It is told to the controller, and goes nowhere else."""
    return set(where(view, packet)) == {CONTROLLER}


def claims(at: int, own: str, ip: str, target: str = "fd00::77") -> list[Packet]:
    """Everything that says: I have this address."""
    return [
        advertisement(in_port=at, eth_src=own, target=ip),
        advertisement(in_port=at, eth_src=own, target=ip, tll=""),
        advertisement(in_port=at, eth_src=own, target=ip, flags="0xa0000000"),
        solicitation(in_port=at, eth_src=own, src=ip, target=target),
        solicitation(in_port=at, eth_src=own, src=ip, target=target, sll=""),
    ]


def attacks(at: int, own: str, ip: str, owner: str) -> list[Packet]:
    """Somebody says, in every way there is, that the owner's `ip` is theirs."""
    about = advertisement(in_port=at, eth_src=own, target=ip)
    return [
        *claims(at, own, ip),
        advertisement(in_port=at, eth_src=own, target=ip, tll=owner),
        advertisement(in_port=at, eth_src=owner, target=ip, tll=own),
        {**about, "ipv6_src": "fd00::99"},
        {**advertisement(in_port=at, eth_src=own, target="fd00::99"), "ipv6_src": ip},
        solicitation(in_port=at, eth_src=own, src=ip, sll=owner),
        ipv6(in_port=at, eth_src=own, eth_dst=H1, src=ip),
        ipv6(in_port=at, eth_src=owner, eth_dst=H1, src=ip),
        frame(in_port=at, eth_src=owner, eth_dst=ALL_NODES, eth_type=0x1234),
    ]


@pytest.mark.parametrize(
    ("ip", "owner"),
    [("fd00::2", H2), ("fe80::2", H2), ("fd00::3", H3), ("fe80::3", H3)],
)
@pytest.mark.parametrize(("at", "own"), [(1, H1), (4, STRANGER)])
def test_whatever_speaks_for_somebody_else_is_refused(
    at: int, own: str, ip: str, owner: str
) -> None:
    for packet in attacks(at, own, ip, owner):
        assert is_refused(ENFORCED, packet), packet


@pytest.mark.parametrize(("ip", "owner"), [("fd00::2", H2), ("fe80::3", H3)])
def test_watching_tells_and_lets_everything_go_its_way(ip: str, owner: str) -> None:
    for packet in attacks(4, STRANGER, ip, owner):
        unguarded = [n for n in where(view_of(*LAB), packet) if n != CONTROLLER]
        told = where(WATCHED, packet)
        assert CONTROLLER in told, packet
        assert [n for n in told if n != CONTROLLER] == unguarded, packet


def silent(view: View, packet: Packet) -> list[int]:
    return [n for n in where(view, packet) if n != CONTROLLER]


OWNERS = (
    *((1, H1, "fd00::1"), (1, H1, OWN_LINK_LOCAL), (2, H2, "fd00::2")),
    *((3, H3, "fd00::3"), (3, H3, "fe80::3")),
)


@pytest.mark.parametrize(("at", "own", "ip"), OWNERS)
def test_the_owners_are_served_as_if_nobody_guarded(at: int, own: str, ip: str) -> None:
    for packet in (
        *claims(at, own, ip),
        nud(in_port=at, eth_src=own, src=ip, eth_dst=H2, target="fd00::2"),
        ipv6(in_port=at, eth_src=own, eth_dst=H2, src=ip),
        ipv6(in_port=at, eth_src=own, eth_dst=ALL_NODES, src="::"),
        dad(in_port=at, eth_src=own, target=ip),
    ):
        assert silent(ENFORCED, packet) == silent(view_of(*LAB), packet), packet
    question = solicitation(in_port=1, eth_src=H1, src="fd00::1", target="fd00::2")
    assert where(ENFORCED, question) == [IN_PORT]


def test_what_owners_say_as_ever_costs_no_packet_in() -> None:
    for at, own, ip in OWNERS:
        for packet in (
            advertisement(in_port=at, eth_src=own, target=ip),
            solicitation(in_port=at, eth_src=own, src=ip, target="fd00::77"),
            ipv6(in_port=at, eth_src=own, eth_dst=H2, src=ip),
        ):
            assert CONTROLLER not in where(ENFORCED, packet), packet


def test_an_owner_that_becomes_a_router_says_so_and_it_is_news() -> None:
    said = advertisement(in_port=3, eth_src=H3, target="fd00::3", flags="0xa0000000")
    assert where(ENFORCED, said) == [CONTROLLER, 1, 2, 4]


def test_a_new_station_detects_duplicates_and_speaks_with_a_free_address() -> None:
    for packet in (
        dad(in_port=4, eth_src=STRANGER, target="fd00::99"),
        ipv6(in_port=4, eth_src=STRANGER, eth_dst=ALL_NODES, src="::"),
        solicitation(in_port=4, eth_src=STRANGER, src="fd00::99", target="fd00::77"),
        ipv6(in_port=4, eth_src=STRANGER, eth_dst=ALL_NODES, src="fd00::99"),
    ):
        assert silent(ENFORCED, packet) == [1, 2, 3], packet


def test_duplicate_address_detection_is_told() -> None:
    """Who is first with an address shall have it."""
    probe = dad(in_port=3, eth_src=H3, target="fd00::99")
    assert where(ENFORCED, probe) == [CONTROLLER, 1, 2, 4]
    assert where(view_of(*LAB), probe) == [CONTROLLER, 1, 2, 4]


@pytest.mark.parametrize("flags", ["0x20000000", "0xa0000000"])
def test_an_advertisement_of_what_nobody_holds_is_judged_before_it_passes(
    flags: str,
) -> None:
    """dos-new-ip6 of thc-ipv6: it would end the duplicate address detection of others.
    In watch mode nothing is held back."""
    lie = advertisement(in_port=4, eth_src=STRANGER, target="fd00::99", flags=flags)
    assert is_refused(ENFORCED, lie)
    assert where(WATCHED, lie) == [CONTROLLER, 1, 2, 3]


def test_where_the_kernel_shows_everybody_nobody_else_can_be() -> None:
    for packet in (
        frame(in_port=1, eth_src=STRANGER, eth_dst=H2, eth_type=0x1234),
        *claims(1, STRANGER, "fd00::99"),
        *claims(1, H1, "fd00::99"),
        *claims(1, H1, "fe80::99"),
        ipv6(in_port=1, eth_src=H1, eth_dst=H2, src="fd00::99"),
        ipv6(in_port=1, eth_src=H1, eth_dst=H2, src="fe80::99"),
    ):
        assert is_refused(ENFORCED, packet), packet


def test_a_router_sends_packets_of_other_networks() -> None:
    packet = ipv6(in_port=1, eth_src=H1, eth_dst=H2, src="2001:db8::8")
    assert where(ENFORCED, packet) == [2]


def test_a_tentative_address_is_detected_with_and_used_from_the_first_moment() -> None:
    row = Address(0, ifindex(S1, 1), IPv6Address("fd00::99"), 64, usable=False)
    view = view_of(*LAB, row, ENFORCE)
    probe = dad(in_port=1, eth_src=H1, target="fd00::99")
    assert silent(view, probe) == [2, 3, 4]
    for packet in claims(1, H1, "fd00::99"):
        assert silent(view, packet) == [2, 3, 4]


def test_the_operators_word_is_enforced_before_its_owner_was_ever_seen() -> None:
    view = view_of(*LAB, Fixed(0, IPv6Address("fd00::50"), STRANGER), ENFORCE)
    for packet in claims(4, "02:00:00:00:00:66", "fd00::50"):
        assert is_refused(view, packet), packet
    owner = advertisement(in_port=4, eth_src=STRANGER, target="fd00::50")
    assert where(view, owner) == [CONTROLLER, 1, 2, 3]


def test_who_was_given_an_address_may_have_others_in_ipv6() -> None:
    """Its link-local one, to begin with."""
    view = view_of(*LAB, Fixed(0, IPv6Address("fd00::50"), STRANGER), ENFORCE)
    said = solicitation(in_port=4, eth_src=STRANGER, src="fe80::99", target="fd00::77")
    assert silent(view, said) == [1, 2, 3]


def test_an_address_that_routers_share_may_come_from_everywhere() -> None:
    shared = Fixed(0, IPv6Address("fe80::254"), VRRP)
    view = view_of(*LAB, shared, heard_host(S1, 3, VRRP, "fe80::254"), ENFORCE)
    for port_no in (3, 4):
        said = advertisement(in_port=port_no, eth_src=VRRP, target="fe80::254")
        assert not is_refused(view, said)
        hello = ipv6(in_port=port_no, eth_src=VRRP, eth_dst=ALL_NODES, src="fe80::3")
        assert not is_refused(view, hello)
    assert is_refused(
        view, advertisement(in_port=4, eth_src=STRANGER, target="fe80::254")
    )
    unasked = view_of(*LAB, heard_host(S1, 3, VRRP, "fe80::254"), ENFORCE)
    elsewhere = advertisement(in_port=4, eth_src=VRRP, target="fe80::254")
    assert is_refused(unasked, elsewhere)


def test_what_comes_over_the_fabric_was_looked_at_where_it_came_in() -> None:
    view = view_of(*LAB, cable((S1, 9), (S2, 8)), ports(S2, 1), ENFORCE)
    there = advertisement(in_port=1, eth_src=STRANGER, target="fd00::2")
    assert set(where(view, there, S2)) == {CONTROLLER}
    for passing in (
        advertisement(in_port=8, eth_src=H2, target="fd00::2"),
        routing(8, H2),
    ):
        assert where(view, passing, S2) == [1]


# --- routers --------------------------------------------------------------------------


def routing(at: int, own: str, kind: int = 134, src: str = "fe80::99") -> Packet:
    """A router advertisement (134) or a redirect (137)."""
    return {
        **ipv6(in_port=at, eth_src=own, eth_dst=ALL_NODES, src=src, dst="ff02::1"),
        "ip_ttl": "255",
        "icmpv6_type": str(kind),
    }


BOTH = pytest.mark.parametrize("kind", [134, 137])


@BOTH
def test_who_is_no_router_may_not_say_that_it_is_one(kind: int) -> None:
    for packet in (routing(4, STRANGER, kind), routing(3, H3, kind, "fe80::3")):
        assert is_refused(ENFORCED, packet)
        assert where(WATCHED, packet)[0] == CONTROLLER
        assert silent(WATCHED, packet) == silent(view_of(*LAB), packet) != []


@BOTH
def test_routers_that_the_kernel_or_the_operator_shows_may(kind: int) -> None:
    forwards = Router(0, ifindex(S1, 1), True)
    packet = routing(1, H1, kind, OWN_LINK_LOCAL)
    assert is_refused(ENFORCED, packet)
    assert where(view_of(*LAB, ENFORCE, forwards), packet) == [2, 3, 4]
    uplink = Service("router", True, "s1", "s1-eth4")
    view = view_of(*LAB, ENFORCE, uplink)
    assert silent(view, routing(4, STRANGER, kind)) == [1, 2, 3]
    assert is_refused(view, routing(3, H3, kind, "fe80::3"))


@BOTH
def test_the_operators_word_on_routers_is_stronger_than_the_kernels(kind: int) -> None:
    forwards = Router(0, ifindex(S1, 1), True)
    denied = Service("router", False, "s1")
    view = view_of(*LAB, ENFORCE, forwards, denied)
    assert is_refused(view, routing(1, H1, kind, OWN_LINK_LOCAL))


def test_a_router_does_not_speak_for_another_one() -> None:
    view = view_of(*LAB, ENFORCE, Service("router", True, "s1", "s1-eth4"))
    assert is_refused(view, routing(4, STRANGER, src="fe80::2"))


def test_a_port_that_is_not_guarded_may_lead_to_any_router() -> None:
    view = view_of(*LAB, ENFORCE, Guard("learn", "s1", "s1-eth4"))
    assert silent(view, routing(4, STRANGER)) == [1, 2, 3]


def test_a_router_answers_for_the_anycast_address_of_its_subnet() -> None:
    said = advertisement(in_port=1, eth_src=H1, target="fd00::")
    assert is_refused(ENFORCED, said)
    forwards = Router(0, ifindex(S1, 1), True)
    assert where(view_of(*LAB, ENFORCE, forwards), said) == [2, 3, 4]


# --- what hides -----------------------------------------------------------------------


def test_fragments_of_neighbor_discovery_are_refused_and_those_of_pings_pass() -> None:
    """A switch does not read the type of a fragment; the hop limit tells (RFC 6980)."""
    ping = ipv6(in_port=3, eth_src=H3, eth_dst=H2, src="fd00::3")
    first = {**ping, "ip_frag": "first", "icmpv6_type": "0"}
    assert where(ENFORCED, first) == [2]
    hidden = {**first, "ip_ttl": "255"}
    assert is_refused(ENFORCED, hidden)
    assert where(WATCHED, hidden) == [CONTROLLER, 2]
    later = {**hidden, "ip_frag": "later", "ip_proto": "44"}
    assert where(ENFORCED, later) == [2]  # nobody can put it together


def test_headers_that_do_not_end_in_the_first_packet_are_refused() -> None:
    """Open vSwitch tells protocol 0 where it could not read to the end."""
    ping = ipv6(in_port=3, eth_src=H3, eth_dst=H2, src="fd00::3")
    assert is_refused(ENFORCED, {**ping, "ip_proto": "0"})


# --- one packet judged, and the flows for all of them ---------------------------------


def test_a_contradiction_names_who_is_believed_and_why() -> None:
    known, at = network(ENFORCED), PortKey(S1, 4)
    ip = IPv6Address("fd00::2")
    said = Said(at, 0, STRANGER, Kind.ADVERTISEMENT, ip)
    assert contradiction(known, said) == Contradiction(
        ip, H2, PortKey(S1, 2), Origin.KERNEL
    )
    rogue = Said(at, 0, STRANGER, Kind.ROUTER)
    assert contradiction(known, rogue) == Contradiction(None)


MACS = (H1, H2, H3, STRANGER, VRRP)
IPS = (
    *("::", "fd00::1", "fd00::2", "fd00::3", "fd00::4", "fd00::99"),
    *("fe80::1", "fe80::3", "fe80::99", "2001:db8::1", "2001:db8::8"),
)
some_facts = st.lists(
    st.sampled_from(
        [
            Fixed(0, IPv6Address("fd00::2"), H2),
            Fixed(0, IPv6Address("fd00::3"), STRANGER),
            Fixed(0, IPv6Address("fd00::4"), VRRP),
            Fixed(0, IPv6Address("fd00::4"), H1),
            Fixed(0, IPv6Address("2001:db8::1"), H3),
            Address(0, 77, IPv6Address("2001:db8::1"), 64),
            Address(0, ifindex(S1, 1), IPv6Address("fd00::4"), 64, usable=False),
            Address(1, ifindex(S1, 2), IPv6Address("fd00::1"), 64),
            *heard_host(S1, 4, STRANGER, "fd00::3", "fd00::2", router=False)[1:],
            *heard_host(S1, 3, VRRP, "fd00::4", at=1.0)[1:],
            *heard_host(S1, 2, H2, "fd00::99", router=True)[1:],
            Router(0, ifindex(S1, 1), True),
            Service("router", True, "s1", "s1-eth4"),
        ]
    ),
    unique=True,
    max_size=5,
)
at_ports, macs, ips = st.integers(1, 4), st.sampled_from(MACS), st.sampled_from(IPS)
held = st.sampled_from(IPS[1:])
solicitations = st.builds(
    lambda at, mac, src, target: (
        dad(in_port=at, eth_src=mac, target=target)
        if src == "::"
        else solicitation(in_port=at, eth_src=mac, src=src, target=target)
    ),
    at_ports,
    macs,
    ips,
    held,
)
advertisements = st.builds(
    lambda at, mac, ip, flags: advertisement(
        in_port=at, eth_src=mac, target=ip, flags=flags
    ),
    at_ports,
    macs,
    held,
    st.sampled_from(["0x20000000", "0xa0000000"]),
)
plain = st.builds(
    lambda at, mac, src: ipv6(in_port=at, eth_src=mac, eth_dst=ALL_NODES, src=src),
    at_ports,
    macs,
    ips,
)
routings = st.builds(routing, at_ports, macs, st.sampled_from([134, 137]), ips)
packets = st.one_of(solicitations, advertisements, plain, routings)

KINDS = {"135": Kind.SOLICITATION, "136": Kind.ADVERTISEMENT}
SERVICES = {"134": Kind.ROUTER, "137": Kind.REDIRECT}


def sayings(packet: Packet) -> list[Said]:
    at = PortKey(S1, int(packet["in_port"]))
    kind = packet["icmpv6_type"]
    claimed = packet["ipv6_nd_target" if kind == "136" else "ipv6_src"]
    said = Said(
        *(at, 0, packet["eth_src"], KINDS.get(kind, Kind.PACKET6)),
        IPv6Address(claimed),
    )
    source = replace(said, kind=Kind.PACKET6, ip=IPv6Address(packet["ipv6_src"]))
    if kind in SERVICES:
        return [source, replace(said, kind=SERVICES[kind], ip=None)]
    return [said] if kind == "135" else [said, source]


def is_contradicted(view: View, packet: Packet) -> bool:
    known = network(view)
    return any(contradiction(known, said) is not None for said in sayings(packet))


@settings(max_examples=200, deadline=None)
@given(some_facts, packets)
def test_the_switch_drops_exactly_what_contradicts_or_is_held_back(
    facts: list[Fact], packet: dict[str, str]
) -> None:
    view = view_of(*LAB, *distinct(facts), ENFORCE)
    known = network(view)
    held_back = any(is_held_back(known, said) for said in sayings(packet))
    refused = is_contradicted(view, packet) or held_back
    assert is_refused(view, packet) == refused


@settings(max_examples=25, deadline=None)
@given(some_facts)
def test_what_a_binding_vouches_for_is_never_dropped(facts: list[Fact]) -> None:
    view = view_of(*LAB, *distinct(facts), ENFORCE)
    known = network(view)
    for holder in known.holders.values():
        for one in holder.candidates:
            if is_accepted(known.trust, holder, one):
                at, own, ip = one.port.port_no, one.lladdr, str(holder.ip)
                for packet in (
                    *claims(at, own, ip),
                    dad(in_port=at, eth_src=own, target=ip),
                    dad(in_port=at, eth_src=own, target="fd00::77"),
                    ipv6(in_port=at, eth_src=own, eth_dst=ALL_NODES, src=ip),
                    ipv6(in_port=at, eth_src=own, eth_dst=ALL_NODES, src="::"),
                ):
                    assert not is_refused(view, packet), packet


@settings(max_examples=100, deadline=None)
@given(some_facts, st.integers(1, 4), macs, held)
def test_who_is_known_may_always_detect_duplicates(
    facts: list[Fact], at: int, mac: str, target: str
) -> None:
    view = view_of(*LAB, *distinct(facts), ENFORCE)
    known = network(view)
    where_it_is = known.located.get((known.domain(S1, 0), mac))
    if where_it_is is not None and where_it_is.port == PortKey(S1, at):
        assert not is_refused(view, dad(in_port=at, eth_src=mac, target=target))


@settings(max_examples=100, deadline=None)
@given(some_facts, packets)
def test_watching_never_changes_where_a_packet_goes(
    facts: list[Fact], packet: dict[str, str]
) -> None:
    facts = distinct(facts)
    plain_view, watched = view_of(*LAB, *facts), view_of(*LAB, *facts, WATCH)
    told = where(watched, packet)
    assert silent(watched, packet) == silent(plain_view, packet)
    if is_contradicted(watched, packet):
        assert CONTROLLER in told or not told


def distinct(facts: list[Fact]) -> list[Fact]:
    """The configuration gives an address to one station."""
    places = {(f.vlan, f.ip): f for f in facts if isinstance(f, Fixed)}
    return [*places.values(), *(f for f in facts if not isinstance(f, Fixed))]
