"""The central store: every genuine event once, with the exact signed bytes.

Several receivers may share a store, in an SQLite file on one machine or on a PostgreSQL server. The
chain is checked inside the writing transaction, and writers take turns.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import bindparam, delete, func, select

from edge.contract.events import AttendanceEvent, AuditEvent
from senyum_central.store.chain_cache import ChainCache
from senyum_central.store.chain_rules import ChainEntry, Neighbours
from senyum_central.store.database import Database
from senyum_central.store.gaps import ChainStatus, Gap
from senyum_central.store.missing_events import GapChange, Gaps, MissingEvents
from senyum_central.store.rejections import REJECTIONS_KEPT, Rejection, RejectionStore
from senyum_central.store.schema import EVENT, FORK, HEAD, KEY_FILE, LATER, MOVE, UNDATED
from senyum_central.store.time_correction import TimeCorrection
from senyum_central.store.unit_renames import UnitRename, record_rename
from senyum_central.store.unknown_events import UnknownEvent

_ARRIVALS = 5000  # events read at a time


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A genuine event as it is stored."""

    entry: ChainEntry
    type: str
    time: str
    subject: str | None
    kid: str
    jws: str


@dataclass(frozen=True, slots=True)
class NamedHead:
    """The chain head named by a state or health, with the signed message."""

    unit: str
    sequence: int
    digest: str
    topic: str
    jws: str


class Store:
    """An SQLite file, or a PostgreSQL database by its address (see `database.parse_url`).

    Single-threaded; every method raises StoreError as `Database` does. The newest `refused_kept`
    rejected messages are kept, the others only counted.
    """

    def __init__(
        self,
        where: Path | str,
        refused_kept: int = REJECTIONS_KEPT,
        *,
        password: Path | None = None,
        read_only: bool = False,
    ) -> None:
        self.database = Database(where, password, read_only=read_only)
        self._missing = MissingEvents(self.database)
        self._refused = RejectionStore(self.database, refused_kept)
        self._near: ChainCache | None = None  # inside a batch
        self._dating: TimeCorrection | None = None  # likewise
        self._newest = self._newest_number()

    def close(self) -> None:
        """Close the connection; nothing is pending outside a batch."""
        self.database.close()

    @contextmanager
    def batch(self, entries: Iterable[ChainEntry] = ()) -> Iterator[None]:
        """Commit durably on a normal exit, and roll back on any other.

        `entries` are the events whose neighbours will be needed; they are fetched together.
        """
        try:
            with self.database.transaction():
                changed = self._newest_number() != self._newest
                self._near = ChainCache(self.database)
                self._dating = TimeCorrection(self.database)
                self._near.fetch(entries)
                yield
                self._near.flush()
                self._dating.flush()
                newest = self._newest_number()
        finally:
            self._near = self._dating = None
        if not changed:
            self._newest = newest

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a batch: undo the writes inside unless the exit is normal.

        The batch continues in both cases.
        """
        try:
            with self.database.savepoint():
                self._near, self._dating = ChainCache(self.database), TimeCorrection(self.database)
                yield
                self._near.flush()
                self._dating.flush()
        finally:
            self._near, self._dating = ChainCache(self.database), TimeCorrection(self.database)

    @property
    def _active_cache(self) -> ChainCache:
        assert self._near is not None, "only inside a batch"
        return self._near

    def _newest_number(self) -> int:
        with self.database.reading():
            return int(self.database.one(select(func.max(EVENT.c.number))) or 0)

    def arrivals(self) -> Iterator[tuple[str, int]]:
        """Yield the units and numbers of events that other receivers stored since the last call.

        Own ones may be among them.
        """
        columns = (EVENT.c.number, EVENT.c.unit, EVENT.c.sequence)
        query = select(*columns).order_by(EVENT.c.number).limit(_ARRIVALS)
        while True:
            with self.database.reading():
                rows = self.database.rows(query.where(EVENT.c.number > self._newest))
            if not rows:
                return
            for number, unit, sequence in rows:
                self._newest = number
                yield unit, sequence

    # --- inside a batch -------------------------------------------------------------------

    def neighbours(self, entry: ChainEntry) -> Neighbours:
        """Return the stored neighbours of `entry`."""
        return self._active_cache.neighbours(entry)

    def head(self, unit: str, sequence: int) -> str | None:
        """Return the chain head that a state or health named for exactly this number."""
        return self._active_cache.head(unit, sequence)

    def digests(self, unit: str, sequence: int) -> frozenset[str]:
        """Return the digests of the events stored under this number."""
        return self._active_cache.digests(unit, sequence)

    def add(self, record: StoredEvent, received_at: str) -> None:
        """Store an event whose id is not stored yet."""
        entry = record.entry
        row = {
            "id": entry.id,
            "unit": entry.unit,
            "sequence": entry.sequence,
            "digest": entry.digest,
            "previous": entry.previous,
            "type": record.type,
            "time": record.time,
            "subject": record.subject,
            "kid": record.kid,
            "jws": record.jws,
            "received_at": received_at,
        }
        self._active_cache.add(entry, row)

    def add_unknown_event(self, event: UnknownEvent, received_at: str) -> bool:
        """Store an event of an unknown type; return whether it is new."""
        return self.database.put_new(
            LATER,
            digest=event.digest,
            unit=event.unit,
            sequence=event.sequence,
            type=event.type,
            topic=event.topic,
            jws=event.jws,
            received_at=received_at,
        )

    def drop_unknown_event(self, digest: str) -> None:
        """Remove an unknown event that has been stored as an event."""
        self.database.run(
            delete(LATER).where(LATER.c.digest == bindparam("which")), {"which": digest}
        )

    def record_clock(self, event: AttendanceEvent | AuditEvent) -> None:
        """Record the clock of a genuine event, and correct times if it is an anchor."""
        assert self._dating is not None, "only inside a batch"
        self._dating.record(event)

    def record_rename(self, event: AttendanceEvent | AuditEvent) -> UnitRename | None:
        """Record the rename if the event is one, and return it."""
        return record_rename(self.database, event)

    def add_rejection(self, rejection: Rejection, now: str) -> bool:
        """Store a rejected message, or count a repeated one; return whether it is new."""
        return self._refused.add(rejection, now)

    def count_rejection(self, rejection: Rejection) -> None:
        """Count a rejected message without storing it."""
        self._refused.count(rejection.flaw, 1)

    def drop_rejection(self, rejection: Rejection) -> None:
        """Remove a rejected message that has been accepted since."""
        self._refused.remove(rejection)

    def record_head(self, head: NamedHead, now: str) -> None:
        """Store the chain head of a state or health, unless a later one is known."""
        insert = self.database.put(HEAD)
        values = {
            "unit": head.unit,
            "sequence": head.sequence,
            "digest": head.digest,
            "topic": head.topic,
            "jws": head.jws,
            "received_at": now,
        }
        self.database.run(
            insert.on_conflict_do_update(
                index_elements=["unit"],
                set_={name: insert.excluded[name] for name in values if name != "unit"},
                # The same number again is a later proof of it.
                where=insert.excluded.sequence >= HEAD.c.sequence,
            ),
            values,
        )
        self._active_cache.set_head(head.unit, head.sequence, head.digest)

    def record_key_file(self, path: Path, now: str) -> None:
        """Record the receiver's key set, which `export` uses by default."""
        with self.database.transaction():
            self.database.run(delete(KEY_FILE))
            row = {"path": str(path.resolve()), "noted_at": now}
            self.database.run(KEY_FILE.insert(), row)

    def record_fork(self, unit: str, sequence: int, digest: str, why: str, now: str) -> bool:
        """Record a fork; return whether it is new."""
        return self.database.put_new(
            FORK, unit=unit, sequence=sequence, digest=digest, why=why, found_at=now
        )

    def record_gaps(self, overdue: Gaps, healed: Gaps, now: datetime) -> list[GapChange]:
        """Record missing numbers and filled gaps; return the changes.

        Other receivers may have recorded some of them, and events may have arrived meanwhile.
        """
        self._active_cache.flush()
        return self._missing.record(overdue, healed, now)

    # --- reading --------------------------------------------------------------------------

    def stored_ranges(self, wanted: Gaps) -> Iterator[tuple[str, Gap]]:
        """Yield the ranges of stored numbers inside of gaps, by unit."""
        return self._missing.stored_ranges(wanted)

    def missing_ranges(self, wanted: Gaps) -> dict[str, list[Gap]]:
        """Return the numbers inside gaps that are neither stored nor used under another name."""
        return self._missing.missing_ranges(wanted)

    def open_gaps(self) -> dict[str, list[Gap]]:
        """Return the gaps that are open, by unit, ascending."""
        return self._missing.open_gaps()

    def count_renames(self) -> int:
        """Return the number of known renames."""
        with self.database.reading():
            return int(self.database.one(select(func.count()).select_from(MOVE)) or 0)

    def numbers_under_other_names(self) -> dict[str, list[Gap]]:
        """Return for each unit the numbers of its chain that it used under other names."""
        return self._missing.numbers_under_other_names()

    def chain_statuses(self) -> dict[str, ChainStatus]:
        """Return the stored, missing and reported numbers of every known unit."""
        return self._missing.chain_statuses()

    def corrected_times(self, unit: str) -> dict[int, str]:
        """Return the corrected times of events with an unsynchronized clock, by number."""
        query = select(UNDATED.c.sequence, UNDATED.c.corrected).where(
            UNDATED.c.unit == unit, UNDATED.c.corrected.is_not(None)
        )
        with self.database.reading():
            return dict(self.database.rows(query))

    def rejections(self, *flaws: str) -> Iterator[Rejection]:
        """Yield the rejected messages with one of these flaws, in the order of receipt.

        They are read one at a time, because all of them may not fit into memory. Each may be
        dropped while iterating.
        """
        return self._refused.with_flaws(flaws)

    def unknown_events(self) -> list[UnknownEvent]:
        """Return the stored events of unknown types."""
        names = ("unit", "sequence", "digest", "type", "topic", "jws")
        with self.database.reading():
            rows = self.database.rows(
                select(*(LATER.c[name] for name in names)).order_by(LATER.c.sequence)
            )
            return [UnknownEvent(*row) for row in rows]

    def signed_events(self, unit: str) -> list[str]:
        """Return every stored JWS of a unit in the order of its chain."""
        query = select(EVENT.c.jws).where(EVENT.c.unit == unit)
        with self.database.reading():
            rows = self.database.rows(query.order_by(EVENT.c.sequence, EVENT.c.number))
            return [token for (token,) in rows]
