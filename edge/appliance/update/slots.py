"""The versions on this unit, side by side, and which of them is in force.

    current        -> the environment in force: one of versions/, or the package's own
    keeper         -> the one that was in force before, which watches over the present one
    pending.json   while a switch is on trial: from, to, since when, in how many boots
    versions/V/    an environment, whole and durable as soon as it has this name

Every change is one rename, so a power cut at any moment leaves either the old or the new.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from edge.appliance.update.release import MANIFEST, SPARE_BYTES, Release
from edge.errors import UpdateError
from edge.system.files import replace_file, sync_folder

ROOT = Path("/var/lib/senyum-releases")
UNKNOWN_VERSION = "-"  # the version of an environment that does not say it
PACKAGED = Path("/usr/lib/senyum")  # what the Debian package brought
_PARTIAL = ".partial-"
_ROOM = 1.6  # of the release's size, with its bytecode


def order(version: str) -> tuple[int, ...] | None:
    """Return what versions are compared by, their three numbers; None for what is no version."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version, re.ASCII)
    return tuple(int(part) for part in found.groups()) if found else None


@dataclass(frozen=True, slots=True)
class PendingUpdate:
    """A switch that is not yet for good."""

    before: str  # environments, as `current` names them
    after: str
    ailing: bool = False  # whether the unit was out of order already
    watch_s: float | None = None  # how long to watch, where it was asked for
    boots: tuple[str, ...] = ()  # boot ids seen since

    def seen(self, boot: str) -> "PendingUpdate":
        return self if boot in self.boots else replace(self, boots=(*self.boots, boot))


class Slots:
    """The folder of versions. One process at a time changes it: `updater` locks."""

    def __init__(
        self, root: Path = ROOT, packaged: Path = PACKAGED, *, spare_bytes: int = SPARE_BYTES
    ) -> None:
        self.root = root
        self._spare_bytes = spare_bytes
        self.packaged = packaged

    @property
    def current(self) -> Path:
        """The environment in force."""
        link = self.root / "current"
        return link.readlink() if link.is_symlink() else self.packaged

    def version_of(self, environment: Path) -> str:
        """Return what an environment calls itself, or `UNSAID`."""
        try:
            return str(json.loads((environment / MANIFEST).read_text(encoding="utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return UNKNOWN_VERSION

    def place(self, version: str) -> Path:
        """Return where a version's environment lies, or would."""
        return self.root / "versions" / version

    def install(self, release: Release) -> Path:
        """Unpack a release under its version; returns its environment. Raises UpdateError."""
        place = self.place(release.manifest.version)
        if place.exists():
            if place == self.current:
                raise UpdateError(f"version {release.manifest.version} is in force already")
            shutil.rmtree(place)  # a trial that failed, or an earlier one: unpacked anew
        versions = place.parent
        versions.mkdir(parents=True, exist_ok=True)
        for left in versions.glob(_PARTIAL + "*"):  # of an installation that the power ended
            shutil.rmtree(left)
        needed = int(release.manifest.unpacked * _ROOM) + self._spare_bytes
        free = shutil.disk_usage(versions).free
        if free < needed:
            raise UpdateError(
                f"{versions}: {needed // 2**20} MiB are needed and {free // 2**20} are free; "
                "make room"
            )
        partial = versions / (_PARTIAL + release.manifest.version)
        try:
            partial.mkdir()
            release.unpack(partial)
            _compile(partial, place)
            for folder in (partial, versions, self.root):
                folder.chmod(0o755)  # the daemon's user reads it, whatever root's umask is
            partial.rename(place)
        except OSError as error:
            raise UpdateError(f"{versions}: cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        sync_folder(versions)
        return place

    def switch(self, environment: Path) -> None:
        """Put an environment in force."""
        self._link("current", environment)

    def begin(
        self, environment: Path, *, ailing: bool = False, watch_s: float | None = None
    ) -> PendingUpdate:
        """Put an environment in force on trial, watched over by the one before it."""
        trial = PendingUpdate(str(self.current), str(environment), ailing, watch_s)
        self._link("keeper", self.current)
        self.note(trial)
        self.switch(environment)
        return trial

    def trial(self) -> PendingUpdate | None:
        """Return the trial that is under way, if any."""
        try:
            found = json.loads((self.root / "pending.json").read_text(encoding="utf-8"))
            return PendingUpdate(
                found["before"],
                found["after"],
                bool(found["ailing"]),
                found.get("watch_s"),
                tuple(found["boots"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UpdateError(f"{self.root / 'pending.json'}: cannot be read ({error})") from None

    def note(self, trial: PendingUpdate) -> None:
        """Keep what is known of the trial, durably."""
        content = json.dumps(asdict(trial)).encode()
        replace_file(self.root / "pending.json", content, mode=0o644)

    def end(self) -> None:
        """End the trial; what `current` names is in force for good."""
        (self.root / "pending.json").unlink(missing_ok=True)
        sync_folder(self.root)

    def retire(self) -> None:
        """Put the packaged environment in force for good, and end a trial."""
        (self.root / "current").unlink(missing_ok=True)
        self.end()

    def discard(self, environment: Path) -> None:
        """Remove an environment that is not in force."""
        if environment != self.current and environment.parent == self.root / "versions":
            shutil.rmtree(environment, ignore_errors=True)

    def prune(self, keep: Sequence[Path]) -> None:
        """Remove the environments of versions beside `keep` and the one in force."""
        versions = self.root / "versions"
        for environment in versions.iterdir() if versions.exists() else ():
            if environment not in keep:
                self.discard(environment)

    def _link(self, name: str, to: Path) -> None:
        draft = self.root / f"{name}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(to)
        draft.replace(self.root / name)
        sync_folder(self.root)


def _compile(environment: Path, place: Path) -> None:
    """Make the bytecode, durably: the daemon's user may not, and a start takes a third of the time.

    By this version's own Python, which runs nothing of what it compiles. What cannot be compiled
    is for the self-test to see.
    """
    command = [sys.executable, "-I", "-m", "compileall", "-q", "-j", "0"]
    command += ["-s", str(environment), "-p", str(place), str(environment)]
    subprocess.run(command, check=False, capture_output=True)
    for folder in environment.rglob("__pycache__"):
        for made in folder.iterdir():
            with made.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(folder)
        sync_folder(folder.parent)
