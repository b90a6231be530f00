"""The witness: what it counts, frame by frame."""

from __future__ import annotations

from dataclasses import asdict
from ipaddress import IPv4Address

import pytest

from topologies.probe import Answers, Counts
from topologies.taphost import BROADCAST, Arp, Me, announcement, arp_frame, question

H1 = Me(IPv4Address("10.0.0.1"), bytes.fromhex("020000000001"))
H2 = Me(IPv4Address("10.0.0.2"), bytes.fromhex("020000000002"))
H3 = IPv4Address("10.0.0.3")
REPLY = arp_frame(H1.mac, Arp(2, H2.mac, H2.ip, H1.mac, H1.ip))
POLL = arp_frame(H1.mac, Arp(1, H2.mac, H2.ip, bytes(6), H1.ip))
OTHER = BROADCAST + H2.mac + b"\x08\x00" + bytes(46)


def counted(frame: bytes, from_station: bool) -> dict[str, int]:
    """What one frame at the interface of h1 adds."""
    counts = Counts()
    counts.frame(frame, from_station, H1.ip)
    return {name: value for name, value in asdict(counts).items() if value}


@pytest.mark.parametrize(
    ("frame", "counts"),
    [
        (question(H2, H1.ip), {"heard": 1, "questions": 1}),
        (POLL, {"heard": 1, "polls": 1}),
        (question(H2, H3), {"heard": 1, "not_for_it": 1}),
        (announcement(H2), {"heard": 1, "announcements": 1}),
        (REPLY, {"heard": 1, "answered": 1}),
        (OTHER, {"heard": 1}),
    ],
    ids=["for it", "poll", "for another", "announcement", "reply", "no ARP"],
)
def test_what_the_station_hears(frame: bytes, counts: dict[str, int]) -> None:
    assert counted(frame, from_station=False) == counts


@pytest.mark.parametrize(
    ("frame", "counts"),
    [
        (question(H1, H2.ip), {"sent": 1, "asked": 1}),
        (arp_frame(H2.mac, Arp(1, H1.mac, H1.ip, bytes(6), H2.ip)), {"sent": 1}),
        (announcement(H1), {"sent": 1}),
        (OTHER, {"sent": 1}),
    ],
    ids=["question", "poll", "announcement", "no ARP"],
)
def test_what_the_station_says(frame: bytes, counts: dict[str, int]) -> None:
    assert counted(frame, from_station=True) == counts


def test_only_the_targets_replies_are_answers() -> None:
    answers = Answers()

    answers.frame(question(H2, H1.ip), H2.ip, now=1.0)
    answers.frame(REPLY, H3, now=2.0)
    answers.frame(REPLY, H2.ip, now=3.0)

    assert (answers.answers, answers.last_answer) == (1, 3.0)
    assert answers.last_mac == "02:00:00:00:00:02"
