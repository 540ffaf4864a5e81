"""A package that is installed beside versions of `senyum update`."""

from pathlib import Path

import pytest
from releases import environment

from edge.appliance.update.postinst import configure
from edge.appliance.update.slots import Slots


def house(folder: Path, package: str, update: str) -> Slots:
    """A unit whose package has one version, and on which an update is pending."""
    packaged = environment(folder, package)
    (packaged / "release.json").write_text(f'{{"version": "{package}"}}')
    versions = Slots(folder / "releases", packaged)
    place = versions.path_of(update)
    place.parent.mkdir(parents=True)
    brought = environment(folder, update if update != package else "9.9.9").rename(place)
    (brought / "release.json").write_text(f'{{"version": "{update}"}}')
    versions.activate_pending(brought)
    return versions


def test_without_an_update_nothing_is_said(tmp_path: Path) -> None:
    assert configure(Slots(tmp_path / "releases", tmp_path)) == ""


@pytest.mark.parametrize(("package", "update"), [("1.1.0", "1.2.0"), ("1.9.0", "1.10.0")])
def test_a_newer_update_stays_active_and_pending(package: str, update: str, tmp_path: Path) -> None:
    versions = house(tmp_path, package, update)
    assert f"version {update}, installed by senyum update, is newer" in configure(versions)
    assert versions.current == versions.path_of(update)
    assert versions.pending() is not None


@pytest.mark.parametrize(("package", "update"), [("1.2.0", "1.1.0"), ("1.2.0", "1.2.0")])
def test_a_package_that_is_not_older_ends_the_update(
    package: str, update: str, tmp_path: Path
) -> None:
    versions = house(tmp_path, package, update)
    assert f"version {package} of the package replaces" in configure(versions)
    assert versions.current == versions.packaged
    assert versions.pending() is None
    assert versions.path_of(update).exists(), "the daemon may still run it"


def test_an_update_whose_python_is_gone_gives_way(tmp_path: Path) -> None:
    """The distribution was upgraded: the release was made for its earlier Python."""
    versions = house(tmp_path, "1.0.0", "2.0.0")
    python = versions.current / "bin/python3"
    python.unlink()
    python.symlink_to("/usr/bin/python3.0")
    assert "replaces" in configure(versions)
