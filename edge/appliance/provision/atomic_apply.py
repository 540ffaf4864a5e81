"""Puts several files in place, all or none, however the power goes.

1. Each new file is written whole beside the one it replaces, under a name of its own.
2. A list of them is renamed to `provision.pending`: from here on they count.
3. Each takes its place, then the list goes.

Power that goes before 2 leaves everything as it was; after it, `finish` at the next run does 3 to
the end. Each step may be done twice.
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
    """One file as it is to be."""

    path: Path
    content: bytes = field(repr=False)
    mode: int
    owner: Owner
    retire: bool = False  # what it replaces is a secret that nobody is to use again


class AtomicApply:
    """The files of one provisioning. Methods raise ProvisionError."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds the list while there is one."""
        self._list = folder / PENDING

    @property
    def pending(self) -> bool:
        """Whether files wait to be put in place."""
        return self._list.exists()

    def put(self, files: Sequence[NewFile]) -> None:
        """Put all in place, durably, or leave everything as it was."""
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
        """Put in place what an earlier run had decided on; returns whether there was any."""
        if not self.pending:
            return False
        try:
            entries = json.loads(self._list.read_bytes())
            for entry in entries:
                _settle(entry)
            self._list.unlink()
            sync_folder(self._list.parent)
        except OSError as error:
            raise ProvisionError(
                f"{error.filename or self._list}: cannot be written: {error.strerror}; mend that, "
                "and run senyum provision again, which goes on from here"
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
    """Fill a file with zeros and remove it, as far as the disk lets us; it may be gone already.

    Flash keeps copies where no program reaches them: a secret that mattered is to be changed.
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


def _settle(entry: dict[str, Any]) -> None:
    path = Path(entry["path"])
    with run_as(Owner(entry["uid"], entry["gid"])):
        staged = _staged(path)
        if not staged.exists():  # done before the power went
            return
        if entry["retire"]:
            overwrite(path)
        staged.replace(path)
        sync_folder(path.parent)


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)  # of a run that was cut short before it counted
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
