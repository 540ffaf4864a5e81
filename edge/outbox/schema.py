"""The outbox's tables, every version they had, and the way from each to the next.

`tests/outbox/outbox_schemas/` keeps the tables of every version as they were made then; a database
of each is migrated in the tests. A migration is one transaction: however the power goes, the file
is of the old version or of the new one, whole.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.outbox.transaction import transaction
from edge.system.files import sync_folder

VERSION = 2
APPLICATION_ID = 0x53454E59  # tells an outbox from any other SQLite file
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
    # epoch: how often the file was renewed. base: events of higher numbers were stored by this
    # file, those up to it were saved from the damaged one before it.
    "INSERT INTO counter VALUES ('session', 0), ('delivered', 0), ('epoch', 0), ('base', 0)",
    # base: the digest that event base + 1 follows. renewal: what the first event has to tell.
    "CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
)

_MIGRATIONS: dict[int, tuple[str, ...]] = {
    1: (
        "INSERT INTO counter VALUES ('epoch', 0), ('base', 0)",
        "CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    ),
}


def is_current(db: sqlite3.Connection, version: int) -> bool:
    """Whether this program may work on an outbox of a version. Raises sqlite3.Error.

    An update may be taken back, so a migration that only adds says so: it notes the oldest
    version that can work on its tables, as `serves`.
    """
    if version <= VERSION:
        return True
    row = db.execute("SELECT value FROM note WHERE name = 'serves'").fetchone()
    return row is not None and str(row[0]).isdecimal() and int(row[0]) <= VERSION


def migrate(db: sqlite3.Connection) -> int:
    """Bring an outbox of an earlier version to this one; returns the version it had.

    `db` is in autocommit mode. Raises sqlite3.Error; then the file is as it was.
    """
    before = int(db.execute("PRAGMA user_version").fetchone()[0])
    if before >= VERSION:
        return before
    with transaction(db):
        for version in range(before, VERSION):
            for statement in _MIGRATIONS[version]:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    # An older program reads the version in the file itself, so it must not stay in the WAL.
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return before


@contextlib.contextmanager
def build_new_file(file: Path) -> Iterator[sqlite3.Connection]:
    """Make an empty outbox beside `file`; on a normal exit it is whole and durable.

    It is `put_in_place` that gives it its name. Raises OSError and sqlite3.Error.
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
    with path.open("rb") as made:  # closing has moved all of the WAL into it
        os.fsync(made.fileno())


def move_into_place(file: Path) -> None:
    """Give the draft its name, durably, in place of whatever has it. Raises OSError."""
    _draft(file).replace(file)
    sync_folder(file.parent)


def _draft(file: Path) -> Path:
    return file.with_name(file.name + ".new")
