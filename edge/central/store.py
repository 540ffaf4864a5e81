"""The central store: every genuine event once, with the exact bytes that were signed.

SQLite in WAL mode, synchronous FULL: what a batch committed survives a power cut. Several
receivers of one machine may share a file; the chain is judged inside the writing transaction.
"""

import errno
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

from edge.central import dating
from edge.central.gaps import Gap, Standing
from edge.central.judge import Entry, Neighbours
from edge.central.schema import APPLICATION_ID, SCHEMA, SCHEMA_VERSION
from edge.errors import StoreError, StoreUnusable
from edge.mqtt.payload import AttendanceEvent, AuditEvent

LARGEST_SEQUENCE = 2**63 - 1  # SQLite's integer
BUSY_S = 10.0  # how long another receiver's transaction is waited for
# Whoever may publish can be refused as often as they like: without a bound they fill the disk.
REFUSED_KEPT = 10_000
_TOPIC_KEPT = 256  # characters, more than any topic of the contract has
_WHY_KEPT = 500  # characters

# What makes a path unusable until the caller names another or mends its rights.
_CALLERS = frozenset(
    {errno.EACCES, errno.EISDIR, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EROFS}
)
_CALLERS_SQLITE = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}
)

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
        return cls(
            topic[:_TOPIC_KEPT],
            flaw,
            why[:_WHY_KEPT],
            payload[:keep],
            len(payload),
            sha256(payload).hexdigest(),
        )


class Store:
    """One SQLite file. Used by one thread; every method raises StoreError.

    Of refused messages the newest `refused_kept` are held, the others counted. StoreUnusable,
    raised by the constructor only, is a StoreError that the caller can mend.
    """

    def __init__(self, path: Path, refused_kept: int = REFUSED_KEPT) -> None:
        self.path = path
        self._refused_kept = refused_kept
        try:
            # SQLite gives its other files the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            kind = StoreUnusable if error.errno in _CALLERS else StoreError
            raise kind(f"{path}: the store cannot be opened: {error.strerror}") from None
        with self._opening():
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            with self._opening():
                self._prepare()
        except StoreError:
            self._db.close()
            raise
        self._others = self._data_version()

    def _prepare(self) -> None:
        # Before anything is changed: the journal mode too is written into the file.
        if not self._is_empty() and self._one("PRAGMA application_id") != APPLICATION_ID:
            raise StoreUnusable(
                f"{self.path}: is another program's database; name a file of its own"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self.batch():
            if self._is_empty():
                for statement in SCHEMA.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            version = self._one("PRAGMA user_version")
            if version == 1:
                for statement in dating.SCHEMA.split(";\n"):
                    self._db.execute(statement)
                dating.note_stored(self._db)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                version = SCHEMA_VERSION
            if version != SCHEMA_VERSION:
                raise StoreUnusable(
                    f"{self.path}: the store has schema {version}, this program knows "
                    f"{SCHEMA_VERSION}; use the senyum that wrote it, or a newer one"
                )

    def _is_empty(self) -> bool:
        return bool(self._one("SELECT count(*) FROM sqlite_schema") == 0)

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
    def _opening(self) -> Iterator[None]:
        """Tell a path that nobody can use as a store from a disk that fails."""
        try:
            with self._errors("opened"):
                yield
        except StoreError as error:
            code = getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF  # without its detail
            if code in _CALLERS_SQLITE:
                raise StoreUnusable(str(error)) from error
            raise

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

    def date(self, event: AttendanceEvent | AuditEvent) -> None:
        """Note a genuine event's clock, and what an anchor says about others' times."""
        dating.note(self._db, event)

    def refuse(self, refusal: Refusal, now: str) -> None:
        """Keep a refused message; the same one again only counts.

        The oldest makes room where there are too many.
        """
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
        # Numbers count up by one, so those in the newest `refused_kept` are never more.
        oldest = self._one("SELECT max(number) FROM refused") - self._refused_kept
        self._db.execute(
            "INSERT INTO refused_before SELECT flaw, sum(times) FROM refused WHERE number <= ?"
            " GROUP BY flaw ON CONFLICT (flaw) DO UPDATE SET times = times + excluded.times",
            (oldest,),
        )
        self._db.execute("DELETE FROM refused WHERE number <= ?", (oldest,))

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

    def corrected(self, unit: str) -> dict[int, str]:
        """Return the time that an anchor gave each event of no certain time, by its number."""
        query = "SELECT sequence, corrected FROM undated WHERE unit = ? AND corrected IS NOT NULL"
        with self._errors("read"):
            return dict(self._db.execute(query, (unit,)).fetchall())

    def refusals(self, *flaws: str) -> Iterator[Refusal]:
        """Yield the refused messages with one of these flaws, in the order of receipt.

        One at a time, and each may be forgiven on the way: all of them may not fit into memory.
        """
        query = (
            "SELECT number, topic, flaw, why, payload, size, sha256 FROM refused WHERE number > ?"
            " AND flaw IN (SELECT value FROM json_each(?)) ORDER BY number LIMIT 1"
        )
        number, wanted = 0, json.dumps(flaws)
        while True:
            with self._errors("read"):
                row = self._db.execute(query, (number, wanted)).fetchone()
            if row is None:
                return
            number, *found = row
            yield Refusal(*found)

    def tokens(self, unit: str) -> list[str]:
        """Return every stored JWS of a unit in the order of its chain."""
        with self._errors("read"):
            return self._column(
                "SELECT jws FROM event WHERE unit = ? ORDER BY sequence, number", unit
            )
