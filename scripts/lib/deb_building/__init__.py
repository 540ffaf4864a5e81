"""Builds the Debian package: a virtual environment for one release and architecture.

The environment is written rather than made by `venv`: for another architecture nothing can be run
here. It is the same thing, a folder with `pyvenv.cfg`, a link to the distribution's Python and
site-packages, so the distribution's Picamera2 and lgpio serve too.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
LIB = "usr/lib/senyum"


@dataclass(frozen=True, slots=True)
class Release:
    """A Debian release, and with it Raspberry Pi OS's."""

    name: str
    debian: int
    python: str  # its `python3`
    glibc: int  # minor version


@dataclass(frozen=True, slots=True)
class Target:
    """What a package is built for."""

    release: Release
    arch: str  # Debian's name

    @property
    def machine(self) -> str:
        """The kernel's name of the architecture."""
        return MACHINES[self.arch]

    @property
    def site(self) -> str:
        """Where the environment's packages lie, under the root."""
        return f"{LIB}/lib/python{self.release.python}/site-packages"


RELEASES = {
    "bookworm": Release("bookworm", 12, "3.11", 36),
    "trixie": Release("trixie", 13, "3.13", 41),
}
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}


def commit_seconds() -> int:
    """Return the time that files are given: SOURCE_DATE_EPOCH, or the last commit's.

    Where there is no git, or only an unpacked archive, it is that of the changelog.
    """
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    # Root may build in somebody else's checkout; git is asked for a date alone.
    command = ["git", "-c", f"safe.directory={REPOSITORY}", "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return int((REPOSITORY / "CHANGELOG.md").stat().st_mtime)
    return int(done.stdout)


def cache() -> Path:
    """Return where downloaded wheels are kept."""
    return Path(os.environ.get("SENYUM_CACHE", REPOSITORY / ".cache")) / "build_deb"
