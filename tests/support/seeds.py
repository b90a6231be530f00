"""A seed that nobody has tried: the same in all processes of one run, and in a second
run of what has failed (`./run test` sets ISAT_SEED, and says so in its log)."""

from __future__ import annotations

import os
import random

import pytest

_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
FRESH = int(os.environ.get("ISAT_SEED") or random.Random(_RUN).randrange(1_000, 10**6))
fresh = pytest.param(FRESH, id="fresh")  # the test prints it
