"""Names for people to read: the kernel takes nearly any octets, a terminal must not."""

from __future__ import annotations


def safe(text: str) -> str:
    """Control characters, lone surrogates and the like as Python escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
