"""Replaces several files, all or none, also if power is lost.

1. Each new file is written next to the file that it replaces, under a temporary name.
2. A list of them is renamed to `provision.pending`; this commits the change.
3. Each file is renamed to its final name, then the list is removed.

A power loss before 2 changes nothing; after it, `finish` completes step 3 at the next run. Each
step can be repeated.
"""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import ProvisionError
from edge.system.files import sync_folder
from edge.system.privileges import Owner, run_as

PENDING = "provision.pending"
_MARK = ".provision"


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to write."""

    path: Path
    content: bytes = field(repr=False)
    mode: int
    owner: Owner
    retire: bool = False  # overwrite the secret that it replaces


class AtomicApply:
    """The files of one provisioning run. Methods raise ProvisionError."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the folder of the list."""
        self._list = folder / PENDING

    @property
    def pending(self) -> bool:
        """Whether a committed change is not complete yet."""
        return self._list.exists()

    def apply(self, files: Sequence[NewFile]) -> None:
        """Replace all files durably, or change nothing."""
        try:
            self._stage(files)
        except OSError as error:
            self._withdraw(files)
            raise ProvisionError(
                f"{error.filename or self._list}: cannot be written: {error.strerror}; "
                "nothing was changed"
            ) from None
        self.finish()

    def finish(self) -> bool:
        """Complete the change that an earlier run committed; return whether there was one."""
        if not self.pending:
            return False
        try:
            entries = json.loads(self._list.read_bytes())
            for entry in entries:
                _replace(entry)
            self._list.unlink()
            sync_folder(self._list.parent)
        except OSError as error:
            raise ProvisionError(
                f"{error.filename or self._list}: cannot be written: {error.strerror}; correct "
                "that and run senyum provision again, which continues from here"
            ) from None
        return True

    def _stage(self, files: Sequence[NewFile]) -> None:
        for file in files:
            with run_as(file.owner):
                _write(_staged(file.path), file.content, file.mode)
        entries = [
            {
                "path": str(file.path),
                "uid": file.owner.uid,
                "gid": file.owner.gid,
                "retire": file.retire,
            }
            for file in files
        ]
        draft = _staged(self._list)
        _write(draft, json.dumps(entries).encode(), 0o600)
        draft.replace(self._list)
        sync_folder(self._list.parent)

    def _withdraw(self, files: Sequence[NewFile]) -> None:
        for file in files:
            with run_as(file.owner), contextlib.suppress(OSError):
                overwrite(_staged(file.path))


def overwrite(path: Path) -> None:
    """Overwrite a file with zeros and remove it; a missing file is not an error.

    Flash may keep copies that no program can reach, so an exposed secret must be changed.
    """
    try:
        with path.open("r+b") as file:
            file.write(bytes(os.fstat(file.fileno()).st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name}{_MARK}")


def _replace(entry: dict[str, Any]) -> None:
    path = Path(entry["path"])
    with run_as(Owner(entry["uid"], entry["gid"])):
        staged = _staged(path)
        if not staged.exists():  # done before a power loss
            return
        if entry["retire"]:
            overwrite(path)
        staged.replace(path)
        sync_folder(path.parent)


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)  # left by a run that did not commit
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
