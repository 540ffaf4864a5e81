"""Builds the Debian package: a virtual environment for one release and architecture.

The environment is written rather than made by `venv`: for another architecture nothing can be run
here. It is the same thing, a folder with `pyvenv.cfg`, a link to the distribution's Python and
site-packages, so the distribution's Picamera2 and lgpio serve too.
"""

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
