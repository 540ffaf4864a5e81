"""SQLite as the outbox and the command log use it: connections, transactions and errors."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.errors import OutboxDamaged, OutboxError, OutboxFull

BUSY_SECONDS = 5.0  # how long one connection waits for the other

# What reading a damaged file raises: Python itself decodes column names, as UTF-8.
ILLEGIBLE = (sqlite3.DatabaseError, UnicodeDecodeError)
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# The shared-memory index of the WAL needs 32 KiB at every start.
_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
# Errors of the files next to it, which do not mean that the file itself is damaged.
NOT_OF_THE_FILE = _NO_ROOM | {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


@contextlib.contextmanager
def translate_sqlite_errors(file: Path) -> Iterator[None]:
    """Raise an OutboxError that says what to do in place of an error of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        if code in _NO_ROOM:
            raise OutboxFull(f"{file}: the disk is full; make room on it") from error
        if code & 0xFF == sqlite3.SQLITE_CANTOPEN and _no_inode(file.parent):
            raise OutboxFull(
                f"{file}: the disk has no inode left for another file; remove files from it (df -i)"
            ) from error
        kind = OutboxDamaged if code & 0xFF in _DAMAGE else OutboxError  # whatever its detail
        raise kind(f"{file}: {error}") from error
    except UnicodeDecodeError as error:  # see ILLEGIBLE
        raise OutboxDamaged(f"{file}: is damaged ({error.reason})") from error


def _no_inode(folder: Path) -> bool:
    """Return whether the file system of a folder has run out of inodes."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_files > 0 and disk.f_favail == 0


def connect(file: Path, mode: str) -> sqlite3.Connection:
    """Open an existing file; `mode` is "ro" or "rw". Raises sqlite3.Error."""
    # One thread uses a connection at a time, but not always the one that opened it.
    db = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    db.text_factory = _ascii
    return db


def _ascii(content: bytes) -> str:
    """Decode a text. All of ours are ASCII; a damaged one then fails its signature check."""
    return content.decode("ascii", "replace").replace("\ufffd", "?")


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit on a normal exit, roll back on an exception. `db` is in autocommit mode."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite rolls back by itself after some errors, a full disk among them.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
