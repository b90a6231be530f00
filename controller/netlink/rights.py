"""Few rights: what a mirror keeps of root's when it starts (capabilities(7)).

CAP_NET_ADMIN       read other namespaces by nsid (*_TARGET_NETNSID), large buffers
CAP_NET_BROADCAST   hear other namespaces (NETLINK_LISTEN_ALL_NSID)
CAP_SYS_PTRACE      see which process holds a tap (/proc/*/fd)
CAP_DAC_READ_SEARCH list /proc/*/fd, which only its owner may
CAP_SYS_ADMIN       enter other namespaces: only `isat-doors` has it (doors.py)
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from contextlib import suppress

CAPABILITIES = {  # linux/capability.h
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_NET_BROADCAST": 11,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
}
TO_MIRROR = frozenset({"CAP_NET_ADMIN", "CAP_NET_BROADCAST"})
TO_SEE_HOLDERS = frozenset({"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"})
TO_ENTER = frozenset({"CAP_SYS_ADMIN", "CAP_SYS_PTRACE"})

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_NAME, PR_SET_NO_NEW_PRIVS = 1, 8, 15, 38
LINUX_CAPABILITY_VERSION_3 = 0x20080522
NOBODY = 65534  # the overflow uid and gid: no file is its own

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _prctl(option: int, value: int) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option})")


def permitted() -> frozenset[str]:
    """Those of CAPABILITIES that this process may use."""
    with open("/proc/self/status") as status:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in status)
    bits = int(fields["CapPrm"], 16)
    return frozenset(name for name, bit in CAPABILITIES.items() if bits >> bit & 1)


def keep_only(wanted: frozenset[str]) -> frozenset[str]:
    """Become nobody (if root) with the wanted capabilities that there are."""
    kept = wanted & permitted()
    if os.geteuid() == 0:
        _prctl(PR_SET_KEEPCAPS, 1)
        with suppress(OSError):  # a user namespace in which there is nobody else
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    _set_capabilities(kept)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    return kept


def _set_capabilities(kept: frozenset[str]) -> None:
    """capset(2): effective and permitted as given, none to be inherited."""
    bits = sum(1 << CAPABILITIES[name] for name in kept)
    header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
    data = struct.pack("=6I", bits, bits, 0, 0, 0, 0)
    _checked(_libc.capset(header, data), "capset")


def end_with_parent() -> None:
    """SIGTERM when the thread that started us ends.  Cleared by a change of uid."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def call_this_process(name: str) -> None:
    """What ps(1) and top(1) show: at most 15 octets."""
    _checked(_libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0), "PR_SET_NAME")
