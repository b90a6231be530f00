"""One connected switch, as the core knows it: what it holds, and what it was told."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from controller.broadcast import Floods
from controller.door import Door
from flows.compile import Compiled
from flows.openflow import Flow, Group, Meter
from flows.view import PortKey

UNDERWAY_MAX = 1024  # changes that it has not confirmed yet
NO_PORTS: frozenset[PortKey] = frozenset()


@dataclass(slots=True)
class Channel:
    """What is known of one connected switch.

    compiled   the flows that it should hold
    installed  cookies of ours that it holds, or will when it has done what it was told;
               None until it has listed them
    meters     those that it has, of ours or others, as they will be then
    groups     likewise
    before     those when it last refused a change, until it has listed them again
    told       how many changes
    done       how many of them it has confirmed or refused
    underway   cookies of the flows of each change that it has not confirmed yet
    refused    those of changes that it has refused, and not confirmed since
    was_empty  it held none when it connected
    is_settled they are what it holds, unless it was listed or refused since then
    door       what it lets in
    audit_at   when to count its flows again
    expected   how many flows there were when they were last counted
    retry_at   after a refusal: when to look again; None if nothing was refused
    refusals   in a row
    linked     ports that its flows take for uplinks, of which nobody has told yet
    linked_until  until when it waits for that
    floods     what it does with broadcasts, as far as it has confirmed it
    opened     ports that its flows send broadcasts to
    opened_by  what that was computed from
    provided   the meters and groups that it should have
    provided_by  what these were computed from
    """

    compiled: Compiled
    installed: Set[int] | None = None
    meters: Mapping[int, Meter] = field(default_factory=dict)
    groups: Mapping[int, Group] = field(default_factory=dict)
    before: Set[int] | None = None
    told: int = 0
    done: int = 0
    underway: deque[array[int]] = field(
        default_factory=lambda: deque(maxlen=UNDERWAY_MAX)
    )
    refused: frozenset[int] = frozenset()
    was_empty: bool = False
    is_settled: bool = False
    door: Door = field(default_factory=Door)
    audit_at: float = 0.0
    expected: int = 0
    retry_at: float | None = None
    refusals: int = 0
    last_refusal: str = ""
    linked: frozenset[PortKey] = frozenset()
    linked_until: float = 0.0
    floods: Floods = field(default_factory=Floods)
    opened: frozenset[int] = frozenset()
    opened_by: tuple[object, ...] = ()
    provided: tuple[Mapping[int, Meter], Mapping[int, Group]] = ({}, {})
    provided_by: tuple[object, ...] = ()

    @property
    def held(self) -> Set[int] | None:
        """What it holds, will hold, or held when it refused more; None if nobody can
        tell."""
        return self.installed if self.installed is not None else self.before

    @property
    def has_done_all(self) -> bool:
        """It was changed, and has confirmed it."""
        return self.is_told and not self.underway

    @property
    def is_up_to_date(self) -> bool:
        """It has been told all that followed from the view of the last turn."""
        return self.is_told and not self.compiled.is_growing

    @property
    def is_told(self) -> bool:
        """It was changed, and has refused nothing since."""
        return self.installed is not None and self.is_settled

    def says(self, flow: Flow | None) -> bool:
        """It answers by this flow, or will in a moment.  What it has refused it may
        refuse again: then its questions are answered as long as it does."""
        if flow is None or flow.cookie in self.refused:
            return False
        return self.held is not None and flow.cookie in self.held

    def listed(self, cookies: Iterable[int]) -> None:
        self.installed, self.before = set(cookies), None

    def confirmed(self) -> None:
        self.refusals, self.last_refusal = 0, ""
        done = self._eldest()
        if self.refused:
            self.refused = self.refused.difference(done)

    def refuses(self, why: str) -> None:
        self.refusals += 1
        self.last_refusal = why
        self.refused = self.refused.union(self._eldest())
        self.installed, self.before = None, self.held

    def tell(self, added: Iterable[int]) -> None:
        """Of a change, by the cookies of the flows that it adds."""
        self.told += 1
        self.underway.append(array("Q", added))

    def _eldest(self) -> Iterable[int]:
        """A switch answers changes in their order."""
        self.done += 1
        return self.underway.popleft() if self.underway else ()
