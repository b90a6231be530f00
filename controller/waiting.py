"""Those who wait for an answer to what nobody is known to hold."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Generic, TypeVar

from controller.events import ArpSeen, NdSeen
from flows.view import IPAddress, PortKey, SpongeKey

WAITING_MAX = 1_024  # questions that are answered later, if at all
WAITING_OF_A_PORT = 64
WAIT = 3.0  # seconds that who asks may wait: Linux gives up then

Question = ArpSeen | NdSeen
K = TypeVar("K")


class Waiting:
    """Questions in the order in which they were asked, by port and by target, too."""

    def __init__(self) -> None:
        self._until: OrderedDict[Question, float] = OrderedDict()
        self._of_port = Sets[PortKey]()
        self._for = Sets[SpongeKey]()
        self.counters: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._until)

    def add(self, asked: Question, now: float) -> None:
        """The oldest of its port give way, or of all."""
        self.remove(asked)
        mine = self._of_port.of(port_of(asked))
        if len(mine) >= WAITING_OF_A_PORT:
            self._gives_way(next(iter(mine)))
        elif len(self._until) >= WAITING_MAX:
            self._gives_way(next(iter(self._until)))
        self._until[asked] = now + WAIT
        self._of_port.add(port_of(asked), asked)
        self._for.add(key_of(asked), asked)

    def _gives_way(self, asked: Question) -> None:
        self.counters["questions that wait no longer, as there are too many"] += 1
        self.remove(asked)

    def remove(self, asked: Question) -> None:
        if self._until.pop(asked, None) is not None:
            self._of_port.remove(port_of(asked), asked)
            self._for.remove(key_of(asked), asked)

    def take(self, key: SpongeKey) -> list[Question]:
        """Those who wait for this address; they wait no longer."""
        found = [*self._for.of(key)]
        for asked in found:
            self.remove(asked)
        return found

    def expire(self, now: float) -> None:
        while self._until and (until := self.deadline()) is not None and until <= now:
            self.remove(next(iter(self._until)))

    def deadline(self) -> float | None:
        return next(iter(self._until.values()), None)


class Sets(Generic[K]):
    """Questions by something that they have in common, the first one first."""

    def __init__(self) -> None:
        self._rows: dict[K, dict[Question, None]] = {}

    def of(self, key: K) -> dict[Question, None]:
        return self._rows.get(key, {})

    def add(self, key: K, asked: Question) -> None:
        self._rows.setdefault(key, {})[asked] = None

    def remove(self, key: K, asked: Question) -> None:
        del self._rows[key][asked]
        if not self._rows[key]:
            del self._rows[key]


def key_of(asked: Question) -> SpongeKey:
    return SpongeKey(asked.datapath_id, asked.vlan, target_of(asked))


def target_of(asked: Question) -> IPAddress:
    return asked.tpa if isinstance(asked, ArpSeen) else asked.target


def port_of(asked: Question) -> PortKey:
    return PortKey(asked.datapath_id, asked.in_port)
