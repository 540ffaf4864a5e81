"""Where events become durable and wait for the broker.

One table, rows only ever added: the newest row is the head of the chain, so that an event and
the head it makes are one transaction by construction. How far the broker has acknowledged is
kept beside it and written late: to lose it means only that some events are sent again.

Two connections, one thread each. `Outbox` adds (the recorder's thread); `Reader` hands out and
remembers what was delivered (the link's thread). SQLite's lock keeps the two apart.

Pages of 1 KiB and a checkpoint every CHECKPOINT_EVENTS keep what one event costs the card near
its own size: an insert touches the end of one tree, and each page is copied back once for many.
"""

import contextlib
import fcntl
import itertools
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge.errors import OutboxError, OutboxRefused
from edge.mqtt.clock import ClockState
from edge.mqtt.encoding import digest, from_b64url
from edge.mqtt.keys import begun
from edge.mqtt.seal import Head, Sealed
from edge.settings import sync_folder

PAGE_BYTES = 1024
CHECKPOINT_EVENTS = 128
REMOVE_EVENTS = 512  # past retention, removed in one transaction
TAIL = 64  # newest events whose chain is checked at every start
FULL_CHECK_BYTES = 16 * 1024 * 1024  # up to this size the whole file is checked at every start
BUSY_SECONDS = 5.0  # how long one connection waits for the other

_APPLICATION_ID = 0x53454E59  # tells an outbox from any other SQLite file
_VERSION = 1
_SCHEMA = """
    CREATE TABLE event (
        sequence INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        stored_at INTEGER NOT NULL,
        jws TEXT NOT NULL
    ) STRICT;
    CREATE TRIGGER event_is_final BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'a stored event never changes'); END;
    CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO counter VALUES ('session', 0), ('delivered', 0);
"""
_KEEP = (
    "keep the file, it is evidence; then move it, the signing key and the key's .begun file away "
    "and register the new key with central"
)

Build = Callable[[Head], Sealed]


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event."""

    sequence: int
    id: str
    token: str


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """Tell what SQLite says in our own words."""
    try:
        yield
    except sqlite3.Error as error:
        raise OutboxError(f"{file}: {error}") from error


class _Connection:
    """What the writer and the reader have in common."""

    def __init__(self, file: Path, synchronous: str) -> None:
        self.file = file
        with _told(file):
            self._db = _connect(file, synchronous)

    def head(self) -> Head:
        """Return the newest event's number and digest."""
        with _told(self.file):
            return self._head()

    def close(self) -> None:
        """Close; a second time does nothing."""
        self._db.close()

    def _head(self) -> Head:
        row = self._db.execute(
            "SELECT sequence, jws FROM event ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        return Head() if row is None else Head(row[0], digest(row[1]))

    def _counter(self, name: str) -> int:
        row = self._db.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
        return int(row[0])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, whatever raises inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite rolls back by itself after some errors, a full disk among them.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


class Outbox(_Connection):
    """The writer. Opening makes the file if there is none, checks it, and counts a session.

    Raises OutboxError, also where another process has the outbox open. `clock` gives the UTC
    seconds since 1970 that age is later judged by. With `signing_key`, the file of the key that
    signs, an outbox is not made for a key that has signed events of another one: numbers would be
    used twice.
    """

    def __init__(
        self,
        file: Path,
        retention_days: int = 90,
        retention_events: int = 100_000,
        clock: Callable[[], float] = time.time,
        *,
        signing_key: Path | None = None,
    ) -> None:
        self._keep_days = retention_days
        self._keep_events = retention_events
        self._clock = clock
        self._since_checkpoint = 0
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, _lock(file))
            _make_or_find(file, None if signing_key is None else begun(signing_key))
            _check(file)
            super().__init__(file, "FULL")
            undo.callback(self._db.close)
            with _told(file), self._transaction():
                self._db.execute("UPDATE counter SET value = value + 1 WHERE name = 'session'")
                self.session = self._counter("session")
            self._close = undo.pop_all()

    def append(self, *builds: Build) -> tuple[Row, ...]:
        """Seal and store events in the order given, durable on return, or none of them.

        Each of `builds` is handed the head that its event follows. Raises OutboxError, and
        whatever a build raises.
        """
        rows = []
        with _told(self.file), self._transaction():
            head = self._head()  # of the disk, not of memory: a failed commit leaves no trace here
            for build in builds:
                sealed = build(head)
                head = head.followed_by(sealed.token)
                rows.append(Row(head.sequence, sealed.id, sealed.token))
                self._db.execute(
                    "INSERT INTO event VALUES (?, ?, ?, ?)",
                    (head.sequence, sealed.id, int(self._clock()), sealed.token),
                )
        self._since_checkpoint += len(rows)
        return tuple(rows)

    def tidy(self, now: datetime | None) -> None:
        """Checkpoint and remove what is past retention, when enough has come together.

        `now` is None while the time is not known: then age removes nothing. What the broker has
        not acknowledged and the newest event always stay.
        """
        if self._since_checkpoint < CHECKPOINT_EVENTS:
            return
        with _told(self.file):
            self._remove(now)
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        self._since_checkpoint = 0

    def close(self) -> None:
        """Checkpoint and close; a second time does nothing."""
        self._close.close()

    def _remove(self, now: datetime | None) -> None:
        oldest, newest = self._db.execute(
            "SELECT min(sequence), max(sequence) FROM event"
        ).fetchone()
        past = newest - self._keep_events
        if now is not None:
            limit = now.timestamp() - self._keep_days * 86_400
            past = max(past, self._aged(oldest + REMOVE_EVENTS, limit))
        past = min(past, self._counter("delivered"), newest - 1, oldest + REMOVE_EVENTS)
        if past >= oldest:
            with self._transaction():
                self._db.execute("DELETE FROM event WHERE sequence <= ?", (past,))

    def _aged(self, end: int, limit: float) -> int:
        """Return the newest event before `end` that is past its age with all before it, or 0.

        A stamp from a clock that nobody disciplined tells no age: such an event is past its age
        when one stored after it is.
        """
        aged = 0
        for sequence, stored_at, jws in self._db.execute(
            "SELECT sequence, stored_at, jws FROM event WHERE sequence < ? ORDER BY sequence",
            (end,),
        ):
            if _read(jws, "data", "clock", "state") == ClockState.UNSYNCHRONIZED:
                continue
            if stored_at >= limit:
                break
            aged = sequence
        return aged


class Reader(_Connection):
    """The link's view: what to send next, and what was delivered. Raises OutboxError."""

    def __init__(self, file: Path) -> None:
        # NORMAL: noting a delivery costs no wait for the card; a power cut may forget it.
        super().__init__(file, "NORMAL")

    def after(self, sequence: int, limit: int) -> list[Row]:
        """Return at most `limit` events that follow `sequence`, oldest first."""
        with _told(self.file):
            rows = self._db.execute(
                "SELECT sequence, id, jws FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (sequence, limit),
            ).fetchall()
        return [Row(*row) for row in rows]

    def delivered(self) -> int:
        """Return the newest event that is known to be acknowledged, with all before it."""
        with _told(self.file):
            return self._counter("delivered")

    def set_delivered(self, sequence: int) -> None:
        """Note how far the broker has acknowledged; never goes back."""
        with _told(self.file), self._transaction():
            self._db.execute(
                "UPDATE counter SET value = ?1 WHERE name = 'delivered' AND value < ?1", (sequence,)
            )


def _connect(file: Path, synchronous: str) -> sqlite3.Connection:
    # The thread that opens is not always the thread that works, but there is one at a time.
    # mode=rw never makes a file.
    db = sqlite3.connect(
        f"{file.absolute().as_uri()}?mode=rw",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        db.execute(f"PRAGMA synchronous = {synchronous}")
        # Only `tidy` checkpoints, never a commit that somebody waits for.
        db.execute("PRAGMA wal_autocheckpoint = 0")
        # Debian's SQLite overwrites freed pages with zeros; that doubles what removing costs.
        db.execute("PRAGMA secure_delete = FAST")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _lock(file: Path) -> int:
    """Keep a second process out; the kernel gives the lock back whichever way this one ends."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OutboxError(f"{file}: cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise OutboxRefused(f"{file}: another senyum has it open; stop that one first") from None
    return descriptor


def _make_or_find(file: Path, marker: Path | None) -> None:
    """Make the outbox if there is none yet, and `marker` beside its key once there is one."""
    try:
        if not file.exists():
            if marker is not None and marker.exists():
                raise OutboxRefused(
                    f"{file}: is gone, and its key has signed events ({marker}); bring the outbox "
                    "back, or move the signing key and that file away and register the new key "
                    "with central"
                )
            _create(file)
        # Only now: a power cut in between leaves an outbox that is found by the next start.
        if marker is not None and not marker.exists():
            os.close(os.open(marker, os.O_WRONLY | os.O_CREAT, 0o600))
            sync_folder(marker.parent)
    except OSError as error:
        raise OutboxError(f"{error.filename or file}: cannot be opened: {error.strerror}") from None


def _create(file: Path) -> None:
    """Make an empty outbox that is there whole or not at all, however the power goes."""
    draft = file.with_name(file.name + ".new")
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with _told(file), contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.executescript(_SCHEMA)
        with draft.open("rb") as made:
            os.fsync(made.fileno())
        draft.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        raise OutboxError(f"{file}: cannot be made: {error.strerror}") from None


def _check(file: Path) -> None:
    """Refuse a file that is not a sound outbox, before anything is written to it."""
    try:
        with file.open("r+b") as opened:
            size = os.fstat(opened.fileno()).st_size
    except OSError as error:
        raise OutboxRefused(f"{file}: cannot be opened: {error.strerror}") from None
    if size == 0:  # SQLite would take it for a new one, and begin at 1 again
        raise OutboxError(f"{file}: is empty, which no outbox ever is; {_KEEP}")
    try:
        with contextlib.closing(_connect(file, "FULL")) as db:
            _check_kind(db, file)
            if size <= FULL_CHECK_BYTES:
                found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
                if found != "ok":
                    raise OutboxError(f"{file}: is damaged ({found}); {_KEEP}")
            _check_tail(db, file)
    except sqlite3.DatabaseError as error:
        raise OutboxError(f"{file}: is damaged ({error}); {_KEEP}") from error


def _check_kind(db: sqlite3.Connection, file: Path) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        raise OutboxRefused(f"{file}: is not an outbox of Senyum; name another outbox.file")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > _VERSION:
        raise OutboxRefused(
            f"{file}: was written by a newer Senyum (schema {version}, this one knows "
            f"{_VERSION}); install that one again"
        )


def _check_tail(db: sqlite3.Connection, file: Path) -> None:
    """Hold the newest events' links against each other."""
    rows = db.execute(
        "SELECT sequence, jws FROM event ORDER BY sequence DESC LIMIT ?", (TAIL,)
    ).fetchall()
    for (sequence, jws), (before, jws_before) in itertools.pairwise(rows):
        if sequence != before + 1 or _read(jws, "previous") != digest(jws_before):
            raise OutboxError(f"{file}: the chain is broken at event {sequence}; {_KEEP}")


def _read(jws: str, *path: str) -> Any:
    """Read one field of a stored event; None where it cannot be read."""
    try:
        field: Any = json.loads(from_b64url(jws.split(".")[1]))
        for name in path:
            field = field[name]
    except (ValueError, IndexError, KeyError, TypeError):
        return None
    return field
