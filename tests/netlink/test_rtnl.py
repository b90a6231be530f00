"""The codec: octets as the kernel writes them, and octets as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.netlink import rtnl
from controller.netlink.rtnl import (
    addr,
    framing,
    link,
    neigh,
    netconf,
    nexthop,
    nsid,
    route,
    rule,
    tc,
)

# RTM_NEWLINK of a veth whose other end is interface 10 of namespace 0, as captured
# from Linux 6.18 (without attributes that no table has).
VETH = bytes.fromhex(
    "00000100" "02000000" "43100100" "00000000"  # ifinfomsg: ETHER, 2, UP..LOWER_UP
    "0a000300" "65746830" "00000000"  # IFLA_IFNAME "eth0"
    "08000400" "dc050000"  # IFLA_MTU 1500
    "05001000" "06000000"  # IFLA_OPERSTATE up
    "05002100" "01000000"  # IFLA_CARRIER
    "08000500" "0a000000"  # IFLA_LINK 10
    "08002500" "00000000"  # IFLA_LINK_NETNSID 0
    "0a000100" "020000000001" "0000"  # IFLA_ADDRESS
    "0c001280" "08000100" "76657468"  # IFLA_LINKINFO | NLA_F_NESTED: "veth"
)  # fmt: skip
TAP = bytes.fromhex(
    "00000100" "03000000" "02100000" "00000000"
    "09000300" "74617030" "00000000"  # "tap0"
    "28001280" "08000100" "74756e00"  # IFLA_INFO_KIND "tun"
    "1c000280" "05000300" "02000000"  # IFLA_INFO_DATA, IFLA_TUN_TYPE tap
    "08000100" "e8030000"  # IFLA_TUN_OWNER 1000
    "05000600" "01000000"  # IFLA_TUN_PERSIST
    "18003480" "0b003500" "7365636f6e6400" "00"  # IFLA_PROP_LIST: "second"
    "07003500" "ff7800" "00"  # and a name that is not UTF-8
)  # fmt: skip
IPV4 = bytes.fromhex(
    "02188000" "02000000"  # ifaddrmsg: inet /24, permanent, global, interface 2
    "08000100" "0a000001"  # IFA_ADDRESS 10.0.0.1
    "08000200" "0a000001"  # IFA_LOCAL
    "08000400" "0a0000ff"  # IFA_BROADCAST
    "09000300" "65746830" "00000000"  # IFA_LABEL "eth0"
    "08000800" "80000000"  # IFA_FLAGS permanent
)  # fmt: skip
IPV6 = bytes.fromhex(
    "0a40c0fd" "02000000"  # inet6 /64, permanent tentative, link, interface 2
    "14000100" "fe800000000000000000000000000001"
    "08000800" "c0000000"
)  # fmt: skip
NEIGHBOR = bytes.fromhex(
    "02000000" "02000000" "02000001"  # ndmsg: inet, interface 2, REACHABLE
    "08000100" "0a000002" "0a000200" "020000000002" "0000"
)  # fmt: skip
NSID = bytes.fromhex("000000000800010005000000")
# As Linux 6.18 tells them in dumps; interface 2 is a bridge.
ROUTE = bytes.fromhex(
    "02100000" "fe030001" "00000000"  # rtmsg: inet /16, main, static, universe, unicast
    "08000f00" "fe000000"  # RTA_TABLE 254
    "08000100" "0a0a0000"  # RTA_DST 10.10.0.0
    "08000600" "07000000"  # RTA_PRIORITY 7
    "08001e00" "04000000"  # RTA_NH_ID 4
    "08000500" "0a010004"  # RTA_GATEWAY 10.1.0.4
    "08000400" "02000000"  # RTA_OIF 2
)  # fmt: skip
TWO_WAYS = bytes.fromhex(
    "02100000" "fe030001" "00000000" "08000f00" "fe000000" "08000100" "0a090000"
    "24000900"  # RTA_MULTIPATH
    "10000001" "02000000" "08000500" "0a010002"  # rtnexthop: weight 2, 10.1.0.2
    "10000000" "02000000" "08000500" "0a010003"
)  # fmt: skip
VIA_INET6 = bytes.fromhex(
    "02100000" "fe030001" "00000000" "08000f00" "fe000000" "08000100" "0a0b0000"
    "0c000800" "08000200" "14050000"  # RTA_METRICS: RTAX_MTU 1300
    "16001200" "0a00" "fe800000000000000000000000000009" "0000"  # RTA_VIA
    "08000400" "02000000"
)  # fmt: skip
RULE = bytes.fromhex(
    "02001000" "4d000001" "00000000"  # fib_rule_hdr: inet, from /16, table 77, lookup
    "08000f00" "4d000000" "08000e00" "ffffffff" "05001500" "00000000"
    "07000300" "76310000"  # FRA_IIFNAME "v1"
    "08000600" "fd7f0000" "08000a00" "03000000" "08001000" "07000000"
    "08001700" "01000900"  # FRA_SPORT_RANGE 1-9
    "08000200" "0a030000"  # FRA_SRC 10.3.0.0
)  # fmt: skip
NEXTHOP = bytes.fromhex(
    "02fd0000" "00000000" "08000100" "04000000"
    "08000500" "02000000" "08000600" "0a010004"
)  # fmt: skip
GROUP = bytes.fromhex(
    "00000000" "00000000" "08000100" "05000000" "06000300" "00000000"
    "0c000200" "04000000" "02000000" "08000e00" "00000080"
)  # fmt: skip
LEARNED = bytes.fromhex(
    "07000000" "04000000" "02000000"  # ndmsg: AF_BRIDGE, interface 4, REACHABLE
    "0a000200" "ee2d1ae542da" "0000" "08000900" "02000000" "08000f00" "00000000"
)  # fmt: skip
TUNNELLED = bytes.fromhex(
    "07000000" "05000000" "c0000201"
    "0a000200" "020000000009" "0000" "08000100" "0a010007" "08000700" "08000000"
)  # fmt: skip
PROXY = bytes.fromhex("020000000200000000000801080001000a010009")
NETCONF = bytes.fromhex(
    "02000000" "08000100" "02000000" "08000200" "01000000" "08000300" "02000000"
    "08000400" "00000000" "08000800" "00000000" "08000500" "01000000"
    "08000600" "00000000"
)  # fmt: skip
# tc qdisc add dev s1-eth1 root handle 5:0 htb default 1
# tc class add dev s1-eth1 parent 5:0 classid 5:1 htb rate 10Mbit burst 15k
HTB = bytes.fromhex(
    "00000000" "03000000" "00000500" "ffffffff" "03000000"  # tcmsg: interface 3, root
    "08000100" "68746200"  # TCA_KIND "htb"
    "24000280"  # TCA_OPTIONS | NLA_F_NESTED
    "18000200" "11000300" "0a000000" "01000000" "00000000" "00000000"  # TCA_HTB_INIT
    "08000500" "e8030000"  # TCA_HTB_DIRECT_QLEN
)  # fmt: skip
HTB_CLASS = bytes.fromhex(
    "00000000" "03000000" "01000500" "ffffffff" "00000000"
    "08000100" "68746200"
    "34000280" "30000100"  # TCA_HTB_PARMS
    "00010000" "00000000" "d0121300"  # tc_ratespec: 1250000 octets per second
    "00010000" "00000000" "d0121300"  # that of ceil
    "00ee0200" "204e0000" "48e80100" "00000000" "00000000"
)  # fmt: skip
# tc class add dev x1 parent 7:1 classid 7:3 htb rate 1Mbit ceil 40Gbit
HTB_LENT = bytes.fromhex(
    "00000000" "05000000" "03000700" "01000700" "00000000"
    "08000100" "68746200"
    "40000280" "30000100"
    "00010000" "00000000" "48e80100" "00010000" "00000000" "ffffffff"
    "400d0300" "00000000" "d4300000" "00000000" "00000000"
    "0c000700" "00f2052a" "01000000"  # TCA_HTB_CEIL64
)  # fmt: skip
# tc qdisc add dev s2-eth1 root handle 6: tbf rate 40Gbit burst 50m latency 1ms
TBF = bytes.fromhex(
    "00000000" "02000000" "00000600" "ffffffff" "03000000"
    "08000100" "74626600"  # "tbf"
    "38000280" "28000100"  # TCA_TBF_PARMS
    "00010000" "00000000" "ffffffff" "00000000" "00000000" "00000000"
    "00404b6c" "03ff7f02" "00000000"
    "0c000400" "00f2052a" "01000000"  # TCA_TBF_RATE64
)  # fmt: skip
BODIES = {
    link.RTM_NEWLINK: VETH,
    link.RTM_DELLINK: TAP,
    addr.RTM_NEWADDR: IPV4,
    addr.RTM_DELADDR: IPV6,
    neigh.RTM_NEWNEIGH: NEIGHBOR,
    nsid.RTM_NEWNSID: NSID,
    neigh.RTM_DELNEIGH: TUNNELLED,
    route.RTM_NEWROUTE: TWO_WAYS,
    route.RTM_DELROUTE: VIA_INET6,
    rule.RTM_NEWRULE: RULE,
    nexthop.RTM_NEWNEXTHOP: GROUP,
    netconf.RTM_NEWNETCONF: NETCONF,
    tc.RTM_NEWQDISC: HTB,
    tc.RTM_DELQDISC: TBF,
    tc.RTM_NEWTCLASS: HTB_CLASS,
    tc.RTM_DELTCLASS: HTB_LENT,
}


def decoded(kind: int, body: bytes) -> rtnl.Value | None:
    return rtnl.decode(rtnl.Message(kind, 0, 0, body))


def test_a_veth() -> None:
    row = link.Link(
        ifname="eth0",
        ifi_type=1,
        ifi_flags=0x11043,
        mtu=1500,
        address="02:00:00:00:00:01",
        operstate="UP",
        carrier=True,
        link=10,
        link_netnsid=0,
        kind="veth",
    )
    assert decoded(link.RTM_NEWLINK, VETH) == rtnl.Record("link", 2, row)


def test_a_tap_with_names_of_any_octets() -> None:
    message = decoded(link.RTM_NEWLINK, TAP)
    assert isinstance(message, rtnl.Record)
    assert message.row.kind == "tun"
    assert message.row.info == (("type", "tap"), ("owner", 1000), ("persist", 1))
    assert message.row.altnames == ("second", "\udcffx")


def test_an_ipv4_address() -> None:
    key = addr.AddrKey(2, 2, 24, "10.0.0.1", "10.0.0.1")
    row = addr.Addr(ifa_flags=0x80, ifa_scope=0, label="eth0", broadcast="10.0.0.255")
    assert decoded(addr.RTM_NEWADDR, IPV4) == rtnl.Record("addr", key, row)


def test_an_ipv6_address_has_no_ifa_local() -> None:
    key = addr.AddrKey(10, 2, 64, "fe80::1", "fe80::1")
    row = addr.Addr(ifa_flags=0xC0, ifa_scope=253)
    assert decoded(addr.RTM_NEWADDR, IPV6) == rtnl.Record("addr", key, row)


def test_a_reachable_neighbor_is_shown_as_stale() -> None:
    key = neigh.NeighKey(2, 2, "10.0.0.2")
    row = neigh.Neigh("02:00:00:00:00:02", neigh.NUD_STALE, 0)
    assert decoded(neigh.RTM_NEWNEIGH, NEIGHBOR) == rtnl.Record("neigh", key, row)


def test_a_neighbor_that_does_not_answer_is_no_row() -> None:
    incomplete = NEIGHBOR[:8] + b"\x01\x00" + NEIGHBOR[10:]
    message = decoded(neigh.RTM_NEWNEIGH, incomplete)
    assert isinstance(message, rtnl.Record)
    assert message.row is None


def test_a_namespace() -> None:
    assert decoded(nsid.RTM_NEWNSID, NSID) == rtnl.NsidMessage(5)


def record(kind: int, body: bytes) -> rtnl.Record:
    value = decoded(kind, body)
    assert isinstance(value, rtnl.Record)
    return value


def test_a_route_that_names_a_next_hop() -> None:
    table, key, row = record(route.RTM_NEWROUTE, ROUTE)
    assert (table, row) == ("route", route.Route(rtm_flags=0))
    assert (key.dst, key.rtm_dst_len, key.rtm_table) == ("10.10.0.0", 16, 254)
    assert (key.oif, key.gateway, key.nh_id, key.priority) == (2, "10.1.0.4", 4, 7)
    assert (key.src, key.rtm_src_len) == ("0.0.0.0", 0)


def test_a_route_with_two_ways() -> None:
    key = record(route.RTM_NEWROUTE, TWO_WAYS).key
    assert key.nexthops == (route.Hop(2, "10.1.0.2", 2), route.Hop(2, "10.1.0.3", 1))
    assert (key.oif, key.gateway) == (None, None)


def test_an_ipv4_route_by_way_of_an_ipv6_neighbor() -> None:
    _, key, row = record(route.RTM_NEWROUTE, VIA_INET6)
    assert (key.dst, key.gateway) == ("10.11.0.0", "fe80::9")
    assert row.metrics == (("mtu", 1300),)


def test_flags_of_a_route_are_no_part_of_which_route_it_is() -> None:
    linkdown = ROUTE[:8] + b"\x10" + ROUTE[9:]
    before, after = (record(route.RTM_NEWROUTE, body) for body in (ROUTE, linkdown))
    assert before.key == after.key
    assert after.row.rtm_flags == 16


def test_a_copy_of_a_route_in_a_cache_is_nothing() -> None:
    cloned = ROUTE[:9] + b"\x02" + ROUTE[10:]
    assert decoded(route.RTM_NEWROUTE, cloned) is None


def test_a_rule() -> None:
    table, key, row = record(rule.RTM_NEWRULE, RULE)
    assert (table, row) == ("rule", rule.Rule(protocol=0))
    assert key == rule.RuleKey(
        family=2, priority=32765, action=1, table=77, invert=False,
        src="10.3.0.0", src_len=16, dst="0.0.0.0", dst_len=0, tos=0,
        iifname="v1", fwmark=3, fwmask=7, sport_range=(1, 9),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value"),
    [(11, b"\1\0\0\0"), (25, b"\1"), (26, bytes(4)), (27, bytes(4)),
     (28, b"\1\0"), (29, b"\1\0"), (30, b"\1")],
)  # fmt: skip
def test_rules_that_differ_in_anything_have_different_keys(
    kind: int, value: bytes
) -> None:
    """FRA_FLOW, FRA_DSCP to FRA_DSCP_MASK (Linux 6.11 to 6.15)."""
    other = record(rule.RTM_NEWRULE, RULE + framing.attribute(kind, value))
    assert other.key != record(rule.RTM_NEWRULE, RULE).key


def test_a_next_hop_and_a_group_of_them() -> None:
    one = nexthop.Nexthop(2, 253, 0, 0, oif=2, gateway="10.1.0.4")
    assert record(104, NEXTHOP) == rtnl.Record("nexthop", nexthop.NexthopKey(4), one)
    group = record(nexthop.RTM_NEWNEXTHOP, GROUP)
    assert (group.key, group.row.group) == (nexthop.NexthopKey(5), ((4, 3),))


def test_where_a_bridge_and_a_tunnel_send_to() -> None:
    key = neigh.FdbKey(4, "ee:2d:1a:e5:42:da", None, None, None, 0)
    assert record(28, LEARNED) == rtnl.Record("fdb", key, neigh.Fdb(2, master=2))
    key = neigh.FdbKey(5, "02:00:00:00:00:09", None, "10.1.0.7", 8, neigh.NTF_SELF)
    assert record(28, TUNNELLED).key == key


def test_a_learned_entry_that_has_aged_is_the_same() -> None:
    stale = LEARNED[:8] + b"\x04" + LEARNED[9:]
    assert record(28, stale) == record(28, LEARNED)


def test_group_addresses_that_a_device_listens_to_are_nothing() -> None:
    group = TUNNELLED[:16] + b"\x33" + TUNNELLED[17:24]
    assert decoded(neigh.RTM_NEWNEIGH, group) is None


def test_what_the_kernel_is_a_proxy_for() -> None:
    key = neigh.NeighKey(2, 2, "10.1.0.9", proxy=True)
    assert record(28, PROXY) == rtnl.Record("neigh", key, neigh.Neigh(None, 0, 0))


def test_settings_of_an_interface() -> None:
    _, key, row = record(netconf.RTM_NEWNETCONF, NETCONF)
    assert key == netconf.NetconfKey(2, 2)
    assert (row.forwarding, row.rp_filter, row.proxy_neigh) == (1, 2, 1)


def test_an_event_of_settings_tells_only_what_has_changed() -> None:
    before = record(netconf.RTM_NEWNETCONF, NETCONF).row
    told = netconf.Netconf(forwarding=0)
    after = told.merged_into(before)
    assert (after.forwarding, after.rp_filter, after.proxy_neigh) == (0, 2, 1)


ROOT = 0xFFFFFFFF  # TC_H_ROOT


def test_a_qdisc_htb_and_the_class_that_it_sends_by_default() -> None:
    key = tc.TcKey(3, 0x50000)
    assert record(tc.RTM_NEWQDISC, HTB) == rtnl.Record(
        "tc", key, tc.Tc(ROOT, "htb", defcls=1)
    )
    key = tc.TcKey(3, 0x50001)
    assert record(tc.RTM_NEWTCLASS, HTB_CLASS) == rtnl.Record(
        "tc", key, tc.Tc(ROOT, "htb", rate=1_250_000, ceil=1_250_000)
    )


def test_rates_that_32_bits_do_not_hold() -> None:
    lent, tbf = record(tc.RTM_NEWTCLASS, HTB_LENT), record(tc.RTM_NEWQDISC, TBF)
    assert lent == rtnl.Record(
        "tc",
        tc.TcKey(5, 0x70003),
        tc.Tc(0x70001, "htb", rate=125_000, ceil=5_000_000_000),
    )
    assert tbf.row == tc.Tc(ROOT, "tbf", rate=5_000_000_000)


def test_classes_are_asked_for_where_there_is_htb() -> None:
    rows = {r.key: r.row for r in (record(tc.RTM_NEWQDISC, b) for b in (HTB, TBF))}
    [(kind, body)] = tc.TABLE.further(rows)
    assert (kind, body) == (tc.RTM_GETTCLASS, HTB[:8] + bytes(4) + HTB[8:12] + bytes(4))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (link.RTM_DELLINK, b"\x07" + VETH[1:]),  # AF_BRIDGE: a port left its bridge
        (link.RTM_NEWLINK, VETH + bytes.fromhex("04000b00")),  # IFLA_WIRELESS
        (neigh.RTM_GETNEIGH, NEIGHBOR),  # the kernel asks for a neighbor
        (addr.RTM_NEWADDR, b"\x81" + IPV4[1:]),  # no internet protocol
        (route.RTM_NEWROUTE, b"\x1c" + ROUTE[1:]),  # MPLS
        (44, b""),  # RTM_NEWTFILTER: no table here
        (tc.RTM_NEWQDISC, HTB[:8] + bytes(4) + HTB[12:]),  # nobody has configured it
        (tc.RTM_NEWTCLASS, TBF),  # of no kind that has rates
        (tc.RTM_NEWTCLASS, HTB),  # a class without a number would be its qdisc
    ],
    ids=[
        *("bridge port", "wireless", "question", "family", "mpls", "filter"),
        *("no handle", "class of tbf", "class 0"),
    ],
)
def test_what_no_table_is_made_of_is_nothing(kind: int, body: bytes) -> None:
    assert decoded(kind, body) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (link.RTM_NEWLINK, VETH[:15]),
        (link.RTM_NEWLINK, VETH[:16]),
        (link.RTM_NEWLINK, VETH[:16] + b"\xff\xff" + VETH[18:]),
        (link.RTM_NEWLINK, VETH + bytes.fromhex("060004000000")),
        (addr.RTM_NEWADDR, IPV4[:8]),
        (addr.RTM_NEWADDR, b"\x0a" + IPV4[1:]),
        (neigh.RTM_NEWNEIGH, NEIGHBOR[:12]),
        (nsid.RTM_NEWNSID, NSID[:4]),
        (route.RTM_NEWROUTE, TWO_WAYS[:32] + b"\xff" + TWO_WAYS[33:]),
        (route.RTM_NEWROUTE, VIA_INET6[:-12]),
        (nexthop.RTM_NEWNEXTHOP, NEXTHOP[:8]),
        (netconf.RTM_NEWNETCONF, NETCONF[:4]),
        (tc.RTM_NEWQDISC, HTB[:20]),
        (tc.RTM_NEWQDISC, HTB[:28] + b"\xff\xff" + HTB[30:]),
        (tc.RTM_NEWTCLASS, HTB_LENT[:-4]),
    ],
    ids=[
        *("header", "no name", "length", "mtu", "no address", "ipv6", "no dst"),
        *("nsid", "hop", "via", "no id", "no ifindex"),
        *("no kind", "no room", "rate"),
    ],
)
def test_what_is_not_what_its_header_says_is_malformed(kind: int, body: bytes) -> None:
    with pytest.raises(rtnl.Malformed):
        decoded(kind, body)


def test_a_datagram_holds_messages_one_after_the_other() -> None:
    one = framing.encode(addr.RTM_NEWADDR, 0, 7, IPV4)
    two = framing.encode(nsid.RTM_NEWNSID, 0, 7, NSID)
    assert list(rtnl.messages(one + two)) == [
        rtnl.Message(addr.RTM_NEWADDR, 0, 7, IPV4),
        rtnl.Message(nsid.RTM_NEWNSID, 0, 7, NSID),
    ]


@pytest.mark.parametrize("cut", [1, 15, 17])
def test_a_datagram_that_is_cut_off_is_malformed(cut: int) -> None:
    with pytest.raises(rtnl.Malformed):
        list(rtnl.messages(framing.encode(nsid.RTM_NEWNSID, 0, 7, NSID)[:cut]))


def test_an_error_says_what_the_kernel_says() -> None:
    words = framing.attribute(framing.NLMSGERR_ATTR_MSG, b"ifindex can't be negative\0")
    refused = framing.NLMSGHDR.pack(20, link.RTM_GETLINK, 1, 7, 0)
    flags = framing.NLM_F_CAPPED | framing.NLM_F_ACK_TLVS
    body = framing.S32.pack(-22) + refused + words
    message = rtnl.Message(framing.NLMSG_ERROR, flags, 7, body)
    assert framing.error_of(message) == (22, "ifindex can't be negative")


def test_an_error_repeats_the_request_unless_asked_not_to() -> None:
    words = framing.attribute(framing.NLMSGERR_ATTR_MSG, b"no\0")
    refused = framing.encode(link.RTM_GETLINK, 1, 7, b"12345678")
    body = framing.S32.pack(-1) + refused + words
    message = rtnl.Message(framing.NLMSG_ERROR, framing.NLM_F_ACK_TLVS, 7, body)
    assert framing.error_of(message) == (1, "no")


def tries_to_decode(datagram: bytes) -> None:
    """Ends in values, or in Malformed; pytest sees every other exception."""
    try:
        for message in rtnl.messages(datagram):
            if message.type in (framing.NLMSG_ERROR, framing.NLMSG_DONE):
                framing.error_of(message)
            rtnl.decode(message)
    except rtnl.Malformed:
        return


@settings(max_examples=2000, deadline=None)
@given(
    kind=st.sampled_from(sorted(BODIES)),
    edits=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=4)), max_size=6),
    end=st.integers(0, 200),
)
def test_a_damaged_message_is_a_value_or_malformed(
    kind: int, edits: list[tuple[int, bytes]], end: int
) -> None:
    body = bytearray(BODIES[kind])
    for at, octets in edits:
        body[at : at + len(octets)] = octets
    tries_to_decode(framing.encode(kind, 0, 0, bytes(body[: end or None])))


@settings(max_examples=2000, deadline=None)
@given(
    kind=st.sampled_from([*sorted(BODIES), framing.NLMSG_ERROR, framing.NLMSG_DONE]),
    flags=st.integers(0, 0xFFFF),
    body=st.binary(max_size=120),
)
def test_any_octets_are_a_value_or_malformed(
    kind: int, flags: int, body: bytes
) -> None:
    tries_to_decode(framing.encode(kind, flags, 0, body))
    tries_to_decode(body)


# --- writing --------------------------------------------------------------------------

# What `bridge fdb` of iproute2 6.1.0 sends after its header (seen with strace) for
# replace 02:00:00:00:00:03 dev vx0 dst 192.0.2.4 self permanent extern_learn
# append 00:00:00:00:00:00 dev vx0 dst 192.0.2.3 self permanent extern_learn
# del 00:00:00:00:00:00 dev vx0 dst 192.0.2.3 self permanent
# replace 02:00:00:00:00:04 dev vx0 dst 2001:db8::1 self permanent extern_learn
REPLACE, APPEND, ACK_AND_REQUEST = 0x505, 0xC05, 0x5
TO_ONE = "0700000003000000c00012000a000200020000000003000008000100c0000204"
TO_ALL = "0700000003000000c00012000a000200000000000000000008000100c0000203"
NO_MORE = "0700000003000000c00002000a000200000000000000000008000100c0000203"
BY_IPV6 = (
    "07000000" "03000000" "c0001200" "0a000200020000000004000014000100"
    "20010db8000000000000000000000001"
)  # fmt: skip
ANYBODY = "00:00:00:00:00:00"
WRITTEN = (
    (28, REPLACE, TO_ONE, ("02:00:00:00:00:03", "192.0.2.4")),
    (28, APPEND, TO_ALL, (ANYBODY, "192.0.2.3")),
    (29, ACK_AND_REQUEST, NO_MORE, (ANYBODY, "192.0.2.3")),
    (28, REPLACE, BY_IPV6, ("02:00:00:00:00:04", "2001:db8::1")),
)


@pytest.mark.parametrize(("kind", "flags", "octets", "way"), WRITTEN)
def test_an_entry_of_a_tunnel_is_written_as_bridge_fdb_writes_it(
    kind: int, flags: int, octets: str, way: tuple[str, str]
) -> None:
    if kind == neigh.RTM_DELNEIGH:
        written = neigh.drop_fdb(3, *way)
    else:
        written = neigh.put_fdb(3, *way, instead=True)
    assert written == (kind, flags & ~ACK_AND_REQUEST, bytes.fromhex(octets))


def test_what_is_written_is_what_is_read() -> None:
    _, _, body = neigh.put_fdb(3, "02:00:00:00:00:03", "192.0.2.4", instead=False)
    record = neigh.decode(body)
    assert record is not None
    assert (record.key.lladdr, record.key.dst) == ("02:00:00:00:00:03", "192.0.2.4")
    assert record.row.flags == neigh.NTF_EXT_LEARNED
