"""Installing and starting: the shim, the script `run`, the pinned requirements."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
