"""The events that a source has reported, for a test to wait on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from controller.events import BridgesSeen, Event
from tests.support.wait import wait_until

E = TypeVar("E", bound=Event)


class Heard:
    """Pass `heard` as `report`; list.append is atomic, so any thread may call it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._taken = 0

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def take(self, kind: type[E], *, within: float = 10.0) -> E:
        """The next event of this kind; what came before it is passed over."""
        wait_until(
            lambda: self._next(kind) is not None,
            within=within,
            why=f"{kind.__name__}; heard {self.events[self._taken :]}",
        )
        found = self._next(kind)
        assert found is not None
        self._taken, event = found[0] + 1, found[1]
        return event

    def _next(self, kind: type[E]) -> tuple[int, E] | None:
        for number, event in enumerate(self.events):
            if number >= self._taken and isinstance(event, kind):
                return number, event
        return None

    def picture(
        self, condition: Callable[[BridgesSeen], object], *, within: float = 10.0
    ) -> BridgesSeen:
        """The last picture, as soon as it is as it should be."""
        wait_until(
            lambda: (seen := self.of(BridgesSeen)) and condition(seen[-1]),
            within=within,
            why="the picture to be as it should",
        )
        return self.of(BridgesSeen)[-1]
