"""The central store: every genuine event once, with the exact bytes that were signed.

Several receivers may share one, in an SQLite file of their machine or on a PostgreSQL server: the
chain is judged inside the writing transaction, and writers take turns.
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

_ARRIVALS = 5000  # events that are read at a time


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
    """What a state or health said of its unit's chain, and the signed message that says so."""

    unit: str
    sequence: int
    digest: str
    topic: str
    jws: str


class Store:
    """An SQLite file, or a PostgreSQL database by its address (see `database.parse_url`).

    Used by one thread; every method raises StoreError, as `Database` does. Of refused messages the
    newest `refused_kept` are held, the others counted.
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
        """All that is written inside is durable on a normal exit, and gone on any other.

        `entries` are events that will be looked at: they are fetched together.
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
        """Inside a batch: all that is written inside is kept on a normal exit, else undone.

        The batch goes on in both cases.
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
        """Return what is stored around `entry`."""
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
        """Keep an event of a event contract; returns whether it is news."""
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
        """Remove an event of a event contract that is stored as an event by now."""
        self.database.run(
            delete(LATER).where(LATER.c.digest == bindparam("which")), {"which": digest}
        )

    def record_clock(self, event: AttendanceEvent | AuditEvent) -> None:
        """Note a genuine event's clock, and what an anchor says about others' times."""
        assert self._dating is not None, "only inside a batch"
        self._dating.record(event)

    def record_rename(self, event: AttendanceEvent | AuditEvent) -> UnitRename | None:
        """Note where a chain goes on under another name; return the move, if the event is one."""
        return record_rename(self.database, event)

    def add_rejection(self, rejection: Rejection, now: str) -> bool:
        """Keep a refused message; the same one again only counts. Returns whether it is news."""
        return self._refused.add(rejection, now)

    def count_rejection(self, rejection: Rejection) -> None:
        """Count a refused message without keeping it."""
        self._refused.count(rejection.flaw, 1)

    def drop_rejection(self, rejection: Rejection) -> None:
        """Remove a refused message that has been accepted since."""
        self._refused.remove(rejection)

    def record_head(self, head: NamedHead, now: str) -> None:
        """Remember the chain head of a state or health, unless a event one is known."""
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
                # The same number again is a event proof of it.
                where=insert.excluded.sequence >= HEAD.c.sequence,
            ),
            values,
        )
        self._active_cache.set_head(head.unit, head.sequence, head.digest)

    def record_key_file(self, path: Path, now: str) -> None:
        """Remember which key set this receiver uses; `export` verifies with it by default."""
        with self.database.transaction():
            self.database.run(delete(KEY_FILE))
            row = {"path": str(path.resolve()), "noted_at": now}
            self.database.run(KEY_FILE.insert(), row)

    def record_fork(self, unit: str, sequence: int, digest: str, why: str, now: str) -> bool:
        """Remember a fork; returns whether it is news."""
        return self.database.put_new(
            FORK, unit=unit, sequence=sequence, digest=digest, why=why, found_at=now
        )

    def record_gaps(self, overdue: Gaps, healed: Gaps, now: datetime) -> list[GapChange]:
        """Remember which numbers are missing and which gaps were filled; returns what is news.

        Other receivers may have noted some of it, and events may have come meanwhile.
        """
        self._active_cache.flush()
        return self._missing.record(overdue, healed, now)

    # --- reading --------------------------------------------------------------------------

    def stored_ranges(self, wanted: Gaps) -> Iterator[tuple[str, Gap]]:
        """Yield the ranges of stored numbers inside of gaps, by unit."""
        return self._missing.stored_ranges(wanted)

    def missing_ranges(self, wanted: Gaps) -> dict[str, list[Gap]]:
        """Return what is missing inside of gaps: neither stored nor given under another name."""
        return self._missing.missing_ranges(wanted)

    def open_gaps(self) -> dict[str, list[Gap]]:
        """Return the gaps that are open, by unit, ascending."""
        return self._missing.open_gaps()

    def count_renames(self) -> int:
        """Return how many moves are known: whether it is worth asking where they lead."""
        with self.database.reading():
            return int(self.database.one(select(func.count()).select_from(MOVE)) or 0)

    def numbers_under_other_names(self) -> dict[str, list[Gap]]:
        """Return for each unit the numbers of its chain that it gave under other names."""
        return self._missing.numbers_under_other_names()

    def chain_statuses(self) -> dict[str, ChainStatus]:
        """Return what is stored, missing and reported of every unit that was ever heard of."""
        return self._missing.chain_statuses()

    def corrected_times(self, unit: str) -> dict[int, str]:
        """Return the time that an anchor gave each event of no certain time, by its number."""
        query = select(UNDATED.c.sequence, UNDATED.c.corrected).where(
            UNDATED.c.unit == unit, UNDATED.c.corrected.is_not(None)
        )
        with self.database.reading():
            return dict(self.database.rows(query))

    def rejections(self, *flaws: str) -> Iterator[Rejection]:
        """Yield the refused messages with one of these flaws, in the order of receipt.

        One at a time, and each may be forgiven on the way: all of them may not fit into memory.
        """
        return self._refused.with_flaws(flaws)

    def unknown_events(self) -> list[UnknownEvent]:
        """Return the events of event contracts."""
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
