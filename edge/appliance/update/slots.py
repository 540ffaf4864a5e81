"""The installed versions, and which of them is active.

    current        -> the active environment: one of versions/, or the package's
    keeper         -> the previous environment, which watches the active one
    pending.json   while an update is watched: fallback, candidate, boots
    versions/V/    an environment, complete and durable as soon as it has this name

Every change is one rename, so a power cut at any moment leaves either the old or the new state.
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
UNKNOWN_VERSION = "-"  # of an environment without a readable release.json
PACKAGED = Path("/usr/lib/senyum")  # the environment of the Debian package
_PARTIAL = ".partial-"
_ROOM = 1.6  # of the unpacked size, including bytecode


def order(version: str) -> tuple[int, ...] | None:
    """Return a version's three numbers, for comparison; None if it is not a version."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version, re.ASCII)
    return tuple(int(part) for part in found.groups()) if found else None


@dataclass(frozen=True, slots=True)
class PendingUpdate:
    """An activated update that is not committed yet."""

    fallback: str  # environment, as `current` names it
    candidate: str
    was_out_of_order: bool = False  # before the update
    watch_s: float | None = None  # duration of the watch; None: the default
    boots: tuple[str, ...] = ()  # boot ids since the activation

    def with_boot(self, boot: str) -> "PendingUpdate":
        return self if boot in self.boots else replace(self, boots=(*self.boots, boot))


class Slots:
    """The folder of versions. One process at a time changes it: `Updater` locks it."""

    def __init__(
        self, root: Path = ROOT, packaged: Path = PACKAGED, *, spare_bytes: int = SPARE_BYTES
    ) -> None:
        self.root = root
        self._spare_bytes = spare_bytes
        self.packaged = packaged

    @property
    def current(self) -> Path:
        """The active environment."""
        link = self.root / "current"
        return link.readlink() if link.is_symlink() else self.packaged

    def version_of(self, environment: Path) -> str:
        """Return the version of an environment, or UNKNOWN_VERSION."""
        try:
            return str(json.loads((environment / MANIFEST).read_text(encoding="utf-8"))["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return UNKNOWN_VERSION

    def path_of(self, version: str) -> Path:
        """Return the folder of a version's environment; it may not exist."""
        return self.root / "versions" / version

    def install(self, release: Release) -> Path:
        """Unpack a release and return its environment. Raises UpdateError."""
        place = self.path_of(release.manifest.version)
        if place.exists():
            if place == self.current:
                raise UpdateError(f"version {release.manifest.version} is active already")
            shutil.rmtree(place)  # of a failed or earlier update
        versions = place.parent
        versions.mkdir(parents=True, exist_ok=True)
        for left in versions.glob(_PARTIAL + "*"):  # left by an interrupted installation
            shutil.rmtree(left)
        needed = int(release.manifest.unpacked * _ROOM) + self._spare_bytes
        free = shutil.disk_usage(versions).free
        if free < needed:
            raise UpdateError(
                f"{versions}: needs {needed // 2**20} MiB, {free // 2**20} MiB are free; "
                "free disk space"
            )
        partial = versions / (_PARTIAL + release.manifest.version)
        try:
            partial.mkdir()
            release.unpack(partial)
            _compile(partial, place)
            for folder in (partial, versions, self.root):
                folder.chmod(0o755)  # readable by the daemon's user, whatever root's umask is
            partial.rename(place)
        except OSError as error:
            raise UpdateError(f"{versions}: cannot be written: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        sync_folder(versions)
        return place

    def activate(self, environment: Path) -> None:
        """Make an environment the active one."""
        self._link("current", environment)

    def activate_pending(
        self, environment: Path, *, was_out_of_order: bool = False, watch_s: float | None = None
    ) -> PendingUpdate:
        """Activate an environment as pending; the previous one watches it."""
        pending = PendingUpdate(str(self.current), str(environment), was_out_of_order, watch_s)
        self._link("keeper", self.current)
        self.save_pending(pending)
        self.activate(environment)
        return pending

    def pending(self) -> PendingUpdate | None:
        """Return the pending update, if any. Raises UpdateError."""
        try:
            found = json.loads((self.root / "pending.json").read_text(encoding="utf-8"))
            return PendingUpdate(
                found["fallback"],
                found["candidate"],
                bool(found["was_out_of_order"]),
                found.get("watch_s"),
                tuple(found["boots"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UpdateError(f"{self.root / 'pending.json'}: cannot be read ({error})") from None

    def save_pending(self, pending: PendingUpdate) -> None:
        """Save the pending update durably."""
        content = json.dumps(asdict(pending)).encode()
        replace_file(self.root / "pending.json", content, mode=0o644)

    def commit(self) -> None:
        """Commit the active environment: no update is pending any more."""
        (self.root / "pending.json").unlink(missing_ok=True)
        sync_folder(self.root)

    def activate_packaged(self) -> None:
        """Activate the package's environment and commit it."""
        (self.root / "current").unlink(missing_ok=True)
        self.commit()

    def remove(self, environment: Path) -> None:
        """Remove an environment that is not active."""
        if environment != self.current and environment.parent == self.root / "versions":
            shutil.rmtree(environment, ignore_errors=True)

    def prune(self, keep: Sequence[Path]) -> None:
        """Remove all environments except `keep` and the active one."""
        versions = self.root / "versions"
        for environment in versions.iterdir() if versions.exists() else ():
            if environment not in keep:
                self.remove(environment)

    def _link(self, name: str, to: Path) -> None:
        draft = self.root / f"{name}.new"
        draft.unlink(missing_ok=True)
        draft.symlink_to(to)
        draft.replace(self.root / name)
        sync_folder(self.root)


def _compile(environment: Path, place: Path) -> None:
    """Compile the bytecode durably; the daemon's user cannot, and a start then takes a third.

    This version's Python compiles it and runs none of it. Errors show up in the self-test.
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
