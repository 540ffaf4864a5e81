"""The power goes during an update, on a real ext4: one working version is in force afterwards."""

import platform
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from disks import command
from releases import Signatory, environment, release
from update_worker import Willing
from wireunit import environment as variables
from wireunit import until

from edge.appliance.update.release import ReleaseTarget
from edge.appliance.update.slots import Slots
from edge.appliance.update.updater import Updater, WatchPolicy

FILES = 60


def whole(folder: Path) -> str | None:
    """Return the version of an environment all of whose files are there and of that version."""
    parts = sorted((folder / "lib").rglob("*.py"))
    told = {part.read_text(encoding="utf-8") for part in parts}
    if len(parts) != FILES or len(told) != 1:
        return None
    done = subprocess.run([folder / "bin" / "tool"], capture_output=True, text=True, check=True)
    version = done.stdout.strip()
    return version if told == {f"VERSION = {version!r}\n" * 50} else None


def check_cut(pool: Path) -> str:
    """Boot over a copy of the disk; returns the version in force."""
    cut = pool.parent / "cut"
    command("mount", "-o", "loop", pool / "cut.img", cut)
    try:
        # `current` names the places of the disk that went on.
        versions = Moved(cut / "unit" / "releases", cut / "unit" / "packaged")
        before = whole(versions.current)
        assert before is not None, "half a version is in force"
        trial = versions.pending()
        if trial is not None:
            assert whole(versions.moved(Path(trial.fallback))) is not None, "there is no way back"
        service, policy = Willing(), WatchPolicy(watch_s=0.0)
        assert Updater(versions, service, policy=policy, boot=lambda: "next").watch()
        assert versions.pending() is None
        assert whole(versions.current) == before
        return before
    finally:
        command("umount", cut)


class Moved(Slots):
    """The versions of a disk that is mounted at another place."""

    @property
    def current(self) -> Path:
        return self.moved(super().current)

    def moved(self, path: Path) -> Path:
        unit = self.root.parent
        return unit.joinpath(*path.parts[path.parts.index("unit") + 1 :])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cuts", [8, pytest.param(50, marks=pytest.mark.slow)])
def test_a_power_cut_at_any_moment_leaves_one_working_version(pool: Path, cuts: int) -> None:
    unit = pool.parent / "disk" / "unit"
    unit.mkdir()
    environment(unit, "1.0.0", files=FILES).rename(unit / "packaged")
    signatory = Signatory.made(pool.parent)
    here = ReleaseTarget(platform.machine(), ReleaseTarget.local().python)
    releases = [
        release(pool.parent, signatory, version, machine=here, files=FILES)
        for version in ("1.1.0", "1.2.0", "1.3.0")
    ]
    worker = subprocess.Popen(
        [
            sys.executable,
            Path(__file__).with_name("update_worker.py"),
            unit,
            signatory.public,
            *releases,
        ],
        env=variables(),
        stdout=subprocess.PIPE,
        text=True,
    )
    done: list[str] = []
    assert worker.stdout is not None
    reading = threading.Thread(target=lambda: done.extend(worker.stdout or ()), daemon=True)
    reading.start()
    chance = random.Random(7)
    seen = set()
    try:
        until(lambda: done, 30.0)
        for _ in range(cuts):
            time.sleep(chance.uniform(0.01, 0.4))
            assert worker.poll() is None
            command("cp", "--reflink=always", pool / "disk.img", pool / "cut.img")
            seen.add(check_cut(pool))
    finally:
        worker.kill()
        worker.wait()
        reading.join()
        worker.stdout.close()
    assert len(seen) > 1, "every cut hit the same version"
