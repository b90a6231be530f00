"""An Open vSwitch for each test against the real thing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import cannot_run
from tests.support.ovs import PrivateOvs, why_not


@contextmanager
def private_ovs() -> Iterator[PrivateOvs]:
    if missing := why_not():
        cannot_run(missing)
    with PrivateOvs() as private:
        yield private


@pytest.fixture
def ovs() -> Iterator[PrivateOvs]:
    """Private, and new for each test: it starts in a tenth of a second."""
    with private_ovs() as private:
        yield private
