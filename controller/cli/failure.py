"""How a command fails: where, what, what to do instead, and with which exit status."""

from __future__ import annotations

FAILED, UNREACHABLE, INVALID = 1, 3, 4


class Failure(Exception):
    """Ends the command; printed on standard error."""

    def __init__(
        self, where: str, problem: str, hint: str = "", *, status: int = FAILED
    ) -> None:
        self.status = status
        super().__init__(f"{where}: {problem}" + (f"\n  {hint}" if hint else ""))
