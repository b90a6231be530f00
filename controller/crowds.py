"""How many of something are kept for each port: who has none is not counted."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

K = TypeVar("K")


class Crowds(Counter[K]):
    """As many keys as there are crowds, so that it is bounded by what is kept."""

    def leave(self, key: K) -> None:
        """One less."""
        if self[key] > 1:
            self[key] -= 1
        else:
            del self[key]
