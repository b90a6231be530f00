"""Meters as OpenFlow 1.3 messages, and a switch's answers as values.

Octets in, octets out, as in `flows.wire`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, error, pack

from flows.openflow import Meter
from flows.wire import MULTIPART_REQUEST, Malformed, message

METER_MOD = 29
ADD, MODIFY, DELETE = 0, 1, 2  # ofp_meter_mod_command
MULTIPART_METER, MULTIPART_CONFIG, MULTIPART_FEATURES = 9, 10, 11
ALL_METERS = 0xFFFFFFFF  # OFPM_ALL
PACKETS, BURST, STATS = 2, 4, 8  # OFPMF_PKTPS, OFPMF_BURST, OFPMF_STATS
DROP = 1  # OFPMBT_DROP

METER_HEAD = Struct("!HHI")  # command or length, flags, meter_id
BAND = Struct("!HHII4x")  # type, length, rate, burst_size
FEATURES = Struct("!IIIBBxx")
STATS_HEAD = Struct("!IH6xIQQII")
BAND_STATS = Struct("!QQ")


# --- meters ---------------------------------------------------------------------------


def add_meter(meter: Meter, *, xid: int = 0) -> bytes:
    """OFPMC_ADD: refused if there is one of this meter_id (6.5)."""
    return meter_mod(ADD, meter, xid)


def modify_meter(meter: Meter, *, xid: int = 0) -> bytes:
    """OFPMC_MODIFY: the flows that use it stay."""
    return meter_mod(MODIFY, meter, xid)


def meter_mod(command: int, meter: Meter, xid: int) -> bytes:
    head = METER_HEAD.pack(command, PACKETS | BURST | STATS, meter.meter_id)
    band = BAND.pack(DROP, BAND.size, meter.rate, meter.burst)
    return message(METER_MOD, head + band, xid)


def delete_meter(meter_id: int, *, xid: int = 0) -> bytes:
    """OFPMC_DELETE: the switch deletes the flows that use it, too (6.5)."""
    return message(METER_MOD, METER_HEAD.pack(DELETE, 0, meter_id), xid)


def features_request(xid: int) -> bytes:
    """OFPMP_METER_FEATURES: what meters can there be?"""
    return message(MULTIPART_REQUEST, pack("!HH4x", MULTIPART_FEATURES, 0), xid)


def config_request(xid: int) -> bytes:
    """OFPMP_METER_CONFIG: which meters are there?"""
    return all_meters(MULTIPART_CONFIG, xid)


def stats_request(xid: int) -> bytes:
    """OFPMP_METER: what has each of them counted?"""
    return all_meters(MULTIPART_METER, xid)


def all_meters(kind: int, xid: int) -> bytes:
    return message(MULTIPART_REQUEST, pack("!HH4xI4x", kind, 0, ALL_METERS), xid)


# --- what a switch answers ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Features:
    """What meters a switch can have (7.3.5.13).

    greatest  meter_id
    """

    greatest: int
    band_types: int
    capabilities: int

    @property
    def can_drop_packets(self) -> bool:
        """In packets a second, with bursts."""
        wanted = PACKETS | BURST
        has_band = self.band_types >> DROP & 1
        return bool(has_band) and self.capabilities & wanted == wanted


@dataclass(frozen=True, slots=True)
class Counted:
    """What a meter has counted since it was made (7.3.5.11).

    packets  that came
    dropped  that its band has dropped
    """

    meter_id: int
    packets: int
    dropped: int


def features(body: bytes) -> Features:
    try:
        greatest, bands, capabilities, _, _ = FEATURES.unpack_from(body)
    except error:
        raise Malformed(f"meter features of {len(body)} octets") from None
    return Features(greatest, bands, capabilities)


def configs(body: bytes) -> Iterator[Meter]:
    """The meters of an OFPMP_METER_CONFIG reply; one that we would not have made has a
    rate of 0."""
    start = 0
    while start < len(body):
        size, flags, meter_id = head_of(METER_HEAD, body, start)
        if size < METER_HEAD.size or start + size > len(body):
            raise Malformed(f"meter at octet {start} of {len(body)}: bad length")
        yield config(meter_id, flags, body[start + METER_HEAD.size : start + size])
        start += size


def config(meter_id: int, flags: int, bands: bytes) -> Meter:
    if flags != PACKETS | BURST | STATS or len(bands) != BAND.size:
        return Meter(meter_id, 0, 0)
    kind, _, rate, burst = BAND.unpack(bands)
    return Meter(meter_id, rate if kind == DROP else 0, burst)


def counts(body: bytes) -> Iterator[Counted]:
    """The body of an OFPMP_METER reply."""
    start = 0
    while start < len(body):
        meter_id, size, _, packets, _, _, _ = head_of(STATS_HEAD, body, start)
        end = start + size
        if size < STATS_HEAD.size or end > len(body):
            raise Malformed(f"meter at octet {start} of {len(body)}: bad length")
        bands = body[start + STATS_HEAD.size : end]
        if len(bands) % BAND_STATS.size:
            raise Malformed(f"meter {meter_id}: a band is cut off")
        dropped = sum(count for count, _ in BAND_STATS.iter_unpack(bands))
        yield Counted(meter_id, packets, dropped)
        start = end


def head_of(head: Struct, body: bytes, start: int) -> tuple[int, ...]:
    try:
        return head.unpack_from(body, start)
    except error:
        raise Malformed(f"meter at octet {start} of {len(body)}: cut off") from None
