"""The commands that a unit executed: the last number of each authority, and what they changed.

One small SQLite file. A number and its effect are one transaction, so that a power cut leaves
both or neither. A command that is delivered again after a restart gets its stored reply; in the
same process it is refused as stale. Several threads may use a CommandLog.
"""

import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.errors import OutboxError, OutboxUnusable
from edge.outbox.replay import ReplayRequest
from edge.outbox.sqlite import BUSY_SECONDS, transaction, translate_sqlite_errors
from edge.system.clock import Clock, utc_us
from edge.system.files import sync_folder

log = logging.getLogger(__name__)

KEEP = 32  # newest commands of each authority whose answers are kept
_APPLICATION_ID = 0x53454E59 + 1
_VERSION = 1
_SCHEMA = (
    "CREATE TABLE made (at_us INTEGER) STRICT",  # null while the time was not known
    """CREATE TABLE done (
        kid TEXT NOT NULL,
        number INTEGER NOT NULL,
        digest TEXT NOT NULL,
        topic TEXT NOT NULL,
        reply TEXT NOT NULL,
        audit TEXT,
        PRIMARY KEY (kid, number)
    ) STRICT, WITHOUT ROWID""",
    "CREATE TABLE setting (name TEXT PRIMARY KEY, value REAL NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE replay (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        begin TEXT,
        "end" TEXT
    ) STRICT""",
)


@dataclass(frozen=True, slots=True)
class CommandEffect:
    """What a command changes on disk."""

    settings: Mapping[str, float | None] = field(default_factory=dict)  # None: no longer set
    replay: ReplayRequest | None = None  # its id is the ledger's


@dataclass(frozen=True, slots=True)
class CompletedCommand:
    """A command that was obeyed."""

    kid: str
    number: int
    digest: str  # of its JWS
    topic: str  # of the answer
    reply: str  # the answer, signed
    audit: Mapping[str, Any] | None  # the audit event still to be recorded


class CommandLog:
    """Opens the file when it is first needed, and tries again each time that this fails.

    A missing file is made; a damaged one is set aside. Raises OutboxError from every method.
    `clock` dates a new file, once the time is known.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self.file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._made_us: int | None = None
        self._closed = False
        self.renewed = False  # whether a damaged one was set aside

    @property
    def created_at_us(self) -> int | None:
        """When this ledger began, as far as the time was known then.

        What was signed before may have been obeyed already, by a ledger that is gone.
        """
        with self._opened():
            return self._made_us

    def close(self) -> None:
        """Close; a second time does nothing."""
        with self._lock:
            self._closed = True
            if self._db is not None:
                self._db.close()

    def last(self, kid: str) -> int:
        """Return the highest number of an authority that was obeyed; 0 where none was."""
        row = self._row("SELECT max(number) FROM done WHERE kid = ?", kid)
        return int(row[0] or 0)

    def find(self, kid: str, digest: str) -> CompletedCommand | None:
        """Return this very command, if it was obeyed lately."""
        row = self._row("SELECT * FROM done WHERE kid = ? AND digest = ?", kid, digest)
        return None if row is None else _done(row)

    def add(self, done: CompletedCommand, effect: CommandEffect) -> ReplayRequest | None:
        """Store a number with its effect, durable on return; returns the replay with its id."""
        with self._opened() as db, transaction(db):
            audit = None if done.audit is None else json.dumps(done.audit)
            row = (done.kid, done.number, done.digest, done.topic, done.reply, audit)
            db.execute("INSERT INTO done VALUES (?, ?, ?, ?, ?, ?)", row)
            db.execute(
                "DELETE FROM done WHERE kid = ?1 AND audit IS NULL AND number <= "
                "(SELECT number FROM done WHERE kid = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
                (done.kid, KEEP),
            )
            for name, value in effect.settings.items():
                if value is None:
                    db.execute("DELETE FROM setting WHERE name = ?", (name,))
                else:
                    db.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))
            if (ask := effect.replay) is None:
                return None
            cursor = db.execute(
                'INSERT INTO replay (first, last, begin, "end") VALUES (?, ?, ?, ?)',
                (ask.first, ask.last, ask.begin, ask.end),
            )
            return ReplayRequest(
                int(cursor.lastrowid or 0), ask.first, ask.last, ask.begin, ask.end
            )

    def unaudited(self) -> Sequence[CompletedCommand]:
        """Return the audit events still to be recorded, oldest first."""
        rows = self._rows("SELECT * FROM done WHERE audit IS NOT NULL ORDER BY number")
        return [_done(row) for row in rows]

    def mark_audited(self, done: CompletedCommand) -> None:
        """Note that the audit event of a command is recorded."""
        self._write(
            "UPDATE done SET audit = NULL WHERE kid = ? AND number = ?", done.kid, done.number
        )

    def settings(self) -> dict[str, float]:
        """Return what was set, by name."""
        return dict(self._rows("SELECT name, value FROM setting ORDER BY name"))

    def replays(self) -> list[ReplayRequest]:
        """Return what was asked for and is not sent yet, oldest first."""
        return [ReplayRequest(*row) for row in self._rows("SELECT * FROM replay ORDER BY id")]

    def replayed(self, ask: int) -> None:
        """Forget a replay."""
        self._write("DELETE FROM replay WHERE id = ?", ask)

    # --- SQLite --------------------------------------------------------------------------------

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._opened() as db:
            return db.execute(query, values).fetchall()

    def _row(self, query: str, *values: Any) -> Any:
        with self._opened() as db:
            return db.execute(query, values).fetchone()

    def _write(self, query: str, *values: Any) -> None:
        with self._opened() as db, transaction(db):
            db.execute(query, values)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """Give the connection to one thread; opens it if that has not succeeded yet."""
        with self._lock, translate_sqlite_errors(self.file):
            if self._closed:
                raise OutboxError(f"{self.file}: is closed")
            if self._db is None:
                try:
                    self._db = self._open()
                except OSError as error:
                    raise OutboxError(f"{self.file}: cannot be made: {error.strerror}") from None
            yield self._db

    def _open(self) -> sqlite3.Connection:
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            db = _open(self.file)
        except sqlite3.OperationalError:  # says nothing against the file
            raise
        except sqlite3.DatabaseError as error:
            self._set_aside(error)
            db = _open(self.file)
        try:
            self._made_us = db.execute("SELECT at_us FROM made").fetchone()[0]
            if self._made_us is None and (now := utc_us(self._clock)) is not None:
                with transaction(db):
                    db.execute("UPDATE made SET at_us = ?", (now,))
                self._made_us = now
        except BaseException:
            db.close()
            raise
        return db

    def _set_aside(self, why: Exception) -> None:
        """Set a damaged file aside for inspection, and start a new one."""
        aside = self.file.with_name(f"{self.file.name}.damaged-{int(time.time())}")
        for suffix in ("-wal", "-shm"):
            self.file.with_name(self.file.name + suffix).unlink(missing_ok=True)
        self.file.replace(aside)
        self.renewed = True
        log.error("%s: is damaged (%s); set aside as %s", self.file, why, aside.name)


def _done(row: Sequence[Any]) -> CompletedCommand:
    kid, number, digest, topic, reply, audit = row
    detail = None if audit is None else json.loads(audit)
    return CompletedCommand(kid, number, digest, topic, reply, detail)


def _open(file: Path) -> sqlite3.Connection:
    """Open the file, creating it if it is missing. sqlite3.DatabaseError if it is damaged."""
    new = not file.exists()
    if new:  # the unit's alone, whatever the umask
        file.touch(mode=0o600)
    db = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            _make(db)
        _check(db, file)
        if new:
            sync_folder(file.parent)
    except BaseException:
        db.close()
        raise
    return db


def _check(db: sqlite3.Connection, file: Path) -> None:
    application_id, version = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application_id == _APPLICATION_ID and version > _VERSION:
        raise OutboxUnusable(
            f"{file}: was written by a newer Senyum (schema {version}, this one knows {_VERSION}); "
            "install that one again"
        )
    if (application_id, version) != (_APPLICATION_ID, _VERSION):
        raise sqlite3.DatabaseError(f"is not a command log of version {_VERSION}")
    if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise sqlite3.DatabaseError(found)


def _make(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute("INSERT INTO made VALUES (NULL)")
    db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {_VERSION}")
    db.execute("COMMIT")
