"""The central store: every genuine event once, with the exact bytes that were signed.

SQLite in WAL mode, synchronous FULL: what a batch committed survives a power cut. Several
receivers of one machine may share a file; the chain is judged inside the writing transaction.
"""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge.central.gaps import Gap, Standing
from edge.central.judge import Entry, Neighbours
from edge.errors import StoreError

SCHEMA_VERSION = 1
LARGEST_SEQUENCE = 2**63 - 1  # SQLite's integer
BUSY_S = 10.0  # how long another receiver's transaction is waited for

_SCHEMA = """
CREATE TABLE event (
    number INTEGER PRIMARY KEY,  -- in the order of receipt
    id TEXT NOT NULL UNIQUE,
    unit TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    previous TEXT,
    type TEXT NOT NULL,
    time TEXT NOT NULL,
    subject TEXT,
    kid TEXT NOT NULL,
    jws TEXT NOT NULL,
    received_at TEXT NOT NULL
) STRICT;
CREATE INDEX event_chain ON event (unit, sequence);

CREATE TABLE head (  -- the latest that a unit's state or health said about its chain
    unit TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE gap (  -- reported once each
    unit TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    reported_at TEXT NOT NULL,
    healed_at TEXT,
    PRIMARY KEY (unit, first, last)
) STRICT, WITHOUT ROWID;

CREATE TABLE fork (  -- reported once each
    unit TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    why TEXT NOT NULL,
    found_at TEXT NOT NULL,
    PRIMARY KEY (unit, sequence, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE refused (
    number INTEGER PRIMARY KEY,
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL,
    times INTEGER NOT NULL,
    topic TEXT NOT NULL,
    flaw TEXT NOT NULL,
    why TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,  -- of the whole payload
    payload BLOB NOT NULL,  -- its first bytes
    UNIQUE (topic, flaw, sha256)
) STRICT;
"""

# The holes between neighbouring numbers, 1 being the first that is expected.
_HOLES = """
SELECT unit, before + 1, sequence - 1 FROM (
    SELECT unit, sequence, lag(sequence, 1, 0) OVER (PARTITION BY unit ORDER BY sequence) AS before
    FROM (SELECT DISTINCT unit, sequence FROM event)
) WHERE sequence > before + 1
"""


@dataclass(frozen=True, slots=True)
class Record:
    """A genuine event as it is stored."""

    entry: Entry
    type: str
    time: str
    subject: str | None
    kid: str
    jws: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was not accepted."""

    topic: str
    flaw: str
    why: str
    payload: bytes
    size: int  # bytes of the whole payload, of which `payload` may be the first part
    sha256: str  # hex, of the whole payload

    @classmethod
    def of(cls, topic: str, flaw: str, why: str, payload: bytes, keep: int) -> "Refusal":
        """Describe a message; of its payload only the first `keep` bytes are held."""
        return cls(topic, flaw, why, payload[:keep], len(payload), sha256(payload).hexdigest())


class Store:
    """One SQLite file. Used by one thread; every method raises StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # SQLite gives its other files the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(f"{path}: the store cannot be opened: {error.strerror}") from None
        with self._errors("opened"):
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare()
        except StoreError:
            self._db.close()
            raise
        self._others = self._data_version()

    def _prepare(self) -> None:
        with self._errors("opened"):
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
        with self.batch():
            version = self._one("PRAGMA user_version")
            if version == 0:
                for statement in _SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise StoreError(
                    f"{self.path}: the store has schema {version}, this program knows "
                    f"{SCHEMA_VERSION}; use the senyum that wrote it, or a newer one"
                )

    def close(self) -> None:
        """Close the file; nothing is pending outside a batch."""
        self._db.close()

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: the store cannot be {what}: {error}") from error

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All that is written inside is durable on a normal exit, and gone on any other."""
        with self._errors("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _one(self, query: str, *values: Any) -> Any:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else row[0]

    def _column(self, query: str, *values: Any) -> list[Any]:
        with closing(self._db.execute(query, values)) as cursor:
            return [row[0] for row in cursor]

    def _data_version(self) -> int:
        with self._errors("read"):
            return int(self._one("PRAGMA data_version"))

    def changed_by_others(self) -> bool:
        """Tell whether another process has committed since the last call."""
        before, self._others = self._others, self._data_version()
        return before != self._others

    # --- inside a batch -------------------------------------------------------------------

    def neighbours(self, entry: Entry) -> Neighbours:
        """Return what is stored around `entry`."""
        around: dict[int, list[tuple[str, str | None]]] = defaultdict(list)
        for sequence, digest, previous in self._db.execute(
            "SELECT sequence, digest, previous FROM event"
            " WHERE unit = ? AND sequence BETWEEN ? AND ?",
            (entry.unit, entry.sequence - 1, min(entry.sequence + 1, LARGEST_SEQUENCE)),
        ):
            around[sequence].append((digest, previous))
        n = entry.sequence
        return Neighbours(
            same_id=self._one("SELECT digest FROM event WHERE id = ?", entry.id),
            before=frozenset(digest for digest, _ in around[n - 1]),
            same=frozenset(digest for digest, _ in around[n]),
            after=frozenset(previous for _, previous in around[n + 1] if previous is not None),
            head=self.head(entry.unit, n),
        )

    def head(self, unit: str, sequence: int) -> str | None:
        """Return the chain head that a state or health named for exactly this number."""
        head: str | None = self._one(
            "SELECT digest FROM head WHERE unit = ? AND sequence = ?", unit, sequence
        )
        return head

    def digests(self, unit: str, sequence: int) -> frozenset[str]:
        """Return the digests of the events stored under this number."""
        query = "SELECT digest FROM event WHERE unit = ? AND sequence = ?"
        return frozenset(self._column(query, unit, sequence))

    def add(self, record: Record, received_at: str) -> None:
        """Store an event whose id is not stored yet."""
        entry = record.entry
        self._db.execute(
            "INSERT INTO event (id, unit, sequence, digest, previous, type, time, subject, kid,"
            " jws, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                entry.id,
                entry.unit,
                entry.sequence,
                entry.digest,
                entry.previous,
                record.type,
                record.time,
                record.subject,
                record.kid,
                record.jws,
                received_at,
            ),
        )

    def refuse(self, refusal: Refusal, now: str) -> None:
        """Keep a refused message; the same one again only counts."""
        self._db.execute(
            "INSERT INTO refused"
            " (first_at, last_at, times, topic, flaw, why, size, sha256, payload)"
            " VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (topic, flaw, sha256)"
            " DO UPDATE SET times = times + 1, last_at = excluded.last_at",
            (
                now,
                now,
                refusal.topic,
                refusal.flaw,
                refusal.why,
                refusal.size,
                refusal.sha256,
                refusal.payload,
            ),
        )

    def forgive(self, refusal: Refusal) -> None:
        """Remove a refused message that has been accepted since."""
        self._db.execute(
            "DELETE FROM refused WHERE topic = ? AND flaw = ? AND sha256 = ?",
            (refusal.topic, refusal.flaw, refusal.sha256),
        )

    def name_head(self, unit: str, sequence: int, digest: str) -> None:
        """Remember the chain head of a state or health, unless a later one is known."""
        self._db.execute(
            "INSERT INTO head VALUES (?, ?, ?) ON CONFLICT (unit) DO UPDATE"
            " SET sequence = excluded.sequence, digest = excluded.digest"
            " WHERE excluded.sequence > head.sequence",
            (unit, sequence, digest),
        )

    def note_fork(self, unit: str, sequence: int, digest: str, why: str, now: str) -> bool:
        """Remember a fork; returns whether it is news."""
        done = self._db.execute(
            "INSERT OR IGNORE INTO fork VALUES (?, ?, ?, ?, ?)", (unit, sequence, digest, why, now)
        )
        return done.rowcount == 1

    def note_gap(self, unit: str, gap: Gap, now: str) -> bool:
        """Remember a gap; returns whether it is news."""
        done = self._db.execute(
            "INSERT OR IGNORE INTO gap VALUES (?, ?, ?, ?, NULL)", (unit, gap.first, gap.last, now)
        )
        return done.rowcount == 1

    def heal_gap(self, unit: str, gap: Gap, now: str) -> bool:
        """Remember that a gap was filled; returns whether it is news."""
        done = self._db.execute(
            "UPDATE gap SET healed_at = ?"
            " WHERE unit = ? AND first = ? AND last = ? AND healed_at IS NULL",
            (now, unit, gap.first, gap.last),
        )
        return done.rowcount == 1

    # --- reading --------------------------------------------------------------------------

    def present(self, unit: str, gap: Gap) -> list[int]:
        """Return the numbers inside `gap` that are stored, ascending."""
        with self._errors("read"):
            return self._column(
                "SELECT DISTINCT sequence FROM event WHERE unit = ? AND sequence BETWEEN ? AND ?"
                " ORDER BY sequence",
                unit,
                gap.first,
                gap.last,
            )

    def standings(self) -> dict[str, Standing]:
        """Return what is stored, missing and reported of every unit that was ever heard of."""
        missing: dict[str, list[Gap]] = defaultdict(list)
        reported: dict[str, list[Gap]] = defaultdict(list)
        with self._errors("read"):
            for unit, first, last in self._db.execute(_HOLES):
                missing[unit].append(Gap(first, last))
            highest: dict[str, int] = dict(
                self._db.execute("SELECT unit, max(sequence) FROM event GROUP BY unit").fetchall()
            )
            for unit, last in self._db.execute("SELECT unit, sequence FROM head"):
                stored = highest.get(unit, 0)
                if last > stored:
                    missing[unit].append(Gap(stored + 1, last))
                    highest[unit] = last
            for unit, first, last in self._db.execute(
                "SELECT unit, first, last FROM gap WHERE healed_at IS NULL ORDER BY first"
            ):
                reported[unit].append(Gap(first, last))
        return {
            unit: Standing(last, tuple(missing[unit]), tuple(reported[unit]))
            for unit, last in highest.items()
        }

    def refusals(self, *flaws: str) -> list[Refusal]:
        """Return the refused messages with one of these flaws, in the order of receipt."""
        query = (
            "SELECT topic, flaw, why, payload, size, sha256 FROM refused"
            " WHERE flaw IN (SELECT value FROM json_each(?)) ORDER BY number"
        )
        with self._errors("read"):
            rows = self._db.execute(query, (json.dumps(flaws),)).fetchall()
        return [Refusal(*row) for row in rows]

    def tokens(self, unit: str) -> list[str]:
        """Return every stored JWS of a unit in the order of its chain."""
        with self._errors("read"):
            return self._column(
                "SELECT jws FROM event WHERE unit = ? ORDER BY sequence, number", unit
            )
