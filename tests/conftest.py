"""Fixtures that several rooms share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.bench.broker import PrivateBroker


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PrivateBroker]:
    """Give a running mosquitto of the test's own, with nobody connected to it."""
    with PrivateBroker(tmp_path / "broker") as private:
        yield private
