"""Who is about to take an IPv6 address, and shall have it: first come, first served.

Duplicate address detection claims nothing, so that it never teaches an address
(RFC 4862, 5.4).  But who was first with it is remembered for some seconds (RFC 6620
calls the binding tentative), in which nobody else is believed to hold the address.
When the detection is over, whoever did it is asked once, and its answer is its claim.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from controller.events import NdSeen
from flows.parties import Domain
from flows.view import PortKey

OVER = 2.0  # seconds: one solicitation, up to a second late (RFC 4862, 5.1 and 5.4.2)
KEPT = 5.0  # seconds in which the answer may come
ATTEMPTS_MAX = 1024  # at once; of further ones nothing is remembered
ATTEMPTS_PER_PORT = 64


@dataclass(frozen=True, slots=True)
class Attempt:
    """A station that wants an address.

    since, asked  seconds on the caller's monotonic clock; whether it was asked for it
    """

    domain: Domain
    ip: IPv6Address
    lladdr: str
    port: PortKey
    since: float
    asked: bool = False


class Attempts:
    def __init__(self) -> None:
        self.rows: dict[tuple[Domain, IPv6Address], Attempt] = {}
        self.counters: Counter[str] = Counter()

    def note(self, domain: Domain, probe: NdSeen, now: float) -> None:
        self._forget(now)
        key, at = (domain, probe.target), PortKey(probe.datapath_id, probe.in_port)
        if key in self.rows:
            return
        if len(self.rows) >= ATTEMPTS_MAX or self._at(at) >= ATTEMPTS_PER_PORT:
            self.counters["address attempts not kept"] += 1
            return
        self.rows[key] = Attempt(domain, probe.target, probe.eth_src, at, now)

    def of_others(
        self, domain: Domain, ip: IPv6Address, lladdr: str, now: float
    ) -> Attempt | None:
        """Somebody else who was first."""
        row = self.rows.get((domain, ip))
        if row is None or row.lladdr == lladdr or now >= row.since + KEPT:
            return None
        return row

    def deadline(self) -> float | None:
        times = (row.since + OVER for row in self.rows.values() if not row.asked)
        return min(times, default=None)

    def due(self, now: float) -> list[Attempt]:
        """Those whose detection is over, each once."""
        self._forget(now)
        ready = [
            row
            for row in self.rows.values()
            if not row.asked and now >= row.since + OVER
        ]
        for row in ready:
            self.rows[(row.domain, row.ip)] = replace(row, asked=True)
        return ready

    def _at(self, port: PortKey) -> int:
        return sum(row.port == port for row in self.rows.values())

    def _forget(self, now: float) -> None:
        self.rows = {k: r for k, r in self.rows.items() if now < r.since + KEPT}
