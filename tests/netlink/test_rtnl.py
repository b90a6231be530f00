"""The codec: octets as the kernel writes them, and octets as nobody should."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.netlink import rtnl

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
BODIES = {
    rtnl.RTM_NEWLINK: VETH,
    rtnl.RTM_DELLINK: TAP,
    rtnl.RTM_NEWADDR: IPV4,
    rtnl.RTM_DELADDR: IPV6,
    rtnl.RTM_NEWNEIGH: NEIGHBOR,
    rtnl.RTM_NEWNSID: NSID,
}


def decoded(kind: int, body: bytes) -> rtnl.Value | None:
    return rtnl.decode(rtnl.Message(kind, 0, 0, body))


def test_a_veth() -> None:
    link = rtnl.Link(
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
    assert decoded(rtnl.RTM_NEWLINK, VETH) == rtnl.LinkMessage(2, link)


def test_a_tap_with_names_of_any_octets() -> None:
    message = decoded(rtnl.RTM_NEWLINK, TAP)
    assert isinstance(message, rtnl.LinkMessage)
    assert message.row.kind == "tun"
    assert message.row.info == (("type", "tap"), ("owner", 1000), ("persist", 1))
    assert message.row.altnames == ("second", "\udcffx")


def test_an_ipv4_address() -> None:
    key = rtnl.AddrKey(2, 2, 24, "10.0.0.1", "10.0.0.1")
    row = rtnl.Addr(ifa_flags=0x80, ifa_scope=0, label="eth0", broadcast="10.0.0.255")
    assert decoded(rtnl.RTM_NEWADDR, IPV4) == rtnl.AddrMessage(key, row)


def test_an_ipv6_address_has_no_ifa_local() -> None:
    key = rtnl.AddrKey(10, 2, 64, "fe80::1", "fe80::1")
    row = rtnl.Addr(ifa_flags=0xC0, ifa_scope=253)
    assert decoded(rtnl.RTM_NEWADDR, IPV6) == rtnl.AddrMessage(key, row)


def test_a_reachable_neighbor_is_shown_as_stale() -> None:
    key = rtnl.NeighKey(2, 2, "10.0.0.2")
    row = rtnl.Neigh("02:00:00:00:00:02", rtnl.NUD_STALE, 0)
    assert decoded(rtnl.RTM_NEWNEIGH, NEIGHBOR) == rtnl.NeighMessage(key, row)


def test_a_neighbor_that_does_not_answer_is_no_row() -> None:
    incomplete = NEIGHBOR[:8] + b"\x01\x00" + NEIGHBOR[10:]
    message = decoded(rtnl.RTM_NEWNEIGH, incomplete)
    assert isinstance(message, rtnl.NeighMessage)
    assert message.row is None


def test_a_namespace() -> None:
    assert decoded(rtnl.RTM_NEWNSID, NSID) == rtnl.NsidMessage(5)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (rtnl.RTM_DELLINK, b"\x07" + VETH[1:]),  # AF_BRIDGE: a port left its bridge
        (rtnl.RTM_NEWLINK, VETH + bytes.fromhex("04000b00")),  # IFLA_WIRELESS
        (rtnl.RTM_NEWNEIGH, b"\x07" + NEIGHBOR[1:]),  # the bridge's fdb
        (rtnl.RTM_GETNEIGH, NEIGHBOR),  # the kernel asks for a neighbor
        (rtnl.RTM_NEWADDR, b"\x81" + IPV4[1:]),  # no internet protocol
        (24, b""),  # RTM_NEWROUTE: no table here
    ],
    ids=["bridge port", "wireless", "fdb", "question", "family", "route"],
)
def test_what_no_table_is_made_of_is_nothing(kind: int, body: bytes) -> None:
    assert decoded(kind, body) is None


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (rtnl.RTM_NEWLINK, VETH[:15]),
        (rtnl.RTM_NEWLINK, VETH[:16]),
        (rtnl.RTM_NEWLINK, VETH[:16] + b"\xff\xff" + VETH[18:]),
        (rtnl.RTM_NEWLINK, VETH + bytes.fromhex("060004000000")),
        (rtnl.RTM_NEWADDR, IPV4[:8]),
        (rtnl.RTM_NEWADDR, b"\x0a" + IPV4[1:]),
        (rtnl.RTM_NEWNEIGH, NEIGHBOR[:12]),
        (rtnl.RTM_NEWNSID, NSID[:4]),
    ],
    ids=["header", "no name", "length", "mtu", "no address", "ipv6", "no dst", "nsid"],
)
def test_what_is_not_what_its_header_says_is_malformed(kind: int, body: bytes) -> None:
    with pytest.raises(rtnl.Malformed):
        decoded(kind, body)


def test_a_datagram_holds_messages_one_after_the_other() -> None:
    one = rtnl.encode(rtnl.RTM_NEWADDR, 0, 7, IPV4)
    two = rtnl.encode(rtnl.RTM_NEWNSID, 0, 7, NSID)
    assert list(rtnl.messages(one + two)) == [
        rtnl.Message(rtnl.RTM_NEWADDR, 0, 7, IPV4),
        rtnl.Message(rtnl.RTM_NEWNSID, 0, 7, NSID),
    ]


@pytest.mark.parametrize("cut", [1, 15, 17])
def test_a_datagram_that_is_cut_off_is_malformed(cut: int) -> None:
    with pytest.raises(rtnl.Malformed):
        list(rtnl.messages(rtnl.encode(rtnl.RTM_NEWNSID, 0, 7, NSID)[:cut]))


def test_an_error_says_what_the_kernel_says() -> None:
    words = rtnl.attribute(rtnl.NLMSGERR_ATTR_MSG, b"ifindex can't be negative\0")
    refused = rtnl.NLMSGHDR.pack(20, rtnl.RTM_GETLINK, 1, 7, 0)
    flags = rtnl.NLM_F_CAPPED | rtnl.NLM_F_ACK_TLVS
    body = rtnl.S32.pack(-22) + refused + words
    message = rtnl.Message(rtnl.NLMSG_ERROR, flags, 7, body)
    assert rtnl.error_of(message) == (22, "ifindex can't be negative")


def test_an_error_repeats_the_request_unless_asked_not_to() -> None:
    words = rtnl.attribute(rtnl.NLMSGERR_ATTR_MSG, b"no\0")
    refused = rtnl.encode(rtnl.RTM_GETLINK, 1, 7, b"12345678")
    body = rtnl.S32.pack(-1) + refused + words
    message = rtnl.Message(rtnl.NLMSG_ERROR, rtnl.NLM_F_ACK_TLVS, 7, body)
    assert rtnl.error_of(message) == (1, "no")


def tries_to_decode(datagram: bytes) -> None:
    """Ends in values, or in Malformed; pytest sees every other exception."""
    try:
        for message in rtnl.messages(datagram):
            if message.type in (rtnl.NLMSG_ERROR, rtnl.NLMSG_DONE):
                rtnl.error_of(message)
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
    tries_to_decode(rtnl.encode(kind, 0, 0, bytes(body[: end or None])))


@settings(max_examples=2000, deadline=None)
@given(
    kind=st.sampled_from([*sorted(BODIES), rtnl.NLMSG_ERROR, rtnl.NLMSG_DONE]),
    flags=st.integers(0, 0xFFFF),
    body=st.binary(max_size=120),
)
def test_any_octets_are_a_value_or_malformed(
    kind: int, flags: int, body: bytes
) -> None:
    tries_to_decode(rtnl.encode(kind, flags, 0, body))
    tries_to_decode(body)
