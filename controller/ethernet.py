"""Ethernet headers with and without a VLAN tag (IEEE 802.3, 802.1Q)."""

from __future__ import annotations

VLAN_TAGS = {0x8100, 0x88A8}  # IEEE 802.1Q, customer and service tag
SHORTEST_DATA = 46  # octets, IEEE 802.3, 3.2.7: shorter data is padded


def behind_tag(data: bytes) -> tuple[int, int, int]:
    """(vlan, eth_type, offset of the payload); vlan 0 is untagged or priority-tagged.

    Open vSwitch matches the outer tag.  What is behind a second one concerns a network
    inside of that VLAN, whose ARP says nothing about the VLAN itself.
    """
    eth_type = int.from_bytes(data[12:14], "big")
    if eth_type not in VLAN_TAGS:
        return 0, eth_type, 14
    vlan = int.from_bytes(data[14:16], "big") & 0xFFF
    return vlan, int.from_bytes(data[16:18], "big"), 18


def framed(
    data: bytes, *, eth_dst: str, eth_src: str, eth_type: int, vlan: int
) -> bytes:
    """A whole frame, padded as Ethernet asks: 60 octets, or 64 with a tag, so that it
    is long enough without the tag, too."""
    tag = b"\x81\x00" + vlan.to_bytes(2, "big") if vlan else b""
    header = octets(eth_dst) + octets(eth_src) + tag + eth_type.to_bytes(2, "big")
    return header + data.ljust(SHORTEST_DATA, b"\0")


def lladdr(address: bytes) -> str:
    return address.hex(":")


def octets(lladdr: str) -> bytes:
    return bytes.fromhex(lladdr.replace(":", ""))
