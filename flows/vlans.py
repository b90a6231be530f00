"""Of which VLANs a port is: what tag, trunks and vlan_mode of its port mean in OVSDB.

Open vSwitch itself follows these columns in its action NORMAL alone, which our flows do
not use.  So they do what it does (ovs-vswitchd.conf.db(5), "VLAN Configuration"): a
frame gets the tag of its VLAN where it comes in, bears it on all its way, between
switches too, and loses it where it leaves by a port that is told none.

    access           untagged frames are of `tag`; all that leaves is untagged
    trunk            tagged frames of `trunks`; untagged ones are of VLAN 0
    native-tagged    a trunk whose untagged frames are of `tag`; none leaves untagged
    native-untagged  the same, but what is of `tag` leaves untagged

A port that leads to another switch of ours carries every VLAN.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from flows.fabric import Fabric
from flows.memo import Step, remember_last
from flows.tracked import Tracked, changed, updated
from flows.view import NO_VLANS, Interface, PortKey, View, Vlans

BITS = 12  # of a VLAN identifier
COUNT = 1 << BITS
EVERY = (1 << COUNT) - 1
UNTAGGED = 1  # the set of VLAN 0 alone

ACCESS, TRUNK, TUNNEL = "access", "trunk", "dot1q-tunnel"
NATIVE_TAGGED, NATIVE_UNTAGGED = "native-tagged", "native-untagged"
MODES = (ACCESS, TRUNK, NATIVE_TAGGED, NATIVE_UNTAGGED, TUNNEL)

Prefix = tuple[int, int]  # value and mask, of 12 bits


@dataclass(frozen=True, slots=True)
class Membership:
    """What comes in by a port and what leaves by it, in the words of IEEE 802.1Q.

    Sets of VLANs are numbers, whose bit n is VLAN n; 0 stands for untagged frames.

    pvid      VLAN of untagged and priority-tagged frames; None if they are dropped
    members   VLANs whose frames leave by it
    takes     VLANs whose tagged frames may come in
    untagged  VLAN whose frames lose their tag there; 0 has none to lose
    """

    pvid: int | None = 0
    members: int = EVERY
    takes: int = EVERY & ~UNTAGGED
    untagged: int = 0

    def sends(self, vlan: int) -> bool:
        return bool(self.members >> vlan & 1)

    def hears(self, vlan: int) -> tuple[bool, bool]:
        """Whether untagged frames are of this VLAN, and whether tagged ones may be."""
        return vlan == self.pvid, bool(self.takes >> vlan & 1)

    def strips(self, vlan: int) -> bool:
        return vlan == self.untagged != 0


EVERYTHING = Membership()
NOTHING = Membership(None, 0, 0)

Members = Tracked[PortKey, Membership]


def mode_of(vlans: Vlans) -> str:
    """What is done, if vlan_mode is not told: a port with a tag is an access port."""
    return vlans.mode or (TRUNK if vlans.tag is None else ACCESS)


@lru_cache(maxsize=1 << 12)
def membership(vlans: Vlans) -> Membership:
    mode, native = mode_of(vlans), vlans.tag or 0
    trunks = set_of(vlans.trunks) if vlans.trunks else EVERY
    if mode == ACCESS:
        return Membership(native, 1 << native, 0, native)
    if mode == TRUNK:
        pvid = 0 if trunks & UNTAGGED else None
        return Membership(pvid, trunks, trunks & ~UNTAGGED)
    if mode in (NATIVE_TAGGED, NATIVE_UNTAGGED):
        if native:  # it is carried in any case, and VLAN 0 is not
            trunks = (trunks | 1 << native) & ~UNTAGGED
        stripped = native if mode == NATIVE_UNTAGGED else 0
        return Membership(native, trunks, trunks & ~UNTAGGED, stripped)
    return NOTHING  # a tag within a tag, as dot1q-tunnel has it, is not supported


def set_of(vlans: Iterable[int]) -> int:
    found = 0
    for vlan in vlans:
        found |= 1 << vlan
    return found


# --- of all ports -------------------------------------------------------------------


def every_member(shape: Fabric, interfaces: Tracked[PortKey, Interface]) -> Members:
    """Of ports that are not members of everything."""
    found = ((key, member(shape, row)) for key, row in interfaces.items())
    return Tracked((key, one) for key, one in found if one is not None)


def next_members(
    before: tuple[Fabric, Tracked[PortKey, Interface]],
    known: Members,
    now: tuple[Fabric, Tracked[PortKey, Interface]],
) -> Members | None:
    shape, interfaces = now
    if shape is not before[0]:
        return None
    for key in changed(before[1], interfaces):
        row = interfaces.get(key)
        known = updated(known, key, member(shape, row) if row else None)
    return known


def member(shape: Fabric, row: Interface) -> Membership | None:
    if row.vlans == NO_VLANS or row.key in shape.uplinks:
        return None
    found = membership(row.vlans)
    return None if found == EVERYTHING else found


memberships = Step(every_member, next_members)


def membership_at(known: Members, port: PortKey) -> Membership:
    return known.get(port, EVERYTHING)


@remember_last
def stripped_at(known: Members) -> Mapping[int, frozenset[int]]:
    """VLANs whose frames leave a switch untagged somewhere, by datapath_id."""
    found: dict[int, set[int]] = {}
    for key, one in known.items():
        if one.untagged:
            found.setdefault(key.datapath_id, set()).add(one.untagged)
    return {datapath_id: frozenset(vlans) for datapath_id, vlans in found.items()}


@remember_last
def native_vlans(known: Members) -> tuple[int, ...]:
    """VLANs that untagged frames may be of, somewhere."""
    return tuple(sorted({0, *(one.pvid for one in known.values() if one.pvid)}))


# --- sets of VLANs as matches -------------------------------------------------------


@lru_cache(maxsize=1 << 10)
def prefixes(vlans: int) -> tuple[Prefix, ...]:
    """A set as values and masks of 12 bits, as few as there are."""
    return tuple(halves(vlans, 0, COUNT))


def halves(vlans: int, first: int, size: int) -> Iterator[Prefix]:
    """Of `size` VLANs from `first` on."""
    ones = (1 << size) - 1
    part = vlans >> first & ones
    if part == ones:
        yield first, COUNT - size
    elif part:
        yield from halves(vlans, first, size // 2)
        yield from halves(vlans, first + size // 2, size // 2)


def shown(prefix: Prefix) -> str:
    value, mask = prefix
    return str(value) if mask == COUNT - 1 else f"{value}/{mask}"


def in_words(vlans: int) -> str:
    """ "5, 10-12" """
    runs = []
    first = 0
    while vlans >> first:
        first += (vlans >> first & -(vlans >> first)).bit_length() - 1
        rest = ~(vlans >> first)
        length = (rest & -rest).bit_length() - 1
        last = first + length - 1
        runs.append(str(first) if length == 1 else f"{first}-{last}")
        first += length
    return ", ".join(runs)


@dataclass(frozen=True, slots=True)
class Copies:
    """Where frames of some VLANs are copied to.

    vlans     the set of them
    tagged    port_no of those that get the frame as it is
    stripped  of those that get it without its tag
    """

    vlans: int
    tagged: tuple[int, ...]
    stripped: tuple[int, ...] = ()


@lru_cache(maxsize=1 << 6)
def copies(ports: tuple[tuple[int, Membership], ...]) -> tuple[Copies, ...]:
    """Every VLAN once, those together that go the same way; the most first."""
    parts = [EVERY]
    for one in {one for _, one in ports}:
        parts = [
            part
            for whole in parts
            for inside in (whole & one.members, whole & ~one.members)
            for part in split(inside, 1 << one.untagged if one.untagged else 0)
        ]
    found: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    for part in parts:
        vlan = (part & -part).bit_length() - 1
        there = [(number, one) for number, one in ports if one.sends(vlan)]
        tagged = tuple(number for number, one in there if not one.strips(vlan))
        stripped = tuple(number for number, one in there if one.strips(vlan))
        found[tagged, stripped] = found.get((tagged, stripped), 0) | part
    ways = [Copies(part, *way) for way, part in found.items()]
    return tuple(sorted(ways, key=lambda way: (-way.vlans.bit_count(), way.vlans)))


def split(whole: int, by: int) -> Iterator[int]:
    for part in (whole & by, whole & ~by):
        if part:
            yield part


# --- in words -----------------------------------------------------------------------


def told(vlans: Vlans) -> str:
    """As `isat ports` says it; "" of a port without columns."""
    if vlans == NO_VLANS:
        return ""
    mode, native = mode_of(vlans), vlans.tag or 0
    if mode == TUNNEL:
        return f"{mode} (carries nothing)"
    if mode == ACCESS:
        return f"{mode} {native}"
    some = in_words(set_of(vlans.trunks)) if vlans.trunks else "all"
    return f"{mode} {some}" if mode == TRUNK else f"{mode} {native}, trunk {some}"


def unfollowed(view: View, shape: Fabric) -> Iterator[tuple[PortKey, str]]:
    """What is set in OVSDB, and flows do not follow: which port, and why."""
    for key, row in sorted(view.interfaces.items()):
        vlans = row.vlans
        if mode_of(vlans) == TUNNEL:
            yield (
                key,
                "vlan_mode=dot1q-tunnel is not supported: nothing passes the port;"
                f" type: ovs-vsctl clear port {row.ifname} vlan_mode",
            )
        elif key in shape.uplinks and vlans.columns:
            yield (
                key,
                f"{vlans.columns} is not followed, as the port leads to another switch"
                " that is controlled: it carries every VLAN, with its tag",
            )
        if vlans.priority_tags not in ("", "never"):
            yield (
                key,
                f"other_config:priority-tags={vlans.priority_tags} is not followed:"
                " frames without a VLAN leave without a tag",
            )
