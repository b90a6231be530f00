"""How Python looks for garbage in cycles: each survivor once, and all of it seldom.

Nearly all that this process holds are immutable values, which are freed as soon as
nobody refers to them.  Only what refers to itself, as connections do, needs a
collector, and Python's looks at everything whenever a quarter more has come: with a
hundred thousand hosts, for half a second in which no packet is answered.

Here what has survived a collection of the oldest generation is set aside (gc.freeze),
and looked at again when as much has been set aside since.  What comes of a long list is
set aside without a look: it stays, and would be looked at many times while it comes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

THRESHOLDS = (700, 10, 4)  # some 30,000 new objects to a collection of all generations
OLDEST = 2  # generation
FEW = 1 << 20  # objects: about 100 MiB
OTHERS = 16  # at most one of so many objects that come of a long list may be garbage


@dataclass
class Collector:
    """Called by Python before and after each collection (`gc.callbacks`).

    few    objects set aside are looked at again when there are more of them than this,
           and more than were left by the last look at all
    aside  how many were set aside since
    left   how many that look has left
    """

    few: int = FEW
    aside: int = 0
    left: int = 0
    _is_whole: bool = False

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] < OLDEST:
            return
        if phase == "start":
            self._is_whole = self._is_due()
            if self._is_whole:
                gc.unfreeze()
        else:
            self._set_aside(len(gc.get_objects(generation=OLDEST)))

    def _is_due(self) -> bool:
        """What has gone since, as connections do, is no reason; it is counted only when
        it matters, as Python walks a list for it."""
        most = max(self.few, self.left)
        if self.aside > most:
            there = gc.get_freeze_count() - self.left
            self.aside = min(self.aside, max(0, there))
        return self.aside > most

    def _set_aside(self, survivors: int) -> None:
        gc.freeze()
        if self._is_whole:
            self.aside, self.left = 0, survivors
        else:
            self.aside += survivors

    @contextmanager
    def aside_at_once(self) -> Iterator[None]:
        """What is made meanwhile, and is still there at the end: values, nearly all."""
        gc.disable()
        try:
            yield
        finally:
            came = gc.get_count()[0]  # the youngest: all of it
            self.left = max(self.left, came)
            self.aside += came // OTHERS
            gc.freeze()
            gc.enable()


collector = Collector()


def install() -> None:
    """For this process, from now on.  What it has imported is set aside."""
    gc.set_threshold(*THRESHOLDS)
    gc.callbacks.append(collector)
    gc.collect()
