"""What /proc tells of a process; nothing if it has ended or may not be read."""

from __future__ import annotations

import os


def processes() -> list[int]:
    """Every pid, the lowest first."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdigit())


def argv(pid: int) -> list[str]:
    return os.fsdecode(read(f"/proc/{pid}/cmdline")).split("\0")


def cgroup(pid: int) -> str:
    return os.fsdecode(read(f"/proc/{pid}/cgroup"))


def command(pid: int) -> str:
    return os.fsdecode(read(f"/proc/{pid}/comm")).rstrip("\n") or "?"


def read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""
