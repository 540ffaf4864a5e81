"""`senyum update` without a file: the active version."""

import sys
from pathlib import Path

import pytest
from releases import environment

from edge import __version__
from edge.appliance.update.slots import Slots
from edge.cli.update import active_version


@pytest.fixture
def packaged(tmp_path: Path) -> Slots:
    brought = environment(tmp_path, "1.0.0")
    (brought / "release.json").write_text('{"version": "1.0.0"}')
    return Slots(tmp_path / "releases", brought)


def test_the_package_or_the_update_is_named(packaged: Slots, tmp_path: Path) -> None:
    assert active_version(packaged) == "version 1.0.0"
    newer = environment(tmp_path, "1.1.0")
    (newer / "release.json").write_text('{"version": "1.1.0"}')
    packaged.root.mkdir()
    packaged.activate_pending(newer)
    assert active_version(packaged) == "version 1.1.0 (being watched)"
    packaged.commit()
    assert active_version(packaged) == "version 1.1.0"


def test_a_checkout_is_neither(tmp_path: Path) -> None:
    sentence = active_version(Slots(tmp_path / "releases", tmp_path / "none"))
    assert sentence.startswith(f"version {__version__}, run from {sys.prefix}; not installed")


def test_an_environment_that_does_not_say_its_version_is_named(
    packaged: Slots, tmp_path: Path
) -> None:
    packaged.root.mkdir()
    packaged.activate(environment(tmp_path, "1.1.0"))
    assert active_version(packaged) == f"{packaged.current}: version unknown; reinstall it"
