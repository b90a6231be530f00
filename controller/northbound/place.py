"""Where a controller listens for `isat`, and where `isat` looks for it."""

from __future__ import annotations

import os
from pathlib import Path


def default_socket() -> str:
    """One place for root, another for each user."""
    if os.geteuid() == 0:
        return "/run/isat/isat.sock"
    home = os.environ.get("XDG_RUNTIME_DIR") or str(Path.home() / ".cache")
    return f"{home}/isat/isat.sock"
