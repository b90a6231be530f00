"""How a command fails: where, what, what to do instead, and with which exit status."""

from __future__ import annotations

from controller.text import safe

FAILED, UNREACHABLE, INVALID = 1, 3, 4


class Failure(Exception):
    """Ends the command; printed on standard error."""

    def __init__(
        self, where: str, problem: str, hint: str = "", *, status: int = FAILED
    ) -> None:
        self.status = status
        said = f"{where}: {problem}" + (f"\n  {hint}" if hint else "")
        super().__init__("\n".join(map(safe, said.split("\n"))))
