"""Golden octets: what isat sends, in hexadecimal, field by field.

`# ...` explains, `#: ...` is what a reader that knows nothing of us says of the octets:
tcpdump of frames, ovs-ofctl of OpenFlow messages.  An OpenFlow message has xid 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PLACE = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True, slots=True)
class Golden:
    name: str
    octets: bytes
    read_as: tuple[str, ...]

    @property
    def is_openflow(self) -> bool:
        return self.name.startswith("of-")


def read(path: Path) -> Golden:
    lines = path.read_text().splitlines()
    octets = bytes.fromhex("".join(line.partition("#")[0] for line in lines))
    said = tuple(line[2:].strip() for line in lines if line.startswith("#:"))
    return Golden(path.stem, octets, said)


ALL = {golden.name: golden for golden in map(read, sorted(PLACE.glob("*.hex")))}


def golden(name: str) -> bytes:
    return ALL[name].octets
