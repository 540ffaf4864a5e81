"""`senyum update` without a file: what is in force."""

import sys
from pathlib import Path

import pytest
from releases import environment

from edge import __version__
from edge.appliance.update.slots import Slots
from edge.cli.update import in_force


@pytest.fixture
def packaged(tmp_path: Path) -> Slots:
    brought = environment(tmp_path, "1.0.0")
    (brought / "release.json").write_text('{"version": "1.0.0"}')
    return Slots(tmp_path / "releases", brought)


def test_the_package_or_the_update_is_named(packaged: Slots, tmp_path: Path) -> None:
    assert in_force(packaged) == "version 1.0.0"
    newer = environment(tmp_path, "1.1.0")
    (newer / "release.json").write_text('{"version": "1.1.0"}')
    packaged.root.mkdir()
    packaged.begin(newer)
    assert in_force(packaged) == "version 1.1.0, on trial"
    packaged.end()
    assert in_force(packaged) == "version 1.1.0"


def test_a_checkout_says_that_it_is_none_of_them(tmp_path: Path) -> None:
    said = in_force(Slots(tmp_path / "releases", tmp_path / "none"))
    assert said.startswith(f"version {__version__}, run from {sys.prefix}: no package")


def test_an_environment_that_does_not_say_its_version_is_named(
    packaged: Slots, tmp_path: Path
) -> None:
    packaged.root.mkdir()
    packaged.switch(environment(tmp_path, "1.1.0"))
    assert in_force(packaged) == f"{packaged.current}: does not say its version; install it again"
