"""Builds the Debian package: a virtual environment for one release and architecture.

The environment is written directly rather than by `venv`, because the Python of another
architecture cannot run here. It has the same form: a folder with `pyvenv.cfg`, a link to the
distribution's Python, and site-packages, so the distribution's Picamera2 and lgpio can be imported.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
LIB = "usr/lib/senyum"


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Debian, and of the Raspberry Pi OS based on it."""

    name: str
    debian: int
    python: str  # its `python3`
    glibc: int  # minor version


@dataclass(frozen=True, slots=True)
class Target:
    """The release and architecture that a package is built for."""

    release: Release
    arch: str  # Debian's name

    @property
    def machine(self) -> str:
        """The kernel's name of the architecture."""
        return MACHINES[self.arch]

    @property
    def site(self) -> str:
        """The environment's site-packages folder, under the root."""
        return f"{LIB}/lib/python{self.release.python}/site-packages"


RELEASES = {
    "bookworm": Release("bookworm", 12, "3.11", 36),
    "trixie": Release("trixie", 13, "3.13", 41),
}
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}


def commit_seconds() -> int:
    """Return the time that files are given: SOURCE_DATE_EPOCH, or the time of the last commit.

    Without git, or in an unpacked archive, the time of the changelog.
    """
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    # Root may build in another user's checkout; git only reports a date.
    command = ["git", "-c", f"safe.directory={REPOSITORY}", "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return int((REPOSITORY / "CHANGELOG.md").stat().st_mtime)
    return int(done.stdout)


def cache() -> Path:
    """Return the folder of downloaded wheels."""
    return Path(os.environ.get("SENYUM_CACHE", REPOSITORY / ".cache")) / "build_deb"
