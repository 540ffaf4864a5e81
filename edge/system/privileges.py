"""Whose files a unit's state is, and how root handles them without leaving files of its own there.

The daemon's user owns the state folder. A command that runs as root reads and writes in it under
that user's effective id, so that every file, SQLite's own next to the outbox too, belongs to the
daemon, and so that a confined root needs no right to override owners.
"""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = "senyum"  # systemd/sysusers.d


@dataclass(frozen=True, slots=True)
class Owner:
    """A user and its group, by number."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """Return the user's name, or its number where it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @classmethod
    def owner_of(cls, path: Path) -> "Owner":
        """Return who owns a file or folder. Raises OSError."""
        about = path.stat()
        return cls(about.st_uid, about.st_gid)


def service(user: str = USER) -> Owner:
    """Return whose the state is to be: the service's user where root asks, else who asks."""
    if os.geteuid() == 0:
        try:
            found = pwd.getpwnam(user)
        except KeyError:  # an office computer without the package
            return Owner(0, os.getegid())
        return Owner(found.pw_uid, found.pw_gid)
    return Owner(os.geteuid(), os.getegid())


@contextmanager
def run_as(owner: Owner) -> Iterator[None]:
    """Have root touch files as `owner` meanwhile; anybody else goes on as they are.

    For the whole process: other threads are not to touch files at the same time.
    """
    if os.geteuid() != 0 or owner.uid == 0:
        yield
        return
    group = os.getegid()
    os.setegid(owner.gid)
    os.seteuid(owner.uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
