"""Updates on a service that does what its script says, on real files."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from releases import MACHINE, Signatory, environment, release

from edge.appliance.update.release import Release, load_keys
from edge.appliance.update.service import ServiceStatus
from edge.appliance.update.slots import PendingUpdate, Slots
from edge.appliance.update.updater import Updater, WatchPolicy
from edge.errors import UpdateError, UpdateRefused

POLICY = WatchPolicy(watch_s=0.1, ready_timeout_s=0.05, poll_s=0.01)
WELL = ServiceStatus(active=True, restarts=0, sentence="Watching. 3 enrolled.")
ILL = ServiceStatus(active=True, restarts=0, sentence="Out of order: no pictures.")
DOWN = ServiceStatus(active=False, restarts=0, sentence="")


class Scripted:
    """A service whose status follows from the environment in force."""

    def __init__(self, versions: Slots) -> None:
        self._slots = versions
        self.calls: list[str] = []
        self.unstoppable = False
        self.standings: dict[str, Iterator[ServiceStatus]] = {}

    def stop(self) -> None:
        self.calls.append("stop")
        if self.unstoppable:
            raise UpdateError("systemctl stop: timed out")

    def start(self) -> None:
        self.calls.append(f"start {self._slots.current.name}")

    def status(self) -> ServiceStatus:
        script = self.standings.get(self._slots.current.name)
        return WELL if script is None else next(script)


class House:
    """A unit with its packaged version 1.0.0, and one who signs releases for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packaged = environment(folder, "1.0.0").rename(folder / "packaged")
        (self.packaged / "release.json").write_text('{"version": "1.0.0"}')
        self.versions = Slots(folder / "releases", self.packaged)
        self.service = Scripted(self.versions)
        self.signatory = Signatory.made(folder)
        self.boot = "boot-1"
        self.fails: dict[str, str] = {}
        self.updater = self.with_patience(POLICY)

    def with_patience(self, policy: WatchPolicy) -> Updater:
        return Updater(
            self.versions,
            self.service,
            test=lambda environment: self.fails.get(environment.name),
            policy=policy,
            boot=lambda: self.boot,
        )

    def update(self, version: str, *, older: bool = False) -> PendingUpdate:
        path = release(self.folder, self.signatory, version)
        with closing(Release(path, load_keys(self.signatory.public))) as opened:
            return self.updater.update(opened, MACHINE, older=older)

    @property
    def in_force(self) -> str:
        return self.versions.version_of(self.versions.current)

    @property
    def unpacked(self) -> list[str]:
        folder = self.versions.root / "versions"
        return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def forever(status: ServiceStatus) -> Iterator[ServiceStatus]:
    while True:
        yield status


def test_a_good_version_is_tested_put_in_force_and_stays(house: House) -> None:
    house.update("1.1.0")
    assert house.in_force == "1.1.0"
    assert house.service.calls == ["stop", "start 1.1.0"]
    assert (house.versions.root / "keeper").readlink() == house.packaged
    assert house.updater.watch()
    assert house.in_force == "1.1.0"
    assert house.versions.pending() is None


def test_the_version_before_is_kept_and_older_ones_go(house: House) -> None:
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        house.update(version)
        assert house.updater.watch()
    assert house.unpacked == ["1.2.0", "1.3.0"]


def test_a_version_that_fails_its_test_changes_nothing(house: House) -> None:
    house.fails["1.1.0"] = "the camera gave no frame"
    with pytest.raises(UpdateRefused, match=r"does not work here: the camera gave no frame"):
        house.update("1.1.0")
    assert (house.in_force, house.unpacked) == ("1.0.0", [])
    assert house.service.calls == ["stop", "start packaged"]
    assert house.versions.pending() is None


def test_what_fails_in_the_present_version_too_does_not_hold_an_update_back(house: House) -> None:
    house.fails |= {"1.1.0": "no camera", "packaged": "no camera"}
    house.service.standings["1.1.0"] = forever(ILL)
    house.update("1.1.0")
    assert house.updater.watch()
    assert house.in_force == "1.1.0"


def restarting() -> Iterator[ServiceStatus]:
    count = 0
    while True:
        yield ServiceStatus(active=True, restarts=count, sentence="")
        count += 1


def up_then_down() -> Iterator[ServiceStatus]:
    yield from [WELL] * 4
    yield from forever(DOWN)


@pytest.mark.parametrize(
    "script", [lambda: forever(DOWN), up_then_down, restarting, lambda: forever(ILL)]
)
def test_a_version_that_fails_on_trial_is_taken_back(
    house: House, script: Callable[[], Iterator[ServiceStatus]]
) -> None:
    house.service.standings["1.1.0"] = script()
    house.update("1.1.0")
    assert not house.updater.watch()
    assert (house.in_force, house.unpacked) == ("1.0.0", [])
    assert house.service.calls[-2:] == ["stop", "start packaged"]
    assert house.versions.pending() is None
    assert house.updater.watch(), "without a trial there is nothing to see"


def test_a_service_that_restarted_before_the_update_is_not_held_against_it(house: House) -> None:
    house.service.standings["1.1.0"] = forever(ServiceStatus(active=True, restarts=9, sentence=""))
    house.update("1.1.0")
    assert house.updater.watch()


def test_a_version_that_brings_the_machine_down_again_and_again_is_taken_back(house: House) -> None:
    house.update("1.1.0")
    for boot in range(POLICY.max_boots + 1):
        trial = house.versions.pending()
        assert trial is not None
        house.versions.save_pending(trial.with_boot(f"boot-{boot}"))
    house.boot = "one-more"
    assert not house.updater.watch()
    assert house.in_force == "1.0.0"


def test_a_version_that_is_not_newer_has_to_be_asked_for(house: House) -> None:
    with pytest.raises(UpdateRefused, match=r"0\.9\.9 is not newer than 1\.0\.0; add --"):
        house.update("0.9.9")
    assert house.service.calls == []
    house.update("0.9.8", older=True)
    assert house.in_force == "0.9.8"


class Faltering(Iterator[ServiceStatus]):
    """A service whose manager fails to answer the second question."""

    def __init__(self) -> None:
        self.asked = 0

    def __next__(self) -> ServiceStatus:
        self.asked += 1
        if self.asked == 2:
            raise UpdateError("systemctl: timed out")
        return WELL


def test_a_watch_is_as_long_as_was_asked_for(house: House) -> None:
    path = release(house.folder, house.signatory, "1.1.0")
    with closing(Release(path, load_keys(house.signatory.public))) as opened:
        house.updater.update(opened, MACHINE, watch_s=0.3)
    trial = house.versions.pending()
    assert trial is not None
    assert trial.watch_s == 0.3
    began = time.monotonic()
    assert house.updater.watch()
    assert time.monotonic() - began >= 0.3


def test_a_version_that_is_down_at_the_end_of_the_watch_is_waited_for(house: House) -> None:
    """The watch may end in one of its restarts: then only being ready again lets it stay."""
    house.service.standings["1.1.0"] = forever(DOWN)
    house.updater = house.with_patience(WatchPolicy(watch_s=0.0, ready_timeout_s=0.1, poll_s=0.01))
    house.update("1.1.0")
    assert not house.updater.watch()
    assert house.in_force == "1.0.0"


def test_a_manager_that_does_not_answer_once_is_asked_again(house: House) -> None:
    house.service.standings["1.1.0"] = Faltering()
    house.update("1.1.0")
    assert house.updater.watch()


def test_a_service_that_cannot_be_stopped_does_not_hold_the_way_back_up(house: House) -> None:
    house.service.standings["1.1.0"] = forever(DOWN)
    house.update("1.1.0")
    house.service.unstoppable = True
    assert not house.updater.watch()
    assert house.in_force == "1.0.0"
    assert house.service.calls[-1] == "start packaged"


def test_bytecode_is_made_with_the_version_and_fits_its_place(house: House) -> None:
    house.update("1.1.0")
    place = house.versions.path_of("1.1.0")
    (made,) = (place / "lib/part1/__pycache__").glob("1.*.pyc")
    assert str(place / "lib/part1/1.py").encode() in made.read_bytes()
    assert b".partial-" not in made.read_bytes()
    assert place.stat().st_mode & 0o777 == 0o755


def test_one_update_at_a_time(house: House) -> None:
    house.update("1.1.0")
    with pytest.raises(UpdateError, match="being watched"):
        house.update("1.2.0")
    assert house.in_force == "1.1.0"


def test_what_an_earlier_installation_left_is_cleared_away(house: House) -> None:
    left = house.versions.root / "versions" / ".partial-1.1.0"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    half = house.versions.path_of("1.1.0")
    half.mkdir()
    (half / "from-a-trial-that-failed").write_text("")
    house.update("1.1.0")
    assert house.unpacked == ["1.1.0"]
    assert not (half / "from-a-trial-that-failed").exists()


def test_a_cut_before_the_switch_leaves_the_old_version_without_a_trial(house: House) -> None:
    house.versions.root.mkdir()
    house.versions.save_pending(
        PendingUpdate(str(house.packaged), str(house.versions.path_of("1.1.0")))
    )
    assert house.updater.watch()
    assert (house.in_force, house.versions.pending()) == ("1.0.0", None)


def test_a_disk_without_room_is_said_before_anything_is_written(
    house: House, tmp_path: Path
) -> None:
    path = release(tmp_path, house.signatory, "1.1.0")
    with closing(Release(path, load_keys(house.signatory.public))) as opened:
        opened.manifest = opened.manifest.model_copy(update={"unpacked": 2**60})
        with pytest.raises(UpdateError, match=r"needs \d+ MiB, \d+ MiB are free"):
            house.updater.update(opened, MACHINE)
    assert house.unpacked == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(house: House) -> None:
    house.versions.root.mkdir()
    (house.versions.root / "versions").mkdir(mode=0o500)
    with pytest.raises(UpdateError, match="cannot be written"):
        house.update("1.1.0")
