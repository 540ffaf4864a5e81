"""The tables of the outbox, and the creation of an empty one.

An outbox of a newer schema (unless its `serves` note allows this version), or from before the first
release, is refused and left untouched.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.system.files import sync_folder

VERSION = 1
APPLICATION_ID = 0x53454E5A  # distinguishes an outbox from other SQLite files
PRE_RELEASE_ID = 0x53454E59  # that of the schemas from before the first release
PAGE_BYTES = 1024

SCHEMA = (
    """CREATE TABLE event (
        sequence INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        stored_at INTEGER NOT NULL,
        jws TEXT NOT NULL
    ) STRICT""",
    """CREATE TRIGGER event_is_final BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'a stored event never changes'); END""",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    # epoch: how often the file was replaced. base: events with higher numbers were stored in this
    # file; those up to it were recovered from the damaged one before it.
    "INSERT INTO counter VALUES ('session', 0), ('delivered', 0), ('epoch', 0), ('base', 0)",
    # base: the digest that event base + 1 follows. renewal: the detail of the first audit event.
    "CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
)


@contextlib.contextmanager
def build_new_file(file: Path) -> Iterator[sqlite3.Connection]:
    """Create an empty outbox next to `file`; on a normal exit it is complete and durable.

    `move_into_place` then gives it its name. Raises OSError and sqlite3.Error.
    """
    path = _draft(file)
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("BEGIN")
        for statement in SCHEMA:
            db.execute(statement)
        yield db
        db.execute("COMMIT")
    with path.open("rb") as made:  # closing has copied the WAL into it
        os.fsync(made.fileno())


def move_into_place(file: Path) -> None:
    """Rename the draft to `file`, durably, replacing any file of that name. Raises OSError."""
    _draft(file).replace(file)
    sync_folder(file.parent)


def _draft(file: Path) -> Path:
    return file.with_name(file.name + ".new")
