"""Fixtures that several test packages share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import ext4_on_btrfs
from hypothesis import HealthCheck, settings
from private_servers import PrivateBroker

# No test is timed: of a busy machine an example may take as long as it likes.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Examples of each generated test in tests/inputs; `scripts/try_inputs` asks for more.
settings.register_profile(
    "inputs", settings.get_profile("untimed"), max_examples=int(os.environ.get("EXAMPLES", "100"))
)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PrivateBroker]:
    """Give a running mosquitto of the test's own, with nobody connected to it."""
    with PrivateBroker(tmp_path / "broker") as private:
        yield private


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Path]:
    """Mount a btrfs with an ext4 in it, the latter at `pool/../disk`."""
    with ext4_on_btrfs(tmp_path) as pool:
        yield pool
